"""Drawn shapes: a data set without a file, as large and as difficult as wanted.

Each class is a function of the plane. In the shape's own coordinates (u, v), its centre at 0 and its size 1, f(u, v) is about
the distance to the outline, negative inside. A pixel is covered by clip(1/2 - f·r, 0, 1), r the size in pixels: edges come out
smooth without drawing anything larger first. All images of a class are computed at once.
"""
import numpy as np

SIZE = 32


def _circle(u, v):
    return np.hypot(u, v) - 1


def _square(u, v):
    return np.maximum(abs(u), abs(v)) - 0.85


def _triangle(u, v):
    return np.maximum(v - 0.6, np.sqrt(0.75) * abs(u) - 0.5 * v - 0.5)


def _diamond(u, v):
    return np.sqrt(0.5) * (abs(u) + abs(v) - 1.15)


def _cross(u, v):
    small, large = np.minimum(abs(u), abs(v)), np.maximum(abs(u), abs(v))
    return np.maximum(small - 0.3, large - 1)


def _ring(u, v):
    return abs(np.hypot(u, v) - 0.75) - 0.25


def _star(u, v):
    angle = np.arctan2(u, -v) % (2 * np.pi / 5)  # five points, the first one up
    folded = np.minimum(angle, 2 * np.pi / 5 - angle)
    radius = np.hypot(u, v)
    x, y = radius * np.cos(folded), radius * np.sin(folded)  # the edge runs from (1.1, 0) to the notch between two points
    notch = 0.45 * np.array([np.cos(np.pi / 5), np.sin(np.pi / 5)])
    normal = np.array([notch[1], 1.1 - notch[0]]) / np.hypot(notch[1], 1.1 - notch[0])
    return (x - 1.1) * normal[0] + y * normal[1]


def _horizontal_stripes(u, v):
    return np.maximum(_square(u, v), abs((v / 0.68 + 0.5) % 1 - 0.5) * 0.68 - 0.17)


def _vertical_stripes(u, v):
    return _horizontal_stripes(v, u)


def _checker(u, v):
    wave = np.sin(np.pi * u / 0.425) * np.sin(np.pi * v / 0.425) * 0.425 / np.pi
    return np.maximum(_square(u, v), wave)


OUTLINES = {"circle": _circle, "square": _square, "triangle": _triangle, "diamond": _diamond, "cross": _cross, "ring": _ring,
            "star": _star, "horizontal stripes": _horizontal_stripes, "vertical stripes": _vertical_stripes, "checker": _checker}
SHAPE_CLASSES = tuple(OUTLINES)


def shapes(n, seed, difficulty=0.5):
    """Draw n colour images of ten shapes: (images, labels), images uint8 (n,3,32,32), labels uint8 (n,).

    Names in `SHAPE_CLASSES`; every class floor(n/10) or ceil(n/10) times, in random order. Position, size, slant, both colours,
    the background's slope and the noise are drawn for each image. `difficulty` in [0, 1] widens them all: at 0 large, upright,
    centred, bright shapes on an even ground; at 1 a radius down to 4 pixels, slants up to 15 degrees, contrast down to 60 of 255
    and noise of standard deviation 48. Same seed (or Generator state), same images. Cost: about 0.1 ms an image.
    Errors: ValueError, TypeError for anything else.

    >>> images, labels = tc.data.shapes(20, seed=0)
    >>> images.shape, np.bincount(labels).tolist()
    ((20, 3, 32, 32), [2, 2, 2, 2, 2, 2, 2, 2, 2, 2])
    """
    if isinstance(n, bool) or not hasattr(n, "__index__") or n < 1:
        raise ValueError(f"n must be an integer of at least 1, not {n!r}")
    if seed is None or isinstance(seed, bool):
        raise TypeError(f"seed must be an integer or a numpy.random.Generator, not {seed!r}: the same seed gives the same images")
    if not 0 <= difficulty <= 1:
        raise ValueError(f"difficulty must be a fraction in [0, 1], not {difficulty!r}")
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % len(OUTLINES)).astype(np.uint8)  # (n,)
    covered = _coverage(rng, labels, difficulty)[:, None]  # (n,1,32,32)
    ground, colour = _colours(rng, n, difficulty)  # (n,3,32,32), (n,3,1,1)
    images = ground + covered * (colour - ground)  # (n,3,32,32)
    images += rng.standard_normal(images.shape, np.float32) * np.float32(4 + 44 * difficulty)
    return np.clip(np.rint(images), 0, 255).astype(np.uint8), labels


def _coverage(rng, labels, difficulty):
    """How much of each pixel the shape covers: float32 (n,32,32) in [0, 1]."""
    n, half = len(labels), SIZE / 2
    radius = rng.uniform(12 - 8 * difficulty, 13, (n, 1, 1)).astype(np.float32)
    reach = np.maximum(half - 1 - radius, 0) * difficulty  # the shape stays in the picture
    centre = half - 0.5 + reach[:, 0, 0] * rng.uniform(-1, 1, (2, n))  # (2,n)
    slant = rng.uniform(-1, 1, (n, 1, 1)) * np.deg2rad(15) * difficulty
    pixel = np.arange(SIZE)
    y = (pixel[:, None] - centre[0, :, None, None]) / radius  # (n,32,1)
    x = (pixel[None, :] - centre[1, :, None, None]) / radius  # (n,1,32)
    cos, sin = np.cos(slant), np.sin(slant)
    u, v = (cos * x + sin * y).astype(np.float32), (cos * y - sin * x).astype(np.float32)  # (n,32,32)
    covered = np.empty((n, SIZE, SIZE), np.float32)
    for label, outline in enumerate(OUTLINES.values()):
        own = labels == label
        covered[own] = np.clip(0.5 - outline(u[own], v[own]) * radius[own], 0, 1)
    return covered


def _colours(rng, n, difficulty):
    """A background with a slope (n,3,32,32) and a colour (n,3,1,1) that differs from its middle by at least the contrast."""
    contrast = 180 - 120 * difficulty  # in the channel that differs most
    middle = rng.uniform(0, 255, (n, 3))
    colour = rng.uniform(0, 255, (n, 3))
    channel = rng.integers(0, 3, n)
    rows = np.arange(n)
    low = rng.uniform(0, 255 - contrast, n)  # in one channel the two differ by `contrast` or more
    high = rng.uniform(low + contrast, 255)
    swap = rng.random(n) < 0.5
    middle[rows, channel], colour[rows, channel] = np.where(swap, low, high), np.where(swap, high, low)
    slope = rng.uniform(-1, 1, (2, n, 3, 1, 1)) * 40 * difficulty  # from edge to edge
    line = np.linspace(-0.5, 0.5, SIZE)
    ground = middle[:, :, None, None] + slope[0] * line[:, None] + slope[1] * line  # (n,3,32,32)
    return ground.astype(np.float32), colour[:, :, None, None].astype(np.float32)
