"""What operations work out from their constants alone, kept from one run of a graph to the next: packed weights.

An integer layer proves that its sums fit, packs its weights and makes tables before it multiplies anything; for one picture that takes
longer than the multiplying. An operation with `prepare` in the table says how to do it once:

    run = prepare(x_shape, x_dtype, *constants, **attributes);   run(x) == forward(x, *constants, **attributes)[0]

A kept run is used again only for an input of the same shape and type, the same mode and number of threads, and *equal* constants: an array
that cannot be written to is known by being the same one, any other is compared with a copy, number by number. So a result never depends on
what was kept. Of every node the last run is kept, in each thread its own: they have scratch memory. Memory: 3 bytes a weight.
"""
import threading

import numpy as np

from .. import kernels


class Prepared:
    """The runs that one graph keeps: prepared(number of the node, op, arguments, attributes) -> the operation's result."""

    def __init__(self):
        self.here = threading.local()

    def __reduce__(self):
        return Prepared, ()                                        # a copy of a graph keeps nothing yet

    def __call__(self, number, op, arguments, attributes):
        x, *constants = arguments
        kept = self.here.__dict__.setdefault("runs", {})
        made_for = (x.shape, x.dtype, kernels.mode(), kernels.get_num_threads())
        known, held, run = kept.get(number, (None, (), None))
        if known != made_for or not all(map(_same, held, constants)):
            kept.pop(number, None)                                 # not two at a time in memory
            run = op.prepare(x.shape, x.dtype, *constants, **attributes)
            kept[number] = made_for, [_hold(a) for a in constants], run
        return run(x)


def _hold(a):
    """(the array itself, None) if nobody can write to it, else (None, a copy)."""
    if not isinstance(a, np.ndarray):
        return None, a
    return (a, None) if a.flags.owndata and not a.flags.writeable else (None, a.copy())


def _same(held, a):
    """Is `a` what was held?"""
    array, copy = held
    if array is not None:
        return array is a and not a.flags.writeable
    if not isinstance(a, np.ndarray) or not isinstance(copy, np.ndarray):
        return type(a) is type(copy) and a == copy
    return a.dtype == copy.dtype and np.array_equal(a, copy)
