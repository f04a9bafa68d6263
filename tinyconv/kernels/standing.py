"""A convolution that is called often with the same weights: a kernel's forty arguments are laid down once, and a call puts in the few that change.

    plan(x, R, low, high)  =  the kernel on (x, packed, bias, R, …, low, high, y, …), where only x, R, low, high and y are new

Handing forty arguments from Python to compiled code takes 2 to 3 microseconds, each array being looked at from all sides; a layer on a 1x1
plane computes for less than one. So `prepare` writes all of them into a block of memory, as the kernel's entry function reads them (`_launch`),
and `begin` writes the addresses of this call's x and y into their places, and starts the job, alone or shared.

    block = HEAD integers: entry, tasks, the line y begins at, where each changing argument stands;  then the kernel and its arguments

Bound by: the interpreter, about 2 microseconds a call.
"""
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from . import layout, select, threads
from ._jit import fast
from ._launch import ARGUMENTS, I64, address_of, call, entry_of, share
from ._launch import ENTRY as BOX_ENTRY

LOW, HIGH = -np.inf, np.inf                     # bounds that clip nothing
OPEN = np.float32(LOW), np.float32(HIGH)
CHANGING = ("x", "R", "residual", "low", "high", "y")
HEAD, ENTRY, TASKS, ALIGN, FIRST = 9, 0, 1, 2, 3        # FIRST: one integer for each of CHANGING, 0 if the kernel has no such argument
PLACES = {"x": 0, "R": 3, "residual": 4, "low": 5, "high": 6, "y": 7}     # where they stand in most kernels' arguments
NUMBERS, DATA, LENGTH = 2, 4, 5                 # integers before a flat array's count of numbers, address and length, as compiled code knows it
LINE = 64                                       # bytes of a cache line: where y begins


@intrinsic
def address(context, array):
    """Where an array's first number lies."""
    def emit(c, b, s, v):
        return b.ptrtoint(c.make_array(s.args[0])(c, b, v[0]).data, I64)
    return types.int64(array), emit


@intrinsic
def put(context, at, value):
    """value (an integer, or float32) at that address."""
    def emit(c, b, s, v):
        b.store(v[1], b.inttoptr(v[0], v[1].type.as_pointer()))
        return c.get_dummy_value()
    return types.void(types.int64, value), emit


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


@fast
def prepare(block, places, kernel, arguments):
    """Lay everything down; see `lay`."""
    block[ENTRY] = lay(block, places, kernel, arguments)


@fast
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
def alone(block, x, memory):
    """The job with this x and y, on the calling thread -> where y begins; or -1 less the kernel's status."""
    first = put_in(block, x, memory)
    failed = call(block[ENTRY], address(block) + 8 * HEAD, 0, block[TASKS])
    return first if failed == 0 else -1 - failed


@fast
def shared(block, x, memory, box, parts):
    """The same on so many threads."""
    first = put_in(block, x, memory)
    box[BOX_ENTRY], box[ARGUMENTS] = block[ENTRY], address(block) + 8 * HEAD
    failed = share(box, block[TASKS], parts)
    return first if failed == 0 else -1 - failed


def laid_down(kernel, tasks, arguments, places, sizes, align):
    """The block: everything at its place. sizes: how many numbers x, R and y have, whatever flat arrays stand for them now."""
    block = np.zeros(HEAD + 1 + sum(5 + 2 * getattr(a, "ndim", 0) for a in arguments), np.int64)
    stands = np.zeros(len(arguments), np.int64)
    prepare(block, stands, address_of(kernel, arguments), arguments)
    block[TASKS], block[ALIGN] = tasks, align
    for i, name in enumerate(CHANGING):
        if name in places:
            block[FIRST + i] = at = stands[places[name]]
            if name in sizes:
                block[[at // 8 + NUMBERS, at // 8 + LENGTH]] = sizes[name]
    return block


def convolution(kernel, tasks, arguments, places, x_shape, shape, work):
    """plan(x (N,C,H,W), R=None (N,F,OH,OW), low=-inf, high=inf) -> y (N,F,OH,OW) on channels-last memory: `kernels.plan_conv2d` of a fast kernel.

    kernel(lo, hi, *arguments); places: where in `arguments` those of CHANGING stand that the kernel has; x_shape (N,H,W,C), shape (N,OH,OW,F);
    work as in `threads.run`. One caller at a time. Errors: ValueError for another shape or type of x or R; RuntimeError if the kernel fails.
    """
    (n, h, w, c), (_, oh, ow, f) = x_shape, shape
    x_shape, x_strides, y_shape, strides = (n, c, h, w), (4 * h * w * c, 4, 4 * w * c, 4 * c), (n, f, oh, ow), (4 * oh * ow * f, 4, 4 * ow * f, 4 * f)
    if not hasattr(kernel, "overloads"):
        return select.checked(uncompiled(kernel, tasks, arguments, places, shape), x_shape, y_shape, np.dtype(np.float32))
    dot = oh == ow == 1                                                             # (N,F,1,1): one order of memory, and so few numbers
    block = laid_down(kernel, tasks, arguments, places, {"x": n * h * w * c, "R": n * oh * ow * f, "y": n * oh * ow * f}, 4 if dot else LINE)
    room = y_shape if dot else n * oh * ow * f + LINE // 4
    empty, ndarray, float32, most = np.empty, np.ndarray, np.dtype(np.float32), 1 if work < threads.SMALL else min(tasks, threads.MOST)
    changed, keep, wide = False, arguments, h * w > 1

    def plan(x, R=None, low=LOW, high=HIGH):
        nonlocal changed
        if x.shape != x_shape or x.dtype != float32:
            raise ValueError(f"x must be float32 of shape {x_shape}, not {x.dtype} of shape {x.shape}")
        if x.strides != x_strides and (wide or not x.flags.c_contiguous):
            x = layout.shaped(layout.nhwc(x))
        if R is not None or low is not LOW or high is not HIGH:
            if R is not None and R.shape != y_shape:
                raise ValueError(f"R must have shape {y_shape}, not {R.shape}")
            if R is not None and "R" not in places:
                return np.clip(plan(x) + R, np.float32(low), np.float32(high))
            R = keep[0] if R is None else layout.nhwc(R)
            change(block, R.reshape(-1), 0 if R is keep[0] else 1, np.float32(low), np.float32(high))
            changed = True
        elif changed:
            change(block, keep[0].reshape(-1), 0, *OPEN)
            changed = False
        memory = empty(room, float32)
        if most == 1 or threads.get_num_threads() == 1:
            first = alone(block, x, memory)
        else:
            pool = threads.pool()
            with pool.lock:
                first = shared(block, x, memory, pool.ready(), min(most, pool.count))
        if first < 0:
            raise RuntimeError(f"kernel {kernel.__name__} failed with status {-1 - first}")
        return memory if dot else ndarray(y_shape, float32, memory, first, strides)
    return plan


def uncompiled(kernel, tasks, arguments, places, shape):
    """`convolution` of a Python function: the arguments put together in every call."""
    def plan(x, R=None, low=LOW, high=HIGH):
        y = layout.result(shape)
        if R is not None and "R" not in places:
            return np.clip(plan(x) + R, np.float32(low), np.float32(high))
        new = {"x": layout.nhwc(x).reshape(-1), "low": np.float32(low), "high": np.float32(high), "y": y.reshape(-1)}
        if R is not None:
            new.update(R=layout.nhwc(R).reshape(-1), residual=1)
        given = list(arguments)
        for name, at in places.items():
            given[at] = new.get(name, given[at])
        threads.run(kernel, tasks, *given)
        return layout.shaped(y)
    return plan
