"""The kernels of `planes`: window tiles by table, and the weights laid out for them. Read that page first: it has the formula.

A task takes bands of ROWS rows of outputs. A tile of it is done for all channels, a vector of them at a time; where one tile is the whole plane,
for a few images together, so that the weights of a vector are loaded from the first cache. Bound by: FMA (K·K of them for each output and vector)
while the rows in use fit into the second cache, else by the stream of x and y.
"""
from functools import lru_cache

import numpy as np

from ._jit import fast, unrolled
from .simd import LANES, turn
from .strip import finish_strip, gradients, start, window
from .tile import keep, resume


@fast
def lay_out(w, window, taps, rows, whole, bias, packed, offsets):
    """packed[t·whole + f] = w[f·window + taps[t]] and offsets[f] = bias[f] (0 without), zeros behind the last filter -> 0, or NaN
    unless all of w is finite.

    LANES filters are turned at a time: number k of their windows goes to packed[rows[k] …], behind the last tap if no tap wants it.
    """
    c, bad = w.size // window, np.float32(0)
    turned = max(0, (w.size - rows.size) // window + 1) // LANES * LANES
    for f in range(0, turned, LANES):
        for k in range(0, rows.size, LANES):
            turn(w, f * window + k, window, packed, rows, k, f)
    for t in range(taps.size):
        row = packed[t * whole:(t + 1) * whole]
        for f in range(turned, c):
            row[f] = w[f * window + taps[t]]
        for f in range(c, whole):
            row[f] = 0
    for f in range(whole):
        offsets[f] = bias[f] if f < bias.size else np.float32(0)
    for i in range(w.size):
        bad += w[i] * np.float32(0)
    return bad


@lru_cache(maxsize=None)
def build(K, S, ROWS, COLS, TOP, BOTTOM, LEFT, RIGHT, WHOLE):
    """The two kernels for K x K taps together at stride S and tiles of ROWS x COLS outputs, of whose pixels those of rows TOP … BOTTOM-1 and
    columns LEFT … RIGHT-1 may lie in the picture; WHOLE for at least LANES channels. Compiled on first use."""
    COUNT, DOWN, WIDE = ROWS * COLS, (ROWS - 1) * S + K, (COLS - 1) * S + K

    @unrolled
    def convolve(lo, hi, x, w, bias, low, high, y, zero, tables, places, kinds_h, kinds_w, blocks, pieces, together, n, c, h, wide,
                 first_h, first_w, step_h, step_w, out_h, out_w, a, b, out_step_h, out_step_w):
        """Tasks: pieces. x (N,H,W,C), w (taps, C in whole vectors), bias in whole vectors, y (N,OH,OW,C), all flat."""
        pitch, bands = bias.size, kinds_h.size
        units = (n + together - 1) // together * bands
        for piece in range(lo, hi):
            for unit in range(piece * units // pieces, (piece + 1) * units // pieces):
                image, band = unit // bands * together, unit % bands
                for tile in range(kinds_w.size):
                    kind = kinds_h[band] + kinds_w[tile]
                    at_x = ((band * ROWS * step_h + first_h) * wide + tile * COLS * step_w + first_w) * c
                    at_y = ((a + band * ROWS * out_step_h) * out_w + b + tile * COLS * out_step_w) * c
                    for first in range(0, c, LANES):
                        c0 = min(first, c - LANES) if WHOLE else first                # the last vector begins a little earlier
                        for i in range(image, min(n, image + together)):
                            acc = start(COUNT, bias, c0)
                            for t in range(blocks):
                                acc = window(acc, ROWS, COLS, K, S, TOP, BOTTOM, LEFT, RIGHT, x, tables, (kind * blocks + t) * DOWN * WIDE,
                                             zero, at_x + i * h * wide * c + c0, w, t * K * K * pitch + c0, pitch, WHOLE, c - c0)
                            to = at_y + i * out_h * out_w * c + c0
                            finish_strip(acc, COUNT, y, places, kind * COUNT, to, low, high, WHOLE, c - c0)

    @unrolled
    def weight_grad(lo, hi, x, dy, slabs, zero, tables, places, kinds_h, kinds_w, blocks, pieces, n, c, h, wide, first_h, first_w, step_h, step_w,
                    oh, ow):
        """Tasks: pieces, each a range of rows of dy and a slab (C-vectors, blocks of taps, K·K, LANES) of sums of its own. ROWS is 1."""
        for piece in range(lo, hi):
            slab = slabs[piece]
            for i in range(slab.size):
                slab[i] = 0
            for line in range(piece * n * oh // pieces, (piece + 1) * n * oh // pieces):
                image, row = line // oh, line % oh
                for tile in range(kinds_w.size):
                    kind = kinds_h[row] + kinds_w[tile]
                    at_x = ((image * h + row * step_h + first_h) * wide + tile * COLS * step_w + first_w) * c
                    at_y = (line * ow + tile * COLS) * c
                    for first in range(0, c, LANES):
                        c0 = min(first, c - LANES) if WHOLE else first
                        for t in range(blocks):
                            at = (first // LANES * blocks + t) * K * K * LANES
                            acc = gradients(resume(K, K, slab, at), COLS, K, S, x, tables, (kind * blocks + t) * K * WIDE, zero, at_x + c0,
                                            dy, places, kind * COLS, at_y + c0, WHOLE, c - c0)
                            keep(acc, K, K, slab, at)
    return convolve, weight_grad
