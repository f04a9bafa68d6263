"""`trace`: run a model on shapes alone, write down every operation, and get the network as data.

Every array that reaches an operation must be an input, a parameter, a buffer, or the result of an operation: an array that came
from elsewhere (a constant made inside `forward`, something computed from `.data`) would be frozen into the network unseen, so
it is refused and the module named. Numbers are fine. What a graph cannot say is refused as well:
    the batch size, or a decision on data    two recordings, with batches of 2 and 3 and other contents, must be the same
    detach(), `.data`, no_grad() inside      a graph has one tape for all; every gradient it would pass on must pass here too
    an operation that is always training     its mode is given at run time
Then the model is run beside its graph on fresh inputs of two batch sizes and in training mode: if a bit of a result or of a
running statistic differs, the trace is refused, and the first operation that differs named.
"""
from itertools import zip_longest

import numpy as np

from ..formulas.geometry import is_integer
from ..ops import lookup, set_recorder
from ..tensor import Tensor, grad_enabled
from .comparing import compare, in_mode
from .recording import Recorder, TraceError
from .structure import Graph, Node


def trace(model, input_shape, check=True):
    """The network that `model` computes on inputs of `input_shape` (N,C,H,W), as a Graph; N may be any batch size.

    Arrays are copied. `check` runs model and graph on fresh inputs and compares every bit; without it nothing is computed at all.
    Several inputs: a list of shapes. Errors: TraceError naming the module, for what a graph cannot say (top of the page), and for
    a graph that differs from its model.

    >>> g = tc.trace(tc.nn.Sequential(tc.nn.Conv2d(1, 2, 3, rng=0), tc.nn.ReLU()), (1, 1, 5, 5))
    >>> [node.op for node in g.nodes]
    ['conv2d', 'relu']
    """
    shapes = input_shapes(input_shape)
    kind = next((p.dtype for p in model.parameters()), np.dtype(np.float32))
    two, three = _record(model, shapes, kind, 2, 1), _record(model, shapes, kind, 3, -1)
    inputs = {name: x.shape[1:] for name, x in two.inputs.items()}
    graph = Graph(inputs, _common(two, three), two.outputs, two.parameters, two.buffers).replace()
    graph = graph.with_arrays({name: np.array(a, order="C") for name, a in graph.arrays().items()})
    if check:
        compare(model, graph, kind)
    return graph


def input_shapes(input_shape):
    """A shape (N,C,H,W), or a list of them, as a list of tuples. Errors: ValueError for what is no shape."""
    several = hasattr(input_shape, "__len__") and len(input_shape) > 0 and hasattr(input_shape[0], "__len__")
    shapes = [tuple(s) for s in (input_shape if several else [input_shape])] if hasattr(input_shape, "__len__") else [()]
    if any(len(s) < 2 or not all(is_integer(n) and n > 0 for n in s) for s in shapes):
        raise ValueError(f"input_shape must be (N, …) with positive lengths, not {input_shape!r}")
    return shapes


def _record(model, shapes, kind, batch, content):
    """One recording of the model in evaluation mode, on inputs of this batch size whose numbers are all `content`."""
    names = [f"input_{i}" if len(shapes) > 1 else "input" for i in range(1, len(shapes) + 1)]
    number = np.full((), content, kind)
    recorder = Recorder(model, {name: np.broadcast_to(number, (batch, *shape[1:])) for name, shape in zip(names, shapes)})
    before = set_recorder(recorder)
    try:
        with in_mode(model, training=False):
            result = model(*(Tensor(x) for x in recorder.inputs.values()))
    finally:
        set_recorder(before)
    results = result if isinstance(result, (tuple, list)) else (result,)
    for y in results:
        if not isinstance(y, Tensor) or id(y.data) not in recorder.names:
            found = "a Tensor from elsewhere" if isinstance(y, Tensor) else f"a {type(y).__name__}"
            raise TraceError(f"the model must return results of operations (one Tensor, or a tuple of them), not {found}")
    recorder.outputs = tuple(recorder.names[id(y.data)] for y in results)
    if grad_enabled():
        _check_tape(recorder, results)
    return recorder


def _check_tape(recorder, results):
    """Walk the tape back from the results: wherever the graph would pass a gradient on, the model must too."""
    makers, carries = {}, set(recorder.trained)
    for node in recorder.nodes:
        op = lookup(node.op)
        makers.update(dict.fromkeys(node.outputs, node))
        if op.vjp is not None and carries & set(node.values()):
            replaced = {source for source, _ in op.updates}
            carries.update(name for i, name in enumerate(node.outputs) if i not in replaced)
    stack, seen = list(results), set()
    while stack:
        y = stack.pop()
        name = recorder.names[id(y.data)]
        if name in seen or name not in makers or name not in carries:
            continue
        seen.add(name)
        parents = y._node.parents if y._node else [None] * len(makers[name].inputs)
        for source, parent in zip(makers[name].inputs, parents):
            if parent is not None:
                stack.append(parent)
            elif source in carries:
                raise TraceError(f"{_where(makers[name])} reads {source} off the tape: a graph cannot say `.data`, detach() or "
                                 "no_grad() inside forward, its gradients pass everywhere")


def _where(node):
    return f"{node.op} in {node.module or 'the model'}"


def _common(two, three):
    """The nodes of two recordings, in which no batch size stands. Errors: TraceError where the recordings differ."""
    nodes = []
    for a, b in zip_longest(two.nodes, three.nodes):
        attributes = None
        if a and b and (a.op, a.inputs, a.outputs) == (b.op, b.inputs, b.outputs):
            same = a.attributes if a.attributes == b.attributes else None
            attributes = _reshape(a, two.sizes, three.sizes) if a.op == "reshape" else same
        if attributes is None:
            raise TraceError(f"{_where(a or b)} is another one for another input: forward must not depend on data or the batch "
                             "size (reshape keeps the batch first: x.reshape(x.shape[0], …))")
        nodes.append(Node(a.op, a.inputs, a.outputs, attributes, a.module))
    return tuple(nodes)


def _reshape(node, two, three):
    """The shape without the batch: -1 for the axis that follows it. None if a batch that came first would end up elsewhere."""
    both = (node.inputs[0], node.outputs[0])
    before, after = ([i for i, (m, n) in enumerate(zip(two[name], three[name])) if m != n] for name in both)
    if len(two[both[1]]) != len(three[both[1]]) or len(after) > 1 or before == [0] != after:
        return None
    return {"shape": [-1 if i in after else length for i, length in enumerate(two[node.outputs[0]])]}
