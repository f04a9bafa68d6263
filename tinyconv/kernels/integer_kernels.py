"""Loops of the integer network: codes in, int32 accumulators, codes out. What they mean is told in `integer`.

    acc[n,f,i,j] = bias[f] + sum over c,u,v of (x_q - Z_x)(w_q - Z_w[f]),  padding = Z_x, that is 0 after centring
    y_q = requantized(acc)                                                  one rule of `integer.RULES`

The plain kernel is that sum in int32. The fast kernels compute the same integers with float32 multiply-adds, of which a
processor does twice as many as 32-bit integer ones, and stay exact: a product of centred codes is at most 255*255 = 65025 in
size, a float32 holds every integer up to 2^24 = 16777216, and 65025 * 256 = 16646400, so 256 products may be added in
any order, fused or not, before the sum must move to int32. Results are therefore bit-equal to the plain ones.

`centred` subtracts Z_x once, lays channels-last pixels out with their padding (zeros), and so leaves no bounds to check.
Dense: weights packed in panels of 32 filters; 4 pixels x 32 filters advance together by 4 products a step (64 scalars of x
feed 512 multiply-adds). Depthwise: 3 taps at a time, the inner loop over channels. Both requantize a pixel as soon as it is
done, so accumulators never leave the cache. Cost: N*F*OH*OW*(C/G)*KH*KW multiply-adds; the last rounding costs about 10
operations an output. Scratch: 4 bytes a value of the padded input, 1 KiB (dense) or 8F bytes (depthwise) a slab.

Requantization rounds a product of two floats once, on purpose: so `onnx` and whoever calls it rely on strict arithmetic,
and it is compiled `plain`, fused multiply-adds forbidden. A code leaves as its low byte, & 255: int8 and uint8 in one kernel.
"""
import numpy as np

from ._jit import fast, plain

WIDTH = 32              # filters a panel: a constant, so that the compiler sees the whole inner loop
STEP = 4                # products a step
EXACT = 256 // STEP     # steps after which float32 sums move to int32
TAPS = 3                # depthwise taps a step
ONNX = 0                # numbers of the rules
ROUND = 1.5 * 2.0 ** 52 # a float64 this large has no bits left for fractions


# ---- rules ---------------------------------------------------------------------------------------------------------------

@plain
def rounded(value):
    """|value| < 2^51 rounded to an integer, half to even: adding ROUND lets the adder do it (np.rint, but vectorised)."""
    return (value + ROUND) - ROUND


@plain
def onnx(acc, multiplier, zero, low, high):
    """One accumulator to one code as ONNX's QLinearConv: float64(acc) * M, + Z, clip, then round half to even."""
    value = np.float64(acc) * multiplier + zero
    return np.int32(rounded(min(max(value, low), high)))


@plain
def requantize(rule, acc, multiplier, zero, low, high, out):
    """out[f] = the low byte of the code of acc[f], by the rule of that number; acc int32, multiplier float64, all (F,)."""
    if rule == ONNX:
        for f in range(out.size):
            out[f] = onnx(acc[f], multiplier[f], zero, low, high) & 255


# ---- the formula ---------------------------------------------------------------------------------------------------------

@plain
def plain_conv(x, w, x_zero, w_zero, acc, sh, sw, top, left, dh, dw):
    """acc (N,F,OH,OW) int32 += the centred products of x (N,C,H,W) and w (F,C/G,KH,KW), any integer codes."""
    N, C, H, W = x.shape
    F, CG, KH, KW = w.shape
    OH, OW = acc.shape[2], acc.shape[3]
    for n in range(N):
        for f in range(F):
            first = f // (F // (C // CG)) * CG                 # first channel of the filter's group
            for i in range(OH):
                for j in range(OW):
                    for c in range(CG):
                        for u in range(KH):
                            for v in range(KW):
                                h, q = i * sh - top + u * dh, j * sw - left + v * dw
                                if 0 <= h < H and 0 <= q < W:
                                    a, b = np.int32(x[n, first + c, h, q]) - x_zero, np.int32(w[f, c, u, v]) - w_zero[f]
                                    acc[n, f, i, j] += a * b


@plain
def requantize_rows(lo, hi, rule, acc, multiplier, zero, low, high, out):
    """Tasks: rows of acc (P,F) int32 to rows of out (P,F), low bytes of the codes."""
    for p in range(lo, hi):
        requantize(rule, acc[p], multiplier, zero, low, high, out[p])


# ---- the same for the machine --------------------------------------------------------------------------------------------

@fast
def centred(lo, hi, x, zero, top, left, out):
    """Tasks: rows of x. out (N,HP,WP,G,CP), zeroed, gets x (N,H,W,C) - zero at (top, left); channels beyond C/G stay 0."""
    H, W, C = x.shape[1], x.shape[2], x.shape[3]
    G = out.shape[3]
    CG = C // G
    for task in range(lo, hi):
        n, h = task // H, task % H
        for w in range(W):
            for g in range(G):
                source, target = x[n, h, w, g * CG:(g + 1) * CG], out[n, h + top, w + left, g]
                for c in range(CG):
                    target[c] = np.float32(np.int32(source[c]) - zero)


@fast
def four_pixels(x, p0, p1, p2, p3, offset, w, bias, part, total):
    """total (4*WIDTH,) int32 = the accumulators of 4 pixels x 32 filters.

    x (rows,4): four channels a row; pixel i begins at row p_i, step s lies offset[s] rows further; w (steps, 4*WIDTH).
    """
    for f in range(WIDTH):
        total[f] = total[WIDTH + f] = total[2 * WIDTH + f] = total[3 * WIDTH + f] = bias[f]
    for begin in range(0, offset.size, EXACT):
        for f in range(4 * WIDTH):
            part[f] = np.float32(0)
        for s in range(begin, min(begin + EXACT, offset.size)):
            o, b = offset[s], w[s]
            x0, x1, x2, x3 = x[p0 + o], x[p1 + o], x[p2 + o], x[p3 + o]
            x00, x01, x02, x03 = x0[0], x0[1], x0[2], x0[3]
            x10, x11, x12, x13 = x1[0], x1[1], x1[2], x1[3]
            x20, x21, x22, x23 = x2[0], x2[1], x2[2], x2[3]
            x30, x31, x32, x33 = x3[0], x3[1], x3[2], x3[3]
            for f in range(WIDTH):
                b0, b1, b2, b3 = b[f], b[WIDTH + f], b[2 * WIDTH + f], b[3 * WIDTH + f]
                part[f] += x00 * b0 + x01 * b1 + x02 * b2 + x03 * b3
                part[WIDTH + f] += x10 * b0 + x11 * b1 + x12 * b2 + x13 * b3
                part[2 * WIDTH + f] += x20 * b0 + x21 * b1 + x22 * b2 + x23 * b3
                part[3 * WIDTH + f] += x30 * b0 + x31 * b1 + x32 * b2 + x33 * b3
        for f in range(4 * WIDTH):
            total[f] += np.int32(part[f])


@fast
def dense(lo, hi, x, begin, offset, w, bias, multiplier, rule, zero, low, high, F, groups, group_rows, part, total, code, out):
    """Tasks: slabs of output pixels. out (P,F) = low bytes of the codes.

    x (rows,4) from `centred`, `group_rows` rows a pixel and group; begin (P,) the row where each window begins; offset (steps,)
    the rows from there to each step's four channels; w (panels, steps, 4*WIDTH); bias (panels, WIDTH) int32; multiplier
    (panels, 4*WIDTH), the panel's four times over; part float32, total int32, code uint8 (slabs, 4*WIDTH).
    """
    P, slabs, panels = out.shape[0], part.shape[0], w.shape[0]
    FG, each = F // groups, panels // groups                   # filters and panels a group
    for slab in range(lo, hi):
        first, last = slab * P // slabs, (slab + 1) * P // slabs
        for q in range(panels):
            f = q // each * FG + q % each * WIDTH              # the panel's filters f .. end - 1
            end = min(f + WIDTH, (q // each + 1) * FG)
            start = q // each * group_rows
            for p in range(first, last, 4):
                p1, p2, p3 = min(p + 1, last - 1), min(p + 2, last - 1), min(p + 3, last - 1)
                four_pixels(x, start + begin[p], start + begin[p1], start + begin[p2], start + begin[p3], offset, w[q], bias[q],
                            part[slab], total[slab])
                requantize(rule, total[slab], multiplier[q], zero, low, high, code[slab])
                for k in range(min(4, last - p)):
                    source, target = code[slab, k * WIDTH:(k + 1) * WIDTH], out[p + k, f:end]
                    for i in range(end - f):
                        target[i] = source[i]


@fast
def depthwise(lo, hi, x, begin, offset, w, bias, multiplier, rule, zero, low, high, part, total, out):
    """Tasks: slabs of output pixels. out (P,F) = low bytes of the codes.

    x (pixels,F) from `centred`; begin (P,) the pixel where each window begins; offset (taps,) the pixels from there to each tap,
    in threes (filled up with zero weights); w (taps,F); bias, multiplier (F,); part float32, total int32 (slabs,F).
    """
    P, F = out.shape
    slabs, taps = part.shape[0], offset.size
    for slab in range(lo, hi):
        y, acc = part[slab], total[slab]
        for p in range(slab * P // slabs, (slab + 1) * P // slabs):
            at = begin[p]
            for f in range(F):
                acc[f] = bias[f]
            for since in range(0, taps, TAPS * EXACT):
                for f in range(F):
                    y[f] = np.float32(0)
                for t in range(since, min(since + TAPS * EXACT, taps), TAPS):
                    x0, x1, x2 = x[at + offset[t]], x[at + offset[t + 1]], x[at + offset[t + 2]]
                    w0, w1, w2 = w[t], w[t + 1], w[t + 2]
                    for f in range(F):
                        y[f] += x0[f] * w0[f] + x1[f] * w1[f] + x2[f] * w2[f]
                for f in range(F):
                    acc[f] += np.int32(y[f])
            requantize(rule, acc, multiplier, zero, low, high, out[p])


# ---- sums and elementwise ------------------------------------------------------------------------------------------------

@plain
def plain_plane_sums(x, zero, total):
    """total (N,C) int32 += x (N,C,H,W) - zero over each plane."""
    N, C, H, W = x.shape
    for n in range(N):
        for c in range(C):
            for h in range(H):
                for w in range(W):
                    total[n, c] += np.int32(x[n, c, h, w]) - zero


@fast
def plane_sums(lo, hi, x, zero, total):
    """Tasks: images. total (N,C) int32, zeroed, gets the sums of x (N,H*W,C) - zero."""
    HW, C = x.shape[1], x.shape[2]
    for n in range(lo, hi):
        acc = total[n]
        for p in range(HW):
            pixel = x[n, p]
            for c in range(C):
                acc[c] += np.int32(pixel[c]) - zero


@plain
def add(lo, hi, a, a_scale, a_zero, b, b_scale, b_zero, y_scale, zero, low, high, out):
    """Tasks: elements. out = the low byte of round(((a - Z_a) S_a + (b - Z_b) S_b) / S_y) + Z_y, clipped to low .. high.

    a and b codes; the scales float64, so that both products are exact; a quotient far outside is cut before it is rounded.
    """
    for i in range(lo, hi):
        real = np.float64(np.int32(a[i]) - a_zero) * a_scale + np.float64(np.int32(b[i]) - b_zero) * b_scale
        value = rounded(min(max(real / y_scale, -1000.0), 1000.0)) + zero
        out[i] = np.int32(min(max(value, low), high)) & 255
