"""Depthwise convolution by strips: rows of outputs, each a strip of neighbouring pixels at a time, LANES channels wide.

    y[i, j, c] = bias[c] + Σ_{u,v} x[i·step + rows[u], j·step + columns[v], c] · w[u, v, c]          pixels outside are left out

Forward and gradient in the input are the same kernel on other tables of offsets, as in `indirect`: forward has step S and offsets
u·D - P; the gradient runs over the S·S phases of the image with step 1 and those taps that fall on its pixels. Rows of the window
outside the image are passed over, columns outside are masked. Tasks are rows of outputs.
Cost: N C OH OW KH KW multiply-adds. Bound by: loads from the first cache where a plane fits into it, else by memory.
"""
from ._jit import fast
from .simd import LANES
from .strip import COLUMNS, COLUMNS_WEIGHT, correlate, finish_strip, slide, start
from .tile import keep, resume

ROWS = 16               # rows of dy that the weight gradient passes over before it takes the next channels


def build(K, S):
    """The kernels for windows taken K neighbouring taps at a time at stride S; (1, 1) serves every geometry."""
    COLS, WCOLS = COLUMNS, COLUMNS_WEIGHT

    @fast
    def convolve(lo, hi, x, w, bias, low, high, y, c, h, wide, grid_h, grid_w, step_h, step_w, rows, columns, hop,
                 out_h, out_w, a, b, out_step_h, out_step_w):
        """Tasks: rows of the grid. x (N,H,W,C), w (taps, C in whole vectors), bias in whole vectors, y (N,OH,OW,C), all flat."""
        wpitch, pitch = bias.size, out_step_w * c
        for task in range(lo, hi):
            image, i = task // grid_h, task % grid_h
            out = ((image * out_h + a + i * out_step_h) * out_w + b) * c
            for c0 in range(0, c, LANES):
                for j in range(0, grid_w, COLS):
                    acc = start(COLS, bias, c0)
                    for u in range(rows.size):
                        row = i * step_h + rows[u]
                        if row >= 0 and row < h:
                            at = (image * h + row) * wide * c + c0
                            for v in range(0, columns.size, K):
                                acc = slide(acc, COLS, K, S, x, at, j * step_w + columns[v], hop, wide, c,
                                            w, (u * columns.size + v) * wpitch + c0, wpitch, c - c0)
                    finish_strip(acc, COLS, y, out + j * pitch + c0, pitch, grid_w - j, low, high, c - c0)

    @fast
    def weight_grad(lo, hi, x, dy, slabs, pieces, n, c, h, wide, oh, ow, sh, sw, rows, columns, hop):
        """Tasks: pieces, each a range of rows of dy and a slab (C-vectors, KH, KW, WCOLS, LANES) of sums of its own."""
        kw = columns.size
        for piece in range(lo, hi):
            slab = slabs[piece]
            for i in range(slab.size):
                slab[i] = 0
            last = (piece + 1) * n * oh // pieces
            for first in range(piece * n * oh // pieces, last, ROWS):
                for c0 in range(0, c, LANES):
                    for u in range(rows.size):
                        for v in range(0, kw, K):
                            base = ((c0 // LANES * rows.size + u) * kw + v) * WCOLS * LANES
                            acc = resume(K, WCOLS, slab, base)
                            for line in range(first, min(last, first + ROWS)):
                                row = line % oh * sh + rows[u]
                                if row >= 0 and row < h:
                                    at = (line // oh * h + row) * wide * c + c0
                                    for j in range(0, ow, WCOLS):
                                        acc = correlate(acc, WCOLS, K, S, x, at, j * sw + columns[v], hop, wide, c,
                                                        dy, (line * ow + j) * c + c0, ow - j, c - c0)
                            keep(acc, K, WCOLS, slab, base)
    return convolve, weight_grad


KERNELS = {(K, S): build(K, S) for K, S in ((1, 1), (3, 1), (3, 2), (5, 1), (5, 2))}
