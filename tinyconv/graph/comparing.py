"""Is a graph its model? Both on fresh inputs, equal in every bit; if not, where does the first difference arise?"""
import contextlib

import numpy as np

from ..ops import set_recorder
from ..tensor import Tensor, no_grad
from .recording import Path, TraceError
from .runner import run


@contextlib.contextmanager
def in_mode(model, training):
    """Training or evaluation for a while: afterwards modes, buffers and random generators of all modules are as before."""
    held = [(module, module.training, dict(module._buffers), module.__dict__.get("rng")) for module in model.modules()]
    try:
        yield model.train(training)
    finally:
        for module, mode, buffers, rng in held:
            object.__setattr__(module, "training", mode)
            module._buffers.update(buffers)
            if "rng" in module.__dict__:
                module.rng = rng


def compare(model, graph, kind):
    """Model and graph in evaluation with batches of 1 and 3 and in training with a batch of 2, on inputs of dtype `kind`.

    Results must be equal bit for bit, and in training the new running statistics. A model that cannot train on two pictures
    (batch statistics of one number) has no training to compare. Errors: TraceError naming the operation where the first
    difference arises.
    """
    dice = np.random.default_rng(0)
    for batch, training in ((1, False), (3, False), (2, True)):
        xs = [dice.standard_normal((batch, *shape)).astype(kind) for shape in graph.inputs.values()]
        try:
            theirs, statistics = _results(model, graph, xs, training)
        except ValueError:
            if training:
                continue
            raise
        updates = {}
        ours = run(graph, *xs, training=training, rng=np.random.default_rng(1), updates=updates)
        ours = ours if isinstance(ours, tuple) else (ours,)
        new = [(name, statistics[name], updates.get(name, graph.buffers[name])) for name in graph.buffers]
        for name, a, b in (*zip(graph.outputs, theirs, ours), *new):
            if not _equal(a, b):
                mode, where = "training" if training else "evaluation", _first_difference(model, graph, xs, training)
                raise TraceError(f"the graph's {name} ({b.dtype}) differs from the model's ({a.dtype}) on a fresh input with "
                                 f"batch {batch} in {mode}; {where}")


def _equal(a, b):
    """The same type, shape and numbers, NaN where NaN."""
    return a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


def _results(model, graph, xs, training):
    """What the model makes of xs: its results, and the buffers it has afterwards."""
    with in_mode(model, training), no_grad():
        y = model.seed(1)(*(Tensor(x.copy()) for x in xs))
        return [t.data for t in (y if isinstance(y, (tuple, list)) else (y,))], dict(model.named_buffers())


class Watcher(Path):
    """A recorder that computes, and holds every result against the next one of a list; `found` says where they part."""

    def __init__(self, model, expected):
        super().__init__(model)
        self.expected, self.found = iter(expected), None

    def made(self, op, arrays, attributes):
        """The results themselves."""
        return op.forward(*arrays, **attributes)[0]

    def record(self, op, arrays, attributes, outputs):
        """One operation that was run."""
        node, results = next(self.expected, (None, ()))
        same = node is not None and node.op == op.name and all(_equal(a, b) for a, b in zip(outputs, results))
        if self.found is None and not same:
            self.found = f"the first difference is {self.where(op)}"


def _first_difference(model, graph, xs, training):
    """Where the model leaves its graph, in words."""
    expected = []
    run(graph, *xs, training=training, rng=np.random.default_rng(1), each=lambda node, outputs: expected.append((node, outputs)))
    watcher = Watcher(model, expected)
    before = set_recorder(watcher)
    try:
        _results(model, graph, xs, training)
    finally:
        set_recorder(before)
    return watcher.found or "every operation is the same: the model keeps a result or a statistic elsewhere"
