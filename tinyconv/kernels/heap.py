"""Memory that one step of a network frees is kept for the next one.

A freed array goes back to C's allocator, and the allocator gives large pieces back to the system at once. The next step asks for as much again,
and the system hands out pages of zeros, one interruption for every 4096 bytes: 4200 of them in a training step of MobileNetV2, 18 of its 78
milliseconds. So the allocator is told to keep up to KEPT bytes of free memory, and to carve arrays of up to LARGEST bytes from it.
That is a setting of the whole process (glibc's `mallopt`; elsewhere nothing is changed). Who has set MALLOC_TRIM_THRESHOLD_ or
MALLOC_MMAP_THRESHOLD_ in the environment decided already, and is left alone.
"""
import ctypes
import os

KEPT = 1 << 30
LARGEST = 32 << 20                      # the most that glibc accepts
STEP = 16 << 20                         # asked of the system at a time
TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3            # malloc.h


def keep():
    """Ask C's allocator to keep freed memory; returns whether it does so now."""
    if "MALLOC_TRIM_THRESHOLD_" in os.environ or "MALLOC_MMAP_THRESHOLD_" in os.environ:
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):                # no glibc: musl, macOS, Windows
        return False
    return all([mallopt(MMAP_THRESHOLD, LARGEST), mallopt(TRIM_THRESHOLD, KEPT), mallopt(TOP_PAD, STEP)])
