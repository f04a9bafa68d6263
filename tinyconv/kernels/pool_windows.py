"""The windows of average pooling along rows and columns: where each begins and ends, and by what its sum is divided.

    fixed      rows i*S - P .. i*S - P + KH, cut at the image. PyTorch's divisor: with `count_include_pad` the window's size
               cut at the padded image (a window that ceil_mode lets hang out further divides by less), else cut at the image
    adaptive   rows floor(i*H/OH) .. ceil((i+1)*H/OH): together they cover the plane, also where OH does not divide H

Lists of a few integers an axis, made once for each geometry. The kernels that read them: `pool_kernels`.
"""
from functools import lru_cache

import numpy as np

from ..formulas.geometry import GeometryError


def _fixed_windows(size, kernel, stride, padding, count, include_padding):
    """First and behind-last pixel of each window along one axis, and its length for the divisor."""
    start = np.arange(count) * stride - padding
    lo, hi = np.maximum(start, 0), np.minimum(start + kernel, size)
    length = np.minimum(start + kernel, size + padding) - start if include_padding else hi - lo
    return lo, hi, length


def adaptive_windows(size, count):
    """First and behind-last pixel of each of `count` windows that cover `size` pixels, and its length."""
    i = np.arange(count)
    lo, hi = i * size // count, -(-(i + 1) * size // count)
    return lo, hi, hi - lo


def mean_windows(geometry, count_include_pad):
    """The windows of `avg_pool2d`: rows and columns, each (first pixels, pixels behind the last, lengths for the divisor)."""
    g = geometry
    if (g.dh, g.dw) != (1, 1):
        raise GeometryError(f"average pooling has no dilation: dilation must be 1, not {(g.dh, g.dw)}")
    return (_fixed_windows(g.h, g.kh, g.sh, g.ph, g.oh, count_include_pad),
            _fixed_windows(g.w, g.kw, g.sw, g.pw, g.ow, count_include_pad))


def _with_divisor(rows, cols, dtype):
    """First and behind-last rows, then columns, of all windows; their divisors (OH,OW)."""
    (row_lo, row_hi, tall), (col_lo, col_hi, wide) = rows, cols
    return row_lo, row_hi, col_lo, col_hi, np.multiply.outer(tall, wide).astype(dtype)


@lru_cache(maxsize=4096)
def fixed(geometry, count_include_pad, dtype):
    """What `_mean` reads of fixed windows, worked out once."""
    return _with_divisor(*mean_windows(geometry, count_include_pad), dtype)


@lru_cache(maxsize=4096)
def adaptive(h, w, oh, ow, dtype):
    """What `_mean` reads of windows that cover the plane, worked out once."""
    return _with_divisor(adaptive_windows(h, oh), adaptive_windows(w, ow), dtype)


def seen_by(lo, hi, size):
    """Which windows see each pixel of an axis: from the first that ends behind it to the last that begins at or before it."""
    pixel = np.arange(size)
    return np.searchsorted(hi, pixel, side="right"), np.searchsorted(lo, pixel, side="right")
