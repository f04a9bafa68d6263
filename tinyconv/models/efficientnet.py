"""EfficientNet (Tan, Le: "EfficientNet: rethinking model scaling for convolutional neural networks", ICML 2019).

What is new: depth, width and resolution grow together, by α^φ, β^φ, γ^φ with α β² γ² about 2, so that φ + 1 costs twice the
MACs. Where it sits: around a searched base, B0, of inverted residuals with squeeze-excitation and x sigmoid(x) (`nn.MBConv`).
What it buys: B0 has 386 MMACs and 5.3 M parameters, a tenth of ResNet-50's MACs and a fifth of its parameters; but its
depthwise layers, 9 % of the MACs, move 33 % of the bytes that convolutions move. It carries over: compound scaling to other
families.

α = 1.2 (depth), β = 1.1 (width), γ = 1.15 (resolution) are the paper's grid search; the networks it published do not follow the
formula to the digit (`PUBLISHED_SCALING` against `compound_scaling`: B3 is 1.4, 1.2, 300 where φ = 2 gives 1.44, 1.21, 296).
Names and shapes of parameters are torchvision's.
"""
import math

import numpy as np

from .. import functional as F
from .. import nn
from .building import Printed, begin_fan_out, make_divisible

# expansion, kernel, stride, channels, blocks of each stage: Table 1 of the paper
TABLE = ((1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3), (6, 5, 1, 112, 3), (6, 5, 2, 192, 4),
         (6, 3, 1, 320, 1))
STEM = 32
ALPHA, BETA, GAMMA = 1.2, 1.1, 1.15
# depth, width, resolution, dropout as published (the authors' efficientnet_builder.py), and the φ whose formula is nearest
PUBLISHED_SCALING = {"efficientnet_b0": (1.0, 1.0, 224, 0.2), "efficientnet_b1": (1.1, 1.0, 240, 0.2),
                     "efficientnet_b2": (1.2, 1.1, 260, 0.3), "efficientnet_b3": (1.4, 1.2, 300, 0.3)}
PHI = {"efficientnet_b0": 0.0, "efficientnet_b1": 0.5, "efficientnet_b2": 1.0, "efficientnet_b3": 2.0}

PUBLISHED = {"efficientnet_b0": {"params": 5_288_548, "macs": 385_814_752},
             "efficientnet_b1": {"params": 7_794_184, "macs": 686_802_832, "size": 240},
             "efficientnet_b2": {"params": 9_109_994, "macs": 1_087_529_456, "size": 288},
             "efficientnet_b3": {"params": 12_233_232, "macs": 1_827_141_392, "size": 300}}
PRINTED = tuple(
    [Printed(name, "params", str(row["params"]), "torchvision efficientnet.py", "all") for name, row in PUBLISHED.items()]
    + [Printed(name, "macs", text, "torchvision efficientnet.py", size=PUBLISHED[name].get("size", 224))
       for name, text in zip(PUBLISHED, ("0.386 G", "0.687 G", "1.088 G", "1.827 G"))]
    + [Printed("efficientnet_b0", "params", "5.3 M", "Tan & Le 2019, Table 2", "all"),
       Printed("efficientnet_b0", "macs", "0.39 G", "Tan & Le 2019, Table 2")])


def compound_scaling(phi):
    """(depth, width, resolution) of φ: α^φ and β^φ times the base's, 224 γ^φ pixels (equation 3 of the paper).

    >>> [round(factor, 3) for factor in compound_scaling(2)]
    [1.44, 1.21, 296.24]
    """
    return ALPHA ** phi, BETA ** phi, 224 * GAMMA ** phi


class EfficientNet(nn.Module):
    """Stem, stages by TABLE scaled in width and depth, a 1x1 head, global average pooling, dropout, a linear layer: (N,C,H,W)
    -> (N,K).
    """

    def __init__(self, depth, width, num_classes, in_channels, dropout, stochastic_depth_prob, rng):
        super().__init__()
        rng = np.random.default_rng(rng)
        c = make_divisible(STEM * width)
        features, at = [nn.conv_bn_act(in_channels, c, stride=2, activation=nn.SiLU, rng=rng)], 0
        total = sum(math.ceil(n * depth) for *_, n in TABLE)
        for t, kernel, stride, channels, n in TABLE:
            stage, f = nn.Sequential(), make_divisible(channels * width)
            for i in range(math.ceil(n * depth)):
                stage.append(nn.MBConv(c, make_divisible(c * t), f, kernel, stride if i == 0 else 1, max(1, c // 4), nn.SiLU,
                                       nn.SiLU, drop=stochastic_depth_prob * at / total, rng=rng))
                c, at = f, at + 1
            features.append(stage)
        features.append(nn.conv_bn_act(c, 4 * c, 1, activation=nn.SiLU, rng=rng))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Dropout(dropout, rng=rng.spawn(1)[0]), nn.Linear(4 * c, num_classes, rng=rng))
        begin_fan_out(self, rng)
        bound, linear = 1 / math.sqrt(num_classes), self.classifier[1]
        linear.weight.data = rng.uniform(-bound, bound, linear.weight.shape).astype(np.float32)
        linear.bias.data = np.zeros(num_classes, np.float32)

    def forward(self, x):
        """(N,C,H,W) -> scores (N,K)."""
        x = F.adaptive_avg_pool2d(self.features(x), 1)                                    # (N,C,h,w) -> (N,C,1,1)
        return self.classifier(F.flatten(x))


def _scaled(name, num_classes, in_channels, width_mult, dropout, stochastic_depth_prob, rng):
    depth, width, _, usual = PUBLISHED_SCALING[name]
    return EfficientNet(depth, width * width_mult, num_classes, in_channels, usual if dropout is None else dropout,
                        stochastic_depth_prob, rng)


def efficientnet_b0(num_classes=1000, in_channels=3, width_mult=1.0, dropout=None, stochastic_depth_prob=0.2, rng=None):
    """The base network. Cost at 224: PUBLISHED, exactly. Blocks are left out in training with a probability that rises from 0 to
    about `stochastic_depth_prob` along the network.
    """
    return _scaled("efficientnet_b0", num_classes, in_channels, width_mult, dropout, stochastic_depth_prob, rng)


def efficientnet_b1(num_classes=1000, in_channels=3, width_mult=1.0, dropout=None, stochastic_depth_prob=0.2, rng=None):
    """1.1 times the depth, for 240x240 pictures."""
    return _scaled("efficientnet_b1", num_classes, in_channels, width_mult, dropout, stochastic_depth_prob, rng)


def efficientnet_b2(num_classes=1000, in_channels=3, width_mult=1.0, dropout=None, stochastic_depth_prob=0.2, rng=None):
    """1.2 times the depth, 1.1 times the width, for 260x260 pictures (torchvision: 288x288)."""
    return _scaled("efficientnet_b2", num_classes, in_channels, width_mult, dropout, stochastic_depth_prob, rng)


def efficientnet_b3(num_classes=1000, in_channels=3, width_mult=1.0, dropout=None, stochastic_depth_prob=0.2, rng=None):
    """1.4 times the depth, 1.2 times the width, for 300x300 pictures."""
    return _scaled("efficientnet_b3", num_classes, in_channels, width_mult, dropout, stochastic_depth_prob, rng)
