"""Networks that become sparse while they train: penalties with proximal steps, network slimming, soft filter pruning.

    L = L₀ + λ Σ penalty(w)      minimised by w = prox_t(w - lr v), exact zeros on the way (compress/prune/proximal, optim.ProximalSGD)
Slimming is that on BatchNorm's γ, one number a channel, and then pruning by |γ| (Liu et al. 2017). Soft filter pruning sets the
weakest filters to 0 after every epoch and trains on, zeros included: what was taken wrongly can come back (He et al. 2018).
"""
from .. import optim, train
from ..compress import prune as pure
from ..graph import Network, couple
from ._checks import check_graph, layer_weights
from .evidence import checked_data
from .pruning import _by_ratio, _never_empty, _order, group_scores, prune

PENALTIES = ("l1", "group_lasso", "gamma")


def _penalised(g, penalty):
    """Names of the arrays that a penalty is on: all weights; those with filters that may go; every γ."""
    if penalty == "l1":
        return list(layer_weights(g))
    if penalty == "group_lasso":
        removable = {b.name for bound in couple(g).groups.values() for b in bound if b.axis == 0}
        return [name for name in layer_weights(g) if name in removable]
    return list(dict.fromkeys(node.inputs[1] for node in g.nodes if node.op == "batch_norm" and isinstance(node.inputs[1], str)))


def sparse_train(g, images, labels, strength, penalty="l1", epochs=5, lr=0.05, momentum=0.9, weight_decay=0.0, history=None,
                 **options):
    """The Graph trained on L₀ + λ Σ penalty, λ = strength; g is untouched.

    penalty  "l1" on single weights, "group_lasso" on filters that may be removed, "gamma": L1 on BatchNorm's γ
    Every step is one of SGD and one proximal one, so that what the penalty wins is exactly 0. Options: train.fit's.
    Errors: ValueError for an unknown penalty, one that finds nothing to act on, a strength below 0, and those of train.fit.
    """
    check_graph(g)
    if penalty not in PENALTIES:
        raise ValueError(f"penalty must be one of {', '.join(PENALTIES)}, not {penalty!r}")
    checked_data((images, labels), "sparse training")
    net, names = Network(g), _penalised(g, penalty)
    operator = pure.group_soft_threshold if penalty == "group_lasso" else pure.soft_threshold
    shrink = [(net._parameters[name], operator, strength) for name in names if name in net._parameters]
    if not shrink:
        raise ValueError(f"penalty {penalty!r} finds nothing to act on: the network has no such parameters")
    optimizer = optim.ProximalSGD(net.parameters(), lr, shrink, momentum, weight_decay, nesterov=momentum > 0)
    rows = train.fit(net, images, labels, epochs=epochs, optimizer=optimizer, **options)
    if history is not None:
        history.extend(rows)
    return net.graph


def slim(g, images, labels, ratio, strength=1e-3, epochs=5, scope="global", **options):
    """Network slimming: train with L1 on every γ, then take out the `ratio` of channel groups of least |γ|. A smaller Graph.

    Options: those of `sparse_train`. What is left wants `finetune`. Errors: those of `sparse_train` and `prune`; a ratio that `prune`
    would refuse is refused before anything is trained.
    """
    prune(g, ratio, "batch_norm", scope)
    trained = sparse_train(g, images, labels, strength, "gamma", epochs, **options)
    return prune(trained, ratio, "batch_norm", scope)


def soft_prune(g, images, labels, ratio, epochs=5, criterion="l2", scope="uniform", lr=0.05, batch_size=64, history=None, **options):
    """Soft filter pruning: after every epoch the `ratio` of groups of least score is set to 0 and trains on; at the end it goes.

    Zero are the groups' filters and their biases (not γ: a filter behind γ = 0 would get no gradient and could never come back).
    Returns the smaller Graph, which has as many groups as `prune` at that ratio leaves. Options: train.fit's. Errors: those of
    `prune` and train.fit, before anything is trained.
    """
    prune(g, ratio, criterion, scope, data=(images, labels))
    net, coupling = Network(g), couple(g)
    steps, done = -(-len(images) // batch_size), [0]
    filters = set(layer_weights(g)) | {node.inputs[2] for node in g.nodes if node.op in ("conv2d", "linear") and len(node.inputs) > 2}

    def after_step(model):
        done[0] += 1
        if done[0] % steps == 0:
            now = model.graph
            roots, scores, families = group_scores(now, criterion, 0, coupling, (images, labels))
            going = _never_empty(coupling, roots, _order(scores, families, scope))
            for i in _by_ratio(going, families, ratio, scope):
                for b in coupling.groups[int(roots[i])]:
                    if b.axis == 0 and b.name in filters:
                        model._parameters[b.name].data[b.index] = 0
    rows = train.fit(net, images, labels, epochs=epochs, batch_size=batch_size, lr=lr, after_step=after_step, **options)
    if history is not None:
        history.extend(rows)
    return prune(net.graph, ratio, criterion, scope, data=(images, labels))
