"""BatchNorm folding: in evaluation BatchNorm is y = a x + b, and a convolution before it can do that itself.

    W' = W γ/sqrt(σ² + ε),   b' = (b - μ) γ/sqrt(σ² + ε) + β           (Jacob et al. 2018, equation 14; arrays: compress/quantize)
One pass over memory and 2C parameters less for every BatchNorm. Exact up to rounding, in evaluation mode only.
"""
from ..compress import quantize
from .structure import Node, unused


def fold_batch_norms(graph):
    """A graph in which every BatchNorm that follows a convolution alone is part of that convolution.

    A convolution whose result is also read by others keeps its BatchNorm, and so does one that shares its weight with others. The
    folded weight keeps its name; a bias appears beside it. |error| of the result: a few roundings a term, see tests/test_graph.
    """
    folded, parameters = {}, dict(graph.parameters)                       # folded: a value -> the node that makes it now, or None
    readers, makers, arrays = graph.consumers(), graph.producers(), graph.arrays()
    for norm in graph.nodes:
        conv = makers.get(norm.inputs[0]) if norm.op == "batch_norm" else None
        if conv is None or not foldable(graph, conv, norm, readers):
            continue
        x, w, b = (*conv.inputs, None)[:3]
        gamma, beta, mean, var = (None if i is None else arrays[i] for i in norm.inputs[1:5])
        bias = b or unused(f"{w.removesuffix('weight')}bias", {*arrays, *parameters, *graph.inputs, *makers})
        parameters[w], parameters[bias] = quantize.fold_batch_norm(arrays[w], None if b is None else arrays[b], gamma, beta,
                                                                   mean, var, norm.attributes.get("eps", 1e-5))
        folded[conv.outputs[0]] = Node("conv2d", (x, w, bias), norm.outputs[:1], conv.attributes, conv.module)
        folded[norm.outputs[0]] = None
    nodes = (folded.get(node.outputs[0], node) for node in graph.nodes)
    return graph.replace(nodes=tuple(node for node in nodes if node is not None), parameters=parameters)


def foldable(graph, conv, norm, readers):
    """A convolution that only this BatchNorm reads, with arrays of its own, and a BatchNorm with statistics that nobody reads."""
    own, arrays = [*conv.values()[1:], *norm.values()[1:]], graph.arrays()
    return (conv.op == "conv2d" and len(readers[norm.inputs[0]]) == 1 and norm.inputs[0] not in graph.outputs
            and arrays.keys() >= set(own) and len(norm.inputs) == 5 and None not in norm.inputs[3:]
            and all(len(readers[name]) == 1 and name not in graph.outputs for name in conv.values()[1:])
            and not any(name in readers or name in graph.outputs for name in norm.outputs[1:]))
