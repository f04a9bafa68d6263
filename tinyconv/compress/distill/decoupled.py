"""Decoupled distillation: what the teacher says of the true class, and what it says of the others, weighted apart.

With y the true class, b = (p^(y), 1 - p^(y)) the two-way distribution, and p̂ the softmax over the other classes alone:

    KL(p_t ‖ p_s) = KL(b_t ‖ b_s) + (1 - p_t^(y)) KL(p̂_t ‖ p̂_s) = TCKD + (1 - p_t^(y)) NCKD          p_t^(y): the teacher's

The surer the teacher, the less of NCKD, what it knows of the wrong classes, comes through. The loss sets both weights free:

    L = T² mean_n (α TCKD + β NCKD)                       all distributions at temperature T, mean over the batch
    ∂L/∂z_s = (T/N) [α (p_s^(y) - p_t^(y)) (1_y - p̂_s) + β (p̂_s - p̂_t)]                p̂ = 0 at the true class

Source: Zhao, Cui, Song, Qiu & Liang, "Decoupled knowledge distillation" (2022), equations 6 and 7.
"""
import numpy as np

from .logits import at_least_zero, checked_labels, checked_logits, checked_temperature, kl_divergence, log_softmax


def _apart(z, right, t):
    """(log p^(y), log(1 - p^(y)), log p̂): (N,), (N,), (N,C) with -inf at the true class; softmax of z/T, nothing overflows."""
    log_p = log_softmax(z, t)                                                     # (N,C)
    others = log_p.copy()
    others[right] = -np.inf
    top = others.max(axis=1)
    log_rest = top + np.log(np.exp(others - top[:, None]).sum(axis=1))            # log Σ_{c≠y} p_c
    return log_p[right], log_rest, others - log_rest[:, None]


def _terms(z_s, z_t, labels, t):
    """((TCKD, NCKD), p_t^(y), p_s^(y), p̂_s, p̂_t, positions of the true classes): p̂ are (N,C), the numbers before them (N,)."""
    n, c = z_s.shape
    if c < 2:
        raise ValueError(f"z_s must hold at least two classes: there are no others, shape {z_s.shape}")
    right = (np.arange(n), checked_labels(labels, n, c))
    (s, s_rest, s_hat), (t_right, t_rest, t_hat) = _apart(z_s, right, t), _apart(z_t, right, t)
    target = kl_divergence(np.stack([t_right, t_rest], axis=1), np.stack([s, s_rest], axis=1))
    other = kl_divergence(t_hat, np.where(np.isneginf(t_hat), 0.0, s_hat))
    return (target, other), np.exp(t_right), np.exp(s), np.exp(s_hat), np.exp(t_hat), right


def decoupled_terms(z_s, z_t, labels, temperature=1.0):
    """(TCKD, NCKD, p_t^(y)), each (N,), float64: KL(p_t ‖ p_s) = TCKD + (1 - p_t^(y)) NCKD row by row.

    z_s, z_t (N,C) logits, labels (N,). Errors: those of `kd_loss`, and ValueError for a single class.

    >>> z_s, z_t = np.array([[1.0, 0.0, 2.0]]), np.array([[2.0, 1.0, 0.0]])
    >>> target, other, p = tc.compress.distill.decoupled_terms(z_s, z_t, np.array([0]))
    >>> log_s, log_t = tc.compress.distill.log_softmax(z_s), tc.compress.distill.log_softmax(z_t)
    >>> bool(abs(target + (1 - p) * other - tc.compress.distill.kl_divergence(log_t, log_s)).max() < 1e-15)
    True
    """
    t = checked_temperature(temperature)
    (target, other), p_t, *_ = _terms(*checked_logits(z_s, z_t), labels, t)
    return target, other, p_t


def dkd_loss(z_s, z_t, labels, temperature=4.0, alpha=1.0, beta=8.0):
    """(L, ∂L/∂z_s): T² mean_n (α TCKD + β NCKD) and its gradient (formulas: top of the page), (N,C) in z_s's dtype.

    The hard term H(y, p_s¹) is not in it. Invariants: L >= 0, rows of the gradient sum to 0; α = 1 with β = 1 - p_t^(y) would
    be T² KL. Errors: those of `kd_loss`; ValueError for weights below 0.
    """
    t, alpha, beta = checked_temperature(temperature), at_least_zero(alpha, "alpha"), at_least_zero(beta, "beta")
    dtype = np.asarray(z_s).dtype
    z_s, z_t = checked_logits(z_s, z_t)
    (target, other), p_t, p_s, s_hat, t_hat, right = _terms(z_s, z_t, labels, t)
    direction = -s_hat
    direction[right] = 1                                                          # 1_y - p̂_s
    grad = alpha * (p_s - p_t)[:, None] * direction + beta * (s_hat - t_hat)
    return float(t * t * (alpha * target + beta * other).mean()), (t / len(z_s) * grad).astype(dtype)
