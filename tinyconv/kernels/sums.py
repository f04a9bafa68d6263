"""Sums over images and pixels, a number a channel: a bias's gradient, alone and together with a clip's.

    db[c] = Σ_{n,h,w} dy[n,c,h,w]                dx = dy where low < y < high, else 0;  db[c] = Σ_{n,h,w} dx[n,c,h,w]

Memory is rows of pixels, a pixel's channels side by side. Tasks are slabs of pixels, each with float64 sums of its own, added in order; their
number depends on the shape alone, so results are the same bits for any number of threads. Cost: one addition a value. Bound by memory.
"""
import numpy as np

from . import activations, layout, rows, select, threads
from ._jit import fast

SLABS = 32              # at most; each of at least ROWS pixels
ROWS = 64


@fast
def fast_totals(lo, hi, x, partial):
    """Tasks: slabs. partial[slab] = sum of the slab's pixels of x (M,C), in float64."""
    M, C = x.shape
    slabs = partial.shape[0]
    for slab in range(lo, hi):
        s, first, last = partial[slab], slab * M // slabs, (slab + 1) * M // slabs
        s[:] = 0
        for p in range(first, last):
            line = x[p]
            for c in range(C):
                s[c] += np.float64(line[c])


@fast
def fast_clipped_totals(lo, hi, dy, pitch, y, low, high, dx, partial):
    """Tasks: slabs. dx = dy where low < y < high, else 0, all (M,C), but dy flat, its pixels `pitch` numbers apart (a part of a concatenation's
    gradient); partial[slab] = sum of the slab's pixels of dx, in float64."""
    M, C = y.shape
    slabs = partial.shape[0]
    for slab in range(lo, hi):
        s, first, last = partial[slab], slab * M // slabs, (slab + 1) * M // slabs
        for c in range(C):
            s[c] = 0
        for p in range(first, last):
            gradient, value, target = dy[p * pitch:p * pitch + C], y[p], dx[p]
            for c in range(C):
                g = np.float32(0) if (value[c] <= low) | (value[c] >= high) else gradient[c]
                target[c] = g
                s[c] += np.float64(g)


def rows_of(x):
    """x (N,C,H,W) as C-contiguous rows of pixels (N*H*W,C)."""
    return layout.nhwc(x).reshape(-1, x.shape[1])


def as_planes(y, x):
    """Rows of pixels (N*H*W,C) as an array of x's shape (N,C,H,W)."""
    n, c, h, w = x.shape
    return layout.shaped(y.reshape(n, h, w, c))


def given_bounds(low, high, dtype):
    """Bounds as the kernels take them: NaN for none."""
    return (dtype.type(np.nan),) * 2 if low is None else (dtype.type(low), dtype.type(high))


def channel_sums(x):
    """Σ over images and pixels: (N,C,H,W) -> (C,) of x's dtype. Added in float64: in float32 a million like terms lose the last two digits."""
    pixels = rows_of(x)
    if not select.is_fast(x.dtype):
        return pixels.sum(axis=0, dtype=np.float64).astype(x.dtype)
    partial = select.scratch((max(1, min(SLABS, len(pixels) // ROWS)), x.shape[1]), np.float64)
    threads.run(fast_totals, len(partial), pixels, partial, work=x.size)
    return partial.sum(axis=0).astype(x.dtype)


def clip_grad_sums(dy, y, low, high):
    """dx = dy where low < y < high, else 0, and its sums over images and pixels: (N,C,H,W) -> (N,C,H,W), (C,), in one pass over memory."""
    if not select.is_fast(y.dtype):
        dx = activations.clip_grad(dy, y, low, high)
        return dx, channel_sums(dx)
    value = rows_of(y)
    g, pitch = (None if dy.flags.c_contiguous else rows.even(dy)) or (rows_of(dy).reshape(-1), y.shape[1])
    dx, partial = layout.room(value.shape), select.scratch((max(1, min(SLABS, len(value) // ROWS)), y.shape[1]), np.float64)
    threads.run(fast_clipped_totals, len(partial), g, pitch, value, *given_bounds(low, high, y.dtype), dx, partial, work=2 * y.size)
    return as_planes(dx, y), partial.sum(axis=0).astype(y.dtype)
