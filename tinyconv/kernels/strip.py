"""The window tile: ROWS x COLS neighbouring outputs of LANES channels, summed in registers. Every fast depthwise kernel is made of it.

    acc[r, j] += Σ_{u,v<K} x[pixel (r·S + u, j·S + v)] · w[u, v]           r < ROWS, j < COLS, each term one vector of channels

Depthwise convolution does KH·KW multiply-adds for each number it reads, few enough that loading decides. A vector of x loaded once
serves every output whose window it lies in, and the K·K weights stay in registers: for K = 3, S = 1 and 2 x 8 outputs that is
40 + 9 loads for 144 multiply-adds instead of 288. Where the pixels lie is read from a table, -1 standing for padding, so that
borders need no loop of their own; the table serves all channels of the pixels. `gradients` is the product for the weights.
ROWS, COLS, K, S and the window's bounds are literals: their loops are unrolled while the kernel is compiled. So is WHOLE: 1 promises that n, the number
of channels to take, is LANES, and no mask is needed.
"""
import numpy as np

from .simd import LANES, fma, higher, load, load_n, lower, splat, store_n


def start(COUNT, bias, at):
    """The sums at the beginning: the bias of LANES channels, COUNT times."""
    return tuple(load(bias, at) for _ in range(COUNT))


def pixel(x, table, q, c0, n):
    """n channels of the pixel that table[q] says, from channel c0 on; 0 for -1."""
    return np.zeros(LANES, np.float32) if table[q] < 0 else load_n(x, table[q] + c0, n)


def window(acc, ROWS, COLS, K, S, TOP, BOTTOM, LEFT, RIGHT, x, table, q, zero, c0, w, wat, pitch, WHOLE, n):
    """acc[r·COLS + j] += Σ_{u,v} pixel(r·S + u, j·S + v) · w[wat + (u·K + v)·pitch …]; the table is row by row, (COLS-1)·S + K wide.

    Pixels outside rows TOP … BOTTOM-1 and columns LEFT … RIGHT-1 are left out: the caller knows that they are padding.
    """
    out, wide = list(acc), (COLS - 1) * S + K
    for a in range(TOP, BOTTOM):
        for b in range(LEFT, RIGHT):
            numbers = pixel(x, table, q + a * wide + b, c0, n)
            for r in range(ROWS):
                for j in range(COLS):
                    u, v = a - r * S, b - j * S
                    if 0 <= u < K and 0 <= v < K:
                        out[r * COLS + j] = fma(numbers, load(w, wat + (u * K + v) * pitch), out[r * COLS + j])
    return tuple(out)


def finish_strip(acc, COUNT, y, places, p, c0, low, high, WHOLE, n):
    """y[places[p + j] + c0 …] = clip(acc[j], low, high) for j < COUNT, the first n channels; places < 0 are left out."""
    for j in range(COUNT):
        if places[p + j] >= 0:
            store_n(y, places[p + j] + c0, lower(higher(acc[j], splat(low)), splat(high)), n)


def gradients(acc, COLS, K, S, x, table, q, zero, c0, dy, places, p, d0, WHOLE, n):
    """acc[u·K + v] += Σ_j pixel(u, j·S + v) · dy[places[p + j] + d0 …], j < COLS: a strip's part of the weight gradient."""
    out, wide = list(acc), (COLS - 1) * S + K
    for j in range(COLS):
        gradient = pixel(dy, places, p + j, d0, n)
        for u in range(K):
            for v in range(K):
                out[u * K + v] = fma(pixel(x, table, q + u * wide + j * S + v, c0, n), gradient, out[u * K + v])
    return tuple(out)


from . import _lower_strip  # noqa: E402,F401  the instructions behind these functions
