"""Thin factors instead of thick layers: ResNet at half its MACs by low rank.

Two ways to factor, spatial (Kx1, then 1xK) and Tucker-2 (1x1, KxK, 1x1), their ranks chosen where they lose least of the weights'
energy. The controls: ranks that give every layer the same share of its MACs; filters pruned by L1 to as many MACs; and the factors
drawn anew and trained for as many epochs. The base is trained here, with each seed, so that this last one costs no more than it.
"""
from .. import apply, cost
from .study import UNTUNED, Made, Recipe

EPOCHS, TUNE = 6, 2


def lowrank(bench):
    """resnet_small to half its MACs in spatial and in Tucker-2 factors, and the three controls."""
    base = bench.learn(bench.build("resnet_small"), "base", EPOCHS)
    yield base
    budget = cost.macs(base.g) // 2
    made = {"spatial": apply.lowrank(base.g, macs=budget, kind="spatial"),
            "Tucker-2": apply.lowrank(base.g, macs=budget, kind="tucker2"),
            "spatial, equal shares": apply.lowrank(base.g, macs=budget, kind="spatial", scope="uniform"),
            "L1 filters": apply.prune(base.g, macs=budget, criterion="l1", scope="uniform")}
    for name, g in made.items():
        if name in ("spatial", "Tucker-2"):
            yield Made(f"{name}{UNTUNED}", g, base.epochs)
        made[name] = bench.tune(Made(name, g, base.epochs), name, TUNE)
        yield made[name]
    yield bench.again(made["spatial"], "spatial, from scratch")


RECIPES = (
    Recipe("lowrank", "ResNet in thin factors, half of its MACs", lowrank, (
        ("spatial", "spatial, equal shares", "one share of MACs for all layers"), ("spatial", "L1 filters", "filters pruned to as many MACs"),
        ("Tucker-2", "L1 filters", "filters pruned to as many MACs"), ("spatial", "spatial, from scratch", "the same factors from scratch"))),
)
