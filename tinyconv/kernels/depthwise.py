"""Depthwise convolution: every channel is convolved by itself, with M = F/C filters (M is the multiplier, mostly 1).

    y[n, c*M+m, i, j] = bias[c*M+m] + sum over u,v of  w[c*M+m, u, v] * x[n, c, i*SH - top + u*DH, j*SW - left + v*DW]

One loop nest over output pixels and taps serves all three directions; only the array on the left of the += changes:

    forward       y[pixel] += w[tap] * x[pixel + tap]
    grad_input    x[pixel + tap] += w[tap] * y[pixel]
    grad_weight   w[tap] += y[pixel] * x[pixel + tap]

How it is made fast: in channels-last memory the channels of a pixel are neighbours, so whole vectors of channels are multiplied whatever
the stride, and a vector loaded once serves all outputs of a strip: the pages `planes` and `strip`. With M above 1 each channel
is first repeated M times. Taps on padding are left out, so NaN and infinities spread as the formula says.
Cost: N*F*OH*OW*KH*KW multiply-adds for each direction. What binds it: see `planes`.
Source: Howard et al., "MobileNets" (2017), section 3.1, eq. 3; Chollet, "Xception" (2017).
"""
import numpy as np

from . import layout, planes, select, threads
from ._jit import plain
from .indirect import phases
from .simd import LANES
from .strip import COLUMNS_WEIGHT


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


def _whole(c):
    """c channels in whole vectors."""
    return -(-c // LANES) * LANES


def _kernel(columns, step):
    """(K, S) of the kernel for these column offsets: neighbouring taps of a known width and stride together, else one by one."""
    together = columns == list(range(columns[0], columns[0] + len(columns))) if columns else False
    return (len(columns), step) if together and (len(columns), step) in planes.KERNELS else (1, 1)


def _passes(g, direction):
    """(origin, grid, step, out step, taps, row offsets, column offsets): one pass forward, one a phase for grad_input."""
    if direction != "grad_input":
        yield ((0, 0), (g.oh, g.ow), (g.sh, g.sw), (1, 1), (range(g.kh), range(g.kw)),
               [u * g.dh - g.top for u in range(g.kh)], [v * g.dw - g.left for v in range(g.kw)])
        return
    for (a, b), grid, taps, offsets in phases(g):
        us, vs = sorted({u for u, _ in taps}, reverse=True), sorted({v for _, v in taps}, reverse=True)      # offsets rise as taps fall
        yield ((a, b), grid, (1, 1), (g.sh, g.sw), (us, vs), [(a + g.top - u * g.dh) // g.sh for u in us], [(b + g.left - v * g.dw) // g.sw for v in vs])


def _pieces(g):
    return max(1, min(threads.get_num_threads(), g.n * g.oh))


def _slabs(g):
    """Shape of the weight gradient's sums."""
    return _pieces(g), _whole(g.f) // LANES, g.kh, g.kw, COLUMNS_WEIGHT, LANES


def workspace_bytes(geometry, direction="forward", dtype=np.float32):
    """Weights and bias in whole vectors (for grad_weight a set of sums a thread); x or dx with repeated channels if M is above 1."""
    g = geometry
    if not select.is_fast(dtype):
        return 0
    if direction == "grad_weight":
        return 4 * int(np.prod(_slabs(g)))
    return 4 * sum((len(us) * len(vs) + 1) * _whole(g.f) for *_, (us, vs), _, _ in _passes(g, direction))


def _convolve(x, w, bias, y, g, direction):
    """x (N,H,W,F) -> y (N,OH,OW,F), or dy -> dx, by strips."""
    n, h, wide, c = x.shape
    for origin, grid, step, out_step, (us, vs), rows, columns in _passes(g, direction):
        packed, start = select.scratch((len(us) * len(vs), _whole(c))), select.scratch(_whole(c))
        start[c:], start[:c], packed[:, c:] = 0, 0 if bias is None else bias, 0
        packed[:, :c] = w[:, list(us)][:, :, list(vs)].reshape(c, -1).T                       # (F,KH,KW) -> (taps, F)
        K, S = _kernel(columns, step[1])
        threads.run(planes.KERNELS[K, S][0], n * grid[0], x.reshape(-1), packed.reshape(-1), start, np.float32(-np.inf), np.float32(np.inf),
                    y.reshape(-1), c, h, wide, *grid, *step, np.array(rows, np.int64), np.array(columns, np.int64),
                    1 if K > 1 else step[1], y.shape[1], y.shape[2], *origin, *out_step, work=n * grid[0] * grid[1] * c * packed.shape[0] // 8)
    return y


def forward(x, w, bias, geometry):
    """x (N,C,H,W), w (F,1,KH,KW), bias (F,) or None -> y (N,F,OH,OW). Cost: N*F*OH*OW*KH*KW multiply-adds."""
    g = geometry
    if not select.is_fast(x.dtype):
        y = np.zeros(g.y_shape, x.dtype)
        conv(layout.nchw(x), layout.writable(w[:, 0]), y, g.sh, g.sw, g.top, g.left, g.dh, g.dw)
        return y if bias is None else y + bias[:, None, None]
    x = layout.nhwc(x) if g.f == g.c else np.repeat(layout.nhwc(x), g.f // g.c, axis=3)
    return layout.shaped(_convolve(x, w[:, 0], bias, np.empty((g.n, g.oh, g.ow, g.f), np.float32), g, "forward"))


def grad_input(dy, w, geometry):
    """dy (N,F,OH,OW), w (F,1,KH,KW) -> dx (N,C,H,W), the adjoint of `forward` in x. Cost: that of the forward pass."""
    g = geometry
    if not select.is_fast(dy.dtype):
        dx = np.zeros(g.x_shape, dy.dtype)
        conv_input(layout.nchw(dy), layout.writable(w[:, 0]), dx, g.sh, g.sw, g.top, g.left, g.dh, g.dw)
        return dx
    dx = _convolve(layout.nhwc(dy), w[:, 0], None, np.empty((g.n, g.h, g.w, g.f), np.float32), g, "grad_input")
    if g.f > g.c:
        dx = dx.reshape(g.n, g.h, g.w, g.c, g.f // g.c).sum(axis=4)                          # a channel's M copies
    return layout.shaped(dx)


def grad_weight(dy, x, geometry):
    """dy (N,F,OH,OW), x (N,C,H,W) -> dw (F,1,KH,KW), the adjoint of `forward` in w. Cost: that of the forward pass.

    Each thread sums a range of rows into a slab of its own; the slabs are added in order.
    """
    g = geometry
    if not select.is_fast(dy.dtype):
        dw = np.zeros((g.f, g.kh, g.kw), dy.dtype)
        conv_weight(layout.nchw(dy), layout.nchw(x), dw, g.sh, g.sw, g.top, g.left, g.dh, g.dw)
        return dw.reshape(g.w_shape)
    x = layout.nhwc(x) if g.f == g.c else np.repeat(layout.nhwc(x), g.f // g.c, axis=3)
    _, grid, step, _, _, rows, columns = next(_passes(g, "forward"))
    K, S = _kernel(columns, g.sw)
    slabs = select.scratch(_slabs(g))
    threads.run(planes.KERNELS[K, S][1], len(slabs), x.reshape(-1), layout.nhwc(dy).reshape(-1), slabs.reshape(len(slabs), -1), len(slabs),
                g.n, g.f, g.h, g.w, g.oh, g.ow, g.sh, g.sw, np.array(rows, np.int64), np.array(columns, np.int64),
                1 if K > 1 else g.sw, work=dy.size * g.kh * g.kw // 8)
    total = slabs.sum(axis=(0, 4))                                                             # (C-vectors, KH, KW, LANES)
    return np.ascontiguousarray(total.transpose(0, 3, 1, 2).reshape(-1, g.kh, g.kw)[:g.f]).reshape(g.w_shape)
