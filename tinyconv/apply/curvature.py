"""How steep a loss gets around a weight: the largest eigenvalue of its Hessian, without ever writing the Hessian down.

    H v ≈ (∇L(w + ε v) - ∇L(w - ε v)) / 2ε             two gradients; the error is of order ε² (third derivatives)
    v <- H v / ‖H v‖,    λ = vᵀ H v                    power iteration: v turns to the eigenvector of largest |λ|
A layer whose λ is large stands on a steep slope: the loss rises by up to λ ‖δ‖²/2 for a change δ of its weight, at a minimum.
That is a measure of a *layer*; the eigenvalues are not the saliencies of single weights.
Sources: Dong et al., "HAWQ" (2019), section 3; power iteration as in Golub & Van Loan, "Matrix computations", section 8.2.
"""
import numpy as np

from .. import functional as F
from .. import train
from ..graph import run
from ..tensor import Tensor
from ._checks import check_graph


def hessian_times(gradient, w, v, step=1e-3):
    """H v by central differences: gradient(w) -> ∇L(w) of w's shape; ‖step · v‖ is the distance gone to either side.

    >>> H = np.array([[2.0, 1.0], [1.0, 3.0]])
    >>> tc.apply.hessian_times(lambda w: H @ w, np.ones(2), np.array([1.0, 0.0])).round(9)
    array([2., 1.])
    """
    move = (step * v).astype(w.dtype)
    return (gradient(w + move).astype(np.float64) - gradient(w - move)) / (2 * step)


def top_eigenvalue(gradient, w, iterations=20, step=None, seed=0):
    """(λ, v): the eigenvalue of largest size of the Hessian at w, with its sign, and its vector of length 1, in w's shape.

    step: how far to go for a difference (a hundredth of ‖w‖ if None). Cost: two gradients an iteration; the error falls as
    (λ_2/λ_1)^(2·iterations). Errors: ValueError for fewer than one iteration, or a gradient that is not finite.

    >>> H = np.diag([1.0, -5.0, 2.0])
    >>> round(tc.apply.top_eigenvalue(lambda w: H @ w, np.ones(3))[0], 6)
    -5.0
    """
    if iterations < 1:
        raise ValueError(f"iterations must be at least 1, not {iterations!r}")
    step = 0.01 * max(float(np.linalg.norm(w)), 1e-6) if step is None else step
    v = np.random.default_rng(seed).standard_normal(w.shape)
    v /= np.linalg.norm(v)
    for _ in range(iterations):
        product = hessian_times(gradient, w, v, step)
        if not np.isfinite(product).all():
            raise ValueError("gradient must be finite around w; it is not")
        value, size = float((v * product).sum()), float(np.linalg.norm(product))
        if size == 0:                                                             # flat: H v = 0
            return 0.0, v
        v, before = product / size, v
    return value, before


def layer_gradient(g, images, labels, name):
    """The function w -> ∇L(w): cross-entropy of the Graph on these pictures, in evaluation mode, parameter `name` being w."""
    check_graph(g)
    x, labels = train.as_batch(np.asarray(images)).astype(g.array(name).dtype), np.asarray(labels)

    def gradient(w):
        given = Tensor(np.ascontiguousarray(w), requires_grad=True)
        F.cross_entropy(run(g, Tensor(x), values={name: given}), labels).backward()
        return given.grad
    return gradient
