"""SqueezeNet (Iandola, Han, Moskewicz, Ashraf, Dally, Keutzer: "AlexNet-level accuracy with 50x fewer parameters", 2016).

What is new: the Fire module squeezes to few channels with 1x1 convolutions before it lets 3x3 kernels see them, and gives half
of the result to cheap 1x1 kernels. Where it sits: eight of them behind the first convolution (`nn.Fire`); a 1x1 convolution with
global average pooling takes the place of fully connected layers. What it buys: 1,248,424 parameters against torchvision's
AlexNet's 61,100,840, 49 times fewer; MACs hardly fall (819 M against 714 M), which version 1.1 mends by pooling earlier (349 M).
It carries over: squeezing by 1x1 before 3x3 is ResNet's bottleneck too, the head without a linear layer stayed rare.

Names and shapes of parameters are torchvision's. The small form takes 28x28 or 32x32 pictures.
"""
import numpy as np

from .. import functional as F
from .. import nn
from .building import Printed, begin_linear, scaled

# (squeeze, expand 1x1 and 3x3 each) of a Fire module, "pool" between them: Table 1 of the paper, and version 1.1 of its authors
TABLE_1_0 = ("pool", (16, 64), (16, 64), (32, 128), "pool", (32, 128), (48, 192), (48, 192), (64, 256), "pool", (64, 256))
TABLE_1_1 = ("pool", (16, 64), (16, 64), "pool", (32, 128), (32, 128), "pool", (48, 192), (48, 192), (64, 256), (64, 256))
STEM_1_0, STEM_1_1 = (96, 7), (64, 3)                                      # channels, kernel; stride 2, no padding
SMALL_TABLE = ((8, 32), (8, 32), "pool", (16, 48), (16, 48))
SMALL_STEM = (32, 3)

PUBLISHED = {"squeezenet1_0": {"params": 1_248_424, "macs": 818_924_576},
             "squeezenet1_1": {"params": 1_235_496, "macs": 349_151_936}}
PRINTED = (
    Printed("squeezenet1_0", "params", "1248424", "torchvision squeezenet.py", "all"),
    Printed("squeezenet1_0", "macs", "0.819 G", "torchvision squeezenet.py"),
    Printed("squeezenet1_1", "params", "1235496", "torchvision squeezenet.py", "all"),
    Printed("squeezenet1_1", "macs", "0.349 G", "torchvision squeezenet.py"),
)


class SqueezeNet(nn.Module):
    """A convolution, Fire modules by `table`, dropout, a 1x1 convolution to the classes, global average pooling: (N,C,H,W) ->
    (N,K).
    """

    def __init__(self, table, stem, num_classes, in_channels, width_mult, dropout, rng):
        super().__init__()
        rng = np.random.default_rng(rng)
        channels, kernel = stem
        c = scaled(channels, width_mult)
        features = [nn.Conv2d(in_channels, c, kernel, stride=2, rng=rng), nn.ReLU()]
        for row in table:
            if row == "pool":
                features.append(nn.MaxPool2d(3, 2, ceil_mode=True))
            else:
                squeeze, expand = (scaled(channels, width_mult) for channels in row)
                features.append(nn.Fire(c, squeeze, expand, expand, rng=rng))
                c = 2 * expand
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Dropout(dropout, rng=rng.spawn(1)[0]), nn.Conv2d(c, num_classes, 1, rng=rng),
                                        nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        for module in self.features.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.data = nn.init.kaiming_uniform(module.weight.shape, rng=rng)
                module.bias.data = np.zeros(module.bias.shape, np.float32)
        begin_linear(self.classifier[1], rng)

    def forward(self, x):
        """(N,C,H,W) -> scores (N,K), none of them negative: ReLU stands before the pooling."""
        return F.flatten(self.classifier(self.features(x)))                               # (N,K,1,1) -> (N,K)


def squeezenet1_0(num_classes=1000, in_channels=3, width_mult=1.0, dropout=0.5, rng=None):
    """The paper's network (without bypass). Cost at 224: PUBLISHED, exactly; 4 bytes a parameter are 4.76 MiB, the paper's "4.8
    MB".
    """
    return SqueezeNet(TABLE_1_0, STEM_1_0, num_classes, in_channels, width_mult, dropout, rng)


def squeezenet1_1(num_classes=1000, in_channels=3, width_mult=1.0, dropout=0.5, rng=None):
    """The authors' later version: a smaller first kernel and earlier pooling, 2.3 times fewer MACs."""
    return SqueezeNet(TABLE_1_1, STEM_1_1, num_classes, in_channels, width_mult, dropout, rng)


def squeezenet_small(num_classes=10, in_channels=1, width_mult=1.0, dropout=0.0, rng=None):
    """SqueezeNet for 28x28 and 32x32 pictures: four Fire modules on planes of 13x13 and 6x6.

    >>> tc.models.squeezenet_small(rng=0)(tc.Tensor(np.zeros((1, 1, 28, 28), np.float32))).shape
    (1, 10)
    """
    return SqueezeNet(SMALL_TABLE, SMALL_STEM, num_classes, in_channels, width_mult, dropout, rng)
