"""AdaRound: each weight is rounded up or down as the layer's output asks for, not to the nearer code.

    w̃ = S clip(⌊w/S⌋ + h, q_min, q_max),   h ∈ {0, 1},   chosen for the least  E‖(w̃ - w) x‖² = Σ_f δ_f G δ_fᵀ,   G = E[x xᵀ]
x (K,) are the K = C/G KH KW numbers that a filter sees (an im2col column), δ_f = w̃_f - w_f one filter's errors. The nearest code
makes every δ² least, and ignores that errors of correlated inputs can cancel. 2^K choices a filter: so h is relaxed,
    h = clip(σ(V) (ζ - γ) + γ, 0, 1),  ζ = 1.1, γ = -0.1,      loss = Σ δ G δᵀ / scale + λ Σ (1 - |2h - 1|^β)
with Adam over V; the second term pushes every h to 0 or 1, gently at first (β = 20) and then hard (β = 2, by a cosine), after a
fifth of the steps without it. V starts where h is the true fraction of w/S.
At the end every weight is turned over once more if that lowers the objective (never up, so no worse than before), and the
nearest rounding is returned should it have been better.
Source: Nagel et al., "Up or down? Adaptive rounding for post-training quantization" (2020), equations 21 to 25.
"""
import numpy as np

from .._checks import finite, whole
from .codes import code_range

ZETA, GAMMA = 1.1, -0.1


def _checked(w, scale, gram, bits):
    """w, and by group: w (G,M,K), step (G,M,1), gram (G,K,K), all float64, F = G M; the end codes."""
    w = finite(w, "w")
    flat = w.reshape(len(w), -1).astype(np.float64)
    step, gram = finite(scale, "scale").astype(np.float64), finite(gram, "gram").astype(np.float64)
    if step.size not in (1, len(w)) or (step <= 0).any():
        raise ValueError(f"scale must be one positive number, or {len(w)}, one a filter, not {scale}")
    k = flat.shape[1]
    if gram.shape[-2:] != (k, k) or gram.ndim not in (2, 3) or (gram.ndim == 3 and (not len(gram) or len(w) % len(gram))):
        raise ValueError(f"gram must be {(k, k)}, E[x xᵀ] of what a filter sees, or one for each of G groups of filters, "
                         f"(G, {k}, {k}) with {len(w)} a multiple of G, not shape {gram.shape}")
    gram = gram.reshape(-1, k, k)
    step = np.broadcast_to(step.reshape(-1, 1), (len(w), 1)).reshape(len(gram), -1, 1)
    return w, flat.reshape(len(gram), -1, k), step, gram, code_range(bits, narrow=True)


def rounding_error(w, w_hat, gram):
    """Σ_f δ_f G δ_fᵀ, δ = ŵ - w: the mean squared change of the layer's output, summed over filters. A number, float64.

    w, ŵ (F,…) of one shape, gram (K,K) = E[x xᵀ], or (G,K,K), one for each group of filters.

    >>> tc.compress.quantize.rounding_error(np.array([[1.0, 1.0]]), np.array([[1.5, 0.5]]), np.ones((2, 2)))
    0.0
    """
    gram = np.asarray(gram, np.float64)
    gram = gram.reshape(-1, *gram.shape[-2:])                                                # (G,K,K)
    off = (np.asarray(w_hat, np.float64) - np.asarray(w, np.float64)).reshape(len(gram), -1, gram.shape[-1])
    return float(_errors(off, gram).sum())


def _errors(off, gram):
    """(G,) Σ δ G δᵀ of each group: off (G,M,K), gram (G,K,K)."""
    return ((off @ gram) * off).sum(axis=(1, 2))


def adaround(w, scale, gram, bits=4, steps=500, lr=0.02, weight=0.01):
    """Codes int8 of w's shape, each ⌊w/S⌋ or ⌊w/S⌋ + 1 within the narrow code range, for a low `rounding_error`.

    w (F,…), scale a number or (F,), gram (K,K) = E[x xᵀ], or (G,K,K) for a layer of G groups, F/G filters each, which are as
    independent as if each were rounded by itself. `weight` is λ.
    Invariant: no group's rounding_error is above that of the nearest codes. Cost: steps · F K² multiply-adds.
    Errors: ValueError for bits, a scale that is not positive, a gram of another shape, NaN.

    >>> tc.compress.quantize.adaround(np.array([[0.4, 0.4]]), 1.0, np.ones((2, 2)))        # nearest: 0, 0, and 0.8 is missing
    array([[1, 0]], dtype=int8)
    """
    w, flat, step, gram, (q_min, q_max) = _checked(w, scale, gram, bits)
    floor = np.floor(flat / step)
    nearest = np.clip(np.rint(flat / step), q_min, q_max)
    error = _errors(step * nearest - flat, gram)                                             # (G,)
    h = _relaxed(flat, step, floor, gram, (q_min, q_max), whole(steps, "steps", 0), lr, weight, error)
    codes, low, high = (np.clip(floor + up, q_min, q_max) for up in (h > 0.5, 0, 1))
    codes = _turned(flat, step, codes, low, high, gram)
    better = (_errors(step * codes - flat, gram) <= error) & (error >= 1e-100)               # below: inputs that are always 0
    return np.where(better[:, None, None], codes, nearest).astype(np.int8).reshape(w.shape)


def _relaxed(w, step, floor, gram, limits, steps, lr, weight, error):
    """h (G,M,K) after Adam on V: the derivative of δ G δᵀ is 2 δ G, times S where the code is not clipped, times dh/dV."""
    h = w / step - floor
    v = -np.log((ZETA - GAMMA) / (h - GAMMA) - 1)
    first, second = np.zeros_like(v), np.zeros_like(v)
    share = (w[0].size / np.maximum(error, 1e-100))[:, None, None]                           # each group's own part of the loss is 1
    for i in range(1, steps + 1):
        sigmoid = 1 / (1 + np.exp(-v))
        stretched = sigmoid * (ZETA - GAMMA) + GAMMA
        h = np.clip(stretched, 0.0, 1.0)
        codes = floor + h
        inside = (codes >= limits[0]) & (codes <= limits[1])
        dh = 2 * ((step * np.clip(codes, *limits) - w) @ gram) * step * inside * share
        progress = (i / steps - 0.2) / 0.8
        if progress > 0:
            beta = 2 + 9 * (1 + np.cos(np.pi * progress))
            middle = 2 * h - 1
            dh -= weight * 2 * beta * np.sign(middle) * np.abs(middle) ** (beta - 1)
        dv = dh * ((stretched > 0) & (stretched < 1)) * (ZETA - GAMMA) * sigmoid * (1 - sigmoid)
        first, second = 0.9 * first + 0.1 * dv, 0.999 * second + 0.001 * dv * dv
        v -= lr * (first / (1 - 0.9 ** i)) / (np.sqrt(second / (1 - 0.999 ** i)) + 1e-8)
    return h


def _turned(w, step, codes, low, high, gram):
    """One pass over the K weights of all filters: the other of ⌊w/S⌋ and ⌊w/S⌋ + 1 where it lowers δ G δᵀ.

    Turning weight k changes δ_k by t, and the objective by 2 t (δ G)_k + t² G_kk.
    """
    codes, slope = codes.copy(), (step * codes - w) @ gram                        # (G,M,K): δ G
    for k in range(w.shape[2]):
        turn = step[..., 0] * (low[..., k] + high[..., k] - 2 * codes[..., k])    # (G,M)
        change = 2 * turn * slope[..., k] + turn * turn * gram[:, k, k, None]
        turn = np.where(change < 0, turn, 0.0)
        codes[..., k] += turn / step[..., 0]
        slope += turn[..., None] * gram[:, None, k]
    return np.rint(codes)
