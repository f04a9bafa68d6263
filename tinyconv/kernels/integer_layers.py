"""Quantized layers, checked and packed once and run on many inputs: all of `integer` that does not depend on the input codes, and the call.

    prepare_conv, prepare_matmul     arguments -> Prepared: weights centred and packed, multipliers by the rule, no sum beyond int32
    run_conv, run_matmul             Prepared, codes -> codes: the fast kernels (`byte_conv`), or under "plain" the formula (`integer_kernels`)

Cost: a convolution's or linear layer's multiply-adds a run; preparing, a few passes over the weights. Bound by: see `byte_kernel`, `byte_planes`.
"""
from typing import Callable, NamedTuple

import numpy as np

from ..formulas.geometry import Conv2dGeometry, conv2d_geometry
from . import byte_conv, layout, select
from . import integer_kernels as loops
from .codes import code_array, code_dtype, limits, scale_of, zero_point_of
from .requantization import FUSED, ONNX, RULES, float_multiplier, fusible, requantize_rows


class Prepared(NamedTuple):
    """A convolution checked and packed once, to be run on many inputs: made by `prepare_conv`, run by `run_conv`."""

    geometry: Conv2dGeometry
    x_dtype: np.dtype
    dtype: np.dtype
    x_zero: int
    weight: np.ndarray              # (F,C/G,KH,KW) codes, a copy; their zero points (F,) int32
    w_zero: np.ndarray
    bias: np.ndarray                # (F,) int32
    multiplier: np.ndarray          # (F,) and shifts (F,): what the rule takes
    shift: np.ndarray
    numbers: tuple                  # rule number, zero point, low and high end
    plan: Callable                  # x (N,C,H,W) codes -> (N,F,OH,OW) codes by the fast kernels, or None


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


def largest_sums(x_dtype, x_zero, weight, bias):
    """The largest size of an accumulator (F,), whatever the input codes; weight (F,...) centred. Errors: ValueError beyond int32."""
    info = np.iinfo(x_dtype)
    reach = max(info.max - int(x_zero), int(x_zero) - info.min)
    bound = reach * np.abs(weight).reshape(len(weight), -1).sum(1, dtype=np.int64) + np.abs(bias.astype(np.int64))
    if bound.max() >= 2 ** 31:
        f = int(bound.argmax())
        raise ValueError(f"the int32 accumulator of output channel {f} could overflow: max|q_x - Z_x| * sum|q_w - Z_w| + |bias| "
                         f"is {bound[f]}, and must be below 2^31 = {2 ** 31}: split the layer, or take smaller codes or bias")
    return bound


def prepare_conv(x_shape, x_dtype, x_scale, x_zero_point, w, w_scale, w_zero_point, y_scale, y_zero_point, bias=None, stride=1,
                 padding=0, dilation=1, groups=1, rule="onnx", dtype=None, q_min=None, q_max=None):
    """Check a quantized convolution and pack its weights: all that does not depend on the input codes. -> Prepared.

    Arguments, errors and meaning as `qlinear_conv`, with the input's shape and dtype in place of the input. Cost: a few passes
    over the weights, which for a small picture is more than the multiplying. Memory: 2 bytes a weight (panels filled up to 32 filters and 4
    channels). The weights are copied: later changes of w are not seen. One caller at a time may run it.
    """
    rule = _rule(rule)
    x_dtype = code_dtype(x_dtype, "x")
    dtype = x_dtype if dtype is None else code_dtype(dtype)
    g = conv2d_geometry(x_shape, code_array("w", w, 4).shape, stride, padding, dilation, groups)
    x_zero, zero = zero_point_of("x_zero_point", x_zero_point, x_dtype), zero_point_of("y_zero_point", y_zero_point, dtype)
    w_zero = zero_point_of("w_zero_point", w_zero_point, w.dtype, g.f)
    weight = w.astype(np.int32) - w_zero[:, None, None, None]
    bias, low_high = _bias(bias, g.f), limits(dtype, q_min, q_max)
    reach = largest_sums(x_dtype, x_zero, weight, bias)
    scales = scale_of("x_scale", x_scale), scale_of("w_scale", w_scale, g.f), scale_of("y_scale", y_scale)
    single = float_multiplier(*scales)
    if not (np.isfinite(single) & (single > 0)).all():
        raise ValueError(f"x_scale * w_scale / y_scale leaves the range of float32: {x_scale!r} * {w_scale!r} / {y_scale!r}")
    multiplier, shift = rule.parameters(*scales)
    if rule.integer and (reach * single.astype(np.float64)).max() >= 2 ** 30:
        raise ValueError(f"a sum times x_scale * w_scale / y_scale leaves int32: {float((reach * single).max()):.3g}; y_scale {y_scale!r} is too small")
    number = FUSED if rule.number == ONNX and fusible(reach, multiplier) else rule.number
    numbers = number, float(zero), *low_high
    fast = byte_conv.Depthwise if g.is_depthwise else byte_conv.Dense
    plan = fast(g, x_dtype, int(x_zero), weight, bias, multiplier, shift, numbers, dtype).plan if select.mode() == "fast" else None
    return Prepared(g, x_dtype, dtype, int(x_zero), w.copy(), w_zero, bias, multiplier, shift, numbers, plan)


def _run_plain(p, x):
    """The same by the formula: accumulators of the whole output, then one rule for each."""
    g = p.geometry
    acc = np.zeros(g.y_shape, np.int32)
    loops.plain_conv(layout.nchw(x).astype(np.int32), p.weight.astype(np.int32), p.x_zero, p.w_zero, acc, g.sh, g.sw, g.top, g.left, g.dh, g.dw)
    acc = layout.nhwc(acc + p.bias[:, None, None]).reshape(-1, g.f)                # (N,F,OH,OW) -> (N*OH*OW,F)
    out = np.empty(acc.shape, np.uint8)
    number, *rest = p.numbers
    requantize_rows(0, len(acc), number, acc, p.multiplier, p.shift, *rest, out)
    return out


def run_conv(prepared, x):
    """A prepared convolution on one input: x (N,C,H,W) codes of the prepared shape and dtype -> (N,F,OH,OW) codes.

    Errors: TypeError, ValueError for another dtype or shape.
    """
    p, g = prepared, prepared.geometry
    if not isinstance(x, np.ndarray) or x.dtype != p.x_dtype or x.shape != g.x_shape:
        code_array("x", x, 4)
        raise ValueError(f"x must be {p.x_dtype} of shape {g.x_shape}, not {x.dtype} of shape {x.shape}")
    if p.plan and select.mode() == "fast":
        return p.plan(x)
    return layout.nchw(layout.shaped(_run_plain(p, x).view(p.dtype).reshape(g.n, g.oh, g.ow, g.f)))


def prepare_matmul(x_shape, x_dtype, x_scale, x_zero_point, w, w_scale, w_zero_point, y_scale, y_zero_point, bias=None, rule="onnx",
                   dtype=None, q_min=None, q_max=None):
    """Check a quantized linear layer and pack its weights, for inputs of x_shape (N,C): `prepare_conv` of images of one pixel. -> Prepared.

    Errors: as `qlinear_matmul`.
    """
    if len(x_shape) != 2 or code_array("w", w, 2).shape[1] != x_shape[1]:
        raise ValueError(f"x (N, C) and w (F, C) must have the same C, not shapes {tuple(x_shape)} and {w.shape}")
    return prepare_conv((*x_shape, 1, 1), x_dtype, x_scale, x_zero_point, w[:, :, None, None], w_scale, w_zero_point, y_scale,
                        y_zero_point, bias, rule=rule, dtype=dtype, q_min=q_min, q_max=q_max)


def run_matmul(prepared, x):
    """A prepared linear layer on one input: x (N,C) codes of the prepared shape and dtype -> (N,F) codes. Errors: as `run_conv`."""
    return run_conv(prepared, code_array("x", x, 2)[:, :, None, None])[:, :, 0, 0]
