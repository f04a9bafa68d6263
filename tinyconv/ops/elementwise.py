"""Operations number by number. Each entry is the function and its derivative, side by side, as in a table of calculus.

`unary(name, y, dy_dx, …)`: y(x) and its derivative, written with x and y at hand. `binary`: y(a, b) with both partial
derivatives; where NumPy stretched an argument over axes (broadcasting), its gradient is summed over them again, in
`unbroadcast`, the one place that does so.
"""
import numpy as np

from .. import kernels
from .reduce import total
from .table import Counts, register, same_shape, size


def unbroadcast(dy, shape):
    """Sum dy over the axes along which an array of `shape` was stretched to dy's shape: the transpose of broadcasting."""
    if dy.shape == tuple(shape):
        return dy
    dy = total(dy, tuple(range(dy.ndim - len(shape))))
    stretched = tuple(axis for axis, length in enumerate(shape) if length == 1 and dy.shape[axis] != 1)
    return total(dy, stretched, keepdims=True).reshape(shape)


def broadcast_shape(a, b, **attributes):
    """The common shape of two shapes, numbers (None) included. Errors: ValueError naming both."""
    try:
        return np.broadcast_shapes(a or (), b or ())
    except ValueError:
        raise ValueError(f"shapes {a} and {b} do not fit together: each axis must be equal or 1") from None


def _one_type(name, a, b):
    """Refuse arrays whose result NumPy would widen to a third type: float32 with int64 becomes float64, unasked."""
    kinds = [v.dtype for v in (a, b) if isinstance(v, np.ndarray)]
    if len(kinds) == 2 and np.result_type(*kinds) not in kinds:
        raise TypeError(f"{name}: {kinds[0]} with {kinds[1]} would become {np.result_type(*kinds)}; convert one side first")


def binary(name, function, partial_a, partial_b, **kinds):
    """Register y = function(a, b); the partials take (a, b, y, dy) and give the gradient before un-broadcasting."""
    def forward(a, b):
        broadcast_shape(np.shape(a), np.shape(b))
        _one_type(name, a, b)
        y = function(a, b)
        return y, (a, b, y)

    def vjp(saved, dy):
        a, b, y = saved
        return (None if np.isscalar(a) else lambda: unbroadcast(partial_a(a, b, y, dy), np.shape(a)),
                None if np.isscalar(b) else lambda: unbroadcast(partial_b(a, b, y, dy), np.shape(b)))

    def counts(shapes, output, **attributes):
        return Counts(**{kind: each * size(output) for kind, each in kinds.items()})

    register(name, forward, vjp, broadcast_shape, counts)


def unary(name, function, derivative, **kinds):
    """Register y = function(x, **attributes); `derivative(x, y, dy, **attributes)` gives dL/dx."""
    def forward(x, **attributes):
        y = function(x, **attributes)
        return y, (x, y, attributes)

    def vjp(saved, dy):
        x, y, attributes = saved
        return (lambda: derivative(x, y, dy, **attributes),)

    def counts(shapes, output, **attributes):
        return Counts(**{kind: each * size(output) for kind, each in kinds.items()})

    register(name, forward, vjp, same_shape, counts)


def power(x, exponent):
    """x^exponent for one exponent, a Python number: a tensor as exponent would be an input, not an attribute."""
    if not isinstance(exponent, (int, float)):
        raise TypeError(f"exponent must be a number, not {type(exponent).__name__}")
    return x ** exponent


def sigmoid(x):
    """1 / (1 + e^-x) without overflow: the exponential is only ever taken of -|x|."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def hardsigmoid(x):
    """min(max(x + 3, 0), 6) / 6: sigmoid's piecewise linear stand-in (MobileNetV3, section 5.2)."""
    return np.clip(x + 3, 0, 6) / 6


# arithmetic                                                       dL/da                             dL/db
binary("add", lambda a, b: a + b, lambda a, b, y, dy: dy,           lambda a, b, y, dy: dy,           additions=1)
binary("sub", lambda a, b: a - b, lambda a, b, y, dy: dy,           lambda a, b, y, dy: -dy,          additions=1)
binary("mul", lambda a, b: a * b, lambda a, b, y, dy: dy * b,       lambda a, b, y, dy: dy * a,       multiplications=1)
binary("div", lambda a, b: a / b, lambda a, b, y, dy: dy / b,       lambda a, b, y, dy: -dy * y / b,  special=1)

# functions of one number                                           dL/dx
unary("neg", lambda x: -x,                                          lambda x, y, dy: -dy, multiplications=1)
unary("abs", np.abs,                                                lambda x, y, dy: dy * np.sign(x), comparisons=1)
unary("exp", np.exp,                                                lambda x, y, dy: dy * y, special=1)
unary("log", np.log,                                                lambda x, y, dy: dy / x, special=1)
unary("sqrt", np.sqrt,                                              lambda x, y, dy: dy / (2 * y), special=1)
unary("pow", power,
      lambda x, y, dy, exponent: dy * exponent * x ** (exponent - 1) if exponent else np.zeros_like(dy), special=1)
unary("clip", lambda x, low, high: np.clip(x, low, high),
      lambda x, y, dy, low, high: dy * ((x >= low) & (x <= high)), comparisons=2)

# activations; at a corner the derivative from the left is taken, as PyTorch does (relu'(0) = 0)
unary("relu", lambda x: kernels.clip(x, 0, np.inf),                 lambda x, y, dy: kernels.clip_grad(dy, x, 0, np.inf), comparisons=1)
unary("relu6", lambda x: kernels.clip(x, 0, 6),                     lambda x, y, dy: kernels.clip_grad(dy, x, 0, 6), comparisons=2)
unary("leaky_relu", lambda x, negative_slope: np.where(x > 0, x, x * negative_slope),
      lambda x, y, dy, negative_slope: np.where(x > 0, dy, dy * negative_slope), comparisons=1, multiplications=1)
unary("sigmoid", sigmoid,                                           lambda x, y, dy: dy * y * (1 - y), special=2, additions=1)
unary("tanh", np.tanh,                                              lambda x, y, dy: dy * (1 - y * y), special=1)
unary("silu", lambda x: x * sigmoid(x),
      lambda x, y, dy: dy * (sigmoid(x) * (1 + x * (1 - sigmoid(x)))), special=2, additions=1, multiplications=1)
unary("hardsigmoid", hardsigmoid,
      lambda x, y, dy: dy * ((x > -3) & (x < 3)) / 6, comparisons=2, additions=1, multiplications=1)
unary("hardswish", lambda x: x * hardsigmoid(x),
      lambda x, y, dy: dy * np.where(x <= -3, 0, np.where(x >= 3, 1, (2 * x + 3) / 6)).astype(x.dtype),
      comparisons=2, additions=1, multiplications=2)


def _dropout(x, p, whole=False, training=False, rng=None):
    """Each number is kept with probability 1 - p and divided by it, so that the mean stays: y = x m / (1 - p).

    With `whole` one m is drawn for all numbers of a picture (stochastic depth: Huang et al. 2016).
    """
    if not 0 <= p < 1:
        raise ValueError(f"p must lie in [0, 1), not {p}")
    if not training or p == 0:
        return x, None
    if not isinstance(rng, np.random.Generator):
        raise ValueError(f"dropout in training needs rng, a numpy.random.Generator, not {type(rng).__name__}")
    shape = (len(x), *[1] * (x.ndim - 1)) if whole else x.shape
    keep = (rng.random(shape, dtype=np.float32) >= p) * x.dtype.type(1 / (1 - p))
    return x * keep, keep


register("dropout", _dropout, lambda keep, dy: (dy if keep is None else dy * keep,), same_shape,
         lambda shapes, output, **attributes: Counts(), runtime=("training", "rng"))
