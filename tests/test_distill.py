"""compress/distill: the loss against its definition written out, the gradient against differences, the limits and identities on paper."""
import math

import numpy as np
import pytest

from tinyconv.compress import distill

small = pytest.mark.small
N, C = 4, 5


def batch(seed=0, spread=2.0):
    rng = np.random.default_rng(seed)
    return spread * rng.standard_normal((N, C)), spread * rng.standard_normal((N, C)), rng.integers(0, C, N)


def by_definition(z_s, z_t, labels, t, lam):
    """L with plain exp and log, number by number."""
    def p(row, temperature):
        e = [math.exp(v / temperature) for v in row]
        return [v / sum(e) for v in e]
    total = 0.0
    for s, teacher, y in zip(z_s, z_t, labels):
        pt, ps = p(teacher, t), p(s, t)
        total += (1 - lam) * -math.log(p(s, 1)[y]) + lam * t * t * sum(a * math.log(a / b) for a, b in zip(pt, ps))
    return total / len(z_s)


@small
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20.0])
@pytest.mark.parametrize("lam", [0.0, 0.3, 1.0])
def test_loss_and_gradient(temperature, lam):
    """Loss against the definition; gradient against central differences along random directions, in float64; rows sum to 0."""
    z_s, z_t, y = batch()
    loss, grad = distill.kd_loss(z_s, z_t, y, temperature, lam)
    assert loss == pytest.approx(by_definition(z_s, z_t, y, temperature, lam), rel=1e-12)
    assert grad.shape == z_s.shape and np.abs(grad.sum(axis=1)).max() < 1e-14 * max(1, temperature)
    rng, step = np.random.default_rng(1), 1e-5
    for _ in range(5):
        v = rng.standard_normal(z_s.shape)
        up, down = (distill.kd_loss(z_s + h * v, z_t, y, temperature, lam)[0] for h in (step, -step))
        assert (up - down) / (2 * step) == pytest.approx((grad * v).sum(), rel=1e-7, abs=1e-9)


@small
def test_lambda_ends():
    """λ = 0 is cross-entropy whatever the teacher; λ = 1 needs no labels; equal logits leave only the hard term."""
    z_s, z_t, y = batch()
    p = distill.softmax(z_s)
    assert distill.kd_loss(z_s, z_t, y, 4, 0)[0] == pytest.approx(-np.log(p[range(N), y]).mean(), rel=1e-14)
    np.testing.assert_allclose(distill.kd_loss(z_s, z_t, y, 4, 0)[1], (p - np.eye(C)[y]) / N, atol=1e-16)
    assert distill.kd_loss(z_s, z_t, None, 4, 1)[0] == distill.kd_loss(z_s, z_t, y, 4, 1)[0]
    assert distill.kd_loss(z_s, z_s, y, 4, 0.9)[0] == pytest.approx(0.1 * distill.kd_loss(z_s, z_s, y, 4, 0)[0], rel=1e-12)


@small
def test_soft_gradient_formula():
    """λ T (p_s^T - p_t^T)/N exactly, and the float32 gradient is the float64 one rounded."""
    z_s, z_t, _ = batch()
    t = 3.0
    np.testing.assert_allclose(distill.kd_loss(z_s, z_t, None, t, 1)[1], t * (distill.softmax(z_s, t) - distill.softmax(z_t, t)) / N, atol=1e-16)
    single = distill.kd_loss(z_s.astype(np.float32), z_t.astype(np.float32), None, t, 1)[1]
    double = distill.kd_loss(z_s.astype(np.float32).astype(np.float64), z_t.astype(np.float32), None, t, 1)[1]
    assert single.dtype == np.float32 and np.array_equal(single, double.astype(np.float32))


@small
def test_high_temperature_is_logit_matching():
    """T² KL -> mean ‖d - mean d‖²/(2C), the difference falling as 1/T: ten times T, a tenth of it."""
    z_s, z_t, _ = batch()
    d = z_s - z_t
    limit = (np.square(d - d.mean(axis=1, keepdims=True)).sum(axis=1) / (2 * C)).mean()
    gaps = [abs(distill.kd_loss(z_s, z_t, None, t, 1)[0] - limit) for t in (100, 1000)]
    assert gaps[0] / gaps[1] == pytest.approx(10, rel=0.05)
    assert gaps[1] < 1e-2 * limit
    grad = distill.kd_loss(z_s, z_t, None, 1e5, 1)[1]
    np.testing.assert_allclose(grad, (d - d.mean(axis=1, keepdims=True)) / (C * N), rtol=0, atol=1e-4)


@small
def test_gradient_scale_does_not_depend_on_t():
    """What T² is for: without it the soft gradient falls as 1/T², with it its size stays."""
    z_s, z_t, _ = batch()
    with_square = [np.abs(distill.kd_loss(z_s, z_t, None, t, 1)[1]).max() for t in (10, 100)]
    without = [g / t ** 2 for g, t in zip(with_square, (10, 100))]
    assert 0.5 < with_square[0] / with_square[1] < 2
    assert without[0] / without[1] > 50


@small
def test_kl_and_cross_entropy_differ_by_the_teachers_entropy():
    """H(p_t, p_s) = KL(p_t ‖ p_s) + H(p_t): another number, the same gradient in z_s. KL is never negative."""
    z_s, z_t, _ = batch()
    log_s, log_t = distill.log_softmax(z_s), distill.log_softmax(z_t)
    p_t = np.exp(log_t)
    np.testing.assert_allclose(-(p_t * log_s).sum(1), distill.kl_divergence(log_t, log_s) - (p_t * log_t).sum(1), rtol=1e-13)
    assert (distill.kl_divergence(log_t, log_s) > 0).all() and not distill.kl_divergence(log_t, log_t).any()


@small
def test_decoupled_identity():
    """KL = TCKD + (1 - p_t^(y)) NCKD with the teacher's probability of the true class (Zhao et al. 2022, equation 6): an
    independent route to the same number."""
    z_s, z_t, y = batch()
    log_s, log_t = distill.log_softmax(z_s), distill.log_softmax(z_t)
    for s, t, label, kl in zip(np.exp(log_s), np.exp(log_t), y, distill.kl_divergence(log_t, log_s)):
        tckd = t[label] * np.log(t[label] / s[label]) + (1 - t[label]) * np.log((1 - t[label]) / (1 - s[label]))
        t_hat, s_hat = np.delete(t, label) / (1 - t[label]), np.delete(s, label) / (1 - s[label])
        assert kl == pytest.approx(tckd + (1 - t[label]) * (t_hat * np.log(t_hat / s_hat)).sum(), rel=1e-12)


@small
def test_large_logits_do_not_overflow():
    """Logits of ±1e4 and a teacher that is quite sure: finite loss and gradient; p log p is 0 where p is."""
    z_s, z_t, y = batch(spread=1e4)
    loss, grad = distill.kd_loss(z_s, z_t, y, 1.0, 0.5)
    assert np.isfinite(loss) and np.isfinite(grad).all()
    sure = np.where(np.arange(C) == y[:, None], 0.0, -np.inf)
    assert np.isfinite(distill.kd_loss(batch()[0], sure, y, 2.0, 1.0)[0])
    np.testing.assert_allclose(distill.softmax(np.float32([1e30, 1e30])), [0.5, 0.5])


# ---- slips that circulate --------------------------------------------------------------------------------------------

def kl(p, q):
    return (p * np.log(p / q)).sum(axis=1)


@small
def test_slips():
    """Each is another number than the definition, so each would train towards something else."""
    z_s, z_t, y = batch()
    t = 4.0
    ps, pt, ps1 = distill.softmax(z_s, t), distill.softmax(z_t, t), distill.softmax(z_s)
    right = distill.kd_loss(z_s, z_t, y, t, 1.0)[0]
    assert right == pytest.approx(t * t * kl(pt, ps).mean(), rel=1e-12)
    slips = {"student ‖ teacher": t * t * kl(ps, pt).mean(), "T in one softmax only": t * t * kl(pt, ps1).mean(),
             "no T²": kl(pt, ps).mean(), "summed over the batch": t * t * kl(pt, ps).sum(), "divided by the class count": t * t * kl(pt, ps).mean() / C}
    for name, value in slips.items():
        assert abs(value - right) > 0.01 * right, name
    assert slips["summed over the batch"] == pytest.approx(N * right) and slips["no T²"] == pytest.approx(right / t ** 2)


@small
def test_slip_reversed_kl_has_another_gradient():
    """KL(student ‖ teacher) is least at the same place but pulls differently on the way there."""
    z_s, z_t, _ = batch()
    log_s, log_t = distill.log_softmax(z_s), distill.log_softmax(z_t)
    p = np.exp(log_s)
    reversed_grad = p * (log_s - log_t - distill.kl_divergence(log_s, log_t)[:, None]) / N
    right = distill.kd_loss(z_s, z_t, None, 1.0, 1.0)[1]
    cosine = (reversed_grad * right).sum() / np.linalg.norm(reversed_grad) / np.linalg.norm(right)
    assert cosine < 0.99


@small
@pytest.mark.parametrize("change, error, message", [
    (dict(lam=90), ValueError, "lam must be a fraction from 0 to 1, not 90.0"),
    (dict(temperature=0), ValueError, "temperature must be positive and finite, not 0.0"),
    (dict(temperature=float("nan")), ValueError, "temperature must be positive"),
    (dict(z_t=np.ones((N, C + 1))), ValueError, r"must have the same shape \(N,C\), not \(4, 5\) and \(4, 6\)"),
    (dict(z_s=np.ones(C)), ValueError, r"z_s must be \(N,C\)"),
    (dict(z_s=np.ones((0, C)), z_t=np.ones((0, C))), ValueError, "at least one row"),
    (dict(z_s=np.ones((N, C), int)), TypeError, "z_s must be logits in float32 or float64, not int64"),
    (dict(labels=None), ValueError, "labels may be None only with lam=1"),
    (dict(labels=np.full(N, C)), ValueError, "labels must lie in 0…4, not in 5…5"),
    (dict(labels=np.full(N, -1)), ValueError, "labels must lie in 0…4"),
    (dict(labels=np.ones(N)), ValueError, r"labels must be 4 class numbers \(N,\), not float64"),
    (dict(labels=np.ones((N, C), int)), ValueError, "class numbers"),
])
def test_refusals(change, error, message):
    z_s, z_t, y = batch()
    with pytest.raises(error, match=message):
        distill.kd_loss(**{**dict(z_s=z_s, z_t=z_t, labels=y, temperature=4.0, lam=0.9), **change})
