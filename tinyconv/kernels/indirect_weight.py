"""The gradient in the weights from channels-last memory: the same tables, the sum running over pixels.

    dw[t, c, f] = Σ_p x[table[t, p] + c] · dy[place[p] + f]             t taps, c channels, f filters, p pixels

A tile holds MR neighbouring channels x NR filters of one tap in registers; for each pixel it broadcasts MR numbers of x and loads NV
vectors of dy (`tile.outer`). A task takes a range of pixels, a block of them at a time so that their dy stays in the first cache,
and adds into a slab of its own; the slabs are summed at the end in their order, so that the result does not depend on who was faster.
Cost: N OH OW F (C/G) KH KW multiply-adds. Bound by: FMA; with few channels, by the loads of x. Scratch: a copy of dw for each thread.
"""
import numpy as np

from . import select, threads
from ._jit import fast
from .indirect import pad, padded_shape, walk, widened, windows
from .simd import LANES
from .tile import MR, NR, NV, keep, outer, resume

BLOCK = 64              # pixels summed before the sums are put back


def build(NV):
    """The sums of one panel of NV vectors of filters, every tap and channel; compiled on first use."""
    @fast
    def panel(x, dy, slab, at, table, place, count, taps, cg, first, column, n):
        """slab[at + (t, part)·MR·NR …] += Σ_p x[table[p, t] + first + part·MR …] · dy[place[p] + column …], the first n filters."""
        for t in range(taps):
            for c0 in range(0, cg, MR):
                acc = resume(MR, NV, slab, at)
                acc = outer(acc, MR, NV, x, table, t, taps, count, first + c0, min(MR, cg - c0), dy, place, column, n)
                keep(acc, MR, NV, slab, at)
                at += MR * NR
    return panel


wide_panel, narrow_panel = build(NV), build(1)


@fast
def weight_grad(lo, hi, x, dy, slabs, tables, places, pieces, block, groups, c, cg, f, n, oh, ow, sh, sw, rows, columns, shifts, h, w):
    """Tasks: pieces. x (N,H,W,C) and dy (N,OH,OW,F) flat; slabs (pieces, G·panels·taps·parts·MR·NR), zeroed here."""
    taps, fg, pixels = rows.size, f // groups, n * oh * ow
    panels, parts = (fg + NR - 1) // NR, (cg + MR - 1) // MR
    for piece in range(lo, hi):
        slab, table, place = slabs[piece], tables[piece], places[piece]
        for i in range(slab.size):
            slab[i] = 0
        last = (piece + 1) * pixels // pieces
        for p0 in range(piece * pixels // pieces, last, block):
            count = min(block, last - p0)
            walk(p0, count, count, table, place, oh, ow, sh, sw, rows, columns, shifts, h, w, c, oh, ow, 0, 0, 1, 1, f)
            for g in range(groups):
                for p in range(panels):
                    at, left = (g * panels + p) * taps * parts * MR * NR, fg - p * NR
                    if left > LANES:
                        wide_panel(x, dy, slab, at, table, place, count, taps, cg, g * cg, g * fg + p * NR, left)
                    else:
                        narrow_panel(x, dy, slab, at, table, place, count, taps, cg, g * cg, g * fg + p * NR, left)


def rooms(g):
    """Shapes and types of the scratch: (a padded copy of few-channel pictures,) slabs, tables, places; and how the work is cut."""
    taps, depth = (g.kh, g.kw * g.c) if widened(g) else (g.kh * g.kw, g.c // g.groups)
    panels, parts, pixels = -(-(g.f // g.groups) // NR), -(-depth // MR), g.n * g.oh * g.ow
    pieces = max(1, min(threads.get_num_threads(), pixels // 16))
    shapes = [((pieces, g.groups * panels * taps * parts * MR * NR), np.float32), ((pieces, taps * BLOCK), np.int64), ((pieces, BLOCK), np.int64)]
    return ([(padded_shape(g), np.float32)] if widened(g) else []) + shapes, (taps, depth, panels, parts, pieces)


def grad_weight(dy, x, geometry):
    """dy (N,OH,OW,F), x (N,H,W,C) -> dw (F,C/G,KH,KW), the sum over all pixels; same thread count, same bits.

    Cost: N OH OW F (C/G) KH KW multiply-adds; scratch as `rooms` says. The formula is at the top of the page.
    """
    g = geometry
    shapes, (taps, depth, panels, parts, pieces) = rooms(g)
    x = pad(x, select.scratch(padded_shape(g)), g) if widened(g) else x
    slabs, tables, places = (select.scratch(shape, kind) for shape, kind in shapes[-3:])
    rows, columns = (np.array(o, np.int64) for o in windows(g))
    threads.run(weight_grad, pieces, x.reshape(-1), dy.reshape(-1), slabs, tables, places, pieces, BLOCK, g.groups, g.c, depth, g.f, g.n, g.oh, g.ow,
                g.sh, g.sw, rows, columns, (rows * x.shape[2] + columns) * g.c, x.shape[1], x.shape[2],
                work=g.n * g.oh * g.ow * g.f * depth * taps // 32)
    total = slabs[0] if pieces == 1 else slabs.sum(axis=0)                                        # in the order of the pieces
    total, fg = total.reshape(g.groups, panels, taps, parts, MR * NR), g.f // g.groups
    dw = np.empty((g.groups, fg, depth, taps), np.float32)
    for p in range(panels):
        count, width = min(NR, fg - p * NR), NR if fg - p * NR > LANES else LANES
        tiles = total[:, p, ..., :MR * width].reshape(g.groups, taps, parts * MR, width)
        dw[:, p * NR:p * NR + count] = tiles[:, :, :depth, :count].transpose(0, 3, 2, 1)
    if widened(g):
        return np.ascontiguousarray(dw.reshape(g.f, g.kw, g.c, g.kh).transpose(0, 2, 3, 1))
    return dw.reshape(g.f, depth, g.kh, g.kw)
