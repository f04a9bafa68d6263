"""Pooling against loops over windows in plain Python, in both layouts and modes; gradients against the scatter they are.

Maxima and their positions are exact. A mean of k float32 values has |err| <= (k + 2) u sum|x| / divisor: k - 1 additions, the
quotient, and one rounding more where the compiler multiplies by a rounded reciprocal; gradients likewise, k windows to a pixel.
"""
import math

import numpy as np
import pytest

import tinyconv as tc
from tinyconv.formulas.geometry import GeometryError, pool2d_geometry
from tinyconv.kernels import layout, pool

GEOMETRIES = [                       # shape, kernel, stride, padding, dilation, ceil_mode
    pytest.param((1, 1, 1, 1), 1, 1, 0, 1, False, marks=pytest.mark.small, id="one"),
    pytest.param((2, 3, 4, 5), 2, None, 0, 1, False, marks=pytest.mark.small, id="tiles"),
    pytest.param((1, 2, 5, 5), 3, 1, 1, 1, False, marks=pytest.mark.small, id="overlap"),
    pytest.param((1, 2, 6, 7), 3, 2, 1, 1, True, marks=pytest.mark.small, id="ceil and padding"),
    pytest.param((1, 2, 5, 6), (3, 2), (1, 3), (1, 0), 1, False, marks=pytest.mark.small, id="uneven"),
    pytest.param((1, 3, 7, 6), (2, 3), 2, 1, 2, False, marks=pytest.mark.small, id="dilated"),
    pytest.param((2, 1, 1, 5), (1, 3), 4, 0, 1, True, marks=pytest.mark.small, id="stride beyond kernel"),
    pytest.param((2, 17, 13, 11), 5, 2, 2, 1, True, id="5x5"),
    pytest.param((3, 40, 14, 14), 3, 2, 1, 1, False, id="3x3"),
    pytest.param((1, 9, 12, 15), 3, (1, 2), 1, (3, 2), True, id="dilated overlap"),
    pytest.param((64, 16, 8, 8), 2, 2, 0, 1, False, id="batch"),
]
ADAPTIVE = [                         # shape, output size
    pytest.param((2, 3, 4, 5), (1, 1), marks=pytest.mark.small, id="global"),
    pytest.param((1, 2, 5, 7), (3, 2), marks=pytest.mark.small, id="do not divide"),
    pytest.param((1, 2, 2, 3), (5, 3), marks=pytest.mark.small, id="more windows than pixels"),
    pytest.param((4, 33, 13, 11), (6, 7), id="wide"),
    pytest.param((32, 64, 7, 7), (1, 1), id="batch"),
]
KINDS = [pytest.param(np.float32, "fast", id="fast"), pytest.param(np.float32, "plain", id="plain"),
         pytest.param(np.float64, "fast", id="float64")]


def random(rng, shape, dtype, last):
    x = rng.standard_normal(shape).astype(dtype)
    return channels_last(x) if last else x


def channels_last(x):
    y = layout.empty(x.shape, x.dtype)
    y[...] = x
    return y


def windows(g):
    """For each output pixel its taps inside the image, [((i, j), [(h, w), ...]), ...], by the definition."""
    for i in range(g.oh):
        for j in range(g.ow):
            yield (i, j), [(h, w) for h in (i * g.sh - g.ph + u * g.dh for u in range(g.kh)) if 0 <= h < g.h
                           for w in (j * g.sw - g.pw + v * g.dw for v in range(g.kw)) if 0 <= w < g.w]


def oracle_max(x, g):
    """y and index; np.argmax: NaN first, among equals the first."""
    y, index = np.empty(g.y_shape, x.dtype), np.empty(g.y_shape, np.int32)
    for (i, j), taps in windows(g):
        values = np.stack([x[:, :, h, w] for h, w in taps])                           # (taps,N,C)
        first = values.argmax(0)
        y[:, :, i, j] = np.take_along_axis(values, first[None], 0)[0]
        index[:, :, i, j] = np.array([h * g.w + w for h, w in taps])[first]
    return y, index


def fixed_boxes(g, include):
    """PyTorch's averaging windows and divisors: [((i, j), rows, columns, divisor)]."""
    for i in range(g.oh):
        for j in range(g.ow):
            top, left = i * g.sh - g.ph, j * g.sw - g.pw
            size = (min(top + g.kh, g.h + g.ph) - top) * (min(left + g.kw, g.w + g.pw) - left)
            rows = slice(max(top, 0), min(top + g.kh, g.h))
            cols = slice(max(left, 0), min(left + g.kw, g.w))
            yield (i, j), rows, cols, size if include else (rows.stop - rows.start) * (cols.stop - cols.start)


def adaptive_boxes(shape, output):
    for i in range(output[0]):
        for j in range(output[1]):
            rows = slice(i * shape[2] // output[0], math.ceil((i + 1) * shape[2] / output[0]))
            cols = slice(j * shape[3] // output[1], math.ceil((j + 1) * shape[3] / output[1]))
            yield (i, j), rows, cols, (rows.stop - rows.start) * (cols.stop - cols.start)


def check_mean(x, y, boxes):
    """y is the mean of x over the boxes, within the bound at the top of this page."""
    u = np.finfo(x.dtype).eps / 2
    for (i, j), rows, cols, divisor in boxes:
        window = x[:, :, rows, cols].astype(np.float64).reshape(*x.shape[:2], -1)
        bound = (window.shape[2] + 2) * u * np.abs(window).sum(2) / divisor
        assert (np.abs(y[:, :, i, j] - window.sum(2) / divisor) <= bound).all(), (i, j)


def check_mean_grad(dy, dx, boxes):
    """dx is the scatter of dy / divisor, within the bound at the top of this page."""
    u = np.finfo(dx.dtype).eps / 2
    expected, size, terms = np.zeros(dx.shape), np.zeros(dx.shape), np.zeros(dx.shape[2:])
    for (i, j), rows, cols, divisor in boxes:
        share = dy[:, :, i, j].astype(np.float64)[:, :, None, None] / divisor
        expected[:, :, rows, cols] += share
        size[:, :, rows, cols] += np.abs(share)
        terms[rows, cols] += 1
    assert (np.abs(dx - expected) <= (terms + 2) * u * size).all()


@pytest.mark.parametrize("dtype, mode", KINDS)
@pytest.mark.parametrize("shape, kernel, stride, padding, dilation, ceil_mode", GEOMETRIES)
def test_max_pool_and_its_gradient(shape, kernel, stride, padding, dilation, ceil_mode, dtype, mode):
    """Values, positions and the scattered gradient, on rounded data full of ties, in both layouts."""
    rng = np.random.default_rng(0)
    g = pool2d_geometry(shape, kernel, stride, padding, dilation, ceil_mode)
    for last in (False, True):
        x = np.round(random(rng, shape, dtype, last))
        y_expected, index_expected = oracle_max(x, g)
        dy = random(rng, g.y_shape, dtype, last)
        with tc.kernels.use(mode):
            y, index = tc.kernels.max_pool2d(x, g)
            dx = tc.kernels.max_pool2d_grad(dy, index, g)
        assert y.dtype == dx.dtype == dtype and index.dtype == np.int32
        np.testing.assert_array_equal(y, y_expected)
        np.testing.assert_array_equal(index, index_expected)
        expected, size, terms = (np.zeros((g.n, g.c, g.h * g.w)) for _ in range(3))
        for n in range(g.n):
            for c in range(g.c):
                at, values = index_expected[n, c].ravel(), dy[n, c].ravel().astype(np.float64)
                np.add.at(expected[n, c], at, values)
                np.add.at(size[n, c], at, np.abs(values))
                np.add.at(terms[n, c], at, 1)
        bound = np.maximum(terms - 1, 0) * (np.finfo(dtype).eps / 2) * size
        assert (np.abs(dx - expected.reshape(shape)) <= bound.reshape(shape)).all()


@pytest.mark.small
@pytest.mark.parametrize("mode", ("fast", "plain"))
def test_max_pool_of_nan_and_infinity(mode):
    """A NaN wins, the first of several; -inf is an honest value; positions always point into the window."""
    g = pool2d_geometry((1, 1, 2, 8), 2, 2)
    inf, nan = np.inf, np.nan
    x = np.array([[[[1, nan, -inf, -inf, nan, 5, inf, 3], [2, 0, -inf, -inf, nan, 7, inf, nan]]]], np.float32)
    with tc.kernels.use(mode):
        y, index = tc.kernels.max_pool2d(x, g)
    np.testing.assert_array_equal(y.ravel(), np.array([np.nan, -np.inf, np.nan, np.nan], np.float32))
    assert index.ravel().tolist() == [1, 2, 4, 15]


@pytest.mark.small
@pytest.mark.parametrize("dtype", (np.int8, np.uint8))
def test_max_pool_of_codes(dtype):
    """int8 and uint8 codes, for integer networks: exact, ends of the range included."""
    g = pool2d_geometry((2, 3, 5, 4), 3, 2, 1)
    x = np.random.default_rng(0).integers(np.iinfo(dtype).min, np.iinfo(dtype).max + 1, g.x_shape).astype(dtype)
    for mode in ("fast", "plain"):
        with tc.kernels.use(mode):
            y, index = pool.max_pool2d(x, g)
        assert y.dtype == dtype
        for got, expected in zip((y, index), oracle_max(x, g)):
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("dtype, mode", KINDS)
@pytest.mark.parametrize("include", (True, False), ids=("padding counts", "padding does not"))
@pytest.mark.parametrize("shape, kernel, stride, padding, dilation, ceil_mode", GEOMETRIES)
def test_average_pool_and_its_gradient(shape, kernel, stride, padding, dilation, ceil_mode, include, dtype, mode):
    """Means and their adjoint with PyTorch's divisors; dilation is refused."""
    rng = np.random.default_rng(0)
    g = pool2d_geometry(shape, kernel, stride, padding, dilation, ceil_mode)
    for last in (False, True):
        x, dy = random(rng, shape, dtype, last), random(rng, g.y_shape, dtype, last)
        with tc.kernels.use(mode):
            if dilation != 1:
                for f, array in ((tc.kernels.avg_pool2d, x), (tc.kernels.avg_pool2d_grad, dy)):
                    with pytest.raises(GeometryError, match="average pooling has no dilation"):
                        f(array, g, include)
                continue
            y, dx = tc.kernels.avg_pool2d(x, g, include), tc.kernels.avg_pool2d_grad(dy, g, include)
        assert y.shape == g.y_shape and dx.shape == shape and y.dtype == dx.dtype == dtype
        check_mean(x, y, fixed_boxes(g, include))
        check_mean_grad(dy, dx, fixed_boxes(g, include))


@pytest.mark.parametrize("dtype, mode", KINDS)
@pytest.mark.parametrize("shape, output", ADAPTIVE)
def test_adaptive_average_pool_and_its_gradient(shape, output, dtype, mode):
    """Windows floor(i*H/OH) .. ceil((i+1)*H/OH), also where they do not divide or outnumber the pixels."""
    rng = np.random.default_rng(0)
    for last in (False, True):
        x, dy = random(rng, shape, dtype, last), random(rng, (*shape[:2], *output), dtype, last)
        with tc.kernels.use(mode):
            y, dx = tc.kernels.adaptive_avg_pool2d(x, output), tc.kernels.adaptive_avg_pool2d_grad(dy, shape)
        assert y.shape == dy.shape and dx.shape == shape and y.dtype == dx.dtype == dtype
        check_mean(x, y, adaptive_boxes(shape, output))
        check_mean_grad(dy, dx, adaptive_boxes(shape, output))


@pytest.mark.small
def test_divisors_by_hand():
    """Rows of twelves: padding lowers the mean where it counts; what ceil_mode lets hang out beyond the padding never does."""
    g = pool2d_geometry((1, 1, 1, 4), (1, 3), (1, 2), (0, 1), ceil_mode=True)
    x = np.full((1, 1, 1, 4), 12.0)                                                   # windows -1..1, 1..3 and 3..5, cut to 3..4
    assert tc.kernels.avg_pool2d(x, g).ravel().tolist() == [8.0, 12.0, 6.0]
    assert tc.kernels.avg_pool2d(x, g, count_include_pad=False).ravel().tolist() == [12.0, 12.0, 12.0]
    g = pool2d_geometry((1, 1, 1, 6), (1, 3), (1, 2), 0, ceil_mode=True)
    x = np.full((1, 1, 1, 6), 12.0)                           # the last window: pixels 4 and 5, divided by 2
    assert tc.kernels.avg_pool2d(x, g).ravel().tolist() == [12.0, 12.0, 12.0]


@pytest.mark.small
def test_nan_stays_in_its_windows():
    """A mean with a NaN is NaN, its neighbours are not; a NaN gradient reaches its own window alone."""
    g = pool2d_geometry((1, 2, 4, 4), 2)
    x = np.ones((1, 2, 4, 4), np.float32)
    x[0, 1, 0, 3] = np.nan
    for mode in ("fast", "plain"):
        with tc.kernels.use(mode):
            y = tc.kernels.avg_pool2d(x, g)
            _, index = tc.kernels.max_pool2d(np.ones_like(x), g)
            dx = tc.kernels.max_pool2d_grad(y, index, g)
        assert np.isnan(y[0, 1, 0, 1]) and np.isnan(y).sum() == 1
        assert np.isnan(dx[0, 1, 0, 2]) and np.isnan(dx).sum() == 1


@pytest.mark.small
def test_a_dilated_window_of_padding_alone_is_refused():
    """Kernel 2, dilation 2, padding 1 over one pixel: both taps miss the image, so there is no maximum."""
    with pytest.raises(GeometryError, match="a window sees nothing but padding"):
        tc.kernels.max_pool2d(np.zeros((1, 1, 1, 1)), pool2d_geometry((1, 1, 1, 1), 2, 1, 1, 2))


def test_results_do_not_depend_on_the_number_of_threads():
    """The same bits with one, two and three threads."""
    rng = np.random.default_rng(0)
    g = pool2d_geometry((5, 24, 17, 17), 3, 2, 1)
    x, dy = random(rng, g.x_shape, np.float32, True), random(rng, g.y_shape, np.float32, True)
    before, results = tc.kernels.get_num_threads(), []
    try:
        for n in (1, 2, 3):
            tc.kernels.set_num_threads(n)
            y, index = tc.kernels.max_pool2d(x, g)
            results.append((y, index, tc.kernels.max_pool2d_grad(dy, index, g), tc.kernels.avg_pool2d(x, g),
                            tc.kernels.avg_pool2d_grad(dy, g), tc.kernels.adaptive_avg_pool2d(x, (1, 1))))
    finally:
        tc.kernels.set_num_threads(before)
    for other in results[1:]:
        for a, b in zip(results[0], other):
            np.testing.assert_array_equal(a, b)
