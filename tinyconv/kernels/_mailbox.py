"""A mailbox of integers, and threads that watch it: how a job is shared without Python in between.

`threads` says what is meant: a job is a kernel, its arguments and a number of pieces; every thread takes pieces until none is left. What Python cannot
say, integers that several threads change and a function called by its address, is in `_memory`.

    ticket of a thread = job number * 2^32 + a bit for every piece dealt to it and not yet taken      one integer: a piece is taken by replacing it
                                                                          with ticket - bit, if nobody else was faster (compare and swap)

The pieces are dealt out evenly, neighbours to one thread, so that in a chain of jobs it finds its part of the arrays in its own cache. Who has done his
own takes what is left of the others', who may be slower, or asleep. Each thread has lines of the cache of its own, for its ticket and for how many pieces it
has done: as long as it does its own, no other processor writes there.
A thread that took a piece reads the job's other fields afterwards: the job cannot end before its last piece is done.
Bound by: the time a changed cache line needs from one processor to the other, about 0.1 microseconds each way.
"""
import numpy as np
from numba import types
from numba.extending import intrinsic

from . import layout
from ._jit import called, fast
from ._memory import I64, address_of, call, cycles, place, read, swap, write
from .workers import BUSY, SLEEPING

LINE = 16                # integers that one thread alone writes: two cache lines, for processors fetch them in pairs
MOST = 32                # pieces of a job, and threads
# places in the mailbox: the job's, written by its caller (FAILED: by the thread whose piece failed), with what `workers` says (THREADS that there are,
# WANTED workers), who CLAIMED it and the address of `share`; then, from (i + 1) * LINE on, those of thread i, the caller being 0
ENTRY, ARGUMENTS, TASKS, PIECES, DEALT, NUMBER, THREADS, WANTED, FAILED, CLAIMED, SHARE = range(11)
TICKET, DONE, ASLEEP = range(3)


@fast
def take(box, whose, me):
    """Do one of the pieces dealt to thread `whose`, as thread `me`; 0 if none was left."""
    at, mine, i = (whose + 1) * LINE + TICKET, (me + 1) * LINE + DONE, 0
    ticket = read(box, at)
    left = ticket % 2**MOST
    if left == 0:
        return 0
    while not left >> i & 1:
        i += 1
    if swap(box, at, ticket, ticket - (1 << i)):
        pieces, tasks = box[PIECES], box[TASKS]
        piece = begin(pieces, box[DEALT], whose) + i
        failed = call(box[ENTRY], box[ARGUMENTS], begin(tasks, pieces, piece), begin(tasks, pieces, piece + 1))
        if failed:
            write(box, FAILED, failed)
        write(box, mine, box[mine] + 1)
    return 1


@fast
def begin(count, parts, part):
    """Where such a part of range(count) begins: `threads.split`."""
    return part * (count // parts) + min(part, count % parts)


@fast
def work(box, me):
    """Do what is left of the present job, thread `me`'s own pieces first."""
    threads = box[DEALT]
    for i in range(threads):
        while take(box, (me + i) % threads, me):
            pass


@called
def serve(box, me, patience):
    """Worker `me` (the caller is 0): do pieces as long as there are jobs; after `patience` cycles without one, say so and return.

    Only a ticket of its own calls it: who was late for a job does not help with it, and a job dealt out just as it falls asleep is done by others."""
    idle, mine = cycles(), (me + 1) * LINE
    write(box, mine + ASLEEP, 0)                            # a bell may have rung when it was awake
    while True:
        if read(box, mine + TICKET) % 2**MOST:
            work(box, me)
            idle = cycles()
        elif cycles() - idle > patience:
            write(box, mine + ASLEEP, 1)
            if read(box, mine + TICKET) % 2**MOST == 0:
                return
            write(box, mine + ASLEEP, 0)


@fast
def sleeping(box):
    """Does one of the workers that are wanted sleep? (Then Python rings its bell: `workers`.)"""
    for me in range(1, box[WANTED] + 1):
        if box[(me + 1) * LINE + ASLEEP]:
            return True
    return False


@fast
def claim(box):
    """The mailbox is this caller's until the end of `share`: 0; or it is not: SLEEPING, BUSY."""
    if sleeping(box):
        return SLEEPING
    return 0 if swap(box, CLAIMED, 0, 1) else BUSY


@fast
def done(box):
    """How many pieces were done since the mailbox was made."""
    total = 0
    for me in range(box[THREADS]):
        total += read(box, (me + 1) * LINE + DONE)
    return total


@fast
def share(tasks, pieces, box, entry, arguments):
    """Deal out a job, entry(lo, hi, arguments) over so many tasks, do pieces of it too, and wait until all are done; the kernel's status, 0 if
    it did not fail. Who calls has claimed the mailbox."""
    caller, threads, end = pieces - pieces, box[WANTED] + 1, done(box) + pieces        # 0, and no literal, for which `work` would be compiled once more
    box[ENTRY], box[ARGUMENTS], box[TASKS], box[PIECES], box[DEALT], box[FAILED] = entry, arguments, tasks, pieces, threads, 0
    box[NUMBER] += 1
    for me in range(threads - 1, -1, -1):
        dealt = begin(pieces, threads, me + 1) - begin(pieces, threads, me)
        write(box, (me + 1) * LINE + TICKET, (box[NUMBER] << MOST) + (1 << dealt) - 1)
    work(box, caller)
    while done(box) < end:
        pass
    failed = box[FAILED]
    write(box, CLAIMED, 0)
    return failed


@intrinsic
def shared_out(context, tasks, pieces, box, entry, arguments):
    """`share`, by its address, which the mailbox knows: in each function that shares a job it would else be compiled again."""
    kinds = (types.int64, types.int64, box, types.int64, types.int64)

    def emit(c, b, s, v):
        kind = c.call_conv.get_function_type(types.int64, kinds).as_pointer()
        function = b.load(b.bitcast(place(c, b, box, v[2], I64(SHARE)), kind.as_pointer()))
        return c.call_conv.call_function(b, function, types.int64, kinds, v)[1]
    return types.int64(*kinds), emit


def mailbox():
    """An empty mailbox, and the view of it that says which of the workers sleep: all.

    (Python reads a memoryview in a tenth of the time that it takes for an array.)"""
    box = layout.room((MOST + 1) * LINE, np.int64)
    box[:] = 0
    box[THREADS], box[SHARE] = 1, address_of(share, (box, 0, 0))
    box[2 * LINE + ASLEEP::LINE] = 1
    return box, memoryview(box)[2 * LINE + ASLEEP::LINE]
