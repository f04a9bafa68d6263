"""Distillation by scores: a small network (the student, z_s) learns from a large one's outputs (the teacher, z_t).

    L = (1 - λ) H(y, p_s¹) + λ T² KL(p_t^T ‖ p_s^T),        p^T = softmax(z / T)                  `kd_loss`
    L = H(y, p_s¹) + α T² KL(p_t^T ‖ p_s^T)                                                       `kd_alpha_loss`
    L = mean_n ‖d‖²/(2C),  d = z_s - z_t                                                          `logit_loss`

mean over the batch, sum over the classes. The hard term H(y, p_s¹) is the usual cross-entropy at temperature 1; both
distributions of the soft term are taken at T. A higher T shows more of what the teacher thinks of the wrong classes; its gradient
falls as 1/T², which the factor T² makes good, so that λ means the same at every T. The gradient, on paper:

    ∂L/∂z_s = (1 - λ)(p_s¹ - 1_y)/N + λ T (p_s^T - p_t^T)/N

The second form keeps the hard term whole; with α = λ/(1 - λ) it is the first divided by 1 - λ: the same minimum, another step.
Some write H(p_t, p_s) for KL(p_t ‖ p_s): larger by the teacher's entropy, which has no gradient.

As T -> ∞ the soft term tends to logit matching: T² KL -> mean_n ‖d - mean d‖²/(2C), the difference falling as 1/T.
Labels are plain class numbers here; label smoothing belongs to the training loss and is not part of this.
Sources: Hinton, Vinyals & Dean, "Distilling the knowledge in a neural network" (2015), section 2; Ba & Caruana, "Do deep nets
really need to be deep?" (2014), section 2 (logits).
"""
import numpy as np

from .._checks import fraction


def log_softmax(z, temperature=1.0):
    """log softmax(z / T) over the last axis: u - max u - log Σ exp(u - max u), u = z / T, so that nothing overflows.

    z (…,C) -> (…,C), same dtype.

    >>> tc.compress.distill.log_softmax(np.array([1000.0, 1000.0]))
    array([-0.69314718, -0.69314718])
    """
    z = np.asarray(z)
    u = z / np.asarray(checked_temperature(temperature), z.dtype if z.dtype.kind == "f" else np.float64)
    u = u - u.max(axis=-1, keepdims=True)
    return u - np.log(np.exp(u).sum(axis=-1, keepdims=True))


def softmax(z, temperature=1.0):
    """softmax(z / T) over the last axis: probabilities that sum to 1. z (…,C) -> (…,C). T > 1 flattens, T < 1 sharpens.

    >>> tc.compress.distill.softmax(np.array([0.0, np.log(3.0)])).round(6)
    array([0.25, 0.75])
    """
    return np.exp(log_softmax(z, temperature))


def checked_temperature(temperature):
    """T as a float. Errors: ValueError unless it is positive and finite."""
    temperature = float(temperature)
    if not 0 < temperature < np.inf:
        raise ValueError(f"temperature must be positive and finite, not {temperature!r}")
    return temperature


def checked_logits(z_s, z_t):
    """Student's and teacher's logits (N,C) in float64. Errors: TypeError or ValueError for other types and shapes."""
    z_s, z_t = np.asarray(z_s), np.asarray(z_t)
    for name, z in (("z_s", z_s), ("z_t", z_t)):
        if z.dtype.kind != "f":
            raise TypeError(f"{name} must be logits in float32 or float64, not {z.dtype}")
        if z.ndim != 2 or not z.size:
            raise ValueError(f"{name} must be (N,C) with at least one row, not shape {z.shape}")
    if z_s.shape != z_t.shape:
        raise ValueError(f"z_s and z_t must have the same shape (N,C), not {z_s.shape} and {z_t.shape}")
    return z_s.astype(np.float64), z_t.astype(np.float64)


def checked_labels(labels, n, c):
    """Labels (N,) as int64. Errors: ValueError unless they are n class numbers below c."""
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
    lam, t = fraction(lam, "lam"), checked_temperature(temperature)
    if labels is None and lam < 1:
        raise ValueError(f"labels may be None only with lam=1 (no hard term), not with lam={lam}")
    dtype = np.asarray(z_s).dtype
    z_s, z_t = checked_logits(z_s, z_t)
    soft, soft_grad = _soft(z_s, z_t, t)
    hard, hard_grad = (0.0, 0.0) if labels is None else _hard(z_s, labels)
    return float((1 - lam) * hard + lam * soft), ((1 - lam) * hard_grad + lam * soft_grad).astype(dtype)


def _hard(z_s, labels):
    """(H(y, p_s¹), (p_s¹ - 1_y)/N): cross-entropy with the labels, mean over the batch, and its gradient."""
    n, c = z_s.shape
    right, log_p = (np.arange(n), checked_labels(labels, n, c)), log_softmax(z_s)           # (N,C)
    grad = np.exp(log_p)
    grad[right] -= 1
    return -log_p[right].mean(), grad / n


def _soft(z_s, z_t, t):
    """(T² KL(p_t^T ‖ p_s^T), T (p_s^T - p_t^T)/N): the soft term, mean over the batch, and its gradient."""
    log_ps, log_pt = log_softmax(z_s, t), log_softmax(z_t, t)                               # (N,C) each
    return t * t * kl_divergence(log_pt, log_ps).mean(), t * (np.exp(log_ps) - np.exp(log_pt)) / len(z_s)


def kd_alpha_loss(z_s, z_t, labels, temperature=4.0, alpha=1.0):
    """(L, ∂L/∂z_s) of the other usual form: L = H(y, p_s¹) + α T² KL(p_t^T ‖ p_s^T), the hard term whole, α of at least 0.

    Shapes, means and the gradient's parts as in `kd_loss`, which this is, divided by 1 - λ, at α = λ/(1 - λ).
    Errors: those of `kd_loss`; ValueError for an α that is negative or not finite.

    >>> z_s, z_t, y = np.array([[1.0, 0.0]]), np.array([[3.0, 0.0]]), np.array([0])
    >>> form = [tc.compress.distill.kd_alpha_loss(z_s, z_t, y, 4.0, 9.0)[0], tc.compress.distill.kd_loss(z_s, z_t, y, 4.0, 0.9)[0]]
    >>> round(form[0] / form[1], 12)
    10.0
    """
    t, alpha = checked_temperature(temperature), at_least_zero(alpha, "alpha")
    dtype = np.asarray(z_s).dtype
    z_s, z_t = checked_logits(z_s, z_t)
    (hard, hard_grad), (soft, soft_grad) = _hard(z_s, labels), _soft(z_s, z_t, t)
    return float(hard + alpha * soft), (hard_grad + alpha * soft_grad).astype(dtype)


def at_least_zero(value, name):
    """`value` as a finite float of at least 0: the weight of a term."""
    value = float(value)
    if not 0 <= value < np.inf:
        raise ValueError(f"{name} must be at least 0 and finite, not {value!r}")
    return value


def logit_loss(z_s, z_t, centred=True):
    """(L, ∂L/∂z_s) of logit matching: L = mean_n ‖d‖²/(2C), d = z_s - z_t; the gradient d/(CN), in z_s's dtype.

    centred: each row of d less its mean, which softmax does not see; this is what T² KL tends to as T -> ∞. Without it
    the logits themselves are matched (Ba & Caruana 2014). Shapes and errors as in `kd_loss`, without labels.

    >>> tc.compress.distill.logit_loss(np.array([[3.0, 1.0]]), np.array([[0.0, 0.0]]))
    (0.5, array([[ 0.5, -0.5]]))
    """
    dtype = np.asarray(z_s).dtype
    z_s, z_t = checked_logits(z_s, z_t)
    n, c = z_s.shape
    d = z_s - z_t
    d = d - d.mean(axis=1, keepdims=True) if centred else d
    return float((d * d).sum() / (2 * c * n)), (d / (c * n)).astype(dtype)
