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
import numpy as np

from . import layout, select, threads
from ._jit import fast
from .simd import LANES
from .tile import TILES, finish, keep, multiply, resume, zeros

DEEP = 128              # terms of a sum taken at once
BLOCK = 48              # pixels of a task, about


@fast
def walk(first, count, block, table, places, grid_h, grid_w, step_h, step_w, rows, columns, h, w, c, out_h, out_w, a, b, out_step_h, out_step_w, f):
    """Fill table[t·block + r] and places[r] for grid pixels first … first+count-1 without a division in the loop; -1 behind count."""
    image, i, j = first // (grid_h * grid_w), first // grid_w % grid_h, first % grid_w
    for r in range(count):
        for t in range(rows.size):
            row, column = i * step_h + rows[t], j * step_w + columns[t]
            inside = row >= 0 and row < h and column >= 0 and column < w
            table[t * block + r] = ((image * h + row) * w + column) * c if inside else -1
        places[r] = ((image * out_h + a + i * out_step_h) * out_w + b + j * out_step_w) * f
        j += 1
        if j == grid_w:
            j, i = 0, i + 1
            if i == grid_h:
                i, image = 0, image + 1
    for r in range(count, block):
        for t in range(rows.size):
            table[t * block + r] = -1
        places[r] = -1


def build(MR, NV):
    """The kernel with tiles of MR pixels x NV vectors; compiled on first use."""
    NR = NV * LANES

    @fast
    def convolve(lo, hi, x, packed, bias, R, residual, low, high, y, tables, places, partials, zero, pieces, block, deep, splits, groups, c, depth, f,
                 n, grid_h, grid_w, step_h, step_w, rows, columns, h, w, out_h, out_w, a, b, out_step_h, out_step_w):
        """Tasks: pieces. x (N,H,W,C), packed (G, panels, taps, terms, NR), y and R (N,OH,OW,F), all flat."""
        taps, cg, fg, pixels = rows.size, depth, f // groups, n * grid_h * grid_w
        panels = (fg + NR - 1) // NR
        per = (panels + splits - 1) // splits
        units = (pixels + block - 1) // block * groups * splits
        wide, tall = min(cg, deep), max(1, deep // cg)              # channels, taps in one piece of the sum
        for piece in range(lo, hi):
            table, place, partial, known = tables[piece], places[piece], partials[piece], -1
            for unit in range(piece * units // pieces, (piece + 1) * units // pieces):
                at, g, s = unit // (groups * splits), unit // splits % groups, unit % splits
                count = min(block, pixels - at * block)
                if at != known:
                    walk(at * block, count, block, table, place, grid_h, grid_w, step_h, step_w, rows, columns, h, w, c,
                         out_h, out_w, a, b, out_step_h, out_step_w, f)
                    known = at
                for panel in range(s * per, min(panels, (s + 1) * per)):
                    column, base = g * fg + panel * NR, (g * panels + panel) * taps * cg * NR
                    for t0 in range(0, max(taps, 1), tall):
                        for c0 in range(0, cg, wide):
                            begins = t0 == 0 and c0 == 0
                            ends = t0 + tall >= taps and c0 + wide >= cg
                            for r in range(0, count, MR):
                                acc = zeros(MR, NV) if begins else resume(MR, NV, partial, r * NR)
                                for t in range(t0, min(taps, t0 + tall)):
                                    acc = multiply(acc, MR, NV, x, table, t * block + r, zero, g * cg + c0, packed, base + (t * cg + c0) * NR,
                                                   min(wide, cg - c0))
                                if ends:
                                    finish(acc, MR, NV, y, place, r, column, min(NR, fg - panel * NR), bias, column, R, residual, low, high)
                                else:
                                    keep(acc, MR, NV, partial, r * NR)
    return convolve


KERNELS = {tile: build(*tile) for tile in TILES}


def tile_for(f):
    """(MR, NV) for f filters a group: the tile that leaves the fewest lanes empty, the widest of equals.

    >>> from tinyconv.kernels import tile
    >>> tile_for(64) in tile.TILES
    True
    """
    return min(TILES, key=lambda tile: (-(-f // (tile[1] * LANES)) * tile[1] * LANES, -tile[1]))


def rooms(tile, groups, pixels, taps, depth, fg):
    """Shapes and types of the scratch of one pass: packed weights, tables, places, partial sums, a row of zeros; how the work is cut.

    taps of `depth` terms each, fg filters a group. Returns ((shape, type), …), (block, splits, pieces).
    """
    MR, NV = tile
    panels, NR = -(-fg // (NV * LANES)), NV * LANES
    block = -(-min(BLOCK, pixels) // MR) * MR
    blocks, splits, pieces = -(-pixels // block), 1, threads.get_num_threads()
    while blocks * groups * splits < 4 * pieces and splits < panels:
        splits = min(panels, splits * 2)
    pieces = min(pieces, blocks * groups * splits)
    shapes = (((groups, panels, taps, depth, NR), np.float32), ((pieces, max(taps, 1) * block), np.int64), ((pieces, block), np.int64),
              ((pieces, block * NR), np.float32), ((depth,), np.float32))
    return shapes, (block, splits, pieces)


@fast
def pack_panels(lo, hi, w, packed):
    """Tasks: panels of all groups. w (G, F/G, terms, taps) -> packed (G, panels, taps, terms, NR), missing filters 0."""
    fg, terms, taps, panels, NR = w.shape[1], w.shape[2], w.shape[3], packed.shape[1], packed.shape[4]
    for task in range(lo, hi):
        source, target, first = w[task // panels], packed[task // panels, task % panels], task % panels * NR
        count = min(NR, fg - first)
        for k in range(terms):
            for t in range(taps):
                row = target[t, k]
                for j in range(count):
                    row[j] = source[first + j, k, t]
                for j in range(count, NR):
                    row[j] = 0


def pack(w, packed):
    """Weights (G, F/G, terms, taps) -> packed (G, panels, taps, terms, NR): NR filters side by side, missing ones 0."""
    threads.run(pack_panels, packed.shape[0] * packed.shape[1], layout.writable(w), packed, work=packed.size)


def run(x, w, bias, y, tile, grid, step, offsets, origin=(0, 0), out_step=(1, 1), R=None, low=-np.inf, high=np.inf):
    """One pass over all grid pixels: x (N,H,W,C), w (G, F/G, terms, taps), y (N,OH,OW,F), written where grid, origin, out_step say.

    grid (rows, columns) of pixels, step (vertical, horizontal), offsets (rows, columns) a tap: the formula at the top of the page.
    """
    (n, h, wide, c), (_, oh, ow, f), (groups, fg, depth, taps) = x.shape, y.shape, w.shape
    pixels = n * grid[0] * grid[1]
    shapes, (block, splits, pieces) = rooms(tile, groups, pixels, taps, depth, fg)
    packed, tables, places, partials, zero = (select.scratch(shape, kind) for shape, kind in shapes)
    pack(w, packed)
    zero[:] = 0
    rows, columns = (np.array(o, np.int64) for o in offsets)
    flat = y.reshape(-1)
    threads.run(KERNELS[tile], pieces, x.reshape(-1), packed.reshape(-1), bias, flat if R is None else R.reshape(-1), int(R is not None),
                np.float32(low), np.float32(high), flat, tables, places, partials, zero, pieces, block, DEEP, splits, groups, c, depth, f,
                n, *grid, *step, rows, columns, h, wide, oh, ow, *origin, *out_step, work=pixels * f * depth * taps // 32)


def widened(g):
    """With few channels (a picture's three) the KW·C numbers of a window's row are neighbours in a padded copy: one tap a row."""
    return g.groups == 1 and g.c < 8 and g.kw > 1 and g.dw == 1


def padded_shape(g):
    """(N, H + padding, W + padding, C) of that copy."""
    return g.n, g.h + g.top + g.bottom, g.w + g.left + g.right, g.c


def padded(x, g):
    """The copy itself, zeros around the picture."""
    room = select.scratch(padded_shape(g))
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
        return around + list(rooms(tile_for(fg), g.groups, g.n * g.oh * g.ow, taps, depth, fg)[0])
    return [room for _, grid, taps, _ in phases(g) for room in rooms(tile_for(cg), g.groups, g.n * grid[0] * grid[1], len(taps), fg, cg)[0]]


def forward(x, w, bias, geometry, R=None, low=-np.inf, high=np.inf):
    """x (N,H,W,C), w (F,C/G,KH,KW), bias (F,) or None -> clip(conv + bias + R, low, high) as (N,OH,OW,F)."""
    g = geometry
    if widened(g):
        x, w = padded(x, g), w.transpose(0, 3, 1, 2).reshape(1, g.f, g.kw * g.c, g.kh)                 # terms (v, c), taps u
    else:
        w = w.reshape(g.groups, g.f // g.groups, g.c // g.groups, g.kh * g.kw)
    y = np.empty((g.n, g.oh, g.ow, g.f), np.float32)
    run(x, w, np.zeros(g.f, np.float32) if bias is None else bias, y, tile_for(g.f // g.groups), (g.oh, g.ow), (g.sh, g.sw), windows(g),
        R=R, low=low, high=high)
    return y


def grad_input(dy, w, geometry):
    """dy (N,OH,OW,F), w (F,C/G,KH,KW) -> dx (N,H,W,C): one pass for each of the S·S phases of the image."""
    g = geometry
    dx, none = np.empty((g.n, g.h, g.w, g.c), np.float32), np.zeros(g.c, np.float32)
    swapped = w.reshape(g.groups, g.f // g.groups, g.c // g.groups, g.kh, g.kw).transpose(0, 2, 1, 3, 4)       # (G, C/G, F/G, KH, KW)
    for origin, grid, taps, offsets in phases(g):
        whole = len(taps) == g.kh * g.kw                                                       # no copy where every tap takes part
        chosen = swapped.reshape(*swapped.shape[:3], -1) if whole else swapped[:, :, :, [u for u, _ in taps], [v for _, v in taps]]
        run(dy, chosen, none, dx, tile_for(g.c // g.groups), grid, (1, 1), offsets,
            origin, (g.sh, g.sw))
    return dx
