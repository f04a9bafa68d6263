"""How an int32 sum becomes an 8-bit code: four rules that differ in when and how they round. acc·M + Z, clipped to low … high.

    "onnx"    M = (S_x S_w)/S_y in float32.  rint(clip(float64(acc) M + Z)): half to even, after Z is added
    "fp32"    the same M.  rint(clip(float32(acc) M)) + Z in float32: half to even, before Z is added
    "tflite"  M = M0 2^(e-31), M0 in [2^30, 2^31) an integer.  SRDHM(acc 2^max(e,0), M0) = floor(acc M0 / 2^31 + 1/2), an integer; then divided by
              2^max(-e,0) and rounded again, half away from zero; + Z; clip
    "single"  the same M0 and e.  floor(acc M0 2^(e-31) + 1/2): one rounding, half up; + Z; clip

"onnx" is onnx.reference's QLinearConv and QLinearMatMul; "fp32" what ONNX Runtime and XNNPACK compute on processors with floats; "tflite" the
double rounding of gemmlowp and TFLite's kernels; "single" TFLite built with TFLITE_SINGLE_ROUNDING. Two rules differ by at
most one code, and only beside or on a tie; with a multiplier of 1/2 they differ on every second sum.

The last two have their M from float64: q = round(m 2^31), half away from zero, for m in [1/2, 1) with M = m 2^e; where q is 2^31, 2^30 and
e + 1; below 2^-32 M is 0. All are non-decreasing in acc, so clipping before or after rounding is the same.
Sources: Jacob et al. (2018), section 2.2; gemmlowp, fixedpoint.h; tensorflow/lite/kernels/internal/quantization_util.cc;
ONNX Runtime, MlasRequantizeOutput; XNNPACK, requantization.h.
"""
from typing import Callable, NamedTuple

import numpy as np

from ._jit import host_features, plain

ONNX, FP32, TFLITE, SINGLE, FUSED = 0, 1, 2, 3, 4          # the rules' numbers in the kernels
ROUND = 1.5 * 2.0 ** 52                          # a float64 this large has no bits left for fractions
ROUND32, BITS32 = 1.5 * 2.0 ** 23, 0x4B400000    # a float32 neither; its bits, those of ROUND32 + n being BITS32 + n
FMA = bool(host_features() & {"fma", "neon", "avx512f"})


class Rule(NamedTuple):
    """A rule: its number in the kernels; (x_scale, w_scale (F,), y_scale) -> multipliers and shifts (F,); is M an integer; whose it is."""

    number: int
    parameters: Callable
    integer: bool
    about: str


def float_multiplier(x_scale, w_scale, y_scale):
    """(S_x · S_w) / S_y, both steps rounded to float32.

    >>> float(float_multiplier(np.float32(0.5), np.float32(0.5), np.float32(1)))
    0.25
    """
    with np.errstate(over="ignore", under="ignore"):
        return x_scale * w_scale / y_scale


def integer_multiplier(M):
    """(M0, e): M = M0 · 2^(e - 31) to 31 bits, M0 in [2^30, 2^31); M float64, any shape -> int64 arrays.

    >>> [int(v) for v in integer_multiplier(np.float64(0.25))], [int(v) for v in integer_multiplier(np.float64(1 - 2.0**-40))]
    ([1073741824, -1], [1073741824, 1])
    """
    fraction, e = np.frexp(M)
    M0, e = np.floor(fraction * 2.0 ** 31 + 0.5).astype(np.int64), e.astype(np.int64)
    carry = M0 == 2 ** 31
    M0, e = np.where(carry, M0 // 2, M0), e + carry
    return np.where(e < -31, 0, M0), np.where(e < -31, 0, e)


def _real(x_scale, w_scale, y_scale):
    return integer_multiplier(np.float64(x_scale) * np.float64(w_scale) / np.float64(y_scale))


def _floats(*scales):
    m = float_multiplier(*scales).astype(np.float64)
    return m, np.zeros(m.shape)


def _tflite(*scales):
    M0, e = _real(*scales)
    return np.float64(M0 << np.maximum(e, 0)), np.float64(np.maximum(-e, 0))


def _single(*scales):
    M0, e = _real(*scales)
    return np.float64(M0), np.float64(31 - e)


RULES = {
    "onnx": Rule(ONNX, _floats, False, "onnx.reference QLinearConv and QLinearMatMul: half to even, after adding Z_y"),
    "fp32": Rule(FP32, _floats, False, "ONNX Runtime, XNNPACK: a product in float32, half to even, then Z_y"),
    "tflite": Rule(TFLITE, _tflite, True, "gemmlowp, TFLite: 31-bit multiplier, rounded twice, the second time half away from zero"),
    "single": Rule(SINGLE, _single, True, "TFLite with TFLITE_SINGLE_ROUNDING: the same multiplier, rounded once, half up"),
}


def fusible(reach, M):
    """May "onnx" be computed by one float32 multiply-add, u = fma(acc, M, ROUND32 + Z)? For sums up to `reach` (F,) and multipliers M (F,).

    A fused multiply-add rounds once, here to an integer, half to even, for u lies between 2^23 and 2^24. That is the rule if its own float64
    steps are exact: acc below 2^24 and M of 24 bits give a product of 48, a multiple of 2^-45 if M >= 2^-22, and so does Z added within the
    range of codes. acc M + Z must stay below 2^22 for u to stay there.
    """
    return FMA and bool((reach < 2 ** 24).all() and (M >= 2.0 ** -22).all() and (reach * M < 2.0 ** 21).all())


# ---- the rules, number by number and in NumPy --------------------------------------------------------------------------------

def clip(value, low, high):
    """value within low … high."""
    return np.minimum(np.maximum(value, low), high)


def by_rule(rule, acc, m, s, zero, low, high):
    """The codes of acc int32 by the rule of that number: int64, of acc's shape; m, s (F,) from `Rule.parameters`, the last axis F."""
    if rule in (ONNX, FUSED):
        return np.rint(clip(acc.astype(np.float64) * m + zero, low, high)).astype(np.int64)
    if rule == FP32:
        value = acc.astype(np.float32) * m.astype(np.float32)
        return np.rint(clip(value, np.float32(low - zero), np.float32(high - zero))).astype(np.int64) + int(zero)
    product, s = acc.astype(np.int64) * m.astype(np.int64), s.astype(np.int64)
    if rule == TFLITE:
        once = product + 2 ** 30 >> 31
        rest, half = once & (1 << s) - 1, ((1 << s) - 1 >> 1) + (once < 0)
        value = (once >> s) + (rest > half)
    else:
        value = product + (np.int64(1) << s - 1) >> s
    return clip(value + int(zero), int(low), int(high))


def _rows(lo, hi, rule, acc, m, s, zero, low, high, out):
    """Tasks: rows of acc (P,F) int32 to rows of out (P,F), low bytes of the codes: the rules number by number."""
    for p in range(lo, hi):
        for f in range(acc.shape[1]):
            total = acc[p, f]
            if rule == ONNX or rule == FUSED:
                value = np.float64(total) * np.float64(m[f]) + zero
                code = np.int64(np.rint(min(max(value, low), high)))
            elif rule == FP32:
                small = np.float32(np.float32(total) * np.float32(m[f]))
                code = np.int64(np.rint(min(max(small, np.float32(low - zero)), np.float32(high - zero)))) + np.int64(zero)
            else:
                product, shift = np.int64(total) * np.int64(m[f]), np.int64(s[f])
                if rule == TFLITE:
                    once = (product + 1073741824) >> 31
                    mask = (1 << shift) - 1
                    code = (once >> shift) + (1 if (once & mask) > (mask >> 1) + (1 if once < 0 else 0) else 0)
                else:
                    code = (product + (1 << (shift - 1))) >> shift
                code = min(max(code + np.int64(zero), np.int64(low)), np.int64(high))
            out[p, f] = code & 255


requantize_rows = plain(_rows)
