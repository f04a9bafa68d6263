"""Batch normalization against its formulas in float64, in both layouts and modes.

Bounds, u = 2^-24 for float32: sums are float64 (u64 = 2^-53), results rounded once to float32. The backward pass multiplies
and adds at most 12 float32 roundings deep (x - mean, times inv_std, times dy, three additions of four pixels, the casts
of the sums, and the final scale, two products and two sums); float64 adds M of its own.
"""
import numpy as np
import pytest

import tinyconv as tc
from tinyconv.kernels import layout

SHAPES = [
    pytest.param((1, 1, 1, 1), marks=pytest.mark.small, id="one value"),
    pytest.param((2, 3, 2, 2), marks=pytest.mark.small, id="small"),
    pytest.param((3, 5, 1, 3), marks=pytest.mark.small, id="odd"),
    pytest.param((7, 33, 9, 5), id="slabs that do not divide"),
    pytest.param((64, 96, 14, 14), id="training size"),
    pytest.param((2, 1, 40, 40), id="one channel"),
]
KINDS = [pytest.param(np.float32, "fast", id="fast"), pytest.param(np.float32, "plain", id="plain"),
         pytest.param(np.float64, "fast", id="float64")]


def channels_last(x):
    y = layout.empty(x.shape, x.dtype)
    y[...] = x
    return y


def per_channel(v):
    return v.astype(np.float64)[:, None, None]


def summed(a):
    """Sum over images and pixels, in long double: (N,C,H,W) -> (C,)."""
    return a.sum((0, 2, 3), dtype=np.longdouble)


def data(rng, shape, dtype, mean=0.0, std=1.0):
    return (mean + std * rng.standard_normal(shape)).astype(dtype)


@pytest.mark.parametrize("dtype, mode", KINDS)
@pytest.mark.parametrize("mean, std", ((0.0, 1.0), (1000.0, 0.01), (-3.0, 1e-6)), ids=("standard", "far from zero", "narrow"))
@pytest.mark.parametrize("shape", SHAPES)
def test_statistics(shape, mean, std, dtype, mode):
    """Mean and biased variance, also where the mean is 100000 deviations off: nothing cancels.

    float64 sums of m values: the mean is off by m*u64*mean|x|; two passes: the variance by (m + 3)*u64*var and the square of the
    mean's error; one pass (fast): (m + 4)*u64*(var + (mean - a)^2), a being the first value. Both then rounded to dtype.
    """
    rng = np.random.default_rng(0)
    x = data(rng, shape, dtype, mean, std)
    m = x.size // shape[1]
    exact = x.astype(np.longdouble)
    true_mean = summed(exact) / m
    true_var = summed((exact - true_mean[:, None, None]) ** 2) / m
    u, u64 = np.finfo(dtype).eps / 2, 2.0 ** -53
    mean_bound = m * u64 * summed(np.abs(exact)) / m
    shift = (exact[0, :, 0, 0] - true_mean) ** 2
    var_bound = (m + 4) * u64 * (true_var + shift) + mean_bound ** 2
    for lying in (x, channels_last(x)):
        with tc.kernels.use(mode):
            got_mean, got_var = tc.kernels.batch_norm_statistics(lying)
        assert got_mean.dtype == got_var.dtype == dtype and got_mean.shape == got_var.shape == shape[1:2]
        assert (np.abs(got_mean - true_mean) <= u * np.abs(true_mean) + 2 * mean_bound).all()
        assert (np.abs(got_var - true_var) <= u * true_var + 2 * var_bound + np.finfo(dtype).tiny).all()
        assert (got_var >= 0).all()


@pytest.mark.small
@pytest.mark.parametrize("mode", ("fast", "plain"))
def test_statistics_of_constant_and_infinite_channels(mode):
    """A constant channel has variance exactly 0; infinities and NaN stay in their channel and reach its variance as NaN."""
    x = np.ones((2, 5, 2, 2), np.float32)
    x[:, 1] = 0.1
    x[0, 2, 0, 0] = np.inf
    x[1, 3, 1, 1] = np.nan
    x[0, 4, 0, 0] = 1e6                                                               # a first value far off the others
    with tc.kernels.use(mode), np.errstate(invalid="ignore"):
        mean, var = tc.kernels.batch_norm_statistics(x)
    assert mean[0] == 1 and var[0] == 0 and mean[1] == np.float32(0.1) and var[1] == 0
    assert mean[2] == np.inf and np.isnan(mean[3]) and np.isnan(var[2:4]).all()
    np.testing.assert_allclose([mean[4], var[4]], [x[:, 4].mean(dtype=np.float64), x[:, 4].var(dtype=np.float64)], rtol=2 ** -23)


@pytest.mark.parametrize("dtype, mode", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_apply(shape, dtype, mode):
    """y = x * scale + shift: one product, one sum, |err| <= u*|x*scale| + u*(|y| + the former)."""
    rng = np.random.default_rng(0)
    x, scale, shift = data(rng, shape, dtype), data(rng, shape[1], dtype), data(rng, shape[1], dtype)
    product = x.astype(np.longdouble) * per_channel(scale)
    expected = product + per_channel(shift)
    u = np.finfo(dtype).eps / 2
    for lying in (x, channels_last(x)):
        with tc.kernels.use(mode):
            y = tc.kernels.batch_norm_apply(lying, scale, shift)
        assert y.dtype == dtype and y.shape == shape
        assert (np.abs(y - expected) <= u * (1 + u) * np.abs(product) + u * np.abs(expected)).all()


@pytest.mark.parametrize("dtype, mode", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_gradients(shape, dtype, mode):
    """dx, dgamma and dbeta against their formulas, with random cotangents."""
    rng = np.random.default_rng(0)
    x, dy, gamma = data(rng, shape, dtype, 2.0, 3.0), data(rng, shape, dtype), data(rng, shape[1], dtype)
    m = x.size // shape[1]
    mean, inv_std = x.mean((0, 2, 3)), (1 / np.sqrt(x.var((0, 2, 3)) + 1e-5)).astype(dtype)
    x_hat = (x.astype(np.longdouble) - per_channel(mean)) * per_channel(inv_std)
    dbeta, dgamma = summed(dy.astype(np.longdouble)), summed(dy * x_hat)
    scale = per_channel(gamma * inv_std.astype(np.float64))
    expected = scale * (dy - dbeta[:, None, None] / m - x_hat * dgamma[:, None, None] / m)
    depth = 12 * np.finfo(dtype).eps / 2 + m * 2.0 ** -53
    size_beta, size_gamma = summed(np.abs(dy.astype(np.longdouble))), summed(np.abs(dy * x_hat))
    means = size_beta[:, None, None] / m, np.abs(x_hat) * size_gamma[:, None, None] / m
    bound = 2 * depth * np.abs(scale) * (np.abs(dy) + means[0] + means[1])
    for lay in (np.array, channels_last):
        with tc.kernels.use(mode):
            got, got_gamma, got_beta = tc.kernels.batch_norm_grad(lay(dy), lay(x), mean, inv_std, gamma)
        assert got.dtype == got_gamma.dtype == got_beta.dtype == dtype and got.shape == shape
        assert (np.abs(got_beta - dbeta) <= depth * size_beta).all()
        assert (np.abs(got_gamma - dgamma) <= depth * size_gamma).all()
        assert (np.abs(got - expected) <= bound).all()


@pytest.mark.small
def test_the_gradient_is_the_derivative():
    """Central differences of sum(r * batch_norm(x)) along a random direction in float64: the formulas belong to each other.

    The error of a difference quotient with step h is h^2/6 times the third derivative, and rounding about 1e-16/h: with h = 1e-4
    and values near 1, below 1e-6.
    """
    rng = np.random.default_rng(0)
    x, r, along = (rng.standard_normal((3, 2, 2, 3)) for _ in range(3))
    gamma, beta, eps, h = rng.uniform(0.5, 1.5, 2), rng.standard_normal(2), 1e-3, 1e-4

    def loss(x):
        mean, var = tc.kernels.batch_norm_statistics(x)
        scale = gamma / np.sqrt(var + eps)
        return (r * tc.kernels.batch_norm_apply(x, scale, beta - mean * scale)).sum()

    mean, var = tc.kernels.batch_norm_statistics(x)
    dx, dgamma, dbeta = tc.kernels.batch_norm_grad(r, x, mean, 1 / np.sqrt(var + eps), gamma)
    assert abs((loss(x + h * along) - loss(x - h * along)) / (2 * h) - (dx * along).sum()) < 1e-6
    x_hat = (x - mean[:, None, None]) / np.sqrt(var + eps)[:, None, None]
    np.testing.assert_allclose(dgamma, (r * x_hat).sum((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(dbeta, r.sum((0, 2, 3)), rtol=1e-12)
    assert np.abs(dx.sum((0, 2, 3))).max() < 1e-12                                    # a shift of x changes nothing


@pytest.mark.parametrize("mode", ("fast", "plain"))
def test_results_do_not_depend_on_layout_or_threads(mode):
    """The same bits from both layouts and from one, two and three threads: slabs depend on the shape alone."""
    rng = np.random.default_rng(0)
    x, dy = data(rng, (6, 20, 15, 15), np.float32), data(rng, (6, 20, 15, 15), np.float32)
    v = data(rng, (3, 20), np.float32)
    before, results = tc.kernels.get_num_threads(), []
    try:
        for n in (1, 2, 3):
            tc.kernels.set_num_threads(n)
            for lay in (np.array, channels_last):
                with tc.kernels.use(mode):
                    results.append((*tc.kernels.batch_norm_statistics(lay(x)), tc.kernels.batch_norm_apply(lay(x), v[0], v[1]),
                                    *tc.kernels.batch_norm_grad(lay(dy), lay(x), *v)))
    finally:
        tc.kernels.set_num_threads(before)
    for other in results[1:]:
        for a, b in zip(results[0], other):
            np.testing.assert_array_equal(a, b)


@pytest.mark.small
@pytest.mark.parametrize("shape", [(2, 3, 5, 4), (3, 37, 9, 8)])
def test_training_in_one_call(shape):
    """batch_norm_train is statistics, scales, apply and moving averages one after the other; clip_grad_sums is clip_grad and channel_sums."""
    rng = np.random.default_rng(0)
    c = shape[1]
    x, dy = (rng.standard_normal(shape).astype(np.float32) for _ in range(2))
    gamma, beta, old_mean, old_var = (rng.uniform(0.5, 2, c).astype(np.float32) for _ in range(4))
    m = x.size // c
    for given in ((gamma, beta), (None, None)):
        for bounds in ((None, None), (0.0, 1.0)):
            y, mean, inv_std, scale, new_mean, new_var = tc.kernels.batch_norm_train(x, *given, old_mean, old_var, 0.2, 1e-5, *bounds)
            wanted_mean, wanted_var = tc.kernels.batch_norm_statistics(x)
            scales = tc.kernels.batch_norm_scales(wanted_mean, wanted_var, *given, 1e-5)
            assert np.array_equal(mean, wanted_mean) and np.allclose(inv_std, scales[0], rtol=1e-6) and np.allclose(scale, scales[1], rtol=1e-6)
            assert np.allclose(y, tc.kernels.batch_norm_apply(x, *scales[1:], *bounds), atol=1e-5)
            assert np.allclose(new_mean, old_mean + 0.2 * (mean - old_mean), rtol=1e-6)
            assert np.allclose(new_var, old_var + 0.2 * (wanted_var * m / (m - 1) - old_var), rtol=1e-6)
            if bounds[0] is not None:
                dx, sums = tc.kernels.clip_grad_sums(dy, y, *bounds)
                assert np.array_equal(dx, tc.kernels.clip_grad(dy, y, *bounds)) and np.array_equal(dx, dy * ((y > 0) & (y < 1)))
                assert np.allclose(sums, dx.astype(np.float64).sum((0, 2, 3)), rtol=1e-6, atol=1e-6)
                wide = layout.empty((shape[0], 2 * c, *shape[2:]), np.float32)
                wide[...], wide[:, c:] = np.nan, dy                                              # a part of a concatenation's gradient
                for a, b in zip(tc.kernels.clip_grad_sums(wide[:, c:], y, *bounds), (dx, sums)):
                    assert np.array_equal(a, b)
    with pytest.raises(ValueError, match="running_var must have shape"):
        tc.kernels.batch_norm_train(x, gamma, beta, old_mean, old_var[:2])
