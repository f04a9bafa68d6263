"""Weights of one form while they learn: the latent step by hand, signs and clusters after real training, and their integers."""
import numpy as np
import pytest

import tinyconv as tc
from tinyconv import apply, nn
from tinyconv.compress import quantize as qt

small = pytest.mark.small


def net():
    """Two convolutions with BatchNorm (one γ negative, one 0) between a plain first and last layer."""
    model = nn.Sequential(nn.Conv2d(1, 4, 3, rng=0), nn.ReLU(), nn.Conv2d(4, 6, 3, bias=False, rng=1), nn.BatchNorm2d(6), nn.ReLU(),
                          nn.Conv2d(6, 6, 1, bias=False, rng=2), nn.BatchNorm2d(6), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                          nn.Linear(6, 3, rng=3))
    model[3].weight.data[:] = [1, -2, 0.5, 1, 0, 3]
    return tc.trace(model, (1, 1, 8, 8), check=False)


def given(n=24):
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, 1, 8, 8)).astype(np.float32), np.arange(n) % 3


@small
def test_the_latent_weight_gets_the_step_of_the_projected_one():
    """One weight matrix, plain SGD, two steps of one batch each: w - lr g(ŵ) by hand, in float32; ŵ is always P(w)."""
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((8, 5)).astype(np.float32).reshape(8, 5, 1, 1), np.arange(8) % 4
    model = nn.Sequential(nn.Flatten(), nn.Linear(5, 4, bias=False, rng=0))
    g = tc.trace(model, (1, 5, 1, 1), check=False)
    w, to, lr = g.array("1.weight").astype(np.float64), apply.to_signs("binary"), 0.5
    start = w.copy()
    for _ in range(2):
        shown = to("w", w)
        p = np.exp(x.reshape(8, 5) @ shown.T)
        p /= p.sum(axis=1, keepdims=True)
        p[np.arange(8), y] -= 1
        w = w - lr * p.T @ x.reshape(8, 5) / 8
    options = dict(batch_size=8, momentum=0.0, weight_decay=0.0, schedule=lambda optimizer, steps: tc.optim.StepSchedule(optimizer, [9]))
    made = apply.train_projected(g, x, y, to, epochs=2, lr=lr, progress=False, **options)
    np.testing.assert_allclose(made.array("1.weight"), to("w", w), rtol=1e-5)
    assert (np.sign(w) != np.sign(start)).any()                             # a sign turned, so that the test could tell
    assert np.array_equal(g.array("1.weight"), start.astype(np.float32))


@small
@pytest.mark.parametrize("kind, codes", [("binary", {-1, 1}), ("ternary", {-1, 0, 1})])
def test_signs_stay_signs_and_become_codes(kind, codes):
    """After training each filter named has -α, (0,) α; the integer network has the codes, at γ < 0 and γ = 0 too; others 8 bits."""
    g, (x, y) = net(), given()
    first, *inner, last = apply.layer_weights(g)
    made = apply.train_projected(g, x, y, apply.to_signs(kind), inner, epochs=2, lr=0.05, batch_size=8, progress=False)
    for name in inner:
        rows = made.array(name).reshape(6, -1)
        assert all(len(np.unique(np.abs(row[row != 0]))) == 1 for row in rows) and not np.array_equal(made.array(name), g.array(name))
    coded = apply.with_sign_codes(made, inner)
    np.testing.assert_allclose(tc.graph.run(coded, x), tc.graph.run(made, x), rtol=1e-4, atol=1e-5)
    integers = apply.quantize(coded, x)
    found = {name: set(np.unique(integers.array(name)).tolist()) for name in (first, *inner, last)}
    assert all(found[name] <= codes | {0} and {-1, 1} <= found[name] for name in inner) and len(found[first]) > 10
    with pytest.raises(tc.graph.GraphError, match="project it first"):
        apply.with_sign_codes(g, inner)


@small
def test_clusters_stay_together():
    """What is equal stays equal, 0 stays 0, and one step moves a value by the mean of what it moves its weights."""
    g, (x, y) = net(), given()
    names = list(apply.layer_weights(g))
    shared = apply.project(g, lambda name, w: np.where(np.abs(w) < 0.1, 0, qt.shared(*qt.share(w, 4)[:2])))
    to = apply.to_clusters(shared)
    made = apply.train_projected(shared, x, y, to, epochs=2, lr=0.05, batch_size=8, progress=False)
    for name in names:
        before, after = shared.array(name), made.array(name)
        assert all(len(np.unique(after[before == v])) == 1 for v in np.unique(before)) and (after[before == 0] == 0).all()
        assert not np.array_equal(before, after)
    w = shared.array(names[1]) + np.random.default_rng(2).standard_normal(shared.array(names[1]).shape).astype(np.float32)
    value = np.unique(shared.array(names[1]))[0]
    members = shared.array(names[1]) == value
    np.testing.assert_allclose(to(names[1], w)[members], w[members].mean(), rtol=1e-5)


@small
def test_what_is_refused():
    """A kind that there is not, names that are no weights, something that is no Graph."""
    g = net()
    for call, error, words in ((lambda: apply.to_signs("quaternary"), ValueError, "kind must be one of binary, ternary"),
                               (lambda: apply.project(g, apply.to_signs("binary"), ["9.bias"]), ValueError, "names must be weights of layers, not 9.bias"),
                               (lambda: apply.to_clusters(nn.ReLU()), TypeError, "g must be a Graph"),
                               (lambda: apply.train_projected(g, *given(), apply.to_signs("binary"), epochs=0), ValueError, "epochs")):
        with pytest.raises(error, match=words):
            call()
