"""Integer convolutions made ready: weights packed in bytes, zero points folded into the bias, tables, scratch. `integer` has the formula.

The kernels multiply what lies in memory: u = q ^ flip, unsigned, with zero point U = Z ^ flip (as q + 128 and Z + 128 for int8), and weights
w = q_w - Z_w, signed. What the zero point adds to a sum is the same for every pixel, as padding is read as u = U too:

    Σ (u - U) w + b  =  Σ u w  +  (b - U Σ w)                 one int32 a filter, worked out beforehand

A weight with a zero point may need 9 bits. It is then written as a sum of bytes, 255 = 127 + 127 + 1: each a tap of its own at the same
place. Loops: `byte_kernel`, `byte_planes`. Cost of making ready: a few passes over the weights.
"""
import numpy as np

from . import byte_planes, layout, select, threads
from ._jit import fast
from .byte_kernel import convolve_bytes
from .byte_tile import quads
from .indirect import padded_shape, widened, windows
from .indirect_scheme import cut, seen
from .simd import LANES
from .tile import MR, NR


def signed_bytes(w):
    """Arrays of int8 that add up to the integers w: one, if all fit.

    >>> [part.tolist() for part in signed_bytes(np.array([-3, 255]))]
    [[-3, 127], [0, 127], [0, 1]]
    """
    parts, rest = [], np.asarray(w)
    while not parts or rest.any():
        parts.append(np.clip(rest, -128, 127).astype(np.int8))
        rest = rest - parts[-1]
    return parts


def in_vectors(values, kind, more=NR):
    """(F,) numbers, zeros behind them: whole vectors may be read."""
    room = layout.room(len(values) + more, kind)
    room[:len(values)], room[len(values):] = values, 0
    return room


def flip_of(dtype):
    """What makes a code of this dtype unsigned by exclusive or: the number, and a vector of such bytes."""
    flip = 128 if dtype == np.int8 else 0
    return flip, np.full(4 * LANES, flip, np.uint8)


@fast
def frame(lo, hi, x, room, border, top, left, h, row):
    """Tasks: rows of the copy. x (N·H, row) -> room (N·(H + padding), longer rows), `border` around."""
    tall = room.shape[0] // (x.shape[0] // h)
    for task in range(lo, hi):
        target, i = room[task], task % tall - top
        if i < 0 or i >= h:
            target[:] = border
        else:
            source, target[:left], target[left + row:] = x[task // tall * h + i], border, border
            for j in range(row):
                target[left + j] = source[j]


class Dense:
    """A convolution with any groups by the byte tile: run(x (N,H,W,C) bytes) -> (N,OH,OW,F) bytes.

    w (F,C/G,KH,KW) centred, bias (F,) int32; numbers: rule number, zero point, low, high; m, s (F,) from the rule.
    """

    def __init__(self, g, x_dtype, x_zero, w, bias, m, s, numbers):
        fg, parts, wide, count = g.f // g.groups, signed_bytes(w), widened(g), threads.get_num_threads()
        flip, flips = flip_of(x_dtype)
        self.geometry, self.border, self.size = g, x_zero & 255, 0
        n, h, wd, c = self.shape = padded_shape(g) if wide else (g.n, g.h, g.w, g.c)
        used = seen(h, wd, (g.oh, g.ow), (g.sh, g.sw), windows(g))
        offsets = [np.array([o[t] for t in used] * len(parts), np.int64) for o in windows(g)]
        taps = g.kh if wide else g.kh * g.kw
        packed = np.concatenate([p.transpose(0, 2, 3, 1).reshape(g.f, taps, -1)[:, used] for p in parts], 1)     # (F, taps, terms)
        start = bias.astype(np.int64) - (x_zero + flip) * packed.sum((1, 2), dtype=np.int64)
        panels, cg = -(-fg // NR), packed.shape[2]
        tiles, splits = cut(-(-g.n * g.oh * g.ow // MR), g.groups, panels, count)
        block = tiles * MR
        self.pieces = min(count, -(-g.n * g.oh * g.ow // block) * g.groups * splits)
        self.work = g.n * g.oh * g.ow * (g.f * (packed[0].size // 64 + 1))
        if wide or cg % 4:                                                                         # whole fours are read
            self.size = n * h * wd * c
            self.room = select.scratch(self.size + 64, np.uint8)
            self.room[self.size:] = 0
        self.given = (flips, self._pack(packed, g.groups, panels), in_vectors(start.astype(np.int32), np.int32), in_vectors(m, np.float64), in_vectors(s, np.float64), *numbers)
        self.rest = (np.full(cg + 64, x_zero & 255, np.uint8), self.pieces, block, splits, g.groups, c, cg, g.f, g.n, g.oh, g.ow, g.sh, g.sw, *offsets,
                     (offsets[0] * wd + offsets[1]) * c, h, wd)
        self.tables = (select.scratch((self.pieces, (len(offsets[0]) + 1) * block), np.int64), select.scratch((self.pieces, block * NR), np.int32))

    @staticmethod
    def _pack(w, groups, panels):
        """(F, taps, terms) -> flat (groups, panels, taps, fours, NR or LANES filters, 4), missing filters and terms 0."""
        f, taps, terms = w.shape
        fg, fours = f // groups, -(-terms // 4)
        room = np.zeros((groups, panels * NR, taps, fours * 4), np.int8)
        room[:, :fg, :, :terms] = w.reshape(groups, fg, taps, terms)
        room = room.reshape(groups, panels, NR, taps, fours, 4).transpose(0, 1, 3, 4, 2, 5)       # (G, panels, taps, fours, NR, 4)
        packed = layout.room(room.shape, np.int8)
        packed[...] = room
        if 0 < fg - (panels - 1) * NR <= LANES:                                                    # the narrow panel, closer together
            last = packed[:, -1].reshape(groups, -1)
            narrow = room[:, -1, :, :, :LANES].reshape(groups, -1)
            last[:, :narrow.shape[1]] = narrow
        return packed.reshape(-1)

    def __call__(self, x):
        g = self.geometry
        if self.size:
            room = self.room[:self.size]
            if self.shape[1:3] != (g.h, g.w):
                threads.run(frame, self.shape[0] * self.shape[1], x.reshape(g.n * g.h, -1), room.reshape(self.shape[0] * self.shape[1], -1), self.border,
                            g.top, g.left * g.c, g.h, g.w * g.c, work=self.size // 8)
            else:
                room[...] = x.reshape(-1)
            x = self.room                                                                          # its last numbers are multiplied by 0
        y = layout.room((g.n, g.oh, g.ow, g.f), np.uint8)
        threads.run(convolve_bytes, self.pieces, x.reshape(-1), *self.given, y.reshape(-1), *self.tables, *self.rest, work=self.work)
        return y


class Depthwise:
    """Every channel by itself, by the window tile: run(x (N,H,W,C) bytes) -> (N,OH,OW,F) bytes. Arguments as `Dense`."""

    def __init__(self, g, x_dtype, x_zero, w, bias, m, s, numbers):
        (flip, flips), parts = flip_of(x_dtype), signed_bytes(w[:, 0])                             # (F,KH,KW) each
        rows, columns = ([i * d - before for i in range(k)] for k, d, before in ((g.kh, g.dh, g.top), (g.kw, g.dw, g.left)))
        K, S, ROWS, COLS = byte_planes.tile_of(g)
        fours, whole, blocks = quads(K), -(-g.f // LANES) * LANES, g.kh * g.kw // (K * K)
        taps = np.zeros((len(parts), g.kh // K, g.kw // K, K, len(fours), whole, 4), np.int8)
        for into, part in zip(taps, parts):
            block = part.transpose(1, 2, 0).reshape(g.kh // K, K, g.kw // K, K, g.f).transpose(0, 2, 1, 3, 4)    # (…, …, K, K, F)
            for i, (_, four) in enumerate(fours):
                for place, v in enumerate(four):
                    if v >= 0:
                        into[:, :, :, i, :g.f, place] = block[:, :, :, v]
        packed = layout.room(taps.size, np.int8)
        packed[:] = taps.reshape(-1)
        start = bias.astype(np.int64) - (x_zero + flip) * w.sum((1, 2, 3), dtype=np.int64)
        more, pieces = whole - g.f, max(1, min(threads.get_num_threads(), g.n * -(-g.oh // ROWS)))
        self.geometry, self.pieces = g, pieces
        self.kernel = byte_planes.build(K, S, ROWS, COLS, int(g.f >= LANES), len(fours))
        self.given = (flips, packed, in_vectors(start.astype(np.int32), np.int32, more), in_vectors(m, np.float64, more),
                      in_vectors(s, np.float64, more), *numbers)
        entries = blocks * ((ROWS - 1) * S + K) * ((COLS - 1) * S + K)
        self.tables = (select.scratch((pieces, 2 * entries), np.int64), select.scratch((pieces, 2 * ROWS * COLS), np.int64),
                       select.scratch((pieces, ROWS * COLS * LANES), np.int32))
        self.rest = (np.full(LANES, x_zero & 255, np.uint8), pieces, len(parts), g.n, g.f, g.h, g.w, g.oh, g.ow, g.sh, g.sw,
                     np.array(rows, np.int64), np.array(columns, np.int64), 1 if K > 1 else g.sw)
        self.work = g.n * g.oh * g.ow * g.f * (g.kh * g.kw // 32 + 1)

    def __call__(self, x):
        g = self.geometry
        x, y = x if g.f == g.c else np.repeat(x, g.f // g.c, axis=3), layout.room((g.n, g.oh, g.ow, g.f), np.uint8)
        threads.run(self.kernel, self.pieces, x.reshape(-1), *self.given, y.reshape(-1), *self.tables, *self.rest, work=self.work)
        return y
