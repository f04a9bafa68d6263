"""Exactly k of n go: the smallest scores, equal ones by index. From scores to indices, and from scores to masks.

The field has three rounding rules (round, truncate, percentile) and, for a threshold score <= t, two answers to ties (all go, or
none does). Here there is one of each, so that a count that is asked for is the count that is had.
"""
import numpy as np

from .._checks import finite, fraction, whole


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


def mask_smallest(scores, sparsity):
    """Mask that drops the k = round(n · sparsity) smallest scores of an array. Any shape -> bool of that shape, True = kept.

    >>> tc.compress.prune.mask_smallest(np.array([[4.0, 1.0], [2.0, 3.0]]), 0.5)
    array([[ True, False],
           [False,  True]])
    """
    return mask_smallest_of_all([scores], sparsity)[0]


def mask_smallest_of_all(scores, sparsity):
    """Masks over several arrays of scores at once: the k = round(n_total · sparsity) smallest among them all go.

    The arrays compete, so that one of small scores loses more; `mask_smallest` of each gives every array the same sparsity
    instead. Ties go by the order of the arrays, then by index. list of arrays -> list of masks.
    """
    scores = [finite(s, f"scores[{i}]") for i, s in enumerate(scores)]
    if not scores:
        raise ValueError("scores must hold at least one array, not be an empty list")
    row = np.concatenate([s.ravel() for s in scores])
    mask = np.ones(row.size, dtype=bool)
    mask[choose_smallest(row, exact_count(row.size, sparsity))] = False
    ends = np.cumsum([s.size for s in scores])
    return [part.reshape(s.shape) for part, s in zip(np.split(mask, ends[:-1]), scores)]


def masked(w, mask):
    """w where the mask is True, else 0: kept values bit for bit, dropped ones +0.0 (w * mask would leave -0.0 and NaN).

    The result is as large as w. Errors: ValueError if the shapes differ, TypeError if the mask is not bool.

    >>> tc.compress.prune.masked(np.array([1.5, -2.0]), np.array([True, False]))
    array([1.5, 0. ])
    """
    w, mask = np.asarray(w), _mask(mask)
    if mask.shape != w.shape:
        raise ValueError(f"mask must have the shape of the weight {w.shape}, not {mask.shape}")
    return np.where(mask, w, np.zeros((), w.dtype))


def shuffled_mask(mask, seed):
    """As many kept entries, at random places: a lottery ticket's control, which knows how sparse each layer is and no more.

    `seed` is an integer or a numpy Generator. Errors: TypeError if the mask is not bool, ValueError for no seed.

    >>> tc.compress.prune.shuffled_mask(np.array([True, False, False, False]), seed=0).sum()
    np.int64(1)
    """
    mask = _mask(mask)
    return generator(seed).permutation(mask.ravel()).reshape(mask.shape)


def _mask(mask):
    mask = np.asarray(mask)
    if mask.dtype != bool:
        raise TypeError(f"mask must be bool (True = kept), not {mask.dtype}")
    return mask


def generator(seed):
    """The dice of a control. Errors: ValueError for None."""
    if seed is None:
        raise ValueError("seed must be an integer or a numpy Generator, not None: the control has to be repeatable")
    return np.random.default_rng(seed)
