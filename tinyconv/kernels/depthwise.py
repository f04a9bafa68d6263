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
from functools import lru_cache

import numpy as np

from . import direct, layout, planes, select, threads
from ._jit import plain
from .indirect import phases, room_bytes
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


def _whole(c):
    """c channels in whole vectors."""
    return -(-c // LANES) * LANES


def _passes(g, direction):
    """(origin, grid, step, out step, taps, row offsets, column offsets): one pass forward, one a phase for grad_input."""
    if direction != "grad_input":
        yield ((0, 0), (g.oh, g.ow), (g.sh, g.sw), (1, 1), (range(g.kh), range(g.kw)),
               [u * g.dh - g.top for u in range(g.kh)], [v * g.dw - g.left for v in range(g.kw)])
        return
    for (a, b), grid, taps, offsets in phases(g):
        us, vs = sorted({u for u, _ in taps}, reverse=True), sorted({v for _, v in taps}, reverse=True)      # offsets rise as taps fall
        yield ((a, b), grid, (1, 1), (g.sh, g.sw), (us, vs), [(a + g.top - u * g.dh) // g.sh for u in us], [(b + g.left - v * g.dw) // g.sw for v in vs])


def _tile(p, most=2):
    (_, grid, step, _, (us, vs), rows, columns) = p
    return planes.tile_of(len(us), len(vs), rows, columns, step, *grid, most)


def _rooms(p, n, c):
    """(shape, type) of one pass's scratch: bias and weights in whole vectors; tables and places of tiles, cut apart so; and the pieces."""
    (_, grid, _, _, (us, vs), _, _), (K, S, ROWS, COLS) = p, _tile(p)
    taps, pieces = len(us) * len(vs), max(1, min(threads.get_num_threads(), n * -(-grid[0] // ROWS)))
    table = taps // (K * K) * ((ROWS - 1) * S + K) * ((COLS - 1) * S + K)
    cuts = pieces * 2 * max(1, table), pieces * 2 * ROWS * COLS
    return ((((taps + 1) * _whole(c),), np.float32), ((sum(cuts),), np.int64)), cuts, pieces


@lru_cache(maxsize=4096)
def _weight_rooms(g, count):
    """(shape, type) of the weight gradient's scratch: a set of sums a thread, tables, places, zeros; how the taps are taken."""
    p = next(_passes(g, "forward"))
    K, S, _, COLS = _tile(p, most=1)
    pieces = max(1, min(count, g.n * g.oh))
    return (((pieces, _whole(g.f) * g.kh * g.kw), np.float32), ((pieces, 2 * g.kh * g.kw // K * ((COLS - 1) * S + K)), np.int64),
            ((pieces, 2 * COLS), np.int64), ((LANES,), np.float32)), (p, K, S, COLS, pieces)


def workspace_bytes(geometry, direction="forward", dtype=np.float32):
    """Weights and bias in whole vectors and tables of pixels (for grad_weight a set of sums a thread); x or dx with repeated channels
    if M is above 1 are beside it."""
    g = geometry
    if not select.is_fast(dtype):
        return 0
    if direction == "grad_weight":
        return room_bytes(_weight_rooms(g, threads.get_num_threads())[0])
    return max(room_bytes(_rooms(p, g.n, g.f)[0]) for p in _passes(g, direction))


class _Scheme:
    """One pass as far as shapes tell, made once a geometry and thread count: scratch, which taps where, the kernel's last arguments."""

    def __init__(self, p, n, x_plane, y_plane, c, kw):
        origin, grid, step, out_step, (us, vs), rows, columns = p
        K, S, ROWS, COLS = _tile(p)
        self.rooms, self.cuts, self.pieces = _rooms(p, n, c)
        self.taps = np.array([u * kw + v for u in us for v in vs], np.int64)                  # in this order, of w's KH·KW
        self.none = (slice(None), slice(origin[0], None, out_step[0]), slice(origin[1], None, out_step[1])) if not (us and vs) else None
        self.kernel = planes.build(K, S, ROWS, COLS, int(c >= LANES))[0]
        self.rest = (np.zeros(LANES, np.float32), self.pieces, n, c, *x_plane, *grid, *step, np.array(rows, np.int64), np.array(columns, np.int64),
                     1 if K > 1 else step[1], *y_plane, *origin, *out_step)
        self.work = n * grid[0] * grid[1] * c * len(us) * len(vs) // 8

    def ready(self, w, bias):
        """Weights (F,KH,KW) and bias laid out in whole vectors, and the tables' memory."""
        c, (floats, tables), (a, b) = len(w), (select.scratch(shape, kind) for shape, kind in self.rooms), self.cuts
        whole = _whole(c)
        packed, start = floats[whole:].reshape(-1, whole), floats[:whole]
        start[c:], start[:c], packed[:, c:] = 0, 0 if bias is None else bias, 0
        if not self.none:
            packed[:, :c] = w.reshape(c, -1).T[self.taps]                                     # (F,KH,KW) -> (taps, F)
        return floats[whole:], start, (tables[:a].reshape(self.pieces, -1), tables[a:a + b].reshape(self.pieces, -1))

    def run(self, memory, x, y, low=-np.inf, high=np.inf):
        """x (N,H,W,F) -> its part of y (N,OH,OW,F), or dy -> dx."""
        if self.none:                                                                         # a phase that no tap touches
            y[self.none] = 0
            return
        packed, start, tables = memory
        threads.run(self.kernel, self.pieces, x.reshape(-1), packed, start, np.float32(low), np.float32(high), y.reshape(-1), *tables,
                    *self.rest, work=self.work)


@lru_cache(maxsize=4096)
def _schemes(g, direction, count):
    """The passes of "forward" or "grad_input" for `count` threads."""
    sizes = ((g.h, g.w), (g.oh, g.ow)) if direction == "forward" else ((g.oh, g.ow), (g.h, g.w))
    return [_Scheme(p, g.n, *sizes, g.f, g.kw) for p in _passes(g, direction)]


class Forward:
    """The fast forward pass of one geometry with its weights laid out: plan(x (N,H,W,C)) -> clip(conv + bias, low, high), (N,OH,OW,F)."""

    def __init__(self, w, bias, geometry):
        g = self.geometry = geometry
        self.shape = (g.n, g.oh, g.ow, g.f)
        self.scheme = _schemes(g, "forward", threads.get_num_threads())[0]
        self.memory = self.scheme.ready(w[:, 0], bias)

    def __call__(self, x, low=-np.inf, high=np.inf):
        y, g = layout.room(self.shape), self.geometry
        self.scheme.run(self.memory, x if g.f == g.c else np.repeat(x, g.f // g.c, axis=3), y, low, high)
        return y


def plan(w, bias, geometry):
    """`forward` with its weights laid out once: see `select.Algorithm.plan`."""
    if not direct.multiplied(w, w.dtype):
        return None
    run = Forward(w, bias, geometry)

    def call(x, R=None, low=-np.inf, high=np.inf):
        if R is None:
            return layout.shaped(run(layout.nhwc(x), low, high))
        return np.clip(layout.shaped(run(layout.nhwc(x))) + R, np.float32(low), np.float32(high))
    return call


def forward(x, w, bias, geometry):
    """x (N,C,H,W), w (F,1,KH,KW), bias (F,) or None -> y (N,F,OH,OW). Cost: N*F*OH*OW*KH*KW multiply-adds."""
    g = geometry
    if direct.multiplied(w, x.dtype):
        return layout.shaped(Forward(w, bias, g)(layout.nhwc(x)))
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
    dy, dx = layout.nhwc(dy), layout.room((g.n, g.h, g.w, g.f))
    for scheme in _schemes(g, "grad_input", threads.get_num_threads()):
        scheme.run(scheme.ready(w[:, 0], None), dy, dx)
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
    shapes, ((_, _, _, _, _, rows, columns), K, S, COLS, pieces) = _weight_rooms(g, threads.get_num_threads())
    slabs, *memory = (select.scratch(shape, kind) for shape, kind in shapes)
    memory[-1][:] = 0
    threads.run(planes.build(K, S, 1, COLS, int(g.f >= LANES))[1], pieces, x.reshape(-1), dy.reshape(-1), slabs, *memory, pieces, g.n, g.f, g.h, g.w, g.oh, g.ow,
                g.sh, g.sw, np.array(rows, np.int64), np.array(columns, np.int64), 1 if K > 1 else g.sw, work=dy.size * g.kh * g.kw // 8)
    total = slabs.sum(axis=0).reshape(-1, g.kh * g.kw, LANES)                                  # (C-vectors, taps, LANES)
    vectors = total.transpose(0, 2, 1)                                                         # (C-vectors, LANES, taps)
    if g.f >= LANES and g.f % LANES:                                                           # the last vector began a little earlier
        vectors = np.concatenate([vectors[:-1].reshape(-1, g.kh * g.kw), vectors[-1, -(g.f % LANES):]])
    return np.ascontiguousarray(vectors.reshape(-1, g.kh, g.kw)[:g.f])
