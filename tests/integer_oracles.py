"""What the tests of integer layers share: exact sums of codes, codes at random, both modes compared. Nothing of it is the package's own arithmetic."""
from fractions import Fraction

import numpy as np

import tinyconv as tc
from tinyconv.kernels import layout

RANGE = {np.int8: (-128, 127), np.uint8: (0, 255)}


def oracle_accumulators(x, x_zero, w, w_zero, bias, stride, padding, dilation, groups):
    """(N,F,OH,OW) exact int64 sums of centred products, by slices of an input padded with zeros after centring."""
    (n, c, h, wd), (f, cg, kh, kw), ((top, bottom), (left, right)) = x.shape, w.shape, padding
    padded = np.zeros((n, c, h + top + bottom, wd + left + right), np.int64)
    padded[:, :, top:top + h, left:left + wd] = x.astype(np.int64) - x_zero
    centred = w.astype(np.int64) - np.broadcast_to(w_zero, (f,))[:, None, None, None]
    oh = (padded.shape[2] - dilation[0] * (kh - 1) - 1) // stride[0] + 1
    ow = (padded.shape[3] - dilation[1] * (kw - 1) - 1) // stride[1] + 1
    acc = np.zeros((n, f, oh, ow), np.int64)
    for k in range(f):
        first = k // (f // groups) * cg
        for u in range(kh):
            for v in range(kw):
                rows = u * dilation[0] + np.arange(oh) * stride[0]
                cols = v * dilation[1] + np.arange(ow) * stride[1]
                taps = padded[:, first:first + cg][:, :, rows][:, :, :, cols]               # (N,CG,OH,OW)
                acc[:, k] += (taps * centred[k, :, u, v][None, :, None, None]).sum(1)
    return acc if bias is None else acc + bias.astype(np.int64)[:, None, None]


def oracle_onnx(acc, multiplier, zero, low, high):
    """One code by the rule "onnx", each rounding done by exact rational arithmetic."""
    product = float(Fraction(int(acc)) * Fraction(float(multiplier)))
    total = float(Fraction(product) + zero)
    return round(Fraction(min(max(total, low), high)))


def random_codes(rng, dtype, shape):
    low, high = RANGE[dtype]
    return rng.integers(low, high + 1, shape).astype(dtype)


def channels_last(x):
    y = layout.empty(x.shape, x.dtype)
    y[...] = x
    return y


def both_modes(f):
    """f() under the fast and the plain kernels; both results must be the same bits."""
    quick = f()
    with tc.kernels.use("plain"):
        plain = f()
    assert quick.dtype == plain.dtype
    np.testing.assert_array_equal(quick, plain)
    return quick
