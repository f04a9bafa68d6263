"""Two recipes that take channels out: VGG-16 to half its filters, MobileNetV2 to half its MACs and into another network.

The controls are those of Liu et al. 2019 ("Rethinking the value of network pruning"): the same budget with channels chosen at
random, and the network that came out, drawn anew and trained for as many epochs as the pruned one has seen in all, those before
pruning included. For the student: itself without a teacher.
"""
from .. import apply, cost
from .study import UNTUNED, Made, Recipe

TUNE = {"vgg16": 3, "mobilenet": 2}
TEACH = 4


def pruned_three_ways(bench, base, epochs, **budget):
    """By L1 before and after tuning, at random, and from scratch; every layer gives the same share, so that the two chosen
    differently have one size.
    """
    half = apply.prune(base.g, criterion="l1", scope="uniform", **budget)
    yield Made(f"L1{UNTUNED}", half, base.epochs)
    tuned = bench.tune(Made("L1", half, base.epochs), "L1", epochs)
    yield tuned
    random = apply.prune(base.g, criterion="random", scope="uniform", seed=bench.seed, **budget)
    yield bench.tune(Made("random", random, base.epochs), "random", epochs)
    yield bench.again(tuned, "from scratch")


CLAIMS = (("L1", "random", "pruning at random"), ("L1", "from scratch", "the same network from scratch"))


def vgg16(bench):
    """Half the filters of every layer of vgg16_small (Li et al. 2017: least sum of |w|), a quarter of the MACs."""
    base = bench.trained("vgg16_small")
    yield base
    yield from pruned_three_ways(bench, base, TUNE["vgg16"], ratio=0.5)


def mobilenet(bench):
    """Coupled channels of mobilenet_v2_small to half its MACs; then V2 as the teacher of mobilenet_v1_small at half width."""
    base = bench.trained("mobilenet_v2_small")
    yield base
    yield from pruned_three_ways(bench, base, TUNE["mobilenet"], macs=cost.macs(base.g) // 2)
    student, epochs = bench.build("mobilenet_v1_small", width_mult=0.5), bench.epochs(TEACH)
    taught = apply.distill(student, base.g, bench.images, bench.labels, temperature=2.0, weight=0.7, epochs=epochs, lr=0.15, **bench.options)
    yield Made("V1 student", taught, epochs)
    yield bench.learn(student, "V1 alone", epochs)


RECIPES = (
    Recipe("vgg16", "VGG-16 without half of its filters", vgg16, CLAIMS),
    Recipe("mobilenet", "MobileNetV2 at half its MACs, and a V1 that learns from it", mobilenet,
           (*CLAIMS, ("V1 student", "V1 alone", "the student without a teacher"))),
)
