"""Operations that fold axes: sum, mean, max. y = fold over `axis` (None: all); dL/dx spreads dy over the folded axes again.

NumPy adds in the order of memory, and another order rounds differently; a result here must not depend on the layout. So sums are
taken in one order, whatever the memory: `total` in C order, `channel_sums` pixel by pixel.
"""
import numpy as np

from .. import kernels
from .table import Counts, register, size


def total(x, axes, keepdims=False):
    """Σ x over `axes`, added in C order."""
    return np.asarray(x, order="C").sum(axis=axes, keepdims=keepdims)


def channel_sums(x):
    """Σ over images and pixels: (N,C,H,W) -> (C,), in float64 until the end."""
    return kernels.channel_sums(x)


def folded_axes(ndim, axis):
    """`axis` (None or a list, negative ones counted from the end) as sorted positions. Errors: ValueError."""
    axes = list(range(ndim)) if axis is None else [a + ndim if a < 0 else a for a in axis]
    if len(set(axes)) != len(axes) or any(not 0 <= a < ndim for a in axes):
        raise ValueError(f"axis must name different axes of {ndim}, not {axis}")
    return tuple(sorted(axes))


def _shape(x, axis=None, keepdims=False):
    axes = folded_axes(len(x), axis)
    return tuple(1 if a in axes else length for a, length in enumerate(x) if keepdims or a not in axes)


def _spread(dy, shape, axes):
    """dy with the folded axes back as length 1."""
    return dy.reshape(tuple(1 if a in axes else length for a, length in enumerate(shape)))


def _sum(x, axis=None, keepdims=False):
    axes = folded_axes(x.ndim, axis)
    return np.asarray(total(x, axes, keepdims)), (x.shape, axes)


def _sum_vjp(saved, dy):
    shape, axes = saved
    return (np.broadcast_to(_spread(dy, shape, axes), shape),)


def _mean(x, axis=None, keepdims=False):
    axes = folded_axes(x.ndim, axis)
    return np.asarray(np.asarray(x, order="C").mean(axis=axes, keepdims=keepdims)), (x.shape, axes)


def _mean_vjp(saved, dy):
    shape, axes = saved
    folded = size(shape[a] for a in axes)
    return (np.broadcast_to(_spread(dy / folded, shape, axes), shape),)


def _max(x, axis=None, keepdims=False):
    axes = folded_axes(x.ndim, axis)
    y = x.max(axis=axes, keepdims=True)
    return np.asarray(y if keepdims else y.reshape(_shape(x.shape, axis))), (x == y, axes)


def _max_vjp(saved, dy):
    largest, axes = saved
    shared = largest.sum(axis=axes, keepdims=True).astype(dy.dtype)
    return (lambda: largest * (_spread(dy, largest.shape, axes) / shared),)


def _counts(kind, last=None):
    def counts(shapes, output, **attributes):
        work = {kind: size(shapes[0]) - size(output)}
        return Counts(**work, **({last: size(output)} if last else {}))
    return counts


register("sum", _sum, _sum_vjp, _shape, _counts("additions"))
register("mean", _mean, _mean_vjp, _shape, _counts("additions", "special"))
register("max", _max, _max_vjp, _shape, _counts("comparisons"))
