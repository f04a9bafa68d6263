"""Losses, and the softmax they are made of.

    p = softmax(z): p_k = e^(z_k - m) / Σ e^(z_j - m), m = max z        dz = p (dp - Σ p dp)
    log p = z - m - log Σ e^(z - m)                                     dz = dlogp - p Σ dlogp
    cross-entropy  -(1/N) Σ_n Σ_k q_nk log p_nk                          dz = (p - q)/N
with q the one-hot label, or its smoothed form (1 - ε) 1{k = y} + ε/K (Szegedy et al. 2016, section 7). Means are over the batch.
"""
import numpy as np

from .reduce import total
from .table import Counts, register, size

REDUCTIONS = ("mean", "sum", "none")


def check_labels(labels, shape):
    """Labels are integers (N,) below K for scores (N, K). Errors: ValueError or TypeError naming what is wrong."""
    if len(shape) != 2 or not size(shape):
        raise ValueError(f"scores must have shape (N, K), one row a sample and at least one, not {tuple(shape)}")
    if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "iu":
        raise TypeError(f"labels must be an array of integers, not {getattr(labels, 'dtype', type(labels).__name__)}")
    if labels.shape != (shape[0],):
        raise ValueError(f"labels must have shape ({shape[0]},), one a sample, not {labels.shape}")
    if labels.min() < 0 or labels.max() >= shape[1]:
        raise ValueError(f"labels must lie in 0..{shape[1] - 1}, but run from {labels.min()} to {labels.max()}")


def _reduce(each, reduction, divisor=None):
    """Fold one loss a sample as asked; returns the loss and the factor its gradient carries."""
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction must be one of {', '.join(REDUCTIONS)}, not {reduction!r}")
    if reduction == "none":
        return each, 1
    count = each.size if divisor is None else divisor
    if reduction == "sum":
        return np.asarray(each.sum()), 1
    return np.asarray(each.sum() / each.dtype.type(count)), 1 / count


def _loss_shape(each):
    return lambda *shapes, reduction="mean", **attributes: each(*shapes) if reduction == "none" else ()


def _log_softmax_array(z, axis):
    z = np.asarray(z, order="C")                                                          # sums in one order (see reduce)
    shifted = z - z.max(axis=axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


def _softmax_shape(z, axis=-1):
    if not -len(z) <= axis < len(z):
        raise ValueError(f"dim must be an axis of shape {tuple(z)}, not {axis}")
    return tuple(z)


def _softmax(z, axis=-1):
    _softmax_shape(z.shape, axis)
    p = np.exp(_log_softmax_array(z, axis))
    return p, (p, axis)


def _softmax_vjp(saved, dp):
    p, axis = saved
    return (p * (dp - total(p * dp, axis, keepdims=True)),)


def _log_softmax(z, axis=-1):
    _softmax_shape(z.shape, axis)
    logp = _log_softmax_array(z, axis)
    return logp, (logp, axis)


def _log_softmax_vjp(saved, dlogp):
    logp, axis = saved
    return (dlogp - np.exp(logp) * total(dlogp, axis, keepdims=True),)


def _softmax_counts(shapes, output, **attributes):
    n = size(shapes[0])
    return Counts(special=2 * n, additions=2 * n, comparisons=n)


def _cross_entropy(z, labels, label_smoothing=0.0, reduction="mean"):
    check_labels(labels, z.shape)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing must lie in [0, 1], not {label_smoothing}")
    t, (n, k) = z.dtype.type, z.shape
    logp = _log_softmax_array(z, 1)                                                       # (N,K)
    right = (np.arange(n), labels)
    each = -t(1 - label_smoothing) * logp[right]
    if label_smoothing:                                                                   # else a masked score, -inf, would make 0 * inf
        each -= t(label_smoothing / k) * logp.sum(axis=1)
    loss, factor = _reduce(each, reduction)
    return loss, (logp, right, label_smoothing, t(factor))


def _cross_entropy_vjp(saved, dy):
    logp, right, label_smoothing, factor = saved

    def dz():
        t, k = logp.dtype.type, logp.shape[1]
        away = np.exp(logp) - t(label_smoothing / k)                                      # p - q
        away[right] -= t(1 - label_smoothing)
        return away * (factor * (dy[:, None] if dy.ndim else dy))
    return dz, None


def _nll(logp, labels, reduction="mean"):
    check_labels(labels, logp.shape)
    rows = np.arange(len(labels))
    loss, factor = _reduce(-logp[rows, labels], reduction)
    return loss, (logp.shape, labels, logp.dtype.type(factor))


def _nll_vjp(saved, dy):
    shape, labels, factor = saved
    dx = np.zeros(shape, dy.dtype)
    dx[np.arange(shape[0]), labels] = -factor * dy
    return (dx, None)


def _mse(a, b, reduction="mean"):
    if a.shape != b.shape:
        raise ValueError(f"mse_loss takes two arrays of one shape, not {a.shape} and {b.shape}")
    loss, factor = _reduce((a - b) ** 2, reduction)
    return loss, (a, b, a.dtype.type(2 * factor))


def _mse_vjp(saved, dy):
    a, b, factor = saved
    return lambda: factor * dy * (a - b), lambda: factor * dy * (b - a)


def _kl_div(logp, target, reduction="batchmean", log_target=False):
    """KL(target ‖ p) = Σ t (log t - log p), terms with t = 0 being 0; "batchmean" divides by N alone, as the definition."""
    if logp.shape != target.shape:
        raise ValueError(f"kl_div takes log-probabilities and targets of one shape, not {logp.shape} and {target.shape}")
    t = np.exp(target) if log_target else target
    log_t = target if log_target else np.log(np.where(t > 0, t, 1))
    each = t * (log_t - logp)
    if reduction == "batchmean":
        loss, factor = _reduce(each, "mean", divisor=logp.shape[0])
    else:
        loss, factor = _reduce(each, reduction)
    return loss, (logp, t, log_t, logp.dtype.type(factor), log_target)


def _kl_div_vjp(saved, dy):
    logp, t, log_t, factor, log_target = saved
    return (lambda: -factor * dy * t,
            lambda: factor * dy * (t * (log_t - logp + 1) if log_target else log_t - logp + (t > 0)))


def _loss_counts(shapes, output, **attributes):
    n = size(shapes[0])
    return Counts(special=2 * n, additions=3 * n, multiplications=n, comparisons=n)


register("softmax", _softmax, _softmax_vjp, _softmax_shape, _softmax_counts)
register("log_softmax", _log_softmax, _log_softmax_vjp, _softmax_shape, _softmax_counts)
register("cross_entropy", _cross_entropy, _cross_entropy_vjp, _loss_shape(lambda z, y: (z[0],)), _loss_counts)
register("nll_loss", _nll, _nll_vjp, _loss_shape(lambda z, y: (z[0],)), _loss_counts)
register("mse_loss", _mse, _mse_vjp, _loss_shape(lambda a, b: tuple(a)), _loss_counts)
register("kl_div", _kl_div, _kl_div_vjp, _loss_shape(lambda a, b: tuple(a)), _loss_counts)
