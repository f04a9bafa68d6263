"""Winograd's transforms on vectors: a tile of LANES channels between two of its matrices, y = M d M^T, with as few additions as the matrices allow.

    V = B^T d B  (data)        U = G g G^T  (filters)        Y = A^T S A  (outputs)        Z = A dy A^T  (spread, for the gradient)

For 3x3 windows with m = 2 and 4 each one-dimensional transform is written out (`winograd_lines`). `sandwich` does the same for any
matrices. The matrices and where they come from: `winograd_matrices`.
Cost: (rows + columns) one-dimensional transforms a tile and vector. Bound by: the additions, and loads and stores of the half-done tile.
"""
import numpy as np

from ._jit import unrolled
from .simd import LANES, fma, load, splat, store
from .winograd_lines import (data2, data4, filter2, filter4, get2, get3, get4, get6, output2, output4, put2, put4, put6, spread2, spread4)

# from the beginning, vector after vector: numbers that are no literals to numba, which would compile each transform once more for them
START, VECTOR = np.int64(0), np.int64(LANES)


# ---- a whole tile of LANES channels: q[to + (i·n + j)·hop] = (M d M^T)[i, j] with d[i, j] = p[at + i·down + j·right], through e ----

@unrolled
def data_tile(kind, M, n, p, at, down, right, e, q, to, hop):
    """B^T d B: n x n -> n x n vectors. kind 4 and 2: F(4,3) and F(2,3), factored; 0: any, by its matrix."""
    if kind == 4:
        for j in range(6):
            put6(e, j * LANES, 6 * LANES, data4(get6(p, at + j * right, down)))
        for i in range(6):
            put6(q, to + i * 6 * hop, hop, data4(get6(e, i * 6 * LANES, LANES)))
    elif kind == 2:
        for j in range(4):
            put4(e, j * LANES, 4 * LANES, data2(get4(p, at + j * right, down)))
        for i in range(4):
            put4(q, to + i * 4 * hop, hop, data2(get4(e, i * 4 * LANES, LANES)))
    else:
        sandwich(M, n, n, p, at, down, right, e, q, to, hop)


@unrolled
def filter_tile(kind, M, n, r, p, at, down, right, e, q, to, hop):
    """G g G^T: r x r -> n x n vectors."""
    if kind == 4:
        for j in range(3):
            put6(e, j * LANES, 3 * LANES, filter4(get3(p, at + j * right, down)))
        for i in range(6):
            put6(q, to + i * 6 * hop, hop, filter4(get3(e, i * 3 * LANES, LANES)))
    elif kind == 2:
        for j in range(3):
            put4(e, j * LANES, 3 * LANES, filter2(get3(p, at + j * right, down)))
        for i in range(4):
            put4(q, to + i * 4 * hop, hop, filter2(get3(e, i * 3 * LANES, LANES)))
    else:
        sandwich(M, n, r, p, at, down, right, e, q, to, hop)


@unrolled
def outputs4(p, at, down, right):
    """A^T s A of F(4,3) without a room for the half-done tile: four rows of four vectors, in registers as far as they reach."""
    a, b, c = output4(get6(p, at, down)), output4(get6(p, at + right, down)), output4(get6(p, at + 2 * right, down))
    d, e, g = output4(get6(p, at + 3 * right, down)), output4(get6(p, at + 4 * right, down)), output4(get6(p, at + 5 * right, down))
    return (output4((a[0], b[0], c[0], d[0], e[0], g[0])), output4((a[1], b[1], c[1], d[1], e[1], g[1])),
            output4((a[2], b[2], c[2], d[2], e[2], g[2])), output4((a[3], b[3], c[3], d[3], e[3], g[3])))


@unrolled
def outputs2(p, at, down, right):
    """A^T s A of F(2,3): two rows of two vectors."""
    a, b = output2(get4(p, at, down)), output2(get4(p, at + right, down))
    c, d = output2(get4(p, at + 2 * right, down)), output2(get4(p, at + 3 * right, down))
    return output2((a[0], b[0], c[0], d[0])), output2((a[1], b[1], c[1], d[1]))


@unrolled
def output_tile(kind, M, m, n, p, at, down, right, e, q, to, hop):
    """A^T s A: n x n -> m x m vectors."""
    if kind == 4:
        a, b, c, d = outputs4(p, at, down, right)
        put4(q, to, hop, a)
        put4(q, to + 4 * hop, hop, b)
        put4(q, to + 8 * hop, hop, c)
        put4(q, to + 12 * hop, hop, d)
    elif kind == 2:
        a, b = outputs2(p, at, down, right)
        put2(q, to, hop, a)
        put2(q, to + 2 * hop, hop, b)
    else:
        sandwich(M, m, n, p, at, down, right, e, q, to, hop)


@unrolled
def spread_tile(kind, M, m, n, p, at, down, right, e, q, to, hop):
    """A y A^T: m x m -> n x n vectors, the adjoint of `output_tile`; M = A (n, m)."""
    if kind == 4:
        for j in range(4):
            put6(e, j * LANES, 4 * LANES, spread4(get4(p, at + j * right, down)))
        for i in range(6):
            put6(q, to + i * 6 * hop, hop, spread4(get4(e, i * 4 * LANES, LANES)))
    elif kind == 2:
        for j in range(2):
            put4(e, j * LANES, 2 * LANES, spread2(get2(p, at + j * right, down)))
        for i in range(4):
            put4(q, to + i * 4 * hop, hop, spread2(get2(e, i * 2 * LANES, LANES)))
    else:
        sandwich(M, n, m, p, at, down, right, e, q, to, hop)


@unrolled
def sandwich(M, rows, n, p, at, down, right, e, q, to, hop):
    """M d M^T for any matrix M (rows, n): n x n -> rows x rows vectors."""
    for j in range(n):
        for i in range(rows):
            acc = splat(np.float32(0))
            for k in range(n):
                acc = fma(splat(M[i, k]), load(p, at + k * down + j * right), acc)
            store(e, (i * n + j) * LANES, acc)
    for i in range(rows):
        for j in range(rows):
            acc = splat(np.float32(0))
            for k in range(n):
                acc = fma(splat(M[j, k]), load(e, (i * n + k) * LANES), acc)
            store(q, to + (i * rows + j) * hop, acc)
