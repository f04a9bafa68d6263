"""One bit or two: binary and ternary weights, each with the scale that loses least.

Binary: ŵ = α B, B = ±1. ‖w - α B‖² = Σw² - 2α Σ w B + n α² is least for B = sign(w), sign(0) = +1, and α = mean|w|.
Ternary: ŵ = α T, T in {-1, 0, 1}. For T = sign(w) where |w| > Δ, else 0, α = mean of those |w|. Twice the best threshold is the
mean it leaves, Δ = α/2; Δ = 0.7 mean|w| comes near it for weights that are spread like a bell, without a search.
Sources: Rastegari et al., "XNOR-Net" (2016), section 3.1; Li et al., "Ternary weight networks" (2016), sections 2.2 and 2.3.
"""
import numpy as np

from .._checks import finite
from .codes import other_axes


def _rows(w, axis):
    """(w, its other axes, the shape of one number an index of `axis` against w)."""
    w = finite(w, "w")
    return w, other_axes(w, axis), [n if axis is not None and a == axis % w.ndim else 1 for a, n in enumerate(w.shape)]


def binary(w, axis=0):
    """(B int8 of ±1, α float32): one α for each index of `axis`, or axis=None for one; ŵ = α B.

    Invariant: no other signs and scale give a smaller Σ(w - α B)², which is Σw² - n α². sign(0) = +1: there is no code for 0, so
    pruned weights do not stay pruned.

    >>> tc.compress.quantize.binary(np.array([[1.0, -3.0], [0.0, 0.5]]))
    (array([[ 1, -1],
           [ 1,  1]], dtype=int8), array([2.  , 0.25], dtype=float32))
    """
    w, axes, _ = _rows(w, axis)
    return np.where(w < 0, -1, 1).astype(np.int8), np.abs(w).mean(axis=axes, dtype=np.float64).astype(np.float32)[()]


def ternary(w, axis=0, threshold=0.7):
    """(T int8 of -1, 0, 1, α float32): one α for each index of `axis`, or axis=None for one; ŵ = α T.

    threshold  Δ in units of mean|w|, or "best": the exact minimum of Σ(w - α T)², found by trying, for every k, the k largest
               |w|, which give α = their mean and take k α² off the error
    Invariants: zeros stay 0; "best" is never worse than any Δ. Errors: ValueError for a threshold that is negative.

    >>> tc.compress.quantize.ternary(np.array([[1.0, -0.2, 0.1, -0.8]]))
    (array([[ 1,  0,  0, -1]], dtype=int8), array([0.9], dtype=float32))
    """
    w, axes, shape = _rows(w, axis)
    size = np.abs(w).astype(np.float64)
    if isinstance(threshold, str):
        if threshold != "best":
            raise ValueError(f"threshold must be a number in units of mean|w|, or 'best', not {threshold!r}")
        rows = size.reshape(1, -1) if axis is None else np.moveaxis(size, axis, 0).reshape(size.shape[axis], -1)
        least = np.array([_best_threshold(row) for row in rows]).reshape(shape)
        kept = (size >= least) & (size > 0)
    else:
        if not 0 <= threshold < np.inf:
            raise ValueError(f"threshold must not be negative, in units of mean|w|, not {threshold!r}")
        kept = size > threshold * size.mean(axis=axes).reshape(shape)
    total, count = (size * kept).sum(axis=axes), kept.sum(axis=axes)
    return (np.sign(w) * kept).astype(np.int8), (total / np.maximum(count, 1)).astype(np.float32)[()]


def _best_threshold(row):
    """The least |w| that is kept: of all k, the one of the largest k α² = (sum of the k largest |w|)² / k."""
    down = np.sort(row)[::-1]
    return down[np.argmax(np.cumsum(down) ** 2 / np.arange(1, len(down) + 1))]
