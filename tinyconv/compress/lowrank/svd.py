"""One matrix or convolution written as two thin ones, W ≈ W2 W1, by the singular value decomposition.

    W = U diag(σ) Vᵀ,   W2 = U_k diag(sqrt σ_k),   W1 = diag(sqrt σ_k) V_kᵀ,   ‖W - W2 W1‖_F = sqrt(Σ_{i>k} σ_i²)

No other pair of rank k comes nearer (Eckart and Young 1936). A convolution becomes a matrix in three ways, each with its own
meaning as two layers:

    kind          matrix                      w1, applied first                 w2, applied second
    linear        (F, C)                      (k, C)                            (F, k)
    channel_out   (F, C KH KW)                (k, C, KH, KW) the old K×K        (F, k, 1, 1)   mixes k maps into F
    channel_in    (F KH KW, C)                (k, C, 1, 1)   mixes C into k     (F, k, KH, KW) the old K×K
    spatial       (C KH, F KW)                (k, C, KH, 1)  a column           (F, k, 1, KW)  a row

Pairs are returned as (w2, w1), in the order of the product W ≈ W2 W1. Strides, padding and MACs of the two layers:
`formulas.low_rank_conv_geometries`. The square root of σ goes to both factors, so that both have weights of the same size
(which quantization and fine-tuning like); the sign of each pair is fixed, so that a machine cannot choose it.
Sources: Denton et al. 2014 and Zhang et al. 2016 (channel), Jaderberg et al. 2014 (spatial).
"""
import numpy as np

from .._checks import finite, whole

KINDS = ("channel_out", "channel_in", "spatial")


def _matrix(w, kind):
    """The convolution weight (F,C,KH,KW) as the matrix of `kind`, float64."""
    f, c, kh, kw = w.shape
    w = w.astype(np.float64)
    if kind == "channel_out":
        return w.reshape(f, c * kh * kw)
    if kind == "channel_in":
        return w.transpose(0, 2, 3, 1).reshape(f * kh * kw, c)
    return w.transpose(1, 2, 0, 3).reshape(c * kh, f * kw)


def _weight(w, kind, groups=1):
    """`w` checked for `kind`: its matrix, float64."""
    w = finite(w, "w")
    if kind == "linear":
        if w.ndim != 2:
            raise ValueError(f'w must be (F,C) for kind "linear", not shape {w.shape}')
        return w.astype(np.float64)
    if kind not in KINDS:
        raise ValueError(f"kind must be one of linear, {', '.join(KINDS)}, not {kind!r}")
    return _matrix(convolution(w, kind, groups), kind)


def convolution(w, kind, groups=1):
    """`w` as an array of floats, refused where it is no convolution weight (F,C,KH,KW) of one group."""
    w = finite(w, "w")
    if w.ndim != 4:
        raise ValueError(f"w must be (F,C,KH,KW) for kind {kind!r}, not shape {w.shape}")
    if groups != 1:
        raise ValueError(f"groups must be 1, not {groups!r}: each group is a matrix of its own, factorize the groups apart")
    return w


def signs(columns):
    """(m,k) -> (k,): the sign of each column's largest entry (the first, if two are equal), +1 for a column of zeros."""
    peak = columns[np.abs(columns).argmax(axis=0), np.arange(columns.shape[1])]
    return np.where(peak < 0, -1.0, 1.0)


def _factors(matrix, rank):
    """(m,n) -> (m,k), (k,n): sqrt(σ) on both sides, each left vector's largest entry positive (the first, if two are equal)."""
    rank = whole(rank, "rank", 1, min(matrix.shape))
    u, sigma, vt = np.linalg.svd(matrix, full_matrices=False)                     # (m,r) (r,) (r,n)
    u, sigma, vt = u[:, :rank], sigma[:rank], vt[:rank]
    root, sign = np.sqrt(sigma), signs(u)
    return u * (sign * root), (sign * root)[:, None] * vt


def max_rank(shape, kind):
    """The rank at which nothing is lost: the shorter side of the matrix of `kind`. `shape` is the weight's.

    >>> [tc.compress.lowrank.max_rank((64, 32, 3, 3), kind) for kind in ("channel_out", "channel_in", "spatial")]
    [64, 32, 96]
    """
    return min(_weight(np.zeros(shape, np.float32), kind).shape)


def singular_values(w, kind="linear"):
    """σ_1 >= σ_2 >= … >= 0 of the matrix of `kind`, float64; their squares sum to ‖w‖².

    >>> tc.compress.lowrank.singular_values(np.diag([3.0, 4.0])).tolist()
    [4.0, 3.0]
    """
    return np.linalg.svd(_weight(w, kind), compute_uv=False)


def truncation_error(sigma, rank):
    """‖W - W2 W1‖_F of the best pair of that rank: sqrt(Σ_{i>k} σ_i²) (Eckart and Young). `sigma` from `singular_values`.

    >>> tc.compress.lowrank.truncation_error([5.0, 4.0, 3.0], 1)
    5.0
    """
    sigma = finite(sigma, "sigma")
    return float(np.sqrt(np.square(sigma[whole(rank, "rank", 0, len(sigma)):], dtype=np.float64).sum()))


def svd_linear(w, rank):
    """(w2, w1) with w ≈ w2 @ w1: (F,C) -> (F,k), (k,C), both in w's dtype, worked out in float64.

    A layer y = x wᵀ + b becomes y = (x w1ᵀ) w2ᵀ + b: no bias between, no activation. Smaller when k < FC/(F + C)
    (`formulas.low_rank_break_even`). Invariant: ‖w - w2 w1‖_F = sqrt(Σ_{i>k} σ_i²), 0 at full rank, up to rounding.
    Errors: ValueError for NaN, a weight that is not (F,C), a rank outside 1…min(F,C).

    >>> w2, w1 = tc.compress.lowrank.svd_linear(np.outer([1.0, 2.0], [2.0, 1.0, 2.0]), 1)
    >>> w2.shape, w1.shape, np.allclose(w2 @ w1, [[2, 1, 2], [4, 2, 4]])
    ((2, 1), (1, 3), True)
    """
    left, right = _factors(_weight(w, "linear"), rank)
    dtype = finite(w, "w").dtype
    return left.astype(dtype), right.astype(dtype)


def svd_conv(w, rank, kind, groups=1):
    """(w2, w1), two convolution weights that together do nearly what w does: w1 first, then w2 (shapes: top of the page).

    No bias and no activation between them; the old bias goes to the second. Both in w's dtype, worked out in float64.
    Invariant: `restore(w2, w1, kind)` differs from w by sqrt(Σ_{i>k} σ_i²) in the Frobenius norm, and the two layers compute
    what that restored weight computes. Errors: ValueError for NaN, an unknown kind, groups, a rank outside 1…max_rank.

    >>> w2, w1 = tc.compress.lowrank.svd_conv(np.ones((6, 8, 3, 5)), 2, "spatial")
    >>> w1.shape, w2.shape
    ((2, 8, 3, 1), (6, 2, 1, 5))
    """
    if kind == "linear":
        raise ValueError(f'kind must be one of {", ".join(KINDS)}, not "linear": that is svd_linear')
    left, right = _factors(_weight(w, kind, groups), rank)
    w = finite(w, "w")
    f, c, kh, kw = w.shape
    if kind == "channel_out":
        w2, w1 = left.reshape(f, rank, 1, 1), right.reshape(rank, c, kh, kw)
    elif kind == "channel_in":
        w2, w1 = left.reshape(f, kh, kw, rank).transpose(0, 3, 1, 2), right.reshape(rank, c, 1, 1)
    else:
        w2, w1 = right.reshape(rank, f, kw).transpose(1, 0, 2)[:, :, None, :], left.T.reshape(rank, c, kh, 1)
    return np.ascontiguousarray(w2, w.dtype), np.ascontiguousarray(w1, w.dtype)


def restore(w2, w1, kind):
    """The single weight that the pair computes, (F,C,KH,KW) or (F,C): one sum over the k maps in between, in float64.

    linear, channel_out: Σ_k w2[f,k] w1[k,c,…]; channel_in: Σ_k w2[f,k,y,x] w1[k,c]; spatial: Σ_k w1[k,c,y] w2[f,k,x].
    """
    w2, w1 = finite(w2, "w2").astype(np.float64), finite(w1, "w1").astype(np.float64)
    if kind == "linear":
        return w2 @ w1
    if kind not in KINDS:
        raise ValueError(f"kind must be one of linear, {', '.join(KINDS)}, not {kind!r}")
    return np.einsum("fkyx,kcvu->fcyx" if kind == "channel_in" else "fkvx,kcyu->fcyx" if kind == "spatial" else "fkvu,kcyx->fcyx",
                     w2, w1)
