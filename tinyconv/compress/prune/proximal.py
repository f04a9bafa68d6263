"""Sparse while training: a penalty that pulls weights to 0, and the step that lets them arrive.

    L = L₀ + λ Σ |w|                                        lasso: single weights
    L = L₀ + λ Σ_f ‖w_f‖₂                                   group lasso: whole filters (Yuan & Lin 2006)
    prox_t(w) = argmin_z ½‖z - w‖² + t·penalty(z)           the proximal step, after a gradient step on L₀ alone; t = lr λ
              = sign(w) max(|w| - t, 0)                     lasso: soft threshold
              = w_f max(1 - t/‖w_f‖, 0)                     group lasso
Gradient descent on the whole of L (subgradient λ sign(w)) steps over 0 and back for ever: weights get small, none becomes 0. The
proximal step gives exact zeros, and its fixed points are the minima of L. The loop that trains with it: `optim.ProximalSGD`.
Source: Parikh & Boyd, "Proximal algorithms" (2014), sections 4.2 and 6.5.
"""
import numpy as np

from .._checks import finite


def _threshold(t, name="t"):
    t = float(t)
    if not 0 <= t < np.inf:
        raise ValueError(f"{name} must be finite and at least 0, not {t!r}")
    return t


def l1(w, strength):
    """λ Σ |w|, a Python float. strength = λ.

    >>> round(tc.compress.prune.l1(np.arange(1, 11) / 10, 0.1), 12)                # 0.1, 0.2, …, 1.0
    0.55
    """
    return _threshold(strength, "strength") * float(np.abs(finite(w, "w").astype(np.float64)).sum())


def _norms(w):
    """‖w_f‖ of every filter, (F,1,…), float64."""
    if w.ndim < 2:
        raise ValueError(f"w must have a filter axis and others, (F,…), not shape {w.shape}")
    return np.sqrt(np.square(w.astype(np.float64)).sum(axis=tuple(range(1, w.ndim)), keepdims=True))


def group_lasso(w, strength):
    """λ Σ_f ‖w_f‖₂ over the filters of w (F,…), a Python float. strength = λ.

    >>> tc.compress.prune.group_lasso(np.array([[3.0, -4.0], [0.0, 2.0]]), 0.5)
    3.5
    """
    return _threshold(strength, "strength") * float(_norms(finite(w, "w")).sum())


def soft_threshold(w, t):
    """prox of t Σ|w|: every weight t nearer to 0, those within t exactly +0. Any shape, dtype kept.

    >>> tc.compress.prune.soft_threshold(np.array([-2.0, -0.5, 0.25, 1.5]), 0.5)
    array([-1.5,  0. ,  0. ,  1. ])
    """
    w, t = finite(w, "w"), _threshold(t)
    return w - np.clip(w, w.dtype.type(-t), w.dtype.type(t))


def group_soft_threshold(w, t):
    """prox of t Σ_f ‖w_f‖: every filter of w (F,…) t shorter, its direction kept; those no longer than t exactly +0. Dtype kept.

    >>> tc.compress.prune.group_soft_threshold(np.array([[3.0, -4.0], [0.3, 0.4]]), 1.0)
    array([[ 2.4, -3.2],
           [ 0. ,  0. ]])
    """
    w, t = finite(w, "w"), _threshold(t)
    norms = _norms(w)                                                             # (F,1,…)
    stays = norms > t
    scale = 1 - np.divide(t, norms, out=np.ones_like(norms), where=stays)
    return np.where(stays, w * scale.astype(w.dtype), np.zeros((), w.dtype))
