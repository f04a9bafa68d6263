"""The fast passes of `norm`: rows of pixels, a pixel's channels side by side. Read that page first: it has the formulas and the bounds.

Tasks are slabs of pixels, each with float64 sums of its own, or pixels. Bounds that are NaN clip nothing: every comparison with them is false.
All are bound by memory.
"""
import numpy as np

from ._jit import called, door, fast
from ._launch import within


@fast
def fast_sums(lo, hi, x, partial):
    """Tasks: slabs. partial[slab] = sums of d and of d^2 over the slab's pixels of x (M,C), and a, in float64: d = x - a, a the channel's first
    value (0 where that is not finite)."""
    M, C = x.shape
    slabs = partial.shape[0]
    for slab in range(lo, hi):
        first, last = slab * M // slabs, (slab + 1) * M // slabs
        s, q, origin = partial[slab, 0], partial[slab, 1], partial[slab, 2]
        for c in range(C):
            s[c] = q[c] = 0
            origin[c] = x[0, c] if np.isfinite(x[0, c]) else 0
        for p in range(first, last - 3, 4):
            x0, x1, x2, x3 = x[p], x[p + 1], x[p + 2], x[p + 3]
            for c in range(C):
                a = origin[c]
                d0, d1 = np.float64(x0[c]) - a, np.float64(x1[c]) - a
                d2, d3 = np.float64(x2[c]) - a, np.float64(x3[c]) - a
                s[c] += (d0 + d1) + (d2 + d3)
                q[c] += (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3)
        for p in range(last - (last - first) % 4, last):
            x0 = x[p]
            for c in range(C):
                d0 = np.float64(x0[c]) - origin[c]
                s[c] += d0
                q[c] += d0 * d0


@fast
def fast_apply(lo, hi, x, scale, shift, low, high, y):
    """Tasks: pixels. y = clip(x * scale + shift, low, high), all (M,C); bounds that are NaN clip nothing."""
    C = x.shape[1]
    for p in range(lo, hi):
        source, target = x[p], y[p]
        for c in range(C):
            v = source[c] * scale[c] + shift[c]
            v = low if v < low else v
            target[c] = high if v > high else v


@fast
def fast_grad_sums(lo, hi, dy, y, low, high, x, mean, partial):
    """Tasks: slabs. partial[slab] = sums of g and of g * (x - mean) over the slab's pixels, g = dy where low < y < high; all (M,C)."""
    M, C = x.shape
    slabs = partial.shape[0]
    for slab in range(lo, hi):
        first, last = slab * M // slabs, (slab + 1) * M // slabs
        s, q = partial[slab, 0], partial[slab, 1]
        for c in range(C):
            s[c] = q[c] = 0
        for p in range(first, last - 3, 4):
            x0, x1, x2, x3 = x[p], x[p + 1], x[p + 2], x[p + 3]
            g0, g1, g2, g3 = dy[p], dy[p + 1], dy[p + 2], dy[p + 3]
            y0, y1, y2, y3 = y[p], y[p + 1], y[p + 2], y[p + 3]
            for c in range(C):
                m = mean[c]
                a = np.float32(0) if (y0[c] <= low) | (y0[c] >= high) else g0[c]
                b = np.float32(0) if (y1[c] <= low) | (y1[c] >= high) else g1[c]
                d = np.float32(0) if (y2[c] <= low) | (y2[c] >= high) else g2[c]
                e = np.float32(0) if (y3[c] <= low) | (y3[c] >= high) else g3[c]
                s[c] += np.float64((a + b) + (d + e))
                q[c] += np.float64((a * (x0[c] - m) + b * (x1[c] - m)) + (d * (x2[c] - m) + e * (x3[c] - m)))
        for p in range(last - (last - first) % 4, last):
            x0, g0, y0 = x[p], dy[p], y[p]
            for c in range(C):
                a = np.float32(0) if (y0[c] <= low) | (y0[c] >= high) else g0[c]
                s[c] += np.float64(a)
                q[c] += np.float64(a * (x0[c] - mean[c]))


@fast
def fast_grad_apply(lo, hi, dy, y, low, high, x, mean, a, b, k, dx):
    """Tasks: pixels. dx = a*g + b*(x - mean) + k, g = dy where low < y < high; all (M,C)."""
    C = x.shape[1]
    for p in range(lo, hi):
        gradient, value, source, target = dy[p], y[p], x[p], dx[p]
        for c in range(C):
            g = np.float32(0) if (value[c] <= low) | (value[c] >= high) else gradient[c]
            target[c] = a[c] * g + (b[c] * (source[c] - mean[c]) + k[c])


@called
def fast_moments(partial, m, mean, var):
    """mean, var (C,) from the slabs' sums: var = max(0, Σd²/M - (Σd/M)²), in float64."""
    for c in range(mean.size):
        s = q = 0.0
        for slab in range(partial.shape[0]):
            s += partial[slab, 0, c]
            q += partial[slab, 1, c]
        s /= m
        v = q / m - s * s
        mean[c], var[c] = partial[0, 2, c] + s, 0 if v < 0 else v


@called
def fast_scales(mean, var, gamma, beta, eps, inv_std, scale, shift):
    """inv_std = 1/sqrt(var + eps), scale = gamma * inv_std, shift = beta - mean * scale, all (C,)."""
    for c in range(mean.size):
        inv_std[c] = np.float32(1) / np.sqrt(var[c] + eps)
        scale[c] = gamma[c] * inv_std[c]
        shift[c] = beta[c] - mean[c] * scale[c]


@called
def fast_moved(old, new, momentum, factor, moved):
    """moved = old + momentum * (new * factor - old), all (C,): a running statistic after one more batch."""
    for c in range(old.size):
        moved[c] = old[c] + momentum * (new[c] * factor - old[c])


@fast
def fast_steps(partial, m, inv_std, gamma, dgamma, dbeta, a, b, k):
    """dgamma, dbeta (C,) from the slabs' sums, and the factors of `fast_grad_apply`, in float64 until they are stored."""
    for c in range(inv_std.size):
        s = q = 0.0
        for slab in range(partial.shape[0]):
            s += partial[slab, 0, c]
            q += partial[slab, 1, c]
        i, g = np.float64(inv_std[c]), np.float64(gamma[c])
        dgamma[c], dbeta[c] = q * i, s
        a[c], b[c], k[c] = g * i, -g * i * i * (q * i) / m, -g * i * s / m


@door
def train_forward(box, parts, addresses, x, gamma, beta, eps, momentum, low, high, running_mean, running_var, partial, stats, y):
    """Statistics, scales and the apply pass, one after the other. stats (7,C): mean, var, inv_std, scale, shift, new running mean and variance."""
    m, failed = x.shape[0], 0
    mean, var, inv_std, scale, shift, new_mean, new_var = stats[0], stats[1], stats[2], stats[3], stats[4], stats[5], stats[6]
    failed += within(box, addresses[0], partial.shape[0], min(parts, partial.shape[0]), x, partial)
    fast_moments(partial, m, mean, var)
    fast_scales(mean, var, gamma, beta, eps, inv_std, scale, shift)
    fast_moved(running_mean, mean, momentum, np.float32(1), new_mean)
    fast_moved(running_var, var, momentum, np.float32(m / (m - 1)), new_var)
    failed += within(box, addresses[1], m, min(parts, m), x, scale, shift, low, high, y)
    return failed


@door
def train_backward(box, parts, addresses, dy, value, low, high, x, mean, inv_std, gamma, partial, stats, dx):
    """The backward sums, what follows from them, and dx, one after the other. stats (5,C): dgamma, dbeta, and the factors of dx."""
    m, failed = x.shape[0], 0
    dgamma, dbeta, a, b, k = stats[0], stats[1], stats[2], stats[3], stats[4]
    failed += within(box, addresses[0], partial.shape[0], min(parts, partial.shape[0]), dy, value, low, high, x, mean, partial)
    fast_steps(partial, m, inv_std, gamma, dgamma, dbeta, a, b, k)
    failed += within(box, addresses[1], m, min(parts, m), dy, value, low, high, x, mean, a, b, k, dx)
    return failed
