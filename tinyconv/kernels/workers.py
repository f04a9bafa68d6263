"""The pool of threads: who watches the mailbox, who sleeps, and how many there are.

A worker watches for PATIENCE after each job, for the next one of a chain, then sleeps until its bell is rung. What it does in between is compiled
(`_mailbox`). The pool is made on first use, and anew in a forked child, for threads do not survive a fork. `threads` gives it work.
"""
import os
import queue
import threading
import time
from importlib import import_module

SLEEPING, BUSY = -2**40, -2**41     # what a call that shares a job returns, in place of a status, if a worker must be rung first, or others share one
WAITING = 20e-6         # seconds between two looks at a mailbox that others use
PATIENCE = 4_000_000    # clock cycles (about 1.5 milliseconds) for which a worker watches the mailbox before it sleeps


def available():
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Pool:
    """Workers that watch one mailbox, each with a bell to wake it; made on first use, and anew in a forked child."""

    def __init__(self):
        self.count = available()
        self.begin()

    def begin(self):
        """No workers yet."""
        self.lock, self.made, self.asleep, self.bells = threading.RLock(), None, None, []
        self.box = None                                             # the mailbox, if it knows the present number of threads

    def ready(self):
        """The mailbox, watched by (at least) count - 1 workers, the sleeping ones of them rung."""
        mailbox = import_module(f"{__package__}._mailbox")
        with self.lock:
            if self.made is None:
                self.made, self.asleep = mailbox.mailbox()
            wanted = min(self.count, mailbox.MOST) - 1
            while len(self.bells) < wanted:
                self.bells.append(queue.SimpleQueue())
                self.made[mailbox.THREADS] = 1 + len(self.bells)
                threading.Thread(target=self.work, args=(self.made, len(self.bells), self.bells[-1]), daemon=True, name="tinyconv").start()
            if self.box is None:
                self.made[mailbox.WANTED], self.box = wanted, self.made
            for me in range(wanted):
                if self.asleep[me]:
                    self.asleep[me] = 0
                    self.bells[me].put(None)
            return self.box

    def share(self, call, *arguments):
        """call(mailbox, *arguments), which shares a job: again, when the workers that sleep have been rung, or those who share one may be done."""
        while True:
            box = self.box
            found = SLEEPING if box is None else call(box, *arguments)
            if found == SLEEPING:
                self.ready()
            elif found == BUSY:
                time.sleep(WAITING)
            else:
                return found

    @staticmethod
    def work(box, me, bell):
        from ._mailbox import serve
        while True:
            bell.get()
            serve(box, me, PATIENCE)


_pool = Pool()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.begin)                 # threads do not survive a fork: the child begins with workers of its own


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
        _pool.count, _pool.box = int(n), None


def get_num_threads():
    """How many threads kernels use."""
    return _pool.count
