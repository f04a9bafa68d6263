"""im2col: copy every window into a row of a matrix, then the convolution is a matrix product. Any geometry.

    cols[p, k] = x[n, g*C/G + c, i*SH - top + u*DH, j*SW - left + v*DW]     p = (n,i,j) an output pixel, k = (c,u,v) a tap
    Y = cols W^T + bias        dW = dY^T cols        dcols = dY W, and each number of dcols is added where it was copied from

cols holds KH*KW*OH*OW/(H*W) times the numbers of x (nine times for 3x3), so it is never built whole: a band of pixels and,
where K = (C/G)*KH*KW is large, a chunk of the sum is copied, used while it is in the cache, and overwritten.
Cost: P*F*K multiply-adds (P = N*OH*OW) for each direction, and P*K copied numbers, 1/F of the work: nothing with
64 filters, half the time with 16. Workspace: at most 1 MB a thread, whatever the geometry, see `workspace_bytes`.

(Numbers are handed to `block` as np.int64(0), not 0: numba would compile it anew for each literal.)

The fast kernels order the taps (u,v,c): in channels-last memory the C/G channels of a pixel are then copied in one run, and
without dilation or groups a whole row of the window is. The product is `gemm.block`. Padding is 0 in cols and is
multiplied like any number: a NaN or infinity in w (in grad_weight: in dy) over padding gives NaN here.
Source: Chellapilla, Puri & Simard, "High performance convolutional neural networks for document processing" (2006).
"""
import numpy as np

from . import gemm, layout, select, threads
from ._jit import apart, plain
from .gemm import block, copy, pack_panel

CHUNK = 65536           # numbers of packed weights (a chunk of the sum for all filters): 256 KB
BAND = 32768            # numbers of cols: 128 KB


@plain
def unfold(x, n, c0, first, cols, kh, kw, sh, sw, top, left, dh, dw, ow):
    """cols[p, (c,u,v)] += the window of output pixel first+p of image n, channels from c0 on; cols zeroed."""
    for p in range(cols.shape[0]):
        i, j = (first + p) // ow, (first + p) % ow
        for k in range(cols.shape[1]):
            c, u, v = c0 + k // (kh * kw), k // kw % kh, k % kw
            row, column = i * sh - top + u * dh, j * sw - left + v * dw
            if 0 <= row and row < x.shape[2] and 0 <= column and column < x.shape[3]:
                cols[p, k] += x[n, c, row, column]


@plain
def fold(cols, dx, n, c0, first, kh, kw, sh, sw, top, left, dh, dw, ow):
    """The adjoint of `unfold`: every number of cols is added to dx where it was copied from."""
    for p in range(cols.shape[0]):
        i, j = (first + p) // ow, (first + p) % ow
        for k in range(cols.shape[1]):
            c, u, v = c0 + k // (kh * kw), k // kw % kh, k % kw
            row, column = i * sh - top + u * dh, j * sw - left + v * dw
            if 0 <= row and row < dx.shape[2] and 0 <= column and column < dx.shape[3]:
                dx[n, c, row, column] += cols[p, k]


@plain
def product(cols, w, y, n, f0, filters, first):
    """y[n,f,first+p] += sum_k w[f,k] * cols[p,k] for the filters f0 .. : a band of Y = cols W^T. w (F,K), y (N,F,OH*OW)."""
    for f in range(f0, f0 + filters):
        for p in range(cols.shape[0]):
            for k in range(cols.shape[1]):
                y[n, f, first + p] += w[f, k] * cols[p, k]


@plain
def product_input(dy, w, cols, n, f0, filters, first):
    """cols[p,k] += sum_f w[f,k] * dy[n,f,first+p]: a band of dcols = dY W."""
    for f in range(f0, f0 + filters):
        for p in range(cols.shape[0]):
            for k in range(cols.shape[1]):
                cols[p, k] += w[f, k] * dy[n, f, first + p]


@plain
def product_weight(dy, cols, dw_, n, f0, filters, first):
    """dw_[f,k] += sum_p dy[n,f,first+p] * cols[p,k]: a band's share of dW = dY^T cols."""
    for f in range(f0, f0 + filters):
        for p in range(cols.shape[0]):
            for k in range(cols.shape[1]):
                dw_[f, k] += dy[n, f, first + p] * cols[p, k]


@apart
def clear(b, b0, count):
    """b[b0:] = 0, count numbers."""
    to = b[b0:b0 + count]
    for q in range(count):
        to[q] = np.float32(0)


@apart
def collect(a, a0, count, b, b0):
    """b[b0:] += a[a0:], count numbers."""
    line, to = a[a0:a0 + count], b[b0:b0 + count]
    for q in range(count):
        to[q] += line[q]


@apart
def unfold_band(x, p0, count, c0, k0, depth, cols, h, wide, c, cg, kh, kw, sh, sw, top, left, dh, dw, oh, ow):
    """cols (count,depth) = taps k0 .. k0+depth, ordered (u,v,c), of output pixels p0 .. ; x (N,H,W,C) flat, channels c0 .. ."""
    length, k1 = kw * cg, k0 + depth                                    # a row of the window; the last tap
    first, last = k0 // length, (k1 - 1) // length
    n, i, j = p0 // (oh * ow), p0 // ow % oh, p0 % ow
    for p in range(count):
        column = j * sw - left
        whole = dw == 1 and cg == c and 0 <= column and column + kw <= wide
        for u in range(first, last + 1):
            row = i * sh - top + u * dh
            begin, end = max(k0, u * length), min(k1, (u + 1) * length)
            to = p * depth - k0                                         # cols[to + k] is tap k of this pixel
            if row < 0 or row >= h:
                clear(cols, to + begin, end - begin)
            elif whole:
                copy(x, ((n * h + row) * wide + column) * c + begin - u * length, end - begin, cols, to + begin)
            else:
                for v in range(kw):
                    place, tap = column + v * dw, u * length + v * cg
                    b, e = max(begin, tap), min(end, tap + cg)
                    if place < 0 or place >= wide:
                        clear(cols, to + b, e - b)
                    else:
                        copy(x, ((n * h + row) * wide + place) * c + c0 + b - tap, e - b, cols, to + b)
        j += 1
        if j == ow:
            i, j = i + 1, 0
            if i == oh:
                n, i = n + 1, 0


@apart
def fold_band(cols, dx, p0, count, c0, k0, depth, h, wide, c, cg, kh, kw, sh, sw, top, left, dh, dw, oh, ow):
    """The adjoint of `unfold_band`: dx += cols, each number where it was copied from."""
    length, k1 = kw * cg, k0 + depth
    first, last = k0 // length, (k1 - 1) // length
    n, i, j = p0 // (oh * ow), p0 // ow % oh, p0 % ow
    for p in range(count):
        column = j * sw - left
        whole = dw == 1 and cg == c and 0 <= column and column + kw <= wide
        for u in range(first, last + 1):
            row = i * sh - top + u * dh
            if row < 0 or row >= h:
                continue
            begin, end = max(k0, u * length), min(k1, (u + 1) * length)
            from_ = p * depth - k0
            if whole:
                collect(cols, from_ + begin, end - begin, dx, ((n * h + row) * wide + column) * c + begin - u * length)
            else:
                for v in range(kw):
                    place, tap = column + v * dw, u * length + v * cg
                    b, e = max(begin, tap), min(end, tap + cg)
                    if 0 <= place and place < wide:
                        collect(cols, from_ + b, e - b, dx, ((n * h + row) * wide + place) * c + c0 + b - tap)
        j += 1
        if j == ow:
            i, j = i + 1, 0
            if i == oh:
                n, i = n + 1, 0


@apart
def pack_groups(lo, hi, chunk, size, row, col, k, n, out):
    """Task g packs the weights of group g, (k,n) with element strides (row, col), into panels out[g]."""
    for g in range(lo, hi):
        for j in range(0, n, 32):
            pack_panel(chunk, g * size, row, col, k, n, j, out[g])


@apart
def forward_bands(lo, hi, x, packed, start, y, cols, tiles, pieces, band, k0, depth, images, f, groups,
                  h, wide, c, cg, kh, kw, sh, sw, top, left, dh, dw, oh, ow):
    """Task t: output pixels t*P//pieces .. in bands; y (P,F) gets the terms k0 .. k0+depth of its sums, the first on bias."""
    fg, pixels = f // groups, images * oh * ow
    for t in range(lo, hi):
        end = (t + 1) * pixels // pieces
        for p in range(t * pixels // pieces, end, band):
            count = min(band, end - p)
            for g in range(groups):
                unfold_band(x, p, count, g * cg, k0, depth, cols[t], h, wide, c, cg, kh, kw, sh, sw, top, left, dh, dw, oh, ow)
                block(cols[t], np.int64(0), depth, np.int64(1), packed[g], start[g], y, p * f + g * fg, f, count, fg, depth,
                      k0 > 0, tiles[t])


@apart
def input_bands(lo, hi, dy, packed, start, dx, cols, tiles, pieces, band, k0, depth, images, f, groups,
                h, wide, c, cg, kh, kw, sh, sw, top, left, dh, dw, oh, ow):
    """Task t: (image, group) pairs t*N*G//pieces .. ; dcols (count,depth) = dY W, folded into dx, which no other task touches."""
    fg, plane = f // groups, oh * ow
    for t in range(lo, hi):
        for item in range(t * images * groups // pieces, (t + 1) * images * groups // pieces):
            n, g = item // groups, item % groups
            for p in range(n * plane, (n + 1) * plane, band):
                count = min(band, (n + 1) * plane - p)
                block(dy, p * f + g * fg, f, np.int64(1), packed[g], start[0], cols[t], np.int64(0), depth, count, depth, fg,
                      np.bool_(False), tiles[t])
                fold_band(cols[t], dx, p, count, g * cg, k0, depth, h, wide, c, cg, kh, kw, sh, sw, top, left, dh, dw, oh, ow)


@apart
def weight_bands(lo, hi, dy, x, start, parts, panels, cols, tiles, pieces, band, k0, depth, images, f, groups,
                 h, wide, c, cg, kh, kw, sh, sw, top, left, dh, dw, oh, ow):
    """Task t: output pixels t*P//pieces .. ; parts[t] (G,depth,F/G) = cols^T dY of these pixels."""
    fg, pixels = f // groups, images * oh * ow
    for t in range(lo, hi):
        first, end = t * pixels // pieces, (t + 1) * pixels // pieces
        for p in range(first, end, band):
            count = min(band, end - p)
            for g in range(groups):
                unfold_band(x, p, count, g * cg, k0, depth, cols[t], h, wide, c, cg, kh, kw, sh, sw, top, left, dh, dw, oh, ow)
                for j in range(0, fg, 32):
                    pack_panel(dy, p * f + g * fg, f, np.int64(1), count, fg, j, panels[t])
                block(cols[t], np.int64(0), np.int64(1), depth, panels[t], start[0], parts[t], g * depth * fg, fg, depth, fg,
                      count, p > first, tiles[t])


def supports(geometry):
    """Every geometry."""
    return True


def _sizes(g):
    return (g.n, g.f, g.groups, g.h, g.w, g.c, g.c // g.groups, g.kh, g.kw, g.sh, g.sw, g.top, g.left, g.dh, g.dw, g.oh, g.ow)


def _terms(g):
    return g.c // g.groups * g.kh * g.kw


def _cuts(g, direction):
    """Terms in a chunk, pixels in a band, pieces (one a thread): so small that everything stays in the caches and in bounds."""
    wide = g.groups * gemm.columns(g.f // g.groups)
    depth = max(4, CHUNK // wide // 16 * 16)
    depth = min(_terms(g), 512, depth)
    band = max(4, min(64, BAND // max(depth, gemm.columns(g.f // g.groups))))
    shares = g.n * g.groups if direction == "grad_input" else -(-g.n * g.oh * g.ow // 16)
    return depth, band, max(1, min(threads.get_num_threads(), shares))


def _rooms(g, direction):
    """Shapes of the scratch arrays of the fast kernels, in the order they are taken."""
    depth, band, pieces = _cuts(g, direction)
    fg = g.f // g.groups
    wide = gemm.columns(depth if direction == "grad_input" else fg)
    rooms = [(pieces, band * depth), (pieces, gemm.TILE), (g.groups, wide)]
    if direction == "grad_weight":
        return rooms + [(pieces, g.f * depth), (pieces, band * wide)]
    return rooms + [(g.groups, (depth if direction == "forward" else fg) * wide), (g.f * depth,)]


def _plain_band(g):
    return max(1, min(g.oh * g.ow, BAND // _terms(g)))


def workspace_bytes(geometry, direction="forward", dtype=np.float32):
    """Cols and a tile for each thread; a chunk of the weights as taken and as packed (grad_weight: its sums, and dy packed).

    Bounded by CHUNK and BAND: less than 1 MB a thread for any geometry of up to 8192 filters.
    """
    g = geometry
    dtype = np.dtype(dtype)
    if not select.is_fast(dtype):
        return _plain_band(g) * _terms(g) * dtype.itemsize
    return 4 * sum(int(np.prod(shape)) for shape in _rooms(g, direction))


def _chunks(g, depth):
    """(k0, depth, order): chunks of the sum; `order` says where its terms (u,v,c) lie in a filter (c,u,v)."""
    taps = g.kh * g.kw
    for k0 in range(0, _terms(g), depth):
        k = np.arange(k0, min(_terms(g), k0 + depth))
        yield k0, len(k), k % (g.c // g.groups) * taps + k // (g.c // g.groups)


def _pack(w, order, g, direction, chunk, packed):
    """A chunk of every group's weights in panels: (terms, filters) for forward, (filters, terms) for grad_input."""
    fg, depth = g.f // g.groups, len(order)
    chunk = chunk[:g.f * depth]
    np.take(w.reshape(g.f, -1), order, axis=1, out=chunk.reshape(g.f, depth), mode="clip")  # (F,K) -> (F,depth)
    strides = (1, depth, depth, fg) if direction == "forward" else (depth, 1, fg, depth)
    threads.run(pack_groups, g.groups, chunk, fg * depth, *strides, packed, work=g.f * depth)


def forward(x, w, bias, geometry):
    """x (N,C,H,W), w (F,C/G,KH,KW), bias (F,) or None -> y (N,F,OH,OW). Cost: N*F*OH*OW*(C/G)*KH*KW multiply-adds."""
    g = geometry
    if not select.is_fast(x.dtype):
        y = np.zeros(g.y_shape, x.dtype)
        x, w = layout.nchw(x), layout.writable(w.reshape(g.f, -1))
        for n, group, first, cols in _plain_bands(g, x.dtype):
            unfold(x, n, group * (g.c // g.groups), first, cols, *_window(g))
            product(cols, w, y.reshape(g.n, g.f, -1), n, group * (g.f // g.groups), g.f // g.groups, first)
        return y if bias is None else y + bias[:, None, None]
    depth, band, pieces = _cuts(g, "forward")
    cols, tiles, start, packed, chunk = (select.scratch(shape) for shape in _rooms(g, "forward"))
    start[:] = 0
    if bias is not None:
        start[:, :g.f // g.groups] = bias.reshape(g.groups, -1)
    x, y = layout.nhwc(x).reshape(-1), layout.room((g.n, g.oh, g.ow, g.f))
    for k0, length, order in _chunks(g, depth):
        _pack(w, order, g, "forward", chunk, packed)
        threads.run(forward_bands, pieces, x, packed, start, y.reshape(-1), cols, tiles, pieces, band, k0, length, *_sizes(g),
                    work=y.size * length)
    return layout.shaped(y)


def grad_input(dy, w, geometry):
    """dy (N,F,OH,OW), w (F,C/G,KH,KW) -> dx (N,C,H,W). Cost: that of the forward pass; shared among images and groups."""
    g = geometry
    if not select.is_fast(dy.dtype):
        dx = np.zeros(g.x_shape, dy.dtype)
        dy, w = layout.nchw(dy).reshape(g.n, g.f, -1), layout.writable(w.reshape(g.f, -1))
        for n, group, first, cols in _plain_bands(g, dy.dtype):
            product_input(dy, w, cols, n, group * (g.f // g.groups), g.f // g.groups, first)
            fold(cols, dx, n, group * (g.c // g.groups), first, *_window(g))
        return dx
    depth, band, pieces = _cuts(g, "grad_input")
    cols, tiles, start, packed, chunk = (select.scratch(shape) for shape in _rooms(g, "grad_input"))
    start[:] = 0
    dy, dx = layout.nhwc(dy).reshape(-1), np.zeros((g.n, g.h, g.w, g.c), np.float32)
    for k0, length, order in _chunks(g, depth):
        _pack(w, order, g, "grad_input", chunk, packed)
        threads.run(input_bands, pieces, dy, packed, start, dx.reshape(-1), cols, tiles, pieces, band, k0, length, *_sizes(g),
                    work=dy.size * length)
    return layout.shaped(dx)


def grad_weight(dy, x, geometry):
    """dy (N,F,OH,OW), x (N,C,H,W) -> dw (F,C/G,KH,KW). Cost: that of the forward pass."""
    g = geometry
    dw = np.zeros((g.f, _terms(g)), dy.dtype)
    if not select.is_fast(dy.dtype):
        dy, x = layout.nchw(dy).reshape(g.n, g.f, -1), layout.nchw(x)
        for n, group, first, cols in _plain_bands(g, dy.dtype):
            unfold(x, n, group * (g.c // g.groups), first, cols, *_window(g))
            product_weight(dy, cols, dw, n, group * (g.f // g.groups), g.f // g.groups, first)
        return dw.reshape(g.w_shape)
    depth, band, pieces = _cuts(g, "grad_weight")
    cols, tiles, start, parts, panels = (select.scratch(shape) for shape in _rooms(g, "grad_weight"))
    start[:] = 0
    dy, x = layout.nhwc(dy).reshape(-1), layout.nhwc(x).reshape(-1)
    for k0, length, order in _chunks(g, depth):
        threads.run(weight_bands, pieces, dy, x, start, parts, panels, cols, tiles, pieces, band, k0, length, *_sizes(g),
                    work=dy.size * length)
        for part in parts[1:]:
            parts[0] += part
        total = parts[0, :g.f * length].reshape(g.groups, length, g.f // g.groups)          # (G,depth,F/G) -> (F,depth)
        dw[:, order] = total.transpose(0, 2, 1).reshape(g.f, length)
    return dw.reshape(g.w_shape)


def _window(g):
    return g.kh, g.kw, g.sh, g.sw, g.top, g.left, g.dh, g.dw, g.ow


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
