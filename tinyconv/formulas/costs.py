"""What does a layer cost? Parameters, multiply-adds (MACs) and bytes, in closed form.

Everywhere: one MAC is one multiplication with its addition, FLOPs = 2 MACs; counts are exact Python integers; "_bytes" are
bytes, ratios are plain fractions. Taps on zero padding are counted, as the papers and all tools do; `conv2d_interior_macs` is the
count without them. Notation as in `geometry`: C input channels, F filters, K kernel (KH, KW), G groups, OH and OW output size.

Functions that need both ends of a layer take a `Conv2dGeometry` and count its whole batch; those that take plain numbers count
one image. Low-rank layers have a page of their own (`low_rank`). Sources: Howard et al., "MobileNets" (2017), section 3; Ma et
al., "ShuffleNet V2" (2018), section 2; Chellapilla et al., "High performance convolutional neural networks" (2006).
"""
from .geometry import GeometryError, is_integer, pair

def _whole(least=1, **counts):
    """The named counts as Python integers (NumPy's would overflow), refused when they are none or too small."""
    for name, value in counts.items():
        if not is_integer(value) or value < least:
            raise GeometryError(f"{name} must be an integer of at least {least}, not {value!r}")
    return [int(value) for value in counts.values()]


def _grouped(c, f, groups):
    """(C/G, F, G), refused when the groups do not divide."""
    c, f, groups = _whole(c=c, f=f, groups=groups)
    if c % groups or f % groups:
        raise GeometryError(f"groups must divide both c and f: c {c}, f {f}, groups {groups}")
    return c // groups, f, groups


# ---- layers ----------------------------------------------------------------------------------------------------------

def conv2d_macs(c, f, kernel, oh, ow, groups=1):
    """MACs of a convolution of one image: KH KW (C/G) F OH OW.

    `kernel` is an integer or (KH, KW). Depthwise is groups=c, pointwise kernel=1. Errors: GeometryError naming the count that
    is no positive integer, or groups that do not divide.

    >>> conv2d_macs(512, 512, 3, 14, 14)          # MobileNetV1, Table 3: "462 million"
    462422016
    """
    cg, f, _ = _grouped(c, f, groups)
    kh, kw = pair(kernel, "kernel", least=1)
    oh, ow = _whole(oh=oh, ow=ow)
    return kh * kw * cg * f * oh * ow


def conv2d_params(c, f, kernel, groups=1, bias=True):
    """Parameters of a convolution: F (C/G) KH KW, and F more with a bias.

    >>> conv2d_params(3, 64, 7, bias=False), conv2d_params(32, 32, 3, groups=32)
    (9408, 320)
    """
    cg, f, _ = _grouped(c, f, groups)
    kh, kw = pair(kernel, "kernel", least=1)
    return f * cg * kh * kw + (f if bias else 0)


def _inside(size, kernel, stride, before, dilation, windows):
    """How many (window, tap) pairs of one axis fall on a real pixel: one closed term for each of the K taps.

    Tap k of window o lies on pixel o S - P + k D, and 0 <= o S - P + k D < size holds for a whole range of o.
    """
    total = 0
    for k in range(kernel):
        first = max(0, -((k * dilation - before) // stride))                 # ceil((P - k D) / S)
        last = min(windows - 1, (size - 1 + before - k * dilation) // stride)
        total += max(0, last - first + 1)
    return total


def conv2d_interior_macs(geometry):
    """MACs that touch real pixels: N F (C/G) × (row taps inside) × (column taps inside), padding left out.

    Rows and columns are independent, so the taps inside are a product of two sums, each over the K taps of its axis. Without
    padding this equals N times `conv2d_macs`; with padding it is what a kernel that skips the border multiplies.

    >>> from tinyconv.formulas import conv2d_geometry
    >>> conv2d_interior_macs(conv2d_geometry((1, 1, 3, 3), (1, 1, 3, 3), padding=1)), conv2d_macs(1, 1, 3, 3, 3)
    (49, 81)
    """
    g = geometry
    rows = _inside(g.h, g.kh, g.sh, g.top, g.dh, g.oh)
    cols = _inside(g.w, g.kw, g.sw, g.left, g.dw, g.ow)
    return g.n * g.f * (g.c // g.groups) * rows * cols


def conv2d_bytes(geometry, itemsize=4, bias=False):
    """Bytes that a convolution must move at least: input, weight and output (and bias), each value once.

    itemsize (N C H W + F (C/G) KH KW + N F OH OW). MACs / bytes is the arithmetic intensity of the roofline; caches and
    algorithms decide how far above this minimum a real kernel stays.
    """
    g = geometry
    (itemsize,) = _whole(itemsize=itemsize)
    weight = conv2d_params(g.c, g.f, (g.kh, g.kw), g.groups, bias)
    return itemsize * (g.n * g.c * g.h * g.w + weight + g.n * g.f * g.oh * g.ow)


def linear_macs(c, f, n=1):
    """MACs of a fully connected layer C -> F on n rows: n C F.

    >>> linear_macs(1024, 1000)
    1024000
    """
    c, f, n = _whole(c=c, f=f, n=n)
    return n * c * f


def linear_params(c, f, bias=True):
    """Parameters of a fully connected layer: C F, and F more with a bias.

    >>> linear_params(1024, 1000)
    1025000
    """
    c, f = _whole(c=c, f=f)
    return c * f + (f if bias else 0)


def matmul_macs(m, k, n):
    """MACs of (M,K) times (K,N): M K N (Strassen's algorithm needs fewer products and more additions)."""
    m, k, n = _whole(m=m, k=k, n=n)
    return m * k * n


def batch_norm_params(c):
    """Trained parameters of BatchNorm: γ and β, 2 C. The running mean and variance, 2 C more, are buffers and not trained."""
    (c,) = _whole(c=c)
    return 2 * c


def pool2d_operations(geometry):
    """Operations of a pooling layer: N C OH OW KH KW, one for each tap of each window.

    Maximum: a comparison a tap, starting from -inf. Average: KH KW - 1 additions and one division. Taps on padding counted.
    """
    g = geometry
    return g.n * g.c * g.oh * g.ow * g.kh * g.kw


# ---- convolution, looked at ------------------------------------------------------------------------------------------

def depthwise_separable_macs(c, f, kernel, oh, ow):
    """MACs of a depthwise K×K convolution followed by a pointwise one: KH KW C OH OW + C F OH OW (MobileNets, equation 5).

    >>> depthwise_separable_macs(512, 512, 3, 14, 14)     # MobileNetV1, Table 3: "52.3 million"
    52283392
    """
    return conv2d_macs(c, c, kernel, oh, ow, groups=c) + conv2d_macs(c, f, 1, oh, ow)


def depthwise_separable_ratio(f, kernel):
    """Depthwise separable over standard: 1/F + 1/(KH KW), the same for parameters and MACs (MobileNets, section 3.1).

    F is the number of output channels, and the kernel term is squared: with F large, a 3×3 kernel costs about 1/9.

    >>> round(depthwise_separable_ratio(512, 3), 4)
    0.1131
    """
    (f,) = _whole(f=f)
    kh, kw = pair(kernel, "kernel", least=1)
    return 1 / f + 1 / (kh * kw)


def pointwise_traffic(c, f, h, w):
    """Values moved by a 1×1 convolution: HW(C + F) + CF, input, output and weight once each.

    For fixed MACs B = HWCF it is at least 2 sqrt(HW B) + B/(HW), reached at C = F (ShuffleNet V2, equation 2, guideline 1).

    >>> pointwise_traffic(128, 128, 28, 28), pointwise_traffic(32, 512, 28, 28)        # the same 12.8 million MACs
    (217088, 442880)
    """
    c, f, h, w = _whole(c=c, f=f, h=h, w=w)
    return h * w * (c + f) + c * f


def shuffled_pair_macs(c, groups):
    """Multiply-adds a pixel of two 1x1 convolutions C -> C with a shuffle between, of G and of C/G groups: C (C/G + G).

    Least at G = sqrt(C): 2 C sqrt(C) instead of the C² of one dense convolution, and every output still sees every input.
    Errors: ValueError unless G divides C.

    >>> shuffled_pair_macs(64, 8), shuffled_pair_macs(64, 1), 64 * 64
    (1024, 4160, 4096)
    """
    c, groups = _whole(c=c, groups=groups)
    _grouped(c, c, groups)
    return c * (c // groups + groups)


def shuffle_groups(c, *others):
    """The rule G = floor(sqrt(C)), made to divide: the divisor of C (and of all `others`) nearest to it, the smaller of two.

    >>> shuffle_groups(64), shuffle_groups(58), shuffle_groups(60, 24, 216)
    (8, 2, 6)
    """
    counts = _whole(c=c, **{f"others[{i}]": count for i, count in enumerate(others)})
    root = next(g for g in range(int(c ** 0.5) + 1, 0, -1) if g * g <= c)                # floor(sqrt(C)), whatever a float says
    return min((g for g in range(1, min(counts) + 1) if not any(n % g for n in counts)), key=lambda g: (abs(g - root), g))


def im2col_bytes(geometry, itemsize=4):
    """Bytes of the column matrix of one image, cols (C KH KW, OH OW): itemsize C KH KW OH OW."""
    g = geometry
    (itemsize,) = _whole(itemsize=itemsize)
    return itemsize * g.c * g.kh * g.kw * g.oh * g.ow


def im2col_blow_up(geometry):
    """How many times larger the column matrix is than the image: KH KW OH OW / (H W).

    >>> from tinyconv.formulas import conv2d_geometry
    >>> im2col_blow_up(conv2d_geometry((1, 64, 56, 56), (64, 64, 3, 3), padding=1))
    9.0
    """
    g = geometry
    return g.kh * g.kw * g.oh * g.ow / (g.h * g.w)


def receptive_field(kernel, dilation=1):
    """Input pixels that one output pixel spans along one axis: D(K - 1) + 1.

    >>> receptive_field(3), receptive_field(3, dilation=2)
    (3, 5)
    """
    kernel, dilation = _whole(kernel=kernel, dilation=dilation)
    return dilation * (kernel - 1) + 1


def receptive_field_of_chain(layers):
    """Input pixels that one pixel behind a chain of layers spans along one axis: 1 + Σ_i D_i (K_i - 1) Π_{j<i} S_j.

    `layers` are (kernel, stride, dilation) triples, the first layer first. (Padding moves the span, it does not widen it.)

    >>> receptive_field_of_chain([(3, 1, 1), (3, 1, 1)]), receptive_field_of_chain([(7, 2, 1), (3, 2, 1)])
    (5, 11)
    """
    span, jump = 1, 1                                       # jump: input pixels between two neighbours of this layer
    for kernel, stride, dilation in layers:
        (stride,) = _whole(stride=stride)
        span += (receptive_field(kernel, dilation) - 1) * jump
        jump *= stride
    return span


# ---- compressed layers -----------------------------------------------------------------------------------------------

def filter_pruning_factor(kept_f, f, kept_c, c):
    """What filter pruning leaves of a dense convolution's MACs: (kept_f / F)(kept_c / C).

    The layer loses its own filters, and the channels that pruning took from the layer before. A depthwise layer loses each
    channel once: filter_pruning_factor(kept_c, c, 1, 1).

    >>> filter_pruning_factor(32, 64, 16, 32)
    0.25
    """
    f, c = _whole(f=f, c=c)
    kept_f, kept_c = _whole(0, kept_f=kept_f, kept_c=kept_c)
    if kept_f > f or kept_c > c:
        raise GeometryError(f"more kept than there were: kept_f {kept_f} of f {f}, kept_c {kept_c} of c {c}")
    return (kept_f * kept_c) / (f * c)


def quantized_bytes(count, bits=8, channels=1, scale_bytes=4, zero_point_bytes=0):
    """Bytes of `count` codes of `bits` bits packed without gaps, with their scales and zero points:

    ceil(count bits / 8) + channels (scale_bytes + zero_point_bytes). Symmetric quantization stores no zero points (0 bytes),
    affine int8 one byte each; `channels` is 1 for one scale a tensor, F for one a filter.

    >>> quantized_bytes(64 * 64 * 9, bits=8, channels=64), quantized_bytes(10, bits=3)
    (37120, 8)
    """
    count, bits, channels = _whole(count=count, bits=bits, channels=channels)
    scale_bytes, zero_point_bytes = _whole(0, scale_bytes=scale_bytes, zero_point_bytes=zero_point_bytes)
    return (count * bits + 7) // 8 + channels * (scale_bytes + zero_point_bytes)
