"""Convolution by Fourier transform: in the frequencies, sliding a window is one multiplication a frequency. A reference, forward only.

    Y(f) = Σ_c X(c) · conj(W(f, c))          X, W the transforms of image and filter; conj, since filters are not flipped

Image and filter are laid in planes of LH x LW zeros, the next powers of two of the padded image, so that nothing wraps around where it is
read. Dilation spreads the filter's taps apart, a stride keeps every S-th row and column of the result. Cost: N F (C/G) LH (LW/2 + 1)
complex multiply-adds whatever the window, and (N C + F C/G + N F) transforms of LH LW log2(LH LW) operations: it wins for windows
as large as the image, and loses for 3x3. NaN and infinities spread over their whole plane.
Sources: Cooley & Tukey (1965); Mathieu, Henaff & LeCun, "Fast training of convolutional networks through FFTs", arXiv 1312.5851.
"""
import math

import numpy as np

from . import select


def supports(geometry):
    """Every geometry."""
    return True


def plane(geometry):
    """(LH, LW): the powers of two that hold the padded image.

    >>> from tinyconv.formulas.geometry import conv2d_geometry
    >>> plane(conv2d_geometry((1, 3, 14, 9), (8, 3, 3, 3), padding=1))
    (16, 16)
    """
    g = geometry
    return tuple(1 << (size - 1).bit_length() for size in (g.h + g.top + g.bottom, g.w + g.left + g.right))


def _rooms(g, dtype):
    """Shapes and types: image and filters in their planes, the three spectra."""
    (lh, lw), spectrum = plane(g), np.result_type(dtype, np.complex64)
    lines, cg = lw // 2 + 1, g.c // g.groups
    return (((g.n, g.c, lh, lw), dtype), ((g.f, cg, lh, lw), dtype), ((g.n, g.c, lh, lines), spectrum), ((g.f, cg, lh, lines), spectrum),
            ((g.n, g.f, lh, lines), spectrum))


def workspace_bytes(geometry, direction="forward", dtype=np.float32):
    """Planes and spectra (NumPy's transform takes a copy of one of them beside)."""
    return sum(math.prod(shape) * np.dtype(kind).itemsize for shape, kind in _rooms(geometry, dtype))


def forward(x, w, bias, geometry):
    """x (N,C,H,W), w (F,C/G,KH,KW), bias (F,) or None -> y (N,F,OH,OW): Y(f) = Σ_c X(c) · conj(W(f, c)), back from the frequencies."""
    g = geometry
    X, W, x_spectrum, w_spectrum, y_spectrum = (select.scratch(shape, kind) for shape, kind in _rooms(g, x.dtype))
    X[:], W[:] = 0, 0
    X[:, :, g.top:g.top + g.h, g.left:g.left + g.w] = x
    W[:, :, :g.dh * (g.kh - 1) + 1:g.dh, :g.dw * (g.kw - 1) + 1:g.dw] = w                                  # taps D apart
    x_spectrum[:] = np.fft.rfft2(X)
    w_spectrum[:] = np.conj(np.fft.rfft2(W))
    for group in range(g.groups):
        c, f = (slice(group * size // g.groups, (group + 1) * size // g.groups) for size in (g.c, g.f))
        np.einsum("nchw,fchw->nfhw", x_spectrum[:, c], w_spectrum[f], out=y_spectrum[:, f])              # (N,C/G,LH,·) -> (N,F/G,LH,·)
    y = np.fft.irfft2(y_spectrum, plane(g))[:, :, :g.oh * g.sh:g.sh, :g.ow * g.sw:g.sw].astype(x.dtype)
    return np.ascontiguousarray(y if bias is None else y + bias[:, None, None])


def error_bound(direction, x, w, geometry, bias=None, dtype=np.float32):
    """How far rounding may carry `forward` from the exact result; one number for a plane, since every output sees every rounding.

        u (14 L + C/G + 4) Σ_c |x_c|₂ |w_fc|₂  +  u (7 L + 2) Σ_c |x_c|₂ |w_fc|₁  +  u |bias|          L = log2(LH LW)

    A transform of 2^L numbers is exact for data changed by at most 7 L u |x|₂ (each of its L steps rounds a twiddle factor, a complex product and
    a sum: u + γ4(√2 + ..) < 7u); products and their sum change each spectrum by C/G + 4 roundings more; and |conv(a, b)| ≤ |a|₂ |b|₂,
    |conv(a, b)|₂ ≤ |a|₂ |b|₁. Source: Higham, "Accuracy and Stability of Numerical Algorithms" (2002), theorem 24.2.
    """
    g, u = geometry, np.finfo(dtype).eps / 2
    x, w = np.asarray(x, np.float64), np.asarray(w, np.float64)
    x2, w2, w1 = np.sqrt((x**2).sum((2, 3))), np.sqrt((w**2).sum((2, 3))), np.abs(w).sum((2, 3))               # (N,C), (F,C/G), (F,C/G)
    levels, cg, fg = math.log2(math.prod(plane(g))), g.c // g.groups, g.f // g.groups
    bound = np.zeros((g.n, g.f))
    for f in range(g.f):
        channels = x2[:, f // fg * cg:f // fg * cg + cg]
        bound[:, f] = u * ((14 * levels + cg + 4) * channels @ w2[f] + (7 * levels + 2) * channels @ w1[f])
    if bias is not None:
        bound += 2 * u * np.abs(np.asarray(bias, np.float64))
    return np.broadcast_to(bound[:, :, None, None], g.y_shape)
