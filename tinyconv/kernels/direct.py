"""Direct convolution: the seven loops themselves, for any geometry.

    y[n,f,i,j] = bias[f] + sum over c,u,v of  w[f,c,u,v] * x[n, g*C/G + c, i*SH - top + u*DH, j*SW - left + v*DW]

Taps that fall on padding are left out. The gradients are the same loops with another array on the left of the +=: each
product's other factor goes back where it came from. Cost: N*F*OH*OW*(C/G)*KH*KW multiply-adds for each of the three.

The fast form reads channels-last memory through tables of addresses and sums a tile of pixels x filters in registers: the pages
`indirect` (forward and grad_input), `outer_products` and `tile`. It multiplies padding by zeros; weights that are not finite, for which
that would be wrong, take the loops.
Source: Dumoulin & Visin, "A guide to convolution arithmetic for deep learning" (2016), section 2.
"""
import math

import numpy as np

from . import indirect, layout, outer_products, select
from ._jit import plain


@plain
def conv(x, w, y, sh, sw, top, left, dh, dw, groups):
    """y[n,f,i,j] += w[f,c,u,v] * x[n,...]: the formula. x (N,C,H,W), w (F,C/G,KH,KW), y (N,F,OH,OW), zeroed."""
    filters, channels = w.shape[0] // groups, w.shape[1]
    for n in range(y.shape[0]):
        for f in range(y.shape[1]):
            for i in range(y.shape[2]):
                for j in range(y.shape[3]):
                    for c in range(channels):
                        for u in range(w.shape[2]):
                            for v in range(w.shape[3]):
                                row, column = i * sh - top + u * dh, j * sw - left + v * dw
                                if 0 <= row and row < x.shape[2] and 0 <= column and column < x.shape[3]:
                                    y[n, f, i, j] += w[f, c, u, v] * x[n, f // filters * channels + c, row, column]


@plain
def conv_input(dy, w, dx, sh, sw, top, left, dh, dw, groups):
    """dx[n,...] += w[f,c,u,v] * dy[n,f,i,j]: the same products, added to dx (N,C,H,W), zeroed."""
    filters, channels = w.shape[0] // groups, w.shape[1]
    for n in range(dy.shape[0]):
        for f in range(dy.shape[1]):
            for i in range(dy.shape[2]):
                for j in range(dy.shape[3]):
                    for c in range(channels):
                        for u in range(w.shape[2]):
                            for v in range(w.shape[3]):
                                row, column = i * sh - top + u * dh, j * sw - left + v * dw
                                if 0 <= row and row < dx.shape[2] and 0 <= column and column < dx.shape[3]:
                                    dx[n, f // filters * channels + c, row, column] += w[f, c, u, v] * dy[n, f, i, j]


@plain
def conv_weight(dy, x, dw_, sh, sw, top, left, dh, dw, groups):
    """dw_[f,c,u,v] += dy[n,f,i,j] * x[n,...]: the same products, added to dw_ (F,C/G,KH,KW), zeroed."""
    filters, channels = dw_.shape[0] // groups, dw_.shape[1]
    for n in range(dy.shape[0]):
        for f in range(dy.shape[1]):
            for i in range(dy.shape[2]):
                for j in range(dy.shape[3]):
                    for c in range(channels):
                        for u in range(dw_.shape[2]):
                            for v in range(dw_.shape[3]):
                                row, column = i * sh - top + u * dh, j * sw - left + v * dw
                                if 0 <= row and row < x.shape[2] and 0 <= column and column < x.shape[3]:
                                    dw_[f, c, u, v] += dy[n, f, i, j] * x[n, f // filters * channels + c, row, column]


def supports(geometry):
    """Every geometry."""
    return True


def workspace_bytes(geometry, direction="forward", dtype=np.float32):
    """Packed weights, tables and partial sums of the fast kernels; for grad_weight a dw a thread; nothing in the plain ones."""
    if not select.is_fast(dtype):
        return 0
    shapes = outer_products.room_shapes(geometry) if direction == "grad_weight" else indirect.scratch_shapes(geometry, direction)
    return indirect.room_bytes(shapes)


def _steps(g):
    return g.sh, g.sw, g.top, g.left, g.dh, g.dw, g.groups


def multiplied(w, dtype):
    """May padding be multiplied by w? Only if all of w is finite: 0 times infinity is no 0. (A sum that overflows says no, too.)"""
    return select.is_fast(dtype) and math.isfinite(float(w.sum()))


def plan(w, bias, geometry):
    """`forward` with its weights packed once: see `select.Algorithm.plan`."""
    run = indirect.Forward(w, None if bias is None else bias.copy(), geometry)
    if run.memory is None:
        return None
    return lambda x, R=None, low=-np.inf, high=np.inf: layout.shaped(run(layout.nhwc(x), R if R is None else layout.nhwc(R), low, high))


def standing(w, bias, geometry):
    """`plan` for many calls: see `select.Algorithm.standing`."""
    run = indirect.Forward(w, None if bias is None else bias.copy(), geometry)
    return run.memory and run.scheme.standing(run.memory, run.bias, geometry)


def forward(x, w, bias, geometry):
    """x (N,C,H,W), w (F,C/G,KH,KW), bias (F,) or None -> y (N,F,OH,OW). Cost: N*F*OH*OW*(C/G)*KH*KW multiply-adds."""
    if select.is_fast(x.dtype):
        run = indirect.Forward(w, None if bias is None else layout.writable(bias), geometry)
        if run.memory is not None:
            return layout.shaped(run(layout.nhwc(x)))
    y = np.zeros(geometry.y_shape, x.dtype)
    conv(layout.nchw(x), layout.writable(w), y, *_steps(geometry))
    return y if bias is None else y + bias[:, None, None]


def grad_input(dy, w, geometry):
    """dy (N,F,OH,OW), w (F,C/G,KH,KW) -> dx (N,C,H,W). Cost: that of the forward pass."""
    dx = indirect.grad_input(layout.nhwc(dy), w, geometry) if select.is_fast(dy.dtype) else None
    if dx is not None:
        return layout.shaped(dx)
    dx = np.zeros(geometry.x_shape, dy.dtype)
    conv_input(layout.nchw(dy), layout.writable(w), dx, *_steps(geometry))
    return dx


def grad_weight(dy, x, geometry):
    """dy (N,F,OH,OW), x (N,C,H,W) -> dw (F,C/G,KH,KW). Cost: that of the forward pass."""
    if select.is_fast(dy.dtype):
        return outer_products.grad_weight(layout.nhwc(dy), layout.nhwc(x), geometry)
    dw = np.zeros(geometry.w_shape, dy.dtype)
    conv_weight(layout.nchw(dy), layout.nchw(x), dw, *_steps(geometry))
    return dw
