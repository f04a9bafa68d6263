"""Floor 3: layers and blocks to write networks with, under PyTorch's names. `Module` is a way to write a network; the network is its graph."""
from . import init
from .activations import Hardsigmoid, Hardswish, LeakyReLU, ReLU, ReLU6, Sigmoid, SiLU, Softmax, Tanh
from .attention import CBAM, DynamicConv2d, SoftmaxChannelAttention, SpatialAttention, SqueezeExcitation, attention_of
from .blocks import (
    BasicBlock,
    Bottleneck,
    DepthwiseSeparable,
    Fire,
    InvertedResidual,
    MBConv,
    PaddedShortcut,
    ShuffledPointwise,
    ShuffleUnitV1,
    ShuffleUnitV2,
    conv_bn_act,
)
from .layers import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm2d,
    ChannelShuffle,
    Conv2d,
    Dropout,
    Flatten,
    Identity,
    Linear,
    LocalResponseNorm,
    MaxPool2d,
    StochasticDepth,
)
from .losses import CrossEntropyLoss, DistillationLoss, MSELoss
from .module import Module, ModuleList, Parameter, Sequential

__all__ = [
    "AdaptiveAvgPool2d", "AvgPool2d", "BasicBlock", "BatchNorm2d", "Bottleneck", "CBAM", "ChannelShuffle", "Conv2d",
    "CrossEntropyLoss", "DepthwiseSeparable", "DistillationLoss", "Dropout", "DynamicConv2d", "Fire", "Flatten",
    "Hardsigmoid", "Hardswish", "Identity", "InvertedResidual", "LeakyReLU", "Linear", "LocalResponseNorm", "MBConv",
    "MSELoss", "MaxPool2d", "Module", "ModuleList", "PaddedShortcut", "Parameter", "ReLU", "ReLU6", "Sequential",
    "ShuffleUnitV1", "ShuffleUnitV2", "ShuffledPointwise", "SiLU", "Sigmoid", "Softmax", "SoftmaxChannelAttention",
    "SpatialAttention", "SqueezeExcitation", "StochasticDepth", "Tanh", "attention_of", "conv_bn_act", "init",
]
