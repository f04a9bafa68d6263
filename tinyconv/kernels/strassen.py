"""Strassen's matrix product, and Winograd's variant of it: seven products of half the size where the definition needs eight.

    | C11 C12 |   | A11 A12 | | B11 B12 |          one level: 7 products and 18 additions of quarter matrices (Strassen),
    | C21 C22 | = | A21 A22 | | B21 B22 |                     7 products and 15 additions                     (Winograd's variant)

Applied to the quarters again and again it costs O(n^2.81). (Four algorithms bear these two names: Winograd's minimal filtering, page
`winograd`, saves products of a convolution; Strassen's and Winograd's schemes here save products of any matrix product, so also of
a convolution's im2col form, which is what the algorithms "strassen" and "strassen_winograd" of the table do.) References in NumPy, forward
only: additions move memory without reusing it, and so the saving shows only for matrices of thousands. Sizes that cannot be halved are
padded with zeros; NaN and infinities spread. Counts: formulas.strassen_multiplications, strassen_additions.
Sources: Strassen, "Gaussian elimination is not optimal" (1969); Winograd (1971), as in Higham (2002), section 23.1.
"""
import math

import numpy as np

from . import select

CUTOFF = 16             # matrices with a side up to this are multiplied by the definition
VARIANTS = ("strassen", "winograd")


def levels_for(m, k, n):
    """How often (M,K) times (K,N) is halved before a side is at most CUTOFF.

    >>> levels_for(64, 576, 3136), levels_for(16, 100, 100)
    (2, 0)
    """
    levels = 0
    while min(m, k, n) > CUTOFF:
        m, k, n, levels = -(-m // 2), -(-k // 2), -(-n // 2), levels + 1
    return levels


def product(a, b, levels=None, variant="strassen"):
    """a (M,K) times b (K,N) -> (M,N) by `levels` levels (None: `levels_for` the sizes); rows and columns padded as needed.

    Errors: ValueError for an unknown variant, levels that are no integer of at least 0, or matrices that do not fit.

    >>> a, b = np.arange(15.0).reshape(5, 3), np.arange(12.0).reshape(3, 4)
    >>> np.array_equal(product(a, b, 2), a @ b), np.array_equal(product(a, b, 1, "winograd"), a @ b)
    (True, True)
    """
    if variant not in VARIANTS:
        raise ValueError(f"variant must be one of {', '.join(VARIANTS)}, not {variant!r}")
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[0]:
        raise ValueError(f"a (M,K) and b (K,N) must be matrices with one K, not of shapes {a.shape} and {b.shape}")
    (m, k), n = a.shape, b.shape[1]
    levels = levels_for(m, k, n) if levels is None else levels
    if not hasattr(levels, "__index__") or isinstance(levels, bool) or levels < 0:
        raise ValueError(f"levels must be an integer of at least 0, not {levels!r}")
    if min(m, k, n) == 0:
        return a @ b
    step = {"strassen": strassen, "winograd": winograd}[variant]
    return step(_padded(a, 2**levels), _padded(b, 2**levels), levels)[:m, :n]


def _padded(a, unit):
    """a with rows and columns of zeros up to multiples of `unit`."""
    extra = [(0, -size % unit) for size in a.shape]
    return np.pad(a, extra) if any(after for _, after in extra) else a


def _quarters(a):
    m, n = a.shape[0] // 2, a.shape[1] // 2
    return a[:m, :n], a[:m, n:], a[m:, :n], a[m:, n:]


def strassen(a, b, levels):
    """Strassen's scheme: 7 products, 10 additions before and 8 behind. Sides must be multiples of 2^levels."""
    if levels == 0:
        return a @ b
    (a11, a12, a21, a22), (b11, b12, b21, b22) = _quarters(a), _quarters(b)
    p1 = strassen(a11 + a22, b11 + b22, levels - 1)
    p2 = strassen(a21 + a22, b11, levels - 1)
    p3 = strassen(a11, b12 - b22, levels - 1)
    p4 = strassen(a22, b21 - b11, levels - 1)
    p5 = strassen(a11 + a12, b22, levels - 1)
    p6 = strassen(a21 - a11, b11 + b12, levels - 1)
    p7 = strassen(a12 - a22, b21 + b22, levels - 1)
    return np.block([[p1 + p4 - p5 + p7, p3 + p5], [p2 + p4, p1 - p2 + p3 + p6]])


def winograd(a, b, levels):
    """Winograd's variant: the same 7 products' worth, sums shared: 8 additions before and 7 behind, the fewest possible."""
    if levels == 0:
        return a @ b
    (a11, a12, a21, a22), (b11, b12, b21, b22) = _quarters(a), _quarters(b)
    s1, t1 = a21 + a22, b12 - b11
    s2, t2 = s1 - a11, b22 - t1
    p1 = winograd(a11, b11, levels - 1)
    p2 = winograd(a12, b21, levels - 1)
    p3 = winograd(a12 - s2, b22, levels - 1)
    p4 = winograd(a22, t2 - b21, levels - 1)
    p5 = winograd(s1, t1, levels - 1)
    p6 = winograd(s2, t2, levels - 1)
    p7 = winograd(a11 - a21, b22 - b12, levels - 1)
    u2 = p1 + p6
    u3 = u2 + p7
    return np.block([[p1 + p2, u2 + p5 + p3], [u3 - p4, u3 + p5]])


def product_bound(k, levels, largest_a, largest_b, variant="strassen", dtype=np.float32):
    """How far rounding may carry any number of `product`: (c^levels (K0² + q K0) - q K) u max|A| max|B|, K = K0 2^levels padded.

    c = 12, q = 5 for Strassen; c = 18, q = 6 for Winograd's variant: the bound holds for the largest number, not for each by itself, and
    grows with every level. Source: Higham (2002), theorems 23.2 and 23.3.
    """
    c, q = {"strassen": (12, 5), "winograd": (18, 6)}[variant]
    k0 = -(-k // 2**levels)
    return (c**levels * (k0**2 + q * k0) - q * k0 * 2**levels) * np.finfo(dtype).eps / 2 * largest_a * largest_b


class Product:
    """The convolution's im2col product by one of the two schemes: the functions that every page has, forward alone."""

    def __init__(self, variant):
        self.variant = variant

    @staticmethod
    def supports(geometry):
        """Every geometry."""
        return True

    @staticmethod
    def rooms(g):
        """Shapes of the padded image and of its column matrix, a group at a time."""
        cg = g.c // g.groups
        return (cg, g.h + g.top + g.bottom, g.w + g.left + g.right), (cg, g.kh, g.kw, g.oh, g.ow)

    def workspace_bytes(self, geometry, direction="forward", dtype=np.float32):
        """The padded image and its column matrix (each level's sums, a third of the matrices, are made by NumPy beside)."""
        return sum(math.prod(shape) for shape in self.rooms(geometry)) * np.dtype(dtype).itemsize

    def forward(self, x, w, bias, geometry):
        """x (N,C,H,W), w (F,C/G,KH,KW), bias (F,) or None -> y (N,F,OH,OW): Y = W cols, one image and group at a time."""
        g, (cg, fg) = geometry, (geometry.c // geometry.groups, geometry.f // geometry.groups)
        around, cols = (select.scratch(shape, x.dtype) for shape in self.rooms(g))
        around[:], y = 0, np.empty(g.y_shape, x.dtype)
        for n in range(g.n):
            for group in range(g.groups):
                f = slice(group * fg, (group + 1) * fg)
                around[:, g.top:g.top + g.h, g.left:g.left + g.w] = x[n, group * cg:(group + 1) * cg]
                for u in range(g.kh):
                    for v in range(g.kw):
                        cols[:, u, v] = around[:, u * g.dh:u * g.dh + (g.oh - 1) * g.sh + 1:g.sh, v * g.dw:v * g.dw + (g.ow - 1) * g.sw + 1:g.sw]
                flat = product(w[f].reshape(fg, -1), cols.reshape(-1, g.oh * g.ow), variant=self.variant)       # (F/G, K) x (K, OH·OW)
                y[n, f] = flat.reshape(fg, g.oh, g.ow)
        return y if bias is None else y + bias[:, None, None]

    def error_bound(self, direction, x, w, geometry, bias=None, dtype=np.float32):
        """See `product_bound`; one more rounding for the bias."""
        g = geometry
        k = g.c // g.groups * g.kh * g.kw
        largest = float(np.abs(x).max()), float(np.abs(w).max())
        bound = product_bound(k, levels_for(g.f // g.groups, k, g.oh * g.ow), *largest, self.variant, dtype)
        if bias is not None:
            bound += np.finfo(dtype).eps / 2 * (k * largest[0] * largest[1] + float(np.abs(bias).max()))
        return np.full(g.y_shape, bound)


by_strassen, by_winograd = Product("strassen"), Product("winograd")
