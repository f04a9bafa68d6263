"""Depthwise convolution from channels-last memory, a window tile of neighbouring outputs at a time, LANES channels wide.

    y[i, j, c] = bias[c] + Σ_{u,v} x[i·step + rows[u], j·step + columns[v], c] · w[u, v, c]

Forward and gradient in the input are the same kernel on other offsets, as in `indirect`: forward has step S and offsets u·D - P;
the gradient runs over the S·S phases of the image with step 1 and those taps that fall on its pixels. A block of taps is K x K
neighbouring ones (the whole window, for the usual 3x3 and 5x5) or, with K = 1, a single one: that serves every geometry. Where the pixels of a
tile lie is noted once in a table and serves all its channels; padding is read as zeros.
Cost: N C OH OW KH KW multiply-adds. Bound by: FMA while the rows in use fit into the second cache, else by the stream of x and y.
"""
from functools import lru_cache

from ._jit import fast
from .simd import LANES, REGISTERS
from .strip import finish_strip, gradients, start, window
from .tile import keep, resume

WIDTHS = (8, 7, 4, 2) if REGISTERS == 32 else (4, 2)            # outputs of a row in one tile


@fast
def note(table, at, down, right, row, column, hop, image, h, wide, c):
    """table[at + a·right + b] = where pixel (row + a, column + b·hop) of the image lies, -1 outside."""
    for a in range(down):
        i, line = row + a, at + a * right
        start = ((image * h + i) * wide + column) * c
        for b in range(right):
            j = column + b * hop
            table[line + b] = start + b * hop * c if (i >= 0) & (i < h) & (j >= 0) & (j < wide) else -1


@fast
def note_places(place, at, rows, cols, count_h, count_w, start, down, right):
    """place[at + r·cols + j] = start + r·down + j·right for r < count_h, j < count_w, else -1."""
    for r in range(rows):
        for j in range(cols):
            place[at + r * cols + j] = start + r * down + j * right if (r < count_h) & (j < count_w) else -1


@lru_cache(maxsize=None)
def build(K, S, ROWS, COLS, WHOLE):
    """The two kernels for K x K taps together at stride S and tiles of ROWS x COLS outputs, WHOLE for at least LANES channels; compiled on first use."""
    COUNT, DOWN, RIGHT = ROWS * COLS, (ROWS - 1) * S + K, (COLS - 1) * S + K

    @fast
    def convolve(lo, hi, x, w, bias, low, high, y, tables, places, zero, pieces, n, c, h, wide, grid_h, grid_w, step_h, step_w, rows, columns, hop,
                 out_h, out_w, a, b, out_step_h, out_step_w):
        """Tasks: pieces. x (N,H,W,C), w (taps, C in whole vectors), bias in whole vectors, y (N,OH,OW,C), all flat.

        Tiles that see no border differ in where they begin alone: their table is made once, behind the other one.
        """
        pitch, bands, across, blocks = bias.size, (grid_h + ROWS - 1) // ROWS, columns.size // K, rows.size // K * (columns.size // K)
        entries = blocks * DOWN * RIGHT
        for piece in range(lo, hi):
            table, place, known_x, known_y = tables[piece], places[piece], -1, -1
            for unit in range(piece * n * bands // pieces, (piece + 1) * n * bands // pieces):
                image, i0 = unit // bands, unit % bands * ROWS
                top, bottom = i0 * step_h + rows[0], i0 * step_h + rows[rows.size - 1] + (ROWS - 1) * S
                free = top >= 0 and bottom < h and i0 + ROWS <= grid_h
                for j0 in range(0, grid_w, COLS):
                    left, last = j0 * step_w + columns[0], j0 * step_w + columns[columns.size - 1] + (COLS - 1) * step_w
                    inside = free and left >= 0 and last < wide and j0 + COLS <= grid_w
                    at_x = ((image * h + top) * wide + left) * c
                    at_y = ((image * out_h + a + i0 * out_step_h) * out_w + b + j0 * out_step_w) * c
                    q, p = (entries, COUNT) if inside else (0, 0)
                    if not inside or known_x < 0:
                        for t in range(blocks):
                            note(table, q + t * DOWN * RIGHT, DOWN, RIGHT, i0 * step_h + rows[t // across * K], j0 * step_w + columns[t % across * K],
                                 hop, image, h, wide, c)
                        note_places(place, p, ROWS, COLS, grid_h - i0, grid_w - j0, at_y, out_step_h * out_w * c, out_step_w * c)
                    if inside and known_x < 0:
                        known_x, known_y = at_x, at_y
                    shift_x, shift_y = (at_x - known_x, at_y - known_y) if inside else (0, 0)
                    for first in range(0, c, LANES):
                        c0 = min(first, c - LANES) if WHOLE else first                # the last vector begins a little earlier
                        acc = start(COUNT, bias, c0)
                        for t in range(blocks):
                            acc = window(acc, ROWS, COLS, K, S, x, table, q + t * DOWN * RIGHT, zero, shift_x + c0, w, t * K * K * pitch + c0, pitch,
                                         WHOLE, c - c0)
                        finish_strip(acc, COUNT, y, place, p, shift_y + c0, low, high, WHOLE, c - c0)

    @fast
    def weight_grad(lo, hi, x, dy, slabs, tables, places, zero, pieces, n, c, h, wide, oh, ow, sh, sw, rows, columns, hop):
        """Tasks: pieces, each a range of rows of dy and a slab (C-vectors, blocks of taps, K·K, LANES) of sums of its own."""
        right, across, blocks = (COLS - 1) * S + K, columns.size // K, rows.size // K * (columns.size // K)
        entries = blocks * K * right
        for piece in range(lo, hi):
            slab, table, place, known_x, known_y = slabs[piece], tables[piece], places[piece], -1, -1
            for i in range(slab.size):
                slab[i] = 0
            for line in range(piece * n * oh // pieces, (piece + 1) * n * oh // pieces):
                top, bottom = line % oh * sh + rows[0], line % oh * sh + rows[rows.size - 1]
                for j0 in range(0, ow, COLS):
                    left, last = j0 * sw + columns[0], j0 * sw + columns[columns.size - 1] + (COLS - 1) * sw
                    inside = top >= 0 and bottom < h and left >= 0 and last < wide and j0 + COLS <= ow
                    at_x, at_y = ((line // oh * h + top) * wide + left) * c, (line * ow + j0) * c
                    q, p = (entries, COLS) if inside else (0, 0)
                    if not inside or known_x < 0:
                        for t in range(blocks):
                            note(table, q + t * K * right, K, right, line % oh * sh + rows[t // across * K], j0 * sw + columns[t % across * K],
                                 hop, line // oh, h, wide, c)
                        note_places(place, p, 1, COLS, 1, ow - j0, at_y, 0, c)
                    if inside and known_x < 0:
                        known_x, known_y = at_x, at_y
                    shift_x, shift_y = (at_x - known_x, at_y - known_y) if inside else (0, 0)
                    for first in range(0, c, LANES):
                        c0 = min(first, c - LANES) if WHOLE else first
                        for t in range(blocks):
                            at = (first // LANES * blocks + t) * K * K * LANES
                            acc = gradients(resume(K, K, slab, at), COLS, K, S, x, table, q + t * K * right, zero, shift_x + c0,
                                            dy, place, p, shift_y + c0, WHOLE, c - c0)
                            keep(acc, K, K, slab, at)
    return convolve, weight_grad


def tile_of(taps_h, taps_w, rows, columns, step, height, width, most=2):
    """(K, S, ROWS, COLS) for these offsets and this many rows and columns of outputs: 3x3 and 5x5 neighbouring taps together, else one
    by one; the COLS that leaves the fewest outputs unused."""
    cols = min(WIDTHS, key=lambda cols: (-(-width // cols) * cols, -cols))
    whole = taps_h == taps_w and taps_h in (3, 5) and step[0] == step[1] and step[0] in (1, 2) and all(
        offsets == list(range(offsets[0], offsets[0] + taps_h)) for offsets in (rows, columns))
    if not whole:
        return 1, 1, 1, cols
    return taps_h, step[0], most if taps_h == 3 and height > 1 and REGISTERS == 32 else 1, cols
