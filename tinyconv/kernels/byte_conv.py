"""Integer convolutions made ready: weights packed in bytes, zero points folded into the bias, tables, scratch. `integer` has the formula.

The kernels multiply what lies in memory: u = q ^ flip, unsigned, with zero point U = Z ^ flip (as q + 128 and Z + 128 for int8), and weights
w = q_w - Z_w, signed. What the zero point adds to a sum is the same for every pixel, as padding is read as u = U too:

    Σ (u - U) w + b  =  Σ u w  +  (b - U Σ w)                 one int32 a filter, worked out beforehand

A weight with a zero point may need 9 bits. It is then written as a sum of bytes, 255 = 127 + 127 + 1: each a tap of its own at the same
place. Loops: `byte_kernel`, `byte_planes`. Cost of making ready: a few passes over the weights.
"""
import numpy as np

from . import byte_planes, layout, select, standing, threads
from .byte_kernel import convolve_bytes, rows_seen
from .byte_tile import quads
from .cutting import cut, pieces_for
from .indirect import widened, windows
from .indirect_scheme import BLOCK, seen
from .layout import PAGE
from .simd import LANES
from .standing import LINE
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


class Dense:
    """A convolution with any groups by the byte tile: plan(x (N,C,H,W) codes) -> (N,F,OH,OW) codes of dtype, as `standing.codes`.

    w (F,C/G,KH,KW) centred, bias (F,) int32; numbers: rule number, zero point, low, high; m, s (F,) from the rule. Memory: the weights in bytes,
    and of x the rows that each piece looks at.
    """

    def __init__(self, g, x_dtype, x_zero, w, bias, m, s, numbers, dtype):
        (flip, _), parts, wide, fg, pixels = flip_of(x_dtype), signed_bytes(w), widened(g), g.f // g.groups, g.n * g.oh * g.ow
        left, wd = (g.left, g.w + g.left + g.right) if wide else (0, g.w)                          # of a row in the copy
        rows, columns = ([u * g.dh - g.top for u in range(g.kh)], [0] * g.kh) if wide else windows(g)
        used, taps = seen(g.h, wd, (g.oh, g.ow), (g.sh, g.sw), (rows, columns)), len(rows)
        rows, columns = (np.array([o[t] for t in used] * len(parts), np.int64) for o in (rows, columns))
        packed = np.concatenate([p.transpose(0, 2, 3, 1).reshape(g.f, taps, -1)[:, used] for p in parts], 1)     # (F, taps, terms)
        start = bias.astype(np.int64) - (x_zero + flip) * packed.sum((1, 2), dtype=np.int64)
        panels, cg = -(-fg // NR), packed.shape[2]
        work = pixels * g.f * (packed[0].size // 64 + 1)
        tiles, splits = cut(-(-pixels // MR), g.groups, panels, threads.get_num_threads(), threads.pieces(work), BLOCK // MR)
        block, border = tiles * MR, np.full(cg + LINE, x_zero & 255 ^ flip, np.uint8)
        several = g.groups * splits
        units = -(-pixels // block) * several
        pieces = min(threads.pieces(work), units)
        cuts = [piece * units // pieces for piece in range(pieces + 1)]
        looks = [rows_seen(a // several * block, min(-(-b // several) * block, pixels) - 1, g.oh, g.ow, g.sh, rows, g.h) for a, b in zip(cuts, cuts[1:])]
        rooms = select.scratch((pieces, max(end - begin for begin, end in looks) * wd * g.c + LINE), np.uint8)
        rooms[...] = border[0]                                                                     # left and right of the picture it stays
        given = (self._pack(packed, g.groups, panels), in_vectors(start.astype(np.int32), np.int32), in_vectors(m, np.float64), in_vectors(s, np.float64),
                 *numbers)
        tables = select.scratch((pieces, (len(rows) + 1) * block + PAGE // 8), np.int64), select.scratch((pieces, block * NR + PAGE // 4), np.int32)
        rest = (np.uint8(flip), border, pieces, block, splits, g.groups, g.c, cg, g.f, g.n, g.oh, g.ow, g.sh, g.sw, rows, columns,
                (rows * wd + columns) * g.c, g.h, wd, g.w * g.c, left * g.c)
        self.plan = standing.codes(convolve_bytes, pieces, (border, *given, border, *tables, rooms, *rest), {"x": 0, "y": 9}, (g.n, g.h, g.w, g.c),
                                   (g.n, g.oh, g.ow, g.f), work, dtype)

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


class Depthwise:
    """Every channel by itself, by the window tile: `plan` and arguments as `Dense`."""

    def __init__(self, g, x_dtype, x_zero, w, bias, m, s, numbers, dtype):
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
        work = g.n * g.oh * g.ow * g.f * (g.kh * g.kw // 32 + 1)
        more, pieces = whole - g.f, pieces_for(g.n * -(-g.oh // ROWS) * -(-g.ow // COLS), work, threads.get_num_threads())
        given = (flips, packed, in_vectors(start.astype(np.int32), np.int32, more), in_vectors(m, np.float64, more), in_vectors(s, np.float64, more),
                 *numbers)
        entries = blocks * ((ROWS - 1) * S + K) * ((COLS - 1) * S + K)
        tables = (select.scratch((pieces, 2 * entries + PAGE // 8), np.int64), select.scratch((pieces, 2 * ROWS * COLS + PAGE // 8), np.int64),
                  select.scratch((pieces, ROWS * COLS * LANES + PAGE // 4), np.int32))
        rest = (np.full(LANES, x_zero & 255, np.uint8), pieces, len(parts), g.n, g.f, g.h, g.w, g.oh, g.ow, g.sh, g.sw,
                np.array(rows, np.int64), np.array(columns, np.int64), 1 if K > 1 else g.sw)
        several, x = g.f // g.c, flips
        repeat = None if several == 1 else lambda x: np.repeat(x, several, axis=3).reshape(-1)
        if repeat:
            x = np.zeros(g.n * g.h * g.w * g.f, np.uint8)
        self.plan = standing.codes(byte_planes.build(K, S, ROWS, COLS, int(g.f >= LANES), len(fours)), pieces, (x, *given, flips, *tables, *rest), {"x": 0, "y": 10},
                                   (g.n, g.h, g.w, g.c), (g.n, g.oh, g.ow, g.f), work, dtype, repeat)
