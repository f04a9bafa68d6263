"""The window tile: ROWS x COLS neighbouring outputs of LANES channels, summed in registers. Every fast depthwise kernel is made of it.

    acc[r, j] += Σ_{u,v<K} x[pixel (r·S + u, j·S + v)] · w[u, v]           r < ROWS, j < COLS, each term one vector of channels

Depthwise convolution does KH·KW multiply-adds for each number it reads, few enough that loading decides. A vector of x loaded once
serves every output whose window it lies in, and the weights in use stay in registers: for K = 3, S = 1 and 2 x 8 outputs that is
40 + 9 loads of vectors for 144 multiply-adds instead of 288.

Where the pixels lie is read from a table, -1 standing for padding, so that borders need no loop of their own. It is the same for all channels, so
it is worked out once a tile: `pixels` and `outputs` note the places, as addresses in compiled code; a vector of channels then costs an address
and a load for each pixel, and nothing asks any more whether it is padding: that is a row of zeros. Where tiles are EVEN, pixels of a row but the outer
ones are found by their distance, and tiles of one row leave out rows of padding.
`gradients` is the product for the weights.
ROWS, COLS, K, S and the window's bounds are literals: their loops are unrolled while the kernel is compiled. So are EVEN and WHOLE: the latter promises that
n, the number of channels to take, is LANES, and no mask is needed.
"""
import numpy as np

from .simd import LANES, fma, higher, load, load_n, lower, splat, store_n


def pixels(where, to, COUNT, x, table, q, at, zero):
    """where[to + i] = where pixel i < COUNT begins, that table[q + i] counts from x[at]: -1 (compiled: the address of `zero`) for padding."""
    place = table[q:q + COUNT]
    where[to:to + COUNT] = np.where(place < 0, -1, at + place)


def outputs(where, to, COUNT, y, table, q, at):
    """where[to + i] = where output i < COUNT begins, that table[q + i] counts from y[at]: -1 (compiled: 0) for one that is not there."""
    place = table[q:q + COUNT]
    where[to:to + COUNT] = np.where(place < 0, -1, at + place)


def start(COUNT, bias, at):
    """The sums at the beginning: the bias of LANES channels, COUNT times."""
    return tuple(load(bias, at) for _ in range(COUNT))


def pixel(x, place, c0, n):
    """n channels of a pixel, from channel c0 on; 0 for padding."""
    return np.zeros(LANES, np.float32) if place < 0 else load_n(x, place + c0, n)


def window(acc, ROWS, COLS, K, S, TOP, BOTTOM, LEFT, RIGHT, where, to, x, zero, c0, pitch, w, at, EVEN, WHOLE, n):
    """acc[r·COLS + j] += Σ_{u,v} pixel(r·S + u, j·S + v) · w[at + (u·K + v)·LANES …]; where[to …]: the pixels, row by row, (COLS-1)·S + K wide.

    Pixels outside rows TOP … BOTTOM-1 and columns LEFT … RIGHT-1 are left out: the caller knows that they are padding. EVEN promises that between the
    K//2 outer columns on either side pixels lie `pitch` apart, or a row is all padding (`zero`) and adds nothing.
    """
    out, wide, edge = list(acc), (COLS - 1) * S + K, K // 2
    for a in range(TOP, BOTTOM):
        for b in range(LEFT, RIGHT):
            place, first = where[to + a * wide + b], where[to + a * wide + edge]
            if EVEN and first < 0:
                continue
            if EVEN and edge <= b < wide - edge:
                place = first + (b - edge) * pitch
            numbers = pixel(x, place, c0, n)
            for r in range(ROWS):
                for j in range(COLS):
                    u, v = a - r * S, b - j * S
                    if 0 <= u < K and 0 <= v < K:
                        out[r * COLS + j] = fma(numbers, load(w, at + (u * K + v) * LANES), out[r * COLS + j])
    return tuple(out)


def finish_strip(acc, where, to, y, c0, low, high, WHOLE, n):
    """y[where[to + j] + c0 …] = clip(acc[j], low, high), the first n channels, for every output that is there: the last one only if all are."""
    for j, total in enumerate(acc):
        if where[to + j] >= 0:
            store_n(y, where[to + j] + c0, lower(higher(total, splat(low)), splat(high)), n)


def gradients(acc, COLS, K, S, where, to, x, dy, c0, WHOLE, n):
    """acc[u·K + v] += Σ_j pixel(u, j·S + v) · dy[place of j …], j < COLS: a strip's part of the weight gradient. where[to …]: the pixels of K rows,
    then the COLS places of dy."""
    out, wide = list(acc), (COLS - 1) * S + K
    for j in range(COLS):
        gradient = pixel(dy, where[to + K * wide + j], c0, n)
        for u in range(K):
            for v in range(K):
                out[u * K + v] = fma(pixel(x, where[to + u * wide + j * S + v], c0, n), gradient, out[u * K + v])
    return tuple(out)


from . import _lower_strip  # noqa: E402,F401  the instructions behind these functions
