"""Bits layer by layer: what each layer loses at b bits, what it weighs, and the assignment of least loss under a budget of bytes.

    least Σ_l Ω_l(b_l)   with   Σ_l bytes_l(b_l) <= budget,   b_l of a few choices
Ω_l(b) is measured, "loss": how much the loss rises if layer l alone is quantized; or estimated, "hessian": λ_l ‖w - ŵ_b‖²/2, with
the top eigenvalue of the layer's Hessian (curvature). Both take layers to add up, which they nearly do while errors are small.
"grid" tries every assignment; "greedy" takes, from the most bits down, the step of least ΔΩ a byte, and at the end gives back
what still fits. Sources: Wang et al., "HAQ" (2019), for the problem; Dong et al., "HAWQ" (2019), section 3.
"""
import math

import numpy as np

from .. import functional as F
from .. import train
from ..compress import quantize as pure
from ..formulas import quantized_bytes
from ..graph import fold_batch_norms, run
from ._checks import check_graph, layer_weights
from .aware import FLOAT, layer_bits
from .curvature import layer_gradient, top_eigenvalue

MOST = 2 ** 22                          # assignments that "grid" is willing to try
KINDS = ("loss", "hessian")


def weight_bytes(g, bits):
    """weight -> bytes at b bits: ceil(n b / 8) for codes, packed, and 4 a filter for its scale; 4 n at 32 bits, which has none.

    bits an integer for all or a dict weight -> bits. Biases, 4 bytes a filter in any case, are not counted.

    >>> g = tc.trace(tc.nn.Linear(3, 2, rng=0), (1, 3))
    >>> tc.apply.weight_bytes(g, 4), tc.apply.weight_bytes(g, 32)
    ({'weight': 11}, {'weight': 24})
    """
    weights = layer_weights(g)
    wanted = layer_bits(g, bits, edge_bits=0)
    return {name: 4 * w.size if wanted[name] == FLOAT else quantized_bytes(w.size, wanted[name], len(w))
            for name, w in weights.items()}


def sensitivity(g, images, labels, choices=(8, 4, 2), kind="loss", seed=0):
    """weight -> {bits: Ω}, BatchNorm folded, scales of least squared error a filter.

    kind "loss": L with that layer alone at so many bits - L, on these pictures (it may be negative); "hessian": λ ‖w - ŵ‖²/2 with
    the top eigenvalue there (a negative one counts as 0). Cost: one pass a layer and choice; 40 gradients a layer.
    """
    check_graph(g)
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}")
    folded, labels = fold_batch_norms(g), np.asarray(labels)
    x = train.as_batch(np.asarray(images))
    loss = lambda values: F.cross_entropy(run(folded, x, values=values), labels).item()
    base, found = loss({}) if kind == "loss" else 0.0, {}
    for name, w in layer_weights(folded).items():
        curve = max(top_eigenvalue(layer_gradient(folded, x, labels, name), w, seed=seed)[0], 0.0) if kind == "hessian" else None
        found[name] = {}
        for bits in choices:
            w_hat = pure.lsq(w, pure.search_scale(w, bits), *pure.code_range(bits, narrow=True))
            found[name][bits] = loss({name: w_hat}) - base if kind == "loss" else 0.5 * curve * float(np.square(w - w_hat).sum())
    return found


def search_bits(costs, sizes, budget_bytes, method="greedy"):
    """weight -> bits of low Σ cost with Σ bytes <= budget. costs, sizes: weight -> {bits: cost}, weight -> {bits: bytes}.

    "grid": the least there is, every assignment tried; at most 2^22 of them. "greedy": see above; never above the budget.
    Errors: ValueError for a budget that the fewest bits exceed, choices that differ, or too many assignments.

    >>> costs, sizes = {"a": {8: 0.0, 4: 1.0}, "b": {8: 0.0, 4: 0.1}}, {"a": {8: 10, 4: 5}, "b": {8: 10, 4: 5}}
    >>> tc.apply.search_bits(costs, sizes, 15, "grid"), tc.apply.search_bits(costs, sizes, 15)
    ({'a': 8, 'b': 4}, {'a': 8, 'b': 4})
    """
    if {n: set(c) for n, c in costs.items()} != {n: set(c) for n, c in sizes.items()} or not costs:
        raise ValueError("costs and sizes must have the same weights with the same choices of bits, at least one")
    if method not in ("greedy", "grid"):
        raise ValueError(f"method must be greedy or grid, not {method!r}")
    least = sum(min(size.values()) for size in sizes.values())
    if not budget_bytes >= least:
        raise ValueError(f"budget_bytes must be at least {least:,}, what the fewest bits take, not {budget_bytes:,}")
    return (_grid if method == "grid" else _greedy)(costs, sizes, budget_bytes)


def _grid(costs, sizes, budget):
    """Every assignment, layer by layer: two arrays with the sums of all assignments so far."""
    count = math.prod(len(c) for c in costs.values())
    if count > MOST:
        raise ValueError(f"grid would try {count:,} assignments, more than {MOST:,}: take greedy, or fewer choices")
    cost, size = np.zeros(1), np.zeros(1, np.int64)
    for name in costs:
        choices = list(costs[name])
        cost = (cost[:, None] + [costs[name][b] for b in choices]).ravel()
        size = (size[:, None] + [sizes[name][b] for b in choices]).ravel()
    best = int(np.argmin(np.where(size <= budget, cost, np.inf)))
    shape = tuple(len(c) for c in costs.values())
    return {name: list(costs[name])[i] for name, i in zip(costs, np.unravel_index(best, shape))}


def _greedy(costs, sizes, budget):
    """Down by the least ΔΩ a byte until it fits; then up by the greatest gain a byte while it fits."""
    order = {name: sorted(costs[name], reverse=True) for name in costs}
    at = dict.fromkeys(costs, 0)

    def total():
        return sum(sizes[name][order[name][i]] for name, i in at.items())

    def change(name, step):
        """(ΔΩ, Δbytes) of moving one layer by one choice."""
        here, there = order[name][at[name]], order[name][at[name] + step]
        return costs[name][there] - costs[name][here], sizes[name][there] - sizes[name][here]
    while total() > budget:
        down = [name for name in at if at[name] + 1 < len(order[name])]
        ratios = [change(name, 1)[0] / max(-change(name, 1)[1], 1) for name in down]
        at[down[int(np.argmin(ratios))]] += 1
    while True:
        up = [name for name in at if at[name] and total() + change(name, -1)[1] <= budget and change(name, -1)[0] < 0]
        if not up:
            return {name: order[name][i] for name, i in at.items()}
        at[max(up, key=lambda name: -change(name, -1)[0] / max(change(name, -1)[1], 1))] -= 1
