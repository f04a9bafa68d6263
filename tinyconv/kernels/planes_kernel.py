"""The kernels of `planes`: window tiles by table, and the weights laid out for them. Read that page first: it has the formula.

A task takes tiles of ROWS x COLS outputs. A tile is done for all channels, a vector of them at a time; where one tile is the whole plane,
for a few images together, so that the weights of a vector are loaded from the first cache. With 16 registers, whose tiles are small, every second load
would be that of an address: EVEN kernels read few (`strip`). Bound by: instructions, about two for each of the K·K multiply-adds of an output and
vector (an address, a load), while the rows in use fit into the second cache, else by the stream of x and y.
"""
from functools import lru_cache

import numpy as np

from ._jit import called, unrolled
from .simd import LANES, turn
from .strip import finish_strip, gradients, outputs, pixels, start, window
from .tile import keep, resume


@called
def lay_out(w, window, taps, rows, bias, packed):
    """For every vector of channels its taps, a row of LANES each, and a row of bias (0 without); -> 0, or NaN unless all of w is finite.

        packed[(v·(taps + 1) + t)·LANES + lane] = w[f·window + taps[t]],    f = min(v·LANES, F - LANES) + lane, zeros behind the last filter

    LANES filters are turned at a time: number k of their windows becomes row rows[k]; what no tap wants goes to the row of the bias, which is
    written last.
    """
    c, row, bad = w.size // window, (taps.size + 1) * LANES, np.float32(0)
    for v in range((c + LANES - 1) // LANES):
        first, at = max(0, min(v * LANES, c - LANES)), v * row
        if (first + LANES - 1) * window + rows.size <= w.size:
            for k in range(0, rows.size, LANES):
                turn(w, first * window + k, window, packed, rows, k, at)
        else:
            for t in range(taps.size):
                for lane in range(LANES):
                    packed[at + t * LANES + lane] = w[(first + lane) * window + taps[t]] if first + lane < c else np.float32(0)
        for lane in range(LANES):
            packed[at + row - LANES + lane] = bias[first + lane] if first + lane < bias.size else np.float32(0)
    for i in range(w.size):
        bad += w[i] * np.float32(0)
    return bad


@lru_cache(maxsize=None)
def build(K, S, ROWS, COLS, TOP, BOTTOM, LEFT, RIGHT, WHOLE, EVEN, SINGLE):
    """The two kernels for K x K taps together at stride S and tiles of ROWS x COLS outputs, of whose pixels those of rows TOP … BOTTOM-1 and
    columns LEFT … RIGHT-1 may lie in the picture; WHOLE for at least LANES channels; EVEN if only the outer columns of a tile can be padding by
    themselves; SINGLE where one tile covers the plane. Compiled on first use."""
    COUNT, SEEN, LINE = ROWS * COLS, ((ROWS - 1) * S + K) * ((COLS - 1) * S + K), K * ((COLS - 1) * S + K)

    @unrolled
    def convolve(lo, hi, x, w, low, high, y, zero, notes, tables, places, kinds_h, kinds_w, inner, blocks, pieces, together, n, c, h, wide,
                 first_h, first_w, step_h, step_w, out_h, out_w, a, b, out_step_h, out_step_w):
        """Tasks: pieces. x (N,H,W,C), w (C-vectors, taps and a bias, LANES), y (N,OH,OW,C), all flat; zero: C of them; notes: room for the places of
        a tile's pixels and outputs, a row for each piece: those of the `inner` kind, which has no padding, are worked out once and moved from tile
        to tile. Several images are taken together where one tile is the whole plane: then no pixel of the window is padding, either."""
        bands, across, bias = kinds_h.size, kinds_w.size, blocks * K * K * LANES
        units = (n + together - 1) // together * bands * across
        sets = blocks if K == 1 else 1                              # a literal 1, and no loop, where one block is the whole window
        for piece in range(lo, hi):
            where, known, x0, y0, first = notes[piece], -1, 0, 0, piece * units // pieces
            image, band, tile = first // (bands * across) * together, first // across % bands, first % across
            for _ in range(first, (piece + 1) * units // pieces):
                kind = kinds_h[band] + kinds_w[tile]
                at_x = ((image * h + band * ROWS * step_h + first_h) * wide + tile * COLS * step_w + first_w) * c
                at_y = ((image * out_h + a + band * ROWS * out_step_h) * out_w + b + tile * COLS * out_step_w) * c
                if kind != inner or known != inner:
                    known, x0, y0 = kind, at_x, at_y
                    outputs(where, 0, COUNT, y, places, kind * COUNT, at_y)
                    for t in range(sets):
                        pixels(where, COUNT + t * SEEN, SEEN, x, tables, (kind * blocks + t) * SEEN, at_x, zero)
                for channel in range(0, c, LANES):
                    c0 = min(channel, c - LANES) if WHOLE else channel         # the last vector begins a little earlier
                    at = channel * (blocks * K * K + 1)
                    for i in range(min(n - image, together) if SINGLE else 1):
                        acc = start(COUNT, w, at + bias)
                        for t in range(sets):
                            acc = window(acc, ROWS, COLS, K, S, TOP, BOTTOM, LEFT, RIGHT, where, COUNT + t * SEEN, x, zero,
                                         i * h * wide * c + at_x - x0 + c0, c, w, at + t * K * K * LANES, EVEN, WHOLE, c - c0)
                        finish_strip(acc, where, 0, y, i * out_h * out_w * c + at_y - y0 + c0, low, high, WHOLE, c - c0)
                tile += 1                                                      # counted on: divisions take longer than a tile of few channels
                if tile == across:
                    tile, band = 0, band + 1
                    if band == bands:
                        band, image = 0, image + together

    @unrolled
    def weight_grad(lo, hi, x, dy, slabs, zero, notes, tables, places, kinds_h, kinds_w, blocks, pieces, n, c, h, wide, first_h, first_w, step_h,
                    step_w, oh, ow):
        """Tasks: pieces, each a range of rows of dy and a slab (C-vectors, blocks of taps, K·K, LANES) of sums of its own. ROWS is 1."""
        for piece in range(lo, hi):
            slab, where = slabs[piece], notes[piece]
            for i in range(slab.size):
                slab[i] = 0
            for line in range(piece * n * oh // pieces, (piece + 1) * n * oh // pieces):
                image, row = line // oh, line % oh
                for tile in range(kinds_w.size):
                    kind = kinds_h[row] + kinds_w[tile]
                    at_x = ((image * h + row * step_h + first_h) * wide + tile * COLS * step_w + first_w) * c
                    pixels(where, LINE, COLS, dy, places, kind * COLS, (line * ow + tile * COLS) * c, zero)
                    for t in range(blocks):
                        pixels(where, 0, LINE, x, tables, (kind * blocks + t) * LINE, at_x, zero)
                        for first in range(0, c, LANES):
                            c0, at = min(first, c - LANES) if WHOLE else first, (first // LANES * blocks + t) * K * K * LANES
                            acc = gradients(resume(K, K, slab, at, K * LANES), COLS, K, S, where, 0, x, dy, c0, WHOLE, c - c0)
                            keep(acc, K, K, slab, at, K * LANES)
    return convolve, weight_grad
