"""Floor 1: the compressions as pure array transforms, NumPy alone: arrays in, arrays out, the invariant stated and tested.

    prune      which weights or filters go, and what is left without them (a folder: criteria, second order, schedules, …)
    quantize   numbers as small integers: scale, zero point, codes; BatchNorm folded into the convolution before it
    lowrank    one layer as a chain of thinner ones (SVD, Tucker-2, CP), and which ranks
    encode     arrays as bytes and back, every byte foretold: sparse, shared, Huffman (a folder too)
    distill    a small network that learns from a large one's scores, features or relations: losses and their gradients

Nothing here knows a network; apply/ carries these through a Graph.
"""
from . import distill, encode, lowrank, prune, quantize

__all__ = ["distill", "encode", "lowrank", "prune", "quantize"]
