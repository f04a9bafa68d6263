"""What operations work out from their constants alone, kept from one run of a graph to the next: packed weights.

A layer packs its weights and lays its arguments down before it multiplies anything, an integer layer proves that its sums fit and makes tables
besides; for one picture that takes longer than the multiplying. An operation with `prepare` in the table says how to do it once:

    run = prepare(x_shape, x_dtype, *constants, **attributes);   run(x) == forward(x, *constants, **attributes)[0]

Constants are arrays of the graph: what a node before makes may be new in each run, and nothing is kept of it. A kept run is used again only for
an input of the same shape and type, the same mode and number of threads, and *equal* constants: an array that cannot be written to is known by
being the same one, any other is compared with a copy, bit by bit, when a run of the graph begins. So a result never depends on what was kept.
Of every node the last run is kept, in each thread its own: they have scratch memory. Where `prepare` gives None nothing is.

Memory in bytes a weight: 3 for integers; for float32 4 packed (Winograd's transforms 16 a/9 with tiles of a = 4, 6 by 6: 7 and 16 for a 3x3
window), 4 more for the copy unless the array is read-only, and a layer's working memory. An array to be compared of more than LARGEST numbers
is not kept: comparing would read as much memory as packing does.
"""
import threading
from typing import Callable, NamedTuple

import numpy as np

from .. import kernels

LARGEST = 1 << 22       # numbers compared in each run, at most
PIECE = 1 << 14         # numbers compared at once: they stay in the first caches


class Kept(NamedTuple):
    """A node's run: the shape and type of x that it is for, and its constants by name (numbers and None by themselves), as they were."""

    shape: tuple
    dtype: np.dtype
    constants: list
    run: Callable

    def holds(self, arrays):
        """Are the constants what they were?"""
        return all([_same(held, arrays[a] if isinstance(a, str) else a) for a, held in self.constants])


class Prepared:
    """The runs that one graph keeps."""

    def __init__(self):
        self.here = threading.local()

    def __reduce__(self):
        return Prepared, ()                                        # a copy of a graph keeps nothing yet

    def begin(self, arrays):
        """This thread's runs that are right for these arrays, this mode and number of threads: number of the node -> Kept. Others are let go."""
        now, here = (kernels.mode(), kernels.get_num_threads()), self.here.__dict__
        if here.get("now") != now:
            here["now"], here["runs"] = now, {}
        runs = here["runs"]
        for number in [number for number, kept in runs.items() if not kept.holds(arrays)]:
            del runs[number]
        return runs


def prepare(op, x, constants, attributes, arrays):
    """The Kept of an operation on x with these constants (names in `arrays`, numbers, None), or None if there is none to be had."""
    values = [arrays[a] if isinstance(a, str) else a for a in constants]
    if any(isinstance(a, np.ndarray) and a.size > LARGEST and not _fixed(a) for a in values):
        return None
    run = op.prepare(x.shape, x.dtype, *values, **attributes)
    return run and Kept(x.shape, x.dtype, list(zip(constants, map(_hold, values))), run)


def _fixed(a):
    """Can nobody write to this array?"""
    return a.flags.owndata and not a.flags.writeable


def _pieces(a):
    """The bits of a large array's numbers, in order, a piece at a time."""
    flat = a.reshape(-1)
    return (flat[i:i + PIECE].tobytes() for i in range(0, flat.size, PIECE))


def _hold(a):
    """What `_same` knows a constant by: a read-only array itself, of any other its shape, type and bits."""
    if not isinstance(a, np.ndarray):
        return a
    return a if _fixed(a) else (a.shape, a.dtype, a.tobytes() if a.size <= PIECE else list(_pieces(a)))


def _same(held, a):
    """Is `a` what was held?"""
    if type(held) is not tuple:
        return held is a and not a.flags.writeable if isinstance(held, np.ndarray) else type(held) is type(a) and held == a
    shape, dtype, bits = held
    if not isinstance(a, np.ndarray) or a.shape != shape or a.dtype != dtype:
        return False
    return a.tobytes() == bits if type(bits) is bytes else all(map(bytes.__eq__, bits, _pieces(a)))
