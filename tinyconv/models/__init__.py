"""Floor 4: the networks of the field, one file a paper: citation, table as data, published parameters and MACs as constants.

    NETWORKS     name -> builder; every one takes num_classes, in_channels, width_mult and rng (seed or Generator of the weights),
                 and dropout where the network has one
    PUBLISHED    name -> its exact counts: "params" (BatchNorm's γ and β included) and "macs" of one picture of 224x224 (or of
                 "size"): convolution and linear layers, padding taps counted
    PRINTED      what papers, authors and torchvision print, row by row, with the convention and the rounding (`building.Printed`)

Small forms (`…_small`) take one channel of 28x28 or 32x32 unless told otherwise, and are there to be trained. Five of them are
in the package trained, `pretrained(name)`; PRETRAINED says how, and how good they are.
"""
import difflib

from . import (
    alexnets,
    efficientnet,
    mnasnet,
    mobilenetv1,
    mobilenetv2,
    mobilenetv3,
    resnet,
    shufflenetv1,
    shufflenetv2,
    squeezenet,
    vgg,
)
from .alexnets import AlexNet, alexnet, alexnet_paper
from .efficientnet import EfficientNet, compound_scaling, efficientnet_b0, efficientnet_b1, efficientnet_b2, efficientnet_b3
from .mnasnet import MnasNet, mnasnet0_5, mnasnet0_75, mnasnet1_0, mnasnet1_3
from .mobilenetv1 import MobileNetV1, mobilenet_v1, mobilenet_v1_conv, mobilenet_v1_shallow, mobilenet_v1_small
from .mobilenetv2 import MobileNetV2, mobilenet_v2, mobilenet_v2_small
from .mobilenetv3 import MobileNetV3, mobilenet_v3_large, mobilenet_v3_small
from .resnet import (
    ResNet,
    resnet101,
    resnet101_paper,
    resnet110,
    resnet152,
    resnet152_paper,
    resnet18,
    resnet20,
    resnet32,
    resnet34,
    resnet44,
    resnet50,
    resnet50_paper,
    resnet56,
    resnet_small,
    se_resnet50,
)
from .shufflenetv1 import ShuffleNetV1, shufflenet_v1, shufflenet_v1_small
from .shufflenetv2 import (
    ShuffleNetV2,
    shufflenet_v2_paper,
    shufflenet_v2_small,
    shufflenet_v2_x0_5,
    shufflenet_v2_x1_0,
    shufflenet_v2_x1_5,
    shufflenet_v2_x2_0,
)
from .squeezenet import SqueezeNet, squeezenet1_0, squeezenet1_1, squeezenet_small
from .trained import PRETRAINED, Trained, pretrained, read_trained
from .vgg import VGG, vgg16, vgg16_bn, vgg16_small, vgg19, vgg19_bn

NETWORKS = {f.__name__: f for f in (
    alexnet, alexnet_paper,
    vgg16, vgg19, vgg16_bn, vgg19_bn, vgg16_small,
    squeezenet1_0, squeezenet1_1, squeezenet_small,
    resnet18, resnet34, resnet50, resnet101, resnet152, resnet50_paper, resnet101_paper, resnet152_paper, se_resnet50,
    resnet20, resnet32, resnet44, resnet56, resnet110, resnet_small,
    mobilenet_v1, mobilenet_v1_conv, mobilenet_v1_shallow, mobilenet_v1_small,
    mobilenet_v2, mobilenet_v2_small,
    mobilenet_v3_large, mobilenet_v3_small,
    shufflenet_v1, shufflenet_v1_small,
    shufflenet_v2_x0_5, shufflenet_v2_x1_0, shufflenet_v2_x1_5, shufflenet_v2_x2_0, shufflenet_v2_paper, shufflenet_v2_small,
    efficientnet_b0, efficientnet_b1, efficientnet_b2, efficientnet_b3,
    mnasnet0_5, mnasnet0_75, mnasnet1_0, mnasnet1_3,
)}
_PAGES = (alexnets, vgg, squeezenet, resnet, mobilenetv1, mobilenetv2, mobilenetv3, shufflenetv1, shufflenetv2, efficientnet,
          mnasnet)
PUBLISHED = {name: counts for page in _PAGES for name, counts in page.PUBLISHED.items()}
PRINTED = tuple(row for page in _PAGES for row in page.PRINTED)


def network(name):
    """The builder of that name. Errors: ValueError naming those that are spelled alike, or all.

    >>> tc.models.network("resnet18") is tc.models.resnet18
    True
    """
    if name not in NETWORKS:
        alike = difflib.get_close_matches(str(name), NETWORKS, n=3)
        raise ValueError(f"unknown network {name!r}; " + (f"did you mean {' or '.join(alike)}?" if alike else
                                                          f"there are {', '.join(NETWORKS)}"))
    return NETWORKS[name]


def input_shape(name):
    """(1,C,H,W) of the picture that a network is usually given: that of its published counts, or 1x28x28 for the small forms.

    >>> tc.models.input_shape("alexnet_paper"), tc.models.input_shape("resnet_small")
    ((1, 3, 227, 227), (1, 1, 28, 28))
    """
    network(name)
    size = PUBLISHED[name].get("size", 224) if name in PUBLISHED else 28
    return (1, 3 if name in PUBLISHED else 1, size, size)


__all__ = [
    "AlexNet", "EfficientNet", "MnasNet", "MobileNetV1", "MobileNetV2", "MobileNetV3", "NETWORKS", "PRETRAINED", "PRINTED",
    "PUBLISHED", "ResNet", "ShuffleNetV1", "ShuffleNetV2", "SqueezeNet", "Trained", "VGG", "compound_scaling", "input_shape",
    "network", "pretrained", "read_trained",
    *NETWORKS,
]
