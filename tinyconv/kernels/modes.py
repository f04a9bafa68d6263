"""The mode of the engine: "fast", or "plain": the readable loops. One for all threads; `use` changes it, pages ask `is_fast`."""
import threading

import numpy as np

MODES, FLOAT32 = ("fast", "plain"), np.dtype(np.float32)
_mode = "fast"
_lock = threading.Lock()


class use:
    """Choose the kernels from now on: "fast", or "plain" (the readable loops; float64 takes those in either mode).

    Takes effect at once, for all threads; as a context manager it restores the mode that was before.
    Errors: ValueError for any other name.

    >>> with use("plain"):
    ...     mode()
    'plain'
    >>> mode()
    'fast'
    """

    def __init__(self, name):
        global _mode
        if name not in MODES:
            raise ValueError(f'mode must be "fast" or "plain", not {name!r}')
        with _lock:
            self.before, _mode = _mode, name

    def __enter__(self):
        return self

    def __exit__(self, *_):
        global _mode
        with _lock:
            _mode = self.before

    def __repr__(self):
        return f"use({_mode!r})"


def mode():
    """The present mode: "fast" or "plain"."""
    return _mode


def is_fast(dtype):
    """Do arrays of this dtype take the fast kernels now? (float32 in the mode "fast")"""
    return _mode == "fast" and (dtype is FLOAT32 or dtype == FLOAT32)
