"""Convolution straight from channels-last memory: the register tile, led by tables of where each pixel's window lies.

    y[place[p] + f] = bias[f] + Σ_t Σ_c x[table[t, p] + c] · w[t, c, f]           p pixels, t taps (u,v), c channels, f filters

`table[t, p]` is where in memory the channels begin that tap t of pixel p sees, or -1 where it lies on padding; `place[p]` is where the
result goes. Nothing is copied (im2col would copy every number KH·KW times): stride, dilation, padding, groups and image borders are all
in the tables, and the loop that multiplies knows none of them. On a grid of pixels q = (i, j) the tables are

    row = i·step + offset[t]:       forward      step = S,  offset = u·D - P,                result at row i
                                    grad_input   step = 1,  offset = (a + P - u·D)/S,        result at row a + i·S

for the gradient runs over the S·S phases a of the image, each with those taps for which the division comes out even (the others never
touch its pixels): the gradient in the input is the same kernel on other tables, with weights (F,C) for (C,F).

This page is the two directions; how their work is cut is `indirect_scheme`, the loops are `indirect_kernel`. Cost: N OH OW F (C/G) KH KW multiply-adds, padding
taps multiplied by zeros, but for taps that see nothing else. Bound by: FMA; where planes are small, by the stream of weights from memory.
Source: Dukhan, "The indirect convolution algorithm", arXiv 1907.02129.
"""
import math
from functools import lru_cache

import numpy as np

from . import layout, stems, threads
from ._jit import fast
from .indirect_scheme import Scheme


def widened(g):
    """With few channels (a picture's three) the KW·C numbers of a window's row are taken together: page `stems`."""
    return g.groups == 1 and g.c < 8 and g.kw > 1 and g.dw == 1


def padded_shape(g):
    """(N, H + padding, W + padding, C) of that copy."""
    return g.n, g.h + g.top + g.bottom, g.w + g.left + g.right, g.c


@fast
def pad_rows(lo, hi, x, room, top, left, h, row):
    """Tasks: rows of the copy. x (N·H, row) -> room (N·(H + padding), longer rows), zeros around."""
    tall = room.shape[0] // (x.shape[0] // h)
    for task in range(lo, hi):
        target, i = room[task], task % tall - top
        if i < 0 or i >= h:
            target[:] = 0
        else:
            source, target[:left], target[left + row:] = x[task // tall * h + i], 0, 0
            for j in range(row):
                target[left + j] = source[j]


def pad(x, room, g):
    """The copy itself, zeros around the picture."""
    threads.run(pad_rows, room.shape[0] * room.shape[1], x.reshape(g.n * g.h, -1), room.reshape(room.shape[0] * room.shape[1], -1), g.top,
                g.left * g.c, g.h, g.w * g.c, work=room.size // 4)
    return room


def windows(g):
    """Row and column offset of each tap of the forward pass (of each row of taps where the input is widened)."""
    if widened(g):
        return [u * g.dh for u in range(g.kh)], [0] * g.kh
    return [u * g.dh - g.top for u in range(g.kh) for _ in range(g.kw)], [v * g.dw - g.left for _ in range(g.kh) for v in range(g.kw)]


@lru_cache(maxsize=4096)
def phases(g):
    """grad_input's passes: ((a, b), grid, taps (u, v), offsets) for every phase of the image."""
    found = []
    for a in range(min(g.sh, g.h)):
        us = [u for u in range(g.kh) if (a + g.top - u * g.dh) % g.sh == 0]
        for b in range(min(g.sw, g.w)):
            taps = [(u, v) for u in us for v in range(g.kw) if (b + g.left - v * g.dw) % g.sw == 0]
            offsets = [(a + g.top - u * g.dh) // g.sh for u, _ in taps], [(b + g.left - v * g.dw) // g.sw for _, v in taps]
            found.append(((a, b), (-(-(g.h - a) // g.sh), -(-(g.w - b) // g.sw)), taps, offsets))
    return found


@lru_cache(maxsize=4096)
def schemes(g, direction, count):
    """The passes of "forward" or "grad_input" for `count` threads."""
    fg, cg, window = g.f // g.groups, g.c // g.groups, g.kh * g.kw
    if direction == "forward" and widened(g):
        return [stems.Scheme(g, count)]
    if direction == "forward":
        weights = g.groups, fg, fg * cg * window, cg * window, range(0, cg * window, window), range(window)
        return [Scheme(count, (g.n, g.h, g.w, g.c), (g.n, g.oh, g.ow, g.f), weights, (g.oh, g.ow), (g.sh, g.sw), windows(g))]
    return [Scheme(count, (g.n, g.oh, g.ow, g.f), (g.n, g.h, g.w, g.c),
                   (g.groups, cg, fg * cg * window, window, range(0, fg * cg * window, cg * window), [u * g.kw + v for u, v in taps]),
                   grid, (1, 1), offsets, origin, (g.sh, g.sw)) for origin, grid, taps, offsets in phases(g)]


def scratch_shapes(g, direction):
    """What `Forward` or the largest pass of `grad_input` takes from select.scratch: ((shape, type), …)."""
    return max((scheme.rooms for scheme in schemes(g, direction, threads.get_num_threads())), key=room_bytes)


def room_bytes(rooms):
    """Bytes of ((shape, type), …)."""
    return sum(math.prod(np.atleast_1d(shape).tolist()) * np.dtype(kind).itemsize for shape, kind in rooms)


class Forward:
    """The forward pass of one geometry with its weights packed: plan(x (N,H,W,C)) -> clip(conv + bias + R, low, high), (N,OH,OW,F)."""

    def __init__(self, w, bias, geometry):
        g = geometry
        self.shape, self.bias = (g.n, g.oh, g.ow, g.f), np.zeros(g.f, np.float32) if bias is None else bias
        self.scheme = schemes(g, "forward", threads.get_num_threads())[0]
        self.memory = self.scheme.ready(layout.writable(w).reshape(-1))         # or None: see there

    def __call__(self, x, R=None, low=-np.inf, high=np.inf):
        y = layout.result(self.shape)
        self.scheme.run(self.memory, x, self.bias, y, R, low, high)
        return y


def grad_input(dy, w, geometry):
    """dy (N,OH,OW,F), w (F,C/G,KH,KW) -> dx (N,H,W,C), one pass for each of the S·S phases of the image; None as `Scheme.ready`."""
    g, w = geometry, layout.writable(w).reshape(-1)
    dx, none = layout.room((g.n, g.h, g.w, g.c)), np.zeros(g.c, np.float32)
    for scheme in schemes(g, "grad_input", threads.get_num_threads()):
        memory = scheme.ready(w)
        if memory is None:
            return None
        scheme.run(memory, dy, none, dx)
        del memory                                              # before the next phase takes its own
    return dx
