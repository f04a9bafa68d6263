"""MnasNet-B1 (Tan, Chen, Pang, Vasudevan, Sandler, Howard, Le: "MnasNet: platform-aware neural architecture search", CVPR 2019).

What is new: the search's reward is accuracy times (milliseconds on a phone / target)^-0.07 [mem], and every stage may differ in
kernel, expansion and depth. Where it sits: the result is a table of inverted residuals (`MnasBlock`), B1 the one without
squeeze-excitation. What it buys: 314 MMACs and 4.4 M parameters, MobileNetV2's size, with 5x5 kernels in 10 of 17 depthwise
layers. It carries over: its search space and block are MobileNetV3's and EfficientNet's.

Names and shapes of parameters are torchvision's, and so is BatchNorm's momentum of 0.0003.
"""
from functools import partial

import numpy as np

from .. import functional as F
from .. import nn
from .building import Printed, begin_fan_out, make_divisible

# expansion, kernel, stride, channels, blocks of each stage behind the first two layers: torchvision's mnasnet.py
TABLE = ((3, 3, 2, 24, 3), (3, 5, 2, 40, 3), (6, 5, 2, 80, 3), (6, 3, 1, 96, 2), (6, 5, 2, 192, 4), (6, 3, 1, 320, 1))
STEM, FIRST, HEAD = 32, 16, 1280

PUBLISHED = {"mnasnet0_5": {"params": 2_218_512, "macs": 104_455_968}, "mnasnet0_75": {"params": 3_170_208, "macs": 215_493_104},
             "mnasnet1_0": {"params": 4_383_312, "macs": 314_415_872}, "mnasnet1_3": {"params": 6_282_256, "macs": 526_362_432}}
PRINTED = tuple(
    [Printed(name, "params", str(row["params"]), "torchvision mnasnet.py", "all") for name, row in PUBLISHED.items()]
    + [Printed(name, "macs", text, "torchvision mnasnet.py") for name, text in (
        ("mnasnet0_5", "0.104 G"), ("mnasnet0_75", "0.215 G"), ("mnasnet1_0", "0.314 G"), ("mnasnet1_3", "0.526 G"))])


class MnasBlock(nn.Module):
    """The inverted residual with ReLU and any kernel, its layers in one row (`layers.0` … `layers.7`, torchvision's names)."""

    def __init__(self, c, f, kernel_size, stride, expand_ratio, norm, rng):
        super().__init__()
        hidden, self.use_residual = c * expand_ratio, stride == 1 and c == f
        self.layers = nn.Sequential(*nn.conv_bn_act(c, hidden, 1, activation=nn.ReLU, norm=norm, rng=rng),
                                    *nn.conv_bn_act(hidden, hidden, kernel_size, stride, hidden, nn.ReLU, norm, rng=rng),
                                    *nn.conv_bn_act(hidden, f, 1, activation=None, norm=norm, rng=rng))

    def forward(self, x):
        """x + layers(x), or layers(x) where stride or channels change."""
        return x + self.layers(x) if self.use_residual else self.layers(x)


class MnasNet(nn.Module):
    """Stem, a depthwise separable layer, stages by TABLE, a 1x1 head, global average pooling, dropout, a linear layer:
    (N,C,H,W) -> (N,K).
    """

    def __init__(self, num_classes, in_channels, width_mult, dropout, rng):
        super().__init__()
        rng, norm = np.random.default_rng(rng), partial(nn.BatchNorm2d, momentum=3e-4)
        stem, c = make_divisible(STEM * width_mult), make_divisible(FIRST * width_mult)
        layers = [*nn.conv_bn_act(in_channels, stem, stride=2, activation=nn.ReLU, norm=norm, rng=rng),
                  *nn.conv_bn_act(stem, stem, 3, 1, stem, nn.ReLU, norm, rng=rng),
                  *nn.conv_bn_act(stem, c, 1, activation=None, norm=norm, rng=rng)]
        for t, kernel, stride, channels, n in TABLE:
            stage, f = nn.Sequential(), make_divisible(channels * width_mult)
            for i in range(n):
                stage.append(MnasBlock(c, f, kernel, stride if i == 0 else 1, t, norm, rng))
                c = f
            layers.append(stage)
        self.layers = nn.Sequential(*layers, *nn.conv_bn_act(c, HEAD, 1, activation=nn.ReLU, norm=norm, rng=rng))
        self.classifier = nn.Sequential(nn.Dropout(dropout, rng=rng.spawn(1)[0]), nn.Linear(HEAD, num_classes, rng=rng))
        begin_fan_out(self, rng)
        linear = self.classifier[1]
        linear.weight.data = nn.init.kaiming_uniform(linear.weight.shape, mode="fan_out", nonlinearity="sigmoid", rng=rng)
        linear.bias.data = np.zeros(num_classes, np.float32)

    def forward(self, x):
        """(N,C,H,W) -> scores (N,K)."""
        x = F.adaptive_avg_pool2d(self.layers(x), 1)                                      # (N,C,h,w) -> (N,C,1,1)
        return self.classifier(F.flatten(x))


def mnasnet0_5(num_classes=1000, in_channels=3, width_mult=1.0, dropout=0.2, rng=None):
    """Half the channels (the head's 1280 stay)."""
    return MnasNet(num_classes, in_channels, 0.5 * width_mult, dropout, rng)


def mnasnet0_75(num_classes=1000, in_channels=3, width_mult=1.0, dropout=0.2, rng=None):
    """Three quarters of the channels."""
    return MnasNet(num_classes, in_channels, 0.75 * width_mult, dropout, rng)


def mnasnet1_0(num_classes=1000, in_channels=3, width_mult=1.0, dropout=0.2, rng=None):
    """The network that was found. Cost at 224: PUBLISHED, exactly."""
    return MnasNet(num_classes, in_channels, width_mult, dropout, rng)


def mnasnet1_3(num_classes=1000, in_channels=3, width_mult=1.0, dropout=0.2, rng=None):
    """1.3 times the channels."""
    return MnasNet(num_classes, in_channels, 1.3 * width_mult, dropout, rng)
