"""MobileNetV1 (Howard et al., "MobileNets: efficient convolutional neural networks for mobile vision applications", 2017).

What is new: every convolution but the first is split into a depthwise 3x3 (each channel by itself) and a pointwise 1x1 (each
pixel by itself). Where it sits: in all thirteen blocks (`nn.DepthwiseSeparable`). What it buys: 1/F + 1/K² of a standard
convolution's MACs a layer. It carries over: the pair is in every light network since. It does have one fully connected layer,
behind the pooling.

The small form takes 28x28 or 32x32 pictures.
"""
import numpy as np

from .. import functional as F
from .. import nn
from .building import begin_fan_out

# channels and stride of each depthwise separable block: Table 1 of the paper
TABLE = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))
STEM = 32
SMALL_TABLE = ((32, 1), (64, 2), (64, 1), (128, 1))
SMALL_STEM = 16

# Width 1.0 at 224: parameters with BatchNorm's and without; MACs of convolution and linear layers (the paper: 569 M, 4.2 M)
PUBLISHED = {"mobilenet_v1": {"params": 4_231_976, "params_without_batch_norm": 4_210_088, "macs": 568_740_352}}


class MobileNetV1(nn.Module):
    """Stem, depthwise separable blocks by `table`, global average pooling, a linear classifier: (N,C,H,W) -> (N,K)."""

    def __init__(self, table, stem, num_classes, in_channels, width_mult, rng):
        super().__init__()
        rng = np.random.default_rng(rng)
        c = max(1, int(stem * width_mult))
        features = [nn.conv_bn_act(in_channels, c, stride=2, activation=nn.ReLU, rng=rng)]
        for channels, stride in table:
            f = max(1, int(channels * width_mult))
            features.append(nn.DepthwiseSeparable(c, f, stride, rng=rng))
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


def mobilenet_v1_small(num_classes=10, in_channels=1, width_mult=1.0, rng=None):
    """MobileNetV1 for 28x28 and 32x32 pictures: four blocks on planes of 14x14 and 7x7.

    >>> tc.models.mobilenet_v1_small(rng=0)(tc.Tensor(np.zeros((1, 1, 28, 28), np.float32))).shape
    (1, 10)
    """
    return MobileNetV1(SMALL_TABLE, SMALL_STEM, num_classes, in_channels, width_mult, rng)
