"""Depthwise convolution from channels-last memory, a window tile of neighbouring outputs at a time, LANES channels wide.

    y[i, j, c] = bias[c] + Σ_{u,v} x[i·step + rows[u], j·step + columns[v], c] · w[u, v, c]

Forward and gradient in the input are the same kernel on other offsets, as in `indirect`: forward has step S and offsets u·D - P;
the gradient runs over the S·S phases of the image with step 1 and those taps that fall on its pixels. A block of taps is K x K
neighbouring ones (the whole window, for the usual 3x3 and 5x5) or, with K = 1, a single one: that serves every geometry.

Where the pixels of a tile lie is read from a table, counted from the tile's first pixel, -1 standing for padding. Most tiles of a plane see the
same (none of them a border), so there are few different tables: a kind of row of tiles times a kind of column. They depend on the geometry alone
and are made once. Where a single tile covers the plane (1x1, 2x2 … 4x4 outputs), the rows and columns of its window that are nothing but
padding are left out when the kernel is compiled: of 36 multiply-adds of 3x3 on 2x2 outputs, 16 are left, of 100 of 5x5 also 16.
Cost: N C OH OW KH KW multiply-adds. Bound by: see `planes_kernel`.
"""
from functools import lru_cache

import numpy as np

from . import layout, select, standing, threads
from .indirect import phases
from .planes_kernel import build, lay_out
from .simd import LANES, REGISTERS
from .standing import OPEN

WIDTHS = (8, 7, 4, 2) if REGISTERS == 32 else (4, 2)            # outputs of a row in one tile
PLANE = 4 if REGISTERS == 32 else 2                             # a square plane of so many rows of outputs is one tile
TOGETHER = 8
NONE = np.zeros(0, np.float32)


def whole(c):
    """c channels in whole vectors."""
    return -(-c // LANES) * LANES


def passes(g, direction):
    """(origin, grid, step, out step, taps, row offsets, column offsets): one pass forward, one a phase for grad_input."""
    if direction != "grad_input":
        yield ((0, 0), (g.oh, g.ow), (g.sh, g.sw), (1, 1), (range(g.kh), range(g.kw)),
               [u * g.dh - g.top for u in range(g.kh)], [v * g.dw - g.left for v in range(g.kw)])
        return
    for (a, b), grid, taps, offsets in phases(g):
        us, vs = sorted({u for u, _ in taps}, reverse=True), sorted({v for _, v in taps}, reverse=True)      # offsets rise as taps fall
        yield ((a, b), grid, (1, 1), (g.sh, g.sw), (us, vs), [(a + g.top - u * g.dh) // g.sh for u in us], [(b + g.left - v * g.dw) // g.sw for v in vs])


def tile_of(rows, columns, step, height, width, line=False):
    """(K, S, ROWS, COLS) for these offsets and this many rows and columns of outputs: 3x3 and 5x5 neighbouring taps together, else one
    by one; one tile for a small square plane, else the COLS that leaves the fewest outputs unused. line: tiles of one row.

    >>> tile_of([-1, 0, 1], [-1, 0, 1], (1, 1), 2, 2), tile_of([0, 3], [0, 3], (1, 1), 2, 2)
    ((3, 1, 2, 2), (1, 1, 1, 2))
    """
    cols = min(WIDTHS, key=lambda cols: (-(-width // cols) * cols, -cols))
    K = len(rows)
    if not (K in (3, 5) and step[0] == step[1] and step[0] in (1, 2) and all(
            offsets == list(range(offsets[0], offsets[0] + K)) for offsets in (rows, columns))):
        return 1, 1, 1, cols
    if line:
        return K, step[0], 1, cols
    if height == width <= PLANE:
        return K, step[0], height, width
    return K, step[0], 2 if K == 3 and height > 1 and REGISTERS == 32 else 1, cols


def kinds(size, count, tile, step, offsets, K, S):
    """One axis of a plane of `size` pixels and `count` outputs in tiles of `tile`.

    -> the kind of each tile; of each kind: which pixels of the window lie in the picture (kinds, blocks of taps, reach), and which
    outputs of the tile there are (kinds, tile); the pixels counted from the first (blocks, reach).
    """
    away = np.array(offsets[::K])[:, None] + np.arange((tile - 1) * S + K) * (1 if K > 1 else step)
    first = np.arange(-(-count // tile)) * tile
    at = first[:, None, None] * step + away
    inside, there = (at >= 0) & (at < size), first[:, None] + np.arange(tile) < count
    both = np.concatenate([inside.reshape(len(first), -1), there], axis=1)
    _, examples, kind = np.unique(both, axis=0, return_index=True, return_inverse=True)
    return kind.reshape(-1), inside[examples], there[examples], away - offsets[0]


class Tables:
    """What the kernels read about one pass: tables of pixels and of places, the kind of each tile, and the kernels for them."""

    def __init__(self, p, x_plane, y_plane, c, line=False):
        origin, grid, step, out_step, (us, vs), rows, columns = p
        K, S, ROWS, COLS = tile_of(rows, columns, step, *grid, line)
        (down, inside_h, there_h, rows_away), (right, inside_w, there_w, columns_away) = (
            kinds(x_plane[i], grid[i], (ROWS, COLS)[i], step[i], (rows, columns)[i], K, S) for i in (0, 1))
        inside = inside_h[:, None, :, None, :, None] & inside_w[None, :, None, :, None, :]          # (kinds, kinds, blocks, blocks, rows, columns)
        away = (rows_away[:, None, :, None] * x_plane[1] + columns_away[None, :, None, :]) * c
        there = there_h[:, None, :, None] & there_w[None, :, None, :]                               # (kinds, kinds, ROWS, COLS)
        places = (np.arange(ROWS)[:, None] * out_step[0] * y_plane[1] + np.arange(COLS) * out_step[1]) * c
        self.tables = np.where(inside, away, -1).astype(np.int64).reshape(-1), np.where(there, places, -1).astype(np.int64).reshape(-1)
        self.kinds = down * there_w.shape[0], right
        self.blocks, self.tile = rows_away.shape[0] * columns_away.shape[0], (K, S, ROWS, COLS)
        self.single = K > 1 and not line and grid[0] == grid[1] <= PLANE
        seen = [np.flatnonzero(a.any(axis=(0, 1))) if self.single else np.arange(a.shape[-1]) for a in (inside_h, inside_w)]
        bounds = [end for s in seen for end in ((int(s[0]), int(s[-1]) + 1) if len(s) else (0, 0))]
        self.kernels = build(*self.tile, *bounds, int(c >= LANES))
        self.first = rows[0], columns[0]


class Scheme:
    """One pass as far as shapes tell, made once a geometry and thread count: scratch, which taps where, the kernel's last arguments."""

    def __init__(self, p, n, x_plane, y_plane, window, c, count):
        origin, grid, step, out_step, (us, vs), rows, columns = p
        self.room, self.window, self.whole = (len(us) * len(vs) + 2) * whole(c), window[0] * window[1], whole(c)
        self.none = (slice(None), slice(origin[0], None, out_step[0]), slice(origin[1], None, out_step[1])) if not (us and vs) else None
        if self.none:
            self.room = 0
            return
        tables = Tables(p, x_plane, y_plane, c)
        bands = len(tables.kinds[0])
        together = max(1, min(TOGETHER, n // (4 * count))) if tables.single else 1
        self.work = n * grid[0] * grid[1] * c * len(us) * len(vs) // 8
        pieces = self.pieces = max(1, min(threads.pieces(self.work, count), -(-n // together) * bands))
        self.taps = np.array([u * window[1] + v for u in us for v in vs], np.int64)                 # in this order, of w's KH·KW
        self.rows = np.full(-(-self.window // LANES) * LANES, len(self.taps) * self.whole, np.int64)
        self.rows[self.taps] = np.arange(len(self.taps)) * self.whole
        self.kernel = tables.kernels[0]
        self.rest = (np.zeros(LANES, np.float32), *tables.tables, *tables.kinds, tables.blocks, pieces, together, n, c, *x_plane,
                     *tables.first, *step, *y_plane, *origin, *out_step)

    def ready(self, w, bias):
        """(weights, bias) laid out in whole vectors, or None if w (F·KH·KW, flat) is not finite: then padding may not be multiplied by it."""
        if self.none:
            return NONE, NONE
        room = select.scratch(self.room)
        packed, offsets = room[self.whole:], room[:self.whole]
        bad = lay_out(w, self.window, self.taps, self.rows, self.whole, NONE if bias is None else bias, packed, offsets)
        return (packed, offsets) if bad == 0 else None

    def standing(self, memory, g):
        """The pass with all of this laid down: `standing.convolution`."""
        places = {"x": 0, "low": 3, "high": 4, "y": 5}
        arguments = memory[0], *memory, *OPEN, memory[0], *self.rest
        return standing.convolution(self.kernel, self.pieces, arguments, places, (g.n, g.h, g.w, g.c), (g.n, g.oh, g.ow, g.f), self.work)

    def run(self, memory, x, y, low=-np.inf, high=np.inf):
        """x (N,H,W,F) -> its part of y (N,OH,OW,F), or dy -> dx."""
        if self.none:                                                                               # a phase that no tap touches
            y[self.none] = 0
            return
        low, high = OPEN if low == -np.inf and high == np.inf else (np.float32(low), np.float32(high))
        threads.run(self.kernel, self.pieces, x.reshape(-1), *memory, low, high, y.reshape(-1), *self.rest, work=self.work)


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
        self.room = pieces, whole(g.f) * g.kh * g.kw
        self.kernel = tables.kernels[1]
        self.rest = (np.zeros(LANES, np.float32), *tables.tables, *tables.kinds, tables.blocks, pieces, g.n, g.f, g.h, g.w,
                     *tables.first, g.sh, g.sw, g.oh, g.ow)

    def run(self, dy, x):
        """dy (N,OH,OW,F), x (N,H,W,F) -> the threads' sums (pieces, C-vectors, taps, LANES)."""
        slabs = select.scratch(self.room)
        threads.run(self.kernel, self.pieces, x.reshape(-1), dy.reshape(-1), slabs, *self.rest, work=dy.size * slabs.shape[1] // dy.shape[3] // 8)
        return slabs


@lru_cache(maxsize=4096)
def weight_scheme(g, count):
    """WeightScheme of a geometry for `count` threads."""
    return WeightScheme(g, count)
