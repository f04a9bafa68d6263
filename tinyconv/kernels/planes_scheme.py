"""Window tiles over a plane: which outputs a tile of `planes` holds, which taps it takes together, and where its pixels lie.

    pixel (a, b) of a tile's window is table[kind, block, a, b] numbers behind the tile's first, and -1 where there is only padding

Most tiles of a plane see the same (none of them a border), so there are few different tables: a kind of row of tiles times a kind of column. They
depend on the geometry alone and are made once. Where a single tile covers the plane (1x1, 2x2 … 4x4 outputs), the rows and columns of its window
that are nothing but padding are left out when the kernel is compiled: of 36 multiply-adds of 3x3 on 2x2 outputs, 16 are left, of 100 of 5x5 also 16.
Planes of LARGE rows and more that squares of 4 x 4 cover go in those, 3x3 at stride 1: a row of x then comes from the second cache or memory 6/4
times, and not 4/2 times as with tiles of two rows. Where a pixel's channels fill a page of memory, their tiles are 2 x 4, those of the gradient in the
weights 1 x 4: a processor fetches ahead on a few dozen pages at a time, and each pixel of a window is on one of its own.
Squares of 4 x 4 and tiles of two rows are for 32 registers. With 16, a tile has up to eight sums: 1 x 8 or 1 x 7, and 2 x 4 for 3x3 where the height is
even and the width a multiple of 4; a single tile covers 2 x 2 at most.
"""
import numpy as np

from .indirect import phases
from .layout import PAGE
from .planes_kernel import build
from .simd import LANES, REGISTERS

WIDTHS = 8, 7, 4, 2                                             # outputs of a row in one tile: 16 registers hold 8 sums, the weights of a row of taps, a pixel
NARROW = 4, 2                                                   # the same for 16 registers and the gradient in the weights, whose sums are those of all taps
LINE = 8                                                        # integers of a cache line
PLANE = 4 if REGISTERS == 32 else 2                             # a square plane of so many rows of outputs is one tile
LARGE = 16                                                      # a plane of so many rows and more is tiled by squares, if whole ones cover it (by trial)
PAGES = 1024                                                    # channels whose pixel is a page: fewer pixels a tile, or the processor fetches none ahead (by trial)


def passes(g, direction):
    """(origin, grid, step, out step, taps, row offsets, column offsets): one pass forward, one a phase for grad_input."""
    if direction != "grad_input":
        yield ((0, 0), (g.oh, g.ow), (g.sh, g.sw), (1, 1), (range(g.kh), range(g.kw)),
               [u * g.dh - g.top for u in range(g.kh)], [v * g.dw - g.left for v in range(g.kw)])
        return
    for (a, b), grid, taps, offsets in phases(g):
        us, vs = sorted({u for u, _ in taps}, reverse=True), sorted({v for _, v in taps}, reverse=True)      # offsets rise as taps fall
        yield ((a, b), grid, (1, 1), (g.sh, g.sw), (us, vs), [(a + g.top - u * g.dh) // g.sh for u in us], [(b + g.left - v * g.dw) // g.sw for v in vs])


def tile_of(rows, columns, step, height, width, c=LANES, line=False):
    """(K, S, ROWS, COLS) for these offsets and this many rows and columns of outputs: 3x3 and 5x5 neighbouring taps together, else one
    by one, and so with too few channels for a vector, for which no kernel is made; one tile for a small square plane, squares that cover a large one (2 x 4
    with a page of channels, and with 16 registers), else the COLS that leaves the fewest outputs unused. line: tiles of one row, with 16 registers NARROW.

    >>> tile_of([-1, 0, 1], [-1, 0, 1], (1, 1), 2, 2), tile_of([0, 3], [0, 3], (1, 1), 2, 2)
    ((3, 1, 2, 2), (1, 1, 1, 2))
    """
    cols, K = min(NARROW if line and REGISTERS == 16 else WIDTHS, key=lambda cols: (-(-width // cols) * cols, -cols)), len(rows)
    covered = REGISTERS == 32 and K == 3 and step == (1, 1) and height >= LARGE and height % 4 == width % 4 == 0
    apart = c >= PAGES
    cols = 4 if covered and apart else cols
    if not (c >= LANES and K in (3, 5) and step[0] == step[1] and step[0] in (1, 2) and all(
            offsets == list(range(offsets[0], offsets[0] + K)) for offsets in (rows, columns))):
        return 1, 1, 1, cols
    if line:
        return K, step[0], 1, cols
    if height == width <= PLANE:
        return K, step[0], height, width
    if covered and not apart:
        return K, 1, 4, 4
    if REGISTERS == 16:
        return (K, step[0], 2, 4) if K == 3 and height % 2 == width % 4 == 0 else (K, step[0], 1, cols)
    return K, step[0], 2 if (K == 3 or step[0] == 1) and height > 1 else 1, cols


def kinds(size, count, tile, step, offsets, K, S):
    """One axis of a plane of `size` pixels and `count` outputs in tiles of `tile`.

    -> the kind of each tile; of each kind: which pixels of the window lie in the picture (kinds, blocks of taps, reach), and which
    outputs of the tile there are (kinds, tile); the pixels counted from the first (blocks, reach).
    """
    away = np.array(offsets[::K])[:, None] + np.arange((tile - 1) * S + K) * (1 if K > 1 else step)
    first = np.arange(-(-count // tile)) * tile
    at = first[:, None, None] * step + away
    inside, there = (at >= 0) & (at < size), first[:, None] + np.arange(tile) < count
    both = np.concatenate([inside.reshape(len(first), -1), there], axis=1)
    _, examples, kind = np.unique(both, axis=0, return_index=True, return_inverse=True)
    return kind.reshape(-1), inside[examples], there[examples], away - offsets[0]


class Tables:
    """What the kernels read about one pass: tables of pixels and of places, the kind of each tile, and the kernels for them."""

    def __init__(self, p, x_plane, y_plane, c, line=False):
        origin, grid, step, out_step, (us, vs), rows, columns = p
        K, S, ROWS, COLS = tile_of(rows, columns, step, *grid, c, line)
        (down, inside_h, there_h, rows_away), (right, inside_w, there_w, columns_away) = (
            kinds(x_plane[i], grid[i], (ROWS, COLS)[i], step[i], (rows, columns)[i], K, S) for i in (0, 1))
        inside = inside_h[:, None, :, None, :, None] & inside_w[None, :, None, :, None, :]          # (kinds, kinds, blocks, blocks, rows, columns)
        away = (rows_away[:, None, :, None] * x_plane[1] + columns_away[None, :, None, :]) * c
        there = there_h[:, None, :, None] & there_w[None, :, None, :]                               # (kinds, kinds, ROWS, COLS)
        places = (np.arange(ROWS)[:, None] * out_step[0] * y_plane[1] + np.arange(COLS) * out_step[1]) * c
        self.tables = np.where(inside, away, -1).astype(np.int64).reshape(-1), np.where(there, places, -1).astype(np.int64).reshape(-1)
        self.kinds, whole = (down * there_w.shape[0], right), inside.all((2, 3, 4, 5)) & there.all((2, 3))
        self.inner = int(np.argmax(whole)) if whole.any() else -1                                   # the kind of tile that no border cuts
        self.blocks, self.tile = rows_away.shape[0] * columns_away.shape[0], (K, S, ROWS, COLS)
        self.single = K > 1 and not line and grid[0] == grid[1] <= PLANE
        seen = [np.flatnonzero(a.any(axis=(0, 1))) if self.single else np.arange(a.shape[-1]) for a in (inside_h, inside_w)]
        bounds = [end for s in seen for end in ((int(s[0]), int(s[-1]) + 1) if len(s) else (0, 0))]
        between = inside_w[..., K // 2:inside_w.shape[-1] - K // 2]
        self.even = REGISTERS == 16 and K > 1 and not line and not self.single and bool(between.all())
        self.kernels = build(*self.tile, *bounds, int(c >= LANES), int(self.even), int(self.single))
        self.first = rows[0], columns[0]
        self.notes = -(-(ROWS * COLS + self.blocks * inside.shape[-1] * inside.shape[-2]) // LINE) * LINE + PAGE // 8           # places of a tile, in whole lines
