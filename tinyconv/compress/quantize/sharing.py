"""Weight sharing: a layer with only K different weights, found by k-means; a code says which, a codebook what it is worth.

    least Σ_i ‖x_i - c[a_i]‖²:  a_i = the nearest centroid of x_i (the lower of two equally near),  c_k = mean of its x_i, in turn
Neither step can raise the sum, so it falls until nothing moves (Lloyd); where it ends depends on where it starts:
    "linear"     centroids spread evenly over the range: large weights, which are few and matter, get their own (Han's choice)
    "density"    quantiles: as many weights to each
    "random"     K different ones of the weights
    "kmeans++"   one after the other, far from those there are: x with probability ∝ its squared distance to the nearest
With a fixed zero one centroid is 0.0 and stays there, so that pruned weights stay pruned.
    bits = n · ceil(log2 K) + K · 32
Sources: Han et al., "Deep Compression" (2016), section 3; Arthur & Vassilvitskii, "k-means++" (2007).
"""
import numpy as np

from .._checks import finite, whole

STARTS = ("linear", "density", "random", "kmeans++")
ROWS = 1024                                                 # vectors whose distances are held at once


def _nearest(x, centroids):
    """(N,) index of the nearest centroid of each x (N,D), the first among equals; a block of rows at a time."""
    if x.shape[1] == 1:
        order = np.argsort(centroids[:, 0], kind="stable")
        line = centroids[order, 0]
        return order[np.searchsorted((line[:-1] + line[1:]) / 2, x[:, 0])]           # between two: at most the midpoint goes left
    found = [np.argmin(((block[:, None] - centroids) ** 2).sum(axis=2), axis=1)
             for block in np.array_split(x, -(-len(x) // ROWS))]
    return np.concatenate(found)


def _start(x, k, init, rng):
    """The first k centroids (k,D)."""
    if init in ("linear", "density") and x.shape[1] != 1:
        raise ValueError(f"init must be 'random' or 'kmeans++' for vectors of {x.shape[1]} numbers, not {init!r}")
    if init == "linear":
        return np.linspace(x.min(), x.max(), k)[:, None]
    if init == "density":
        return np.quantile(x[:, 0], (np.arange(k) + 0.5) / k)[:, None]
    if init == "random":
        different = np.unique(x, axis=0)
        return different[np.sort(rng.permutation(len(different))[:k])] if len(different) >= k else different
    chosen = [x[rng.integers(len(x))]]
    far = ((x - chosen[0]) ** 2).sum(axis=1)
    while len(chosen) < k and far.any():
        chosen.append(x[rng.choice(len(x), p=far / far.sum())])
        far = np.minimum(far, ((x - chosen[-1]) ** 2).sum(axis=1))
    return np.array(chosen)


def kmeans(x, k, init="kmeans++", seed=0, zero=False, iterations=300):
    """(codes (N,) uint8, centroids (K,D) float64, losses): x (N,D) in K <= k clusters; losses the sum after each assignment.

    Fewer than k different vectors give fewer centroids. A centroid that nobody chooses stays where it is. zero: centroid 0 is
    the zero vector and does not move. Ends when no code changes, or after `iterations`. Invariant: losses never rise (beyond
    float64 rounding). Cost: N K D an iteration, N log K for numbers (D = 1).
    Errors: ValueError for k outside 1…256, an unknown init, NaN, emptiness.

    >>> codes, centroids, losses = tc.compress.quantize.kmeans(np.array([[0.0], [1.0], [10.0], [12.0]]), 2)
    >>> centroids[codes].ravel(), losses[-1]
    (array([ 0.5,  0.5, 11. , 11. ]), 2.5)
    """
    x, k = finite(x, "x").astype(np.float64), whole(k, "k", 1, 256)
    if x.ndim != 2:
        raise ValueError(f"x must be vectors (N,D), not shape {x.shape}")
    if init not in STARTS:
        raise ValueError(f"init must be one of {', '.join(STARTS)}, not {init!r}")
    centroids = _start(x, k, init, np.random.default_rng(seed)).copy()
    fixed = np.zeros(len(centroids), bool)
    if zero:
        at = np.argmin((centroids ** 2).sum(axis=1))
        centroids[[0, at]] = centroids[[at, 0]]
        centroids[0], fixed[0] = 0.0, True
    codes, losses = None, []
    for _ in range(whole(iterations, "iterations", 1)):
        new = _nearest(x, centroids)
        losses.append(float(((x - centroids[new]) ** 2).sum()))
        if codes is not None and np.array_equal(new, codes):
            break
        codes = new
        count = np.bincount(codes, minlength=len(centroids))
        moving = (count > 0) & ~fixed
        for d in range(x.shape[1]):
            total = np.bincount(codes, x[:, d], len(centroids))
            centroids[moving, d] = total[moving] / count[moving]
    return codes.astype(np.uint8), centroids, losses


def share(w, k=16, init="linear", seed=0, zero=False, iterations=300):
    """(codes uint8 of w's shape, codebook (K,) float32, losses): the weight with K <= k different values; ŵ = codebook[codes].

    zero: codebook[0] is 0.0, and every weight that is 0 has the code 0. Invariants: losses never rise; the loss at the end is
    at most any assignment's to that codebook. Errors: `kmeans`'.

    >>> codes, codebook, losses = tc.compress.quantize.share(np.array([[0.0, 0.9], [1.1, -2.0]]), k=3, zero=True)
    >>> codebook[codes]
    array([[ 0.,  1.],
           [ 1., -2.]], dtype=float32)
    """
    w = finite(w, "w")
    codes, centroids, losses = kmeans(w.reshape(-1, 1), k, init, seed, zero, iterations)
    return codes.reshape(w.shape), centroids[:, 0].astype(np.float32), losses


def shared(codes, codebook):
    """ŵ = codebook[codes], in the codebook's type. Errors: ValueError for codes beyond the codebook, naming the largest.

    >>> tc.compress.quantize.shared(np.uint8([[0, 2]]), np.float32([0.0, 1.0, -2.0]))
    array([[ 0., -2.]], dtype=float32)
    """
    codes, codebook = np.asarray(codes), np.asarray(codebook)
    if codes.dtype.kind not in "iu" or codes.size and not 0 <= codes.min() <= codes.max() < len(codebook):
        raise ValueError(f"codes must be integers below {len(codebook)}, the length of the codebook, not {codes.dtype} "
                         f"up to {codes.max(initial=0)}")
    return codebook[codes]


def codebook_gradient(dw, codes, k):
    """dL/dc (k,) float64: the *sum* of the gradients of the weights that share c_k, since ∂w_i/∂c_k = 1 for each of them.

    dw and codes of one shape. With it a shared network is fine-tuned without losing the sharing (Han et al. 2016, figure 3).

    >>> tc.compress.quantize.codebook_gradient(np.array([1.0, 2.0, 4.0]), np.array([0, 1, 0]), 2)
    array([5., 2.])
    """
    dw, codes = finite(dw, "dw"), np.asarray(codes)
    if dw.shape != codes.shape or codes.dtype.kind not in "iu" or codes.min() < 0 or codes.max() >= k:
        raise ValueError(f"codes must be integers below {k}, of the shape {dw.shape} of dw, "
                         f"not {codes.dtype} of shape {codes.shape}")
    return np.bincount(codes.ravel(), dw.ravel(), k)
