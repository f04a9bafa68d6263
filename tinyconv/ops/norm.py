"""Normalisation: batch normalisation and AlexNet's local response normalisation.

Batch normalisation (Ioffe & Szegedy 2015, algorithm 1), a channel at a time over M = N H W numbers:
    μ = mean x,  σ² = mean (x - μ)²  (biased),  x̂ = (x - μ)/sqrt(σ² + ε),  y = γ x̂ + β
    dx = γ/sqrt(σ² + ε) (dy - mean dy - x̂ mean(dy x̂)),  dγ = Σ dy x̂,  dβ = Σ dy
In training μ and σ² are the batch's, and the running ones move towards them by `momentum` (the variance unbiased, M/(M-1), as in
PyTorch); otherwise the running ones are used and the layer is one multiplication and one addition. The new running
statistics are outputs 1 and 2: the operation itself stores nothing. `low` and `high` clip y on the way (a ReLU or ReLU6 behind it): the same
numbers as two operations, in one pass over memory instead of two.

Local response normalisation reads neighbouring channels. Where channels have been removed, `places` says where those that are left
stood, ascending: what stood between them counts as 0, so that the result is that of the whole layer with these channels at 0.
"""
import numpy as np

from .. import kernels
from .reduce import channel_sums
from .table import Counts, register, size


def _batch_norm_shape(x, gamma=None, beta=None, mean=None, var=None, **attributes):
    if len(x) != 4 or not size(x):
        raise ValueError(f"batch_norm takes (N,C,H,W), none of them empty, not shape {tuple(x)}")
    for name, shape in (("weight", gamma), ("bias", beta), ("running_mean", mean), ("running_var", var)):
        if shape is not None and tuple(shape) != (x[1],):
            raise ValueError(f"{name} must have shape ({x[1]},), one number a channel, not {tuple(shape)}")
    return tuple(x), (x[1],), (x[1],)


def _check(x, gamma, beta, mean, var, training):
    _batch_norm_shape(*(None if a is None else a.shape for a in (x, gamma, beta, mean, var)))
    if (mean is None) != (var is None) or mean is None and not training:
        raise ValueError("batch_norm outside training needs running_mean and running_var, both")
    if training and x.size // x.shape[1] < 2:
        raise ValueError(f"batch_norm in training needs more than one number a channel, not input {x.shape}")


def _batch_norm(x, gamma=None, beta=None, running_mean=None, running_var=None, momentum=0.1, eps=1e-5, training=False, low=None, high=None):
    _check(x, gamma, beta, running_mean, running_var, training)
    rest = gamma is not None, beta is not None, training
    if training and running_mean is not None:
        y, mean, inv_std, scale, new_mean, new_var = kernels.batch_norm_train(x, gamma, beta, running_mean, running_var, momentum, eps, low, high)
        return (y, new_mean, new_var), (x, mean, inv_std, scale, *rest, y if low is not None else None, low, high)
    mean, var = kernels.batch_norm_statistics(x) if training else (running_mean, running_var)
    inv_std, scale, shift = kernels.batch_norm_scales(mean, var, gamma, beta, eps)                       # (C,)
    y = kernels.batch_norm_apply(x, scale, shift, low, high)                                             # (N,C,H,W)
    return (y, mean, var), (x, mean, inv_std, scale, *rest, y if low is not None else None, low, high)


def _batch_norm_vjp(saved, dy, *statistics):
    x, mean, inv_std, scale, has_gamma, has_beta, training, y, low, high = saved
    if training:
        gamma = scale / inv_std if has_gamma else np.ones_like(inv_std)
        dx, dgamma, dbeta = kernels.batch_norm_grad(dy, x, mean, inv_std, gamma, y, low, high)
        return dx, dgamma if has_gamma else None, dbeta if has_beta else None, None, None
    column = (slice(None), None, None)
    dy = dy if low is None else kernels.clip_grad(dy, y, low, high)
    return (lambda: dy * scale[column],
            (lambda: channel_sums(dy * ((x - mean[column]) * inv_std[column]))) if has_gamma else None,
            (lambda: channel_sums(dy)) if has_beta else None, None, None)


def _batch_norm_counts(shapes, outputs, **attributes):
    return Counts(multiplications=size(shapes[0]), additions=size(shapes[0]))


register("batch_norm", _batch_norm, _batch_norm_vjp, _batch_norm_shape, _batch_norm_counts,
         runtime=("training",), updates=((1, 3), (2, 4)))


def _lrn_shape(x, n, places=None, **attributes):
    if len(x) != 4 or n < 1:
        raise ValueError(f"local_response_norm takes (N,C,H,W) and a size of at least 1, not shape {tuple(x)} and size {n}")
    if places is not None and (len(places) != x[1] or places[0] < 0 or any(a >= b for a, b in zip(places, places[1:]))):
        raise ValueError(f"places must be {x[1]} ascending places of channels, none below 0, not {places}")
    return tuple(x)


def _window_sum(s, before, behind, places=None):
    """Σ of s over each channel, `before` ahead of it and `behind` after it, what lies outside being 0; `places`: top of the page."""
    if places is not None:
        wide = np.zeros((len(s), places[-1] + 1, *s.shape[2:]), s.dtype)
        wide[:, places] = s
        return _window_sum(wide, before, behind)[:, places]
    padded = np.pad(s, ((0, 0), (before, behind), (0, 0), (0, 0)))                                        # (N, C+n-1, H, W)
    return sum(padded[:, i:i + s.shape[1]] for i in range(before + behind + 1))


def _lrn(x, n, alpha, beta, k, places=None):
    """y_c = x_c / (k + α/n Σ_{c' near c} x_{c'}²)^β (Krizhevsky et al. 2012, section 3.3; α/n as PyTorch and Caffe).

    Near are floor(n/2) channels before and ceil(n/2) - 1 behind.
    """
    _lrn_shape(x.shape, n, places)
    s = k + _window_sum(x * x, n // 2, (n - 1) // 2, places) * x.dtype.type(alpha / n)                   # (N,C,H,W)
    power = s ** x.dtype.type(-beta)
    return x * power, (x, s, power, n, alpha, beta, places)


def _lrn_vjp(saved, dy):
    """dx_c = dy_c s_c^-β - 2αβ/n x_c Σ_{c' whose window holds c} dy_c' x_c' s_c'^(-β-1): the mirrored window."""
    x, s, power, n, alpha, beta, places = saved
    spread = _window_sum(dy * x * power / s, (n - 1) // 2, n // 2, places)
    return (dy * power - x.dtype.type(2 * alpha * beta / n) * x * spread,)


def _lrn_counts(shapes, output, n, **attributes):
    return Counts(multiplications=3 * size(output), additions=n * size(output), special=size(output))


register("local_response_norm", _lrn, _lrn_vjp, _lrn_shape, _lrn_counts)
