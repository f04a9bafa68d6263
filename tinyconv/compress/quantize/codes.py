"""Quantization: real numbers as small integers, x ≈ x̂ = S (q - Z).

    q = clip(round(x / S) + Z, q_min, q_max)        code: an integer of `bits` bits, halves rounded to the even number
    x̂ = S (q - Z)                                   S scale (float32, > 0), Z zero point (an integer among the codes)

Affine: S = (x_max - x_min)/(2^bits - 1), Z = q_min - round(x_min / S). The range is first extended to contain 0, and Z is an
integer, so that 0 itself is a code: zero padding, ReLU and pruned weights stay exact. Rounding Z moves ("nudges") the range by up
to S/2, to [S (q_min - Z), S (q_max - Z)]; on it, and on the range that was asked for, |x - x̂| <= S/2.
Symmetric, for weights: Z = 0, S = max|x| / (2^(bits-1) - 1), codes in [-127, 127]: -128 is not used, so that -w has the code -q.

"Per tensor" is one S for the whole array; "per channel" one for each index of `axis` (0 for weights, (F,C/G,KH,KW)), and then
scale and zero_point are rows (F,). `q_min, q_max` give the codes: -128, 127 are int8 and 0, 255 uint8.
Sources: Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference" (2018),
equation 1 and section 2; Krishnamoorthi, "Quantizing deep convolutional networks" (2018), sections 2 and 3. Formulas of scale and
zero point as in ONNX DynamicQuantizeLinear.
"""
import numpy as np

from .._checks import finite, whole

EPS = 2.0 ** -23                        # the smallest scale: an all-zero or vanishing array still has one (PyTorch's floor)


def code_range(bits=8, signed=True, narrow=False):
    """(q_min, q_max) of codes of that many bits, 2…8; `narrow` leaves out the lowest, as symmetric weights do.

    >>> code_range(8), code_range(8, signed=False), code_range(4, narrow=True)
    ((-128, 127), (0, 255), (-7, 7))
    """
    bits = whole(bits, "bits", 2, 8)
    low, high = (-2 ** (bits - 1), 2 ** (bits - 1) - 1) if signed else (0, 2 ** bits - 1)
    return low + bool(narrow), high


# ---- scale and zero point --------------------------------------------------------------------------------------------

def affine(x_min, x_max, bits=8, signed=True):
    """(scale, zero_point) of the range [x_min, x_max]: numbers, or rows (F,) per channel; float32 and int32.

    S = max((x_max - x_min)/(2^bits - 1), EPS) after x_min = min(x_min, 0) and x_max = max(x_max, 0); Z = q_min - round(x_min/S).
    Invariants: q_min <= Z <= q_max, 0 -> Z -> 0 exactly, |x - x̂| <= S/2 on the range (up to float32 rounding).
    Errors: ValueError for NaN and infinities, x_min > x_max, bits outside 2…8.

    >>> s, z = tc.compress.quantize.affine(-3.14159, 3.14159)
    >>> round(float(s), 5), int(z)
    (0.02464, 0)
    >>> tc.compress.quantize.affine(0.0, 6.0, signed=False)[1]
    np.int32(0)
    """
    q_min, q_max = code_range(bits, signed)
    x_min, x_max = finite(x_min, "x_min").astype(np.float64), finite(x_max, "x_max").astype(np.float64)
    if x_min.shape != x_max.shape or (x_min > x_max).any():
        raise ValueError(f"x_min must be at most x_max, of the same shape, not {x_min} and {x_max}")
    x_min, x_max = np.minimum(x_min, 0), np.maximum(x_max, 0)
    scale = _float32_scale(np.maximum((x_max - x_min) / (q_max - q_min), EPS))
    below = np.rint(x_min * (q_max - q_min) / np.maximum(x_max - x_min, EPS * (q_max - q_min)))     # round(x_min / S), exact S
    return scale, (q_min - below).astype(np.int32)[()]


def symmetric(x_absmax, bits=8):
    """The scale of [-x_absmax, x_absmax] with Z = 0 and narrow codes: S = max(x_absmax/(2^(bits-1) - 1), EPS), float32.

    x_absmax a number, or a row (F,) per channel. Invariants: -x has the code -q, ±x_absmax the codes ±127 (8 bits).
    Errors: ValueError for NaN and infinities, negative x_absmax, bits outside 2…8.

    >>> float(tc.compress.quantize.symmetric(127.0)), float(tc.compress.quantize.symmetric(7.0, bits=4))
    (1.0, 1.0)
    """
    x_absmax = finite(x_absmax, "x_absmax").astype(np.float64)
    if (x_absmax < 0).any():
        raise ValueError(f"x_absmax must not be negative, not {x_absmax}")
    return _float32_scale(np.maximum(x_absmax / code_range(bits, narrow=True)[1], EPS))


def _float32_scale(scale):
    if (scale > np.finfo(np.float32).max).any():
        raise ValueError(f"the range is too wide: its scale {scale} is no float32")
    return scale.astype(np.float32)[()]


def other_axes(x, axis):
    """All axes but `axis`, which share a scale; None (all of them) for axis=None. Errors: ValueError for a wrong axis."""
    if axis is None:
        return None
    if not -x.ndim <= axis < x.ndim:
        raise ValueError(f"axis must be one of the {x.ndim} axes of shape {x.shape}, not {axis!r}")
    return tuple(a for a in range(x.ndim) if a != axis % x.ndim)


def value_range(x, axis=None):
    """(x_min, x_max) of an array, or rows of them for each index of `axis`. Refuses NaN, infinities and empty arrays.

    >>> tc.compress.quantize.value_range(np.array([[1.0, -2.0], [3.0, 4.0]]), axis=0)
    (array([-2.,  3.]), array([1., 4.]))
    """
    x = finite(x, "x")
    axes = other_axes(x, axis)
    return x.min(axis=axes), x.max(axis=axes)


# ---- codes -----------------------------------------------------------------------------------------------------------

def _parameters(x, scale, zero_point, q_min, q_max, axis):
    """Scale and zero point shaped to meet x, all of it checked: S finite and positive, Z among the codes, codes in 8 bits."""
    if not (-128 <= q_min < q_max <= 127 or 0 <= q_min < q_max <= 255):
        raise ValueError(f"q_min < q_max must lie in int8 (-128…127) or uint8 (0…255), not {q_min}, {q_max}")
    scale, zero_point = np.asarray(scale), np.asarray(zero_point)
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        raise ValueError(f"scale must be positive and finite, not {scale}")
    if zero_point.dtype.kind not in "iu":
        raise TypeError(f"zero_point must be an integer, not {zero_point.dtype}")
    if (zero_point < q_min).any() or (zero_point > q_max).any():
        raise ValueError(f"zero_point must be one of the codes {q_min}…{q_max}, not {zero_point}")
    if axis is None:
        if scale.size != 1 or zero_point.size != 1:
            raise ValueError("scale and zero_point must be single numbers without axis, "
                             f"not of shapes {scale.shape}, {zero_point.shape}")
        return scale.reshape(()), zero_point.reshape(()).astype(np.int32)
    others = other_axes(x, axis)
    shape = [1 if a in others else n for a, n in enumerate(x.shape)]
    for name, value in (("scale", scale), ("zero_point", zero_point)):
        if value.shape not in ((), (x.shape[axis],)):
            raise ValueError(f"{name} must have one entry for each of {x.shape[axis]} channels of axis {axis}, "
                             f"not shape {value.shape}")
    return (np.broadcast_to(scale, x.shape[axis]).reshape(shape),
            np.broadcast_to(zero_point, x.shape[axis]).reshape(shape).astype(np.int32))


def _rounded(x, scale):
    """round(x / S) in x's own dtype, as ONNX QuantizeLinear divides; halves to even."""
    x = np.asarray(x)
    if x.dtype.kind != "f":
        raise TypeError(f"x must be float32 or float64, not {x.dtype}")
    if np.isnan(x).any():
        raise ValueError(f"x must not hold NaN, which has no code: {np.count_nonzero(np.isnan(x))} of {x.size} values are")
    steps = np.asarray(x / scale.astype(x.dtype))
    return np.rint(steps, out=steps)


def _clipped(x, scale, zero_point, q_min, q_max):
    """q - Z of every x, clipped, in x's dtype, which holds codes of 8 bits exactly."""
    steps = _rounded(x, scale)
    return np.clip(steps, *((end - zero_point).astype(x.dtype) for end in (q_min, q_max)), out=steps)


def quantize(x, scale, zero_point=0, q_min=-128, q_max=127, axis=None):
    """Codes q = clip(round(x / S) + Z, q_min, q_max): int8, or uint8 when q_min >= 0. Values out of range saturate, ±inf too.

    x float32 or float64 of any shape; with `axis`, scale and zero_point are rows with an entry for each index of that axis.
    Rounding comes before Z is added: round(x/S + Z) differs at ties when Z is odd. Invariants: 0 -> Z; |x - x̂| <= S/2 inside
    the range; monotone. Errors: ValueError or TypeError for NaN, integers, a bad scale, zero point, axis or code range.

    >>> tc.compress.quantize.quantize(np.array([-9.0, -0.5, 0.0, 0.5, 1.5, 999.0]), 1.0, zero_point=1)
    array([ -8,   1,   1,   1,   3, 127], dtype=int8)
    """
    x = np.asarray(x)
    scale, zero_point = _parameters(x, scale, zero_point, q_min, q_max, axis)
    codes = _clipped(x, scale, zero_point, q_min, q_max) + zero_point
    return codes.astype(np.uint8 if q_min >= 0 else np.int8)


def dequantize(q, scale, zero_point=0, axis=None):
    """x̂ = S (q - Z), float32; the difference is taken in int32, where int8 would wrap.

    >>> tc.compress.quantize.dequantize(np.array([-128, 1], np.int8), 0.5, zero_point=1)
    array([-64.5,   0. ], dtype=float32)
    """
    q = np.asarray(q)
    if q.dtype not in (np.int8, np.uint8):
        raise TypeError(f"q must be int8 or uint8 codes, not {q.dtype}")
    limits = np.iinfo(q.dtype)
    scale, zero_point = _parameters(q, scale, zero_point, limits.min, limits.max, axis)
    return (q.astype(np.int32) - zero_point).astype(np.float32) * scale.astype(np.float32)


def fake_quantize(x, scale, zero_point=0, q_min=-128, q_max=127, axis=None):
    """x̂ of every x, in floating point and x's dtype: what the integer network will see, bit for bit.

    x̂ = S (clip(round(x / S) + Z, q_min, q_max) - Z). Invariants: equals dequantize(quantize(x)) for float32 x and scale, and
    applying it twice changes nothing more. Errors as in `quantize`. Source: Jacob et al. 2018, equation 12.

    >>> tc.compress.quantize.fake_quantize(np.array([0.3, 0.74, 9.0]), 0.5, 0, -2, 2)
    array([0.5, 0.5, 1. ])
    """
    x = np.asarray(x)
    scale, zero_point = _parameters(x, scale, zero_point, q_min, q_max, axis)
    steps = _clipped(x, scale, zero_point, q_min, q_max)                                    # q - Z
    steps += 0                                                                              # no -0.0, as integers have none
    steps *= scale.astype(x.dtype)
    return steps[()]


def straight_through(x, scale, zero_point=0, q_min=-128, q_max=127, axis=None):
    """Where the straight-through gradient of `fake_quantize` is 1, else 0: q_min <= round(x/S) + Z <= q_max. Bool, x's shape.

    Rounding has the gradient 0 almost everywhere, so training lets dy pass as if it were not there (Bengio et al. 2013); only
    values that saturate get none. The outermost codes themselves are inside: values that round to them still learn.

    >>> tc.compress.quantize.straight_through(np.array([-2.6, -2.4, 2.4, 2.6]), 1.0, 0, -2, 2)
    array([False,  True,  True, False])
    """
    x = np.asarray(x)
    scale, zero_point = _parameters(x, scale, zero_point, q_min, q_max, axis)
    steps = _rounded(x, scale)
    return (steps >= q_min - zero_point) & (steps <= q_max - zero_point)


def quantize_weight(w, bits=8, axis=0):
    """(codes int8, scale float32) of a weight, symmetric: one scale an index of `axis` (0: a filter), or axis=None for one.

    Invariants: |w - S q| <= S/2 everywhere (nothing saturates), codes in [-127, 127] for 8 bits, zero exact.

    >>> tc.compress.quantize.quantize_weight(np.array([[1.27, -0.5], [0.0, 12.7]]))
    (array([[127, -50],
           [  0, 127]], dtype=int8), array([0.01, 0.1 ], dtype=float32))
    """
    low, high = value_range(w, axis)
    scale = symmetric(np.maximum(-low, high), bits)
    q_min, q_max = code_range(bits, narrow=True)
    return quantize(finite(w, "w"), scale, 0, q_min, q_max, axis), scale
