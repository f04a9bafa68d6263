"""Depthwise convolution: every channel is convolved by itself, with M = F/C filters (M is the multiplier, mostly 1).

    y[n, c*M+m, i, j] = bias[c*M+m] + sum over u,v of  w[c*M+m, u, v] * x[n, c, i*SH - top + u*DH, j*SW - left + v*DW]

One loop nest over output pixels and taps serves all three directions; only the array on the left of the += changes:

    forward       y[pixel] += w[tap] * x[pixel + tap]
    grad_input    x[pixel + tap] += w[tap] * y[pixel]
    grad_weight   w[tap] += y[pixel] * x[pixel + tap]

How it is made fast: in channels-last memory the channels of a pixel are neighbours, so the innermost loop runs over all
channels of a pixel at once, the window's taps standing in one expression: whole vectors, whatever the stride. The image is
first copied, a band of rows at a time, into a plane that has the padding already around it (and each channel M times), so
that there are no border cases. The window is taken a row of taps at a time, rows of 3 and of 5 taps in one expression,
others tap by tap. The 3x3 window at stride 1, which nearly all networks use nearly everywhere, is taken whole, for two
neighbouring pixels: 18 multiply-adds for 12 loads of x and 9 of w, the sums in registers. Its grad_input is a forward
pass over dy with the weights turned around (w[KH-1-u, KW-1-v]) and padding KH-1-P, so the same loop serves it.

Cost: N*F*OH*OW*KH*KW multiply-adds, each with one or two loads from the first-level cache: loads are the limit, then,
for large batches, the memory that x and y come from; with fewer than 32 channels the start of the inner loop.
Padding is 0 in the plane and is multiplied like any number: an infinite weight over padding gives NaN here.
Source: Howard et al., "MobileNets" (2017), section 3.1, eq. 3; Chollet, "Xception" (2017).
"""
import numpy as np

from . import gemm, layout, select, threads
from ._jit import fast, plain

BAND = 65536    # numbers of the plane that forward and grad_weight work in (256 KB), if a single row of outputs needs no more


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
def read(x, x0, h, w, c, m, plane, rows, columns, top, left):
    """plane (rows,columns,C*M) = the image (h,w,C) at x[x0] with zeros around it, each channel M times.

    The image begins `top` rows down and `left` columns in (below 0: its first rows or columns are left out).
    """
    f, first, last = c * m, max(0, left), min(columns, left + w)
    plane[:rows * columns * f] = np.float32(0)
    for r in range(max(0, top), min(rows, top + h)):
        if last <= first:
            continue
        to = plane[(r * columns + first) * f:(r * columns + last) * f]
        line = x[x0 + ((r - top) * w + first - left) * c:x0 + ((r - top) * w + last - left) * c]
        if m == 1:
            for q in range((last - first) * c):
                to[q] = line[q]
        else:
            for q in range((last - first) * c):
                for k in range(m):
                    to[q * m + k] = line[q]


@fast
def forward_1(x, step, w, y, ow, f):
    """One tap, a row of pixels of f channels: y[j] += w * x[j*step]."""
    for j in range(ow):
        r, out = x[j * step:j * step + f], y[j * f:(j + 1) * f]
        for c in range(f):
            out[c] += w[c] * r[c]


@fast
def forward_3(x, step, w, y, ow, f):
    """A row of 3 taps: y[j] += w[0] * x[j*step] + w[1] * x[j*step + f] + w[2] * x[j*step + 2f]."""
    w0, w1, w2 = w[:f], w[f:2 * f], w[2 * f:3 * f]
    for j in range(ow):
        r, out = x[j * step:j * step + 3 * f], y[j * f:(j + 1) * f]
        r0, r1, r2 = r[:f], r[f:2 * f], r[2 * f:]
        for c in range(f):
            out[c] += w0[c] * r0[c] + w1[c] * r1[c] + w2[c] * r2[c]


@fast
def forward_5(x, step, w, y, ow, f):
    """A row of 5 taps."""
    w0, w1, w2, w3, w4 = w[:f], w[f:2 * f], w[2 * f:3 * f], w[3 * f:4 * f], w[4 * f:5 * f]
    for j in range(ow):
        r, out = x[j * step:j * step + 5 * f], y[j * f:(j + 1) * f]
        r0, r1, r2, r3, r4 = r[:f], r[f:2 * f], r[2 * f:3 * f], r[3 * f:4 * f], r[4 * f:]
        for c in range(f):
            out[c] += w0[c] * r0[c] + w1[c] * r1[c] + w2[c] * r2[c] + w3[c] * r3[c] + w4[c] * r4[c]


@fast
def forward_3x3(x, pitch, w, y, ow, f):
    """The whole 3x3 window at stride 1, two pixels at a time: 4 columns of x serve both. ow is even."""
    w0, w1, w2, w3, w4 = w[:f], w[f:2 * f], w[2 * f:3 * f], w[3 * f:4 * f], w[4 * f:5 * f]
    w5, w6, w7, w8 = w[5 * f:6 * f], w[6 * f:7 * f], w[7 * f:8 * f], w[8 * f:9 * f]
    for j in range(0, ow, 2):
        a = x[j * f:(j + 4) * f]
        b = x[pitch + j * f:pitch + (j + 4) * f]
        d = x[2 * pitch + j * f:2 * pitch + (j + 4) * f]
        a0, a1, a2, a3 = a[:f], a[f:2 * f], a[2 * f:3 * f], a[3 * f:]
        b0, b1, b2, b3 = b[:f], b[f:2 * f], b[2 * f:3 * f], b[3 * f:]
        d0, d1, d2, d3 = d[:f], d[f:2 * f], d[2 * f:3 * f], d[3 * f:]
        y0, y1 = y[j * f:(j + 1) * f], y[(j + 1) * f:(j + 2) * f]
        for c in range(f):
            y0[c] += (w0[c] * a0[c] + w1[c] * a1[c] + w2[c] * a2[c] + w3[c] * b0[c] + w4[c] * b1[c] + w5[c] * b2[c]
                      + w6[c] * d0[c] + w7[c] * d1[c] + w8[c] * d2[c])
            y1[c] += (w0[c] * a1[c] + w1[c] * a2[c] + w2[c] * a3[c] + w3[c] * b1[c] + w4[c] * b2[c] + w5[c] * b3[c]
                      + w6[c] * d1[c] + w7[c] * d2[c] + w8[c] * d3[c])


@fast
def input_1(x, step, w, y, ow, f):
    """One tap: x[j*step] += w * y[j]."""
    for j in range(ow):
        r, d = x[j * step:j * step + f], y[j * f:(j + 1) * f]
        for c in range(f):
            r[c] += w[c] * d[c]


@fast
def input_3(x, step, w, y, ow, f):
    """A row of 3 taps: x[j*step + v*f] += w[v] * y[j]."""
    w0, w1, w2 = w[:f], w[f:2 * f], w[2 * f:3 * f]
    for j in range(ow):
        r, d = x[j * step:j * step + 3 * f], y[j * f:(j + 1) * f]
        r0, r1, r2 = r[:f], r[f:2 * f], r[2 * f:]
        for c in range(f):
            r0[c] += w0[c] * d[c]
            r1[c] += w1[c] * d[c]
            r2[c] += w2[c] * d[c]


@fast
def weight_1(x, step, w, y, ow, f):
    """One tap: w += x[j*step] * y[j]."""
    for j in range(ow):
        r, d = x[j * step:j * step + f], y[j * f:(j + 1) * f]
        for c in range(f):
            w[c] += r[c] * d[c]


@fast
def weight_3(x, step, w, y, ow, f):
    """A row of 3 taps, two pixels at a time: w[v] += x[j*step + v*f] * y[j]. ow is even."""
    w0, w1, w2 = w[:f], w[f:2 * f], w[2 * f:3 * f]
    for j in range(0, ow, 2):
        r, s = x[j * step:j * step + 3 * f], x[(j + 1) * step:(j + 1) * step + 3 * f]
        r0, r1, r2, s0, s1, s2 = r[:f], r[f:2 * f], r[2 * f:], s[:f], s[f:2 * f], s[2 * f:]
        d, e = y[j * f:(j + 1) * f], y[(j + 1) * f:(j + 2) * f]
        for c in range(f):
            w0[c] += r0[c] * d[c] + s0[c] * e[c]
            w1[c] += r1[c] * d[c] + s1[c] * e[c]
            w2[c] += r2[c] * d[c] + s2[c] * e[c]


@fast
def forward_row(x, pitch, w, y, ow, f, kh, kw, sw, dh, dw):
    """A row of outputs, all taps: y += ...; x begins at the row's first pixel and has `pitch` floats a row, w (taps,F)."""
    done = 0
    if kh == 3 and kw == 3 and sw == 1 and dh == 1 and dw == 1:
        done = ow - ow % 2
        forward_3x3(x, pitch, w, y, done, f)
    left, out, step = ow - done, y[done * f:], sw * f
    for u in range(kh if left else 0):
        line, taps = x[u * dh * pitch + done * step:], w[u * kw * f:]
        if kw == 3 and dw == 1:
            forward_3(line, step, taps, out, left, f)
        elif kw == 5 and dw == 1:
            forward_5(line, step, taps, out, left, f)
        else:
            for v in range(kw):
                forward_1(line[v * dw * f:], step, taps[v * f:], out, left, f)


@fast
def input_row(x, pitch, w, y, ow, f, kh, kw, sw, dh, dw):
    """The same products, added to x."""
    for u in range(kh):
        line, taps = x[u * dh * pitch:], w[u * kw * f:]
        if kw == 3 and dw == 1:
            input_3(line, sw * f, taps, y, ow, f)
        else:
            for v in range(kw):
                input_1(line[v * dw * f:], sw * f, taps[v * f:], y, ow, f)


@fast
def weight_row(x, pitch, w, y, ow, f, kh, kw, sw, dh, dw):
    """The same products, added to w."""
    for u in range(kh):
        line, taps, done = x[u * dh * pitch:], w[u * kw * f:], 0
        if kw == 3 and dw == 1:
            done = ow - ow % 2
            weight_3(line, sw * f, taps, y, done, f)
        if done < ow:
            for v in range(kw):
                weight_1(line[v * dw * f + done * sw * f:], sw * f, taps[v * f:], y[done * f:], ow - done, f)


@fast
def forward_bands(lo, hi, x, w, start, y, planes, pieces, band, images, c, m, h, wide, kh, kw, sh, sw, top, left, dh, dw,
                  oh, ow, used):
    """Task t: a share of all bands of rows of all images; x, y flat, w (taps*F), start (F,), planes[t] is scratch."""
    f, bands = c * m, (oh + band - 1) // band
    for t in range(lo, hi):
        plane = planes[t]
        for item in range(t * images * bands // pieces, (t + 1) * images * bands // pieces):
            n, first = item // bands, item % bands * band
            height = min(band, oh - first)
            read(x, n * h * wide * c, h, wide, c, m, plane, (height - 1) * sh + (kh - 1) * dh + 1, used,
                 top - first * sh, left)
            for i in range(height):
                line = y[(n * oh + first + i) * ow * f:(n * oh + first + i + 1) * ow * f]
                for j in range(ow):
                    pixel = line[j * f:(j + 1) * f]
                    for q in range(f):
                        pixel[q] = start[q]
                forward_row(plane[i * sh * used * f:], used * f, w, line, ow, f, kh, kw, sw, dh, dw)


@fast
def weight_bands(lo, hi, dy, x, parts, planes, pieces, band, images, c, m, h, wide, kh, kw, sh, sw, top, left, dh, dw,
                 oh, ow, used):
    """The same tasks; what task t sums is parts[t] (taps*F)."""
    f, bands = c * m, (oh + band - 1) // band
    for t in range(lo, hi):
        plane, part = planes[t], parts[t]
        part[:] = np.float32(0)
        for item in range(t * images * bands // pieces, (t + 1) * images * bands // pieces):
            n, first = item // bands, item % bands * band
            height = min(band, oh - first)
            read(x, n * h * wide * c, h, wide, c, m, plane, (height - 1) * sh + (kh - 1) * dh + 1, used,
                 top - first * sh, left)
            for i in range(height):
                line = dy[(n * oh + first + i) * ow * f:(n * oh + first + i + 1) * ow * f]
                weight_row(plane[i * sh * used * f:], used * f, part, line, ow, f, kh, kw, sw, dh, dw)


@fast
def input_images(lo, hi, dy, w, dx, planes, pieces, images, c, m, h, wide, kh, kw, sh, sw, top, left, dh, dw,
                 oh, ow, columns, rows):
    """Task t: whole images; the plane gathers dx, padding included, then its image part is written, M channels summed to one."""
    f = c * m
    for t in range(lo, hi):
        plane = planes[t]
        for n in range(t * images // pieces, (t + 1) * images // pieces):
            plane[:rows * columns * f] = np.float32(0)
            for i in range(oh):
                line = dy[(n * oh + i) * ow * f:(n * oh + i + 1) * ow * f]
                input_row(plane[i * sh * columns * f:], columns * f, w, line, ow, f, kh, kw, sw, dh, dw)
            for r in range(h):
                line = plane[((r + top) * columns + left) * f:((r + top) * columns + left + wide) * f]
                out = dx[(n * h + r) * wide * c:(n * h + r + 1) * wide * c]
                for q in range(wide * c):
                    out[q] = line[q * m]
                    for k in range(1, m):
                        out[q] += line[q * m + k]


def supports(geometry):
    """Every channel by itself: groups == C, with any number of filters a channel, any window, stride, padding, dilation."""
    return geometry.groups == geometry.c


def _used(g):
    """Columns that the window reaches."""
    return (g.ow - 1) * g.sw + (g.kw - 1) * g.dw + 1


def _rows(g, lines):
    """Rows of the plane that so many rows of outputs see."""
    return (lines - 1) * g.sh + (g.kh - 1) * g.dh + 1


def _band(g):
    """Rows of outputs that are made at a time."""
    room = BAND // (_used(g) * g.f) - (g.kh - 1) * g.dh - 1
    return max(1, min(g.oh, room // g.sh + 1))


def _whole(g):
    """Rows and columns of a plane for grad_input: all that the window reaches, and the whole image at its place."""
    return max(_rows(g, g.oh), g.top + g.h), max(_used(g), g.left + g.w)


def _turned(g):
    """The geometry of the forward pass from dy to dx, for a stride of 1: padding (K-1)*D - P, which may be below 0."""
    return g._replace(h=g.oh, w=g.ow, oh=g.h, ow=g.w, top=(g.kh - 1) * g.dh - g.top, left=(g.kw - 1) * g.dw - g.left)


def _is_turned(g):
    return g.sh == g.sw == 1 and g.f == g.c


def _planes(g, direction):
    """Shape of the scratch planes (pieces, numbers): one piece a thread."""
    if direction == "grad_input":
        rows, columns = _whole(g)
        return min(threads.get_num_threads(), g.n), rows * columns * g.f
    shares = g.n * -(-g.oh // _band(g))
    return min(threads.get_num_threads(), shares), _rows(g, _band(g)) * _used(g) * g.f


def _sizes(g):
    return g.n, g.c, g.f // g.c, g.h, g.w, g.kh, g.kw, g.sh, g.sw, g.top, g.left, g.dh, g.dw, g.oh, g.ow


def workspace_bytes(geometry, direction="forward", dtype=np.float32):
    """A plane for each thread, and the weights and the bias in channels-last order (for grad_weight one set a thread)."""
    g = geometry
    if not select.is_fast(dtype):
        return 0
    if direction == "grad_input" and _is_turned(g):
        g, direction = _turned(g), "forward"
    pieces, size = _planes(g, direction)
    taps = {"forward": g.kh * g.kw + 1, "grad_input": g.kh * g.kw, "grad_weight": pieces * g.kh * g.kw}[direction]
    return 4 * (pieces * size + taps * g.f)


def _packed(w, g):
    """(F,1,KH,KW) -> (KH*KW*F,): the filters of one tap side by side."""
    out = select.scratch((w.size // g.f, g.f))
    out[:] = w.reshape(g.f, -1).T
    return out.reshape(-1)


def _forward(x, w, bias, g):
    """The fast forward pass, also of a turned geometry."""
    start = _packed(np.zeros(g.f, np.float32) if bias is None else bias, g)
    planes, y = select.scratch(_planes(g, "forward")), np.empty((g.n, g.oh, g.ow, g.f), np.float32)
    threads.run(forward_bands, len(planes), layout.nhwc(x).reshape(-1), _packed(w, g), start, y.reshape(-1), planes,
                len(planes), _band(g), *_sizes(g), _used(g), work=y.size * g.kh * g.kw)
    return layout.shaped(y)


def forward(x, w, bias, geometry):
    """x (N,C,H,W), w (F,1,KH,KW), bias (F,) or None -> y (N,F,OH,OW). Cost: N*F*OH*OW*KH*KW multiply-adds."""
    g = geometry
    if not select.is_fast(x.dtype):
        y = np.zeros(g.y_shape, x.dtype)
        conv(layout.nchw(x), layout.writable(w[:, 0]), y, g.sh, g.sw, g.top, g.left, g.dh, g.dw)
        return y if bias is None else y + bias[:, None, None]
    return _forward(x, w, bias, g)


def grad_input(dy, w, geometry):
    """dy (N,F,OH,OW), w (F,1,KH,KW) -> dx (N,C,H,W). Cost: that of the forward pass."""
    g = geometry
    if not select.is_fast(dy.dtype):
        dx = np.zeros(g.x_shape, dy.dtype)
        conv_input(layout.nchw(dy), layout.writable(w[:, 0]), dx, g.sh, g.sw, g.top, g.left, g.dh, g.dw)
        return dx
    if _is_turned(g):
        return _forward(dy, w[:, :, ::-1, ::-1], None, _turned(g))
    rows, columns = _whole(g)
    planes, dx = select.scratch(_planes(g, "grad_input")), np.empty((g.n, g.h, g.w, g.c), np.float32)
    threads.run(input_images, len(planes), layout.nhwc(dy).reshape(-1), _packed(w, g), dx.reshape(-1), planes, len(planes),
                *_sizes(g), columns, rows, work=dy.size * g.kh * g.kw)
    return layout.shaped(dx)


def grad_weight(dy, x, geometry):
    """dy (N,F,OH,OW), x (N,C,H,W) -> dw (F,1,KH,KW). Cost: that of the forward pass."""
    g = geometry
    if not select.is_fast(dy.dtype):
        dw = np.zeros((g.f, g.kh, g.kw), dy.dtype)
        conv_weight(layout.nchw(dy), layout.nchw(x), dw, g.sh, g.sw, g.top, g.left, g.dh, g.dw)
        return dw.reshape(g.w_shape)
    planes = select.scratch(_planes(g, "grad_weight"))
    parts = select.scratch((len(planes), g.kh * g.kw * g.f))
    threads.run(weight_bands, len(planes), layout.nhwc(dy).reshape(-1), layout.nhwc(x).reshape(-1), parts, planes, len(planes),
                _band(g), *_sizes(g), _used(g), work=dy.size * g.kh * g.kw)
    return np.ascontiguousarray(gemm.add(parts).reshape(-1, g.f).T).reshape(g.w_shape)      # (taps,F) -> (F,taps)
