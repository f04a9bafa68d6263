"""compress/quantize, which scale and which code: calibrators against slower searches, equalisation, biases, AdaRound."""
import math

import numpy as np
import pytest

from tinyconv.compress import quantize as qt

small = pytest.mark.small


def values(n=1000, seed=0, outlier=12.0):
    """Normal numbers and one far off: what calibration is about."""
    return np.append(np.random.default_rng(seed).standard_normal(n), outlier)


# ---- histograms ----------------------------------------------------------------------------------------------------------

@small
def test_a_histogram_of_batches_is_the_histogram_of_all():
    """Whatever the order and however the reach has grown: every value is counted in the bin that it lies in; nothing is lost."""
    rng = np.random.default_rng(0)
    batches = [0.01 * rng.standard_normal(50), 30 * rng.standard_normal(50), np.zeros(5), rng.standard_normal(50)]
    seen = back = None
    for x in batches:
        seen = qt.observe_histogram(seen, x, 64)
    for x in batches[::-1]:
        back = qt.observe_histogram(back, x, 64)
    everything = np.concatenate(batches)
    counts, reach = seen
    assert math.frexp(reach)[0] == 0.5 and reach / 2 <= np.abs(everything).max() < reach and counts.sum() == everything.size
    assert np.array_equal(counts, back[0]) and reach == back[1]
    assert np.array_equal(counts, np.histogram(everything, 64, (-reach, reach))[0])
    centres, weight = qt.samples_of(seen)
    assert weight.sum() == everything.size and np.array_equal(counts[np.flatnonzero(counts)], weight)
    nearest = np.abs(everything[:, None] - centres).min(axis=1)
    assert (nearest <= reach / 64).all()


@small
def test_searches_take_values_or_counts():
    """Each value three times, or once with the weight 3: the same ranges."""
    x = np.round(values(), 2)
    for search, options in ((qt.range_by_percentile, {}), (qt.range_by_mse, {}), (qt.range_by_kl, {"bins": 500})):
        assert search(np.repeat(x, 3), **options) == pytest.approx(search(x, weights=np.full(x.size, 3), **options), rel=1e-12)


@small
def test_kl_of_a_histogram_keeps_its_bins():
    """Counts of 128 bins over (-16, 16): thresholds are borders of those bins; the slip, 2,048 bins of which most hold nothing
    because there are only so many centres, finds another one.
    """
    x = np.abs(values(5000))
    seen = qt.observe_histogram(None, x, 128)
    centres, counts = qt.samples_of(seen)
    high = qt.range_by_kl(centres, 4, weights=counts)[1]
    width = centres.max() / round(centres.max() / 0.25 + 0.5)
    assert high / width == pytest.approx(round(high / width), abs=1e-9) and 2 < high < 8
    assert abs(qt.range_by_kl(centres, 4, 2048, counts)[1] - high) > 0.25


# ---- percentile, squared error, KL ---------------------------------------------------------------------------------------

@small
@pytest.mark.parametrize("fraction", [0.9, 0.99, 0.999, 1.0])
def test_percentile_leaves_so_many_out(fraction):
    """Of n different values exactly floor((1 - p) n) lie strictly beyond on either side; p = 1 is min-max (n = 1000)."""
    x = values(999)
    low, high = qt.range_by_percentile(x, fraction)
    assert (x > high).sum() == round((1 - fraction) * 1000)
    assert (x < low).sum() == max(round((1 - fraction) * 1000) - 1, 0) and low in x and high in x
    if fraction == 1:
        assert (low, high) == (x.min(), x.max())


@small
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("x", [values(), np.abs(values(seed=1)), -np.abs(values(seed=2)), values(outlier=1.0)],
                         ids=["wide", "positive", "negative", "plain"])
def test_mse_grid_is_within_its_step_of_a_finer_search(x, bits):
    """The root of the squared error changes by at most |S - S'| (q_max - q_min): a grid of 100 is within half of its step of the
    best of 1,000, found by an independent search that writes the quantizer out.
    """
    q_min, q_max = qt.code_range(bits)
    low, high = qt.range_by_mse(x, bits, steps=100)
    least, most = min(x.min(), 0.0), max(x.max(), 0.0)
    widest = (most - least) / (q_max - q_min)
    zero = q_min - int(np.rint(least / widest))

    def root(s):
        return np.sqrt(np.mean((x - s * (np.clip(np.rint(x / s) + zero, q_min, q_max) - zero)) ** 2))
    found = root((high - low) / (q_max - q_min))
    fine = min(root(t / 1000 * widest) for t in range(10, 1001))
    assert fine - 1e-12 <= found <= fine + (q_max - q_min) * widest / 200 + 1e-12
    assert found <= root(widest)


@small
def test_search_scale():
    """Per filter, never worse than max|w|, within the bound of a search ten times finer; dead filters keep the smallest scale."""
    w = np.random.default_rng(0).standard_normal((4, 60)) ** 3
    w[3] = 0
    for bits in (2, 4, 8):
        q_max = qt.code_range(bits)[1]
        found = qt.search_scale(w, bits)
        widest = qt.symmetric(np.abs(w).max(axis=1), bits)
        assert found.dtype == np.float32 and (found <= widest).all() and found[3] <= np.float32(qt.EPS)
        assert (found[:3] < widest[:3]).any() or bits == 8
        for row, s, most in zip(w[:3], found.astype(float), widest.astype(float)):
            root = lambda s: np.sqrt(((row - s * np.clip(np.rint(row / s), -q_max, q_max)) ** 2).sum())
            fine = min(root(t / 1000 * most) for t in range(10, 1001))
            assert fine * (1 - 1e-6) <= root(s) * (1 + 1e-6) and root(s) <= fine + math.sqrt(60) * q_max * most / 200 * (1 + 1e-6)
        whole = qt.search_scale(w, bits, axis=None)
        assert whole.shape == () and whole.dtype == np.float32


def divergence_by_hand(counts, i, levels):
    """KL(P ‖ Q) with loops over bins, as the slides describe it."""
    p = [float(c) for c in counts[:i]]
    p[-1] += sum(counts[i:])
    q = [0.0] * i
    for level in range(levels):
        members = [b for b in range(i) if b * levels // i == level]
        held = [b for b in members if counts[b] > 0]
        for b in held:
            q[b] = sum(counts[m] for m in members) / len(held)
    if sum(p) == 0 or any(a > 0 and b == 0 for a, b in zip(p, q)):
        return math.inf
    return sum(a / sum(p) * math.log((a / sum(p)) / (b / sum(q))) for a, b in zip(p, q) if a > 0)


@small
def test_kl_against_loops():
    """The threshold of least divergence, each computed with loops; signed and unsigned; the outlier is cut off."""
    for x in (values(300), np.abs(values(300))):
        low, high = qt.range_by_kl(x, bits=4, bins=64)
        signed = (x < 0).any()
        levels = 8 if signed else 16
        width = np.abs(x).max() / 64
        counts = np.bincount(np.minimum((np.abs(x) / width).astype(int), 63), minlength=64)
        by_hand = [divergence_by_hand(counts, i, levels) for i in range(levels, 65)]
        assert high == pytest.approx((levels + int(np.argmin(by_hand))) * width, rel=1e-12) and low == (-high if signed else 0)
        assert high < np.abs(x).max()


@small
def test_the_slip_of_counts_taken_for_log_probabilities():
    """softmax(counts), as a toolkit does, is no histogram: nearly everything falls on the fullest bin."""
    counts = np.bincount(np.minimum((np.abs(values()) * 10).astype(int), 63), minlength=64).astype(float)
    slip = np.exp(counts - counts.max()) / np.exp(counts - counts.max()).sum()
    assert slip.max() > 0.9 > 0.1 > (counts / counts.sum()).max()


# ---- equalisation, biases ------------------------------------------------------------------------------------------------

def relu(x):
    return np.maximum(x, 0)


@small
@pytest.mark.parametrize("depthwise", [False, True])
def test_equalised_layers_compute_the_same_with_equal_ranges(depthwise):
    """With ReLU between, the outputs are the same within rounding; every channel has one range in all layers; a dead one stays.
    With ReLU6 the outputs differ: its bound would have to move.
    """
    rng = np.random.default_rng(0)
    first, last = rng.standard_normal((5, 3)) * np.array([[100.0], [1], [0.01], [1], [0]]), rng.standard_normal((4, 5))
    middle = [rng.standard_normal((5, 1, 1, 1))] if depthwise else []
    weights = [first, *middle, last]
    biases = [rng.standard_normal(5), *[rng.standard_normal(5)] * depthwise, rng.standard_normal(4)]
    made, shifted = qt.equalise(weights, biases)

    def run(weights, biases, act=relu):
        x = np.random.default_rng(1).standard_normal((3, 20))
        x = act(weights[0] @ x + biases[0][:, None])
        if depthwise:
            x = act(weights[1].reshape(5, 1) * x + biases[1][:, None])
        return weights[-1] @ x + biases[-1][:, None]
    np.testing.assert_allclose(run(made, shifted), run(weights, biases), rtol=1e-12, atol=1e-12)
    ranges = [np.abs(w.reshape(5, -1)).max(axis=1) for w in made[:-1]] + [np.abs(made[-1]).max(axis=0)]
    np.testing.assert_allclose(ranges[0][:4], ranges[-1][:4], rtol=1e-12)
    np.testing.assert_allclose(ranges[0][:4], ranges[1][:4], rtol=1e-12)
    assert (made[0][4] == 0).all() and np.array_equal(made[-1][:, 4], last[:, 4])
    relu6 = lambda x: np.clip(x, 0, 6)
    assert np.abs(run(made, shifted, relu6) - run(weights, biases, relu6)).max() > 0.1


@small
def test_expected_relu_against_integration():
    """E[ReLU] and E[ReLU6] by the sum over a fine grid of the density; the sign of γ does not count, γ = 0 is a constant. The
    slip: signed γ gives a negative mean of numbers that are none.
    """
    z = np.linspace(-12, 12, 200001)
    density = np.exp(-z * z / 2) / math.sqrt(2 * math.pi) * (z[1] - z[0])
    for beta, gamma in ((0.0, 1.0), (1.0, -1.0), (-3.0, 0.5), (5.0, 2.0), (6.0, -3.0)):
        y = beta + gamma * z
        assert qt.expected_relu([beta], [gamma])[0] == pytest.approx((relu(y) * density).sum(), abs=1e-8)
        assert qt.expected_relu([beta], [gamma], 6.0)[0] == pytest.approx((np.clip(y, 0, 6) * density).sum(), abs=1e-8)
    assert qt.expected_relu([2.0, -2.0, 9.0], [0.0, 0.0, 0.0], 6.0).tolist() == [2, 0, 6]
    phi, big_phi = math.exp(-0.5) / math.sqrt(2 * math.pi), 0.5 * (1 + math.erf(-1 / math.sqrt(2)))
    slip = 1.0 * big_phi + -1.0 * phi                                             # β Φ(β/γ) + γ φ(β/γ), γ = -1
    assert slip == pytest.approx(-0.083, abs=1e-3) and qt.expected_relu([1.0], [-1.0])[0] == pytest.approx(1.083, abs=1e-3)


@small
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_bias_correction_restores_the_mean(groups):
    """Mean output over inputs that have exactly the means given: with the correction it is that of the float layer."""
    rng = np.random.default_rng(0)
    w = rng.standard_normal((4, 4 // groups, 3, 3))
    q, scale = qt.quantize_weight(w, 2)
    back = qt.dequantize(q, scale, axis=0).astype(np.float64)
    x = rng.random((4, 3, 3, 50)) + np.arange(4).reshape(4, 1, 1, 1)
    x += (x.mean(axis=(1, 2, 3)) - x.mean(axis=3).transpose(1, 2, 0)).transpose(2, 0, 1)[..., None]    # a tap: the channel's mean

    def mean(w):
        grouped = x.reshape(groups, 4 // groups, 3, 3, 50)
        return np.einsum("gfcuv,gcuvn->gfn", w.reshape(groups, 4 // groups, *w.shape[1:]), grouped).mean(axis=2).ravel()
    correction = qt.bias_correction(w, back, x.mean(axis=(1, 2, 3)), groups)
    np.testing.assert_allclose(mean(back) + correction, mean(w), rtol=1e-9)
    assert np.abs(mean(back) - mean(w)).max() > 0.1


@small
def test_high_biases_move_on():
    """ReLU(y) and then W: the same after absorbing, for y that stay above c = β - 3|γ|; γ's sign does not count."""
    rng = np.random.default_rng(0)
    beta, gamma, b1 = np.array([5.0, 1.0, 9.0]), np.array([-1.0, 1.0, 0.0]), np.array([5.0, 1.0, 9.0])
    w2, b2 = rng.standard_normal((2, 3)), rng.standard_normal(2)
    c1, c2 = qt.absorb_high_bias(b1, beta, gamma, w2, b2)
    assert (b1 - c1).tolist() == [2, 0, 9]
    y = np.array([[-2.9, -0.9, 0.0], [1.0, 2.0, 0.0], [3.0, -1.0, 0.0]]).T
    np.testing.assert_allclose(w2 @ relu(y + c1[:, None]) + c2[:, None], w2 @ relu(y + b1[:, None]) + b2[:, None], rtol=1e-12)


# ---- AdaRound ------------------------------------------------------------------------------------------------------------

@small
def test_adaround_against_all_choices():
    """Eight weights, 256 choices: codes ⌊w/S⌋ or one more, never worse than the nearest; of ten filters the relaxation finds the
    best choice for half, and takes more than half (of the logarithm) of what rounding to the nearest loses beyond it.
    """
    rng = np.random.default_rng(0)
    excess = []
    for _ in range(5):
        w, mix = rng.standard_normal((2, 8)), rng.standard_normal((8, 8))
        x = mix @ rng.standard_normal((8, 40))
        gram, scale = x @ x.T / 40, qt.symmetric(np.abs(w).max(axis=1), 4)
        step = scale.astype(np.float64)[:, None]
        codes = qt.adaround(w, scale, gram, 4, steps=200)
        floor = np.floor(w / step)
        low, high = np.clip(floor, -7, 7), np.clip(floor + 1, -7, 7)
        assert codes.dtype == np.int8 and ((codes == low) | (codes == high)).all()
        nearest = qt.quantize(w, scale, 0, -7, 7, axis=0)
        for f in range(2):
            choices = np.clip(floor[f] + (np.arange(256)[:, None] >> np.arange(8) & 1), -7, 7) * step[f] - w[f]
            least = ((choices @ gram) * choices).sum(axis=1).min()
            mine = qt.rounding_error(w[f:f + 1], step[f] * codes[f:f + 1], gram)
            near = qt.rounding_error(w[f:f + 1], step[f] * nearest[f:f + 1], gram)
            assert mine >= least * (1 - 1e-9)
            excess.append((mine / least, near / least))
        assert qt.rounding_error(w, step * codes, gram) <= qt.rounding_error(w, step * nearest, gram)
    mine, near = np.log(np.array(excess)).T
    assert (mine < 1e-9).sum() >= 5 and mine.mean() < near.mean() / 2


@small
def test_adaround_of_independent_inputs_is_rounding():
    """G = identity: every δ² counts alone, so the nearest codes are the best there are."""
    w = np.random.default_rng(0).standard_normal((3, 20))
    scale = qt.symmetric(np.abs(w).max(axis=1), 4)
    nearest = qt.quantize(w, scale, 0, -7, 7, axis=0)
    assert np.array_equal(qt.adaround(w, scale, np.eye(20), steps=100), nearest)
    assert np.array_equal(qt.adaround(w, scale, np.zeros((20, 20))), nearest)                # a channel that is never active


@small
def test_adaround_of_groups_is_each_by_itself():
    """One call with a gram a group gives the codes of one call a group; a group whose inputs are always 0 gets the nearest."""
    rng = np.random.default_rng(3)
    w = rng.standard_normal((6, 2, 2))
    grams = np.array([m @ m.T for m in rng.standard_normal((3, 4, 4))])
    grams[1] = 0
    scale = qt.symmetric(np.abs(w).max(axis=(1, 2)), 3)
    alone = [qt.adaround(*part, 3, steps=60) for part in zip(np.split(w, 3), np.split(scale, 3), grams)]
    together = qt.adaround(w, scale, grams, 3, steps=60)
    assert np.array_equal(together, np.concatenate(alone)) and not np.array_equal(together, qt.quantize(w, scale, 0, -3, 3, axis=0))
    assert np.array_equal(alone[1], qt.quantize(w[2:4], scale[2:4], 0, -3, 3, axis=0))
    w_hat = qt.dequantize(together, scale, axis=0)
    total = sum(qt.rounding_error(*part) for part in zip(np.split(w, 3), np.split(w_hat, 3), grams))
    assert qt.rounding_error(w, w_hat, grams) == pytest.approx(total, rel=1e-12)


# ---- LSQ, PACT -----------------------------------------------------------------------------------------------------------

@small
@pytest.mark.parametrize("axis", [None, 0])
def test_lsq_gradient_is_that_of_its_surrogate(axis):
    """round(v) = v + (a constant), differentiated by differences: S (x/S + c) inside, c = round(x/S) - x/S held fixed, S q_max
    outside.
    """
    rng = np.random.default_rng(0)
    x, dy, s = rng.standard_normal((3, 40)), rng.standard_normal((3, 40)), np.array([0.3] if axis is None else [0.3, 0.1, 0.5])
    rows = s.reshape(-1, 1)
    rest = np.rint(x / rows) - x / rows
    inside = (np.rint(x / rows) >= -3) & (np.rint(x / rows) <= 2)

    def surrogate(x, s):
        return s.reshape(-1, 1) * np.where(inside, x / s.reshape(-1, 1) + rest, np.where(x < 0, -3, 2))
    assert np.allclose(surrogate(x, s), qt.lsq(x, s, -3, 2), rtol=0, atol=1e-15)
    dx, ds = qt.lsq_gradient(x, s, -3, 2, dy)
    assert ds.shape == s.shape
    for i in range(len(s)):
        h = 1e-7 * (np.arange(len(s)) == i)
        slope = (dy * (surrogate(x, s + h) - surrogate(x, s - h))).sum() / 2e-7 / math.sqrt(x.size / len(s) * 2)
        assert ds[i] == pytest.approx(slope, rel=1e-5, abs=1e-5)
    assert np.array_equal(dx, dy * inside) and not inside.all()
    assert np.array_equal(qt.lsq(x, s, -3, 2), qt.fake_quantize(x, s if axis == 0 else s[0], 0, -3, 2, axis))


@small
def test_lsq_start_and_its_slip():
    """2 mean|x|/sqrt(q_max) leaves codes to use; the fixed 0.01 of one toolkit saturates nearly all weights of a layer."""
    w = np.random.default_rng(0).standard_normal(1000)
    start = qt.lsq_start(w, 7)
    assert start[0] == pytest.approx(2 * np.abs(w).mean() / math.sqrt(7))
    assert qt.straight_through(w, start[0], 0, -7, 7).mean() == 1.0
    assert qt.straight_through(w, 0.01, 0, -7, 7).mean() < 0.1
    assert qt.lsq_start(np.zeros((2, 3)), 7, axis=0).tolist() == [qt.EPS, qt.EPS]


@small
def test_pact():
    """Codes 0 … α in 2^bits - 1 steps; the gradient of the clip goes to α from x >= α, none from below; dx = 1 inside."""
    x, alpha = np.array([-1.0, 0.0, 0.2, 1.49, 2.99, 3.0, 8.0]), np.array([3.0])
    assert qt.pact(x, alpha, 2).tolist() == [0, 0, 0, 1, 3, 3, 3]
    dx, da = qt.pact_gradient(x, alpha, 2, np.arange(1.0, 8.0))
    assert dx.tolist() == [0, 0, 3, 4, 5, 0, 0] and da.tolist() == [13]


@small
@pytest.mark.parametrize("call, error, message", [
    (lambda: qt.observe_histogram(None, []), ValueError, "x must not be empty"),
    (lambda: qt.observe_histogram(None, [np.nan]), ValueError, "x must be finite"),
    (lambda: qt.observe_histogram(None, [1.0], 12), ValueError, "bins must be a power of two"),
    (lambda: qt.observe_histogram((np.zeros(8, int), 1.0), [1.0], 16), ValueError, "bins must be the 8 of the batches before"),
    (lambda: qt.range_by_percentile(np.ones(9)), ValueError, "x must hold different values, not 1 everywhere"),
    (lambda: qt.range_by_mse(np.zeros(9)), ValueError, "x must hold different values, not 0 everywhere"),
    (lambda: qt.range_by_kl(np.zeros(9)), ValueError, "x must hold different values"),
    (lambda: qt.range_by_kl([]), ValueError, "x must not be empty"),
    (lambda: qt.range_by_mse([1.0, np.inf]), ValueError, "x must be finite: 1 of 2"),
    (lambda: qt.range_by_mse([1.0, 2.0], bits=1), ValueError, "bits must be an integer from 2 to 8, not 1"),
    (lambda: qt.range_by_mse([1.0, 2.0], steps=0), ValueError, "steps must be an integer of at least 1, not 0"),
    (lambda: qt.range_by_mse([1.0, 2.0], weights=[1.0]), ValueError, "weights must be 2 numbers"),
    (lambda: qt.range_by_percentile([1.0, 2.0], 99.9), ValueError, "a fraction and not percent, not 99.9"),
    (lambda: qt.range_by_kl([1.0, 2.0], 8, 100), ValueError, "bins must be an integer of at least 256, not 100"),
    (lambda: qt.search_scale(np.ones((2, 2)), 4, axis=3), ValueError, "axis must be one of the 2 axes"),
    (lambda: qt.equalising_scales([[1.0]]), ValueError, "two or more rows"),
    (lambda: qt.equalise([np.ones((2, 3)), np.ones((4, 3))], [None, None]), ValueError, r"weights must be \(C,…\)"),
    (lambda: qt.expected_relu([1.0], [1.0, 2.0]), ValueError, "one entry a channel each"),
    (lambda: qt.expected_relu([1.0], [1.0], 0), ValueError, "most must be a positive number or None"),
    (lambda: qt.bias_correction(np.ones((2, 3)), np.ones((2, 3)), [1.0]), ValueError, r"expected_x \(C,\)"),
    (lambda: qt.absorb_high_bias([1.0], [1.0], [1.0], np.ones((2, 2)), [0.0]), ValueError, r"w2 \(F,C,…\)"),
    (lambda: qt.adaround(np.ones((2, 3)), 0.0, np.eye(3)), ValueError, "scale must be one positive number"),
    (lambda: qt.adaround(np.ones((2, 3)), 1.0, np.eye(2)), ValueError, r"gram must be \(3, 3\)"),
    (lambda: qt.adaround(np.ones((4, 3)), 1.0, np.ones((3, 3, 3))), ValueError, r"with 4 a multiple of G, not shape \(3, 3, 3\)"),
    (lambda: qt.lsq(np.ones((2, 3)), np.array([0.0]), -2, 1), ValueError, r"scale must be one positive number \(1,\)"),
    (lambda: qt.lsq(np.ones((2, 3)), np.ones(3), -2, 1), ValueError, r"one an index of axis 0 of \(2, 3\)"),
    (lambda: qt.lsq_start(np.ones(2), 0), ValueError, "q_max must be at least 1"),
    (lambda: qt.pact(np.ones(2), np.array([-1.0])), ValueError, "alpha must be one positive number"),
])
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()
