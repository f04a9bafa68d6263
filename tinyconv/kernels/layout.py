"""Shapes are (N,C,H,W) everywhere; the memory under them may be channels-last, as its strides say.

A channels-last array lies in memory as (N,H,W,C): the channels of one pixel are neighbours. Kernels prefer it, because
a pixel's channels then fill whole vectors whatever the kernel size, stride or plane. The layout travels through a network
without copies: `nhwc(x)` is a view where the memory already lies so, and a copy (once, at the door) where it does not.
Axes of length 1 have no order, so an image of one channel, or a 1x1 plane, is both layouts at once.
"""
import ctypes
import math

import numpy as np


PAGE = 4096             # bytes: what two threads write lies so far apart, for within a page a processor fetches lines ahead, from the other one
SMALL = 2048            # numbers: about a tenth of a microsecond to write
PLANES = 1 << 16        # numbers: NumPy turns fewer, in a cache, as fast (by trial)
# found once: `room` is called for each result
_addressof, _from_buffer, _empty, _ndarray = ctypes.addressof, ctypes.c_char.from_buffer, np.empty, np.ndarray


def _lies_as(x, order):
    """True if the axes of x, taken in `order`, are C-contiguous; axes of length 1 are ignored."""
    step = x.itemsize
    for axis in reversed(order):
        if x.shape[axis] != 1:
            if x.strides[axis] != step:
                return False
            step *= x.shape[axis]
    return True


def of(x):
    """"channels_last", "contiguous" (plain N,C,H,W order) or "strided" (neither); channels-last wins where both hold.

    >>> of(np.zeros((2, 3, 4, 4))), of(empty((2, 3, 4, 4)))
    ('contiguous', 'channels_last')
    """
    if _lies_as(x, (0, 2, 3, 1)):
        return "channels_last"
    return "contiguous" if _lies_as(x, (0, 1, 2, 3)) else "strided"


def nhwc(x):
    """(N,C,H,W) -> the same numbers as a C-contiguous (N,H,W,C) array: a view if x is channels-last and may be
    written to, else a copy."""
    x = x.transpose(0, 2, 3, 1)
    flags = x.flags
    if flags.c_contiguous and flags.writeable:
        return x
    from . import rows, select
    planes = x.transpose(0, 3, 1, 2)
    large = x.size >= 4096 and select.is_fast(x.dtype)
    if large and x.size >= PLANES and planes.flags.c_contiguous:
        return rows.together(planes)
    found, y = rows.even(planes) if large else None, room(x.shape, x.dtype)
    if found is None:
        y[...] = x
    else:
        from . import threads
        c = x.shape[3]
        threads.run(rows.copy_rows, y.size // c, *found, y.reshape(-1), c, c, work=x.size // 8)
    return y


def nchw(x):
    """(N,C,H,W) -> the same numbers as a C-contiguous (N,C,H,W) array: a view where possible, else a copy."""
    return writable(x)


def writable(x):
    """x C-contiguous and writable, copied only if it is not: a kernel is then compiled for one kind of array alone."""
    x = np.ascontiguousarray(x)
    return x if x.flags.writeable else x.copy()


def shaped(y):
    """A C-contiguous (N,H,W,C) array as the (N,C,H,W) array it stands for (a view)."""
    return y.transpose(0, 3, 1, 2)


def channels_last(x):
    """x (N,C,H,W) on channels-last memory: `nhwc` with the axes as they were.

    >>> channels_last(np.zeros((2, 3, 4, 5), np.float32)).strides
    (240, 4, 60, 12)
    """
    return shaped(nhwc(x))


def address(x):
    """Where in memory the first number of a writable C-contiguous array lies."""
    return _addressof(_from_buffer(x))


def room(shape, dtype=np.float32):
    """An uninitialised C-contiguous array that begins at a multiple of 64 bytes: a cache line, a 512-bit vector.

    A vector that lies across two lines is loaded and stored twice; NumPy's own arrays begin anywhere.
    """
    memory = _empty((math.prod(shape) if type(shape) is tuple else shape) + 64, dtype)
    return _ndarray(shape, dtype, memory, -_addressof(_from_buffer(memory)) % 64)


def result(shape):
    """An uninitialised C-contiguous float32 array for a result: a `room`, but for so few numbers that finding the line costs more than it saves."""
    return room(shape) if math.prod(shape) > SMALL else np.empty(shape, np.float32)


def empty(shape, dtype=np.float64):
    """An uninitialised array of shape (N,C,H,W) on channels-last memory."""
    n, c, h, w = shape
    return shaped(room((n, h, w, c), dtype))


def zeros(shape, dtype=np.float64):
    """Zeros of shape (N,C,H,W) on channels-last memory."""
    n, c, h, w = shape
    return shaped(np.zeros((n, h, w, c), dtype))
