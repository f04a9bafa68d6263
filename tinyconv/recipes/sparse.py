"""Two recipes in which training itself says what can go: lottery tickets, and network slimming.

    lottery    a mask found by training and pruning in rounds, its survivors put back to where they began (Frankle & Carbin 2019)
    slimming   L1 on every BatchNorm's γ while the network trains, then without the channels of least |γ| (Liu et al. 2017)
A ticket's claim has two parts, each with its control: the values (the same mask on other ones), and the places (as many zeros of
each layer elsewhere). Late tickets go back to the weights after one epoch (Frankle et al. 2020). Epochs are those that the weights
have seen; the search for the mask, ROUNDS times SEARCH epochs, is not among them.
"""
import numpy as np

from .. import apply, cost
from ..compress.prune import shuffled_mask
from .study import UNTUNED, Made, Recipe, redrawn

SPARSITY, ROUNDS, SEARCH, EPOCHS = 0.9, 3, 2, 4
RATIO, STRENGTH, TUNE = 0.5, 2e-3, 2


def lottery(bench):
    """resnet_small with a tenth of its weights: tickets, late tickets, and what they are compared with."""
    start = bench.build("resnet_small")
    yield bench.learn(start, "whole", EPOCHS)
    masks = apply.find_ticket(start, bench.images, bench.labels, SPARSITY, rounds=1 if bench.quick else ROUNDS, epochs=bench.epochs(SEARCH),
                              lr=0.15, **bench.options)
    yield bench.learn(apply.with_masks(start, masks), "ticket", EPOCHS, keep_zeros=True)
    early = bench.learn(start, "late ticket", 1)
    late = Made("late ticket", apply.with_masks(early.g, masks), early.epochs)
    yield bench.tune(late, "late ticket", EPOCHS - early.epochs, lr=0.15, keep_zeros=True)
    dice = np.random.default_rng(bench.seed)
    yield bench.learn(apply.with_masks(redrawn(start, dice), masks), "other values", EPOCHS, keep_zeros=True)
    elsewhere = {name: shuffled_mask(mask, dice) for name, mask in masks.items()}
    yield bench.learn(apply.with_masks(start, elsewhere), "other places", EPOCHS, keep_zeros=True)


def slimming(bench):
    """Half of vgg16_small's channels by γ; beside γ that no penalty pressed, channels at random, and the slim network from scratch."""
    start, epochs = bench.build("vgg16_small"), bench.epochs(EPOCHS)
    base = bench.learn(start, "base", EPOCHS)
    yield base
    slim = Made("slim", apply.slim(start, bench.images, bench.labels, RATIO, STRENGTH, epochs, lr=0.15, weight_decay=5e-4, **bench.options), epochs)
    yield slim._replace(name=f"slim{UNTUNED}")
    tuned = bench.tune(slim, "slim", TUNE)
    yield tuned
    for name, criterion, scope in (("γ, no penalty", "batch_norm", "global"), ("random", "random", "uniform")):
        small = apply.prune(base.g, macs=cost.macs(slim.g), criterion=criterion, scope=scope, seed=bench.seed)
        yield bench.tune(Made(name, small, base.epochs), name, TUNE)
    yield bench.again(tuned, "from scratch")


RECIPES = (
    Recipe("lottery", "Lottery tickets: a tenth of ResNet's weights, from the beginning", lottery, tuple(
        (name, control, words) for name in ("ticket", "late ticket")
        for control, words in (("other values", "the same mask on other values"), ("other places", "as many zeros at random places")))),
    Recipe("slimming", "Slimming: half of VGG-16's channels by γ", slimming, (
        ("slim", "γ, no penalty", "pruning by γ without the penalty"), ("slim", "random", "pruning at random to as many MACs"),
        ("slim", "from scratch", "the same network from scratch"))),
)
