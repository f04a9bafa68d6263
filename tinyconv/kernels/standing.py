"""A convolution that is called often with the same weights: a kernel's forty arguments are laid down once, and a call puts in the few that change.

    plan(x, R, low, high)  =  the kernel on (x, packed, bias, R, …, low, high, y, …), where only x, R, low, high and y are new

Handing forty arguments from Python to compiled code takes 2 to 3 microseconds, each array being looked at from all sides; a layer on a 1x1
plane computes for less than one. So all of them are written into a block of memory, as the kernel's entry function reads them, and a call writes
the addresses of its x and y into their places and starts the job, alone or shared (`_standing`). `convolution` is of float32, `codes` of bytes,
`product` a matrix product, whose second matrix is new in each call, too.

Bound by: the interpreter, about 2 microseconds a call.
"""
import numpy as np

from . import layout, select, threads
from ._standing import LINE, REFUSED, change, laid_down, starter
from ._standing import product as run_product

LOW, HIGH = -np.inf, np.inf                     # bounds that clip nothing
OPEN = np.float32(LOW), np.float32(HIGH)
PLACES = {"x": 0, "R": 3, "residual": 4, "low": 5, "high": 6, "y": 7}     # where they stand in most kernels' arguments


def strides_of(c, h, w, size):
    """Strides of an (N,C,H,W) array on channels-last memory, numbers of `size` bytes."""
    return size * h * w * c, size, size * w * c, size * c


def convolution(kernel, tasks, arguments, places, x_shape, shape, work):
    """plan(x (N,C,H,W), R=None (N,F,OH,OW), low=-inf, high=inf) -> y (N,F,OH,OW) on channels-last memory: `kernels.plan_conv2d` of a fast kernel.

    kernel(lo, hi, *arguments); places: where in `arguments` those of CHANGING stand that the kernel has; x_shape (N,H,W,C), shape (N,OH,OW,F);
    work as in `threads.run`. One caller at a time. Errors: ValueError for another shape or type of x or R; RuntimeError if the kernel fails.
    """
    (n, h, w, c), (_, oh, ow, f) = x_shape, shape
    x_shape, y_shape, strides = (n, c, h, w), (n, f, oh, ow), strides_of(f, oh, ow, 4)
    if not hasattr(kernel, "overloads"):
        return select.checked(uncompiled(kernel, tasks, arguments, places, shape), x_shape, y_shape, np.dtype(np.float32))
    dot = oh == ow == 1                                                             # (N,F,1,1): one order of memory, and so few numbers
    block = laid_down(kernel, tasks, arguments, places, {"x": n * h * w * c, "R": n * oh * ow * f, "y": n * oh * ow * f}, 4 if dot else LINE,
                      (x_shape, strides_of(c, h, w, 4)))
    start, room = starter(kernel, block, arguments, work), y_shape if dot else n * oh * ow * f + LINE // 4
    empty, ndarray, float32, none = np.empty, np.ndarray, np.dtype(np.float32), arguments[0].reshape(-1)
    added, least, most = False, LOW, HIGH                                           # what the block says now (of floats, which never change)

    def plan(x, R=None, low=LOW, high=HIGH):
        nonlocal added, least, most
        if x.dtype is not float32 or x.ndim != 4:
            x = lying(x, x_shape, float32)
        if R is not None or added or low is not least or high is not most:
            if R is not None and R.shape != y_shape:
                raise ValueError(f"R must have shape {y_shape}, not {R.shape}")
            if R is not None and "R" not in places:
                return np.clip(plan(x) + R, np.float32(low), np.float32(high))
            given = R is not None
            R = layout.nhwc(R).reshape(-1) if given else none                       # may be a copy: it must live until the kernel has run
            change(block, R, int(given), np.float32(low), np.float32(high))
            added, least, most = given, *((low, high) if type(low) is type(high) is float else (None, None))
        memory = empty(room, float32)
        first = start(x, memory)
        if first == REFUSED:
            first = start(lying(x, x_shape, float32), memory)
        return memory if dot else ndarray(y_shape, float32, memory, first, strides)
    return plan


def lying(x, shape, dtype):
    """x on channels-last memory. Errors: ValueError for another shape or type."""
    if x.shape != shape or x.dtype != dtype:
        raise ValueError(f"x must be {dtype} of shape {shape}, not {x.dtype} of shape {x.shape}")
    return layout.shaped(layout.nhwc(x))


def codes(kernel, tasks, arguments, places, x_shape, shape, work, dtype, copied=None):
    """plan(x (N,C,H,W)) -> y (N,F,OH,OW) codes of `dtype` on channels-last memory, x 8-bit codes of that shape: an integer kernel standing ready.
    Errors: ValueError for another shape, or codes of more than a byte.

    Arguments as `convolution`, x and y flat bytes (uint8) in the kernel; copied(x (N,H,W,C) uint8) -> what the kernel reads in its place, if it needs
    a copy of its own.
    """
    (n, h, w, c), (_, oh, ow, f) = x_shape, shape
    x_shape, y_shape, strides, empty, ndarray, dtype = (n, c, h, w), (n, f, oh, ow), strides_of(f, oh, ow, 1), np.empty, np.ndarray, np.dtype(dtype)
    if not hasattr(kernel, "overloads"):
        start = uncompiled_codes(kernel, tasks, arguments, places)
    else:
        sizes = {"x": n * h * w * c if copied is None else arguments[places["x"]].size, "y": n * oh * ow * f}
        expected = (x_shape, strides_of(c, h, w, 1)) if copied is None else ((), ())
        start = starter(kernel, laid_down(kernel, tasks, arguments, places, sizes, LINE, expected), arguments, work)
    room = n * oh * ow * f + LINE

    def plan(x):
        if x.ndim != 4 or x.itemsize != 1:
            raise ValueError(f"x must be codes of one byte of shape {x_shape}, not {x.dtype} of shape {x.shape}")
        if copied is not None:
            x = copied(lying(x, x_shape, x.dtype).transpose(0, 2, 3, 1).view(np.uint8))
        memory = empty(room, dtype)
        first = start(x, memory)
        if first == REFUSED:
            first = start(lying(x, x_shape, x.dtype), memory)
        return ndarray(y_shape, dtype, memory, first, strides)
    return plan


def product(kernel, tasks, constants, numbers, m, k, n, room, work, count):
    """product(a (M,K), b of K·N numbers) -> c (M,N): the kernel on (a, b, c, *constants, scratch as integers and as floats, *numbers), all flat.

    room: shape of the scratch in integers of 8 bytes, taken anew in every call; count: threads. Callers take turns.
    """
    flat, words = np.zeros(1, np.float32), np.empty(room, np.int64)
    places = {"x": 0, "R": 1, "y": 2, "tables": 3 + len(constants), "floats": 4 + len(constants)}
    arguments = flat, flat, flat, *constants, words, words.view(np.float32), *numbers
    block = laid_down(kernel, tasks, arguments, places, {"x": m * k, "R": k * n, "y": m * n}, LINE)
    parts = 1 if work < threads.SMALL else min(tasks, threads.pieces(work, count))
    empty, ndarray, size, shape, float32, room = np.empty, np.ndarray, m * n + LINE // 4, (m, n), np.dtype(np.float32), int(np.prod(room))

    pool = threads.pool()

    def run(a, b):
        memory, scratch = empty(size, float32), select.loose(room)
        if parts > 1:
            first = pool.share(run_product, block, a, b, memory, scratch, parts)
        else:
            with pool.lock:
                first = run_product(threads.NOBODY, block, a, b, memory, scratch, 1)
        if first < 0:
            raise RuntimeError(f"kernel {kernel.__name__} failed with status {-1 - first}")
        return ndarray(shape, float32, memory, first)
    run.arguments = constants
    return run


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


def uncompiled_codes(kernel, tasks, arguments, places):
    """`starter` of a Python function on bytes."""
    def start(x, memory):
        given, first = list(arguments), -layout.address(memory) % LINE
        given[places["x"]] = (layout.nhwc(x) if x.ndim == 4 else x).view(np.uint8).reshape(-1)
        given[places["y"]] = memory[first:].view(np.uint8)
        threads.run(kernel, tasks, *given)
        return first
    return start
