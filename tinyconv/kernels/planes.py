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
        for b in range(right):
            i, j = row + a, column + b * hop
            inside = (i >= 0) & (i < h) & (j >= 0) & (j < wide)
            table[at + a * right + b] = ((image * h + i) * wide + j) * c if inside else -1


@lru_cache(maxsize=None)
def build(K, S, ROWS, COLS):
    """The two kernels for K x K taps together at stride S and tiles of ROWS x COLS outputs; compiled on first use."""
    COUNT, DOWN, RIGHT = ROWS * COLS, (ROWS - 1) * S + K, (COLS - 1) * S + K

    @fast
    def convolve(lo, hi, x, w, bias, low, high, y, tables, places, zero, pieces, n, c, h, wide, grid_h, grid_w, step_h, step_w, rows, columns, hop,
                 out_h, out_w, a, b, out_step_h, out_step_w):
        """Tasks: pieces. x (N,H,W,C), w (taps, C in whole vectors), bias in whole vectors, y (N,OH,OW,C), all flat."""
        pitch, bands, blocks = bias.size, (grid_h + ROWS - 1) // ROWS, rows.size // K * (columns.size // K)
        for piece in range(lo, hi):
            table, place = tables[piece], places[piece]
            for unit in range(piece * n * bands // pieces, (piece + 1) * n * bands // pieces):
                image, i0 = unit // bands, unit % bands * ROWS
                for j0 in range(0, grid_w, COLS):
                    for t in range(blocks):
                        note(table, t * DOWN * RIGHT, DOWN, RIGHT, i0 * step_h + rows[t // (columns.size // K) * K],
                             j0 * step_w + columns[t % (columns.size // K) * K], hop, image, h, wide, c)
                    for r in range(ROWS):
                        for j in range(COLS):
                            at = ((image * out_h + a + (i0 + r) * out_step_h) * out_w + b + (j0 + j) * out_step_w) * c
                            place[r * COLS + j] = at if i0 + r < grid_h and j0 + j < grid_w else -1
                    for c0 in range(0, c, LANES):
                        acc = start(COUNT, bias, c0)
                        for t in range(blocks):
                            acc = window(acc, ROWS, COLS, K, S, x, table, t * DOWN * RIGHT, zero, c0, w, t * K * K * pitch + c0, pitch, c - c0)
                        finish_strip(acc, COUNT, y, place, c0, low, high, c - c0)

    @fast
    def weight_grad(lo, hi, x, dy, slabs, tables, places, zero, pieces, n, c, h, wide, oh, ow, sh, sw, rows, columns, hop):
        """Tasks: pieces, each a range of rows of dy and a slab (C-vectors, blocks of taps, K·K, LANES) of sums of its own."""
        blocks, right = rows.size // K * (columns.size // K), (COLS - 1) * S + K
        for piece in range(lo, hi):
            slab, table, place = slabs[piece], tables[piece], places[piece]
            for i in range(slab.size):
                slab[i] = 0
            for line in range(piece * n * oh // pieces, (piece + 1) * n * oh // pieces):
                for j0 in range(0, ow, COLS):
                    for t in range(blocks):
                        note(table, t * K * right, K, right, line % oh * sh + rows[t // (columns.size // K) * K],
                             j0 * sw + columns[t % (columns.size // K) * K], hop, line // oh, h, wide, c)
                    for j in range(COLS):
                        place[j] = (line * ow + j0 + j) * c if j0 + j < ow else -1
                    for c0 in range(0, c, LANES):
                        for t in range(blocks):
                            at = (c0 // LANES * blocks + t) * K * K * LANES
                            acc = gradients(resume(K, K, slab, at), COLS, K, S, x, table, t * K * right, zero, c0, dy, place, c - c0)
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
