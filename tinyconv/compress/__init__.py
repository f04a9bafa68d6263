"""Floor 1: the compressions as pure array transforms, NumPy alone: arrays in, arrays out, the invariant stated and tested.

    prune      which weights or filters go, and what is left without them (a folder: criteria, second order, schedules, …)
    quantize   numbers as small integers: scale, zero point, codes; BatchNorm folded into the convolution before it
    lowrank    one matrix or convolution as two thin ones (singular value decomposition)
    distill    a small network that learns from a large one: the loss and its gradient

Nothing here knows a network; apply/ carries these through a Graph.
"""
from . import distill, lowrank, prune, quantize

__all__ = ["distill", "lowrank", "prune", "quantize"]
