"""CP: a convolution as a sum of R terms, each a product of four vectors; as layers 1×1, then KH×1 and 1×KW depthwise, then 1×1.

    W[f,c,y,x] ≈ Σ_r a[f,r] b[c,r] p[y,r] q[x,r]                         a (F,R), b (C,R), p (KH,R), q (KW,R)

    w1 = bᵀ (R,C,1,1)    w2 = pᵀ (R,1,KH,1), w3 = qᵀ (R,1,1,KW), each of R groups    w4 = a (F,R,1,1)

Alternating least squares (ALS): with three factors held, the fourth is a linear least-squares problem, A Kᵀ ≈ W_(mode), K being
the products of the other columns; the four are solved in turn, and the error never rises.

No bound exists, as there is for the others: the rank of a given weight cannot be computed in general, ALS stops in local minima
(hence several starts), and there may be no best approximation at all: terms can grow without limit while they cancel, and the
error falls towards a value that no sum of R terms has (de Silva & Lim 2008). Such a result is called degenerate here: two terms
point in nearly opposite directions (cosine below -0.9) and are larger than the weight itself. It computes what it should in
float64, and is useless in float32 or for training; another rank helps.
Sources: Carroll & Chang 1970, Harshman 1970 (ALS); Lebedev et al. 2015 (as layers); Krijnen, Dijkstra & Stegeman 2008 (degeneracy).
"""
from typing import NamedTuple

import numpy as np

from .._checks import finite, whole
from .svd import convolution, signs


class Polyadic(NamedTuple):
    """What `cp` found: the four weights (w4, w3, w2, w1), and how it went.

    errors        ‖w - restored‖² after each least-squares step of the best start, never rising; float64, before any rounding
    congruence    the least cosine between two of the terms (1.0 where there is only one)
    growth        the Frobenius norm of the largest term, relative to ‖w‖
    """

    weights: tuple
    errors: tuple
    congruence: float
    growth: float

    @property
    def degenerate(self):
        """Whether two terms larger than the weight cancel each other."""
        return self.congruence < -0.9 and self.growth > 1


def cp_max_rank(shape):
    """A rank that is always enough: the product of all axes but the longest (one term for each column of that unfolding).

    >>> tc.compress.lowrank.cp_max_rank((64, 32, 3, 3))
    288
    """
    return int(np.prod(shape)) // max(shape)


def _products(factors):
    """(m_1,R), (m_2,R), … -> (m_1 m_2 …, R): column r holds all products of the columns r (Khatri and Rao), the first slowest."""
    out = factors[0]
    for factor in factors[1:]:
        out = (out[:, None, :] * factor[None, :, :]).reshape(-1, factor.shape[1])
    return out


def _solve(unfolded, factors, mode):
    """(A, ‖W - restored‖²): the factor of `mode` that is best for the others, by the normal equations A (KᵀK) = W_(mode) K.

    KᵀK (R,R) is the product, number by number, of the Gram matrices of the other factors; the error is measured, not derived.
    """
    others = [factor for i, factor in enumerate(factors) if i != mode]
    k, gram = _products(others), np.prod([factor.T @ factor for factor in others], axis=0)      # (rest,R), (R,R)
    best = np.linalg.lstsq(gram, (unfolded @ k).T, rcond=None)[0].T                             # (m,R)
    return best, float(((unfolded - best @ k.T) ** 2).sum())


def _start(unfoldings, rank, rng):
    """Factors to begin with: leading singular vectors of each unfolding without rng, else random; columns of length 1."""
    factors, filler = [], np.random.default_rng(0)
    for unfolded in unfoldings:
        factor = (rng or filler).standard_normal((len(unfolded), rank))
        if rng is None:
            u = np.linalg.svd(unfolded, full_matrices=False)[0][:, :rank]
            factor[:, :u.shape[1]] = u
        factors.append(factor / np.linalg.norm(factor, axis=0))
    return factors


def _descend(unfoldings, factors, sweeps, tolerance):
    """ALS from one start: (factors, errors). The factor solved last carries the sizes of the terms, the others have columns of
    length 1. A step that rounding makes worse (at the end, or where the equations are nearly singular) is not taken.
    """
    energy, errors = float((unfoldings[0] ** 2).sum()), []
    for _ in range(sweeps):
        before = errors[-1] if errors else energy
        for mode in range(4):
            unit = [factor / _lengths(factor) for factor in factors]
            better, error = _solve(unfoldings[mode], unit, mode)
            if not errors or error <= errors[-1]:
                factors = [*unit[:mode], better, *unit[mode + 1:]]
            errors.append(min([error, *errors[-1:]]))
        if before - errors[-1] <= tolerance * energy:
            break
    return factors, errors


def _lengths(factor):
    """(R,) lengths of the columns, 1 for columns of zeros."""
    lengths = np.linalg.norm(factor, axis=0)
    return np.where(lengths > 0, lengths, 1.0)


def cp(w, rank, starts=3, sweeps=200, tolerance=1e-6, seed=0, groups=1):
    """A sum of `rank` terms near w (F,C,KH,KW) by alternating least squares: a `Polyadic` whose weights are (w4, w3, w2, w1).

    The best of `starts` starts: one from the singular vectors of the unfoldings, the others random by `seed`. Each ends after
    `sweeps`, or when a sweep lowers the squared error by no more than tolerance ‖w‖². Terms stand in the order of their size,
    which all four factors share equally; weights are in w's dtype, worked out in float64. No bias and no activation between;
    the old bias goes to the last. Cost of a sweep: about 8 F C KH KW R multiply-adds.
    Invariant: the error never rises. Errors: ValueError for NaN, groups, a rank outside 1…cp_max_rank.

    >>> found = tc.compress.lowrank.cp(np.ones((4, 3, 3, 3)), 1)
    >>> [part.shape for part in found.weights], found.errors[-1] < 1e-20, found.degenerate
    ([(4, 1, 1, 1), (1, 1, 1, 3), (1, 1, 3, 1), (1, 3, 1, 1)], True, False)
    """
    checked = convolution(w, "cp", groups)
    rank = whole(rank, "rank", 1, cp_max_rank(checked.shape))
    starts, sweeps, w64 = whole(starts, "starts", 1), whole(sweeps, "sweeps", 1), checked.astype(np.float64)
    unfoldings = [np.moveaxis(w64, mode, 0).reshape(w64.shape[mode], -1) for mode in range(4)]
    rngs = [None, *np.random.default_rng(seed).spawn(starts - 1)]
    found = [_descend(unfoldings, _start(unfoldings, rank, rng), sweeps, tolerance) for rng in rngs]
    factors, errors = min(found, key=lambda pair: pair[1][-1])
    lengths = [_lengths(factor) for factor in factors]
    unit = [factor / length for factor, length in zip(factors, lengths)]
    sizes = np.prod(lengths, axis=0)
    cosines = np.prod([u.T @ u for u in unit], axis=0)[~np.eye(rank, dtype=bool)]
    growth = float(sizes.max() / (np.linalg.norm(w64) or 1.0))
    return Polyadic(_weights(unit, sizes, checked.dtype), tuple(errors), float(cosines.min(initial=1.0)), growth)


def _weights(unit, sizes, dtype):
    """(w4, w3, w2, w1): terms by falling size, the size shared by the four; the largest entries of b, p and q positive."""
    order = np.argsort(-sizes, kind="stable")
    a, b, p, q = (factor[:, order] for factor in unit)
    turned = [signs(factor) for factor in (b, p, q)]
    root = sizes[order] ** 0.25
    b, p, q = (factor * (sign * root) for factor, sign in zip((b, p, q), turned))
    a = a * (np.prod(turned, axis=0) * root)
    parts = a[:, :, None, None], q.T[:, None, None, :], p.T[:, None, :, None], b.T[:, :, None, None]
    return tuple(np.ascontiguousarray(part, dtype) for part in parts)


def restore_cp(w4, w3, w2, w1):
    """The single weight (F,C,KH,KW) that the four compute: Σ_r w4[f,r] w1[r,c] w2[r,y] w3[r,x], in float64."""
    named = zip((w4, w3, w2, w1), ("w4", "w3", "w2", "w1"))
    w4, w3, w2, w1 = (finite(part, name).astype(np.float64) for part, name in named)
    return np.einsum("fr,rx,ry,rc->fcyx", w4[:, :, 0, 0], w3[:, 0, 0], w2[:, 0, :, 0], w1[:, :, 0, 0], optimize=True)
