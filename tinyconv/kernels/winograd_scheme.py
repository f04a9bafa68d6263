"""How a Winograd convolution is cut into tasks, and what it takes of memory: worked out from shapes alone. Read `winograd` first: it has the formula.

    block      tiles of m x m outputs that a task transforms, multiplies and transforms back, so that V and S stay in the second cache; with many channels
           they may outgrow it, for fewer tiles a block cost more: all filters stream past every block
    splits     of the filters, where there are few blocks
    rounds     filters are transformed so many at a time that they stay in the last cache until they are used, unless they are kept
"""
from functools import lru_cache

import numpy as np

from . import cutting, threads, tile
from ._mailbox import LINE
from .simd import LANES
from .tile import NR
from .winograd_pixels import pitch

WORKING = 2**21         # bytes of V and S (or Z) of one task, at most: a second cache or two (by trial)
BLOCK = 24              # tiles of a task, at most: with few channels more of them would still fit the cache, but gain nothing (by trial)
DEEP = 128              # channels multiplied at once, of two panels half as many (by trial)
UNITS = 8               # for a thread, of which it takes one after the other (by trial)
STREAM = 18             # what a panel of transformed filters costs a block on its way from memory, in tiles multiplied with it (by trial)
DATA = 1.0              # what transforming the data of a block costs, in panels of a tile (four tiles of six, a tenth of a pair each) (by trial)
# register tiles: rows, panels, cost: instructions of a step of k, (vectors + rows + vectors·rows) for each multiply-add
TILES = tuple((rows, panels, 1 + 1 / rows + 1 / (panels * tile.NV)) for rows, panels in (((tile.PAIR, 2), (8, 1)) if tile.PAIR else ((6, 1), (4, 1))))
ROUND = 2**23           # bytes of transformed filters at a time, where they are not kept: they stay in the last cache until they are used


@lru_cache(maxsize=4096)
def product_tile(g, m, pieces):
    """((tiles, panels of filters) multiplied at a time, (tiles of a block, splits of the panels)) for F(m, r): two panels where they come in pairs
    and the pairs share out evenly, else one; without pairs six tiles or four, whichever end first."""
    count, n, panels, found = g.n * -(-g.oh // m) * -(-g.ow // m), m + g.kh - 1, -(-g.f // NR), []
    for rows, together, cost in TILES:
        if panels % together == 0:
            most = max(1, min(BLOCK, WORKING // (4 * n * n * (pitch(g.c) + together * NR))) // rows)
            shape = -(-count // rows), 1, panels // together, pieces, UNITS * pieces
            block, splits = cutting.cut(*shape, most, STREAM / rows, 1, DATA / together)
            few = -(-count // (rows * block)) * splits <= 64 * pieces
            end = cutting.ending(*shape, block, splits, STREAM / rows, 1, DATA / together) * rows * together * cost if few else cost
            found.append((end, rows, together, block * rows, splits))
    best = min(found)
    return best[1:3], best[3:]


def rooms(g, m, direction):
    """(shape, type) of the scratch of the fast kernels, in their order, and how the work is cut: (block, splits, pieces)."""
    r = g.kh
    n, count = m + r - 1, g.n * -(-g.oh // m) * -(-g.ow // m)
    wide, panels, parts, pieces = pitch(g.c), -(-g.f // NR), -(-g.c // tile.MR), threads.get_num_threads()
    if direction == "grad_weight":
        block, splits, width = min(BLOCK, max(1, WORKING // (4 * n * n * (wide + panels * NR)))), 1, panels * NR
        block, pieces = -(-count // -(-count // block)), max(1, min(pieces, count // 4))
        runs = n * n                                                        # one point's tiles lie together
    else:
        (_, together), (block, splits) = product_tile(g, m, pieces)
        width, pieces, runs = together * NR, min(pieces, -(-count // block) * splits), block        # one tile's points lie together
    vectors = (pieces, max(n * n, r * r, LANES) * LANES)
    both = [((pieces, n * n * block * size + runs * LANES), np.float32) for size in (wide, width)]
    small = [(vectors, np.float32), (vectors, np.float32), ((pieces, block), np.int64), ((2 * LINE,), np.int64)]
    if direction == "grad_weight":
        sums = [((pieces, n * n * panels * parts * tile.MR * NR), np.float32), *both, *small[:2], (vectors, np.float32)]
        return sums, (block, splits, pieces)
    return [((panels * n * n * g.c * NR,), np.float32), *both, *small, ((min(g.c, DEEP),), np.float32)], (block, splits, pieces)


def part(g, m):
    """The geometry with so many filters alone as are transformed in one round: as many in each, in whole panels or pairs of them."""
    width = tile.PAIR and 2 * NR or NR
    panels = -(-g.f // width)
    rounds = -(-panels // max(1, ROUND // (4 * (m + g.kh - 1)**2 * g.c * width)))
    return g._replace(f=min(g.f, -(-panels // rounds) * width))
