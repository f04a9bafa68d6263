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

from ._checks import finite, whole

EPS = 2.0 ** -23                        # the smallest scale: an all-zero or vanishing array still has one (PyTorch's floor)
INT32_MAX = 2 ** 31 - 1


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
    below = np.rint(x_min * (q_max - q_min) / np.maximum(x_max - x_min, EPS * (q_max - q_min)))      # round(x_min / S), S not rounded
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


def _other_axes(x, axis):
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
    axes = _other_axes(x, axis)
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
            raise ValueError(f"scale and zero_point must be single numbers without axis, not of shapes {scale.shape}, {zero_point.shape}")
        return scale.reshape(()), zero_point.reshape(()).astype(np.int32)
    others = _other_axes(x, axis)
    shape = [1 if a in others else n for a, n in enumerate(x.shape)]
    for name, value in (("scale", scale), ("zero_point", zero_point)):
        if value.shape not in ((), (x.shape[axis],)):
            raise ValueError(f"{name} must have one entry for each of {x.shape[axis]} channels of axis {axis}, not shape {value.shape}")
    return (np.broadcast_to(scale, x.shape[axis]).reshape(shape),
            np.broadcast_to(zero_point, x.shape[axis]).reshape(shape).astype(np.int32))


def _rounded(x, scale):
    """round(x / S) in x's own dtype, as ONNX QuantizeLinear divides; halves to even."""
    x = np.asarray(x)
    if x.dtype.kind != "f":
        raise TypeError(f"x must be float32 or float64, not {x.dtype}")
    if np.isnan(x).any():
        raise ValueError(f"x must not hold NaN, which has no code: {np.count_nonzero(np.isnan(x))} of {x.size} values are")
    return np.rint(x / scale.astype(x.dtype))


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
    codes = np.clip(_rounded(x, scale), q_min - zero_point, q_max - zero_point) + zero_point
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
    steps = np.clip(_rounded(x, scale), q_min - zero_point, q_max - zero_point)             # q - Z
    return (steps + 0).astype(x.dtype) * scale.astype(x.dtype)                              # + 0: no -0.0, as integers have none


def straight_through(x, scale, zero_point=0, q_min=-128, q_max=127, axis=None):
    """Where the straight-through gradient of `fake_quantize` is 1 (elsewhere 0): q_min <= round(x/S) + Z <= q_max. Bool, x's shape.

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
    """(codes int8, scale float32) of a weight, symmetric: one scale for each index of `axis` (0: each filter), or axis=None for one.

    Invariants: |w - S q| <= S/2 everywhere (nothing saturates), codes in [-127, 127] for 8 bits, zero exact.

    >>> tc.compress.quantize.quantize_weight(np.array([[1.27, -0.5], [0.0, 12.7]]))
    (array([[127, -50],
           [  0, 127]], dtype=int8), array([0.01, 0.1 ], dtype=float32))
    """
    low, high = value_range(w, axis)
    scale = symmetric(np.maximum(-low, high), bits)
    q_min, q_max = code_range(bits, narrow=True)
    return quantize(finite(w, "w"), scale, 0, q_min, q_max, axis), scale


# ---- calibration -----------------------------------------------------------------------------------------------------

def observe_min_max(seen, x):
    """The range that covers what was seen and the new batch: (min, max) of both. `seen` is None before the first batch.

    >>> tc.compress.quantize.observe_min_max((-1.0, 2.0), np.array([0.0, 3.0]))
    (-1.0, 3.0)
    """
    low, high = (float(v) for v in value_range(x))
    return (low, high) if seen is None else (min(seen[0], low), max(seen[1], high))


def observe_moving_average(seen, x, momentum=0.01):
    """The range moved towards the new batch's: seen + momentum (new - seen), at both ends; the first batch counts whole.

    One outlying batch shifts it by 1 % only, so the range may exclude what was seen: values beyond it saturate (Jacob et al.
    2018, section 3.1).

    >>> tc.compress.quantize.observe_moving_average((0.0, 1.0), np.array([0.0, 2.0]), momentum=0.5)
    (0.0, 1.5)
    """
    if not 0 < momentum <= 1:
        raise ValueError(f"momentum must be a fraction above 0 and at most 1, not {momentum!r}")
    low, high = (float(v) for v in value_range(x))
    return (low, high) if seen is None else (seen[0] + momentum * (low - seen[0]), seen[1] + momentum * (high - seen[1]))


# ---- towards integers only -------------------------------------------------------------------------------------------

def fold_batch_norm(w, b, gamma, beta, mean, var, eps=1e-5):
    """(w', b') of the one layer that computes BatchNorm after convolution (or linear), in evaluation mode. Its only home.

    BN(w * x + b) = γ (w * x + b - μ)/sqrt(σ² + ε) + β, hence
    w' = w γ/sqrt(σ² + ε) a filter, b' = (b - μ) γ/sqrt(σ² + ε) + β.
    w (F,C/G,KH,KW) or (F,C), filters first; b (F,) or None; γ, β (F,) or None for a BatchNorm without them; μ, σ² (F,) the
    running mean and biased variance. Worked out in float64 and rounded once, to w's dtype. γ = 0 is no trouble: nothing is
    divided by γ. Errors: ValueError for lengths that differ, negative variance or eps, σ² + ε = 0, NaN and infinities.
    Source: Jacob et al. 2018, section 3.2, equation 14.

    >>> tc.compress.quantize.fold_batch_norm(np.array([[2.0]]), None, [3.0], [1.0], [4.0], [9.0], eps=0.0)
    (array([[2.]]), array([-3.]))
    """
    w = finite(w, "w")
    if not w.ndim:
        raise ValueError("w must have a filter axis, not be a single number")
    given = dict(b=0.0 if b is None else b, gamma=1.0 if gamma is None else gamma, beta=0.0 if beta is None else beta)
    rows = {}
    for name, value in {**given, "mean": mean, "var": var}.items():
        value = finite(value, name).astype(np.float64)
        if value.shape not in ((len(w),), ()) or (value.ndim == 0 and name in ("mean", "var")):
            raise ValueError(f"{name} must have one entry for each of {len(w)} filters, not shape {value.shape}")
        rows[name] = value
    if not 0 <= eps < np.inf or (rows["var"] < 0).any() or (rows["var"] + eps == 0).any():
        raise ValueError(f"var and eps must not be negative, nor both 0: least var {rows['var'].min()}, eps {eps!r}")
    factor = rows["gamma"] / np.sqrt(rows["var"] + eps)                                     # (F,)
    folded = w * factor.reshape(-1, *[1] * (w.ndim - 1))                                    # (F,C/G,KH,KW) x (F,1,1,1)
    return folded.astype(w.dtype), ((rows["b"] - rows["mean"]) * factor + rows["beta"]).astype(w.dtype)


def quantize_bias(b, x_scale, w_scale):
    """Bias codes for the int32 accumulator: round(b / (S_x S_w)), int32, Z = 0, so that they add to Σ q_x q_w as they are.

    b (F,), x_scale a number, w_scale a number or (F,). Invariant: |b - S_x S_w q| <= S_x S_w / 2.
    Errors: ValueError naming the filters whose bias does not fit into 32 bits: their weights are so small that S_w is, and a
    larger w_scale helps (`scale_that_fits_bias`). Clipping such a bias would silently change the network.

    >>> tc.compress.quantize.quantize_bias([1.0, -0.5], 0.5, 0.25)
    array([ 8, -4], dtype=int32)
    """
    b = finite(b, "b").astype(np.float64)
    step = _bias_step(x_scale, w_scale)
    if b.ndim != 1 or step.shape not in ((), b.shape):
        raise ValueError(f"b must be (F,) and w_scale a number or (F,), not {b.shape} and {step.shape}")
    codes = np.rint(b / step)
    if (np.abs(codes) > INT32_MAX).any():
        bad = np.flatnonzero(np.abs(codes) > INT32_MAX).tolist()
        raise ValueError(f"b must fit into 32 bits in steps of x_scale w_scale, those of filters {bad} do not: enlarge their w_scale "
                         f"(scale_that_fits_bias)")
    return codes.astype(np.int32)


def _bias_step(x_scale, w_scale):
    """S_x S_w in float64, both refused unless positive and finite."""
    x_scale, w_scale = finite(x_scale, "x_scale").astype(np.float64), finite(w_scale, "w_scale").astype(np.float64)
    if x_scale.ndim or x_scale <= 0 or (w_scale <= 0).any():
        raise ValueError(f"x_scale must be one positive number and w_scale positive, not {x_scale} and {w_scale}")
    return x_scale * w_scale


def scale_that_fits_bias(w_scale, b, x_scale, room=2 ** 30):
    """The weight scales, enlarged where needed so that |b| <= room · S_x S_w: float32, and mostly unchanged.

    A filter with vanishing weights (a BatchNorm with γ near 0, folded) has a tiny scale, and then a usual bias no longer fits
    into int32. A larger scale costs such a filter at most S/2 a weight, S = |b|/(room S_x), far below anything it adds to b.
    w_scale a number or (F,), b (F,) -> (F,).

    >>> tc.compress.quantize.scale_that_fits_bias(np.float32([0.01, 1e-7]), [1.0, 1.0], 0.001).tolist() == [
    ...     np.float32(0.01), np.nextafter(np.float32(1 / (0.001 * 2 ** 30)), np.float32(1))]
    True
    """
    b, w_scale = finite(b, "b").astype(np.float64), finite(w_scale, "w_scale").astype(np.float32)
    _bias_step(x_scale, w_scale)
    needed = (np.abs(b) / (whole(room, "room", 1, INT32_MAX) * np.float64(x_scale))).astype(np.float32)
    return np.where(needed >= w_scale, np.nextafter(needed, np.float32(np.inf)), w_scale)    # a step up: rounding must not undo it


def accumulator_bound(q_w, q_b=None, x_zero_point=0, w_zero_point=0, x_min=-128, x_max=127):
    """The largest |accumulator| each filter can reach: max|q_x - Z_x| · Σ|q_w - Z_w| + |q_b|, (F,) int64.

    Below 2³¹ no sum, in any order, overflows int32, whatever the input: a proof, not a measurement. q_w (F,…) codes, q_b (F,)
    int32 or None, w_zero_point a number or (F,); x_min, x_max the codes that the input can take.
    Symmetric int8 weights and int8 inputs with Z_x = -128 are safe up to 66,311 weights a filter: 255 · 127 each.

    >>> tc.compress.quantize.accumulator_bound(np.array([[127, -127]], np.int8), np.array([10], np.int32), x_zero_point=-128)
    array([64780])
    """
    q_w = np.asarray(q_w)
    if q_w.dtype.kind not in "iu" or q_w.ndim < 2:
        raise TypeError(f"q_w must be integer codes (F,…), not {q_w.dtype} of shape {q_w.shape}")
    f = len(q_w)
    q_b = np.zeros(f, np.int64) if q_b is None else np.asarray(q_b)
    if q_b.shape != (f,) or q_b.dtype.kind not in "iu":
        raise ValueError(f"q_b must be {f} integers (F,), not {q_b.dtype} of shape {q_b.shape}")
    w_zero_point = np.broadcast_to(np.asarray(w_zero_point, np.int64), f)
    reach = max(abs(x_min - int(x_zero_point)), abs(x_max - int(x_zero_point)))
    total = np.abs(q_w.reshape(f, -1).astype(np.int64) - w_zero_point[:, None]).sum(axis=1)          # (F,)
    return reach * total + np.abs(q_b.astype(np.int64))
