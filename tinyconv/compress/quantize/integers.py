"""Towards integers only: BatchNorm folded into the layer before it, the bias in steps of S_x S_w, and sums that fit into 32 bits.

    BN(w * x + b) = w' * x + b',   w' = w γ/sqrt(σ² + ε),   b' = (b - μ) γ/sqrt(σ² + ε) + β
    q_b = round(b / (S_x S_w)),    max|q_x - Z_x| · Σ|q_w| + |q_b| < 2³¹
The requantization of such a sum to 8 bits has its home in kernels/integer.
Source: Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference" (2018),
sections 2.2 to 2.4 and 3.2.
"""
import numpy as np

from .._checks import finite, whole

INT32_MAX = 2 ** 31 - 1


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
        raise ValueError(f"b must fit into 32 bits in steps of x_scale w_scale, those of filters {bad} do not: enlarge their "
                         "w_scale (scale_that_fits_bias)")
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
    return np.where(needed >= w_scale, np.nextafter(needed, np.float32(np.inf)), w_scale)   # a step up: rounding must not undo it


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
