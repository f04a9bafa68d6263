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


@small
def test_the_gradient_tends_to_logit_matching_as_one_over_t():
    """‖∂(T² KL) - ∂(logit loss)‖ over T = 10…1000: a straight line of slope -1 (within 0.1) on logarithmic axes; and the same
    for the losses. Against the uncentred loss the difference does not fall at all."""
    z_s, z_t, _ = batch()
    temperatures = np.geomspace(10, 1000, 9)
    soft = [distill.kd_loss(z_s, z_t, None, t, 1) for t in temperatures]
    for centred, least, most in ((True, -1.1, -0.9), (False, -0.1, 0.1)):
        limit = distill.logit_loss(z_s, z_t, centred)
        gaps = [np.linalg.norm(grad - limit[1]) for _, grad in soft]
        assert least < np.polyfit(np.log(temperatures), np.log(gaps), 1)[0] < most
    values = [abs(value - distill.logit_loss(z_s, z_t)[0]) for value, _ in soft]
    assert -1.1 < np.polyfit(np.log(temperatures), np.log(values), 1)[0] < -0.9


@small
@pytest.mark.parametrize("alpha", [0.0, 0.25, 9.0])
def test_the_two_usual_forms(alpha):
    """H + α T² KL is the λ form divided by 1 - λ at λ = α/(1 + α): loss and gradient."""
    z_s, z_t, y = batch()
    lam = alpha / (1 + alpha)
    for ours, theirs in zip(distill.kd_alpha_loss(z_s, z_t, y, 4.0, alpha), distill.kd_loss(z_s, z_t, y, 4.0, lam)):
        np.testing.assert_allclose(ours, np.asarray(theirs) / (1 - lam), rtol=1e-13, atol=1e-16)


# ---- every gradient --------------------------------------------------------------------------------------------------

def maps(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


Y = np.array([1, 0, 3, 4])
LOSSES = {
    "kd": (maps(N, C), lambda s: distill.kd_loss(s, maps(N, C, seed=1), Y, 3.0, 0.7)),
    "kd_alpha": (maps(N, C), lambda s: distill.kd_alpha_loss(s, maps(N, C, seed=1), Y, 3.0, 2.0)),
    "logits": (maps(N, C), lambda s: distill.logit_loss(s, maps(N, C, seed=1))),
    "logits, not centred": (maps(N, C), lambda s: distill.logit_loss(s, maps(N, C, seed=1), centred=False)),
    "decoupled": (maps(N, C), lambda s: distill.dkd_loss(s, maps(N, C, seed=1), Y, 3.0, 0.8, 5.0)),
    "hints": (maps(N, 3, 2, 2), lambda s: distill.hint_loss(s, maps(N, 5, 2, 2, seed=1), maps(5, 3, seed=2))),
    "hints, rows": (maps(N, 3), lambda s: distill.hint_loss(s, maps(N, 3, seed=1))),
    "regressor": (maps(5, 3, seed=2), lambda r: distill.hint_loss(maps(N, 3, 2, 2), maps(N, 5, 2, 2, seed=1), r)[::2]),
    "attention": (maps(N, 3, 4, 2), lambda s: distill.attention_loss(s, maps(N, 6, 4, 2, seed=1))),
    "similarity": (maps(N, 3, 2, 2), lambda s: distill.similarity_loss(s, maps(N, 6, seed=1))),
    "distance": (maps(N, 3), lambda s: distill.distance_loss(s, maps(N, 6, seed=1))),
    "distance, far": (maps(N, 3), lambda s: distill.distance_loss(s, np.diag([9.0, 0.1, 0.2, 0.3]))),
    "angle": (maps(5, 3, 2), lambda s: distill.angle_loss(s, maps(5, 6, seed=1))),
    "relational": (maps(5, 4), lambda s: distill.relational_loss(s, maps(5, 4, seed=1))),
}


@small
@pytest.mark.parametrize("name", LOSSES)
def test_the_gradient_is_the_derivative(name):
    """Central differences along random directions in float64, six digits and more; float32 gives the same rounded; and a
    gradient that is 1e-4 too large is told apart."""
    x, loss = LOSSES[name]
    value, grad = loss(x)[:2]
    assert isinstance(value, float) and value > 0 and grad.shape == x.shape and grad.dtype == np.float64
    rng, step = np.random.default_rng(1), 1e-5
    for along in (None, 1, 2, 3):
        v = grad / np.linalg.norm(grad) if along is None else rng.standard_normal(x.shape)
        quotient = (loss(x + step * v)[0] - loss(x - step * v)[0]) / (2 * step)
        near = 1e-7 * np.linalg.norm(grad * v) + 1e-10
        assert abs(quotient - (grad * v).sum()) <= near
        assert along or abs(quotient - 1.0001 * (grad * v).sum()) > near
    single = loss(x.astype(np.float32))[1]
    assert single.dtype == (np.float32 if name != "regressor" else np.float64)


# ---- decoupled -------------------------------------------------------------------------------------------------------

@small
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_decoupled_terms_give_kl_back(temperature):
    """KL = TCKD + (1 - p_t^(y)) NCKD to the last digits; the slip, the student's probability of the true class instead of the
    teacher's, is another number."""
    z_s, z_t, y = batch()
    target, other, p = distill.decoupled_terms(z_s, z_t, y, temperature)
    kl_rows = distill.kl_divergence(distill.log_softmax(z_t, temperature), distill.log_softmax(z_s, temperature))
    np.testing.assert_allclose(target + (1 - p) * other, kl_rows, rtol=0, atol=8 * 2.0 ** -53 * max(1, np.abs(z_s).max()))
    np.testing.assert_allclose(p, distill.softmax(z_t, temperature)[range(N), y], rtol=1e-14)
    slip = target + (1 - distill.softmax(z_s, temperature)[range(N), y]) * other
    assert np.abs(slip - kl_rows).max() > 0.01


@small
def test_decoupled_loss_with_kds_own_weights():
    """One row with β = 1 - p_t^(y) and α = 1 is T² KL, loss and gradient; the teacher's sureness no longer matters else."""
    z_s, z_t, y = batch()
    for s, t, label in zip(z_s[:, None], z_t[:, None], y[:, None]):
        p = distill.decoupled_terms(s, t, label, 3.0)[2][0]
        for ours, theirs in zip(distill.dkd_loss(s, t, label, 3.0, 1.0, 1 - p), distill.kd_loss(s, t, None, 3.0, 1.0)):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-15)
    assert np.abs(distill.dkd_loss(z_s, z_t, y)[1].sum(axis=1)).max() < 1e-14
    loss, grad = distill.dkd_loss(1e3 * z_s, 1e3 * z_t, y, 1.0)
    assert np.isfinite(loss) and np.isfinite(grad).all()


# ---- features and relations ------------------------------------------------------------------------------------------

@small
def test_what_the_feature_losses_do_not_see():
    """Equal features: 0 and no gradient. Attention: the size of either, and channels in another order. Similarity and distance:
    the size, and a turned basis (for distance and angle a shift too); that is what each is for."""
    f, t = maps(5, 4, 3, 3), maps(5, 4, 3, 3, seed=1)
    for loss in (distill.hint_loss, distill.attention_loss, distill.similarity_loss, distill.relational_loss):
        value, grad = loss(f, f.copy())[:2]
        assert value <= 1e-28 and np.abs(grad).max() <= 1e-13
    same = lambda loss, a, b: abs(loss(a, t)[0] - loss(b, t)[0]) <= 1e-12 * loss(a, t)[0]
    assert same(distill.attention_loss, f, 7 * f[:, ::-1]) and not same(distill.attention_loss, f, f[..., ::-1])
    q = np.linalg.qr(maps(36, 36, seed=2))[0]
    turned = 3 * f.reshape(5, -1) @ q
    assert same(distill.similarity_loss, f, turned) and not same(distill.similarity_loss, f, turned + 1)
    assert same(distill.relational_loss, f, turned + 1) and not same(distill.hint_loss, f, 3 * f)


@small
def test_dead_maps_and_equal_pictures():
    """Maps of zeros, and two pictures with the same features, have no direction: finite loss, finite gradient."""
    f, t = maps(5, 4, 3, 3), maps(5, 4, 3, 3, seed=1)
    f[0], f[2] = 0, f[1]
    for loss in (distill.attention_loss, distill.similarity_loss, distill.relational_loss):
        for a, b in ((f, t), (t, f), (np.zeros_like(f), t)):
            value, grad = loss(a, b)
            assert np.isfinite(value) and np.isfinite(grad).all()


@small
def test_slip_triplets_that_are_none():
    """Counting triplets with equal members (all of them 0) among the mean makes the angle loss (N-1)(N-2)/N² of what it is, so
    that its weight depends on the batch size; pairs i = i do the same to distances, by (N-1)/N."""
    for n in (4, 8):
        s, t = maps(n, 3), maps(n, 3, seed=1)
        unit = [f[None] - f[:, None] for f in (s, t)]
        unit = [np.divide(e, np.linalg.norm(e, axis=2, keepdims=True), out=np.zeros_like(e), where=e != 0) for e in unit]
        gap = np.abs(np.subtract(*(e @ e.transpose(0, 2, 1) for e in unit)))
        everything = np.where(gap < 1, gap ** 2 / 2, gap - 0.5).mean()
        assert everything == pytest.approx(distill.angle_loss(s, t)[0] * (n - 1) * (n - 2) / n ** 2, rel=1e-12)


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


@small
@pytest.mark.parametrize("call, error, message", [
    (lambda: distill.kd_alpha_loss(*batch(), alpha=-1), ValueError, "alpha must be at least 0 and finite, not -1.0"),
    (lambda: distill.kd_alpha_loss(*batch()[:2], None), ValueError, "labels must be 4 class numbers"),
    (lambda: distill.logit_loss(maps(4, 5), maps(4, 6)), ValueError, "must have the same shape"),
    (lambda: distill.dkd_loss(*batch(), beta=np.inf), ValueError, "beta must be at least 0 and finite, not inf"),
    (lambda: distill.dkd_loss(maps(4, 1), maps(4, 1), np.zeros(4, int)), ValueError, "at least two classes"),
    (lambda: distill.dkd_loss(*batch()[:2], np.full(N, C)), ValueError, "labels must lie in 0…4"),
    (lambda: distill.hint_loss(maps(4, 3), maps(4, 5)), ValueError, r"hints need a regressor .* f_s is \(4, 3\), f_t \(4, 5\)"),
    (lambda: distill.hint_loss(maps(4, 3), maps(4, 5), maps(3, 5)), ValueError, r"regressor must be \(C_t,C_s\) = \(5, 3\)"),
    (lambda: distill.hint_loss(maps(4, 3, 2, 2), maps(4, 3, 4, 4), maps(3, 3)), ValueError, "hints need maps of one size"),
    (lambda: distill.hint_loss(maps(4, 3), maps(5, 3)), ValueError, "same batch, not 4 and 5 rows"),
    (lambda: distill.hint_loss(maps(4, 3).astype(int), maps(4, 3)), TypeError, "f_s must be features in float32 or float64"),
    (lambda: distill.attention_loss(maps(4, 3, 2, 2), maps(4, 3, 3, 2)), ValueError, "attention needs maps"),
    (lambda: distill.attention_loss(maps(4, 3), maps(4, 3)), ValueError, "attention needs maps"),
    (lambda: distill.distance_loss(maps(1, 3), maps(1, 3)), ValueError, "at least 2 pictures"),
    (lambda: distill.angle_loss(maps(2, 3), maps(2, 3)), ValueError, "at least 3 pictures"),
    (lambda: distill.relational_loss(maps(4, 3), maps(4, 3), angle=-1), ValueError, "angle must be at least 0"),
])
def test_refusals_of_the_others(call, error, message):
    with pytest.raises(error, match=message):
        call()
