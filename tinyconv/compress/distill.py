"""Distillation: a small network (the student, z_s) learns from a large one's outputs (the teacher, z_t).

    L = (1 - λ) H(y, p_s¹) + λ T² KL(p_t^T ‖ p_s^T),        p^T = softmax(z / T)

mean over the batch, sum over the classes. The hard term H(y, p_s¹) is the usual cross-entropy at temperature 1; both
distributions of the soft term are taken at T. A higher T shows more of what the teacher thinks of the wrong classes; its gradient
falls as 1/T², which the factor T² makes good, so that λ means the same at every T. The gradient, on paper:

    ∂L/∂z_s = (1 - λ)(p_s¹ - 1_y)/N + λ T (p_s^T - p_t^T)/N

As T -> ∞ the soft term tends to logit matching: T² KL -> mean_n ‖d - mean d‖²/(2C), d = z_s - z_t, the difference falling as 1/T.
Labels are plain class numbers here; label smoothing belongs to the training loss and is not part of this.
Source: Hinton, Vinyals & Dean, "Distilling the knowledge in a neural network" (2015), section 2.
"""
import numpy as np

from ._checks import fraction


def log_softmax(z, temperature=1.0):
    """log softmax(z / T) over the last axis: u - max u - log Σ exp(u - max u), u = z / T, so that nothing overflows.

    z (…,C) -> (…,C), same dtype.

    >>> tc.compress.distill.log_softmax(np.array([1000.0, 1000.0]))
    array([-0.69314718, -0.69314718])
    """
    z = np.asarray(z)
    u = z / np.asarray(_temperature(temperature), z.dtype if z.dtype.kind == "f" else np.float64)
    u = u - u.max(axis=-1, keepdims=True)
    return u - np.log(np.exp(u).sum(axis=-1, keepdims=True))


def softmax(z, temperature=1.0):
    """softmax(z / T) over the last axis: probabilities that sum to 1. z (…,C) -> (…,C). T > 1 flattens, T < 1 sharpens.

    >>> tc.compress.distill.softmax(np.array([0.0, np.log(3.0)])).round(6)
    array([0.25, 0.75])
    """
    return np.exp(log_softmax(z, temperature))


def _temperature(temperature):
    temperature = float(temperature)
    if not 0 < temperature < np.inf:
        raise ValueError(f"temperature must be positive and finite, not {temperature!r}")
    return temperature


def _logits(z_s, z_t):
    z_s, z_t = np.asarray(z_s), np.asarray(z_t)
    for name, z in (("z_s", z_s), ("z_t", z_t)):
        if z.dtype.kind != "f":
            raise TypeError(f"{name} must be logits in float32 or float64, not {z.dtype}")
        if z.ndim != 2 or not z.size:
            raise ValueError(f"{name} must be (N,C) with at least one row, not shape {z.shape}")
    if z_s.shape != z_t.shape:
        raise ValueError(f"z_s and z_t must have the same shape (N,C), not {z_s.shape} and {z_t.shape}")
    return z_s.astype(np.float64), z_t.astype(np.float64)


def _labels(labels, n, c, lam):
    """Labels (N,) as int64; None is enough where λ = 1 leaves the hard term out."""
    if labels is None:
        if lam < 1:
            raise ValueError(f"labels may be None only with lam=1 (no hard term), not with lam={lam}")
        return np.zeros(n, np.int64)
    labels = np.asarray(labels)
    if labels.shape != (n,) or labels.dtype.kind not in "iu":
        raise ValueError(f"labels must be {n} class numbers (N,), not {labels.dtype} of shape {labels.shape}")
    if labels.min() < 0 or labels.max() >= c:
        raise ValueError(f"labels must lie in 0…{c - 1}, not in {labels.min()}…{labels.max()}")
    return labels.astype(np.int64)


def kl_divergence(log_p, log_q):
    """KL(p ‖ q) = Σ_c p (log p - log q) over the last axis; where p = 0 the term is 0. (…,C), (…,C) -> (…).

    Never negative, 0 only for p = q, and not symmetric: KL(teacher ‖ student) makes the student cover what the teacher deems
    possible.
    """
    p = np.exp(log_p)
    difference = np.subtract(log_p, log_q, out=np.zeros_like(p), where=p > 0)
    return (p * difference).sum(axis=-1)


def kd_loss(z_s, z_t, labels, temperature=4.0, lam=0.9):
    """(L, ∂L/∂z_s): the distillation loss and its gradient in the student's logits.

    L = (1 - λ) H(y, p_s¹) + λ T² KL(p_t^T ‖ p_s^T), mean over the batch: a Python float, worked out in float64.
    ∂L/∂z_s = (1 - λ)(p_s¹ - 1_y)/N + λ T (p_s^T - p_t^T)/N: (N,C), in z_s's dtype. The teacher has no gradient.
    z_s, z_t (N,C) logits of student and teacher; labels (N,) class numbers (None with lam=1); lam = λ in [0, 1]: 0 is plain
    cross-entropy, and λ = 1 follows the teacher alone. Invariants: L >= 0, each row of the gradient sums to 0 (adding a
    constant to all logits of a row changes nothing). Errors: ValueError or TypeError for shapes, labels, temperature or λ that
    do not fit. Source: Hinton et al. 2015, section 2 and equation 2.

    >>> z = np.array([[2.0, 0.0, -1.0]])
    >>> tc.compress.distill.kd_loss(z, z, None, lam=1.0)
    (0.0, array([[0., 0., 0.]]))
    """
    lam, t = fraction(lam, "lam"), _temperature(temperature)
    dtype = np.asarray(z_s).dtype
    z_s, z_t = _logits(z_s, z_t)
    n, c = z_s.shape
    right = (np.arange(n), _labels(labels, n, c, lam))
    log_p, log_ps, log_pt = log_softmax(z_s), log_softmax(z_s, t), log_softmax(z_t, t)      # (N,C) each
    hard = -log_p[right].mean()                                                             # H(y, p_s¹)
    soft = kl_divergence(log_pt, log_ps).mean()                                             # KL(p_t^T ‖ p_s^T)
    hard_grad = np.exp(log_p)
    hard_grad[right] -= 1                                                                   # p_s¹ - 1_y
    soft_grad = t * (np.exp(log_ps) - np.exp(log_pt))
    return float((1 - lam) * hard + lam * t * t * soft), (((1 - lam) * hard_grad + lam * soft_grad) / n).astype(dtype)
