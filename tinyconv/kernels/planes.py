"""Depthwise convolution from channels-last memory, a window tile of neighbouring outputs at a time, LANES channels wide.

    y[i, j, c] = bias[c] + Σ_{u,v} x[i·step + rows[u], j·step + columns[v], c] · w[u, v, c]

Forward and gradient in the input are the same kernel on other offsets, as in `indirect`: forward has step S and offsets u·D - P;
the gradient runs over the S·S phases of the image with step 1 and those taps that fall on its pixels. A block of taps is K x K
neighbouring ones (the whole window, for the usual 3x3 and 5x5) or, with K = 1, a single one: that serves every geometry.

Which tiles there are, and where their pixels lie, is told by tables that depend on the geometry alone: `planes_scheme`. This page lays down
weights and arguments for a pass and runs it.
Cost: N C OH OW KH KW multiply-adds. Bound by: see `planes_kernel`.
"""
import math
from functools import lru_cache

import numpy as np

from . import layout, select, standing, threads
from .cutting import pieces_for
from .planes_kernel import lay_out
from .planes_scheme import Tables, passes
from .simd import LANES
from .standing import OPEN

TOGETHER = 8            # images whose planes are a tile each that are taken together (by trial)
NONE = np.zeros(0, np.float32)


def whole(c):
    """c channels in whole vectors."""
    return -(-c // LANES) * LANES


class Scheme:
    """One pass as far as shapes tell, made once a geometry and thread count: scratch, which taps where, the kernel's last arguments."""

    def __init__(self, p, n, x_plane, y_plane, window, c, count):
        origin, grid, step, out_step, (us, vs), rows, columns = p
        self.weights, self.window = (len(us) * len(vs) + 1) * whole(c), window[0] * window[1]
        self.none = (slice(None), slice(origin[0], None, out_step[0]), slice(origin[1], None, out_step[1])) if not (us and vs) else None
        if self.none:
            self.room = 0
            return
        tables = Tables(p, x_plane, y_plane, c)
        tiles = len(tables.kinds[0]) * len(tables.kinds[1])
        together = max(1, min(TOGETHER, n // (4 * count))) if tables.single else 1
        self.work = n * grid[0] * grid[1] * c * len(us) * len(vs) // 8
        pieces = self.pieces = pieces_for(-(-n // together) * tiles, self.work, count)
        self.taps = np.array([u * window[1] + v for u in us for v in vs], np.int64)                 # in this order, of w's KH·KW
        self.rows = np.full(-(-self.window // LANES) * LANES, len(self.taps) * LANES, np.int64)
        self.rows[self.taps] = np.arange(len(self.taps)) * LANES
        self.kernel, self.notes = tables.kernels[0], (pieces, tables.notes)
        self.room = self.weights + 2 * pieces * tables.notes
        self.zero = np.zeros(whole(c), np.float32)
        self.rest = (*tables.tables, *tables.kinds, tables.inner, tables.blocks, pieces, together, n, c, *x_plane,
                     *tables.first, *step, *y_plane, *origin, *out_step)

    def ready(self, w, bias):
        """Weights and bias laid out in whole vectors, and room for notes; or None if w (F·KH·KW, flat) is not finite: then padding may not be
        multiplied by it."""
        if self.none:
            return NONE, NONE
        room = select.scratch(self.room)
        packed, notes = room[:self.weights], room[self.weights:].view(np.int64).reshape(self.notes)
        bad = lay_out(w, self.window, self.taps, self.rows, NONE if bias is None else bias, packed)
        return (packed, notes) if bad == 0 else None

    def standing(self, memory, g):
        """The pass with all of this laid down: `standing.convolution`."""
        places = {"x": 0, "low": 2, "high": 3, "y": 4}
        packed, notes = memory
        arguments = packed, packed, *OPEN, packed, self.zero, notes, *self.rest
        return standing.convolution(self.kernel, self.pieces, arguments, places, (g.n, g.h, g.w, g.c), (g.n, g.oh, g.ow, g.f), self.work)

    def run(self, memory, x, y, low=-np.inf, high=np.inf):
        """x (N,H,W,F) -> its part of y (N,OH,OW,F), or dy -> dx."""
        if self.none:                                                                               # a phase that no tap touches
            y[self.none] = 0
            return
        low, high = OPEN if low == -np.inf and high == np.inf else (np.float32(low), np.float32(high))
        packed, notes = memory
        threads.run(self.kernel, self.pieces, x.reshape(-1), packed, low, high, y.reshape(-1), self.zero, notes, *self.rest, work=self.work)


@lru_cache(maxsize=4096)
def schemes(g, direction, count):
    """The passes of "forward" or "grad_input" for `count` threads."""
    sizes = ((g.h, g.w), (g.oh, g.ow)) if direction == "forward" else ((g.oh, g.ow), (g.h, g.w))
    return [Scheme(p, g.n, *sizes, (g.kh, g.kw), g.f, count) for p in passes(g, direction)]


class Forward:
    """The fast forward pass of one geometry: plan = Forward(geometry), plan.take(w, bias), plan(x (N,H,W,C)) gives
    clip(conv + bias, low, high)."""

    def __init__(self, geometry):
        self.geometry, self.shape = geometry, (geometry.n, geometry.oh, geometry.ow, geometry.f)
        self.scheme, = schemes(geometry, "forward", threads.get_num_threads())

    def take(self, w, bias):
        """Lay out w (F,1,KH,KW) and bias; False if w is not finite."""
        self.memory = self.scheme.ready(layout.writable(w).reshape(-1), None if bias is None else layout.writable(bias))
        return self.memory is not None

    def __call__(self, x, low=-np.inf, high=np.inf):
        y, g = layout.result(self.shape), self.geometry
        self.scheme.run(self.memory, x if g.f == g.c else np.repeat(x, g.f // g.c, axis=3), y, low, high)
        return y


class WeightScheme:
    """The gradient in the weights as far as shapes tell: a set of sums a thread, and the kernel's arguments."""

    def __init__(self, g, count):
        p, = passes(g, "forward")
        tables = Tables(p, (g.h, g.w), (g.oh, g.ow), g.f, line=True)
        pieces = self.pieces = max(1, min(count, g.n * g.oh))
        self.slabs, self.notes = (pieces, whole(g.f) * g.kh * g.kw), (pieces, tables.notes)
        self.room, self.zero = math.prod(self.slabs) + 2 * math.prod(self.notes), np.zeros(whole(g.f), np.float32)
        self.kernel = tables.kernels[1]
        self.rest = (*tables.tables, *tables.kinds, tables.blocks, pieces, g.n, g.f, g.h, g.w,
                     *tables.first, g.sh, g.sw, g.oh, g.ow)

    def run(self, dy, x):
        """dy (N,OH,OW,F), x (N,H,W,F) -> the threads' sums (pieces, C-vectors, taps, LANES)."""
        room, size = select.scratch(self.room), math.prod(self.slabs)
        slabs, notes = room[:size].reshape(self.slabs), room[size:].view(np.int64).reshape(self.notes)
        work = dy.size * slabs.shape[1] // dy.shape[3] // 8
        threads.run(self.kernel, self.pieces, x.reshape(-1), dy.reshape(-1), slabs, self.zero, notes, *self.rest, work=work)
        return slabs


@lru_cache(maxsize=4096)
def weight_scheme(g, count):
    """WeightScheme of a geometry for `count` threads."""
    return WeightScheme(g, count)
