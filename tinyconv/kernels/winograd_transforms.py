"""Winograd's transforms on vectors: a tile of LANES channels between two of its matrices, y = M d M^T, with as few additions as the matrices allow.

    V = B^T d B  (data)        U = G g G^T  (filters)        Y = A^T S A  (outputs)        Z = A dy A^T  (spread, for the gradient)

For 3x3 windows with m = 2 and 4 each one-dimensional transform is written out, common terms taken once (B^T of F(4,3): 12
operations a column). `sandwich` does the same for any matrices. The matrices and where they come from: `winograd_matrices`.
Cost: (rows + columns) one-dimensional transforms a tile and vector. Bound by: the additions, and loads and stores of the half-done tile.
"""
import numpy as np

from ._jit import fast
from .simd import LANES, fma, load, splat, store


# ---- one column or row of a tile, hand-factored: what the matrices say with fewer additions ------------------------------------

@fast
def data2(d):
    """B^T d of F(2,3)."""
    return d[0] - d[2], d[1] + d[2], d[2] - d[1], d[3] - d[1]


@fast
def filter2(g):
    """G g of F(2,3)."""
    a, b = 0.5 * (g[0] + g[2]), 0.5 * g[1]
    return g[0], a + b, a - b, g[2]


@fast
def output2(s):
    """A^T s of F(2,3)."""
    return s[0] + s[1] + s[2], s[1] - s[2] + s[3]


@fast
def spread2(y):
    """A y of F(2,3)."""
    return y[0], y[0] + y[1], y[0] - y[1], y[1]


@fast
def data4(d):
    """B^T d of F(4,3), points 0, 1, -1, 1/2, -2."""
    a, b = d[3] - d[1], d[4] - d[2]
    return (d[0] - d[2] + b + 1.5 * a, d[4] - d[1] + 0.5 * d[2] + 2.5 * d[3], d[4] + d[1] - 2.5 * d[2] + 0.5 * d[3],
            b + 2.0 * a, b - 0.5 * a, d[5] - d[3] - a + 1.5 * b)


@fast
def filter4(g):
    """G g of F(4,3)."""
    a, b = (1 / 3) * (g[0] + g[2]), (1 / 3) * g[1]
    c, d = (1 / 15) * g[0] + (4 / 15) * g[2], (2 / 15) * g[1]
    return g[0], a + b, b - a, (-16 / 15) * g[0] - (8 / 15) * g[1] - (4 / 15) * g[2], c - d, g[2]


@fast
def output4(s):
    """A^T s of F(4,3)."""
    a, b = s[1] + s[2], s[1] - s[2]
    return s[0] + a + s[3] + s[4], b + 0.5 * s[3] - 2.0 * s[4], a + 0.25 * s[3] + 4.0 * s[4], b + 0.125 * s[3] - 8.0 * s[4] + s[5]


@fast
def spread4(y):
    """A y of F(4,3)."""
    a, b = y[0] + y[2], y[1] + y[3]
    return y[0], a + b, a - b, y[0] + 0.5 * y[1] + 0.25 * y[2] + 0.125 * y[3], y[0] - 2.0 * y[1] + 4.0 * y[2] - 8.0 * y[3], y[3]


# ---- reading and writing such a line ------------------------------------------------------------------------------------------

@fast
def get2(p, at, step):
    """Two vectors, `step` numbers apart."""
    return load(p, at), load(p, at + step)


@fast
def get3(p, at, step):
    """Three vectors, `step` numbers apart."""
    return load(p, at), load(p, at + step), load(p, at + 2 * step)


@fast
def get4(p, at, step):
    """Four vectors, `step` numbers apart."""
    return load(p, at), load(p, at + step), load(p, at + 2 * step), load(p, at + 3 * step)


@fast
def get6(p, at, step):
    """Six vectors, `step` numbers apart."""
    return load(p, at), load(p, at + step), load(p, at + 2 * step), load(p, at + 3 * step), load(p, at + 4 * step), load(p, at + 5 * step)


@fast
def put2(q, to, hop, v):
    """Two vectors, `hop` numbers apart."""
    store(q, to, v[0])
    store(q, to + hop, v[1])


@fast
def put4(q, to, hop, v):
    """Four vectors, `hop` numbers apart."""
    put2(q, to, hop, (v[0], v[1]))
    put2(q, to + 2 * hop, hop, (v[2], v[3]))


@fast
def put6(q, to, hop, v):
    """Six vectors, `hop` numbers apart."""
    put4(q, to, hop, (v[0], v[1], v[2], v[3]))
    put2(q, to + 4 * hop, hop, (v[4], v[5]))


# ---- a whole tile of LANES channels: q[to + (i·n + j)·hop] = (M d M^T)[i, j] with d[i, j] = p[at + i·down + j·right], through e ----

@fast
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


@fast
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


@fast
def output_tile(kind, M, m, n, p, at, down, right, e, q, to, hop):
    """A^T s A: n x n -> m x m vectors."""
    if kind == 4:
        for j in range(6):
            put4(e, j * LANES, 6 * LANES, output4(get6(p, at + j * right, down)))
        for i in range(4):
            put4(q, to + i * 4 * hop, hop, output4(get6(e, i * 6 * LANES, LANES)))
    elif kind == 2:
        for j in range(4):
            put2(e, j * LANES, 4 * LANES, output2(get4(p, at + j * right, down)))
        for i in range(2):
            put2(q, to + i * 2 * hop, hop, output2(get4(e, i * 4 * LANES, LANES)))
    else:
        sandwich(M, m, n, p, at, down, right, e, q, to, hop)


@fast
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


@fast
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
