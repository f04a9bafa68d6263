"""The pool of threads: who watches the mailbox, who sleeps, and how many there are.

A worker watches for PATIENCE after each job, for the next one of a chain, then sleeps until its bell is rung. What it does in between is compiled
(`_mailbox`). The pool is made on first use, and anew in a forked child, for threads do not survive a fork. `threads` gives it work.
"""
import os
import queue
import threading
from importlib import import_module

SLEEPING = -2**40       # what a call that shares a job returns, in place of a status, if one of the workers must be rung first
PATIENCE = 4_000_000    # clock cycles (about 1.5 milliseconds) for which a worker watches the mailbox before it sleeps


def available():
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Pool:
    """Workers that watch one mailbox, each with a bell to wake it; made on first use, and anew in a forked child."""

    def __init__(self):
        self.lock = threading.RLock()
        self.count = available()
        self.box, self.asleep, self.bells, self.told = None, None, [], 0      # told: the number of threads that the mailbox knows of

    def ready(self):
        """The mailbox of (at least) count - 1 workers, the sleeping ones of them rung."""
        mailbox = import_module(f"{__package__}._mailbox")
        if len(self.bells) < self.count - 1:
            for bell in self.bells:
                bell.put(False)                                     # the workers of an outgrown mailbox end
            self.bells = [queue.SimpleQueue() for _ in range(self.count - 1)]
            self.box, self.asleep = mailbox.mailbox(len(self.bells))
            for me, bell in enumerate(self.bells):
                threading.Thread(target=self.work, args=(self.box, me + 1, bell), daemon=True, name="tinyconv").start()
        self.told, self.box[mailbox.WANTED] = self.count, self.count - 1
        for me in range(self.count - 1):
            if self.asleep[me]:
                self.asleep[me] = 0
                self.bells[me].put(True)
        return self.box

    def share(self, call, *arguments):
        """call(mailbox, *arguments), which shares a job, the workers rung first if one of them sleeps (compiled code sees that sooner)."""
        found = call(self.box if self.told == self.count else self.ready(), *arguments)
        while found == SLEEPING:
            found = call(self.ready(), *arguments)
        return found

    @staticmethod
    def work(box, me, bell):
        from ._mailbox import serve
        while bell.get():
            serve(box, me, PATIENCE)


_pool = Pool()


def _after_fork():
    """Threads do not survive a fork: the child begins with a pool of its own and the same thread count."""
    global _pool
    count = _pool.count
    _pool = Pool()
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
