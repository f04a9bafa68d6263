"""compress/lowrank: the pair is as near as Eckart and Young say, it computes what its restored weight computes, and it costs what
the formula says; Tucker-2 keeps HOSVD's bound and HOOI is never worse; ALS never rises; budgets are kept and used."""
import itertools

import numpy as np
import pytest

from tinyconv import formulas
from tinyconv.compress import lowrank
from tinyconv.compress.lowrank import ranks

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


# ---- Tucker-2 --------------------------------------------------------------------------------------------------------

def tucker_error(w, parts):
    """‖w - restored‖² in float64."""
    return float(np.square(w.astype(np.float64) - lowrank.restore_tucker2(*parts)).sum())


@small
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("ranks", [(1, 1), (2, 4), (4, 2), (6, 5), (1, 5), (6, 1)])
def test_hosvd_keeps_its_bound_and_hooi_is_never_worse(ranks, dtype):
    """max of the discarded mode energies <= error² of HOOI <= of HOSVD <= their sum; HOOI's sweeps never rise; full ranks
    are the identity; dtype, shapes and orthonormal outer factors as said."""
    w = weight(dtype=dtype)
    sigma, tau = lowrank.mode_singular_values(w)
    dropped = np.square(sigma[ranks[0]:]).sum(), np.square(tau[ranks[1]:]).sum()
    assert lowrank.tucker2_bound(sigma, tau, ranks) == pytest.approx(np.sqrt(sum(dropped)), rel=1e-14, abs=1e-300)
    history = []
    first, better = lowrank.hosvd(w, ranks), lowrank.hooi(w, ranks, history=history)
    room = slack(w) * np.linalg.norm(w)                                       # on squares
    assert max(dropped) - room <= tucker_error(w, better) <= tucker_error(w, first) + room
    assert tucker_error(w, first) <= sum(dropped) + room
    assert (np.diff(history) <= 1e-14 * np.square(w).sum()).all() and abs(history[0] - tucker_error(w, first)) <= room
    assert abs(history[-1] - tucker_error(w, better)) <= room
    for w3, w2, w1 in (first, better):
        assert (w3.shape, w2.shape, w1.shape) == ((6, ranks[0], 1, 1), (*ranks, 3, 2), (ranks[1], 5, 1, 1))
        assert w3.dtype == w2.dtype == w1.dtype == dtype and w1.flags.c_contiguous
        for unit in (w3[:, :, 0, 0].T, w1[:, :, 0, 0]):
            np.testing.assert_allclose(unit @ unit.T, np.eye(len(unit)), atol=32 * np.finfo(dtype).eps)
        assert w3.size + w2.size + w1.size == formulas.low_rank_conv_params(5, 6, (3, 2), ranks, "tucker2", bias=False)
    if ranks == (6, 5):
        assert tucker_error(w, first) <= slack(w) ** 2 and tucker_error(w, better) <= slack(w) ** 2


@small
def test_slips_of_hosvd():
    """Two things that are said of HOSVD and are wrong: that its error is the sum of the discarded energies (it is less), and
    that, as with matrices, it is the best (HOOI is better)."""
    gains = []
    for seed in range(10):
        w, history = weight((8, 8, 3, 3), seed), []
        sigma, tau = lowrank.mode_singular_values(w)
        lowrank.hooi(w, (2, 2), history=history)
        assert history[0] < 0.95 * lowrank.tucker2_bound(sigma, tau, (2, 2)) ** 2
        gains.append(1 - history[-1] / history[0])
    assert min(gains) > 1e-3


@small
def test_a_tucker_weight_is_found_exactly():
    """A weight made of a core and two factors comes back at its ranks; energy 1 asks for no more than these."""
    rng = np.random.default_rng(0)
    w = lowrank.restore_tucker2(rng.standard_normal((6, 2, 1, 1)), rng.standard_normal((2, 3, 3, 2)), rng.standard_normal((3, 5, 1, 1)))
    assert w.shape == SHAPE and tucker_error(w, lowrank.hosvd(w, (2, 3))) <= slack(w) ** 2
    assert lowrank.tucker2_ranks_by_energy(w, 1 - 1e-12) == (2, 3)


@small
@pytest.mark.parametrize("energy", [0.0, 0.5, 0.9, 0.99])
def test_tucker_ranks_keep_the_energy(energy):
    """By the bound: error² <= (1 - energy) ‖w‖²; and no pair with one rank less in both would be sure to."""
    w = weight((9, 7, 3, 3))
    k, j = lowrank.tucker2_ranks_by_energy(w, energy)
    assert tucker_error(w, lowrank.hosvd(w, (k, j))) <= (1 - energy) * np.square(w).sum()
    if min(k, j) > 1:
        sigma, tau = lowrank.mode_singular_values(w)
        assert lowrank.tucker2_bound(sigma, tau, (k - 1, j - 1)) ** 2 > (1 - energy) * np.square(w).sum()


@small
@pytest.mark.parametrize("kind", ["tucker2", "cp"])
def test_the_chain_computes_the_restored_weight(kind):
    """Convolutions one after the other, stride and padding where `low_rank_conv_geometries` puts them, equal one with the
    restored weight."""
    w, x = weight(), weight((5, 9, 8), seed=1)
    rank = (4, 3) if kind == "tucker2" else 3
    parts = lowrank.hosvd(w, rank) if kind == "tucker2" else lowrank.cp(w, rank, starts=1).weights
    whole = (lowrank.restore_tucker2 if kind == "tucker2" else lowrank.restore_cp)(*parts)
    g = formulas.conv2d_geometry((1, 5, 9, 8), SHAPE, stride=(2, 3), padding=(1, 1))
    y = x
    for part, layer in zip(parts[::-1], formulas.low_rank_conv_geometries(g, rank, kind)):
        assert part.shape == layer.w_shape
        inputs = np.split(y, layer.groups)
        y = np.concatenate([conv(inputs[i], filters, (layer.sh, layer.sw), (layer.top, layer.left))
                            for i, filters in enumerate(np.split(part, layer.groups))])
    expected = conv(x, whole, (2, 3), (1, 1))
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e3 * np.finfo(float).eps * np.abs(expected).max())


# ---- CP --------------------------------------------------------------------------------------------------------------

@small
@pytest.mark.parametrize("rank", [1, 3, 8])
def test_als_never_rises(rank):
    """Every least-squares step leaves the squared error as it was or lower; the last is that of the restored weight; shapes and
    parameters as said; more starts are never worse."""
    w = weight()
    found = lowrank.cp(w, rank, starts=2, sweeps=40)
    assert (np.diff(found.errors) <= 0).all() and found.errors[-1] < np.square(w).sum()
    assert [part.shape for part in found.weights] == [(6, rank, 1, 1), (rank, 1, 1, 2), (rank, 1, 3, 1), (rank, 5, 1, 1)]
    assert np.square(w - lowrank.restore_cp(*found.weights)).sum() == pytest.approx(found.errors[-1], rel=1e-10)
    assert sum(part.size for part in found.weights) == formulas.low_rank_conv_params(5, 6, (3, 2), rank, "cp", bias=False)
    assert found.errors[-1] <= lowrank.cp(w, rank, starts=1, sweeps=40).errors[-1]
    again = lowrank.cp(w, rank, starts=2, sweeps=40)
    assert all(np.array_equal(a, b) for a, b in zip(found.weights, again.weights))
    sizes = [np.linalg.norm(part.reshape(rank, -1) if i else part[:, :, 0, 0].T, axis=1) for i, part in enumerate(found.weights)]
    np.testing.assert_allclose(sizes, sizes[:1] * 4, rtol=1e-10)               # the size of a term is shared equally
    assert (np.diff(sizes[0]) <= 1e-12).all()


@small
def test_a_sum_of_few_terms_is_found():
    """A weight that is a sum of three terms comes back at rank 3; its best single term is not better than SVD's (rank 1)."""
    rng = np.random.default_rng(3)
    parts = [rng.standard_normal(shape) for shape in ((6, 3, 1, 1), (3, 1, 1, 2), (3, 1, 3, 1), (3, 5, 1, 1))]
    w = lowrank.restore_cp(*parts)
    found = lowrank.cp(w, 3, sweeps=500, tolerance=1e-14)
    assert found.errors[-1] <= 1e-8 * np.square(w).sum() and not found.degenerate
    one = lowrank.cp(w, 1).errors[-1]
    assert one >= lowrank.truncation_error(lowrank.singular_values(w, "channel_out"), 1) ** 2 * (1 - 1e-12)


@small
def test_slip_more_sweeps_are_always_better():
    """A sum of three terms that sums of two come as near as you like, and none reaches: the error falls and falls, while two
    terms grow and cancel. More sweeps make it worse to use, and the result says so; rank 3 is exact and well."""
    w = np.zeros((2, 2, 2, 1))
    w[0, 0, 1] = w[0, 1, 0] = w[1, 0, 0] = 1
    short, long = (lowrank.cp(w, 2, starts=2, sweeps=sweeps, tolerance=0) for sweeps in (30, 600))
    assert long.errors[-1] < 0.1 * short.errors[-1] and long.growth > 1.5 * short.growth
    assert long.degenerate and long.congruence < -0.9 < short.congruence
    exact = lowrank.cp(w, 3)
    assert exact.errors[-1] < 1e-20 and not exact.degenerate


# ---- one budget for many layers --------------------------------------------------------------------------------------

@small
def test_share_budget():
    """Against all combinations, on random layers: never above the budget, never better than the best, and behind it by no more
    than the largest step on a hull; no layer alone could do better with what is left."""
    rng = np.random.default_rng(0)
    for _ in range(30):
        choices = []
        for _ in range(3):
            sigma = np.sort(rng.random(5))[::-1] ** 2
            unit = int(rng.integers(1, 9))
            losses = [sigma[k:].sum() / sigma.sum() for k in range(1, 5)]
            choices.append(([unit * k for k in range(1, 5)] + [unit * 6], losses + [0.0]))
        costs, losses = ([np.array(rows[i]) for rows in choices] for i in (0, 1))
        cheapest = sum(c.min() for c in costs)
        for budget in range(cheapest, sum(c.max() for c in costs) + 1, 5):
            taken = lowrank.share_budget(choices, budget)
            spent, lost = (sum(rows[i] for rows, i in zip(table, taken)) for table in (costs, losses))
            best = min(sum(row[i] for row, i in zip(losses, combination)) for combination in itertools.product(range(5), repeat=3)
                       if sum(row[i] for row, i in zip(costs, combination)) <= budget)
            hulls = [row[ranks._hull(c, row)] for c, row in zip(costs, losses)]
            steps = max(float(-np.diff(row).min()) for row in hulls)
            assert spent <= budget and best - 1e-12 <= lost <= best + steps
            for c, row, i in zip(costs, losses, taken):
                assert all(row[other] >= row[i] - 1e-12 for other in range(5) if spent - c[i] + c[other] <= budget)


# ---- slips that circulate --------------------------------------------------------------------------------------------

@small
def test_slip_a_bias_on_both_factors():
    """Two layers made with their usual biases: the old bias is lost and two random ones are added. Right: none between, the old
    one at the end; then a pair of full rank computes what the layer did."""
    rng = np.random.default_rng(0)
    w, b, x = weight((6, 5)), rng.standard_normal(6), weight((4, 5), seed=1)
    w2, w1 = lowrank.svd_linear(w, 5)
    y = x @ w.T + b
    wrong = (x @ w1.T + rng.standard_normal(5)) @ w2.T + rng.standard_normal(6)
    right = x @ w1.T @ w2.T + b
    assert np.abs(right - y).max() <= 64 * np.finfo(float).eps * np.abs(y).max() < 0.1 < np.abs(wrong - y).max()


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
    (lambda: lowrank.hosvd(weight(), 3), r"ranks must be a pair \(k, j\): .*, not 3"),
    (lambda: lowrank.hooi(weight(), (7, 2)), r"ranks\[0\] must be an integer from 1 to 6, not 7"),
    (lambda: lowrank.hooi(weight(), (2, 6)), r"ranks\[1\] must be an integer from 1 to 5, not 6"),
    (lambda: lowrank.hosvd(weight((6, 5, 1, 2)), (5, 2)), "a core of 5 x 2 has dead channels"),
    (lambda: lowrank.hosvd(weight(), (2, 2), groups=2), "groups must be 1, not 2"),
    (lambda: lowrank.hosvd(weight((4, 3)), (2, 2)), r"w must be \(F,C,KH,KW\) for kind 'tucker2'"),
    (lambda: lowrank.tucker2_bound([2.0, 1.0], [1.0], (1, 2)), r"ranks\[1\] must be an integer from 0 to 1, not 2"),
    (lambda: lowrank.tucker2_ranks_by_energy(weight(), 1.2), "energy must be a fraction from 0 to 1, not 1.2"),
    (lambda: lowrank.cp(weight(), 31), "rank must be an integer from 1 to 30, not 31"),
    (lambda: lowrank.cp(weight() * np.nan, 2), "w must be finite"),
    (lambda: lowrank.cp(weight(), 2, groups=5), "groups must be 1, not 5"),
    (lambda: lowrank.cp(weight(), 2, starts=0), "starts must be an integer of at least 1, not 0"),
    (lambda: lowrank.share_budget([([3, 5], [1.0, 0.0])], 2), "budget must be at least 3, what the cheapest choices cost, not 2"),
])
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
