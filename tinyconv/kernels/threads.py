"""One pool of threads for all kernels: split a range of tasks into pieces, let every thread take pieces until none is left.

A kernel takes a range first, `kernel(lo, hi, *arguments)`, and does the tasks lo..hi-1; it never touches what another task
writes. `run` cuts the range, announces the job in a mailbox, and works too. A worker watches the mailbox for a
millisecond or two after each job (it can begin the next one at once: a whole network is a chain of short jobs), then sleeps until it is
rung. If nobody wakes in time the caller does all pieces itself, so that nothing ever waits for a sleeping thread.
All of this is compiled (`_launch`, `_mailbox`): no piece waits for the interpreter.

Why not numba's prange? It was measured beside this runner (benchmarks/bench_threads.py). A kernel for prange compiles twice as
long, brings a second pool whose kind depends on what is installed, and ends the process when it is used after a fork. Here a forked
child works (its pool is made anew), and several calling threads take turns.

A long job is cut into SHARES pieces for each thread: processors are seldom equally fast (one may share its core with another program), and who is
done with his own pieces takes one of the others'. With one piece a thread, all would wait for the slowest. The split depends on the thread count and
the amount of work alone and not on who took which piece: results repeat bit for bit.
"""
import os
import queue
import threading
from importlib import import_module

import numpy as np

SMALL = 15_000          # elementary operations (about 5 microseconds) below which sharing a job costs more than it saves
PATIENCE = 4_000_000    # clock cycles (about 1.5 milliseconds) for which a worker watches the mailbox before it sleeps
LONG = 4 * SMALL        # elementary operations from which on a job is cut finer than one piece a thread
SHARES = 4              # pieces for each thread then
MOST = 32               # pieces of a job
NOBODY = np.zeros(1, np.int64)
_addresses = {}         # driver -> addresses of its kernels
_machinery = None       # the page `_launch`, once a job was compiled: it imports numba


def available():
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Pool:
    """Workers that watch one mailbox, each with a bell to wake it; made on first use, and anew in a forked child."""

    def __init__(self):
        self.lock = threading.RLock()
        self.count = available()
        self.box, self.asleep, self.bells = None, None, []

    def ready(self):
        """The mailbox of (at least) count - 1 workers, the sleeping ones of them rung."""
        if len(self.bells) < self.count - 1:
            for bell in self.bells:
                bell.put(False)                                     # the workers of an outgrown mailbox end
            self.bells = [queue.SimpleQueue() for _ in range(self.count - 1)]
            self.box, self.asleep = import_module(f"{__package__}._mailbox").mailbox(len(self.bells))
            for me, bell in enumerate(self.bells):
                threading.Thread(target=self.work, args=(self.box, me + 1, bell), daemon=True, name="tinyconv").start()
        for me in range(self.count - 1):
            if self.asleep[me]:
                self.asleep[me] = 0
                self.bells[me].put(True)
        return self.box

    @staticmethod
    def work(box, me, bell):
        from ._mailbox import serve
        while bell.get():
            serve(box, me, PATIENCE)


_pool = _Pool()


def _after_fork():
    """Threads do not survive a fork: the child begins with a pool of its own and the same thread count."""
    global _pool
    count = _pool.count
    _pool = _Pool()
    _pool.count = count


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def pool():
    """The pool of this process."""
    return _pool


def set_num_threads(n):
    """Use n threads for kernels from now on (1 = the calling thread alone).

    Errors: ValueError unless n is an integer of at least 1.
    """
    if not hasattr(n, "__index__") or isinstance(n, bool) or n < 1:
        raise ValueError(f"n must be an integer of at least 1, not {n!r}")
    with _pool.lock:
        _pool.count = int(n)


def get_num_threads():
    """How many threads kernels use."""
    return _pool.count


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
    count = _pool.count if count is None else count
    return min(MOST, count * SHARES if count > 1 and work is not None and work >= LONG else count)


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
    machinery, pool = _compiled_part(), _pool
    address = machinery.address_of(kernel, arguments)
    with pool.lock:
        _check(kernel, machinery.launch(pool.ready(), address, 0, tasks, parts, *arguments))


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
    pool = _pool
    if driver not in _addresses:
        _addresses[driver] = np.array([_compiled_part().address_of(kernel, given) for kernel, given in kernels()], np.int64)
    if pool.count <= 1 or work < SMALL:
        _check(driver, driver(NOBODY, 1, _addresses[driver], *arguments))
        return
    with pool.lock:
        _check(driver, driver(pool.ready(), min(pool.count, MOST), _addresses[driver], *arguments))
