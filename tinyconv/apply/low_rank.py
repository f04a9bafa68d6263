"""Low-rank factors carried through a network: a convolution or linear layer becomes two thinner ones, where that saves MACs.

    linear (F,C)        -> (k,C) then (F,k)                        pays for k < FC/(F+C)
    channel_out         -> KxK to k maps, then 1x1;      channel_in -> 1x1 to k maps, then KxK;      spatial -> Kx1, then 1xK
The bias goes to the second. With the singular value decomposition the error of the weight is sqrt(Σ_{i>k} σ_i²) (Eckart & Young
1936). Weights: compress/lowrank; strides, padding and MACs of the two: formulas.low_rank_conv_geometries.
"""
from ..compress import lowrank as pure
from ..formulas import (conv2d_geometry, conv2d_macs, linear_macs, low_rank_conv_geometries, low_rank_conv_macs,
                        low_rank_linear_macs)
from ..graph import Node, shapes
from ..graph.structure import unused
from ._checks import check_graph, layer_weights

KINDS = pure.KINDS


def lowrank(g, energy=None, ratio=None, kind="channel_out", layers=None):
    """A Graph in which layers are replaced by two of lower rank wherever that saves MACs.

    energy   keep the least rank with this share of Σσ², in (0, 1];  ratio  instead: this share of the full rank
    kind     how convolutions are split: channel_out, channel_in or spatial (of 1x1 ones the first two are the same)
    layers   names of weights to consider (None: all convolutions without groups and all linear layers; a weight that several
             layers share stays whole)
    Errors: ValueError for unknown layers or kinds, and unless exactly one of energy and ratio is given.

    >>> g = tc.trace(tc.nn.Linear(64, 32, rng=0), (1, 64))
    >>> half = tc.apply.lowrank(g, ratio=0.25)
    >>> [(node.op, node.inputs[1]) for node in half.nodes], tc.cost.macs(g), tc.cost.macs(half)
    ([('linear', 'first.weight'), ('linear', 'second.weight')], 2048, 768)
    """
    check_graph(g)
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}")
    if (energy is None) == (ratio is None) or not 0 < (ratio if energy is None else energy) <= 1:
        raise ValueError(f"give either energy or ratio, in (0, 1], not energy={energy} and ratio={ratio}")
    readers, weights = g.consumers(), layer_weights(g)
    able = {name for name in weights if len(readers[name]) == 1 and readers[name][0].attributes.get("groups", 1) == 1}
    if layers is not None and not set(layers) <= able:
        raise ValueError(f"layers without a low-rank form here: {', '.join(sorted(set(layers) - able))}")
    chosen = able if layers is None else set(layers)
    known, nodes, parameters = shapes(g), [], dict(g.parameters)
    for node in g.nodes:
        layer = node.op in ("conv2d", "linear") and node.inputs[1] in chosen
        nodes.extend(_replaced(g, node, known, kind, energy, ratio, parameters) if layer else [node])
    return g.replace(nodes=tuple(nodes), parameters=parameters)


def _replaced(g, node, known, kind, energy, ratio, parameters):
    """The one node, or two where that saves MACs; their weights go into `parameters`."""
    w, x_shape = g.array(node.inputs[1]), known[node.inputs[0]]
    form = "linear" if node.op == "linear" else kind
    sigma, limit = pure.singular_values(w, form), pure.max_rank(w.shape, form)
    rank = pure.rank_by_energy(sigma, energy) if ratio is None else max(1, round(ratio * limit))
    if form == "linear":
        before, after = linear_macs(w.shape[1], w.shape[0]), low_rank_linear_macs(w.shape[1], w.shape[0], rank)
        attributes = {}, {}
    else:
        a = node.attributes
        whole = conv2d_geometry(x_shape, w.shape, a.get("stride", 1), a.get("padding", 0), a.get("dilation", 1))
        before = conv2d_macs(whole.c, whole.f, (whole.kh, whole.kw), whole.oh, whole.ow)
        after = low_rank_conv_macs(whole, rank, kind)
        attributes = (_attributes(part) for part in low_rank_conv_geometries(whole, rank, kind))
    return _pair(g, node, form, rank, attributes, parameters) if after < before else [node]


def _attributes(geometry):
    """A convolution's attributes, from its geometry."""
    g = geometry
    return dict(stride=[g.sh, g.sw], padding=[[g.top, g.bottom], [g.left, g.right]], dilation=[g.dh, g.dw], groups=1)


def _pair(g, node, form, rank, attributes, parameters):
    """The two nodes that take the place of one."""
    name, w = node.inputs[1], g.array(node.inputs[1])
    w2, w1 = pure.svd_linear(w, rank) if form == "linear" else pure.svd_conv(w, rank, form)
    taken = {*parameters, *g.buffers, *g.inputs, *g.producers()}
    stem = name.removesuffix("weight")
    first, second = unused(f"{stem}first.weight", taken), unused(f"{stem}second.weight", taken)
    parameters[first], parameters[second] = w1, w2
    between = unused(f"{node.outputs[0]}/between", taken)
    (a1, a2), bias = attributes, node.inputs[2:3] or (None,)
    return [Node(node.op, (node.inputs[0], first, None), (between,), a1, node.module),
            Node(node.op, (between, second, *bias), node.outputs, a2, node.module)]
