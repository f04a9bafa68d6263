"""compress/lowrank: the pair is as near as Eckart and Young say, it computes what its restored weight computes, and it costs what the formula says."""
import numpy as np
import pytest

from tinyconv import formulas
from tinyconv.compress import lowrank

small = pytest.mark.small
SHAPE = (6, 5, 3, 2)


def weight(shape=SHAPE, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def slack(w):
    """Rounding of the SVD and of the product: a few dozen units of ‖w‖ in w's own precision."""
    return 64 * np.finfo(w.dtype).eps * np.linalg.norm(w)


def conv(x, w, stride=(1, 1), padding=(0, 0)):
    """Plain convolution, x (C,H,W), w (F,C,KH,KW) -> (F,OH,OW)."""
    x = np.pad(x, ((0, 0), (padding[0],) * 2, (padding[1],) * 2))
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], axis=(1, 2))[:, ::stride[0], ::stride[1]]
    return np.einsum("chwyx,fcyx->fhw", windows, w)


@small
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(5, 8), (8, 5), (1, 7), (6, 6)])
def test_svd_linear_error_is_eckart_young(shape, dtype):
    """‖w - w2 w1‖ = sqrt(Σ dropped σ²) at every rank, exact at full rank; dtype and shapes as said."""
    w = weight(shape, dtype=dtype)
    sigma = lowrank.singular_values(w)
    assert np.linalg.norm(w.astype(np.float64)) == pytest.approx(np.linalg.norm(sigma), rel=1e-14)
    for k in range(1, lowrank.max_rank(shape, "linear") + 1):
        w2, w1 = lowrank.svd_linear(w, k)
        assert (w2.shape, w1.shape, w2.dtype, w1.dtype) == ((shape[0], k), (k, shape[1]), dtype, dtype)
        error = np.linalg.norm(w.astype(np.float64) - lowrank.restore(w2, w1, "linear"))
        assert abs(error - lowrank.truncation_error(sigma, k)) <= slack(w)
        assert w2.size + w1.size == formulas.low_rank_linear_params(shape[1], shape[0], k, bias=False)
    assert lowrank.truncation_error(sigma, len(sigma)) == 0


@small
@pytest.mark.parametrize("kind", lowrank.KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_svd_conv_error_is_eckart_young(kind, dtype):
    w = weight(dtype=dtype)
    sigma = lowrank.singular_values(w, kind)
    limit = lowrank.max_rank(SHAPE, kind)
    assert limit == len(sigma)
    for k in (1, 2, limit - 1, limit):
        w2, w1 = lowrank.svd_conv(w, k, kind)
        assert w2.dtype == w1.dtype == dtype and w2.flags.c_contiguous and w1.flags.c_contiguous
        error = np.linalg.norm(w.astype(np.float64) - lowrank.restore(w2, w1, kind))
        assert abs(error - lowrank.truncation_error(sigma, k)) <= slack(w)
        assert w2.size + w1.size == formulas.low_rank_conv_params(5, 6, (3, 2), k, kind, bias=False)


@small
@pytest.mark.parametrize("kind", lowrank.KINDS)
def test_two_layers_compute_the_restored_weight(kind):
    """Two convolutions, with stride and padding where `low_rank_conv_geometries` puts them, equal one with the restored weight."""
    w, x = weight(), weight((5, 9, 8), seed=1)
    w2, w1 = lowrank.svd_conv(w, 3, kind)
    g = formulas.conv2d_geometry((1, 5, 9, 8), SHAPE, stride=(2, 3), padding=(1, 1))
    first, second = formulas.low_rank_conv_geometries(g, 3, kind)
    assert w1.shape == first.w_shape and w2.shape == second.w_shape
    between = conv(x, w1, (first.sh, first.sw), (first.top, first.left))
    y = conv(between, w2, (second.sh, second.sw), (second.top, second.left))
    expected = conv(x, lowrank.restore(w2, w1, kind), (2, 3), (1, 1))
    np.testing.assert_allclose(y, expected, rtol=0, atol=256 * np.finfo(float).eps * np.abs(expected).max())


@small
def test_a_low_rank_weight_is_found_exactly():
    """A weight that is a pair of rank 2 comes back with no error at rank 2, for every kind."""
    rng = np.random.default_rng(0)
    pairs = {"channel_out": ((6, 2, 1, 1), (2, 5, 3, 2)), "channel_in": ((6, 2, 3, 2), (2, 5, 1, 1)), "spatial": ((6, 2, 1, 2), (2, 5, 3, 1))}
    for kind, (shape2, shape1) in pairs.items():
        w = lowrank.restore(rng.standard_normal(shape2), rng.standard_normal(shape1), kind)
        assert w.shape == SHAPE
        assert np.linalg.norm(w - lowrank.restore(*lowrank.svd_conv(w, 2, kind), kind)) <= slack(w)


@small
def test_no_other_pair_is_nearer():
    """Eckart-Young as an experiment: no random change of the factors makes the error smaller."""
    w, rng = weight((7, 6)), np.random.default_rng(1)
    w2, w1 = lowrank.svd_linear(w, 2)
    best = np.linalg.norm(w - w2 @ w1)
    for _ in range(200):
        a, b = w2 + 0.05 * rng.standard_normal(w2.shape), w1 + 0.05 * rng.standard_normal(w1.shape)
        assert np.linalg.norm(w - a @ b) > best


@small
def test_square_roots_and_signs():
    """Both factors carry sqrt(σ): ‖column i of w2‖ = ‖row i of w1‖ = sqrt(σ_i). The largest entry of each column of w2 is positive,
    so -w changes only w1."""
    w = weight((7, 6))
    w2, w1 = lowrank.svd_linear(w, 4)
    root = np.sqrt(lowrank.singular_values(w)[:4])
    np.testing.assert_allclose(np.linalg.norm(w2, axis=0), root, rtol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(w1, axis=1), root, rtol=1e-12)
    assert (w2[np.abs(w2).argmax(axis=0), range(4)] > 0).all()
    minus2, minus1 = lowrank.svd_linear(-w, 4)
    np.testing.assert_allclose(minus2, w2, atol=1e-12)
    np.testing.assert_allclose(minus1, -w1, atol=1e-12)


@small
def test_zero_weight():
    """All zeros: every rank restores them, and one rank holds all the energy there is."""
    w2, w1 = lowrank.svd_conv(np.zeros(SHAPE, np.float32), 2, "spatial")
    assert not w2.any() and not w1.any()
    assert lowrank.rank_by_energy(np.zeros(4), 0.9) == 1


@small
def test_rank_by_energy():
    """The least rank, against trying all; its relative error is at most sqrt(1 - energy)."""
    sigma = lowrank.singular_values(weight((9, 12)))
    for energy in (0.0, 0.3, 0.5, 0.9, 0.99, 1.0):
        k = lowrank.rank_by_energy(sigma, energy)
        enough = [r for r in range(1, 10) if np.cumsum(sigma ** 2)[r - 1] >= energy * np.cumsum(sigma ** 2)[-1]]
        assert k == enough[0]
        assert lowrank.truncation_error(sigma, k) <= np.sqrt(1 - energy + 1e-15) * np.linalg.norm(sigma)


@small
def test_rank_by_budget():
    """The largest rank whose exact count fits, in parameters and in MACs; never above the full rank."""
    g = formulas.conv2d_geometry((1, 8, 10, 10), (16, 8, 3, 3), 2, 1)
    for kind in lowrank.KINDS:
        limit, unit = lowrank.max_rank(g.w_shape, kind), formulas.low_rank_conv_macs(g, 1, kind)
        for budget in (unit, 3 * unit + 1, 5 * unit - 1, 1000 * unit):
            k = lowrank.rank_by_budget(unit, budget, limit)
            fits = [r for r in range(1, limit + 1) if formulas.low_rank_conv_macs(g, r, kind) <= budget]
            assert k == fits[-1]


@small
def test_slip_rank_that_enlarges():
    """A rank taken as half the outputs can make a layer larger: 512×256 pays up to rank 170 only, half of 512 does not."""
    assert formulas.low_rank_linear_params(256, 512, 170, bias=False) < 512 * 256 < formulas.low_rank_linear_params(256, 512, 171, bias=False)
    assert formulas.low_rank_linear_params(256, 512, 512 // 2, bias=False) == 1.5 * 512 * 256


@small
@pytest.mark.parametrize("call, message", [
    (lambda: lowrank.svd_linear(weight(), 1), r'w must be \(F,C\) for kind "linear", not shape'),
    (lambda: lowrank.svd_linear(weight((4, 3)), 4), "rank must be an integer from 1 to 3, not 4"),
    (lambda: lowrank.svd_linear(weight((4, 3)), 0), "rank must be an integer from 1 to 3, not 0"),
    (lambda: lowrank.svd_linear(weight((4, 3)), 1.5), "rank must be an integer"),
    (lambda: lowrank.svd_linear(weight((4, 3)) * np.nan, 1), "w must be finite: 12 of 12"),
    (lambda: lowrank.svd_conv(weight(), 1, "tucker"), "kind must be one of linear, channel_out, channel_in, spatial, not 'tucker'"),
    (lambda: lowrank.svd_conv(weight((4, 3)), 1, "linear"), "that is svd_linear"),
    (lambda: lowrank.svd_conv(weight((4, 3)), 1, "spatial"), r"w must be \(F,C,KH,KW\) for kind 'spatial'"),
    (lambda: lowrank.svd_conv(weight(), 1, "spatial", groups=2), "groups must be 1, not 2: each group is a matrix of its own"),
    (lambda: lowrank.svd_conv(weight(), 6, "channel_in"), "rank must be an integer from 1 to 5, not 6"),
    (lambda: lowrank.restore(weight(), weight(), "cp"), "kind must be one of"),
    (lambda: lowrank.rank_by_energy([1.0, 2.0], 0.5), "sigma must be one row of singular values, falling"),
    (lambda: lowrank.rank_by_energy([2.0, 1.0], 90), "energy must be a fraction from 0 to 1, not 90.0"),
    (lambda: lowrank.rank_by_budget(10, 9, 4), "budget must be at least 10, the cost of rank 1, not 9"),
    (lambda: lowrank.truncation_error([2.0, 1.0], 3), "rank must be an integer from 0 to 2, not 3"),
])
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
