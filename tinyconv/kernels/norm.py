"""Batch normalization: each channel to mean 0 and variance 1 over images and pixels, then its own scale and shift.

    mean[c] = (1/M) sum x[n,c,h,w]          var[c] = (1/M) sum (x[n,c,h,w] - mean[c])^2          M = N*H*W, sums over n,h,w
    x^ = (x - mean) * inv_std               inv_std = 1 / sqrt(var + eps)                        y = gamma * x^ + beta

Backward, with mean and var being functions of x:

    dbeta = sum dy                          dgamma = sum dy * x^
    dx = gamma * inv_std * (dy - dbeta/M - x^ * dgamma/M)

Source: Ioffe & Szegedy, "Batch normalization" (2015), Algorithm 1 and section 3. The variance is the biased one (divided by M).

Cost: forward one multiply-add a value to apply and 3 operations a value for the statistics, which read x once; backward one
pass of 4 operations over x and dy, and a second that writes dx. Bytes decide, not arithmetic: the statistics read 4 bytes a
value, the apply pass moves 8, the two backward passes 8 and 12. All four are bound by memory: on two cores of an AVX-512
server whose plain copy moves 33 to 46 GB/s they reach 24 to 28, 42 to 47, 22 to 32 and 50 to 55 GB/s at 64x96x14x14.

Sums. Squares of float32 data with a mean of 1000 and a deviation of 0.01 need 10 more digits than float32 has, so every
sum of the statistics is in float64. The plain kernels take two passes, as the formula stands. The fast kernel takes one: it
sums d = x - a and d^2, a being the channel's first value, and var = (sum d^2 - (sum d)^2/M) / M. Its relative error is
at most about k * 2^-53 * (1 + (mean - a)^2 / var), k = pixels a slab / 4 + slabs + 8 (some 140 for 12544 pixels): a first
value 1000 deviations off the mean still leaves float32 nothing to notice.
The backward sums add 4 pixels in float32, the rest in float64: |err| <= 6 * 2^-24 * sum of |terms|.
Each task sums a slab of pixels of its own; slabs are added in order, and their number depends on the shape alone, so results
are the same bits for any number of threads. Scratch: 16 or 24 bytes a channel and slab, at most 32 slabs.
"""
import numpy as np

from . import activations, layout, select, threads
from .norm_kernels import fast_apply, fast_grad_apply, fast_grad_sums, fast_moments, fast_moved, fast_scales, fast_sums, train_backward, train_forward
from .norm_loops import plain_apply, plain_grad_apply, plain_grad_sums, plain_squares, plain_sums
from .sums import ROWS, SLABS, as_planes, given_bounds, rows_of


def _partials(pixels, sums=2):
    """Room for the slabs' float64 sums a channel."""
    m, c = pixels.shape
    return select.scratch((max(1, min(SLABS, m // ROWS)), sums, c), np.float64)


def batch_norm_statistics(x):
    """Mean and biased variance of each channel: x (N,C,H,W) -> mean (C,), var (C,), of x's dtype, summed in float64.

    Invariant: var >= 0, and 0 for a constant channel. An infinite or NaN value makes its own channel's variance NaN.
    """
    m = x.size // x.shape[1]
    if select.is_fast(x.dtype):
        pixels, (mean, var) = rows_of(x), np.empty((2, x.shape[1]), np.float32)
        partial = _partials(pixels, 3)
        threads.run(fast_sums, len(partial), pixels, partial, work=3 * x.size)
        fast_moments(partial, m, mean, var)
        return mean, var
    x, mean, var = layout.nchw(x), np.zeros(x.shape[1]), np.zeros(x.shape[1])
    plain_sums(x, mean)
    mean /= m
    plain_squares(x, mean, var)
    var /= m
    return mean.astype(x.dtype), var.astype(x.dtype)


def batch_norm_scales(mean, var, gamma, beta, eps):
    """inv_std, scale, shift (C,), so that y = x * scale + shift: gamma and beta may be None, for ones and zeros."""
    t = mean.dtype.type
    gamma, beta = np.ones_like(mean) if gamma is None else gamma, np.zeros_like(mean) if beta is None else beta
    if select.is_fast(mean.dtype):
        inv_std, scale, shift = np.empty((3, mean.size), mean.dtype)
        fast_scales(*(layout.writable(a) for a in (mean, var, gamma, beta)), t(eps), inv_std, scale, shift)
        return inv_std, scale, shift
    inv_std = 1 / np.sqrt(var + t(eps))
    scale = gamma * inv_std
    return inv_std, scale, beta - mean * scale


def moved(old, new, momentum, factor=1.0):
    """A running statistic after one more batch: old + momentum * (new * factor - old), (C,)."""
    t = old.dtype.type
    if select.is_fast(old.dtype):
        after = np.empty(old.shape, old.dtype)
        fast_moved(layout.writable(old), layout.writable(new), t(momentum), t(factor), after)
        return after
    return old + t(momentum) * (new * t(factor) - old)


def batch_norm_apply(x, scale, shift, low=None, high=None):
    """y[n,c] = clip(x[n,c] * scale[c] + shift[c], low, high), x (N,C,H,W): with scale = gamma * inv_std, shift = beta - mean * scale.

    low None: nothing is clipped. One multiply-add a value; |err| <= 2 * u * (|x * scale| + |shift|).
    """
    if select.is_fast(x.dtype):
        pixels = rows_of(x)
        y = layout.room(pixels.shape, x.dtype)
        threads.run(fast_apply, len(y), pixels, layout.writable(scale), layout.writable(shift), *given_bounds(low, high, x.dtype), y, work=x.size)
        return as_planes(y, x)
    y = np.zeros(x.shape, x.dtype)
    plain_apply(layout.nchw(x), layout.writable(scale), layout.writable(shift), y)
    return y if low is None else activations.clip(y, low, high)


def batch_norm_train(x, gamma, beta, running_mean, running_var, momentum, eps, low=None, high=None):
    """The forward pass in training: y (N,C,H,W), and (C,) mean, inv_std, scale, and both running statistics after this batch."""
    if not select.is_fast(x.dtype):
        (mean, var), m = batch_norm_statistics(x), x.size // x.shape[1]
        inv_std, scale, shift = batch_norm_scales(mean, var, gamma, beta, eps)
        y = batch_norm_apply(x, scale, shift, low, high)
        return y, mean, inv_std, scale, moved(running_mean, mean, momentum), moved(running_var, var, momentum, m / (m - 1))
    pixels, c, t = rows_of(x), x.shape[1], x.dtype.type
    gamma, beta = np.ones(c, t) if gamma is None else layout.writable(gamma), np.zeros(c, t) if beta is None else layout.writable(beta)
    partial, y, stats, bounds = _partials(pixels, 3), layout.room(pixels.shape), np.empty((7, c), t), given_bounds(low, high, x.dtype)
    mean, _, inv_std, scale, shift, new_mean, new_var = stats
    threads.drive(train_forward, lambda: ((fast_sums, (pixels, partial)), (fast_apply, (pixels, scale, shift, *bounds, y))),
                  pixels, gamma, beta, t(eps), t(momentum), *bounds, layout.writable(running_mean), layout.writable(running_var), partial, stats, y,
                  work=3 * x.size)
    return as_planes(y, x), mean, inv_std, scale, new_mean, new_var


def batch_norm_grad(dy, x, mean, inv_std, gamma, y=None, low=None, high=None):
    """Gradients in training: dy, x (N,C,H,W), mean, inv_std, gamma (C,) -> dx (N,C,H,W), dgamma (C,), dbeta (C,).

    Where the result y was clipped to low .. high, dy counts only where y lies between. Invariant: where mean and inv_std are those of x
    (and eps small), dx sums to 0 and is orthogonal to x^ in each channel.
    """
    m = x.size // x.shape[1]
    mean, inv_std, gamma = [layout.writable(a) for a in (mean, inv_std, gamma)]
    if select.is_fast(x.dtype):
        pixels, g = rows_of(x), rows_of(dy)
        value = g if low is None else rows_of(y)
        partial, stats, dx, bounds = _partials(pixels), np.empty((5, len(mean)), np.float32), layout.room(pixels.shape), given_bounds(low, high, x.dtype)
        threads.drive(train_backward, lambda: ((fast_grad_sums, (g, value, *bounds, pixels, mean, partial)),
                                               (fast_grad_apply, (g, value, *bounds, pixels, mean, *stats[2:], dx))),
                      g, value, *bounds, pixels, mean, inv_std, gamma, partial, stats, dx, work=3 * x.size)
        return as_planes(dx, x), stats[0], stats[1]
    dy, x = layout.nchw(dy if low is None else activations.clip_grad(dy, y, low, high)), layout.nchw(x)
    dgamma, dbeta, dx = np.zeros(len(mean)), np.zeros(len(mean)), np.zeros(x.shape, x.dtype)
    plain_grad_sums(dy, x, mean, inv_std, dgamma, dbeta)
    plain_grad_apply(dy, x, mean, inv_std, gamma, (dgamma / m).astype(x.dtype), (dbeta / m).astype(x.dtype), dx)
    return dx, dgamma.astype(x.dtype), dbeta.astype(x.dtype)
