"""Depthwise convolution, one row of outputs: the inner loops of `depthwise`, a few taps in one expression.

In channels-last memory the F channels of a pixel are neighbours, and the next pixel begins F numbers further on. A row of
outputs is made from rows of a padded plane (see `read`), so no loop here knows of borders:

    forward       y[j] += w[tap] * x[j*S + tap]
    input         x[j*S + tap] += w[tap] * y[j]
    weight        w[tap] += y[j] * x[j*S + tap]         for all F channels of pixel j at once: the innermost loop

What is bounded by what: tap by tap (`_1`) each multiply-add loads x, w and the sum, and stores the sum. A row of three taps
in one expression (`_3`) loads and stores the sum once for three; the whole 3x3 window for two neighbouring pixels
(`forward_3x3`) needs 12 loads of x and 9 of w for its 18 multiply-adds, and the sums stay in registers. Views are taken
outside the innermost loop, at places counted from the array's beginning: views that outlive a branch would be reference-
counted, pixel by pixel.
"""
import numpy as np

from ._jit import apart
from .gemm import copy


@apart
def read(x, x0, h, w, c, m, plane, rows, columns, top, left):
    """plane (rows,columns,C*M) = the image (h,w,C) at x[x0] with zeros around it, each channel M times.

    The image begins `top` rows down and `left` columns in (below 0: its first rows or columns are left out).
    """
    first, last = max(0, left), min(columns, left + w)
    plane[:rows * columns * c * m] = np.float32(0)
    for r in range(max(0, top), min(rows, top + h)):
        at, to, count = x0 + ((r - top) * w + first - left) * c, (r * columns + first) * c * m, (last - first) * c
        if m == 1:
            copy(x, at, count, plane, to)
        else:
            for q in range(count):
                for k in range(m):
                    plane[to + q * m + k] = x[at + q]


@apart
def forward_1(x, x0, step, w, w0, y, y0, ow, f):
    """One tap, a row of pixels of f channels: y[j] += w * x[j*step]; x0, w0, y0 say where each begins."""
    taps = w[w0:w0 + f]
    for j in range(ow):
        r, out = x[x0 + j * step:x0 + j * step + f], y[y0 + j * f:y0 + (j + 1) * f]
        for c in range(f):
            out[c] += taps[c] * r[c]


@apart
def forward_3(x, x0, step, w, w0, y, y0, ow, f):
    """A row of 3 taps: y[j] += w[0] * x[j*step] + w[1] * x[j*step + f] + w[2] * x[j*step + 2f]."""
    wa, wb, wc = w[w0:w0 + f], w[w0 + f:w0 + 2 * f], w[w0 + 2 * f:w0 + 3 * f]
    for j in range(ow):
        at = x0 + j * step
        a, b, d = x[at:at + f], x[at + f:at + 2 * f], x[at + 2 * f:at + 3 * f]
        out = y[y0 + j * f:y0 + (j + 1) * f]
        for c in range(f):
            out[c] += wa[c] * a[c] + wb[c] * b[c] + wc[c] * d[c]


@apart
def forward_5(x, x0, step, w, w0, y, y0, ow, f):
    """A row of 5 taps."""
    wa, wb, wc, wd, we = (w[w0:w0 + f], w[w0 + f:w0 + 2 * f], w[w0 + 2 * f:w0 + 3 * f], w[w0 + 3 * f:w0 + 4 * f],
                          w[w0 + 4 * f:w0 + 5 * f])
    for j in range(ow):
        at = x0 + j * step
        a, b, d, e, g = (x[at:at + f], x[at + f:at + 2 * f], x[at + 2 * f:at + 3 * f], x[at + 3 * f:at + 4 * f],
                         x[at + 4 * f:at + 5 * f])
        out = y[y0 + j * f:y0 + (j + 1) * f]
        for c in range(f):
            out[c] += wa[c] * a[c] + wb[c] * b[c] + wc[c] * d[c] + wd[c] * e[c] + we[c] * g[c]


@apart
def forward_3x3(x, x0, pitch, w, start, y, y0, ow, f):
    """The whole 3x3 window at stride 1, two pixels at a time: 4 columns of x serve both. y = start + ...; ow is even."""
    w0, w1, w2, w3, w4 = w[:f], w[f:2 * f], w[2 * f:3 * f], w[3 * f:4 * f], w[4 * f:5 * f]
    w5, w6, w7, w8 = w[5 * f:6 * f], w[6 * f:7 * f], w[7 * f:8 * f], w[8 * f:9 * f]
    for j in range(0, ow, 2):
        at = x0 + j * f
        a0, a1, a2, a3 = x[at:at + f], x[at + f:at + 2 * f], x[at + 2 * f:at + 3 * f], x[at + 3 * f:at + 4 * f]
        at += pitch
        b0, b1, b2, b3 = x[at:at + f], x[at + f:at + 2 * f], x[at + 2 * f:at + 3 * f], x[at + 3 * f:at + 4 * f]
        at += pitch
        d0, d1, d2, d3 = x[at:at + f], x[at + f:at + 2 * f], x[at + 2 * f:at + 3 * f], x[at + 3 * f:at + 4 * f]
        left, right = y[y0 + j * f:y0 + (j + 1) * f], y[y0 + (j + 1) * f:y0 + (j + 2) * f]
        for c in range(f):
            left[c] = (start[c] + w0[c] * a0[c] + w1[c] * a1[c] + w2[c] * a2[c] + w3[c] * b0[c] + w4[c] * b1[c]
                       + w5[c] * b2[c] + w6[c] * d0[c] + w7[c] * d1[c] + w8[c] * d2[c])
            right[c] = (start[c] + w0[c] * a1[c] + w1[c] * a2[c] + w2[c] * a3[c] + w3[c] * b1[c] + w4[c] * b2[c]
                        + w5[c] * b3[c] + w6[c] * d1[c] + w7[c] * d2[c] + w8[c] * d3[c])


@apart
def input_1(x, x0, step, w, w0, y, y0, ow, f):
    """One tap: x[j*step] += w * y[j]."""
    taps = w[w0:w0 + f]
    for j in range(ow):
        r, d = x[x0 + j * step:x0 + j * step + f], y[y0 + j * f:y0 + (j + 1) * f]
        for c in range(f):
            r[c] += taps[c] * d[c]


@apart
def input_3(x, x0, step, w, w0, y, y0, ow, f):
    """A row of 3 taps: x[j*step + v*f] += w[v] * y[j]."""
    wa, wb, wc = w[w0:w0 + f], w[w0 + f:w0 + 2 * f], w[w0 + 2 * f:w0 + 3 * f]
    for j in range(ow):
        at = x0 + j * step
        a, b, d = x[at:at + f], x[at + f:at + 2 * f], x[at + 2 * f:at + 3 * f]
        g = y[y0 + j * f:y0 + (j + 1) * f]
        for c in range(f):
            a[c] += wa[c] * g[c]
            b[c] += wb[c] * g[c]
            d[c] += wc[c] * g[c]


@apart
def weight_1(x, x0, step, w, w0, y, y0, ow, f):
    """One tap: w += x[j*step] * y[j]."""
    taps = w[w0:w0 + f]
    for j in range(ow):
        r, d = x[x0 + j * step:x0 + j * step + f], y[y0 + j * f:y0 + (j + 1) * f]
        for c in range(f):
            taps[c] += r[c] * d[c]


@apart
def weight_3(x, x0, step, w, w0, y, y0, ow, f):
    """A row of 3 taps, two pixels at a time: w[v] += x[j*step + v*f] * y[j]. ow is even."""
    wa, wb, wc = w[w0:w0 + f], w[w0 + f:w0 + 2 * f], w[w0 + 2 * f:w0 + 3 * f]
    for j in range(0, ow, 2):
        at = x0 + j * step
        a, b, d = x[at:at + f], x[at + f:at + 2 * f], x[at + 2 * f:at + 3 * f]
        at += step
        p, q, r = x[at:at + f], x[at + f:at + 2 * f], x[at + 2 * f:at + 3 * f]
        g, h = y[y0 + j * f:y0 + (j + 1) * f], y[y0 + (j + 1) * f:y0 + (j + 2) * f]
        for c in range(f):
            wa[c] += a[c] * g[c] + p[c] * h[c]
            wb[c] += b[c] * g[c] + q[c] * h[c]
            wc[c] += d[c] * g[c] + r[c] * h[c]


@apart
def forward_row(x, x0, w, start, y, y0, ow, f, pitch, kh, kw, sw, dh, dw):
    """A row of outputs, all taps: y = start + ... ; x0, y0: where the row begins; x has `pitch` floats a row; w (taps,F)."""
    done, step = 0, sw * f
    if kh == 3 and kw == 3 and sw == 1 and dh == 1 and dw == 1:
        done = ow - ow % 2
        forward_3x3(x, x0, pitch, w, start, y, y0, done, f)
    if done < ow:
        for j in range(done, ow):
            copy(start, np.int64(0), f, y, y0 + j * f)
        for u in range(kh):
            at, tap = x0 + u * dh * pitch + done * step, u * kw * f
            if kw == 3 and dw == 1:
                forward_3(x, at, step, w, tap, y, y0 + done * f, ow - done, f)
            elif kw == 5 and dw == 1:
                forward_5(x, at, step, w, tap, y, y0 + done * f, ow - done, f)
            else:
                for v in range(kw):
                    forward_1(x, at + v * dw * f, step, w, tap + v * f, y, y0 + done * f, ow - done, f)


@apart
def input_row(x, x0, w, y, y0, ow, f, pitch, kh, kw, sw, dh, dw):
    """The same products, added to x."""
    for u in range(kh):
        at, tap = x0 + u * dh * pitch, u * kw * f
        if kw == 3 and dw == 1:
            input_3(x, at, sw * f, w, tap, y, y0, ow, f)
        else:
            for v in range(kw):
                input_1(x, at + v * dw * f, sw * f, w, tap + v * f, y, y0, ow, f)


@apart
def weight_row(x, x0, w, y, y0, ow, f, pitch, kh, kw, sw, dh, dw):
    """The same products, added to w."""
    done = ow - ow % 2 if kw == 3 and dw == 1 else 0
    for u in range(kh):
        at, tap, step = x0 + u * dh * pitch, u * kw * f, sw * f
        if done:
            weight_3(x, at, step, w, tap, y, y0, done, f)
        if done < ow:
            for v in range(kw):
                weight_1(x, at + v * dw * f + done * step, step, w, tap + v * f, y, y0 + done * f, ow - done, f)
