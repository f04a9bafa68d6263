"""Convolution: y = x * w + b (cross-correlation: filters are not flipped), its gradients those of kernels/.

    y[n,f,i,j] = b[f] + Σ_{c,u,v} x[n, c, iS - P + uD, jS - P + vD] w[f,c,u,v]        MACs = KH KW (C/G) F OH OW a picture

`low` and `high` clip y on its way to memory (a ReLU behind it): the same numbers as two operations, in one pass.
"""
import numpy as np

from .. import kernels
from ..formulas import conv2d_geometry, conv2d_macs
from ..kernels import layout
from .reduce import channel_sums
from .table import Counts, register, size


def _shape(x, w, b=None, stride=1, padding=0, dilation=1, groups=1, algorithm="auto", low=None, high=None):
    if b is not None and tuple(b) != (w[0],):
        raise ValueError(f"bias must have shape ({w[0]},), one number a filter, not {tuple(b)}")
    return conv2d_geometry(x, w, stride, padding, dilation, groups).y_shape


def _conv2d(x, w, b=None, stride=1, padding=0, dilation=1, groups=1, algorithm="auto", low=None, high=None):
    rest = (stride, padding, dilation, groups, algorithm)                                 # kernels.conv2d checks all of it
    if x.ndim == 4 and x.size and x.shape[1] > 1 and x.strides[1] != x.itemsize and fast_floats(x.dtype, w):
        x = layout.channels_last(x)                                                       # once, and not for each of the three products
    y = kernels.conv2d(x, w, b, *rest, low, high)
    return y, (x, w, b is not None, rest, y if low is not None else None, low, high)


class Planned:
    """A convolution with its weights packed: run(x) is its result; run.joined(x, R, low, high), where it is not None, clip(run(x) + R, low, high)
    in the same pass, bit by bit what `add` and `relu` or `relu6` behind it give. R has run.shape, or is None; run.adds says whether it may be one."""

    def __init__(self, run, shape, joined=None, adds=False):
        self.run, self.shape, self.joined, self.adds = run, shape, joined, adds

    def __call__(self, x):
        return self.run(x)


def fast_floats(x_dtype, *arrays):
    """Are all of them float32 (or None), and the fast kernels on?"""
    return kernels.mode() == "fast" and x_dtype == np.float32 and all(a is None or isinstance(a, np.ndarray) and a.dtype == np.float32 for a in arrays)


def _prepare(x_shape, x_dtype, w, b=None, stride=1, padding=0, dilation=1, groups=1, algorithm="auto", low=None, high=None):
    """The plan of `kernels.plan_conv2d`; None where the loops may be what computes: other numbers than float32, weights that are not finite."""
    if not fast_floats(x_dtype, w, b) or not np.isfinite(w).all():
        return None
    plan = kernels.plan_conv2d(x_shape, w, b, stride, padding, dilation, groups, algorithm)
    geometry = conv2d_geometry(x_shape, w.shape, stride, padding, dilation, groups)
    if low is not None:
        return Planned(lambda x: plan(x, None, low, high), geometry.y_shape) if algorithm == "auto" else None
    joined = plan if algorithm == "auto" else None                                  # others may clip by other rules for NaN and -0
    return Planned(plan, geometry.y_shape, joined, not geometry.is_depthwise)


def _vjp(saved, dy):
    x, w, has_bias, rest, y, low, high = saved
    sums = None
    if low is not None and has_bias:
        dy, sums = kernels.clip_grad_sums(dy, y, low, high)
    elif low is not None:
        dy = kernels.clip_grad(dy, y, low, high)
    return (lambda: kernels.conv2d_grad_input(dy, w, x.shape, *rest),
            lambda: kernels.conv2d_grad_weight(dy, x, w.shape, *rest),
            (lambda: channel_sums(dy) if sums is None else sums) if has_bias else None)


def _counts(shapes, output, groups=1, **attributes):
    w = shapes[1]
    macs = output[0] * conv2d_macs(w[1] * groups, w[0], (w[2], w[3]), output[2], output[3], groups)
    return Counts(macs=macs, additions=size(output) if len(shapes) > 2 and shapes[2] else 0)


register("conv2d", _conv2d, _vjp, _shape, _counts, prepare=_prepare)
