"""One pool of threads for all kernels: split a range of tasks, let each thread run one compiled piece.

A kernel takes a range first, `kernel(lo, hi, *arguments)`, and does the tasks lo..hi-1; it never touches what another task
writes. `run` hands each thread one contiguous piece; the caller works too. Kernels release the interpreter lock, so
the pieces really run side by side. Why not numba's prange: half the compile time, no second pool with its own spinning,
safe with several calling threads, and a forked child works (its pool is made anew).

The same task order and split for the same thread count: results repeat bit for bit.
"""
import os
import queue
import threading

SMALL = 60_000          # elementary operations (about 20 microseconds) below which waking a thread costs more than it saves


def available():
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Pool:
    """Persistent worker threads, each with its own queue; made on first use, and anew in a forked child."""

    def __init__(self):
        self.lock = threading.RLock()
        self.count = available()
        self.inboxes = []
        self.done = queue.SimpleQueue()

    def grow(self):
        while len(self.inboxes) < self.count - 1:
            inbox = queue.SimpleQueue()
            threading.Thread(target=self.work, args=(inbox, self.done), daemon=True, name="tinyconv").start()
            self.inboxes.append(inbox)

    @staticmethod
    def work(inbox, done):
        while True:
            kernel, lo, hi, arguments = inbox.get()
            try:
                kernel(lo, hi, *arguments)
                done.put(None)
            except BaseException as error:  # handed to the caller, who raises it
                done.put(error)
            del kernel, arguments


_pool = _Pool()


def _after_fork():
    """Threads do not survive a fork: the child begins with a pool of its own and the same thread count."""
    global _pool
    count = _pool.count
    _pool = _Pool()
    _pool.count = count


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


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


def run(kernel, tasks, *arguments, work=None):
    """Run `kernel(lo, hi, *arguments)` over range(tasks) on all threads; returns when every task is done.

    `work` is the number of elementary operations altogether, if known: a small job stays on the calling thread. One caller
    at a time has the pool; others wait. An error in any piece is raised here after all pieces have ended.
    """
    parts = min(_pool.count, tasks)
    if parts <= 1 or work is not None and work < SMALL:
        return kernel(0, tasks, *arguments)
    pool = _pool
    with pool.lock:
        pool.grow()
        pieces = split(tasks, parts)
        for inbox, (lo, hi) in zip(pool.inboxes, pieces[1:]):
            inbox.put((kernel, lo, hi, arguments))
        error = None
        try:
            kernel(*pieces[0], *arguments)
        except BaseException as failed:  # the other pieces still write into these arrays: wait for them first
            error = failed
        for _ in pieces[1:]:
            error = _wait(pool.done, error)
    if error is not None:
        raise error


def _wait(done, error):
    """The result of one more piece; an interrupt from the keyboard is kept until the piece has ended."""
    while True:
        try:
            answer = done.get()
            return error if error is not None else answer
        except KeyboardInterrupt as interrupt:
            error = interrupt
