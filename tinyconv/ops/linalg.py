"""Matrix products: Y = A B and the linear layer Y = X W^T + b, with dA = dY B^T, dB = A^T dY, dX = dY W, dW = dY^T X,
db = Σ dY."""
import numpy as np

from .. import kernels
from ..formulas import linear_macs, matmul_macs
from .conv import fast_floats
from .table import Counts, register, size


def _matmul_shape(a, b):
    if len(a) < 2 or len(b) < 2 or a[-1] != b[-2] or len(a) != len(b) or tuple(a[:-2]) != tuple(b[:-2]):
        raise ValueError(f"matmul takes (…,M,K) and (…,K,N) with equal leading axes, not shapes {tuple(a)} and {tuple(b)}")
    if not size(a) or not size(b):
        raise ValueError(f"matmul takes matrices that are not empty, not shapes {tuple(a)} and {tuple(b)}")
    return (*a[:-1], b[-1])


def _product(a, b, **transposes):
    """Matrix product over the last two axes, one kernel call for each leading index."""
    if a.ndim == 2:
        return kernels.matmul(a, b, **transposes)
    return np.stack([_product(x, y, **transposes) for x, y in zip(a, b)])


def _matmul(a, b):
    _matmul_shape(a.shape, b.shape)
    return _product(a, b), (a, b)


def _matmul_vjp(saved, dy):
    a, b = saved
    return lambda: _product(dy, b, transpose_b=True), lambda: _product(a, dy, transpose_a=True)


def _matmul_counts(shapes, output):
    return Counts(macs=size(output[:-2]) * matmul_macs(output[-2], shapes[0][-1], output[-1]))


def _linear_shape(x, w, b=None):
    if len(x) < 1 or len(w) != 2 or x[-1] != w[1]:
        raise ValueError(f"linear takes input (…,C) and weight (F,C), not shapes {tuple(x)} and {tuple(w)}")
    if b is not None and tuple(b) != (w[0],):
        raise ValueError(f"bias must have shape ({w[0]},), one number an output, not {tuple(b)}")
    if not size(x):
        raise ValueError(f"linear takes at least one row, not an empty input of shape {tuple(x)}")
    return (*x[:-1], w[0])


def _linear(x, w, b=None):
    shape = _linear_shape(x.shape, w.shape, None if b is None else b.shape)
    y = kernels.matmul(x.reshape(-1, x.shape[-1]), w, transpose_b=True)                   # (N,C) x (F,C) -> (N,F)
    return (y if b is None else y + b).reshape(shape), (x, w, b is not None)


def _prepare_linear(x_shape, x_dtype, w, b=None):
    """A 1x1 convolution of 1x1 planes with its weights packed, as the matrix product itself is one; None as for conv2d, and for a single row, past
    which the weights stream as they lie."""
    shape = _linear_shape(x_shape, w.shape, None if b is None else b.shape)
    if size(x_shape[:-1]) == 1 or not fast_floats(x_dtype, w, b) or not np.isfinite(w).all():
        return None
    pixels = (size(x_shape[:-1]), x_shape[-1], 1, 1)                                      # (N,C,1,1) * (F,C,1,1) -> (N,F,1,1)
    plan = kernels.plan_conv2d(pixels, w.reshape(*w.shape, 1, 1), b)
    return lambda x: plan(x.reshape(pixels)).reshape(shape)


def _linear_vjp(saved, dy):
    x, w, has_bias = saved
    x2, dy2 = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
    return (lambda: kernels.matmul(dy2, w).reshape(x.shape),                              # (N,F) x (F,C) -> (N,C)
            lambda: kernels.matmul(dy2, x2, transpose_a=True),                            # (N,F) x (N,C) -> (F,C)
            (lambda: dy2.sum(axis=0)) if has_bias else None)


def _linear_counts(shapes, output):
    x, w = shapes[:2]
    return Counts(macs=linear_macs(w[1], w[0], n=size(x[:-1])), additions=size(output) if len(shapes) > 2 and shapes[2] else 0)


register("matmul", _matmul, _matmul_vjp, _matmul_shape, _matmul_counts)
register("linear", _linear, _linear_vjp, _linear_shape, _linear_counts, prepare=_prepare_linear)
