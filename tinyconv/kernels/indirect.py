"""Convolution straight from channels-last memory: the register tile, led by a table of where each pixel's window lies.

    y[p, f] = bias[f] + Σ_t Σ_c x[table[t, p] + c] · w[t, c, f]           p pixels, t taps (u,v), c channels, f filters

`table[t, p]` is the place in memory where the C channels begin that tap t of output pixel p sees, or -1 where the tap lies on
padding. Nothing is copied (im2col would copy every number KH·KW times), and stride, dilation, padding, groups and image borders
are all in the table: the loop that multiplies knows none of them. 1x1 convolution, linear layers, and the products inside Winograd
are the same with one tap. Weights are packed once, in panels of as many filters as a tile is wide.

A task takes `block` pixels and some panels. For each panel the sum over taps and channels is cut in pieces of about DEEP terms,
so that the weights of a piece (DEEP x NR numbers) stay in the first cache while all the block's pixels pass; sums wait in `partial`
meanwhile. Cost: N OH OW F (C/G) KH KW multiply-adds, padding taps multiplied by zeros. Bound by: FMA, where there are some
hundred pixels; by the stream of weights from memory where planes are small.
Source: Dukhan, "The indirect convolution algorithm", arXiv 1907.02129.
"""
import numpy as np

from . import select, threads
from ._jit import fast
from .simd import LANES
from .tile import TILES, finish, keep, multiply, resume, zeros

DEEP = 128              # terms of a sum taken at once
BLOCK = 48              # pixels a task takes, about


@fast
def walk_pixels(first, count, block, table, n, h, w, c, kh, kw, sh, sw, top, left, dh, dw, oh, ow):
    """table[t·block + r] for output pixels first … first+count-1, without a division in the loop; rows behind count are -1."""
    image, i, j = first // (oh * ow), first // ow % oh, first % ow
    for r in range(count):
        t = 0
        for u in range(kh):
            row = i * sh - top + u * dh
            for v in range(kw):
                column = j * sw - left + v * dw
                inside = row >= 0 and row < h and column >= 0 and column < w
                table[t * block + r] = ((image * h + row) * w + column) * c if inside else -1
                t += 1
        j += 1
        if j == ow:
            j, i = 0, i + 1
            if i == oh:
                i, image = 0, image + 1
    for r in range(count, block):
        for t in range(kh * kw):
            table[t * block + r] = -1


def build(MR, NV):
    """The convolution kernel with tiles of MR pixels x NV vectors (compiled on first use)."""
    NR = NV * LANES

    @fast
    def convolve(lo, hi, x, packed, bias, R, residual, low, high, y, tables, partials, zero, pieces, block, deep, splits,
                 n, h, w, c, f, groups, kh, kw, sh, sw, top, left, dh, dw, oh, ow):
        """Tasks: pieces. x (N,H,W,C), packed (G, panels, taps, C/G, NR), y (N,OH,OW,F), all flat."""
        taps, cg, fg, pixels = kh * kw, c // groups, f // groups, n * oh * ow
        panels = (fg + NR - 1) // NR
        per = (panels + splits - 1) // splits
        blocks = (pixels + block - 1) // block
        units = blocks * groups * splits
        wide = min(cg, deep)                                        # channels in a piece of the sum
        tall = max(1, deep // cg)                                   # taps in a piece
        for piece in range(lo, hi):
            table, partial, known = tables[piece], partials[piece], -1
            for unit in range(piece * units // pieces, (piece + 1) * units // pieces):
                b, g, s = unit // (groups * splits), unit // splits % groups, unit % splits
                p0 = b * block
                count = min(block, pixels - p0)
                if b != known:
                    walk_pixels(p0, count, block, table, n, h, w, c, kh, kw, sh, sw, top, left, dh, dw, oh, ow)
                    known = b
                for panel in range(s * per, min(panels, (s + 1) * per)):
                    column = g * fg + panel * NR
                    base = (g * panels + panel) * taps * cg * NR
                    for t0 in range(0, taps, tall):
                        for c0 in range(0, cg, wide):
                            first = t0 == 0 and c0 == 0
                            last = t0 + tall >= taps and c0 + wide >= cg
                            k = min(wide, cg - c0)
                            for r in range(0, count, MR):
                                acc = zeros(MR, NV) if first else resume(MR, NV, partial, r * NR)
                                for t in range(t0, min(taps, t0 + tall)):
                                    acc = multiply(acc, MR, NV, x, table, t * block + r, zero, g * cg + c0, packed, base + (t * cg + c0) * NR, k)
                                if last:
                                    finish(acc, MR, NV, y, (p0 + r) * f + column, f, min(MR, count - r), min(NR, fg - panel * NR), bias, column,
                                           R, residual, low, high)
                                else:
                                    keep(acc, MR, NV, partial, r * NR)
    return convolve


KERNELS = {tile: build(*tile) for tile in TILES}


def tile_for(f):
    """(MR, NV) for f filters a group: the tile that leaves the fewest lanes empty, the earlier of equals."""
    return min(TILES, key=lambda tile: (-(-f // (tile[1] * LANES)) * tile[1] * LANES, TILES.index(tile)))


def pack(w, groups, NV):
    """(F,C/G,KH,KW) -> (G, panels, taps, C/G, NR): each panel's NR filters side by side, missing ones 0."""
    f, cg, kh, kw = w.shape
    fg, NR = f // groups, NV * LANES
    packed = select.scratch((groups, -(-fg // NR), kh * kw, cg, NR))
    part = w.reshape(groups, fg, cg, kh * kw)
    for p in range(packed.shape[1]):
        chunk = part[:, p * NR:(p + 1) * NR]                                       # (G, ≤NR, C/G, taps)
        packed[:, p, :, :, :chunk.shape[1]] = chunk.transpose(0, 3, 2, 1)
        packed[:, p, :, :, chunk.shape[1]:] = 0
    return packed


def forward(x, packed, bias, geometry, tile, R=None, low=-np.inf, high=np.inf):
    """x (N,H,W,C), packed weights, bias (F,) -> y (N,OH,OW,F) = clip(conv + bias + R, low, high)."""
    g, (MR, NV) = geometry, tile
    y = np.empty((g.n, g.oh, g.ow, g.f), np.float32)
    pixels, panels = g.n * g.oh * g.ow, packed.shape[1]
    block = -(-min(BLOCK, pixels) // MR) * MR
    pieces = threads.get_num_threads()
    blocks, splits = -(-pixels // block), 1
    while blocks * g.groups * splits < 4 * pieces and splits < panels:
        splits = min(panels, splits * 2)
    pieces = min(pieces, blocks * g.groups * splits)
    tables = np.empty((pieces, g.kh * g.kw * block), np.int64)
    partials = select.scratch((pieces, block * NV * LANES))
    zero = np.zeros(max(g.c // g.groups, 1), np.float32)
    flat = y.reshape(-1)
    threads.run(KERNELS[tile], pieces, x.reshape(-1), packed.reshape(-1), bias, flat if R is None else R.reshape(-1), int(R is not None),
                np.float32(low), np.float32(high), flat, tables, partials, zero, pieces, block, DEEP, splits, g.n, g.h, g.w, g.c, g.f, g.groups,
                g.kh, g.kw, g.sh, g.sw, g.top, g.left, g.dh, g.dw, g.oh, g.ow)
    return y
