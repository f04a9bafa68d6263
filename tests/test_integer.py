"""Integer networks: every code equals an oracle in exact rationals, and the fast kernels equal the plain ones bit for bit.

The oracle (integer_oracles) sums in 64-bit integers and rounds with fractions.Fraction: float(Fraction) is the correctly rounded float64,
round() of a Fraction is exact and half to even. Nothing in it is shared with the package.
"""
from fractions import Fraction

import numpy as np
import pytest
from integer_oracles import RANGE, both_modes, channels_last, oracle_accumulators, oracle_onnx, random_codes

import tinyconv as tc
from tinyconv.formulas import pool2d_geometry
from tinyconv.kernels import integer, layout, requantization

def oracle_codes(acc, multiplier, zero, low, high):
    out = np.empty(acc.shape, np.int64)
    for at in np.ndindex(acc.shape):
        out[at] = oracle_onnx(acc[at], multiplier[at[1]], zero, low, high)
    return out


NONE = ((0, 0), (0, 0))
GEOMETRIES = [                       # N C H W, F KH KW, stride, padding, dilation, groups
    pytest.param((1, 1, 1, 1), (1, 1, 1), (1, 1), NONE, (1, 1), 1, marks=pytest.mark.small, id="one"),
    pytest.param((2, 3, 4, 5), (5, 1, 1), (1, 1), NONE, (1, 1), 1, marks=pytest.mark.small, id="pointwise"),
    pytest.param((1, 2, 4, 3), (3, 3, 2), (1, 1), ((1, 2), (0, 1)), (1, 1), 1, marks=pytest.mark.small, id="uneven padding"),
    pytest.param((1, 4, 5, 5), (6, 3, 3), (2, 1), ((1, 1), (1, 1)), (1, 1), 2, marks=pytest.mark.small, id="groups"),
    pytest.param((2, 3, 5, 4), (3, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 3, marks=pytest.mark.small, id="depthwise"),
    pytest.param((1, 5, 5, 6), (10, 2, 3), (2, 2), ((2, 1), (3, 0)), (1, 2), 5, marks=pytest.mark.small, id="multiplier 2"),
    pytest.param((2, 7, 9, 8), (33, 3, 3), (2, 3), ((3, 1), (2, 2)), (2, 1), 1, id="two panels"),
    pytest.param((1, 70, 3, 3), (65, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1, id="three panels"),
    pytest.param((3, 12, 7, 7), (72, 3, 1), (1, 2), ((0, 0), (4, 4)), (3, 1), 2, id="wide groups"),
    pytest.param((2, 40, 9, 9), (40, 5, 5), (2, 2), ((2, 2), (2, 2)), (1, 1), 40, id="depthwise 5x5"),
    pytest.param((1, 3, 16, 17), (3, 15, 14), (1, 1), ((1, 0), (0, 0)), (1, 1), 3, id="depthwise, 210 taps"),
]


@pytest.mark.parametrize("x_shape, kernel, stride, padding, dilation, groups", GEOMETRIES)
def test_convolution_equals_the_oracle(x_shape, kernel, stride, padding, dilation, groups, always_shared):
    """All codes of awkward geometries, with odd zero points, scales and zero points per filter and per tensor, all dtypes, in many pieces."""
    rng = np.random.default_rng(0)
    f, kh, kw = kernel
    for x_dtype, w_dtype, y_dtype, per_filter in ((np.int8, np.int8, np.uint8, True), (np.uint8, np.uint8, np.int8, True),
                                                  (np.uint8, np.int8, np.uint8, False)):
        x = random_codes(rng, x_dtype, x_shape)
        w = random_codes(rng, w_dtype, (f, x_shape[1] // groups, kh, kw))
        bias = rng.integers(-30000, 30000, f).astype(np.int32) if per_filter else None
        w_scale = rng.uniform(0.001, 0.02, f).astype(np.float32) if per_filter else np.float32(0.007)
        w_zero = random_codes(rng, w_dtype, f).astype(int) if per_filter else 5
        x_zero, y_zero = int(random_codes(rng, x_dtype, ())) | 1, int(random_codes(rng, y_dtype, ())) | 1
        acc = oracle_accumulators(x, x_zero, w, w_zero, bias, stride, padding, dilation, groups)
        y_scale = np.float32(max(np.abs(acc).max(), 1) * 0.007 * 0.013 / 100)     # results fill the range, and leave it a little
        multiplier = np.broadcast_to(np.float32(0.013) * w_scale / y_scale, (f,))
        expected = oracle_codes(acc, multiplier, y_zero, *RANGE[y_dtype])
        for lying in (x, channels_last(x)):
            y = both_modes(lambda: integer.qlinear_conv(lying, 0.013, x_zero, w, w_scale, w_zero, y_scale, y_zero, bias, stride,
                                                        padding, dilation, groups, dtype=y_dtype))
            assert y.dtype == y_dtype
            np.testing.assert_array_equal(y, expected)


@pytest.mark.small
@pytest.mark.parametrize("dtype", (np.int8, np.uint8))
@pytest.mark.parametrize("multiplier", (0.5, 0.25, 1.0, 1 / 3, 0.0123, 3e-5, 1e-7))
def test_every_accumulator_near_a_boundary(dtype, multiplier):
    """acc within 2 of each place where the code changes, both ends included: ties of both signs, odd and even zero points.

    The input is its zero point, so each filter's accumulator is its bias.
    """
    low, high = RANGE[dtype]
    multiplier = np.float32(multiplier)
    for zero in (low + 1, 2, 37, high):
        boundary = [int((code + Fraction(1, 2) - zero) / Fraction(float(multiplier))) for code in range(low - 3, high + 3)]
        acc = np.array([b + d for b in boundary for d in range(-2, 3)] + [2 ** 31 - 256, -2 ** 31 + 256])
        acc = acc[np.abs(acc) < 2 ** 31 - 255].astype(np.int32)
        expected = [oracle_onnx(a, multiplier, zero, low, high) for a in acc]
        w = np.zeros((len(acc), 1, 1, 1), np.int8)
        y = both_modes(lambda: integer.qlinear_conv(np.full((1, 1, 1, 1), 3, dtype), multiplier, 3, w, 1.0, 0, 1.0, zero, acc))
        np.testing.assert_array_equal(y.ravel(), expected)
        assert {low, high} <= set(expected) or multiplier < 1e-6                      # both ends saturate


@pytest.mark.small
def test_ties_round_to_even_after_the_zero_point():
    """The one place where QLinearConv and QuantizeLinear differ, by hand: 0.5, 1.5, 2.5 and their negatives, Z odd and even."""
    acc = np.array([1, 3, 5, -1, -3, -5], np.int32)
    w = np.zeros((6, 1), np.int8)

    def codes(zero):
        y = both_modes(lambda: integer.qlinear_matmul(np.zeros((1, 1), np.int8), 0.5, 0, w, 1.0, 0, 1.0, zero, acc))
        return y.ravel().tolist()

    assert codes(0) == [0, 2, 2, 0, -2, -2]
    assert codes(1) == [2, 2, 4, 0, 0, -2]                                            # rint(v + 1), not rint(v) + 1
    assert (integer.quantize_linear(np.array([0.5, 1.5, 2.5]), 1.0, 1) == [1, 3, 3]).all()


@pytest.mark.small
def test_the_product_is_rounded_once_in_float64():
    """31 bits times 24 bits need more than float64 has. Where the exact product is 2^-48 beside a tie, float64 makes it the tie.

    A fused multiply-add would keep the 2^-48 until Z has been added, and round to the other side: it must not be used.
    """
    w = np.zeros((1, 1), np.int8)
    for mantissa, acc, value, zero, code in ((12987781, 1571241139, 72.5, -71, 2), (15287149, 1850458523, 100.5, -99, 2),
                                             (16622977, 2057345665, 121.5, -121, 0), (16766727, 2106857801, 125.5, -124, 2)):
        assert abs(Fraction(mantissa * acc, 2 ** 48) - Fraction(value)) == Fraction(1, 2 ** 48)       # beside the tie
        for sign in (1, -1):
            multiplier, bias = np.float32(mantissa * 2.0 ** -48), np.array([sign * acc], np.int32)
            expected = oracle_onnx(sign * acc, multiplier, sign * zero, -128, 127)
            assert expected == sign * code
            x = np.zeros((1, 1), np.int8)
            y = both_modes(lambda: integer.qlinear_matmul(x, multiplier, 0, w, 1.0, 0, 1.0, sign * zero, bias))
            assert y.item() == expected


@pytest.mark.parametrize("groups", (1, 3), ids=("dense", "depthwise"))
def test_sums_beyond_the_integers_of_float32(groups):
    """Sums of more than 2^24 of one sign, down to their last bit: no float32 may hold them on their way to a code."""
    rng = np.random.default_rng(0)
    x = rng.integers(240, 256, (1, 3, 17, 18)).astype(np.uint8)
    w = rng.integers(240, 256, (3, 3 // groups, 17, 17)).astype(np.uint8)
    acc = oracle_accumulators(x, 0, w, 0, None, (1, 1), NONE, (1, 1), groups)[0, :, 0]                # (F, 2)
    assert acc.min() > 2 ** 24
    bias = (100 - acc[:, 0]).astype(np.int32)
    y = both_modes(lambda: integer.qlinear_conv(x, 1.0, 0, w, 1.0, 0, 1.0, 0, bias, groups=groups))
    np.testing.assert_array_equal(y[0, :, 0], np.clip(acc + bias[:, None], 0, 255))
    assert (y[0, :, 0, 0] == 100).all()


@pytest.mark.small
def test_the_multiplier_is_float32_from_left_to_right():
    """(S_x * S_w) / S_y in float32: at these scales another order gives another code."""
    x_scale, w_scale, y_scale = np.float32(0.1), np.float32(0.3), np.float32(0.7)
    multiplier = requantization.float_multiplier(x_scale, w_scale, y_scale)
    assert multiplier.dtype == np.float32
    assert multiplier == np.float32(np.float64(np.float32(np.float64(x_scale) * np.float64(w_scale))) / np.float64(y_scale))


@pytest.mark.small
def test_padding_is_the_zero_point():
    """A window of nothing but padding gives the bias alone, whatever Z_x; an explicit frame of Z_x is the same."""
    x = np.random.default_rng(0).integers(0, 256, (1, 2, 3, 3)).astype(np.uint8)
    w = np.random.default_rng(1).integers(-128, 128, (4, 2, 2, 2)).astype(np.int8)
    framed = np.full((1, 2, 9, 9), 77, np.uint8)
    framed[:, :, 3:6, 3:6] = x
    y = both_modes(lambda: integer.qlinear_conv(x, 0.1, 77, w, 0.1, 3, 5.0, -1, padding=3, dtype=np.int8))
    np.testing.assert_array_equal(y, both_modes(lambda: integer.qlinear_conv(framed, 0.1, 77, w, 0.1, 3, 5.0, -1, dtype=np.int8)))
    assert (y[:, :, 0] == -1).all()
    framed[framed == 77] = 0                                                          # the slip: the code 0 stands for -7.7 here
    framed[:, :, 3:6, 3:6] = x
    slip = integer.qlinear_conv(framed, 0.1, 77, w, 0.1, 3, 5.0, -1, dtype=np.int8)
    assert (slip[:, :, 3:5, 3:5] == y[:, :, 3:5, 3:5]).all() and (slip[:, :, 0] != -1).any()


@pytest.mark.small
def test_fused_activation_is_a_clamp():
    """q_min and q_max give what clipping the full result gives: rounding is monotone."""
    rng = np.random.default_rng(0)
    x, w = random_codes(rng, np.int8, (1, 3, 4, 4)), random_codes(rng, np.int8, (5, 3, 1, 1))
    full = integer.qlinear_conv(x, 0.1, 4, w, 0.1, 0, 2.0, -10)
    y = both_modes(lambda: integer.qlinear_conv(x, 0.1, 4, w, 0.1, 0, 2.0, -10, q_min=-10, q_max=60))
    np.testing.assert_array_equal(y, np.clip(full, -10, 60))
    assert (y == -10).any() and (y == 60).any() and ((y > -10) & (y < 60)).any()


@pytest.mark.small
def test_accumulators_up_to_the_last_int32_and_no_further():
    """max|q_x - Z_x| * sum|q_w - Z_w| + |b| = 2^31 - 1 is computed exactly; one more is refused."""
    x, w = np.full((1, 1, 1, 1), -128, np.int8), np.full((1, 1, 1, 1), -1, np.int8)
    bias = np.array([2 ** 31 - 1 - 128], np.int32)
    y = both_modes(lambda: integer.qlinear_conv(x, 1.0, 0, w, 2.0 ** -25, 0, 1.0, 0, bias))
    assert y.item() == 64                                                             # (2^31 - 1) / 2^25 = 63.99...
    for wrong in (bias + np.int32(1), -bias - np.int32(1)):
        with pytest.raises(ValueError, match="output channel 0 could overflow.*2147483648"):
            integer.qlinear_conv(x, 1.0, 0, w, 1.0, 0, 1.0, 0, wrong)
    many = np.full((1, 65794, 1, 1), 1, np.uint8)                                     # 255 * 128 * 65794 = 2^31 + 512
    with pytest.raises(ValueError, match="could overflow"):
        integer.qlinear_conv(many, 1.0, 0, np.full((1, 65794, 1, 1), -128, np.int8), 1.0, 0, 1.0, 0)


def test_results_do_not_depend_on_the_number_of_threads():
    """One, two and three threads: the same codes, also where pixels do not divide."""
    rng = np.random.default_rng(0)
    x, w = random_codes(rng, np.int8, (5, 16, 13, 13)), random_codes(rng, np.int8, (48, 16, 3, 3))
    before, results = tc.kernels.get_num_threads(), []
    try:
        for n in (1, 2, 3):
            tc.kernels.set_num_threads(n)
            results.append(integer.qlinear_conv(x, 0.1, 3, w, 0.01, 0, 1.0, 0, padding=1))
    finally:
        tc.kernels.set_num_threads(before)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


@pytest.mark.small
def test_prepared_once_runs_often():
    """prepare_conv + run_conv is qlinear_conv; an input of another shape or dtype is refused."""
    rng = np.random.default_rng(0)
    w = random_codes(rng, np.int8, (4, 2, 3, 3))
    prepared = integer.prepare_conv((1, 2, 4, 4), np.uint8, 0.1, 9, w, 0.1, 0, 3.0, 1, padding=1)
    for _ in range(2):
        x = random_codes(rng, np.uint8, (1, 2, 4, 4))
        np.testing.assert_array_equal(both_modes(lambda: integer.run_conv(prepared, x)),
                                      integer.qlinear_conv(x, 0.1, 9, w, 0.1, 0, 3.0, 1, padding=1))
    with pytest.raises(ValueError, match="x must be uint8 of shape"):
        integer.run_conv(prepared, x.astype(np.int8))
    with pytest.raises(ValueError, match="x must be uint8 of shape"):
        integer.run_conv(prepared, x[:, :, :3])


@pytest.mark.small
@pytest.mark.skipif(tc.kernels.mode() == "plain", reason="the loops have no plan")
def test_a_plan_refuses_what_is_not_codes():
    """The launch itself looks at type and axes: a plan called without run_conv reads no memory that is not there."""
    w = random_codes(np.random.default_rng(0), np.int8, (4, 2, 3, 3))
    prepared = integer.prepare_conv((1, 2, 4, 4), np.uint8, 0.1, 9, w, 0.1, 0, 3.0, 1, padding=1)
    x = np.zeros((1, 2, 4, 4), np.uint8)
    for bad in (x.astype(np.float32), x[0]):
        with pytest.raises(ValueError, match="x must be codes of one byte"):
            prepared.plan(bad)


def test_linear_layer_equals_the_oracle():
    """x (N,C) and w (F,C): several panels, one row and many, per-filter scales."""
    rng = np.random.default_rng(0)
    for n, c, f in ((1, 1, 1), (1, 300, 10), (7, 33, 70)):
        x, w = random_codes(rng, np.uint8, (n, c)), random_codes(rng, np.int8, (f, c))
        bias, w_scale = rng.integers(-999, 999, f).astype(np.int32), rng.uniform(0.01, 0.02, f).astype(np.float32)
        acc = ((x.astype(int) - 100) @ (w.astype(int) - 3).T + bias)[:, :, None, None]
        expected = oracle_codes(acc, np.float32(0.01) * w_scale / np.float32(0.9), 5, 0, 255)[:, :, 0, 0]
        y = both_modes(lambda: integer.qlinear_matmul(x, 0.01, 100, w, w_scale, 3, 0.9, 5, bias))
        assert y.shape == (n, f)
        np.testing.assert_array_equal(y, expected)
    with pytest.raises(ValueError, match="same C"):
        integer.qlinear_matmul(x, 0.01, 0, w[:, 1:], 0.01, 0, 1.0, 0)


@pytest.mark.parametrize("scales", ((0.5, 0.25, 1.0), (0.5, 0.5, 1.0), (0.013, 0.021, 0.03), (1e-3, 7.0, 0.11)))
def test_addition_of_all_pairs_of_codes(scales):
    """All 256 x 256 pairs: round((q_a - Z_a) S_a / S_y + (q_b - Z_b) S_b / S_y) + Z_y in exact rationals, ties among them."""
    a = np.repeat(np.arange(-128, 128), 256).astype(np.int8)
    b = np.tile(np.arange(256), 256).astype(np.uint8)
    y = both_modes(lambda: integer.qlinear_add(a, scales[0], -7, b, scales[1], 121, scales[2], 3))
    sa, sb, sy = (Fraction(float(np.float32(s))) for s in scales)
    left = {q: (q + 7) * sa / sy for q in range(-128, 128)}
    right = {q: (q - 121) * sb / sy for q in range(256)}
    some = np.random.default_rng(0).permutation(a.size)[:8000]
    expected = [min(max(round(left[int(a[i])] + right[int(b[i])]) + 3, -128), 127) for i in some]
    np.testing.assert_array_equal(y[some], expected)
    with tc.kernels.use("fast"):
        images = channels_last(a.reshape(4, 64, 16, 16)), b.reshape(4, 64, 16, 16)
        grid = integer.qlinear_add(images[0], scales[0], -7, images[1], scales[1], 121, scales[2], 3)
    np.testing.assert_array_equal(grid.ravel(), y)                                    # two layouts, one sum


@pytest.mark.small
def test_addition_by_hand_and_its_clamp():
    """Ties of both signs to even, then + Z; a small range clips; shapes must agree."""
    a, b = np.array([1, 3, -1, -3, 100], np.int8), np.zeros(5, np.int8)
    assert both_modes(lambda: integer.qlinear_add(a, 0.5, 0, b, 1.0, 0, 1.0, 1)).tolist() == [1, 3, 1, -1, 51]
    assert integer.qlinear_add(a, 0.5, 0, b, 1.0, 0, 1.0, 1, q_min=0, q_max=6).tolist() == [1, 3, 1, 0, 6]
    assert integer.qlinear_add(a, 1e30, 0, b, 1.0, 0, 1e-30, 200, dtype=np.uint8).tolist() == [255, 255, 0, 0, 255]
    with pytest.raises(ValueError, match="one shape"):
        integer.qlinear_add(a, 1.0, 0, b[:4], 1.0, 0, 1.0, 0)


@pytest.mark.small
def test_two_orders_of_rounding_a_sum():
    """QuantizeLinear rounds before adding Z, ONNX Runtime's QLinearAdd after: at ties with odd Z one code apart, else the same."""
    a, b = np.array([1, 3, 5, -1, -3, -5, 2], np.int8), np.zeros(7, np.int8)
    for zero, before, after in ((0, [0, 2, 2, 0, -2, -2, 1], [0, 2, 2, 0, -2, -2, 1]), (1, [1, 3, 3, 1, -1, -1, 2], [2, 2, 4, 0, 0, -2, 2])):
        for rule, expected in (("quantize_linear", before), ("qlinear_add", after)):
            y = both_modes(lambda: integer.qlinear_add(a, 0.5, 0, b, 1.0, 0, 1.0, zero, rule=rule))
            assert y.tolist() == expected
    with pytest.raises(ValueError, match="rule must be one of quantize_linear, qlinear_add, not 'onnx'"):
        integer.qlinear_add(a, 0.5, 0, b, 1.0, 0, 1.0, 0, rule="onnx")


@pytest.mark.small
def test_products_of_codes():
    """Every product, rounded as the page says, in exact rationals; gates (N,C,1,1) are one number a plane; what does not fit is refused."""
    rng = np.random.default_rng(0)
    a, b = random_codes(rng, np.int8, (2, 3, 4, 5)), random_codes(rng, np.uint8, (2, 3, 4, 5))
    for scales in ((0.5, 0.5, 8.0), (0.021, 0.017, 0.05)):
        sa, sb, sy = (Fraction(float(np.float32(s))) for s in scales)
        M = Fraction(float(Fraction(float(sa * sb)) / sy))
        for other in (b, b[:, :, :1, :1]):
            y = both_modes(lambda: integer.qlinear_mul(a, scales[0], -3, other, scales[1], 99, scales[2], 7))
            wide = np.broadcast_to(other, a.shape)
            expected = [min(max(round(Fraction(float((int(p) + 3) * (int(q) - 99) * M))) + 7, -128), 127) for p, q in zip(a.ravel(), wide.ravel())]
            np.testing.assert_array_equal(y.ravel(), expected)
    with pytest.raises(ValueError, match="b must have the shape of a"):
        integer.qlinear_mul(a, 1.0, 0, b[:, :2], 1.0, 0, 1.0, 0)


@pytest.mark.small
def test_functions_by_table():
    """256 codes, each QuantizeLinear of the function of what the code stands for; looked up in any shape, layout and type."""
    for dtype, y_dtype in ((np.int8, np.int8), (np.uint8, np.int8), (np.int8, np.uint8)):
        low, high = RANGE[dtype]
        table = integer.table_of(np.tanh, 0.03, low + 101, 1 / 100, 5, dtype, y_dtype)
        codes = np.arange(low, high + 1).astype(dtype)
        reals = (codes.astype(float) - (low + 101)) * float(np.float32(0.03))
        expected = np.clip(np.rint(np.tanh(reals) / float(np.float32(1 / 100))) + 5, *RANGE[y_dtype])
        assert table.dtype == y_dtype
        np.testing.assert_array_equal(both_modes(lambda: integer.look_up(codes, table)), expected)
        lying = channels_last(codes.reshape(4, 4, 4, 4))
        np.testing.assert_array_equal(integer.look_up(lying, table).ravel(), expected)
    same = integer.table_of(lambda x: x, 0.5, 3, 0.25, -2)
    assert [int(same[q & 255]) for q in (3, 4, -128, 127)] == [-2, 0, -128, 127]
    with pytest.raises(ValueError, match="not finite at"), np.errstate(invalid="ignore"):
        integer.table_of(np.sqrt, 1.0, 0, 1.0, 0)
    with pytest.raises(ValueError, match="table must hold 256 codes"):
        integer.look_up(codes, table[:9])


@pytest.mark.small
@pytest.mark.parametrize("include", (True, False))
def test_windows_of_codes(include):
    """The mean of each window in exact rationals, padding standing for 0; the largest code of each, padding left out."""
    x = random_codes(np.random.default_rng(0), np.int8, (2, 3, 5, 6))
    g = pool2d_geometry(x.shape, (3, 2), 2, 1)
    y = both_modes(lambda: integer.qlinear_average_pool(x, 0.5, 5, 0.25, 11, g, include))
    largest = both_modes(lambda: integer.max_pool(x, g))
    for n, c, i, j in np.ndindex(y.shape):
        rows, cols = slice(max(2 * i - 1, 0), 2 * i + 2), slice(max(2 * j - 1, 0), 2 * j + 1)
        seen = x[n, c, rows, cols].astype(int)
        bottom, right = min(2 * i + 2, 6), min(2 * j + 1, 7)                                # a window is cut at the padded image
        count = (bottom - (2 * i - 1)) * (right - (2 * j - 1)) if include else seen.size
        expected = round(Fraction(int((seen - 5).sum()) * 2, count)) + 11
        assert y[n, c, i, j] == min(max(expected, -128), 127) and largest[n, c, i, j] == seen.max()
    with pytest.raises(ValueError, match="shape of its geometry"):
        integer.max_pool(x[:1], g)


SMALL_PLANE = pytest.param((2, 3, 2, 2), marks=pytest.mark.small)


@pytest.mark.parametrize("shape", (SMALL_PLANE, (1, 40, 7, 7), (3, 5, 6, 6), (2, 17, 1, 9)))
def test_global_average(shape):
    """Exact rational means, odd zero points; 6x6 planes meet ties that a rounded 1/36 would miss."""
    rng = np.random.default_rng(0)
    kinds = (np.uint8, np.uint8, 1.0, 1.0), (np.int8, np.uint8, 0.05, 0.02), (np.uint8, np.int8, 0.5, 0.25)
    for dtype, y_dtype, x_scale, y_scale in kinds:
        x = (random_codes(rng, dtype, shape) // 8).astype(dtype)
        expected = np.empty(shape[:2], int)
        low, high = RANGE[y_dtype]
        for at in np.ndindex(shape[:2]):
            total = int(x[at].astype(int).sum()) - 5 * shape[2] * shape[3]
            mean = total * Fraction(float(np.float32(x_scale))) / Fraction(float(np.float32(y_scale))) / (shape[2] * shape[3])
            expected[at] = min(max(round(mean) + 11, low), high)
        for lying in (x, channels_last(x)):
            y = both_modes(lambda: integer.qlinear_global_average_pool(lying, x_scale, 5, y_scale, 11, dtype=y_dtype))
            assert y.shape == (*shape[:2], 1, 1) and y.dtype == y_dtype
            np.testing.assert_array_equal(y[:, :, 0, 0], expected)


@pytest.mark.small
def test_global_average_finds_ties_exactly():
    """18 ones among 36 codes: the mean is 1/2 exactly, to even 0; 54 of 36: 3/2, to even 2."""
    x = np.zeros((1, 2, 6, 6), np.int8)
    x[0, 0].flat[:18] = 1
    x[0, 1].flat[:] = 1
    x[0, 1].flat[:18] = 2
    assert both_modes(lambda: integer.qlinear_global_average_pool(x, 0.1, 0, 0.1, 0)).ravel().tolist() == [0, 2]


@pytest.mark.small
def test_quantize_linear():
    """Half to even, saturation, infinities, per axis; |x - dequantized| <= S/2 (and the roundings of quotient and product)."""
    x = np.array([-0.75, -0.25, 0.25, 0.75, 1.25, np.inf, -np.inf, 1e38], np.float32)
    assert integer.quantize_linear(x, 0.5, 3).tolist() == [1, 3, 3, 5, 5, 127, -128, 127]
    assert integer.quantize_linear(x, 0.5, 3, dtype=np.uint8, q_min=2, q_max=4).tolist() == [2, 3, 3, 4, 4, 4, 2, 4]
    x = np.random.default_rng(0).uniform(-1, 1, (3, 4, 5)).astype(np.float32)
    scale, zero = np.array([0.01, 0.02, 0.03, 0.04], np.float32), np.array([1, -2, 3, 0])
    q = integer.quantize_linear(x, scale, zero, axis=1)
    back = integer.dequantize_linear(q, scale, zero, axis=-2)
    for c in range(4):
        np.testing.assert_array_equal(q[:, c], integer.quantize_linear(x[:, c], scale[c], int(zero[c])))
        inside = (q[:, c] > -128) & (q[:, c] < 127)
        u = 2.0 ** -24                                                                # quotient and product: two roundings of |x|
        assert (np.abs(x - back)[:, c][inside] <= scale[c] / 2 + 3 * u * (np.abs(x[:, c][inside]) + scale[c])).all()
    np.testing.assert_array_equal(integer.quantize_linear(back, scale, zero, axis=1), q)          # codes are fixed points
    assert integer.dequantize_linear(np.array([7, -3], np.int32), 0.5, 0).tolist() == [3.5, -1.5]
    lying = channels_last(np.zeros((2, 3, 4, 5), np.float32))
    assert layout.of(integer.quantize_linear(lying, 1.0, 0)) == "channels_last"
    with pytest.raises(ValueError, match="NaN"):
        integer.quantize_linear(np.array([0.0, np.nan]), 1.0, 0)


GOOD = dict(x=np.zeros((1, 2, 3, 3), np.uint8), x_scale=0.1, x_zero_point=0, w=np.zeros((4, 2, 1, 1), np.int8), w_scale=0.1,
            w_zero_point=0, y_scale=0.1, y_zero_point=0)


@pytest.mark.small
@pytest.mark.parametrize("change, error, match", (
    (dict(x=np.zeros((1, 2, 3, 3))), TypeError, "x must be an int8 or uint8 array, not float64"),
    (dict(x=[[1]]), TypeError, "x must be an int8 or uint8 array, not list"),
    (dict(x=np.zeros((2, 3, 3), np.int8)), ValueError, "x must have 4 axes"),
    (dict(x=np.zeros((0, 2, 3, 3), np.int8)), ValueError, "x must have 4 axes and not be empty"),
    (dict(x=np.zeros((1, 3, 3, 3), np.int8)), ValueError, "3 input channels"),
    (dict(w=np.zeros((4, 2, 1, 1), np.int32)), TypeError, "w must be an int8 or uint8 array, not int32"),
    (dict(w=np.zeros((4, 2, 5, 5), np.int8)), ValueError, "no window fits"),
    (dict(x_scale=0.0), ValueError, "x_scale must be positive and finite"),
    (dict(x_scale=1e-60), ValueError, "x_scale must be positive and finite as float32"),
    (dict(w_scale=np.inf), ValueError, "w_scale must be positive and finite"),
    (dict(y_scale=np.nan), ValueError, "y_scale must be positive and finite"),
    (dict(y_scale=-1.0), ValueError, "y_scale must be positive and finite"),
    (dict(x_scale=[0.1, 0.2]), ValueError, "x_scale must be one number, not of shape"),
    (dict(w_scale=[0.1, 0.2]), ValueError, "w_scale must be one number, or 4: one a channel"),
    (dict(w_scale="small"), TypeError, "w_scale must be a number"),
    (dict(x_scale=1e-30, w_scale=1e-30), ValueError, "leaves the range of float32"),
    (dict(x_zero_point=-1), ValueError, r"x_zero_point must lie in the range of uint8, 0 \.\. 255"),
    (dict(w_zero_point=128), ValueError, "w_zero_point must lie in the range of int8"),
    (dict(w_zero_point=[0, 0]), ValueError, "w_zero_point must be one number, or 4"),
    (dict(y_zero_point=300), ValueError, "y_zero_point must lie in the range of uint8"),
    (dict(y_zero_point=0.5), TypeError, "y_zero_point must be an integer"),
    (dict(bias=np.zeros(4)), TypeError, "bias must be an int32 array"),
    (dict(bias=np.zeros(3, np.int32)), ValueError, r"bias must have shape \(4,\)"),
    (dict(rule="half up"), ValueError, 'rule must be one of "onnx", "fp32", "tflite", "single", not'),
    (dict(dtype=np.int16), TypeError, "dtype must be int8 or uint8, not int16"),
    (dict(q_min=-1), ValueError, "q_min and q_max must be integers"),
    (dict(q_min=9, q_max=8), ValueError, "q_min and q_max must be integers"),
    (dict(groups=3), ValueError, "groups must divide"),
))
def test_bad_arguments_are_named(change, error, match):
    """Each refusal names the argument, its value and what would be right, before anything is computed."""
    with pytest.raises(error, match=match):
        integer.qlinear_conv(**{**GOOD, **change})
    assert integer.qlinear_conv(**GOOD).shape == (1, 4, 3, 3)


@pytest.mark.small
def test_bad_arguments_of_the_others():
    """The same refusals in the operations without weights."""
    q = np.zeros((2, 3), np.int8)
    with pytest.raises(TypeError, match="x must be a float32 or float64 array"):
        integer.quantize_linear(q, 1.0, 0)
    with pytest.raises(ValueError, match="axis must be None or an axis"):
        integer.quantize_linear(np.zeros((2, 3)), np.ones(3), 0, axis=2)
    with pytest.raises(TypeError, match="q must be an int8, uint8 or int32 array"):
        integer.dequantize_linear(np.zeros(3), 1.0, 0)
    with pytest.raises(ValueError, match="zero_point of int32 codes must be 0"):
        integer.dequantize_linear(np.zeros(3, np.int32), 1.0, 1)
    with pytest.raises(ValueError, match="x must have 4 axes"):
        integer.qlinear_global_average_pool(q, 1.0, 0, 1.0, 0)
    with pytest.raises(ValueError, match="b_scale must be positive"):
        integer.qlinear_add(q, 1.0, 0, q, 0.0, 0, 1.0, 0)
    with pytest.raises(ValueError, match="rule must be one of"):
        integer.qlinear_matmul(q, 1.0, 0, q, 1.0, 0, 1.0, 0, rule="even")
