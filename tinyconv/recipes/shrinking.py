"""Every network pruned, reduced as in `exercising`: what is left computes what masking computes, and costs what the closed form
says.

For each of three ratios random coupled groups are taken out of a copy, and multiplied by 0 where they are read in another: under
plain kernels both give the same numbers, bit for bit. Then the network is pruned by the budget midway between all of its
multiply-adds and the fewest it can have: the closed form of what remains, which nothing was built for, against the layers of the
network that was built, run on ones.
"""
import numpy as np

from .. import apply, cost, graph, kernels, models, nn
from ..tensor import Tensor, no_grad
from .exercising import reduced
from .lines import line

RATIOS = (0.25, 0.5, 0.8)


def traced(model, x, seed=0):
    """A Graph that is alive: BatchNorm has the statistics of these pictures (N,C,H,W), γ and β are drawn.

    With statistics that nothing has, ReLUs let nothing pass, every result is the bias of the last layer, and anything equals
    anything.
    """
    dice = np.random.default_rng(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
            module.weight.data = dice.uniform(0.5, 1.5, module.weight.shape).astype(np.float32)
            module.bias.data = dice.uniform(-0.5, 0.5, module.bias.shape).astype(np.float32)
    with no_grad():
        model.train()(Tensor(x))
    return graph.trace(model.eval(), (1, *x.shape[1:]), check=False)


def removed_is_masked(g, x, coupling, ratio, seed=0):
    """Is the network without random groups the network in which they are masked? "bit for bit", or why not: the largest
    difference; a count that is not the closed form's; a result that does not depend on what was masked at all.
    """
    gone = apply.random_groups(coupling, ratio, np.random.default_rng(seed))
    small, masked = (take(g, gone, coupling) for take in (graph.remove_channels, graph.mask_channels))
    with kernels.use("plain"):
        a, b, whole = (graph.run(one, x) for one in (small, masked, g))
    if not np.array_equal(a, b):
        return f"{np.abs(a - b).max():.2g} apart at {ratio}"
    if np.array_equal(b, whole):
        return f"whatever is masked at {ratio}, the result is the same"
    counted = cost.Cost(cost.macs(small), cost.params(small), cost.summary(small).array_bytes)
    expected = cost.without(coupling, gone)
    return "bit for bit" if counted == expected else f"{counted} at {ratio}, not {expected}"


def pruned_lines(progress):
    """A line a network: MACs when half of what can go is gone, by formula and executed; is removing masking at three ratios?"""
    for i, name in enumerate(models.NETWORKS, 1):
        progress(f"networks pruned: {i} of {len(models.NETWORKS)}")
        model, x, _ = reduced(name)
        g, x = traced(model, x), x[:2]
        coupling = graph.couple(g)
        least = cost.without(coupling, apply.random_groups(coupling, 1.0, np.random.default_rng(0))).macs
        budget = (cost.macs(g) + least) // 2
        said = list(dict.fromkeys(removed_is_masked(g, x, coupling, ratio) for ratio in RATIOS))
        gone = apply.chosen_groups(coupling, *apply.group_scores(g, coupling=coupling), scope="uniform", macs=budget)
        rows = cost.summary(graph.remove_channels(g, gone, coupling)).rows
        formula, executed = cost.without(coupling, gone).macs, sum(cost.row_on_ones(row) for row in rows)
        yield line(name, formula, executed, "; ".join(said), said == ["bit for bit"] and formula <= budget)


def sections(progress):
    """(title, columns, lines) of the one section."""
    yield "networks pruned", ("formula", "executed", "removed, masked"), pruned_lines(progress)
