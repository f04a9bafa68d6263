"""How much is one weight worth? Scores of single weights, an entry a weight; the smallest go.

    order   score             asks for                 source
    zeroth  |w|               the weight alone         Han et al. 2015
    first   |∂L/∂w|           a gradient               how fast the loss moves if the weight does
            |w ∂L/∂w|         a gradient               Taylor: L(0) - L(w) ≈ -w ∂L/∂w, how far it moves if the weight goes
            -Σ_t w_t g_t      a gradient every step    movement: training drives it away from 0 (Sanh et al. 2020)
The second order has a page of its own (`second_order`). What the score of a weight must not be is ∂L/∂w with its sign: at a minimum
it scatters around 0, and "the smallest" are then those with the largest effect of one sign.

Shapes: w and g alike, any; scores have the same shape, in float64.
"""
import numpy as np

from .._checks import finite, whole
from .choosing import generator, mask_smallest_of_all


def magnitude(w, sparsity):
    """Mask that drops the k = round(n · sparsity) weights of least |w|, anywhere in the array.

    |w| is the saliency of zeroth order: it asks for no data and no gradient (Han et al. 2015). w any shape -> mask of that
    shape, True = kept. Invariant: exactly k entries are False, and no dropped |w| exceeds a kept one.

    >>> tc.compress.prune.magnitude(np.array([[0.5, -0.1], [0.2, -2.0]]), 0.5)
    array([[ True, False],
           [False,  True]])
    """
    return global_magnitude([w], sparsity)[0]


def global_magnitude(weights, sparsity):
    """Masks over several arrays at once: the k = round(n_total · sparsity) weights of least |w| among them all.

    The layers compete, so those with small weights lose more: local (`magnitude` a layer) gives every layer the same
    sparsity instead. Ties go by the order of the arrays, then by index. list of arrays -> list of masks.

    >>> [m.tolist() for m in tc.compress.prune.global_magnitude([np.array([1.0, 2.0]), np.array([0.1, 0.2])], 0.5)]
    [[True, True], [False, False]]
    """
    weights = [finite(w, f"weights[{i}]") for i, w in enumerate(weights)]
    if not weights:
        raise ValueError("weights must hold at least one array, not be an empty list")
    return mask_smallest_of_all([np.abs(w) for w in weights], sparsity)


def gradient_scores(g):
    """|∂L/∂w|: how fast the loss moves with the weight. g any shape -> the same shape.

    >>> tc.compress.prune.gradient_scores(np.array([-3.0, 0.5]))
    array([3. , 0.5])
    """
    return np.abs(finite(g, "g").astype(np.float64))


def with_gradient(w, g):
    """w and g as float64, of one shape. Errors: ValueError if they differ, or are not finite."""
    w, g = finite(w, "w").astype(np.float64), finite(g, "g").astype(np.float64)
    if w.shape != g.shape:
        raise ValueError(f"g must be a gradient of the shape of w {w.shape}, not {g.shape}")
    return w, g


def taylor_scores(w, g):
    """|w ∂L/∂w|: by Taylor, how much the loss changes if the weight becomes 0; exact for a loss linear in w. -> the same shape.

    >>> tc.compress.prune.taylor_scores(np.array([2.0, -1.0]), np.array([0.5, 3.0]))
    array([1., 3.])
    """
    w, g = with_gradient(w, g)
    return np.abs(w * g)


def movement_scores(w, g):
    """-w ∂L/∂w, one step's share of movement: positive where the step -g takes the weight away from 0. -> the same shape.

    The score of a weight is the sum over the steps of training (Sanh et al. 2020, section 3); its sign counts: a large weight
    on its way to 0 scores low, a small one that grows scores high.

    >>> tc.compress.prune.movement_scores(np.array([2.0, 2.0]), np.array([0.5, -0.5]))
    array([-1.,  1.])
    """
    w, g = with_gradient(w, g)
    return -w * g


def lamp_scores(w):
    """LAMP: w_u² / Σ_{v >= u} w_v², weights in ascending order of |w|, equal ones by index. -> the same shape, in [0, 1].

    The share that a weight has in what is left of its layer when all smaller ones are gone. Within a layer the order is that of
    |w|; among layers it is a fair one: every layer's largest weight scores 1, so that a global ranking never empties a layer
    before all others are down to one weight. All zeros score 0. Source: Lee et al., "Layer-adaptive sparsity for the
    magnitude-based pruning" (2021).

    >>> tc.compress.prune.lamp_scores(np.array([1.0, -3.0, 2.0])).round(4)
    array([0.0714, 1.    , 0.3077])
    """
    squares = np.square(finite(w, "w").astype(np.float64)).ravel()
    order = np.argsort(squares, kind="stable")
    rest = np.cumsum(squares[order][::-1])[::-1]                                  # (n,) Σ over this one and all larger ones
    scores = np.zeros_like(squares)
    scores[order] = np.divide(squares[order], rest, out=np.zeros_like(rest), where=rest > 0)
    return scores.reshape(np.shape(w))


def random_weight_scores(w, seed):
    """The control: uniform random scores in [0, 1), one a weight. `seed` is an integer or a numpy Generator. -> the same shape."""
    return generator(seed).random(finite(w, "w").shape)


def n_of_m(w, n, m):
    """N:M sparsity: of every M consecutive input channels keep the N weights of largest |w|. (F,C/G,KH,KW) or (F,C) -> mask.

    Each filter and each tap has blocks of its own, along axis 1; what is left behind the last whole block is a block too, of
    which min(N, its length) stay: as if zeros filled it up. Among equal ones the lower index goes first, as everywhere. Kept:
    exactly F KH KW (N ⌊C/M⌋ + min(N, C mod M)). Hardware reads 2:4; for it M must divide C.
    Errors: ValueError unless 1 <= N <= M and C/G >= M (a depthwise layer, C/G = 1, has no blocks: it must not be skipped unseen).

    >>> tc.compress.prune.n_of_m(np.array([[1.0, -4.0, 2.0, 3.0, 5.0, 0.0, 0.0, 6.0]]), 2, 4)
    array([[False,  True, False,  True,  True, False, False,  True]])
    """
    w = finite(w, "w")
    m = whole(m, "m", 1)
    n = whole(n, "n", 1, m)
    if w.ndim not in (2, 4) or w.shape[1] < m:
        raise ValueError(f"w must be (F,C/G,KH,KW) or (F,C) with at least m = {m} input channels a filter, not shape {w.shape}")
    mask = np.empty(w.shape, dtype=bool)
    for first in range(0, w.shape[1], m):
        block = np.abs(w[:, first:first + m])                                     # (F, M or what is left, …)
        goes = max(0, block.shape[1] - n)
        rank = np.argsort(np.argsort(block, axis=1, kind="stable"), axis=1)       # 0: the smallest, the lower index before
        mask[:, first:first + m] = rank >= goes
    return mask
