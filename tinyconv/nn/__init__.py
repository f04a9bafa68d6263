"""Floor 3: layers and blocks to write networks with, under PyTorch's names. `Module` is a way to write a network; the network is its graph."""
from . import init
from .activations import Hardsigmoid, Hardswish, LeakyReLU, ReLU, ReLU6, Sigmoid, SiLU, Softmax, Tanh
from .blocks import BasicBlock, Bottleneck, DepthwiseSeparable, Fire, InvertedResidual, ShuffleUnitV2, conv_bn_act
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
)
from .losses import CrossEntropyLoss, DistillationLoss, MSELoss
from .module import Module, ModuleList, Parameter, Sequential

__all__ = [
    "AdaptiveAvgPool2d", "AvgPool2d", "BasicBlock", "BatchNorm2d", "Bottleneck", "ChannelShuffle", "Conv2d",
    "CrossEntropyLoss", "DepthwiseSeparable", "DistillationLoss", "Dropout", "Fire", "Flatten", "Hardsigmoid", "Hardswish",
    "Identity", "InvertedResidual", "LeakyReLU", "Linear", "LocalResponseNorm", "MSELoss", "MaxPool2d", "Module",
    "ModuleList", "Parameter", "ReLU", "ReLU6", "Sequential", "ShuffleUnitV2", "SiLU", "Sigmoid", "Softmax", "Tanh",
    "conv_bn_act", "init",
]
