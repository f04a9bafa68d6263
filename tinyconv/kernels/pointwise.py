"""Pointwise convolution: a 1x1 window at stride 1 without padding sees each pixel as it lies, so it is a matrix product.

    Y = X W^T + bias        X (P,C) = x in channels-last memory, P = N*H*W pixels, W (F,C), Y (P,F)
    dX = dY W               dW = dY^T X

Nothing is copied but the weights (into panels: pages `indirect` and `tile`). Cost: P*F*C multiply-adds for each; bytes moved about
4*(P*C + P*F + F*C), so 2*C*F/(4*(C+F)) operations a byte: with few channels memory is the limit, with 64 and more
arithmetic. The gradient of weights sums over all pixels: each thread sums its part into a slab, the slabs are added.
Source: Lin, Chen & Yan, "Network in network" (2014); Howard et al., "MobileNets" (2017), section 3.1.
"""
import numpy as np

from . import direct, layout, select
from ._jit import plain


@plain
def conv(x, w, y):
    """y[n,f,i,j] += w[f,c] * x[n,c,i,j]: the formula."""
    for n in range(x.shape[0]):
        for f in range(w.shape[0]):
            for c in range(w.shape[1]):
                for i in range(x.shape[2]):
                    for j in range(x.shape[3]):
                        y[n, f, i, j] += w[f, c] * x[n, c, i, j]


@plain
def conv_input(dy, w, dx):
    """dx[n,c,i,j] += w[f,c] * dy[n,f,i,j]."""
    for n in range(dx.shape[0]):
        for f in range(w.shape[0]):
            for c in range(w.shape[1]):
                for i in range(dx.shape[2]):
                    for j in range(dx.shape[3]):
                        dx[n, c, i, j] += w[f, c] * dy[n, f, i, j]


@plain
def conv_weight(dy, x, dw):
    """dw[f,c] += dy[n,f,i,j] * x[n,c,i,j]."""
    for n in range(x.shape[0]):
        for f in range(dw.shape[0]):
            for c in range(dw.shape[1]):
                for i in range(x.shape[2]):
                    for j in range(x.shape[3]):
                        dw[f, c] += dy[n, f, i, j] * x[n, c, i, j]


def supports(geometry):
    """1x1 at stride 1, no padding, one group."""
    return geometry.is_pointwise and geometry.groups == 1


def workspace_bytes(geometry, direction="forward", dtype=np.float32):
    """As of the direct convolution, with one tap."""
    return direct.workspace_bytes(geometry, direction, dtype)


def plan(w, bias, geometry):
    """`forward` with its weights packed once: see `select.Algorithm.plan`."""
    return direct.plan(w, bias, geometry)


def standing(w, bias, geometry):
    """`plan` for many calls: see `select.Algorithm.standing`."""
    return direct.standing(w, bias, geometry)


def forward(x, w, bias, geometry):
    """x (N,C,H,W), w (F,C,1,1), bias (F,) or None -> y (N,F,H,W). Cost: N*H*W*F*C multiply-adds."""
    if select.is_fast(x.dtype):
        return direct.forward(x, w, bias, geometry)
    y = np.zeros(geometry.y_shape, x.dtype)
    conv(layout.nchw(x), layout.writable(w.reshape(geometry.f, geometry.c)), y)
    return y if bias is None else y + bias[:, None, None]


def grad_input(dy, w, geometry):
    """dy (N,F,H,W), w (F,C,1,1) -> dx (N,C,H,W), dX = dY W. Cost: that of the forward pass."""
    if select.is_fast(dy.dtype):
        return direct.grad_input(dy, w, geometry)
    dx = np.zeros(geometry.x_shape, dy.dtype)
    conv_input(layout.nchw(dy), layout.writable(w.reshape(geometry.f, geometry.c)), dx)
    return dx


def grad_weight(dy, x, geometry):
    """dy (N,F,H,W), x (N,C,H,W) -> dw (F,C,1,1), dW = dY^T X. Cost: that of the forward pass."""
    if select.is_fast(dy.dtype):
        return direct.grad_weight(dy, x, geometry)
    dw = np.zeros((geometry.f, geometry.c), dy.dtype)
    conv_weight(layout.nchw(dy), layout.nchw(x), dw)
    return dw.reshape(geometry.w_shape)
