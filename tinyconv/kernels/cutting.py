"""How work is cut into tasks: that of a matrix product into blocks of tiles (of rows, of pixels) times splits of the panels of filters.

    a task = one block x one split:  (tiles + more) x panels      more: what a panel costs a block when it comes into the first cache

Large blocks let a panel be used often once it has come; few splits let two panels be multiplied together. But all threads should have enough to
do until the end, and processors are seldom equally fast: one may share its core with another program. So both ends are worked out, with equal
threads and with unequal ones, each taking the next task when it is free, and the cut with the earliest is taken. (Graham, "Bounds on multiprocessing
timing anomalies", 1969: on equal threads, taking what comes next ends later than the best schedule by one task at most.) Worked out once a geometry.
Equal units, as the tiles of a depthwise layer, are dealt out in pieces by the same reckoning: `pieces_of`.
"""
import heapq
from functools import lru_cache

from . import threads

COST = 1000             # what a piece costs to begin with, in elementary operations: a third of a microsecond (by trial)
SLOWER = 1.5            # so much longer a thread may take that shares its core (by trial)


def ending(tiles, groups, panels, count, pieces, block, splits, more, together=1, each=0):
    """How long `count` threads take for the work cut so, in tiles times panels, who is free taking the next piece: equally fast, and all but the
    first slower by SLOWER; the sum of both. A panel costs a block as much as its tiles and `more`, a piece `each` beside what is in it.

    >>> ending(8, 1, 2, 2, 2, 4, 1, 0), ending(8, 1, 2, 2, 8, 1, 1, 0)
    (20.0, 18.0)
    """
    per = share(panels, splits, together)
    rows, columns = ([min(size, whole - begin) for begin in range(0, whole, size)] for whole, size in ((tiles, block), (panels, per)))
    units = [(row + more) * column for row in rows for _ in range(groups) for column in columns]
    pieces, found = min(pieces, len(units)), 0.0
    own = [lo for lo, _ in threads.split(pieces, count)]
    works = [each + sum(units[i * len(units) // pieces:(i + 1) * len(units) // pieces]) for i in range(pieces)]
    for pace in (1.0, SLOWER):
        free, left = [(0.0, thread) for thread in range(count)], set(range(pieces))
        while left:
            when, thread = heapq.heappop(free)
            piece = min(left, key=lambda piece: (piece - own[thread]) % pieces)                         # own ones first: `_mailbox`
            left.remove(piece)
            heapq.heappush(free, (when + works[piece] * (pace if thread else 1.0), thread))
        found += max(free)[0]
    return found


def share(panels, splits, together=1):
    """Panels of one of so many splits; an even number, where two of them are multiplied together."""
    per = -(-panels // splits)
    return per + per % 2 if together == 2 and per > 1 else per


@lru_cache(maxsize=None)
def cut(tiles, groups, panels, count, pieces, most, more=0, together=1, each=0):
    """(tiles of pixels in a block, splits of the panels) for the earliest `ending`, in up to so many pieces; blocks of up to `most` tiles, large ones
    among equals.

    >>> cut(1000, 1, 2, 2, 8, 8), cut(4, 1, 16, 2, 8, 8, 1)
    ((8, 1), (4, 8))
    """
    if tiles >= 8 * most * pieces:
        return most, 1
    steps, fewest = -(-panels // together), -(-tiles // most)
    splits = sorted({-(-steps // per) for per in range(1, steps + 1)})
    blocks = sorted({-(-tiles // across) for across in range(fewest, max(fewest, min(tiles, 4 * pieces)) + 1)}, reverse=True)
    found = [(block, s) for block in blocks for s in splits if -(-tiles // block) * groups * s <= max(4 * pieces, fewest * groups)]
    return min(found, key=lambda shape: ending(tiles, groups, panels, count, pieces, *shape, more, together, each))


@lru_cache(maxsize=None)
def pieces_of(units, count, most, each=0):
    """Into how many pieces, up to `most`, so many equal units are cut for the earliest `ending`; few among equals; of many units as many as there may be.

    >>> pieces_of(7, 2, 5), pieces_of(14, 2, 8), pieces_of(1000, 2, 8)
    (3, 8, 8)
    """
    if units >= 8 * most:
        return most
    return min(range(1, min(units, most) + 1), key=lambda pieces: ending(units, 1, 1, count, pieces, 1, 1, 0, 1, each))


def pieces_for(units, work, count):
    """The same for so much work altogether, in elementary operations, as `threads.pieces` takes it."""
    return pieces_of(units, count, threads.pieces(work, count), COST * units / max(1, work))
