"""ResNet (He, Zhang, Ren, Sun: "Deep residual learning for image recognition", CVPR 2016).

What is new: a block adds what it computes to its input, y = F(x) + x, so that depth cannot make a network worse than the
identity and gradients reach every layer undiminished. Where it sits: around every two 3x3 convolutions (`nn.BasicBlock`) or
around 1x1, 3x3, 1x1 (`nn.Bottleneck`, whose 3x3 runs on a quarter of the channels). What it buys: 34 layers for 3.66 GMACs
where VGG-19 needs 19.6; a bottleneck of 256 channels costs 69,632 MACs a pixel, two 3x3 convolutions on them 1,179,648. It
carries over: ShuffleNet, MobileNetV2 and V3, MnasNet and EfficientNet add shortcuts (MobileNetV2 ten of them), MobileNetV1 and
ShuffleNet V2 do without an addition.

Two forms of the deep ones: torchvision's ResNet-50/101/152 stride in the 3x3 convolution, the paper's in the first 1x1
(`resnet50_paper`, …). Names and shapes of parameters are torchvision's. For pictures of 32x32 there are the paper's CIFAR
networks, 6n + 2 layers of basic blocks whose shortcuts have no parameters (option A), and `resnet_small`. `se_resnet50` (Hu,
Shen, Sun: "Squeeze-and-excitation networks", CVPR 2018) weighs the channels of every branch before it is added: 2.5 M more
parameters and MACs, 2/r Σ C² with r = 16.
"""
import numpy as np

from .. import functional as F
from .. import nn
from .building import Printed, begin_fan_out, scaled

# blocks in each of the four stages: Table 1 of the paper
BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
WIDTHS = (64, 128, 256, 512)
CIFAR_WIDTHS, SMALL_WIDTHS = (16, 32, 64), (16, 32, 48)

PUBLISHED = {
    "resnet18": {"params": 11_689_512, "macs": 1_814_073_344},
    "resnet34": {"params": 21_797_672, "macs": 3_663_761_408},
    "resnet50": {"params": 25_557_032, "macs": 4_089_184_256},
    "resnet101": {"params": 44_549_160, "macs": 7_801_405_440},
    "resnet152": {"params": 60_192_808, "macs": 11_513_626_624},
    "resnet50_paper": {"params": 25_557_032, "macs": 3_857_973_248},
    "resnet101_paper": {"params": 44_549_160, "macs": 7_570_194_432},
    "resnet152_paper": {"params": 60_192_808, "macs": 11_282_415_616},
    "se_resnet50": {"params": 28_088_024, "macs": 3_860_488_192},
    "resnet20": {"params": 269_722, "macs": 40_551_040, "size": 32},
    "resnet32": {"params": 464_154, "macs": 68_862_592, "size": 32},
    "resnet44": {"params": 658_586, "macs": 97_174_144, "size": 32},
    "resnet56": {"params": 853_018, "macs": 125_485_696, "size": 32},
    "resnet110": {"params": 1_727_962, "macs": 252_887_680, "size": 32},
}
PRINTED = tuple(
    [Printed(name, "macs", text, "He et al. 2016, Table 1", rounding=rounding) for name, text, rounding in (
        ("resnet18", "1.8 G", "nearest"), ("resnet34", "3.6 G", "down"), ("resnet50_paper", "3.8 G", "down"),
        ("resnet101_paper", "7.6 G", "nearest"), ("resnet152_paper", "11.3 G", "nearest"))]
    + [Printed(name, "macs", text, "torchvision resnet.py") for name, text in (
        ("resnet18", "1.814 G"), ("resnet34", "3.664 G"), ("resnet50", "4.089 G"), ("resnet101", "7.801 G"),
        ("resnet152", "11.514 G"))]
    + [Printed(name, "params", text, "He et al. 2016, Table 6", "all", 32) for name, text in (
        ("resnet20", "0.27 M"), ("resnet32", "0.46 M"), ("resnet44", "0.66 M"), ("resnet56", "0.85 M"), ("resnet110", "1.7 M"))]
    + [Printed("se_resnet50", "macs", "3.87 G", "Hu et al. 2018, Table 2 [mem]", "squeeze")]
    + [Printed(name, "params", str(PUBLISHED[name]["params"]), "torchvision resnet.py", "all")
       for name in ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")])


class ResNet(nn.Module):
    """Convolution, pooling or not, stages of `block`, global average pooling, a linear classifier: (N,C,H,W) -> (N,K).

    `block(c, width, stride, rng=…, **options)` makes (N, width block.expansion, H/S, W/S) of (N,c,H,W). `stem`: kernel and
    stride of the first convolution, and whether a pooling stands behind it.
    """

    def __init__(self, block, blocks, num_classes, in_channels, width_mult, rng, widths=WIDTHS, stem=(7, 2, True), **options):
        super().__init__()
        rng = np.random.default_rng(rng)
        (kernel, stride, pooled), c = stem, scaled(widths[0], width_mult)
        self.conv1 = nn.Conv2d(in_channels, c, kernel, stride, kernel // 2, bias=False, rng=rng)
        self.bn1, self.maxpool = nn.BatchNorm2d(c), nn.MaxPool2d(3, 2, padding=1) if pooled else nn.Identity()
        self.names = [f"layer{i + 1}" for i in range(len(widths))]
        for name, width, n in zip(self.names, widths, blocks):
            layer = nn.Sequential()
            for i in range(n):
                layer.append(block(c, scaled(width, width_mult), 2 if i == 0 and name != "layer1" else 1, rng=rng, **options))
                c = scaled(width, width_mult) * block.expansion
            setattr(self, name, layer)
        self.fc = nn.Linear(c, num_classes, rng=rng)
        begin_fan_out(self, rng)

    def forward(self, x):
        """(N,C,H,W) -> scores (N,K)."""
        x = self.maxpool(nn.then_relu(self.bn1, self.conv1(x)))                                 # (N,C,H,W) -> (N,64,H/4,W/4)
        for name in self.names:
            x = getattr(self, name)(x)                                                    # all but the first halve the plane
        return self.fc(F.flatten(F.adaptive_avg_pool2d(x, 1)))


def resnet18(num_classes=1000, in_channels=3, width_mult=1.0, rng=None):
    """18 layers of basic blocks. Cost at 224: PUBLISHED, exactly."""
    return ResNet(nn.BasicBlock, BLOCKS[18], num_classes, in_channels, width_mult, rng)


def resnet34(num_classes=1000, in_channels=3, width_mult=1.0, rng=None):
    """34 layers of basic blocks."""
    return ResNet(nn.BasicBlock, BLOCKS[34], num_classes, in_channels, width_mult, rng)


def resnet50(num_classes=1000, in_channels=3, width_mult=1.0, rng=None):
    """50 layers of bottlenecks, stride in the 3x3 convolutions (torchvision's, also called v1.5)."""
    return ResNet(nn.Bottleneck, BLOCKS[50], num_classes, in_channels, width_mult, rng)


def resnet101(num_classes=1000, in_channels=3, width_mult=1.0, rng=None):
    """101 layers of bottlenecks, stride in the 3x3 convolutions."""
    return ResNet(nn.Bottleneck, BLOCKS[101], num_classes, in_channels, width_mult, rng)


def resnet152(num_classes=1000, in_channels=3, width_mult=1.0, rng=None):
    """152 layers of bottlenecks, stride in the 3x3 convolutions."""
    return ResNet(nn.Bottleneck, BLOCKS[152], num_classes, in_channels, width_mult, rng)


def resnet50_paper(num_classes=1000, in_channels=3, width_mult=1.0, rng=None):
    """50 layers as the paper has them: the first 1x1 convolution of a stage strides, 6 % fewer MACs; the same parameters."""
    return ResNet(nn.Bottleneck, BLOCKS[50], num_classes, in_channels, width_mult, rng, stride_first=True)


def resnet101_paper(num_classes=1000, in_channels=3, width_mult=1.0, rng=None):
    """101 layers, the first 1x1 convolution of a stage strides."""
    return ResNet(nn.Bottleneck, BLOCKS[101], num_classes, in_channels, width_mult, rng, stride_first=True)


def resnet152_paper(num_classes=1000, in_channels=3, width_mult=1.0, rng=None):
    """152 layers, the first 1x1 convolution of a stage strides."""
    return ResNet(nn.Bottleneck, BLOCKS[152], num_classes, in_channels, width_mult, rng, stride_first=True)


def se_resnet50(num_classes=1000, in_channels=3, width_mult=1.0, rng=None):
    """`resnet50_paper` with squeeze-excitation (r = 16) in every branch."""
    return ResNet(nn.Bottleneck, BLOCKS[50], num_classes, in_channels, width_mult, rng, stride_first=True, attention="se")


def _cifar(n, num_classes, in_channels, width_mult, rng):
    """6n + 2 layers: a 3x3 convolution, three stages of n basic blocks, a linear layer (He et al. 2016, section 4.2)."""
    return ResNet(nn.BasicBlock, (n,) * 3, num_classes, in_channels, width_mult, rng, CIFAR_WIDTHS, (3, 1, False), padded=True)


def resnet20(num_classes=10, in_channels=3, width_mult=1.0, rng=None):
    """20 layers for 32x32 pictures, planes of 32x32, 16x16 and 8x8. Cost at 32: PUBLISHED, exactly."""
    return _cifar(3, num_classes, in_channels, width_mult, rng)


def resnet32(num_classes=10, in_channels=3, width_mult=1.0, rng=None):
    """32 layers for 32x32 pictures."""
    return _cifar(5, num_classes, in_channels, width_mult, rng)


def resnet44(num_classes=10, in_channels=3, width_mult=1.0, rng=None):
    """44 layers for 32x32 pictures."""
    return _cifar(7, num_classes, in_channels, width_mult, rng)


def resnet56(num_classes=10, in_channels=3, width_mult=1.0, rng=None):
    """56 layers for 32x32 pictures."""
    return _cifar(9, num_classes, in_channels, width_mult, rng)


def resnet110(num_classes=10, in_channels=3, width_mult=1.0, rng=None):
    """110 layers for 32x32 pictures."""
    return _cifar(18, num_classes, in_channels, width_mult, rng)


def resnet_small(num_classes=10, in_channels=1, width_mult=1.0, rng=None):
    """ResNet for 28x28 and 32x32 pictures: three basic blocks on planes of 14x14, 7x7 and 4x4.

    >>> tc.models.resnet_small(rng=0)(tc.Tensor(np.zeros((1, 1, 28, 28), np.float32))).shape
    (1, 10)
    """
    return ResNet(nn.BasicBlock, (1, 1, 1), num_classes, in_channels, width_mult, rng, SMALL_WIDTHS, (3, 2, False))
