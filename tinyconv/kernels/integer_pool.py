"""Windows of codes: the largest of each, and their mean.

    largest    the code itself: codes keep the order of what they stand for, so scale and zero point stay
    mean       clip(rint(sum (q_x - Z_x) S_x / (S_y count)) + Z_y),   the sum an exact int32, rint half to even

Rounded as in `integer_pointwise`: the result is QuantizeLinear of the exact mean of what the codes stand for. Cost: a comparison or an
addition for each code of each window; bound by memory. Loops: `integer_kernels`, `pool_kernels`.
Sources: ONNX operator MaxPool; ONNX Runtime's contributed operators QLinearAveragePool, QLinearGlobalAveragePool.
"""
import numpy as np

from ..formulas.geometry import Pool2dGeometry
from . import integer_kernels as loops
from . import layout, pool, pool_windows, select, threads
from .codes import code_array, code_dtype, limits, scale_of, zero_point_of


def _window(x, geometry):
    if not isinstance(geometry, Pool2dGeometry) or code_array("x", x, 4).shape != geometry.x_shape:
        raise ValueError(f"x must have the shape of its geometry (from pool2d_geometry), not {getattr(x, 'shape', x)} for {geometry}")
    return geometry


def max_pool(x, geometry):
    """The largest code of each window, padding left out: x (N,C,H,W), geometry from `pool2d_geometry` -> (N,C,OH,OW), scale and Z of x.

    Codes keep the order of what they stand for. Cost: KH*KW - 1 comparisons a result. Errors: TypeError, ValueError for other shapes.
    """
    return pool.max_pool2d(x, _window(x, geometry))[0]


def _means(x, rows, cols, x_scale, x_zero_point, y_scale, y_zero_point, dtype, q_min, q_max):
    """q_y (N,C,OH,OW) over the windows rows x cols, each (first, behind last, length), as `pool` has them."""
    (row_lo, row_hi, tall), (col_lo, col_hi, wide), (n, c, h, w) = rows, cols, x.shape
    dtype = x.dtype if dtype is None else code_dtype(dtype)
    x_zero, zero = zero_point_of("x_zero_point", x_zero_point, x.dtype), zero_point_of("y_zero_point", y_zero_point, dtype)
    x_scale, y_scale = np.float64(scale_of("x_scale", x_scale)), np.float64(scale_of("y_scale", y_scale))
    low, high = limits(dtype, q_min, q_max)
    if 255 * h * w >= 2 ** 31:
        raise ValueError(f"the int32 sum of a plane of {h} x {w} codes could overflow: H * W must be below 2^31 / 255")
    total = np.zeros((n, len(tall), len(wide), c), np.int32)
    threads.run(loops.window_sums, n * len(tall), layout.nhwc(x), int(x_zero), row_lo, row_hi, col_lo, col_hi, total, work=x.size // 4)
    q = np.rint(total * x_scale / (y_scale * np.multiply.outer(tall, wide)[:, :, None])) + zero       # (N,OH,OW,C)
    y = layout.shaped(np.clip(q, low, high).astype(dtype))
    return y if select.mode() == "fast" else layout.nchw(y)


def qlinear_average_pool(x, x_scale, x_zero_point, y_scale, y_zero_point, geometry, count_include_pad=True, dtype=None, q_min=None, q_max=None):
    """Mean of each window of codes: x (N,C,H,W), geometry from `pool2d_geometry` -> (N,C,OH,OW) of `dtype` (None: that of x).

    The divisor is the window's size in the padded image, where padding stands for 0, or in the image alone, as `avg_pool2d`. The int32 sum is
    exact. Cost: KH*KW additions a result. Errors: as `qlinear_global_average_pool`.
    """
    return _means(x, *pool_windows.mean_windows(_window(x, geometry), count_include_pad), x_scale, x_zero_point, y_scale, y_zero_point, dtype, q_min, q_max)


def qlinear_global_average_pool(x, x_scale, x_zero_point, y_scale, y_zero_point, dtype=None, q_min=None, q_max=None):
    """Mean of each plane of codes: q_y = clip(rint(sum (q_x - Z_x) * S_x / (S_y * H * W)) + Z_y), half to even.

    x (N,C,H,W) -> (N,C,1,1) of `dtype` (None: that of x). The sum is an exact int32; the product and the divisor are exact in
    float64 for planes of fewer than 2^21 pixels, and the quotient is rounded once, so that ties are found. Cost: one addition
    a code. Errors: as `qlinear_conv`; ValueError for a plane so large that 255*H*W leaves int32.

    >>> qlinear_global_average_pool(np.array([[[[1, 2]]]], np.int8), 1.0, 0, 0.5, 0).tolist()
    [[[[3]]]]
    """
    h, w = code_array("x", x, 4).shape[2:]
    return _means(x, pool_windows.adaptive_windows(h, 1), pool_windows.adaptive_windows(w, 1), x_scale, x_zero_point, y_scale, y_zero_point, dtype, q_min, q_max)
