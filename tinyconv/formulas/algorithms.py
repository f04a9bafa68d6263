"""Fewer multiplications for the same result: closed forms for Winograd's convolution and for Strassen's matrix product.

Notation as in `costs`; F(m, r) computes m x m outputs of an r x r filter from tiles of a x a, a = m + r - 1. Sources: Winograd, "Arithmetic
complexity of computations" (1980); Lavin & Gray, "Fast algorithms for convolutional neural networks" (2016), section 4; Strassen,
"Gaussian elimination is not optimal" (1969); Higham, "Accuracy and Stability of Numerical Algorithms" (2002), section 23.1.
"""
from .costs import _whole
from .geometry import GeometryError

STRASSEN_ADDITIONS = {"strassen": (5, 5, 8), "winograd": (4, 4, 7)}      # quarter matrices of A, of B, of C added at one level


def winograd_tiles(geometry, m):
    """Tiles of m x m outputs that cover a convolution's result: N ceil(OH/m) ceil(OW/m); those at the edge are computed whole.

    Errors: GeometryError unless the window is square at stride 1, without dilation or groups.

    >>> from tinyconv.formulas import conv2d_geometry
    >>> winograd_tiles(conv2d_geometry((1, 64, 56, 56), (64, 64, 3, 3), padding=1), 4)
    196
    """
    g = geometry
    (m,) = _whole(m=m)
    if g.kh != g.kw or not g.sh == g.sw == g.dh == g.dw == g.groups == 1:
        raise GeometryError(f"Winograd's tiles need a square window, stride, dilation and groups 1, not {g}")
    return g.n * -(-g.oh // m) * -(-g.ow // m)


def winograd_products(geometry, m):
    """Multiply-adds of the products alone: tiles C F (m + r - 1)². The gradients need as many on their own tiles.

    >>> from tinyconv.formulas import conv2d_geometry
    >>> winograd_products(conv2d_geometry((1, 64, 56, 56), (64, 64, 3, 3), padding=1), 4)
    28901376
    """
    return winograd_tiles(geometry, m) * geometry.c * geometry.f * (m + geometry.kh - 1)**2


def winograd_transform_macs(geometry, m):
    """Multiply-adds of the three transforms done by their matrices, (data, filter, inverse), with a = m + r - 1:

    tiles C 2a³, C F a r (a + r), tiles F m a (a + m). (Factored by hand they are several times fewer: F(4,3) needs 16 operations for a line of
    6 data instead of 36.)

    >>> from tinyconv.formulas import conv2d_geometry
    >>> winograd_transform_macs(conv2d_geometry((1, 1, 4, 4), (1, 1, 3, 3)), 2)
    (128, 84, 48)
    """
    g, tiles = geometry, winograd_tiles(geometry, m)
    a, r = m + g.kh - 1, g.kh
    return tiles * g.c * 2 * a**3, g.c * g.f * a * r * (a + r), tiles * g.f * m * a * (a + m)


def winograd_reduction(m, r):
    """How many times fewer products F(m, r) needs than the definition, edges apart: m² r² / (m + r - 1)².

    >>> [winograd_reduction(m, 3) for m in (1, 2, 4, 6)]
    [1.0, 2.25, 4.0, 5.0625]
    """
    m, r = _whole(m=m, r=r)
    return (m * r)**2 / (m + r - 1)**2


def winograd_weight_bytes(c, f, m, r, itemsize=4):
    """Bytes of the transformed weights: itemsize C F (m + r - 1)², (m + r - 1)² / r² times the weights themselves.

    >>> winograd_weight_bytes(512, 512, 4, 3)
    37748736
    """
    c, f, m, r, itemsize = _whole(c=c, f=f, m=m, r=r, itemsize=itemsize)
    return itemsize * c * f * (m + r - 1)**2


def _halved(m, k, n, levels):
    """The sides after `levels` halvings, padded up."""
    m, k, n = _whole(m=m, k=k, n=n)
    (levels,) = _whole(0, levels=levels)
    return -(-m // 2**levels), -(-k // 2**levels), -(-n // 2**levels), levels


def strassen_multiplications(m, k, n, levels):
    """Multiplications of (M,K) times (K,N) by `levels` levels of Strassen's scheme or its variant: 7^levels M' K' N',

    M', K', N' the sides halved that often, rounded up. One level saves an eighth.

    >>> strassen_multiplications(64, 64, 64, 0), strassen_multiplications(64, 64, 64, 6), 7**6
    (262144, 117649, 117649)
    """
    m, k, n, levels = _halved(m, k, n, levels)
    return 7**levels * m * k * n


def strassen_additions(m, k, n, levels, variant="strassen"):
    """Additions of the same: 7^levels M' N' (K' - 1) within the products, and at each level 18 additions of quarter matrices,
    5 of A's, 5 of B's, 8 of C's; or 15 in Winograd's variant: 4, 4 and 7.

    Errors: GeometryError for another variant.

    >>> strassen_additions(2, 2, 2, 1), strassen_additions(2, 2, 2, 1, "winograd"), strassen_additions(2, 2, 2, 0)
    (18, 15, 4)
    """
    if variant not in STRASSEN_ADDITIONS:
        raise GeometryError(f"variant must be one of {', '.join(STRASSEN_ADDITIONS)}, not {variant!r}")
    m, k, n, levels = _halved(m, k, n, levels)
    of_a, of_b, of_c = STRASSEN_ADDITIONS[variant]
    total = 7**levels * m * n * (k - 1)
    for level in range(levels):                                      # the smallest quarters first: 7^(levels - 1 - level) of them
        quarter = of_a * m * k + of_b * k * n + of_c * m * n
        total += 7**(levels - 1 - level) * quarter * 4**level
    return total
