"""The gradient in the weights from channels-last memory: the same tables, the sum running over pixels.

    dw[t, c, f] = Σ_p x[table[t, p] + c] · dy[p, f]             t taps, c channels, f filters, p pixels

A tile holds MR neighbouring channels x NR filters of one tap in registers; for each pixel it broadcasts MR numbers of x and loads NV
vectors of dy (`tile.outer`). The numbers of a block of pixels are laid side by side first, dy once a block, x once a tap and MR channels: read
where they lie, pixels 2^k bytes apart would fall on the same few lines of the cache, and padding would need a test for each.
Threads share the pixels, each with a slab of sums of its own, added at the end in their order; or, where pixels are few and filters
many, the filters. Either way the result does not depend on who was faster.

Padding is multiplied as zeros. That is wrong only where dy is not finite, and then a NaN stays in the result: `finite` says so.
Cost: N OH OW F (C/G) KH KW multiply-adds. Bound by: FMA; with few filters, by the copies of x. Scratch: a copy of dw for each thread.
"""
from functools import lru_cache

import numpy as np

from . import layout, select, threads
from ._jit import fast
from .indirect import pad, padded_shape, schemes, seen, widened, windows
from .indirect_kernel import walk
from .simd import LANES, load_n, store, turn
from .tile import MR, NR, NV, keep, outer, resume

BLOCK = 128                         # pixels summed before the sums are put back
PITCH = -(-MR // LANES) * LANES     # numbers of x for one pixel, in whole vectors
ROOM = MR * NR                      # numbers of one tile of sums


@fast
def gather(x, table, t, taps, first, n, count, tile):
    """tile[p·PITCH + i] = x[table[p, t] + first + i] for i < n and count pixels; zeros behind n, and on padding."""
    for p in range(count):
        at = table[p * taps + t]
        for j in range(0, PITCH, LANES):
            store(tile, p * PITCH + j, load_n(x, at + first + j, n - j if at >= 0 else 0))


@fast
def gather_filters(dy, p0, count, f, first, n, to, rows):
    """rows[to + p·NR + j] = dy[p0 + p, first + j] for j < n and count pixels, zeros behind n."""
    for p in range(count):
        for j in range(0, NR, LANES):
            store(rows, to + p * NR + j, load_n(dy, (p0 + p) * f + first + j, n - j))


@fast
def weight_grad(lo, hi, x, dy, slabs, tables, tiles, rows_dy, pieces, by_filters, groups, c, cg, f, n, oh, ow, sh, sw, rows, columns, shifts,
                h, w):
    """Tasks: pieces. x (N,H,W,C) and dy (N,OH,OW,F) flat; a slab (G·panels, taps, parts, MR·NR), zeroed here."""
    taps, fg, pixels, parts = rows.size, f // groups, n * oh * ow, (cg + MR - 1) // MR
    panels = (fg + NR - 1) // NR
    for piece in range(lo, hi):
        begin, end, p_begin, p_end = 0, groups * panels, piece * pixels // pieces, (piece + 1) * pixels // pieces
        if by_filters:
            begin, end, p_begin, p_end = piece * end // pieces, (piece + 1) * end // pieces, 0, pixels
        slab, table, tile, mine = slabs[0 if by_filters else piece], tables[piece], tiles[piece], rows_dy[piece]
        slab[begin * taps * parts * ROOM:end * taps * parts * ROOM] = 0
        for p0 in range(p_begin, p_end, BLOCK):
            count = min(BLOCK, p_end - p0)
            walk(p0, count, count, table, 0, oh, ow, sh, sw, rows, columns, shifts, h, w, c, oh, ow, 0, 0, 1, 1, f)
            for g in range(begin // panels, (end + panels - 1) // panels):
                b, e = max(begin, g * panels), min(end, (g + 1) * panels)                          # its panels that are this piece's
                for panel in range(b, e):
                    gather_filters(dy, p0, count, f, g * fg + (panel - g * panels) * NR, fg - (panel - g * panels) * NR, (panel - b) * BLOCK * NR, mine)
                for t in range(taps):
                    for part in range(parts):
                        gather(x, table, t, taps, g * cg + part * MR, min(MR, cg - part * MR), count, tile)
                        for panel in range(b, e):
                            at, to = ((panel * taps + t) * parts + part) * ROOM, (panel - b) * BLOCK * NR
                            if fg - (panel - g * panels) * NR > LANES:
                                keep(outer(resume(MR, NV, slab, at), MR, NV, tile, 0, PITCH, mine, to, NR, count), MR, NV, slab, at)
                            else:
                                keep(outer(resume(MR, 1, slab, at), MR, 1, tile, 0, PITCH, mine, to, NR, count), MR, 1, slab, at)


@fast
def unpack_panels(lo, hi, slabs, dw, nothing, groups, fg, step_g, step_f, terms, taps, starts):
    """Tasks: panels of all groups. dw, as `indirect.pack_panels` reads w, = the sum of the slabs in their order; nothing[panel] = 0·Σ.

    Where a filter has one tap and its numbers are neighbours, starts[f] = f·step_f, and squares of sums are turned; the PITCH - MR numbers
    too many that this writes are overwritten by the next tile, and the last ones are written one by one.
    """
    panels, parts, window, total = nothing.size // groups, (terms.size + MR - 1) // MR, taps.size, slabs[0]
    for task in range(lo, hi):
        begin, end, check = task * window * parts * ROOM, (task + 1) * window * parts * ROOM, np.float32(0)
        for s in range(1, slabs.shape[0]):
            other = slabs[s]
            for at in range(begin, end):
                total[at] += other[at]
        for at in range(begin, end):
            check += total[at] * np.float32(0)
        nothing[task] = check
        start, count = task // panels * step_g + task % panels * NR * step_f, min(NR, fg - task % panels * NR)
        width, turned = NR if count > LANES else LANES, count // LANES * LANES if starts.size else 0
        for part in range(parts):
            many, last = min(MR, terms.size - part * MR), terms.size - part * MR < PITCH
            for j in range(0, 0 if last else turned, LANES):
                for i in range(0, MR, LANES):
                    turn(total, begin + part * ROOM + i * width + j, width, dw, starts, 0, start + j * step_f + part * MR + i)
            for j in range(0 if last else turned, count):
                for i in range(many):
                    to, at = start + terms[part * MR + i] + j * step_f, begin + part * ROOM + i * width + j
                    for t in range(window):
                        dw[to + taps[t]] = total[at + t * parts * ROOM]


@lru_cache(maxsize=4096)
def scheme(g, count):
    """Scratch ((shape, type), …), pieces, the kernel's last arguments and how dw lies, for `count` threads."""
    h, wide, depth = (padded_shape(g)[1], padded_shape(g)[2], g.kw * g.c) if widened(g) else (g.h, g.w, g.c // g.groups)
    used = seen(h, wide, (g.oh, g.ow), (g.sh, g.sw), windows(g))
    rows, columns = (np.array([o[t] for t in used], np.int64) for o in windows(g))
    taps = len(used)
    fg, pixels, parts = g.f // g.groups, g.n * g.oh * g.ow, -(-depth // MR)
    panels = g.groups * -(-fg // NR)
    by_filters = pixels <= 4 * fg and panels >= count and (panels % count == 0 or panels >= 4 * count)
    pieces = count if by_filters else max(1, min(count, pixels // 16))
    mine = min(panels // g.groups, -(-panels // pieces) if by_filters else panels)
    rooms = (((1 if by_filters else pieces, panels * taps * parts * ROOM), np.float32), ((pieces, (taps + 1) * BLOCK), np.int64),
             ((pieces, BLOCK * PITCH), np.float32), ((pieces, mine * BLOCK * NR), np.float32))
    rest = (pieces, int(by_filters), g.groups, g.c, depth, g.f, g.n, g.oh, g.ow, g.sh, g.sw, rows, columns, (rows * wide + columns) * g.c,
            h, wide)
    return ([(padded_shape(g), np.float32)] if widened(g) else []), rooms, pieces, rest, schemes(g, "forward", count)[0].packing[:-1], np.arange(LANES) * depth if g.kh * g.kw == 1 else np.zeros(0, np.int64), panels, taps < len(windows(g)[0])


def rooms(g):
    """Shapes and types of the scratch."""
    around, rooms, *_ = scheme(g, threads.get_num_threads())
    return [*around, *rooms]


def grad_weight(dy, x, geometry):
    """dy (N,OH,OW,F), x (N,H,W,C) -> dw (F,C/G,KH,KW), the sum over all pixels, and whether it is finite.

    Cost: N OH OW F (C/G) KH KW multiply-adds; scratch as `rooms` says. The formula is at the top of the page.
    """
    g = geometry
    around, rooms, pieces, rest, packing, starts, panels, some = scheme(g, threads.get_num_threads())
    x = pad(x, select.scratch(padded_shape(g)), g) if around else x
    slabs, *memory = (select.scratch(shape, kind) for shape, kind in rooms)
    threads.run(weight_grad, pieces, x.reshape(-1), dy.reshape(-1), slabs, *memory, *rest, work=dy.size * g.c // g.groups * g.kh * g.kw // 32)
    dw, nothing = layout.room(g.w_shape), np.empty(panels, np.float32)
    if some:                                                                                      # taps that only ever saw padding
        dw[:] = 0
    threads.run(unpack_panels, panels, slabs, dw.reshape(-1), nothing, *packing, starts, work=dw.size)
    return dw, not np.isnan(nothing).any()
