"""Networks in integers: 8-bit codes in, 32-bit sums, 8-bit codes out; every rounding is named here and nowhere else.

A code q stands for the real number S * (q - Z) (`codes`). A convolution or linear layer of codes is

    acc = sum (q_x - Z_x)(q_w - Z_w) + b_q                      an exact int32; padding has q_x = Z_x
    q_y = clip(round(acc * M) + Z_y),  M = S_x * S_w / S_y      M is the multiplier, one a filter

The bias is int32 with scale S_x * S_w and zero point 0. q_x, q_w and q_y are int8 or uint8; S_w and Z_w are one number or one
for each of the F filters. All that runtimes disagree about is how acc * M becomes an integer: "onnx", "fp32", "tflite" or "single",
the four rules of `requantization`. They differ by one code at most, and only beside ties: 0.5, 1.5, 2.5 with Z_y = 1 are 2, 2, 4 by
"onnx" (half to even, after adding Z_y), 1, 3, 3 by "fp32" (before), 2, 3, 4 by the other two (half up).

int32 holds every sum if, for each filter, max|q_x - Z_x| * sum|q_w - Z_w| + |b_q| < 2^31: this is computed from the actual
weights, and a layer that could overflow is refused. `q_min` and `q_max` narrow the range of the results: an activation
that clips (ReLU: q_min = Z_y; ReLU6: q_max = the code of 6) costs nothing more.

In the mode "fast" results lie channels-last, under "plain" in C order; the codes are the same. This page has the calls; layers prepared
once are `integer_layers`, on the fast kernels of `byte_conv` or the loops of `integer_kernels`; sums, products and tables of codes
`integer_pointwise`; their windows `integer_pool`. Each says its cost and what it is bound by.
Sources: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference" (2018),
equations 3, 4 and 7; ONNX operators QLinearConv, QLinearMatMul.
"""
import numpy as np

from ..formulas.geometry import conv2d_geometry
from . import integer_kernels as loops
from . import layout
from .codes import code_array, dequantize_linear, dynamic_quantize_linear, quantize_linear, zero_point_of
from .integer_layers import Prepared, largest_sums, prepare_conv, prepare_matmul, run_conv, run_matmul
from .integer_pointwise import look_up, qlinear_add, qlinear_mul, table_of
from .integer_pool import max_pool, qlinear_average_pool, qlinear_global_average_pool
from .requantization import RULES

__all__ = ["RULES", "Prepared", "conv_integer", "dequantize_linear", "dynamic_quantize_linear", "look_up", "max_pool", "prepare_conv", "prepare_matmul",
           "qlinear_add", "qlinear_average_pool", "qlinear_conv", "qlinear_global_average_pool", "qlinear_matmul", "qlinear_mul", "quantize_linear",
           "run_conv", "run_matmul", "table_of"]


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


def conv_integer(x, x_zero_point, w, w_zero_point, stride=1, padding=0, dilation=1, groups=1):
    """The int32 sums alone, as ONNX's ConvInteger: sum (q_x - Z_x)(q_w - Z_w), padding = Z_x; by the loops of the formula.

    x (N,C,H,W), w (F,C/G,KH,KW) codes; w_zero_point one number or (F,) -> (N,F,OH,OW) int32, in C order. Errors: as `qlinear_conv`.

    >>> conv_integer(np.full((1, 1, 2, 2), 3, np.uint8), 1, np.full((1, 1, 2, 2), 5, np.uint8), 0)[0, 0].tolist()
    [[40]]
    """
    g = conv2d_geometry(code_array("x", x, 4).shape, code_array("w", w, 4).shape, stride, padding, dilation, groups)
    x_zero, w_zero = zero_point_of("x_zero_point", x_zero_point, x.dtype), zero_point_of("w_zero_point", w_zero_point, w.dtype, g.f)
    largest_sums(x.dtype, x_zero, w.astype(np.int32) - w_zero[:, None, None, None], np.zeros(g.f, np.int32))
    acc = np.zeros(g.y_shape, np.int32)
    loops.plain_conv(layout.nchw(x).astype(np.int32), w.astype(np.int32), int(x_zero), w_zero, acc, g.sh, g.sw, g.top, g.left, g.dh, g.dw)
    return acc


def qlinear_matmul(x, x_scale, x_zero_point, w, w_scale, w_zero_point, y_scale, y_zero_point, bias=None, rule="onnx", dtype=None,
                   q_min=None, q_max=None):
    """A linear layer of codes, x (N,C) and w (F,C) -> (N,F): the convolution of images of one pixel; all else as `qlinear_conv`.

    Cost: N*F*C multiply-adds. Errors: as `qlinear_conv`; ValueError unless x and w are matrices with the same C.

    >>> qlinear_matmul(np.array([[3, 1]], np.int8), 1.0, 0, np.array([[2, -1]], np.int8), 1.0, 0, 1.0, 0).tolist()
    [[5]]
    """
    x = code_array("x", x, 2)
    return run_matmul(prepare_matmul(x.shape, x.dtype, x_scale, x_zero_point, w, w_scale, w_zero_point, y_scale, y_zero_point, bias, rule,
                                     dtype, q_min, q_max), x)
