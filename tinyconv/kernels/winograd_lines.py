"""One column or row of a Winograd tile: F(2,3) and F(4,3) written out, and how such a line is read and written. A number is a vector of LANES channels.

    data    B^T d        filter  G g        output  A^T s        spread  A y          the matrices: `winograd_matrices`

Hand-factored: what the matrices say with fewer additions, common terms taken once (B^T of F(4,3): 12 operations a column). `winograd_transforms`
makes whole tiles of it. Bound by: the additions.
"""
from ._jit import unrolled
from .simd import load, store


# ---- one column or row of a tile, hand-factored: what the matrices say with fewer additions ------------------------------------

@unrolled
def data2(d):
    """B^T d of F(2,3)."""
    return d[0] - d[2], d[1] + d[2], d[2] - d[1], d[3] - d[1]


@unrolled
def filter2(g):
    """G g of F(2,3)."""
    a, b = 0.5 * (g[0] + g[2]), 0.5 * g[1]
    return g[0], a + b, a - b, g[2]


@unrolled
def output2(s):
    """A^T s of F(2,3)."""
    return s[0] + s[1] + s[2], s[1] - s[2] + s[3]


@unrolled
def spread2(y):
    """A y of F(2,3)."""
    return y[0], y[0] + y[1], y[0] - y[1], y[1]


@unrolled
def data4(d):
    """B^T d of F(4,3), points 0, 1, -1, 1/2, -2."""
    a, b = d[3] - d[1], d[4] - d[2]
    return (d[0] - d[2] + b + 1.5 * a, d[4] - d[1] + 0.5 * d[2] + 2.5 * d[3], d[4] + d[1] - 2.5 * d[2] + 0.5 * d[3],
            b + 2.0 * a, b - 0.5 * a, d[5] - d[3] - a + 1.5 * b)


@unrolled
def filter4(g):
    """G g of F(4,3)."""
    a, b = (1 / 3) * (g[0] + g[2]), (1 / 3) * g[1]
    c, d = (1 / 15) * g[0] + (4 / 15) * g[2], (2 / 15) * g[1]
    return g[0], a + b, b - a, (-16 / 15) * g[0] - (8 / 15) * g[1] - (4 / 15) * g[2], c - d, g[2]


@unrolled
def output4(s):
    """A^T s of F(4,3)."""
    a, b = s[1] + s[2], s[1] - s[2]
    return s[0] + a + s[3] + s[4], b + 0.5 * s[3] - 2.0 * s[4], a + 0.25 * s[3] + 4.0 * s[4], b + 0.125 * s[3] - 8.0 * s[4] + s[5]


@unrolled
def spread4(y):
    """A y of F(4,3)."""
    a, b = y[0] + y[2], y[1] + y[3]
    return y[0], a + b, a - b, y[0] + 0.5 * y[1] + 0.25 * y[2] + 0.125 * y[3], y[0] - 2.0 * y[1] + 4.0 * y[2] - 8.0 * y[3], y[3]


# ---- reading and writing such a line ------------------------------------------------------------------------------------------

@unrolled
def get2(p, at, step):
    """Two vectors, `step` numbers apart."""
    return load(p, at), load(p, at + step)


@unrolled
def get3(p, at, step):
    """Three vectors, `step` numbers apart."""
    return load(p, at), load(p, at + step), load(p, at + 2 * step)


@unrolled
def get4(p, at, step):
    """Four vectors, `step` numbers apart."""
    return load(p, at), load(p, at + step), load(p, at + 2 * step), load(p, at + 3 * step)


@unrolled
def get6(p, at, step):
    """Six vectors, `step` numbers apart."""
    return load(p, at), load(p, at + step), load(p, at + 2 * step), load(p, at + 3 * step), load(p, at + 4 * step), load(p, at + 5 * step)


@unrolled
def put2(q, to, hop, v):
    """Two vectors, `hop` numbers apart."""
    store(q, to, v[0])
    store(q, to + hop, v[1])


@unrolled
def put4(q, to, hop, v):
    """Four vectors, `hop` numbers apart."""
    put2(q, to, hop, (v[0], v[1]))
    put2(q, to + 2 * hop, hop, (v[2], v[3]))


@unrolled
def put6(q, to, hop, v):
    """Six vectors, `hop` numbers apart."""
    put4(q, to, hop, (v[0], v[1], v[2], v[3]))
    put2(q, to + 4 * hop, hop, (v[4], v[5]))
