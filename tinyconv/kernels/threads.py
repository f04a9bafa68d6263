"""One pool of threads for all kernels: split a range of tasks into pieces, let every thread take pieces until none is left.

A kernel takes a range first, `kernel(lo, hi, *arguments)`, and does the tasks lo..hi-1; it never touches what another task
writes. `run` cuts the range, announces the job in a mailbox, and works too. A worker watches the mailbox for a
millisecond or two after each job (it can begin the next one at once: a whole network is a chain of short jobs), then sleeps until it is
rung. If nobody wakes in time the caller does all pieces itself, so that nothing ever waits for a sleeping thread.
All of this is compiled (`_launch`, `_mailbox`): no piece waits for the interpreter.

Why not numba's prange? It was measured beside this runner (benchmarks/bench_threads.py). A kernel for prange compiles twice as
long, brings a second pool whose kind depends on what is installed, and ends the process when it is used after a fork. Here a forked
child works (its pool is made anew), and several calling threads take turns.

A long job is cut into up to SHARES pieces for each thread: processors are seldom equally fast (one may share its core with another program), and who is
done with his own pieces takes one of the others'. With one piece a thread, all would wait for the slowest. The split depends on the thread count and
the amount of work alone and not on who took which piece: results repeat bit for bit.
"""
from importlib import import_module

import numpy as np

from .workers import available, get_num_threads, pool, set_num_threads

__all__ = ["available", "call", "drive", "get_num_threads", "pieces", "pool", "run", "set_num_threads", "split"]
SMALL = 15_000          # elementary operations (about 5 microseconds) below which sharing a job costs more than it saves
PIECE = SMALL // 2      # elementary operations of a piece, at least, where a job is cut finer than one piece a thread (by trial)
SHARES = 4              # such pieces for each thread, at most (by trial)
MOST = 32               # pieces of a job
NOBODY = np.zeros(1, np.int64)
_addresses = {}         # driver -> addresses of its kernels
_machinery = None       # the page `_launch`, once a job was compiled: it imports numba


def split(tasks, parts):
    """`parts` contiguous pieces of range(tasks), their lengths differing by at most one.

    >>> split(7, 3)
    [(0, 3), (3, 5), (5, 7)]
    """
    short, longer = divmod(tasks, parts)
    cuts = [i * short + min(i, longer) for i in range(parts + 1)]
    return list(zip(cuts[:-1], cuts[1:]))


def pieces(work, count=None):
    """Into how many pieces a job of so much work (None: unknown) is cut at most, for `count` threads (None: as many as there are)."""
    count = get_num_threads() if count is None else count
    return min(MOST, max(count, min(count * SHARES, work // PIECE)) if count > 1 and work is not None else count)


def run(kernel, tasks, *arguments, work=None):
    """Run `kernel(lo, hi, *arguments)` over range(tasks) on all threads; returns when every task is done.

    `work` is the number of elementary operations altogether, if known: a small job stays on the calling thread. One caller
    at a time has the pool; others wait. A kernel that is not compiled (a Python function) does its pieces one after the other.
    Errors: what a Python kernel raises; RuntimeError if a compiled one fails.
    """
    parts = min(pieces(work), tasks)
    if parts <= 1 or work is not None and work < SMALL:
        kernel(0, tasks, *arguments)
        return
    if not hasattr(kernel, "overloads"):
        for lo, hi in split(tasks, parts):
            kernel(lo, hi, *arguments)
        return
    machinery = _compiled_part()
    _check(kernel, pool().share(machinery.launch, machinery.address_of(kernel, arguments), 0, tasks, parts, *arguments))


def call(kernel, lo, hi, *arguments):
    """kernel(lo, hi, *arguments) of a compiled kernel on the calling thread. Errors: RuntimeError if it fails."""
    machinery = _compiled_part()
    _check(kernel, machinery.launch(NOBODY, machinery.address_of(kernel, arguments), lo, hi, 1, *arguments))


def _check(kernel, status):
    if status:
        raise RuntimeError(f"kernel {kernel.__name__} failed with status {status}")


def _compiled_part():
    """The page `_launch`."""
    global _machinery
    if _machinery is None:
        _machinery = import_module(f"{__package__}._launch")
    return _machinery


def drive(driver, kernels, *arguments, work):
    """Run `driver(box, parts, addresses, *arguments)`, compiled code that shares several jobs one after the other, without Python between them.

    In the driver `_launch.within(box, addresses[i], tasks, parts, …)` shares the i-th of `kernels` (or does it alone, if parts is 1). It
    returns 0, or the status of a kernel that failed. `kernels` is a function that gives (kernel, arguments like those it will be called with) of
    each: it is asked once, for a driver's kernels always take arrays of the same kinds.
    """
    if not hasattr(driver, "overloads"):
        driver(NOBODY, 1, [kernel for kernel, _ in kernels()], *arguments)
        return
    workers = pool()
    if driver not in _addresses:
        _addresses[driver] = np.array([_compiled_part().address_of(kernel, given) for kernel, given in kernels()], np.int64)
    if workers.count <= 1 or work < SMALL:
        _check(driver, driver(NOBODY, 1, _addresses[driver], *arguments))
        return
    _check(driver, driver(workers.ready(), min(workers.count, MOST), _addresses[driver], *arguments))
