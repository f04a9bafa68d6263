"""Convolution: y = x * w + b (cross-correlation: filters are not flipped), its gradients those of kernels/.

    y[n,f,i,j] = b[f] + Σ_{c,u,v} x[n, c, iS - P + uD, jS - P + vD] w[f,c,u,v]        MACs = KH KW (C/G) F OH OW a picture

`low` and `high` clip y on its way to memory (a ReLU behind it): the same numbers as two operations, in one pass.
"""
from .. import kernels
from ..formulas import conv2d_geometry, conv2d_macs
from .reduce import channel_sums
from .table import Counts, register, size


def _shape(x, w, b=None, stride=1, padding=0, dilation=1, groups=1, algorithm="auto", low=None, high=None):
    if b is not None and tuple(b) != (w[0],):
        raise ValueError(f"bias must have shape ({w[0]},), one number a filter, not {tuple(b)}")
    return conv2d_geometry(x, w, stride, padding, dilation, groups).y_shape


def _conv2d(x, w, b=None, stride=1, padding=0, dilation=1, groups=1, algorithm="auto", low=None, high=None):
    rest = (stride, padding, dilation, groups, algorithm)                                 # kernels.conv2d checks all of it
    y = kernels.conv2d(x, w, b, *rest, low, high)
    return y, (x, w, b is not None, rest, y if low is not None else None, low, high)


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


register("conv2d", _conv2d, _vjp, _shape, _counts)
