"""What a code is: S * (q - Z) in eight bits. Real numbers to codes and back, and the checks that every integer operation makes.

    q = clip(rint(x / S) + Z)          x^ = S * (q - Z)          |x - x^| <= S/2 where nothing is clipped

The scale S is a positive float32; the zero point Z an integer code, so that the real 0 has a code of its own and padding is
exact. Both are one number, or one for each channel along an axis. Codes are int8 or uint8. Rounding is half to even, before Z is
added, as in ONNX's QuantizeLinear. Cost: a division, a rounding and an addition a value; bound by memory.
Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference" (2018),
equation 1; ONNX operators QuantizeLinear and DequantizeLinear. NumPy alone: no kernel is compiled for this page.
"""
import numpy as np

from ..formulas.geometry import is_integer
from . import layout

CODES = (np.dtype(np.int8), np.dtype(np.uint8))


def code_dtype(dtype, name="dtype"):
    """The dtype, if it is one that codes have. Errors: TypeError."""
    dtype = np.dtype(dtype)
    if dtype not in CODES:
        raise TypeError(f"{name} must be int8 or uint8, not {dtype}")
    return dtype


def code_array(name, q, ndim=None):
    """q, if it is an array of int8 or uint8 codes, not empty, of `ndim` axes. Errors: TypeError, ValueError."""
    if not isinstance(q, np.ndarray) or q.dtype not in CODES:
        raise TypeError(f"{name} must be an int8 or uint8 array, not {getattr(q, 'dtype', type(q).__name__)}")
    if not q.size or ndim is not None and q.ndim != ndim:
        axes = "" if ndim is None else f"have {ndim} axes and "
        raise ValueError(f"{name} must {axes}not be empty: its shape is {q.shape}")
    return q


def _fill(name, value, length):
    """One number, or one for each of `length` channels."""
    if value.size == 1 and value.ndim <= 1:
        return value.reshape(())[()] if length is None else np.full(length, value.item(), value.dtype)
    if length is None or value.shape != (length,):
        wanted = "one number" if length is None else f"one number, or {length}: one a channel"
        raise ValueError(f"{name} must be {wanted}, not of shape {value.shape}")
    return layout.writable(value)


def scale_of(name, value, length=None):
    """A scale as float32: one number, or an array of `length` numbers.

    Errors: TypeError for what is no number; ValueError unless positive and finite as float32, and one or `length` of them.
    """
    given = np.asarray(value)
    if given.dtype.kind not in "fiu":
        raise TypeError(f"{name} must be a number, not {value!r}")
    with np.errstate(over="ignore", under="ignore"):
        scale = given.astype(np.float32)
    if not (np.isfinite(scale) & (scale > 0)).all():
        raise ValueError(f"{name} must be positive and finite as float32, not {value!r}")
    return _fill(name, scale, length)


def zero_point_of(name, value, dtype, length=None):
    """A zero point as int32: one integer in the range of `dtype`, or an array of `length`.

    Errors: TypeError for what is no integer; ValueError out of range, or if there are neither one nor `length`.
    """
    given = np.asarray(value)
    if given.dtype.kind not in "iu":
        raise TypeError(f"{name} must be an integer, not {value!r}")
    info = np.iinfo(dtype)
    if given.size and (given.min() < info.min or given.max() > info.max):
        raise ValueError(f"{name} must lie in the range of {dtype}, {info.min} .. {info.max}, not {value!r}")
    return _fill(name, given.astype(np.int32), length)


def limits(dtype, q_min=None, q_max=None):
    """The range of results as two floats: that of `dtype`, or the narrower one asked for. Errors: ValueError.

    >>> limits(np.int8, q_min=0)
    (0.0, 127.0)
    """
    info = np.iinfo(dtype)
    low, high = info.min if q_min is None else q_min, info.max if q_max is None else q_max
    if not (is_integer(low) and is_integer(high)) or not info.min <= low <= high <= info.max:
        raise ValueError(f"q_min and q_max must be integers, {info.min} <= q_min <= q_max <= {info.max} for {np.dtype(dtype)}, "
                         f"not {low!r} and {high!r}")
    return float(low), float(high)


def _parameters(scale, zero_point, dtype, axis, shape):
    """Scale and zero point, shaped to broadcast along `axis`."""
    if axis is None:
        return scale_of("scale", scale), zero_point_of("zero_point", zero_point, dtype)
    if not is_integer(axis) or not -len(shape) <= axis < len(shape):
        raise ValueError(f"axis must be None or an axis of the array of shape {shape}, not {axis!r}")
    length, axis = shape[axis], axis % len(shape)
    view = tuple(length if a == axis else 1 for a in range(len(shape)))
    return scale_of("scale", scale, length).reshape(view), zero_point_of("zero_point", zero_point, dtype, length).reshape(view)


def quantize_linear(x, scale, zero_point, dtype=np.int8, axis=None, q_min=None, q_max=None):
    """Real numbers to codes: q = clip(rint(x / S) + Z), half to even, as ONNX's QuantizeLinear.

    x float32 or float64 of any shape; the quotient is rounded once, in x's dtype. scale and zero_point one number, or with
    `axis` one for each index along it. Infinities go to the ends of the range, which is that of `dtype` or q_min .. q_max.
    Invariant: |x - dequantize(q)| <= S/2 where nothing is clipped (and half a unit in the last place of x more).
    Errors: TypeError, ValueError for wrong dtypes, scales that are not positive and finite, zero points out of range, NaN.

    >>> quantize_linear(np.array([-1.0, 0.25, 0.75, 99.0]), 0.5, 1).tolist()
    [-1, 1, 3, 127]
    """
    if not isinstance(x, np.ndarray) or x.dtype not in (np.float32, np.float64):
        raise TypeError(f"x must be a float32 or float64 array, not {getattr(x, 'dtype', type(x).__name__)}")
    dtype = code_dtype(dtype)
    low, high = limits(dtype, q_min, q_max)
    scale, zero = _parameters(scale, zero_point, dtype, axis, x.shape)
    with np.errstate(over="ignore"):
        q = np.asarray(x / scale.astype(x.dtype))
    if np.isnan(q).any():
        raise ValueError("x holds NaN, which has no code")
    np.rint(q, out=q)
    q += zero.astype(x.dtype)
    return np.clip(q, low, high, out=q).astype(dtype)


def dequantize_linear(q, scale, zero_point, axis=None):
    """Codes to the real numbers they stand for: S * (q - Z), one product rounded to float32, as ONNX's DequantizeLinear.

    q int8 or uint8, or int32 (a bias: its zero point is 0, and q is itself first rounded to float32) -> float32 of q's shape.
    scale, zero_point, axis as in `quantize_linear`. Errors: TypeError, ValueError.

    >>> dequantize_linear(np.array([-1, 1, 3], np.int8), 0.5, 1).tolist()
    [-1.0, 0.0, 1.0]
    """
    if not isinstance(q, np.ndarray) or q.dtype not in (*CODES, np.int32):
        raise TypeError(f"q must be an int8, uint8 or int32 array, not {getattr(q, 'dtype', type(q).__name__)}")
    scale, zero = _parameters(scale, zero_point, q.dtype, axis, q.shape)
    if q.dtype == np.int32 and np.any(zero):
        raise ValueError(f"zero_point of int32 codes must be 0, not {zero_point!r}")
    return np.asarray((q.astype(np.int32) - zero).astype(np.float32) * scale)


def dynamic_quantize_linear(x):
    """Codes with the scale of the very array, as ONNX's DynamicQuantizeLinear: x float32 -> (q uint8, scale float32, zero point uint8).

    S = (max(x, 0) - min(x, 0)) / 255,  Z = clip(rint(-min(x, 0) / S)),  q = clip(rint(x / S) + Z), in float32. An array of zeros has S = 1.
    Errors: TypeError for another dtype; ValueError for an empty array, NaN or infinities.

    >>> [v.tolist() for v in dynamic_quantize_linear(np.array([0, -1, 1.55], np.float32))]
    [[100, 0, 255], 0.009999999776482582, 100]
    """
    if not isinstance(x, np.ndarray) or x.dtype != np.float32:
        raise TypeError(f"x must be a float32 array, not {getattr(x, 'dtype', type(x).__name__)}")
    if not x.size or not np.isfinite(x).all():
        raise ValueError("x must hold finite numbers, at least one")
    low, high = np.minimum(x.min(), np.float32(0)), np.maximum(x.max(), np.float32(0))
    scale = (high - low) / np.float32(255)
    scale = scale if scale > 0 else np.float32(1)
    zero = np.uint8(np.clip(np.rint(-low / scale), 0, 255))
    return quantize_linear(x, scale, zero, np.uint8), scale, zero
