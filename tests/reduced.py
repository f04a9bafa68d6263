"""Reduced members of every family of networks: small enough for a test to train, to prune and to run on plain loops.

A row: name -> (the builder's arguments, channels, height and width of the pictures). Every block, head and shortcut of
tinyconv.models is in one of them.
"""
from tinyconv import models

MEMBERS = {
    "alexnet": ({"width_mult": 1 / 16, "dropout": 0.0}, 3, 64),
    "vgg16_bn": ({"width_mult": 1 / 16, "dropout": 0.0}, 3, 32),
    "vgg16_small": ({"width_mult": 1 / 2}, 1, 16),
    "squeezenet1_1": ({"width_mult": 1 / 2, "dropout": 0.0}, 3, 64),
    "squeezenet_small": ({}, 1, 15),
    "resnet18": ({"width_mult": 1 / 8}, 3, 32),
    "resnet20": ({"width_mult": 1 / 4}, 3, 16),
    "resnet_small": ({}, 1, 12),
    "se_resnet50": ({"width_mult": 1 / 16}, 3, 32),
    "mobilenet_v1": ({"width_mult": 1 / 4}, 3, 32),
    "mobilenet_v1_conv": ({"width_mult": 1 / 16}, 3, 32),
    "mobilenet_v1_small": ({}, 1, 12),
    "mobilenet_v2": ({"width_mult": 1 / 4}, 3, 32),
    "mobilenet_v2_small": ({}, 1, 12),
    "mobilenet_v3_small": ({"width_mult": 0.35}, 3, 32),
    "shufflenet_v1": ({"width_mult": 1 / 4}, 3, 32),
    "shufflenet_v1_small": ({}, 1, 12),
    "shufflenet_v2_paper": ({"width_mult": 1 / 4}, 3, 32),
    "shufflenet_v2_small": ({}, 1, 12),
    "efficientnet_b0": ({"width_mult": 1 / 4, "dropout": 0.0}, 3, 32),
    "mnasnet0_5": ({"width_mult": 1 / 2}, 3, 32),
}
WITHOUT_NORM = {"alexnet", "squeezenet1_1", "squeezenet_small"}


def member(name, num_classes=10):
    """(model, shape of a picture) of a member."""
    options, channels, size = MEMBERS[name]
    return models.network(name)(num_classes=num_classes, in_channels=channels, rng=0, **options), (channels, size, size)
