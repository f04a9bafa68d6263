"""The blocks that the field's networks are made of.

    convolution block        y = act(BN(w * x))
    depthwise separable      depthwise KxK -> BN -> act -> pointwise 1x1 -> BN -> act       MACs / standard = 1/F + 1/K²
    inverted residual        1x1 expand xt -> depthwise 3x3 -> 1x1 project (no activation: the bottleneck is linear); + x if
                             stride is 1 and the channels are equal
    Fire                     s = act(1x1 squeeze), y = [act(1x1 s), act(3x3 s)] side by side
    residual basic           act(3x3 -> 3x3 + x);  bottleneck  act(1x1 down -> 3x3 -> 1x1 up x4 + x)
    MBConv                   the inverted residual with any kernel, activation, and squeeze-excitation behind the depthwise one
    ShuffleNet V1            grouped 1x1 -> shuffle -> depthwise 3x3 -> grouped 1x1; + x, or beside its average pooling
    ShuffleNet V2            half of the channels through 1x1 -> depthwise 3x3 -> 1x1, half as they are, then a shuffle
Sources: MobileNetV1 (Howard et al. 2017, section 3.1), MobileNetV2 (Sandler et al. 2018, section 3.2-3.4), SqueezeNet (Iandola
et al. 2016, section 3.2), ResNet (He et al. 2016, section 3.3 and 4.1), MobileNetV3 (Howard et al. 2019, section 3), ShuffleNet
(Zhang et al. 2018, section 3.2), ShuffleNet V2 (Ma et al. 2018, section 3).
"""
import numpy as np

from .. import functional as F
from ..formulas import shuffle_groups
from .activations import ReLU, ReLU6, Sigmoid
from .attention import SqueezeExcitation, attention_of
from .layers import BatchNorm2d, ChannelShuffle, Conv2d, StochasticDepth
from .module import Module, Sequential


def conv_bn_act(c, f, kernel_size=3, stride=1, groups=1, activation=ReLU6, norm=BatchNorm2d, rng=None):
    """Sequential(convolution without bias, BatchNorm, activation), "same"-like padding (K-1)/2; named 0, 1, 2 as torchvision's."""
    layers = [Conv2d(c, f, kernel_size, stride, (kernel_size - 1) // 2, groups=groups, bias=False, rng=rng), norm(f)]
    return Sequential(*layers, *([activation()] if activation is not None else []))


class DepthwiseSeparable(Module):
    """Depthwise KxK then pointwise 1x1, BatchNorm and activation after each; (N,C,H,W) -> (N,F,H/S,W/S)."""

    def __init__(self, c, f, stride=1, kernel_size=3, activation=ReLU, rng=None):
        super().__init__()
        rng = np.random.default_rng(rng)
        self.depthwise = conv_bn_act(c, c, kernel_size, stride, groups=c, activation=activation, rng=rng)
        self.pointwise = conv_bn_act(c, f, 1, activation=activation, rng=rng)

    def forward(self, x):
        """Each channel by itself, then all channels at each pixel."""
        return self.pointwise(self.depthwise(x))


class InvertedResidual(Module):
    """Expand t times, depthwise 3x3, project linearly; add the input if shapes are equal. Names: torchvision's (`conv.0…`).

    `attention` ("se", "spatial", "cbam") weighs the wide channels behind the depthwise convolution, a quarter of them squeezed.
    """

    def __init__(self, c, f, stride=1, expand_ratio=6, attention=None, rng=None):
        super().__init__()
        rng = np.random.default_rng(rng)
        hidden = int(round(c * expand_ratio))
        self.use_residual = stride == 1 and c == f
        layers = [conv_bn_act(c, hidden, 1, rng=rng)] if expand_ratio != 1 else []
        layers += [conv_bn_act(hidden, hidden, 3, stride, groups=hidden, rng=rng)]
        layers += [attention_of(attention, hidden, max(1, hidden // 4), rng=rng)] if attention is not None else []
        layers += [Conv2d(hidden, f, 1, bias=False, rng=rng), BatchNorm2d(f)]
        self.conv = Sequential(*layers)

    def forward(self, x):
        """x + conv(x), or conv(x) where stride or channels change."""
        return x + self.conv(x) if self.use_residual else self.conv(x)


class MBConv(Module):
    """Expand to `hidden`, depthwise KxK, squeeze-excitation (`squeeze` channels, 0: none), project linearly; + x if shapes are
    equal.

    No expansion where hidden == c. The block of MobileNetV3 and EfficientNet; names: torchvision's (`block.0…`).
    `squeeze_activation` and `gate` are the δ and σ of the squeeze-excitation; with `drop` in training the branch is left out
    that often (`F.stochastic_depth`).
    """

    def __init__(self, c, hidden, f, kernel_size=3, stride=1, squeeze=0, activation=ReLU, squeeze_activation=ReLU, gate=Sigmoid,
                 norm=BatchNorm2d, drop=0.0, rng=None):
        super().__init__()
        rng = np.random.default_rng(rng)
        self.use_residual = stride == 1 and c == f
        layers = [conv_bn_act(c, hidden, 1, activation=activation, norm=norm, rng=rng)] if hidden != c else []
        layers.append(conv_bn_act(hidden, hidden, kernel_size, stride, hidden, activation, norm, rng=rng))
        layers += [SqueezeExcitation(hidden, squeeze, squeeze_activation, gate, rng=rng)] if squeeze else []
        layers.append(conv_bn_act(hidden, f, 1, activation=None, norm=norm, rng=rng))
        self.block, self.drop = Sequential(*layers), StochasticDepth(drop, rng=rng.spawn(1)[0])

    def forward(self, x):
        """x + block(x), or block(x) where stride or channels change."""
        return x + self.drop(self.block(x)) if self.use_residual else self.block(x)


class Fire(Module):
    """Squeeze to few channels, expand them by 1x1 and 3x3 side by side: (N,C,H,W) -> (N,E1+E3,H,W). ReLU behind each of the
    three.

    Cost a pixel: C S + S E1 + 9 S E3 MACs. Names: torchvision's.
    """

    def __init__(self, c, squeeze, expand1x1, expand3x3, rng=None):
        super().__init__()
        rng = np.random.default_rng(rng)
        self.squeeze = Conv2d(c, squeeze, 1, rng=rng)
        self.expand1x1 = Conv2d(squeeze, expand1x1, 1, rng=rng)
        self.expand3x3 = Conv2d(squeeze, expand3x3, 3, padding=1, rng=rng)

    def forward(self, x):
        """Two views of one small layer."""
        s = F.relu(self.squeeze(x))                                                       # (N,C,H,W) -> (N,S,H,W)
        return F.concat([F.relu(self.expand1x1(s)), F.relu(self.expand3x3(s))], dim=1)


def _projection(c, f, stride, rng):
    """What the shortcut needs where shapes change: 1x1 convolution and BatchNorm (He et al. 2016, option B); None otherwise."""
    return conv_bn_act(c, f, 1, stride, activation=None, rng=rng) if stride != 1 or c != f else None


class PaddedShortcut(Module):
    """The shortcut without parameters (He et al. 2016, option A): every S-th pixel, zero channels before and behind: (N,C,H,W) ->
    (N,F,H/S,W/S), for F up to 3 C. The zeros are 0 x: numbers that are not finite stay so.
    """

    def __init__(self, c, f, stride=1):
        super().__init__()
        if not c <= f <= 3 * c:
            raise ValueError(f"f must be from c to 3 c, not {f} with c = {c}: zero channels are made of those there are")
        self.stride, self.before, self.behind = stride, (f - c) // 2, f - c - (f - c) // 2

    def forward(self, x):
        """Pixels are left out, channels added."""
        x = x[:, :, ::self.stride, ::self.stride]
        zero = x * 0.0
        return F.concat([zero[:, :self.before]] * (self.before > 0) + [x] + [zero[:, :self.behind]] * (self.behind > 0), dim=1)


class BasicBlock(Module):
    """Two 3x3 convolutions and the input beside them: (N,C,H,W) -> (N,F,H/S,W/S). Names: torchvision's (`conv1`, `downsample.0`).

    Where shapes change the input is projected, or with `padded` only filled up (option A: no parameters).
    """

    expansion = 1

    def __init__(self, c, f, stride=1, padded=False, rng=None):
        super().__init__()
        rng = np.random.default_rng(rng)
        self.conv1, self.bn1 = Conv2d(c, f, 3, stride, 1, bias=False, rng=rng), BatchNorm2d(f)
        self.conv2, self.bn2 = Conv2d(f, f, 3, 1, 1, bias=False, rng=rng), BatchNorm2d(f)
        changes = stride != 1 or c != f
        self.downsample = PaddedShortcut(c, f, stride) if padded and changes else _projection(c, f, stride, rng)

    def forward(self, x):
        """act(branch(x) + x), x projected where shapes change."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(Module):
    """1x1 down to `width`, 3x3, 1x1 up to 4 width, and the input beside them: (N,C,H,W) -> (N,4 width,H/S,W/S).

    The stride is the 3x3 convolution's, as torchvision has it; with `stride_first` the first 1x1's, as in the paper: fewer MACs
    (the 3x3 and the first 1x1 run on the smaller plane), but three of four pixels are never looked at. `attention` ("se",
    "spatial", "cbam") weighs the branch before the addition, a sixteenth of its channels squeezed. Names: torchvision's.
    """

    expansion = 4

    def __init__(self, c, width, stride=1, stride_first=False, attention=None, rng=None):
        super().__init__()
        rng = np.random.default_rng(rng)
        first, second = (stride, 1) if stride_first else (1, stride)
        f = width * self.expansion
        self.conv1, self.bn1 = Conv2d(c, width, 1, first, bias=False, rng=rng), BatchNorm2d(width)
        self.conv2, self.bn2 = Conv2d(width, width, 3, second, 1, bias=False, rng=rng), BatchNorm2d(width)
        self.conv3, self.bn3 = Conv2d(width, f, 1, bias=False, rng=rng), BatchNorm2d(f)
        self.attention = attention_of(attention, f, max(1, f // 16), rng=rng)
        self.downsample = _projection(c, f, stride, rng)

    def forward(self, x):
        """act(branch(x) + x), x projected where shapes change."""
        y = F.relu(self.bn1(self.conv1(x)))                                               # (N,C,H,W) -> (N,width,H,W)
        y = F.relu(self.bn2(self.conv2(y)))                                               # -> (N,width,H/S,W/S)
        y = self.bn3(self.conv3(y))                                                       # -> (N,4 width,H/S,W/S)
        y = y if self.attention is None else self.attention(y)
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ShuffledPointwise(Module):
    """Two grouped 1x1 convolutions that together see everything: G groups, a shuffle, C/G groups: (N,C,H,W) -> (N,C,H,W).

    Cost a pixel: C (C/G + G) MACs (`formulas.shuffled_pair_macs`), least at G = sqrt(C); `groups` None:
    `formulas.shuffle_groups(c)`. Without the shuffle every output would depend on C/G inputs alone. Errors: ValueError unless
    the groups divide C.
    """

    def __init__(self, c, groups=None, rng=None):
        super().__init__()
        rng = np.random.default_rng(rng)
        g = shuffle_groups(c) if groups is None else groups
        self.first = Conv2d(c, c, 1, groups=g, bias=False, rng=rng)
        self.shuffle = ChannelShuffle(g)
        self.second = Conv2d(c, c, 1, groups=c // g, bias=False, rng=rng)

    def forward(self, x):
        """After the shuffle, each of the C/G groups holds one channel of every first group."""
        return self.second(self.shuffle(self.first(x)))


class ShuffleUnitV1(Module):
    """Grouped 1x1 to F/4, shuffle, depthwise 3x3, grouped 1x1; + x, or with stride 2 beside its 3x3 average: (N,C,H,W) ->
    (N,F,H/S,W/S).

    With stride 2 the branch has F - C channels, the rest is the input's average pooling. `first_groups`: those of the first
    1x1, where they differ (1 in the network's first unit: it has few channels). `groups` None: `formulas.shuffle_groups`, the
    common divisor of the channel counts nearest to sqrt(F/4). Errors: ValueError naming channels that the groups do not divide.
    """

    def __init__(self, c, f, stride=1, groups=None, first_groups=None, rng=None):
        super().__init__()
        if f % 4 or (stride == 1 and c != f) or (stride > 1 and f <= c):
            raise ValueError("f must be a multiple of 4, with stride 1 equal to c and otherwise above it, "
                             f"not c = {c} and f = {f}")
        rng = np.random.default_rng(rng)
        middle, made, self.stride = f // 4, f if stride == 1 else f - c, stride
        groups = shuffle_groups(middle, c, made) if groups is None else groups
        self.branch = Sequential(
            *conv_bn_act(c, middle, 1, groups=first_groups or groups, activation=ReLU, rng=rng), ChannelShuffle(groups),
            *conv_bn_act(middle, middle, 3, stride, groups=middle, activation=None, rng=rng),
            *conv_bn_act(middle, made, 1, groups=groups, activation=None, rng=rng))

    def forward(self, x):
        """ReLU behind the addition, or behind the branch (the average of what is not negative needs none)."""
        y = self.branch(x)
        return F.relu(x + y) if self.stride == 1 else F.concat([F.avg_pool2d(x, 3, self.stride, 1), F.relu(y)], dim=1)


class ShuffleUnitV2(Module):
    """Split, work on one half, set side by side, shuffle; with stride 2 both branches see all channels: (N,C,H,W) ->
    (N,F,H/S,W/S).

    The second branch is 1x1 -> depthwise 3x3 -> 1x1 of width F/2. With stride 2 the first (depthwise 3x3 -> 1x1) has F/2
    channels as torchvision has it; with `keep_input` C of them, and the second F - C, as in the authors' code. Names:
    torchvision's. Errors: ValueError for an odd F, and for stride 1 with C != F.
    """

    def __init__(self, c, f, stride=1, keep_input=False, rng=None):
        super().__init__()
        if f % 2 or stride == 1 and c != f:
            raise ValueError(f"f must be even, and c with stride 1 (the channels are split in half), not c = {c} and f = {f}")
        rng = np.random.default_rng(rng)
        half, self.stride = f // 2, stride
        kept = c if keep_input and stride > 1 else half
        self.branch1 = Sequential()
        if stride > 1:
            self.branch1 = Sequential(*conv_bn_act(c, c, 3, stride, groups=c, activation=None, rng=rng),
                                      *conv_bn_act(c, kept, 1, activation=ReLU, rng=rng))
        self.branch2 = Sequential(*conv_bn_act(c if stride > 1 else half, half, 1, activation=ReLU, rng=rng),
                                  *conv_bn_act(half, half, 3, stride, groups=half, activation=None, rng=rng),
                                  *conv_bn_act(half, f - kept, 1, activation=ReLU, rng=rng))

    def forward(self, x):
        """Half of the result is the other branch's: the shuffle lets them meet in the next unit."""
        a, b = F.split(x, x.shape[1] // 2, dim=1) if self.stride == 1 else (x, x)
        return F.channel_shuffle(F.concat([self.branch1(a), self.branch2(b)], dim=1), 2)
