"""Distillation by relations: not what a picture's features are, but how alike and how far apart those of a batch are.

With f_i (D) the features of picture i of a batch of N, flattened; student and teacher may have different D:

    similarity    G = F Fᵀ, Ĝ its rows divided by their lengths        L = ‖Ĝ_s - Ĝ_t‖²_F / N²
    distance      ψ_ij = ‖f_i - f_j‖/μ, μ the mean over i ≠ j          L = mean over pairs i ≠ j of h(ψ_s - ψ_t)
    angle         c_jik = e_ji·e_jk, e_ji = (f_i - f_j)/‖f_i - f_j‖    L = mean over i, j, k all different of h(c_s - c_t)

h(x) = x²/2 for |x| < 1, |x| - 1/2 beyond (Huber). Every function returns (L, ∂L/∂f_s): a Python float worked out in float64, and
the gradient in f_s's shape and dtype; the teacher has none. Pairs of equal pictures have no direction and no gradient.
Widely used code also counts i = j and triplets with two equal members, whose terms are always 0: its means are smaller by
(N-1)/N and (N-1)(N-2)/N². Cost: N² D numbers of memory for distance and angle, 2 N³ D multiply-adds for the angle.
Sources: Tung & Mori, "Similarity-preserving knowledge distillation" (2019), equations 2 to 4; Park, Kim, Lu & Cho, "Relational
knowledge distillation" (2019), equations 4 to 8, weights 25 and 50 from its experiments.
"""
import numpy as np

from .features import checked_features
from .logits import at_least_zero


def _rows(f_s, f_t, least):
    """Both as matrices (N,D), float64. Errors: ValueError for fewer than `least` pictures."""
    f_s, f_t = checked_features(f_s, f_t)
    if len(f_s) < least:
        raise ValueError(f"f_s must hold at least {least} pictures to relate, not {len(f_s)}")
    return f_s.reshape(len(f_s), -1), f_t.reshape(len(f_t), -1)


def _like(grad, f_s):
    """The gradient (N,D) in the shape and type of the student's features."""
    f_s = np.asarray(f_s)
    return grad.reshape(f_s.shape).astype(f_s.dtype)


def _similar(f):
    """(Ĝ, lengths of the rows of G): (N,N), (N,1)."""
    gram = f @ f.T
    length = np.linalg.norm(gram, axis=1, keepdims=True)
    return gram / np.where(length > 0, length, 1), length


def similarity_loss(f_s, f_t):
    """(L, ∂L/∂f_s) of similarity-preserving distillation: ‖Ĝ_s - Ĝ_t‖²_F / N², Ĝ the similarities of the batch (see above).

    ∂L/∂F = (B + Bᵀ) F,  B = (A - Ĝ (A·Ĝ by rows))/lengths,  A = 2 (Ĝ_s - Ĝ_t)/N².

    >>> f = np.array([[1.0, 0.0], [0.0, 2.0]])
    >>> tc.compress.distill.similarity_loss(f, 3 * f[:, ::-1])[0]
    0.0
    """
    s, t = _rows(f_s, f_t, 1)
    (g_s, length), (g_t, _) = _similar(s), _similar(t)
    gap, n = g_s - g_t, len(s)
    a = 2 / n**2 * gap
    b = (a - g_s * (a * g_s).sum(axis=1, keepdims=True)) / np.where(length > 0, length, np.inf)
    return float(np.square(gap).sum() / n**2), _like((b + b.T) @ s, f_s)


def _huber(x):
    """(h(x), h'(x)), number by number."""
    near = np.abs(x) < 1
    return np.where(near, x * x / 2, np.abs(x) - 0.5), np.clip(x, -1, 1)


def _directions(f):
    """(e, d): e[j,i] = (f_i - f_j)/d[j,i], d the distances; e = 0 where d is. (N,N,D), (N,N)."""
    apart = f[None, :, :] - f[:, None, :]
    d = np.linalg.norm(apart, axis=2)
    return apart / np.where(d > 0, d, 1)[:, :, None], d


def distance_loss(f_s, f_t):
    """(L, ∂L/∂f_s) of relational distillation by distances: the mean over i ≠ j of h(ψ_s - ψ_t), ψ = distance / mean distance.

    ∂L/∂d_ij = (g_ij - mean(g ψ))/μ with g = h'/(N(N-1)) on the pairs; ∂L/∂f_i = 2 Σ_j ∂L/∂d_ij e_ji. Invariant: scaling,
    shifting or turning all features of either network changes nothing. Errors: ValueError for fewer than two pictures.
    """
    s, t = _rows(f_s, f_t, 2)
    pairs = len(s) * (len(s) - 1)
    e, d_s = _directions(s)
    d_t = _directions(t)[1]
    mean_s, mean_t = d_s.sum() / pairs or 1.0, d_t.sum() / pairs or 1.0
    psi = d_s / mean_s
    value, slope = _huber(psi - d_t / mean_t)                                      # 0 on the diagonal
    slope = slope / pairs
    g = (slope - (slope * psi).sum() / pairs) / mean_s
    np.fill_diagonal(g, 0)
    return float(value.sum() / pairs), _like(2 * np.einsum("ji,jid->id", g, e), f_s)


def angle_loss(f_s, f_t):
    """(L, ∂L/∂f_s) of relational distillation by angles: the mean over i, j, k all different of h(c_s - c_t), c the cosine of the
    angle at j.

    With g = h'/(N(N-1)(N-2)) on the triplets, a_ji = 2 Σ_k g_jik e_jk and v_ji = (a_ji - e_ji (e_ji·a_ji))/d_ji:
    ∂L/∂f_i = Σ_j v_ji - Σ_k v_ik. Invariant as for distances. Errors: ValueError for fewer than three pictures.
    """
    s, t = _rows(f_s, f_t, 3)
    n = len(s)
    triplets = n * (n - 1) * (n - 2)
    e, d = _directions(s)
    e_t = _directions(t)[0]
    value, slope = _huber(e @ e.transpose(0, 2, 1) - e_t @ e_t.transpose(0, 2, 1))         # [j,i,k], 0 where j is i or k
    same = np.eye(n, dtype=bool)[None]
    value, slope = np.where(same, 0, value), np.where(same, 0, slope) / triplets           # and where i is k
    a = 2 * slope @ e
    v = (a - e * (a * e).sum(axis=2, keepdims=True)) / np.where(d > 0, d, np.inf)[:, :, None]
    return float(value.sum() / triplets), _like(v.sum(axis=0) - v.sum(axis=1), f_s)


def relational_loss(f_s, f_t, distance=25.0, angle=50.0):
    """(L, ∂L/∂f_s): distance · `distance_loss` + angle · `angle_loss`. Errors: theirs; ValueError for weights below 0."""
    distance, angle = at_least_zero(distance, "distance"), at_least_zero(angle, "angle")
    (far, far_grad), (bent, bent_grad) = distance_loss(f_s, f_t), angle_loss(f_s, f_t)
    return distance * far + angle * bent, (distance * far_grad + angle * bent_grad).astype(np.asarray(f_s).dtype)
