"""MobileNetV2 (Sandler, Howard, Zhu, Zhmoginov, Chen: "Inverted residuals and linear bottlenecks", CVPR 2018).

What is new: the block is turned inside out. The wide part is in the middle, where a depthwise convolution makes it cheap; the
narrow ends carry the residual, and the last 1x1 convolution has no activation, for ReLU on few channels loses what it sets to
zero. Where it sits: in every stage (`nn.InvertedResidual`). What it buys: 301 MMACs and 3.5 M parameters where V1 has 569 and
4.2; 16 to 320 channels between blocks, where V1 has 64 to 1024, and what is six times as wide lives within a block only. A block
of 64 channels costs 52,608 MACs a pixel, one 3x3 convolution on its 384 inner channels 1,327,104. It carries over: V3, MnasNet
and EfficientNet are built of the same block.

Names and shapes of parameters are torchvision's. The small form takes 28x28 or 32x32 pictures: the same block, fewer stages, a
first convolution of stride 2, planes of 14x14 and 7x7 behind it.
"""
import numpy as np

from .. import functional as F
from .. import nn
from .building import Printed, begin_fan_out, begin_linear, make_divisible

# t expansion, c channels, n blocks, s stride of the first of them: Table 2 of the paper
TABLE = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
STEM, HEAD = 32, 1280
SMALL_TABLE = ((1, 16, 1, 1), (3, 24, 2, 2), (4, 40, 2, 1))
SMALL_STEM, SMALL_HEAD = 16, 128

# The paper's row of width 1.4 (585 M, 6.9 M [mem]) is not reproducible; the authors' later one (582 M, 6.06 M) is.
PUBLISHED = {"mobilenet_v2": {"params": 3_504_872, "params_without_batch_norm": 3_470_760, "macs": 300_774_272}}
_AUTHORS = "authors' tf-models slim mobilenet/README.md"
PRINTED = tuple(
    [Printed("mobilenet_v2", "macs", text, _AUTHORS, options={"width_mult": width}, rounding="down")
     for width, text in ((1.4, "582 M"), (1.3, "509 M"), (1.0, "300 M"), (0.75, "209 M"), (0.5, "97 M"), (0.35, "59 M"))]
    + [Printed("mobilenet_v2", "params", text, _AUTHORS, "no norm", options={"width_mult": width})
       for width, text in ((1.4, "6.06 M"), (1.3, "5.34 M"), (1.0, "3.47 M"), (0.75, "2.61 M"), (0.5, "1.95 M"),
                           (0.35, "1.66 M"))]
    + [Printed("mobilenet_v2", "macs", text, _AUTHORS, size=size)
       for size, text in ((192, "221 M"), (160, "154 M"), (128, "99 M"), (96, "56 M"))]
    + [Printed("mobilenet_v2", "params", "3504872", "torchvision mobilenetv2.py", "all"),
       Printed("mobilenet_v2", "macs", "0.301 G", "torchvision mobilenetv2.py")])


class MobileNetV2(nn.Module):
    """Stem, inverted residuals by `table`, a 1x1 head, global average pooling, dropout and a linear classifier: (N,C,H,W) ->
    (N,K).
    """

    def __init__(self, table, stem, head, num_classes, in_channels, width_mult, dropout, rng, attention=None):
        super().__init__()
        rng = np.random.default_rng(rng)
        c = make_divisible(stem * width_mult)
        head = make_divisible(head * max(1.0, width_mult))
        features = [nn.conv_bn_act(in_channels, c, stride=2, rng=rng)]
        for t, channels, n, s in table:
            f = make_divisible(channels * width_mult)
            for i in range(n):
                features.append(nn.InvertedResidual(c, f, s if i == 0 else 1, t, attention, rng=rng))
                c = f
        features.append(nn.conv_bn_act(c, head, 1, rng=rng))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Dropout(dropout, rng=rng.spawn(1)[0]), nn.Linear(head, num_classes, rng=rng))
        begin_fan_out(self, rng)
        begin_linear(self.classifier[1], rng)

    def forward(self, x):
        """(N,C,H,W) -> scores (N,K)."""
        x = F.adaptive_avg_pool2d(self.features(x), 1)                                    # (N,C,h,w) -> (N,C,1,1)
        return self.classifier(F.flatten(x))


def mobilenet_v2(num_classes=1000, in_channels=3, width_mult=1.0, dropout=0.2, rng=None):
    """The paper's network, parameter names and shapes of torchvision's mobilenet_v2. Cost at 224: PUBLISHED, exactly.

    width_mult scales every layer's channels, rounded to multiples of 8. `rng`: seed or Generator of the weights.
    """
    return MobileNetV2(TABLE, STEM, HEAD, num_classes, in_channels, width_mult, dropout, rng)


def mobilenet_v2_small(num_classes=10, in_channels=1, width_mult=1.0, dropout=0.0, attention=None, rng=None):
    """MobileNetV2 for 28x28 and 32x32 pictures: five inverted residuals on planes of 14x14 and 7x7.

    `attention`: "se", "spatial" or "cbam" behind every depthwise convolution (`nn.attention_of`).

    >>> tc.models.mobilenet_v2_small(rng=0)(tc.Tensor(np.zeros((1, 1, 28, 28), np.float32))).shape
    (1, 10)
    """
    return MobileNetV2(SMALL_TABLE, SMALL_STEM, SMALL_HEAD, num_classes, in_channels, width_mult, dropout, rng, attention)
