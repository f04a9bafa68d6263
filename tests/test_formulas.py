"""formulas/: the size formula against counted windows, the costs against the papers and against plain loops over every tap."""
import itertools
from math import prod

import numpy as np
import pytest

from tinyconv import formulas as fm

small = pytest.mark.small


# ---- geometry --------------------------------------------------------------------------------------------------------

def windows_by_counting(size, k, s, before, after, d, ceil_mode):
    """Lay windows one after another until the next has no room; ceil_mode allows one that hangs over the end, if some of the
    padded input is still unseen and the window begins on the input or on the padding before it."""
    end, count = size + before + after, 0
    while True:
        start = count * s
        fits = start + d * (k - 1) + 1 <= end
        unseen = start - s + d * (k - 1) + 1 < end                        # the window before this one ended early
        if not (fits or ceil_mode and unseen and start < before + size):
            return count
        count += 1


@small
def test_output_size_counts_windows():
    """Why: every shape of the house follows from it. Against: windows laid by hand, where at least one fits.

    ceil_mode where pooling allows it: the padding behind the input is too narrow to hold a whole window.
    """
    cases = 0
    for size, k, s, before, after, d in itertools.product(range(1, 9), range(1, 5), range(1, 5), range(3), range(3), range(1, 4)):
        if size + before + after < d * (k - 1) + 1:
            continue
        for ceil_mode in (False, True) if after < d * (k - 1) + 1 else (False,):
            got = fm.output_size(size, k, s, (before, after), d, ceil_mode)
            assert got == windows_by_counting(size, k, s, before, after, d, ceil_mode), (size, k, s, before, after, d, ceil_mode)
            cases += 1
    assert cases > 4000
    assert fm.output_size(7, 3, 2, 1) == fm.output_size(7, 3, 2, (1, 1))


@small
def test_output_size_where_nothing_fits():
    """A kernel larger than the padded input gives 0 or less, and the geometry functions refuse it."""
    assert fm.output_size(3, 5) <= 0
    assert fm.output_size(3, 3, dilation=2) <= 0


@small
def test_conv2d_geometry_fields():
    """Properties and every way to write padding, against sizes worked out by hand."""
    g = fm.conv2d_geometry((2, 4, 7, 6), (8, 2, 3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2)
    assert (g.x_shape, g.w_shape, g.y_shape) == ((2, 4, 7, 6), (8, 2, 3, 2), (2, 8, 4, 4))
    assert not g.is_depthwise and not g.is_pointwise
    same = fm.conv2d_geometry((1, 1, 5, 5), (1, 1, 4, 3), padding="same")
    assert (same.top, same.bottom, same.left, same.right, same.y_shape) == (1, 2, 1, 1, (1, 1, 5, 5))
    assert fm.conv2d_geometry((1, 1, 5, 5), (1, 1, 3, 3), padding="valid").y_shape == (1, 1, 3, 3)
    assert fm.conv2d_geometry((1, 1, 5, 5), (1, 1, 3, 3), padding=((0, 1), (2, 3))).y_shape == (1, 1, 4, 8)
    assert fm.conv2d_geometry((1, 6, 5, 5), (12, 1, 3, 3), groups=6).is_depthwise
    assert fm.conv2d_geometry((1, 6, 5, 5), (12, 6, 1, 1)).is_pointwise
    assert not fm.conv2d_geometry((1, 6, 5, 5), (12, 6, 1, 1), stride=2).is_pointwise
    assert not fm.conv2d_geometry((1, 1, 5, 5), (1, 1, 3, 3)).is_depthwise        # one channel: a plain convolution
    assert fm.conv2d_geometry(np.array([1, 3, 5, 5]), (4, 3, 3, 3), np.int64(1), padding=np.int32(1)).oh == 5


@small
@pytest.mark.parametrize("arguments, message", [
    (((1, 3, 5), (4, 3, 3, 3)), r"input must have four axes \(N, C, H, W\), not shape \(1, 3, 5\)"),
    (((1, 3, 5, 5), (4, 3, 3)), r"weight must have four axes"),
    (((1, 3, 5.0, 5), (4, 3, 3, 3)), r"input must have four axes"),
    (((0, 3, 5, 5), (4, 3, 3, 3)), r"input must not be empty: shape \(0, 3, 5, 5\)"),
    (((1, 3, 5, 5), (4, 3, 0, 3)), r"weight must not be empty"),
    (((1, 4, 5, 5), (4, 2, 3, 3), 1, 0, 1, 3), r"groups must divide both the 4 input channels and the 4 filters \(input .*groups 3\)"),
    (((1, 4, 5, 5), (3, 2, 3, 3), 1, 0, 1, 2), r"groups must divide both"),
    (((1, 4, 5, 5), (4, 4, 3, 3), 1, 0, 1, 2), r"each of 2 groups has 2 input channels, the weight expects 4"),
    (((1, 4, 5, 5), (4, 4, 3, 3), 1, 0, 1, 0), r"groups must be an integer of at least 1"),
    (((1, 4, 5, 5), (4, 4, 3, 3), 1, 0, 1, 1.0), r"groups must be an integer of at least 1"),
    (((1, 3, 5, 5), (4, 3, 3, 3), 0), r"stride must be at least 1, not 0"),
    (((1, 3, 5, 5), (4, 3, 3, 3), 1.5), r"stride must be an integer or a pair of integers, not 1.5"),
    (((1, 3, 5, 5), (4, 3, 3, 3), (1, 2, 3)), r"stride must be an integer or a pair"),
    (((1, 3, 5, 5), (4, 3, 3, 3), 1, -1), r"padding must be at least 0, not -1"),
    (((1, 3, 5, 5), (4, 3, 3, 3), 1, "full"), r'padding must be "same", "valid", integers or two pairs, not \'full\''),
    (((1, 3, 5, 5), (4, 3, 3, 3), 2, "same"), r'padding "same" goes with stride 1 alone, not \(2, 2\)'),
    (((1, 3, 5, 5), (4, 3, 3, 3), 1, 0, 0), r"dilation must be at least 1, not 0"),
    (((1, 3, 5, 5), (4, 3, 6, 3)), r"larger than the padded input: no window fits \(input \(1, 3, 5, 5\), kernel \(4, 3, 6, 3\), "
                                   r"stride 1, padding 0, dilation 1, groups 1\)"),
    (((1, 3, 5, 5), (4, 3, 3, 3), 1, 0, 3), r"no window fits"),
])
def test_conv2d_geometry_refuses(arguments, message):
    """Every message names the argument and the value; GeometryError is a ValueError."""
    with pytest.raises(fm.GeometryError, match=message) as caught:
        fm.conv2d_geometry(*arguments)
    assert isinstance(caught.value, ValueError)


@small
@pytest.mark.parametrize("arguments, message", [
    (((1, 3, 5), 2), r"input must have four axes"),
    (((1, 3, 5, 5), 0), r"kernel_size must be at least 1"),
    (((1, 3, 5, 5), 2, 0), r"stride must be at least 1"),
    (((1, 3, 5, 5), 2, 1, 2), r"padding must be at most half the kernel \(input"),
    (((1, 3, 5, 5), 6), r"no window fits \(input \(1, 3, 5, 5\), kernel \(6, 6\)"),
])
def test_pool2d_geometry_refuses(arguments, message):
    with pytest.raises(fm.GeometryError, match=message):
        fm.pool2d_geometry(*arguments)


# ---- counts against loops --------------------------------------------------------------------------------------------

GEOMETRIES = [fm.conv2d_geometry(*a) for a in [
    ((1, 1, 1, 1), (1, 1, 3, 3), 1, 1), ((2, 4, 5, 7), (6, 2, 3, 2), (2, 1), (1, 2), (1, 3), 2), ((1, 3, 4, 4), (3, 1, 3, 3), 1, 1, 1, 3),
    ((1, 2, 3, 3), (2, 2, 2, 2), 3, 0), ((1, 1, 2, 2), (1, 1, 2, 2), 1, 5), ((1, 2, 6, 5), (4, 2, 1, 5), (1, 2), (0, 2)),
    ((3, 2, 8, 8), (2, 2, 5, 3), 4, ((0, 3), (2, 1)), 2), ((1, 1, 4, 9), (2, 1, 3, 3), 2, 3, 3), ((1, 2, 5, 5), (2, 2, 1, 1), 2, 1)]]


@small
@pytest.mark.parametrize("g", GEOMETRIES, ids=str)
def test_macs_are_the_taps(g):
    """Closed forms against a loop over every output pixel and tap: all taps, and those on real pixels alone."""
    taps = inside = 0
    for y, x, ky, kx in itertools.product(range(g.oh), range(g.ow), range(g.kh), range(g.kw)):
        taps += 1
        inside += 0 <= y * g.sh - g.top + ky * g.dh < g.h and 0 <= x * g.sw - g.left + kx * g.dw < g.w
    channels = g.f * g.c // g.groups
    assert fm.conv2d_macs(g.c, g.f, (g.kh, g.kw), g.oh, g.ow, g.groups) == channels * taps
    assert fm.conv2d_interior_macs(g) == g.n * channels * inside
    assert fm.conv2d_params(g.c, g.f, (g.kh, g.kw), g.groups, bias=False) == prod(g.w_shape)
    assert fm.conv2d_bytes(g, 2, bias=True) == 2 * (prod(g.x_shape) + prod(g.w_shape) + g.f + prod(g.y_shape))
    assert fm.im2col_bytes(g, 8) == 8 * g.c * taps
    assert fm.im2col_blow_up(g) == fm.im2col_bytes(g, 1) / (g.c * g.h * g.w)


@small
@pytest.mark.parametrize("kind", fm.LOW_RANK_KINDS)
@pytest.mark.parametrize("g", [g for g in GEOMETRIES if g.groups == 1], ids=str)
def test_low_rank_chain(g, kind):
    """The chain ends at the size of the layer it replaces, and its counts are those of its convolutions and of the formula."""
    k, j = 3, 2
    parts = fm.low_rank_conv_geometries(g, (k, j) if kind == "tucker2" else k, kind)
    assert len(parts) == {"tucker2": 3, "cp": 4}.get(kind, 2)
    assert parts[0].x_shape == g.x_shape and parts[-1].y_shape == g.y_shape
    assert all(first.y_shape == second.x_shape for first, second in zip(parts, parts[1:]))
    for part in parts:                                                   # each is what conv2d_geometry itself works out
        assert part == fm.conv2d_geometry(part.x_shape, part.w_shape, (part.sh, part.sw), ((part.top, part.bottom),
                                          (part.left, part.right)), (part.dh, part.dw), part.groups)
    ohw, hw, last = g.oh * g.ow, g.h * g.w, k * g.f * g.oh * g.ow
    by_hand = {"channel_out": k * g.c * g.kh * g.kw * ohw + last, "channel_in": k * g.c * hw + k * g.f * g.kh * g.kw * ohw,
               "spatial": k * (g.c * g.kh * g.oh * g.w + g.f * g.kw * ohw),
               "tucker2": j * g.c * hw + k * j * g.kh * g.kw * ohw + last,
               "cp": k * (g.c * hw + g.kh * g.oh * g.w + g.kw * ohw) + last}[kind]
    rank = (k, j) if kind == "tucker2" else k
    assert fm.low_rank_conv_macs(g, rank, kind) == g.n * by_hand
    assert fm.low_rank_conv_params(g.c, g.f, (g.kh, g.kw), rank, kind) == sum(prod(part.w_shape) for part in parts) + g.f


@small
def test_slip_spatial_cost_by_the_stride_alone():
    """A circulating count of the spatial pair takes the first layer's width as stride times OW: k (C KH sw + F KW) OH OW. It
    is right where W = sw OW, and wrong on every map that the stride does not divide: 7x7 at stride 2 has W = 7, not 8."""
    def circulating(g, k):
        return k * (g.c * g.kh * g.sw + g.f * g.kw) * g.oh * g.ow

    even, odd = (fm.conv2d_geometry((1, 8, size, size), (6, 8, 3, 3), 2, 1) for size in (8, 7))
    assert circulating(even, 4) == fm.low_rank_conv_macs(even, 4, "spatial")
    assert circulating(odd, 4) - fm.low_rank_conv_macs(odd, 4, "spatial") == 4 * 8 * 3 * 4 * (8 - 7)


# ---- counts against papers -------------------------------------------------------------------------------------------

def conv(c, f, k, size, stride=1, padding=None, groups=1):
    """Geometry of a square layer; padding defaults to (k - 1)/2."""
    return fm.conv2d_geometry((1, c, size, size), (f, c // groups, k, k), stride, (k - 1) // 2 if padding is None else padding, 1, groups)


def total(layers, linears, bias):
    """(MACs, interior MACs, parameters) of convolutions and fully connected layers."""
    counts = [(fm.conv2d_macs(g.c, g.f, (g.kh, g.kw), g.oh, g.ow, g.groups), fm.conv2d_interior_macs(g),
               fm.conv2d_params(g.c, g.f, (g.kh, g.kw), g.groups, bias)) for g in layers]
    counts += [(fm.linear_macs(c, f), fm.linear_macs(c, f), fm.linear_params(c, f)) for c, f in linears]
    return tuple(sum(column) for column in zip(*counts))


@small
def test_alexnet_and_vgg16():
    """Published: 60,965,224 parameters of the two-group AlexNet, 138,357,544 of VGG-16; MACs of both, and without padding taps."""
    alexnet = [conv(3, 96, 11, 227, 4, 0), conv(96, 256, 5, 27, groups=2), conv(256, 384, 3, 13), conv(384, 384, 3, 13, groups=2),
               conv(384, 256, 3, 13, groups=2)]
    assert total(alexnet, [(9216, 4096), (4096, 4096), (4096, 1000)], True) == (724_406_816, 671_322_656, 60_965_224)
    widths = [(3, 64, 224), (64, 64, 224), (64, 128, 112), (128, 128, 112), (128, 256, 56), (256, 256, 56), (256, 256, 56),
              (256, 512, 28), (512, 512, 28), (512, 512, 28), (512, 512, 14), (512, 512, 14), (512, 512, 14)]
    vgg = [conv(c, f, 3, size) for c, f, size in widths]
    assert total(vgg, [(25088, 4096), (4096, 4096), (4096, 1000)], True) == (15_470_264_320, 14_969_824_000, 138_357_544)


@small
def test_resnet18_and_mobilenet_v1():
    """ResNet-18: 1,814,073,344 MACs, 1,680,390,912 off the padding. MobileNet V1: 568,740,352 MACs, 4,231,976 parameters."""
    resnet = [conv(3, 64, 7, 224, 2)] + [conv(64, 64, 3, 56)] * 4
    for c, size in ((64, 56), (128, 28), (256, 14)):
        resnet += [conv(c, 2 * c, 3, size, 2), conv(c, 2 * c, 1, size, 2)] + [conv(2 * c, 2 * c, 3, size // 2)] * 3
    assert total(resnet, [(512, 1000)], False)[:2] == (1_814_073_344, 1_680_390_912)
    assert total(resnet, [(512, 1000)], False)[2] + sum(fm.batch_norm_params(g.f) for g in resnet) == 11_689_512
    mobile, size = [conv(3, 32, 3, 224, 2)], 112
    for c, f, stride in ((32, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2), *[(512, 512, 1)] * 5,
                         (512, 1024, 2), (1024, 1024, 1)):
        mobile.append(conv(c, c, 3, size, stride, groups=c))
        size = mobile[-1].oh
        mobile.append(conv(c, f, 1, size))
        assert fm.depthwise_separable_macs(c, f, 3, size, size) == total(mobile[-2:], [], False)[0]
    macs, _, params = total(mobile, [(1024, 1000)], False)
    assert (macs, params + sum(fm.batch_norm_params(g.f) for g in mobile)) == (568_740_352, 4_231_976)


@small
def test_mobilenet_v1_table_3():
    """An internal layer, 14×14×512: standard, depthwise separable, with width 0.75, with resolution 0.714 (462, 52.3, 29.6, 15.1 M)."""
    assert fm.conv2d_macs(512, 512, 3, 14, 14) == 462_422_016
    assert [fm.depthwise_separable_macs(c, c, 3, n, n) for c, n in ((512, 14), (384, 14), (384, 10))] == [52_283_392, 29_578_752, 15_091_200]
    params = [fm.conv2d_params(512, 512, 3, bias=False), fm.conv2d_params(512, 512, 3, 512, False) + fm.conv2d_params(512, 512, 1, bias=False)]
    assert params == [2_359_296, 266_752]                                # printed as 2.36 and 0.27 million


@small
def test_slips_about_depthwise_separable():
    """Two sentences that circulate, against the exact ratio of MACs.

    "1/D_K + 1/D_F": D_F is the map's size in the paper, and the kernel's term is squared. "y = Σ_i x_i * k_i": that sum over the
    channels makes it a standard convolution with one filter; a depthwise layer keeps the C maps apart.
    """
    c, f, k, size = 32, 64, 3, 14
    exact = fm.depthwise_separable_macs(c, f, k, size, size) / fm.conv2d_macs(c, f, k, size, size)
    assert fm.depthwise_separable_ratio(f, k) == pytest.approx(exact, rel=1e-15)
    slips = [1 / k + 1 / f, 1 / k + 1 / c, 1 / k ** 2 + 1 / size, 1 / k + 1 / size]
    assert all(abs(slip - exact) > 0.3 * exact for slip in slips)
    assert f > k * k                                                     # "F is far smaller than K²" is the wrong way round
    one_filter, depthwise = fm.conv2d_geometry((1, c, 9, 9), (1, c, 3, 3)), fm.conv2d_geometry((1, c, 9, 9), (c, 1, 3, 3), groups=c)
    assert one_filter.y_shape == (1, 1, 7, 7) and depthwise.y_shape == (1, c, 7, 7)
    assert fm.conv2d_macs(c, 1, 3, 7, 7) == fm.conv2d_macs(c, c, 3, 7, 7, groups=c)       # the same work, another meaning


@small
def test_pointwise_traffic_is_least_at_equal_widths():
    """ShuffleNet V2, guideline 1: among all C F = 64² the least traffic is at C = F, and there it meets the bound."""
    h = w = 28
    options = {c: fm.pointwise_traffic(c, 4096 // c, h, w) for c in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)}
    assert min(options, key=options.get) == 64
    macs = fm.conv2d_macs(64, 64, 1, h, w)
    assert options[64] == 2 * (h * w * macs) ** 0.5 + macs / (h * w)


@small
def test_two_shuffled_group_convolutions():
    """g and then C/g groups cost C(C/g + g) a pixel, least at g = sqrt(C)."""
    c = 64
    costs = {g: fm.conv2d_macs(c, c, 1, 1, 1, g) + fm.conv2d_macs(c, c, 1, 1, 1, c // g) for g in (1, 2, 4, 8, 16, 32, 64)}
    assert costs == {g: c * (c // g + g) for g in costs} and min(costs, key=costs.get) == 8


@small
def test_remaining_closed_forms():
    """Each small formula against numbers worked out by hand."""
    assert fm.matmul_macs(2, 3, 4) == 24 and fm.linear_macs(3, 4, n=2) == 24 and fm.linear_params(3, 4, bias=False) == 12
    assert fm.pool2d_operations(fm.pool2d_geometry((2, 3, 6, 6), 2)) == 2 * 3 * 9 * 4
    assert fm.low_rank_linear_params(6, 4, 2) == 24 and fm.low_rank_linear_macs(6, 4, 2, n=3) == 60
    assert fm.conv2d_macs(np.int32(2 ** 20), np.int32(2 ** 20), np.int32(3), 1, 1) == 9 * 2 ** 40        # no int32 overflow
    assert fm.filter_pruning_factor(32, 64, 24, 32) * fm.conv2d_macs(32, 64, 3, 8, 8) == fm.conv2d_macs(24, 32, 3, 8, 8)
    assert fm.filter_pruning_factor(24, 32, 1, 1) * fm.conv2d_macs(32, 32, 3, 8, 8, 32) == fm.conv2d_macs(24, 24, 3, 8, 8, 24)


@small
def test_low_rank_break_even_is_the_last_rank_that_pays():
    """Against trying every rank, squares and thin matrices included; 0 where none pays."""
    for m, n in itertools.product(range(1, 20), repeat=2):
        assert fm.low_rank_break_even(m, n) == max((k for k in range(m * n) if k * (m + n) < m * n), default=0)


@small
def test_receptive_field_by_propagation():
    """A chain against marking, layer by layer from the back, which input pixels one output pixel sees."""
    for chain in ([(3, 1, 1)], [(3, 2, 1), (3, 1, 2), (2, 2, 1)], [(7, 2, 1), (3, 2, 1), (1, 1, 1), (3, 1, 3)]):
        seen = {0}
        for k, s, d in reversed(chain):
            seen = {o * s + tap * d for o in seen for tap in range(k)}
        assert fm.receptive_field_of_chain(chain) == max(seen) - min(seen) + 1


@small
def test_quantized_bytes_of_packed_bits():
    """Against packing real bits with NumPy, plus the side data."""
    for count, bits in itertools.product((1, 7, 8, 100), range(1, 9)):
        assert fm.quantized_bytes(count, bits, scale_bytes=0) == len(np.packbits(np.ones(count * bits, np.uint8)))
    assert fm.quantized_bytes(100, 4, channels=10, scale_bytes=4, zero_point_bytes=1) == 50 + 50


@small
@pytest.mark.parametrize("call, message", [
    (lambda: fm.conv2d_macs(4, 6, 3, 5, 5, groups=4), "groups must divide both c and f: c 4, f 6, groups 4"),
    (lambda: fm.conv2d_macs(0, 6, 3, 5, 5), "c must be an integer of at least 1, not 0"),
    (lambda: fm.conv2d_macs(4, 6, (3, 0), 5, 5), "kernel must be at least 1"),
    (lambda: fm.conv2d_params(4, 6.0, 3), "f must be an integer of at least 1, not 6.0"),
    (lambda: fm.linear_macs(4, True), "f must be an integer"),
    (lambda: fm.filter_pruning_factor(5, 4, 1, 1), "more kept than there were: kept_f 5 of f 4"),
    (lambda: fm.low_rank_conv_params(4, 4, 3, 1, "tucker"), "kind must be one of channel_out, .*, cp, not 'tucker'"),
    (lambda: fm.low_rank_conv_macs(GEOMETRIES[0], 1, "depth"), "kind must be one of"),
    (lambda: fm.low_rank_conv_macs(GEOMETRIES[1], 1, "spatial"), "one group, this one has groups 2"),
    (lambda: fm.low_rank_conv_macs(GEOMETRIES[0], 0, "spatial"), "rank must be an integer of at least 1, not 0"),
    (lambda: fm.low_rank_conv_macs(GEOMETRIES[0], (2, 0), "tucker2"), r"rank must be at least 1, not \(2, 0\)"),
    (lambda: fm.low_rank_conv_params(4, 4, 3, (1, 2), "cp"), r"rank must be an integer of at least 1, not \(1, 2\)"),
    (lambda: fm.quantized_bytes(10, 0), "bits must be"), (lambda: fm.receptive_field(0), "kernel must be"),
])
def test_costs_refuse(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@small
def test_formulas_import_nothing():
    """The ground floor stands alone: neither NumPy nor any other room is imported by its source."""
    import ast
    import pathlib
    for path in pathlib.Path(fm.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                assert isinstance(node, ast.ImportFrom) and (node.level == 1 or node.module == "typing"), f"{path.name}:{node.lineno}"
