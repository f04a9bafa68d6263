"""Running a graph: each node's operation on the values named, in order. The oracle of every pass.

On arrays nothing is recorded; on Tensors (or with Tensors among `values`) every node goes on the tape, so that a graph trains.
`shapes` is the same walk on shapes alone. What an operation prepares from its constants is kept in the graph (`preparing`).
"""
import numpy as np

from ..ops import apply, lookup
from ..ops.dispatch import as_array, recorder
from ..tensor import Tensor
from .structure import GraphError


def _check_input(name, x, shape):
    if not isinstance(x, (np.ndarray, Tensor)):
        raise TypeError(f"input {name!r} must be an array or a Tensor, not {type(x).__name__}")
    if len(x.shape) != len(shape) + 1 or tuple(x.shape[1:]) != tuple(shape) or x.shape[0] < 1:
        wanted = f"(N, {', '.join(map(str, shape))}) with N of at least 1"
        raise GraphError(f"input {name!r} must have shape {wanted}, not {tuple(x.shape)}")


def run(graph, *inputs, training=False, rng=None, values=None, updates=None, each=None):
    """The network's result on `inputs`: arrays in, arrays out; Tensors in, Tensors out. Several outputs come as a tuple.

    training, rng    what batch normalisation and dropout ask for at run time
    values           name -> array or Tensor, used in place of the graph's own parameters and buffers
    updates          a dict that receives the new running statistics by buffer name, when training
    each             called as each(node, outputs) after every node: to look inside
    Errors: GraphError for a wrong number or shape of inputs.
    """
    if len(inputs) != len(graph.inputs):
        raise GraphError(f"the network takes {len(graph.inputs)} inputs ({', '.join(graph.inputs)}), not {len(inputs)}")
    known = graph.arrays()
    if not (values or {}).keys() <= known.keys():
        raise GraphError(f"values must be named as the graph's arrays, not {', '.join(sorted(values.keys() - known.keys()))}")
    known.update(values or {})
    for (name, shape), x in zip(graph.inputs.items(), inputs):
        _check_input(name, x, shape)
        known[name] = x
    taped = any(isinstance(v, Tensor) for v in known.values())
    given, new = {"training": training, "rng": rng}, {} if updates is None else updates
    ready = None if recorder() else graph.prepared
    for number, (node, finished) in enumerate(zip(graph.nodes, graph.finished)):
        op = lookup(node.op)
        arguments = [known[v] if isinstance(v, str) else v for v in node.inputs]
        attributes = {**node.attributes, **{key: given[key] for key in op.runtime}} if op.runtime else node.attributes
        if op.prepare is not None and ready is not None:
            results = ready(number, op, [as_array(v) for v in arguments], attributes)
            results = Tensor(results) if taped else results
        else:
            results = apply(node.op, *arguments, **attributes) if taped else op.forward(*arguments, **attributes)[0]
        results = results if isinstance(results, tuple) else (results,)
        known.update(zip(node.outputs, results))
        for source, target in op.updates if training else ():
            if isinstance(node.inputs[target], str):                       # a later node that shares the statistic finds it moved
                new[node.inputs[target]] = known[node.inputs[target]] = _array(results[source])
        if each is not None:
            each(node, results)
        for name in finished:
            del known[name]
    results = tuple(known[name] for name in graph.outputs)
    return results[0] if len(results) == 1 else results


def _array(value):
    return value.data if isinstance(value, Tensor) else value


def shapes(graph, batch=1):
    """The shape of every value, without running anything: name -> shape, by each operation's shape rule.

    Errors: GraphError naming the node whose shapes do not fit.
    """
    known = {name: array.shape for name, array in graph.arrays().items()}
    known.update({name: (batch, *shape) for name, shape in graph.inputs.items()})
    for node in graph.nodes:
        op = lookup(node.op)
        arguments = [known[v] if isinstance(v, str) else None for v in node.inputs]
        try:
            found, _ = result_shapes(op, arguments, node.attributes)
        except ValueError as error:
            raise GraphError(f"{node.outputs[0]}: {error}") from error
        if len(found) != len(node.outputs):
            raise GraphError(f"{node.outputs[0]}: {node.op} has {len(found)} results here, not {len(node.outputs)}")
        known.update(zip(node.outputs, found))
    return known


def result_shapes(op, shapes, attributes):
    """(shapes of all results, whether they come as a tuple: a split into one piece does), by the operation's shape rule."""
    found = op.shape(*shapes, **attributes)
    several = bool(found) and isinstance(found[0], tuple)
    return tuple(found) if several else (tuple(found),), several
