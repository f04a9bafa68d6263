"""The register tile: MR pixels x NV vectors of output channels, summed in registers. Every fast matrix product is made of it.

    acc[i, :] += Σ_k A[row_i + k] · B[k, :]             i < MR rows,  k < K,  B[k, :] one row of NV·LANES numbers

A number loaded from memory should be used many times before it is let go. For each k the tile loads NV vectors of B and broadcasts MR
numbers of A, and does MR·NV fused multiply-adds with them; the sums themselves never leave the registers. With MR = 12, NV = 2
that is 14 loads for 24 multiply-adds, so the multipliers and not the loads set the pace. MR·NV + NV + 1 vector registers are needed, and an integer
register for the address of each row. Over two panels at once, 6 x 4 or 8 x 3 (`multiply_panels`), it is 10 or 11 loads for 24: the best that fits, if
there are filters enough. One tile's sums never wait for each other: 24 chains, where 8 would keep two multipliers of 4 cycles busy.

The rows of A need not be neighbours: `rows[q + i·hop]` says where row i begins in the flat array A, and a negative entry means a row
of zeros. That one table makes the same tile serve 1x1 and KxK convolutions, strides, dilation, padding and groups, with no
copied windows (Dukhan, "The indirect convolution algorithm", arXiv 1907.02129).

Sums live in a tuple of vectors, which the compiler keeps in registers: `zeros`, then `multiply_panels` as often as there are taps and blocks
of channels, then `finish`, which adds bias and residual, clips and stores. MR and NV are literals: the loops over them
are unrolled while the kernel is compiled; only the loop over k is in the machine code. Bound by: FMA.
"""
import numpy as np

from ._jit import fast
from .simd import LANES, REGISTERS

MR, NV = (12, 2) if REGISTERS == 32 else (6, 2)     # 12 addresses of rows fit the 15 integer registers; 14 do not
NR = NV * LANES
PAIR, TRIO = (6, 8) if REGISTERS == 32 else (0, 0)  # rows of a tile over two panels at once, 4 or 3 vectors wide; 0: not enough registers


# ---- what each step means -------------------------------------------------------------------------------------------------

def zeros(MR, NV):
    """The sums at the beginning: MR x NV vectors of 0, as one tuple."""
    return tuple(np.zeros(LANES, np.float32) for _ in range(MR * NV))


def multiply(acc, MR, NV, A, rows, q, hop, zero, first, B, b, K):
    """acc[i] += Σ_{k<K} A[rows[q+i·hop] + first + k] · B[b + k·NR : b + (k+1)·NR], NR = NV·LANES; rows < 0 read `zero` instead.

    The meaning alone: kernels call it as `multiply_panels` of one panel."""
    NR = NV * LANES
    panel = B[b:b + K * NR].reshape(K, NR)                                                     # (K, NR)
    out = []
    for i in range(MR):
        at = rows[q + i * hop]
        row = zero[:K] if at < 0 else A[at + first:at + first + K]                             # (K,)
        total = np.concatenate(acc[i * NV:(i + 1) * NV])
        for k in range(K):
            total = total + row[k] * panel[k]
        out.extend(total.reshape(NV, LANES))
    return tuple(out)


def multiply_panels(acc, MR, PANELS, NV, LAST, A, rows, q, hop, zero, first, B, b, apart, K, ahead):
    """`multiply` for PANELS panels of NV vectors, the last one of LAST, each `apart` numbers behind the one before: acc has for each row the
    first panel's vectors, then the next one's. Over two whole panels (or one, where there are no pairs), with every k the row of NV vectors from B[ahead + k·NV·LANES] on is asked for
    (`following`): what the next tiles need is on its way from memory while these are multiplied. All at once would fill the few places where the
    processor notes what it waits for."""
    widths = [NV] * (PANELS - 1) + [LAST]
    wide, parts = sum(widths), []
    for p, width in enumerate(widths):
        mine = [acc[i * wide + p * NV + j] for i in range(MR) for j in range(width)]
        parts.append(multiply(mine, MR, width, A, rows, q, hop, zero, first, B, b + p * apart, K))
    return tuple(part[i * width + j] for i in range(MR) for part, width in zip(parts, widths) for j in range(width))


@fast
def following(i, PANELS, here, apart, size, last):
    """`ahead` for tile i of those that take a piece of PANELS panels from B[here] on: panel i of the next piece, `size` numbers further, or of the next
    panels, if this piece is the `last` of its own. For i below 0, or PANELS and more: `here`, which is in the cache already."""
    return here + size + (i + last * (PANELS - 1)) * apart if 0 <= i and i < PANELS else here


@fast
def at_once(p, last, left):
    """How many of the panels from p to last - 1, of `left` filters altogether, are multiplied at once: two, if there are registers for it. But one
    where three are left and the last is narrow: it costs less as the third vector of a trio than by itself."""
    return 2 if PAIR and p + 1 < last and not (p + 3 == last and left <= 2 * NR + LANES) else 1


def slide(acc, MR, NV, HOP, A, a, B, b, K):
    """acc[i] += Σ_{k<K} A[a + i·HOP + k] · B[b + k·NR : b + (k+1)·NR]: `multiply` for rows at even distances, without a table."""
    out, panel = [], B[b:b + K * NV * LANES].reshape(K, NV * LANES)
    for i in range(MR):
        total = np.concatenate(acc[i * NV:(i + 1) * NV])
        for k in range(K):
            total = total + A[a + i * HOP + k] * panel[k]
        out.extend(total.reshape(NV, LANES))
    return tuple(out)


def keep(acc, MR, NV, S, at, pitch):
    """Put the sums away in the flat array S for later: row i from at + i·pitch on."""
    for i in range(MR):
        S[at + i * pitch:at + i * pitch + NV * LANES] = np.concatenate(acc[i * NV:(i + 1) * NV])


def resume(MR, NV, S, at, pitch):
    """The sums as `keep` put them away."""
    return tuple(S[at + i * pitch + j * LANES:at + i * pitch + (j + 1) * LANES].copy() for i in range(MR) for j in range(NV))


def finish(acc, MR, NV, C, places, q, column, n, bias, at, R, residual, low, high):
    """C[places[q+i] + column + j] = clip(acc[i, j] + bias[at + j] + R[same place] if residual, low, high) for j < n; places < 0 are skipped.
    The caller promises that rows with a place are neighbours: with the first and the last, all have one."""
    for i in range(MR):
        if places[q + i] >= 0:
            place = slice(places[q + i] + column, places[q + i] + column + n)
            y = np.concatenate(acc[i * NV:(i + 1) * NV])[:n] + bias[at:at + n]
            if residual:
                y = y + R[place]
            C[place] = np.where(y < low, low, np.where(y > high, high, y))


def outer(acc, MR, NV, A, a, pitch_a, B, b, pitch_b, n, count):
    """acc[i, j] += Σ_{p<count} A[a + p·pitch_a + i] · B[b + p·pitch_b + j] for j < n <= NV·LANES: a sum over pixels, the weight gradient's product."""
    out = [total.copy() for total in acc]
    for p in range(count):
        row = np.zeros(NV * LANES, np.float32)
        row[:n] = B[b + p * pitch_b:b + p * pitch_b + n]
        for i in range(MR):
            for j in range(NV):
                out[i * NV + j] = out[i * NV + j] + A[a + p * pitch_a + i] * row[j * LANES:(j + 1) * LANES]
    return tuple(out)


from . import _lower_products, _lower_tile  # noqa: E402,F401  the instructions behind these functions
