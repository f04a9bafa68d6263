"""compress/prune's criteria, schedules and proximal steps: each against its formula in loops, and every slip beside the right form."""
import itertools

import numpy as np
import pytest

from tinyconv.compress import prune

pytestmark = pytest.mark.small
SHAPE = (5, 4, 3, 2)


def weight(seed=0, shape=SHAPE, dtype=np.float64):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


# ---- single weights --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scores_of_weights(dtype):
    """Number by number against the formula, in float64 whatever comes in; what comes in is not changed."""
    w, g = weight(0, dtype=dtype), weight(1, dtype=dtype)
    before = w.copy(), g.copy()
    pairs = [(float(a), float(b)) for a, b in zip(w.ravel(), g.ravel())]
    for scores, expected in ((prune.gradient_scores(g), [abs(b) for _, b in pairs]),
                             (prune.taylor_scores(w, g), [abs(a * b) for a, b in pairs]),
                             (prune.movement_scores(w, g), [-a * b for a, b in pairs])):
        assert scores.dtype == np.float64 and scores.shape == w.shape and scores.ravel().tolist() == expected
    assert np.array_equal(w, before[0]) and np.array_equal(g, before[1])
    random = prune.random_weight_scores(w, 3)
    assert random.shape == w.shape and np.array_equal(random, prune.random_weight_scores(w, 3))
    assert not np.array_equal(random, prune.random_weight_scores(w, 4)) and 0 <= random.min() <= random.max() < 1


def test_masks_of_several_arrays():
    """Exactly k go, as from one row; one array alone is the local form."""
    scores = [weight(0, (6, 5)), weight(1, (7,)), weight(2, (2, 3, 3))]
    for sparsity in (0.0, 0.3, 0.77, 1.0):
        masks = prune.mask_smallest_of_all(scores, sparsity)
        row = prune.mask_smallest(np.concatenate([s.ravel() for s in scores]), sparsity)
        assert np.array_equal(np.concatenate([m.ravel() for m in masks]), row)
        assert np.count_nonzero(~row) == round(55 * sparsity)


def test_lamp():
    """Against the formula in loops, ties by index; the order within a layer is that of |w|; a layer's largest weight scores 1."""
    w = np.array([[0.5, -2.0, 0.5], [0.0, 1.0, -0.5]])
    flat = w.ravel().tolist()
    order = sorted(range(6), key=lambda i: (abs(flat[i]), i))
    scores = prune.lamp_scores(w).ravel()
    for place, i in enumerate(order):
        assert scores[i] == pytest.approx(flat[i] ** 2 / sum(flat[v] ** 2 for v in order[place:]), rel=1e-14)
    assert np.argsort(scores, kind="stable").tolist() == order and scores[1] == 1.0
    assert not prune.lamp_scores(np.zeros((2, 2))).any()


def test_lamp_empties_no_layer():
    """One layer's weights a thousand times smaller: the threshold of |w| wipes it out, LAMP leaves each layer at least one."""
    layers = [weight(0, (4, 8)), 1e-3 * weight(1, (4, 8)), weight(2, (2, 4))]
    by_size = prune.global_magnitude(layers, 0.5)
    assert not by_size[1].any()
    for sparsity in (0.5, 0.9, 69 / 72):
        assert all(mask.any() for mask in prune.mask_smallest_of_all([prune.lamp_scores(w) for w in layers], sparsity))


@pytest.mark.parametrize("shape", [(3, 8, 3, 3), (3, 10, 1, 2), (5, 9)])
@pytest.mark.parametrize("n, m", [(1, 4), (2, 4), (4, 4), (3, 5)])
def test_n_of_m(shape, n, m):
    """Every block of M input channels keeps its N largest, each filter and tap by itself; the count is exact, the tail included."""
    w = np.round(weight(0, shape), 1)                                            # rounded: ties
    mask = prune.n_of_m(w, n, m)
    c, rest = shape[1], int(np.prod(shape)) // shape[1]
    assert np.count_nonzero(mask) == rest * (n * (c // m) + min(n, c % m))
    for f, *taps in itertools.product(range(shape[0]), *map(range, shape[2:])):
        row, kept = np.abs(w[(f, slice(None), *taps)]), mask[(f, slice(None), *taps)]
        for first in range(0, c, m):
            block = row[first:first + m].tolist()
            order = sorted(range(len(block)), key=lambda i: (block[i], i))
            assert np.flatnonzero(kept[first:first + m]).tolist() == sorted(order[max(0, len(block) - n):])


def test_shuffled_mask():
    """As many kept, elsewhere, repeatable."""
    mask = prune.magnitude(weight(), 0.7)
    other = prune.shuffled_mask(mask, 0)
    assert other.shape == mask.shape and other.sum() == mask.sum() and not np.array_equal(other, mask)
    assert np.array_equal(other, prune.shuffled_mask(mask, np.random.default_rng(0)))


# ---- whole filters ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("shape", [SHAPE, (5, 7)])
def test_scores_of_filters(shape):
    """Against loops, for convolutions and linear layers."""
    w, g = weight(0, shape), weight(1, shape)
    rows = [[a * b for a, b in zip(u.ravel().tolist(), v.ravel().tolist())] for u, v in zip(w, g)]
    assert prune.taylor_sum_abs_scores(w, g) == pytest.approx([sum(map(abs, row)) for row in rows], rel=1e-13)
    assert prune.taylor_abs_sum_scores(w, g) == pytest.approx([abs(sum(row)) for row in rows], rel=1e-12)
    assert prune.taylor_sum_squares_scores(w, g) == pytest.approx([sum(v * v for v in row) for row in rows], rel=1e-13)
    distances = [sum(float(np.linalg.norm(a - b)) for b in w) for a in w]
    assert prune.geometric_median_scores(w) == pytest.approx(distances, rel=1e-13)
    assert prune.batch_norm_scores(np.float32([-2, 0, 1])).tolist() == [2, 0, 1]


def test_three_taylor_criteria_disagree():
    """One name, three orders: effects that cancel, many small ones, one large one. Σ|wg| bounds |Σwg|."""
    w = np.ones((3, 4))
    g = np.array([[3.0, -3.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0], [2.5, 0.0, 0.0, 0.0]])
    least = {form: int(form(w, g).argmin()) for form in (prune.taylor_sum_abs_scores, prune.taylor_abs_sum_scores,
                                                         prune.taylor_sum_squares_scores)}
    assert list(least.values()) == [2, 0, 1]
    assert (prune.taylor_sum_abs_scores(w, g) >= prune.taylor_abs_sum_scores(w, g)).all()


# ---- schedules -------------------------------------------------------------------------------------------------------

def test_schedules():
    """Both ends exact, constant beyond them, never down; the cubic one is half way in sparsity after a fifth of the way."""
    for schedule in (prune.cubic_sparsity, prune.linear_sparsity):
        path = [schedule(step, 20, 0.9, initial=0.3, begin=4) for step in range(30)]
        assert path[:5] == [0.3] * 5 and path[20:] == [0.9] * 10 and path == sorted(path)
    assert prune.cubic_sparsity(50, 100, 0.8) == pytest.approx(0.8 * (1 - 0.5 ** 3))
    assert prune.linear_sparsity(50, 100, 0.8, initial=0.2) == pytest.approx(0.5)
    assert prune.cubic_sparsity(21, 100, 0.8) > 0.4 > prune.linear_sparsity(21, 100, 0.8)


# ---- proximal steps --------------------------------------------------------------------------------------------------

def test_soft_thresholds_are_the_proximal_steps():
    """argmin ½‖z - w‖² + t·penalty(z) on a fine grid of z, for one weight and for a filter of two."""
    grid = np.linspace(-3, 3, 6001)
    for w, t in itertools.product((-2.0, -0.5, 0.3, 1.7), (0.0, 0.5, 1.0)):
        best = grid[(0.5 * (grid - w) ** 2 + t * np.abs(grid)).argmin()]
        assert abs(prune.soft_threshold(np.array([w]), t)[0] - best) <= 1e-3
    zs = np.stack(np.meshgrid(*[np.linspace(-2, 2, 401)] * 2), axis=-1).reshape(-1, 2)
    for w, t in itertools.product(np.array([[1.5, -0.5], [0.3, 0.4], [-1.0, 1.0]]), (0.0, 0.6)):
        best = zs[(0.5 * ((zs - w) ** 2).sum(axis=1) + t * np.sqrt((zs ** 2).sum(axis=1))).argmin()]
        assert np.abs(prune.group_soft_threshold(w[None], t)[0] - best).max() <= 0.011
    w = weight(dtype=np.float32)
    for step in (prune.soft_threshold, prune.group_soft_threshold):
        z = step(w, 0.9)
        assert z.dtype == np.float32 and not z[z == 0].view(np.uint32).any() and np.array_equal(step(w, 0.0), w)
    assert (prune.soft_threshold(w, 0.9) == 0).any() and not prune.group_soft_threshold(w, 100.0).any()


def test_penalties():
    """0.1 … 1.0 with λ = 0.1 adds 0.55; the group lasso is the sum of norms."""
    assert prune.l1(np.arange(1, 11) / 10, 0.1) == pytest.approx(0.55, rel=1e-15)
    w = weight()
    assert prune.group_lasso(w, 0.3) == pytest.approx(0.3 * sum(np.linalg.norm(f) for f in w), rel=1e-14)


# ---- slips that circulate --------------------------------------------------------------------------------------------

def test_slip_the_gradient_with_its_sign():
    """"Importance = ∂L/∂w": the smallest are the most negative, among them the weight the loss depends on most."""
    g = np.array([-5.0, -0.1, 0.2, 4.0])
    slip = prune.choose_smallest(g, 2)
    right = prune.choose_smallest(prune.gradient_scores(g), 2)
    assert slip.tolist() == [0, 1] and np.abs(g).argmax() in slip and right.tolist() == [1, 2]


def test_slip_magnitude_called_first_order():
    """|w| does not know the loss: for L = Σ a w it ranks alike whatever a is; |w ∂L/∂w| is the change itself, exactly."""
    w = np.array([0.5, 1.0, 2.0])
    for a in (np.array([8.0, 1.0, 0.25]), np.array([1.0, 1.0, 1.0])):
        change = np.array([abs(a @ np.where(np.arange(3) == q, 0, w) - a @ w) for q in range(3)])
        assert np.array_equal(prune.taylor_scores(w, a), change)
    assert prune.choose_smallest(np.abs(w), 1).tolist() == [0]
    assert prune.choose_smallest(prune.taylor_scores(w, np.array([8.0, 1.0, 0.25])), 1).tolist() == [2]


def test_slip_l2_without_its_root_in_a_ranking_of_layers():
    """Σ w² ranks a layer as sqrt(Σ w²) does; divided by the layers' means, as a global ranking does, the two part."""
    a, b = np.array([[1.0], [3.0]]), np.array([[1.0], [1.2]])
    relative = lambda scores: scores / scores.mean()
    root = np.concatenate([relative(prune.l2_scores(w)) for w in (a, b)])
    none = np.concatenate([relative(prune.l2_scores(w) ** 2) for w in (a, b)])
    for w in (a, b):
        assert np.array_equal(np.argsort(prune.l2_scores(w)), np.argsort(prune.l2_scores(w) ** 2))
    assert root[0] == 0.5 and none[0] == pytest.approx(0.2) and not np.allclose(root, none)


def test_slip_geometric_median_of_absolute_weights():
    """On |w| a filter and its negative are twins at distance 0; they are the two that no other filter can replace."""
    w = np.array([[1.0, 1.0], [-1.0, -1.0], [0.1, 0.0], [0.0, 0.1], [0.1, 0.1]])
    assert prune.geometric_median_scores(w).argmax() in (0, 1)
    twins = prune.geometric_median_scores(np.abs(w))
    assert twins[0] == twins[1] < prune.geometric_median_scores(w)[:2].min()
    assert int(prune.geometric_median_scores(w).argmin()) == 4


def test_slip_a_linear_schedule_that_forgets_where_it_starts():
    """(1 - r0) t/T starts at 0 and ends at 1 - r0: right for r0 = 0 alone. (Ratios of what is left at 1 = all, r0 at the start.)"""
    for r0 in (0.0, 0.4):
        slip = [(1 - r0) * t / 10 for t in (0, 10)]
        right = [prune.linear_sparsity(t, 10, 1.0, initial=r0) for t in (0, 10)]
        assert right == [r0, 1.0] and (slip == right) == (r0 == 0)


def test_slip_compression_by_the_fraction_kept():
    """k/(mn) is the fraction kept; compression is original bytes over compressed bytes, positions included."""
    w = weight(0, (64, 64), np.float32)
    mask = prune.magnitude(w, 0.9)
    values, places = w[mask], np.flatnonzero(mask).astype(np.uint16)              # 4096 places: two bytes each
    assert len(values) == 4096 - round(0.9 * 4096) == 410
    compression = w.nbytes / (values.nbytes + places.nbytes)
    assert len(values) / w.size == pytest.approx(0.1, rel=2e-3)
    assert compression == 4 * 4096 / (6 * 410) and w.size / len(values) == pytest.approx(1.5 * compression)


def test_slip_the_gradient_of_l1_instead_of_its_step():
    """Descent on ½(w - 0.3)² + |w|: the subgradient hops around 0 for ever, the proximal step arrives, at +0.0, and stays."""
    slip = right = 1.0
    for _ in range(500):
        slip -= 0.1 * ((slip - 0.3) + np.sign(slip))
        right = float(prune.soft_threshold(np.array([right - 0.1 * (right - 0.3)]), 0.1)[0])
        last = slip
    assert right == 0.0 and last != 0 and abs(last) < 0.2


# ---- refusals --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("call, error, message", [
    (lambda: prune.taylor_scores(np.ones(3), np.ones(4)), ValueError, r"g must be a gradient of the shape of w \(3,\), not \(4,\)"),
    (lambda: prune.movement_scores(np.ones(3), np.array([1, np.nan, 1])), ValueError, "g must be finite"),
    (lambda: prune.gradient_scores(np.array([np.inf])), ValueError, "g must be finite"),
    (lambda: prune.mask_smallest_of_all([], 0.5), ValueError, "at least one array"),
    (lambda: prune.mask_smallest(np.ones(3), 1.5), ValueError, "sparsity must be a fraction from 0 to 1, not 1.5"),
    (lambda: prune.lamp_scores(np.array([np.nan])), ValueError, "w must be finite"),
    (lambda: prune.n_of_m(np.ones((4, 1, 3, 3)), 2, 4), ValueError, r"at least m = 4 input channels a filter, not shape \(4, 1, 3, 3\)"),
    (lambda: prune.n_of_m(np.ones((4, 8)), 5, 4), ValueError, "n must be an integer from 1 to 4, not 5"),
    (lambda: prune.n_of_m(np.ones((4, 8)), 0, 4), ValueError, "n must be"),
    (lambda: prune.random_weight_scores(np.ones(3), None), ValueError, "seed must be"),
    (lambda: prune.shuffled_mask(np.ones(3), 0), TypeError, "mask must be bool"),
    (lambda: prune.shuffled_mask(np.ones(3, bool), None), ValueError, "seed must be"),
    (lambda: prune.batch_norm_scores(np.ones((3, 1))), ValueError, r"one number a channel \(C,\), not shape \(3, 1\)"),
    (lambda: prune.geometric_median_scores(np.ones(3)), ValueError, r"w must be \(F,C/G,KH,KW\)"),
    (lambda: prune.taylor_abs_sum_scores(np.ones((3, 2)), np.ones((2, 3))), ValueError, "g must be a gradient of the shape"),
    (lambda: prune.cubic_sparsity(0, 10, 90), ValueError, "final must be a fraction from 0 to 1, not 90"),
    (lambda: prune.linear_sparsity(0, 10, 0.9, initial=-1), ValueError, "initial must be a fraction"),
    (lambda: prune.cubic_sparsity(0, 4, 0.9, begin=4), ValueError, "end must be an integer of at least 5, not 4"),
    (lambda: prune.cubic_sparsity(0.5, 4, 0.9), ValueError, "step must be an integer"),
    (lambda: prune.soft_threshold(np.ones(3), -1), ValueError, "t must be finite and at least 0, not -1.0"),
    (lambda: prune.group_soft_threshold(np.ones(3), 1), ValueError, "w must have a filter axis and others"),
    (lambda: prune.l1(np.ones(3), float("nan")), ValueError, "strength must be finite"),
])
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()
