"""What "auto" means: one readable rule that names an algorithm for a convolution, and its constants.

    plain mode, float64                                   direct, the formula itself
    one channel at a time (groups == C)                   depthwise
    one pixel at a time (1x1, stride 1, no padding)       pointwise: a matrix product
    3x3 at stride 1, read and written >= CHANNELS         winograd4 if share(4) <= GAIN4, else winograd2 if share(2) <= GAIN2
    everything else                                       direct: windows read where they lie need no copies (im2col makes KH·KW of them)

    share(m) = (m + 2)² ceil(OH/m) ceil(OW/m) / (9 OH OW)       multiplications of F(m,3), whole tiles counted, for each of direct's

OH, OW: the plane that is written. On planes of up to TINY outputs the divisor leaves out direct's products with padding. The gradient in
the weights pays Winograd's larger sums, written and read for every thread, so it takes F(4,3) alone, and that for many tiles and not
too many sums. The constants are measured by benchmarks/select_map.py, which prints what the rule loses against always taking the winner.
"""
from functools import lru_cache

import numpy as np

from .modes import is_fast

DIRECTIONS = ("forward", "grad_input", "grad_weight")
CHANNELS = 16, 32                           # channels read and written: Winograd from so many on (fewer leave its panels half empty)
CHANNELS_WEIGHT, TILES, SUMS = 64, 128, 256**2      # for the gradient in the weights: channels, tiles; up to so many numbers C·F
GAIN4, GAIN2 = 0.45, 0.6                    # the share of multiplications below which F(4,3) and F(2,3) win
TINY = 16                                   # outputs of a plane that direct computes without its padding, for many images


def choose(geometry, direction="forward", dtype=np.float32):
    """The name of the algorithm that "auto" means for this convolution.

    geometry from `conv2d_geometry`; direction "forward", "grad_input" or "grad_weight". In plain mode and for float64 always "direct". But for
    the gradient in the weights the batch size plays no part, so that an image gives the same result, bit for bit, in any batch.
    Errors: ValueError for another direction.

    >>> from tinyconv.formulas.geometry import conv2d_geometry
    >>> choose(conv2d_geometry((1, 32, 14, 14), (32, 1, 3, 3), padding=1, groups=32))
    'depthwise'
    """
    if direction not in DIRECTIONS:
        raise ValueError(f"direction must be one of {', '.join(DIRECTIONS)}, not {direction!r}")
    if not is_fast(np.dtype(dtype)):
        return "direct"
    if geometry.is_depthwise:
        return "depthwise"
    if geometry.groups == 1 and geometry.is_pointwise:
        return "pointwise"
    return _winograd(geometry, direction) or "direct"


def _pairs(size, outputs, taps, before):
    """How often, along one axis at stride 1, a tap of an output falls inside the picture: outputs·taps less what falls on padding.

    >>> _pairs(4, 4, 3, 1), _pairs(2, 2, 3, 1)
    (10, 4)
    """
    return sum(max(0, min(outputs, size + before - u) - max(0, before - u)) for u in range(taps))


@lru_cache(maxsize=4096)
def _winograd(g, direction):
    """The Winograd algorithm worth its transforms for this convolution, or None."""
    window = (g.kh, g.kw, g.sh, g.sw, g.dh, g.dw, g.groups)
    read, written = (g.f, g.c) if direction == "grad_input" else (g.c, g.f)
    if window != (3, 3, 1, 1, 1, 1, 1) or read < CHANNELS[0] or written < CHANNELS[1]:
        return None
    if direction == "grad_weight" and (min(g.c, g.f) < CHANNELS_WEIGHT or g.n * -(-g.oh // 4) * -(-g.ow // 4) < TILES or g.c * g.f > SUMS):
        return None
    oh, ow = (g.h, g.w) if direction == "grad_input" else (g.oh, g.ow)
    products = _pairs(g.h, g.oh, 3, g.top) * _pairs(g.w, g.ow, 3, g.left) or 1 if oh * ow <= TINY else 9 * oh * ow
    left = {m: (m + 2)**2 * -(-oh // m) * -(-ow // m) / products for m in (2, 4)}                    # of the multiplications
    if left[4] <= GAIN4:
        return "winograd4"
    return "winograd2" if left[2] <= GAIN2 and direction != "grad_weight" else None
