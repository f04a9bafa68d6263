"""Pruning carried through a network. `prune` removes coupled groups of channels, from every array; `sparsify` only zeroes.

A group's score is the mean over its filters of the filter's score, each divided by the mean score of its layer, so that layers of
different size can be ranked together (but for criteria that compare layers themselves; they all stand on page scoring); the random
control draws one number a group. scope="global" ranks all groups of the network in one list; "uniform" takes the same share of
every family of groups (the groups that live in the same layers).
"""
import numpy as np

from ..compress import prune as pure
from ..cost import macs as macs_of
from ..graph import couple, remove_channels
from . import scoring
from ._checks import check_graph, layer_weights
from .scoring import CRITERIA

SCOPES = ("global", "uniform")


def group_scores(g, criterion="l1", seed=0, coupling=None, data=None):
    """(roots, scores, families) of the coupled groups that may be removed, in order of root number.

    families[i] names the layers whose filters group i consists of; groups of one family compete with each other under "uniform".
    """
    check_graph(g)
    if criterion not in CRITERIA:
        raise ValueError(f"criterion must be one of {', '.join(CRITERIA)}, not {criterion!r}")
    members, bindings = {}, {}                                                    # root -> its filters, as (weight name, index)
    weights = layer_weights(g)
    for root, bound in (coupling or couple(g)).groups.items():
        filters = [(b.name, b.index) for b in bound if b.axis == 0 and b.name in weights]
        if filters:
            members[root], bindings[root] = filters, [(b.name, b.index) for b in bound if b.axis == 0]
    roots, families = np.array(list(members), dtype=np.int64), [tuple(sorted({name for name, _ in f})) for f in members.values()]
    if criterion == "random":
        return roots, pure.generator(seed).random(len(roots)), families
    return roots, scoring.of_groups(g, criterion, list(bindings.values()), data, seed), families


def _order(scores, families, scope):
    """Positions of the groups in the order in which they go: by score, or by their rank within the family, families in step."""
    if scope == "global":
        return np.argsort(scores, kind="stable")
    key = np.empty(len(scores))
    for family in dict.fromkeys(families):
        mine = np.array([i for i, f in enumerate(families) if f == family])
        key[mine[np.argsort(scores[mine], kind="stable")]] = (np.arange(len(mine)) + 0.5) / len(mine)
    return np.lexsort((scores, key))


def _never_empty(coupling, roots, order):
    """The order without those groups that would be the last of a value: they stay."""
    left, where = {}, {}
    for name, ids in coupling.ids.items():
        own = set(coupling.roots(ids).tolist())
        left[name] = len(own)
        for root in own:
            where.setdefault(root, []).append(name)
    going = []
    for i in order:
        names = where[int(roots[i])]
        if all(left[name] > 1 for name in names):
            going.append(i)
            for name in names:
                left[name] -= 1
    return going


def prune(g, ratio=None, criterion="l1", scope="global", macs=None, seed=0, data=None):
    """A physically smaller Graph: the lowest-scoring coupled groups of channels are taken out of every array they run through.

    ratio    the fraction of prunable groups that go, in [0, 1); exactly round(ratio · n) of them (of each family under "uniform")
    macs     instead of ratio: a budget. The fewest groups go, in the order of their scores, so that MACs <= macs
    criterion  a name of CRITERIA ("random" is the control, by `seed`);  scope  "global" or "uniform"
    data     (images, labels), for criteria that ask for gradients, inputs or an epoch
    Invariants: pruned(x) == masked(x); no layer is ever empty; kept numbers keep their bits. Errors: ValueError for a ratio or
    budget that cannot be met, unknown names; GraphError for an operation that channels cannot be followed through.

    >>> g = tc.trace(tc.models.mobilenet_v1_small(rng=0), (1, 1, 28, 28))
    >>> half = tc.apply.prune(g, macs=tc.cost.macs(g) // 2)
    >>> tc.cost.macs(half) <= tc.cost.macs(g) // 2
    True
    """
    check_graph(g)
    if scope not in SCOPES:
        raise ValueError(f"scope must be one of {', '.join(SCOPES)}, not {scope!r}")
    if (ratio is None) == (macs is None):
        raise ValueError("give either ratio or macs, one of them")
    if ratio is not None and not 0 <= ratio < 1:
        raise ValueError(f"ratio must lie in [0, 1), not {ratio}")
    coupling = couple(g)
    roots, scores, families = group_scores(g, criterion, seed, coupling, data)
    going = _never_empty(coupling, roots, _order(scores, families, scope))
    if ratio is not None:
        return remove_channels(g, [roots[i] for i in _by_ratio(going, families, ratio, scope)], coupling)
    return _to_budget(g, coupling, roots, going, macs)


def _by_ratio(going, families, ratio, scope):
    """The first round(ratio · n) of the order, of the whole or of each family."""
    quota = {None: pure.exact_count(len(families), ratio)} if scope == "global" else \
        {family: pure.exact_count(families.count(family), ratio) for family in dict.fromkeys(families)}
    chosen = []
    for i in going:
        family = None if scope == "global" else families[i]
        if quota[family]:
            quota[family] -= 1
            chosen.append(i)
    if any(quota.values()):
        raise ValueError(f"ratio {ratio} would empty a layer: {sum(quota.values())} more groups would have to go than can")
    return chosen


def _to_budget(g, coupling, roots, going, budget):
    """Bisection for the least number of groups that must go; MACs fall with each."""
    def smaller(count):
        return remove_channels(g, [roots[i] for i in going[:count]], coupling)

    def macs_without(count):
        return macs_of(smaller(count))

    least = macs_without(len(going))
    if not budget >= least:                                       # NaN is refused too
        raise ValueError(f"macs must be at least {least:,} (one group left in every layer), not {budget:,}")
    low, high = 0, len(going)                                     # macs_without(high) <= budget
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if macs_without(middle) <= budget else (middle + 1, high)
    return smaller(high)


def sparsify(g, sparsity, scope="global", criterion="magnitude", data=None, seed=0):
    """A Graph of the same size with the weights of least score set to 0: exactly round(n · sparsity) of all weights of
    convolution and linear layers together, or of each array under scope="uniform". Those that are 0 already go first.

    criterion  a name of WEIGHT_CRITERIA; data, seed as for `prune`. Nothing gets smaller or faster by this; a sparse encoding may.
    `finetune(…, keep_zeros=True)` trains the rest. Errors: ValueError for unknown names, a sparsity outside [0, 1], missing data.
    """
    check_graph(g)
    if scope not in SCOPES:
        raise ValueError(f"scope must be one of {', '.join(SCOPES)}, not {scope!r}")
    pure.exact_count(0, sparsity)                                                 # a bad fraction is refused before scores are made
    weights, table = layer_weights(g), scoring.weight_scores(g, criterion, data, seed)
    below = np.nextafter(min(scores.min() for scores in table.values()), -np.inf)
    scores = [np.where(w == 0, below, table[name]) for name, w in weights.items()]
    masks = pure.mask_smallest_of_all(scores, sparsity) if scope == "global" else [pure.mask_smallest(s, sparsity) for s in scores]
    return g.with_arrays({name: pure.masked(w, mask) for (name, w), mask in zip(weights.items(), masks)})
