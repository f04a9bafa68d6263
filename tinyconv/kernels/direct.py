"""Direct convolution: the seven loops themselves, for any geometry.

    y[n,f,i,j] = bias[f] + sum over c,u,v of  w[f,c,u,v] * x[n, g*C/G + c, i*SH - top + u*DH, j*SW - left + v*DW]

Taps that fall on padding are left out. The gradients are the same loops with another array on the left of the +=: each
product's other factor goes back where it came from. Cost: N*F*OH*OW*(C/G)*KH*KW multiply-adds for each of the three.

The fast kernels keep the loops and put the filters innermost: in channels-last memory the F/G filters of a group are
neighbours (the C/G channels in grad_input), so one number of x times a row of weights is added to a row of y, four
channels at a time. The row of y is loaded and stored once in four multiply-adds: that, and rows shorter than a vector in
groups of few filters, is the limit. Tasks are rows of the result; for grad_weight each thread has a dw of its own.
Source: Dumoulin & Visin, "A guide to convolution arithmetic for deep learning" (2016), section 2.
"""
import numpy as np

from . import gemm, layout, select, threads
from ._jit import apart, plain


@plain
def conv(x, w, y, sh, sw, top, left, dh, dw, groups):
    """y[n,f,i,j] += w[f,c,u,v] * x[n,...]: the formula. x (N,C,H,W), w (F,C/G,KH,KW), y (N,F,OH,OW), zeroed."""
    filters, channels = w.shape[0] // groups, w.shape[1]
    for n in range(y.shape[0]):
        for f in range(y.shape[1]):
            for i in range(y.shape[2]):
                for j in range(y.shape[3]):
                    for c in range(channels):
                        for u in range(w.shape[2]):
                            for v in range(w.shape[3]):
                                row, column = i * sh - top + u * dh, j * sw - left + v * dw
                                if 0 <= row and row < x.shape[2] and 0 <= column and column < x.shape[3]:
                                    y[n, f, i, j] += w[f, c, u, v] * x[n, f // filters * channels + c, row, column]


@plain
def conv_input(dy, w, dx, sh, sw, top, left, dh, dw, groups):
    """dx[n,...] += w[f,c,u,v] * dy[n,f,i,j]: the same products, added to dx (N,C,H,W), zeroed."""
    filters, channels = w.shape[0] // groups, w.shape[1]
    for n in range(dy.shape[0]):
        for f in range(dy.shape[1]):
            for i in range(dy.shape[2]):
                for j in range(dy.shape[3]):
                    for c in range(channels):
                        for u in range(w.shape[2]):
                            for v in range(w.shape[3]):
                                row, column = i * sh - top + u * dh, j * sw - left + v * dw
                                if 0 <= row and row < dx.shape[2] and 0 <= column and column < dx.shape[3]:
                                    dx[n, f // filters * channels + c, row, column] += w[f, c, u, v] * dy[n, f, i, j]


@plain
def conv_weight(dy, x, dw_, sh, sw, top, left, dh, dw, groups):
    """dw_[f,c,u,v] += dy[n,f,i,j] * x[n,...]: the same products, added to dw_ (F,C/G,KH,KW), zeroed."""
    filters, channels = dw_.shape[0] // groups, dw_.shape[1]
    for n in range(dy.shape[0]):
        for f in range(dy.shape[1]):
            for i in range(dy.shape[2]):
                for j in range(dy.shape[3]):
                    for c in range(channels):
                        for u in range(dw_.shape[2]):
                            for v in range(dw_.shape[3]):
                                row, column = i * sh - top + u * dh, j * sw - left + v * dw
                                if 0 <= row and row < x.shape[2] and 0 <= column and column < x.shape[3]:
                                    dw_[f, c, u, v] += dy[n, f, i, j] * x[n, f // filters * channels + c, row, column]


@apart
def accumulate(out, a, a0, count, w, w0, width):
    """out[q] += sum over c < count of a[a0 + c] * w[w0 + c*width + q]: a row of sums, four terms at a time."""
    for c in range(0, count - 3, 4):
        s0, s1, s2, s3 = a[a0 + c], a[a0 + c + 1], a[a0 + c + 2], a[a0 + c + 3]
        first = w0 + c * width
        w_0, w_1 = w[first:first + width], w[first + width:first + 2 * width]
        w_2, w_3 = w[first + 2 * width:first + 3 * width], w[first + 3 * width:first + 4 * width]
        for q in range(width):
            out[q] += s0 * w_0[q] + s1 * w_1[q] + s2 * w_2[q] + s3 * w_3[q]
    for c in range(count - count % 4, count):
        s0 = a[a0 + c]
        w_0 = w[w0 + c * width:w0 + (c + 1) * width]
        for q in range(width):
            out[q] += s0 * w_0[q]


@apart
def forward_rows(lo, hi, x, w, start, y, h, wide, c, f, kh, kw, sh, sw, top, left, dh, dw, groups, oh, ow):
    """Task n*OH + i makes row i of image n. x (N,H,W,C) and y flat, w packed (KH,KW,C,F/G), start (F,) = bias."""
    cg, fg = c // groups, f // groups
    for task in range(lo, hi):
        n, i = task // oh, task % oh
        for j in range(ow):
            for g in range(groups):
                first = (task * ow + j) * f + g * fg
                out = y[first:first + fg]
                for q in range(fg):
                    out[q] = start[g * fg + q]
                for u in range(kh):
                    row = i * sh - top + u * dh
                    for v in range(kw):
                        column = j * sw - left + v * dw
                        if 0 <= row and row < h and 0 <= column and column < wide:
                            pixel = ((n * h + row) * wide + column) * c + g * cg
                            accumulate(out, x, pixel, cg, w, ((u * kw + v) * c + g * cg) * fg, fg)


@apart
def input_rows(lo, hi, dy, w, dx, h, wide, c, f, kh, kw, sh, sw, top, left, dh, dw, groups, oh, ow):
    """Task n*H + row makes that row of dx: which outputs saw it, and through which tap? w packed (KH,KW,F,C/G)."""
    cg, fg = c // groups, f // groups
    for task in range(lo, hi):
        n, row = task // h, task % h
        dx[task * wide * c:(task + 1) * wide * c] = np.float32(0)
        for u in range(kh):
            i = (row + top - u * dh) // sh
            if i * sh != row + top - u * dh or i < 0 or i >= oh:
                continue
            for j in range(ow):
                for v in range(kw):
                    column = j * sw - left + v * dw
                    if column < 0 or column >= wide:
                        continue
                    for g in range(groups):
                        first = (task * wide + column) * c + g * cg
                        pixel = ((n * oh + i) * ow + j) * f + g * fg
                        accumulate(dx[first:first + cg], dy, pixel, fg, w, ((u * kw + v) * f + g * fg) * cg, cg)


@apart
def weight_pieces(lo, hi, dy, x, parts, n_images, h, wide, c, f, kh, kw, sh, sw, top, left, dh, dw, groups, oh, ow, pieces):
    """parts[t] (KH,KW,C,F/G) = the sum over rows t*N*OH//pieces .. of dy: row i of image n is number n*OH + i."""
    cg, fg = c // groups, f // groups
    for t in range(lo, hi):
        mine = parts[t]
        mine[:] = np.float32(0)
        for line in range(t * n_images * oh // pieces, (t + 1) * n_images * oh // pieces):
            n, i = line // oh, line % oh
            for u in range(kh):
                row = i * sh - top + u * dh
                if row < 0 or row >= h:
                    continue
                for j in range(ow):
                    for v in range(kw):
                        column = j * sw - left + v * dw
                        if column < 0 or column >= wide:
                            continue
                        pixel, tap = ((n * h + row) * wide + column) * c, (u * kw + v) * c
                        for k in range(c):
                            d = (line * ow + j) * f + k // cg * fg
                            out, from_ = mine[(tap + k) * fg:(tap + k + 1) * fg], dy[d:d + fg]
                            s = x[pixel + k]
                            for q in range(fg):
                                out[q] += s * from_[q]


def supports(geometry):
    """Every geometry."""
    return True


def _pieces(g):
    return min(threads.get_num_threads(), g.n * g.oh)


def workspace_bytes(geometry, direction="forward", dtype=np.float32):
    """The weights in another order; for grad_weight one dw a thread; nothing in the plain kernels."""
    g = geometry
    if not select.is_fast(dtype):
        return 0
    size = 4 * g.f * (g.c // g.groups) * g.kh * g.kw
    return size * _pieces(g) if direction == "grad_weight" else size


def _steps(g):
    return g.sh, g.sw, g.top, g.left, g.dh, g.dw, g.groups


def _sizes(g):
    return g.h, g.w, g.c, g.f, g.kh, g.kw, *_steps(g), g.oh, g.ow


def _work(g):
    return g.n * g.f * g.oh * g.ow * (g.c // g.groups) * g.kh * g.kw


def forward(x, w, bias, geometry):
    """x (N,C,H,W), w (F,C/G,KH,KW), bias (F,) or None -> y (N,F,OH,OW). Cost: N*F*OH*OW*(C/G)*KH*KW multiply-adds."""
    g = geometry
    if not select.is_fast(x.dtype):
        y = np.zeros(g.y_shape, x.dtype)
        conv(layout.nchw(x), layout.writable(w), y, *_steps(g))
        return y if bias is None else y + bias[:, None, None]
    fg, cg = g.f // g.groups, g.c // g.groups
    packed = select.scratch((g.kh, g.kw, g.groups, cg, fg))
    packed[:] = w.reshape(g.groups, fg, cg, g.kh, g.kw).transpose(3, 4, 0, 2, 1)            # (F,C/G,KH,KW) -> (KH,KW,C,F/G)
    start = np.zeros(g.f, np.float32) if bias is None else layout.writable(bias)
    y = np.empty((g.n, g.oh, g.ow, g.f), np.float32)
    threads.run(forward_rows, g.n * g.oh, layout.nhwc(x).reshape(-1), packed.reshape(-1), start, y.reshape(-1), *_sizes(g),
                work=_work(g))
    return layout.shaped(y)


def grad_input(dy, w, geometry):
    """dy (N,F,OH,OW), w (F,C/G,KH,KW) -> dx (N,C,H,W). Cost: that of the forward pass."""
    g = geometry
    if not select.is_fast(dy.dtype):
        dx = np.zeros(g.x_shape, dy.dtype)
        conv_input(layout.nchw(dy), layout.writable(w), dx, *_steps(g))
        return dx
    packed = select.scratch((g.kh, g.kw, g.f, g.c // g.groups))
    packed[:] = w.transpose(2, 3, 0, 1)                                                     # -> (KH,KW,F,C/G)
    dx = np.empty((g.n, g.h, g.w, g.c), np.float32)
    threads.run(input_rows, g.n * g.h, layout.nhwc(dy).reshape(-1), packed.reshape(-1), dx.reshape(-1), *_sizes(g),
                work=_work(g))
    return layout.shaped(dx)


def grad_weight(dy, x, geometry):
    """dy (N,F,OH,OW), x (N,C,H,W) -> dw (F,C/G,KH,KW). Cost: that of the forward pass."""
    g = geometry
    if not select.is_fast(dy.dtype):
        dw = np.zeros(g.w_shape, dy.dtype)
        conv_weight(layout.nchw(dy), layout.nchw(x), dw, *_steps(g))
        return dw
    fg, cg, pieces = g.f // g.groups, g.c // g.groups, _pieces(g)
    parts = select.scratch((pieces, g.kh * g.kw * g.c * fg))
    threads.run(weight_pieces, pieces, layout.nhwc(dy).reshape(-1), layout.nhwc(x).reshape(-1), parts, g.n, *_sizes(g), pieces,
                work=_work(g))
    dw = gemm.add(parts).reshape(g.kh, g.kw, g.groups, cg, fg)                              # -> (F,C/G,KH,KW)
    return np.ascontiguousarray(dw.transpose(2, 4, 3, 0, 1)).reshape(g.w_shape)
