"""Tucker-2: a convolution as 1×1, a small K×K, 1×1. Only the two channel axes are compressed; the window stays as it is.

    W[f,c,y,x] ≈ Σ_{kj} U[f,k] G[k,j,y,x] V[c,j]         U (F,k) and V (C,j) with orthonormal columns, G (k,j,KH,KW) the core

    w1 = Vᵀ (j,C,1,1)      w2 = G (k,j,KH,KW), which has the stride, padding and dilation      w3 = U (F,k,1,1)

For given U and V the best core is the projection G = W ×_F Uᵀ ×_C Vᵀ, and then ‖W - restored‖² = ‖W‖² - ‖G‖².
HOSVD takes for U the leading left singular vectors of W as a matrix (F, C KH KW), for V those of (C, F KH KW). It is not the best
pair, but never far from it: with σ and τ the singular values of the two matrices,

    max(Σ_{i>k} σ_i², Σ_{i>j} τ_i²)  <=  error²  <=  Σ_{i>k} σ_i² + Σ_{i>j} τ_i²                (at most twice the least possible)

HOOI goes on from there: with V held, the best U are the leading vectors of W ×_C Vᵀ, and the other way round; the error never
rises. No further bound is known; both are deterministic. Weights are returned as (w3, w2, w1), in the order of the product.
Sources: De Lathauwer, De Moor & Vandewalle 2000 (HOSVD: property 10; HOOI: algorithm 4.2 of the second paper); Kim et al. 2016.
"""
import numpy as np

from .._checks import finite, whole
from .svd import convolution, signs


def _checked(w, ranks, groups=1):
    """(w in float64, k, j). Each rank is at most its own matrix' rank, also after the other axis was compressed."""
    w = convolution(w, "tucker2", groups)
    if np.ndim(ranks) != 1 or len(ranks) != 2:
        raise ValueError(f"ranks must be a pair (k, j): maps towards the output, maps towards the input, not {ranks!r}")
    (f, c, kh, kw), window = w.shape, w.shape[2] * w.shape[3]
    k, j = (whole(rank, name, 1, most) for rank, name, most in
            zip(ranks, ("ranks[0]", "ranks[1]"), (min(f, c * window), min(c, f * window))))
    if k > j * window or j > k * window:
        raise ValueError(f"ranks must not exceed each other times the {kh}x{kw} window: a core of {k} x {j} has dead channels")
    return w.astype(np.float64), k, j


def _leading(matrix, rank):
    """The first `rank` left singular vectors (m,rank), each with its largest entry positive."""
    u = np.linalg.svd(matrix, full_matrices=False)[0][:, :rank]
    return u * signs(u)


def mode_singular_values(w):
    """(σ, τ): singular values of w (F,C,KH,KW) as the matrix (F, C KH KW), and as (C, F KH KW); float64, falling.

    >>> sigma, tau = tc.compress.lowrank.mode_singular_values(np.ones((4, 3, 1, 1)))
    >>> sigma.round(6).tolist(), tau.shape
    ([3.464102, 0.0, 0.0], (3,))
    """
    w = convolution(w, "tucker2")
    return tuple(np.linalg.svd(np.moveaxis(w, axis, 0).reshape(w.shape[axis], -1), compute_uv=False) for axis in (0, 1))


def tucker2_bound(sigma, tau, ranks):
    """The most that HOSVD can lose, as ‖W - restored‖_F: sqrt(Σ_{i>k} σ_i² + Σ_{i>j} τ_i²). See the top of the page.

    >>> tc.compress.lowrank.tucker2_bound([5.0, 3.0], [4.0, 4.0], (1, 1))
    5.0
    """
    sigma, tau = finite(sigma, "sigma"), finite(tau, "tau")
    k, j = whole(ranks[0], "ranks[0]", 0, len(sigma)), whole(ranks[1], "ranks[1]", 0, len(tau))
    return float(np.sqrt(np.square(sigma[k:]).sum() + np.square(tau[j:]).sum()))


def _core(w, u, v):
    """W ×_F Uᵀ ×_C Vᵀ: (F,C,KH,KW), (F,k), (C,j) -> (k,j,KH,KW)."""
    return np.einsum("fcyx,fk,cj->kjyx", w, u, v, optimize=True)


def _weights(w, u, v, dtype):
    """(w3, w2, w1) as convolution weights."""
    parts = u[:, :, None, None], _core(w, u, v), v.T[:, :, None, None]
    return tuple(np.ascontiguousarray(part, dtype) for part in parts)


def hosvd(w, ranks, groups=1):
    """(w3, w2, w1) of the higher-order singular value decomposition, cut to `ranks` = (k, j); shapes: top of the page.

    All three in w's dtype, worked out in float64. No bias and no activation between them; the old bias goes to the last.
    Invariants: the error obeys `tucker2_bound`, and is 0 at full ranks, up to rounding; columns of w3 and rows of w1 are
    orthonormal. Errors: ValueError for NaN, groups, ranks that are no pair or too large.

    >>> [part.shape for part in tc.compress.lowrank.hosvd(np.ones((6, 8, 3, 3)), (2, 3))]
    [(6, 2, 1, 1), (2, 3, 3, 3), (3, 8, 1, 1)]
    """
    w64, k, j = _checked(w, ranks, groups)
    u, v = (_leading(np.moveaxis(w64, axis, 0).reshape(w64.shape[axis], -1), rank) for axis, rank in ((0, k), (1, j)))
    return _weights(w64, u, v, finite(w, "w").dtype)


def hooi(w, ranks, sweeps=30, tolerance=1e-10, groups=1, history=None):
    """(w3, w2, w1) of the higher-order orthogonal iteration: `hosvd`, then U and V improved in turn.

    At most `sweeps` times, and not again once a sweep lowers error² by less than tolerance ‖w‖². `history`, a list, receives
    ‖w - restored‖² after HOSVD and after each sweep. Invariant: that never rises (so it is never above HOSVD's, nor its bound).
    Errors: those of `hosvd`.
    """
    w64, k, j = _checked(w, ranks, groups)
    f, c = w64.shape[:2]
    u, v = (_leading(np.moveaxis(w64, axis, 0).reshape(w64.shape[axis], -1), rank) for axis, rank in ((0, k), (1, j)))
    whole_energy = float((w64 ** 2).sum())
    errors = [whole_energy - float((_core(w64, u, v) ** 2).sum())]
    for _ in range(whole(sweeps, "sweeps", 0)):
        u = _leading(np.einsum("fcyx,cj->fjyx", w64, v).reshape(f, -1), k)
        v = _leading(np.einsum("fcyx,fk->ckyx", w64, u).reshape(c, -1), j)
        errors.append(whole_energy - float((_core(w64, u, v) ** 2).sum()))
        if errors[-2] - errors[-1] <= tolerance * whole_energy:
            break
    if history is not None:
        history.extend(errors)
    return _weights(w64, u, v, finite(w, "w").dtype)


def restore_tucker2(w3, w2, w1):
    """The single weight (F,C,KH,KW) that the three compute: Σ_{kj} w3[f,k] w2[k,j,y,x] w1[j,c], in float64."""
    w3, w2, w1 = (finite(part, name).astype(np.float64) for part, name in ((w3, "w3"), (w2, "w2"), (w1, "w1")))
    return np.einsum("fk,kjyx,jc->fcyx", w3[:, :, 0, 0], w2, w1[:, :, 0, 0], optimize=True)
