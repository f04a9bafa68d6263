"""Pruning carried through a network: coupled groups of channels leave every array they run through. (Zeros alone: page `sparsifying`.)

A group's score is the mean over its filters of the filter's score, each divided by the mean score of its layer, so that layers of
different size can be ranked together (but for criteria that compare layers themselves; they all stand on page scoring); the random
control draws one number a group. scope="global" ranks all groups of the network in one list; "uniform" takes the same share of
every family of groups (the groups that live in the same layers).
"""
import numpy as np

from ..compress import prune as pure
from ..cost import Remaining
from ..graph import couple, remove_channels
from . import scoring
from ._checks import check_graph, check_scope, layer_weights
from .scoring import CRITERIA


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


def prune(g, ratio=None, criterion="l1", scope="global", macs=None, seed=0, params=None, bytes=None, data=None, keep=()):
    """A physically smaller Graph: the lowest-scoring coupled groups of channels are taken out of every array they run through.

    ratio    the fraction of prunable groups that go, in [0, 1); exactly round(ratio · n) of them (of each family under "uniform").
             Or a dict, weight name -> the fraction of its family; families that are not named stay whole
    macs, params, bytes   instead of ratio, one of them: a budget for MACs of a picture, trained numbers, or bytes of all arrays.
             Never exceeded, and maximal: with any one of the groups that went given back it would be (`chosen_groups`)
    criterion  a name of CRITERIA ("random" is the control, by `seed`);  scope  "global" or "uniform"
    data     (images, labels), for criteria that ask for gradients, inputs or an epoch
    keep     names of weights all of whose filters stay, and with them what is coupled to these; the others are all that is counted
    Invariants: pruned(x) == masked(x); no layer is ever empty; kept numbers keep their bits. Errors: ValueError for a ratio or
    budget that cannot be met, unknown names; TypeError for one that is no number; GraphError for an operation that channels
    cannot be followed through.

    >>> g = tc.trace(tc.models.mobilenet_v1_small(rng=0), (1, 1, 28, 28))
    >>> half = tc.apply.prune(g, macs=tc.cost.macs(g) // 2)
    >>> tc.cost.macs(half) <= tc.cost.macs(g) // 2
    True
    """
    check_graph(g)
    check_target(ratio, dict(macs=macs, params=params, bytes=bytes), scope)
    coupling = couple(g)
    scored = _without(g, keep, *group_scores(g, criterion, seed, coupling, data))
    return remove_channels(g, chosen_groups(coupling, *scored, ratio, scope, macs, params, bytes), coupling)


def _without(g, keep, roots, scores, families):
    """The groups that none of the weights `keep` has a filter in. Errors: ValueError for what is no weight of a layer."""
    keep, weights = {keep} if isinstance(keep, str) else set(keep), layer_weights(g)
    if not keep <= weights.keys():
        raise ValueError(f"keep must hold names of weights ({', '.join(weights)}), not {', '.join(sorted(map(str, keep - weights.keys())))}")
    free = [i for i, family in enumerate(families) if not keep & set(family)]
    return roots[free], scores[free], [families[i] for i in free]


def chosen_groups(coupling, roots, scores, families, ratio=None, scope="global", macs=None, params=None, bytes=None):
    """The groups that `prune` takes out: a list of roots, from the scores that `group_scores` (or anybody) gave them.

    ratio   the first round(ratio · n) in the order of scores, of all or of each family (of those a dict names), passing over
            those that a value cannot do without
    macs, params, bytes   the first in that order until the budget is kept; then those that fit are given back, from the last
            that went to the first. One pass is enough: giving back one makes the others dearer, never cheaper (page
            cost/remaining), so that what did not fit will not fit
    Cost: a step a group, each in closed form; nothing is rebuilt. Errors: those of `prune`.
    """
    budgets = dict(macs=macs, params=params, bytes=bytes)
    check_target(ratio, budgets, scope)
    going = _never_empty(coupling, roots, _order(np.asarray(scores), families, scope))
    if ratio is not None:
        return [int(roots[i]) for i in _by_ratio(going, families, ratio, scope)]
    (quantity, budget), = ((name, value) for name, value in budgets.items() if value is not None)
    return _to_budget(coupling, [int(roots[i]) for i in going], quantity, budget)


def random_groups(coupling, ratio, rng):
    """round(ratio · n) of the coupling's groups at random, as roots; those that a value cannot do without are passed over, so
    that at a high ratio fewer may go. For masks that favour nothing; the control of `prune` is criterion="random".

    >>> g = tc.trace(tc.nn.Sequential(tc.nn.Conv2d(1, 6, 3, rng=0), tc.nn.Conv2d(6, 2, 1, rng=0)), (1, 1, 5, 5))
    >>> coupling = tc.graph.couple(g)
    >>> len(coupling.groups), len(tc.apply.random_groups(coupling, 0.5, np.random.default_rng(0)))
    (6, 3)
    """
    roots = np.array(list(coupling.groups), dtype=np.int64)
    going = _never_empty(coupling, roots, rng.permutation(len(roots)))
    return sorted(int(roots[i]) for i in going[:pure.exact_count(len(roots), ratio)])


def check_target(ratio, budgets, scope):
    """Refuse what no network can be pruned to. Errors: TypeError for what is no number; ValueError for an unknown scope, a ratio
    outside [0, 1), and unless exactly one of ratio and the budgets is given.
    """
    check_scope(scope)
    given = {name: value for name, value in {"ratio": ratio, **budgets}.items() if value is not None}
    if len(given) != 1:
        said = " and ".join(f"{name}={value}" for name, value in given.items()) or "none"
        raise ValueError(f"give exactly one of ratio, {', '.join(budgets)}, not {said}")
    for name, value in {f"ratio[{key!r}]": each for key, each in ratio.items()}.items() if isinstance(ratio, dict) else given.items():
        if not isinstance(value, (int, float, np.integer, np.floating)) or isinstance(value, bool):
            raise TypeError(f"{name} must be a number, not {value!r}")
        if ratio is not None and not 0 <= value < 1:                              # NaN is refused too
            raise ValueError(f"{name} must lie in [0, 1), not {value}")


def _by_ratio(going, families, ratio, scope):
    """The first round(ratio · n) of the order, of the whole or of each family."""
    whole = scope == "global" and not isinstance(ratio, dict)
    shares = _shares(families, ratio) if isinstance(ratio, dict) else dict.fromkeys(families, ratio)
    quota = {None: pure.exact_count(len(families), ratio)} if whole else \
        {family: pure.exact_count(families.count(family), share) for family, share in shares.items()}
    chosen = []
    for i in going:
        family = None if whole else families[i]
        if quota[family]:
            quota[family] -= 1
            chosen.append(i)
    if any(quota.values()):
        raise ValueError(f"ratio {ratio} would empty a layer: {sum(quota.values())} more groups would have to go than can")
    return chosen


def _shares(families, ratio):
    """Family -> its fraction, 0 where none of its weights is named. Errors: ValueError for names in no family, or two fractions for one."""
    strange = sorted(set(ratio) - {name for family in families for name in family})
    if strange:
        raise ValueError(f"ratio names {', '.join(map(repr, strange))}, of which no filter may go")
    shares = {family: {ratio[name] for name in family if name in ratio} for family in families}
    torn = next((family for family, found in shares.items() if len(found) > 1), None)
    if torn:
        raise ValueError(f"ratio must give coupled weights one fraction: {', '.join(name for name in torn if name in ratio)} go together")
    return {family: next(iter(found), 0.0) for family, found in shares.items()}


def _to_budget(coupling, going, quantity, budget):
    """The roots that go, of `going` in that order, so that the budget is kept and no one of them can be given back."""
    left, gone = Remaining(coupling), []
    for root in going:
        if getattr(left.cost, quantity) <= budget:
            break
        left.move(root, -1)
        gone.append(root)
    least = getattr(left.cost, quantity)
    if not least <= budget:                                                       # NaN is refused too
        raise ValueError(f"{quantity} must be at least {least:,} (one group left in every layer), not {budget:,}")
    for root in reversed(tuple(gone)):
        if getattr(left.cost, quantity) + getattr(left.step(root, 1), quantity) <= budget:
            left.move(root, 1)
            gone.remove(root)
    return gone
