"""Weights in panels, as the register tile reads them: for each k the NR numbers of NR filters side by side.

    packed[panel, (tap·terms + k)·NR + j] = w[filter panel·NR + j, term k, tap]         NR filters a panel, LANES in the last one if they fit

A tile walks straight down a panel: every line of the cache is used whole, and the next one is already on its way. Weights lie otherwise (a filter's
numbers side by side), so they are turned, a square of vectors at a time. Bound by: memory, each number read and written once.
"""
import numpy as np

from ._jit import fast
from .simd import LANES, load, load_n, store, turn
from .tile import NR


def filter_rows(terms, taps):
    """Where in a panel number q of a filter goes (wide panels, then narrow ones), if the filter's numbers are neighbours; else nothing."""
    order = np.add.outer(np.array(taps, np.int64), np.array(terms, np.int64)).reshape(-1)              # row -> number
    if len(order) < LANES or not np.array_equal(np.sort(order), np.arange(len(order))):
        return np.zeros(0, np.int64)
    rows = np.argsort(order)
    return np.concatenate([rows * NR, rows * LANES])


@fast
def pack_panels(lo, hi, w, packed, strange, groups, fg, step_g, step_f, terms, taps, rows):
    """Tasks: panels of all groups. packed (G, panels, taps·terms·NR), missing filters 0; a narrow panel has LANES columns; strange[0] = 1 if a
    number is not finite.

    Number k of tap t of filter f lies at w[g·step_g + f·step_f + terms[k] + taps[t]]. Where a filter's numbers are neighbours, number q
    goes to row rows[q] of the panel, and squares of LANES filters x LANES numbers are turned at a time.
    """
    panels, depth = packed.shape[0] // groups, terms.size
    for task in range(lo, hi):
        target, first = packed[task], task % panels * NR
        start, count = task // panels * step_g + first * step_f, min(NR, fg - first)
        narrow = 0 if count > LANES else 1
        width, turned = NR - narrow * (NR - LANES), count // LANES * LANES if rows.size >= 2 * LANES else 0
        for j in range(0, turned, LANES):
            for q in range(0, rows.size // 2, LANES):
                turn(w, start + j * step_f + min(q, rows.size // 2 - LANES), step_f, target, rows, narrow * (rows.size // 2) + min(q, rows.size // 2 - LANES), j)
        for t in range(taps.size if turned < count else 0):
            for k0 in range(0, depth, LANES):                           # a few rows at a time: a filter's numbers share lines of the cache
                for j in range(turned, count):
                    for k in range(k0, min(depth, k0 + LANES)):
                        target[(t * depth + k) * width + j] = w[start + j * step_f + terms[k] + taps[t]]
        for row in range(taps.size * depth):
            for j in range(count, width):
                target[row * width + j] = 0
        total = np.float32(0)
        for at in range(taps.size * depth * width):
            total += target[at] * np.float32(0)
        if total != 0:                                          # 0 times infinity, or NaN, is NaN, and no NaN is 0
            strange[0] = 1


@fast
def pack_straight(lo, hi, w, packed, strange, groups, fg, step_g, terms, taps):
    """`pack_panels` where the filters are the neighbours (step_f = 1). Tasks: LANES terms of each group, a line or two of each of whose rows go to
    every panel in turn: so few rows are read straight on. A panel by itself would go through all rows, each of them on another page."""
    panels, depth, total = packed.shape[0] // groups, terms.size, np.float32(0)
    blocks = (depth + LANES - 1) // LANES
    for task in range(lo, hi):
        g, first = task // blocks, task % blocks * LANES
        last = min(depth, first + LANES)
        for t in range(taps.size):
            for p in range(panels):
                target, start, count = packed[g * panels + p], g * step_g + p * NR + taps[t], min(NR, fg - p * NR)
                if count == NR:
                    for k in range(first, last):
                        for j in range(0, NR, LANES):
                            store(target, (t * depth + k) * NR + j, load(w, start + terms[k] + j))
                    continue
                width = NR if count > LANES else LANES
                for k in range(first, last):
                    for j in range(0, width, LANES):
                        store(target, (t * depth + k) * width + j, load_n(w, start + terms[k] + j, count - j))
            for k in range(first, last):
                line = w[g * step_g + terms[k] + taps[t]:g * step_g + terms[k] + taps[t] + fg]
                for j in range(fg):
                    total += line[j] * np.float32(0)
    if total != 0:
        strange[0] = 1
