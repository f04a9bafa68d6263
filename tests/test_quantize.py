"""compress/quantize: |x - x̂| <= S/2, zero exact, codes in range, BatchNorm folded exactly, accumulators that cannot overflow."""
import itertools

import numpy as np
import pytest

from tinyconv.compress import quantize as qt

small = pytest.mark.small
RANGES = [(-1.0, 1.0), (0.0, 6.0), (-3.14159, 3.14159), (2.0, 5.0), (-7.0, -1.0), (0.0, 0.0), (-1e-9, 2e-9), (-1e30, 3.0), (-0.3, 0.7), (4.0, 4.0)]


def slack(scale):
    """Rounding on top of S/2: S itself, the quotient and the product are float32, each within 2^-24 of at most 256 steps."""
    return 3 * 256 * 2.0 ** -24 * np.asarray(scale, np.float64)


# ---- scale, zero point, codes ----------------------------------------------------------------------------------------

@small
def test_code_range():
    """2^bits codes, one fewer when narrow, narrow ones symmetric."""
    for bits in range(2, 9):
        for signed in (False, True):
            low, high = qt.code_range(bits, signed)
            assert high - low + 1 == 2 ** bits and (low < 0) == signed
        assert sum(qt.code_range(bits, narrow=True)) == 0


@small
@pytest.mark.parametrize("x_min, x_max", RANGES)
@pytest.mark.parametrize("bits, signed", list(itertools.product((2, 4, 8), (False, True))))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_affine_error_is_at_most_half_a_step(x_min, x_max, bits, signed, dtype):
    """On the range asked for, extended to 0, and on the nudged one; zero is exact; codes stay in range and rise with x."""
    q_min, q_max = qt.code_range(bits, signed)
    scale, zero = qt.affine(x_min, x_max, bits, signed)
    assert scale.dtype == np.float32 and scale >= qt.EPS and zero.dtype == np.int32 and q_min <= zero <= q_max
    nudged = np.float64(scale) * (np.array([q_min, q_max]) - zero)
    for low, high in ((min(x_min, 0), max(x_max, 0)), nudged):
        x = np.linspace(low, high, 501).astype(dtype)
        q = qt.quantize(x, scale, zero, q_min, q_max)
        assert q.dtype == (np.int8 if signed else np.uint8) and q.min() >= q_min and q.max() <= q_max and (np.diff(q.astype(int)) >= 0).all()
        error = np.abs(x.astype(np.float64) - qt.dequantize(q, scale, zero))
        assert error.max() <= np.float64(scale) / 2 + slack(scale)
    assert qt.quantize(np.zeros(1, dtype), scale, zero, q_min, q_max)[0] == zero
    assert qt.dequantize(qt.quantize(np.zeros(1, dtype), scale, zero, q_min, q_max), scale, zero)[0] == 0


@small
def test_affine_touches_both_ends():
    """The end codes are used: the ends of the range lie within half a step of the first and the last code."""
    for (x_min, x_max), bits in itertools.product(RANGES, (2, 5, 8)):
        scale, zero = qt.affine(x_min, x_max, bits)
        q_min, q_max = qt.code_range(bits)
        if scale > qt.EPS:
            ends = np.float64(scale) * (np.array([q_min, q_max]) - zero) - [min(x_min, 0), max(x_max, 0)]
            assert (np.abs(ends) <= np.float64(scale) / 2 + slack(scale)).all()


@small
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_quantize_weight(bits, axis):
    """Symmetric: error at most S/2 everywhere, -w has the codes -q, the largest value the largest code, 0 the code 0."""
    w = np.random.default_rng(0).standard_normal((5, 3, 2, 4)).astype(np.float32)
    w[0] *= 100
    w[1, 1] = 0
    q, scale = qt.quantize_weight(w, bits, axis)
    spread = scale if axis is None else np.expand_dims(scale, [a for a in range(4) if a != axis % 4])
    assert q.dtype == np.int8 and scale.shape == (() if axis is None else (w.shape[axis],))
    assert (np.abs(w - qt.dequantize(q, scale, axis=axis)) <= spread / np.float32(2) + slack(spread)).all()
    assert np.array_equal(qt.quantize_weight(-w, bits, axis)[0], -q)
    assert np.abs(q).max() == 2 ** (bits - 1) - 1 and (q[w == 0] == 0).all()


@small
def test_per_channel_is_every_channel_by_itself():
    """And pays: with one wide channel, the narrow ones keep their own step instead of the widest."""
    w = np.random.default_rng(0).standard_normal((4, 3, 3, 3)) * np.array([10.0, 1.0, 0.1, 0.01]).reshape(4, 1, 1, 1)
    q, scale = qt.quantize_weight(w)
    for i in range(4):
        alone, s = qt.quantize_weight(w[i], axis=None)
        assert np.array_equal(q[i], alone) and scale[i] == s
    whole, s = qt.quantize_weight(w, axis=None)
    assert np.count_nonzero(whole[3]) == 0 and np.abs(q[3]).max() == 127


@small
def test_dead_and_constant_arrays():
    """All zeros take the smallest scale and decode to zeros; a constant is met within half a step, both signs."""
    q, scale = qt.quantize_weight(np.zeros((2, 3), np.float32))
    assert not q.any() and (scale == np.float32(qt.EPS)).all()
    for constant in (2.0, -2.0, 1e-30):
        x = np.full(5, constant, np.float32)
        scale, zero = qt.affine(*qt.value_range(x))
        assert np.abs(qt.dequantize(qt.quantize(x, scale, zero), scale, zero) - x).max() <= scale / 2 + slack(scale)


@small
@pytest.mark.parametrize("axis", [None, 1])
def test_fake_quantize_is_quantize_and_dequantize(axis):
    """Bit for bit in float32, signs of zero included; twice is once; float64 keeps its dtype."""
    rng = np.random.default_rng(0)
    x = np.concatenate([3 * rng.standard_normal((50, 4)), np.array([[0.5], [-0.5], [1.5], [-0.0]]) * 0.05 * np.ones(4)]).astype(np.float32)
    scale = np.float32(0.05) if axis is None else np.float32([0.05, 0.01, 0.3, 1e-4])
    zero = 3 if axis is None else np.array([3, -128, 127, 0])
    got = qt.fake_quantize(x, scale, zero, -128, 127, axis)
    assert got.dtype == np.float32 and got.tobytes() == qt.dequantize(qt.quantize(x, scale, zero, axis=axis), scale, zero, axis).tobytes()
    assert qt.fake_quantize(got, scale, zero, -128, 127, axis).tobytes() == got.tobytes()
    assert qt.fake_quantize(x.astype(np.float64), scale, zero, -128, 127, axis).dtype == np.float64


@small
def test_saturation_and_infinities():
    """Beyond the range the end codes are given, never a wrapped one; infinities too. Code 128 would wrap to -128."""
    x = np.array([-np.inf, -1e30, 127.4, 127.6, 1e30, np.inf], np.float32)
    assert qt.quantize(x, 1.0).tolist() == [-128, -128, 127, 127, 127, 127]
    assert qt.quantize(x, 1.0, 100).tolist() == [-128, -128, 127, 127, 127, 127]
    assert qt.quantize(x, 1.0, 0, 0, 255).tolist() == [0, 0, 127, 128, 255, 255]


@small
def test_straight_through_includes_the_outermost_codes():
    """Values that round to q_min or q_max still get a gradient; only those that had to be clipped do not."""
    x = np.array([-128.6, -128.4, -128.0, 0.0, 127.0, 127.4, 127.6], np.float32)
    inside = qt.straight_through(x, 1.0)
    assert inside.tolist() == [False, True, True, True, True, True, False]
    strict = (np.rint(x) > -128) & (np.rint(x) < 127)
    assert strict.sum() < inside.sum()                                   # the slip: > instead of >= starves the end codes
    rng = np.random.default_rng(0)
    x, per = 3 * rng.standard_normal((20, 2)), np.float32([0.01, 0.02])
    moved = np.abs(x - qt.fake_quantize(x, per, 0, axis=1)) > per / 2 * (1 + 1e-9)
    assert np.array_equal(~moved, qt.straight_through(x, per, 0, axis=1))


# ---- calibration -----------------------------------------------------------------------------------------------------

@small
def test_observers():
    """Min-max is the range of all data at once, in any order of batches; the moving average follows its recursion."""
    batches = np.random.default_rng(0).standard_normal((5, 20))
    seen = average = None
    by_hand = None
    for x in batches:
        seen, average = qt.observe_min_max(seen, x), qt.observe_moving_average(average, x, 0.1)
        new = np.array([x.min(), x.max()])
        by_hand = new if by_hand is None else 0.9 * by_hand + 0.1 * new
    assert seen == (batches.min(), batches.max())
    np.testing.assert_allclose(average, by_hand, rtol=1e-14)


# ---- BatchNorm, bias, accumulator ------------------------------------------------------------------------------------

@small
@pytest.mark.parametrize("shape", [(4, 3, 3, 3), (4, 1, 3, 3), (4, 6)])
@pytest.mark.parametrize("bare", [False, True])
def test_fold_batch_norm(shape, bare):
    """BN(<w, x> + b) == <w', x> + b' for a random x, γ = 0 and negative γ included, with and without bias, γ and β."""
    rng = np.random.default_rng(0)
    w, x = rng.standard_normal(shape), rng.standard_normal(shape[1:])
    b, gamma, beta = (None, None, None) if bare else (rng.standard_normal(4), np.array([0.0, -1.5, 1e-8, 2.0]), rng.standard_normal(4))
    mean, var, eps = rng.standard_normal(4), rng.random(4) * 3, 1e-3
    y = w.reshape(4, -1) @ x.ravel() + (0 if bare else b)
    expected = (y - mean) / np.sqrt(var + eps) * (1 if bare else gamma) + (0 if bare else beta)
    w2, b2 = qt.fold_batch_norm(w, b, gamma, beta, mean, var, eps)
    assert w2.shape == shape and b2.shape == (4,)
    np.testing.assert_allclose(w2.reshape(4, -1) @ x.ravel() + b2, expected, rtol=1e-12, atol=1e-12)
    w32, b32 = qt.fold_batch_norm(w.astype(np.float32), b, gamma, beta, mean, var, eps)
    assert w32.dtype == b32.dtype == np.float32
    assert (np.abs(b32 - b2) <= 2.0 ** -24 * np.abs(b2)).all()           # worked out in float64, rounded once


@small
def test_quantize_bias():
    """Half a step of S_x S_w a filter; what does not fit into 32 bits is refused by name, and a fitted scale mends it."""
    rng = np.random.default_rng(0)
    b, w_scale = rng.standard_normal(6), np.float32([0.1, 0.01, 1e-3, 0.02, 0.5, 0.03])
    q = qt.quantize_bias(b, np.float32(0.02), w_scale)
    step = np.float64(np.float32(0.02)) * w_scale.astype(np.float64)
    assert q.dtype == np.int32 and (np.abs(b - step * q) <= step / 2 * (1 + 1e-12)).all()
    tiny = np.float32([0.1, 1e-8, 0.1, 1e-7, 0.1, 0.1])
    with pytest.raises(ValueError, match=r"those of filters \[1\] do not: enlarge their w_scale"):
        qt.quantize_bias(np.ones(6), 0.01, tiny)
    fitted = qt.scale_that_fits_bias(tiny, np.ones(6), 0.01)
    assert fitted.dtype == np.float32 and np.array_equal(fitted[[0, 2, 3, 4, 5]] == tiny[[0, 2, 3, 4, 5]], [True] * 5)
    codes = qt.quantize_bias(np.ones(6), 0.01, fitted)
    assert np.abs(codes).max() <= 2 ** 30 and abs(1 - 0.01 * np.float64(fitted[1]) * codes[1]) < 1e-8


@small
def test_scale_that_fits_bias_never_falls_short():
    """|b| <= room S_x S_w exactly, in spite of the rounding to float32: 2,000 random filters, and small rooms where it shows."""
    rng = np.random.default_rng(0)
    b, w_scale = rng.standard_normal(2000), (10.0 ** rng.uniform(-9, 0, 2000)).astype(np.float32)
    for room in (1, 3, 1000, 2 ** 30, 2 ** 31 - 1):
        fitted = qt.scale_that_fits_bias(w_scale, b, 0.01, room)
        assert (np.abs(b) <= room * (0.01 * fitted.astype(np.float64))).all() and (fitted >= w_scale).all()


@small
def test_accumulator_bound_is_reached_and_never_passed():
    """The worst input, built from the signs of the weights, reaches the bound when Z_x is an end code; random inputs stay below."""
    rng = np.random.default_rng(0)
    q_w, q_b = rng.integers(-127, 128, (3, 4, 3, 3)).astype(np.int8), np.array([1000, 0, -5], np.int32)
    bound = qt.accumulator_bound(q_w, q_b, x_zero_point=-128)
    flat = q_w.reshape(3, -1).astype(np.int64)
    for _ in range(50):
        q_x = rng.integers(-128, 128, 36)
        assert (np.abs(flat @ (q_x + 128) + q_b) <= bound).all()
    everything = np.abs(flat) @ np.full(36, 255) + np.abs(q_b)            # all weights of one sign: x at its far end everywhere
    assert np.array_equal(qt.accumulator_bound(np.abs(q_w), q_b, -128), everything) and np.array_equal(bound, everything)
    assert qt.accumulator_bound(np.full((1, 4), -128, np.int8), None, 0, w_zero_point=127)[0] == 128 * 4 * 255
    safe = np.full((1, 66_311), 127, np.int8)
    assert qt.accumulator_bound(safe, None, -128)[0] < 2 ** 31 <= qt.accumulator_bound(np.append(safe, [[127]], axis=1), None, -128)[0]


# ---- slips that circulate --------------------------------------------------------------------------------------------

@small
def test_slip_inverted_scale():
    """S = 255/(x_max - x_min) used as a divisor: ±3.14159 gives 40.58, and all of the range falls on the code -128."""
    x = np.linspace(-3.14159, 3.14159, 101)
    slip = 255 / (x.max() - x.min())
    assert round(slip, 2) == 40.58
    zero = -128 - round(x.min() / slip)
    assert set(np.clip(np.rint(x / slip) + zero, -128, 127)) == {-128}
    scale, zero = qt.affine(x.min(), x.max())
    assert round(float(scale), 5) == 0.02464 and zero == 0              # x_min / S = -127.5, a tie: to the even -128
    assert qt.quantize(x[-1:], scale, zero)[0] == 127 and len(set(qt.quantize(x, scale, zero).tolist())) == 101


@small
def test_slip_real_zero_point():
    """q = round((x - x_min)/S): its zero point is a real number, 0 decodes to something else, and padding is wrong."""
    x_min, x_max = -1.0, 2.3
    scale = (x_max - x_min) / 255
    zero_decoded = round((0 - x_min) / scale) * scale + x_min
    assert abs(zero_decoded) > 0.1 * scale
    s, z = qt.affine(x_min, x_max)
    assert qt.dequantize(qt.quantize(np.zeros(1), s, z), s, z)[0] == 0


@small
def test_slip_range_without_zero():
    """1…6 without the range extended to 0 and Z clipped: 6 decodes to 5. With 0 in the range 6 is exact within S/2."""
    scale = (6 - 1) / 255
    zero = int(np.clip(-128 - round(1 / scale), -128, 127))
    assert (np.clip(round(6 / scale) + zero, -128, 127) - zero) * scale == pytest.approx(5.0)
    s, z = qt.affine(1.0, 6.0)
    assert abs(qt.dequantize(qt.quantize(np.array([6.0]), s, z), s, z)[0] - 6) <= s / 2 + slack(s)


@small
def test_slip_rounding_after_adding_the_zero_point():
    """round(x/S + Z) and round(x/S) + Z differ at ties when Z is odd: [2, 2, 4] against [1, 3, 3]; for even Z they agree."""
    x = np.array([0.5, 1.5, 2.5])
    assert np.rint(x + 1).tolist() == [2, 2, 4]
    assert qt.quantize(x, 1.0, 1).tolist() == [1, 3, 3]
    assert qt.quantize(x, 1.0, 2).tolist() == np.rint(x + 2).tolist()


@small
def test_slip_asymmetric_without_a_zero_point():
    """"Asymmetric" with Z left out is not: a ReLU's 0…6 then uses 128 of 256 codes, twice the step."""
    affine, symmetric = qt.affine(0.0, 6.0)[0], qt.symmetric(6.0)
    assert symmetric / affine == pytest.approx(255 / 127, rel=1e-6)


@small
def test_slip_wide_symmetric_codes():
    """With -128 in use, negation saturates: -(-128) has no code. Narrow codes are closed under it."""
    assert qt.quantize(np.array([128.0]), 1.0)[0] == 127 != 128
    q, _ = qt.quantize_weight(np.array([[-5.0, 3.0, 5.0]]))
    assert q.min() == -127 and q.max() == 127


@small
@pytest.mark.parametrize("call, error, message", [
    (lambda: qt.code_range(9), ValueError, "bits must be an integer from 2 to 8, not 9"),
    (lambda: qt.code_range(1), ValueError, "bits must be an integer from 2 to 8, not 1"),
    (lambda: qt.affine(1.0, -1.0), ValueError, "x_min must be at most x_max"),
    (lambda: qt.affine(-np.inf, 1.0), ValueError, "x_min must be finite"),
    (lambda: qt.affine(0.0, np.nan), ValueError, "x_max must be finite"),
    (lambda: qt.affine(0.0, 1e300), ValueError, "range is too wide"),
    (lambda: qt.affine([0.0, 1.0], 1.0), ValueError, "same shape"),
    (lambda: qt.symmetric(-1.0), ValueError, "x_absmax must not be negative"),
    (lambda: qt.symmetric(np.nan), ValueError, "x_absmax must be finite"),
    (lambda: qt.quantize(np.array([np.nan, 1.0]), 1.0), ValueError, "NaN, which has no code: 1 of 2"),
    (lambda: qt.quantize(np.array([1, 2]), 1.0), TypeError, "x must be float32 or float64, not int64"),
    (lambda: qt.quantize(np.ones(2), 0.0), ValueError, "scale must be positive and finite, not 0.0"),
    (lambda: qt.quantize(np.ones(2), np.inf), ValueError, "scale must be positive and finite"),
    (lambda: qt.quantize(np.ones(2), 1.0, 0.5), TypeError, "zero_point must be an integer"),
    (lambda: qt.quantize(np.ones(2), 1.0, 200), ValueError, "zero_point must be one of the codes -128…127, not 200"),
    (lambda: qt.quantize(np.ones(2), 1.0, 0, -128, 255), ValueError, "must lie in int8"),
    (lambda: qt.quantize(np.ones((2, 3)), np.ones(2)), ValueError, "single numbers without axis"),
    (lambda: qt.quantize(np.ones((2, 3)), np.ones(2), axis=1), ValueError, "scale must have one entry for each of 3 channels of axis 1"),
    (lambda: qt.quantize(np.ones((2, 3)), np.ones(2), axis=2), ValueError, "axis must be one of the 2 axes"),
    (lambda: qt.dequantize(np.ones(2), 1.0), TypeError, "q must be int8 or uint8 codes"),
    (lambda: qt.dequantize(np.ones(2, np.int8), 1.0, 128), ValueError, "zero_point must be one of the codes"),
    (lambda: qt.value_range(np.zeros((0, 3))), ValueError, "must not be empty"),
    (lambda: qt.observe_min_max(None, np.array([1.0, np.inf])), ValueError, "x must be finite"),
    (lambda: qt.observe_moving_average(None, np.ones(2), 0), ValueError, "momentum must be"),
    (lambda: qt.fold_batch_norm(np.ones((2, 3)), None, [1.0], [0.0], [0.0, 0.0], [1.0, 1.0]), ValueError, r"gamma must have one entry for each of 2"),
    (lambda: qt.fold_batch_norm(np.ones((2, 3)), None, None, None, 0.0, 1.0), ValueError, "mean must have one entry"),
    (lambda: qt.fold_batch_norm(np.ones((1, 3)), None, None, None, [0.0], [-1.0]), ValueError, "var and eps must not be negative"),
    (lambda: qt.fold_batch_norm(np.ones((1, 3)), None, None, None, [0.0], [0.0], 0.0), ValueError, "nor both 0"),
    (lambda: qt.quantize_bias([np.nan], 1.0, 1.0), ValueError, "b must be finite"),
    (lambda: qt.quantize_bias([1.0], 0.0, 1.0), ValueError, "x_scale must be one positive number"),
    (lambda: qt.quantize_bias([1.0, 2.0], 1.0, [1.0, 1.0, 1.0]), ValueError, "w_scale a number or"),
    (lambda: qt.accumulator_bound(np.ones((2, 3))), TypeError, "q_w must be integer codes"),
    (lambda: qt.accumulator_bound(np.ones((2, 3), np.int8), np.ones(3, np.int32)), ValueError, "q_b must be 2 integers"),
])
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()
