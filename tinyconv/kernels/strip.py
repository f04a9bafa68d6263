"""The strip: COLS neighbouring pixels of LANES channels, summed in registers. Every fast depthwise kernel is made of it.

    acc[j] += Σ_{v<K} x[row, column + (j·S + v)·hop] · w[v]         j < COLS, each term one vector of channels

Depthwise convolution does KH·KW multiply-adds for each number it reads, few enough that loading decides. A vector of x loaded once
serves every output of the strip whose window it lies in: for K = 3, S = 1 and 8 columns that is 10 + 3 loads for 24
multiply-adds instead of 48. Columns outside the image are left out by a mask, so that borders need no loop of their own.
`slide` does one row of the window; `correlate` the weight gradient's row, its K·COLS sums kept apart.
COLS, K and S are literals: their loops are unrolled while the kernel is compiled.
"""
from .simd import REGISTERS, fma, higher, load, load_n, lower, splat, store_n

COLUMNS = 8 if REGISTERS == 32 else 4               # outputs of a strip
COLUMNS_WEIGHT = 4 if REGISTERS == 32 else 2        # of a strip of the weight gradient


def start(COLS, bias, at):
    """The sums at the beginning: the bias of LANES channels, COLS times."""
    return tuple(load(bias, at) for _ in range(COLS))


def slide(acc, COLS, K, S, x, at, column, hop, wide, c, w, wat, wpitch, n):
    """One row of the window over a strip: x's row begins at x[at], pixels are c numbers apart, `wide` of them; the first n lanes."""
    out = list(acc)
    for q in range((COLS - 1) * S + K):
        place = column + q * hop
        for j in range(COLS):
            if 0 <= q - j * S < K and 0 <= place < wide:
                out[j] = fma(load_n(x, at + place * c, n), load(w, wat + (q - j * S) * wpitch), out[j])
    return tuple(out)


def finish_strip(acc, COLS, y, at, pitch, count, low, high, n):
    """y[at + j·pitch] = clip(acc[j], low, high) for j < count, the first n lanes."""
    for j in range(COLS):
        if j < count:
            store_n(y, at + j * pitch, lower(higher(acc[j], splat(low)), splat(high)), n)


def correlate(acc, COLS, K, S, x, at, column, hop, wide, c, dy, dat, count, n):
    """acc[v·COLS + j] += x[row, column + (j·S + v)·hop] · dy[dat + j·c], j < count: one row of the window's gradient."""
    out = list(acc)
    for q in range((COLS - 1) * S + K):
        place = column + q * hop
        for j in range(COLS):
            if 0 <= q - j * S < K and 0 <= place < wide and j < count:
                slot = (q - j * S) * COLS + j
                out[slot] = fma(load_n(x, at + place * c, n), load_n(dy, dat + j * c, n), out[slot])
    return tuple(out)
