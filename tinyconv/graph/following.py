"""How channels follow through an operation: which numbers its outputs carry, which arrays belong to them, what becomes one, what must stay.

`COUPLING` has an entry for every operation of the table: a rule (coupling, node), which reads and fills a `coupling.Coupling` and is run
in the order of the nodes, or a sentence saying why there is none. `picked` and `folded` say which channels a node takes and which axes it
folds; removal asks for both.
"""
import numpy as np

from ..ops import LOSSES, shaping


def _keep(c, node):
    """Output channels are input channels."""
    for output in node.outputs:
        c.ids[output] = c.ids[node.inputs[0]]


def mix(c, node):
    """Every output channel depends on every input channel in a way that removal would change: all stay."""
    for name in node.values():
        if name in c.ids:
            c.protect(c.ids[name])
    for output in node.outputs:
        shape = c.shapes[output]
        c.ids[output] = c.new(shape[1] if len(shape) > 1 else 1)
        c.protect(c.ids[output])


def _conv2d(c, node):
    x, w, b = (*node.inputs, None)[:3]
    ids, groups = c.ids[x], node.attributes.get("groups", 1)
    f, cg = c.shapes[w][:2]
    if groups == len(ids) and groups > 1:                                    # depthwise: channel c has filters c m … c m + m - 1
        out = np.repeat(ids, f // groups)
    else:
        out = c.new(f)
        if groups > 1:                                                       # every group must lose the same positions
            for g in range(1, groups):
                c.unite(ids[:cg], ids[g * cg:(g + 1) * cg])
                c.unite(out[:f // groups], out[g * (f // groups):(g + 1) * (f // groups)])
        c.bind(w, 1, ids[:cg])
    c.bind(w, 0, out)
    if b is not None:
        c.bind(b, 0, out)
    c.ids[node.outputs[0]] = out


def _linear(c, node):
    x, w, b = (*node.inputs, None)[:3]
    if len(c.shapes[x]) != 2:
        return mix(c, node)
    c.bind(w, 1, c.ids[x])
    out = c.ids[node.outputs[0]] = c.new(c.shapes[w][0])
    c.bind(w, 0, out)
    if b is not None:
        c.bind(b, 0, out)


def _batch_norm(c, node):
    ids = c.ids[node.inputs[0]]
    for name in node.inputs[1:]:
        if isinstance(name, str):
            c.bind(name, 0, ids)
    for output in node.outputs:
        c.ids[output] = ids


def elementwise(c, node):
    """Channels that meet are one; arrays are bound along the axis that meets the channels."""
    out = c.shapes[node.outputs[0]]
    if len(out) < 2:
        return mix(c, node)
    streams, arrays = [v for v in node.values() if v in c.ids], [v for v in node.values() if v not in c.ids]
    ids = next((c.ids[v] for v in streams if len(c.shapes[v]) == len(out) and c.shapes[v][1] == out[1]), None)
    if ids is None:
        return mix(c, node)
    for v in streams:
        if len(c.shapes[v]) == len(out) and c.shapes[v][1] == out[1]:
            c.unite(ids, c.ids[v])
        else:
            c.protect(c.ids[v])                                              # one number stretched over all channels
            if _meeting(c, v, out) is not None:
                c.protect(ids)                                               # channels meet an axis that is none
    for v in arrays:
        axis = _meeting(c, v, out)
        if axis is not None:
            c.bind(v, axis, ids)
    c.ids[node.outputs[0]] = ids


def _meeting(c, name, out):
    """The axis of this value that meets the channels of the result, channel by channel; None if none does."""
    axis = 1 - (len(out) - len(c.shapes[name]))
    return axis if axis >= 0 and c.shapes[name][axis] == out[1] > 1 else None


def _concat(c, node):
    if node.attributes["axis"] != 1:
        for v in node.inputs[1:]:
            c.unite(c.ids[node.inputs[0]], c.ids[v])
        return _keep(c, node)
    c.ids[node.outputs[0]] = np.concatenate([c.ids[v] for v in node.inputs])


def _split(c, node):
    if node.attributes["axis"] != 1:
        return _keep(c, node)
    cuts = np.cumsum([0, *node.attributes["sizes"]])
    for output, a, b in zip(node.outputs, cuts[:-1], cuts[1:]):
        c.ids[output] = c.ids[node.inputs[0]][a:b]


def picked(node, shape):
    """Which input channels a shuffle, take or slice puts out, in order; None if it takes all, or does more than that."""
    if node.op == "channel_shuffle":
        return shaping.shuffled(shape[1], node.attributes["groups"])
    if node.op == "take_channels":
        return np.asarray(node.attributes["indices"])
    index = _full_index(node, shape)
    chosen = index[1] != ALL and isinstance(index[1], list) and index[:1] + index[2:] == [ALL] * (len(shape) - 1)
    return np.arange(shape[1])[slice(*index[1])] if chosen else None


def _full_index(node, shape):
    """A slice's index with one entry an axis: Ellipsis and what is left out are whole slices."""
    index = node.attributes["index"]
    at = index.index("...") if "..." in index else len(index)
    before, after = index[:at], index[at + 1:]
    return [*before, *[ALL] * (len(shape) - len(before) - len(after)), *after]


def _pick(c, node):
    x = node.inputs[0]
    if len(c.shapes[x]) < 2:
        return mix(c, node)
    if node.op == "slice" and _full_index(node, c.shapes[x])[:2] == [ALL, ALL]:              # pixels alone are cut
        return _keep(c, node)
    order = picked(node, c.shapes[x])
    if order is None:
        return mix(c, node)
    c.ids[node.outputs[0]] = c.ids[x][order]


def _flatten(c, node):
    """(N,C,H,W) -> (N, C H W): each channel is repeated for its pixels; axes before the channels must stay apart."""
    before, after = c.shapes[node.inputs[0]], c.shapes[node.outputs[0]]
    ids = c.ids[node.inputs[0]]
    if len(after) < 2 or before[0] != after[0] or len(before) < 2:
        return mix(c, node)
    if len(after) == 2:
        c.ids[node.outputs[0]] = np.repeat(ids, after[1] // len(ids))
    elif after[1] == before[1]:
        c.ids[node.outputs[0]] = ids
    else:
        mix(c, node)


def folded(node, shape):
    """The axes that a sum, mean or max folds, counted from the front; () for every other operation."""
    if COUPLING[node.op] is not _fold:
        return ()
    axis = node.attributes.get("axis")
    return tuple(range(len(shape))) if axis is None else tuple(a % len(shape) for a in axis)


def _fold(c, node):
    """Sum, mean, max: fine over other axes. Over channels every one gives its share, 0 once it is gone, to a result that stays;
    over images everything is mixed.
    """
    shape, out = c.shapes[node.inputs[0]], c.shapes[node.outputs[0]]
    axes = folded(node, shape)
    if 0 in axes or len(shape) < 2:
        return mix(c, node)
    if 1 in axes:
        c.ids[node.outputs[0]] = c.new(out[1] if len(out) > 1 else 1)
        return c.protect(c.ids[node.outputs[0]])
    _keep(c, node)


def _along(c, node):
    """Softmax: a mixture if it runs along the channels."""
    return mix(c, node) if node.attributes.get("axis", -1) % len(c.shapes[node.inputs[0]]) <= 1 else _keep(c, node)


def _near(c, node):
    """Local response normalisation: channels that are gone count as the 0 that they are masked to, and leave 0 behind, as long as k > 0
    (with k = 0 they would be 0/0).
    """
    return _keep(c, node) if node.attributes["k"] > 0 else mix(c, node)


def _transpose(c, node):
    return _keep(c, node) if node.attributes["axes"][:2] == [0, 1] else mix(c, node)


ALL = [None, None, None]                # a slice that takes everything, as JSON
LAYERS = (_conv2d, _linear, _batch_norm)                                    # the first input has channels, the others are arrays
_LOSS = "a loss is a number, no layer; trace the network without it"
_INTEGER = "prune before quantizing: integer weights have lost the order of their magnitudes"

COUPLING = {
    **dict.fromkeys(("neg", "abs", "exp", "log", "sqrt", "pow", "clip", "relu", "relu6", "leaky_relu", "sigmoid", "tanh", "silu",
                     "hardsigmoid", "hardswish", "dropout", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "pad",
                     "fake_quantize"), _keep),
    **dict.fromkeys(("fake_quantize_weight", "fake_quantize_range", "lsq", "pact", "batch_norm_weight", "batch_norm_correct"),
                    "prune before training with quantization: steps and ranges belong to the channels there are"),
    **dict.fromkeys(("add", "sub", "mul", "div"), elementwise),
    **dict.fromkeys(("sum", "mean", "max"), _fold),
    **dict.fromkeys(("softmax", "log_softmax"), _along),
    **dict.fromkeys(("flatten", "reshape"), _flatten),
    **dict.fromkeys(("slice", "channel_shuffle", "take_channels"), _pick),
    "conv2d": _conv2d, "linear": _linear, "batch_norm": _batch_norm, "concat": _concat, "split": _split, "transpose": _transpose,
    "matmul": mix, "local_response_norm": _near,
    **dict.fromkeys(LOSSES, _LOSS),
    **dict.fromkeys(("quantize", "dequantize", "qconv2d", "qlinear", "qadd", "qglobal_average_pool", "qmul", "qlook_up",
                     "qmax_pool2d", "qavg_pool2d"), _INTEGER),
}
