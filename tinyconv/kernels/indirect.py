"""Convolution straight from channels-last memory: the register tile, led by tables of where each pixel's window lies.

    y[place[p] + f] = bias[f] + Σ_t Σ_c x[table[t, p] + c] · w[t, c, f]           p pixels, t taps (u,v), c channels, f filters

`table[t, p]` is where in memory the channels begin that tap t of pixel p sees, or -1 where it lies on padding; `place[p]` is where the
result goes. Nothing is copied (im2col would copy every number KH·KW times): stride, dilation, padding, groups and image borders are all
in the tables, and the loop that multiplies knows none of them. On a grid of pixels q = (i, j) the tables are

    row = i·step + offset[t]:       forward      step = S,  offset = u·D - P,                result at row i
                                    grad_input   step = 1,  offset = (a + P - u·D)/S,        result at row a + i·S

for the gradient runs over the S·S phases a of the image, each with those taps for which the division comes out even (the others never
touch its pixels): the gradient in the input is the same kernel on other tables, with weights (F,C) for (C,F).

A task takes `block` pixels and some panels of filters. Each panel's sum is cut into pieces of about DEEP terms, whose weights (DEEP x NR
numbers) stay in the first cache while the block's pixels pass; the sums wait in `partial` meanwhile. Cost: N OH OW F (C/G) KH KW
multiply-adds, padding taps multiplied by zeros. Bound by: FMA; where planes are small, by the stream of weights from memory.
Source: Dukhan, "The indirect convolution algorithm", arXiv 1907.02129.
"""
from functools import lru_cache

import numpy as np

from . import layout, select, threads
from ._jit import fast
from .simd import LANES
from .tile import MR, NR, NV, finish, keep, multiply, resume, zeros

DEEP = 128              # terms of a sum taken at once
BLOCK = 8               # tiles of MR pixels in a task, at most


@fast
def walk(first, count, block, table, places, grid_h, grid_w, step_h, step_w, rows, columns, shifts, h, w, c, out_h, out_w, a, b,
         out_step_h, out_step_w, f):
    """Fill table[r·taps + t] and places[r] for grid pixels first … first+count-1; -1 behind count. shifts[t] = (rows·W + columns)·C."""
    taps = rows.size
    image, i, j = first // (grid_h * grid_w), first // grid_w % grid_h, first % grid_w
    for r in range(count):
        top, left, base = i * step_h, j * step_w, ((image * h + i * step_h) * w + j * step_w) * c
        for t in range(taps):
            row, column = top + rows[t], left + columns[t]
            inside = (row >= 0) & (row < h) & (column >= 0) & (column < w)
            table[r * taps + t] = base + shifts[t] if inside else -1
        places[r] = ((image * out_h + a + i * out_step_h) * out_w + b + j * out_step_w) * f
        j += 1
        if j == grid_w:
            j, i = 0, i + 1
            if i == grid_h:
                i, image = 0, image + 1
    for r in range(count, block):
        for t in range(taps):
            table[r * taps + t] = -1
        places[r] = -1


def build(NV):
    """One panel of NV vectors of filters; compiled on first use."""
    NR = NV * LANES

    @fast
    def panel(x, packed, base, bias, column, n, R, residual, low, high, y, table, place, partial, zero, count, deep, taps, cg, first):
        """All terms of n filters from `column` on, for the `count` pixels of a block: y[place + column …] = clip(Σ + bias + R, low, high)."""
        wide, tall = min(cg, deep), max(1, deep // cg)              # channels, taps in one piece of the sum
        for t0 in range(0, max(taps, 1), tall):
            for c0 in range(0, cg, wide):
                begins = t0 == 0 and c0 == 0
                ends = t0 + tall >= taps and c0 + wide >= cg
                for r in range(0, count, MR):
                    acc = zeros(MR, NV) if begins else resume(MR, NV, partial, r * NR)
                    for t in range(t0, min(taps, t0 + tall)):
                        acc = multiply(acc, MR, NV, x, table, r * taps + t, taps, zero, first + c0, packed, base + (t * cg + c0) * NR,
                                       min(wide, cg - c0))
                    if ends:
                        finish(acc, MR, NV, y, place, r, column, n, bias, column, R, residual, low, high)
                    else:
                        keep(acc, MR, NV, partial, r * NR)
    return panel


wide_panel, narrow_panel = build(NV), build(1)


@fast
def convolve(lo, hi, x, packed, bias, R, residual, low, high, y, tables, places, partials, zero, pieces, block, deep, splits, groups, c, cg, f,
             n, grid_h, grid_w, step_h, step_w, rows, columns, shifts, h, w, out_h, out_w, a, b, out_step_h, out_step_w):
    """Tasks: pieces. x (N,H,W,C), packed (G, panels, taps, terms, NR), y and R (N,OH,OW,F), all flat."""
    taps, fg, pixels = rows.size, f // groups, n * grid_h * grid_w
    panels = (fg + NR - 1) // NR
    per = (panels + splits - 1) // splits
    units = (pixels + block - 1) // block * groups * splits
    for piece in range(lo, hi):
        table, place, partial, known = tables[piece], places[piece], partials[piece], -1
        for unit in range(piece * units // pieces, (piece + 1) * units // pieces):
            at, g, s = unit // (groups * splits), unit // splits % groups, unit % splits
            count = min(block, pixels - at * block)
            if at != known:
                walk(at * block, count, block, table, place, grid_h, grid_w, step_h, step_w, rows, columns, shifts, h, w, c,
                     out_h, out_w, a, b, out_step_h, out_step_w, f)
                known = at
            for p in range(s * per, min(panels, (s + 1) * per)):
                column, base, left = g * fg + p * NR, (g * panels + p) * taps * cg * NR, fg - p * NR
                if left > LANES:
                    wide_panel(x, packed, base, bias, column, min(NR, left), R, residual, low, high, y, table, place, partial, zero, count, deep,
                               taps, cg, g * cg)
                else:
                    narrow_panel(x, packed, base, bias, column, left, R, residual, low, high, y, table, place, partial, zero, count, deep,
                                 taps, cg, g * cg)


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


def rooms(groups, pixels, taps, depth, fg):
    """Shapes and types of the scratch of one pass: packed weights, tables, places, partial sums, a row of zeros; how the work is cut.

    taps of `depth` terms each, fg filters a group. Returns ((shape, type), …), (block, splits, pieces).
    """
    panels, pieces = -(-fg // NR), threads.get_num_threads()
    tiles, splits = cut(-(-pixels // MR), groups, panels, pieces)
    block = tiles * MR
    pieces = min(pieces, -(-pixels // block) * groups * splits)
    shapes = (((groups, panels, taps, depth, NR), np.float32), ((pieces, max(taps, 1) * block), np.int64), ((pieces, block), np.int64),
              ((pieces, block * NR), np.float32), ((depth,), np.float32))
    return shapes, (block, splits, pieces)


@fast
def pack_panels(lo, hi, w, packed):
    """Tasks: panels of all groups. w (G, F/G, terms, taps) -> packed (G, panels, taps·terms·NR), missing filters 0; a narrow panel has
    LANES columns."""
    fg, terms, taps, panels = w.shape[1], w.shape[2], w.shape[3], packed.shape[1]
    for task in range(lo, hi):
        source, target, first = w[task // panels], packed[task // panels, task % panels], task % panels * NR
        count = min(NR, fg - first)
        width = NR if count > LANES else LANES
        for k in range(terms):
            for t in range(taps):
                row = target[(t * terms + k) * width:(t * terms + k + 1) * width]
                for j in range(count):
                    row[j] = source[first + j, k, t]
                for j in range(count, width):
                    row[j] = 0


def pack(w, packed):
    """Weights (G, F/G, terms, taps) -> packed (G, panels, taps, terms, NR): NR filters side by side, missing ones 0."""
    threads.run(pack_panels, packed.shape[0] * packed.shape[1], layout.writable(w), packed.reshape(*packed.shape[:2], -1), work=packed.size)


class Pass:
    """One pass over all grid pixels: weights packed, places of its taps noted, working memory taken; then called again and again.

    x (N,H,W,C) and y (N,OH,OW,F) by their shapes, w (G, F/G, terms, taps); grid (rows, columns) of pixels, step (vertical, horizontal),
    offsets (rows, columns) a tap, origin and out_step of what is written: the formula at the top of the page.
    """

    def __init__(self, x_shape, y_shape, w, grid, step, offsets, origin=(0, 0), out_step=(1, 1)):
        (n, h, wide, c), (_, oh, ow, f), (groups, fg, depth, taps) = x_shape, y_shape, w.shape
        pixels = n * grid[0] * grid[1]
        shapes, (block, splits, self.pieces) = rooms(groups, pixels, taps, depth, fg)
        packed, *memory = (select.scratch(shape, kind) for shape, kind in shapes)
        pack(w, packed)
        memory[-1][:] = 0
        self.packed, self.work = packed.reshape(-1), pixels * f * depth * taps // 32
        rows, columns = (np.array(o, np.int64) for o in offsets)
        shifts = (rows * wide + columns) * c
        self.rest = (*memory, self.pieces, block, DEEP, splits, groups, c, depth, f, n, *grid, *step, rows, columns,
                     shifts, h, wide, oh, ow, *origin, *out_step)

    def __call__(self, x, bias, y, R=None, low=-np.inf, high=np.inf):
        threads.run(convolve, self.pieces, x.reshape(-1), self.packed, bias, bias if R is None else R.reshape(-1), int(R is not None),
                    np.float32(low), np.float32(high), y.reshape(-1), *self.rest, work=self.work)


def widened(g):
    """With few channels (a picture's three) the KW·C numbers of a window's row are neighbours in a padded copy: one tap a row."""
    return g.groups == 1 and g.c < 8 and g.kw > 1 and g.dw == 1


def padded_shape(g):
    """(N, H + padding, W + padding, C) of that copy."""
    return g.n, g.h + g.top + g.bottom, g.w + g.left + g.right, g.c


def pad(x, room, g):
    """The copy itself, zeros around the picture."""
    room[:] = 0
    room[:, g.top:g.top + g.h, g.left:g.left + g.w] = x
    return room


def windows(g):
    """Row and column offset of each tap of the forward pass (of each row of taps where the input is widened)."""
    if widened(g):
        return [u * g.dh for u in range(g.kh)], [0] * g.kh
    return [u * g.dh - g.top for u in range(g.kh) for _ in range(g.kw)], [v * g.dw - g.left for _ in range(g.kh) for v in range(g.kw)]


def phases(g):
    """grad_input's passes: ((a, b), grid, taps (u, v), offsets) for every phase of the image."""
    for a in range(min(g.sh, g.h)):
        us = [u for u in range(g.kh) if (a + g.top - u * g.dh) % g.sh == 0]
        for b in range(min(g.sw, g.w)):
            taps = [(u, v) for u in us for v in range(g.kw) if (b + g.left - v * g.dw) % g.sw == 0]
            offsets = [(a + g.top - u * g.dh) // g.sh for u, _ in taps], [(b + g.left - v * g.dw) // g.sw for _, v in taps]
            yield (a, b), (-(-(g.h - a) // g.sh), -(-(g.w - b) // g.sw)), taps, offsets


def scratch_shapes(g, direction):
    """Everything `forward` or `grad_input` takes from select.scratch: ((shape, type), …)."""
    fg, cg = g.f // g.groups, g.c // g.groups
    if direction == "forward":
        taps, depth = (g.kh, g.kw * g.c) if widened(g) else (g.kh * g.kw, cg)
        around = [(padded_shape(g), np.float32)] if widened(g) else []
        return around + list(rooms(g.groups, g.n * g.oh * g.ow, taps, depth, fg)[0])
    return [room for _, grid, taps, _ in phases(g) for room in rooms(g.groups, g.n * grid[0] * grid[1], len(taps), fg, cg)[0]]


class Forward:
    """The forward pass of one geometry with its weights packed: plan(x (N,H,W,C)) -> clip(conv + bias + R, low, high), (N,OH,OW,F)."""

    def __init__(self, w, bias, geometry):
        g = self.geometry = geometry
        if widened(g):
            self.around = select.scratch(padded_shape(g))
            w = w.transpose(0, 3, 1, 2).reshape(1, g.f, g.kw * g.c, g.kh)                          # terms (v, c), taps u
        else:
            w = w.reshape(g.groups, g.f // g.groups, g.c // g.groups, g.kh * g.kw)
        self.shape, self.bias = (g.n, g.oh, g.ow, g.f), np.zeros(g.f, np.float32) if bias is None else bias
        x_shape = padded_shape(g) if widened(g) else (g.n, g.h, g.w, g.c)
        self.run = Pass(x_shape, self.shape, w, (g.oh, g.ow), (g.sh, g.sw), windows(g))

    def __call__(self, x, R=None, low=-np.inf, high=np.inf):
        y = layout.room(self.shape)
        self.run(pad(x, self.around, self.geometry) if widened(self.geometry) else x, self.bias, y, R, low, high)
        return y


def grad_input(dy, w, geometry):
    """dy (N,OH,OW,F), w (F,C/G,KH,KW) -> dx (N,H,W,C): one pass for each of the S·S phases of the image."""
    g = geometry
    dx, none = layout.room((g.n, g.h, g.w, g.c)), np.zeros(g.c, np.float32)
    swapped = w.reshape(g.groups, g.f // g.groups, g.c // g.groups, g.kh, g.kw).transpose(0, 2, 1, 3, 4)       # (G, C/G, F/G, KH, KW)
    for origin, grid, taps, offsets in phases(g):
        whole = len(taps) == g.kh * g.kw                                                       # no copy where every tap takes part
        chosen = swapped.reshape(*swapped.shape[:3], -1) if whole else swapped[:, :, :, [u for u, _ in taps], [v for _, v in taps]]
        Pass(dy.shape, dx.shape, chosen, grid, (1, 1), offsets, origin, (g.sh, g.sw))(dy, none, dx)
    return dx
