"""Shorter floats: float16 (5 exponent bits, 10 of the mantissa) and bfloat16 (8 and 7: float32's range, an eighth of its digits).

    x̂ = u · round(x / u),   u = 2^(max(e, e_min) - m)          x = ±1.… · 2^e,  m mantissa bits,  e_min = 2 - 2^(E-1)
u is the distance between neighbours around x. Below 2^e_min it stays what it is there: the *subnormal* numbers, down to
2^(e_min - m), and then 0. Halves go to the even neighbour. What rounds to 2^(e_max+1) or more becomes infinite: in float16 from
65520 on (65504 is the largest), in bfloat16 from 3.396e38 on. NaN stays NaN.
Rounding happens once, from the type that x has: float64 over float32 to bfloat16 would round twice, and halves wrongly.
Invariants: |x - x̂| <= 2^-(m+1) |x| for normal numbers, monotone, round_to(x̂) = x̂. Source: IEEE 754-2019, sections 3.4, 4.3.1.
"""
import numpy as np

FORMATS = {"float16": (5, 10), "bfloat16": (8, 7)}          # exponent bits, mantissa bits


def _widths(kind):
    if kind not in FORMATS:
        raise ValueError(f"kind must be one of {', '.join(FORMATS)}, not {kind!r}")
    return FORMATS[kind]


def round_to(x, kind="bfloat16"):
    """x̂ in x's own dtype (float32 or float64), of any shape: the nearest number that `kind` has, halves to even.

    Errors: ValueError for another kind, TypeError for an array that is no float.

    >>> tc.compress.quantize.round_to(np.array([1.0 + 2.0 ** -8, 1.0 + 3 * 2.0 ** -8, 3.4e38, -1e-50]))
    array([ 1.      ,  1.015625,       inf, -0.      ])
    >>> tc.compress.quantize.round_to(np.float32([65519, 65520, 2 ** -25, 3 * 2 ** -25]), "float16").tolist()
    [65504.0, inf, 0.0, 1.1920928955078125e-07]
    """
    exponent_bits, digits = _widths(kind)
    x = np.asarray(x)
    if x.dtype not in (np.float32, np.float64):
        raise TypeError(f"x must be float32 or float64, not {x.dtype}")
    e_max = 2 ** (exponent_bits - 1) - 1
    wide = x.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        _, exponent = np.frexp(np.where(np.isfinite(wide), wide, 0.0))            # |x| < 2^exponent
        unit = np.maximum(exponent - 1, 1 - e_max) - digits                       # u = 2^unit
        near = np.ldexp(np.rint(np.ldexp(wide, -unit)), unit)
        near = np.where(np.abs(near) >= 2.0 ** (e_max + 1), np.copysign(np.inf, near), near)
        return near.astype(x.dtype)[()]


def float_bits(x, kind="bfloat16"):
    """The 16 bits of round_to(x, kind) as uint16: sign, exponent, mantissa. A NaN becomes the quiet one, its sign kept.

    >>> [hex(b) for b in tc.compress.quantize.float_bits(np.float32([1.0, -2.0, np.inf]))]
    ['0x3f80', '0xc000', '0x7f80']
    """
    exponent_bits, digits = _widths(kind)
    x = np.asarray(x)
    near = np.atleast_1d(round_to(x, kind))
    if kind == "float16":
        bits = near.astype(np.float16).view(np.uint16)                            # exact: the numbers are float16's already
    else:
        bits = (near.astype(np.float32).view(np.uint32) >> np.uint32(16)).astype(np.uint16)
    quiet = np.uint16((2 ** (exponent_bits + 1) - 1) << (digits - 1)) | (np.signbit(near).astype(np.uint16) << np.uint16(15))
    return np.where(np.isnan(near), quiet, bits).reshape(x.shape)


def from_float_bits(bits, kind="bfloat16"):
    """The numbers of 16-bit patterns, float32, exact.

    >>> tc.compress.quantize.from_float_bits(np.uint16([0x3F80, 0x4049]))
    array([1.      , 3.140625], dtype=float32)
    """
    _widths(kind)
    bits = np.asarray(bits)
    if bits.dtype != np.uint16:
        raise TypeError(f"bits must be uint16 patterns, not {bits.dtype}")
    if kind == "float16":
        return bits.view(np.float16).astype(np.float32)
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
