"""Calibration: which range of activations, or which scale of weights, gets the codes.

Two errors pull in opposite directions: a wide range has coarse steps (rounding, at most S/2), a narrow one cuts off what lies
beyond it (saturation). Min-max never saturates; the others give up a few outliers for finer steps:
    percentile   the range without the outermost 1 - p of all values
    squared error   the t in {1/n, 2/n, …, 1} whose range t · [min, max] has the least mean (x - x̂)²
    KL           the threshold after which the histogram of the codes tells least from that of the values (TensorRT)
Observers are fed batch by batch, `seen` being None before the first; searches take all values, or `samples_of` a histogram.
Sources: Krishnamoorthi 2018, section 2; Migacz, "8-bit inference with TensorRT" (2017), slides 25 to 39.
"""
import numpy as np

from .._checks import finite, whole
from .codes import affine, code_range, fake_quantize, other_axes, symmetric, value_range


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


# ---- histograms: what a whole calibration run leaves behind --------------------------------------------------------------

def observe_histogram(seen, x, bins=2048):
    """(counts (bins,) int64, reach): how many values lie in each of `bins` equal bins over [-reach, reach), reach a power of two.

    When a batch goes beyond, reach doubles and neighbouring bins are joined, two and two: no value is ever counted in a bin that
    it does not lie in, and the order of the batches does not matter. `bins` a power of two.

    >>> counts, reach = tc.compress.quantize.observe_histogram(None, np.array([0.1, -0.6, 0.7]), bins=4)
    >>> counts, reach
    (array([1, 0, 1, 1]), 1.0)
    >>> tc.compress.quantize.observe_histogram((counts, reach), np.array([3.0]), bins=4)
    (array([0, 1, 2, 1]), 4.0)
    """
    bins = whole(bins, "bins", 4)
    if bins & (bins - 1):
        raise ValueError(f"bins must be a power of two, so that they can be joined in pairs, not {bins}")
    x = finite(x, "x").astype(np.float64).ravel()
    counts, reach = (np.zeros(bins, np.int64), 2.0 ** -60) if seen is None else (np.array(seen[0]), float(seen[1]))
    if len(counts) != bins:
        raise ValueError(f"bins must be the {len(counts)} of the batches before, not {bins}")
    while x.max() >= reach or x.min() < -reach:
        counts = np.pad(counts.reshape(-1, 2).sum(axis=1), bins // 4)
        reach *= 2
    index = np.floor(x * (bins / (2 * reach))).astype(np.int64) + bins // 2        # exact: both are powers of two
    return counts + np.bincount(index, minlength=bins), reach


def samples_of(histogram):
    """(centres, counts) of the bins that hold something: stand-ins for the values, within half a bin of each, for the searches.

    >>> tc.compress.quantize.samples_of((np.array([1, 0, 1, 1]), 1.0))
    (array([-0.75,  0.25,  0.75]), array([1, 1, 1]))
    """
    counts, reach = histogram
    held = np.flatnonzero(counts)
    return (held + 0.5) * (2 * reach / len(counts)) - reach, counts[held]


# ---- searches ------------------------------------------------------------------------------------------------------------

def _varied(x, weights):
    """(x, weights) as rows in float64, refused unless there is a range to search in."""
    x = finite(x, "x").astype(np.float64).ravel()
    weights = np.ones(len(x)) if weights is None else finite(weights, "weights").astype(np.float64).ravel()
    if len(weights) != len(x) or (weights < 0).any() or not weights.any():
        raise ValueError(f"weights must be {len(x)} numbers, one a value, none negative and not all 0")
    if (x == x[0]).all():
        raise ValueError(f"x must hold different values, not {x[0]:g} everywhere: of a constant there is no range to search "
                         "(observe_min_max gives the one that holds it)")
    return x, weights


def range_by_percentile(x, fraction=0.999, weights=None):
    """(low, high) that leave 1 - fraction of all values out at each end: the weighted quantiles 1 - fraction and fraction.

    low is the least value v with P(x <= v) >= 1 - fraction, high the least with P(x <= v) >= fraction: both are values of x.
    x any shape, weights (counts) or None. Errors: ValueError for a fraction outside (0.5, 1], constant, empty or NaN data.

    >>> tc.compress.quantize.range_by_percentile(np.arange(1000.0), 0.99)
    (9.0, 989.0)
    """
    if not 0.5 < fraction <= 1:
        raise ValueError(f"fraction must lie above 0.5 and at most at 1, a fraction and not percent, not {fraction!r}")
    x, weights = _varied(x, weights)
    order = np.argsort(x, kind="stable")
    below = np.cumsum(weights[order])
    slack = 1e-12 * below[-1]                                                     # 1 - 0.99 is not 0.01 in binary
    at = np.searchsorted(below, [(1 - fraction) * below[-1] - slack, fraction * below[-1] - slack])
    low, high = x[order][at]
    return float(low), float(high)


def squared_error(x, scale, zero_point=0, q_min=-128, q_max=127, weights=None):
    """Mean of (x - x̂)², in float64: what rounding and saturation cost together. weights: how often each x counts.

    >>> tc.compress.quantize.squared_error(np.array([0.25, 0.5, 2.0]), 1.0, 0, -1, 1)        # (1/16 + 1/4 + 1) / 3
    0.4375
    """
    x = finite(x, "x").astype(np.float64)
    off = np.square(x - fake_quantize(x, np.float64(scale), zero_point, q_min, q_max))
    return float(np.average(off.ravel(), weights=None if weights is None else np.ravel(weights)))


def range_by_mse(x, bits=8, signed=True, steps=100, weights=None):
    """(low, high) = t · (min, max) of least mean squared error, t in {1/steps, …, 1}; ties to the widest. The range includes 0.

    Shrinking both ends by t keeps Z, and the error's root is a distance to the lattice S Z^n, so that two scales differ in it by
    at most |S - S'| · (q_max - q_min): the best t of the grid is within (q_max - q_min) · S(1)/(2 steps) of the best real t in
    [1/steps, 1]. The error has many local minima in t: nothing but trying finds the least.
    x any shape (values, or centres with `weights`). Cost: `steps` quantizations of x. Errors: constant, empty or NaN data, bits.

    >>> tc.compress.quantize.range_by_mse(np.append(np.linspace(0, 1, 10000), 4.0), bits=4)
    (0.0, 1.0)
    """
    x, weights = _varied(x, weights)
    q_min, q_max = code_range(bits, signed)
    low, high = min(x.min(), 0.0), max(x.max(), 0.0)
    scale, zero = (high - low) / (q_max - q_min), affine(low, high, bits, signed)[1]
    parts = _parts(steps)
    best = parts[np.argmin([squared_error(x, t * scale, zero, q_min, q_max, weights) for t in parts])]
    return best * float(low), best * float(high)


def _parts(steps):
    """1, …, 2/steps, 1/steps: from the widest range down, so that the first among equals is the widest."""
    return (np.arange(whole(steps, "steps", 1), 0, -1) / steps).tolist()


def search_scale(w, bits=8, axis=0, steps=100):
    """The symmetric scale t · max|w|/q_max of least Σ(w - ŵ)², t in {1/steps, …, 1}, for each index of `axis` or (None) one.

    Never worse than `symmetric`, which is t = 1, and within sqrt(n) · q_max · S(1)/(2 steps) of the best t in root of Σ(w - ŵ)².
    Weights of at most 4 bits gain most: an outlier there costs all others a step. -> (F,) or a number, float32. A row of
    nothing but zeros keeps the smallest scale. Errors: ValueError for bits, axis, NaN, emptiness.

    >>> float(tc.compress.quantize.search_scale(np.array([1.0, 1.0, 1.0, 4.0]), bits=2, axis=None, steps=4))
    4.0
    """
    w = finite(w, "w")
    axes = other_axes(w, axis)
    rows = (w.reshape(1, -1) if axis is None else np.moveaxis(w, axis, 0).reshape(w.shape[axis], -1)).astype(np.float64)
    q_min, q_max = code_range(bits, narrow=True)
    widest = np.atleast_1d(symmetric(np.abs(w).max(axis=axes), bits)).astype(np.float64)
    scales = [(part * widest).astype(np.float32) for part in _parts(steps)]
    errors = [np.square(rows - fake_quantize(rows, s, 0, q_min, q_max, axis=0)).mean(axis=1) for s in scales]
    found = np.array(scales)[np.argmin(errors, axis=0), np.arange(len(rows))]                      # (F,), the largest of equals
    return found[0] if axis is None else found


def range_by_kl(x, bits=8, bins=None, weights=None):
    """(low, high): the threshold T of least KL(P ‖ Q), as (-T, T), or (0, T) if no value is negative.

    The histogram of |x| has `bins` bins (None: 2048, or, with weights, as narrow ones as x has, so that counts of a histogram
    stay in their bins); for each T, after i of them, P is the histogram up to T with everything beyond added to
    its last bin, and Q what n = 2^(bits-1) levels (2^bits without negative values) leave of it: each level's count shared among
    those of its bins that hold something. Both are made probabilities before they are compared. A threshold at which Q has
    nothing where P has something, as when outliers pile up on an empty bin, has an infinite divergence and is never chosen; the
    whole range is always possible. Cost: (bins - n) · bins. Errors: constant, empty or NaN data, bits, fewer bins than levels.

    >>> rng = np.random.default_rng(0)
    >>> low, high = tc.compress.quantize.range_by_kl(np.append(rng.standard_normal(10000), 20.0))
    >>> low == -high, 3 < high < 8
    (True, True)
    """
    counted = weights is not None
    x, weights = _varied(x, weights)
    negative = bool((x < 0).any())
    levels = 2 ** (whole(bits, "bits", 2, 8) - negative)
    if bins is None:
        size = np.unique(np.abs(x))
        bins = max(levels, min(2048, round(size[-1] / np.diff(size).min() + 0.5))) if counted and len(size) > 1 else 2048
    bins = whole(bins, "bins", levels)
    width = np.abs(x).max() / bins
    counts = np.bincount(np.minimum((np.abs(x) / width).astype(np.int64), bins - 1), weights, bins)
    divergences = [_divergence(counts, i, levels) for i in range(levels, bins + 1)]
    high = float((levels + int(np.argmin(divergences))) * width)
    return (-high if negative else 0.0), high


def _divergence(counts, i, levels):
    """KL(P ‖ Q) of cutting the histogram after bin i; infinite where Q is 0 and P is not."""
    p = counts[:i].copy()
    inside = p.copy()
    p[-1] += counts[i:].sum()
    level = np.arange(i) * levels // i                                            # which level each bin belongs to
    held = inside > 0
    total = np.bincount(level, inside, levels)
    shares = np.bincount(level, held, levels)
    q = np.where(held, (total / np.maximum(shares, 1))[level], 0.0)
    there = p > 0
    if not p.any() or (q[there] == 0).any():
        return np.inf
    p, q = p[there] / p.sum(), q[there] / q.sum()
    return float((p * np.log(p / q)).sum())
