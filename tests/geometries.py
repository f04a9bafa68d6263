"""One table of awkward convolutions, on which every algorithm is held against the reference, and its random data.

Small enough for the reference (pure Python), wide enough (16, 32, 48, 82, 131 channels) that the fast kernels' whole vectors,
tiles and pairs of panels run, and odd enough that their edges do. Kernels are compiled for a number of pixels or a distance: where a row may choose, it has
those of another row or network. A row: name, input (N,C,H,W), weight (F,C/G,KH,KW), the other arguments.
"""
from functools import lru_cache

import numpy as np

from tinyconv.formulas.geometry import conv2d_geometry
from tinyconv.kernels import reference, select

TABLE = [
    # planes and kernels of length 1
    ("one pixel, one channel", (1, 1, 1, 1), (1, 1, 1, 1), {}),
    ("one pixel, padded window", (2, 3, 1, 1), (4, 3, 3, 3), {"padding": 1}),
    ("one pixel, many channels", (2, 17, 1, 1), (33, 17, 1, 1), {}),
    ("one pixel, many filters", (2, 9, 1, 1), (90, 9, 1, 1), {}),
    ("one row", (2, 2, 1, 9), (4, 2, 1, 3), {"padding": (0, 1)}),
    ("one column", (1, 2, 9, 1), (3, 2, 5, 1), {"padding": (2, 0)}),
    ("window as large as the image", (2, 3, 4, 5), (4, 3, 4, 5), {}),
    ("window as large as the padded image", (1, 3, 3, 3), (5, 3, 5, 5), {"padding": 1}),
    # pointwise
    ("pointwise", (2, 5, 4, 3), (7, 5, 1, 1), {}),
    ("pointwise 16 to 16", (2, 16, 3, 3), (16, 16, 1, 1), {}),
    ("pointwise 32 to 48", (1, 32, 3, 2), (48, 32, 1, 1), {}),
    ("pointwise 48 to 32", (1, 48, 2, 3), (32, 48, 1, 1), {}),
    ("pointwise 20 to 35", (3, 20, 3, 3), (35, 20, 1, 1), {}),
    ("pointwise 131 to 82", (1, 131, 3, 5), (82, 131, 1, 1), {}),
    ("pointwise 20 to 75", (2, 20, 3, 5), (75, 20, 1, 1), {}),
    ("pointwise to one filter", (2, 9, 5, 5), (1, 9, 1, 1), {}),
    ("pointwise from one channel", (2, 1, 5, 5), (6, 1, 1, 1), {}),
    ("pointwise, 70 pixels", (1, 6, 7, 10), (5, 6, 1, 1), {}),
    ("pointwise with stride", (2, 6, 7, 7), (8, 6, 1, 1), {"stride": 2}),
    ("pointwise with padding", (1, 4, 3, 3), (5, 4, 1, 1), {"padding": 1}),
    ("pointwise in groups", (2, 8, 4, 4), (12, 4, 1, 1), {"groups": 2}),
    # 3x3
    ("3x3", (2, 3, 6, 5), (4, 3, 3, 3), {}),
    ("3x3 same", (2, 4, 5, 5), (6, 4, 3, 3), {"padding": 1}),
    ("3x3 odd plane, stride 2", (2, 3, 7, 9), (5, 3, 3, 3), {"stride": 2, "padding": 1}),
    ("3x3 even plane, stride 2", (1, 3, 8, 6), (5, 3, 3, 3), {"stride": 2, "padding": 1}),
    ("3x3 stride leaves pixels over", (1, 2, 8, 9), (3, 2, 3, 3), {"stride": 3}),
    ("3x3 unequal strides", (2, 2, 9, 7), (3, 2, 3, 3), {"stride": (3, 1), "padding": 1}),
    ("3x3 dilated", (1, 3, 9, 9), (4, 3, 3, 3), {"dilation": 2}),
    ("3x3 dilated same", (2, 2, 6, 6), (3, 2, 3, 3), {"dilation": 2, "padding": 2}),
    ("3x3 unequal dilations and strides", (1, 2, 11, 12), (3, 2, 3, 3), {"dilation": (2, 3), "stride": (1, 2), "padding": (1, 3)}),
    ("3x3 16 to 16", (1, 16, 4, 4), (16, 16, 3, 3), {"padding": 1}),
    ("3x3 3 to 48", (1, 3, 5, 4), (48, 3, 3, 3), {"padding": 1}),
    ("3x3 33 to 17", (1, 33, 3, 3), (17, 33, 3, 3), {"padding": 1}),
    ("3x3 stem", (3, 1, 8, 8), (16, 1, 3, 3), {"stride": 2, "padding": 1}),
    # stride beyond the kernel, padding beyond the kernel, padding on one side
    ("stride beyond the kernel", (2, 2, 9, 10), (4, 2, 2, 2), {"stride": 3}),
    ("stride beyond the kernel and padding", (1, 2, 10, 7), (4, 2, 1, 2), {"stride": (5, 3), "padding": 2}),
    ("stride beyond the image", (1, 2, 3, 3), (3, 2, 3, 3), {"stride": 4}),
    ("padding as large as the kernel", (1, 2, 4, 5), (3, 2, 3, 3), {"padding": 3}),
    ("padding beyond the kernel", (2, 2, 3, 3), (3, 2, 2, 2), {"padding": 5, "stride": 2}),
    ("padding beyond the image", (1, 2, 2, 2), (3, 2, 3, 3), {"padding": 4}),
    ("padding on top alone", (1, 3, 5, 5), (4, 3, 3, 3), {"padding": ((2, 0), (0, 0))}),
    ("padding behind alone", (2, 3, 5, 4), (4, 3, 3, 3), {"padding": ((0, 1), (0, 2)), "stride": 2}),
    ("four different paddings", (1, 2, 4, 6), (3, 2, 3, 2), {"padding": ((3, 1), (0, 2))}),
    ("same, even kernel", (2, 3, 5, 6), (4, 3, 4, 2), {"padding": "same"}),
    # unequal and large kernels
    ("2x2", (2, 3, 5, 5), (4, 3, 2, 2), {}),
    ("1x3", (2, 3, 4, 6), (5, 3, 1, 3), {"padding": (0, 1)}),
    ("3x1", (2, 3, 6, 4), (5, 3, 3, 1), {"padding": (1, 0), "stride": (2, 1)}),
    ("2x5", (1, 2, 6, 9), (3, 2, 2, 5), {"padding": (1, 2)}),
    ("5x5", (1, 3, 7, 7), (4, 3, 5, 5), {"padding": 2}),
    ("7x7 stride 2", (1, 3, 11, 10), (4, 3, 7, 7), {"stride": 2, "padding": 3}),
    # groups
    ("two groups", (2, 6, 5, 5), (8, 3, 3, 3), {"groups": 2, "padding": 1}),
    ("three groups, stride 2", (1, 6, 7, 7), (9, 2, 3, 3), {"groups": 3, "stride": 2, "padding": 1}),
    ("groups of 16 and 32", (1, 32, 3, 3), (64, 16, 3, 3), {"groups": 2, "padding": 1}),
    ("groups of 50 filters", (1, 8, 4, 4), (100, 4, 3, 3), {"groups": 2, "padding": 1}),
    ("groups of one filter each", (2, 8, 4, 4), (4, 2, 3, 3), {"groups": 4, "padding": 1}),
    ("groups, dilated, padded on one side", (1, 4, 8, 7), (6, 2, 3, 2), {"groups": 2, "dilation": 2, "padding": ((1, 0), (0, 3))}),
    # depthwise
    ("depthwise 3x3", (2, 5, 6, 6), (5, 1, 3, 3), {"groups": 5, "padding": 1}),
    ("depthwise 3x3, one output column", (2, 4, 5, 3), (4, 1, 3, 3), {"groups": 4}),
    ("depthwise 3x3, 7x7 plane", (1, 16, 7, 7), (16, 1, 3, 3), {"groups": 16, "padding": 1}),
    ("depthwise 3x3, plane of squares", (1, 17, 16, 20), (17, 1, 3, 3), {"groups": 17, "padding": 1}),
    ("depthwise 3x3, 32 channels", (1, 32, 5, 8), (32, 1, 3, 3), {"groups": 32, "padding": 1}),
    ("depthwise 3x3, tiles within", (1, 17, 5, 40), (17, 1, 3, 3), {"groups": 17, "padding": 1}),
    ("depthwise 3x3, 49 channels", (2, 49, 3, 3), (49, 1, 3, 3), {"groups": 49, "padding": 1}),
    ("depthwise 3x3, stride 2", (2, 16, 8, 8), (16, 1, 3, 3), {"groups": 16, "padding": 1, "stride": 2}),
    ("depthwise 3x3, unequal strides", (1, 6, 8, 7), (6, 1, 3, 3), {"groups": 6, "padding": 1, "stride": (1, 3)}),
    ("depthwise 3x3, dilated", (1, 6, 9, 8), (6, 1, 3, 3), {"groups": 6, "padding": 2, "dilation": 2}),
    ("depthwise 3x3, padding beyond the kernel", (1, 3, 4, 4), (3, 1, 3, 3), {"groups": 3, "padding": 4}),
    ("depthwise 3x3, padding on one side", (1, 18, 5, 8), (18, 1, 3, 3), {"groups": 18, "padding": ((2, 0), (0, 2))}),
    ("depthwise 3x3, two filters a channel", (2, 5, 6, 6), (10, 1, 3, 3), {"groups": 5, "padding": 1}),
    ("depthwise 3x3, three filters, stride 2", (1, 7, 7, 7), (21, 1, 3, 3), {"groups": 7, "padding": 1, "stride": 2}),
    ("depthwise 5x5", (1, 17, 7, 6), (17, 1, 5, 5), {"groups": 17, "padding": 2}),
    ("depthwise 5x5, stride 2", (1, 19, 9, 9), (19, 1, 5, 5), {"groups": 19, "padding": 2, "stride": 2}),
    ("depthwise 5x5, wide", (1, 17, 5, 16), (17, 1, 5, 5), {"groups": 17, "padding": 2}),
    ("depthwise 5x5, wide, stride 2", (1, 17, 5, 16), (17, 1, 5, 5), {"groups": 17, "padding": 2, "stride": 2}),
    ("depthwise 3x3, wide, stride 2", (1, 17, 5, 16), (17, 1, 3, 3), {"groups": 17, "padding": 1, "stride": 2}),
    ("depthwise 3x3, a row of padding alone", (1, 16, 7, 7), (16, 1, 3, 3), {"groups": 16, "padding": ((3, 0), (1, 1))}),
    ("depthwise 3x3, all columns padding", (1, 16, 1, 1), (16, 1, 3, 3), {"groups": 16, "padding": ((1, 1), (3, 0)), "stride": 2}),
    ("depthwise 6x6, a phase of padding alone", (1, 16, 2, 2), (16, 1, 6, 6), {"groups": 16, "padding": ((2, 2), (5, 0)), "stride": 2}),
    ("depthwise 2x7", (1, 4, 6, 9), (4, 1, 2, 7), {"groups": 4, "padding": (1, 3)}),
    ("depthwise 1x1", (2, 9, 4, 4), (9, 1, 1, 1), {"groups": 9}),
    ("depthwise 1x1 with stride", (2, 9, 5, 5), (18, 1, 1, 1), {"groups": 9, "stride": 2}),
    ("depthwise, stride beyond the kernel", (1, 4, 9, 9), (4, 1, 3, 3), {"groups": 4, "stride": 5}),
    ("depthwise of one channel, two filters", (2, 1, 5, 5), (2, 1, 3, 3), {"padding": 1}),
]
NAMES = [row[0] for row in TABLE]
SMALL = {"one pixel, padded window", "one row", "pointwise", "pointwise from one channel", "3x3", "3x3 odd plane, stride 2", "1x3",
         "3x3 unequal dilations and strides", "padding beyond the kernel", "four different paddings", "groups of one filter each",
         "depthwise 3x3, one output column", "depthwise 3x3, two filters a channel", "depthwise 3x3, padding on one side",
         "stride beyond the image", "depthwise 2x7"}
DIRECTIONS = ("forward", "grad_input", "grad_weight")


def arguments(name):
    """(input shape, weight shape, keyword arguments) of a row."""
    return TABLE[NAMES.index(name)][1:]


def geometry(name):
    """The checked sizes of a row."""
    x_shape, w_shape, rest = arguments(name)
    return conv2d_geometry(x_shape, w_shape, **rest)


@lru_cache(maxsize=None)
def data(name, integers=False):
    """Random x, w, bias and cotangent dy of a row, float32: normal, or integers of -4 .. 4. The same for the same name."""
    g, rng = geometry(name), np.random.default_rng(NAMES.index(name))
    shapes = (g.x_shape, g.w_shape, (g.f,), g.y_shape)
    draw = (lambda s: rng.integers(-4, 5, s)) if integers else rng.standard_normal
    return tuple(draw(shape).astype(np.float32) for shape in shapes)


@lru_cache(maxsize=None)
def expected(name, integers=False):
    """The three results of the reference on `data`, in float64."""
    g, (x, w, bias, dy) = geometry(name), data(name, integers)
    return {"forward": reference.forward(x, w, bias, g), "grad_input": reference.grad_input(dy, w, g),
            "grad_weight": reference.grad_weight(dy, x, g)}


@lru_cache(maxsize=None)
def bounds(name):
    """How far rounding to float32 may carry each of them, element by element (see `reference.bound`)."""
    g, (x, w, bias, dy) = geometry(name), data(name)
    return {"forward": reference.bound("forward", x, w, g, bias), "grad_input": reference.bound("grad_input", dy, w, g),
            "grad_weight": reference.bound("grad_weight", dy, x, g)}


@lru_cache(maxsize=None)
def allowed(algorithm, name, direction, dtype=np.float32):
    """How far an algorithm of the table may err on `data` in a dtype: tolerance x `bounds`, or the bound that its page derives.

    A float64 kernel is held against a reference that is itself float64: that one's error is allowed for, too.
    """
    found, (x, w, bias, dy) = select.ALGORITHMS[algorithm], data(name)
    oracle = bounds(name)[direction] * float(np.finfo(dtype).eps / np.finfo(np.float32).eps)
    if found.tolerance is not None:
        own = found.tolerance * oracle
    else:
        a, b = {"forward": (x, w), "grad_input": (dy, w), "grad_weight": (dy, x)}[direction]
        own = found.page.error_bound(direction, a, b, geometry(name), bias if direction == "forward" else None, dtype)
    return own + (oracle if dtype == np.float64 else 0)


def exact(algorithm, name):
    """Is every number that the algorithm computes from small integers exact? Not with thirds (Winograd beyond F(2,3)) or cosines."""
    return algorithm not in ("fft", "winograd4") and not (algorithm == "winograd2" and geometry(name).kh > 3)


def spreads(algorithm):
    """Does a NaN or infinity reach more results than the formula says? Algorithms that mix numbers before they multiply."""
    return select.ALGORITHMS[algorithm].tolerance is None
