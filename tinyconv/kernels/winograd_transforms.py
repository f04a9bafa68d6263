"""The three matrices of Winograd's F(m, r), made from points in exact fractions, and their products with tiles of vectors.

m outputs of a filter with r taps need only a = m + r - 1 multiplications (the direct way: m·r). Both filter g and data d are seen as
polynomials, evaluated at a - 1 points and at infinity, multiplied there, and interpolated back (Toom and Cook); transposed, that reads

    y = A^T [(G g) * (B^T d)]        A^T (m, a), G (a, r), B^T (a, a), * number by number        a column of y needs a products
    Y = A^T [(G g G^T) * (B^T d B)] A           in two dimensions: m·m outputs for a·a products, m² r² / a² times fewer

    A^T[i, t] = p_t^i      G[t, j] = p_t^j / Π_{s≠t} (p_t - p_s)      B^T[t, k] = coefficient of x^k in Π_{s≠t} (x - p_s)

and for t = infinity: only the highest power counts. The identity Σ_t A^T[i,t] G[t,j] B^T[t,k] = [k == i + j] is all there is to prove.
Points: small, and with their inverses, since large powers magnify rounding; 1/2 and -2 are better than 2 and -2.
Sources: Winograd, "Arithmetic complexity of computations" (1980); Lavin & Gray, "Fast algorithms for convolutional neural networks",
arXiv 1509.09308; Barabasz et al., "Error analysis and improving the accuracy of Winograd convolution", arXiv 1803.10986.
"""
from fractions import Fraction
from functools import lru_cache

import numpy as np

from ._jit import fast
from .simd import LANES, fma, load, splat, store

HALF = Fraction(1, 2)
POINTS = (0, 1, -1, HALF, -2, 2, -HALF, Fraction(1, 4), -4, 4, -Fraction(1, 4))


def matrices(m, r, points=None):
    """A^T (m, a), G (a, r), B^T (a, a) of F(m, r), a = m + r - 1, as lists of rows of exact fractions.

    `points`: a - 1 different numbers; without them the first of POINTS. Errors: ValueError unless m and r are integers of at least 1 and
    the points are a - 1 different ones. Source: Lavin, "wincnn"; Blahut, "Fast algorithms for signal processing" (2010), section 5.2.

    >>> AT, G, BT = matrices(2, 3)
    >>> [[str(v) for v in row] for row in G]
    [['1', '0', '0'], ['1/2', '1/2', '1/2'], ['1/2', '-1/2', '1/2'], ['0', '0', '1']]
    """
    for name, value in (("m", m), ("r", r)):
        if not hasattr(value, "__index__") or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} must be an integer of at least 1, not {value!r}")
    a = m + r - 1
    if points is None and a - 1 > len(POINTS):
        raise ValueError(f"F({m}, {r}) needs {a - 1} points, there are {len(POINTS)} without naming some: give points")
    p = [Fraction(point) for point in (POINTS[:a - 1] if points is None else points)]
    if len(p) != a - 1 or len(set(p)) != len(p):
        raise ValueError(f"points must be {a - 1} different numbers for F({m}, {r}), not {points!r}")
    AT = [[point**i for point in p] + [Fraction(i == m - 1)] for i in range(m)]
    G, BT = [], []
    for t, point in enumerate(p):
        others = p[:t] + p[t + 1:]
        scale = _product(point - other for other in others)
        sign = -1 if t == 0 and scale < 0 else 1                                # the first row as it is printed in the paper
        G.append([sign * point**j / scale for j in range(r)])
        BT.append([sign * v for v in _polynomial(others)] + [Fraction(0)])
    G.append([Fraction(j == r - 1) for j in range(r)])
    BT.append(_polynomial(p))
    return AT, G, BT


def _product(factors):
    out = Fraction(1)
    for factor in factors:
        out *= factor
    return out


def _polynomial(roots):
    """Coefficients of Π (x - root), lowest power first."""
    out = [Fraction(1)]
    for root in roots:
        out = [low - root * high for low, high in zip([Fraction(0)] + out, out + [Fraction(0)])]
    return out


@lru_cache(maxsize=None)
def arrays(m, r, dtype, points=None):
    """The three matrices as C-contiguous arrays of a floating dtype, made once (points: a tuple or None)."""
    return tuple(np.array([[float(v) for v in row] for row in matrix], dtype) for matrix in matrices(m, r, points))


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
