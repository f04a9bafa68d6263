"""Floor 4: the networks of the field, one file a paper: citation, table as data, published parameters and MACs as constants.

    NETWORKS     name -> builder; every one takes num_classes, in_channels, width_mult and rng (seed or Generator of the weights),
                 and dropout where the network has one
    PUBLISHED    name -> its exact counts: "params" (BatchNorm's γ and β included) and "macs" of one picture of 224x224 (or "size"),
                 convolution and linear layers, padding taps counted
    PRINTED      what papers, authors and torchvision print, row by row, with the convention and the rounding (`building.Printed`)
"""
from . import mobilenetv1, mobilenetv2, resnet, shufflenetv2, squeezenet
from .mobilenetv1 import MobileNetV1, mobilenet_v1, mobilenet_v1_small
from .mobilenetv2 import MobileNetV2, mobilenet_v2, mobilenet_v2_small
from .resnet import (
    ResNet,
    resnet18,
    resnet34,
    resnet50,
    resnet50_paper,
    resnet101,
    resnet101_paper,
    resnet152,
    resnet152_paper,
)
from .shufflenetv2 import (
    ShuffleNetV2,
    shufflenet_v2_paper,
    shufflenet_v2_x0_5,
    shufflenet_v2_x1_0,
    shufflenet_v2_x1_5,
    shufflenet_v2_x2_0,
)
from .squeezenet import SqueezeNet, squeezenet1_0, squeezenet1_1

NETWORKS = {f.__name__: f for f in (
    squeezenet1_0, squeezenet1_1,
    resnet18, resnet34, resnet50, resnet101, resnet152, resnet50_paper, resnet101_paper, resnet152_paper,
    mobilenet_v1, mobilenet_v1_small, mobilenet_v2, mobilenet_v2_small,
    shufflenet_v2_x0_5, shufflenet_v2_x1_0, shufflenet_v2_x1_5, shufflenet_v2_x2_0, shufflenet_v2_paper,
)}
_PAGES = (squeezenet, resnet, mobilenetv1, mobilenetv2, shufflenetv2)
PUBLISHED = {name: counts for page in _PAGES for name, counts in page.PUBLISHED.items()}
PRINTED = tuple(row for page in _PAGES for row in getattr(page, "PRINTED", ()))

__all__ = ["MobileNetV1", "MobileNetV2", "NETWORKS", "PRINTED", "PUBLISHED", "ResNet", "ShuffleNetV2", "SqueezeNet", *NETWORKS]
