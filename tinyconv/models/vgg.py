"""VGG (Simonyan, Zisserman: "Very deep convolutional networks for large-scale image recognition", ICLR 2015).

What is new: only 3x3 kernels, stacked. Where they sit: everywhere (`nn.Conv2d`), two to four between poolings that halve the
plane while the channels double. What it buys: two 3x3 layers see 5x5 and three see 7x7, with 18/25 and 27/49 of the weights,
and a ReLU between; the price is 15.47 GMACs and 138 M parameters, 89 % of them in three linear layers. It carries over: the 3x3
kernel and the doubling did; the linear layers gave way to pooling, and plain stacks to shortcuts.

Names and shapes of parameters are torchvision's. The small form takes 28x28 or 32x32 pictures: the same thirteen convolutions
with BatchNorm, few channels, no pooling behind the last two stages, one linear layer behind global average pooling.
"""
import numpy as np

from .. import functional as F
from .. import nn
from .building import Printed, begin_fan_out, begin_linear, scaled

# channels of the convolutions of each stage, a pooling behind each stage: configurations D and E of Table 1
STAGES = {16: ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3),
          19: ((64,) * 2, (128,) * 2, (256,) * 4, (512,) * 4, (512,) * 4)}
HIDDEN, PLANE = 4096, 7
SMALL_STAGES = ((8,) * 2, (16,) * 2, (24,) * 3, (32,) * 3, (32,) * 3)

PUBLISHED = {"vgg16": {"params": 138_357_544, "macs": 15_470_264_320},
             "vgg19": {"params": 143_667_240, "macs": 19_632_062_464},
             "vgg16_bn": {"params": 138_365_992, "macs": 15_470_264_320},
             "vgg19_bn": {"params": 143_678_248, "macs": 19_632_062_464}}
PRINTED = tuple(
    [Printed(name, "params", str(row["params"]), "torchvision vgg.py", "all") for name, row in PUBLISHED.items()]
    + [Printed(name, "macs", text, "torchvision vgg.py") for name, text in (("vgg16", "15.47 G"), ("vgg19", "19.632 G"),
                                                                             ("vgg16_bn", "15.47 G"), ("vgg19_bn", "19.632 G"))]
    + [Printed("vgg16", "params", "138 M", "Simonyan & Zisserman 2015, Table 2 [mem]", "all"),
       Printed("vgg19", "params", "144 M", "Simonyan & Zisserman 2015, Table 2 [mem]", "all"),
       Printed("vgg16", "macs", "15484 M", "Kim et al. 2016, Table 2 [mem]", "bias")])


class VGG(nn.Module):
    """3x3 convolutions by `stages`, pooling to a `plane`, linear layers: (N,C,H,W) -> (N,K). `hidden` 0: one linear layer."""

    def __init__(self, stages, batch_norm, hidden, plane, num_classes, in_channels, width_mult, dropout, rng):
        super().__init__()
        rng = np.random.default_rng(rng)
        c, features = in_channels, []
        for stage, widths in enumerate(stages):
            for channels in widths:
                f = scaled(channels, width_mult)
                features.append(nn.Conv2d(c, f, 3, padding=1, rng=rng))
                features += [nn.BatchNorm2d(f), nn.ReLU()] if batch_norm else [nn.ReLU()]
                c = f
            if hidden or stage < len(stages) - 2:
                features.append(nn.MaxPool2d(2))
        self.features, self.plane = nn.Sequential(*features), plane
        if hidden:
            hidden = scaled(hidden, width_mult)
            self.classifier = nn.Sequential(
                nn.Linear(c * plane * plane, hidden, rng=rng), nn.ReLU(), nn.Dropout(dropout, rng=rng.spawn(1)[0]),
                nn.Linear(hidden, hidden, rng=rng), nn.ReLU(), nn.Dropout(dropout, rng=rng.spawn(1)[0]),
                nn.Linear(hidden, num_classes, rng=rng))
        else:
            self.classifier = nn.Sequential(nn.Dropout(dropout, rng=rng.spawn(1)[0]), nn.Linear(c, num_classes, rng=rng))
        begin_fan_out(self, rng)
        for module in self.classifier:
            if isinstance(module, nn.Linear):
                begin_linear(module, rng)

    def forward(self, x):
        """(N,C,H,W) -> scores (N,K)."""
        x = F.adaptive_avg_pool2d(self.features(x), self.plane)                           # (N,C,H,W) -> (N,512,7,7)
        return self.classifier(F.flatten(x))


def vgg16(num_classes=1000, in_channels=3, width_mult=1.0, dropout=0.5, rng=None):
    """Configuration D, for pictures from 32x32. Cost at 224: PUBLISHED, exactly."""
    return VGG(STAGES[16], False, HIDDEN, PLANE, num_classes, in_channels, width_mult, dropout, rng)


def vgg19(num_classes=1000, in_channels=3, width_mult=1.0, dropout=0.5, rng=None):
    """Configuration E."""
    return VGG(STAGES[19], False, HIDDEN, PLANE, num_classes, in_channels, width_mult, dropout, rng)


def vgg16_bn(num_classes=1000, in_channels=3, width_mult=1.0, dropout=0.5, rng=None):
    """Configuration D with BatchNorm, which the paper did not have yet."""
    return VGG(STAGES[16], True, HIDDEN, PLANE, num_classes, in_channels, width_mult, dropout, rng)


def vgg19_bn(num_classes=1000, in_channels=3, width_mult=1.0, dropout=0.5, rng=None):
    """Configuration E with BatchNorm."""
    return VGG(STAGES[19], True, HIDDEN, PLANE, num_classes, in_channels, width_mult, dropout, rng)


def vgg16_small(num_classes=10, in_channels=1, width_mult=1.0, dropout=0.0, rng=None):
    """VGG-16 for 28x28 and 32x32 pictures: thirteen convolutions on planes from 28x28 down to 3x3.

    >>> tc.models.vgg16_small(rng=0)(tc.Tensor(np.zeros((1, 1, 28, 28), np.float32))).shape
    (1, 10)
    """
    return VGG(SMALL_STAGES, True, 0, 1, num_classes, in_channels, width_mult, dropout, rng)
