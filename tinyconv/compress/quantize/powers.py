"""Powers of two: as scales, so that S (q - Z) is a shift; and as values, so that a product with a weight is one.

    S' = 2^ceil(log2 S)                                               nothing saturates, and S <= S' < 2 S
    ŵ = sign(w) 2^e,   e = round(log2|w|) in [t - L + 1, t],   L = 2^(bits-1) - 1 exponents below the top t = round(log2 max|w|)
Rounding in the logarithm splits two neighbours 2^e and 2^(e+1) at sqrt(2) 2^e, not at their mean 1.5 · 2^e: the *relative*
error is at most sqrt(2) - 1 in both directions.
Source: Miyashita et al., "Convolutional neural networks using logarithmic data representation" (2016), section 3.
"""
import numpy as np

from .._checks import finite, whole


def power_of_two(scale):
    """The least power of two that is at least `scale` (a number or a row): float32. Exact: mantissa and exponent, no logarithm.

    >>> tc.compress.quantize.power_of_two([0.3, 0.25, 5.0]).tolist()
    [0.5, 0.25, 8.0]
    """
    scale = finite(scale, "scale")
    if (scale <= 0).any():
        raise ValueError(f"scale must be positive, not {scale}")
    mantissa, exponent = np.frexp(scale.astype(np.float64))                       # scale = mantissa · 2^exponent, in [1/2, 1)
    made = np.ldexp(1.0, exponent - (mantissa == 0.5))
    if (made > 2.0 ** 127).any() or (made < 2.0 ** -126).any():
        raise ValueError(f"scale must lie in float32's normal range, not {scale}")
    return made.astype(np.float32)[()]


def _exponent(x):
    """round(log2 x) of x > 0, split at sqrt(2): exact for float32, whose mantissa's square is exact in float64."""
    mantissa, exponent = np.frexp(x)
    return exponent - (mantissa * mantissa < 0.5)


def logarithmic(w, bits=4):
    """(codes int8, top): ŵ = sign · 2^(top - L + |q|) for q != 0, and 0 for q = 0; L = 2^(bits-1) - 1 exponents, top an integer.

    The least power is 2^(top-L+1); below half of it a weight becomes 0. bits 2…8. Invariants: signs and zeros kept, ŵ/w within
    [1/sqrt 2, sqrt 2] for |w| >= 2^(top-L+1). Errors: ValueError for nothing but zeros (no top), NaN, emptiness.

    >>> tc.compress.quantize.logarithmic(np.array([1.0, -0.36, 0.35, 0.1, 0.0]), bits=3)
    (array([ 3, -2,  1,  0,  0], dtype=int8), 0)
    """
    w, bits = finite(w, "w").astype(np.float64), whole(bits, "bits", 2, 8)
    if not w.any():
        raise ValueError("w must hold a weight other than 0: the top power follows from the largest")
    levels, size = 2 ** (bits - 1) - 1, np.abs(w)
    top = int(_exponent(size.max()))
    kept = size >= 2.0 ** (top - levels)
    exponent = np.clip(_exponent(np.where(kept, size, 1.0)), top - levels + 1, top)
    return np.where(kept, np.sign(w) * (exponent - top + levels), 0).astype(np.int8), top


def from_logarithmic(codes, top, bits=4):
    """ŵ of logarithmic codes, float32: every one a power of two, or 0.

    >>> tc.compress.quantize.from_logarithmic(np.int8([3, -2, 1, 0]), 0, bits=3).tolist()
    [1.0, -0.5, 0.25, 0.0]
    """
    codes, levels = np.asarray(codes).astype(np.int32), 2 ** (whole(bits, "bits", 2, 8) - 1) - 1
    if (np.abs(codes) > levels).any():
        raise ValueError(f"codes must lie in -{levels}…{levels} for {bits} bits, not {codes.min()}…{codes.max()}")
    return (np.sign(codes) * np.ldexp(1.0, int(top) - levels + np.abs(codes))).astype(np.float32)
