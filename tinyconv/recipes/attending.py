"""What is attention worth? MobileNetV2 without it, with three kinds of it, and with its MACs spent on width instead.

Attention adds work and parameters, so that a network with it is no fair opponent of the one without: whatever costs more may be
better. The control is the same network with wider blocks, at least as dear as the dearest kind (CBAM). All begin with this seed's
weights and train alike.
"""
from functools import partial

from .. import cost, graph, models, nn
from ..models.mobilenetv2 import SMALL_HEAD, SMALL_STEM, SMALL_TABLE
from .study import Recipe

KINDS = {"SE": "se", "spatial": "spatial", "CBAM": "cbam"}
EPOCHS, WIDTH = 3, 0.5


def widened(factor, in_channels, rng):
    """mobilenet_v2_small of WIDTH, its expansions t multiplied by `factor`; the block that does not expand (t = 1) stays."""
    table = [(t if t == 1 else t * factor, c, n, s) for t, c, n, s in SMALL_TABLE]
    return models.MobileNetV2(table, SMALL_STEM, SMALL_HEAD, 10, in_channels, WIDTH, 0.0, rng)


def least_factor(macs, shape):
    """The least multiple of 1/100, from 1 on, by which expansions grow so that the network has `macs` multiply-adds or more.

    >>> least_factor(0, (1, 1, 28, 28)), least_factor(800_000, (1, 1, 28, 28))
    (1.0, 1.04)
    """
    with nn.init.undrawn():
        for percent in range(100, 401):
            if cost.macs(graph.trace(widened(percent / 100, shape[1], 0), shape)) >= macs:
                return percent / 100
    raise ValueError(f"macs must be within four times the expansions, not {macs:,}")


def attention(bench):
    """mobilenet_v2_small at half width with nothing, squeeze and excitation, spatial attention or CBAM behind every depthwise
    convolution; and wider blocks.
    """
    begin = partial(bench.build, "mobilenet_v2_small", width_mult=WIDTH)
    networks = {"none": begin(), **{name: begin(attention=kind) for name, kind in KINDS.items()}}
    most = max(cost.macs(g) for g in networks.values())
    channels = bench.images.shape[1]
    networks["wider"] = bench.traced(widened(least_factor(most, (1, *bench.images.shape[1:])), channels, bench.seed))
    for name, g in networks.items():
        yield bench.learn(g, name, EPOCHS)


CLAIMS = tuple((name, control, words) for name in KINDS
               for control, words in (("none", "no attention"), ("wider", "wider blocks of as many MACs")))

RECIPES = (Recipe("attention", "MobileNetV2 with attention, and with wider blocks instead", attention, CLAIMS),)
