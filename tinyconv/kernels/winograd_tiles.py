"""Fast Winograd: blocks of tiles transformed, multiplied and transformed back while they stay in the cache.

A task takes `block` tiles of the image and some panels of filters, in memory of its own:

    V[point]  (block, C)  = (B^T d B)[point]              one vector of channels at a time
    S[point]  (block, NR) = V[point] (block, C) x U[point] (C, NR)     a matrix product for each of the a·a points: `tile.multiply_panels`
    y         m·m pixels  = A^T S A + bias                one vector of filters at a time

The block is chosen so that V and S fill about half of the second cache; over whole images they would go to memory and back, and
the gain would be lost. The transformed weights U, a²/r² times the weights, stream through once for every block: while one piece of them is
multiplied, the next is asked for (`tile.multiply_ahead`). The weight gradient is the adjoint: dU[point] (C, F) = Σ_tiles V[point]^T (A dY A^T)[point],
into a slab for each thread, slabs added in order, then G^T dU G.
Pitches have one vector more than they need: points a multiple of 4096 bytes apart would all fall on the same lines of the first cache.
Bound by: FMA with few channels; with many channels and few tiles by the stream of U.
"""
from functools import lru_cache

from ._jit import called, unrolled
from .simd import LANES, higher, load, load_n, lower, splat, store, store_n
from .tile import MR, NR, NV, keep, multiply_ahead, multiply_panels, outer, resume, zeros
from .winograd_transforms import START, VECTOR, data_tile, output_tile, spread_tile


@called
def pitch(c):
    """Numbers from one tile's channels to the next's: whole vectors, and no power of two, which would fall on the same lines of the cache."""
    wide = (c + LANES - 1) // LANES * LANES
    return wide + LANES if wide % 256 == 0 else wide


@unrolled
def gather(x, image, i0, j0, size, h, w, c, c0, d):
    """d[i·size + j] = LANES channels of pixel (i0 + i, j0 + j), 0 outside the image: a size x size tile at a border."""
    for i in range(size):
        for j in range(size):
            row, column = i0 + i, j0 + j
            inside = row >= 0 and row < h and column >= 0 and column < w
            store(d, (i * size + j) * LANES, load_n(x, ((image * h + row) * w + column) * c + c0, c - c0 if inside else 0))


@unrolled
def read_data(kind, BT, n, x, image, i0, j0, h, w, c, d, e, V, to, hop):
    """V[to + point·hop + channel] = B^T d B of the n x n tile at (i0, j0)."""
    interior = i0 >= 0 and j0 >= 0 and i0 + n <= h and j0 + n <= w
    for c0 in range(0, c, LANES):
        if interior and c0 + LANES <= c:
            data_tile(kind, BT, n, x, ((image * h + i0) * w + j0) * c + c0, w * c, c, e, V, to + c0, hop)
        else:
            gather(x, image, i0, j0, n, h, w, c, c0, d)
            data_tile(kind, BT, n, d, START, n * LANES, VECTOR, e, V, to + c0, hop)


@unrolled
def read_gradient(kind, A, m, n, dy, image, i0, j0, h, w, c, d, e, Z, to, hop, block):
    """Z[to·NR + point·hop + filter] = A dY A^T of the m x m tile at (i0, j0), filters in panels of NR, `block` tiles each."""
    for c0 in range(0, (c + NR - 1) // NR * NR, LANES):                  # whole panels: filters behind the last are zeros
        gather(dy, image, i0, j0, m, h, w, c, c0, d)
        spread_tile(kind, A, m, n, d, START, m * LANES, VECTOR, e, Z, (c0 // NR * block + to) * NR + c0 % NR, hop)


@unrolled
def write_tile(kind, AT, m, n, S, at, hop, d, e, image, i0, j0, h, w, f, f0, bias, R, residual, low, high, y):
    """y = clip(A^T S A + bias + R) for LANES filters from f0 on of the m x m pixels at (i0, j0), as far as they lie in the image."""
    output_tile(kind, AT, m, n, S, at, n * hop, hop, e, d, START, VECTOR)
    offset = load_n(bias, f0, f - f0)
    for i in range(min(m, h - i0)):
        for j in range(min(m, w - j0)):
            place = ((image * h + i0 + i) * w + j0 + j) * f + f0
            v = load(d, (i * m + j) * LANES) + offset
            if residual:
                v = v + load_n(R, place, f - f0)
            store_n(y, place, lower(higher(v, splat(low)), splat(high)), f - f0)


@lru_cache(maxsize=None)
def build(kind, ROWS, PANELS):
    """The two kernels for one kind of transform (see `data_tile`), products of ROWS tiles with PANELS panels at a time; compiled on first use."""
    WIDE, WIDTH = PANELS * NV, PANELS * NR

    @unrolled
    def convolve(lo, hi, x, U, bias, R, residual, low, high, y, skip, some, V, S, d, e, rows, zero, BT, AT, m, n, pieces, block, splits, deep,
                 images, h, w, c, f, oh, ow, top, left):
        """Tasks: pieces. x (N,H,W,C), U (panels, points, C, NR) of `some` filters behind the first `skip`, y and R (N,OH,OW,F),
        all flat."""
        tall, across, panels = (oh + m - 1) // m, (ow + m - 1) // m, (some + WIDTH - 1) // WIDTH
        tiles, per, wide = images * tall * across, (panels + splits - 1) // splits, pitch(c)
        units, hop, step = (tiles + block - 1) // block * splits, block * wide + LANES, block * WIDTH + LANES
        apart, terms = n * n * c * NR, deep // PANELS
        for piece in range(lo, hi):
            known, v, s, row = -1, V[piece], S[piece], rows[piece]
            for unit in range(piece * units // pieces, (piece + 1) * units // pieces):
                at, part = unit // splits, unit % splits
                count = min(block, tiles - at * block)
                if at != known:
                    known = at
                    for q in range(block):
                        row[q] = q * wide if q < count else -1
                    for q in range(count):
                        tile = at * block + q
                        read_data(kind, BT, n, x, tile // (tall * across), tile // across % tall * m - top, tile % across * m - left,
                                  h, w, c, d[piece], e[piece], v, q * wide, hop)
                for panel in range(part * per, min(panels, (part + 1) * per)):
                    for point in range(n * n):
                        for c0 in range(0, c, terms):
                            here = ((panel * PANELS * n * n + point) * c + c0) * NR
                            for q in range(0, count, ROWS):
                                to, k = point * step + q * WIDTH, min(terms, c - c0)
                                acc = zeros(ROWS, WIDE) if c0 == 0 else resume(ROWS, WIDE, s, to)
                                if PANELS == 2 and (q == ROWS or q == 2 * ROWS):            # the filters behind these come nearer meanwhile
                                    acc = multiply_ahead(acc, ROWS, PANELS, NV, v, row, q, 1, zero, point * hop + c0, U, here, apart, k,
                                                         here + terms * NR + (q // ROWS - 1) * apart)
                                else:
                                    acc = multiply_panels(acc, ROWS, PANELS, NV, NV, v, row, q, 1, zero, point * hop + c0, U, here, apart, k)
                                keep(acc, ROWS, WIDE, s, to)
                    for q in range(count):
                        tile = at * block + q
                        for f0 in range(panel * WIDTH, min(some, panel * WIDTH + WIDTH), LANES):
                            write_tile(kind, AT, m, n, s, q * WIDTH + f0 - panel * WIDTH, step, d[piece], e[piece], tile // (tall * across),
                                       tile // across % tall * m, tile % across * m, oh, ow, f, skip + f0, bias, R, residual, low, high, y)

    @unrolled
    def weight_grad(lo, hi, x, dy, slabs, V, Z, d, e, BT, A, m, n, pieces, block, images, h, w, c, f, oh, ow, top, left):
        """Tasks: pieces. x (N,H,W,C), dy (N,OH,OW,F) flat; slabs (pieces, points·panels·parts·MR·NR), zeroed here."""
        tall, across, panels, parts = (oh + m - 1) // m, (ow + m - 1) // m, (f + NR - 1) // NR, (c + MR - 1) // MR
        tiles, wide = images * tall * across, pitch(c)
        hop, step = block * wide + LANES, block * panels * NR + LANES
        for piece in range(lo, hi):
            slab, v, z = slabs[piece], V[piece], Z[piece]
            slab[:] = 0
            last = (piece + 1) * tiles // pieces
            for first in range(piece * tiles // pieces, last, block):
                count = min(block, last - first)
                for q in range(count):
                    image, i, j = (first + q) // (tall * across), (first + q) // across % tall * m, (first + q) % across * m
                    read_data(kind, BT, n, x, image, i - top, j - left, h, w, c, d[piece], e[piece], v, q * wide, hop)
                    read_gradient(kind, A, m, n, dy, image, i, j, oh, ow, f, d[piece], e[piece], z, q, step, block)
                for point in range(n * n):
                    for part in range(parts):
                        for panel in range(panels):
                            to = ((point * panels + panel) * parts + part) * MR * NR
                            acc = outer(resume(MR, NV, slab, to), MR, NV, v, point * hop + part * MR, wide, z, point * step + panel * block * NR, NR, NR, count)
                            keep(acc, MR, NV, slab, to)
    return convolve, weight_grad
