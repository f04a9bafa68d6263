"""Every network pruned: what is left computes what masking computes, and costs what the closed form says.

At its real size a network is pruned to half of its multiply-adds, every layer losing the same share at random: the closed form of what
remains, which nothing was built for, against the layers of the network that was built, run on ones; parameters and bytes against its
arrays. Reduced as in `exercising`, so that plain kernels can run it, for each of three ratios random coupled groups are taken out of a
copy, and multiplied by 0 where they are read in another: both give the same numbers, bit for bit.
"""
import numpy as np

from .. import apply, cost, graph, kernels, models, nn
from ..tensor import Tensor, no_grad
from .exercising import reduced
from .lines import line
from .on_ones import executed_rows, run_on_ones

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
    expected = cost.without(coupling, gone)
    return "bit for bit" if _counted(small) == expected else f"{_counted(small)} at {ratio}, not {expected}"


def _counted(g):
    """The Cost of a graph, from itself."""
    s = cost.summary(g)
    return cost.Cost(s.macs, s.params, s.array_bytes)


def halved(name):
    """(Cost by the closed form, table of the network that was built) of a network at its real size, pruned to half of its MACs."""
    with nn.init.undrawn():
        g = graph.trace(models.network(name)(), models.input_shape(name), check=False)
    coupling = graph.couple(g)
    scored = apply.group_scores(g, "random", coupling=coupling)
    gone = apply.chosen_groups(coupling, *scored, scope="uniform", macs=cost.macs(g) // 2)
    return cost.without(coupling, gone), cost.summary(graph.remove_channels(g, gone, coupling))


def _masked_lines(name):
    """What `removed_is_masked` says of a network, at each of three ratios; once if it is always the same."""
    model, x, _ = reduced(name)
    g, x = traced(model, x), x[:2]
    coupling = graph.couple(g)
    return "; ".join(dict.fromkeys(removed_is_masked(g, x, coupling, ratio) for ratio in RATIOS))


def pruned_lines(progress):
    """A line a network: MACs of its half by formula and executed; is removing masking at three ratios?"""
    halves = {}
    for i, name in enumerate(models.NETWORKS, 1):
        progress(f"networks halved: {i} of {len(models.NETWORKS)}")
        halves[name] = halved(name)
    jobs = run_on_ones([s for _, s in halves.values()], progress, (True,))
    for i, (name, (formula, s)) in enumerate(halves.items(), 1):
        progress(f"networks masked: {i} of {len(halves)}")
        rows, said = executed_rows(s, jobs), _masked_lines(name)
        agrees = all(row.macs == executed for row, executed in rows) and formula[1:] == (s.params, s.array_bytes)
        yield line(name, formula.macs, sum(executed for _, executed in rows), said, agrees and said == "bit for bit")


def sections(progress):
    """(title, columns, lines) of the one section."""
    yield "networks pruned", ("formula", "executed", "reduced: removed, masked"), pruned_lines(progress)
