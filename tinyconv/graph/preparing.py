"""What operations work out from their constants alone, kept from one run of a graph to the next: packed weights.

A layer packs its weights and lays its arguments down before it multiplies anything, an integer layer proves that its sums fit and makes tables
besides; for one picture that takes longer than the multiplying. An operation with `prepare` in the table says how to do it once:

    run = prepare(x_shape, x_dtype, *constants, **attributes);   run(x) == forward(x, *constants, **attributes)[0]

A kept run is used again only for an input of the same shape and type, the same mode and number of threads, and *equal* constants: an array
that cannot be written to is known by being the same one, any other is compared with a copy, bit by bit. So a result never depends on
what was kept. Of every node the last run is kept, in each thread its own: they have scratch memory. Where `prepare` gives None nothing is.

Memory in bytes a weight: 3 for integers; for float32 4 packed (Winograd's transforms 16 a/9 with tiles of a = 4, 6 by 6: 7 and 16 for a 3x3
window), 4 more for the copy unless the array is read-only, and a layer's working memory. An array to be compared of more than LARGEST numbers
is not kept: comparing would read as much memory as packing does.
"""
import threading

import numpy as np

from .. import kernels

LARGEST = 1 << 22       # numbers compared in each run, at most
PIECE = 1 << 14         # numbers compared at once: they stay in the first caches


class Prepared:
    """The runs that one graph keeps: `ready` gives that of a node, made now or before."""

    def __init__(self):
        self.here = threading.local()

    def __reduce__(self):
        return Prepared, ()                                        # a copy of a graph keeps nothing yet

    def runs(self):
        """This thread's: number of the node -> (what it was made for, its constants as they were, run)."""
        return self.here.__dict__.setdefault("runs", {})

    @staticmethod
    def ready(runs, number, op, x, constants, attributes):
        """The run of node `number` for x and these constants, or None if the operation has none; runs: those of this thread."""
        made_for, kept = (x.shape, x.dtype, kernels.mode(), kernels.get_num_threads()), runs.get(number)
        if kept is not None and kept[0] == made_for and all(map(_same, kept[1], constants)):
            return kept[2]
        runs.pop(number, None)                                     # not two at a time in memory
        if any(isinstance(a, np.ndarray) and a.size > LARGEST and not _fixed(a) for a in constants):
            return None
        run = op.prepare(x.shape, x.dtype, *constants, **attributes)
        if run is not None:
            runs[number] = made_for, [_hold(a) for a in constants], run
        return run


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
