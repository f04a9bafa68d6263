"""Some channels of every pixel, copied side by side: what a split of channels-last memory needs before a kernel can take it.

    y[p, c] = x[p·pitch + c]          p pixels, c channels, pitch numbers from one pixel of x to the next

Cost: no arithmetic, 8 bytes a number moved; bound by memory.
"""
from ._jit import fast


@fast
def copy_rows(lo, hi, x, pitch, y):
    """Tasks: pixels. x flat, y (M,C)."""
    C = y.shape[1]
    for p in range(lo, hi):
        source, target = x[p * pitch:p * pitch + C], y[p]
        for c in range(C):
            target[c] = source[c]
