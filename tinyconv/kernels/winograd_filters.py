"""Winograd's filters between their own form and that of the transforms: U = G g G^T on the way in, dw = G^T dU G on the way out.

    U  (panels, points, C, NR)   as the products of `winograd_tiles` read them         dU  slabs (points, panels, parts, MR, NR), added in order

A vector holds LANES filters of one channel. Bound by memory: r² numbers are read and a² written for each filter and channel.
"""
import numpy as np

from ._jit import unrolled
from .simd import LANES, load, store, turn
from .tile import MR, NR
from .winograd_transforms import START, VECTOR, filter_tile, sandwich


@unrolled
def pack_filters(lo, hi, w, first, step_f, step_c, step_t, kind, G, U, d, e, rows, pieces, r, n, c, f):
    """U (panels, points, C, NR) = G g G^T with g[t] = w[first + filter·step_f + channel·step_c + t·step_t]. Tasks: pieces of the channels.

    (The steps also describe filters turned by 180°, step_t = -1, with C and F exchanged.) Filters behind the last are 0. LANES
    filters are read as the rows of a square and turned, so long as it ends within w: number k of their memory goes to d[rows[k]].
    """
    taps = r * r
    for piece in range(lo, hi):
        g = d[piece]
        for f0 in range(0, (f + NR - 1) // NR * NR, LANES):
            for channel in range(piece * c // pieces, (piece + 1) * c // pieces):       # neighbours in memory share lines of the cache
                at = first + f0 * step_f + channel * step_c
                begin = at - (taps - 1) * (step_t < 0)
                if f0 + LANES <= f and begin + (LANES - 1) * step_f + max(taps, LANES) <= w.size:
                    for q in range(0, taps, LANES):
                        k = max(0, min(q, taps - LANES))
                        turn(w, begin + k, step_f, g, rows, k, 0)
                else:
                    for lane in range(LANES):
                        for t in range(taps):
                            g[t * LANES + lane] = w[at + lane * step_f + t * step_t] if f0 + lane < f else np.float32(0)
                filter_tile(kind, G, n, r, g, START, r * LANES, VECTOR, e[piece], U, (f0 // NR * n * n * c + channel) * NR + f0 % NR, c * NR)


@unrolled
def unpack_filters(lo, hi, slabs, GT, dw, d, e, out, pieces, r, n, c, f):
    """dw (F,C,r,r) = G^T (Σ slabs) G, the slabs (points, panels, parts, MR, NR) added in their order. Tasks: pieces of the channels."""
    panels, parts = (f + NR - 1) // NR, (c + MR - 1) // MR
    for piece in range(lo, hi):
        g = out[piece]
        for f0 in range(0, f, LANES):
            for channel in range(piece * c // pieces, (piece + 1) * c // pieces):          # straight on in each point's part of the slabs
                for point in range(n * n):
                    at = ((point * panels + f0 // NR) * parts * MR + channel) * NR + f0 % NR
                    total = load(slabs[0], at)
                    for s in range(1, slabs.shape[0]):
                        total = total + load(slabs[s], at)
                    store(d[piece], point * LANES, total)
                sandwich(GT, r, n, d[piece], START, n * LANES, VECTOR, e[piece], g, START, VECTOR)
                for lane in range(min(LANES, f - f0)):
                    for t in range(r * r):
                        dw[((f0 + lane) * c + channel) * r * r + t] = g[t * LANES + lane]
