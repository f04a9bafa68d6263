"""Refusals that the transforms share: each names the argument, its value, and what would be right."""
import numpy as np


def finite(x, name):
    """`x` as an array of floats (integers become float64). TypeError for other kinds, ValueError for NaN, infinities, emptiness."""
    x = np.asarray(x)
    if x.dtype.kind in "iub":
        x = x.astype(np.float64)
    if x.dtype.kind != "f":
        raise TypeError(f"{name} must hold real numbers, not {x.dtype}")
    if not x.size:
        raise ValueError(f"{name} must not be empty: shape {x.shape}")
    if not np.isfinite(x).all():
        raise ValueError(f"{name} must be finite: {np.count_nonzero(~np.isfinite(x))} of {x.size} values are NaN or infinite")
    return x


def whole(value, name, least, most=None):
    """`value` as a Python integer of at least `least` (and at most `most`)."""
    integer = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not integer or value < least or (most is not None and value > most):
        span = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"{name} must be an integer {span}, not {value!r}")
    return int(value)


def fraction(value, name):
    """`value` as a float in [0, 1]: a fraction, never percent."""
    value = float(value)
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be a fraction from 0 to 1, not {value!r}")
    return value
