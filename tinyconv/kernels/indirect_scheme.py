"""How one pass of `indirect` is cut into tasks, and all that its kernel is told: worked out from shapes alone, once a geometry and thread count.

    tasks      blocks of up to BLOCK pixels x groups x splits of the panels of filters (`cutting`)
    taps       those that see the picture at all; on small planes of many images a tile takes the same pixel of several images (`worth`), since a
               tap that sees padding for one of them does for all
    scratch    weights in panels, a table of pixels and places a thread, partial sums, and room for copied rows where rows lie FAR numbers apart

Read `indirect` first: it has the formula.
"""
import math

import numpy as np

from . import select, standing, threads
from ._mailbox import LINE
from .cutting import cut
from .indirect_kernel import FEW, convolve
from .layout import PAGE
from .packing import filter_rows, pack_panels, pack_straight
from .simd import LANES
from .standing import OPEN, PLACES
from .tile import MR, NR, PAIR, TRIO

DEEP = 2**13 // NR      # terms of a sum taken at once: 32 KB of weights (by trial)
BLOCK = 108             # pixels in a task, at most (by trial)
LOADING = 8             # what a panel's weights cost a block when they come into the first cache, in pixels multiplied with them (by trial)
WHOLE = math.lcm(MR, PAIR, TRIO) if PAIR else MR       # pixels that are whole tiles of every kind
BEGINNING = 200         # what a piece costs to begin with, in terms of the sums of a tile and a panel (by trial)
STREAMED = 12           # what it costs to fetch a weight, in multiplications with it: most of the work on planes of one pixel (by trial)
LIFTED = 2**19          # bytes of copied rows of a task, at most: they stay in the second cache (by trial)
FAR = 512               # rows so many numbers apart fall on the same few lines of the first cache: they are copied first, next to each other


def tile_rows(fg):
    """Pixels of the tile that does most of a group's fg filters (`indirect_kernel`)."""
    return PAIR if PAIR and fg > NR + LANES else TRIO if PAIR and fg > NR else MR


def seen(h, w, grid, step, offsets):
    """The numbers of the taps that fall inside the picture for at least one pixel of the grid: on a 1x1 plane one of a padded 3x3."""
    def touches(size, count, stride, offset):
        return any(0 <= i * stride + offset < size for i in range(count))
    return [t for t, (row, column) in enumerate(zip(*offsets)) if touches(h, grid[0], step[0], row) and touches(w, grid[1], step[1], column)]


def worth(n, grid, step, offsets, h, wide):
    """Are fewer tile rows multiplied if a tile takes the same pixel of MR images and leaves out the taps that see padding there?

    >>> worth(64, (2, 2), (1, 1), ([-1, -1, 0, 0], [-1, 0, -1, 0]), 2, 2), worth(1, (2, 2), (1, 1), ([-1, 0], [-1, 0]), 2, 2)
    (True, False)
    """
    if n < MR or grid[0] * grid[1] > 64:
        return False
    seen = sum(0 <= i * step[0] + row < h and 0 <= j * step[1] + column < wide
               for i in range(grid[0]) for j in range(grid[1]) for row, column in zip(*offsets))
    return -(-n // MR) * seen < 0.95 * -(-n * grid[0] * grid[1] // MR) * len(offsets[0])


class Scheme:
    """What one pass does, as far as shapes tell: scratch, cut of the work, tables of offsets. Made once a geometry and thread count.

    x (N,H,W,C) and y (N,OH,OW,F) by their shapes; weights (groups, filters a group, step of groups, step of filters, offsets of terms,
    offsets of taps) say where in w the numbers lie (`pack_panels`); grid (rows, columns) of pixels, step (vertical, horizontal),
    offsets (rows, columns) a tap, origin and out_step of what is written: the formula at the top of the page.
    """

    def __init__(self, count, x_shape, y_shape, weights, grid, step, offsets, origin=(0, 0), out_step=(1, 1)):
        (n, h, wide, c), (_, oh, ow, f), (groups, fg, step_g, step_f, terms, taps) = x_shape, y_shape, weights
        used = seen(h, wide, grid, step, offsets)
        taps, offsets = [taps[t] for t in used], tuple([o[t] for t in used] for o in offsets)
        depth, pixels, panels, rows = len(terms), n * grid[0] * grid[1], -(-fg // NR), tile_rows(fg)
        alike, self.work = worth(n, grid, step, offsets, h, wide), (pixels + STREAMED) * f * depth * len(taps) // 32
        (row,), (column,) = offsets if len(taps) == 1 else ((-1,), (-1,))
        lift = self.lift = int(c % FAR == 0 and row >= 0 and column >= 0 and (grid[0] - 1) * step[0] + row < h and (grid[1] - 1) * step[1] + column < wide)
        most = max(rows, min(BLOCK, LIFTED // (4 * (c + LANES)) if lift else BLOCK))
        if alike:
            across = -(-n // (BLOCK // rows * rows))
            block, splits = -(-n // (across * rows)) * rows, 1
            blocks = grid[0] * grid[1] * across
            while splits < panels and blocks * groups * splits < 8 * count and blocks * groups * splits % count:
                splits = min(panels, 2 * splits)
        else:
            tiles, splits = cut(-(-pixels // rows), groups, panels, count, threads.pieces(self.work, count), most // rows, LOADING / rows,
                                2 if PAIR and pixels > FEW else 1, BEGINNING / (depth * max(1, len(taps))))
            block = tiles * rows
            blocks = -(-pixels // block)
        self.padded = any(at < 0 or (count - 1) * stride + at >= size for size, count, stride, places in
                          ((h, grid[0], step[0], offsets[0]), (wide, grid[1], step[1], offsets[1])) for at in places)
        pieces = self.pieces = min(count if lift else threads.pieces(self.work, count), blocks * groups * splits)
        several = 2 if PAIR and panels > 1 else 1                           # panels at once
        tall = -(-block // WHOLE) * WHOLE if several > 1 else block         # whole tiles, of 6 and 8 pixels as of 12
        self.sizes = groups * panels * len(taps) * depth * NR, pieces * (tall * NR * several + PAGE // 4), pieces * block * (c + LANES) * lift
        self.panels = groups * panels
        self.rooms = ((sum(self.sizes), np.float32), ((pieces + lift, (len(taps) + 1) * tall + PAGE // 8), np.int64))
        straight, where = step_f == 1, (np.array(terms, np.int64), np.array(taps, np.int64))
        self.packers = (pack_straight, groups * -(-depth // LANES)) if straight else (pack_panels, self.panels)
        self.packing = (groups, fg, step_g, *where) if straight else (groups, fg, step_g, step_f, *where, filter_rows(terms, taps))
        rows, columns = (np.array(o, np.int64) for o in offsets)
        self.rest = (np.zeros(depth, np.float32), pieces, block, tall, int(alike), DEEP, lift, splits, groups, c, depth, f, n, *grid, *step, rows, columns,
                     (rows * wide + columns) * c, h, wide, oh, ow, *origin, *out_step)

    def ready(self, w):
        """The scratch: w (flat, C-order) packed, tables, partial sums, room for copied rows. None if w is not finite where padding is multiplied by it."""
        (floats, tables), (a, b, c), strange = (select.scratch(shape, kind) for shape, kind in self.rooms), self.sizes, np.zeros(1, np.int64)
        packed = floats[:a].reshape(self.panels, -1)
        if self.lift:
            tables[-1, :2 * LINE] = 0
        threads.run(*self.packers, w, packed, strange, *self.packing, work=a)
        if strange[0] and self.padded:
            return None
        return floats[:a], tables, floats[a:a + b].reshape(self.pieces, -1), floats[a + b:a + b + c].reshape(self.pieces, -1)

    def standing(self, memory, bias, g):
        """The pass with all of this laid down: `standing.convolution`."""
        packed, *tables = memory
        arguments = packed, packed, bias, bias, 0, *OPEN, packed, *tables, *self.rest
        return standing.convolution(convolve, self.pieces, arguments, PLACES, (g.n, g.h, g.w, g.c), (g.n, g.oh, g.ow, g.f), self.work)

    def run(self, memory, x, bias, y, R=None, low=-np.inf, high=np.inf):
        """The pass itself; all arrays flat or C-contiguous."""
        packed, *tables = memory
        low, high = OPEN if low == -np.inf and high == np.inf else (np.float32(low), np.float32(high))
        threads.run(convolve, self.pieces, x.reshape(-1), packed, bias, bias if R is None else R.reshape(-1), int(R is not None), low, high,
                    y.reshape(-1), *tables, *self.rest, work=self.work)
