"""The three matrices of Winograd's F(m, r), made from points in exact fractions.

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
