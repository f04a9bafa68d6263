"""Depthwise convolution: every channel is convolved by itself, with M = F/C filters (M is the multiplier, mostly 1).

    y[n, c*M+m, i, j] = bias[c*M+m] + sum over u,v of  w[c*M+m, u, v] * x[n, c, i*SH - top + u*DH, j*SW - left + v*DW]

One loop nest over output pixels and taps serves all three directions; only the array on the left of the += changes:

    forward       y[pixel] += w[tap] * x[pixel + tap]
    grad_input    x[pixel + tap] += w[tap] * y[pixel]
    grad_weight   w[tap] += y[pixel] * x[pixel + tap]

How it is made fast: in channels-last memory the channels of a pixel are neighbours, so whole vectors of channels are multiplied whatever
the stride, and a vector loaded once serves all outputs of a strip: the pages `planes` and `strip`. With M above 1 each channel
is first repeated M times. Padding is multiplied as zeros; weights that are not finite, for which that would be wrong, take the loops.
Cost: N*F*OH*OW*KH*KW multiply-adds for each direction. What binds it: see `planes`.
Source: Howard et al., "MobileNets" (2017), section 3.1, eq. 3; Chollet, "Xception" (2017).
"""
import math

import numpy as np

from . import direct, layout, planes, select, threads
from ._jit import plain
from .simd import LANES


@plain
def conv(x, w, y, sh, sw, top, left, dh, dw):
    """y[n,f,i,j] += w[f,u,v] * x[n, f // M, ...]: the formula. x (N,C,H,W), w (F,KH,KW), y (N,F,OH,OW), zeroed."""
    multiplier = w.shape[0] // x.shape[1]
    for n in range(y.shape[0]):
        for f in range(y.shape[1]):
            for i in range(y.shape[2]):
                for j in range(y.shape[3]):
                    for u in range(w.shape[1]):
                        for v in range(w.shape[2]):
                            row, column = i * sh - top + u * dh, j * sw - left + v * dw
                            if 0 <= row and row < x.shape[2] and 0 <= column and column < x.shape[3]:
                                y[n, f, i, j] += w[f, u, v] * x[n, f // multiplier, row, column]


@plain
def conv_input(dy, w, dx, sh, sw, top, left, dh, dw):
    """dx[n, f // M, ...] += w[f,u,v] * dy[n,f,i,j]: the same products, added to dx (N,C,H,W), zeroed."""
    multiplier = w.shape[0] // dx.shape[1]
    for n in range(dy.shape[0]):
        for f in range(dy.shape[1]):
            for i in range(dy.shape[2]):
                for j in range(dy.shape[3]):
                    for u in range(w.shape[1]):
                        for v in range(w.shape[2]):
                            row, column = i * sh - top + u * dh, j * sw - left + v * dw
                            if 0 <= row and row < dx.shape[2] and 0 <= column and column < dx.shape[3]:
                                dx[n, f // multiplier, row, column] += w[f, u, v] * dy[n, f, i, j]


@plain
def conv_weight(dy, x, dw_, sh, sw, top, left, dh, dw):
    """dw_[f,u,v] += dy[n,f,i,j] * x[n, f // M, ...]: the same products, added to dw_ (F,KH,KW), zeroed."""
    multiplier = dw_.shape[0] // x.shape[1]
    for n in range(dy.shape[0]):
        for f in range(dy.shape[1]):
            for i in range(dy.shape[2]):
                for j in range(dy.shape[3]):
                    for u in range(dw_.shape[1]):
                        for v in range(dw_.shape[2]):
                            row, column = i * sh - top + u * dh, j * sw - left + v * dw
                            if 0 <= row and row < x.shape[2] and 0 <= column and column < x.shape[3]:
                                dw_[f, u, v] += dy[n, f, i, j] * x[n, f // multiplier, row, column]


def supports(geometry):
    """Every channel by itself: groups == C, with any number of filters a channel, any window, stride, padding, dilation."""
    return geometry.groups == geometry.c


def workspace_bytes(geometry, direction="forward", dtype=np.float32):
    """Weights and bias in whole vectors (for grad_weight a set of sums a thread); x or dx with repeated channels if M is above 1 are
    beside it, and so are the tables, which depend on the geometry alone and are made once."""
    g, count = geometry, threads.get_num_threads()
    if not select.is_fast(dtype):
        return 0
    if direction == "grad_weight":
        return 4 * planes.weight_scheme(g, count).room
    return 4 * max(scheme.room for scheme in planes.schemes(g, direction, count))


def plan(w, bias, geometry):
    """`forward` with its weights laid out once: see `select.Algorithm.plan`."""
    run = planes.Forward(geometry)
    if not run.take(w, bias):
        return None

    def call(x, R=None, low=-np.inf, high=np.inf):
        if R is None:
            return layout.shaped(run(layout.nhwc(x), low, high))
        return np.clip(layout.shaped(run(layout.nhwc(x))) + R, np.float32(low), np.float32(high))
    return call


def standing(w, bias, geometry):
    """`plan` for many calls, of as many filters as channels: see `select.Algorithm.standing`."""
    run = planes.Forward(geometry)
    return run.scheme.standing(run.memory, geometry) if geometry.f == geometry.c and run.take(w, bias) else None


def forward(x, w, bias, geometry):
    """x (N,C,H,W), w (F,1,KH,KW), bias (F,) or None -> y (N,F,OH,OW). Cost: N*F*OH*OW*KH*KW multiply-adds."""
    g = geometry
    if select.is_fast(x.dtype):
        run = planes.Forward(g)
        if run.take(w, bias):
            return layout.shaped(run(layout.nhwc(x)))
    y = np.zeros(g.y_shape, x.dtype)
    conv(layout.nchw(x), layout.writable(w[:, 0]), y, g.sh, g.sw, g.top, g.left, g.dh, g.dw)
    return y if bias is None else y + bias[:, None, None]


def grad_input(dy, w, geometry):
    """dy (N,F,OH,OW), w (F,1,KH,KW) -> dx (N,C,H,W), the adjoint of `forward` in x. Cost: that of the forward pass."""
    g = geometry
    if not direct.multiplied(w, dy.dtype):
        dx = np.zeros(g.x_shape, dy.dtype)
        conv_input(layout.nchw(dy), layout.writable(w[:, 0]), dx, g.sh, g.sw, g.top, g.left, g.dh, g.dw)
        return dx
    dy, dx, w = layout.nhwc(dy), layout.room((g.n, g.h, g.w, g.f)), layout.writable(w).reshape(-1)
    for scheme in planes.schemes(g, "grad_input", threads.get_num_threads()):
        scheme.run(scheme.ready(w, None), dy, dx)
    if g.f > g.c:
        dx = dx.reshape(g.n, g.h, g.w, g.c, g.f // g.c).sum(axis=4)                          # a channel's M copies
    return layout.shaped(dx)


def grad_weight(dy, x, geometry):
    """dy (N,F,OH,OW), x (N,C,H,W) -> dw (F,1,KH,KW), the adjoint of `forward` in w. Cost: that of the forward pass.

    Each thread sums a range of rows into a slab of its own; the slabs are added in order. Padding is multiplied as zeros; that
    is wrong only where dy is not finite, and then a NaN stays in the result: only then the loops are run.
    """
    g = geometry
    if select.is_fast(dy.dtype):
        dw = _fast_grad_weight(layout.nhwc(dy), layout.nhwc(x) if g.f == g.c else np.repeat(layout.nhwc(x), g.f // g.c, axis=3), g)
        if math.isfinite(float(dw.sum())):
            return dw.reshape(g.w_shape)
    dw = np.zeros((g.f, g.kh, g.kw), dy.dtype)
    conv_weight(layout.nchw(dy), layout.nchw(x), dw, g.sh, g.sw, g.top, g.left, g.dh, g.dw)
    return dw.reshape(g.w_shape)


def _fast_grad_weight(dy, x, g):
    """dy (N,OH,OW,F), x (N,H,W,F) -> dw (F,KH,KW) by tiles."""
    slabs = planes.weight_scheme(g, threads.get_num_threads()).run(dy, x)
    total = slabs.sum(axis=0).reshape(-1, g.kh * g.kw, LANES)                                  # (C-vectors, taps, LANES)
    vectors = total.transpose(0, 2, 1)                                                         # (C-vectors, LANES, taps)
    if g.f >= LANES and g.f % LANES:                                                           # the last vector began a little earlier
        vectors = np.concatenate([vectors[:-1].reshape(-1, g.kh * g.kw), vectors[-1, -(g.f % LANES):]])
    return np.ascontiguousarray(vectors.reshape(-1, g.kh, g.kw)[:g.f])
