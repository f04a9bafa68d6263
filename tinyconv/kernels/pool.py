"""Windows without weights: the largest value of each window, or its mean. No multiplications; bound by memory.

    maximum    y[n,c,i,j] = max over u,v of  x[n, c, i*S - P + u*D, j*S - P + v*D],  padding left out
    mean       y[n,c,i,j] = (sum of x[n,c,h,w] over row_lo[i] <= h < row_hi[i], col_lo[j] <= w < col_hi[j]) / divisor[i,j]

Averaging is one kernel: its windows come as lists of first and last rows and columns (`pool_windows`), which serve fixed and adaptive ones.
A NaN is larger than every number, and among equal values the first in reading order wins, as with np.argmax; so the position
of the maximum, h*W + w as int32, is exact whatever the kernel. It is all that the gradient needs.

Gradients are the adjoints, sum(y * dy) == sum(x * dx): the plain kernels scatter each dy to where it came from; the fast ones
gather, each pixel of dx asking the few windows that see it, so that rows of dx are independent tasks, nothing is zeroed
first and the inner loop runs over neighbouring channels. Both add a pixel's windows in the same order.

Cost: N*C*OH*OW*KH*KW comparisons or additions; bytes: x once, y once (and 4 a value for the index).
Error of a mean in u, the unit roundoff: |err| <= k*u*mean|x| for a window of k values. Memory beside the results: a
few integers a row and column. Sources: Scherer, Mueller & Behnke (2010) for both kinds of pooling; the size and divisor rules
are those of PyTorch's MaxPool2d, AvgPool2d and AdaptiveAvgPool2d.
"""
import numpy as np

from ..formulas.geometry import GeometryError
from . import layout, select, threads
from .pool_kernels import fast_max, fast_max_grad, fast_mean, fast_mean_grad, plain_max, plain_max_grad, plain_mean, plain_mean_grad
from .pool_windows import adaptive, fixed, seen_by


def _never_empty(geometry):
    """Refuse the dilated windows that fall over the image with every tap in the padding: they have no maximum."""
    g = geometry
    axes = (g.h, g.kh, g.sh, g.ph, g.dh, g.oh), (g.w, g.kw, g.sw, g.pw, g.dw, g.ow)
    for size, kernel, stride, padding, dilation, count in axes:
        if dilation > 1:
            taps = np.arange(count)[:, None] * stride - padding + np.arange(kernel) * dilation
            if not ((taps >= 0) & (taps < size)).any(1).all():
                raise GeometryError(f"a window sees nothing but padding: kernel {(g.kh, g.kw)}, dilation {(g.dh, g.dw)} and "
                                    f"padding {(g.ph, g.pw)} step over the whole input {(g.h, g.w)}; take less of both")


# ---- the operations ------------------------------------------------------------------------------------------------------

def _steps(g):
    return g.sh, g.sw, g.ph, g.pw, g.dh, g.dw, g.kh, g.kw


def max_pool2d(x, geometry):
    """Largest value of each window and its position: x (N,C,H,W) -> y (N,C,OH,OW), index int32 (N,C,OH,OW) = h*W + w.

    Also takes int8 and uint8 codes: maxima do not care about scale and zero point.
    Invariant: x's planes, flattened and taken at `index`, are y. Errors: GeometryError if a dilated window sees only padding.
    """
    g = geometry
    _never_empty(g)
    if select.mode() == "fast" and x.dtype in (np.float32, np.int8, np.uint8):
        y = layout.room((g.n, g.oh, g.ow, g.c), x.dtype)
        index = np.empty(y.shape, np.int32)
        threads.run(fast_max, g.n * g.oh, layout.nhwc(x), y, index, *_steps(g), work=y.size * g.kh * g.kw)
        return layout.shaped(y), layout.shaped(index)
    y, index = np.zeros(g.y_shape, x.dtype), np.full(g.y_shape, -1, np.int32)
    plain_max(layout.nchw(x), y, index, *_steps(g))
    return y, index


def max_pool2d_grad(dy, index, geometry):
    """Gradient of `max_pool2d`: dy and index (N,C,OH,OW) -> dx (N,C,H,W), each dy added where its maximum lay.

    Where windows overlap a pixel may be the maximum of several: their dy are summed. Cost: one addition a value of dy.
    """
    g = geometry
    if select.is_fast(dy.dtype):
        dx = layout.room((g.n, g.h, g.w, g.c), dy.dtype)
        threads.run(fast_max_grad, g.n * g.h, layout.nhwc(dy), layout.nhwc(index), dx, *_steps(g), work=dx.size + 2 * dy.size)
        return layout.shaped(dx)
    dx = np.zeros(g.x_shape, dy.dtype)
    plain_max_grad(layout.nchw(dy), layout.nchw(index), dx)
    return dx


def _mean(x, windows):
    """y (N,C,OH,OW) of x (N,C,H,W) over `windows`: see `_with_divisor`."""
    (n, c, _, _), (oh, ow) = x.shape, windows[-1].shape
    if select.is_fast(x.dtype):
        y = np.empty((n, oh, ow, c), x.dtype)
        threads.run(fast_mean, n * oh, layout.nhwc(x), y, *windows, work=x.size + y.size)
        return layout.shaped(y)
    y = np.zeros((n, c, oh, ow), x.dtype)
    plain_mean(layout.nchw(x), y, *windows)
    return y


def _mean_grad(dy, x_shape, windows):
    """dx of shape x_shape from dy (N,C,OH,OW), windows as in `_mean`."""
    row_lo, row_hi, col_lo, col_hi, divisor = windows
    n, c, h, w = x_shape
    if select.is_fast(dy.dtype):
        dx = np.empty((n, h, w, c), dy.dtype)
        seen = *seen_by(row_lo, row_hi, h), *seen_by(col_lo, col_hi, w)
        threads.run(fast_mean_grad, n * h, layout.nhwc(dy), dx, *seen, divisor, work=dx.size + dy.size)
        return layout.shaped(dx)
    dx = np.zeros(x_shape, dy.dtype)
    plain_mean_grad(layout.nchw(dy), dx, row_lo, row_hi, col_lo, col_hi, divisor)
    return dx


def avg_pool2d(x, geometry, count_include_pad=True):
    """Mean of each window: x (N,C,H,W) -> (N,C,OH,OW); PyTorch's divisor (top of this page).

    Errors: GeometryError for a dilation, which averaging does not have.
    """
    return _mean(x, fixed(geometry, count_include_pad, x.dtype))


def avg_pool2d_grad(dy, geometry, count_include_pad=True):
    """Gradient of `avg_pool2d`: dy (N,C,OH,OW), divided as there, added to every pixel of its window -> dx (N,C,H,W)."""
    return _mean_grad(dy, geometry.x_shape, fixed(geometry, count_include_pad, dy.dtype))


def adaptive_avg_pool2d(x, output_size):
    """Means over (OH, OW) windows that cover the plane: x (N,C,H,W) -> (N,C,OH,OW); (1, 1) is the global average."""
    return _mean(x, adaptive(*x.shape[2:], *output_size, x.dtype))


def adaptive_avg_pool2d_grad(dy, x_shape):
    """Gradient of `adaptive_avg_pool2d`: dy (N,C,OH,OW), shared out evenly over each window -> dx of shape x_shape."""
    return _mean_grad(dy, tuple(x_shape), adaptive(*x_shape[2:], *dy.shape[2:], dy.dtype))
