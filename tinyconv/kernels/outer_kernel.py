"""The kernels of `outer_products`: a tile's outer products over a block of pixels, and sums spread out to where they belong. Read that page first.

    sums[k, column + c] += Σ_p dy[p, k] · x[p·S + offset, c]       MR filters k, up to NR channels c of one tap, in registers over the block

Pixels go by in blocks, so that their rows stay in the second cache while all tiles pass. Bound by: FMA; with few pixels by the writing of dw.
"""
from ._jit import fast, leading, unrolled
from .simd import LANES
from .tile import MR, NR, NV, finish, outer, zeros


def build(NV):
    """One tile of MR filters x NV vectors of channels over a block of pixels; compiled on first use."""

    @unrolled
    def tile(dy, x, a, b, n, along, q0, q1, i0, i1, j0, j1, oh, ow, f, step_i, step_j, image_x, sums, places, at, column, more, nothing, low,
             high):
        """sums[places[at + k] + column …] (+)= Σ over pixel rows q0 … q1-1 and those i, j from where the tap sees the picture."""
        acc, image, i = zeros(MR, NV), q0 // oh, q0 % oh
        if along:                                               # q0 and q1 are whole images: one pixel of all of them at a time
            for row in range(i0, i1):
                for j in range(j0, j1):
                    acc = outer(acc, MR, NV, dy, a + (q0 * ow + row * ow + j) * f, oh * ow * f, x,
                                b + image * image_x + row * step_i + j * step_j, image_x, n, (q1 - q0) // oh)
        else:
            for q in range(q0, q1):
                if i0 <= i and i < i1:
                    acc = outer(acc, MR, NV, dy, a + (q * ow + j0) * f, f, x, b + image * image_x + i * step_i + j0 * step_j, step_j, n, j1 - j0)
                i += 1
                if i == oh:
                    i, image = 0, image + 1
        finish(acc, MR, NV, sums, places, at, column, n, nothing, 0, sums, more, low, high)
    return tile


wide_tile, narrow_tile = build(NV), build(1)


@leading
def weight_grad(lo, hi, dy, x, slabs, dw, straight, starts, groups, places, spans, nothing, low, high, pieces, shared, along, block, rows, oh, ow, f, depth,
                step_i, step_j, image_x):
    """Tasks: pieces, of the tiles of filters or (shared) of the pixels. dy (N,OH,OW,F), x (N,H,W,C), slabs (slabs, taps·F·depth), flat.

    If `straight`, the first piece's sums are dw itself, and there is a slab less. Tile k of filters reads dy from starts[k] on and belongs to
    group groups[k]; a span is (i0, i1, j0, j1, shift) of a tap; rows of pixels come in units of `block`.
    """
    parts, units, size = starts.size, (rows + block - 1) // block, f * depth
    for piece in range(lo, hi):
        first, last, begin, end, sums, slab = piece * parts // pieces, (piece + 1) * parts // pieces, 0, units, dw, -straight
        if shared:
            first, last, begin, end, slab = 0, parts, piece * units // pieces, (piece + 1) * units // pieces, piece - straight
        if slab >= 0:
            sums = slabs[slab]
        for unit in range(begin, end):
            q0, q1, more = unit * block, min(rows, (unit + 1) * block), int(unit > begin)
            for part in range(first, last):
                for column in range(0, depth, NR):
                    n = min(NR, depth - column)
                    for t in range(spans.shape[0]):
                        i0, i1, j0, j1, shift = spans[t, 0], spans[t, 1], spans[t, 2], spans[t, 3], spans[t, 4]
                        b = shift + groups[part] * depth + column
                        if n > LANES:
                            wide_tile(dy, x, starts[part], b, n, along, q0, q1, i0, i1, j0, j1, oh, ow, f, step_i, step_j, image_x, sums, places,
                                      part * MR, t * size + column, more, nothing, low, high)
                        else:
                            narrow_tile(dy, x, starts[part], b, n, along, q0, q1, i0, i1, j0, j1, oh, ow, f, step_i, step_j, image_x, sums, places,
                                        part * MR, t * size + column, more, nothing, low, high)


@fast
def spread(lo, hi, slabs, dw, terms, taps, f, filters):
    """Tasks: filters. dw[f, terms[k] + taps[t]] = the sum over slabs, in their order, of (taps, F, terms)."""
    depth, length = terms.size, dw.size // filters
    for task in range(lo, hi):
        row = dw[task * length:(task + 1) * length]
        for s in range(slabs.shape[0]):
            for t in range(taps.size):
                line = slabs[s, (t * f + task) * depth:(t * f + task + 1) * depth]
                if s == 0:
                    for k in range(depth):
                        row[terms[k] + taps[t]] = line[k]
                else:
                    for k in range(depth):
                        row[terms[k] + taps[t]] += line[k]


@fast
def add_slabs(lo, hi, slabs, dw):
    """Tasks: numbers. dw += the slabs, in their order."""
    for s in range(slabs.shape[0]):
        slab = slabs[s]
        for at in range(lo, hi):
            dw[at] += slab[at]
