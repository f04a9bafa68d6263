"""Running a graph: each node's operation on the values named, in order. The oracle of every pass.

On arrays nothing is recorded; on Tensors (or with Tensors among `values`) every node goes on the tape, so that a graph trains.
`shapes` is the same walk on shapes alone. Where nothing goes on the tape, what an operation prepares from its constants is kept in the graph
(`preparing`), and convolutions do what stands behind them in their own pass (`joining`): the same numbers, bit by bit, sooner.
"""
import numpy as np

from ..ops import apply, lookup
from ..ops.dispatch import as_array, recorder
from ..tensor import Tensor, grad_enabled
from .preparing import prepare
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
    each             called as each(node, outputs) after every node: to look inside (no nodes are joined then)
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
    tensors = any(isinstance(v, Tensor) for v in known.values())
    taped = tensors and _taped(known.values())
    if tensors and not taped:
        known = {name: as_array(v) for name, v in known.items()}
    given, new = {"training": training, "rng": rng}, {} if updates is None else updates
    ready = None if taped or recorder() else graph.prepared.begin(known)
    for step in graph.nodes_apart if taped or each is not None else graph.nodes_joined:
        y = _prepared(step, known, ready, each) if step.constant and ready is not None else None
        if y is not None:
            known[step.nodes[-1].outputs[0]], results = y, (y,)
        else:
            for node in step.nodes:
                results = _results(node, known, given, taped)
                known.update(zip(node.outputs, results))
                for source, target in lookup(node.op).updates if training else ():
                    if isinstance(node.inputs[target], str):                       # a later node that shares the statistic finds it moved
                        new[node.inputs[target]] = known[node.inputs[target]] = _array(results[source])
            for node in step.nodes[:-1]:
                del known[node.outputs[0]]
        if each is not None:
            each(step.nodes[-1], tuple(map(Tensor, results)) if tensors and not taped else results)
        for name in step.finished:
            del known[name]
    results = tuple(Tensor(known[name]) if tensors and not taped else known[name] for name in graph.outputs)
    return results[0] if len(results) == 1 else results


def _taped(values):
    """Must these go through `apply`: is a gradient asked for, or a recorder there, or are there two types of floats (it says where they meet)?"""
    if recorder() or grad_enabled() and any(isinstance(v, Tensor) and v.requires_grad for v in values):
        return True
    return len({v.dtype for v in values if isinstance(v, (np.ndarray, Tensor)) and v.dtype.kind == "f"}) > 1


def _results(node, known, given, taped):
    """The outputs of one node, always as a tuple."""
    op = lookup(node.op)
    arguments = [known[v] if isinstance(v, str) else v for v in node.inputs]
    attributes = {**node.attributes, **{key: given[key] for key in op.runtime}} if op.runtime else node.attributes
    results = apply(node.op, *arguments, **attributes) if taped else op.forward(*arguments, **attributes)[0]
    return results if isinstance(results, tuple) else (results,)


def _prepared(step, known, ready, each):
    """The result of a step by what was prepared for it, or None if nothing was, or it cannot do the step in one pass."""
    node = step.nodes[0]
    x, kept = known[node.inputs[0]], ready.get(step.number)
    if kept is None or kept.shape != x.shape or kept.dtype != x.dtype or each is not None and not kept.holds(known):
        ready.pop(step.number, None)                                               # not two at a time in memory
        kept = prepare(lookup(node.op), x, node.inputs[1:], node.attributes, known)
        if kept is None:
            return None
        ready[step.number] = kept
    if len(step.nodes) == 1:
        return kept.run(x)
    run, R = kept.run, None if step.residual is None else known[step.residual]
    if run.joined is None or R is not None and not (run.adds and R.shape == run.shape and R.dtype == x.dtype):
        return None
    return run.joined(x, R, step.low, step.high)


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
