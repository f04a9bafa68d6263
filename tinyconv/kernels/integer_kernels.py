"""Loops of the integer network that are the formula itself, and those of sums and means of codes. What they mean is told in `integer`.

    acc[n,f,i,j] = bias[f] + sum over c,u,v of (x_q - Z_x)(w_q - Z_w[f]),  padding = Z_x, that is 0 after centring

Cost: N*F*OH*OW*(C/G)*KH*KW multiply-adds; an addition and a division an element of a sum. A code leaves as its low byte, & 255: int8 and
uint8 in one kernel. Sums and products of floats are rounded one by one, on purpose: these loops are compiled `plain`.
"""
import numpy as np

from ._jit import fast, plain
from .requantization import ROUND


@plain
def rounded(value):
    """|value| < 2^51 rounded to an integer, half to even: adding ROUND lets the adder do it (np.rint, but vectorised)."""
    return (value + ROUND) - ROUND


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


# ---- codes without weights -----------------------------------------------------------------------------------------------

@fast
def window_sums(lo, hi, x, zero, row_lo, row_hi, col_lo, col_hi, total):
    """Tasks: rows of total (N,OH,OW,C) int32, zeroed: the sums of x (N,H,W,C) - zero over each window."""
    OH, OW, C = total.shape[1], total.shape[2], total.shape[3]
    for task in range(lo, hi):
        n, i = task // OH, task % OH
        for j in range(OW):
            acc = total[n, i, j]
            for h in range(row_lo[i], row_hi[i]):
                for w in range(col_lo[j], col_hi[j]):
                    pixel = x[n, h, w]
                    for c in range(C):
                        acc[c] += np.int32(pixel[c]) - zero


@fast
def look_up(lo, hi, x, same, table, out):
    """Tasks: elements. out = table[x], bytes; `same` is x, as loops over two arrays take it."""
    for i in range(lo, hi):
        out[i] = table[x[i]]


@plain
def multiply(lo, hi, a, b, a_zero, b_zero, M, zero, low, high, out):
    """Tasks: elements. out = the low byte of round((a - Z_a)(b - Z_b) M) + Z_y, clipped to low .. high; far outside it is cut before rounding."""
    for i in range(lo, hi):
        real = np.float64((np.int32(a[i]) - a_zero) * (np.int32(b[i]) - b_zero)) * M
        value = rounded(min(max(real, -1000.0), 1000.0)) + zero
        out[i] = np.int32(min(max(value, low), high)) & 255


@plain
def add(lo, hi, a, b, a_scale, a_zero, b_scale, b_zero, y_scale, before, after, low, high, out):
    """Tasks: elements. out = the low byte of round(((a - Z_a) S_a + (b - Z_b) S_b) / S_y + before) + after, clipped to low .. high.

    a and b codes; the scales float64, so that both products are exact; a quotient far outside is cut before it is rounded.
    """
    for i in range(lo, hi):
        real = np.float64(np.int32(a[i]) - a_zero) * a_scale + np.float64(np.int32(b[i]) - b_zero) * b_scale
        value = rounded(min(max(real / y_scale, -1000.0), 1000.0) + before) + after
        out[i] = np.int32(min(max(value, low), high)) & 255
