"""The block of memory that `standing` keeps for a kernel, and the compiled code that puts in what is new and starts the job.

    block = HEAD integers: entry, tasks, what y's address is a multiple of, shape and strides of x, where each changing argument stands;
            then the kernel and its arguments

An array is, to compiled code, a row of integers and pointers; of x, R and y only the pointer to the first number changes from call to call.
`lay` writes all arguments once, as the entry function that `_launch` makes reads them; `put_in` overwrites two pointers.
"""
import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from . import threads
from ._jit import door, fast
from ._launch import entry_of
from ._mailbox import claim, shared_out
from ._memory import I64, address, address_of, call, put
from .workers import BUSY, SLEEPING

CHANGING = ("x", "R", "residual", "low", "high", "y", "tables", "floats")
LINE = 64                                       # bytes of a cache line
ENTRY, TASKS, ALIGN, AXES, SHAPE, FIRST, HEAD = 0, 1, 2, 3, 4, 12, 20   # AXES: of x, 0 if it is not looked at; SHAPE: its four, then four strides;
# FIRST: one integer for each of CHANGING, 0 if the kernel has no such argument
REFUSED = -2**42                                # what a call returns for an x of another shape, or that lies otherwise in memory
NUMBERS, DATA, LENGTH = 2, 4, 5                 # integers before a flat array's count of numbers, address and length, as compiled code knows it


@intrinsic
def lay(context, block, places, kernel, arguments):
    """The kernel's address and its arguments from block[HEAD] on, places[i] = the byte of the block where argument i stands -> the entry's address."""
    kinds = tuple(arguments.types)

    def emit(context, builder, signature, values):
        entry, kind = entry_of(context, builder, kinds)
        room, out = (context.make_array(signature.args[i])(context, builder, values[i]).data for i in (0, 1))
        laid = builder.bitcast(builder.gep(room, [I64(HEAD)]), kind.as_pointer())
        builder.store(values[2], cgutils.gep_inbounds(builder, laid, 0, 0))
        for i, value in enumerate(cgutils.unpack_tuple(builder, values[3])):
            target = cgutils.gep_inbounds(builder, laid, 0, i + 1)
            builder.store(value, target)
            builder.store(builder.sub(builder.ptrtoint(target, I64), builder.ptrtoint(room, I64)), builder.gep(out, [I64(i)]))
        return builder.ptrtoint(entry, I64)
    return types.int64(block, places, types.int64, arguments), emit


@door
def prepare(block, places, kernel, arguments):
    """Lay everything down; see `lay`."""
    block[ENTRY] = lay(block, places, kernel, arguments)


@door
def change(block, R, residual, low, high):
    """Put in what changes seldom: the residual, if the kernel has one, and the bounds."""
    here = address(block)
    if block[FIRST + 1] > 0:
        put(here + block[FIRST + 1] + 8 * DATA, address(R))
        put(here + block[FIRST + 2], residual)
    put(here + block[FIRST + 3], low)
    put(here + block[FIRST + 4], high)


@fast
def put_in(block, x, memory):
    """x and y, which begins at a line of `memory` -> the byte of `memory` where that is."""
    here, start = address(block), address(memory)
    first = (start + block[ALIGN] - 1) // block[ALIGN] * block[ALIGN]
    put(here + block[FIRST] + 8 * DATA, address(x))
    put(here + block[FIRST + 5] + 8 * DATA, first)
    return first - start


@fast
def fits(block, x):
    """Has x that shape, and lies so in memory? (Along an axis of one number every stride is right.)"""
    for i in range(block[AXES]):
        if x.shape[i] != block[SHAPE + i] or x.shape[i] > 1 and x.strides[i] != block[SHAPE + 4 + i]:
            return False
    return True


@door
def alone(block, x, memory):
    """The job with this x and y, on the calling thread -> where y begins; or REFUSED, or -1 less the kernel's status."""
    if not fits(block, x):
        return REFUSED
    first = put_in(block, x, memory)
    failed = call(block[ENTRY], address(block) + 8 * HEAD, 0, block[TASKS])
    return first if failed == 0 else -1 - failed


@door
def shared(box, block, x, memory, parts):
    """The job with this x and y in so many pieces, on all threads -> as `alone`; or SLEEPING, BUSY, if workers must be rung first, or others share a job."""
    if not fits(block, x):
        return REFUSED
    refused = claim(box)
    if refused:
        return refused
    first = put_in(block, x, memory)
    failed = shared_out(block[TASKS], parts, box, block[ENTRY], address(block) + 8 * HEAD)
    return first if failed == 0 else -1 - failed


@door
def product(box, block, a, b, memory, room, parts):
    """A matrix product with these factors, on one thread if parts is 1, else shared. Its scratch begins at a line of `room`, and it sees it as
    integers and as floats."""
    refused = claim(box) if parts > 1 else 0
    if refused:
        return refused
    here, first = address(block), put_in(block, a, memory)
    scratch = (address(room) + LINE - 1) // LINE * LINE
    put(here + block[FIRST + 1] + 8 * DATA, address(b))
    put(here + block[FIRST + 6] + 8 * DATA, scratch)
    put(here + block[FIRST + 7] + 8 * DATA, scratch)
    entry, laid, tasks = block[ENTRY], here + 8 * HEAD, block[TASKS]
    failed = call(entry, laid, 0, tasks) if parts == 1 else shared_out(tasks, parts, box, entry, laid)
    return first if failed == 0 else -1 - failed


def laid_down(kernel, tasks, arguments, places, sizes, align, expected=((), ())):
    """The block: everything at its place. sizes: how many numbers x, R and y have, whatever flat arrays stand for them now; expected: shape and
    strides of an x of four axes."""
    block = np.zeros(HEAD + 1 + sum(5 + 2 * getattr(a, "ndim", 0) for a in arguments), np.int64)
    stands = np.zeros(len(arguments), np.int64)
    prepare(block, stands, address_of(kernel, arguments), arguments)
    block[TASKS], block[ALIGN], block[AXES] = tasks, align, len(expected[0])
    for i, numbers in enumerate(expected):
        block[SHAPE + 4 * i:SHAPE + 4 * i + len(numbers)] = numbers
    for i, name in enumerate(CHANGING):
        if name in places:
            block[FIRST + i] = at = stands[places[name]]
            if name in sizes:
                block[[at // 8 + NUMBERS, at // 8 + LENGTH]] = sizes[name]
    return block


def starter(kernel, block, arguments, work):
    """start(x, memory) -> the byte of `memory` where y begins, or REFUSED: the job of that block, with this x, on one or on all threads.

    arguments: what was laid down, kept as long as this function is; work as in `threads.run`. Errors: RuntimeError if the kernel fails.
    """
    pool, known, pieces = threads.pool(), 0, 1              # known: the number of threads for which so many pieces are right

    def start(x, memory):
        nonlocal known, pieces
        if pool.count != known:
            known = pool.count
            pieces = min(int(block[TASKS]), threads.pieces(work, known)) if work >= threads.SMALL and known > 1 else 1
        if pieces == 1:
            first = alone(block, x, memory)
        else:
            box = pool.box
            first = SLEEPING if box is None else shared(box, block, x, memory, pieces)
            if first == SLEEPING or first == BUSY:
                first = pool.share(shared, block, x, memory, pieces)
        if first < 0 and first != REFUSED:
            raise RuntimeError(f"kernel {kernel.__name__} failed with status {-1 - first}")
        return first
    start.arguments = arguments
    return start
