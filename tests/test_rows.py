"""Channels moved by kernels against NumPy's indexing: every layout, sizes on both sides of where the fast kernels begin."""
import numpy as np
import pytest

from tinyconv import kernels
from tinyconv.kernels import layout, rows

SHAPES = [(2, 6, 3, 3), (3, 24, 9, 7), (4, 116, 5, 5), (16, 30, 4, 4)]


def lying(x):
    """x in C order, channels-last, and as every second half of wider pixels (what a split leaves)."""
    last, wide = layout.empty(x.shape, x.dtype), layout.empty((x.shape[0], 2 * x.shape[1], *x.shape[2:]), x.dtype)
    last[...], wide[:, x.shape[1]:] = x, x
    return x, last, wide[:, x.shape[1]:]


@pytest.mark.small
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8])
@pytest.mark.parametrize("shape", SHAPES)
def test_channels_move_as_numpy_moves_them(shape, dtype):
    """concat, pick and shuffle, exactly; the shuffle with C/G groups undoes the one with G."""
    rng = np.random.default_rng(0)
    x, y = (rng.integers(-99, 99, shape).astype(dtype) for _ in range(2))
    c, order = shape[1], rng.integers(0, shape[1], 11)
    for a, b in zip(lying(x), lying(y)[::-1]):
        assert np.array_equal(kernels.concat([a, b, a]), np.concatenate([x, y, x], axis=1))
        assert np.array_equal(kernels.pick(a, order), x[:, order]) and np.array_equal(kernels.pick(a, order.tolist()), x[:, order])
        for groups in (g for g in (1, 2, 3, c // 2, c) if c % g == 0):
            shuffled = kernels.shuffle(a, groups)
            assert np.array_equal(shuffled, x.reshape(shape[0], groups, c // groups, *shape[2:]).swapaxes(1, 2).reshape(shape))
            assert np.array_equal(kernels.shuffle(shuffled, c // groups), x)


@pytest.mark.small
def test_a_split_is_read_where_it_lies():
    """`even` knows pixels at equal distances, whatever is left out between them, and refuses all others."""
    x = np.random.default_rng(0).standard_normal(SHAPES[1]).astype(np.float32)
    last, half = lying(x)[1:]
    for a in (last, half, half[:, 3:5], last[1:], last[:1, :, 2:3]):
        flat, pitch = rows.even(a)
        n, c, h, w = a.shape
        assert np.array_equal(np.lib.stride_tricks.as_strided(flat, (n * h * w, c), (4 * pitch, 4)), a.transpose(0, 2, 3, 1).reshape(-1, c))
    for a in (x, last[:, :, ::2], last[:, ::-1], last[:, ::2], last[:, :, :, 1:], x.astype(np.float64)):
        assert rows.even(a) is None


@pytest.mark.small
@pytest.mark.parametrize("shape", [(2, 3, 9, 5), (1, 37, 17, 19), (3, 16, 4, 4), (5, 20, 1, 3), (1, 2, 20, 20), (2, 48, 1, 17)])
def test_planes_become_pixels(shape, monkeypatch, always_shared):
    """(N,C,H,W) memory on channels-last memory, exactly: whole squares, a few channels more, planes smaller than a square, several blocks of pixels."""
    monkeypatch.setattr(layout, "PLANES", 0)
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    assert np.array_equal(rows.together(x), x.transpose(0, 2, 3, 1))
    last = layout.channels_last(x)
    assert layout.of(last) == "channels_last" and np.array_equal(last, x) and np.shares_memory(layout.channels_last(last), last)
    last.flags.writeable = False
    assert np.array_equal(layout.channels_last(last), x) and not np.shares_memory(layout.channels_last(last), last)


@pytest.mark.small
def test_what_rows_refuse():
    """Groups that do not divide, indices outside, axes that do not fit."""
    x = np.zeros((4, 30, 8, 8), np.float32)
    with pytest.raises(ValueError, match="groups must divide the 30 channels, not 4"):
        kernels.shuffle(x, 4)
    for order in ([30], [-1, 2]):
        with pytest.raises(IndexError, match="order must lie in 0..29"):
            kernels.pick(x, order)
    with pytest.raises(ValueError):
        kernels.concat([x, x[:, :, 1:]])
