"""Taking coupled channels out of a graph, physically; or only masking them, to prove that the two are the same.

Removal slices every array along every axis that is bound to a channel, and lets the nodes follow: a depthwise convolution has
fewer groups, a split smaller pieces, a shuffle becomes the explicit order of what remains (`take_channels`, 0 MACs). A mean over
channels goes on dividing by as many as there were, and a maximum is never below the 0 of those that are gone (spatial attention
asks for both); local response normalisation remembers the places of the channels it still has, so that nobody gets new neighbours.
Masking multiplies the same channels by 0 at the inputs of their consumers (convolution and linear layers, folds over channels, local
response normalisation), after BatchNorm and activation. Invariant: removed(x) == masked(x).
"""
import numpy as np

from .coupling import couple
from .following import folded, picked
from .structure import GraphError, Node


def _kept(c, gone):
    """name -> mask over the channels of each value, True: it stays. Whole groups go, and no value may lose all."""
    strange = {int(root) for root in gone} - c.groups.keys()
    if strange:
        raise GraphError(f"groups {sorted(strange)} cannot be removed: protected, or no groups of this graph")
    kept, gone = {}, np.array(list(gone), dtype=np.int64)
    for name, ids in c.ids.items():
        kept[name] = ~np.isin(c.roots(ids), gone)
        if not kept[name].any():
            raise GraphError(f"{name}: all {len(ids)} channels would be removed; at least one must stay")
    return kept


def _following(c, node, kept):
    """The nodes that take a node's place when some channels are gone: itself, with other attributes, or two for a fold."""
    attributes = dict(node.attributes)
    before = kept.get(node.inputs[0]) if node.inputs else None
    if before is None or before.all():
        return [node]
    if node.op == "conv2d" and attributes.get("groups", 1) == len(before) > 1:
        attributes["groups"] = int(before.sum())
    elif node.op == "split" and attributes["axis"] == 1:
        attributes["sizes"] = [int(kept[output].sum()) for output in node.outputs]
    elif node.op in ("channel_shuffle", "take_channels", "slice"):
        order = picked(node, c.shapes[node.inputs[0]])
        if order is not None:
            rank = np.cumsum(before) - 1
            left = [int(rank[i]) for i in order if before[i]]
            return [Node("take_channels", node.inputs, node.outputs, {"indices": left}, node.module)]
    elif node.op == "reshape":
        attributes["shape"] = [*attributes["shape"][:1], int(kept[node.outputs[0]].sum()), *attributes["shape"][2:]]
    elif node.op == "local_response_norm":
        places = attributes.get("places", range(len(before)))
        attributes["places"] = [int(place) for place, stays in zip(places, before) if stays]
    elif 1 in folded(node, c.shapes[node.inputs[0]]) and node.op != "sum":
        return _fold_with_zeros(c, node)
    return [Node(node.op, node.inputs, node.outputs, attributes, node.module)]


def _fold_with_zeros(c, node):
    """A mean or maximum over channels of which some are 0 and gone: Σ kept / how many there were; max(max kept, 0)."""
    (x, *_), (y,) = node.inputs, node.outputs
    shape, between = c.shapes[x], c.graph.fresh(f"{y}/kept")
    if node.op == "max":
        return [Node("max", (x,), (between,), node.attributes, node.module), Node("relu", (between,), (y,), {}, node.module)]
    many = float(np.prod([shape[axis] for axis in folded(node, shape)]))
    return [Node("sum", (x,), (between,), node.attributes, node.module), Node("div", (between, many), (y,), {}, node.module)]


def remove_channels(graph, gone, coupling=None):
    """A smaller graph without the coupled groups `gone` (root numbers, keys of `couple(graph).groups`).

    Exact: every kept number is the number it was. Cost: keeping f of F filters and c of C channels multiplies a convolution's
    MACs by (f/F)(c/C), a depthwise one's by c/C. Errors: GraphError for protected groups, and where a value would lose all its
    channels.
    """
    c = coupling or couple(graph)
    kept, drop, arrays = _kept(c, gone), {}, graph.arrays()
    for root in gone:
        for name, axis, index in c.groups[int(root)]:
            drop.setdefault((name, axis), []).append(index)
    for (name, axis), indices in drop.items():
        arrays[name] = np.ascontiguousarray(np.delete(arrays[name], indices, axis=axis))
    nodes = tuple(new for node in graph.nodes for new in _following(c, node, kept))
    homes = {home: {name: arrays[name] for name in getattr(graph, home)} for home in ("parameters", "buffers")}
    return graph.replace(nodes=nodes, **homes)


def _consumes(c, node, x):
    """Does the node read value x across its channels? Depthwise convolutions carry channels on and do not."""
    if node.op == "conv2d":
        return not node.attributes.get("groups", 1) == len(c.ids[x]) > 1
    return node.op in ("linear", "local_response_norm") or 1 in folded(node, c.shapes[x])


def mask_channels(graph, gone, coupling=None):
    """A graph of the same size in which the channels of `gone` are multiplied by 0 where they are consumed: at the input of a
    convolution, a linear layer, a local response normalisation, or a sum, mean or maximum over channels. What `remove_channels` must equal.
    """
    c = coupling or couple(graph)
    kept = _kept(c, gone)
    nodes, buffers, made = [], dict(graph.buffers), {}
    for node in graph.nodes:
        x = node.inputs[0] if node.inputs and node.inputs[0] in kept else None
        if x is not None and not kept[x].all() and _consumes(c, node, x):
            if x not in made:
                mask, masked = graph.fresh(f"{x}/mask"), graph.fresh(f"{x}/masked")
                shape = (len(kept[x]), *[1] * (len(c.shapes[x]) - 2))
                buffers[mask] = kept[x].astype(_dtype(graph)).reshape(shape)
                nodes.append(Node("mul", (x, mask), (masked,), {}, node.module))
                made[x] = masked
            node = Node(node.op, (made[x], *node.inputs[1:]), node.outputs, node.attributes, node.module)
        nodes.append(node)
    return graph.replace(nodes=tuple(nodes), buffers=buffers)


def _dtype(graph):
    """The type of the graph's weights."""
    return next(a.dtype for a in graph.arrays().values() if a.dtype.kind == "f")
