"""`trace`: run a model once on shapes alone, write down every operation, and get the network as data.

Every array that reaches an operation must be an input, a parameter, a buffer, or the result of an operation: an array that
came from elsewhere (a stray `.data`, a constant made inside `forward`) would be frozen into the network unseen, so it is refused
and the module named. Numbers are fine. The model is then run beside its graph on two fresh inputs, of two batch sizes, and
in training mode: if a single bit differs, the trace is refused (a branch on data, a batch size written into a reshape).
"""
import contextlib

import numpy as np

from ..ops import set_recorder
from ..tensor import Tensor, no_grad
from .runner import run
from .structure import Graph, GraphError, Node, unused


class TraceError(GraphError):
    """A model that cannot be written as a graph; the message names the module and what it did."""


class Recorder:
    """Writes down the operations of one forward pass. Its arrays have shapes but no contents (`made`): nothing is computed."""

    def __init__(self, model, inputs):
        self.parameters = {name: p.data for name, p in model.named_parameters()}
        self.buffers = dict(model.named_buffers())
        self.modules = {id(module): name for name, module in model.named_modules()}
        self.names = {id(a): name for name, a in (*self.parameters.items(), *self.buffers.items(), *inputs.items())}
        self.alive = [*self.parameters.values(), *self.buffers.values(), *inputs.values()]      # an id is good while its array lives
        self.taken, self.nodes, self.path = set(self.names.values()), [], [""]

    @contextlib.contextmanager
    def inside(self, module):
        """While this module runs, operations are its."""
        self.path.append(self.modules.get(id(module), self.path[-1]))
        try:
            yield
        finally:
            self.path.pop()

    def made(self, op, arrays, attributes):
        """Stand-ins for the results of an operation: the right shapes, and no contents."""
        rule = {key: value for key, value in attributes.items() if key not in op.runtime}
        found = op.shape(*[a.shape if isinstance(a, np.ndarray) else None for a in arrays], **rule)
        kind = next((a.dtype for a in arrays if isinstance(a, np.ndarray)), np.dtype(np.float32))
        several = bool(found) and isinstance(found[0], tuple)
        stand_ins = tuple(np.broadcast_to(np.zeros((), kind), shape) for shape in (found if several else (found,)))
        return stand_ins if several else stand_ins[0]

    def name_of(self, value, op):
        """The name of an argument, or the number it is."""
        if value is None or isinstance(value, (int, float)):
            return value
        if isinstance(value, np.generic):
            return value.item()
        if id(value) not in self.names:
            raise TraceError(f"{op.name} in {self.path[-1] or 'the model'} reads an array of shape {value.shape} that is no input, parameter, "
                             "buffer or result of an operation; keep it on the tape (no `.data`), or register it as a buffer")
        return self.names[id(value)]

    def record(self, op, arrays, attributes, outputs):
        """One operation that was run."""
        inputs = tuple(self.name_of(a, op) for a in arrays)
        kept = {key: value for key, value in attributes.items() if key not in op.runtime}
        if op.name == "reshape":
            kept["shape"] = _without_batch(kept["shape"], arrays[0].shape, outputs[0].shape)
        names = []
        for y in outputs:
            name = unused(f"{self.path[-1]}/{op.name}" if self.path[-1] else op.name, self.taken)
            self.taken.add(name)
            self.names[id(y)] = name
            self.alive.append(y)
            names.append(name)
        self.nodes.append(Node(op.name, inputs, tuple(names), kept, self.path[-1]))


def _without_batch(shape, before, after):
    """A reshape that keeps the first axis is written as (-1, …), so that no batch size stands in the graph."""
    return [-1, *after[1:]] if after and before[0] == after[0] else list(shape)


def trace(model, input_shape, check=True):
    """The network that `model` computes on inputs of `input_shape` (N,C,H,W), as a Graph; N may be any batch size.

    Arrays are copied. `check` runs model and graph on fresh inputs and compares every bit; without it nothing is computed at all.
    Several inputs: a list of shapes. Errors: TraceError for arrays from elsewhere and for a graph that differs from its model.

    >>> g = tc.trace(tc.nn.Sequential(tc.nn.Conv2d(1, 2, 3, rng=0), tc.nn.ReLU()), (1, 1, 5, 5))
    >>> [node.op for node in g.nodes]
    ['conv2d', 'relu']
    """
    shapes = [tuple(s) for s in ([input_shape] if np.isscalar(input_shape[0]) else input_shape)]
    if any(len(s) < 2 or min(s) < 1 for s in shapes):
        raise ValueError(f"input_shape must be (N, …) with positive lengths, not {input_shape}")
    kind = next((p.dtype for p in model.parameters()), np.dtype(np.float32))
    inputs = {f"input_{i + 1}" if len(shapes) > 1 else "input": np.broadcast_to(np.zeros((), kind), (2, *s[1:])) for i, s in enumerate(shapes)}
    recorder = Recorder(model, inputs)
    mode = _modes(model)
    before = set_recorder(recorder)
    try:
        model.eval()
        with no_grad():
            result = model(*(Tensor(x) for x in inputs.values()))
    finally:
        set_recorder(before)
        _restore(mode)
    results = result if isinstance(result, (tuple, list)) else (result,)
    outputs = []
    for y in results:
        if not isinstance(y, Tensor) or id(y.data) not in recorder.names:
            raise TraceError(f"the model returns {'an array from elsewhere' if isinstance(y, Tensor) else type(y).__name__}, not the result of an operation")
        outputs.append(recorder.names[id(y.data)])
    graph = Graph({name: x.shape[1:] for name, x in inputs.items()}, tuple(recorder.nodes), tuple(outputs), recorder.parameters, recorder.buffers)
    graph = graph.replace()
    graph = graph.with_arrays({name: np.array(a, order="C") for name, a in graph.arrays().items()})
    if check:
        _compare(model, graph, kind)
    return graph


def _modes(model):
    return [(module, module.training) for module in model.modules()]


def _restore(mode):
    for module, training in mode:
        object.__setattr__(module, "training", training)


def _compare(model, graph, kind):
    """Model and graph on fresh inputs: evaluation with batches of 1 and 3, training with a batch of 2, equal in every bit."""
    rng = np.random.default_rng(0)
    mode = _modes(model)
    buffers = [(module, dict(module._buffers)) for module in model.modules()]
    dice = [(module, module.rng) for module in model.modules() if "rng" in module.__dict__]
    try:
        for batch, training in ((1, False), (3, False), (2, True)):
            xs = [rng.standard_normal((batch, *shape)).astype(kind) for shape in graph.inputs.values()]
            model.train(training)
            model.seed(1)
            try:
                with no_grad():
                    theirs = model(*(Tensor(x.copy()) for x in xs))
            except ValueError:
                if training:            # a model that cannot train on two pictures (batch statistics of one number) has no training to compare
                    continue
                raise
            ours = run(graph, *xs, training=training, rng=np.random.default_rng(1))
            theirs = theirs if isinstance(theirs, (tuple, list)) else (theirs,)
            for name, a, b in zip(graph.outputs, theirs, ours if isinstance(ours, tuple) else (ours,)):
                if a.shape != b.shape or not np.array_equal(a.data, b, equal_nan=True):
                    raise TraceError(f"the graph's {name} differs from the model's on a fresh input with batch {batch} "
                                     f"({'training' if training else 'evaluation'} mode): does forward branch on data, or on the batch size?")
    finally:
        _restore(mode)
        for module, held in buffers:
            module._buffers.update(held)
        for module, generator in dice:
            module.rng = generator
