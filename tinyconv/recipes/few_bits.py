"""Recipes below four bits: bits layer by layer within a budget, and weights that are signs.

    mixed     mobilenet_v1_small in the bytes that 3 bits everywhere take: bits chosen by measured loss (greedy, every assignment
              tried) or by the Hessian's top eigenvalue, beside 3 bits everywhere and bits drawn at random within the same bytes
    binary    resnet_small with weights of ±α and of -α, 0, α, trained as such; beside the same without training, and as many bits
              another way: two values a layer by k-means; three codes with a learned step (LSQ)
Everything is written in integers but k-means' values, which are no multiples of a step; values have 8 bits.
"""
import numpy as np

from .. import apply
from ..compress import quantize as pure
from ..graph import fold_batch_norms
from .integers import calibration, rounded, trained_with_codes
from .study import UNTUNED, Made, Recipe

CHOICES, UNIFORM = (8, 4, 3, 2), 3
TUNE, LONG = 1, 3


def random_bits(sizes, budget, rng):
    """weight -> bits: from the most bits down, a layer at random has a choice less until the bytes fit.

    >>> random_bits({"a": {8: 10, 4: 5}, "b": {8: 10, 4: 5}}, 10, np.random.default_rng(0))
    {'a': 4, 'b': 4}
    """
    choices = {name: sorted(size, reverse=True) for name, size in sizes.items()}
    at = dict.fromkeys(sizes, 0)
    while sum(sizes[name][choices[name][i]] for name, i in at.items()) > budget:
        lower = [name for name, i in at.items() if i + 1 < len(choices[name])]
        at[lower[rng.integers(len(lower))]] += 1
    return {name: choices[name][i] for name, i in at.items()}


def mixed(bench):
    """mobilenet_v1_small with bits layer by layer, in the bytes that uniform bits take: every way of giving them, rounded and trained.

    Greedily by the loss, by trying every assignment of a grid, and by the Hessian's sensitivity ½ λ ‖δ‖²; beside uniform and random bits. Yields
    Made. Source: Dong et al., "HAWQ" (2019), for the last.
    """
    start, base = calibration(bench), bench.trained("mobilenet_v1_small")
    yield base
    folded = fold_batch_norms(base.g)
    pick = np.random.default_rng([bench.seed, 1]).permutation(len(bench.images))[:500]
    seen = {"loss": pick, "hessian": pick[:100]}                                    # 40 gradients a layer: fewer pictures
    sizes = {name: {b: apply.weight_bytes(folded, b)[name] for b in CHOICES} for name in apply.layer_weights(folded)}
    budget = sum(size[UNIFORM] for size in sizes.values())
    costs = {kind: apply.sensitivity(base.g, bench.images[i], bench.labels[i], CHOICES, kind, bench.seed) for kind, i in seen.items()}
    ways = {"uniform": dict.fromkeys(sizes, UNIFORM), "random": random_bits(sizes, budget, np.random.default_rng(bench.seed)),
            "greedy": apply.search_bits(costs["loss"], sizes, budget, "greedy"),
            "grid": apply.search_bits(costs["loss"], sizes, budget, "grid"),
            "Hessian": apply.search_bits(costs["hessian"], sizes, budget, "grid")}
    for name, bits in ways.items():
        yield rounded(base, f"{name}{UNTUNED}", bits, start)
        yield trained_with_codes(bench, base, name, bits, TUNE, start)


def as_signs(bench, made, name, kind, start, epochs=0):
    """Made with every weight but the first and last in signs: projected and, for some epochs, trained so; then in integers."""
    inner, to = list(apply.layer_weights(made.g))[1:-1], apply.to_signs(kind)
    epochs = epochs and bench.epochs(epochs)
    g = apply.train_projected(made.g, bench.images, bench.labels, to, inner, epochs, **options(bench)) if epochs else apply.project(made.g, to, inner)
    return Made(name, apply.quantize(apply.with_sign_codes(g, inner), start), made.epochs + epochs, "smallest")


def options(bench):
    """How signs and shared values are trained; no decay, which would pull at the latent weights by their projections."""
    return {"lr": 0.02, "label_smoothing": 0.05, "weight_decay": 0.0, **bench.options}


def two_values(bench, made, name, epochs):
    """Two values a layer, found by k-means among the weights: which weight has which stays as it was found, the two are trained."""
    inner = list(apply.layer_weights(made.g))[1:-1]
    g = apply.project(made.g, lambda name, w: pure.shared(*pure.share(w, 2, "density", bench.seed)[:2]), inner)
    epochs = bench.epochs(epochs)
    g = apply.train_projected(g, bench.images, bench.labels, apply.to_clusters(g, inner), inner, epochs, **options(bench))
    return Made(name, g, made.epochs + epochs, "smallest")


def binary(bench):
    """resnet_small with weights α sign(w), and α times -1, 0 or 1: projected untrained, and trained through the projection.

    Beside two values a layer by k-means and learned steps of two bits. Yields Made. Source: Rastegari et al., "XNOR-Net" (2016), section 3.1;
    Li, Zhang & Liu, "Ternary weight networks" (2016).
    """
    start, base = calibration(bench), bench.trained("resnet_small")
    yield base
    yield as_signs(bench, base, f"binary{UNTUNED}", "binary", start)
    yield as_signs(bench, base, "binary", "binary", start, LONG)
    yield two_values(bench, base, "two values", LONG)
    yield as_signs(bench, base, f"ternary{UNTUNED}", "ternary", start)
    yield as_signs(bench, base, "ternary", "ternary", start, LONG)
    yield trained_with_codes(bench, base, "2 bits LSQ", apply.layer_bits(base.g, 2), LONG, start, "smallest")


RECIPES = (
    Recipe("mixed", "Bits layer by layer, in the bytes of 3 everywhere", mixed, (
        *((name, "uniform", "3 bits everywhere") for name in ("greedy", "grid", "Hessian")),
        ("grid", "random", "bits at random"),
        (f"grid{UNTUNED}", f"uniform{UNTUNED}", "3 bits everywhere, rounded"))),
    Recipe("binary", "Weights that are signs", binary, (
        ("binary", f"binary{UNTUNED}", "the same without training"), ("binary", "two values", "two values a layer by k-means"),
        ("ternary", "2 bits LSQ", "three codes with a learned step"), ("ternary", f"ternary{UNTUNED}", "the same without training"))),
)
