"""What this machine can do, measured: the three limits that the time of every kernel is held against.

    seconds >= max(FLOP / peak, bytes / bandwidth(bytes), launch)                  the roofline, `least_seconds`

    peak        FLOP/s   fused multiply-adds between registers alone, on all threads: nothing is loaded, nothing is stored
    bandwidth   bytes/s  one array copied to another, on all threads; both together are the working set, whose size decides which
                         cache serves it (or none); each byte is counted once when read and once when written
    launch      s        a job with nothing to do: announced, taken by every thread, waited for

The best of many runs is taken, not their mean: a limit is what the machine does when nothing disturbs it. Measured once a
process and thread count, each figure in a fifth of a second, by kernels (`machine_kernels`) that are each bound by one limit alone.
Source: Williams, Waterman & Patterson, "Roofline: an insightful visual performance model for multicore architectures" (2009).
"""
import time
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from . import layout, threads
from .machine_kernels import PANELS, ROWS, SUMS, TERMS, WIDE, copies, multiply_adds, nothing, tiles
from .simd import LANES
from .tile import NR

STEPS = 100_000         # multiply-adds of each sum in one run, about a tenth of a millisecond and more
SMALL = 2**14           # bytes of the smallest working set that is measured
CACHED = 2**18          # bytes of a working set that lies in the threads' own caches: half of the smallest second cache in use
LARGE = 2**28           # bytes of a working set that no cache holds
SECONDS = 0.2           # how long each figure is measured


def least(kernel, tasks, *arguments, seconds=SECONDS):
    """Seconds of the fastest run of a kernel over range(tasks) on all threads, a first one, which may compile, not counted."""
    threads.run(kernel, tasks, *arguments)
    best, stop = np.inf, time.perf_counter() + seconds
    while time.perf_counter() < stop or best == np.inf:
        begin = time.perf_counter()
        threads.run(kernel, tasks, *arguments)
        best = min(best, time.perf_counter() - begin)
    return best


@lru_cache(maxsize=None)
def _peak(count):
    x, y = layout.room(SUMS * LANES), layout.room(count * SUMS * LANES)
    x[:] = np.arange(x.size)
    return 2 * SUMS * LANES * STEPS * count / least(multiply_adds, count, x, y, STEPS)


@lru_cache(maxsize=None)
def _bandwidth(count, nbytes):
    x, y = layout.room(nbytes // 8), layout.room(nbytes // 8)
    x[:], y[:] = 1, 0
    times = max(1, LARGE // 64 // nbytes)
    return times * nbytes / least(copies, x.size // LANES, x, y, times)


@lru_cache(maxsize=None)
def _launch(count):
    return least(nothing, count)


def peak():
    """FLOP/s of fused multiply-adds on all threads: 2 · LANES · SUMS · STEPS · threads / seconds; an fma counts as two.

    SUMS chains of multiply-adds, none waiting for another, keep the multipliers full; the loop reads and writes no memory.
    """
    return _peak(threads.get_num_threads())


def bandwidth(nbytes=LARGE):
    """Bytes/s of a copy between two arrays of nbytes/2 each, on all threads: nbytes / seconds.

    nbytes is rounded up to a power of two from SMALL to LARGE: small sets are served by the first cache, large ones by memory.
    That a line must be read before it is written is not counted. Errors: ValueError if nbytes is negative.
    """
    if nbytes < 0:
        raise ValueError(f"nbytes must be at least 0, not {nbytes}")
    return _bandwidth(threads.get_num_threads(), 1 << (min(max(int(nbytes), SMALL), LARGE) - 1).bit_length())


def launch_seconds():
    """Seconds of a parallel region with nothing in it: what `threads.run` costs, by the caller's clock."""
    return _launch(threads.get_num_threads())


def in_turns(call, nbytes, seconds):
    """(call's seconds, peak, bandwidth of a working set of nbytes, launch): medians of turns that follow each other for so many seconds.

    A processor's clock and what else it does change from second to second; what is measured in the same milliseconds changes alike, so
    that a call's share of its limits is steadier than either. The launch is taken off the times of peak and bandwidth, each measured in a job
    about as long as the call: after milliseconds in a kernel the interpreter's own code has left the caches, and a short job behind a long call
    would pay for its return.
    """
    count, size = threads.get_num_threads(), 1 << (min(max(int(nbytes), SMALL), LARGE) - 1).bit_length()
    a, b, x, y = layout.room(SUMS * LANES), layout.room(count * SUMS * LANES), layout.room(size // 8), layout.room(size // 8)
    a[:], x[:], y[:], steps, times = 1, 1, 0, STEPS // 5, max(1, 2**22 // size)
    work = [call, call, lambda: threads.run(multiply_adds, count, a, b, steps), lambda: threads.run(copies, x.size // LANES, x, y, times)]
    jobs = (*work, lambda: threads.run(nothing, count), lambda: threads.run(nothing, count))
    for _ in range(3):
        _, call_seconds, arithmetic, copied, *_ = _moments(jobs)
    steps, times = (int(n * max(1.0, call_seconds / taken)) for n, taken in ((steps, arithmetic), (times, copied)))
    taken, stop = [], time.perf_counter() + seconds
    while len(taken) < 5 or time.perf_counter() < stop:
        taken.append(_moments(jobs))
    _, again, arithmetic, copied, _, launch = np.median(taken, axis=0)                     # what comes first brings its arrays back into the caches
    return again, 2 * SUMS * LANES * steps * count / (arithmetic - launch), size * times / (copied - launch), launch


def _moments(jobs):
    """Seconds of each job, one after the other."""
    moments = [time.perf_counter()]
    for job in jobs:
        job()
        moments.append(time.perf_counter())
    return np.diff(moments)


def tile_share(seconds=SECONDS):
    """The part of the peak that the register tile reaches on numbers of the first cache, measured in turns with it for so many seconds.

    A product of whole matrices, which has to bring its numbers there, too, comes no nearer to the peak. For ROWS · WIDE multiply-adds a tile has WIDE +
    ROWS loads, the peak's loop none: the share falls where another program runs on the other half of a core and takes every second cycle in which
    instructions begin.
    """
    count, times = threads.get_num_threads(), STEPS // (8 * TERMS)
    a, b, sums = (layout.room(size) for size in (ROWS * (TERMS + LANES), PANELS * TERMS * NR, count * ROWS * WIDE * LANES))
    a[:], b[:], rows, zero = 1, 1, np.arange(ROWS) * (TERMS + LANES), np.zeros(TERMS, np.float32)
    taken, reached, *_ = in_turns(lambda: threads.run(tiles, count, a, b, sums, rows, zero, times), SMALL, seconds)
    return 2 * ROWS * WIDE * LANES * TERMS * times * count / taken / reached


def least_seconds(flop, nbytes):
    """(seconds, limit): the least time of a kernel that does `flop` operations and moves `nbytes`, and which limit sets it.

        seconds = max(flop / peak, nbytes / bandwidth(nbytes), launch)         limit: "arithmetic", "memory" or "launch"

    nbytes counts each value once; a set that fits a cache is taken to lie there already.
    """
    return max((flop / peak(), "arithmetic"), (nbytes / bandwidth(nbytes), "memory"), (launch_seconds(), "launch"))


@dataclass(frozen=True)
class Machine:
    """The limits as measured on so many threads; print it."""

    threads: int
    peak_flops_per_second: float
    memory_bytes_per_second: float
    cache_bytes_per_second: float
    launch_seconds: float

    def __str__(self):
        return (f"{self.threads} thread{'s' * (self.threads > 1)}: peak {self.peak_flops_per_second / 1e9:.0f} GFLOP/s, "
                f"copy {self.memory_bytes_per_second / 1e9:.0f} GB/s in memory and {self.cache_bytes_per_second / 1e9:.0f} GB/s "
                f"in caches, launch {self.launch_seconds * 1e6:.1f} us")


def measure():
    """The machine as it is with the present number of threads, each figure measured once in a process -> Machine."""
    return Machine(threads.get_num_threads(), peak(), bandwidth(LARGE), bandwidth(CACHED), launch_seconds())
