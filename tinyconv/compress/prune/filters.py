"""How much is a whole filter worth? Scores of filters, one number each; the smallest go, and their arrays get smaller.

    L1            Σ |w|                        Li et al. 2017            asks for the weight alone
    L2            sqrt(Σ w²)                   He et al. 2018 (soft filter pruning)
    median        Σ_j ‖f_i - f_j‖              He et al. 2019: what lies in the middle of the others can be replaced by them
    BatchNorm     |γ|                          Liu et al. 2017: the factor that every number of the channel goes through
    Taylor        of g = ∂L/∂w, three ways     Σ |w g|, |Σ w g|, Σ (w g)²; "Taylor" alone says none of them
    random        the control
Sums run over everything but the filter axis. w (F,C/G,KH,KW) or (F,C), g like w -> (F,) float64.

Why three: the filter is one switch m that multiplies all its weights, and ∂L/∂m = Σ w g at m = 1, so |Σ w g| is the first-order
change of the loss if all its weights go together. Σ |w g| adds the effects without their signs and bounds it; Σ (w g)² adds the
squares (Molchanov et al. 2019, summed over the filter) and ranks filters in an order of its own. Gradients are to be taken with BatchNorm in
evaluation: behind batch statistics a filter's scale has no effect, Σ w g is 0, and |Σ w g| is nothing but rounding.
"""
import numpy as np

from .._checks import finite
from .choosing import generator
from .weights import with_gradient


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


def geometric_median_scores(w):
    """One score a filter: Σ_j ‖f_i - f_j‖₂, its distances to all others (He et al. 2019). -> (F,) float64.

    Least for the filter nearest the geometric median of the layer. On the weights as they are: on |w|, as some tools have it, a
    filter and its negative would be twins. Cost: F² C/G KH KW multiplications, F C/G KH KW numbers at a time.

    >>> tc.compress.prune.geometric_median_scores(np.array([[0.0, 0.0], [3.0, 4.0], [-3.0, -4.0]]))
    array([10., 15., 15.])
    """
    rows = _filters(w)
    return np.array([np.sqrt(np.square(rows - row).sum(axis=1)).sum() for row in rows])


def batch_norm_scores(gamma):
    """One score a channel: |γ| of the BatchNorm behind it (network slimming, Liu et al. 2017). (C,) -> (C,) float64.

    >>> tc.compress.prune.batch_norm_scores(np.array([-0.5, 1.0]))
    array([0.5, 1. ])
    """
    gamma = finite(gamma, "gamma")
    if gamma.ndim != 1:
        raise ValueError(f"gamma must be one number a channel (C,), not shape {gamma.shape}")
    return np.abs(gamma.astype(np.float64))


def _effects(w, g):
    w, g = with_gradient(w, g)
    return _filters(w) * _filters(g)                                              # (F, C/G KH KW)


def taylor_sum_abs_scores(w, g):
    """One score a filter: Σ |w g|, every weight's effect without its sign; never less than `taylor_abs_sum_scores`.

    >>> tc.compress.prune.taylor_sum_abs_scores(np.array([[1.0, 2.0]]), np.array([[3.0, -1.0]]))
    array([5.])
    """
    return np.abs(_effects(w, g)).sum(axis=1)


def taylor_abs_sum_scores(w, g):
    """One score a filter: |Σ w g|, the first-order change of the loss if all its weights go together: effects can cancel.

    >>> tc.compress.prune.taylor_abs_sum_scores(np.array([[1.0, 2.0]]), np.array([[3.0, -1.0]]))
    array([1.])
    """
    return np.abs(_effects(w, g).sum(axis=1))


def taylor_sum_squares_scores(w, g):
    """One score a filter: Σ (w g)² (Molchanov et al. 2019, summed over the filter's weights).

    >>> tc.compress.prune.taylor_sum_squares_scores(np.array([[1.0, 2.0]]), np.array([[3.0, -1.0]]))
    array([13.])
    """
    return np.square(_effects(w, g)).sum(axis=1)


def random_scores(w, seed):
    """The control: uniform random scores in [0, 1), one a filter. `seed` is an integer or a numpy Generator. -> (F,) float64.

    A criterion that does not beat this one, at the same sparsity and fine-tuning, knows nothing about filters.
    """
    return generator(seed).random(len(_filters(w)))
