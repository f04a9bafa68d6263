"""The gradient in the weights from channels-last memory: a sum of outer products, one for each pixel, read where they lie.

    dw[t, f, c] = Σ_p dy[p, f] · x[p·S + offset[t], c]             t taps, f filters, c channels of the filter's group, p pixels

A tile holds MR filters x NR channels of one tap in registers; every pixel broadcasts MR numbers of dy and loads NV vectors of x (`tile.outer`).
The pixels of a row are one step apart in both arrays, so a row is one call; on planes of a few pixels it is the same pixel of many images. For
each tap only those pixels take part whose window has that tap inside the picture: padding costs nothing, and what is not finite spreads
exactly as in the formula. Nothing is packed. Pixels go by in blocks: their rows stay in the second cache while all tiles pass.

The last tile of filters begins MR before their end; what it computes a second time has no place and is dropped. For a 1x1 window the tile's
sums are neighbours in dw and go there at once; else they wait as (taps, F, C/G) and are spread out at the end.
Threads share the filters, or the pixels: then each sums into a slab of its own, and the slabs are added in their order. Either way the
result does not depend on who was faster. Cost: N OH OW F (C/G) KH KW multiply-adds, less those on padding. Bound by: FMA; with few pixels by
the writing of dw. Scratch: a dw for each thread where pixels are shared, one for larger windows, a copy of x for stems.
"""
from functools import lru_cache

import numpy as np

from . import layout, select, threads
from .indirect import pad, padded_shape, widened, windows
from .outer_kernel import add_slabs, spread, weight_grad
from .standing import OPEN
from .tile import MR, NR

BLOCK = 128             # pixels in a block, about
SHORT = 6               # rows of fewer pixels are no row: images are walked along instead


def by_filters(pixels, parts, f, count):
    """Do `count` threads share the tiles of filters (True) or the pixels?

    Shared filters cost what the tiles do not come out even, and each thread reads all of x: 20/F of the time. Shared pixels cost the
    writing and adding of slabs: 60/pixels. (20 GB/s against 200 GFLOP/s, about what `machine` measures.)
    """
    return -(-parts // count) * count / parts - 1 + 20 / f <= 60 / pixels


def _span(size, count, stride, offset):
    """From where to where i in range(count) keeps i·stride + offset inside range(size).

    >>> _span(5, 5, 1, -1), _span(5, 3, 2, 1), _span(1, 1, 1, 4)
    ((1, 5), (0, 2), (0, 0))
    """
    begin, end = max(0, -(offset // stride)), min(count, (size - 1 - offset) // stride + 1)
    return (begin, end) if begin < end else (0, 0)


@lru_cache(maxsize=4096)
def scheme(g, count):
    """One gradient as far as shapes tell: shape of the slabs, pieces, the kernel's last arguments, where in dw the sums belong."""
    n, h, w, c = padded_shape(g) if widened(g) else (g.n, g.h, g.w, g.c)
    oh, ow, depth, fg, f, window = g.oh, g.ow, g.kw * c if widened(g) else c // g.groups, g.f // g.groups, max(g.f, MR), g.kh * g.kw
    if g.is_pointwise:                                           # pixels have no neighbours: as many images of one pixel
        n, h, w, oh, ow = n * h * w, 1, 1, 1, 1
    spans = [(*_span(h, oh, g.sh, row), *_span(w, ow, g.sw, column), (row * w + column) * c) for row, column in zip(*windows(g))]
    used = [t for t, (i0, i1, j0, j1, _) in enumerate(spans) if i0 < i1 and j0 < j1]
    starts, owners, places = [], [], []
    for group in range(g.groups):
        for first in range(group * fg, (group + 1) * fg, MR):
            starts.append(min(first, f - MR))
            owners.append(group)
            places += [k * depth if first <= k < min(first + MR, (group + 1) * fg) else -1 for k in range(starts[-1], starts[-1] + MR)]
    along = int(ow < SHORT <= n)
    block = oh * max(8, BLOCK // (oh * ow)) if along else max(1, BLOCK // ow)
    shared, straight = not by_filters(n * oh * ow, len(starts), f, count), int(window == 1 and g.f == f)
    pieces = max(1, min(count, -(-n * oh // block) if shared else len(starts)))
    terms, taps = np.arange(depth) * window, np.array(used, np.int64)
    if widened(g):
        terms, taps = np.array([channel * window + v for v in range(g.kw) for channel in range(c)], np.int64), taps * g.kw
    rest = (straight, *(np.array(a, np.int64) for a in (starts, owners, places)), np.array([spans[t] for t in used], np.int64).reshape(-1, 5),
            np.zeros(NR, np.float32), *OPEN, pieces, int(shared), along, block, n * oh, oh, ow, f, depth, g.sh * w * c, g.sw * c, h * w * c)
    return ((pieces if shared else 1) - straight, len(used) * f * depth), pieces, rest, (terms, taps)


def room_shapes(g):
    """Shapes and types of the scratch."""
    slabs, *_ = scheme(g, threads.get_num_threads())
    copies = [padded_shape(g)] * widened(g) + [(g.n * g.oh * g.ow, MR)] * (g.f < MR)
    return [(shape, np.float32) for shape in (*copies, slabs)]


def grad_weight(dy, x, geometry):
    """dy (N,OH,OW,F), x (N,H,W,C) -> dw (F,C/G,KH,KW), the sum over all pixels.

    Cost: N OH OW F (C/G) KH KW multiply-adds; scratch as `room_shapes` says. The formula is at the top of the page.
    """
    g = geometry
    size, pieces, rest, (terms, taps) = scheme(g, threads.get_num_threads())
    work = dy.size * g.c // g.groups * g.kh * g.kw // 32
    if widened(g):
        x = pad(x, select.scratch(padded_shape(g)), g)
    if g.f < MR:                                                                # a tile reads MR filters: there must be so many
        wide = select.scratch((g.n * g.oh * g.ow, MR))
        wide[:, :g.f], wide[:, g.f:], dy = dy.reshape(-1, g.f), 0, wide
    slabs, dw = select.scratch(size), layout.room(g.w_shape)
    flat, straight = dw.reshape(-1), rest[0]
    if len(taps) * len(terms) * g.f < dw.size:                                  # taps that only ever see padding
        flat[:] = 0
    threads.run(weight_grad, pieces, dy.reshape(-1), x.reshape(-1), slabs, flat, *rest, work=work)
    if not straight:
        threads.run(spread, g.f, slabs, flat, terms, taps, max(g.f, MR), g.f, work=size[0] * dw.size)
    elif size[0]:
        threads.run(add_slabs, dw.size, slabs, flat, work=size[0] * dw.size)
    return dw
