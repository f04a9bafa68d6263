"""A scale for every few weights: between one scale a filter and one a weight.

The K = C/G KH KW weights of a filter, in memory order, are cut into pieces of `group` consecutive ones (the last may be shorter);
each piece has its own S (and Z, if affine). At 4 bits an outlier then coarsens `group` weights, not a filter.
    bits a weight = bits + 32/group          with float32 scales; + 8/group more with a zero point of a byte
"""
import numpy as np

from .._checks import finite, whole
from .codes import affine, code_range, dequantize, quantize, symmetric


def _pieces(w, group):
    """(F, …) -> (F · pieces, group), filled up with zeros, which every range contains and every piece has a code for."""
    flat = w.reshape(len(w), -1)
    return np.pad(flat, ((0, 0), (0, -flat.shape[1] % group))).reshape(-1, group)


def _joined(pieces, shape):
    """The inverse of `_pieces`."""
    return pieces.reshape(shape[0], -1)[:, :int(np.prod(shape[1:]))].reshape(shape)


def quantize_groups(w, bits=4, group=32, is_symmetric=True):
    """(codes int8 of w's shape, scale (F,P) float32, zero_point (F,P) int32), P = ceil(K/group) pieces a filter.

    w (F,…) with K weights a filter. Symmetric: Z = 0, codes in [-(2^(bits-1)-1), 2^(bits-1)-1]; else affine, each piece's range
    with 0. Invariants: |w - ŵ| <= S/2 of the weight's own piece, 0 exact. Errors: ValueError for group < 1, bits, NaN, emptiness.

    >>> q, s, z = tc.compress.quantize.quantize_groups(np.array([[7.0, -1.0, 0.5, 0.7]]), bits=4, group=2)
    >>> q, s.tolist() == np.float32([[1.0, 0.1]]).tolist()
    (array([[ 7, -1,  5,  7]], dtype=int8), True)
    """
    w, group = finite(w, "w"), whole(group, "group", 1)
    if w.ndim < 2:
        raise ValueError(f"w must be (F,…) with filters first, not shape {w.shape}")
    pieces = _pieces(w, group)
    if is_symmetric:
        scale, zero = symmetric(np.abs(pieces).max(axis=1), bits), np.zeros(len(pieces), np.int32)
    else:
        scale, zero = affine(pieces.min(axis=1), pieces.max(axis=1), bits)
    codes = quantize(pieces, scale, zero, *code_range(bits, narrow=is_symmetric), axis=0)
    return _joined(codes, w.shape), scale.reshape(len(w), -1), zero.reshape(len(w), -1)


def dequantize_groups(q, scale, zero_point, group=32):
    """ŵ of such codes, float32: S (q - Z), each piece with its own. Errors: ValueError unless scale and zero_point are (F,P).

    >>> tc.compress.quantize.dequantize_groups(np.int8([[7, -1, 5]]), [[1.0, 0.5]], [[0, 1]], group=2)
    array([[ 7., -1.,  2.]], dtype=float32)
    """
    q, scale, zero, group = np.asarray(q), np.asarray(scale), np.asarray(zero_point), whole(group, "group", 1)
    expected = (len(q), -(-q[0].size // group))
    if scale.shape != expected or zero.shape != expected:
        raise ValueError(f"scale and zero_point must be {expected} for codes {q.shape} in groups of {group}, "
                         f"not {scale.shape} and {zero.shape}")
    return _joined(dequantize(_pieces(q, group), scale.ravel(), zero.ravel(), axis=0), q.shape)
