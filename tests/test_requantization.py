"""The four rules of requantization against oracles in exact rationals, and a corpus of layers that tells the rules apart.

An oracle is its rule's definition in Python's integers and fractions.Fraction, one number at a time; it shares nothing with the package. float()
of a Fraction is the correctly rounded float64; a product of two float32 numbers is exact in float64, so np.float32 of it is rounded once.
"""
import itertools
from fractions import Fraction
from functools import lru_cache

import numpy as np
import pytest
from integer_oracles import RANGE, both_modes, channels_last, oracle_accumulators, random_codes

from tinyconv.kernels import integer, requantization

HALF = Fraction(1, 2)
RULES = tuple(integer.RULES)


def clipped(value, low, high):
    return min(max(value, low), high)


def by_onnx(acc, scales, zero, low, high):
    """float64 products: onnx.reference's QLinearConv."""
    product = float(Fraction(acc) * Fraction(float(np.float32(np.float32(scales[0] * scales[1]) / scales[2]))))
    return round(clipped(Fraction(float(Fraction(product) + zero)), low, high))


def by_fp32(acc, scales, zero, low, high):
    """A float32 sum times a float32 multiplier, rounded to float32; to an integer, half to even; then the zero point."""
    multiplier = np.float32(np.float32(scales[0] * scales[1]) / scales[2])
    product = np.float32(float(Fraction(float(np.float32(acc))) * Fraction(float(multiplier))))
    return round(clipped(Fraction(float(product)), low - zero, high - zero)) + zero


@lru_cache(maxsize=None)
def quantized_multiplier(scales):
    """(M0, e): the float64 product as M0 2^(e-31), TFLite's QuantizeMultiplier by trial of e."""
    M = Fraction(float(np.float64(scales[0]) * np.float64(scales[1]) / np.float64(scales[2])))
    e = next(e for e in range(-200, 200) if HALF <= M / Fraction(2) ** e < 1)
    M0 = (M / Fraction(2) ** e * 2 ** 31 + HALF).__floor__()
    if M0 == 2 ** 31:
        M0, e = M0 // 2, e + 1
    return (0, 0) if e < -31 else (M0, e)


def truncated(a, b):
    """C's integer division."""
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def by_tflite(acc, scales, zero, low, high):
    """gemmlowp: SaturatingRoundingDoublingHighMul, then RoundingDivideByPOT, as they are written."""
    M0, e = quantized_multiplier(scales)
    product, right = acc * 2 ** max(e, 0) * M0, max(-e, 0)
    high_mul = truncated(product + (2 ** 30 if product >= 0 else 1 - 2 ** 30), 2 ** 31)
    mask = 2 ** right - 1
    more = (high_mul & mask) > (mask >> 1) + (1 if high_mul < 0 else 0)
    return clipped((high_mul >> right) + more + zero, low, high)


def by_single(acc, scales, zero, low, high):
    """One rounding of acc M0 2^(e-31), half up."""
    M0, e = quantized_multiplier(scales)
    return clipped((Fraction(acc * M0) * Fraction(2) ** (e - 31) + HALF).__floor__() + zero, low, high)


ORACLES = {"onnx": by_onnx, "fp32": by_fp32, "tflite": by_tflite, "single": by_single}


def f32(*numbers):
    return tuple(np.float32(n) for n in numbers)


def codes_of(acc, scales, zero, dtype, rule):
    """The codes of sums: each the bias of a filter whose products are all 0."""
    w = np.zeros((len(acc), 1, 1, 1), np.int8)
    x = np.full((1, 1, 1, 1), 3, dtype)
    return both_modes(lambda: integer.qlinear_conv(x, scales[0], 3, w, scales[1], 0, scales[2], zero, np.array(acc, np.int32), rule=rule)).ravel()


def near_boundaries(multiplier, zero, low, high):
    """Sums within 2 of each place where the code changes: (code + 1/2 - Z) / M, but for "tflite", whose first rounding moves it by at most 2^30 / M0 <= 1:
    so those within 3 are taken.
    """
    boundary = [int((code + HALF - zero) / Fraction(float(multiplier))) for code in range(low - 2, high + 2)]
    return [a for a in sorted({b + d for b in boundary for d in range(-3, 4)}) if abs(a) < 2 ** 29]


def check_near_boundaries(rule, multiplier, dtype, place):
    scales, (low, high) = f32(multiplier, 1.0, 1.0), RANGE[dtype]
    acc = near_boundaries(scales[0], low + place, low, high)
    expected = [ORACLES[rule](a, scales, low + place, low, high) for a in acc]
    np.testing.assert_array_equal(codes_of(acc, scales, low + place, dtype, rule), expected)
    assert {low, high} <= set(expected) or multiplier < 1e-6                              # both ends saturate


@pytest.mark.parametrize("rule", RULES)
def test_every_accumulator_near_a_boundary(rule):
    """Every sum within 2 of each boundary of codes, both ends included: ties of both signs, odd and even zero points, both types."""
    for multiplier in (0.5, 0.25, 1.0, 1 / 3, 0.0123, 0.99999994, 3e-5, 1e-7, 2.5):
        for dtype, place in itertools.product((np.int8, np.uint8), (1, 130, 255)):
            check_near_boundaries(rule, multiplier, dtype, place)


@pytest.mark.small
@pytest.mark.parametrize("rule", RULES)
def test_boundaries_of_one_half(rule):
    """The same for the multiplier of most ties."""
    check_near_boundaries(rule, 0.5, np.int8, 77)


@pytest.mark.small
def test_ties_by_hand():
    """1/2, 3/2, 5/2 and their negatives, zero points 0 and 1: no two rules agree on all."""
    acc, scales = [1, 3, 5, -1, -3, -5], f32(0.5, 1.0, 1.0)
    expected = {"onnx": ([0, 2, 2, 0, -2, -2], [2, 2, 4, 0, 0, -2]), "fp32": ([0, 2, 2, 0, -2, -2], [1, 3, 3, 1, -1, -1]),
                "tflite": ([1, 2, 3, 0, -1, -2], [2, 3, 4, 1, 0, -1]), "single": ([1, 2, 3, 0, -1, -2], [2, 3, 4, 1, 0, -1])}
    for rule, (even, odd) in expected.items():
        assert codes_of(acc, scales, 0, np.int8, rule).tolist() == even
        assert codes_of(acc, scales, 1, np.int8, rule).tolist() == odd
    acc, scales = [2, 6, -2, -6], f32(0.25, 1.0, 1.0)                    # the second rounding of two goes away from 0
    assert codes_of(acc, scales, 0, np.int8, "tflite").tolist() == [1, 2, -1, -2]
    assert codes_of(acc, scales, 0, np.int8, "single").tolist() == [1, 2, 0, -1]


LAYERS = [                           # N C H W, F KH KW, stride, padding, dilation, groups
    ((2, 3, 5, 4), (4, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    ((1, 6, 7, 5), (9, 3, 2), (2, 1), ((2, 0), (1, 1)), (1, 2), 3),
    ((1, 18, 6, 6), (18, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 18),
    ((1, 5, 6, 7), (10, 3, 3), (2, 2), ((0, 1), (2, 1)), (1, 1), 5),
    ((1, 7, 9, 9), (35, 2, 2), (1, 2), ((1, 0), (0, 1)), (3, 2), 1),
    ((1, 40, 3, 3), (17, 1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
]


def corpus():
    """(x, w, bias, geometry, scales, zero points, output type): odd zero points; multipliers 1/2, 1/4 and none so round, one a filter."""
    rng = np.random.default_rng(6)
    for number, (x_shape, kernel, *more) in enumerate(LAYERS):
        groups = more[-1]
        for x_dtype, y_dtype, per_filter in ((np.uint8, np.int8, False), (np.int8, np.uint8, True), (np.int8, np.int8, True)):
            x = random_codes(rng, x_dtype, x_shape)
            w = rng.integers(-3, 4, (kernel[0], x_shape[1] // groups, *kernel[1:])).astype(np.int8)
            bias = rng.integers(-40, 41, kernel[0]).astype(np.int32)
            w_scale = f32(0.5)[0] if not per_filter else rng.choice(f32(0.5, 0.25, 0.125, 0.3, 0.071), kernel[0])
            x_zero, y_zero = int(x.flat[0]) | 1, int(random_codes(rng, y_dtype, ())) | 1
            yield x, w, bias, (x_shape, *more), (np.float32(0.5), w_scale, np.float32(1 if number % 2 else 0.5)), (x_zero, y_zero), y_dtype


def test_the_corpus_tells_the_rules_apart():
    """Every entry of every layer equals its rule's oracle, in both layouts; each two rules differ somewhere, and never by more than one code.

    Both ends saturate somewhere; padding holds a zero point that is not 0; ties of both signs are there.
    """
    differences, seen, ties = {pair: 0 for pair in itertools.combinations(RULES, 2)}, set(), set()
    for x, w, bias, (_, stride, padding, dilation, groups), scales, (x_zero, y_zero), y_dtype in corpus():
        acc = oracle_accumulators(x, x_zero, w, 0, bias, stride, padding, dilation, groups)
        each, found = np.broadcast_to(scales[1], len(w)), {}
        for at in np.ndindex(acc.shape):
            tie = Fraction(float(scales[0] * each[at[1]] / scales[2])) * int(acc[at])
            ties.add((tie > 0) - (tie < 0) if tie.denominator == 2 else None)
        for rule in RULES:
            expected = np.empty(acc.shape, np.int64)
            for at in np.ndindex(acc.shape):
                expected[at] = ORACLES[rule](int(acc[at]), (scales[0], each[at[1]], scales[2]), y_zero, *RANGE[y_dtype])
            for lying in (x, channels_last(x)):
                y = both_modes(lambda: integer.qlinear_conv(lying, scales[0], x_zero, w, scales[1], 0, scales[2], y_zero, bias, stride, padding,
                                                            dilation, groups, rule, y_dtype))
                np.testing.assert_array_equal(y, expected)
            found[rule], seen = expected, seen | set(np.unique(expected)) & set(RANGE[y_dtype])
        for pair in differences:
            apart = np.abs(found[pair[0]] - found[pair[1]])
            assert apart.max() <= 1
            differences[pair] += int(apart.sum())
    assert all(count > 20 for count in differences.values()), differences
    assert seen == {-128, 127, 0, 255} and ties == {-1, 1, None}


@pytest.mark.small
def test_a_wrong_rule_is_caught():
    """The corpus of boundaries refuses plausible mistakes: rounding half away for half to even, and a shift that floors."""
    scales = f32(0.5, 1.0, 1.0)
    acc = list(range(-300, 300))
    right = [by_onnx(a, scales, 1, -128, 127) for a in acc]
    away = [clipped(truncated(a + (1 if a >= 0 else -1), 2) + 1, -128, 127) for a in acc]
    floored = [clipped((a >> 1) + 1, -128, 127) for a in acc]
    assert sum(a != b for a, b in zip(right, away)) > 50 and sum(a != b for a, b in zip(right, floored)) > 50
    assert codes_of(acc, scales, 1, np.int8, "onnx").tolist() == right


@pytest.mark.small
def test_one_multiply_add_is_the_rule_where_it_is_used():
    """Where `fusible` allows it, "onnx" by one float32 multiply-add gives the codes of the float64 steps, at ties and beside them.

    The sums are the largest allowed, 2^24 - 1, and those around each boundary; multipliers have all their 24 bits.
    """
    rng = np.random.default_rng(0)
    for multiplier in f32(2.0 ** -22 * 1.9999999, 1.7e-5, 0.00390625, 0.124999):
        for zero in (-127, 4):
            centre = [(code + HALF - zero) / Fraction(float(multiplier)) for code in rng.integers(-128, 128, 30)]
            acc = sorted({int(c) + d for c in centre for d in range(-2, 3)} | {2 ** 24 - 1, 1 - 2 ** 24})
            acc = np.array([a for a in acc if abs(a) < 2 ** 24], np.int32)
            reach = np.abs(acc).astype(np.int64)
            assert requantization.fusible(reach, np.full(len(acc), multiplier, np.float64)) == requantization.FMA
            expected = [by_onnx(int(a), (multiplier, np.float32(1), np.float32(1)), zero, -128, 127) for a in acc]
            np.testing.assert_array_equal(codes_of(acc, (multiplier, 1.0, 1.0), zero, np.int8, "onnx"), expected)
    few, one = np.array([2 ** 24]), np.array([0.01])
    assert not requantization.fusible(few, one) and not requantization.fusible(few // 2, one * 1e-6)
    assert not requantization.fusible(few // 2, one * 100)


@pytest.mark.small
def test_integer_multipliers():
    """M0 2^(e-31) is M within half of the last bit of 31, M0 in [2^30, 2^31), as TFLite's QuantizeMultiplier; what vanishes is 0."""
    rng = np.random.default_rng(0)
    M = np.concatenate([2.0 ** rng.uniform(-30, 8, 500), [0.5, 1 - 2.0 ** -40, 2.0 ** -31, 1.0]])
    M0, e = requantization.integer_multiplier(M)
    assert ((2 ** 30 <= M0) & (M0 < 2 ** 31)).all() and (np.abs(M0 * 2.0 ** (e - 31.0) - M) <= 2.0 ** (e - 32.0)).all()
    assert [v.tolist() for v in requantization.integer_multiplier(np.array([2.0 ** -33]))] == [[0], [0]]
    for m in M[::50]:
        assert quantized_multiplier((m, 1.0, 1.0)) == tuple(int(v) for v in requantization.integer_multiplier(m))


@pytest.mark.small
def test_sums_that_leave_int32_when_multiplied_are_refused():
    """A multiplier above 1 is fine for rules of integers as long as every sum times it fits."""
    w, bias = np.ones((1, 1, 1, 1), np.int8), np.array([2 ** 24], np.int32)
    x = np.zeros((1, 1, 1, 1), np.int8)
    for rule in ("tflite", "single"):
        with pytest.raises(ValueError, match="leaves int32"):
            integer.qlinear_conv(x, 100.0, 0, w, 1.0, 0, 1.0, 0, bias, rule=rule)
        assert integer.qlinear_conv(x, 3.0, 0, w, 1.0, 0, 1.0, 0, np.array([7], np.int32), rule=rule).item() == 21
