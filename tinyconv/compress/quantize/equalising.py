"""Mending a network after training, without training: scales shared between layers, biases absorbed and corrected.

Cross-layer equalisation. ReLU(s y) = s ReLU(y) for s > 0, so a channel between two layers may be divided by s on one side and
multiplied on the other: the network is the same. With r_i the largest |w| of that channel in layer i,
    s = r_1 / sqrt(r_1 r_2)  makes both  sqrt(r_1 r_2);  over a depthwise layer:  every r becomes cbrt(r_1 r_2 r_3)
Then one scale serves all channels. Exact for ReLU and for no activation, not for ReLU6, whose bound does not move along.

Bias correction. Ŵ = W + ε shifts a layer's mean output by ε E[x]: b' = b - ε E[x], where after BatchNorm and ReLU
    E[ReLU(N(β, γ²))] = β Φ(β/|γ|) + |γ| φ(β/γ)         Φ, φ the normal distribution and density; |γ|, as γ may be negative
High biases. Where β > 3|γ|, x is hardly ever below c = β - 3|γ|: the next layer's bias can take c over, and x gets a smaller
range.
Source: Nagel et al., "Data-free quantization through weight equalization and bias correction" (2019), sections 4.1 and 4.2.
"""
import math

import numpy as np

from .._checks import finite, whole


def equalising_scales(ranges):
    """The scales s_1 … s_{n-1} between n layers: s_i = s_{i-1} r_i / t, s_0 = 1, t = (r_1 ⋯ r_n)^(1/n), each (C,) float64.

    ranges: n rows (C,), the largest |w| of each channel in each layer. Layer i's channel is multiplied by s_{i-1}/s_i, so that
    its range becomes t in every layer. A channel that some layer ignores (r = 0) keeps its scale, s = 1.

    >>> [s.tolist() for s in tc.compress.quantize.equalising_scales([[4.0, 1.0], [1.0, 0.0]])]
    [[2.0, 1.0]]
    """
    rows = [finite(r, f"ranges[{i}]").astype(np.float64) for i, r in enumerate(ranges)]
    if len(rows) < 2 or any(r.ndim != 1 or r.shape != rows[0].shape or (r < 0).any() for r in rows):
        raise ValueError(f"ranges must be two or more rows (C,), none negative, not {[r.shape for r in rows]}")
    dead = np.min(rows, axis=0) == 0
    logs = np.log(np.where(dead, 1.0, rows))
    steps = np.cumsum(logs - logs.mean(axis=0), axis=0)[:-1]
    return [np.exp(step) for step in steps]


def _by_filter(a, row):
    """a (F,…) times a number a filter."""
    return a * row.reshape(-1, *[1] * (a.ndim - 1))


def equalise(weights, biases):
    """(weights, biases) of the same network with equal ranges: two layers, or three with a depthwise one, (C,1,KH,KW), between.

    weights: w_1 (C,…), [depthwise (C,1,KH,KW),] w_n (F,C,…), groups 1 at both ends; biases: (C,), [(C,),] and (F,) or None.
    w_i' = w_i s_{i-1}/s_i along the channel, b_i' = b_i / s_i. Invariant: with ReLU or nothing between, outputs are the same up
    to rounding; afterwards every layer has the same largest |w| in a channel. Errors: ValueError for shapes that do not chain.

    >>> (a, b), _ = tc.compress.quantize.equalise([np.array([[8.0], [1.0]]), np.array([[2.0, 1.0]])], [np.zeros(2), None])
    >>> a.ravel().round(12), b.ravel().round(12)
    (array([4., 1.]), array([4., 1.]))
    """
    weights = [finite(w, f"weights[{i}]") for i, w in enumerate(weights)]
    c = len(weights[0])
    if len(biases) != len(weights) or not 2 <= len(weights) <= 3 or any(w.shape[:2] != (c, 1) for w in weights[1:-1]) \
            or weights[-1].ndim < 2 or weights[-1].shape[1] != c:
        raise ValueError(f"weights must be (C,…), perhaps a depthwise (C,1,KH,KW), and (F,C,…), with a bias or None for each, "
                         f"not {[w.shape for w in weights]} and {len(biases)} biases")
    ranges = [np.abs(w).reshape(c, -1).max(axis=1) for w in weights[:-1]]
    ranges.append(np.abs(np.moveaxis(weights[-1], 1, 0)).reshape(c, -1).max(axis=1))
    scales = [np.ones(c), *equalising_scales(ranges), np.ones(c)]
    made = [_by_filter(w, before / after) for w, before, after in zip(weights[:-1], scales, scales[1:])]
    made.append(weights[-1] * scales[-2].reshape(1, -1, *[1] * (weights[-1].ndim - 2)))
    shifted = [None if b is None else (finite(b, "bias") / s).astype(np.asarray(b).dtype)
               for b, s in zip(biases[:-1], scales[1:])]
    return [m.astype(w.dtype) for m, w in zip(made, weights)], [*shifted, biases[-1]]


def _positive_part(mean, size):
    """E[max(N(mean, size²), 0)], size >= 0; max(mean, 0) for size = 0."""
    z = mean / np.where(size == 0, 1.0, size)
    cumulative = 0.5 * (1 + np.vectorize(math.erf, otypes=[float])(z / math.sqrt(2)))
    density = np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    return np.where(size == 0, np.maximum(mean, 0.0), mean * cumulative + size * density)


def expected_relu(beta, gamma, most=None):
    """E[min(max(y, 0), most)] of y ~ N(β, γ²), a channel: β, γ (C,) of the BatchNorm before the activation -> (C,) float64.

    = f(β) - f(β - most), f(m) = m Φ(m/|γ|) + |γ| φ(m/γ); most None: ReLU, f(β); 6: ReLU6. With γ < 0 the distribution is the same
    as with -γ: the *size* of γ counts. With γ left signed, β = 1, γ = -1 gives -0.083, a negative mean of numbers that are none.

    >>> tc.compress.quantize.expected_relu([0.0, 1.0, 1.0], [1.0, -1.0, 0.0]).round(4)
    array([0.3989, 1.0833, 1.    ])
    """
    beta, size = finite(beta, "beta").astype(np.float64), np.abs(finite(gamma, "gamma").astype(np.float64))
    if beta.shape != size.shape:
        raise ValueError(f"beta and gamma must have one entry a channel each, not shapes {beta.shape} and {size.shape}")
    if most is not None and not 0 < most < np.inf:
        raise ValueError(f"most must be a positive number or None, not {most!r}")
    whole_mean = _positive_part(beta, size)
    return whole_mean if most is None else whole_mean - _positive_part(beta - most, size)


def bias_correction(w, w_hat, expected_x, groups=1):
    """What to add to a bias beside ŵ, so that the mean output is the one with w: -(ŵ - w) summed over taps, times E[x].

    w, ŵ (F,C/G,KH,KW) or (F,C), expected_x (C,) the mean of each input channel -> (F,) float64. Exact in the mean over pictures
    and pixels whose window lies inside the plane; at the border, padded taps see 0 and not E[x].

    >>> tc.compress.quantize.bias_correction(np.array([[1.0, 2.0]]), np.array([[1.5, 2.0]]), [4.0, 7.0])
    array([-2.])
    """
    w, w_hat, groups = finite(w, "w").astype(np.float64), finite(w_hat, "w_hat").astype(np.float64), whole(groups, "groups", 1)
    mean = finite(expected_x, "expected_x").astype(np.float64)
    if w.shape != w_hat.shape or w.ndim < 2 or len(w) % groups or mean.shape != (w.shape[1] * groups,):
        raise ValueError(f"w and w_hat must be (F,C/G,…) of one shape and expected_x (C,), not {w.shape}, {w_hat.shape} and "
                         f"{mean.shape} with {groups} groups")
    off = (w_hat - w).reshape(*w.shape[:2], -1).sum(axis=2).reshape(groups, -1, w.shape[1])          # (G, F/G, C/G)
    return -np.einsum("gfc,gc->gf", off, mean.reshape(groups, -1)).ravel()


def absorb_high_bias(b1, beta, gamma, w2, b2):
    """(b_1', b_2'): c = max(0, β - 3|γ|) a channel, b_1' = b_1 - c, b_2' = b_2 + Σ_c W_2 c, taps summed.

    b_1 (C,) the folded bias of the first layer, β, γ (C,) of its BatchNorm, w_2 (F,C,…) and b_2 (F,) of the next, ReLU between.
    Exact wherever x = W_1 … + b_1 >= c, as ReLU(x - c) = ReLU(x) - c there (99.87 % of a normal x), and taps are not padding.

    >>> [b.tolist() for b in tc.compress.quantize.absorb_high_bias([5.0, 1.0], [5.0, 1.0], [-1.0, 1.0], np.ones((1, 2)), [0.0])]
    [[3.0, 1.0], [2.0]]
    """
    b1, beta, size = (finite(a, name).astype(np.float64) for a, name in ((b1, "b1"), (beta, "beta"), (np.abs(gamma), "gamma")))
    w2, b2 = finite(w2, "w2").astype(np.float64), finite(b2, "b2").astype(np.float64)
    if not b1.shape == beta.shape == size.shape == w2.shape[1:2] or b2.shape != w2.shape[:1]:
        raise ValueError(f"b1, beta, gamma must be (C,), w2 (F,C,…) and b2 (F,), not {b1.shape}, {beta.shape}, {size.shape}, "
                         f"{w2.shape} and {b2.shape}")
    c = np.maximum(0.0, beta - 3 * size)
    return b1 - c, b2 + w2.reshape(*w2.shape[:2], -1).sum(axis=2) @ c
