"""Which rank: the least that keeps an energy, the largest that fits a budget, and one budget shared by many layers.

    energy    Σ_{i<=k} σ_i² / Σ σ_i²: what a rank keeps of ‖W‖². The squared relative error is 1 less that.
    budget    costs here grow with the rank, so the largest rank that fits is a division
    sharing   min Σ_l loss_l(k_l)  with  Σ_l cost_l(k_l) <= budget. On the lower convex hull of each layer's points (cost, loss)
              the best step is always the one with the most loss saved for each unit of cost, over all layers (Everett 1963);
              what is left of the budget then goes to the single steps that still fit.
"""
import numpy as np

from .._checks import finite, fraction, whole
from .tucker import mode_singular_values


def rank_by_energy(sigma, energy):
    """The least rank that keeps this fraction of the energy: the least k >= 1 with Σ_{i<=k} σ_i² >= energy Σ σ_i².

    `sigma` from `singular_values`; energy in [0, 1]. The relative error is then at most sqrt(1 - energy).

    >>> tc.compress.lowrank.rank_by_energy([3.0, 2.0, 1.0], 0.9)
    2
    """
    sigma, energy = finite(sigma, "sigma"), float(energy)
    if sigma.ndim != 1 or (sigma < 0).any() or (np.diff(sigma) > 0).any():
        raise ValueError("sigma must be one row of singular values, falling and not negative")
    if not 0 <= energy <= 1:
        raise ValueError(f"energy must be a fraction from 0 to 1, not {energy!r}")
    kept = np.cumsum(np.square(sigma, dtype=np.float64))
    return min(int(np.searchsorted(kept, energy * kept[-1])) + 1, len(sigma))


def rank_by_budget(cost_per_rank, budget, limit):
    """The largest rank within a budget: floor(budget / cost of one rank), at most `limit`.

    Parameters and MACs of every pair here grow in proportion to the rank, so cost_per_rank is e.g.
    `formulas.low_rank_conv_macs(geometry, 1, kind)` or `formulas.low_rank_linear_params(c, f, 1, bias=False)`, and budget is in
    the same unit; `limit` is `max_rank`. Errors: ValueError if not even rank 1 fits.

    >>> tc.compress.lowrank.rank_by_budget(tc.formulas.low_rank_linear_params(256, 512, 1, bias=False), 65536, 256)
    85
    """
    cost, budget, limit = whole(cost_per_rank, "cost_per_rank", 1), whole(budget, "budget", 0), whole(limit, "limit", 1)
    if budget < cost:
        raise ValueError(f"budget must be at least {cost}, the cost of rank 1, not {budget}")
    return min(budget // cost, limit)


def tucker2_ranks_by_energy(w, energy):
    """The least pair of ranks (k, j) that keeps this fraction of the energy for certain: each mode may lose half of the rest.

    Each mode keeps 1 - (1 - energy)/2 of its own, so that error² <= (1 - energy) ‖w‖² by the bound of `tucker`. Shapes: w
    (F,C,KH,KW). Errors: ValueError for an energy outside [0, 1].
    """
    each = 1 - (1 - fraction(energy, "energy")) / 2
    return tuple(rank_by_energy(sigma, each) for sigma in mode_singular_values(w))


# ---- one budget for many layers --------------------------------------------------------------------------------------

def _hull(costs, losses):
    """Positions of the points on the lower convex hull, the cheapest first, up to the least loss."""
    order, hull = np.lexsort((losses, costs)), []
    for i in order:
        if hull and losses[i] >= losses[hull[-1]]:
            continue                                                     # dearer, and no better
        while len(hull) > 1 and _slope(costs, losses, hull[-2], hull[-1]) <= _slope(costs, losses, hull[-2], i):
            hull.pop()
        hull.append(int(i))
    return hull


def _slope(costs, losses, a, b):
    """Loss saved for each unit of cost on the way from point a to point b."""
    return (losses[a] - losses[b]) / (costs[b] - costs[a])


def share_budget(choices, budget):
    """Which choice each layer gets, so that all together cost at most `budget` and lose little: a list of positions.

    choices  for each layer (costs, losses), two rows of equal length: integers, and numbers of at least 0
    Invariants: Σ cost <= budget; no layer alone could change to a choice of less loss within the budget; and the sum of losses
    exceeds the least possible by no more than the largest single step on a hull (what a fractional step would have given).
    Cost: sorting all points. Errors: ValueError if not even the cheapest choices fit.

    >>> tc.compress.lowrank.share_budget([([1, 2, 3], [0.9, 0.5, 0.0]), ([1, 2, 3], [0.2, 0.1, 0.0])], 4)
    [2, 0]
    """
    choices = [(np.asarray(costs, np.int64), np.asarray(losses, np.float64)) for costs, losses in choices]
    hulls = [_hull(*choice) for choice in choices]
    taken, least = [hull[0] for hull in hulls], sum(int(costs[hull[0]]) for (costs, _), hull in zip(choices, hulls))
    if not budget >= least:                                              # NaN is refused too
        raise ValueError(f"budget must be at least {least:,}, what the cheapest choices cost, not {budget:,}")
    room = budget - least
    steps = sorted((-_slope(*choices[layer], a, b), layer, at) for layer, hull in enumerate(hulls)
                   for at, (a, b) in enumerate(zip(hull, hull[1:])))
    for _, layer, at in steps:                                           # slopes of one layer fall, so its steps come in order
        a, b = hulls[layer][at:at + 2]
        price = int(choices[layer][0][b] - choices[layer][0][a])
        if taken[layer] == a and price <= room:
            taken[layer], room = b, room - price
    return _filled(choices, taken, room)


def _filled(choices, taken, room):
    """What is left of the budget: again and again the single change that saves most, while one fits."""
    while True:
        best = (0.0, None, None)
        for layer, (costs, losses) in enumerate(choices):
            fits = np.flatnonzero(costs - costs[taken[layer]] <= room)
            i = int(fits[np.argmin(losses[fits])])
            best = max(best, (float(losses[taken[layer]] - losses[i]), layer, i), key=lambda change: change[0])
        saved, layer, i = best
        if layer is None:
            return taken
        room -= int(choices[layer][0][i] - choices[layer][0][taken[layer]])
        taken[layer] = i
