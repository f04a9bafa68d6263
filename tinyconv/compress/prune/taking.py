"""What is left of an array when filters or channels go: smaller arrays, kept entries bit for bit, in their old order.

    take_filters    (F, …) -> (f, …)          a convolution's own filters, its bias, the vectors of its BatchNorm
    take_channels   (F, C, …) -> (F, c, …)    what those who read these filters lose
Keeping f of F filters and c of C channels multiplies a dense convolution's MACs by (f/F)(c/C) exactly, a depthwise one's by c/C
once (`formulas.filter_pruning_factor`). Zeroing the same weights (`masked`) leaves every array, and every count, as it was.
"""
import numpy as np

from .._checks import whole


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
