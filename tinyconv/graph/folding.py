"""BatchNorm folding: in evaluation BatchNorm is y = a x + b, and a convolution before it can do that itself.

    W' = W γ/sqrt(σ² + ε),   b' = (b - μ) γ/sqrt(σ² + ε) + β            (Jacob et al. 2018, equation 14; arrays: compress/quantize)
One pass over memory and 2C parameters less for every BatchNorm. Exact up to rounding, in evaluation mode only.
"""
import numpy as np

from ..compress import quantize
from .structure import Node


def fold_batch_norms(graph):
    """A graph in which every BatchNorm that follows a convolution alone is part of that convolution.

    A convolution whose result is also read by others keeps its BatchNorm. The folded weight keeps its name; a bias appears beside it.
    """
    readers, makers = graph.consumers(), graph.producers()
    nodes, arrays, renamed = list(graph.nodes), graph.arrays(), {}
    parameters = dict(graph.parameters)
    for norm in graph.nodes:
        if norm.op != "batch_norm":
            continue
        conv = makers.get(norm.inputs[0])
        if conv is None or conv.op != "conv2d" or len(readers[norm.inputs[0]]) > 1 or norm.inputs[0] in graph.outputs:
            continue
        if any(len(readers[name]) > 1 for name in conv.values()[1:]):        # a weight shared by several layers stays as it is
            continue
        x, w, b = (*conv.inputs, None)[:3]
        gamma, beta, mean, var = (None if i is None else arrays[i] for i in norm.inputs[1:5])
        mean, var = np.asarray(mean), np.asarray(var)
        gamma, beta = np.ones_like(mean) if gamma is None else gamma, np.zeros_like(mean) if beta is None else beta
        new_w, new_b = quantize.fold_batch_norm(arrays[w], None if b is None else arrays[b], gamma, beta, mean, var, norm.attributes["eps"])
        bias = b if b is not None else graph.fresh(w.removesuffix("weight") + "bias")
        parameters[w], parameters[bias] = new_w.astype(arrays[w].dtype), new_b.astype(arrays[w].dtype)
        folded = Node("conv2d", (x, w, bias), (norm.outputs[0],), conv.attributes, conv.module)
        nodes[nodes.index(conv)] = folded
        nodes.remove(norm)
        renamed[conv.outputs[0]] = norm.outputs[0]
    return graph.replace(nodes=tuple(nodes), parameters=parameters)
