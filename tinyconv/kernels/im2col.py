"""im2col: copy every window into a row of a matrix, then the convolution is a matrix product. Any geometry.

    cols[p, k] = x[n, g*C/G + c, i*SH - top + u*DH, j*SW - left + v*DW]     p = (n,i,j) an output pixel, k = (c,u,v) a tap
    Y = cols W^T + bias        dW = dY^T cols        dcols = dY W, and each number of dcols is added where it was copied from

cols holds KH*KW*OH*OW/(H*W) times the numbers of x (nine times for 3x3), so it is never built whole: a band of pixels is copied,
multiplied, and overwritten. Cost: P*F*K multiply-adds (P = N*OH*OW, K = (C/G)*KH*KW) for each direction, and P*K copied numbers, 1/F of
the work: nothing with 64 filters, half the time with 16. That copy is what the direct convolution saves.

The fast kernels order the taps (u,v,c): in channels-last memory the C/G channels of a pixel are then copied in one run. The product is
`gemm.matmul`. Padding is 0 in cols and is multiplied like any number: a NaN or infinity in w (in grad_weight: in dy) over padding
gives NaN here. Bound by: the copies, from memory; the product by FMA.
Source: Chellapilla, Puri & Simard, "High performance convolutional neural networks for document processing" (2006).
"""
import numpy as np

from . import gemm, layout, select, threads
from .im2col_loops import unfold, fold, product, product_input, product_weight, unfold_rows, fold_rows

BAND = 131072           # numbers of cols: 512 KB


def supports(geometry):
    """Every geometry."""
    return True


def _terms(g):
    return g.c // g.groups * g.kh * g.kw


def _band(g):
    """Pixels of a band; in the plain form, of one image."""
    return max(1, min(g.n * g.oh * g.ow, BAND // _terms(g)))


def _plain_band(g):
    return max(1, min(g.oh * g.ow, BAND // _terms(g)))


def workspace_bytes(geometry, direction="forward", dtype=np.float32):
    """cols of a band, and what `gemm.matmul` takes for one."""
    g, dtype = geometry, np.dtype(dtype)
    if not select.is_fast(dtype):
        return _plain_band(g) * _terms(g) * dtype.itemsize
    shape = {"forward": (_band(g), _terms(g), g.f // g.groups, False, True), "grad_input": (_band(g), g.f // g.groups, _terms(g), False, False),
             "grad_weight": (g.f // g.groups, _band(g), _terms(g), True, False)}[direction]
    return 4 * _band(g) * _terms(g) + gemm.workspace_bytes(*shape)


def _window(g):
    return g.kh, g.kw, g.sh, g.sw, g.top, g.left, g.dh, g.dw, g.ow


def _steps(g):
    return g.kh, g.kw, g.sh, g.sw, g.top, g.left, g.dh, g.dw, g.oh, g.ow


def _bands(g):
    """(group, its filters, its first channel, first pixel, last pixel + 1, cols) of every band."""
    pixels, room, fg = g.n * g.oh * g.ow, select.scratch((_band(g), _terms(g))), g.f // g.groups
    for group in range(g.groups):
        for first in range(0, pixels, len(room)):
            last = min(pixels, first + len(room))
            yield slice(group * fg, (group + 1) * fg), group * (g.c // g.groups), first, last, room[:last - first]


def _rows(w, g):
    """w (F,C/G,KH,KW) -> (F, KH*KW*C/G), a row a filter, taps ordered (u,v,c)."""
    return np.ascontiguousarray(w.transpose(0, 2, 3, 1)).reshape(g.f, -1)


def forward(x, w, bias, geometry):
    """x (N,C,H,W), w (F,C/G,KH,KW), bias (F,) or None -> y (N,F,OH,OW). Cost: N*F*OH*OW*(C/G)*KH*KW multiply-adds."""
    g = geometry
    if select.is_fast(x.dtype):
        x, rows, y = layout.nhwc(x), _rows(w, g), layout.room((g.n * g.oh * g.ow, g.f))
        for filters, c0, first, last, cols in _bands(g):
            threads.run(unfold_rows, len(cols), x, cols, first, c0, g.c // g.groups, *_steps(g), work=cols.size)
            y[first:last, filters] = gemm.matmul(cols, rows[filters], transpose_b=True)                 # (P,K) x (F/G,K)^T
        y = layout.shaped(y.reshape(g.n, g.oh, g.ow, g.f))
        return y if bias is None else y + bias[:, None, None]
    y = np.zeros(g.y_shape, x.dtype)
    x, w = layout.nchw(x), layout.writable(w.reshape(g.f, -1))
    for n, group, first, cols in _plain_bands(g, x.dtype):
        unfold(x, n, group * (g.c // g.groups), first, cols, *_window(g))
        product(cols, w, y.reshape(g.n, g.f, -1), n, group * (g.f // g.groups), g.f // g.groups, first)
    return y if bias is None else y + bias[:, None, None]


def grad_input(dy, w, geometry):
    """dy (N,F,OH,OW), w (F,C/G,KH,KW) -> dx (N,C,H,W). Cost: that of the forward pass."""
    g = geometry
    if select.is_fast(dy.dtype):
        rows, dx = _rows(w, g), layout.room((g.n, g.h, g.w, g.c))
        dy, dx[:] = layout.nhwc(dy).reshape(-1, g.f), 0
        for filters, c0, first, last, cols in _bands(g):
            cols[:] = gemm.matmul(np.ascontiguousarray(dy[first:last, filters]), rows[filters])          # (P,F/G) x (F/G,K)
            threads.run(fold_rows, g.n * g.h, cols, dx, first, last, c0, g.c // g.groups, *_steps(g), work=cols.size)
        return layout.shaped(dx)
    dx = np.zeros(g.x_shape, dy.dtype)
    dy, w = layout.nchw(dy).reshape(g.n, g.f, -1), layout.writable(w.reshape(g.f, -1))
    for n, group, first, cols in _plain_bands(g, dy.dtype):
        product_input(dy, w, cols, n, group * (g.f // g.groups), g.f // g.groups, first)
        fold(cols, dx, n, group * (g.c // g.groups), first, *_window(g))
    return dx


def grad_weight(dy, x, geometry):
    """dy (N,F,OH,OW), x (N,C,H,W) -> dw (F,C/G,KH,KW). Cost: that of the forward pass."""
    g = geometry
    dw = np.zeros((g.f, _terms(g)), dy.dtype)
    if select.is_fast(dy.dtype):
        dy, x = layout.nhwc(dy).reshape(-1, g.f), layout.nhwc(x)
        for filters, c0, first, last, cols in _bands(g):
            threads.run(unfold_rows, len(cols), x, cols, first, c0, g.c // g.groups, *_steps(g), work=cols.size)
            dw[filters] += gemm.matmul(np.ascontiguousarray(dy[first:last, filters]), cols, transpose_a=True)    # (P,F/G)^T x (P,K)
        return np.ascontiguousarray(dw.reshape(g.f, g.kh, g.kw, -1).transpose(0, 3, 1, 2))
    dy, x = layout.nchw(dy).reshape(g.n, g.f, -1), layout.nchw(x)
    for n, group, first, cols in _plain_bands(g, dy.dtype):
        unfold(x, n, group * (g.c // g.groups), first, cols, *_window(g))
        product_weight(dy, cols, dw, n, group * (g.f // g.groups), g.f // g.groups, first)
    return dw.reshape(g.w_shape)


def _plain_bands(g, dtype):
    """(image, group, first pixel, zeroed cols) of every band: what the plain kernels walk through."""
    band, terms = _plain_band(g), _terms(g)
    room = select.scratch(band * terms, dtype)
    for n in range(g.n):
        for group in range(g.groups):
            for first in range(0, g.oh * g.ow, band):
                cols = room[:min(band, g.oh * g.ow - first) * terms].reshape(-1, terms)
                cols[:] = 0
                yield n, group, first, cols
