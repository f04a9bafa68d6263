"""Criteria of pruning on a whole network: what compress/prune makes of its weights and of what page `evidence` finds in it.

    CRITERIA          name -> function (g, data, seed) -> {array name: one score a filter}: what `prune` ranks groups of channels by
    WEIGHT_CRITERIA   name -> function (g, data, seed) -> {array name: scores of its shape}: what `sparsify` ranks weights by

    asks for      criteria
    nothing       l1, l2, geometric_median, lamp, magnitude, batch_norm (γ, of every channel that has one), random (by `seed`)
    gradients     gradient, taylor (weights), taylor_sum_abs, taylor_abs_sum, taylor_sum_squares (filters): of the cross-entropy of
                  each batch of `data`, BatchNorm in evaluation; the scores of the batches are averaged
    inputs        obd, obs: H = 2XXᵀ/N of every layer's own inputs, over all pictures of `data`, damped by 0.01 where it is inverted
    an epoch      movement: a copy of the network is trained on `data`, and what each step contributes is added up
A filter's score: of its weights the sum for gradient and movement, ½ Σ H_qq w_q² for obd; when all of them go no one is left to
follow, and what obs has for a filter is ½ wᵀHw, the mean square of its output; lamp is that of the filters' L2 norms.
"""
import numpy as np

from ..compress import prune as pure
from ._checks import check_graph, layer_weights
from .evidence import checked_data, gradients, hessians, movement

DAMPING = 0.01
RAW = ("batch_norm", "lamp", "movement", "taylor_abs_sum", "taylor_sum_abs", "taylor_sum_squares")   # compared as they are


# ---- the tables ------------------------------------------------------------------------------------------------------

def _alone(score):
    """A criterion that looks at each weight array by itself."""
    return lambda g, data, seed: {name: score(w) for name, w in layer_weights(g).items()}


def _by_gradient(score):
    """A criterion (w, ∂L/∂w) -> scores, averaged over the batches."""
    def scores(g, data, seed):
        weights, total = layer_weights(g), {}
        for share, grads in gradients(g, data):
            for name, w in weights.items():
                total[name] = total.get(name, 0) + share * score(w, grads[name])
        return total
    return scores


def _by_hessian(score):
    """A criterion (w, H) -> scores."""
    def scores(g, data, seed):
        weights = layer_weights(g)
        return {name: score(weights[name], h) for name, h in hessians(g, data[0]).items()}
    return scores


def _by_movement(g, data, seed):
    return movement(g, data, seed)


def _random(score):
    """Scores that know nothing, all from one seed."""
    def scores(g, data, seed):
        dice = pure.generator(seed)
        return {name: score(w, dice) for name, w in layer_weights(g).items()}
    return scores


def _gammas(g, data, seed):
    """|γ| by the name of γ."""
    names = [node.inputs[1] for node in g.nodes if node.op == "batch_norm" and isinstance(node.inputs[1], str)]
    return {name: pure.batch_norm_scores(g.array(name)) for name in names if name in g.arrays()}


def _summed(scores_of_weights):
    """A filter's score as the sum of its weights'."""
    return lambda g, data, seed: {name: s.reshape(len(s), -1).sum(axis=1) for name, s in scores_of_weights(g, data, seed).items()}


def _obs(w, h):
    return pure.obs_scores(w, pure.damped_inverse(h, DAMPING))


WEIGHT_CRITERIA = {
    "magnitude": _alone(lambda w: np.abs(w.astype(np.float64))), "lamp": _alone(pure.lamp_scores),
    "gradient": _by_gradient(lambda w, grad: pure.gradient_scores(grad)), "taylor": _by_gradient(pure.taylor_scores),
    "movement": _by_movement, "obd": _by_hessian(pure.obd_scores), "obs": _by_hessian(_obs),
    "random": _random(pure.random_weight_scores),
}
CRITERIA = {
    "l1": _alone(pure.l1_scores), "l2": _alone(pure.l2_scores), "geometric_median": _alone(pure.geometric_median_scores),
    "lamp": _alone(lambda w: pure.lamp_scores(pure.l2_scores(w))), "batch_norm": _gammas,
    "gradient": _summed(WEIGHT_CRITERIA["gradient"]), "movement": _summed(_by_movement),
    "taylor_sum_abs": _by_gradient(pure.taylor_sum_abs_scores), "taylor_abs_sum": _by_gradient(pure.taylor_abs_sum_scores),
    "taylor_sum_squares": _by_gradient(pure.taylor_sum_squares_scores),
    "obd": _summed(WEIGHT_CRITERIA["obd"]), "obs": _by_hessian(pure.output_errors), "random": _random(pure.random_scores),
}
FREE = ("magnitude", "l1", "l2", "geometric_median", "lamp", "batch_norm", "random")                 # ask for no data


def scored(g, criterion, data, seed, table):
    """{array name: scores} of a criterion of `table`. Errors: ValueError for an unknown one, for data that is missing or does not
    fit, and for a control without a seed; all before anything is computed.
    """
    if criterion not in table:
        raise ValueError(f"criterion must be one of {', '.join(table)}, not {criterion!r}")
    if criterion not in FREE:
        data = checked_data(data, f"criterion {criterion!r}")
    return table[criterion](g, data, seed)


def weight_scores(g, criterion="magnitude", data=None, seed=0):
    """{weight name: scores of its shape} by a criterion of WEIGHT_CRITERIA: what `sparsify` ranks, to look at or to use again.

    Errors: ValueError for an unknown criterion, and for data that is missing or does not fit.
    """
    check_graph(g)
    return scored(g, criterion, data, seed, WEIGHT_CRITERIA)


def of_groups(g, criterion, members, data, seed):
    """One score a group: the mean over its filters, in each layer divided by the layer's mean score (but for those of RAW).

    members: for each group its (array name, index) along filter axes. Errors: ValueError as `scored`, and for groups in which the
    criterion has nothing to look at: no BatchNorm.
    """
    table = scored(g, criterion, data, seed, CRITERIA)
    if criterion not in RAW:
        table = {name: s / (s.mean() or 1.0) for name, s in table.items()}
    values = [[table[name][i] for name, i in filters if name in table] for filters in members]
    if not all(values):
        name = next(filters[0][0] for filters, found in zip(members, values) if not found)
        raise ValueError(f"criterion {criterion!r} has no score for {values.count([])} of {len(values)} groups, the first in {name}: "
                         "no BatchNorm behind it")
    return np.array([np.mean(found) for found in values])
