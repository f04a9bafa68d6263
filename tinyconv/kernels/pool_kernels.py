"""The loops of pooling: each formula as it stands, then the fast form. Read `pool` first: it says what is computed and who is asked.

    maximum    y[n,c,i,j] = max over u,v of  x[n, c, i*S - P + u*D, j*S - P + v*D],  padding left out; index: where it lay
    mean       y[n,c,i,j] = (sum of x over row_lo[i] <= h < row_hi[i], col_lo[j] <= w < col_hi[j]) / divisor[i,j]

The plain gradients scatter each dy to where it came from; the fast ones gather, each pixel of dx asking the few windows that see it: rows of dx
are then independent tasks, and the inner loop runs over neighbouring channels. Both add a pixel's windows in the same order. Bound by: memory.
"""
import numpy as np

from ._jit import fast, plain


# ---- the formula ---------------------------------------------------------------------------------------------------------

@plain
def plain_max(x, y, index, sh, sw, ph, pw, dh, dw, kh, kw):
    """y and index (N,C,OH,OW) from x (N,C,H,W); `index` comes filled with -1: nothing seen yet."""
    N, C, H, W = x.shape
    OH, OW = y.shape[2], y.shape[3]
    for n in range(N):
        for c in range(C):
            for i in range(OH):
                for j in range(OW):
                    for u in range(kh):
                        for v in range(kw):
                            h, w = i * sh - ph + u * dh, j * sw - pw + v * dw
                            if 0 <= h < H and 0 <= w < W:
                                value, best = x[n, c, h, w], y[n, c, i, j]
                                if index[n, c, i, j] < 0 or value > best or (value != value and best == best):
                                    y[n, c, i, j] = value
                                    index[n, c, i, j] = h * W + w


@plain
def plain_max_grad(dy, index, dx):
    """Add each dy (N,C,OH,OW) to dx (N,C,H,W) at its index."""
    N, C, OH, OW = dy.shape
    W = dx.shape[3]
    for n in range(N):
        for c in range(C):
            for i in range(OH):
                for j in range(OW):
                    at = index[n, c, i, j]
                    dx[n, c, at // W, at % W] += dy[n, c, i, j]


@plain
def plain_mean(x, y, row_lo, row_hi, col_lo, col_hi, divisor):
    """Add each window of x (N,C,H,W) into y (N,C,OH,OW) and divide."""
    N, C, OH, OW = y.shape
    for n in range(N):
        for c in range(C):
            for i in range(OH):
                for j in range(OW):
                    for h in range(row_lo[i], row_hi[i]):
                        for w in range(col_lo[j], col_hi[j]):
                            y[n, c, i, j] += x[n, c, h, w]
                    y[n, c, i, j] /= divisor[i, j]


@plain
def plain_mean_grad(dy, dx, row_lo, row_hi, col_lo, col_hi, divisor):
    """Add dy (N,C,OH,OW) / divisor to the whole window in dx (N,C,H,W)."""
    N, C, OH, OW = dy.shape
    for n in range(N):
        for c in range(C):
            for i in range(OH):
                for j in range(OW):
                    for h in range(row_lo[i], row_hi[i]):
                        for w in range(col_lo[j], col_hi[j]):
                            dx[n, c, h, w] += dy[n, c, i, j] / divisor[i, j]


# ---- the same for the machine --------------------------------------------------------------------------------------------

@fast
def fast_max(lo, hi, x, y, index, sh, sw, ph, pw, dh, dw, kh, kw):
    """Tasks: rows of y (N,OH,OW,C). The first pixel of a window is copied, the others compete, all channels at once."""
    N, H, W, C = x.shape
    OH, OW = y.shape[1], y.shape[2]
    for task in range(lo, hi):
        n, i = task // OH, task % OH
        for j in range(OW):
            best, where = y[n, i, j], index[n, i, j]
            begun = False
            for u in range(kh):
                h = i * sh - ph + u * dh
                if 0 <= h < H:
                    for v in range(kw):
                        w = j * sw - pw + v * dw
                        if 0 <= w < W:
                            pixel, at = x[n, h, w], np.int32(h * W + w)
                            if begun:
                                for c in range(C):
                                    value, old = pixel[c], best[c]
                                    wins = (value > old) | ((value != value) & (old == old))
                                    best[c] = value if wins else old
                                    where[c] = at if wins else where[c]
                            else:
                                begun = True
                                for c in range(C):
                                    best[c] = pixel[c]
                                    where[c] = at


@fast
def fast_max_grad(lo, hi, dy, index, dx, sh, sw, ph, pw, dh, dw, kh, kw):
    """Tasks: rows of dx (N,H,W,C). Each pixel asks the windows that see it, first window first: was I the maximum?"""
    N, H, W, C = dx.shape
    OH, OW = dy.shape[1], dy.shape[2]
    zero = np.float32(0)
    for task in range(lo, hi):
        n, h = task // H, task % H
        for w in range(W):
            pixel, at = dx[n, h, w], np.int32(h * W + w)
            for c in range(C):
                pixel[c] = zero
            for u in range(kh - 1, -1, -1):
                i = h + ph - u * dh
                if i >= 0 and i % sh == 0 and i // sh < OH:
                    for v in range(kw - 1, -1, -1):
                        j = w + pw - v * dw
                        if j >= 0 and j % sw == 0 and j // sw < OW:
                            d, where = dy[n, i // sh, j // sw], index[n, i // sh, j // sw]
                            for c in range(C):
                                pixel[c] += d[c] if where[c] == at else zero


@fast
def fast_mean(lo, hi, x, y, row_lo, row_hi, col_lo, col_hi, divisor):
    """Tasks: rows of y (N,OH,OW,C)."""
    N, OH, OW, C = y.shape
    for task in range(lo, hi):
        n, i = task // OH, task % OH
        for j in range(OW):
            total = y[n, i, j]
            for c in range(C):
                total[c] = np.float32(0)
            for h in range(row_lo[i], row_hi[i]):
                for w in range(col_lo[j], col_hi[j]):
                    pixel = x[n, h, w]
                    for c in range(C):
                        total[c] += pixel[c]
            for c in range(C):
                total[c] /= divisor[i, j]


@fast
def fast_mean_grad(lo, hi, dy, dx, row_first, row_last, col_first, col_last, divisor):
    """Tasks: rows of dx (N,H,W,C). Windows row_first[h] .. row_last[h] - 1 see row h, likewise columns."""
    N, H, W, C = dx.shape
    for task in range(lo, hi):
        n, h = task // H, task % H
        for w in range(W):
            pixel = dx[n, h, w]
            for c in range(C):
                pixel[c] = np.float32(0)
            for i in range(row_first[h], row_last[h]):
                for j in range(col_first[w], col_last[w]):
                    d, share = dy[n, i, j], divisor[i, j]
                    for c in range(C):
                        pixel[c] += d[c] / share
