"""The loops of im2col: windows copied into rows of a matrix and added back, and the three products, as formulas; then the copies by whole rows.

    cols[p, k] = x[n, g*C/G + c, i*SH - top + u*DH, j*SW - left + v*DW]     p = (n,i,j) an output pixel, k = (c,u,v) a tap
    Y = cols W^T        dcols = dY W        dW = dY^T cols

The fast copies order the taps (u,v,c), so that in channels-last memory the C/G channels of a pixel are one run. Bound by: the copies, from memory.
"""
from ._jit import fast, plain


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


@fast
def unfold_rows(lo, hi, x, cols, first, c0, cg, kh, kw, sh, sw, top, left, dh, dw, oh, ow):
    """Tasks: rows of cols (pixels from `first` on) = taps (u,v,c) of x (N,H,W,C), channels from c0 on."""
    h, wide = x.shape[1], x.shape[2]
    for p in range(lo, hi):
        n, i, j, row = (first + p) // (oh * ow), (first + p) // ow % oh, (first + p) % ow, cols[p]
        for t in range(kh * kw):
            a, b = i * sh - top + t // kw * dh, j * sw - left + t % kw * dw
            target = row[t * cg:(t + 1) * cg]
            if a >= 0 and a < h and b >= 0 and b < wide:
                source = x[n, a, b, c0:c0 + cg]
                for c in range(cg):
                    target[c] = source[c]
            else:
                for c in range(cg):
                    target[c] = 0


@fast
def fold_rows(lo, hi, cols, dx, first, last, c0, cg, kh, kw, sh, sw, top, left, dh, dw, oh, ow):
    """Tasks: rows (n,a) of dx (N,H,W,C) collect what `unfold_rows` copied from them into cols, of pixels first .. last-1."""
    h, wide = dx.shape[1], dx.shape[2]
    for task in range(lo, hi):
        n, a = task // h, task % h
        for u in range(kh):
            i = a + top - u * dh
            if i % sh == 0 and i >= 0 and i // sh < oh:
                line = (n * oh + i // sh) * ow
                for p in range(max(line, first), min(line + ow, last)):
                    for v in range(kw):
                        b = (p - line) * sw - left + v * dw
                        if b >= 0 and b < wide:
                            target, source = dx[n, a, b, c0:c0 + cg], cols[p - first, (u * kw + v) * cg:(u * kw + v + 1) * cg]
                            for c in range(cg):
                                target[c] += source[c]
