"""The first convolution of a network: a picture's 3 channels are too few for `indirect`, whose loop over a tap's channels would be 3 long.

    y[i, j] = bias + Σ_u  rows[u][j·S·C : j·S·C + KW·C] · w[u]          rows[u]: row i·SH - P + u·D of the picture, zeros around it

The KW·C numbers that a window sees of a row are neighbours in channels-last memory, and the next window's begin S·C numbers further on. So the
KH rows of the picture that a row of outputs sees are copied once into a room that fits the first cache, with the padding around them, and
the tile (`tile.slide`) needs no table: row i of it begins at i·HOP. HOP = S·C is a literal, so that one address serves all MR pixels.
Cost: N OH OW F C KH KW multiply-adds, padding taps too, and KH copied rows for each row of outputs. Bound by: FMA with 64 filters; with 16
by the copies, and by the edge of the tile where rows have no multiple of MR pixels.
"""
from functools import lru_cache

import numpy as np

from . import select, standing, threads
from ._jit import fast, unrolled
from .layout import PAGE
from .packing import filter_rows, pack_panels
from .simd import LANES, REGISTERS
from .standing import OPEN, PLACES
from .tile import NR, NV, finish, slide, zeros

SPANS = (14, 8) if REGISTERS == 32 else (6, 4)          # pixels of a row in one tile


def span(ow, spans=SPANS):
    """The pixels of a tile that leave the fewest of a row's tiles unused.

    >>> span(112, (14, 8)), span(16, (14, 8)), span(112, (6, 4)), span(55, (6, 4))
    (14, 8, 4, 4)
    """
    return min(spans, key=lambda pixels: (-(-ow // pixels) * pixels, -pixels))


@fast
def copy_row(x, start, before, count, room, to, whole):
    """room[to : to + whole] = `before` zeros, `count` numbers of x from `start` on, zeros."""
    target = room[to:to + whole]
    for q in range(before):
        target[q] = 0
    if count > 0:
        inside, source = target[before:before + count], x[start:start + count]
        for q in range(count):
            inside[q] = source[q]
    for q in range(before + count, whole):
        target[q] = 0


@lru_cache(maxsize=None)
def build(HOP, SPAN):
    """The kernel for windows HOP numbers apart and tiles of SPAN pixels; compiled on first use."""

    @unrolled
    def convolve(lo, hi, x, packed, bias, R, residual, low, high, y, rooms, places, pieces, pitch, run, n, h, line, left, oh, ow, f,
                 kh, sh, top, dilation):
        """Tasks: pieces. x (N,H,W,C), packed (panels, KH, run, NR or LANES), y and R (N,OH,OW,F), all flat.

        line: numbers of a row of x, left: zeros before it, pitch: numbers of a row with all around it, run: of a window's row;
        places[j] = j·F for the pixels of a row, else -1."""
        for piece in range(lo, hi):
            room = rooms[piece]
            for unit in range(piece * n * oh // pieces, (piece + 1) * n * oh // pieces):
                for u in range(kh):
                    row = unit % oh * sh - top + u * dilation
                    inside = row >= 0 and row < h
                    copy_row(x, (unit // oh * h + row) * line, left, line if inside else 0, room, u * pitch, pitch)
                for column in range(0, f, NR):
                    base, to, n_left = column * kh * run, unit * ow * f + column, f - column
                    for j in range(0, ow, SPAN):
                        if n_left > LANES:
                            acc = zeros(SPAN, NV)
                            for u in range(kh):
                                acc = slide(acc, SPAN, NV, HOP, room, u * pitch + j * HOP, packed, base + u * run * NR, run)
                            finish(acc, SPAN, NV, y, places, j, to, min(NR, n_left), bias, column, R, residual, low, high)
                        else:
                            few = zeros(SPAN, 1)
                            for u in range(kh):
                                few = slide(few, SPAN, 1, HOP, room, u * pitch + j * HOP, packed, base + u * run * LANES, run)
                            finish(few, SPAN, 1, y, places, j, to, n_left, bias, column, R, residual, low, high)
    return convolve


class Scheme:
    """The pass as far as shapes tell, as `indirect_scheme.Scheme`: the same rooms, ready and run."""

    def __init__(self, g, count):
        pixels, hop, run, window = span(g.ow), g.sw * g.c, g.kw * g.c, g.kh * g.kw
        places = np.full(-(-g.ow // pixels) * pixels, -1, np.int64)
        places[:g.ow] = np.arange(g.ow) * g.f
        pitch = max((g.w + g.left + g.right) * g.c, (len(places) - 1) * hop + run)
        self.work = g.n * g.oh * g.ow * g.f * g.c * window // 32
        self.panels, pieces = -(-g.f // NR), min(threads.pieces(self.work, count), g.n * g.oh)
        self.pieces, self.sizes = pieces, (self.panels * g.kh * run * NR, pieces * (g.kh * pitch + PAGE // 4))
        self.rooms = ((sum(self.sizes), np.float32),)
        terms, taps = np.array([c * window + v for v in range(g.kw) for c in range(g.c)]), np.arange(0, window, g.kw)
        self.packing = 1, g.f, g.f * g.c * window, g.c * window, terms, taps, filter_rows(terms, taps)
        self.kernel = build(hop, pixels)
        self.rest = places, pieces, pitch, run, g.n, g.h, g.w * g.c, g.left * g.c, g.oh, g.ow, g.f, g.kh, g.sh, g.top, g.dh

    def ready(self, w):
        """The scratch: w (flat, C-order) packed, and room for rows. None if w is not finite and padding is multiplied by it."""
        (room,), (a, b), strange = (select.scratch(shape, kind) for shape, kind in self.rooms), self.sizes, np.zeros(1, np.int64)
        threads.run(pack_panels, self.panels, w, room[:a].reshape(self.panels, -1), strange, *self.packing, work=a)
        if strange[0]:
            return None
        return room[:a], room[a:a + b].reshape(self.pieces, -1)

    def standing(self, memory, bias, g):
        """The pass with all of this laid down: `standing.convolution`."""
        packed, rooms = memory
        arguments = packed, packed, bias, bias, 0, *OPEN, packed, rooms, *self.rest
        return standing.convolution(self.kernel, self.pieces, arguments, PLACES, (g.n, g.h, g.w, g.c), (g.n, g.oh, g.ow, g.f), self.work)

    def run(self, memory, x, bias, y, R=None, low=-np.inf, high=np.inf):
        """The pass itself; all arrays flat or C-contiguous."""
        packed, rooms = memory
        low, high = OPEN if low == -np.inf and high == np.inf else (np.float32(low), np.float32(high))
        threads.run(self.kernel, self.pieces, x.reshape(-1), packed, bias, bias if R is None else R.reshape(-1), int(R is not None), low, high,
                    y.reshape(-1), rooms, *self.rest, work=self.work)
