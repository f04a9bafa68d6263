"""MobileNetV3 (Howard et al.: "Searching for MobileNetV3", ICCV 2019).

What is new: the widths, kernels and places are searched for a phone's milliseconds; squeeze-excitation enters the inverted
residual, and x hardsigmoid(x) takes the place of ReLU6 where planes are small. Where it sits: in the block (`nn.MBConv`), and
in a head that does its last wide 1x1 convolution behind the pooling, on one pixel instead of 49. What it buys: large has 217
MMACs against V2's 301, at more parameters (5.5 M against 3.5 M). It carries over: the block is EfficientNet's, hardswish what
quantized networks use for swish.

Names and shapes of parameters are torchvision's, and so are BatchNorm's ε = 0.001 and momentum 0.01.
"""
from functools import partial

import numpy as np

from .. import functional as F
from .. import nn
from .building import Printed, begin_fan_out, begin_linear, make_divisible

# kernel, expanded channels, channels, squeeze-excitation, hardswish (else ReLU), stride: Tables 1 and 2 of the paper
LARGE = ((3, 16, 16, False, False, 1), (3, 64, 24, False, False, 2), (3, 72, 24, False, False, 1), (5, 72, 40, True, False, 2),
         (5, 120, 40, True, False, 1), (5, 120, 40, True, False, 1), (3, 240, 80, False, True, 2), (3, 200, 80, False, True, 1),
         (3, 184, 80, False, True, 1), (3, 184, 80, False, True, 1), (3, 480, 112, True, True, 1), (3, 672, 112, True, True, 1),
         (5, 672, 160, True, True, 2), (5, 960, 160, True, True, 1), (5, 960, 160, True, True, 1))
SMALL = ((3, 16, 16, True, False, 2), (3, 72, 24, False, False, 2), (3, 88, 24, False, False, 1), (5, 96, 40, True, True, 2),
         (5, 240, 40, True, True, 1), (5, 240, 40, True, True, 1), (5, 120, 48, True, True, 1), (5, 144, 48, True, True, 1),
         (5, 288, 96, True, True, 2), (5, 576, 96, True, True, 1), (5, 576, 96, True, True, 1))
STEM, LARGE_HEAD, SMALL_HEAD = 16, 1280, 1024

PUBLISHED = {"mobilenet_v3_large": {"params": 5_483_032, "macs": 216_589_760},
             "mobilenet_v3_small": {"params": 2_542_856, "macs": 56_510_400}}
PRINTED = tuple(
    [Printed(name, "params", str(row["params"]), "torchvision mobilenetv3.py", "all") for name, row in PUBLISHED.items()]
    + [Printed("mobilenet_v3_large", "macs", "0.217 G", "torchvision mobilenetv3.py"),
       Printed("mobilenet_v3_small", "macs", "0.057 G", "torchvision mobilenetv3.py"),
       Printed("mobilenet_v3_large", "macs", "217 M", "authors' tf-models slim mobilenet/README.md")])


class MobileNetV3(nn.Module):
    """Stem, blocks by `table`, a 1x1 convolution, global average pooling, two linear layers: (N,C,H,W) -> (N,K)."""

    def __init__(self, table, head, num_classes, in_channels, width_mult, dropout, rng):
        super().__init__()
        rng = np.random.default_rng(rng)
        norm, c = partial(nn.BatchNorm2d, eps=0.001, momentum=0.01), make_divisible(STEM * width_mult)
        features = [nn.conv_bn_act(in_channels, c, stride=2, activation=nn.Hardswish, norm=norm, rng=rng)]
        for kernel, expanded, channels, squeezed, hard, stride in table:
            hidden, f = make_divisible(expanded * width_mult), make_divisible(channels * width_mult)
            features.append(nn.MBConv(c, hidden, f, kernel, stride, make_divisible(hidden // 4) if squeezed else 0,
                                      nn.Hardswish if hard else nn.ReLU, nn.ReLU, nn.Hardsigmoid, norm, rng=rng))
            c = f
        features.append(nn.conv_bn_act(c, 6 * c, 1, activation=nn.Hardswish, norm=norm, rng=rng))
        self.features, head = nn.Sequential(*features), make_divisible(head * width_mult)
        self.classifier = nn.Sequential(nn.Linear(6 * c, head, rng=rng), nn.Hardswish(), nn.Dropout(dropout, rng=rng.spawn(1)[0]),
                                        nn.Linear(head, num_classes, rng=rng))
        begin_fan_out(self, rng)
        begin_linear(self.classifier[0], rng)
        begin_linear(self.classifier[3], rng)

    def forward(self, x):
        """(N,C,H,W) -> scores (N,K)."""
        x = F.adaptive_avg_pool2d(self.features(x), 1)                                    # (N,C,h,w) -> (N,C,1,1)
        return self.classifier(F.flatten(x))


def mobilenet_v3_large(num_classes=1000, in_channels=3, width_mult=1.0, dropout=0.2, rng=None):
    """The large one. Cost at 224: PUBLISHED, exactly. width_mult scales every layer's channels, rounded to multiples of 8."""
    return MobileNetV3(LARGE, LARGE_HEAD, num_classes, in_channels, width_mult, dropout, rng)


def mobilenet_v3_small(num_classes=1000, in_channels=3, width_mult=1.0, dropout=0.2, rng=None):
    """The small one (for 224x224 pictures as well)."""
    return MobileNetV3(SMALL, SMALL_HEAD, num_classes, in_channels, width_mult, dropout, rng)
