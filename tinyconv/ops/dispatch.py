"""`apply`: the one door through which every operation runs, feeding the tape and, while a network is traced, the recorder."""
import threading

import numpy as np

from .. import tensor as _tensor
from .table import lookup

_recording = threading.local()


def recorder():
    """The recorder of this thread, or None. While there is one, operations are not computed: `made` gives stand-ins for their
    results (the right shapes, from the shape rules), and `record(op, arrays, attributes, outputs)` writes them down."""
    return getattr(_recording, "now", None)


def set_recorder(new):
    """Make `new` this thread's recorder; returns the one before."""
    before, _recording.now = recorder(), new
    return before


def as_array(value):
    """The array, number or None behind an argument of an operation.

    A NumPy number becomes a Python number: it takes the type of the array beside it, where np.float64(2) would make
    everything after it float64.
    """
    return value.data if isinstance(value, _tensor.Tensor) else value.item() if isinstance(value, np.generic) else value


def _check(name, arrays):
    """Arguments are arrays, numbers or None; floating-point arrays of one operation share one type."""
    kinds = set()
    for position, value in enumerate(arrays):
        if isinstance(value, np.ndarray):
            if value.dtype.kind == "f":
                kinds.add(value.dtype)
        elif value is not None and not isinstance(value, (int, float)):
            raise TypeError(f"{name}: argument {position} must be a Tensor, an array or a number, not {type(value).__name__}")
    if len(kinds) > 1:
        raise TypeError(f"{name}: arguments mix {' and '.join(sorted(str(k) for k in kinds))}; convert one side first")


def apply(name, *inputs, **attributes):
    """Run operation `name` on Tensors, arrays, numbers or None; returns a Tensor, or a tuple of them.

    The result remembers its operation (`Tensor.backward` walks back through it) if gradients are on, the operation has one,
    and any input requires it. Errors: TypeError for foreign arguments and mixed floating-point types.
    """
    op = lookup(name)
    arrays = [as_array(value) for value in inputs]
    _check(name, arrays)
    watching = recorder()
    outputs, saved = op.forward(*arrays, **attributes) if watching is None else (watching.made(op, arrays, attributes), None)
    several = isinstance(outputs, tuple)
    given = {id(a) for a in arrays if a is not None}
    outputs = [y.view() if id(y) in given else y for y in (outputs if several else (outputs,))]
    results = tuple(_tensor.Tensor(y) for y in outputs)
    if op.vjp is not None and _tensor.grad_enabled():
        parents = [v if isinstance(v, _tensor.Tensor) and v.requires_grad else None for v in inputs]
        if any(parent is not None for parent in parents):
            _tensor.Node(op, saved, parents, results)
    if watching is not None:
        watching.record(op, arrays, attributes, [y.data for y in results])
    return results if several else results[0]
