"""The kernel of `gemm`: every piece of B is laid down in the first cache just before a block of A passes over it. Read that page first.

A task takes a block of rows of A and some panels of NR columns of B, two at a time where there are two. For each piece of 2·TERMS terms (of two panels
TERMS) the task copies the piece, 16 KB, to a room of its own, as the register tile reads it: straight on, line after line. That is one number copied
for as many multiply-adds as the block has rows; in return nothing waits for a B packed as a whole, which would be written to memory and read
again. A transposed B is turned on the way, a square of LANES x LANES numbers at a time, in registers. (The tile's `following` finds nothing to ask for
here: the next piece is not yet where it will be read.)

Bound by: FMA; with few rows by the stream of B, each number of which is then used that few times.
"""
import numpy as np

from ._jit import fast, leading
from .indirect_kernel import narrow_panel, pair, trio, walk_straight, wide_panel
from .simd import LANES, fma, load, load_n, splat, store, turn
from .tile import NR, PAIR, at_once

TERMS = 2**11 // NR     # of a sum at once, of one panel twice as many: 16 KB, half of the first cache


@fast
def lay(b, at, pitch, terms, n, width, room, to):
    """room[to + k·width + j] = b[at + k·pitch + j] for j < n, 0 up to the width (of one or more whole vectors); k < terms."""
    for k in range(terms):
        source, target = at + k * pitch, to + k * width
        for j in range(0, width, LANES):
            store(room, target + j, load(b, source + j) if j + LANES <= n else load_n(b, source + j, n - j))


@fast
def lay_turned(b, at, pitch, terms, n, width, room, to, rows):
    """room[to + k·width + j] = b[at + j·pitch + k], likewise; rows[k] = k·width. The last square begins a little earlier."""
    turned = n // LANES * LANES if terms >= LANES else 0
    for j in range(0, turned, LANES):
        for k in range(0, terms, LANES):
            turn(b, at + j * pitch + min(k, terms - LANES), pitch, room, rows, min(k, terms - LANES), to + j)
    for k in range(terms if turned < width else 0):
        for j in range(turned, width):
            room[to + k * width + j] = b[at + j * pitch + k] if j < n else np.float32(0)


@leading
def multiply(lo, hi, a, b, c, zeros, steps, tables, floats, pieces, block, tall, splits, turned, m, k, n):
    """Tasks: pieces. a (M,K), b (K,N), or (N,K) if turned, c (M,N), all flat; blocks of `block` rows. tables and floats are the same memory, a row
    a task: places of `tall` rows as integers, then the piece of B and the rows' sums. zeros: at least 2·TERMS and N; steps[t] = t·NR, then t·LANES."""
    panels = (n + NR - 1) // NR
    per, across = (panels + splits - 1) // splits, (m + block - 1) // block
    per += per % 2 if PAIR and per > 1 else 0                                 # `cutting.share`
    units, nothing, single = across * splits, lo - lo, lo - lo + 1            # 0 and 1, and no literals: see `convolve`
    low, high = np.float32(-np.inf), np.float32(np.inf)
    for task in range(lo, hi):
        table, known = tables[task, :2 * tall], -1
        room, partial = floats[task, 4 * tall:4 * tall + 2 * TERMS * NR], floats[task, 4 * tall + 2 * TERMS * NR:]
        for unit in range(task * units // pieces, (task + 1) * units // pieces):
            at, s = unit // splits, unit % splits
            count = min(block, m - at * block)
            if at != known:
                known = at
                walk_straight(at * block, count, tall, table, k, n)
            p, last = s * per, min(panels, (s + 1) * per)
            while p < last:
                column, left = p * NR, n - p * NR
                together = at_once(p, last, left)
                terms = 2 * TERMS // together
                for t in range(0, k, terms):
                    some = min(terms, k - t)
                    for q in range(together):
                        wanted = min(NR, left - q * NR)
                        width, to = NR if wanted > LANES else LANES, q * some * NR
                        if turned:
                            lay_turned(b, (column + q * NR) * k + t, k, some, wanted, width, room, to, steps if width == NR else steps[2 * TERMS:])
                        else:
                            lay(b, t * n + column + q * NR, n, some, wanted, width, room, to)
                    begun, unfinished = int(t > 0), int(t + terms < k)
                    if together == 2 and left > NR + LANES:
                        pair(a, room, nothing, zeros, column, min(2 * NR, left), zeros, nothing, low, high, c, table, partial, zeros, count, tall,
                             nothing, 2 * TERMS, single, some, t, begun, unfinished)
                    elif together == 2:
                        trio(a, room, nothing, zeros, column, left, zeros, nothing, low, high, c, table, partial, zeros, count, tall,
                             nothing, 2 * TERMS, single, some, t, begun, unfinished)
                    elif left > LANES:
                        wide_panel(a, room, nothing, zeros, column, min(NR, left), zeros, nothing, low, high, c, table, partial, zeros, count, tall,
                                   nothing, terms, single, some, t, begun, unfinished)
                    else:
                        narrow_panel(a, room, nothing, zeros, column, left, zeros, nothing, low, high, c, table, partial, zeros, count, tall,
                                     nothing, terms, single, some, t, begun, unfinished)
                p += together


@fast
def of_columns(lo, hi, v, b, c, n, width):
    """Tasks: `width` columns each, whole vectors. c[j] = Σ_t v[t] b[t·n + j]: a row times a matrix. Nothing is used twice, so nothing is laid down: four rows of b
    pass by at once, c's part stays in the first cache. Bound by: the stream of b."""
    begin, end, four = lo * width, min(n, hi * width), v.size // 4 * 4
    for j in range(begin, end):
        c[j] = 0
    for t in range(0, four, 4):
        w, x, y, z, at = splat(v[t]), splat(v[t + 1]), splat(v[t + 2]), splat(v[t + 3]), t * n
        for j in range(begin, end, LANES):
            q = at + j
            if j + LANES <= n:
                store(c, j, fma(z, load(b, q + 3 * n), fma(y, load(b, q + 2 * n), fma(x, load(b, q + n), fma(w, load(b, q), load(c, j))))))
            else:
                for i in range(n - j):
                    c[j + i] += v[t] * b[q + i] + v[t + 1] * b[q + n + i] + v[t + 2] * b[q + 2 * n + i] + v[t + 3] * b[q + 3 * n + i]
    for t in range(four, v.size):
        for j in range(begin, end):
            c[j] += v[t] * b[t * n + j]


@fast
def of_rows(lo, hi, v, b, c):
    """Tasks: rows of b. c[j] = Σ_t v[t] b[j·k + t]: the same with b turned."""
    k = v.size
    for j in range(lo, hi):
        row, total = b[j * k:(j + 1) * k], np.float32(0)
        for t in range(k):
            total += v[t] * row[t]
        c[j] = total
