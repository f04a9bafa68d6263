"""Depthwise integer layers from channels-last memory, a window tile of neighbouring outputs at a time, LANES channels wide.

    acc[i, j, c] = b[c] + Σ_{u,v} u(x[i·S + u - P, j·S + v - P, c]) · w[u, v, c]

It is the kernel of `planes` in bytes. Few terms a sum: the bytes of a row's neighbouring pixels are slid through one register of four bytes a
lane (`byte_tile.slide`), so that a 3x3 window is 3 products a vector and not 9, and loading and requantizing weigh as much as
multiplying. Cost: N C OH OW KH KW multiply-adds. Bound by: requantization.
"""
from functools import lru_cache

from ._jit import exact, fast
from .byte_tile import biases, finish_codes, keep_sums, slide
from .simd import LANES, REGISTERS

WIDTHS = (8, 7, 4, 2) if REGISTERS == 32 else (4, 2)            # outputs of a row in one tile: all weights of the window are loaded before


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


def tile_of(g):
    """(K, S, ROWS, COLS) of a convolution's tiles: 3x3 and 5x5 neighbouring taps together, else, and with too few channels for a vector, one by
    one; the COLS that leaves the fewest outputs unused."""
    cols = min(WIDTHS, key=lambda cols: (-(-g.ow // cols) * cols, -cols))
    if not (g.f >= LANES and g.kh == g.kw in (3, 5) and g.sh == g.sw in (1, 2) and g.dh == g.dw == 1):
        return 1, 1, 1, cols
    return g.kh, g.sh, 2 if g.kh == 3 and g.oh > 1 and REGISTERS == 32 else 1, cols


@lru_cache(maxsize=None)
def build(K, S, ROWS, COLS, WHOLE, QUADS):
    """The kernel for K x K taps together at stride S, QUADS products a row of taps, and tiles of ROWS x COLS outputs; compiled on first use."""
    COUNT, DOWN, RIGHT = ROWS * COLS, (ROWS - 1) * S + K, (COLS - 1) * S + K

    @exact
    def convolve(lo, hi, x, flip, w, bias, m, s, rule, zero, low, high, y, tables, places, partials, border, pieces, parts, n, c, h, wide, grid_h, grid_w,
                 step_h, step_w, rows, columns, hop):
        """Tasks: pieces. x (N,H,W,C), w (parts, blocks of taps, K, QUADS, C in whole vectors, 4), y (N,OH,OW,C), all flat.

        bias, m, s in whole vectors; border: padding, LANES bytes; parts: arrays of weights that add up to one.
        """
        pitch, bands, across, blocks = bias.size, (grid_h + ROWS - 1) // ROWS, columns.size // K, rows.size // K * (columns.size // K)
        entries, tiles = blocks * DOWN * RIGHT, (grid_w + COLS - 1) // COLS
        units = n * bands * tiles
        for piece in range(lo, hi):
            table, place, partial, known_x, known_y = tables[piece], places[piece], partials[piece], -1, -1
            for unit in range(piece * units // pieces, (piece + 1) * units // pieces):
                image, i0, j0 = unit // (bands * tiles), unit // tiles % bands * ROWS, unit % tiles * COLS
                top, bottom = i0 * step_h + rows[0], i0 * step_h + rows[rows.size - 1] + (ROWS - 1) * S
                free = top >= 0 and bottom < h and i0 + ROWS <= grid_h
                left, last = j0 * step_w + columns[0], j0 * step_w + columns[columns.size - 1] + (COLS - 1) * step_w
                inside = free and left >= 0 and last < wide and j0 + COLS <= grid_w
                at_x, at_y = ((image * h + top) * wide + left) * c, ((image * grid_h + i0) * grid_w + j0) * c
                q, p = (entries, COUNT) if inside else (0, 0)
                if not inside or known_x < 0:
                    for t in range(blocks):
                        note(table, q + t * DOWN * RIGHT, DOWN, RIGHT, i0 * step_h + rows[t // across * K], j0 * step_w + columns[t % across * K],
                             hop, image, h, wide, c)
                    note_places(place, p, ROWS, COLS, grid_h - i0, grid_w - j0, at_y, grid_w * c, c)
                if inside and known_x < 0:
                    known_x, known_y = at_x, at_y
                shift_x, shift_y = (at_x - known_x, at_y - known_y) if inside else (0, 0)
                for first in range(0, c, LANES):
                    c0 = min(first, c - LANES) if WHOLE else first                # the last vector begins a little earlier
                    acc = biases(COUNT, 1, bias, c0)
                    for t in range(parts * blocks):
                        acc = slide(acc, ROWS, COLS, K, S, x, table, q + t % blocks * DOWN * RIGHT, border, shift_x + c0, flip,
                                    w, (t * K * QUADS * pitch + c0) * 4, pitch, WHOLE, c - c0)
                    keep_sums(acc, COUNT, 1, partial, 0)
                    finish_codes(partial, 0, COUNT, 1, rule, y, place, p, shift_y + c0, c - c0, m, s, c0, zero, low, high)
    return convolve
