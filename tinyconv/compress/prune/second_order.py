"""Second order: what a weight costs by the curvature of the loss, and how the others can make up for its loss.

At a minimum the loss rises by ½ δᵀHδ when the weights move by δ, H the Hessian. The weight w_q goes:
    OBD    alone: δ = -w_q e_q                                  rise ½ H_qq w_q²                 (LeCun et al. 1990)
    OBS    others follow: δ = -(w_q/[H⁻¹]_qq) H⁻¹ e_q           rise w_q²/(2 [H⁻¹]_qq)           (Hassibi & Stork 1993)
OBS takes the δ of least rise among all with δ_q = -w_q, so that its rise is never above OBD's. Without q, the inverse of what is
left of H is H⁻¹ - H⁻¹e_q e_qᵀH⁻¹/[H⁻¹]_qq, so weights can go one after another (Frantar & Alistarh 2022, "Optimal brain compression").

The H of a whole network is out of reach; that of one layer is not, if the loss is its output error. With X (K,N) the im2col columns
of N output pixels, K = (C/G) KH KW, a filter that moves by δ moves its outputs by δᵀX, and
    E(δ) = ‖δᵀX‖²/N = ½ δᵀHδ,      H = 2XXᵀ/N      (K,K), the same for every filter of a group
exactly, not by Taylor: on a real convolution OBS predicts the rise of the mean squared output error to rounding.

H is singular where a layer has fewer pixels than taps, or taps that always see 0. Inverted is H + d·mean(diag H)·I, d = `damping`,
the mean taken over all groups of the layer; for d > 0 what OBS predicts is then an upper bound of the rise, not the rise.
Eigenvalues of H are no scores of weights: each belongs to a direction, a mixture of all weights; they say how sensitive a layer is.
"""
import heapq

import numpy as np

from .._checks import finite, whole
from .choosing import exact_count


def layer_columns(x, geometry):
    """The im2col columns of a layer's input, a group after the other: x (N,C,H,W) -> (G, (C/G) KH KW, N OH OW) float64.

    w.reshape(G, F/G, -1) @ layer_columns(x, geometry) is the convolution of `formulas.conv2d_geometry` (without bias). Costs
    memory: KH KW OH OW/(H W) times x's numbers, in float64.

    >>> g = tc.formulas.conv2d_geometry((1, 1, 3, 3), (1, 1, 2, 2))
    >>> tc.compress.prune.layer_columns(np.arange(9.0).reshape(1, 1, 3, 3), g)[0, :, 0]
    array([0., 1., 3., 4.])
    """
    g, x = geometry, finite(x, "x").astype(np.float64)
    if x.shape != g.x_shape:
        raise ValueError(f"x must have the shape of the geometry {g.x_shape}, not {x.shape}")
    x = np.pad(x, ((0, 0), (0, 0), (g.top, g.bottom), (g.left, g.right)))
    span = (g.dh * (g.kh - 1) + 1, g.dw * (g.kw - 1) + 1)
    windows = np.lib.stride_tricks.sliding_window_view(x, span, axis=(2, 3))[:, :, ::g.sh, ::g.sw, ::g.dh, ::g.dw]
    return windows.transpose(1, 4, 5, 0, 2, 3).reshape(g.groups, -1, g.n * g.oh * g.ow)      # (N,C,OH,OW,KH,KW) -> (G,K,N OH OW)


def layer_hessian(columns):
    """H = 2XXᵀ/N of columns X (…,K,N) -> (…,K,K) float64: symmetric, never negative.

    >>> tc.compress.prune.layer_hessian(np.array([[1.0, 1.0], [0.0, 2.0]]))
    array([[2., 2.],
           [2., 4.]])
    """
    x = finite(columns, "columns").astype(np.float64)
    if x.ndim < 2:
        raise ValueError(f"columns must be (…,K,N), K taps of N pixels, not shape {x.shape}")
    return 2.0 / x.shape[-1] * (x @ x.swapaxes(-1, -2))


def _square(h, name="h"):
    h = finite(h, name).astype(np.float64)
    if h.ndim not in (2, 3) or h.shape[-1] != h.shape[-2]:
        raise ValueError(f"{name} must be (K,K), or (G,K,K) for G groups, not shape {h.shape}")
    return h if h.ndim == 3 else h[None]                                          # (G,K,K)


def _rows(w, h, name="h"):
    """The filters of w (F,…) as (G, F/G, K), and h as (G,K,K)."""
    w, given, h = finite(w, "w").astype(np.float64), np.shape(h), _square(h, name)
    if w.ndim < 2 or len(w) % len(h) or w[0].size != h.shape[-1]:
        raise ValueError(f"w {w.shape} and {name} {given} do not fit: each filter has K weights, and groups divide the filters")
    return w.reshape(len(h), -1, h.shape[-1]), h


def damped_inverse(h, damping=0.01):
    """(H + damping · mean(diag H) · I)⁻¹ of h (K,K) or (G,K,K), the mean over all groups. Symmetric float64, the shape of h.

    Errors: ValueError for a damping below 0, and for an H that is not positive definite even so.

    >>> tc.compress.prune.damped_inverse(np.diag([1.0, 4.0]), damping=0)
    array([[1.  , 0.  ],
           [0.  , 0.25]])
    """
    groups = _square(h)
    if not 0 <= damping < np.inf:
        raise ValueError(f"damping must be finite and at least 0, not {damping!r}")
    shifted = groups + damping * np.einsum("gkk->gk", groups).mean() * np.eye(groups.shape[-1])
    try:
        half = np.linalg.inv(np.linalg.cholesky(shifted))                         # (G,K,K), L⁻¹ of H = L Lᵀ
    except np.linalg.LinAlgError:
        raise ValueError(f"h is not positive definite with damping {damping}: fewer pixels than taps, or inputs that are always 0; "
                         "give more data or a larger damping") from None
    return (half.swapaxes(-1, -2) @ half).reshape(np.shape(h))


def output_errors(delta, h):
    """½ δ_fᵀ H δ_f of every filter: the mean squared change of its outputs when it moves by δ_f. delta (F,…) -> (F,) float64.

    For δ = -w the whole filter goes, no one is left to follow, and this is what the OBS of a filter comes to: the mean square of its
    output.

    >>> tc.compress.prune.output_errors(np.array([[1.0, -1.0], [0.0, 2.0]]), np.array([[2.0, 1.0], [1.0, 2.0]]))
    array([1., 4.])
    """
    rows, h = _rows(delta, h)
    return 0.5 * ((rows @ h) * rows).sum(axis=2).ravel()


def output_error(delta, h):
    """E = ½ Σ_f δ_fᵀ H δ_f, a Python float: the sum of `output_errors`."""
    return float(output_errors(delta, h).sum())


def obd_scores(w, h):
    """½ H_qq w_q² of every weight: what the output error rises if it alone goes. w (F,…), h (K,K) or (G,K,K) -> shape of w.

    >>> tc.compress.prune.obd_scores(np.array([[1.0, 3.0]]), np.array([[4.0, 0.0], [0.0, 2.0]]))
    array([[2., 9.]])
    """
    rows, h = _rows(w, h)
    return (0.5 * np.einsum("gkk->gk", h)[:, None] * rows ** 2).reshape(np.shape(w))


def obs_scores(w, inverse):
    """w_q²/(2 [H⁻¹]_qq) of every weight: what the error rises if it goes and its filter follows. -> shape of w.

    >>> h = np.array([[2.0, 1.0], [1.0, 2.0]])
    >>> tc.compress.prune.obs_scores(np.array([[1.0, 2.0]]), np.linalg.inv(h)).round(9)    # OBD: 1 and 4
    array([[0.75, 3.  ]])
    """
    rows, inverse = _rows(w, inverse, "inverse")
    return (rows ** 2 / (2 * np.einsum("gkk->gk", inverse)[:, None])).reshape(np.shape(w))


def obs_update(w, inverse, q):
    """δ = -(w_q/[H⁻¹]_qq) H⁻¹ e_q of one filter: w (K,), inverse (K,K) -> (K,); δ_q = -w_q exactly.

    >>> tc.compress.prune.obs_update(np.array([1.0, 2.0]), np.linalg.inv([[2.0, 1.0], [1.0, 2.0]]), 0).round(9)
    array([-1. ,  0.5])
    """
    w = finite(w, "w").astype(np.float64)
    if w.ndim != 1:
        raise ValueError(f"w must be one filter (K,), not shape {w.shape}")
    inverse, q = _rows(w[None], inverse, "inverse")[1][0], whole(q, "q", 0, len(w) - 1)
    delta = -w[q] / inverse[q, q] * inverse[:, q]
    delta[q] = -w[q]
    return delta


def _eliminate(w, inverse, count):
    """(w, which are left, rises) of one filter after its `count` cheapest weights went, one after another, the others following each time."""
    w, inverse, left, rises = w.copy(), inverse.copy(), np.ones(len(w), dtype=bool), []
    for _ in range(count):
        diagonal = np.where(left, inverse.diagonal(), 1.0)
        rise = np.where(left, w ** 2 / (2 * diagonal), np.inf)
        q = int(rise.argmin())                                                    # the first of equals
        rises.append(float(rise[q]))
        w += obs_update(w, inverse, q)
        inverse -= np.outer(inverse[:, q], inverse[q]) / inverse[q, q]            # H⁻¹ without q
        left[q] = False
        w[~left] = inverse[~left] = inverse[:, ~left] = 0                         # where rounding left something
    return w, left, rises


def obs_prune(w, inverse, sparsity):
    """(new w, mask, rise): the k = round(n · sparsity) weights of a layer that are cheapest one after another go, and all others move.

    Each time the weight of least w_q²/(2 [H⁻¹]_qq) in the whole layer goes, and its filter takes the step of `obs_update`; filters are
    independent of each other. w (F,…), inverse (K,K) or (G,K,K), of `damped_inverse`. The new w has w's dtype. Invariants: exactly k
    zeros in the mask; `rise` (the sum of all steps) = ½ Σ δᵀHδ with that H; and the weights left are the best for their places (least
    squares). Cost: about 2K² multiplications a step, F min(k, K) steps at most, twice.
    """
    rows, groups = _rows(w, inverse, "inverse")
    k, size = exact_count(rows.size, sparsity), rows.shape[-1]
    filters = [(row, groups[i]) for i, group in enumerate(rows) for row in group]
    rises = [_eliminate(row, h, min(k, size))[2] for row, h in filters]
    counts, rise, heap = [0] * len(filters), 0.0, [(r[0], f) for f, r in enumerate(rises) if r]
    heapq.heapify(heap)
    for _ in range(k):                                                            # the filter whose next step is the cheapest
        cost, f = heapq.heappop(heap)
        counts[f], rise = counts[f] + 1, rise + cost
        if counts[f] < len(rises[f]):
            heapq.heappush(heap, (rises[f][counts[f]], f))
    done = [_eliminate(row, h, n) for (row, h), n in zip(filters, counts)]
    new, mask = (np.stack([parts[i] for parts in done]).reshape(np.shape(w)) for i in (0, 1))
    return new.astype(finite(w, "w").dtype), mask, rise
