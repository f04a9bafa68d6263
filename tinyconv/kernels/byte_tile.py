"""The byte tile: MR pixels x NV vectors of filters, products of bytes summed in int32. Every fast integer layer is made of it.

    acc[i, :] += Σ_k Σ_{b<4} u(A[row_i + 4k + b]) · B[k, :, b]             i < MR rows,  k < K groups of four bytes

It is the tile of `tile` with four terms a step instead of one. AVX-512 VNNI has an instruction for exactly this (vpdpbusd): in each of 16
lanes, four unsigned bytes times four signed bytes, all added to an int32: 64 multiply-adds where a float instruction does 16. So the weights
are signed, packed as K groups of (NV·LANES filters, 4 terms), and activations unsigned: u(a) = a ^ flip, where flip is 128 in each byte
for int8 codes (q + 128, the zero point moves along) and 0 for uint8 ones. `multiply_bytes` finds them flipped: with the flip in its loop, a third
of the instructions that the multipliers' ports take would be no products.

Processors without it take two 16-bit products (vpmaddwd), or four 32-bit ones; never vpmaddubsw, whose sums of two products saturate at 2^15.
All give the same int32, modulo 2^32: that the whole sum fits is checked by `integer` from the weights themselves.

`finish_codes` takes the sums from memory, requantizes by the rule of that number (`requantization`) and stores a byte a result.
Bound by: vpdpbusd; for sums of fewer than about 100 terms by requantization.
Source: Intel, "Intel 64 and IA-32 Architectures Software Developer's Manual", VPDPBUSD; Fog, "Instruction tables".
"""
import numpy as np

from .requantization import by_rule
from .simd import LANES


# ---- what each step means: one vector is an array of LANES int32 ----------------------------------------------------------

def biases(MR, NV, bias, at):
    """The sums at the beginning: the biases of NV vectors of filters, MR times, as one tuple."""
    return tuple(bias[at + j * LANES:at + (j + 1) * LANES].copy() for _ in range(MR) for j in range(NV))


def multiply_bytes(acc, MR, NV, A, rows, q, hop, zero, first, B, b, K):
    """acc[i] += Σ over 4K unsigned bytes of A[rows[q+i·hop] + first …] · B[b …] (K, NV·LANES, 4); rows < 0 read `zero` instead."""
    panel = B[b:b + 4 * K * NV * LANES].reshape(K, NV * LANES, 4).astype(np.int64)
    out = []
    for i in range(MR):
        at = rows[q + i * hop]
        row = zero[:4 * K] if at < 0 else A[at + first:at + first + 4 * K]
        row = row.reshape(K, 1, 4).astype(np.int64)
        total = np.concatenate(acc[i * NV:(i + 1) * NV]) + (row * panel).sum((0, 2))
        out.extend(total.astype(np.int32).reshape(NV, LANES))
    return tuple(out)


def keep_sums(acc, MR, NV, S, at):
    """Put the sums away in the flat int32 array S, from `at` on, for later."""
    S[at:at + MR * NV * LANES] = np.concatenate(acc)


def resume_sums(MR, NV, S, at):
    """The sums as `keep_sums` put them away."""
    return tuple(S[at + i * LANES:at + (i + 1) * LANES].copy() for i in range(MR * NV))


def finish_codes(S, at, rows, vectors, rule, Y, places, q, column, n, m, s, f, zero, low, high):
    """Y[places[q+i] + column + j] = low byte of the code of S[at + i·vectors·LANES + j], j < min(n, vectors·LANES), i < rows.

    Places < 0 are skipped; if the last row has a place, all have. m and s are the rule's multipliers and shifts, one a filter, as long as
    whole vectors; zero point and bounds are floats.
    """
    n = min(n, vectors * LANES)
    sums = S[at:at + rows * vectors * LANES].reshape(rows, vectors * LANES)[:, :n]
    codes = by_rule(rule, sums, m[f:f + n], s[f:f + n], zero, low, high)
    for i in range(rows):
        if places[q + i] >= 0:
            Y[places[q + i] + column:places[q + i] + column + n] = codes[i] & 255


def quads(K):
    """The taps 0 … K-1 of a window's row in fours: [(last tap, the taps of the four bytes that end there, -1 for none), …].

    >>> quads(3), quads(5)
    ([(2, (-1, 0, 1, 2))], [(3, (0, 1, 2, 3)), (4, (-1, -1, -1, 4))])
    """
    ends = [min(first + 3, K - 1) for first in range(0, K, 4)]
    return [(last, tuple(v if v >= 4 * i else -1 for v in range(last - 3, last + 1))) for i, last in enumerate(ends)]


def slide(acc, ROWS, COLS, K, S, x, table, q, zero, c0, flip, w, wat, pitch, WHOLE, n):
    """acc[r·COLS + j] += Σ_{u,v<K} pixel(r·S + u, j·S + v) · tap(u, v), LANES channels from c0 on: `strip.window` in bytes.

    Of the last four pixels of a row one lane holds its channel's four bytes: each new pixel is pushed in at the top, so that a row of up to
    four taps is one product. w (K, quads, pitch, 4) from byte wat on: `quads` says which tap each byte is.
    """
    out, wide, n = list(acc), (COLS - 1) * S + K, min(n, LANES)
    for a in range((ROWS - 1) * S + K):
        last = np.zeros((LANES, 4), np.int64)
        for b in range(wide):
            at, pixel = table[q + a * wide + b], np.zeros(LANES, np.uint8)
            pixel[:n] = zero[:n] if at < 0 else x[at + c0:at + c0 + n]
            last = np.column_stack([last[:, 1:], (pixel ^ flip[0]).astype(np.int64)])
            for r in range(ROWS):
                for i, (end, _) in enumerate(quads(K)):
                    u, j = a - r * S, (b - end) // S
                    if 0 <= u < K and 0 <= b - end <= (COLS - 1) * S and (b - end) % S == 0:
                        at = wat + (u * len(quads(K)) + i) * pitch * 4
                        four = w[at:at + 4 * LANES].reshape(LANES, 4).astype(np.int64)
                        out[r * COLS + j] = (out[r * COLS + j] + (last * four).sum(1)).astype(np.int32)
    return tuple(out)


from . import _lower_bytes, _lower_codes  # noqa: E402,F401  the instructions behind these functions
