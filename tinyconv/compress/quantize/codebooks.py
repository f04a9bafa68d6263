"""Vector and product quantization: not single weights but short pieces of them come from a codebook.

Vector: the N weights, d consecutive ones at a time, are N/d vectors; k-means finds M of them:
    bits = (N/d) · ceil(log2 M) + M · d · 32          M = 256, d = 4: 2 bits a weight and the codebook
Product: the columns of W (F,C) are cut into P parts of C/P; each part has a codebook of its own, so that a row is one of M^P
combinations:
    bits = F · P · ceil(log2 M) + M · C · 32
For a 3×3 convolution d = 9 takes whole filter planes. One code a vector is one look-up: what a product costs is another matter.
Sources: Gong et al., "Compressing deep convolutional networks using vector quantization" (2014); Stock et al., "And the bit goes
down" (2020).
"""
import numpy as np

from .._checks import finite, whole
from .sharing import kmeans


def vector_bits(n, d, m, codebook_bits=32):
    """(N/d) ceil(log2 M) + M d · codebook_bits, for n = N weights.

    >>> tc.compress.quantize.vector_bits(1152, 9, 16)
    5120
    """
    n, d, m = whole(n, "n", 1), whole(d, "d", 1), whole(m, "m", 1)
    if n % d:
        raise ValueError(f"d must divide the {n} weights, not {d}")
    return n // d * (m - 1).bit_length() + m * d * whole(codebook_bits, "codebook_bits", 1)


def vectors(w, d, m=256, init="kmeans++", seed=0, iterations=100):
    """(codes (N/d,) uint8, codebook (M,d) float32, losses) of a weight of any shape, N numbers in memory order.

    d must divide N. Invariants: losses never rise; m = N/d different vectors are kept as they are. Errors: `kmeans`', and
    ValueError for d.

    >>> codes, codebook, _ = tc.compress.quantize.vectors(np.array([[1.0, 2.0, 1.0, 2.0], [5.0, 5.0, 5.0, 5.0]]), d=2, m=2)
    >>> tc.compress.quantize.from_vectors(codes, codebook, (2, 4)).tolist()
    [[1.0, 2.0, 1.0, 2.0], [5.0, 5.0, 5.0, 5.0]]
    """
    w, d = finite(w, "w"), whole(d, "d", 1)
    if w.size % d:
        raise ValueError(f"d must divide the {w.size} weights of shape {w.shape}, not {d}")
    codes, centroids, losses = kmeans(w.reshape(-1, d), m, init, seed, iterations=iterations)
    return codes, centroids.astype(np.float32), losses


def from_vectors(codes, codebook, shape):
    """ŵ of `vectors`, in the weight's shape, float32."""
    return np.asarray(codebook)[codes].reshape(shape)


def product_bits(f, c, parts, m, codebook_bits=32):
    """F P ceil(log2 M) + M C · codebook_bits, for a matrix (F,C) in P = parts.

    >>> tc.compress.quantize.product_bits(100, 64, 8, 16)
    35968
    """
    f, c, parts, m = whole(f, "f", 1), whole(c, "c", 1), whole(parts, "parts", 1), whole(m, "m", 1)
    if c % parts:
        raise ValueError(f"parts must divide the {c} columns, not {parts}")
    return f * parts * (m - 1).bit_length() + m * c * whole(codebook_bits, "codebook_bits", 1)


def products(w, parts, m=16, init="kmeans++", seed=0, iterations=100):
    """(codes (F,P) uint8, codebooks: P arrays (M,C/P) float32, losses of each part): a weight (F,…) as F rows in P parts.

    Invariant: Σ(w - ŵ)² is the sum of the parts' losses (up to float32). Errors: ValueError unless `parts` divides the row.

    >>> codes, books, _ = tc.compress.quantize.products(np.eye(4), parts=2, m=3)
    >>> tc.compress.quantize.from_products(codes, books, (4, 4)).tolist() == np.eye(4).tolist()
    True
    """
    w, parts = finite(w, "w"), whole(parts, "parts", 1)
    if w.ndim < 2 or w[0].size % parts:
        raise ValueError(f"w must be (F,…) with a row that parts divides, not shape {w.shape} in {parts} parts")
    found = [kmeans(block, m, init, seed, iterations=iterations) for block in np.split(w.reshape(len(w), -1), parts, axis=1)]
    codes, centroids, losses = zip(*found)
    return np.stack(codes, axis=1), [c.astype(np.float32) for c in centroids], list(losses)


def from_products(codes, codebooks, shape):
    """ŵ of `products`, in the weight's shape, float32."""
    return np.concatenate([book[column] for book, column in zip(codebooks, np.asarray(codes).T)], axis=1).reshape(shape)
