"""Networks in integers: 8-bit codes in, 32-bit sums, 8-bit codes out; every rounding is named here and nowhere else.

A code q stands for the real number S * (q - Z) (`codes`). A convolution or linear layer of codes is

    acc = sum (q_x - Z_x)(q_w - Z_w) + b_q                      an exact int32; padding has q_x = Z_x
    q_y = requantized(acc * M + Z_y),  M = S_x * S_w / S_y      M is the multiplier, one a filter

The bias is int32 with scale S_x * S_w and zero point 0. q_x, q_w and q_y are int8 or uint8; S_w and Z_w are one number or one
for each of the F filters. All that runtimes disagree about is how acc * M becomes an integer. A rule fixes that:

    "onnx"    M = (S_x * S_w) / S_y in float32, in this order; acc * M rounded to float64; + Z_y; clip; round half to even.
              This is onnx.reference's QLinearConv and QLinearMatMul. Rounding after adding Z_y differs from QuantizeLinear's
              rounding before it on exact ties with odd Z_y: 0.5, 1.5, 2.5 with Z_y = 1 give 2, 2, 4 here, there 1, 3, 3.

Elementwise operations (`quantize_linear`, `qlinear_add`, `qlinear_global_average_pool`) round first, half to even, then add Z_y.

int32 holds every sum if, for each filter, max|q_x - Z_x| * sum|q_w - Z_w| + |b_q| < 2^31: this is computed from the actual
weights, and a layer that could overflow is refused. `q_min` and `q_max` narrow the range of the results: an activation
that clips (ReLU: q_min = Z_y; ReLU6: q_max = the code of 6) costs nothing more.

In the mode "fast" results lie channels-last, under "plain" in C order; the codes are the same. Loops: `integer_kernels`.
Sources: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference" (2018),
equations 3, 4 and 7; ONNX operators QLinearConv, QLinearMatMul; ONNX Runtime's contributed operator
QLinearGlobalAveragePool.
"""
from typing import Callable, NamedTuple

import numpy as np

from ..formulas.geometry import Conv2dGeometry, conv2d_geometry
from . import integer_kernels as loops
from . import layout, select, threads
from .codes import code_array, code_dtype, dequantize_linear, limits, quantize_linear, scale_of, zero_point_of

__all__ = ["RULES", "Prepared", "Rule", "dequantize_linear", "onnx_multiplier", "prepare_conv", "qlinear_add", "qlinear_conv",
           "qlinear_global_average_pool", "qlinear_matmul", "quantize_linear", "run_conv"]

SLAB_BYTES = 256 * 1024                     # of centred input a slab: stays in the second-level cache while panels pass over it


class Rule(NamedTuple):
    """A way to requantize: its number in the kernels, M from the three scales (float32 each), and whose rule it is."""

    number: int
    multiplier: Callable
    about: str


def onnx_multiplier(x_scale, w_scale, y_scale):
    """M = (S_x * S_w) / S_y, both steps rounded to float32: float32 numbers and (F,) -> (F,) float32.

    >>> float(onnx_multiplier(np.float32(0.5), np.float32(0.5), np.float32(1)))
    0.25
    """
    return x_scale * w_scale / y_scale


RULES = {"onnx": Rule(loops.ONNX, onnx_multiplier, "onnx.reference QLinearConv, QLinearMatMul: half to even after adding Z_y")}


class Prepared(NamedTuple):
    """A convolution checked and packed once, to be run on many inputs: made by `prepare_conv`, run by `run_conv`."""

    geometry: Conv2dGeometry
    x_dtype: np.dtype
    dtype: np.dtype
    x_zero: int
    weight: np.ndarray              # (F,C/G,KH,KW) int32, centred
    bias: np.ndarray                # (F,) int32
    multiplier: np.ndarray          # (F,) float64
    rest: tuple                     # rule number, zero point, low and high end: what the kernels' requantization takes
    packed: tuple                   # what the fast kernel takes: begin, offset, w, bias, multiplier


# ---- arguments -----------------------------------------------------------------------------------------------------------

def _rule(name):
    if name not in RULES:
        known = ", ".join(f'"{known}"' for known in RULES)
        raise ValueError(f"rule must be one of {known}, not {name!r}")
    return RULES[name]


def _bias(bias, length):
    if bias is None:
        return np.zeros(length, np.int32)
    if not isinstance(bias, np.ndarray) or bias.dtype != np.int32:
        given = getattr(bias, "dtype", type(bias).__name__)
        raise TypeError(f"bias must be an int32 array (its scale is x_scale * w_scale) or None, not {given}")
    if bias.shape != (length,):
        raise ValueError(f"bias must have shape ({length},), not {bias.shape}")
    return layout.writable(bias)


def _no_overflow(x_dtype, x_zero, weight, bias):
    """Refuse a layer whose accumulators could leave int32, whatever the input codes; weight (F,...) centred."""
    info = np.iinfo(x_dtype)
    reach = max(info.max - int(x_zero), int(x_zero) - info.min)
    bound = reach * np.abs(weight).reshape(len(weight), -1).sum(1, dtype=np.int64) + np.abs(bias.astype(np.int64))
    if bound.max() >= 2 ** 31:
        f = int(bound.argmax())
        raise ValueError(f"the int32 accumulator of output channel {f} could overflow: max|q_x - Z_x| * sum|q_w - Z_w| + |bias| "
                         f"is {bound[f]}, and must be below 2^31 = {2 ** 31}: split the layer, or take smaller codes or bias")


# ---- convolution ---------------------------------------------------------------------------------------------------------

def _padded(g):
    """Height and width of the padded input."""
    return g.h + g.top + g.bottom, g.w + g.left + g.right


def _channels(g):
    """Groups and channels a group of the centred input, as the kernel for this geometry lays it out."""
    return (1, g.f) if g.is_depthwise else (g.groups, -(-(g.c // g.groups) // loops.STEP) * loops.STEP)


def _windows(g):
    """The pixel of the padded input where each output pixel's window begins (N*OH*OW,), and its taps from there (KH*KW,)."""
    hp, wp = _padded(g)
    rows = np.add.outer(np.arange(g.n) * hp, np.arange(g.oh) * g.sh)
    begin = np.add.outer(rows * wp, np.arange(g.ow) * g.sw)
    taps = np.add.outer(np.arange(g.kh) * g.dh * wp, np.arange(g.kw) * g.dw)
    return begin.ravel(), taps.ravel()


def _pack_dense(w, bias, multiplier, g):
    """(F,C/G,KH,KW) centred -> panels of 32 filters; all as `loops.dense` takes it, empty places 0."""
    groups, wide = _channels(g)
    fg, cg, steps = g.f // groups, g.c // groups, wide // loops.STEP
    each = -(-fg // loops.WIDTH)                                                   # panels a group
    begin, taps = _windows(g)
    room = np.zeros((groups, each * loops.WIDTH, g.kh, g.kw, wide), np.float32)
    room[:, :fg, :, :, :cg] = w.reshape(groups, fg, cg, g.kh, g.kw).transpose(0, 1, 3, 4, 2)
    room = room.reshape(groups, each, loops.WIDTH, -1, loops.STEP).transpose(0, 1, 3, 4, 2)    # (G,each,steps,STEP,WIDTH)
    panels = np.ascontiguousarray(room).reshape(groups * each, -1, loops.STEP * loops.WIDTH)
    filled = [np.zeros((groups, each * loops.WIDTH), v.dtype) for v in (bias, multiplier)]
    for target, source in zip(filled, (bias, multiplier)):
        target[:, :fg] = source.reshape(groups, fg)
    bias, multiplier = (v.reshape(-1, loops.WIDTH) for v in filled)
    offset = np.add.outer(taps * (groups * steps), np.arange(steps)).ravel()
    return begin * (groups * steps), offset, panels, bias, np.tile(multiplier, 4)


def _pack_depthwise(w, bias, multiplier, g):
    """(F,1,KH,KW) centred -> (taps,F), filled up with zero taps to a multiple of 3; all as `loops.depthwise` takes it."""
    begin, taps = _windows(g)
    filled = -(-len(taps) // loops.TAPS) * loops.TAPS
    packed, offset = np.zeros((filled, g.f), np.float32), np.zeros(filled, taps.dtype)
    packed[:len(taps)], offset[:len(taps)] = w.reshape(g.f, -1).T, taps
    return begin, offset, packed, bias, multiplier


def prepare_conv(x_shape, x_dtype, x_scale, x_zero_point, w, w_scale, w_zero_point, y_scale, y_zero_point, bias=None, stride=1,
                 padding=0, dilation=1, groups=1, rule="onnx", dtype=None, q_min=None, q_max=None):
    """Check a quantized convolution and pack its weights: all that does not depend on the input codes. -> Prepared.

    Arguments, errors and meaning as `qlinear_conv`, with the input's shape and dtype in place of the input. Cost: a few passes
    over the weights. Memory: 8 bytes a weight (panels filled up to 32 filters and 4 channels) and 8 an output pixel.
    """
    rule = _rule(rule)
    x_dtype = code_dtype(x_dtype, "x")
    dtype = x_dtype if dtype is None else code_dtype(dtype)
    g = conv2d_geometry(x_shape, code_array("w", w, 4).shape, stride, padding, dilation, groups)
    x_zero, zero = zero_point_of("x_zero_point", x_zero_point, x_dtype), zero_point_of("y_zero_point", y_zero_point, dtype)
    weight = w.astype(np.int32) - zero_point_of("w_zero_point", w_zero_point, w.dtype, g.f)[:, None, None, None]
    bias, low_high = _bias(bias, g.f), limits(dtype, q_min, q_max)
    _no_overflow(x_dtype, x_zero, weight, bias)
    scales = scale_of("x_scale", x_scale), scale_of("w_scale", w_scale, g.f), scale_of("y_scale", y_scale)
    with np.errstate(over="ignore", under="ignore"):
        multiplier = rule.multiplier(*scales).astype(np.float64)
    if not (np.isfinite(multiplier) & (multiplier > 0)).all():
        raise ValueError(f"x_scale * w_scale / y_scale leaves the range of float32: {x_scale!r} * {w_scale!r} / {y_scale!r}")
    packed = (_pack_depthwise if g.is_depthwise else _pack_dense)(weight, bias, multiplier, g)
    return Prepared(g, x_dtype, dtype, int(x_zero), weight, bias, multiplier, (rule.number, float(zero), *low_high), packed)


def _run_fast(p, x):
    """The low bytes of all codes, (N*OH*OW, F), by the dense or the depthwise kernel."""
    g = p.geometry
    x = layout.nhwc(x)
    if g.is_depthwise and g.f != g.c:
        x = np.repeat(x, g.f // g.c, axis=3)                                       # each channel beside itself, once a filter
    groups, wide = _channels(g)
    real = np.zeros((g.n, *_padded(g), groups, wide), np.float32)
    threads.run(loops.centred, g.n * g.h, x, p.x_zero, g.top, g.left, real, work=real.size)
    pixels = g.n * g.oh * g.ow
    out = np.empty((pixels, g.f), np.uint8)
    slabs = max(1, min(pixels // 16, max(real.nbytes // SLAB_BYTES, 2 * threads.get_num_threads())))
    room = (slabs, g.f if g.is_depthwise else loops.STEP * loops.WIDTH)
    part, total = select.scratch(room, np.float32), select.scratch(room, np.int32)
    work = out.size * (g.c // g.groups * g.kh * g.kw + 10)
    if g.is_depthwise:
        threads.run(loops.depthwise, slabs, real.reshape(-1, g.f), *p.packed, *p.rest, part, total, out, work=work)
    else:
        threads.run(loops.dense, slabs, real.reshape(-1, loops.STEP), *p.packed, *p.rest, g.f, groups, wide // loops.STEP,
                    part, total, select.scratch(room, np.uint8), out, work=work)
    return out


def _run_plain(p, x):
    """The same by the formula: accumulators of the whole output, then one rule for each."""
    g = p.geometry
    acc, centred = np.zeros(g.y_shape, np.int32), np.zeros(g.f, np.int32)          # the weights' zero points are off already
    loops.plain_conv(layout.nchw(x).astype(np.int32), p.weight, p.x_zero, centred, acc, g.sh, g.sw, g.top, g.left, g.dh, g.dw)
    acc = layout.nhwc(acc + p.bias[:, None, None]).reshape(-1, g.f)                # (N,F,OH,OW) -> (N*OH*OW,F)
    out = np.empty(acc.shape, np.uint8)
    rule, *rest = p.rest
    loops.requantize_rows(0, len(acc), rule, acc, p.multiplier, *rest, out)
    return out


def run_conv(prepared, x):
    """A prepared convolution on one input: x (N,C,H,W) codes of the prepared shape and dtype -> (N,F,OH,OW) codes.

    Errors: TypeError, ValueError for another dtype or shape.
    """
    p, g = prepared, prepared.geometry
    if code_array("x", x, 4).dtype != p.x_dtype or x.shape != g.x_shape:
        raise ValueError(f"x must be {p.x_dtype} of shape {g.x_shape}, not {x.dtype} of shape {x.shape}")
    quick = select.mode() == "fast"
    y = layout.shaped((_run_fast if quick else _run_plain)(p, x).view(p.dtype).reshape(g.n, g.oh, g.ow, g.f))
    return y if quick else layout.nchw(y)


def qlinear_conv(x, x_scale, x_zero_point, w, w_scale, w_zero_point, y_scale, y_zero_point, bias=None, stride=1, padding=0,
                 dilation=1, groups=1, rule="onnx", dtype=None, q_min=None, q_max=None):
    """Convolution of codes: q_y = requantized(sum (q_x - Z_x)(q_w - Z_w) + bias), the formulas at the top of this page.

    x (N,C,H,W), w (F,C/G,KH,KW) int8 or uint8; w_scale, w_zero_point one number or (F,); bias (F,) int32 or None; -> (N,F,OH,OW)
    of `dtype` (None: that of x). stride, padding, dilation, groups as `conv2d`. Cost: its multiply-adds, exact in integers.
    Errors: TypeError for other dtypes; GeometryError (a ValueError) for sizes; ValueError for a scale that is not positive and
    finite, a zero point out of range, an accumulator that could leave int32, an unknown rule.

    >>> x, w = np.full((1, 1, 2, 2), 3, np.uint8), np.full((1, 1, 1, 1), 5, np.int8)
    >>> qlinear_conv(x, 1.0, 1, w, 0.25, 0, 1.0, 0)[0, 0].tolist()          # (3 - 1) * 5 / 4 = 2.5, half to even
    [[2, 2], [2, 2]]
    """
    x = code_array("x", x, 4)
    return run_conv(prepare_conv(x.shape, x.dtype, x_scale, x_zero_point, w, w_scale, w_zero_point, y_scale, y_zero_point, bias,
                                 stride, padding, dilation, groups, rule, dtype, q_min, q_max), x)


def qlinear_matmul(x, x_scale, x_zero_point, w, w_scale, w_zero_point, y_scale, y_zero_point, bias=None, rule="onnx", dtype=None,
                   q_min=None, q_max=None):
    """A linear layer of codes, x (N,C) and w (F,C) -> (N,F): the convolution of images of one pixel; all else as `qlinear_conv`.

    Cost: N*F*C multiply-adds. Errors: as `qlinear_conv`; ValueError unless x and w are matrices with the same C.

    >>> qlinear_matmul(np.array([[3, 1]], np.int8), 1.0, 0, np.array([[2, -1]], np.int8), 1.0, 0, 1.0, 0).tolist()
    [[5]]
    """
    x, w = code_array("x", x, 2), code_array("w", w, 2)
    if x.shape[1] != w.shape[1]:
        raise ValueError(f"x (N, C) and w (F, C) must have the same C, not shapes {x.shape} and {w.shape}")
    y = qlinear_conv(x[:, :, None, None], x_scale, x_zero_point, w[:, :, None, None], w_scale, w_zero_point, y_scale,
                     y_zero_point, bias, rule=rule, dtype=dtype, q_min=q_min, q_max=q_max)
    return y[:, :, 0, 0]


# ---- sums and means ------------------------------------------------------------------------------------------------------

def qlinear_add(a, a_scale, a_zero_point, b, b_scale, b_zero_point, y_scale, y_zero_point, dtype=None, q_min=None, q_max=None):
    """Sum of two arrays of codes: q_y = clip(rint(((q_a - Z_a) S_a + (q_b - Z_b) S_b) / S_y) + Z_y), half to even.

    a and b of one shape, int8 or uint8 -> that shape, of `dtype` (None: that of a). In float64: both products are exact, so is
    their sum as long as S_a and S_b differ by less than 2^20, and the quotient is rounded once. This is QuantizeLinear of the sum
    of both DequantizeLinear, without their roundings. ONNX Runtime's QLinearAdd works in float32 and rounds after adding Z_y: it
    may differ by one code near ties, and does at exact ties if Z_y is odd. Cost: an addition and a division an element.
    Errors: TypeError, ValueError as `qlinear_conv`; ValueError if the shapes differ.

    >>> qlinear_add(np.array([3], np.int8), 0.5, 0, np.array([4], np.int8), 0.25, 0, 1.0, 10).tolist()
    [12]
    """
    if code_array("a", a).shape != code_array("b", b).shape:
        raise ValueError(f"a and b must have one shape, not {a.shape} and {b.shape}")
    dtype = a.dtype if dtype is None else code_dtype(dtype)
    zero, (low, high) = zero_point_of("y_zero_point", y_zero_point, dtype), limits(dtype, q_min, q_max)
    scales = [np.float64(scale_of(name, s)) for name, s in (("a_scale", a_scale), ("b_scale", b_scale), ("y_scale", y_scale))]
    a_zero = int(zero_point_of("a_zero_point", a_zero_point, a.dtype))
    b_zero = int(zero_point_of("b_zero_point", b_zero_point, b.dtype))
    quick = select.mode() == "fast" and a.ndim == 4
    lie = layout.nhwc if quick else layout.writable
    a, b = lie(a), lie(b)
    out = np.empty(a.shape, np.uint8)
    threads.run(loops.add, out.size, a.reshape(-1), scales[0], a_zero, b.reshape(-1), scales[1], b_zero, scales[2], float(zero),
                low, high, out.reshape(-1), work=2 * out.size)
    return layout.shaped(out.view(dtype)) if quick else out.view(dtype)


def qlinear_global_average_pool(x, x_scale, x_zero_point, y_scale, y_zero_point, dtype=None, q_min=None, q_max=None):
    """Mean of each plane of codes: q_y = clip(rint(sum (q_x - Z_x) * S_x / (S_y * H * W)) + Z_y), half to even.

    x (N,C,H,W) -> (N,C,1,1) of `dtype` (None: that of x). The sum is an exact int32; the product and the divisor are exact in
    float64 for planes of fewer than 2^21 pixels, and the quotient is rounded once, so that ties are found. Cost: one addition
    a code. Errors: as `qlinear_conv`; ValueError for a plane so large that 255*H*W leaves int32.

    >>> qlinear_global_average_pool(np.array([[[[1, 2]]]], np.int8), 1.0, 0, 0.5, 0).tolist()
    [[[[3]]]]
    """
    n, c, h, w = code_array("x", x, 4).shape
    dtype = x.dtype if dtype is None else code_dtype(dtype)
    x_zero, zero = zero_point_of("x_zero_point", x_zero_point, x.dtype), zero_point_of("y_zero_point", y_zero_point, dtype)
    x_scale, y_scale = np.float64(scale_of("x_scale", x_scale)), np.float64(scale_of("y_scale", y_scale))
    low, high = limits(dtype, q_min, q_max)
    if 255 * h * w >= 2 ** 31:
        raise ValueError(f"the int32 sum of a plane of {h} x {w} codes could overflow: H * W must be below 2^31 / 255")
    total = np.zeros((n, c), np.int32)
    if select.mode() == "fast":
        threads.run(loops.plane_sums, n, layout.nhwc(x).reshape(n, h * w, c), int(x_zero), total, work=x.size)
    else:
        loops.plain_plane_sums(layout.nchw(x), int(x_zero), total)
    q = np.rint(total * x_scale / (y_scale * (h * w))) + zero
    return np.clip(q, low, high).astype(dtype).reshape(n, c, 1, 1)
