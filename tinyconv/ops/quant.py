"""Quantization: the fake form that training sees, and the integer operations that inference runs.

    q = clip(round(x / S) + Z, q_min, q_max),   x̂ = S (q - Z)                                  round half to even
fake_quantize gives x̂ with the straight-through gradient 1{q_min <= round(x/S) + Z <= q_max}: the code itself at a bound still
passes (Jacob et al. 2018, section 3; the saturated code included). The integer operations take int8 codes and give int8
codes; scales and zero points of activations are attributes, weights with one scale a filter and tables of functions are inputs.
Requantization: kernels/integer.
"""
from functools import partial

import numpy as np

from .. import kernels
from ..compress import quantize as pure
from ..formulas import conv2d_geometry, pool2d_geometry
from . import conv, linalg, pool
from .table import Counts, register, same_shape, size


def _fake_quantize(x, scale, zero_point, q_min=-128, q_max=127):
    inside = pure.straight_through(x, np.asarray(scale), zero_point, q_min, q_max)
    return pure.fake_quantize(x, np.asarray(scale), zero_point, q_min, q_max), inside


register("fake_quantize", _fake_quantize, lambda inside, dy: (dy * inside,), same_shape,
         lambda shapes, output, **attributes: Counts(multiplications=size(output), additions=2 * size(output),
                                                     comparisons=2 * size(output), special=size(output)))


def _quantize(x, scale, zero_point):
    return kernels.integer.quantize_linear(x, np.float32(scale), np.int8(zero_point)), None


def _dequantize(q, scale, zero_point):
    return kernels.integer.dequantize_linear(q, np.float32(scale), np.int8(zero_point)), None


def _prepare_qconv2d(shape, dtype, w, bias, w_scale, x_scale, x_zero_point, y_scale, y_zero_point, stride=1, padding=0, dilation=1, groups=1,
                     q_min=-128, q_max=127, rule="onnx"):
    made = kernels.integer.prepare_conv(shape, dtype, np.float32(x_scale), np.int8(x_zero_point), w, w_scale, np.int8(0), np.float32(y_scale),
                                        np.int8(y_zero_point), bias, stride, padding, dilation, groups, rule=rule, q_min=q_min, q_max=q_max)
    return partial(kernels.integer.run_conv, made)


def _prepare_qlinear(shape, dtype, w, bias, w_scale, x_scale, x_zero_point, y_scale, y_zero_point, q_min=-128, q_max=127, rule="onnx"):
    made = kernels.integer.prepare_matmul(shape, dtype, np.float32(x_scale), np.int8(x_zero_point), w, w_scale, np.int8(0), np.float32(y_scale),
                                          np.int8(y_zero_point), bias, rule=rule, q_min=q_min, q_max=q_max)
    return partial(kernels.integer.run_matmul, made)


def _at_once(prepare):
    """The operation that is prepared for its very input and run on it."""
    return lambda x, *constants, **attributes: (prepare(x.shape, x.dtype, *constants, **attributes)(x), None)


def _qconv2d_shape(x, w, bias, w_scale, stride=1, padding=0, dilation=1, groups=1, **attributes):
    return conv2d_geometry(x, w, stride, padding, dilation, groups).y_shape


def _qconv2d_counts(shapes, output, groups=1, **attributes):
    return conv._counts(shapes[:3], output, groups)


def _qlinear_counts(shapes, output, **attributes):
    return linalg._linear_counts(shapes[:3], output)


def _qadd(a, b, a_scale, a_zero_point, b_scale, b_zero_point, y_scale, y_zero_point, q_min=-128, q_max=127):
    y = kernels.integer.qlinear_add(a, np.float32(a_scale), np.int8(a_zero_point), b, np.float32(b_scale), np.int8(b_zero_point),
                                    np.float32(y_scale), np.int8(y_zero_point), q_min=q_min, q_max=q_max)
    return y, None


def _qadd_shape(a, b, **attributes):
    if tuple(a) != tuple(b):
        raise ValueError(f"qadd takes two arrays of one shape, not {tuple(a)} and {tuple(b)}")
    return tuple(a)


def _qaverage(x, x_scale, x_zero_point, y_scale, y_zero_point, q_min=-128, q_max=127):
    y = kernels.integer.qlinear_global_average_pool(x, np.float32(x_scale), np.int8(x_zero_point), np.float32(y_scale),
                                                    np.int8(y_zero_point), q_min=q_min, q_max=q_max)
    return y, None


def _qmul(a, b, a_scale, a_zero_point, b_scale, b_zero_point, y_scale, y_zero_point, q_min=-128, q_max=127):
    y = kernels.integer.qlinear_mul(a, np.float32(a_scale), np.int8(a_zero_point), b, np.float32(b_scale), np.int8(b_zero_point),
                                    np.float32(y_scale), np.int8(y_zero_point), q_min=q_min, q_max=q_max)
    return y, None


def _qmul_shape(a, b, **attributes):
    if tuple(b) not in (tuple(a), (*a[:2], 1, 1)):
        raise ValueError(f"qmul takes two arrays of one shape, or gates (N,C,1,1) second, not {tuple(a)} and {tuple(b)}")
    return tuple(a)


def _qmax_pool2d(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    return kernels.integer.max_pool(x, pool2d_geometry(x.shape, kernel_size, stride, padding, dilation, ceil_mode)), None


def _qavg_pool2d(x, kernel_size, x_scale, x_zero_point, y_scale, y_zero_point, stride=None, padding=0, ceil_mode=False, count_include_pad=True,
                 q_min=-128, q_max=127):
    g = pool2d_geometry(x.shape, kernel_size, stride, padding, 1, ceil_mode)
    y = kernels.integer.qlinear_average_pool(x, np.float32(x_scale), np.int8(x_zero_point), np.float32(y_scale), np.int8(y_zero_point), g,
                                             count_include_pad, q_min=q_min, q_max=q_max)
    return y, None


def _qavg_pool2d_shape(x, kernel_size, stride=None, padding=0, ceil_mode=False, **attributes):
    return pool2d_geometry(x, kernel_size, stride, padding, 1, ceil_mode).y_shape


def _each(**kinds):
    return lambda shapes, output, **attributes: Counts(**{kind: each * size(output) for kind, each in kinds.items()})


register("quantize", _quantize, None, same_shape, _each(special=1, additions=1, comparisons=2))
register("dequantize", _dequantize, None, same_shape, _each(multiplications=1, additions=1))
register("qconv2d", _at_once(_prepare_qconv2d), None, _qconv2d_shape, _qconv2d_counts, prepare=_prepare_qconv2d)
register("qlinear", _at_once(_prepare_qlinear), None, lambda x, w, *rest, **attributes: linalg._linear_shape(x, w), _qlinear_counts,
         prepare=_prepare_qlinear)
register("qadd", _qadd, None, _qadd_shape, _each(multiplications=2, additions=4, comparisons=2))
register("qglobal_average_pool", _qaverage, None, lambda x, **attributes: (x[0], x[1], 1, 1),
         lambda shapes, output, **attributes: Counts(additions=size(shapes[0]), multiplications=size(output)))
register("qmul", _qmul, None, _qmul_shape, _each(multiplications=2, additions=3, comparisons=2))
register("qlook_up", lambda x, table, **said: (kernels.integer.look_up(x, table), None), None, same_shape, lambda shapes, output, **attributes: Counts())
register("qmax_pool2d", _qmax_pool2d, None, pool._max_shape, pool._max_counts)
register("qavg_pool2d", _qavg_pool2d, None, _qavg_pool2d_shape, pool._average_counts)
