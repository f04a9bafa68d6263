"""Operations on codes, number by number: sums and products of two arrays, any function by its table.

    sum        clip(rint(((q_a - Z_a) S_a + (q_b - Z_b) S_b) / S_y) + Z_y)
    product    clip(rint((q_a - Z_a)(q_b - Z_b) M) + Z_y),   M = S_a S_b / S_y in float64
    function   table[q]: eight bits have 256 values, so that sigmoid, hardswish, or a change of scale is one look-up a code

rint is half to even. All round first and add Z_y then, as ONNX's QuantizeLinear does: the result is QuantizeLinear of the exact real sum of
what the codes stand for. `qlinear_add` knows ONNX Runtime's order too. Numbers are float64, each step rounded once, so that ties are
found. Cost: a few operations a code; bound by memory. Loops: `integer_kernels`. Windows of codes: `integer_pool`.
Sources: ONNX operators QuantizeLinear, DequantizeLinear; ONNX Runtime's contributed operators QLinearAdd, QLinearMul, QLinearSigmoid,
QLinearConcat.
"""
import numpy as np

from . import integer_kernels as loops
from . import layout, select, threads
from .codes import code_array, code_dtype, limits, quantize_linear, scale_of, zero_point_of

ADDITIONS = ("quantize_linear", "qlinear_add")


def _pair(a, a_scale, a_zero_point, b, b_scale, b_zero_point):
    """The checked scales and zero points of two arrays of codes: float64 S_a, S_b, integers Z_a, Z_b."""
    scales = [np.float64(scale_of(name, s)) for name, s in (("a_scale", a_scale), ("b_scale", b_scale))]
    zeros = [int(zero_point_of(name, z, q.dtype)) for name, z, q in (("a_zero_point", a_zero_point, a), ("b_zero_point", b_zero_point, b))]
    return *scales, *zeros


def _number_by_number(loop, a, b, dtype, *arguments):
    """loop over two arrays of one shape: as they lie in memory where both can, -> codes of dtype."""
    quick = select.mode() == "fast" and a.ndim == 4
    lie = layout.nhwc if quick else layout.writable
    a, b = lie(a), lie(b)
    out = layout.room(a.shape, np.uint8)
    threads.run(loop, out.size, a.reshape(-1), b.reshape(-1), *arguments, out.reshape(-1), work=2 * out.size)
    return layout.shaped(out.view(dtype)) if quick else out.view(dtype)


def qlinear_add(a, a_scale, a_zero_point, b, b_scale, b_zero_point, y_scale, y_zero_point, dtype=None, q_min=None, q_max=None,
                rule="quantize_linear"):
    """Sum of two arrays of codes: q_y = clip(rint(((q_a - Z_a) S_a + (q_b - Z_b) S_b) / S_y) + Z_y), half to even.

    a and b of one shape, int8 or uint8 -> that shape, of `dtype` (None: that of a). In float64: both products are exact, so is
    their sum as long as S_a and S_b differ by less than 2^20, and the quotient is rounded once. Rules:

        "quantize_linear"   rint, then + Z_y: QuantizeLinear of the sum of both DequantizeLinear, without their roundings. What the standard
                            says of a residual connection, and what a network trained with fake quantization has seen
        "qlinear_add"       + Z_y, then rint: ONNX Runtime's QLinearAdd. At exact ties with odd Z_y one code more or less than the other.
                            ONNX Runtime adds in float32: equal to this on all pairs of codes for scales that are powers of two, one code
                            off beside ties for others (927 of 65,536 pairs for 0.013, 0.021 -> 0.03)

    Cost: an addition and a division an element.
    Errors: TypeError, ValueError as `qlinear_conv`; ValueError if the shapes differ, for an unknown rule.

    >>> qlinear_add(np.array([3], np.int8), 0.5, 0, np.array([4], np.int8), 0.25, 0, 1.0, 10).tolist()
    [12]
    """
    if code_array("a", a).shape != code_array("b", b).shape:
        raise ValueError(f"a and b must have one shape, not {a.shape} and {b.shape}")
    if rule not in ADDITIONS:
        raise ValueError(f"rule must be one of {', '.join(ADDITIONS)}, not {rule!r}")
    dtype = a.dtype if dtype is None else code_dtype(dtype)
    zero, (low, high) = zero_point_of("y_zero_point", y_zero_point, dtype), limits(dtype, q_min, q_max)
    a_scale, b_scale, a_zero, b_zero = _pair(a, a_scale, a_zero_point, b, b_scale, b_zero_point)
    before, after = (float(zero), 0.0) if rule == "qlinear_add" else (0.0, float(zero))
    return _number_by_number(loops.add, a, b, dtype, a_scale, a_zero, b_scale, b_zero, np.float64(scale_of("y_scale", y_scale)), before, after, low, high)


def qlinear_mul(a, a_scale, a_zero_point, b, b_scale, b_zero_point, y_scale, y_zero_point, dtype=None, q_min=None, q_max=None):
    """Product of codes, as of a feature map with its gates: q_y = clip(rint((q_a - Z_a)(q_b - Z_b) M) + Z_y), M = S_a S_b / S_y.

    a and b (N,C,H,W) of one shape, or b (N,C,1,1) for a's planes; -> a's shape, of `dtype` (None: that of a). M in float64 is rounded once, its
    product with the exact integer once more. Cost: two multiplications an element. Errors: as `qlinear_add`.

    >>> qlinear_mul(np.array([3], np.int8), 0.5, 1, np.array([5], np.int8), 0.5, 0, 1.0, 10).tolist()        # 2 * 5 / 4 = 2.5
    [12]
    """
    shape = code_array("a", a).shape
    if code_array("b", b).shape not in (shape, (*shape[:2], 1, 1)):
        raise ValueError(f"b must have the shape of a, or (N, C, 1, 1) beside (N, C, H, W), not {b.shape} beside {shape}")
    dtype = a.dtype if dtype is None else code_dtype(dtype)
    zero, (low, high) = zero_point_of("y_zero_point", y_zero_point, dtype), limits(dtype, q_min, q_max)
    a_scale, b_scale, a_zero, b_zero = _pair(a, a_scale, a_zero_point, b, b_scale, b_zero_point)
    M = a_scale * b_scale / np.float64(scale_of("y_scale", y_scale))
    b = b if b.shape == shape else np.broadcast_to(b, shape)
    return _number_by_number(loops.multiply, a, b, dtype, a_zero, b_zero, M, float(zero), low, high)


def table_of(function, x_scale, x_zero_point, y_scale, y_zero_point, dtype=np.int8, y_dtype=None, q_min=None, q_max=None):
    """The 256 codes of a function of codes: table[q & 255] = QuantizeLinear(function(S_x (q - Z_x))), computed in float64 -> (256,) y_dtype.

    function takes and gives float64 arrays; the identity is a change of scale, as before a concat. `look_up` applies the table.
    Errors: as `quantize_linear`; ValueError where the function is not finite.

    >>> int(table_of(np.tanh, 1.0, 0, 1 / 128, 0)[-1])
    -97
    """
    dtype, y_dtype = code_dtype(dtype, "dtype"), code_dtype(dtype if y_dtype is None else y_dtype, "y_dtype")
    q = np.arange(256).astype(np.uint8).view(dtype)
    x_zero = int(zero_point_of("x_zero_point", x_zero_point, dtype))
    y = np.asarray(function((q.astype(np.float64) - x_zero) * np.float64(scale_of("x_scale", x_scale))), np.float64)
    if not np.isfinite(y).all():
        raise ValueError(f"the function is not finite at {float((q[~np.isfinite(y)][0] - x_zero) * np.float64(x_scale))}: it has no code there")
    return quantize_linear(y, y_scale, y_zero_point, y_dtype, q_min=q_min, q_max=q_max)


def look_up(x, table):
    """y = table[x & 255], code by code: any shape -> the same, of the table's dtype. Errors: TypeError, ValueError unless table holds 256 codes.

    >>> look_up(np.array([-1, 3], np.int8), table_of(np.abs, 1.0, 0, 1.0, 0)).tolist()
    [1, 3]
    """
    if code_array("table", table, 1).shape != (256,):
        raise ValueError(f"table must hold 256 codes, one for each of eight bits, not {table.shape[0]}")
    table = layout.writable(table)
    return _number_by_number(loops.look_up, code_array("x", x).view(np.uint8), x.view(np.uint8), table.dtype, table.view(np.uint8))
