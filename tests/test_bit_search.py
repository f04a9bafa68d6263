"""Bits by layer: eigenvalues against dense Hessians, sensitivities by hand, searches against brute force."""
import itertools

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import apply, nn
from tinyconv.compress import quantize as qt

small = pytest.mark.small


def softmax_layer(c=4, k=3, n=20, seed=0):
    """A linear layer in float64 and its data: the Hessian of its loss is known in closed form."""
    rng = np.random.default_rng(seed)
    x, y, w = rng.standard_normal((n, c)), rng.integers(0, k, n), rng.standard_normal((k, c))
    z = x @ w.T
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    inner = np.einsum("ni,ij->nij", p, np.eye(k)) - np.einsum("ni,nj->nij", p, p)
    hessian = np.einsum("nij,na,nb->iajb", inner, x, x).reshape(k * c, k * c) / n
    g = tc.trace(nn.Linear(c, k, bias=False, rng=0), (1, c), check=False).with_arrays({"weight": w})
    return g, x, y, w, hessian


@small
def test_hessian_times_vector_and_top_eigenvalue():
    """Against the closed form of softmax regression, mean of (diag p - p pᵀ) ⊗ x xᵀ, in float64; the vector too, up to sign."""
    g, x, y, w, hessian = softmax_layer()
    gradient = apply.layer_gradient(g, x, y, "weight")
    v = np.random.default_rng(1).standard_normal(w.shape)
    np.testing.assert_allclose(apply.hessian_times(gradient, w, v, 1e-4).ravel(), hessian @ v.ravel(), rtol=0, atol=1e-6)
    values, vectors = np.linalg.eigh(hessian)
    value, vector = apply.top_eigenvalue(gradient, w, iterations=60, step=1e-4)
    assert value == pytest.approx(values[-1], rel=1e-5) and abs(vector.ravel() @ vectors[:, -1]) == pytest.approx(1, abs=1e-4)
    assert np.linalg.norm(vector) == pytest.approx(1)


@small
def test_power_iteration():
    """The eigenvalue of largest size with its sign; never above it in size on the way; 0 where the loss is flat."""
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    h = basis @ np.diag([4.0, -9.0, 1, 0, 2, 3]) @ basis.T
    assert apply.top_eigenvalue(lambda w: h @ w, rng.standard_normal(6), 60)[0] == pytest.approx(-9, rel=1e-9)
    assert all(abs(apply.top_eigenvalue(lambda w: h @ w, np.ones(6), n)[0]) <= 9 + 1e-9 for n in range(1, 9))
    assert apply.top_eigenvalue(lambda w: 0 * w, np.ones(3))[0] == 0
    for message, call in (("iterations must be at least 1", lambda: apply.top_eigenvalue(lambda w: w, np.ones(2), 0)),
                          ("gradient must be finite", lambda: apply.top_eigenvalue(lambda w: w * np.nan, np.ones(2)))):
        with pytest.raises(ValueError, match=message):
            call()


@small
def test_one_sided_differences_are_the_slip():
    """(∇L(w + εv) - ∇L(w))/ε errs by order ε, the central difference by ε²: on L = Σ w³ it is exact, and the other off by 3ε."""
    w, v = np.array([1.0, 2.0]), np.array([1.0, 1.0])
    gradient = lambda w: 3 * w ** 2
    central, one_sided = apply.hessian_times(gradient, w, v, 0.1), (gradient(w + 0.1 * v) - gradient(w)) / 0.1
    np.testing.assert_allclose(central, 6 * w, rtol=1e-12)
    np.testing.assert_allclose(one_sided - 6 * w, 0.3, rtol=1e-9)


def test_sensitivities_by_hand():
    """"loss" is the loss with that weight alone rounded, minus the loss; "hessian" is λ ‖w - ŵ‖²/2."""
    model = nn.Sequential(nn.Conv2d(1, 3, 3, rng=0), nn.ReLU(), nn.Flatten(), nn.Linear(12, 4, rng=1))
    g = tc.trace(model, (1, 1, 4, 4), check=False)
    x, y = np.random.default_rng(0).standard_normal((30, 1, 4, 4)).astype(np.float32), np.arange(30) % 4
    loss = lambda g: tc.functional.cross_entropy(tc.graph.run(g, x), y).item()
    measured, estimated = apply.sensitivity(g, x, y, (4, 2)), apply.sensitivity(g, x, y, (4, 2), "hessian")
    assert list(measured) == list(estimated) == ["0.weight", "3.weight"]
    for name, bits in itertools.product(measured, (4, 2)):
        w = g.array(name)
        scale = qt.search_scale(w, bits)
        w_hat = qt.dequantize(qt.quantize(w, scale, 0, *qt.code_range(bits, narrow=True), axis=0), scale, axis=0)
        assert measured[name][bits] == pytest.approx(loss(g.with_arrays({name: w_hat})) - loss(g), abs=1e-6)
        curve = apply.top_eigenvalue(apply.layer_gradient(g, x, y, name), w)[0]
        assert estimated[name][bits] == pytest.approx(0.5 * curve * np.square(w - w_hat).sum(), rel=1e-5)
    with pytest.raises(ValueError, match="kind must be one of loss, hessian, not 'trace'"):
        apply.sensitivity(g, x, y, kind="trace")


def test_an_eigenvalue_bounds_what_a_change_costs_at_a_minimum():
    """L(w + δ) - L(w) <= λ ‖δ‖²/2 (and third order) at a minimum, for random δ, and nearly equal along the vector."""
    g, x, y, w, _ = softmax_layer(seed=3)
    gradient = apply.layer_gradient(g, x, y, "weight")
    for _ in range(3000):
        w = w - 0.5 * (gradient(w) + 0.01 * w)
    loss = lambda w: tc.functional.cross_entropy(tc.graph.run(g, x, values={"weight": w}), y).item() + 0.005 * (w ** 2).sum()
    value, vector = apply.top_eigenvalue(lambda w: gradient(w) + 0.01 * w, w, 60, step=1e-4)
    rng = np.random.default_rng(0)
    for delta in [0.01 * d / np.linalg.norm(d) for d in rng.standard_normal((20, *w.shape))]:
        assert loss(w + delta) - loss(w) <= 0.5 * value * 1e-4 * 1.02
    assert loss(w + 0.01 * vector) - loss(w) == pytest.approx(0.5 * value * 1e-4, rel=0.02)


@small
def test_bytes_are_those_of_packed_codes():
    """2, 4 and 8 bits: as long as the packed codes and four bytes a filter; 32: four a weight."""
    g = tc.trace(nn.Sequential(nn.Conv2d(3, 5, 3, rng=0), nn.Flatten(), nn.Linear(20, 3, rng=0)), (1, 3, 4, 4), check=False)
    for bits in (2, 4, 8):
        expected = {}
        for name in ("0.weight", "2.weight"):
            codes, scale = qt.quantize_weight(g.array(name), bits)
            expected[name] = len(qt.pack(codes, bits)) + scale.nbytes
        assert apply.weight_bytes(g, bits) == expected
    assert apply.weight_bytes(g, {"2.weight": 4}) == {"0.weight": 4 * 135, "2.weight": 30 + 12}


@small
@pytest.mark.parametrize("seed", range(5))
def test_searches_against_all_assignments(seed):
    """Six layers of three choices, random costs that fall with bits: grid is the least of all 729 within the budget; greedy keeps
    the budget, is never better than grid, and no single layer could still go up.
    """
    rng = np.random.default_rng(seed)
    costs = {n: dict(zip((8, 4, 2), np.cumsum(rng.random(3)) * rng.choice([0.1, 1, 10]))) for n in "abcdef"}
    sizes = {n: {b: int(k * b) for b in (8, 4, 2)} for n, k in zip("abcdef", rng.integers(10, 500, 6))}
    everything = [dict(zip("abcdef", choice)) for choice in itertools.product((8, 4, 2), repeat=6)]
    total = lambda table, choice: sum(table[n][b] for n, b in choice.items())
    least, most = total(sizes, everything[-1]), total(sizes, everything[0])
    for part in (0.0, 0.2, 0.5, 0.9, 1.0):
        budget = least + part * (most - least)
        best = min(total(costs, choice) for choice in everything if total(sizes, choice) <= budget)
        grid, greedy = (apply.search_bits(costs, sizes, budget, method) for method in ("grid", "greedy"))
        assert total(sizes, grid) <= budget and total(costs, grid) == pytest.approx(best, rel=1e-12)
        assert total(sizes, greedy) <= budget and total(costs, greedy) >= best * (1 - 1e-12)
        for name, bits in greedy.items():
            higher = [b for b in (4, 8) if b > bits]
            assert not higher or total(sizes, {**greedy, name: higher[0]}) > budget
    assert apply.search_bits(costs, sizes, most) == everything[0] and apply.search_bits(costs, sizes, least) == everything[-1]


@small
def test_what_searches_refuse():
    """Budgets below the fewest bits, choices that differ, methods, and more assignments than can be tried."""
    costs = sizes = {"a": {8: 10, 4: 5}}
    many = {i: {8: 2, 4: 1} for i in range(23)}
    for message, call in (("budget_bytes must be at least 5", lambda: apply.search_bits(costs, sizes, 4)),
                          ("budget_bytes must be at least 5", lambda: apply.search_bits(costs, sizes, float("nan"))),
                          ("the same weights with the same choices", lambda: apply.search_bits(costs, {"a": {8: 1}}, 9)),
                          ("method must be greedy or grid", lambda: apply.search_bits(costs, sizes, 9, "random")),
                          ("take greedy, or fewer choices", lambda: apply.search_bits(many, many, 99, "grid"))):
        with pytest.raises(ValueError, match=message):
            call()
