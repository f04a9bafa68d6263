"""The kernels that `machine` measures, the first three each bound by one limit and nothing else.

    multiply_adds      y = x + steps · 0.5         2 · SUMS · LANES · steps FLOP a task, in registers alone: bound by FMA
    copies             y = x                       8 bytes a number, of any size of array: bound by the cache it lies in, or by memory
    nothing                                        no work: bound by the launch
    tiles              sums = times · A B          the register tile of all products, 2 · ROWS · WIDE · LANES · TERMS · times FLOP a task, on numbers of the
                                                   first cache: bound by FMA; where instructions begin in fewer cycles, for another program has the
                                                   core's other half, by its WIDE + ROWS loads beside ROWS · WIDE multiply-adds

They are made of the same vectors (`simd`) and run on the same threads (`threads`) as all other kernels.
"""
import numpy as np

from ._jit import fast
from .simd import LANES, fma, load, splat, store
from .tile import MR, NR, NV, PAIR, keep, multiply_panels, zeros

ROWS, PANELS = (PAIR, 2) if PAIR else (MR, 1)
WIDE, TERMS = PANELS * NV, 2**12 // (PANELS * NR)       # vectors of a row of the tile; terms of a sum: B fills half of the first cache, as in `gemm_kernel`
SUMS = 12               # running sums: more than the multipliers take at once (2, each 4 cycles deep), fewer than the registers


@fast
def multiply_adds(lo, hi, x, y, steps):
    """Tasks: one a thread. y[task] = x + steps · 0.5, by SUMS · LANES · steps multiply-adds that touch no memory."""
    half, one = splat(np.float32(0.5)), splat(np.float32(1))
    for task in range(lo, hi):
        a, b, c, d = load(x, 0), load(x, LANES), load(x, 2 * LANES), load(x, 3 * LANES)
        e, f, g, h = load(x, 4 * LANES), load(x, 5 * LANES), load(x, 6 * LANES), load(x, 7 * LANES)
        i, j, k, m = load(x, 8 * LANES), load(x, 9 * LANES), load(x, 10 * LANES), load(x, 11 * LANES)
        for _ in range(steps):
            a, b, c, d = fma(half, one, a), fma(half, one, b), fma(half, one, c), fma(half, one, d)
            e, f, g, h = fma(half, one, e), fma(half, one, f), fma(half, one, g), fma(half, one, h)
            i, j, k, m = fma(half, one, i), fma(half, one, j), fma(half, one, k), fma(half, one, m)
        at = task * SUMS * LANES
        for q, v in enumerate((a, b, c, d, e, f, g, h, i, j, k, m)):
            store(y, at + q * LANES, v)


@fast
def copies(lo, hi, x, y, times):
    """Tasks: vectors. y = x, so many times over."""
    for _ in range(times):
        for task in range(lo, hi):
            store(y, task * LANES, load(x, task * LANES))


@fast
def nothing(lo, hi):
    """A job that is done as soon as it is taken."""


@fast
def tiles(lo, hi, a, b, sums, rows, zero, times):
    """Tasks: one a thread. sums[task] (ROWS, WIDE·LANES) = times · A B; a: ROWS rows of TERMS numbers, row i from rows[i] on, b: PANELS of TERMS rows of
    NR; zero: TERMS of them."""
    for task in range(lo, hi):
        acc = zeros(ROWS, WIDE)
        for _ in range(times):
            acc = multiply_panels(acc, ROWS, PANELS, NV, NV, a, rows, 0, 1, zero, 0, b, 0, TERMS * NR, TERMS, 0)
        keep(acc, ROWS, WIDE, sums, task * ROWS * WIDE * LANES, WIDE * LANES)
