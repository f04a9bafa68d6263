"""gradcheck: is the gradient the derivative? One random direction, one random cotangent, two numbers that must agree.

    f: R^n -> R^m,  v a random direction,  u a random cotangent:      u · (f(x + εv) - f(x - εv)) / 2ε   =   (J^T u) · v

The left side needs two forward passes whatever the size, the right side is one backward pass. A random u sees a transposed
or shifted gradient that a cotangent of ones would pass. Everything in float64: at ε = 1e-5 the central difference is then good
to about ten digits, where in float32 it has one or two. Source: the method of HIPS autograd's test_util, after
Griewank & Walther (2008), section 3.
"""
import numpy as np

from .tensor import Tensor


class GradientError(AssertionError):
    """The gradient and the difference quotient disagree; the message prints both."""


def _outputs(f, arrays, track):
    tensors = [Tensor(np.array(a), requires_grad=track and a.dtype.kind == "f") for a in arrays]
    y = f(*tensors)
    return tensors, [t for t in (y if isinstance(y, tuple) else (y,)) if t.dtype.kind == "f"]


def gradcheck(f, *arrays, eps=1e-5, rtol=1e-6, atol=1e-8, seed=0, parameters=(), directions=2, verbose=False):
    """Compare the gradient of `f` with central differences along random directions; True if they agree.

    f takes Tensors of `arrays` (float64; integer arrays pass through without gradient) and returns a Tensor or a tuple.
    `parameters` are further Tensors inside f, checked along with the inputs. Agreement: |numeric - analytic| <= atol·|u||v| +
    rtol·max(|numeric|, |analytic|). Errors: GradientError printing both numbers; TypeError for float32 input; ValueError if f
    is not a function of its inputs alone (two calls differ) or changes its input in place.

    >>> tc.gradcheck(lambda x: (x * x).sum(), np.array([1.0, -2.0]))
    True
    """
    arrays = [np.asarray(a) for a in arrays]
    for position, a in enumerate(arrays):
        if a.dtype.kind == "f" and a.dtype != np.float64:
            raise TypeError(f"gradcheck needs float64, argument {position} is {a.dtype}: float32 leaves one or two digits of the quotient")
    rng = np.random.default_rng(seed)
    saved = [p.data for p in parameters]
    tensors, ys = _outputs(f, arrays, True)
    _check_pure(f, arrays, tensors, ys)
    moving = [t for t in tensors if t.requires_grad] + list(parameters)
    try:
        for _ in range(directions):
            for p in parameters:
                p.grad = None
            tensors, ys = _outputs(f, arrays, True)
            moving = [t for t in tensors if t.requires_grad] + list(parameters)
            u = [rng.standard_normal(y.shape) for y in ys]
            v = [rng.standard_normal(t.shape) for t in moving]
            _backward(ys, u)
            analytic = sum(float(np.sum(t.grad * d)) for t, d in zip(moving, v) if t.grad is not None)
            numeric = (_along(f, arrays, parameters, saved, v, u, eps) - _along(f, arrays, parameters, saved, v, u, -eps)) / (2 * eps)
            scale = float(np.sqrt(sum((a * a).sum() for a in u) * sum((a * a).sum() for a in v)))
            if verbose:
                print(f"numeric {numeric:.12g}   analytic {analytic:.12g}")
            if not abs(numeric - analytic) <= atol * scale + rtol * max(abs(numeric), abs(analytic)):
                raise GradientError(f"difference quotient {numeric:.12g}, gradient {analytic:.12g}, apart by {abs(numeric - analytic):.3g} "
                                    f"(allowed {atol * scale + rtol * max(abs(numeric), abs(analytic)):.3g})")
    finally:
        for p, data in zip(parameters, saved):
            p.data = data
    return True


def _check_pure(f, arrays, tensors, ys):
    """f must give the same twice and leave its input alone; else the difference quotient means nothing."""
    for position, (a, t) in enumerate(zip(arrays, tensors)):
        if not np.array_equal(a, t.data, equal_nan=a.dtype.kind == "f"):
            raise ValueError(f"f changed its argument {position} in place")
    again = _outputs(f, arrays, False)[1]
    if any(not np.array_equal(a.data, b.data, equal_nan=True) for a, b in zip(ys, again)):
        raise ValueError("f gives different values on the same input (a random number inside?): fix its generator")


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


def _along(f, arrays, parameters, saved, v, u, step):
    """u · f(x + step·v)."""
    directions = iter(v)
    moved = [a + step * next(directions) if a.dtype.kind == "f" else a for a in arrays]
    for p, data in zip(parameters, saved):
        p.data = data + step * next(directions)
    return sum(float(np.sum(y.data * c)) for y, c in zip(_outputs(f, moved, False)[1], u))
