"""Pooling: the largest, or the mean, of each window; adaptive pooling chooses windows that cover the plane evenly."""
from .. import kernels
from ..formulas import pair, pool2d_geometry
from .table import Counts, register, size


def _max_shape(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    return pool2d_geometry(x, kernel_size, stride, padding, dilation, ceil_mode).y_shape


def _max(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    g = pool2d_geometry(x.shape, kernel_size, stride, padding, dilation, ceil_mode)
    y, index = kernels.max_pool2d(x, g)
    return y, (index, g)


def _max_counts(shapes, output, kernel_size, **attributes):
    kh, kw = pair(kernel_size, "kernel_size")
    return Counts(comparisons=size(output) * (kh * kw - 1))


def _average_shape(x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
    return pool2d_geometry(x, kernel_size, stride, padding, 1, ceil_mode).y_shape


def _average(x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
    g = pool2d_geometry(x.shape, kernel_size, stride, padding, 1, ceil_mode)
    return kernels.avg_pool2d(x, g, count_include_pad), (g, count_include_pad)


def _average_counts(shapes, output, kernel_size, **attributes):
    kh, kw = pair(kernel_size, "kernel_size")
    return Counts(additions=size(output) * (kh * kw - 1), special=size(output))


def _adaptive_shape(x, output_size):
    oh, ow = pair(output_size, "output_size", least=1)
    if len(x) != 4 or min(x) < 1:
        raise ValueError(f"input must have four axes (N,C,H,W), none empty, not shape {tuple(x)}")
    return (x[0], x[1], oh, ow)


def _adaptive(x, output_size):
    _adaptive_shape(x.shape, output_size)
    return kernels.adaptive_avg_pool2d(x, output_size), x.shape


def _adaptive_counts(shapes, output, **attributes):
    return Counts(additions=max(size(shapes[0]) - size(output), 0), special=size(output))


register("max_pool2d", _max, lambda saved, dy: (lambda: kernels.max_pool2d_grad(dy, *saved),), _max_shape, _max_counts)
register("avg_pool2d", _average, lambda saved, dy: (lambda: kernels.avg_pool2d_grad(dy, *saved),), _average_shape,
         _average_counts)
register("adaptive_avg_pool2d", _adaptive, lambda shape, dy: (lambda: kernels.adaptive_avg_pool2d_grad(dy, shape),),
         _adaptive_shape, _adaptive_counts)
