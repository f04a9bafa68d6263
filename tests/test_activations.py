"""Clipping in one pass (ReLU, ReLU6): values and gradients against NumPy, corners and NaN as promised, memory order kept."""
import numpy as np
import pytest

import tinyconv as tc
from tinyconv.kernels import activations, layout

EDGES = [-np.inf, -1.0, -0.0, 0.0, 1e-30, 3.0, 6.0, 6.5, np.inf, np.nan]


@pytest.mark.small
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("low, high", [(0, np.inf), (0, 6), (-1, 1)])
@pytest.mark.parametrize("mode", ["fast", "plain"])
def test_clip_and_its_gradient(dtype, low, high, mode):
    """y = min(max(x, low), high); dx = dy strictly between the corners and 0 at them; NaN goes through forward."""
    rng = np.random.default_rng(0)
    x = np.concatenate([EDGES, rng.standard_normal(90) * 4]).astype(dtype)
    dy = rng.standard_normal(x.size).astype(dtype)
    with tc.use(mode):
        y, dx = activations.clip(x, low, high), activations.clip_grad(dy, x, low, high)
    assert np.array_equal(y, np.where(np.isnan(x), x, np.clip(x, low, high)), equal_nan=True)
    finite = ~np.isnan(x)
    assert np.array_equal(dx[finite], np.where((x > low) & (x < high), dy, 0)[finite])


@pytest.mark.small
def test_memory_order_is_kept():
    """Channels-last goes in, channels-last comes out, the same numbers either way; dy may lie in the other order than x."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((2, 3, 4, 5)).astype(np.float32)
    dy = rng.standard_normal(x.shape).astype(np.float32)
    last = layout.shaped(np.ascontiguousarray(x.transpose(0, 2, 3, 1)))
    assert layout.of(tc.kernels.clip(last, 0, 6)) == "channels_last"
    assert np.array_equal(tc.kernels.clip(last, 0, 6), tc.kernels.clip(x, 0, 6))
    assert np.array_equal(tc.kernels.clip_grad(dy, last, 0, 6), tc.kernels.clip_grad(dy, x, 0, 6))


@pytest.mark.small
def test_bad_arrays_are_refused():
    """Integers and two shapes are refused by name."""
    with pytest.raises(TypeError, match="x must be float32 or float64, not int64"):
        tc.kernels.clip(np.arange(3), 0, 6)
    with pytest.raises(ValueError, match=r"dy must have shape \(3,\), not \(2,\)"):
        tc.kernels.clip_grad(np.ones(2, np.float32), np.ones(3, np.float32), 0, 6)
