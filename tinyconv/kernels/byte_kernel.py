"""The kernel of dense integer layers: pixels by table, panels of packed weights, the byte tile. `integer` has the formula.

As `indirect_kernel`, in bytes: a task takes a block of pixels and some panels of NR filters; each panel's sum is cut into pieces of about
4·DEEP terms, whose weights (16 KB) stay in the first cache while the block's pixels pass; the sums wait in `partial` meanwhile, and are
requantized from there. The rows of the picture that a block looks at are copied as unsigned bytes before it is multiplied, each once a piece: a copy
of one byte a number costs less than turning its sign in each of the KH·KW·F/NR products that it enters, and it brings padding left and right for stems,
and room behind the last pixel, where whole fours are read. Bound by: vpdpbusd; where planes are small, by the stream of weights.
"""
from ._jit import called, exact, fast
from .byte_tile import biases, finish_codes, keep_sums, multiply_bytes, resume_sums
from .indirect_kernel import FEW, walk, walk_straight
from .simd import LANES
from .tile import MR, NR, NV

DEEP = 128              # groups of four terms taken at once


def build(NV, ROWS):
    """One panel of NV vectors of filters, ROWS pixels at a time; compiled on first use."""
    NR = NV * LANES

    @exact
    def panel(x, packed, base, bias, m, s, column, n, rule, zero, low, high, y, table, partial, border, count, block, taps, fours, first):
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
                        acc = multiply_bytes(acc, ROWS, NV, x, table, r * taps + t, taps, border, first + 4 * k0, packed,
                                             base + (t * fours + k0) * NR * 4, min(wide, fours - k0))
                    keep_sums(acc, ROWS, NV, partial, r * NR)
                    if ends:
                        finish_codes(partial, r * NR, ROWS, NV, rule, y, table, block * taps + r, column, n, m, s, column, zero, low, high)
    return panel


wide_panel, narrow_panel, few_panel = build(NV, MR), build(1, MR), build(NV, FEW)


@fast
def flip_bytes(x, at, count, flip, room, to):
    """room[to : to + count] = x[at : at + count] ^ flip: codes as unsigned bytes, a vector at a time."""
    source, target = x[at:at + count], room[to:to + count]
    for i in range(count):
        target[i] = source[i] ^ flip


@called
def rows_seen(first, last, grid_h, grid_w, step, rows, h):
    """From which row (of all images, counted on) to before which the windows of the pixels first … last look."""
    if rows.size == 0:
        return 0, 0
    plane, top, bottom = grid_h * grid_w, rows[0], rows[rows.size - 1] + 1
    begin, end = first % plane // grid_w * step + top, last % plane // grid_w * step + bottom
    return first // plane * h + min(max(begin, 0), h), last // plane * h + min(max(end, 0), h)


@exact
def convolve_bytes(lo, hi, x, packed, bias, m, s, rule, zero, low, high, y, tables, partials, rooms, flip, border, pieces, block, splits, groups, c, cg, f,
                   n, grid_h, grid_w, step_h, step_w, rows, columns, shifts, h, w, line, left):
    """Tasks: pieces. x (N,H,line), packed (G, panels, taps, fours, NR, 4), y (N,OH,OW,F), all flat; bias, m, s (F) and more.

    A piece copies the rows of x that it needs, when it needs them, to its room: each of `line` bytes, `left` bytes of padding before it, W·C in all,
    and flipped, so that the tile finds unsigned bytes. border: a pixel of padding. A group's cg channels are taken in fours, the last one's
    surplus multiplied by 0.
    """
    taps, fg, pixels, fours, pitch = rows.size, f // groups, n * grid_h * grid_w, (cg + 3) // 4, w * c
    panels = (fg + NR - 1) // NR
    per = (panels + splits - 1) // splits
    units = (pixels + block - 1) // block * groups * splits
    straight = taps == 1 and rows[0] == 0 and columns[0] == 0 and grid_h == h and grid_w == w and step_h * step_w == 1
    for piece in range(lo, hi):
        table, partial, room, known, origin, done = tables[piece], partials[piece], rooms[piece], -1, 0, 0
        for unit in range(piece * units // pieces, (piece + 1) * units // pieces):
            at, g, part = unit // (groups * splits), unit // splits % groups, unit % splits
            count = min(block, pixels - at * block)
            if at != known:
                begin, end = rows_seen(at * block, at * block + count - 1, grid_h, grid_w, step_h, rows, h)
                if known < 0:
                    origin = begin
                done = max(done, begin)
                if line == pitch:
                    flip_bytes(x, done * line, (end - done) * line, flip, room, (done - origin) * line)
                else:
                    for row in range(done, end):
                        flip_bytes(x, row * line, line, flip, room, (row - origin) * pitch + left)
                known, done = at, max(done, end)
                if straight:
                    walk_straight(at * block, count, block, table, c, f)
                else:
                    walk(at * block, count, block, table, 0, grid_h, grid_w, step_h, step_w, rows, columns, shifts, h, w, c, grid_h, grid_w, 0, 0, 1, 1, f)
            first = g * cg - origin * pitch
            for p in range(part * per, min(panels, (part + 1) * per)):
                column, base, left_over = g * fg + p * NR, (g * panels + p) * taps * fours * NR * 4, fg - p * NR
                if left_over > LANES and count <= FEW:
                    few_panel(room, packed, base, bias, m, s, column, min(NR, left_over), rule, zero, low, high, y, table, partial, border, count, block,
                              taps, fours, first)
                elif left_over > LANES:
                    wide_panel(room, packed, base, bias, m, s, column, min(NR, left_over), rule, zero, low, high, y, table, partial, border, count, block,
                               taps, fours, first)
                else:
                    narrow_panel(room, packed, base, bias, m, s, column, left_over, rule, zero, low, high, y, table, partial, border, count, block,
                                 taps, fours, first)
