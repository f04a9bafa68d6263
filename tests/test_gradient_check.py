"""The checker checked: gradients that are deliberately wrong must be caught, right ones pass, the message prints both numbers.

Each wrong operation has one of the mistakes that people really make. It is put into the table under a name of its own,
called through the tape like any other, and taken out again.
"""
import re

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import functional as F
from tinyconv.gradient_check import GradientError, gradcheck
from tinyconv.ops import TABLE, apply, elementwise, register
from tinyconv.ops.table import free

pytestmark = pytest.mark.small
RNG = np.random.default_rng(11)


def _r(*shape):
    return RNG.standard_normal(shape)


@pytest.fixture
def wrong():
    """Registers an operation under a throwaway name for one test: wrong(forward, vjp) -> the function to call."""
    names = []

    def add(forward, vjp):
        names.append(f"wrong {len(names)}")
        register(names[-1], forward, vjp, lambda *shapes, **attributes: shapes[0], free)
        return lambda *inputs, name=names[-1], **attributes: apply(name, *inputs, **attributes)
    yield add
    for name in names:
        del TABLE[name]


def _conv(x, w, b=None, **geometry):
    """The right convolution, and its saved (x, w, geometry), for vjps that go wrong in one place only."""
    y = tc.kernels.conv2d(x, w, b, **geometry)
    return y, (x, w, geometry)


def _dx(saved, dy):
    x, w, geometry = saved
    return tc.kernels.conv2d_grad_input(dy, w, x.shape, **geometry)


def _dw(saved, dy):
    x, w, geometry = saved
    return tc.kernels.conv2d_grad_weight(dy, x, w.shape, **geometry)


def _through(op, **attributes):
    """forward and vjp of an operation of the table, for a wrong vjp to change something of."""
    return (lambda *a: TABLE[op].forward(*a, **attributes)), TABLE[op].vjp


def _values(answers):
    return [a() if callable(a) else a for a in answers]


def _bn_without_mean(saved, dy):
    """dx of batch normalisation without the terms that come from the mean and the variance: γ/σ dy."""
    x, gamma = saved
    return dy * (gamma / np.sqrt(x.var((0, 2, 3)) + 1e-5))[:, None, None], None


def _bn(x, gamma):
    mean, inv = x.mean((0, 2, 3), keepdims=True), 1 / np.sqrt(x.var((0, 2, 3), keepdims=True) + 1e-5)
    return (x - mean) * inv * gamma[:, None, None], (x, gamma)


def _bn_dx(x, gamma, dy):
    mean, inv = x.mean((0, 2, 3)), 1 / np.sqrt(x.var((0, 2, 3)) + 1e-5)
    return tc.kernels.batch_norm_grad(dy, x, mean, inv, gamma)[0]


def _stale(x):
    """Forward is right, but afterwards changes what it saved."""
    saved = x.copy()
    y = saved * saved
    saved *= 0.999
    return y, saved


CONV = dict(stride=1, padding=1)
_lrn_forward, _lrn_vjp = _through("local_response_norm", n=4, alpha=0.5, beta=0.75, k=1.0)
_pool_forward, _pool_vjp = _through("avg_pool2d", kernel_size=3, stride=2, padding=1, count_include_pad=False)

MISTAKES = {                                          # forward, vjp, attributes, arrays
    "a flipped kernel": (
        _conv, lambda s, dy: (_dx((s[0], s[1][:, :, ::-1, ::-1].copy(), s[2]), dy), _dw(s, dy)),
        CONV, (_r(2, 3, 5, 5), _r(3, 3, 3, 3))),
    "rows and columns swapped in dw": (
        _conv, lambda s, dy: (_dx(s, dy), _dw(s, dy).transpose(0, 1, 3, 2)),
        CONV, (_r(2, 3, 5, 5), _r(3, 3, 3, 3))),
    "channels and filters swapped in dw": (
        _conv, lambda s, dy: (_dx(s, dy), _dw(s, dy).transpose(1, 0, 2, 3)),
        CONV, (_r(2, 3, 5, 5), _r(3, 3, 3, 3))),
    "dy shifted by a pixel in dw": (
        _conv, lambda s, dy: (_dx(s, dy), _dw(s, np.roll(dy, 1, axis=3))),
        CONV, (_r(2, 3, 5, 5), _r(3, 3, 3, 3))),
    "dy transposed in dw": (
        _conv, lambda s, dy: (_dx(s, dy), _dw(s, dy.transpose(0, 1, 3, 2))),
        CONV, (_r(2, 3, 5, 5), _r(3, 3, 3, 3))),
    "strides swapped": (
        lambda x, w: _conv(x, w, stride=(1, 2), padding=1),
        lambda s, dy: (_dx((*s[:2], dict(stride=(2, 1), padding=1)), dy.transpose(0, 1, 3, 2)), _dw(s, dy)),
        {}, (_r(1, 2, 6, 6), _r(2, 2, 3, 3))),
    "dilation forgotten": (
        lambda x, w: _conv(x, w, padding=2, dilation=2), lambda s, dy: (_dx((*s[:2], dict(padding=1)), dy), _dw(s, dy)),
        {}, (_r(1, 2, 6, 6), _r(2, 2, 3, 3))),
    "padding of the wrong side": (
        lambda x, w: _conv(x, w, padding=((0, 1), (1, 1))),
        lambda s, dy: (_dx((*s[:2], dict(padding=((1, 0), (1, 1)))), dy), _dw(s, dy)),
        {}, (_r(1, 2, 6, 6), _r(2, 2, 2, 3))),
    "the bias gradient forgotten": (
        lambda x, w, b: _conv(x, w, b, **CONV), lambda s, dy: (_dx(s, dy), _dw(s, dy), None),
        {}, (_r(2, 3, 4, 4), _r(2, 3, 3, 3), _r(2))),
    "the bias gradient a mean": (
        lambda x, w, b: _conv(x, w, b, **CONV), lambda s, dy: (_dx(s, dy), _dw(s, dy), dy.mean((0, 2, 3))),
        {}, (_r(2, 3, 4, 4), _r(2, 3, 3, 3), _r(2))),
    "1/N missing": (
        lambda x: (np.asarray(x.mean()), x.shape), lambda shape, dy: (np.broadcast_to(dy, shape),),
        {}, (_r(3, 4),)),
    "1/N for 1/K": (
        lambda z: (np.asarray((z ** 2).sum(1).mean()), z), lambda z, dy: (dy * 2 * z / z.shape[1],),
        {}, (_r(3, 4),)),
    "a wrong sign": (lambda a, b: (a - b, None), lambda s, dy: (dy, dy), {}, (_r(3, 4), _r(3, 4))),
    "the mask of relu from dy": (lambda x: (np.maximum(x, 0), None), lambda s, dy: (dy * (dy > 0),), {}, (_r(3, 4),)),
    "softmax without its sum": (
        lambda z: (np.exp(z) / np.exp(z).sum(-1, keepdims=True),) * 2, lambda p, dy: (p * dy,),
        {}, (_r(3, 4),)),
    "softmax as if its gradient were p (1 - p)": (
        lambda z: (np.exp(z) / np.exp(z).sum(-1, keepdims=True),) * 2, lambda p, dy: (p * (1 - p) * dy,),
        {}, (_r(3, 4),)),
    "sigmoid's derivative of x": (lambda x: (elementwise.sigmoid(x), x), lambda x, dy: (dy * x * (1 - x),), {}, (_r(3, 4),)),
    "batch normalisation without the mean's part": (_bn, _bn_without_mean, {}, (_r(3, 2, 4, 4), 1 + _r(2) ** 2)),
    "batch normalisation without γ": (
        _bn, lambda s, dy: (_bn_dx(s[0], np.ones_like(s[1]), dy), None),
        {}, (_r(3, 2, 4, 4), 1 + _r(2) ** 2)),
    "the pieces of concat swapped": (
        lambda a, b: (np.concatenate([a, b], 1), None), lambda s, dy: (dy[:, 3:], dy[:, :3]),
        {}, (_r(2, 3, 2), _r(2, 3, 2))),
    "a shuffle undone by itself": (
        lambda x: (x[:, [0, 3, 1, 4, 2, 5]], None), lambda s, dy: (dy[:, [0, 3, 1, 4, 2, 5]],),
        {}, (_r(2, 6),)),
    "a saved array changed afterwards": (_stale, lambda x, dy: (2 * x * dy,), {}, (_r(3, 4),)),
    "one wrong number among a thousand": (
        lambda x: (x * 2, None), lambda s, dy: (np.where(np.arange(1000) == 500, 2.01, 2.0) * dy,),
        {}, (_r(1000),)),
    "an even window mirrored the wrong way": (
        _lrn_forward, lambda s, dy: (_values(_lrn_vjp(s, dy[:, ::-1]))[0][:, ::-1],),
        {}, (_r(1, 6, 2, 2),)),
    "the divisor of an average's corner": (
        _pool_forward, lambda s, dy: (_values(_pool_vjp((s[0], True), dy))[0],),
        {}, (_r(1, 2, 5, 5),)),
    "a product with the other factor's gradient": (
        lambda a, b: (a * b, (a, b)), lambda s, dy: (dy * s[0], dy * s[1]),
        {}, (_r(3, 4), _r(3, 4))),
    "a matrix product transposed": (
        lambda a, b: (a @ b, (a, b)), lambda s, dy: (dy @ s[1], s[0].T @ dy),
        {}, (_r(3, 3), _r(3, 3))),
    "a small function wrong altogether": (
        lambda x: (1e-6 * x ** 3, x), lambda x, dy: (1e-6 * 2 * x ** 2 * dy,),
        {}, (_r(3, 4),)),
    "no gradient at all": (lambda a, b: (a + b * b, None), lambda s, dy: (dy, None), {}, (_r(3, 4), _r(3, 4))),
    "a NaN gradient": (lambda x: (x * 2, None), lambda s, dy: (dy * np.nan,), {}, (_r(3),)),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_wrong_gradient_is_caught(mistake, wrong):
    """GradientError for each, with whatever seed."""
    forward, vjp, attributes, arrays = MISTAKES[mistake]
    f = wrong(forward, vjp)
    for seed in range(3):
        with pytest.raises(GradientError, match="difference quotient .*, gradient .*, apart by"):
            gradcheck(lambda *t: f(*t, **attributes), *arrays, seed=seed)


def test_what_is_not_unbroadcast_is_caught(wrong):
    """A gradient of the stretched shape: the tape itself refuses it, naming the operation."""
    f = wrong(lambda a, b: (a * b, (a, b)), lambda s, dy: (dy * s[1], dy * s[0]))
    with pytest.raises(RuntimeError, match=r"shape \(3, 4\) to a tensor float64 of shape \(4,\)"):
        gradcheck(f, _r(3, 4), _r(4))


def test_the_right_ones_pass(wrong):
    """The same table's functions with the right vjp: the checker does not cry wolf."""
    right = [(lambda a, b: (a - b, None), lambda s, dy: (dy, -dy), (_r(3, 4), _r(3, 4))),
             (lambda x: (1e-6 * x ** 3, x), lambda x, dy: (3e-6 * x ** 2 * dy,), (_r(3, 4),)),
             (lambda x: (1e9 * x ** 3, x), lambda x, dy: (3e9 * x ** 2 * dy,), (_r(3, 4),)),
             (lambda x: (x ** 3 + 1e6, x), lambda x, dy: (3 * x ** 2 * dy,), (_r(3, 4),)),
             (lambda x: (x ** 3, x), lambda x, dy: (3 * x ** 2 * dy,), (np.zeros((3, 4)),)),
             (_bn, lambda s, dy: (_bn_dx(*s, dy), (_bn(s[0], np.ones(2))[0] * dy).sum((0, 2, 3))), (_r(3, 2, 4, 4), 1 + _r(2) ** 2)),
             (lambda x, w: _conv(x, w, **CONV), lambda s, dy: (_dx(s, dy), _dw(s, dy)), (_r(2, 3, 5, 5), _r(3, 3, 3, 3)))]
    for forward, vjp, arrays in right:
        f = wrong(forward, vjp)
        for seed in range(5):
            assert gradcheck(f, *arrays, seed=seed, directions=1)


def test_the_message_prints_both_numbers(wrong):
    """y = 3 x claimed to be 2 x: quotient and gradient stand in the message, in the ratio 3 : 2, with what was allowed."""
    f = wrong(lambda x: (3 * x, None), lambda s, dy: (2 * dy,))
    with pytest.raises(GradientError) as caught:
        gradcheck(f, _r(5))
    numbers = re.findall(r"-?\d[\d.]*(?:e[+-]\d+)?", str(caught.value))
    quotient, gradient, apart, allowed = map(float, numbers)
    assert quotient / gradient == pytest.approx(1.5, rel=1e-6) and allowed < apart
    assert apart == pytest.approx(abs(quotient - gradient), rel=1e-2)
    assert issubclass(GradientError, AssertionError)


def test_verbose_prints_them_too(capsys):
    assert gradcheck(lambda x: x * x, _r(3), verbose=True, directions=2)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and all(re.fullmatch(r"numeric \S+   analytic \S+", line) for line in lines)


# ---- what f must be -------------------------------------------------------------------------------------------------------

def test_float32_is_refused():
    """In float32 the quotient keeps one or two digits: a check there would need a tolerance that lets mistakes through."""
    with pytest.raises(TypeError, match="gradcheck needs float64, argument 1 is float32"):
        gradcheck(lambda a, b: a, _r(2), _r(2).astype(np.float32))
    with pytest.raises(TypeError, match="parameter 0 is float32"):
        layer = tc.nn.Linear(3, 2, rng=0)
        gradcheck(layer, _r(1, 3), parameters=layer.parameters())


def test_a_function_with_dice_is_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="different values on the same input.*fix its generator"):
        gradcheck(lambda x: F.dropout(x, 0.5, True, rng), _r(50))
    assert gradcheck(lambda x: F.dropout(x, 0.5, True, np.random.default_rng(0)), _r(50))


def test_a_function_with_memory_is_refused():
    calls = []

    def f(x):
        calls.append(x)
        return x * len(calls)

    with pytest.raises(ValueError, match="different values on the same input"):
        gradcheck(f, _r(3))


def test_a_change_in_place_is_caught(wrong):
    """Of an argument, of a parameter, and on the way back."""
    def spoil(x, y):
        y.data[0] = 7
        return x * 2 + y

    with pytest.raises(ValueError, match="changed argument 1 in place"):
        gradcheck(spoil, _r(3), _r(3))
    p = tc.nn.Parameter(_r(3))
    with pytest.raises(ValueError, match="changed parameter 0 in place"):
        gradcheck(lambda x: spoil(x, p), _r(3), parameters=[p])

    def vjp(x, dy):
        x *= 2
        return (x * dy,)

    with pytest.raises(ValueError, match="or its gradient, changed argument 0 in place"):
        gradcheck(wrong(lambda x: (x * x, x), vjp), _r(3))


def test_leaving_the_tape_is_caught():
    """A stray `.data`: where nothing else is on the tape it is named, where something is the numbers differ."""
    with pytest.raises(ValueError, match="does not depend on its input as far as the tape can see"):
        gradcheck(lambda x: tc.Tensor(x.data * 2), _r(3))
    with pytest.raises(GradientError):
        gradcheck(lambda x: x * x.data, _r(3))
    with pytest.raises(TypeError, match="f must return a Tensor or a tuple of them, not ndarray"):
        gradcheck(lambda x: x.data, _r(3))


def test_parameters_are_checked_and_left_as_they_were(wrong):
    """A generator of parameters is read once and not lost; data (the very array) and gradients return, after an error too."""
    layer = tc.nn.Linear(3, 2, rng=0).to(np.float64)
    arrays, layer.bias.grad = [p.data for p in layer.parameters()], np.ones(2)
    assert gradcheck(layer, _r(4, 3), parameters=layer.parameters())
    f = wrong(lambda x, w: (x @ w.T, (x, w)), lambda s, dy: (dy @ s[1], 2 * dy.T @ s[0]))
    with pytest.raises(GradientError):
        gradcheck(lambda x: f(x, layer.weight), _r(4, 3), parameters=(p for p in [layer.weight]))
    assert all(p.data is a for p, a in zip(layer.parameters(), arrays))
    assert layer.weight.grad is None and layer.bias.grad.tolist() == [1, 1]


def test_several_outputs_and_integer_arguments():
    """Every output gets a cotangent of its own; integers pass through."""
    assert gradcheck(lambda x: F.split(x * x, [1, 2]), _r(2, 3))
    assert gradcheck(lambda x, y: F.cross_entropy(x, y), _r(4, 3), np.array([0, 1, 2, 1]))
    with pytest.raises(GradientError):
        gradcheck(lambda x: (x * x, x * x.data), _r(3))


def test_ones_as_cotangent_would_let_a_transposed_gradient_pass(wrong):
    """Why the cotangent is random: with dy of ones the shifted dw below is exactly right, with a random one it is caught."""
    f = wrong(lambda x: (x * 2, None), lambda s, dy: (2 * np.roll(dy, 1),))
    x = tc.Tensor(_r(5), requires_grad=True)
    f(x).sum().backward()
    assert x.grad.tolist() == [2] * 5
    with pytest.raises(GradientError):
        gradcheck(f, x.data)
