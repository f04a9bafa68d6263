"""A mailbox of integers, and threads that watch it: how a job is shared without Python in between.

`threads` says what is meant: a job is a kernel, its arguments and a number of pieces; every thread takes pieces until none is left. Here is
what Python cannot say: integers that several threads change without losing an update (atomic instructions), and a function called by its
address.

    ticket = job number * 2^32 + a bit for every piece not yet taken      one integer: a piece is taken by replacing it with ticket - bit,
                                                                          which succeeds only if nobody else was faster (compare and swap)

The pieces are dealt out evenly, thread i begins with the first of its own, so that in a chain of jobs it finds its part of the arrays in its own
cache, and goes on with the next one that is left, its own or not, round and round.
A thread that took a piece reads the job's other fields afterwards: the job cannot end before its last piece is done.
Bound by: the time a changed cache line needs from one processor to the other, about 0.1 microseconds each way.
"""
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ._instructions import instructions
from ._jit import called, fast

I64 = ir.IntType(64)
# places in the mailbox, 64 bytes apart where different threads write: a cache line belongs to one processor at a time
TICKET, JOB, DONE, FAILED, ASLEEP, LINE = 0, 8, 16, 17, 24, 8
MOST = 32                # pieces of a job
ENTRY, ARGUMENTS, TASKS, PIECES, THREADS, WANTED = JOB, JOB + 1, JOB + 2, JOB + 3, JOB + 4, JOB + 5


def place(context, builder, kind, box, at):
    """Address of box[at]."""
    return builder.gep(context.make_array(kind)(context, builder, box).data, [at])


@intrinsic
def read(context, box, at):
    """box[at] as the last writer left it."""
    def emit(c, b, s, v):
        return b.load_atomic(place(c, b, s.args[0], v[0], v[1]), "seq_cst", 8)
    return types.int64(box, types.intp), emit


@intrinsic
def write(context, box, at, value):
    """box[at] = value, seen by every thread that reads it afterwards, with all that was written before."""
    def emit(c, b, s, v):
        b.store_atomic(v[2], place(c, b, s.args[0], v[0], v[1]), "seq_cst", 8)
        return c.get_dummy_value()
    return types.void(box, types.intp, types.int64), emit


def add(box, at, value):
    """box[at] += value, no update lost; the value before."""
    before = box[at]
    box[at] += value
    return before


@instructions(add)
def _add(context, box, at, value):
    def emit(c, b, s, v):
        return b.atomic_rmw("add", place(c, b, s.args[0], v[0], v[1]), v[2], "seq_cst")
    return types.int64(box, types.intp, types.int64), emit


@intrinsic
def swap(context, box, at, old, new):
    """box[at] = new if it is old; 1 if it was."""
    def emit(c, b, s, v):
        pair = b.cmpxchg(place(c, b, s.args[0], v[0], v[1]), v[2], v[3], "seq_cst", "seq_cst")
        return b.zext(b.extract_value(pair, 1), I64)
    return types.int64(box, types.intp, types.int64, types.int64), emit


@intrinsic
def cycles(context):
    """The processor's clock."""
    def emit(c, b, s, v):
        return b.call(cgutils.get_or_insert_function(b.module, ir.FunctionType(I64, []), "llvm.readcyclecounter"), [])
    return types.int64(), emit


@intrinsic
def call(context, entry, arguments, lo, hi):
    """entry(lo, hi, arguments): what `_launch.lay_down` made, by its address; 0 unless the kernel failed."""
    def emit(c, b, s, v):
        kind = ir.FunctionType(I64, [I64, I64, I64])
        return b.call(b.inttoptr(v[0], kind.as_pointer()), [v[2], v[3], v[1]])
    return types.int64(types.int64, types.int64, types.int64, types.int64), emit


@fast
def take(box, me):
    """Do one piece of the present job, thread `me`'s own if possible; 0 if none was left."""
    ticket = read(box, TICKET)
    left = ticket % 2**MOST
    if left == 0:
        return 0
    piece = me * box[PIECES] // box[THREADS]                # a hint: what is taken is what the ticket says is left
    while not left >> piece & 1:
        piece = (piece + 1) % MOST
    if swap(box, TICKET, ticket, ticket - (1 << piece)):
        tasks, pieces = box[TASKS], box[PIECES]
        short, longer = tasks // pieces, tasks % pieces
        lo = piece * short + min(piece, longer)
        failed = call(box[ENTRY], box[ARGUMENTS], lo, lo + short + (piece < longer))
        if failed:
            write(box, FAILED, failed)
        add(box, DONE, 1)
    return 1


@called
def serve(box, me, patience):
    """Worker `me` (the caller is 0): take pieces as long as there are jobs; after `patience` cycles without one, say so and return."""
    idle = cycles()
    while True:
        if take(box, me):
            idle = cycles()
        elif cycles() - idle > patience:
            write(box, ASLEEP + (me - 1) * LINE, 1)
            if read(box, TICKET) % 2**MOST == 0:
                return
            write(box, ASLEEP + (me - 1) * LINE, 0)


@fast
def sleeping(box):
    """Does one of the workers that are wanted sleep? (Then Python rings its bell: `workers`.)"""
    for me in range(box[WANTED]):
        if box[ASLEEP + me * LINE]:
            return True
    return False


@fast
def share(box, entry, arguments, tasks, pieces):
    """Announce a job, entry(lo, hi, arguments) over so many tasks, take pieces of it too, and wait until all are done; the kernel's status, 0 if
    it did not fail."""
    box[ENTRY], box[ARGUMENTS], box[TASKS], box[PIECES], box[DONE], box[FAILED] = entry, arguments, tasks, pieces, 0, 0
    write(box, TICKET, ((read(box, TICKET) >> MOST) + 1 << MOST) + (1 << pieces) - 1)
    caller = pieces - pieces                                # 0, and no literal, for which `take` would be compiled once more
    while take(box, caller):
        pass
    while read(box, DONE) < pieces:
        pass
    return box[FAILED]


def mailbox(workers):
    """An empty mailbox for so many workers, and the view of it that says which of them sleep: all.

    (Python reads a memoryview in a tenth of the time that it takes for an array.)"""
    box = np.zeros(ASLEEP + workers * LINE, np.int64)
    box[THREADS] = workers + 1
    box[ASLEEP::LINE] = 1
    return box, memoryview(box)[ASLEEP::LINE]
