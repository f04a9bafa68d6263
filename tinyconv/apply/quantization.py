"""From a float network to one that computes in integers: int8 codes in, int8 codes out of every layer, int32 sums between.

1. fold every BatchNorm into its convolution;  2. run calibration pictures and note the range of every value;  3. give each value
a scale and zero point, each filter a scale of its own;  4. write the same network with integer operations:
    acc = Σ (q_x - Z_x) q_w + q_b,   q_y = clip(round(acc S_x S_w / S_y + Z_y))
An activation behind a layer costs nothing: it is the range to which the result is clipped; one whose input others read too
clips the codes. A curved activation is a table of 256 codes, and so is the change of scale that a concat asks of its inputs. Only the first node (quantize) and the last (dequantize) touch floats. `INTEGER` has an entry for every
operation of the table: how it is written in integers, or why not.
"""
import numpy as np

from ..compress import quantize as pure
from ..graph import Graph, GraphError, Node, fold_batch_norms, shapes
from ..graph.structure import unused
from ..ops import LOSSES, TABLE
from ._checks import check_graph
from .ranges import ranges_of
from .settling import settle

RULES = ("onnx", "fp32", "tflite", "single")
CURVES = ("sigmoid", "tanh", "silu", "hardsigmoid", "hardswish", "leaky_relu")
CLIPS = {"relu": (0.0, None), "relu6": (0.0, 6.0)}


class _Builder:
    """The integer network while it is being written: nodes, buffers, and the (scale, zero point) of every value."""

    def __init__(self, g, ranges, bits, per_channel, rule, settled):
        self.g, self.bits, self.per_channel, self.rule, self.shapes = g, bits, per_channel, rule, shapes(g)
        self.settled = settled
        self.scales = {name: pure.affine(low, high) for name, (low, high) in ranges.items()} | settled.scales
        self.nodes, self.buffers, self.renamed = [], {}, {}
        self.taken = {*g.inputs, *g.producers()}

    def source(self, name):
        """What stands for float value `name` in the integer network."""
        return self.renamed.get(name, name)

    def qparams(self, name):
        """(scale, zero point) as Python numbers, the scale exactly a float32."""
        scale, zero_point = self.scales[name]
        return float(np.float32(scale)), int(zero_point)

    def buffer(self, name, array):
        """Keep an array under a name that nothing else has: a copy that cannot be written to, so that packed weights stay right."""
        name = unused(name, self.taken | set(self.buffers))
        self.buffers[name] = np.array(array, order="C")
        self.buffers[name].setflags(write=False)
        return name


def _limits(scale, zero_point, clip):
    """The codes to which a fused activation clips: round(bound / S) + Z, within int8."""
    low, high = clip
    code = lambda bound: int(np.clip(np.rint(bound / scale) + zero_point, -128, 127))
    return -128 if low is None else code(low), 127 if high is None else code(high)


def _weighted(b, node, clip, output):
    """Convolution and linear: codes and scale of each filter, an int32 bias, one requantization."""
    x, w, bias = (*node.inputs, None)[:3]
    x_scale, x_zero = b.qparams(x)
    y_scale, y_zero = b.qparams(output)
    if not all(name is None or name in b.g.parameters or name in b.g.buffers for name in (w, bias)):
        raise GraphError(f"{node.outputs[0]}: {node.op} has an integer form for weights that are arrays, not computed ones")
    if node.op == "linear" and len(b.shapes[x]) != 2:
        raise GraphError(f"{node.outputs[0]}: linear has an integer form for inputs (N,C), not for shape {b.shapes[x]}")
    weight = b.g.array(w)
    offset = np.zeros(len(weight), np.float32) if bias is None else b.g.array(bias)
    codes, w_scale = b.settled.codes(w) or pure.quantize_weight(weight, bits=b.bits, axis=0 if b.per_channel else None)
    needed = pure.scale_that_fits_bias(np.broadcast_to(w_scale, len(weight)), offset, x_scale)
    if (needed != w_scale).any():                                            # a vanishing weight: the bias must fit into 32 bits
        w_scale = needed
        codes = pure.quantize(weight, w_scale, 0, *pure.code_range(b.bits, narrow=True), axis=0)
    q_bias = pure.quantize_bias(offset, x_scale, w_scale)
    reach = int(pure.accumulator_bound(codes, q_bias, x_zero).max())
    if reach > pure.INT32_MAX:
        raise ValueError(f"{node.outputs[0]}: the sums of {node.op} could reach {reach:,}, more than int32 holds: split it")
    stem = w.removesuffix("weight")
    names = (b.buffer(w, codes), b.buffer(f"{stem}bias", q_bias), b.buffer(f"{stem}scale", np.atleast_1d(np.float32(w_scale))))
    q_min, q_max = _limits(y_scale, y_zero, clip)
    attributes = dict(x_scale=x_scale, x_zero_point=x_zero, y_scale=y_scale, y_zero_point=y_zero, q_min=q_min, q_max=q_max,
                      rule=b.rule, **{k: v for k, v in node.attributes.items() if k != "algorithm"})
    b.nodes.append(Node(f"q{node.op}", (b.source(x), *names), (output,), attributes, node.module))


def _add(b, node, clip, output):
    """Residual sum: both sides brought to the scale of the result."""
    if not all(isinstance(v, str) and v in b.scales for v in node.inputs):
        raise GraphError(f"{node.outputs[0]}: add has an integer form for two results of layers, not for a number or a parameter")
    attributes = {}
    for letter, name in zip("aby", (*node.inputs, output)):
        attributes[f"{letter}_scale"], attributes[f"{letter}_zero_point"] = b.qparams(name)
    attributes["q_min"], attributes["q_max"] = _limits(*b.qparams(output), clip)
    b.nodes.append(Node("qadd", tuple(b.source(v) for v in node.inputs), (output,), attributes, node.module))


def _average(b, node, clip, output):
    """Global average pooling: one int32 sum a channel."""
    if node.attributes["output_size"] not in (1, [1, 1]):
        raise GraphError(f"{node.outputs[0]}: adaptive_avg_pool2d has an integer form for output size 1, "
                         f"not {node.attributes['output_size']}")
    (x_scale, x_zero), (y_scale, y_zero) = b.qparams(node.inputs[0]), b.qparams(output)
    q_min, q_max = _limits(y_scale, y_zero, clip)
    b.nodes.append(Node("qglobal_average_pool", (b.source(node.inputs[0]),), (output,), dict(
        x_scale=x_scale, x_zero_point=x_zero, y_scale=y_scale, y_zero_point=y_zero, q_min=q_min, q_max=q_max), node.module))


def _mul(b, node, clip, output):
    """A feature map times its gates, or another of its shape."""
    if not all(isinstance(v, str) and v in b.scales for v in node.inputs):
        raise GraphError(f"{node.outputs[0]}: mul has an integer form for two results of layers, not for a number or a parameter")
    inputs = sorted(node.inputs, key=lambda name: -int(np.prod(b.shapes[name])))                            # the gates second
    attributes = {}
    for letter, name in zip("aby", (*inputs, output)):
        attributes[f"{letter}_scale"], attributes[f"{letter}_zero_point"] = b.qparams(name)
    b.nodes.append(Node("qmul", tuple(b.source(v) for v in inputs), (output,), attributes, node.module))


def _windowed(b, node, clip, output):
    """Average pooling: one int32 sum a window."""
    (x_scale, x_zero), (y_scale, y_zero) = b.qparams(node.inputs[0]), b.qparams(output)
    b.nodes.append(Node("qavg_pool2d", (b.source(node.inputs[0]),), (output,), dict(
        x_scale=x_scale, x_zero_point=x_zero, y_scale=y_scale, y_zero_point=y_zero, **node.attributes), node.module))


def _largest(b, node, clip, output):
    """Max pooling: the largest code stands for the largest number; scale and zero point are its input's."""
    b.scales[output] = b.scales[node.inputs[0]]
    b.nodes.append(Node("qmax_pool2d", (b.source(node.inputs[0]),), (output,), node.attributes, node.module))


def _look_up(b, source, output, function, module, **attributes):
    """The node that gives function(x) for the codes of `source`, by a table of 256 codes, in the order of their bits."""
    (x_scale, x_zero), (y_scale, y_zero) = b.qparams(source), b.qparams(output)
    forward = TABLE[function].forward if function in TABLE else lambda x: (x, None)
    reals = (np.arange(256).astype(np.uint8).view(np.int8) - float(x_zero)) * x_scale
    table = b.buffer(f"{output}/table", pure.quantize(forward(reals, **attributes)[0], y_scale, y_zero))
    b.nodes.append(Node("qlook_up", (b.source(source), table), (output,), dict(
        function=function, x_scale=x_scale, x_zero_point=x_zero, y_scale=y_scale, y_zero_point=y_zero, **attributes), module))


def _curve(b, node, clip, output):
    """Any activation: eight bits have 256 values."""
    _look_up(b, node.inputs[0], output, node.op, node.module, **node.attributes)


def _concat(b, node, clip, output):
    """Side by side in one scale: each input that has another one is translated first."""
    sources = []
    for number, name in enumerate(node.inputs):
        if b.qparams(name) == b.qparams(output):
            sources.append(b.source(name))
            continue
        translated = unused(f"{output}/{number}", b.taken)
        b.taken.add(translated)
        b.scales[translated] = b.scales[output]
        _look_up(b, name, translated, "identity", node.module)
        sources.append(translated)
    b.nodes.append(Node("concat", tuple(sources), (output,), node.attributes, node.module))


def _moved(b, node, clip, output):
    """Operations that only move numbers work on codes as they are; scale and zero point are their input's."""
    for name in node.outputs:
        b.scales[name] = b.scales[node.inputs[0]]
    b.nodes.append(Node(node.op, (b.source(node.inputs[0]),), node.outputs, node.attributes, node.module))


def _nothing(b, node, clip, output):
    """Dropout is nothing in evaluation."""
    b.scales[output], b.renamed[output] = b.scales[node.inputs[0]], b.source(node.inputs[0])


def _clipped(b, node, clip, output):
    """An activation that could not become part of the layer before it clips codes, in the scale they have."""
    b.scales[output] = b.scales[node.inputs[0]]
    low, high = _limits(*b.qparams(output), CLIPS[node.op])
    b.nodes.append(Node("clip", (b.source(node.inputs[0]),), (output,), dict(low=low, high=high), node.module))


_FLOAT = "it has no integer form; keep the layer in float"

INTEGER = {
    **{name: _FLOAT for name in TABLE},
    **dict.fromkeys(LOSSES, "a loss is no layer; trace the network without it"),
    **dict.fromkeys(("quantize", "dequantize", "qconv2d", "qlinear", "qadd", "qglobal_average_pool", "qmul", "qlook_up", "qmax_pool2d",
                     "qavg_pool2d"),
                    "the network is quantized already"),
    **dict.fromkeys(("fake_quantize", "fake_quantize_weight", "fake_quantize_range", "lsq", "pact", "batch_norm_weight",
                     "batch_norm_correct"),
                    "it is read where it stands for a weight, or behind a layer that takes it for its scale"),
    "batch_norm": "BatchNorm is folded into the convolution before it; this one follows none, or shares it with another reader",
    "conv2d": _weighted, "linear": _weighted, "add": _add, "adaptive_avg_pool2d": _average, "relu": _clipped, "relu6": _clipped,
    **dict.fromkeys(("flatten", "reshape", "transpose", "split", "channel_shuffle", "take_channels", "slice"), _moved), "dropout": _nothing,
    "mul": _mul, "avg_pool2d": _windowed, "max_pool2d": _largest, "concat": _concat, **dict.fromkeys(CURVES, _curve),
}


def _fusions(g):
    """output of a layer -> the activation that becomes part of it: the only reader of a layer that can clip."""
    readers, fused = g.consumers(), {}
    for node in g.nodes:
        following = readers.get(node.outputs[0], [])
        if node.op in ("conv2d", "linear", "add", "adaptive_avg_pool2d") and len(following) == 1 and following[0].op in CLIPS \
                and node.outputs[0] not in g.outputs:
            fused[node.outputs[0]] = following[0]
    return fused


def quantize(g, calibration, bits=8, per_channel=True, rule="onnx", batch_size=100, calibrator="min-max"):
    """The network in integers: a Graph whose first node makes int8 codes, whose last makes floats, with integers all between.

    calibration  pictures (N,C,H,W), uint8 or float32: they fix the ranges of activations, which have 8 bits, affine
    bits         of the weights, 2-8 (stored as int8);  per_channel: a scale for each filter, else one for each weight
    rule         how sums are requantized: "onnx", "fp32", "tflite" or "single" (kernels/integer)
    calibrator   how a range is taken from what was seen: min-max, moving-average, percentile, mse, kl (`ranges`)
    Errors: GraphError naming an operation that has no integer form and why; ValueError for calibration data that is empty, constant,
    NaN or of the wrong shape, and for weights and biases that could overflow the accumulator.
    """
    check_graph(g)
    if rule not in RULES:
        raise ValueError(f"rule must be one of {', '.join(RULES)}, not {rule!r}")
    if len(g.inputs) != 1 or len(g.outputs) != 1:
        raise GraphError(f"an integer network has one input and one output, this one {len(g.inputs)} and {len(g.outputs)}")
    settled = settle(g)
    folded = fold_batch_norms(settled.graph)
    for node in folded.nodes:
        if isinstance(INTEGER[node.op], str):
            raise GraphError(f"{node.outputs[0]}: {node.op} cannot be quantized: {INTEGER[node.op]}")
    b = _Builder(folded, ranges_of(folded, calibration, None, calibrator, batch_size), bits, per_channel, rule, settled)
    (name,), (last,) = folded.inputs, folded.outputs
    codes = b.renamed[name] = unused(f"{name}/codes", b.taken)
    b.taken.add(codes)
    scale, zero_point = b.qparams(name)
    b.nodes.append(Node("quantize", (name,), (codes,), dict(scale=scale, zero_point=zero_point)))
    fused = _fusions(folded)
    done = {activation.outputs[0] for activation in fused.values()}
    for node in folded.nodes:
        if node.outputs[0] not in done:
            activation = fused.get(node.outputs[0])
            output = (activation or node).outputs[0]
            INTEGER[node.op](b, node, settled.clip(output, CLIPS[activation.op] if activation else (None, None)), output)
    scale, zero_point = b.qparams(last)
    result = unused(f"{last}/float", b.taken)
    b.nodes.append(Node("dequantize", (b.source(last),), (result,), dict(scale=scale, zero_point=zero_point)))
    made = Graph(folded.inputs, tuple(b.nodes), (result,), {}, b.buffers)
    shapes(made)                                                         # integer operations take fewer shapes than float ones
    return made
