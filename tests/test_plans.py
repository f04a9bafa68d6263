"""Convolutions made ready once, clipping on the way to memory, and the passes that were put together: equal to the steps they replace."""
import numpy as np
import pytest

import tinyconv as tc
from geometries import NAMES, SMALL, allowed, arguments, data, expected, geometry
from tinyconv import kernels, nn
from tinyconv.formulas.geometry import conv2d_geometry
from tinyconv.kernels import indirect, layout, select

F = tc.functional
MARKED = [pytest.param(name, marks=pytest.mark.small) if name in SMALL else name for name in NAMES]


@pytest.mark.parametrize("name", MARKED)
def test_a_plan_is_the_convolution(name):
    """Every algorithm, called twice: within the bound of the reference, and clipped with a residual as the steps one by one."""
    x, w, bias = (a.astype(np.float32) for a in data(name)[:3])
    _, _, rest = arguments(name)
    g = geometry(name)
    R = np.random.default_rng(0).standard_normal(g.y_shape).astype(np.float32)
    for algorithm, found in select.ALGORITHMS.items():
        if not found.supports(g):
            continue
        plan = kernels.plan_conv2d(x.shape, w, bias, algorithm=algorithm, **rest)
        first, second = plan(x), plan(x)
        assert np.array_equal(first, second) and np.array_equal(first, kernels.conv2d(x, w, bias, algorithm=algorithm, **rest))
        assert (np.abs(first - expected(name)["forward"]) <= allowed(algorithm, name, "forward")).all(), algorithm
        low, high = np.float32(-0.5), np.float32(2)
        assert np.array_equal(plan(x, R, low, high), np.clip(first + R, low, high)), algorithm
        assert np.array_equal(kernels.conv2d(x, w, bias, algorithm=algorithm, low=low, high=high, **rest), np.clip(first, low, high)), algorithm


@pytest.mark.parametrize("shape, f, k, more", [((2, 3, 17, 15), 5, 3, dict(stride=2, padding=1)), ((1, 512, 9, 9), 3, 1, {}), ((1, 40, 12, 12), 33, 3, dict(padding=1)),
                                               ((3, 48, 1, 1), 20, 1, {}), ((1, 20, 9, 9), 20, 5, dict(padding=2, groups=20)), ((2, 12, 6, 5), 9, 1, dict(groups=3))])
@pytest.mark.parametrize("count", [1, 2])
def test_a_plan_called_in_many_ways(shape, f, k, more, count, always_shared):
    """Stems, copied rows, Winograd, dots, depthwise, groups; arguments that change between calls, memory of either order, not writable, alone
    and shared: nothing of a call is left in the next."""
    before, rng = tc.kernels.get_num_threads(), np.random.default_rng(0)
    tc.set_num_threads(count)
    try:
        x, w = rng.integers(-3, 4, shape).astype(np.float32), rng.integers(-3, 4, (f, shape[1] // more.get("groups", 1), k, k)).astype(np.float32)
        plan, y = kernels.plan_conv2d(x.shape, w, None, **more), kernels.conv2d(x.astype(np.float64), w.astype(np.float64), None, **more)
        near = lambda a, b: np.allclose(a, b, rtol=0, atol=1e-4 * np.abs(y).max())
        R, last = rng.integers(-3, 4, y.shape).astype(np.float32), layout.shaped(layout.nhwc(x).copy())
        last.flags.writeable = False
        assert near(plan(x), y) and near(plan(last, high=2), np.minimum(y, 2)) and near(plan(x, R), y + R)
        assert near(plan(last, R, -4, 4), np.clip(y + R, -4, 4)) and near(plan(x[::-1, :, ::-1]), kernels.conv2d(x[::-1, :, ::-1].astype(np.float64), w.astype(np.float64), None, **more))
        low = -2.0
        assert near(plan(x, low=low), np.maximum(y, low)) and near(plan(-x, low=low), np.maximum(-y, low)) and near(plan(x, R, low), np.maximum(y + R, low))
        with pytest.raises((TypeError, ValueError)):
            plan(x, low="low")
        assert near(plan(x, low=low), np.maximum(y, low)) and near(plan(x, high=low), np.minimum(y, low))
        kept = plan(x)
        assert layout.of(kept) == "channels_last" and near(plan(-x), -y) and near(kept, y)
        tc.set_num_threads(3 - count)
        assert near(plan(x), y)
    finally:
        tc.set_num_threads(before)


@pytest.mark.small
def test_plans_refuse_what_does_not_fit():
    """Another shape or dtype, a residual of another shape, weights that are not finite; later changes of the weights are not seen."""
    w = np.ones((4, 3, 3, 3), np.float32)
    plan, x = kernels.plan_conv2d((2, 3, 5, 5), w, padding=1), np.ones((2, 3, 5, 5), np.float32)
    before = plan(x)
    w[:] = 7
    assert np.array_equal(plan(x), before)
    named = np.dtype(np.float32, metadata={"unit": "V"})                    # a float32 all the same
    assert np.array_equal(plan(x.astype(named)), before) and np.array_equal(plan(np.ones((4, 3, 5, 5), np.float32)[::2]), before)
    z, wide = np.random.default_rng(0).standard_normal(x.shape).astype(np.float32), np.full((4, 7, 5, 9), np.nan, np.float32)
    wide[::2, 1:6:2, :, ::2] = z
    last = layout.shaped(np.ascontiguousarray(z.transpose(0, 2, 3, 1)))
    assert np.array_equal(plan(wide[::2, 1:6:2, :, ::2]), plan(z)) and np.array_equal(plan(last), plan(z)) and not np.array_equal(plan(z), before)
    for other in (x[0], x[..., None], x.transpose(1, 0, 2, 3)):
        with pytest.raises(ValueError, match="x must be float32"):
            plan(other)
    with pytest.raises(ValueError, match=r"x must be float32 of shape \(2, 3, 5, 5\), not float32 of shape \(1, 3, 5, 5\)"):
        plan(x[:1])
    with pytest.raises(ValueError, match="x must be float32"):
        plan(x.astype(np.float64))
    with pytest.raises(ValueError, match=r"R must have shape \(2, 4, 5, 5\)"):
        plan(x, x)
    with pytest.raises(ValueError, match="w must be finite"):
        kernels.plan_conv2d((2, 3, 5, 5), np.full((4, 3, 3, 3), np.inf, np.float32))
    with pytest.raises(ValueError, match="bias"):
        kernels.plan_conv2d((2, 3, 5, 5), w, np.ones(3, np.float32))


def gradients_of(model, x, dy):
    """Result, gradient in x, gradients of all parameters, buffers afterwards."""
    for p in model.parameters():
        p.grad = None
    x = tc.Tensor(x, requires_grad=True)
    y = model(x)
    y.backward(dy)
    return [y.data, x.grad, *(p.grad for p in model.parameters()), *(b.copy() for _, b in model.named_buffers())]


@pytest.mark.small
@pytest.mark.parametrize("activation", [nn.ReLU, nn.ReLU6])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("training", [True, False])
def test_what_goes_together_is_what_goes_one_by_one(activation, dtype, training):
    """Convolution + activation and normalisation + activation in one pass: the numbers of two operations, forward and backward."""
    rng = np.random.default_rng(0)
    x, dy = (3 * rng.standard_normal((4, 5, 6, 7))).astype(dtype), rng.standard_normal((4, 5, 6, 7)).astype(dtype)

    class Apart(nn.Module):
        """The same modules, each called by itself."""

        def __init__(self, *modules):
            super().__init__()
            self.all = nn.ModuleList(modules)

        def forward(self, x):
            for module in self.all:
                x = module(x)
            return x

    for make in (lambda: [nn.BatchNorm2d(5), activation()], lambda: [nn.Conv2d(5, 5, 3, padding=1, rng=1), activation(), nn.BatchNorm2d(5), activation()]):
        together, apart = nn.Sequential(*make()), Apart(*make())
        for model in (together, apart):
            model.train(training)
            for p in model.parameters():
                p.data = p.data.astype(dtype)
            for module in model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.running_mean, module.running_var = module.running_mean.astype(dtype), module.running_var.astype(dtype)
        for mine, other in zip(gradients_of(together, x, dy), gradients_of(apart, x, dy)):
            assert np.allclose(mine, other, rtol=2e-5 if dtype == np.float32 else 1e-12, atol=1e-5 if dtype == np.float32 else 1e-12)
        assert np.array_equal(together(tc.Tensor(x)).data, apart(tc.Tensor(x)).data)


@pytest.mark.small
@pytest.mark.parametrize("dtype, error", [(np.float32, 2e-6), (np.float64, 1e-14)])
def test_optimiser_steps(dtype, error):
    """SGD and Adam in one pass against their formulas in NumPy, also for a parameter that does not lie in C order."""
    rng = np.random.default_rng(0)
    for order in ("C", "F"):
        w, g, v, m = (np.asarray(rng.standard_normal((30, 40)), dtype, order) for _ in range(4))
        v = np.abs(v)
        for momentum, decay, nesterov in ((0.0, 0.0, False), (0.9, 0.0, False), (0.9, 0.1, True)):
            a, b = w.copy(order), v.copy(order)
            other, beside = g[:3].copy(), g[:3].copy()                              # a second parameter, of another size, in the same pass
            kernels.sgd_step([a, other], [g, beside], [b, beside * 0] if momentum else [None, None], 0.1, momentum, decay, nesterov)
            alone = g[:3].copy()
            kernels.sgd_step([alone], [beside], [beside * 0] if momentum else [None], 0.1, momentum, decay, nesterov)
            assert np.array_equal(other, alone) and not np.array_equal(alone, g[:3]) and np.array_equal(beside, g[:3])
            full = g + decay * w
            velocity = momentum * v + full if momentum else v
            step = full + momentum * velocity if nesterov else velocity if momentum else full
            assert np.allclose(a, w - 0.1 * step, rtol=error, atol=error) and np.allclose(b, velocity, rtol=error, atol=error)
        a, b, c = w.copy(order), m.copy(order), v.copy(order)
        kernels.adam_step([a], [g], [b], [c], 0.01, (0.9, 0.99), 3, 1e-8, keep=0.5)
        first, second = m + 0.1 * (g - m), v + 0.01 * (g * g - v)
        assert np.allclose(b, first, rtol=error, atol=error) and np.allclose(c, second, rtol=error, atol=error)
        wanted = 0.5 * w - 0.01 / (1 - 0.9**3) * first / (np.sqrt(second / (1 - 0.99**3)) + 1e-8)
        assert np.allclose(a, wanted, rtol=4 * error, atol=4 * error)
    for wrong, message in ((([w], [g[:2]], [None]), r"gs\[0\] must have shape"), (([w, w], [g], [None]), "must be equally long")):
        with pytest.raises(ValueError, match=message):
            kernels.sgd_step(*wrong, 0.1)
    with pytest.raises(TypeError, match=r"gs\[0\] must be float32 or float64, not int64"):
        kernels.sgd_step([w], [np.ones(w.shape, np.int64)], [None], 0.1)


@pytest.mark.parametrize("c, f, hw", [(512, 40, 6), (1024, 33, 3)])
def test_rows_far_apart_are_copied_first(c, f, hw):
    """Channels by the power of two, whose pixels would fall on the same lines of the cache: exactly the integer result, in all three directions."""
    g, rng = conv2d_geometry((2, c, hw, hw), (f, c, 1, 1)), np.random.default_rng(0)
    assert indirect.schemes(g, "forward", 2)[0].sizes[2] > 0
    x, w, dy = (rng.integers(-3, 4, s).astype(np.float32) for s in (g.x_shape, g.w_shape, g.y_shape))
    flat = x.transpose(0, 2, 3, 1).reshape(-1, c).astype(np.float64)
    assert np.array_equal(kernels.conv2d(x, w).transpose(0, 2, 3, 1).reshape(-1, f), flat @ w[:, :, 0, 0].T)
    assert np.array_equal(kernels.conv2d_grad_weight(dy, x, w.shape)[:, :, 0, 0], dy.transpose(0, 2, 3, 1).reshape(-1, f).T @ flat)


@pytest.mark.small
def test_channels_taken_out_are_copied():
    """A slice of the channels becomes an array of its own, large (by all threads) or small, float32 or not."""
    for shape, dtype in (((3, 12, 20, 21), np.float32), ((1, 12, 2, 3), np.float32), ((3, 12, 20, 21), np.float64)):
        x = layout.empty(shape, dtype)
        x[...] = np.arange(x.size).reshape(shape)
        part = x[:, 5:9]
        got = layout.nhwc(part)
        assert got.flags.c_contiguous and np.array_equal(got, part.transpose(0, 2, 3, 1)) and not np.shares_memory(got, x)


def test_two_hundred_gradients_are_the_same():
    """The same gradients, bit for bit, 200 times: no thread's haste shows in a sum."""
    rng = np.random.default_rng(0)
    x, w, dy = (rng.standard_normal(s).astype(np.float32) for s in ((3, 20, 15, 14), (33, 20, 3, 3), (3, 33, 15, 14)))
    depth, dd = rng.standard_normal((20, 1, 3, 3)).astype(np.float32), rng.standard_normal(x.shape).astype(np.float32)

    def run():
        return (kernels.conv2d_grad_weight(dy, x, w.shape, padding=1), kernels.conv2d_grad_input(dy, w, x.shape, padding=1),
                kernels.conv2d_grad_weight(dd, x, depth.shape, padding=1, groups=20), kernels.channel_sums(dy))

    first = run()
    for _ in range(200):
        assert all(np.array_equal(a, b) for a, b in zip(first, run()))
