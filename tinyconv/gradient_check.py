"""gradcheck: is the gradient the derivative? One random direction, one random cotangent, two numbers that must agree.

    f: R^n -> R^m,  v a random direction,  u a random cotangent:      u · (f(x + εv) - f(x - εv)) / 2ε   =   (J^T u) · v

The left side needs two forward passes whatever the size, the right side is one backward pass. A random u sees a transposed
or shifted gradient that a cotangent of ones would pass. Everything in float64: at ε = 1e-5 the central difference is then good
to about ten digits, where in float32 it has one or two. Source: the method of HIPS autograd's test_util, after
Griewank & Walther (2008), section 3.

How far apart may the two numbers be? With g = J^T u, the gradient:

    allowed = rtol · max(|left|, |right|, ‖g ∘ v‖)  +  2^-50 Σ|u y| / ε  +  atol · |u| |v|

‖g ∘ v‖ is the size that the sum g · v usually has: where it happens to come out near 0, no more digits are asked. The
second term is the rounding of y (8 units in its last place), blown up by 1/ε; the third is for the error of the central
difference, ε²/6 times a third derivative, where the first one is 0. So functions of size 1e-6 and of size 1e9 are both
checked to six digits or so.
"""
import numpy as np

from .tensor import Tensor, no_grad


class GradientError(AssertionError):
    """The gradient and the difference quotient disagree; the message prints both."""


def gradcheck(f, *arrays, eps=1e-5, rtol=1e-6, atol=1e-9, seed=0, parameters=(), directions=2, verbose=False):
    """Compare the gradient of `f` with central differences along random directions; True if they agree (formulas: see above).

    f takes Tensors of `arrays` (float64; integer arrays pass through without gradient) and returns a Tensor or a tuple.
    `parameters` are further Tensors inside f, checked along with the inputs; their data and gradients stay as they were.
    Cost: `directions` times two forward passes and one forward with backward. Errors: GradientError printing both numbers;
    TypeError for float32; ValueError if f is not a function of its inputs alone (two calls differ), changes them in place, or
    leaves the tape.

    >>> tc.gradcheck(lambda x: (x * x).sum(), np.array([1.0, -2.0]))
    True
    """
    arrays, parameters = [np.asarray(a) for a in arrays], list(parameters)
    for name, a in (*((f"argument {i}", a) for i, a in enumerate(arrays)),
                    *((f"parameter {i}", p.data) for i, p in enumerate(parameters))):
        if a.dtype.kind == "f" and a.dtype != np.float64:
            raise TypeError(f"gradcheck needs float64, {name} is {a.dtype}: float32 leaves one or two digits of the quotient")
    rng = np.random.default_rng(seed)
    held = [(p.data, p.grad) for p in parameters]
    values = [*arrays, *(p.data.copy() for p in parameters)]
    try:
        _check_pure(f, arrays, parameters, values)
        for _ in range(directions):
            _check_direction(f, arrays, parameters, values, rng, eps, rtol, atol, verbose)
            for p, (data, _) in zip(parameters, held):
                p.data = data
    finally:
        for p, (data, grad) in zip(parameters, held):
            p.data, p.grad = data, grad
    return True


def _outputs(f, arrays, track):
    """f on fresh tensors: these, and its floating-point results."""
    tensors = [Tensor(np.array(a), requires_grad=track and a.dtype.kind == "f") for a in arrays]
    y = f(*tensors)
    y = y if isinstance(y, tuple) else (y,)
    if not all(isinstance(t, Tensor) for t in y):
        raise TypeError(f"f must return a Tensor or a tuple of them, not {', '.join(type(t).__name__ for t in y)}")
    return tensors, [t for t in y if t.dtype.kind == "f"]


def _check_direction(f, arrays, parameters, values, rng, eps, rtol, atol, verbose):
    """One random u, one random v, two numbers."""
    for p in parameters:
        p.grad = None
    tensors, ys = _outputs(f, arrays, True)
    moving = [t for t in (*tensors, *parameters) if t.dtype.kind == "f"]
    u = [rng.standard_normal(y.shape) for y in ys]
    v = [rng.standard_normal(t.shape) for t in moving]
    _backward(ys, u)
    _check_unchanged(tensors, parameters, values)
    terms = np.concatenate([np.zeros(1), *((t.grad * d).ravel() for t, d in zip(moving, v) if t.grad is not None)])     # g ∘ v
    analytic = float(terms.sum())
    numeric = (_along(f, arrays, parameters, values, v, u, eps) - _along(f, arrays, parameters, values, v, u, -eps)) / (2 * eps)
    rounding = 2.0 ** -50 * sum(float(np.abs(y.data * c).sum()) for y, c in zip(ys, u)) / eps
    lengths = float(np.sqrt(sum((a * a).sum() for a in u) * sum((a * a).sum() for a in v)))
    allowed = rtol * max(abs(numeric), abs(analytic), float(np.sqrt((terms * terms).sum()))) + rounding + atol * lengths
    if verbose:
        print(f"numeric {numeric:.12g}   analytic {analytic:.12g}")
    if not abs(numeric - analytic) <= allowed:
        raise GradientError(f"difference quotient {numeric:.12g}, gradient {analytic:.12g}, "
                            f"apart by {abs(numeric - analytic):.3g} (allowed {allowed:.3g})")


def _check_pure(f, arrays, parameters, values):
    """f must give the same twice and leave its input alone; else the difference quotient means nothing."""
    tensors, ys = _outputs(f, arrays, True)
    _check_unchanged(tensors, parameters, values)
    with no_grad():
        again = _outputs(f, arrays, False)[1]
    if len(ys) != len(again) or any(not np.array_equal(a.data, b.data, equal_nan=True) for a, b in zip(ys, again)):
        raise ValueError("f gives different values on the same input (a random number inside?): fix its generator")


def _check_unchanged(tensors, parameters, values):
    for position, (t, value) in enumerate(zip((*tensors, *parameters), values)):
        if not np.array_equal(t.data, value, equal_nan=value.dtype.kind == "f"):
            what = f"argument {position}" if position < len(tensors) else f"parameter {position - len(tensors)}"
            raise ValueError(f"f, or its gradient, changed {what} in place")


def _backward(ys, u):
    """Backward of Σ u·y through every output that is on the tape."""
    total = None
    for y, cotangent in zip(ys, u):
        if y.requires_grad:
            part = (y * cotangent).sum()
            total = part if total is None else total + part
    if total is None:
        raise ValueError("f's result does not depend on its input as far as the tape can see")
    total.backward()


def _along(f, arrays, parameters, values, v, u, step):
    """u · f(x + step·v)."""
    directions = iter(v)
    moved = [a + step * next(directions) if a.dtype.kind == "f" else a for a in arrays]
    for p, value in zip(parameters, values[len(arrays):]):
        p.data = value + step * next(directions)
    with no_grad():
        return sum(float(np.sum(y.data * c)) for y, c in zip(_outputs(f, moved, False)[1], u))
