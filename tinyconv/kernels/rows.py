"""Channels moved about: what concatenation, split, shuffle and selection do to channels-last memory, where a pixel's channels are a row.

    copy       y[p·Q + c] = x[p·P + c]           rows P numbers apart become rows Q numbers apart: a split or a part of a concatenation
    pick       y[p, k] = x[p, order[k]]
    shuffle    y[p, k·G + g] = x[p, g·K + k]     G groups of K channels (ShuffleNet); the shuffle with K groups undoes it
    together   y[p, c] = x[c, p]                 planes become pixels: from (N,C,H,W) memory to channels-last

NumPy says the same (`x[:, order]`, np.concatenate), but on one thread, and an indexed result lies in another order of memory, which the next
convolution has to undo. Cost: no arithmetic, 8 bytes a number moved; bound by memory.
"""
import numpy as np

from . import layout, select, threads
from ._jit import fast
from .simd import LANES, turn

PIXELS = 256            # of a task that brings planes together, at most


@fast
def copy_rows(lo, hi, x, pitch, y, to, c):
    """Tasks: pixels. x and y flat."""
    for p in range(lo, hi):
        source, target = x[p * pitch:p * pitch + c], y[p * to:p * to + c]
        for k in range(c):
            target[k] = source[k]


@fast
def bring_together(lo, hi, x, y, blocks, starts, c, plane):
    """Tasks: blocks of PIXELS of an image each. x (N,C,H·W) and y (N,H·W,C), flat; starts[k] = k·C. Squares of LANES pixels and channels are turned
    in registers, the last one of a block beginning earlier; what is left of the channels goes number by number."""
    for task in range(lo, hi):
        image, first = task // blocks * plane, task % blocks * PIXELS
        last = min(plane, first + PIXELS)
        turned = c // LANES * LANES if last - first >= LANES else 0
        for k in range(0, turned, LANES):
            for p in range(first, last, LANES):
                at = min(p, last - LANES)
                turn(x, image * c + k * plane + at, plane, y, starts, 0, (image + at) * c + k)
        for k in range(turned, c):
            source, target = x[image * c + k * plane:], y[image * c + k:]
            for p in range(first, last):
                target[p * c] = source[p]


@fast
def pick_rows(lo, hi, x, order, y):
    """Tasks: pixels. x (M,C), y (M,K)."""
    for p in range(lo, hi):
        source, target = x[p], y[p]
        for k in range(order.size):
            target[k] = source[order[k]]


@fast
def shuffle_rows(lo, hi, x, groups, y):
    """Tasks: pixels. x and y (M,C); two groups, or groups of two, go by in whole vectors."""
    C = x.shape[1]
    K = C // groups
    for p in range(lo, hi):
        source, target = x[p], y[p]
        if groups == 2:
            first, second = source[:K], source[K:]
            for k in range(K):
                target[2 * k], target[2 * k + 1] = first[k], second[k]
        elif K == 2:
            first, second = target[:groups], target[groups:]
            for g in range(groups):
                first[g], second[g] = source[2 * g], source[2 * g + 1]
        else:
            for g in range(groups):
                for k in range(K):
                    target[k * groups + g] = source[g * K + k]


def even(x):
    """x (N,C,H,W) as flat float32 memory and the numbers from one pixel to the next, if its pixels lie evenly, channels side by side; else None."""
    (n, c, h, w), (a, step, b, pitch) = x.shape, x.strides
    if x.dtype != np.float32 or step != 4 and c > 1 or (n > 1 and a != h * w * pitch) or (h > 1 and b != w * pitch) or pitch % 4 or pitch < 4 * c:
        return None
    flat = np.lib.stride_tricks.as_strided(x, ((n * h * w - 1) * pitch // 4 + c,), (4,))
    return layout.writable(flat), pitch // 4


def together(x):
    """x (N,C,H,W), C-contiguous float32, as a C-contiguous (N,H,W,C) array. 8 bytes a number moved."""
    n, c, h, w = x.shape
    y, blocks = layout.room((n, h, w, c)), -(-h * w // PIXELS)
    threads.run(bring_together, n * blocks, layout.writable(x).reshape(-1), y.reshape(-1), blocks, np.arange(LANES) * c, c, h * w, work=x.size // 4)
    return y


def _rows(x):
    """Is x four axes of float32 for the fast kernels, at least a few thousand numbers of it?"""
    return x.ndim == 4 and x.size >= 4096 and select.is_fast(x.dtype)


def concat(arrays):
    """(N,C1,H,W), (N,C2,H,W), … -> (N, C1+C2+…, H, W). 8 bytes a number moved. Errors: NumPy's for axes that do not fit."""
    parts = [even(x) if _rows(x) and x.shape[0] == arrays[0].shape[0] and x.shape[2:] == arrays[0].shape[2:] else None for x in arrays]
    if any(part is None for part in parts):
        return np.concatenate(arrays, axis=1)
    (n, _, h, w), c = arrays[0].shape, [x.shape[1] for x in arrays]
    y = layout.room((n, h, w, sum(c)))
    flat, at = y.reshape(-1), 0
    for (x, pitch), width in zip(parts, c):
        threads.run(copy_rows, n * h * w, x, pitch, flat[at:], sum(c), width, work=n * h * w * width // 8)
        at += width
    return layout.shaped(y)


def pick(x, order):
    """x (N,C,…) -> x[:, order]; order: a list or array of indices in 0..C-1, at least one. 8 bytes a number moved. Errors: IndexError for
    others."""
    n, c = x.shape[:2]
    if min(order) < 0 or max(order) >= c:
        raise IndexError(f"order must lie in 0..{c - 1}, not {min(order)}..{max(order)}")
    if not _rows(x):
        return x[:, order]
    h, w = x.shape[2:]
    y = layout.room((n, h, w, len(order)))
    threads.run(pick_rows, n * h * w, layout.nhwc(x).reshape(-1, c), np.asarray(order, np.int64), y.reshape(-1, len(order)), work=y.size // 2)
    return layout.shaped(y)


def shuffle(x, groups):
    """x (N,C,…), `groups` groups of C/groups channels -> first channels of all groups, then second ones, … Errors: ValueError unless groups
    divides C."""
    n, c = x.shape[:2]
    if groups < 1 or c % groups:
        raise ValueError(f"groups must divide the {c} channels, not {groups}")
    if not _rows(x):
        return x[:, np.arange(c).reshape(groups, c // groups).T.ravel()]
    y = layout.room((n, *x.shape[2:], c))
    threads.run(shuffle_rows, y.size // c, layout.nhwc(x).reshape(-1, c), groups, y.reshape(-1, c), work=y.size // 4)
    return layout.shaped(y)
