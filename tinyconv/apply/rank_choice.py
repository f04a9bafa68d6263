"""Which rank each layer of a network gets: by its own energy, by a share of its full rank, or by one budget for all.

A layer here is a `low_rank.Layer`: its weight, the form of its chain, what it costs now, and cost(rank). A rank is a number, for tucker2
the pair (k, j), and None where the layer stays whole.
"""
import numpy as np

from ..compress import lowrank as pure


def _full_rank(layer):
    """The rank at which nothing is lost: one number, or the pair of tucker2."""
    if layer.form == "tucker2":
        f, c, kh, kw = layer.w.shape
        return min(f, c * kh * kw), min(c, f * kh * kw)
    return pure.cp_max_rank(layer.w.shape) if layer.form == "cp" else pure.max_rank(layer.w.shape, layer.form)


def own_rank(layer, energy, ratio, seed):
    """The rank that one layer gets by itself: the least that keeps `energy` of ‖w‖², or round(ratio · full rank), at least 1.

    energy, ratio   one of them, in (0, 1], the other None;  seed   of cp's random starts
    Returns None where no chain both keeps the energy and saves MACs (cp alone is asked both).
    """
    if ratio is not None:
        if layer.form != "tucker2":
            return max(1, round(ratio * _full_rank(layer)))
        return _balanced(layer, *(max(1, round(ratio * full)) for full in _full_rank(layer)))
    if layer.form == "cp":
        return _cp_rank(layer, energy, seed)
    if layer.form == "tucker2":
        return _balanced(layer, *pure.tucker2_ranks_by_energy(layer.w, energy))
    return pure.rank_by_energy(pure.singular_values(layer.w, layer.form), energy)


def _balanced(layer, k, j):
    """(k, j) with neither larger than the other can fill: at most the window's size times it."""
    window = layer.w.shape[2] * layer.w.shape[3]
    return min(k, j * window), min(j, k * window)


def _cp_rank(layer, energy, seed):
    """The least rank, by bisection, whose ALS keeps the energy and whose chain saves MACs; None: there is none."""
    limit = min((layer.macs - 1) // layer.cost(1), _full_rank(layer))
    allowed = (1 - energy) * float(np.square(layer.w, dtype=np.float64).sum())

    def enough(rank):
        return pure.cp(layer.w, rank, seed=seed).errors[-1] <= allowed

    if limit < 1 or not enough(limit):
        return None
    low, high = 1, limit
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return high


def _choices(layer):
    """(ranks, costs, losses) that a layer has under a budget, losses being relative squared errors (for tucker2 their bound; for
    cp nan). The last choice, rank None, leaves it whole: that costs what it costs now and loses nothing."""
    if layer.form == "tucker2":
        k, j = (grid.ravel() for grid in np.meshgrid(*(np.arange(1, full + 1) for full in _full_rank(layer)), indexing="ij"))
        sigma, tau = (_left(values) for values in pure.mode_singular_values(layer.w))
        window = layer.w.shape[2] * layer.w.shape[3]
        fits = (k <= j * window) & (j <= k * window)
        ranks, losses = list(zip(k[fits].tolist(), j[fits].tolist())), (sigma[k] + tau[j])[fits]
    else:
        ranks = list(range(1, _full_rank(layer) + 1))
        losses = np.full(len(ranks), np.nan) if layer.form == "cp" else \
            _left(pure.singular_values(layer.w, layer.form))[1:len(ranks) + 1]
    costs = [layer.cost(rank) for rank in ranks]
    pays = [i for i, cost in enumerate(costs) if cost < layer.macs]
    return ([*(ranks[i] for i in pays), None], np.array([*(costs[i] for i in pays), layer.macs], np.int64),
            np.array([*losses[pays], 0.0]))


def _left(sigma):
    """(r,) singular values -> (r+1,): the share of the energy that is lost by keeping 0, 1, 2, … of them."""
    energy = np.append(np.cumsum(np.square(sigma)[::-1])[::-1], 0.0)
    return energy / (energy[0] or 1.0)


def shared_ranks(found, budget, total, scope, seed):
    """weight name -> rank (None: whole), so that the whole network costs at most `budget` MACs for one picture.

    found   weight name -> Layer;  total   what the network costs now
    scope   "global": the sum of the layers' relative squared errors becomes small (compress.lowrank.share_budget); "uniform": every
            layer gets the dearest choice within one fraction of its own MACs, the largest that fits
    Errors: ValueError for a budget that rank 1, wherever that saves, would exceed.
    """
    choices = {name: _choices(layer) for name, layer in found.items()}
    rest = total - sum(layer.macs for layer in found.values())
    least = rest + sum(int(costs.min()) for _, costs, _ in choices.values())
    if not budget >= least:                                              # NaN is refused too
        raise ValueError(f"macs must be at least {least:,} (rank 1 wherever that saves), not {budget:,}")
    if scope == "global":
        taken = pure.share_budget([(costs, losses) for _, costs, losses in choices.values()], int(budget) - rest)
    else:
        taken = _uniform(found, choices, int(budget) - rest)
    return {name: ranks[i] for (name, (ranks, _, _)), i in zip(choices.items(), taken)}


def _uniform(found, choices, room):
    """Positions: for each layer the dearest choice within the same fraction of its MACs, the largest fraction that fits."""
    def taken(fraction):
        return [_dearest(costs, losses, fraction * layer.macs) for layer, (_, costs, losses) in zip(found.values(), choices.values())]

    def cost(positions):
        return sum(int(costs[i]) for i, (_, costs, _) in zip(positions, choices.values()))

    fractions = np.unique(np.concatenate([[0.0], *(costs / layer.macs for layer, (_, costs, _) in
                                                   zip(found.values(), choices.values()))]))
    low, high = 0, len(fractions) - 1                                    # the cheapest choices fit, so fraction 0 does
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if cost(taken(fractions[middle])) <= room else (low, middle - 1)
    return taken(fractions[low])


def _dearest(costs, losses, limit):
    """The choice of least loss within `limit`, of equal (or unknown) losses the dearest; the cheapest one if none fits."""
    fits = np.flatnonzero(costs <= limit * (1 + 1e-12))
    if not len(fits):
        return int(np.argmin(costs))
    known = np.nan_to_num(losses[fits], nan=np.inf)
    return int(fits[np.lexsort((-costs[fits], known))[0]])
