"""ShuffleNet V2 (Ma, Zhang, Zheng, Sun: "Practical guidelines for efficient CNN architecture design", ECCV 2018).

What is new: the measure is time, not MACs, and memory traffic decides it: equal channels on both sides of a 1x1 convolution
move the fewest values for its MACs (`formulas.pointwise_traffic`), groups, many small branches and additions cost time that no
MAC count shows. Where it sits: in the unit (`nn.ShuffleUnitV2`): half of the channels pass untouched, the other half goes
through 1x1, depthwise 3x3, 1x1 of equal width, a shuffle mixes both. What it buys: 1.0x is 146 MMACs, half of MobileNetV2's
301. It carries over: splitting instead of adding stayed with the family; measuring time instead of MACs is common sense since.

Two networks bear the name: torchvision's units halve the channels in strided units as well; in the authors' code
(`shufflenet_v2_paper`) the first branch keeps as many as it was given. The paper's figures belong to the second.
Names and shapes of parameters are torchvision's, in both. The small form takes 28x28 or 32x32 pictures.
"""
import numpy as np

from .. import functional as F
from .. import nn
from .building import Printed, scaled

# channels of the first convolution, the three stages and the last convolution for each width: Table 5 of the paper
WIDTHS = {0.5: (24, 48, 96, 192, 1024), 1.0: (24, 116, 232, 464, 1024), 1.5: (24, 176, 352, 704, 1024),
          2.0: (24, 244, 488, 976, 2048)}
REPEATS = (4, 8, 4)
SMALL_WIDTHS, SMALL_REPEATS = (24, 48, 96, 128), (2, 2)

PUBLISHED = {
    "shufflenet_v2_x0_5": {"params": 1_366_792, "macs": 40_476_448},
    "shufflenet_v2_x1_0": {"params": 2_278_604, "macs": 144_907_992},
    "shufflenet_v2_x1_5": {"params": 3_503_624, "macs": 295_759_392},
    "shufflenet_v2_x2_0": {"params": 7_393_996, "macs": 583_253_464},
    "shufflenet_v2_paper": {"params": 2_279_760, "macs": 145_814_296},
}
_AUTHORS = "authors' ShuffleNetV2/README.md; Ma et al. 2018, Table 8 [mem]"
PRINTED = tuple(
    [Printed("shufflenet_v2_paper", "macs", text, _AUTHORS, options={"width_mult": width}, rounding="up")
     for width, text in ((0.5, "41 M"), (1.0, "146 M"), (1.5, "299 M"), (2.0, "591 M"))]
    + [Printed("shufflenet_v2_paper", "params", text, _AUTHORS, "all", options={"width_mult": width})
       for width, text in ((0.5, "1.4 M"), (1.0, "2.3 M"), (1.5, "3.5 M"), (2.0, "7.4 M"))]
    + [Printed(f"shufflenet_v2_{width}", "macs", text, "torchvision shufflenetv2.py")
       for width, text in (("x0_5", "0.04 G"), ("x1_0", "0.145 G"), ("x1_5", "0.296 G"), ("x2_0", "0.583 G"))]
    + [Printed(name, "params", str(row["params"]), "torchvision shufflenetv2.py", "all")
       for name, row in PUBLISHED.items() if name != "shufflenet_v2_paper"])


class ShuffleNetV2(nn.Module):
    """3x3 convolution, pooling or not, stages of units, a 1x1 convolution, global average pooling, a linear classifier:
    (N,C,H,W) -> (N,K).
    """

    def __init__(self, widths, num_classes, in_channels, width_mult, rng, keep_input=False, repeats=REPEATS, pooled=True):
        super().__init__()
        rng = np.random.default_rng(rng)
        c, *stages, last = (scaled(width, width_mult, 2) for width in widths)
        self.conv1 = nn.conv_bn_act(in_channels, c, stride=2, activation=nn.ReLU, rng=rng)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1) if pooled else nn.Identity()
        self.names = [f"stage{i}" for i in range(2, 2 + len(stages))]
        for name, f, n in zip(self.names, stages, repeats):
            units = nn.Sequential()
            for i in range(n):
                units.append(nn.ShuffleUnitV2(c, f, 2 if i == 0 else 1, keep_input, rng=rng))
                c = f
            setattr(self, name, units)
        self.conv5 = nn.conv_bn_act(c, last, 1, activation=nn.ReLU, rng=rng)
        self.fc = nn.Linear(last, num_classes, rng=rng)

    def forward(self, x):
        """(N,C,H,W) -> scores (N,K)."""
        x = self.maxpool(self.conv1(x))                                                   # (N,C,H,W) -> (N,24,H/4,W/4)
        for name in self.names:
            x = getattr(self, name)(x)                                                    # each halves the plane
        return self.fc(F.flatten(F.adaptive_avg_pool2d(self.conv5(x), 1)))


def shufflenet_v2_x0_5(num_classes=1000, in_channels=3, width_mult=1.0, rng=None):
    """Width 0.5, torchvision's units. Cost at 224: PUBLISHED. width_mult scales the channels further, to even numbers."""
    return ShuffleNetV2(WIDTHS[0.5], num_classes, in_channels, width_mult, rng)


def shufflenet_v2_x1_0(num_classes=1000, in_channels=3, width_mult=1.0, rng=None):
    """Width 1.0, torchvision's units."""
    return ShuffleNetV2(WIDTHS[1.0], num_classes, in_channels, width_mult, rng)


def shufflenet_v2_x1_5(num_classes=1000, in_channels=3, width_mult=1.0, rng=None):
    """Width 1.5, torchvision's units."""
    return ShuffleNetV2(WIDTHS[1.5], num_classes, in_channels, width_mult, rng)


def shufflenet_v2_x2_0(num_classes=1000, in_channels=3, width_mult=1.0, rng=None):
    """Width 2.0, torchvision's units."""
    return ShuffleNetV2(WIDTHS[2.0], num_classes, in_channels, width_mult, rng)


def shufflenet_v2_paper(num_classes=1000, in_channels=3, width_mult=1.0, rng=None):
    """The authors' units. width_mult 0.5, 1.0, 1.5 and 2.0 are the paper's rows; any other scales the row of 1.0."""
    widths, rest = (WIDTHS[width_mult], 1.0) if width_mult in WIDTHS else (WIDTHS[1.0], width_mult)
    return ShuffleNetV2(widths, num_classes, in_channels, rest, rng, keep_input=True)


def shufflenet_v2_small(num_classes=10, in_channels=1, width_mult=1.0, rng=None):
    """ShuffleNet V2 for 28x28 and 32x32 pictures: two stages of two units on planes of 7x7 and 4x4.

    >>> tc.models.shufflenet_v2_small(rng=0)(tc.Tensor(np.zeros((1, 1, 28, 28), np.float32))).shape
    (1, 10)
    """
    return ShuffleNetV2(SMALL_WIDTHS, num_classes, in_channels, width_mult, rng, repeats=SMALL_REPEATS, pooled=False)
