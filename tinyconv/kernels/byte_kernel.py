"""The kernel of dense integer layers: pixels by table, panels of packed weights, the byte tile. `integer` has the formula.

As `indirect_kernel`, in bytes: a task takes a block of pixels and some panels of NR filters; each panel's sum is cut into pieces of about
4·DEEP terms, whose weights (16 KB) stay in the first cache while the block's pixels pass; the sums wait in `partial` meanwhile, and are
requantized from there. Bound by: vpdpbusd; where planes are small, by the stream of weights.
"""
from ._jit import exact
from .byte_tile import biases, finish_codes, keep_sums, multiply_bytes, resume_sums
from .indirect_kernel import FEW, walk
from .simd import LANES
from .tile import MR, NR, NV

DEEP = 128              # groups of four terms taken at once


def build(NV, ROWS):
    """One panel of NV vectors of filters, ROWS pixels at a time; compiled on first use."""
    NR = NV * LANES

    @exact
    def panel(x, flip, packed, base, bias, m, s, column, n, rule, zero, low, high, y, table, partial, border, count, block, taps, fours, first):
        """All terms of n filters from `column` on, for the `count` pixels of a block: y[place + column …] = code of Σ + bias."""
        wide = min(fours, DEEP)                                     # groups of channels, taps in one piece of the sum: about equal ones
        cuts = max(1, (taps * fours + DEEP // 2) // DEEP)
        tall = max(1, (taps + cuts - 1) // cuts)
        for t0 in range(0, max(taps, 1), tall):
            for k0 in range(0, fours, wide):
                begins = t0 == 0 and k0 == 0
                ends = t0 + tall >= taps and k0 + wide >= fours
                for r in range(0, count, ROWS):
                    acc = biases(ROWS, NV, bias, column) if begins else resume_sums(ROWS, NV, partial, r * NR)
                    for t in range(t0, min(taps, t0 + tall)):
                        acc = multiply_bytes(acc, ROWS, NV, x, table, r * taps + t, taps, border, first + 4 * k0, flip, packed,
                                             base + (t * fours + k0) * NR * 4, min(wide, fours - k0))
                    keep_sums(acc, ROWS, NV, partial, r * NR)
                    if ends:
                        finish_codes(partial, r * NR, ROWS, NV, rule, y, table, block * taps + r, column, n, m, s, column, zero, low, high)
    return panel


wide_panel, narrow_panel, few_panel = build(NV, MR), build(1, MR), build(NV, FEW)


@exact
def convolve_bytes(lo, hi, x, flip, packed, bias, m, s, rule, zero, low, high, y, tables, partials, border, pieces, block, splits, groups, c, cg, f,
                   n, grid_h, grid_w, step_h, step_w, rows, columns, shifts, h, w):
    """Tasks: pieces. x (N,H,W,C), packed (G, panels, taps, fours, NR, 4), y (N,OH,OW,F), all flat; bias, m, s (F) and more.

    border: a pixel of padding; flip: a vector of bytes 128 or 0. A group's cg channels are taken in fours, the last one's
    surplus multiplied by 0.
    """
    taps, fg, pixels, fours = rows.size, f // groups, n * grid_h * grid_w, (cg + 3) // 4
    panels = (fg + NR - 1) // NR
    per = (panels + splits - 1) // splits
    units = (pixels + block - 1) // block * groups * splits
    for piece in range(lo, hi):
        table, partial, known = tables[piece], partials[piece], -1
        for unit in range(piece * units // pieces, (piece + 1) * units // pieces):
            at, g, part = unit // (groups * splits), unit // splits % groups, unit % splits
            count = min(block, pixels - at * block)
            if at != known:
                walk(at * block, count, block, table, 0, grid_h, grid_w, step_h, step_w, rows, columns, shifts, h, w, c, grid_h, grid_w, 0, 0, 1, 1, f)
                known = at
            for p in range(part * per, min(panels, (part + 1) * per)):
                column, base, left = g * fg + p * NR, (g * panels + p) * taps * fours * NR * 4, fg - p * NR
                if left > LANES and count <= FEW:
                    few_panel(x, flip, packed, base, bias, m, s, column, min(NR, left), rule, zero, low, high, y, table, partial, border, count, block,
                              taps, fours, g * cg)
                elif left > LANES:
                    wide_panel(x, flip, packed, base, bias, m, s, column, min(NR, left), rule, zero, low, high, y, table, partial, border, count, block,
                               taps, fours, g * cg)
                else:
                    narrow_panel(x, flip, packed, base, bias, m, s, column, left, rule, zero, low, high, y, table, partial, border, count, block,
                                 taps, fours, g * cg)
