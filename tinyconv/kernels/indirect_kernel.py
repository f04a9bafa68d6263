"""The kernel of `indirect`: pixels by table, panels of packed filters, the register tile. Read that page first: it has the formula.

A task takes a block of pixels and some panels of NR filters, two at a time where there are two. Each panel's sum is cut into pieces of about DEEP
terms (half as many of two), whose weights (32 KB) stay in the second cache, most of them in the first, while the block's pixels pass. Meanwhile the sums
wait in `partial`, and the weights of a pair's next piece are asked for. Filters behind the last full panel, if they fit one vector, take a narrow panel
of LANES: alone, or as the third vector of a `trio`. Bound by: FMA; where planes are small, by the stream of weights.
"""
from ._jit import fast, leading, unrolled
from ._mailbox import LINE
from ._memory import add
from .simd import LANES
from .tile import MR, NR, NV, PAIR, TRIO, at_once, finish, following, keep, multiply_panels, resume, zeros

FEW = 2                 # pixels: a vector's product, and not a matrix's, takes a tile of so many rows


@fast
def walk(first, count, block, table, images, grid_h, grid_w, step_h, step_w, rows, columns, shifts, h, w, c, out_h, out_w, a, b,
         out_step_h, out_step_w, f):
    """For pixels first … first+count-1: table[r·taps + t], and where the result goes in table[block·taps + r]; -1 behind count.

    Pixels are counted image by image (images = 0), or point by point of the grid, the same one of so many images after each other.
    shifts[t] = (rows[t]·W + columns[t])·C.
    """
    taps, places = rows.size, table[block * rows.size:]
    point = first // images if images else first % (grid_h * grid_w)
    image, i, j = first % images if images else first // (grid_h * grid_w), point // grid_w, point % grid_w
    for r in range(count):
        top, left, base = i * step_h, j * step_w, ((image * h + i * step_h) * w + j * step_w) * c
        for t in range(taps):
            row, column = top + rows[t], left + columns[t]
            inside = (row >= 0) & (row < h) & (column >= 0) & (column < w)
            table[r * taps + t] = base + shifts[t] if inside else -1
        places[r] = ((image * out_h + a + i * out_step_h) * out_w + b + j * out_step_w) * f
        if images:
            image += 1
            continue
        j += 1
        if j == grid_w:
            j, i = 0, i + 1
            if i == grid_h:
                i, image = 0, image + 1
    for r in range(count, block):
        for t in range(taps):
            table[r * taps + t] = -1
        places[r] = -1


@fast
def walk_straight(first, count, block, table, c, f):
    """`walk` where a window is its own pixel (1x1, stride 1, no padding): everything lies in one line."""
    for r in range(count):
        table[r] = (first + r) * c
    for r in range(count):
        table[block + r] = (first + r) * f
    for r in range(count, block):
        table[r], table[block + r] = -1, -1


@fast
def lift_rows(x, table, count, c, room, pitch):
    """Copy the C numbers of `count` pixels (one tap) next to each other and note in the table where they lie now."""
    for r in range(count):
        source, target = x[table[r]:table[r] + c], room[r * pitch:r * pitch + c]
        for k in range(c):
            target[k] = source[k]
        table[r] = r * pitch


def build(PANELS, NV, LAST, ROWS):
    """PANELS neighbouring panels of NV vectors of filters, the last one of LAST, ROWS pixels at a time; compiled on first use."""
    WIDTH, WIDE = NV * LANES, (PANELS - 1) * NV + LAST

    @unrolled
    def panels(x, packed, base, bias, column, n, R, residual, low, high, y, table, partial, zero, count, block, alike, deep, taps, cg, first,
               begun, unfinished):
        """All terms of n filters from `column` on, for the `count` pixels of a block: y[place + column …] = clip(Σ + bias + R, low, high).

        begun: sums of terms before lie in `partial`; unfinished: there are terms behind, the sums are left there (`gemm_kernel` has it so).
        alike: all pixels lie at the same place of their images, so a tap that sees padding for one does for all, and is left out.
        """
        terms = deep // PANELS                                      # of a sum at once
        wide, tall = min(cg, terms), max(1, terms // cg)            # channels, taps in one piece of the sum
        for t0 in range(0, max(taps, 1), tall):
            for c0 in range(0, cg, wide):
                begins = t0 == 0 and c0 == 0 and begun == 0
                ends = t0 + tall >= taps and c0 + wide >= cg and unfinished == 0
                for r in range(0, count, ROWS):
                    acc = zeros(ROWS, WIDE) if begins else resume(ROWS, WIDE, partial, r * WIDE * LANES, WIDE * LANES)
                    for t in range(t0, min(taps, t0 + tall)):
                        if alike and table[r * taps + t] < 0:
                            continue
                        at = t * cg + c0                            # the weights' row; those of the last panel are LAST vectors long
                        some, apart = min(wide, cg - c0), taps * cg * WIDTH
                        where, after = base + at * WIDTH, apart - at * (WIDTH - LAST * LANES)
                        if PANELS == 1:                             # a panel alone asks for nothing
                            acc = multiply_panels(acc, ROWS, 1, NV, LAST, x, table, r * taps + t, taps, zero, first + c0, packed, where, after, some, 0)
                        else:
                            ahead = following(r // ROWS, PANELS, where, apart, some * (min(taps, t0 + tall) - t0) * WIDTH, ends)
                            acc = multiply_panels(acc, ROWS, PANELS, NV, LAST, x, table, r * taps + t, taps, zero, first + c0, packed, where, after,
                                                  some, ahead)
                    if ends:
                        finish(acc, ROWS, WIDE, y, table, block * taps + r, column, n, bias, column, R, residual, low, high)
                    else:
                        keep(acc, ROWS, WIDE, partial, r * WIDE * LANES, WIDE * LANES)
    return panels


wide_panel, narrow_panel, few_panel = build(1, NV, NV, MR), build(1, 1, 1, MR), build(1, NV, NV, FEW)
pair, trio = (build(2, NV, NV, PAIR), build(2, NV, 1, TRIO)) if PAIR else (wide_panel, wide_panel)          # without registers for it never called


@leading
def convolve(lo, hi, x, packed, bias, R, residual, low, high, y, tables, partials, lifted, zero, pieces, block, tall, alike, deep, lift, splits,
             groups, c, cg, f, n, grid_h, grid_w, step_h, step_w, rows, columns, shifts, h, w, out_h, out_w, a, b, out_step_h, out_step_w):
    """Tasks: pieces. x (N,H,W,C), packed (G, panels, taps, terms, NR), y and R (N,OH,OW,F), all flat; blocks of `block` pixels, tables and sums for `tall`."""
    taps, fg, pixels = rows.size, f // groups, n * grid_h * grid_w
    panels = (fg + NR - 1) // NR
    per = (panels + splits - 1) // splits
    per += per % 2 if PAIR and per > 1 and pixels > FEW else 0          # `cutting.share`
    line = n if alike else pixels                                       # blocks do not cross its end
    across = (line + block - 1) // block
    units = pixels // line * across * groups * splits
    whole = grid_h == h == out_h and grid_w == w == out_w and step_h * step_w == 1
    straight = whole and taps == 1 and rows[0] == 0 and columns[0] == 0
    taken = tables[tables.shape[0] - 1]                                 # where rows are lifted, each thread has one room, and takes units one by one
    nothing = lo - lo                                                   # 0, and no literal: the panels compiled here then serve `gemm_kernel`, too
    for piece in range(lo, hi):
        table, partial, known = tables[piece], partials[piece], -1
        source = lifted[piece] if lift else x
        unit, end = (add(taken, 0, 1), units) if lift else (piece * units // pieces, (piece + 1) * units // pieces)
        while unit < end:
            at, g, s = unit // (groups * splits), unit // splits % groups, unit % splits
            first = at // across * line + at % across * block
            count = min(block, line - at % across * block)
            if at != known:
                known = at
                if straight:
                    walk_straight(first, count, tall, table, c, f)
                else:
                    walk(first, count, tall, table, n * alike, grid_h, grid_w, step_h, step_w, rows, columns, shifts, h, w, c,
                         out_h, out_w, a, b, out_step_h, out_step_w, f)
                if lift:
                    lift_rows(x, table, count, c, source, c + LANES)
            p, last = s * per, min(panels, (s + 1) * per)
            while p < last:
                column, base, left = g * fg + p * NR, (g * panels + p) * taps * cg * NR, fg - p * NR
                together = at_once(p, last, left) if count > FEW else 1
                if together == 2 and left > NR + LANES:
                    pair(source, packed, base, bias, column, min(2 * NR, left), R, residual, low, high, y, table, partial,
                         zero, count, tall, alike, deep, taps, cg, g * cg, nothing, nothing)
                elif together == 2:
                    trio(source, packed, base, bias, column, left, R, residual, low, high, y, table, partial,
                         zero, count, tall, alike, deep, taps, cg, g * cg, nothing, nothing)
                elif left > LANES and count <= FEW:
                    few_panel(source, packed, base, bias, column, min(NR, left), R, residual, low, high, y, table, partial,
                              zero, count, tall, alike, deep, taps, cg, g * cg, nothing, nothing)
                elif left > LANES:
                    wide_panel(source, packed, base, bias, column, min(NR, left), R, residual, low, high, y, table, partial,
                               zero, count, tall, alike, deep, taps, cg, g * cg, nothing, nothing)
                else:
                    narrow_panel(source, packed, base, bias, column, left, R, residual, low, high, y, table, partial,
                                 zero, count, tall, alike, deep, taps, cg, g * cg, nothing, nothing)
                p += together
            unit = add(taken, 0, 1) if lift else unit + 1
        if lift and add(taken, LINE, 1) == pieces - 1:                              # the last one leaves it as it was found
            taken[0] = taken[LINE] = 0
