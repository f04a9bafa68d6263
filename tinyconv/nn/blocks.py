"""The blocks that the field's networks are made of.

    convolution block        y = act(BN(w * x))
    depthwise separable      depthwise KxK -> BN -> act -> pointwise 1x1 -> BN -> act       MACs / standard = 1/F + 1/K²
    inverted residual        1x1 expand xt -> depthwise 3x3 -> 1x1 project (no activation: the bottleneck is linear); + x if
                             stride is 1 and the channels are equal
Sources: MobileNetV1 (Howard et al. 2017, section 3.1), MobileNetV2 (Sandler et al. 2018, section 3.2-3.4).
"""
import numpy as np

from .activations import ReLU, ReLU6
from .layers import BatchNorm2d, Conv2d
from .module import Module, Sequential


def conv_bn_act(c, f, kernel_size=3, stride=1, groups=1, activation=ReLU6, rng=None):
    """Sequential(convolution without bias, BatchNorm, activation), "same"-like padding (K-1)/2; named 0, 1, 2 as torchvision's."""
    layers = [Conv2d(c, f, kernel_size, stride, (kernel_size - 1) // 2, groups=groups, bias=False, rng=rng), BatchNorm2d(f)]
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
    """Expand t times, depthwise 3x3, project linearly; add the input if shapes are equal. Names: torchvision's (`conv.0…`)."""

    def __init__(self, c, f, stride=1, expand_ratio=6, rng=None):
        super().__init__()
        rng = np.random.default_rng(rng)
        hidden = int(round(c * expand_ratio))
        self.use_residual = stride == 1 and c == f
        layers = [conv_bn_act(c, hidden, 1, rng=rng)] if expand_ratio != 1 else []
        layers += [conv_bn_act(hidden, hidden, 3, stride, groups=hidden, rng=rng),
                   Conv2d(hidden, f, 1, bias=False, rng=rng), BatchNorm2d(f)]
        self.conv = Sequential(*layers)

    def forward(self, x):
        """x + conv(x), or conv(x) where stride or channels change."""
        return x + self.conv(x) if self.use_residual else self.conv(x)
