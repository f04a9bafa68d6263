"""Convolution straight from channels-last memory: the register tile, led by tables of where each pixel's window lies.

    y[place[p] + f] = bias[f] + Σ_t Σ_c x[table[t, p] + c] · w[t, c, f]           p pixels, t taps (u,v), c channels, f filters

`table[t, p]` is where in memory the channels begin that tap t of pixel p sees, or -1 where it lies on padding; `place[p]` is where the
result goes. Nothing is copied (im2col would copy every number KH·KW times): stride, dilation, padding, groups and image borders are all
in the tables, and the loop that multiplies knows none of them. On a grid of pixels q = (i, j) the tables are

    row = i·step + offset[t]:       forward      step = S,  offset = u·D - P,                result at row i
                                    grad_input   step = 1,  offset = (a + P - u·D)/S,        result at row a + i·S

for the gradient runs over the S·S phases a of the image, each with those taps for which the division comes out even (the others never
touch its pixels): the gradient in the input is the same kernel on other tables, with weights (F,C) for (C,F).

This page works out the tables and how the work is cut; the loops stand in `indirect_kernel`. Cost: N OH OW F (C/G) KH KW multiply-adds, padding
taps multiplied by zeros, but for taps that see nothing else. Bound by: FMA; where planes are small, by the stream of weights from memory.
Source: Dukhan, "The indirect convolution algorithm", arXiv 1907.02129.
"""
import math
from functools import lru_cache

import numpy as np

from . import layout, select, standing, stems, threads
from ._jit import fast
from .indirect_kernel import convolve, filter_rows, pack_panels
from .simd import LANES
from .standing import OPEN, PLACES
from .tile import MR, NR

DEEP = 128              # terms of a sum taken at once
BLOCK = 8               # tiles of MR pixels in a task, at most
FAR = 512               # rows so many numbers apart fall on the same few lines of the first cache: they are copied first, next to each other


@lru_cache(maxsize=None)
def cut(tiles, groups, panels, pieces):
    """(tiles of pixels in a block, splits of the panels) that leave the busiest of the pieces the least to do; large blocks among equals.

    >>> cut(1000, 1, 2, 2), cut(4, 1, 16, 2)
    ((8, 1), (4, 2))
    """
    if tiles >= 8 * BLOCK * pieces:
        return BLOCK, 1
    best = None
    for block in range(min(BLOCK, tiles), 0, -1):
        blocks, splits = -(-tiles // block), 1
        while True:
            per, units = -(-panels // splits), blocks * groups * splits
            if units <= 64 * pieces:
                work = [min(block, tiles - unit // (groups * splits) * block) * max(0, min(panels, (unit % splits + 1) * per) - unit % splits * per)
                        for unit in range(units)]
                busiest = max(sum(work[i * units // pieces:(i + 1) * units // pieces]) for i in range(pieces))
                if best is None or busiest < best[0]:
                    best = busiest, block, splits
            if splits >= panels:
                break
            splits = min(panels, 2 * splits)
    return best[1:] if best else (1, 1)


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
        depth, pixels, panels = len(terms), n * grid[0] * grid[1], -(-fg // NR)
        alike = worth(n, grid, step, offsets, h, wide)
        if alike:
            across = -(-n // (BLOCK * MR))
            block, splits = -(-n // (across * MR)) * MR, 1
            blocks = grid[0] * grid[1] * across
            while splits < panels and blocks * groups * splits < 8 * count and blocks * groups * splits % count:
                splits = min(panels, 2 * splits)
        else:
            tiles, splits = cut(-(-pixels // MR), groups, panels, count)
            block = tiles * MR
            blocks = -(-pixels // block)
        pieces = self.pieces = min(count, blocks * groups * splits)
        (row,), (column,) = offsets if len(taps) == 1 else ((-1,), (-1,))
        lift = int(c % FAR == 0 and row >= 0 and column >= 0 and (grid[0] - 1) * step[0] + row < h and (grid[1] - 1) * step[1] + column < wide)
        self.padded = any(at < 0 or (count - 1) * stride + at >= size for size, count, stride, places in
                          ((h, grid[0], step[0], offsets[0]), (wide, grid[1], step[1], offsets[1])) for at in places)
        self.sizes = groups * panels * len(taps) * depth * NR, pieces * block * NR, pieces * block * (c + LANES) * lift
        self.panels = groups * panels
        self.rooms = ((sum(self.sizes), np.float32), ((pieces, (len(taps) + 1) * block), np.int64))
        self.packing = groups, fg, step_g, step_f, np.array(terms, np.int64), np.array(taps, np.int64), (
            filter_rows(terms, taps) if step_f > 1 else np.zeros(0, np.int64))
        rows, columns = (np.array(o, np.int64) for o in offsets)
        self.rest = (np.zeros(depth, np.float32), pieces, block, int(alike), DEEP, lift, splits, groups, c, depth, f, n, *grid, *step, rows, columns,
                     (rows * wide + columns) * c, h, wide, oh, ow, *origin, *out_step)
        self.work = pixels * f * depth * len(taps) // 32

    def ready(self, w):
        """The scratch: w (flat, C-order) packed, tables, partial sums, room for copied rows. None if w is not finite where padding is multiplied by it."""
        (floats, tables), (a, b, c), strange = (select.scratch(shape, kind) for shape, kind in self.rooms), self.sizes, np.zeros(1, np.int64)
        packed = floats[:a].reshape(self.panels, -1)
        threads.run(pack_panels, self.panels, w, packed, strange, *self.packing, work=a)
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


def widened(g):
    """With few channels (a picture's three) the KW·C numbers of a window's row are taken together: page `stems`."""
    return g.groups == 1 and g.c < 8 and g.kw > 1 and g.dw == 1


def padded_shape(g):
    """(N, H + padding, W + padding, C) of that copy."""
    return g.n, g.h + g.top + g.bottom, g.w + g.left + g.right, g.c


@fast
def pad_rows(lo, hi, x, room, top, left, h, row):
    """Tasks: rows of the copy. x (N·H, row) -> room (N·(H + padding), longer rows), zeros around."""
    tall = room.shape[0] // (x.shape[0] // h)
    for task in range(lo, hi):
        target, i = room[task], task % tall - top
        if i < 0 or i >= h:
            target[:] = 0
        else:
            source, target[:left], target[left + row:] = x[task // tall * h + i], 0, 0
            for j in range(row):
                target[left + j] = source[j]


def pad(x, room, g):
    """The copy itself, zeros around the picture."""
    threads.run(pad_rows, room.shape[0] * room.shape[1], x.reshape(g.n * g.h, -1), room.reshape(room.shape[0] * room.shape[1], -1), g.top,
                g.left * g.c, g.h, g.w * g.c, work=room.size // 4)
    return room


def windows(g):
    """Row and column offset of each tap of the forward pass (of each row of taps where the input is widened)."""
    if widened(g):
        return [u * g.dh for u in range(g.kh)], [0] * g.kh
    return [u * g.dh - g.top for u in range(g.kh) for _ in range(g.kw)], [v * g.dw - g.left for _ in range(g.kh) for v in range(g.kw)]


@lru_cache(maxsize=4096)
def phases(g):
    """grad_input's passes: ((a, b), grid, taps (u, v), offsets) for every phase of the image."""
    found = []
    for a in range(min(g.sh, g.h)):
        us = [u for u in range(g.kh) if (a + g.top - u * g.dh) % g.sh == 0]
        for b in range(min(g.sw, g.w)):
            taps = [(u, v) for u in us for v in range(g.kw) if (b + g.left - v * g.dw) % g.sw == 0]
            offsets = [(a + g.top - u * g.dh) // g.sh for u, _ in taps], [(b + g.left - v * g.dw) // g.sw for _, v in taps]
            found.append(((a, b), (-(-(g.h - a) // g.sh), -(-(g.w - b) // g.sw)), taps, offsets))
    return found


@lru_cache(maxsize=4096)
def schemes(g, direction, count):
    """The passes of "forward" or "grad_input" for `count` threads."""
    fg, cg, window = g.f // g.groups, g.c // g.groups, g.kh * g.kw
    if direction == "forward" and widened(g):
        return [stems.Scheme(g, count)]
    if direction == "forward":
        weights = g.groups, fg, fg * cg * window, cg * window, range(0, cg * window, window), range(window)
        return [Scheme(count, (g.n, g.h, g.w, g.c), (g.n, g.oh, g.ow, g.f), weights, (g.oh, g.ow), (g.sh, g.sw), windows(g))]
    return [Scheme(count, (g.n, g.oh, g.ow, g.f), (g.n, g.h, g.w, g.c),
                   (g.groups, cg, fg * cg * window, window, range(0, fg * cg * window, cg * window), [u * g.kw + v for u, v in taps]),
                   grid, (1, 1), offsets, origin, (g.sh, g.sw)) for origin, grid, taps, offsets in phases(g)]


def scratch_shapes(g, direction):
    """What `Forward` or the largest pass of `grad_input` takes from select.scratch: ((shape, type), …)."""
    return max((scheme.rooms for scheme in schemes(g, direction, threads.get_num_threads())), key=room_bytes)


def room_bytes(rooms):
    """Bytes of ((shape, type), …)."""
    return sum(math.prod(np.atleast_1d(shape).tolist()) * np.dtype(kind).itemsize for shape, kind in rooms)


class Forward:
    """The forward pass of one geometry with its weights packed: plan(x (N,H,W,C)) -> clip(conv + bias + R, low, high), (N,OH,OW,F)."""

    def __init__(self, w, bias, geometry):
        g = geometry
        self.shape, self.bias = (g.n, g.oh, g.ow, g.f), np.zeros(g.f, np.float32) if bias is None else bias
        self.scheme = schemes(g, "forward", threads.get_num_threads())[0]
        self.memory = self.scheme.ready(layout.writable(w).reshape(-1))         # or None: see there

    def __call__(self, x, R=None, low=-np.inf, high=np.inf):
        y = layout.result(self.shape)
        self.scheme.run(self.memory, x, self.bias, y, R, low, high)
        return y


def grad_input(dy, w, geometry):
    """dy (N,OH,OW,F), w (F,C/G,KH,KW) -> dx (N,H,W,C), one pass for each of the S·S phases of the image; None as `Scheme.ready`."""
    g, w = geometry, layout.writable(w).reshape(-1)
    dx, none = layout.room((g.n, g.h, g.w, g.c)), np.zeros(g.c, np.float32)
    for scheme in schemes(g, "grad_input", threads.get_num_threads()):
        memory = scheme.ready(w)
        if memory is None:
            return None
        scheme.run(memory, dy, none, dx)
        del memory                                              # before the next phase takes its own
    return dx
