"""ShuffleNet (Zhang, Zhou, Lin, Sun: "ShuffleNet: an extremely efficient convolutional neural network for mobile devices", CVPR
2018).

What is new: 1x1 convolutions are grouped too, which divides their MACs by G, and a fixed permutation of the channels, the
shuffle, lets the groups see each other. Where it sits: between the first 1x1 and the depthwise convolution of every unit
(`nn.ShuffleUnitV1`). What it buys: for the same 140 MMACs, 960 channels at the end with three groups where one group affords
576. It carries over: V2 kept the shuffle and gave up the groups, having measured what their memory traffic costs.

The table gives every G its own widths, such that all cost about 140 MMACs. The paper's figures leave the linear layer out, its
authors' later ones count it (Table 8 of V2, and their README): two conventions of the same people. The linear layer has no
bias, as in the authors' code: with one, 2.0x with three groups would print as 5.5 M parameters, not 5.4.
"""
import numpy as np

from .. import functional as F
from .. import nn
from .building import Printed, scaled

# groups -> width: channels of the first convolution and of the first stage; the next two stages double them. 1.0 is Table 1 of
# the paper, the other rows are the authors' code
WIDTHS = {1: {1.0: (24, 144)}, 2: {1.0: (24, 200)}, 4: {1.0: (24, 272)},
          3: {0.5: (12, 120), 1.0: (24, 240), 1.5: (24, 360), 2.0: (48, 480)},
          8: {0.5: (16, 192), 1.0: (24, 384), 1.5: (24, 576), 2.0: (48, 768)}}
REPEATS = (4, 8, 4)
SMALL_REPEATS, SMALL_WIDTHS = (2, 2), (24, 96)

PUBLISHED = {"shufflenet_v1": {"params": 1_864_728, "macs": 137_460_672}}
_AUTHORS = "authors' ShuffleNetV1/README.md"             # its 138 M for three groups at 1.0 is not reproducible: 137.46 or 136.50
PRINTED = tuple(
    [Printed("shufflenet_v1", "macs", text, "Zhang et al. 2018, Table 2 [mem]", "conv", options={"groups": groups})
     for groups, text in ((1, "143 M"), (2, "140 M"), (3, "137 M"), (4, "133 M"), (8, "137 M"))]
    + [Printed("shufflenet_v1", "macs", text, _AUTHORS, options={"width_mult": width, "groups": groups})
       for groups, width, text in ((3, 0.5, "38 M"), (3, 1.5, "292 M"), (3, 2.0, "524 M"), (8, 0.5, "40 M"), (8, 1.0, "138 M"),
                                   (8, 1.5, "290 M"), (8, 2.0, "522 M"))]
    + [Printed("shufflenet_v1", "params", text, _AUTHORS, "all", options={"width_mult": width, "groups": groups})
       for groups, width, text in ((3, 0.5, "0.7 M"), (3, 1.0, "1.9 M"), (3, 1.5, "3.4 M"), (3, 2.0, "5.4 M"), (8, 0.5, "1.0 M"),
                                   (8, 1.0, "2.4 M"), (8, 1.5, "4.3 M"), (8, 2.0, "6.5 M"))])


class ShuffleNetV1(nn.Module):
    """3x3 convolution, pooling or not, stages of units, global average pooling, a linear classifier: (N,C,H,W) -> (N,K)."""

    def __init__(self, stem, first, repeats, groups, pooled, num_classes, in_channels, rng):
        super().__init__()
        rng = np.random.default_rng(rng)
        self.conv1 = nn.conv_bn_act(in_channels, stem, stride=2, activation=nn.ReLU, rng=rng)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1) if pooled else nn.Identity()
        stages, c, f = nn.Sequential(), stem, first
        for stage, n in enumerate(repeats):
            units = nn.Sequential()
            for i in range(n):
                units.append(nn.ShuffleUnitV1(c, f, 2 if i == 0 else 1, groups, 1 if stage == i == 0 else None, rng=rng))
                c = f
            stages.append(units)
            f *= 2
        self.stages = stages
        self.fc = nn.Linear(c, num_classes, bias=False, rng=rng)

    def forward(self, x):
        """(N,C,H,W) -> scores (N,K)."""
        x = self.stages(self.maxpool(self.conv1(x)))                                      # (N,C,H,W) -> (N,4F,H/32,W/32)
        return self.fc(F.flatten(F.adaptive_avg_pool2d(x, 1)))


def _widths(rows, width_mult, groups):
    """Channels of the first convolution and of the first stage: a row of the table, or that of 1.0 scaled to what groups
    divide.
    """
    if width_mult in rows:
        return rows[width_mult]
    return scaled(rows[1.0][0], width_mult, groups), scaled(rows[1.0][1], width_mult, 4 * groups)


def shufflenet_v1(num_classes=1000, in_channels=3, width_mult=1.0, groups=3, rng=None):
    """The paper's network with 1, 2, 3, 4 or 8 groups. Cost at 224: PUBLISHED, exactly. Errors: ValueError for other groups."""
    if groups not in WIDTHS:
        raise ValueError(f"groups must be one of {', '.join(map(str, sorted(WIDTHS)))} (the paper's Table 1), not {groups!r}")
    return ShuffleNetV1(*_widths(WIDTHS[groups], width_mult, groups), REPEATS, groups, True, num_classes, in_channels, rng)


def shufflenet_v1_small(num_classes=10, in_channels=1, width_mult=1.0, groups=3, rng=None):
    """ShuffleNet for 28x28 and 32x32 pictures: two stages of two units on planes of 7x7 and 4x4.

    >>> tc.models.shufflenet_v1_small(rng=0)(tc.Tensor(np.zeros((1, 1, 28, 28), np.float32))).shape
    (1, 10)
    """
    stem, first = _widths({1.0: SMALL_WIDTHS}, width_mult, groups)
    return ShuffleNetV1(stem, first, SMALL_REPEATS, groups, False, num_classes, in_channels, rng)
