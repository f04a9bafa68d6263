"""Low-rank factors carried through a network: a convolution or linear layer becomes two thinner ones, where that saves MACs.

    linear (F,C)        -> (k,C) then (F,k)                        pays for k < FC/(F+C)
    channel_out         -> KxK to k maps, then 1x1;      channel_in -> 1x1 to k maps, then KxK;      spatial -> Kx1, then 1xK
The bias goes to the second. With the singular value decomposition the error of the weight is sqrt(Σ_{i>k} σ_i²) (Eckart & Young 1936).
"""
import numpy as np

from ..compress import lowrank as pure
from ..formulas import conv2d_geometry, conv2d_macs, linear_macs, low_rank_conv_macs, low_rank_linear_macs, pair
from ..graph import Node, shapes
from ..graph.structure import unused
from .pruning import _check_graph

KINDS = ("channel_out", "channel_in", "spatial")


def _rank(sigma, limit, energy, ratio):
    if energy is not None:
        return min(limit, pure.rank_by_energy(sigma, energy))
    return max(1, min(limit, round(ratio * limit)))


def _pair_attributes(a, kind):
    """Attributes of the first and the second convolution."""
    s, d = pair(a.get("stride", 1), "stride"), pair(a.get("dilation", 1), "dilation")
    p = a.get("padding", 0)
    plain = dict(stride=[1, 1], padding=[0, 0], dilation=[1, 1], groups=1)
    whole = dict(plain, stride=list(s), padding=p, dilation=list(d))
    if kind == "channel_out":
        return whole, plain
    if kind == "channel_in":
        return plain, whole
    if isinstance(p, (str, list)) and not (isinstance(p, list) and np.isscalar(p[0])):
        raise ValueError(f"kind spatial needs padding in one or two numbers, not {p!r}")
    ph, pw = pair(p, "padding")
    return (dict(plain, stride=[s[0], 1], padding=[ph, 0], dilation=[d[0], 1]), dict(plain, stride=[1, s[1]], padding=[0, pw], dilation=[1, d[1]]))


def _costs(node, known, kind, rank):
    """(MACs before, MACs after) of one layer for one picture."""
    x, w = known[node.inputs[0]], known[node.inputs[1]]
    if node.op == "linear":
        return linear_macs(w[1], w[0]), low_rank_linear_macs(w[1], w[0], rank)
    a = node.attributes
    g = conv2d_geometry(x, w, a.get("stride", 1), a.get("padding", 0), a.get("dilation", 1))
    return conv2d_macs(g.c, g.f, (g.kh, g.kw), g.oh, g.ow), low_rank_conv_macs(g, rank, kind)


def lowrank(g, energy=None, ratio=None, kind="channel_out", layers=None):
    """A Graph in which layers are replaced by two of lower rank wherever that saves MACs.

    energy   keep the least rank with this share of Σσ², in (0, 1];  ratio  instead: this share of the full rank
    kind     how convolutions are split: channel_out, channel_in or spatial (of 1x1 ones the first two are the same)
    layers   names of weights to consider (all convolutions without groups and all linear layers if None)
    Errors: ValueError for unknown layers or kinds, and unless exactly one of energy and ratio is given.
    """
    _check_graph(g)
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}")
    if (energy is None) == (ratio is None) or not 0 < (ratio if energy is None else energy) <= 1:
        raise ValueError(f"give either energy or ratio, in (0, 1], not energy={energy} and ratio={ratio}")
    known, nodes, parameters = shapes(g), [], dict(g.parameters)
    able = {n.inputs[1] for n in g.nodes if n.op == "linear" or n.op == "conv2d" and n.attributes.get("groups", 1) == 1}
    if layers is not None and not set(layers) <= able:
        raise ValueError(f"layers without a low-rank form here: {', '.join(sorted(set(layers) - able))}")
    uses = [n.inputs[1] for n in g.nodes if n.op in ("conv2d", "linear")]
    for node in g.nodes:
        if node.op not in ("conv2d", "linear") or node.inputs[1] not in able or layers is not None and node.inputs[1] not in layers \
                or uses.count(node.inputs[1]) > 1:
            nodes.append(node)
            continue
        w, form = g.array(node.inputs[1]), "linear" if node.op == "linear" else kind
        sigma = pure.singular_values(w, form)
        rank = _rank(sigma, pure.max_rank(w.shape, form), energy, ratio)
        before, after = _costs(node, known, form, rank)
        nodes.extend(_split(g, node, form, rank, parameters) if after < before else [node])
    return g.replace(nodes=tuple(nodes), parameters=parameters)


def _split(g, node, form, rank, parameters):
    """The two nodes that take the place of one; their weights go into `parameters`."""
    name, w = node.inputs[1], g.array(node.inputs[1])
    w2, w1 = pure.svd_linear(w, rank) if form == "linear" else pure.svd_conv(w, rank, form)
    taken = set(parameters) | set(g.buffers) | {o for n in g.nodes for o in n.outputs}
    stem = name.removesuffix("weight")
    first, second = unused(f"{stem}first.weight", taken), unused(f"{stem}second.weight", taken)
    parameters[first], parameters[second] = w1, w2
    between = unused(f"{node.outputs[0]}/between", taken)
    a1, a2 = ({}, {}) if form == "linear" else _pair_attributes(node.attributes, form)
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    return [Node(node.op, (node.inputs[0], first, None), (between,), a1, node.module), Node(node.op, (between, second, bias), node.outputs, a2, node.module)]
