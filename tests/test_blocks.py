"""The blocks against their formulas in NumPy: attention, shuffled groups, shortcuts, stochastic depth; and how information
flows.
"""
import math

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import formulas, nn

pytestmark = pytest.mark.small


def _in_float64(module):
    return module.to(np.float64)


def _call(module, x):
    with tc.no_grad():
        return module(tc.Tensor(x)).data


def _sigmoid(z):
    return 1 / (1 + np.exp(-z))


def _dense(layer, v):
    """A 1x1 convolution on vectors (N,C)."""
    return v @ layer.weight.data[:, :, 0, 0].T + (0 if layer.bias is None else layer.bias.data)


# ---- attention ------------------------------------------------------------------------------------------------------------

def test_squeeze_excitation_is_its_formula(rng):
    """y_c = x_c σ(W₂ δ(W₁ mean x))_c, Hu et al. 2018, equations 2 to 4; and with other δ and σ."""
    x = rng.standard_normal((3, 6, 4, 5))
    layer = _in_float64(nn.SqueezeExcitation(6, 2, rng=0))
    factors = _sigmoid(_dense(layer.fc2, np.maximum(_dense(layer.fc1, x.mean((2, 3))), 0)))
    assert np.allclose(_call(layer, x), x * factors[:, :, None, None], rtol=0, atol=1e-14)
    other = _in_float64(nn.SqueezeExcitation(6, 2, nn.SiLU, nn.Hardsigmoid, rng=0))
    z = _dense(other.fc1, x.mean((2, 3)))
    gates = np.clip(_dense(other.fc2, z * _sigmoid(z)) + 3, 0, 6) / 6
    assert np.allclose(_call(other, x), x * gates[:, :, None, None], rtol=0, atol=1e-14)


def test_softmax_attention_is_a_mean_of_channels(rng):
    """Σ a_c = 1, so the one map it gives lies between the smallest and the largest channel, pixel by pixel."""
    x, layer = rng.standard_normal((3, 6, 4, 5)), _in_float64(nn.SoftmaxChannelAttention(6, 3, rng=0))
    a, y = layer.weigh(tc.Tensor(x)).data, _call(layer, x)
    assert np.allclose(a.sum(axis=1), 1, rtol=0, atol=1e-15) and (a > 0).all() and a.shape == (3, 6, 1, 1)
    assert np.allclose(y[:, 0], (a * x).sum(axis=1), rtol=0, atol=1e-14) and y.shape == (3, 1, 4, 5)
    assert (y[:, 0] > x.min(axis=1)).all() and (y[:, 0] < x.max(axis=1)).all()


def test_spatial_attention_is_its_formula(rng):
    """One factor a pixel from a 7x7 window over the mean and the maximum of the channels (Woo et al. 2018, equation 3)."""
    x, layer = rng.standard_normal((2, 3, 5, 4)), _in_float64(nn.SpatialAttention(rng=0))
    maps = np.pad(np.stack([x.mean(axis=1), x.max(axis=1)], axis=1), ((0, 0), (0, 0), (3, 3), (3, 3)))
    factors = np.empty((2, 1, 5, 4))
    for n, i, j in np.ndindex(2, 5, 4):
        factors[n, 0, i, j] = _sigmoid((maps[n, :, i:i + 7, j:j + 7] * layer.conv.weight.data[0]).sum())
    assert np.allclose(_call(layer, x), x * factors, rtol=0, atol=1e-14)
    assert layer.conv.weight.size == 98


def test_cbam_weighs_channels_then_pixels(rng):
    """Its two halves, one after the other; the channels' factors from one small network on mean and maximum."""
    x, layer = rng.standard_normal((2, 8, 4, 3)), _in_float64(nn.CBAM(8, 2, rng=0))
    small = lambda v: _dense(layer.fc2, np.maximum(_dense(layer.fc1, v), 0))
    weighed = x * _sigmoid(small(x.mean((2, 3))) + small(x.max((2, 3))))[:, :, None, None]
    assert np.allclose(_call(layer, x), _call(layer.spatial, weighed), rtol=0, atol=1e-14)


def test_dynamic_convolution_mixes_filters_for_each_picture(rng):
    """Σ_k π_k (W_k * x) is (Σ_k π_k W_k) * x, the filters mixed first, a picture at a time; Σ π_k = 1; π differs between
    pictures.
    """
    x = rng.standard_normal((3, 4, 6, 5))
    layer = _in_float64(nn.DynamicConv2d(4, 6, 3, padding=1, groups=2, temperature=0.1, rng=0))
    pi, y = layer.weigh(tc.Tensor(x)).data[:, :, 0, 0], _call(layer, x)
    assert np.allclose(pi.sum(axis=1), 1, rtol=0, atol=1e-15) and np.ptp(pi, axis=0).max() > 0.01
    for n in range(3):
        weight = sum(p * expert.weight.data for p, expert in zip(pi[n], layer.experts))
        bias = sum(p * expert.bias.data for p, expert in zip(pi[n], layer.experts))
        assert np.allclose(y[n:n + 1], tc.kernels.conv2d(x[n:n + 1], weight, bias, padding=1, groups=2), rtol=0, atol=1e-13)
    even = nn.DynamicConv2d(4, 6, 3, temperature=1e9, rng=0).weigh(tc.Tensor(x.astype(np.float32))).data
    assert np.abs(even - 0.25).max() < 1e-6                                 # a high temperature lets all filters take part


# ---- groups and shuffles --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("module, shape, macs, params", [
    (nn.SqueezeExcitation(24, 5, rng=0), (24, 7, 6), formulas.squeeze_excitation_macs(24, 5),
     formulas.squeeze_excitation_params(24, 5)),
    (nn.SoftmaxChannelAttention(9, 4, rng=0), (9, 3, 3), formulas.squeeze_excitation_macs(9, 4),
     formulas.squeeze_excitation_params(9, 4)),
    (nn.SpatialAttention(5, rng=0), (6, 9, 7), formulas.spatial_attention_macs(9, 7, 5), formulas.spatial_attention_params(5)),
    (nn.CBAM(12, 3, rng=0), (12, 8, 5), formulas.cbam_macs(12, 3, 8, 5), formulas.cbam_params(12, 3)),
    (nn.DynamicConv2d(12, 8, 3, 2, 1, groups=2, experts=5, rng=0), (12, 9, 8),
     formulas.dynamic_conv2d_macs(12, 8, 3, 5, 4, 5, 3, groups=2, mixed=False),
     formulas.dynamic_conv2d_params(12, 8, 3, 5, 3, groups=2)),
    (nn.DynamicConv2d(3, 4, 1, bias=False, experts=2, rng=0), (3, 4, 4),
     formulas.dynamic_conv2d_macs(3, 4, 1, 4, 4, 2, 1, mixed=False), formulas.dynamic_conv2d_params(3, 4, 1, 2, 1, bias=False))],
                         ids=lambda value: type(value).__name__)
def test_attention_costs_its_closed_form(module, shape, macs, params):
    """Formula == counted from the traced module == executed by the loops on ones; of a batch in proportion."""
    s = tc.cost.summary(module, (1, *shape))
    assert (s.macs, s.params) == (macs, params)
    assert sum(tc.cost.row_on_ones(row) for row in s.rows) == macs and tc.cost.summary(module, (3, *shape)).macs == 3 * macs


def test_mixing_filters_first_costs_one_convolution():
    """E convolutions or E weights and one: the difference of both forms, and what must be positive."""
    summed, mixed = (formulas.dynamic_conv2d_macs(16, 32, 3, 14, 14, 4, 4, mixed=mixed) for mixed in (False, True))
    assert summed - mixed == 3 * formulas.conv2d_macs(16, 32, 3, 14, 14) - 4 * formulas.conv2d_params(16, 32, 3, bias=False)
    with pytest.raises(formulas.GeometryError, match="experts must be an integer of at least 1, not 0"):
        formulas.dynamic_conv2d_macs(16, 32, 3, 14, 14, 0, 4)
    with pytest.raises(formulas.GeometryError, match="squeeze must be an integer of at least 1, not 2.5"):
        formulas.cbam_params(16, 2.5)


def _sees(module, c):
    """Which of the C inputs each output depends on: (F,C) of truth values, from the sum of absolute gradients."""
    x, seen = tc.Tensor(np.random.default_rng(1).standard_normal((1, c, 3, 3)), requires_grad=True), []
    y = _in_float64(module).eval()(x)
    for f in range(y.shape[1]):
        x.grad = None
        y[:, f].sum().backward(retain_graph=True)
        seen.append(np.abs(x.grad).sum((0, 2, 3)) > 0)
    return np.array(seen)


@pytest.mark.parametrize("c, groups", [(16, None), (12, 3), (12, 4), (10, None), (6, 1), (6, 6)])
def test_shuffled_groups_see_everything(c, groups):
    """Every output depends on every input, at C (C/G + G) MACs a pixel; without the shuffle only on the first groups that its
    second group touches.
    """
    pair = nn.ShuffledPointwise(c, groups, rng=0)
    g = groups or formulas.shuffle_groups(c)
    assert _sees(pair, c).all()
    assert tc.cost.summary(pair, (1, c, 5, 4)).macs == 20 * formulas.shuffled_pair_macs(c, g) == 20 * c * (c // g + g)
    pair.shuffle = nn.Identity()
    first, second = np.arange(c) // (c // g), np.arange(c) // g              # the group of each channel, before and behind
    touched = [[k in first[second == own] for k in first] for own in second]
    assert np.array_equal(_sees(pair, c), touched) and np.all(touched) == (g in (1, c))


def test_the_rule_of_the_square_root():
    """The rule is the divisor nearest to floor(sqrt(C)); where C is a square it is the cheapest G there is; 58 -> 7 does not
    divide.
    """
    assert [formulas.shuffle_groups(c) for c in (1, 2, 16, 58, 64, 100, 144, 240)] == [1, 1, 4, 2, 8, 10, 12, 15]
    for c in range(1, 300):
        g = formulas.shuffle_groups(c)
        divisors = [d for d in range(1, c + 1) if c % d == 0]
        root = math.isqrt(c)
        assert g in divisors and abs(g - root) == min(abs(d - root) for d in divisors)
        if root * root == c:
            assert formulas.shuffled_pair_macs(c, g) == min(formulas.shuffled_pair_macs(c, d) for d in divisors) == 2 * c * root
    assert formulas.shuffle_groups(60, 24, 216) == 6 and formulas.shuffle_groups(10, 7) == 1
    with pytest.raises(formulas.GeometryError, match="c must be an integer of at least 1, not 0"):
        formulas.shuffle_groups(0)
    with pytest.raises(formulas.GeometryError, match="groups must divide both c and f: c 58, f 58, groups 7"):
        formulas.shuffled_pair_macs(58, 7)


@pytest.mark.parametrize("kind, c, f, stride, options", [
    (nn.ShuffleUnitV1, 24, 24, 1, {"groups": 3}), (nn.ShuffleUnitV1, 6, 24, 2, {"groups": 3}), (nn.ShuffleUnitV2, 6, 6, 1, {}),
    (nn.ShuffleUnitV2, 6, 10, 2, {}), (nn.ShuffleUnitV2, 6, 10, 2, {"keep_input": True})])
def test_shuffle_units_have_the_shapes_they_say(kind, c, f, stride, options):
    """(N,C,H,W) -> (N,F,H/S,W/S), odd planes rounded up; a V2 unit with stride 1 hands half of the channels on untouched."""
    x = np.random.default_rng(0).standard_normal((2, c, 7, 5)).astype(np.float32)
    y = _call(kind(c, f, stride, **options, rng=0).eval(), x)
    assert y.shape == ((2, f, 7, 5) if stride == 1 else (2, f, 4, 3))
    if kind is nn.ShuffleUnitV2 and stride == 1:
        assert np.array_equal(y[:, ::2], x[:, :3])                           # the shuffle puts them at every second place


# ---- shortcuts ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("c, f, stride", [(3, 3, 2), (2, 4, 2), (2, 5, 1), (3, 9, 2)])
def test_padded_shortcut_leaves_out_pixels_and_adds_zeros(c, f, stride):
    """Option A: zero channels before and behind, every S-th pixel, no parameters, no MACs."""
    x = np.random.default_rng(0).standard_normal((2, c, 5, 6))
    shortcut = nn.PaddedShortcut(c, f, stride)
    expected = np.pad(x[:, :, ::stride, ::stride], ((0, 0), ((f - c) // 2, f - c - (f - c) // 2), (0, 0), (0, 0)))
    assert np.array_equal(_call(shortcut, x), expected) and not list(shortcut.parameters())
    assert tc.cost.summary(shortcut, (1, c, 5, 6)).macs == 0


def test_stride_first_looks_at_one_pixel_in_four(rng):
    """The paper's bottleneck ignores what its first 1x1 strides over; torchvision's looks at every pixel."""
    x = rng.standard_normal((1, 8, 8, 8))
    for first in (True, False):
        block = _in_float64(nn.Bottleneck(8, 4, 2, stride_first=first, rng=0)).eval()
        touched = x.copy()
        touched[:, :, 1::2, 1::2] += 1
        assert np.array_equal(_call(block, x), _call(block, touched)) == first


def test_stochastic_depth_drops_whole_pictures():
    """A picture is 0 or divided by 1 - p, all its numbers alike; their count is binomial, within 6 deviations; none in
    evaluation.
    """
    n, p = 4000, 0.3
    layer, x = nn.StochasticDepth(p, rng=0), np.full((n, 2, 3, 1), 2.0)
    y = _call(layer, x)
    assert (y == y[:, :1, :1]).all() and set(np.unique(y)) == {0.0, 2.0 * (1 / 0.7)}
    assert abs((y[:, 0, 0, 0] == 0).sum() - n * p) < 6 * math.sqrt(n * p * (1 - p))
    assert np.array_equal(_call(layer.eval(), x), x) and not np.array_equal(_call(layer.train(), x), y)


def test_the_block_without_its_branch_is_the_identity():
    """MBConv with a drop of almost 1 in training hands pictures through; in evaluation the branch is always there, undivided."""
    x = np.random.default_rng(0).standard_normal((4, 4, 3, 3)).astype(np.float32)
    block = nn.MBConv(4, 8, 4, drop=0.999999, rng=0)
    assert np.array_equal(_call(block, x), x)
    block.eval()
    assert np.array_equal(_call(block, x), x + _call(block.block, x))


@pytest.mark.parametrize("f, message", [
    (lambda: nn.ShuffleUnitV2(4, 5, 2), "f must be even, and c with stride 1 .*, not c = 4 and f = 5"),
    (lambda: nn.ShuffleUnitV2(4, 6), "not c = 4 and f = 6"),
    (lambda: nn.ShuffleUnitV1(6, 6), "f must be a multiple of 4.*not c = 6 and f = 6"),
    (lambda: nn.ShuffleUnitV1(8, 8, 2), "otherwise above it, not c = 8 and f = 8"),
    (lambda: nn.ShuffleUnitV1(8, 8, groups=3), "groups must divide in_channels and out_channels, not 3 with 8 and 2"),
    (lambda: nn.ShuffledPointwise(6, 4), "groups must divide in_channels and out_channels, not 4 with 6 and 6"),
    (lambda: nn.PaddedShortcut(2, 7), "f must be from c to 3 c, not 7 with c = 2"),
    (lambda: nn.SpatialAttention(4), "kernel_size must be odd.*not 4"),
    (lambda: nn.DynamicConv2d(2, 2, 1, temperature=0), "temperature must be above 0, not 0"),
    (lambda: nn.DynamicConv2d(2, 2, 1, experts=0), "experts must be an integer of at least 1, not 0"),
    (lambda: nn.StochasticDepth(1.0), r"p must lie in \[0, 1\), not 1.0"),
    (lambda: nn.attention_of("channel", 4, 1), "attention must be None, 'se', 'spatial', 'cbam', not 'channel'"),
])
def test_wrong_arguments_are_named(f, message):
    with pytest.raises(ValueError, match=message):
        f()
