"""What low-rank layers cost: one linear layer or convolution written as a chain of thinner ones.

    linear        C -> k -> F                                                                k (C + F)
    channel_out   K×K to k maps, then 1×1                  k C KH KW OH OW                + k F OH OW
    channel_in    1×1 to k maps, then K×K                  k C H W                        + k F KH KW OH OW
    spatial       KH×1, then 1×KW                          k C KH OH W                    + k F KW OH OW
    tucker2       1×1, K×K, 1×1                            j C H W + k j KH KW OH OW      + k F OH OW
    cp            1×1, KH×1 and 1×KW depthwise, 1×1        k (C H W + KH OH W + KW OH OW  +   F OH OW)

are the multiply-adds of one image; parameters are the same sums without the sizes of the maps, and the bias F, which belongs to
the last. `rank` is k, for tucker2 the pair (k, j): k maps towards the output, j towards the input. Sources: Denton et al.,
"Exploiting linear structure within convolutional networks" (2014); Jaderberg et al., "Speeding up CNNs with low rank
expansions" (2014); Zhang et al., "Accelerating very deep convolutional networks" (2016); Kim et al., "Compression of deep
convolutional neural networks for fast and low power mobile applications" (2016), section 3; Lebedev et al., "Speeding-up
convolutional neural networks using fine-tuned CP-decomposition" (2015), section 3.
"""
from .costs import _whole, conv2d_macs, conv2d_params
from .geometry import Conv2dGeometry, GeometryError, output_size, pair

LOW_RANK_KINDS = ("channel_out", "channel_in", "spatial", "tucker2", "cp")


def low_rank_linear_params(c, f, rank, bias=True):
    """Parameters of (F,C) written as (F,k)(k,C): k(C + F), and F more with a bias (on the second factor alone).

    >>> low_rank_linear_params(9216, 4096, 256, bias=False)
    3407872
    """
    c, f, rank = _whole(c=c, f=f, rank=rank)
    return rank * (c + f) + (f if bias else 0)


def low_rank_linear_macs(c, f, rank, n=1):
    """MACs of C -> k -> F on n rows: n k(C + F)."""
    c, f, rank, n = _whole(c=c, f=f, rank=rank, n=n)
    return n * rank * (c + f)


def low_rank_break_even(m, n):
    """The largest rank that saves anything on an m×n matrix: the largest k with k(m + n) < mn. 0: no rank does.

    >>> low_rank_break_even(512, 256), low_rank_break_even(4096, 9216)
    (170, 2835)
    """
    m, n = _whole(m=m, n=n)
    return (m * n - 1) // (m + n)


def _ranks(rank, kind):
    """(k, j): the maps before the last layer and those behind the first; one number for both, but for tucker2."""
    if kind not in LOW_RANK_KINDS:
        raise GeometryError(f"kind must be one of {', '.join(LOW_RANK_KINDS)}, not {kind!r}")
    if kind != "tucker2":
        return _whole(rank=rank) * 2
    return pair(rank, "rank", least=1)


# each layer of a chain: (input maps, output maps, groups) among C, F, k, j; and the axes on which it keeps the window of the whole
_CHAINS = {
    "channel_out": (("C", "k", 1, "hw"), ("k", "F", 1, "")),
    "channel_in": (("C", "k", 1, ""), ("k", "F", 1, "hw")),
    "spatial": (("C", "k", 1, "h"), ("k", "F", 1, "w")),
    "tucker2": (("C", "j", 1, ""), ("j", "k", 1, "hw"), ("k", "F", 1, "")),
    "cp": (("C", "k", 1, ""), ("k", "k", "k", "h"), ("k", "k", "k", "w"), ("k", "F", 1, "")),
}
_UPRIGHT, _FLAT = dict(kh=1, sh=1, top=0, bottom=0, dh=1), dict(kw=1, sw=1, left=0, right=0, dw=1)      # one axis left alone


def low_rank_conv_geometries(geometry, rank, kind):
    """The convolutions that replace one, in the order in which they run: a tuple of `Conv2dGeometry`, C -> … -> F channels.

    A layer with the window of one axis has that axis' kernel, stride, padding and dilation; the others are left alone there.
    Errors: GeometryError for an unknown kind or for groups, which these factorizations do not have.

    >>> from tinyconv.formulas import conv2d_geometry
    >>> whole = conv2d_geometry((1, 8, 9, 9), (6, 8, 3, 3), 2, 1)
    >>> first, second = low_rank_conv_geometries(whole, 4, "spatial")
    >>> first.w_shape, first.y_shape, second.w_shape, second.y_shape
    ((4, 8, 3, 1), (1, 4, 5, 9), (6, 4, 1, 3), (1, 6, 5, 5))
    >>> [part.w_shape for part in low_rank_conv_geometries(whole, (4, 2), "tucker2")]
    [(2, 8, 1, 1), (4, 2, 3, 3), (6, 4, 1, 1)]
    """
    k, j = _ranks(rank, kind)
    g = geometry
    if g.groups != 1:
        raise GeometryError(f"a low-rank chain replaces a convolution of one group, this one has groups {g.groups}")
    sizes, parts, h, w = {"C": g.c, "F": g.f, "k": k, "j": j, 1: 1}, [], g.h, g.w
    for c, f, groups, window in _CHAINS[kind]:
        alone = {**({} if "h" in window else _UPRIGHT), **({} if "w" in window else _FLAT)}
        part = _sized(g._replace(c=sizes[c], f=sizes[f], groups=sizes[groups], h=h, w=w, **alone))
        parts.append(part)
        h, w = part.oh, part.ow
    return tuple(parts)


def _sized(g: Conv2dGeometry):
    """The geometry with OH and OW worked out anew from its other numbers."""
    return g._replace(oh=output_size(g.h, g.kh, g.sh, (g.top, g.bottom), g.dh),
                      ow=output_size(g.w, g.kw, g.sw, (g.left, g.right), g.dw))


def low_rank_conv_macs(geometry, rank, kind):
    """MACs of the chain for the whole batch: N times the sums at the top of the page.

    >>> from tinyconv.formulas import conv2d_geometry
    >>> whole = conv2d_geometry((1, 64, 56, 56), (64, 64, 3, 3), padding=1)
    >>> [low_rank_conv_macs(whole, rank, kind) for rank, kind in ((32, "spatial"), ((32, 24), "tucker2"), (32, "cp"))]
    [38535168, 32915456, 13447168]
    """
    parts = low_rank_conv_geometries(geometry, rank, kind)
    return sum(g.n * conv2d_macs(g.c, g.f, (g.kh, g.kw), g.oh, g.ow, g.groups) for g in parts)


def low_rank_conv_params(c, f, kernel, rank, kind, bias=True):
    """Parameters of the chain, the bias (F) on the last convolution alone:

    channel_out: k (C KH KW + F); channel_in: k (C + F KH KW); spatial: k (C KH + F KW); tucker2: j C + k j KH KW + k F;
    cp: k (C + KH + KW + F).

    >>> low_rank_conv_params(64, 64, 3, 32, "spatial", bias=False), conv2d_params(64, 64, 3, bias=False)
    (12288, 36864)
    """
    c, f = _whole(c=c, f=f)
    (k, j), (kh, kw) = _ranks(rank, kind), pair(kernel, "kernel", least=1)
    factors = {"channel_out": k * (c * kh * kw + f), "channel_in": k * (c + f * kh * kw), "spatial": k * (c * kh + f * kw),
               "tucker2": j * c + k * j * kh * kw + k * f, "cp": k * (c + kh + kw + f)}[kind]
    return factors + (f if bias else 0)
