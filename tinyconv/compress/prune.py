"""Pruning: which weights or filters go, and what a network looks like without them.

Two things that are often confused. *Zeroing* weights (a mask) leaves every array as large as it was: it saves nothing until a
sparse format stores it. *Removing* filters gives smaller arrays: fewer parameters, fewer MACs, less time.

Conventions of this page
    mask     bool, the shape of the weight, True = kept. Exactly k = exact_count(n, sparsity) entries are False.
    score    one float64 number a weight or filter; the smallest scores go, equal scores by index, the lower first.
    kept     int64 indices of the filters or channels that stay, ascending: what stays keeps its order and its bits.

Sources: Han et al., "Learning both weights and connections" (2015), magnitude; Li et al., "Pruning filters for efficient
ConvNets" (2017), L1 of filters; Blalock et al., "What is the state of neural network pruning?" (2020), why a random control.
"""
import numpy as np

from ._checks import finite, fraction, whole


def exact_count(n, sparsity):
    """How many of n go: k = round(n · sparsity), halves to the even number, so 0 <= k <= n and never "about".

    >>> exact_count(10, 0.25), exact_count(10, 0.35), exact_count(6, 0.5)
    (2, 4, 3)
    """
    return round(whole(n, "n", 0) * fraction(sparsity, "sparsity"))


def choose_smallest(scores, k):
    """Indices of the k smallest scores, ascending as indices; among equal scores the lower index goes first.

    A stable sort makes the number exact: a threshold (score <= t) would take all ties, or none, and miss k.
    scores (n,) -> (k,) int64. Errors: ValueError for scores that are not one finite row, or k outside 0…n.

    >>> choose_smallest([3.0, 1.0, 1.0, 1.0, 0.5], 3)
    array([1, 2, 4])
    """
    scores = finite(scores, "scores")
    if scores.ndim != 1:
        raise ValueError(f"scores must be one row (n,), not shape {scores.shape}")
    k = whole(k, "k", 0, len(scores))
    return np.sort(np.argsort(scores, kind="stable")[:k])


def kept_after(scores, k):
    """Indices that stay when the k smallest scores go, ascending: the complement of `choose_smallest`.

    >>> kept_after([3.0, 1.0, 1.0, 1.0, 0.5], 3)
    array([0, 3])
    """
    stays = np.ones(len(scores), dtype=bool)
    stays[choose_smallest(scores, k)] = False
    return np.flatnonzero(stays)


# ---- single weights --------------------------------------------------------------------------------------------------

def magnitude(w, sparsity):
    """Mask that drops the k = round(n · sparsity) weights of least |w|, anywhere in the array.

    |w| is the saliency of zeroth order: it asks for no data and no gradient (Han et al. 2015). w any shape -> mask of that
    shape, True = kept. Invariant: exactly k entries are False, and no dropped |w| exceeds a kept one.

    >>> tc.compress.prune.magnitude(np.array([[0.5, -0.1], [0.2, -2.0]]), 0.5)
    array([[ True, False],
           [False,  True]])
    """
    return global_magnitude([w], sparsity)[0]


def global_magnitude(weights, sparsity):
    """Masks over several arrays at once: the k = round(n_total · sparsity) weights of least |w| among them all.

    The layers compete, so those with small weights lose more: local (`magnitude` a layer) gives every layer the same
    sparsity instead. Ties go by the order of the arrays, then by index. list of arrays -> list of masks.

    >>> [m.tolist() for m in tc.compress.prune.global_magnitude([np.array([1.0, 2.0]), np.array([0.1, 0.2])], 0.5)]
    [[True, True], [False, False]]
    """
    weights = [finite(w, f"weights[{i}]") for i, w in enumerate(weights)]
    if not weights:
        raise ValueError("weights must hold at least one array, not an empty list")
    scores = np.concatenate([np.abs(w).ravel() for w in weights])
    mask = np.ones(scores.size, dtype=bool)
    mask[choose_smallest(scores, exact_count(scores.size, sparsity))] = False
    ends = np.cumsum([w.size for w in weights])
    return [part.reshape(w.shape) for part, w in zip(np.split(mask, ends[:-1]), weights)]


def masked(w, mask):
    """w where the mask is True, else 0: kept values bit for bit, dropped ones +0.0 (w * mask would leave -0.0 and NaN).

    The result is as large as w. Errors: ValueError if the shapes differ, TypeError if the mask is not bool.

    >>> tc.compress.prune.masked(np.array([1.5, -2.0]), np.array([True, False]))
    array([1.5, 0. ])
    """
    w, mask = np.asarray(w), np.asarray(mask)
    if mask.dtype != bool:
        raise TypeError(f"mask must be bool (True = kept), not {mask.dtype}")
    if mask.shape != w.shape:
        raise ValueError(f"mask must have the shape of the weight {w.shape}, not {mask.shape}")
    return np.where(mask, w, np.zeros((), w.dtype))


# ---- whole filters: scores -------------------------------------------------------------------------------------------

def _filters(w):
    w = finite(w, "w")
    if w.ndim not in (2, 4):
        raise ValueError(f"w must be (F,C/G,KH,KW) or (F,C), not shape {w.shape}")
    return w.reshape(len(w), -1).astype(np.float64)                               # (F, C/G KH KW)


def l1_scores(w):
    """One score a filter: Σ|w| over everything but the filter axis (Li et al. 2017). (F,C/G,KH,KW) or (F,C) -> (F,) float64.

    >>> tc.compress.prune.l1_scores(np.array([[1.0, -2.0], [0.5, 0.5]]))
    array([3., 1.])
    """
    return np.abs(_filters(w)).sum(axis=1)


def l2_scores(w):
    """One score a filter: sqrt(Σ w²) over everything but the filter axis. (F,C/G,KH,KW) or (F,C) -> (F,) float64.

    Within a layer the root changes no ranking; in a ranking of several layers it does, so it is taken.

    >>> tc.compress.prune.l2_scores(np.array([[3.0, -4.0], [0.0, 2.0]]))
    array([5., 2.])
    """
    return np.sqrt(np.square(_filters(w)).sum(axis=1))


def random_scores(w, seed):
    """The control: uniform random scores in [0, 1), one a filter. `seed` is an integer or a numpy Generator. -> (F,) float64.

    A criterion that does not beat this one, at the same sparsity and fine-tuning, knows nothing about filters.
    """
    if seed is None:
        raise ValueError("seed must be an integer or a numpy Generator, not None: the control has to be repeatable")
    return np.random.default_rng(seed).random(len(_filters(w)))


# ---- whole filters: removal ------------------------------------------------------------------------------------------

def _kept(kept, n, what):
    kept = np.asarray(kept)
    if kept.ndim != 1 or kept.dtype.kind not in "iu" or not kept.size:
        raise ValueError(f"kept must be one row of at least one integer index, not {kept.dtype} of shape {kept.shape}")
    if kept.min() < 0 or kept.max() >= n or (np.diff(kept) <= 0).any():
        raise ValueError(f"kept must be ascending indices of the {n} {what}, each once, not {kept.tolist()}")
    return kept.astype(np.int64)


def _evenly(kept, n, groups, what):
    """`kept` as (G, kept in a group), refused unless every group keeps equally many: the weight array has one C/G for all."""
    if n % groups:
        raise ValueError(f"groups must divide the {n} {what}, not {groups}")
    counts = np.bincount(kept // (n // groups), minlength=groups)
    if (counts != counts[0]).any():
        raise ValueError(f"every group must keep the same number of {what}, not {counts.tolist()}")
    return kept.reshape(groups, -1)


def take_filters(a, kept, groups=1):
    """The array with only the kept filters: axis 0 of a weight (F,…), a bias (F,), or any vector with an entry a filter.

    (F, …) -> (len(kept), …), the kept entries bit for bit in their old order. Those who read these filters lose the same
    channels (`take_channels`). With `groups` above 1 every group must keep equally many; for a depthwise layer, whose groups
    go together with their channels, call it with groups=1 and `depthwise_filters`.
    Errors: ValueError for indices that are not ascending, once each, and in range, or for uneven groups.

    >>> tc.compress.prune.take_filters(np.array([10.0, 11.0, 12.0]), [0, 2])
    array([10., 12.])
    """
    a, groups = np.asarray(a), whole(groups, "groups", 1)
    if not a.ndim:
        raise ValueError("a must have a filter axis, not be a single number")
    kept = _kept(kept, len(a), "filters")
    _evenly(kept, len(a), groups, "filters")
    return np.ascontiguousarray(a[kept])


def take_channels(w, kept, groups=1):
    """The weight with only the kept input channels: axis 1 of (F,C/G,KH,KW) or (F,C).

    `kept` counts channels of the whole input, 0…C-1. In group g the filters read channels gC/G…(g+1)C/G-1; every group must
    keep equally many, k/G, so that the result (F, k/G, KH, KW) is again one grouped convolution.
    Errors: ValueError for bad indices or uneven groups. A depthwise weight (C/G = 1) has no channel axis to shorten: there the
    channel goes with its filters, see `depthwise_filters`.

    >>> tc.compress.prune.take_channels(np.arange(6.0).reshape(2, 3), [0, 2])
    array([[0., 2.],
           [3., 5.]])
    """
    w, groups = np.asarray(w), whole(groups, "groups", 1)
    if w.ndim not in (2, 4):
        raise ValueError(f"w must be (F,C/G,KH,KW) or (F,C), not shape {w.shape}")
    f, cg = w.shape[:2]
    if f % groups:
        raise ValueError(f"groups must divide the {f} filters, not {groups}")
    kept = _evenly(_kept(kept, cg * groups, "channels"), cg * groups, groups, "channels") % cg       # (G, k/G)
    parts = [part[:, inside] for part, inside in zip(np.split(w, groups), kept)]                     # G × (F/G, k/G, KH, KW)
    return np.ascontiguousarray(np.concatenate(parts))


def depthwise_filters(kept, multiplier=1):
    """The filters of a depthwise layer that belong to the kept channels: c·m … c·m + m-1 for each c, m filters a channel.

    Channel and filters go together: take_filters(w, depthwise_filters(kept, m)), and the layer has len(kept) groups after it.

    >>> tc.compress.prune.depthwise_filters([0, 2], multiplier=2)
    array([0, 1, 4, 5])
    """
    m = whole(multiplier, "multiplier", 1)
    kept = np.asarray(kept)
    kept = _kept(kept, int(kept.max(initial=0)) + 1, "channels")
    return (kept[:, None] * m + np.arange(m)).ravel()                                                # (k,1) + (m,) -> (k m,)
