"""Depthwise convolution: every channel is convolved by itself, with M = F/C filters (M is the multiplier, mostly 1).

    y[n, c*M+m, i, j] = bias[c*M+m] + sum over u,v of  w[c*M+m, u, v] * x[n, c, i*SH - top + u*DH, j*SW - left + v*DW]

One loop nest over output pixels and taps serves all three directions; only the array on the left of the += changes:

    forward       y[pixel] += w[tap] * x[pixel + tap]
    grad_input    x[pixel + tap] += w[tap] * y[pixel]
    grad_weight   w[tap] += y[pixel] * x[pixel + tap]

How it is made fast: a task takes 32 channels of one image through. It copies them out of channels-last memory into a
plane of its own with the padding already around it, so that there are no border cases, and the 32 channels of a pixel and
of its neighbours lie at constant distances: the loop over 32 channels becomes whole vectors with a single check for
overlap. The window is taken a row of taps at a time: rows of 3 and of 5 taps in one expression, others tap by tap. The
3x3 window at stride 1, which nearly all networks use nearly everywhere, is taken whole, for two neighbouring pixels:
18 multiply-adds for 12 loads of x and 9 of w, the sums in registers. Its grad_input is a forward pass over dy with
the weights turned around (w[KH-1-u, KW-1-v]) and padding KH-1-P, so the same loop serves it.

Cost: N*F*OH*OW*KH*KW multiply-adds, each with two loads from the first-level cache: loads are the limit, about
a third of the arithmetic peak, and for large batches the memory that x and y come from. A plane has 128 bytes a pixel.
Source: Howard et al., "MobileNets" (2017), section 3.1, eq. 3; Chollet, "Xception" (2017).
"""
import numpy as np

from . import gemm, layout, select, threads
from ._jit import fast, plain

LANES = 32      # channels that a task takes through: two cache lines, whole vectors


@plain
def conv(x, w, y, sh, sw, top, left, dh, dw):
    """y[n,f,i,j] += w[f,u,v] * x[n, f // M, ...]: the formula. x (N,C,H,W), w (F,KH,KW), y (N,F,OH,OW), zeroed."""
    multiplier = w.shape[0] // x.shape[1]
    for n in range(y.shape[0]):
        for f in range(y.shape[1]):
            for i in range(y.shape[2]):
                for j in range(y.shape[3]):
                    for u in range(w.shape[1]):
                        for v in range(w.shape[2]):
                            row, column = i * sh - top + u * dh, j * sw - left + v * dw
                            if 0 <= row and row < x.shape[2] and 0 <= column and column < x.shape[3]:
                                y[n, f, i, j] += w[f, u, v] * x[n, f // multiplier, row, column]


@plain
def conv_input(dy, w, dx, sh, sw, top, left, dh, dw):
    """dx[n, f // M, ...] += w[f,u,v] * dy[n,f,i,j]: the same products, added to dx (N,C,H,W), zeroed."""
    multiplier = w.shape[0] // dx.shape[1]
    for n in range(dy.shape[0]):
        for f in range(dy.shape[1]):
            for i in range(dy.shape[2]):
                for j in range(dy.shape[3]):
                    for u in range(w.shape[1]):
                        for v in range(w.shape[2]):
                            row, column = i * sh - top + u * dh, j * sw - left + v * dw
                            if 0 <= row and row < dx.shape[2] and 0 <= column and column < dx.shape[3]:
                                dx[n, f // multiplier, row, column] += w[f, u, v] * dy[n, f, i, j]


@plain
def conv_weight(dy, x, dw_, sh, sw, top, left, dh, dw):
    """dw_[f,u,v] += dy[n,f,i,j] * x[n, f // M, ...]: the same products, added to dw_ (F,KH,KW), zeroed."""
    multiplier = dw_.shape[0] // x.shape[1]
    for n in range(dy.shape[0]):
        for f in range(dy.shape[1]):
            for i in range(dy.shape[2]):
                for j in range(dy.shape[3]):
                    for u in range(dw_.shape[1]):
                        for v in range(dw_.shape[2]):
                            row, column = i * sh - top + u * dh, j * sw - left + v * dw
                            if 0 <= row and row < x.shape[2] and 0 <= column and column < x.shape[3]:
                                dw_[f, u, v] += dy[n, f, i, j] * x[n, f // multiplier, row, column]


@fast
def read(a, a0, pitch, step, count, h, w, plane, rows, columns, used, top, left):
    """plane (rows,columns,32) = `count` channels of an image (h,w), zeros around it and in the channels that are missing.

    Channel c of pixel p is a[a0 + p*pitch + c*step]; the image begins `top` rows down and `left` columns in (below 0: its
    first rows or columns are left out), and columns from `used` on stay 0.
    """
    plane[:] = np.float32(0)
    for r in range(max(0, top), min(rows, top + h)):
        for q in range(max(0, left), min(used, left + w)):
            at = a0 + ((r - top) * w + q - left) * pitch
            to = plane[(r * columns + q) * 32:(r * columns + q) * 32 + 32]
            if count == 32 and step == 1:
                line = a[at:at + 32]
                for c in range(32):
                    to[c] = line[c]
            else:
                for c in range(count):
                    to[c] = a[at + c * step]


@fast
def write(line, a, a0, pitch, step, count, w):
    """A row of w pixels goes to a: channel c of pixel q to a[a0 + q*pitch + c*step]."""
    for q in range(w):
        at = line[q * 32:q * 32 + 32]
        if count == 32 and step == 1:
            out = a[a0 + q * pitch:a0 + q * pitch + 32]
            for c in range(32):
                out[c] = at[c]
        else:
            for c in range(count):
                a[a0 + q * pitch + c * step] = at[c]


@fast
def forward_1(x, step, w, y, ow):
    """One tap, a row of pixels: y[j] += w * x[j*step]."""
    for j in range(ow):
        r, out = x[j * step:j * step + 32], y[j * 32:j * 32 + 32]
        for c in range(32):
            out[c] += w[c] * r[c]


@fast
def forward_3(x, step, w, y, ow):
    """A row of 3 taps: y[j] += w[0] * x[j*step] + w[1] * x[j*step + 1] + w[2] * x[j*step + 2], pixels being 32 apart."""
    for j in range(ow):
        r, out = x[j * step:j * step + 96], y[j * 32:j * 32 + 32]
        for c in range(32):
            out[c] += w[c] * r[c] + w[32 + c] * r[32 + c] + w[64 + c] * r[64 + c]


@fast
def forward_5(x, step, w, y, ow):
    """A row of 5 taps."""
    for j in range(ow):
        r, out = x[j * step:j * step + 160], y[j * 32:j * 32 + 32]
        for c in range(32):
            out[c] += (w[c] * r[c] + w[32 + c] * r[32 + c] + w[64 + c] * r[64 + c] + w[96 + c] * r[96 + c]
                       + w[128 + c] * r[128 + c])


@fast
def forward_3x3(x, pitch, w, y, ow):
    """The whole 3x3 window at stride 1, two pixels at a time (y has room for an even number): 4 columns of x serve both."""
    for j in range(0, ow, 2):
        r0 = x[j * 32:j * 32 + 128]
        r1 = x[pitch + j * 32:pitch + j * 32 + 128]
        r2 = x[2 * pitch + j * 32:2 * pitch + j * 32 + 128]
        out = y[j * 32:j * 32 + 64]
        for c in range(32):
            a0, a1, a2, a3 = r0[c], r0[32 + c], r0[64 + c], r0[96 + c]
            b0, b1, b2, b3 = r1[c], r1[32 + c], r1[64 + c], r1[96 + c]
            d0, d1, d2, d3 = r2[c], r2[32 + c], r2[64 + c], r2[96 + c]
            w0, w1, w2, w3, w4 = w[c], w[32 + c], w[64 + c], w[96 + c], w[128 + c]
            w5, w6, w7, w8 = w[160 + c], w[192 + c], w[224 + c], w[256 + c]
            out[c] += w0 * a0 + w1 * a1 + w2 * a2 + w3 * b0 + w4 * b1 + w5 * b2 + w6 * d0 + w7 * d1 + w8 * d2
            out[32 + c] += w0 * a1 + w1 * a2 + w2 * a3 + w3 * b1 + w4 * b2 + w5 * b3 + w6 * d1 + w7 * d2 + w8 * d3


@fast
def input_1(x, step, w, y, ow):
    """One tap: x[j*step] += w * y[j]."""
    for j in range(ow):
        r, d = x[j * step:j * step + 32], y[j * 32:j * 32 + 32]
        for c in range(32):
            r[c] += w[c] * d[c]


@fast
def input_3(x, step, w, y, ow):
    """A row of 3 taps: x[j*step + v] += w[v] * y[j]."""
    for j in range(ow):
        r, d = x[j * step:j * step + 96], y[j * 32:j * 32 + 32]
        for c in range(32):
            r[c] += w[c] * d[c]
            r[32 + c] += w[32 + c] * d[c]
            r[64 + c] += w[64 + c] * d[c]


@fast
def input_5(x, step, w, y, ow):
    """A row of 5 taps."""
    for j in range(ow):
        r, d = x[j * step:j * step + 160], y[j * 32:j * 32 + 32]
        for c in range(32):
            r[c] += w[c] * d[c]
            r[32 + c] += w[32 + c] * d[c]
            r[64 + c] += w[64 + c] * d[c]
            r[96 + c] += w[96 + c] * d[c]
            r[128 + c] += w[128 + c] * d[c]


@fast
def weight_1(x, step, w, y, ow):
    """One tap: w += x[j*step] * y[j]."""
    for j in range(ow):
        r, d = x[j * step:j * step + 32], y[j * 32:j * 32 + 32]
        for c in range(32):
            w[c] += r[c] * d[c]


@fast
def weight_3(x, step, w, y, ow):
    """A row of 3 taps, two pixels at a time (y and x go on with zeros): w[v] += x[j*step + v] * y[j]."""
    for j in range(0, ow, 2):
        r, s = x[j * step:j * step + 96], x[(j + 1) * step:(j + 1) * step + 96]
        d = y[j * 32:j * 32 + 64]
        for c in range(32):
            w[c] += r[c] * d[c] + s[c] * d[32 + c]
            w[32 + c] += r[32 + c] * d[c] + s[32 + c] * d[32 + c]
            w[64 + c] += r[64 + c] * d[c] + s[64 + c] * d[32 + c]


@fast
def weight_5(x, step, w, y, ow):
    """A row of 5 taps."""
    for j in range(ow):
        r, d = x[j * step:j * step + 160], y[j * 32:j * 32 + 32]
        for c in range(32):
            w[c] += r[c] * d[c]
            w[32 + c] += r[32 + c] * d[c]
            w[64 + c] += r[64 + c] * d[c]
            w[96 + c] += r[96 + c] * d[c]
            w[128 + c] += r[128 + c] * d[c]


@fast
def forward_row(x, pitch, w, y, ow, kh, kw, sw, dh, dw):
    """A row of outputs, all taps: y += ...; x begins at the row's first pixel and has `pitch` floats a row, w (taps,32)."""
    if kh == 3 and kw == 3 and sw == 1 and dh == 1 and dw == 1:
        forward_3x3(x, pitch, w, y, ow)
        return
    for u in range(kh):
        line, taps = x[u * dh * pitch:], w[u * kw * 32:]
        if kw == 3 and dw == 1:
            forward_3(line, sw * 32, taps, y, ow)
        elif kw == 5 and dw == 1:
            forward_5(line, sw * 32, taps, y, ow)
        else:
            for v in range(kw):
                forward_1(line[v * dw * 32:], sw * 32, taps[v * 32:], y, ow)


@fast
def input_row(x, pitch, w, y, ow, kh, kw, sw, dh, dw):
    """The same products, added to x."""
    for u in range(kh):
        line, taps = x[u * dh * pitch:], w[u * kw * 32:]
        if kw == 3 and dw == 1:
            input_3(line, sw * 32, taps, y, ow)
        elif kw == 5 and dw == 1:
            input_5(line, sw * 32, taps, y, ow)
        else:
            for v in range(kw):
                input_1(line[v * dw * 32:], sw * 32, taps[v * 32:], y, ow)


@fast
def weight_row(x, pitch, w, y, ow, kh, kw, sw, dh, dw):
    """The same products, added to w."""
    for u in range(kh):
        line, taps = x[u * dh * pitch:], w[u * kw * 32:]
        if kw == 3 and dw == 1:
            weight_3(line, sw * 32, taps, y, ow)
        elif kw == 5 and dw == 1:
            weight_5(line, sw * 32, taps, y, ow)
        else:
            for v in range(kw):
                weight_1(line[v * dw * 32:], sw * 32, taps[v * 32:], y, ow)


@fast
def forward_planes(lo, hi, x, w, start, y, planes, lines, pieces, images, c, m, h, wide, kh, kw, sh, sw, top, left, dh, dw,
                   oh, ow, rows, columns, used):
    """Task t: every image and block of 32 channels from number t*N*B//pieces on. x and y flat, w (B,M,taps*32), start (B,M,32)."""
    blocks = w.shape[0]
    for t in range(lo, hi):
        plane, line = planes[t], lines[t]
        for item in range(t * images * blocks // pieces, (t + 1) * images * blocks // pieces):
            n, b = item // blocks, item % blocks
            count = min(32, c - 32 * b)
            read(x, n * h * wide * c + 32 * b, c, 1, count, h, wide, plane, rows, columns, used, top, left)
            for q in range(m):
                for i in range(oh):
                    for j in range(ow):
                        line[j * 32:j * 32 + 32] = start[b, q]
                    forward_row(plane[i * sh * columns * 32:], columns * 32, w[b, q], line, ow, kh, kw, sw, dh, dw)
                    write(line, y, (n * oh + i) * ow * c * m + 32 * b * m + q, c * m, m, count, ow)


@fast
def input_planes(lo, hi, dy, w, dx, planes, lines, pieces, images, c, m, h, wide, kh, kw, sh, sw, top, left, dh, dw,
                 oh, ow, rows, columns, used):
    """The same tasks, from dy to dx: the plane gathers dx, padding included, and its image part is written."""
    blocks = w.shape[0]
    for t in range(lo, hi):
        plane, line = planes[t], lines[t]
        for item in range(t * images * blocks // pieces, (t + 1) * images * blocks // pieces):
            n, b = item // blocks, item % blocks
            count = min(32, c - 32 * b)
            plane[:] = np.float32(0)
            for q in range(m):
                for i in range(oh):
                    read(dy, (n * oh + i) * ow * c * m + 32 * b * m + q, c * m, m, count, 1, ow, line, 1, ow, ow, 0, 0)
                    input_row(plane[i * sh * columns * 32:], columns * 32, w[b, q], line, ow, kh, kw, sw, dh, dw)
            for r in range(h):
                write(plane[((r + top) * columns + left) * 32:], dx, (n * h + r) * wide * c + 32 * b, c, 1, count, wide)


@fast
def weight_planes(lo, hi, dy, x, parts, planes, lines, pieces, images, c, m, h, wide, kh, kw, sh, sw, top, left, dh, dw,
                  oh, ow, rows, columns, used):
    """The same tasks; what task t sums is parts[t] (B,M,taps*32)."""
    blocks = parts.shape[1]
    for t in range(lo, hi):
        plane, line = planes[t], lines[t]
        parts[t] = np.float32(0)
        for item in range(t * images * blocks // pieces, (t + 1) * images * blocks // pieces):
            n, b = item // blocks, item % blocks
            count = min(32, c - 32 * b)
            read(x, n * h * wide * c + 32 * b, c, 1, count, h, wide, plane, rows, columns, used, top, left)
            for q in range(m):
                for i in range(oh):
                    read(dy, (n * oh + i) * ow * c * m + 32 * b * m + q, c * m, m, count, 1, ow, line, 1, ow + ow % 2, ow, 0, 0)
                    weight_row(plane[i * sh * columns * 32:], columns * 32, parts[t, b, q], line, ow, kh, kw, sw, dh, dw)


def supports(geometry):
    """Every channel by itself: groups == C, with any number of filters a channel, any window, stride, padding, dilation."""
    return geometry.groups == geometry.c


def _plane(g):
    """Rows, columns and used columns of a plane: all that the window reaches, and the whole image at its place."""
    used = (g.ow - 1) * g.sw + (g.kw - 1) * g.dw + 1
    rows = max((g.oh - 1) * g.sh + (g.kh - 1) * g.dh + 1, g.top + g.h)
    return rows, max(used + g.ow % 2 * g.sw, g.left + g.w), used


def _turned(g):
    """The geometry of the forward pass from dy to dx, for a stride of 1: padding (K-1)*D - P, which may be below 0."""
    return g._replace(h=g.oh, w=g.ow, oh=g.h, ow=g.w, top=(g.kh - 1) * g.dh - g.top, left=(g.kw - 1) * g.dw - g.left)


def _is_turned(g):
    return g.sh == g.sw == 1 and g.f == g.c


def _sizes(g):
    return (g.n, g.c, g.f // g.c, g.h, g.w, g.kh, g.kw, g.sh, g.sw, g.top, g.left, g.dh, g.dw, g.oh, g.ow, *_plane(g))


def _counts(g):
    """Blocks of channels, and pieces that the images and blocks are shared out in: one a thread."""
    blocks = -(-g.c // LANES)
    return blocks, min(threads.get_num_threads(), g.n * blocks)


def _room(g):
    """Shapes of the scratch: planes and lines of every piece."""
    rows, columns, _ = _plane(g)
    pieces = _counts(g)[1]
    return (pieces, rows * columns * LANES), (pieces, (g.ow + g.ow % 2) * LANES)


def workspace_bytes(geometry, direction="forward", dtype=np.float32):
    """A plane and a line for each thread, and the weights in blocks of 32 channels (for grad_weight one set a thread)."""
    g = geometry
    if not select.is_fast(dtype):
        return 0
    blocks, pieces = _counts(g)
    w = blocks * (g.f // g.c) * g.kh * g.kw * LANES
    start = blocks * (g.f // g.c) * LANES
    turned = direction == "grad_input" and _is_turned(g)
    extra = w * pieces if direction == "grad_weight" else w + start if direction == "forward" or turned else w
    return 4 * (extra + sum(a * b for a, b in _room(_turned(g) if turned else g)))


def _packed(w, g):
    """(F,...) -> (B,M,...,32): 32 channels side by side, missing ones 0."""
    blocks, m = _counts(g)[0], g.f // g.c
    out = select.scratch((blocks, m, w.size // g.f, LANES))
    by_channel = w.reshape(g.c, m, -1)
    for b in range(blocks):
        some = by_channel[b * LANES:(b + 1) * LANES]
        out[b, :, :, :len(some)] = some.transpose(1, 2, 0)                                  # (32,M,taps) -> (M,taps,32)
        out[b, :, :, len(some):] = 0
    return out.reshape(blocks, m, -1)


def _forward(x, w, bias, g):
    """The fast forward pass over flat channels-last x, also of a turned geometry."""
    y = np.empty((g.n, g.oh, g.ow, g.f), np.float32)
    planes, lines = (select.scratch(shape) for shape in _room(g))
    threads.run(forward_planes, len(planes), layout.nhwc(x).reshape(-1), _packed(w, g), _packed(bias, g), y.reshape(-1),
                planes, lines, len(planes), *_sizes(g), work=y.size * g.kh * g.kw)
    return layout.shaped(y)


def forward(x, w, bias, geometry):
    """x (N,C,H,W), w (F,1,KH,KW), bias (F,) or None -> y (N,F,OH,OW). Cost: N*F*OH*OW*KH*KW multiply-adds."""
    g = geometry
    if not select.is_fast(x.dtype):
        y = np.zeros(g.y_shape, x.dtype)
        conv(layout.nchw(x), layout.writable(w[:, 0]), y, g.sh, g.sw, g.top, g.left, g.dh, g.dw)
        return y if bias is None else y + bias[:, None, None]
    return _forward(x, w, np.zeros(g.f, np.float32) if bias is None else bias, g)


def grad_input(dy, w, geometry):
    """dy (N,F,OH,OW), w (F,1,KH,KW) -> dx (N,C,H,W). Cost: that of the forward pass."""
    g = geometry
    if not select.is_fast(dy.dtype):
        dx = np.zeros(g.x_shape, dy.dtype)
        conv_input(layout.nchw(dy), layout.writable(w[:, 0]), dx, g.sh, g.sw, g.top, g.left, g.dh, g.dw)
        return dx
    if _is_turned(g):
        return _forward(dy, w[:, :, ::-1, ::-1], np.zeros(g.f, np.float32), _turned(g))
    dx = np.empty((g.n, g.h, g.w, g.c), np.float32)
    planes, lines = (select.scratch(shape) for shape in _room(g))
    threads.run(input_planes, len(planes), layout.nhwc(dy).reshape(-1), _packed(w, g), dx.reshape(-1), planes, lines,
                len(planes), *_sizes(g), work=dy.size * g.kh * g.kw)
    return layout.shaped(dx)


def grad_weight(dy, x, geometry):
    """dy (N,F,OH,OW), x (N,C,H,W) -> dw (F,1,KH,KW). Cost: that of the forward pass."""
    g = geometry
    if not select.is_fast(dy.dtype):
        dw = np.zeros((g.f, g.kh, g.kw), dy.dtype)
        conv_weight(layout.nchw(dy), layout.nchw(x), dw, g.sh, g.sw, g.top, g.left, g.dh, g.dw)
        return dw.reshape(g.w_shape)
    blocks, pieces = _counts(g)
    planes, lines = (select.scratch(shape) for shape in _room(g))
    parts = select.scratch((pieces, blocks, g.f // g.c, g.kh * g.kw * LANES))
    threads.run(weight_planes, pieces, layout.nhwc(dy).reshape(-1), layout.nhwc(x).reshape(-1), parts, planes, lines, pieces,
                *_sizes(g), work=dy.size * g.kh * g.kw)
    dw = gemm.add(parts).reshape(blocks, g.f // g.c, g.kh * g.kw, LANES)                    # -> (C,M,KH*KW)
    return np.ascontiguousarray(dw.transpose(0, 3, 1, 2)).reshape(blocks * LANES, -1)[:g.c].reshape(g.w_shape)
