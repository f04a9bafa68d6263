"""Operations on codes without weights: sums and means of them. Codes and scales: `codes`; layers with weights: `integer`.

They round first, half to even, and add Z_y then, as ONNX's QuantizeLinear does: the result is QuantizeLinear of the exact real sum or mean
of what the codes stand for. Cost: a few operations a code; bound by memory. Loops: `integer_kernels`.
Sources: ONNX operators QuantizeLinear, DequantizeLinear; ONNX Runtime's contributed operators QLinearAdd, QLinearGlobalAveragePool.
"""
import numpy as np

from . import integer_kernels as loops
from . import layout, select, threads
from .codes import code_array, code_dtype, limits, scale_of, zero_point_of


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
