"""Scales that are trained with the weights: the learned step (LSQ) and the learned clip (PACT), with their gradients.

LSQ. x̂ = S clip(round(x/S), q_min, q_max), and with round(v) passed straight through,
    ∂x̂/∂S = round(x/S) - x/S inside,  q_min or q_max where it was clipped;     ∂x̂/∂x = 1 inside, 0 outside
"Inside" is where round(x/S) is a code, as in `straight_through` (the paper asks it of x/S itself, half a step less). The
step has one gradient from N numbers, a weight only its own: dL/dS is multiplied by 1/sqrt(N q_max), so that both move by like
parts of themselves. S starts at 2 mean|x| / sqrt(q_max).
PACT, behind a ReLU. y = clip(x, 0, α), ŷ = S round(y/S), S = α/(2^bits - 1):
    ∂ŷ/∂α = 1 where x >= α, else 0;      ∂ŷ/∂x = 1 for 0 < x < α
Sources: Esser et al., "Learned step size quantization" (2020), equations 1 to 3 and section 2.2; Choi et al., "PACT" (2018),
equations 1 to 3.
"""
import numpy as np

from .._checks import finite
from .codes import code_range, fake_quantize


def _step(scale, x):
    """(S against x (F,…), axis): a row (F,) of scales goes along axis 0, a row (1,) over the whole of x."""
    scale = finite(scale, "scale")
    if scale.ndim != 1 or scale.shape not in ((1,), x.shape[:1]) or (scale <= 0).any():
        raise ValueError(f"scale must be one positive number (1,) or one an index of axis 0 of {x.shape}, not {scale}")
    return (scale[0], None) if scale.shape == (1,) else (scale, 0)


def lsq_start(x, q_max, axis=None):
    """S to begin with: 2 mean|x| / sqrt(q_max), (1,), or (F,) for axis=0; an x of zeros gets the smallest scale. float32.

    >>> tc.compress.quantize.lsq_start(np.array([1.0, -3.0, 2.0, 2.0]), q_max=4)
    array([2.], dtype=float32)
    """
    x = finite(x, "x")
    if q_max < 1 or axis not in (None, 0):
        raise ValueError(f"q_max must be at least 1 and axis None or 0, not {q_max!r} and {axis!r}")
    mean = np.abs(x).reshape(1 if axis is None else len(x), -1).mean(axis=1)
    return np.maximum(2 * mean / np.sqrt(q_max), 2.0 ** -23).astype(np.float32)


def lsq(x, scale, q_min, q_max):
    """x̂ = S clip(round(x/S), q_min, q_max), in x's dtype; scale (1,) or, for weights (F,…), (F,).

    >>> tc.compress.quantize.lsq(np.array([0.2, 0.9, -7.0]), np.array([0.5]), -2, 1)
    array([ 0. ,  0.5, -1. ])
    """
    x = np.asarray(x)
    step, axis = _step(scale, x)
    return fake_quantize(x, step, 0, q_min, q_max, axis)


def lsq_gradient(x, scale, q_min, q_max, dy):
    """(dL/dx, dL/dS) given dL/dx̂ = dy: shapes of x and of scale, and their dtypes. N = x.size / scale.size.

    >>> dx, ds = tc.compress.quantize.lsq_gradient(np.array([0.2, 0.9, -7.0]), np.array([0.5]), -2, 4, np.ones(3))
    >>> dx, ds * np.sqrt(3 * 4)                                                  # (0 - 0.4) + (2 - 1.8) - 2
    (array([1., 1., 0.]), array([-2.2]))
    """
    x, dy = np.asarray(x), np.asarray(dy)
    step, axis = _step(scale, x)
    ratio = x / (step if axis is None else step.reshape(-1, *[1] * (x.ndim - 1))).astype(x.dtype)
    nearest = np.rint(ratio)
    slope = np.clip(nearest, q_min, q_max)
    inside = slope == nearest
    np.copyto(ratio, 0, where=~inside)
    slope -= ratio                                                                # round(x/S) - x/S, or the end it was clipped to
    slope *= dy
    total = slope.reshape(len(scale), -1).sum(axis=1)                               # in the order of indices, whatever lies in memory
    return dy * inside, (total / np.sqrt(x.size / len(scale) * q_max)).astype(np.asarray(scale).dtype)


def _clip_of(alpha):
    alpha = finite(alpha, "alpha")
    if alpha.shape != (1,) or alpha[0] <= 0:
        raise ValueError(f"alpha must be one positive number (1,), not {alpha}")
    return alpha


def pact(x, alpha, bits=8):
    """ŷ = S round(clip(x, 0, α)/S), S = α/(2^bits - 1), in x's dtype; alpha (1,).

    >>> tc.compress.quantize.pact(np.array([-1.0, 0.4, 2.9, 9.0]), np.array([3.0]), bits=2)
    array([0., 0., 3., 3.])
    """
    q_max = code_range(bits, signed=False)[1]
    return fake_quantize(x, _clip_of(alpha)[0] / q_max, 0, 0, q_max)


def pact_gradient(x, alpha, bits, dy):
    """(dL/dx, dL/dα) given dL/dŷ = dy: dy where 0 < x < α, else 0; Σ dy over x >= α.

    >>> tc.compress.quantize.pact_gradient(np.array([-1.0, 0.4, 3.0, 9.0]), np.array([3.0]), 2, np.array([1.0, 2.0, 4.0, 8.0]))
    (array([0., 2., 0., 0.]), array([12.]))
    """
    code_range(bits, signed=False)
    x, dy, alpha = np.asarray(x), np.asarray(dy), _clip_of(alpha)
    return dy * ((x > 0) & (x < alpha[0])), (dy * (x >= alpha[0])).reshape(1, -1).sum(axis=1).astype(alpha.dtype)
