"""Depthwise convolution: every channel is convolved by itself, with M = F/C filters (M is the multiplier, mostly 1).

    y[n, c*M+m, i, j] = bias[c*M+m] + sum over u,v of  w[c*M+m, u, v] * x[n, c, i*SH - top + u*DH, j*SW - left + v*DW]

One loop nest over output pixels and taps serves all three directions; only the array on the left of the += changes:

    forward       y[pixel] += w[tap] * x[pixel + tap]
    grad_input    x[pixel + tap] += w[tap] * y[pixel]
    grad_weight   w[tap] += y[pixel] * x[pixel + tap]

How it is made fast: in channels-last memory the channels of a pixel are neighbours, so the innermost loop runs over all
channels of a pixel at once, the window's taps standing in one expression: whole vectors, whatever the stride. The image is
first copied, a band of rows at a time, into a plane that has the padding already around it (and each channel M times), so
that there are no border cases. The loops over one row of outputs are the page `taps`. At stride 1 grad_input is a forward
pass over dy with the weights turned around (w[KH-1-u, KW-1-v]) and padding (KH-1)*DH - P, so the same loops serve it.

Cost: N*F*OH*OW*KH*KW multiply-adds, each with one or two loads from the first-level cache: loads are the limit, then,
for large batches, the memory that x and y come from; with fewer than 32 channels the start of the inner loop.
Padding is 0 in the plane and is multiplied like any number: a NaN or infinity in w (in grad_weight: in dy) over padding
gives NaN here, where the formula leaves the tap out.
Source: Howard et al., "MobileNets" (2017), section 3.1, eq. 3; Chollet, "Xception" (2017).
"""
import numpy as np

from . import gemm, layout, select, threads
from ._jit import apart, plain
from .taps import forward_row, input_row, read, weight_row

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


@apart
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
                forward_row(plane, i * sh * used * f, w, start, y, (n * oh + first + i) * ow * f, ow, f, used * f,
                            kh, kw, sw, dh, dw)


@apart
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
                weight_row(plane, i * sh * used * f, part, dy, (n * oh + first + i) * ow * f, ow, f, used * f,
                           kh, kw, sw, dh, dw)


@apart
def input_images(lo, hi, dy, w, dx, planes, pieces, images, c, m, h, wide, kh, kw, sh, sw, top, left, dh, dw,
                 oh, ow, columns, rows):
    """Task t: whole images; the plane gathers dx, padding included, then its image part is written, M channels summed to one."""
    f = c * m
    for t in range(lo, hi):
        plane = planes[t]
        for n in range(t * images // pieces, (t + 1) * images // pieces):
            plane[:rows * columns * f] = np.float32(0)
            for i in range(oh):
                input_row(plane, i * sh * columns * f, w, dy, (n * oh + i) * ow * f, ow, f, columns * f, kh, kw, sw, dh, dw)
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
    """dy (N,F,OH,OW), w (F,1,KH,KW) -> dx (N,C,H,W), the adjoint of `forward` in x.

    Cost: that of the forward pass. At stride 1 and one filter a channel it is one (over dy, weights turned around); else each
    image's products are gathered in a plane, and the tasks are whole images.
    """
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
    """dy (N,F,OH,OW), x (N,C,H,W) -> dw (F,1,KH,KW), the adjoint of `forward` in w.

    Cost: that of the forward pass. Each thread sums its images into a dw of its own; these are added in order.
    """
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
