"""What does attention cost? Parameters and multiply-adds of one picture, in closed form.

Channels C, squeezed to S; planes H x W; window K; E experts of a dynamic convolution. Only the weights of layers are MACs: the
products that apply the factors (C H W a picture), averages, maxima and sigmoids are counted in columns of their own.

    squeeze and excitation, softmax over channels    2 C S MACs               2 C S + S + C parameters
    spatial                                          2 K² H W                 2 K²
    CBAM (one M for mean and maximum, no biases)     4 C S + 2 K² H W         2 C S + 2 K²
    dynamic convolution                              C S + S E to choose the filters; then, mixed first, E weights + 1 convolution,
                                                     or, results mixed, E convolutions. Parameters: E convolutions, C S + S E + E
Sources: Hu, Shen & Sun 2018, equation 5 (2/r Σ C² parameters); Woo et al. 2018, section 3; Chen et al. 2020, section 3.2.
"""
from .costs import _whole, conv2d_macs, conv2d_params


def squeeze_excitation_macs(c, squeeze):
    """Multiply-adds of squeezing C channels to S and expanding them again: 2 C S, whatever the plane.

    >>> squeeze_excitation_macs(256, 16)
    8192
    """
    c, squeeze = _whole(c=c, squeeze=squeeze)
    return 2 * c * squeeze


def squeeze_excitation_params(c, squeeze):
    """Parameters of both layers with their biases: 2 C S + S + C.

    >>> squeeze_excitation_params(256, 16)
    8464
    """
    return squeeze_excitation_macs(c, squeeze) + squeeze + c


def spatial_attention_macs(h, w, kernel=7):
    """Multiply-adds of a K x K window over two maps (mean and maximum of the channels): 2 K² H W, whatever the channels.

    >>> spatial_attention_macs(14, 14), conv2d_macs(2, 1, 7, 14, 14)
    (19208, 19208)
    """
    h, w, kernel = _whole(h=h, w=w, kernel=kernel)
    return 2 * kernel * kernel * h * w


def spatial_attention_params(kernel=7):
    """Parameters of that window: 2 K² (no bias).

    >>> spatial_attention_params()
    98
    """
    return spatial_attention_macs(1, 1, kernel)


def cbam_macs(c, squeeze, h, w, kernel=7):
    """Multiply-adds of CBAM: the squeeze and its expansion twice, for mean and maximum, then the window: 4 C S + 2 K² H W.

    >>> cbam_macs(256, 16, 14, 14)
    35592
    """
    return 2 * squeeze_excitation_macs(c, squeeze) + spatial_attention_macs(h, w, kernel)


def cbam_params(c, squeeze, kernel=7):
    """Parameters of CBAM: 2 C S + 2 K², the same layers for mean and maximum, no biases.

    >>> cbam_params(256, 16)
    8290
    """
    return squeeze_excitation_macs(c, squeeze) + spatial_attention_params(kernel)


def dynamic_conv2d_macs(c, f, kernel, oh, ow, experts, squeeze, groups=1, mixed=True):
    """Multiply-adds of a dynamic convolution of one picture: C S + S E for the weights π, and

    mixed:      E (F C/G KH KW) to add up the filters, and one convolution;
    not mixed:  E convolutions, whose results are added up: the same numbers, for convolution is linear in its filters.

    >>> [dynamic_conv2d_macs(64, 64, 3, 14, 14, 4, 16, mixed=mixed) for mixed in (True, False)], conv2d_macs(64, 64, 3, 14, 14)
    ([7373888, 28902464], 7225344)
    """
    experts, squeeze = _whole(experts=experts, squeeze=squeeze)
    once, weights = conv2d_macs(c, f, kernel, oh, ow, groups), conv2d_params(c, f, kernel, groups, bias=False)
    return c * squeeze + squeeze * experts + (experts * weights + once if mixed else experts * once)


def dynamic_conv2d_params(c, f, kernel, experts, squeeze, groups=1, bias=True):
    """Parameters of a dynamic convolution: E convolutions, and C S + S E + E for the weights π.

    >>> dynamic_conv2d_params(64, 64, 3, 4, 16)
    148804
    """
    experts, squeeze = _whole(experts=experts, squeeze=squeeze)
    return experts * conv2d_params(c, f, kernel, groups, bias) + c * squeeze + squeeze * experts + experts
