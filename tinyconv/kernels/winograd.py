"""Winograd convolution: square windows at stride 1, a tile of m x m outputs from (m + r - 1)² products a channel pair.

    y = A^T [ Σ_c (G w G^T) * (B^T d B) ] A       d the a x a tile of x, a = m + r - 1;  matrices and sources: `winograd_matrices`

The steps, each a readable loop, are the page `winograd_steps`. This page is the algorithm as the table knows it: how the fast form cuts its
work, what it takes of memory (`winograd_scheme`), and its three directions; the fast loops stand in `winograd_tiles`. Cost: a² C F multiply-adds for each of
the N ceil(OH/m) ceil(OW/m) tiles (F(2,3): 2.25 times fewer than direct, F(4,3): 4 times, both less the part of edge tiles that is thrown
away), transforms beside it, and a²/r² times the weights in memory. The gradients:

    dx   the forward pass on dy with filters turned by 180° and C, F exchanged, padding r - 1 - P
    dw = G^T [ Σ_tiles (A dy A^T) * (B^T d B) ] G       the adjoint: every step of the forward pass transposed

Rounding: F(2,3) is as accurate as direct (all its numbers are halves); each larger m loses about a digit: `error_bound`.
Padding is multiplied by transformed weights; NaN and infinities spread over the tiles that they touch.
"""
import math

import numpy as np

from . import layout, select, standing, threads
from . import winograd_tiles as tiles
from .indirect import room_bytes
from .simd import LANES
from .winograd_filters import pack_filters, unpack_filters
from .winograd_matrices import arrays
from .winograd_scheme import DEEP, TILES, part, product_tile, rooms
from .winograd_steps import conv, conv_weight, error_bound, plain_rooms, turned, turned_weights


def supports(geometry):
    """Square windows of at least 2x2 at stride 1, without dilation or groups; any padding."""
    g = geometry
    return g.kh == g.kw >= 2 and g.sh == g.sw == g.dh == g.dw == g.groups == 1


class Winograd:
    """F(m, r) as an algorithm of the table: the functions that every page has, for one m."""

    def __init__(self, m):
        self.m = m

    supports = staticmethod(supports)

    def error_bound(self, direction, x, w, geometry, bias=None, dtype=np.float32):
        """See `error_bound`."""
        return error_bound(direction, x, w, geometry, self.m, bias, dtype)

    def workspace_bytes(self, geometry, direction="forward", dtype=np.float32):
        """Fast: a round of transformed weights, blocks of tiles and their sums (for grad_weight a transformed dw a thread). Plain: all steps."""
        g = turned(geometry) if direction == "grad_input" else geometry
        if select.is_fast(dtype):
            return room_bytes(rooms(g if direction == "grad_weight" else part(g, self.m), self.m, direction)[0])
        return sum(math.prod(shape) for shape in plain_rooms(g, self.m, direction)) * np.dtype(dtype).itemsize

    def kind(self, g):
        """Which transforms (`winograd_transforms.data_tile`): factored ones for 3x3, matrices for others."""
        return self.m if g.kh == 3 and self.m in (2, 4) else 0

    def kernel(self, g, direction="forward"):
        """The compiled kernel for this window."""
        if direction == "grad_weight":
            return tiles.build(self.kind(g), *TILES[-1][:2])[1]
        return tiles.build(self.kind(g), *product_tile(g, self.m, threads.get_num_threads())[0])[0]

    def convolve(self, w, bias, geometry, turn=False, keep=False):
        """The convolution with w (F,C,r,r), or (C,F,r,r) to be turned by 180°, its working memory taken once: run(x (N,H,W,C),
        R=None, low=-inf, high=inf) gives clip(conv + bias + R, low, high) as (N,OH,OW,F).

        keep: all filters are transformed now; else in each call, as many at a time as ROUND allows. Cost of that:
        F C a r (a + r) multiply-adds.
        """
        g, taps, some_of = geometry, geometry.kh**2, geometry if keep else part(geometry, self.m)
        shapes, (block, splits, pieces) = rooms(some_of, self.m, "forward")
        U, V, S, d, e, rows, taken, zero = (select.scratch(shape, kind) for shape, kind in shapes)
        AT, G, BT = arrays(self.m, g.kh, np.float32)
        first, step_f, *steps = (taps - 1, taps, g.f * taps, -1) if turn else (0, g.c * taps, taps, 1)
        taken[:], zero[:], kernel, w = 0, 0, self.kernel(some_of), w.reshape(-1)
        bias, shape = np.zeros(g.f, np.float32) if bias is None else bias, (g.n, g.oh, g.ow, g.f)
        rest = (V, S, d, e, rows, taken, zero, BT, AT, self.m, len(BT), pieces, block, splits, DEEP, g.n, g.h, g.w, g.c, g.f, g.oh, g.ow, g.top, g.left)

        order = np.arange(max(taps, LANES))                                                       # of a filter's numbers in memory
        order[:taps] = order[:taps][::-1] if turn else order[:taps]

        def pack(skip, some):
            threads.run(pack_filters, pieces, w, first + skip * step_f, step_f, *steps, self.kind(g), G, U, d, e, order * LANES,
                        pieces, g.kh, len(BT), g.c, some, work=U.size)

        def run(x, R=None, low=-np.inf, high=np.inf):
            y = layout.room(shape)
            for skip in range(0, g.f, some_of.f):
                some = min(some_of.f, g.f - skip)
                if not keep:
                    pack(skip, some)
                threads.run(kernel, pieces, x.reshape(-1), U, bias, bias if R is None else R.reshape(-1), int(R is not None), np.float32(low),
                            np.float32(high), y.reshape(-1), skip, some, *rest, work=y.size * g.c * g.kh**2 // 64)
            return y
        if not keep:
            return run
        pack(0, g.f)
        return standing.convolution(kernel, pieces, (w, U, bias, bias, 0, *standing.OPEN, w, 0, g.f, *rest), standing.PLACES, (g.n, g.h, g.w, g.c),
                                    shape, math.prod(shape) * g.c * g.kh**2 // 64)

    def standing(self, w, bias, geometry):
        """`forward` with its filters transformed once, for many calls: see `select.Algorithm.standing`."""
        return self.convolve(layout.writable(w), None if bias is None else bias.copy(), geometry, keep=True)

    def plan(self, w, bias, geometry):
        """`forward` that clips on its way to memory: see `select.Algorithm.plan`."""
        run = self.convolve(layout.writable(w), bias, geometry)
        return lambda x, R=None, low=-np.inf, high=np.inf: layout.shaped(run(layout.nhwc(x), R if R is None else layout.nhwc(R), low, high))

    def forward(self, x, w, bias, geometry):
        """x (N,C,H,W), w (F,C,r,r), bias (F,) or None -> y (N,F,OH,OW)."""
        w = layout.writable(w)
        if select.is_fast(x.dtype):
            bias = None if bias is None else layout.writable(bias)
            return layout.shaped(self.convolve(w, bias, geometry)(layout.nhwc(x)))
        y = conv(layout.nchw(x), w, geometry, self.m)
        return y if bias is None else y + bias[:, None, None]

    def grad_input(self, dy, w, geometry):
        """dy (N,F,OH,OW), w (F,C,r,r) -> dx (N,C,H,W): a forward pass."""
        if select.is_fast(dy.dtype):
            return layout.shaped(self.convolve(layout.writable(w), None, turned(geometry), turn=True)(layout.nhwc(dy)))
        return conv(layout.nchw(dy), turned_weights(w), turned(geometry), self.m)

    def grad_weight(self, dy, x, geometry):
        """dy (N,F,OH,OW), x (N,C,H,W) -> dw (F,C,r,r): the adjoint."""
        g = geometry
        if not select.is_fast(dy.dtype):
            return conv_weight(layout.nchw(dy), layout.nchw(x), g, self.m)
        shapes, (block, _, pieces) = rooms(g, self.m, "grad_weight")
        slabs, V, Z, d, e, out = (select.scratch(shape, kind) for shape, kind in shapes)
        AT, G, BT = arrays(self.m, g.kh, np.float32)
        n, dw = len(BT), np.empty(g.w_shape, np.float32)
        threads.run(self.kernel(g, "grad_weight"), pieces, layout.nhwc(x).reshape(-1), layout.nhwc(dy).reshape(-1), slabs, V, Z, d, e, BT,
                    np.ascontiguousarray(AT.T), self.m, n, pieces, block, g.n, g.h, g.w, g.c, g.f, g.oh, g.ow, g.top, g.left,
                    work=dy.size * g.c * g.kh**2 // 64)
        threads.run(unpack_filters, pieces, slabs, np.ascontiguousarray(G.T), dw.reshape(-1), d, e, out, pieces, g.kh, n, g.c, g.f,
                    work=slabs.size)
        return dw


winograd2, winograd4 = Winograd(2), Winograd(4)
