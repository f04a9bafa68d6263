"""AdaRound carried through a network: each weight rounded up or down as its own layer's output asks for.

For every layer the float network is run on calibration pictures, G = E[x xᵀ] of the windows its filters see is gathered, one a
group, and compress/quantize.adaround chooses the codes; scales are those of least squared error a filter.
Source: Nagel et al., "Up or down?" (2020).
"""
import numpy as np

from .. import train
from ..compress import quantize as pure
from ..formulas import conv2d_geometry
from ..graph import Node, fold_batch_norms, run
from ..graph.structure import unused
from ._checks import check_graph
from .aware import FLOAT, layer_bits


def grams(x, w_shape, stride=1, padding=0, dilation=1, groups=1):
    """E[x xᵀ] over all windows, (G,K,K) float64, K = C/G KH KW: x (N,C,H,W) for a weight (F,C/G,KH,KW); padding counts as 0.

    >>> tc.apply.rounding.grams(np.ones((1, 2, 3, 3)), (4, 1, 1, 1), groups=2).tolist()
    [[[1.0]], [[1.0]]]
    """
    g = conv2d_geometry(x.shape, w_shape, stride, padding, dilation, groups)
    wide = np.pad(x, ((0, 0), (0, 0), (g.top, g.bottom), (g.left, g.right)))
    span = ((g.kh - 1) * g.dh + 1, (g.kw - 1) * g.dw + 1)
    windows = np.lib.stride_tricks.sliding_window_view(wide, span, axis=(2, 3))[:, :, ::g.sh, ::g.sw, ::g.dh, ::g.dw]
    made = []
    for part in np.split(windows, groups, axis=1):                                # (N,C/G,OH,OW,KH,KW)
        columns = part.transpose(0, 2, 3, 1, 4, 5).reshape(-1, w_shape[1] * g.kh * g.kw)
        made.append(np.einsum("pi,pj->ij", columns, columns, dtype=np.float64, optimize=True) / len(columns))
    return np.array(made)


def adaround(g, calibration, bits=4, steps=500):
    """(Graph, weight -> (error of the nearest codes, error of those chosen)): BatchNorm folded, every weight S times its code.

    calibration  pictures; some dozens are enough. The error is E‖(ŵ - w) x‖² of the layer on its float inputs. The Graph keeps
    the scales (lsq nodes), so that tc.apply.quantize writes these codes. Invariant: no layer's error is above the nearest codes'.
    bits         of all weights, first and last included; or a dict weight -> bits: one of 32, or not named, stays as it is
    Cost: steps · F K² multiply-adds a layer. Errors: TypeError for no Graph; ValueError for bits, and names that are no weights;
    those of `calibrate` and compress/quantize.adaround.
    """
    check_graph(g)
    folded, chosen = fold_batch_norms(g), {n: b for n, b in layer_bits(g, bits, edge_bits=0).items() if b != FLOAT}
    found, x = {}, train.as_batch(np.asarray(calibration))
    layers = {node.inputs[1]: node for node in folded.nodes if node.op in ("conv2d", "linear")}
    wanted, inputs = {node.inputs[0] for node in layers.values()}, dict.fromkeys(folded.inputs, x)

    def look(node, outputs):
        inputs.update((name, y) for name, y in zip(node.outputs, outputs) if name in wanted)
    run(folded, x, each=look)
    for name, b in chosen.items():
        w, node = folded.array(name), layers[name]
        given = {k: v for k, v in node.attributes.items() if k in ("stride", "padding", "dilation", "groups")}
        seen = inputs[node.inputs[0]]
        if node.op == "linear":
            seen = seen.reshape(-1, w.shape[1], 1, 1)
        found[name] = _rounded(w, grams(seen, w.shape if w.ndim == 4 else (*w.shape, 1, 1), **given), b, steps)
    return with_steps(folded, {n: (w, s) for n, (w, s, _) in found.items()}, chosen), {n: e for n, (_, _, e) in found.items()}


def _rounded(w, gram, bits, steps):
    """(ŵ, scale (F,), (error of the nearest, error)) of one layer."""
    scale, limits = pure.search_scale(w, bits, steps=50), pure.code_range(bits, narrow=True)
    made = pure.dequantize(pure.adaround(w, scale, gram, bits, steps), scale, axis=0)
    return made, scale, tuple(pure.rounding_error(w, w_hat, gram) for w_hat in (pure.lsq(w, scale, *limits), made))


def with_steps(folded, weights, bits):
    """The graph with new weights, name -> (ŵ, scale (F,)), each behind the node that knows its scale; bits: name -> bits."""
    parameters, nodes, taken = dict(folded.parameters), [], {*folded.inputs, *folded.arrays(), *folded.producers()}
    for node in folded.nodes:
        name = node.inputs[1] if node.op in ("conv2d", "linear") else None
        if name in weights:
            step, coded = unused(f"{name}/step", taken), unused(f"{name}/quantized", taken)
            parameters[name], parameters[step] = weights[name]
            q_min, q_max = pure.code_range(bits[name], narrow=True)
            nodes.append(Node("lsq", (name, step), (coded,), dict(q_min=q_min, q_max=q_max), node.module))
            node = Node(node.op, (node.inputs[0], coded, *node.inputs[2:]), node.outputs, node.attributes, node.module)
        nodes.append(node)
    return folded.replace(nodes=tuple(nodes), parameters=parameters)
