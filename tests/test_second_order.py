"""OBD and OBS: on a quadratic and on a real convolution's output the rise is what the formula says, to float64."""
import numpy as np
import pytest

from tinyconv import formulas, kernels
from tinyconv.compress import prune

small = pytest.mark.small
LAYERS = {                                             # x (N,C,H,W), w (F,C/G,KH,KW), and the rest of a convolution
    "3x3": ((4, 3, 9, 8), (5, 3, 3, 3), dict(padding=1)),
    "strided, dilated, padded unevenly": ((6, 2, 11, 12), (4, 2, 3, 2), dict(stride=(2, 1), dilation=(1, 2), padding=((0, 1), (2, 1)))),
    "1x1": ((3, 6, 5, 5), (4, 6, 1, 1), {}),
    "two groups": ((5, 4, 8, 8), (6, 2, 3, 3), dict(groups=2, padding=1)),
    "depthwise": ((4, 3, 8, 8), (6, 1, 3, 3), dict(groups=3, padding=1)),
}
CLOSE = 1e-9                                           # condition numbers here are below 1e4; float64 has 16 digits


def layer(name):
    """(x, w, columns, H, options): a convolution in float64 and its Hessian."""
    x_shape, w_shape, options = LAYERS[name]
    rng = np.random.default_rng(0)
    x, w = 0.5 + rng.standard_normal(x_shape), rng.standard_normal(w_shape)
    columns = prune.layer_columns(x, formulas.conv2d_geometry(x_shape, w_shape, **options))
    return x, w, columns, prune.layer_hessian(columns), options


def quadratic(size=7, seed=0):
    """(w, H): a minimum and a positive definite Hessian."""
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((size, 2 * size))
    return rng.standard_normal(size), root @ root.T


def rise(delta, h):
    return 0.5 * delta @ h @ delta


@small
def test_obs_on_a_quadratic():
    """Every weight: δ_q = -w_q, the rise is the score, no other δ of a thousand rises less, and OBD's is never below."""
    w, h = quadratic()
    inverse, rng = prune.damped_inverse(h, damping=0), np.random.default_rng(1)
    obs, obd = prune.obs_scores(w[None], inverse)[0], prune.obd_scores(w[None], h)[0]
    for q in range(len(w)):
        delta = prune.obs_update(w, inverse, q)
        assert delta[q] == -w[q] and rise(delta, h) == pytest.approx(obs[q], rel=CLOSE)
        alone = np.where(np.arange(len(w)) == q, -w, 0)
        assert rise(alone, h) == pytest.approx(obd[q], rel=CLOSE) and obs[q] < obd[q]
        others = rng.standard_normal((1000, len(w))) * 0.1
        others[:, q] = 0
        assert min(rise(delta + other, h) for other in others) > obs[q]
    assert not np.array_equal(np.argsort(obs), np.argsort(np.abs(w)))


@small
def test_without_correlations_obs_is_obd():
    """A diagonal H: nobody can make up for anybody; then δ moves w_q alone."""
    w, h = np.array([[1.0, -2.0, 3.0]]), np.diag([4.0, 1.0, 0.1])
    inverse = prune.damped_inverse(h, 0)
    assert prune.obs_scores(w, inverse) == pytest.approx(prune.obd_scores(w, h), rel=1e-15)
    assert prune.obs_update(w[0], inverse, 1).tolist() == [0, 2, 0]
    assert prune.choose_smallest(prune.obd_scores(w, h)[0], 1).tolist() == [2] == [int(np.abs(w).argmax())]


@small
@pytest.mark.parametrize("name", LAYERS)
def test_columns_are_the_convolution(name):
    """w times the columns, group by group, against the seven loops in float64."""
    x, w, columns, _, options = layer(name)
    g = formulas.conv2d_geometry(x.shape, w.shape, **options)
    y = (w.reshape(g.groups, -1, columns.shape[1]) @ columns).reshape(g.f, g.n, g.oh, g.ow).swapaxes(0, 1)
    np.testing.assert_allclose(y, kernels.conv2d(x, w, algorithm="direct", **options), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", LAYERS)
def test_the_error_of_a_real_convolution_is_an_exact_quadratic(name):
    """Mean squared change of the outputs, summed over filters, after a random move and after OBS's: ½δᵀHδ and w_q²/(2[H⁻¹]_qq)."""
    x, w, _, h, options = layer(name)
    delta = np.random.default_rng(2).standard_normal(w.shape)
    pixels = np.prod(formulas.conv2d_geometry(x.shape, w.shape, **options).y_shape) / len(w)

    def measured(new):
        return np.square(kernels.conv2d(x, new, **options) - kernels.conv2d(x, w, **options)).sum() / pixels
    assert measured(w + delta) == pytest.approx(prune.output_error(delta, h), rel=CLOSE)
    inverse = prune.damped_inverse(h, damping=0)
    obs, obd = prune.obs_scores(w, inverse).reshape(len(w), -1), prune.obd_scores(w, h).reshape(len(w), -1)
    for f in range(len(w)):
        group = f * len(h) // len(w)
        for q in (0, obs.shape[1] - 1):
            moved, alone = w.reshape(len(w), -1).copy(), w.reshape(len(w), -1).copy()
            moved[f] += prune.obs_update(moved[f], inverse[group], q)
            alone[f, q] = 0
            assert moved[f, q] == 0 and measured(moved.reshape(w.shape)) == pytest.approx(obs[f, q], rel=CLOSE)
            assert measured(alone.reshape(w.shape)) == pytest.approx(obd[f, q], rel=CLOSE) and obs[f, q] <= obd[f, q]


@small
@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.6, 1.0])
@pytest.mark.parametrize("name", LAYERS)
def test_obs_prune(name, sparsity):
    """Exactly k go; the sum of the steps is the error measured; what is left is the least-squares answer for its places; and
    none of magnitude, OBD without update does better."""
    x, w, columns, h, _ = layer(name)
    new, mask, total = prune.obs_prune(w, prune.damped_inverse(h, damping=0), sparsity)
    assert np.count_nonzero(~mask) == round(w.size * sparsity) and np.array_equal(new == 0, ~mask)
    error = prune.output_error(new - w, h)
    assert total == pytest.approx(error, rel=CLOSE, abs=1e-12)
    size = columns.shape[1]
    for f in range(len(w)):
        X, kept = columns[f * len(h) // len(w)], mask[f].ravel()
        best = np.zeros(size)
        best[kept] = np.linalg.lstsq(X[kept].T, X.T @ w[f].ravel(), rcond=None)[0]
        assert np.abs(new[f].ravel() - best).max() <= 1e-8
    for other in (prune.magnitude(w, sparsity), prune.mask_smallest(prune.obd_scores(w, h), sparsity)):
        assert error <= prune.output_error(prune.masked(w, other) - w, h) * (1 + CLOSE)
    assert prune.obs_prune(w.astype(np.float32), prune.damped_inverse(h, 0), sparsity)[0].dtype == np.float32


@small
def test_obs_prune_takes_the_cheapest_step_of_the_whole_layer():
    """Against a greedy search that inverts what is left of H anew for every filter at every step."""
    _, w, _, h, _ = layer("two groups")
    rows, alive, order = w.reshape(len(w), -1).copy(), np.ones((6, 18), bool), []
    for _ in range(40):
        steps = []
        for f in range(6):
            places, group = np.flatnonzero(alive[f]), h[f // 3]
            inverse = np.linalg.inv(group[np.ix_(places, places)])
            steps += [(rows[f, q] ** 2 / (2 * inverse[i, i]), f, q, inverse[:, i] / inverse[i, i], places) for i, q in enumerate(places)]
        cost, f, q, column, places = min(steps, key=lambda step: step[:3])
        rows[f, places] -= rows[f, q] * column
        alive[f, q], rows[f, q] = False, 0
        order.append(cost)
    new, mask, total = prune.obs_prune(w, prune.damped_inverse(h, 0), 40 / w.size)
    assert np.array_equal(mask.reshape(6, 18), alive) and total == pytest.approx(sum(order), rel=CLOSE)
    assert np.abs(new.reshape(6, 18) - rows).max() <= 1e-9


@small
def test_damping():
    """H + d·mean(diag H)·I, inverted; the mean over all groups, so that a dead group does not stay singular. With it the
    prediction is an upper bound, and H itself still measures the error exactly."""
    x, w, columns, h, _ = layer("two groups")
    mean = np.mean([h[g, k, k] for g in range(2) for k in range(18)])
    assert np.abs(prune.damped_inverse(h, 0.1) @ (h + 0.1 * mean * np.eye(18)) - np.eye(18)).max() <= 1e-12
    new, _, predicted = prune.obs_prune(w, prune.damped_inverse(h, 0.1), 0.5)
    assert prune.output_error(new - w, h) < predicted
    dead = h.copy()
    dead[1] = 0
    assert np.isfinite(prune.damped_inverse(dead)).all()
    few = prune.layer_hessian(columns[0][:, :10])                                 # 10 pixels for 18 taps
    with pytest.raises(ValueError, match="not positive definite with damping 0: fewer pixels than taps"):
        prune.damped_inverse(few, damping=0)
    assert np.isfinite(prune.damped_inverse(few)).all()


@small
def test_slip_eigenvalues_as_scores_of_weights():
    """Sorted eigenvalues stay put when the taps change places, while what the weights cost moves with them; and the weight beside the
    least eigenvalue is not the cheapest."""
    w, h = quadratic(5, seed=3)
    order = np.array([3, 0, 4, 1, 2])
    values, moved = np.linalg.eigvalsh(h), np.linalg.eigvalsh(h[np.ix_(order, order)])
    assert moved == pytest.approx(values, rel=1e-12)
    obd = prune.obd_scores(w[None], h)[0]
    assert np.array_equal(prune.obd_scores(w[order][None], h[np.ix_(order, order)])[0], obd[order])
    assert obd.argmin() != values.argmin() == 0
    assert rise(np.linalg.eigh(h)[1][:, 0], h) == pytest.approx(values[0] / 2)   # what an eigenvalue is: the rise along a direction


@small
def test_slip_obs_saliency_without_its_update():
    """w_q²/(2[H⁻¹]_qq) is the rise with the update; zeroed alone the same weight costs ½H_qq w_q², more wherever taps are correlated."""
    _, w, _, h, _ = layer("3x3")
    inverse = prune.damped_inverse(h, 0)
    q = int(prune.obs_scores(w, inverse)[0].argmin())
    alone = np.zeros_like(w)
    alone[0].flat[q] = -w[0].flat[q]
    promised = prune.obs_scores(w, inverse)[0].min()
    assert prune.output_error(alone, h) > 1.05 * promised


@small
@pytest.mark.parametrize("call, message", [
    (lambda: prune.layer_hessian(np.ones(3)), r"columns must be \(…,K,N\)"),
    (lambda: prune.layer_hessian(np.array([[np.nan]])), "columns must be finite"),
    (lambda: prune.layer_columns(np.ones((1, 1, 4, 4)), formulas.conv2d_geometry((1, 1, 3, 3), (1, 1, 2, 2))),
     r"x must have the shape of the geometry \(1, 1, 3, 3\), not \(1, 1, 4, 4\)"),
    (lambda: prune.damped_inverse(np.ones((2, 3))), r"h must be \(K,K\), or \(G,K,K\)"),
    (lambda: prune.damped_inverse(np.eye(2), -1), "damping must be finite and at least 0, not -1"),
    (lambda: prune.damped_inverse(np.zeros((2, 2))), "not positive definite with damping 0.01"),
    (lambda: prune.obd_scores(np.ones((2, 3)), np.eye(2)), r"w \(2, 3\) and h \(2, 2\) do not fit"),
    (lambda: prune.obs_scores(np.ones((3, 2)), np.stack([np.eye(2)] * 2)), r"w \(3, 2\) and inverse \(2, 2, 2\) do not fit"),
    (lambda: prune.obs_update(np.ones((1, 2)), np.eye(2), 0), r"w must be one filter \(K,\)"),
    (lambda: prune.obs_update(np.ones(2), np.eye(2), 2), "q must be an integer from 0 to 1, not 2"),
    (lambda: prune.obs_prune(np.ones((1, 2)), np.eye(2), 2), "sparsity must be a fraction"),
])
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
