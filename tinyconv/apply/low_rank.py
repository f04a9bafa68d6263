"""Low-rank factors carried through a network: a convolution or linear layer becomes a chain of thinner ones, where that saves MACs.

    linear (F,C)        -> (k,C) then (F,k)                        pays for k < FC/(F+C)
    channel_out         -> KxK to k maps, then 1x1;      channel_in -> 1x1 to k maps, then KxK;      spatial -> Kx1, then 1xK
    tucker2             -> 1x1, KxK between j and k maps, 1x1;      cp -> 1x1, depthwise Kx1 and 1xK, 1x1
The bias goes to the last. Linear layers and 1x1 convolutions are pairs whatever the kind: tucker2 and cp are for windows. Weights
and their errors: compress/lowrank; strides, padding and MACs of the chains: formulas.low_rank_conv_geometries.

One budget for all layers (macs=) is shared so that the sum of the layers' relative squared errors becomes small
(scope="global", compress.lowrank.share_budget), or every layer gets the same fraction of its own MACs (scope="uniform", the
control). The errors of cp are known only when it has run, so that it is always shared uniformly.
"""
import warnings
from typing import NamedTuple

import numpy as np

from ..compress import lowrank as pure
from ..cost import macs as macs_of
from ..formulas import (LOW_RANK_KINDS, Conv2dGeometry, conv2d_geometry, conv2d_macs, linear_macs, low_rank_conv_geometries,
                        low_rank_conv_macs, low_rank_linear_macs)
from ..graph import Node, shapes
from ..graph.structure import unused
from ._checks import SCOPES, check_graph, layer_weights
from .rank_choice import own_rank, shared_ranks

KINDS = LOW_RANK_KINDS


class Layer(NamedTuple):
    """A layer that may be replaced: its node and weight, the form of its chain, its sizes, what it costs now."""

    node: Node
    w: np.ndarray
    form: str
    geometry: Conv2dGeometry
    macs: int

    def cost(self, rank):
        """MACs of the chain of this rank, for one image."""
        if self.form == "linear":
            return low_rank_linear_macs(self.w.shape[1], self.w.shape[0], rank, n=self.macs // self.w.size)
        return low_rank_conv_macs(self.geometry, rank, self.form)


def lowrank(g, energy=None, ratio=None, macs=None, kind="channel_out", layers=None, scope=None, seed=0, report=None):
    """A Graph in which layers are replaced by chains of lower rank wherever that saves MACs.

    energy   keep the least rank with this share of ‖w‖² in every layer, in (0, 1];  ratio  instead: this share of the full rank
    macs     instead: a budget for the whole network (one image), never exceeded; scope: "global" or "uniform", see above
    kind     how convolutions are split (the others are pairs): channel_out, channel_in, spatial, tucker2 (HOOI) or cp
    layers   names of weights to consider (None: all convolutions without groups and all linear layers; a weight that several
             layers share stays whole);  seed  of the random starts of cp
    report   a list that receives one dict a layer replaced: weight, kind, rank, macs before and after, the weight's relative
             error, and for cp whether the result is degenerate
    Errors: ValueError for unknown layers or kinds, unless exactly one of energy, ratio and macs is given, and for a budget that
    rank 1 everywhere would exceed. Warns of degenerate cp results (compress/lowrank/polyadic).

    >>> g = tc.trace(tc.nn.Linear(64, 32, rng=0), (1, 64))
    >>> half = tc.apply.lowrank(g, ratio=0.25)
    >>> [(node.op, node.inputs[1]) for node in half.nodes], tc.cost.macs(g), tc.cost.macs(half)
    ([('linear', 'first.weight'), ('linear', 'second.weight')], 2048, 768)
    """
    check_graph(g)
    _check_arguments(energy, ratio, macs, kind, scope)
    found = _layers(g, kind, layers)
    if macs is not None:
        ranks = shared_ranks(found, macs, macs_of(g), "uniform" if kind == "cp" else scope or "global", seed)
    else:
        ranks = {name: own_rank(layer, energy, ratio, seed) for name, layer in found.items()}
    parameters, chains, rows = dict(g.parameters), {}, []
    for name, layer in found.items():
        if ranks[name] is not None and layer.cost(ranks[name]) < layer.macs:
            weights, row = _factors(layer, ranks[name], seed)
            chains[name] = _chain(g, layer, ranks[name], weights, parameters)
            rows.append(row)
    degenerate = [row["weight"] for row in rows if row["degenerate"]]
    if degenerate:
        warnings.warn(f"cp is degenerate in {', '.join(degenerate)}: terms larger than the weight cancel each other; another rank "
                      "may do better", RuntimeWarning, stacklevel=2)
    if report is not None:
        report.extend(rows)
    nodes = [new for node in g.nodes for new in (chains.get(node.inputs[1], [node]) if len(node.inputs) > 1 else [node])]
    return g.replace(nodes=tuple(nodes), parameters=parameters)


def _check_arguments(energy, ratio, macs, kind, scope):
    """One way of choosing ranks, with a value that makes sense; a kind and a scope that there are."""
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}")
    given = {name: value for name, value in (("energy", energy), ("ratio", ratio), ("macs", macs)) if value is not None}
    if len(given) != 1:
        raise ValueError(f"give either energy or ratio or macs, one of them, not energy={energy}, ratio={ratio} and macs={macs}")
    (name, value), = given.items()
    if name != "macs" and not 0 < value <= 1:
        raise ValueError(f"{name} must lie in (0, 1], not {value}")
    if scope is not None and (scope not in SCOPES or macs is None):
        raise ValueError(f"scope must be one of {', '.join(SCOPES)} and goes with macs, not {scope!r} with {name}")
    if scope == "global" and kind == "cp":
        raise ValueError('scope must be "uniform" for kind "cp": no formula gives its errors before it has run')


def _layers(g, kind, chosen):
    """weight name -> Layer, for the layers to consider. Errors: ValueError naming those that cannot be."""
    readers, weights, known = g.consumers(), layer_weights(g), shapes(g)
    able = {name for name in weights if len(readers[name]) == 1 and readers[name][0].attributes.get("groups", 1) == 1}
    if chosen is not None and not set(chosen) <= able:
        raise ValueError(f"layers without a low-rank form here: {', '.join(sorted(set(chosen) - able))}")
    found = {}
    for name, w in weights.items():
        if name in able and (chosen is None or name in chosen):
            node = readers[name][0]
            x_shape = known[node.inputs[0]]
            if node.op == "linear":
                rows = int(np.prod(x_shape[:-1]))
                found[name] = Layer(node, w, "linear", None, linear_macs(w.shape[1], w.shape[0], n=rows))
            else:
                a = node.attributes
                whole = conv2d_geometry(x_shape, w.shape, a.get("stride", 1), a.get("padding", 0), a.get("dilation", 1))
                form = "channel_out" if whole.kh * whole.kw == 1 and kind in ("tucker2", "cp") else kind
                found[name] = Layer(node, w, form, whole, conv2d_macs(whole.c, whole.f, (whole.kh, whole.kw), whole.oh, whole.ow))
    return found


# ---- chains ----------------------------------------------------------------------------------------------------------

def _factors(layer, rank, seed):
    """The chain's weights, the first to run first, and the row of the report."""
    degenerate = None
    if layer.form == "linear":
        weights, back = pure.svd_linear(layer.w, rank), lambda *parts: pure.restore(*parts, "linear")
    elif layer.form == "tucker2":
        weights, back = pure.hooi(layer.w, rank), pure.restore_tucker2
    elif layer.form == "cp":
        found = pure.cp(layer.w, rank, seed=seed)
        weights, back, degenerate = found.weights, pure.restore_cp, found.degenerate
    else:
        weights, back = pure.svd_conv(layer.w, rank, layer.form), lambda *parts: pure.restore(*parts, layer.form)
    error = np.linalg.norm(layer.w - back(*weights)) / (np.linalg.norm(layer.w.astype(np.float64)) or 1.0)
    return weights[::-1], dict(weight=layer.node.inputs[1], kind=layer.form, rank=rank, before=layer.macs, after=layer.cost(rank),
                               error=float(error), degenerate=degenerate)


def _attributes(geometry):
    """A convolution's attributes, from its geometry."""
    g = geometry
    return dict(stride=[g.sh, g.sw], padding=[[g.top, g.bottom], [g.left, g.right]], dilation=[g.dh, g.dw], groups=g.groups)


def _chain(g, layer, rank, weights, parameters):
    """The nodes that take the place of one; their weights go into `parameters`."""
    node, nodes = layer.node, []
    attributes = [{}, {}] if layer.form == "linear" else \
        [_attributes(part) for part in low_rank_conv_geometries(layer.geometry, rank, layer.form)]
    taken = {*parameters, *g.buffers, *g.inputs, *g.producers()}
    stem, x = node.inputs[1].removesuffix("weight"), node.inputs[0]
    for i, (w, word) in enumerate(zip(weights, ("first", "second", "third", "fourth"))):
        last = i == len(weights) - 1
        name = unused(f"{stem}{word}.weight", taken)
        y = node.outputs if last else (unused(f"{node.outputs[0]}/between", taken),)
        taken |= {name, *y}
        parameters[name] = w
        bias = node.inputs[2:3] or (None,)
        nodes.append(Node(node.op, (x, name, *(bias if last else (None,))), y, attributes[i], node.module))
        x = y[0]
    return nodes
