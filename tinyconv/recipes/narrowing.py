"""Two recipes that take channels out: VGG-16 to half its filters, MobileNetV2 to half its MACs and into another network.

The controls are those of Liu et al. 2019 ("Rethinking the value of network pruning"): the same budget with channels chosen at
random, and the network that came out, drawn anew and trained for as many epochs as the pruned one has seen in all, those before
pruning included. So MobileNetV2 is trained here and briefly: after the package's 25 epochs its control would need as many, with
every seed. For the student: itself without a teacher.
"""
from .. import apply, cost
from .study import UNTUNED, Made, Recipe

TUNE = 3                                  # of vgg16_small, which is the package's
LEARN, TUNE_SHORT, TEACH = 5, 2, 4        # of the two MobileNets


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
    yield from pruned_three_ways(bench, base, TUNE, ratio=0.5)


def mobilenet(bench):
    """Coupled channels of mobilenet_v2_small to half its MACs; then V2, the package's where it fits, as teacher of V1 at half width."""
    base = bench.learn(bench.build("mobilenet_v2_small"), "base", LEARN)
    yield base
    yield from pruned_three_ways(bench, base, TUNE_SHORT, macs=cost.macs(base.g) // 2)
    teacher = (bench.trained("mobilenet_v2_small") if bench.embedded else base)._replace(name="teacher")
    yield teacher
    student, epochs = bench.build("mobilenet_v1_small", width_mult=0.5), bench.epochs(TEACH)
    taught = apply.distill(student, teacher.g, bench.images, bench.labels, temperature=2.0, weight=0.7, epochs=epochs, lr=0.15, **bench.options)
    yield Made("V1 student", taught, epochs)
    yield bench.learn(student, "V1 alone", epochs)


RECIPES = (
    Recipe("vgg16", "VGG-16 without half of its filters", vgg16, CLAIMS),
    Recipe("mobilenet", "MobileNetV2 at half its MACs, and a V1 that learns from it", mobilenet,
           (*CLAIMS, ("V1 student", "V1 alone", "the student without a teacher"))),
)
