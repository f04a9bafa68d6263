"""Fast Winograd: blocks of tiles transformed, multiplied and transformed back while they stay in the cache.

A task takes `block` tiles of the image and some panels of filters, in memory of its own:

    V[q, point]  (C,)        = (B^T d B)[point]           for each tile q of the block, one vector of channels at a time
    S[q, point]  (2·NR,)     = V[q, point] U[point]       a product (block, C) x (C, 2·NR) for each of the a·a points: `tile.multiply_panels`
    y            m·m pixels  = A^T S[q] A + bias          one vector of filters at a time

V and S stay in the second cache, but for many channels (`winograd_scheme`); over whole images they would go to memory and back. A tile's points
lie together: its transform goes through two or three pages of memory, and not 36. The transformed weights U, a²/r² times the weights, stream through
once for every block: while one piece of them is multiplied, the next is asked for (`tile.following`). The weight gradient is the adjoint:
dU[point] (C, F) = Σ_tiles V[point]^T (A dY A^T)[point], into a slab for each thread, slabs added in order, then G^T dU G.
Pitches have one vector more than they need: tiles a multiple of 4096 bytes apart would all fall on the same lines of the first cache.
Bound by: the products (about half of the FMA peak: each number of U is used by 24 tiles) and, with few channels, what the transforms move between
the first and the second cache; with many channels and few tiles by the stream of U.
"""
from functools import lru_cache

from ._jit import unrolled
from ._mailbox import LINE
from ._memory import add
from .simd import LANES
from .tile import MR, NR, NV, following, keep, multiply_panels, outer, resume, zeros
from .winograd_pixels import pitch, read_data, read_gradient, write_tile


@lru_cache(maxsize=None)
def build(kind, ROWS, PANELS):
    """The two kernels for one kind of transform (see `data_tile`), products of ROWS tiles with PANELS panels at a time; compiled on first use."""
    WIDE, WIDTH = PANELS * NV, PANELS * NR

    @unrolled
    def convolve(lo, hi, x, U, bias, R, residual, low, high, y, skip, some, V, S, d, e, rows, taken, zero, BT, AT, m, n, pieces, block, splits, deep,
                 images, h, w, c, f, oh, ow, top, left):
        """Tasks: pieces, one a thread, each of which takes units until none is left. x (N,H,W,C), U (panels, points, C, NR) of `some` filters behind
        the first `skip`, y and R (N,OH,OW,F), all flat; taken: how many units, and how many pieces are done, on lines of their own."""
        tall, across, panels = (oh + m - 1) // m, (ow + m - 1) // m, (some + WIDTH - 1) // WIDTH
        tiles, per, wide = images * tall * across, (panels + splits - 1) // splits, pitch(c)
        units, size, step = (tiles + block - 1) // block * splits, n * n * wide + LANES, n * n * WIDTH + LANES
        apart, terms = n * n * c * NR, deep // PANELS
        lead = 1 if PANELS > 1 else int(block > ROWS)                   # the tile that is the first to ask: what is multiplied first may itself still be coming
        for piece in range(lo, hi):
            known, v, s, row = -1, V[piece], S[piece], rows[piece]
            unit = add(taken, 0, 1)
            while unit < units:
                at, part = unit // splits, unit % splits
                count = min(block, tiles - at * block)
                if at != known:
                    known = at
                    for q in range(block):
                        row[q] = q * size if q < count else -1
                    for q in range(count):
                        tile = at * block + q
                        read_data(kind, BT, n, x, tile // (tall * across), tile // across % tall * m - top, tile % across * m - left,
                                  h, w, c, d[piece], e[piece], v, q * size, wide)
                for panel in range(part * per, min(panels, (part + 1) * per)):
                    for point in range(n * n):
                        for c0 in range(0, c, terms):
                            here = ((panel * PANELS * n * n + point) * c + c0) * NR
                            for q in range(0, count, ROWS):
                                to, k = q * step + point * WIDTH, min(terms, c - c0)
                                acc = zeros(ROWS, WIDE) if c0 == 0 else resume(ROWS, WIDE, s, to, step)
                                last = int(point == n * n - 1 and c0 + k == c)
                                ahead = following(q // ROWS - lead, PANELS, here, apart, k * NR, last)
                                acc = multiply_panels(acc, ROWS, PANELS, NV, NV, v, row, q, 1, zero, point * wide + c0, U, here, apart, k, ahead)
                                keep(acc, ROWS, WIDE, s, to, step)
                    for q in range(count):
                        tile = at * block + q
                        for f0 in range(panel * WIDTH, min(some, panel * WIDTH + WIDTH), LANES):
                            write_tile(kind, AT, m, n, s, q * step + f0 - panel * WIDTH, WIDTH, d[piece], e[piece], tile // (tall * across),
                                       tile // across % tall * m, tile % across * m, oh, ow, f, skip + f0, bias, R, residual, low, high, y)
                unit = add(taken, 0, 1)
            if add(taken, LINE, 1) == pieces - 1:                               # the last one leaves it as it was found
                taken[0] = taken[LINE] = 0

    @unrolled
    def weight_grad(lo, hi, x, dy, slabs, V, Z, d, e, BT, A, m, n, pieces, block, images, h, w, c, f, oh, ow, top, left):
        """Tasks: pieces. x (N,H,W,C), dy (N,OH,OW,F) flat; slabs (pieces, points·panels·parts·MR·NR)."""
        tall, across, panels, parts = (oh + m - 1) // m, (ow + m - 1) // m, (f + NR - 1) // NR, (c + MR - 1) // MR
        tiles, wide = images * tall * across, pitch(c)
        hop, step = block * wide + LANES, block * panels * NR + LANES                   # a sum over tiles: here a point's tiles lie together
        for piece in range(lo, hi):
            slab, v, z = slabs[piece], V[piece], Z[piece]
            begin, last = piece * tiles // pieces, (piece + 1) * tiles // pieces
            for first in range(begin, last, block):
                count = min(block, last - first)
                for q in range(count):
                    image, i, j = (first + q) // (tall * across), (first + q) // across % tall * m, (first + q) % across * m
                    read_data(kind, BT, n, x, image, i - top, j - left, h, w, c, d[piece], e[piece], v, q * wide, hop)
                    read_gradient(kind, A, m, n, dy, image, i, j, oh, ow, f, d[piece], e[piece], z, q, step, block)
                for point in range(n * n):
                    for panel in range(panels):
                        for part in range(parts):
                            to = ((point * panels + panel) * parts + part) * MR * NR
                            acc = zeros(MR, NV) if first == begin else resume(MR, NV, slab, to, NR)
                            acc = outer(acc, MR, NV, v, point * hop + part * MR, wide, z, point * step + panel * block * NR, NR, NR, count)
                            keep(acc, MR, NV, slab, to, NR)
    return convolve, weight_grad
