"""MobileNetV1 (Howard et al., "MobileNets: efficient convolutional neural networks for mobile vision applications", 2017).

What is new: every convolution but the first is split into a depthwise 3x3 (each channel by itself) and a pointwise 1x1 (each
pixel by itself). Where it sits: in all thirteen blocks (`nn.DepthwiseSeparable`). What it buys: 1/F + 1/K² of a standard
convolution's MACs a layer, and where the rest is: 95 % of its MACs are pointwise, 3 % depthwise. It carries over: depthwise and
pointwise layers are in all light networks that follow here. It does have one fully connected layer, behind the pooling.

Two controls of the paper's tables say where the gain comes from: `mobilenet_v1_conv` has full 3x3 convolutions in place of the
pairs (8.6 times the MACs, for one percent of accuracy [mem], Table 4), `mobilenet_v1_shallow` leaves five blocks out (as cheap
as width 0.75, and less accurate [mem], Table 5). The small form takes 28x28 or 32x32 pictures.
"""
from functools import partial

import numpy as np

from .. import functional as F
from .. import nn
from .building import Printed, begin_fan_out, cut

# channels and stride of each depthwise separable block: Table 1 of the paper
TABLE = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))
STEM = 32
SMALL_TABLE = ((32, 1), (64, 2), (64, 1), (128, 1))
SMALL_STEM = 16

SHALLOW_TABLE = tuple(row for row in TABLE if row != (512, 1))                              # the five 14x14x512 blocks removed

# at 224; the paper prints 569 M and 4.2 M
PUBLISHED = {"mobilenet_v1": {"params": 4_231_976, "params_without_batch_norm": 4_210_088, "macs": 568_740_352},
             "mobilenet_v1_conv": {"params": 29_294_088, "macs": 4_867_293_184},
             "mobilenet_v1_shallow": {"params": 2_887_976, "macs": 307_323_392}}
_PAPER = "Howard et al. 2017, Table "
PRINTED = tuple(
    [Printed("mobilenet_v1", "macs", text, _PAPER + "6", options={"width_mult": width})
     for width, text in ((1.0, "569 M"), (0.75, "325 M"), (0.5, "149 M"), (0.25, "41 M"))]
    + [Printed("mobilenet_v1", "params", text, _PAPER + "6", "all", options={"width_mult": width})
       for width, text in ((1.0, "4.2 M"), (0.75, "2.6 M"), (0.5, "1.3 M"), (0.25, "0.5 M"))]
    + [Printed("mobilenet_v1", "macs", text, _PAPER + "7", size=size, rounding=rounding)
       for size, text, rounding in ((192, "418 M", "nearest"), (160, "290 M", "down"), (128, "186 M", "nearest"))]
    + [Printed("mobilenet_v1_conv", "macs", "4866 M", _PAPER + "4", "conv"),                      # 4867 with the linear layer
       Printed("mobilenet_v1_conv", "params", "29.3 M", _PAPER + "4", "all"),
       Printed("mobilenet_v1_shallow", "macs", "307 M", _PAPER + "5"),
       Printed("mobilenet_v1_shallow", "params", "2.9 M", _PAPER + "5", "all")])


class MobileNetV1(nn.Module):
    """Stem, depthwise separable blocks by `table`, global average pooling, a linear classifier: (N,C,H,W) -> (N,K).

    `block(c, f, stride=…, rng=…)` makes what stands in the place of a depthwise separable block.
    """

    def __init__(self, table, stem, num_classes, in_channels, width_mult, rng, block=nn.DepthwiseSeparable):
        super().__init__()
        rng = np.random.default_rng(rng)
        c = cut(stem, width_mult)
        features = [nn.conv_bn_act(in_channels, c, stride=2, activation=nn.ReLU, rng=rng)]
        for channels, stride in table:
            f = cut(channels, width_mult)
            features.append(block(c, f, stride=stride, rng=rng))
            c = f
        self.features = nn.Sequential(*features)
        self.classifier = nn.Linear(c, num_classes, rng=rng)
        begin_fan_out(self, rng)

    def forward(self, x):
        """(N,C,H,W) -> scores (N,K)."""
        x = F.adaptive_avg_pool2d(self.features(x), 1)                                    # (N,C,h,w) -> (N,C,1,1)
        return self.classifier(F.flatten(x))


def mobilenet_v1(num_classes=1000, in_channels=3, width_mult=1.0, rng=None):
    """The paper's network. Cost at 224: PUBLISHED, exactly. `width_mult` is its α."""
    return MobileNetV1(TABLE, STEM, num_classes, in_channels, width_mult, rng)


def mobilenet_v1_conv(num_classes=1000, in_channels=3, width_mult=1.0, rng=None):
    """The control with full convolutions: 3x3, BatchNorm, ReLU in place of every depthwise separable block."""
    return MobileNetV1(TABLE, STEM, num_classes, in_channels, width_mult, rng, partial(nn.conv_bn_act, activation=nn.ReLU))


def mobilenet_v1_shallow(num_classes=1000, in_channels=3, width_mult=1.0, rng=None):
    """The shallow control: the five blocks of 512 channels on planes of 14x14 left out."""
    return MobileNetV1(SHALLOW_TABLE, STEM, num_classes, in_channels, width_mult, rng)


def mobilenet_v1_small(num_classes=10, in_channels=1, width_mult=1.0, rng=None):
    """MobileNetV1 for 28x28 and 32x32 pictures: four blocks on planes of 14x14 and 7x7.

    >>> tc.models.mobilenet_v1_small(rng=0)(tc.Tensor(np.zeros((1, 1, 28, 28), np.float32))).shape
    (1, 10)
    """
    return MobileNetV1(SMALL_TABLE, SMALL_STEM, num_classes, in_channels, width_mult, rng)
