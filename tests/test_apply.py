"""Transforms of whole networks: exact counts, budgets kept, integers that are integers, and a graph that went in untouched."""
import functools
from fractions import Fraction

import numpy as np
import pytest
from wired import Wired

import tinyconv as tc
from tinyconv import apply, cost, formulas, graph, nn
from tinyconv import functional as F
from tinyconv.apply._checks import SCOPES
from tinyconv.compress import distill as pure_distill
from tinyconv.compress import lowrank as pure_lowrank

U = 2.0 ** -24


def conv(c, f, k=3, **options):
    return nn.Conv2d(c, f, k, **{"padding": 0 if isinstance(k, tuple) else k // 2, **options}, rng=c * 100 + f)


def pictures(*shape, seed=2):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def small_net():
    """A network with what the others have: stem, inverted residual, head; 6x6 pictures of two channels."""
    return tc.trace(nn.Sequential(nn.conv_bn_act(2, 8, rng=0), nn.InvertedResidual(8, 8, 1, 2, rng=1),
                                  nn.InvertedResidual(8, 6, 2, 2, rng=2),
                                  nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4, rng=3)), (1, 2, 6, 6), check=False)


@pytest.fixture
def g():
    return small_net()


@pytest.fixture
def untouched(g):
    """The graph that goes in is the graph that was there before: nodes, and every bit of every array."""
    before = {name: a.tobytes() for name, a in g.arrays().items()}
    nodes = g.nodes
    yield
    assert g.nodes == nodes and {name: a.tobytes() for name, a in g.arrays().items()} == before


# ---- pruning -------------------------------------------------------------------------------------------------------------

def groups_gone(g, small):
    return len(graph.couple(g).groups) - len(graph.couple(small).groups)


@pytest.mark.small
@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("criterion", ("l1", "l2", "random"))
@pytest.mark.parametrize("ratio", [0, 0.1, 0.5, 0.75])
def test_exactly_as_many_groups_as_asked_for(g, criterion, ratio):
    """round(ratio · n) of all under "global", of each family under "uniform"; by every criterion."""
    roots, scores, families = apply.group_scores(g, criterion, seed=1)
    small = apply.prune(g, ratio, criterion, "global", seed=1)
    assert groups_gone(g, small) == round(ratio * len(roots)) and len(roots) == len(graph.couple(g).groups)
    uniform = apply.prune(g, ratio, criterion, "uniform", seed=1)
    left = apply.group_scores(uniform, criterion, seed=1)[2]
    assert {family: left.count(family) for family in set(families)} == \
        {family: families.count(family) - round(ratio * families.count(family)) for family in set(families)}
    assert graph.run(small, pictures(2, 2, 6, 6)).shape == (2, 4)
    if ratio == 0:
        assert small.nodes == g.nodes and all(np.array_equal(a, small.array(n)) for n, a in g.arrays().items())


@pytest.mark.small
def test_the_lowest_scores_go():
    """Against scores computed by hand: a group's is the mean of its filters' Σ|w| over the mean of their layer; ties go by
    index.
    """
    model = nn.Sequential(conv(1, 4, bias=False), conv(4, 4, groups=4, bias=False), conv(4, 2, 1))
    model[0].weight.data = np.float32([3, 1, 2, 1]).reshape(4, 1, 1, 1) * np.ones((1, 1, 3, 3), np.float32)
    model[1].weight.data = np.float32([1, 1, 5, 1]).reshape(4, 1, 1, 1) * np.ones((1, 1, 3, 3), np.float32)
    g = tc.trace(model, (1, 1, 5, 5), check=False)
    first, second = np.array([3, 1, 2, 1]) * 4 / 7, np.array([1, 1, 5, 1]) * 4 / 8
    for criterion in ("l1", "l2"):
        _, scores, families = apply.group_scores(g, criterion)
        assert np.allclose(scores, (first + second) / 2, rtol=1e-12) and families == [("0.weight", "1.weight")] * 4
    # of the two lowest, the first
    assert apply.prune(g, 0.25).array("0.weight")[:, 0, 0, 0].tolist() == [3, 2, 1]
    assert apply.prune(g, 0.5).array("0.weight")[:, 0, 0, 0].tolist() == [3, 2]


@pytest.mark.small
@pytest.mark.usefixtures("untouched")
def test_ratios_of_single_layers_and_layers_that_stay(g):
    """A dict prunes the families it names, each by its own fraction, and no other, whatever the scope; what is kept loses no filter,
    nor does what is coupled to it, and a ratio or budget is met by the others.
    """
    _, _, families = apply.group_scores(g)
    count = {family: families.count(family) for family in families}
    for scope in SCOPES:
        left = apply.group_scores(apply.prune(g, {families[0][0]: 0.5, families[-1][-1]: 0.25}, scope=scope))[2]
        assert {f: left.count(f) for f in count} == {**count, families[0]: count[families[0]] - round(0.5 * count[families[0]]),
                                                     families[-1]: count[families[-1]] - round(0.25 * count[families[-1]])}
    stays = families[0][-1]
    for arguments in (dict(ratio=0.5), dict(ratio=0.5, scope="uniform"), dict(macs=cost.macs(g) * 2 // 3)):
        small = apply.prune(g, keep=[stays, "5.weight"], **arguments)
        assert all(small.array(name).shape[0] == g.array(name).shape[0] for name in families[0]) and cost.macs(small) < cost.macs(g)
        if arguments == dict(ratio=0.5):
            assert groups_gone(g, small) == round(0.5 * (len(families) - count[families[0]]))


@pytest.mark.small
@pytest.mark.usefixtures("untouched")
def test_random_control_follows_its_seed(g):
    """The same seed, the same network; another seed, another one; a Generator is taken; no seed is refused."""
    def kept(seed):
        return apply.prune(g, 0.5, "random", seed=seed).array("0.0.weight").tobytes()
    assert kept(3) == kept(3) == kept(np.random.default_rng(3)) and len({kept(seed) for seed in range(6)}) > 1
    with pytest.raises(ValueError, match="seed must be"):
        kept(None)


def measured(g):
    """MACs, params and bytes of a graph, from the graph itself."""
    return {"macs": cost.macs(g), "params": cost.params(g), "bytes": sum(a.nbytes for a in g.arrays().values())}


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("quantity", cost.Cost._fields)
def test_a_budget_is_kept_and_maximal(g, quantity, scope):
    """Never exceeded; and whichever group of those that went is given back, it would be: every network with one group more is
    built and measured.
    """
    coupling = graph.couple(g)
    for criterion, share in (("l1", 1.0), ("l1", 0.9), ("l2", 0.6), ("random", 0.5), ("l1", 0.5), ("l1", 0.35)):
        budget = int(measured(g)[quantity] * share)
        small = apply.prune(g, criterion=criterion, scope=scope, **{quantity: budget})
        gone = apply.chosen_groups(coupling, *apply.group_scores(g, criterion), scope=scope, **{quantity: budget})
        assert measured(small)[quantity] <= budget and measured(small) == cost.without(coupling, gone)._asdict()
        assert measured(small) == measured(graph.remove_channels(g, gone)) and len(gone) == groups_gone(g, small)
        assert (share == 1.0) == (gone == [])
        for back in gone:
            more = graph.remove_channels(g, [root for root in gone if root != back], coupling)
            assert measured(more)[quantity] > budget


def test_maximal_is_more_than_the_last_group(g):
    """Of groups of different price the first that keep the budget are not maximal: a cheap one that went early fits in what a
    dear one left over. The check above must catch the first, and the second is what `prune` does.
    """
    coupling = graph.couple(g)
    roots, scores, families = apply.group_scores(g, "random", seed=2)
    order = [int(roots[i]) for i in apply.pruning._never_empty(coupling, roots, np.argsort(scores, kind="stable"))]
    budget = cost.macs(g) // 2
    first = next(order[:n] for n in range(len(order)) if cost.without(coupling, order[:n]).macs <= budget)
    spare = [back for back in first if cost.without(coupling, [r for r in first if r != back]).macs <= budget]
    gone = apply.chosen_groups(coupling, roots, scores, families, macs=budget)
    assert spare and set(gone) < set(first)


@pytest.mark.small
def test_what_is_left_is_counted_step_by_step(g):
    """Groups that go and come back in any order, one closed-form step at a time, against the network that is built without
    them; giving one back never gets cheaper while others come back.
    """
    coupling, rng = graph.couple(g), np.random.default_rng(0)
    left, gone, prices = cost.Remaining(coupling), set(), {}
    assert left.cost._asdict() == measured(g)
    for root in apply.random_groups(coupling, 0.7, rng):
        left.move(root, -1)
        gone.add(root)
    for root in rng.permutation(sorted(gone)).tolist():
        for other in gone:
            assert all(a >= b for a, b in zip(left.step(other, 1), prices.get(other, (0, 0, 0))))
            prices[other] = left.step(other, 1)
        left.move(root, 1)
        gone.remove(root)
        assert left.cost == cost.without(coupling, gone)
        assert left.cost._asdict() == measured(graph.remove_channels(g, gone, coupling))
    assert not gone and left.cost._asdict() == measured(g)
    with pytest.raises(KeyError):
        left.step(10 ** 6, 1)


@pytest.mark.small
@pytest.mark.usefixtures("untouched")
def test_what_pruning_refuses(g):
    """Ratios and budgets that cannot be met, unknown names, both or neither, things that are no graph."""
    least = cost.macs(apply.prune(g, macs=cost.macs(apply.prune(g, 0.75))))
    for message, arguments in (("ratio must lie", dict(ratio=1.0)), ("ratio must lie", dict(ratio=-0.1)),
                               ("ratio must lie", dict(ratio=float("nan"))),
                               ("would empty a layer: 1 more", dict(ratio=0.93)),
                               (r"ratio\['0.0.weight'\] must lie in \[0, 1\), not 1.5", dict(ratio={"0.0.weight": 1.5})),
                               ("ratio names '5.weight', 'stem', of which no filter may go", dict(ratio={"stem": 0.5, "5.weight": 0.5})),
                               ("one fraction: 0.0.weight, 1.conv.2.weight go together",
                                dict(ratio={"0.0.weight": 0.5, "1.conv.2.weight": 0.25})),
                               ("keep must hold names of weights .0.0.weight, .*, not stem", dict(ratio=0.5, keep=["stem"])),
                               ("criterion must be", dict(ratio=0.5, criterion="taylor")),
                               ("scope must be", dict(ratio=0.5, scope="local")),
                               ("exactly one of ratio, macs, params, bytes, not none", {}),
                               ("exactly one of ratio, macs, params, bytes, not ratio=0.5 and macs=1", dict(ratio=0.5, macs=1)),
                               ("not params=1 and bytes=2", dict(params=1, bytes=2)),
                               (r"macs must be at least 1,1\d\d \(one group left in every layer\), not 100", dict(macs=100)),
                               ("macs must be at least .* not nan", dict(macs=float("nan"))),
                               ("params must be at least .* not 0", dict(params=0)),
                               ("bytes must be at least .* not -1", dict(bytes=-1, scope="uniform"))):
        with pytest.raises(ValueError, match=message):
            apply.prune(g, **arguments)
    for arguments in (dict(macs="half"), dict(ratio="0.5"), dict(params=True), dict(bytes=[100]), dict(ratio={"0.0.weight": None})):
        with pytest.raises(TypeError, match=f"{next(iter(arguments))}.* must be a number, not "):
            apply.prune(g, **arguments)
    assert least > 100
    for transform in (apply.prune, apply.sparsify, apply.lowrank, apply.finetune, apply.quantize):
        with pytest.raises(TypeError, match="g must be a Graph .* not Network"):
            transform(graph.Network(g), *[0.5] * (2 if transform is apply.finetune else 1))


@pytest.mark.small
@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("sparsity", [0, 0.33, 0.9, 1])
def test_sparsify_sets_exactly_so_many_weights_to_zero(g, sparsity):
    """round(n · sparsity) over all weights or in each array; +0.0; kept ones keep their bits; BatchNorm and biases are left
    alone.
    """
    weights = [name for name, a in g.parameters.items() if a.ndim > 1]
    for scope in SCOPES:
        h = apply.sparsify(g, sparsity, scope)
        zeros = {name: int((h.array(name) == 0).sum()) for name in weights}
        if scope == "global":
            assert sum(zeros.values()) == round(sparsity * sum(g.array(name).size for name in weights))
        else:
            assert zeros == {name: round(sparsity * g.array(name).size) for name in weights}
        for name, a in h.arrays().items():
            same = a == g.array(name)
            assert not a[~same].view(np.uint32).any() and (name in weights or same.all())
    with pytest.raises(ValueError, match="scope"):
        apply.sparsify(g, 0.5, "layer")


# ---- training on ---------------------------------------------------------------------------------------------------------

def toy(n=64, seed=0):
    """Pictures of two channels whose class is the quadrant that is bright."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, n)
    images = rng.standard_normal((n, 2, 6, 6)).astype(np.float32) * 0.5
    for image, label in zip(images, labels):
        image[:, 3 * (label // 2):3 * (label // 2) + 3, 3 * (label % 2):3 * (label % 2) + 3] += 1.5
    return images, labels


def flat_net(width=16, seed=0):
    return nn.Sequential(conv(2, 6, stride=2), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(54, width, rng=seed),
                         nn.ReLU(), nn.Linear(width, 4, rng=seed))


@pytest.mark.usefixtures("untouched")
def test_finetune_trains_a_copy(g):
    """The graph that went in is untouched, the one that comes out has moved, statistics too; the same seed gives the same
    bits.
    """
    images, labels = toy()
    history = []
    a = apply.finetune(g, images, labels, epochs=2, progress=False, history=history)
    b = apply.finetune(g, images, labels, epochs=2, progress=False)
    assert [row["epoch"] for row in history] == [1, 2] and a.nodes == g.nodes
    assert all(np.array_equal(v, b.array(n)) and not np.array_equal(v, g.array(n)) for n, v in a.arrays().items())
    with pytest.raises(ValueError, match="none .an integer network"):
        apply.finetune(apply.quantize(g, images), images, labels)


def test_zeros_stay_zero_and_the_rest_learns():
    """After sparsify: keep_zeros keeps every zero through momentum and weight decay, and accuracy comes back; without it they
    fill up.
    """
    images, labels = toy(256)
    g = apply.finetune(tc.trace(flat_net(), (1, 2, 6, 6)), images, labels, epochs=6, lr=0.05, progress=False)
    sparse = apply.sparsify(g, 0.8)
    tuned = apply.finetune(sparse, images, labels, epochs=4, keep_zeros=True, progress=False)
    filled = apply.finetune(sparse, images, labels, epochs=1, progress=False)
    zeros = {name: a == 0 for name, a in sparse.parameters.items() if a.ndim > 1}
    assert sum(mask.sum() for mask in zeros.values()) > 500
    assert all((tuned.array(name)[mask] == 0).all() for name, mask in zeros.items())
    assert any((filled.array(name)[mask] != 0).any() for name, mask in zeros.items())
    assert tc.train.accuracy(tuned, images, labels) > 0.95


def test_distillation_brings_student_and_teacher_together():
    """Agreement with the teacher on new pictures rises; the teacher keeps every bit; a Graph gives a Graph, a Module is
    trained in place.
    """
    images, labels = toy(256)
    new, _ = toy(256, seed=9)
    teacher = apply.finetune(tc.trace(flat_net(), (1, 2, 6, 6)), images, labels, epochs=6, lr=0.05, progress=False)
    before = {name: a.tobytes() for name, a in teacher.arrays().items()}
    student = tc.trace(flat_net(3, seed=5), (1, 2, 6, 6))

    def agreement(net):
        return float((tc.train.predict(net, new).argmax(1) == tc.train.predict(teacher, new).argmax(1)).mean())
    history = []
    taught = apply.distill(student, teacher, images, labels, epochs=8, lr=0.05, progress=False, history=history)
    assert isinstance(taught, graph.Graph) and agreement(taught) > max(0.8, agreement(student) + 0.2) and len(history) == 8
    assert {name: a.tobytes() for name, a in teacher.arrays().items()} == before
    module = graph.Network(student)
    assert apply.distill(module, graph.Network(teacher), images, labels, epochs=8, lr=0.05, progress=False) is module
    assert all(np.array_equal(module.graph.array(n), a) for n, a in taught.arrays().items())
    other = tc.trace(nn.Sequential(nn.Flatten(), nn.Linear(72, 5, rng=0)), (1, 2, 6, 6))
    with pytest.raises(ValueError, match="same classes, not 4 and 5"):
        apply.distill(student, other, images, labels)


def taught_pair(epochs=3):
    """(student, teacher, images, labels): the teacher trained (0: as it begins), both with a convolution, a pooling and a layer for
    scores.
    """
    images, labels = toy(128)
    teacher = tc.trace(seen_net(8, 0), (1, 2, 6, 6), check=False)
    if epochs:
        teacher = apply.finetune(teacher, images, labels, epochs=epochs, lr=0.05, progress=False)
    return tc.trace(seen_net(4, 1), (1, 2, 6, 6), check=False), teacher, images, labels


def seen_net(width, seed):
    return nn.Sequential(nn.Conv2d(2, width, 3, padding=1, rng=seed), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(width, 4, rng=seed))


PAIRS = {"hints": [("1", "1")], "attention": ["1"], "similarity": ["3", "1"], "relational": [("3", "3")]}


@pytest.mark.parametrize("method", apply.distillation.METHODS)
def test_every_way_of_distilling(method):
    """The loss that is trained falls; teacher and student that went in keep every bit; a Graph gives a Graph with the same names,
    and a Module gets the same arrays; the last epochs, on labels alone, are counted on.
    """
    student, teacher, images, labels = taught_pair()
    before = [{name: a.tobytes() for name, a in g.arrays().items()} for g in (student, teacher)]
    history, options = [], dict(epochs=3, lr=0.02, progress=False, method=method, layers=PAIRS.get(method), batch_size=32)
    taught = apply.distill(student, teacher, images, labels, history=history, tune_epochs=1, tune_lr=0.01, **options)
    assert [row["epoch"] for row in history] == [1, 2, 3, 4] and history[2]["loss"] < history[0]["loss"]
    assert [{name: a.tobytes() for name, a in g.arrays().items()} for g in (student, teacher)] == before
    assert taught.nodes == student.nodes and taught.outputs == student.outputs and taught.arrays().keys() == student.arrays().keys()
    module = seen_net(4, 1)
    assert apply.distill(module, graph.Network(teacher), images, labels, tune_epochs=1, tune_lr=0.01, **options) is module
    assert all(np.array_equal(module.state_dict()[name], a) for name, a in taught.arrays().items()) and not module.training


@pytest.mark.small
def test_features_are_compared_as_the_pure_losses_say():
    """One step's loss of every feature method is cross-entropy and weight times the pure loss, on features computed by hand."""
    student, teacher, images, labels = taught_pair(epochs=0)
    images, labels = images[:8], labels[:8]
    arrays = student.arrays()
    relu = [np.maximum(tc.kernels.conv2d(images, g.array("0.weight"), g.array("0.bias"), padding=1), 0) for g in (student, teacher)]
    pooled = [f.mean(axis=(2, 3)) for f in relu]
    scores = pooled[0] @ arrays["4.weight"].T + arrays["4.bias"]
    hard = -np.log(pure_distill.softmax(scores)[range(8), labels]).mean()
    by_hand = {"attention": pure_distill.attention_loss(*relu)[0], "relational": pure_distill.relational_loss(*pooled)[0],
               "similarity": pure_distill.similarity_loss(*pooled)[0] + pure_distill.similarity_loss(*relu)[0]}
    for method in by_hand:
        history = []
        apply.distill(student, teacher, images, labels, epochs=1, weight=2.5, batch_size=8, progress=False, history=history,
                      method=method, layers=PAIRS[method])
        assert history[0]["loss"] == pytest.approx(hard + 2.5 * by_hand[method], rel=1e-4)


@pytest.mark.small
def test_what_distillation_refuses():
    """Unknown methods, weights and layers that do not fit: before a step is taken, student and teacher as they were."""
    student, teacher, images, labels = taught_pair(epochs=0)
    module = graph.Network(student)
    before = {name: a.tobytes() for name, a in module.state_dict().items()}
    other = tc.trace(nn.Sequential(nn.Flatten(), nn.Linear(72, 5, rng=0)), (1, 2, 6, 6), check=False)
    for message, given in (("method must be one of kd, kd_alpha, .* not 'crd'", dict(method="crd")),
                           (r"weight must lie in \[0, 1\] for 'kd', not 9", dict(weight=9)),
                           ("weight must be at least 0 and finite for 'hints', not -1", dict(method="hints", weight=-1)),
                           ("layers go with hints, .* 'decoupled' compares scores", dict(method="decoupled", layers=["1"])),
                           ("layers must list values for method 'attention'", dict(method="attention")),
                           ("layers must list values", dict(method="attention", layers="1")),
                           ("layers must hold names or pairs", dict(method="attention", layers=[("1", "1", "1")])),
                           ("student has no value or module 'body'; its modules are 0, 1, 2", dict(method="hints", layers=["body"])),
                           ("attention compares maps of one size", dict(method="attention", layers=[("1", "2")])),
                           ("attention compares maps of one size", dict(method="attention", layers=["3"])),
                           ("hints compares maps of one size", dict(method="hints", layers=[("3", "1")])),
                           ("tune_epochs must be an integer of at least 0, not -1", dict(tune_epochs=-1))):
        with pytest.raises(ValueError, match=message):
            apply.distill(module, teacher, images, labels, progress=False, **given)
    for method in apply.distillation.METHODS:
        with pytest.raises(ValueError, match="same classes, not 4 and 5"):
            apply.distill(module, other, images, labels, method=method, layers=PAIRS.get(method), progress=False)
    assert {name: a.tobytes() for name, a in module.state_dict().items()} == before


# ---- low rank ------------------------------------------------------------------------------------------------------------

LAYERS = {
    "padded, strided, dilated": (lambda: conv(12, 10, 3, stride=(2, 1), dilation=(1, 2), padding=(1, 2)), (12, 9, 9)),
    "same": (lambda: conv(10, 12, 4, padding="same"), (10, 6, 6)),
    "uneven padding": (lambda: conv(9, 9, 3, padding=((2, 0), (1, 3)), bias=False), (9, 6, 7)),
    "linear": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(24, 20, rng=0)), (6, 2, 2)),
}


def restored(parts, form):
    """The single weight of a chain, its weights in the order in which they run."""
    if form in ("tucker2", "cp"):
        return {"tucker2": pure_lowrank.restore_tucker2, "cp": pure_lowrank.restore_cp}[form](*parts[::-1])
    return pure_lowrank.restore(*parts[::-1], form)


@pytest.mark.small
@pytest.mark.parametrize("kind", apply.low_rank.KINDS)
@pytest.mark.parametrize("name", LAYERS)
def test_a_low_rank_chain_costs_and_errs_as_the_formulas_say(name, kind):
    """MACs and parameters against formulas.low_rank_*, the weight's error against its formula (sqrt(Σσ²), HOSVD's bound), the
    result against the restored weight, and the report against all of them.
    """
    model, shape = LAYERS[name]
    g = tc.trace(nn.Sequential(model()), (1, *shape), check=False)
    x, report = pictures(2, *shape), []
    node = next(node for node in g.nodes if node.op in ("conv2d", "linear"))
    w, form = g.array(node.inputs[1]), "linear" if name == "linear" else kind
    h = apply.lowrank(g, ratio=0.02 if form == "cp" else 0.25, kind=kind, report=report)
    chain = [n for n in h.nodes if n.op in ("conv2d", "linear")]
    parts, rank = [h.array(n.inputs[1]) for n in chain], report[0]["rank"]
    if form == "linear":
        macs, params = formulas.low_rank_linear_macs(24, 20, rank), formulas.low_rank_linear_params(24, 20, rank)
    else:
        a = node.attributes
        geometry = formulas.conv2d_geometry((1, *shape), w.shape, a["stride"], a["padding"], a["dilation"])
        macs, bias = formulas.low_rank_conv_macs(geometry, rank, kind), node.inputs[2] is not None
        params = formulas.low_rank_conv_params(geometry.c, geometry.f, w.shape[2:], rank, kind, bias)
    assert (cost.macs(h), cost.params(h)) == (macs, params) and cost.macs(h) < cost.macs(g)
    assert [n.inputs[2] for n in chain] == [None] * (len(chain) - 1) + [node.inputs[2]]
    back = restored(parts, form)
    found, roundings = np.linalg.norm(back - w), 5 * U * max(np.ravel(rank)) * np.prod([np.linalg.norm(part) for part in parts])
    if form == "tucker2":
        sigma, tau = pure_lowrank.mode_singular_values(w)
        assert found <= pure_lowrank.tucker2_bound(sigma, tau, rank) + roundings
    elif form == "cp":
        assert abs(found - np.sqrt(pure_lowrank.cp(w, rank).errors[-1])) <= roundings
    else:
        assert abs(found - pure_lowrank.truncation_error(pure_lowrank.singular_values(w, form), rank)) <= roundings
    assert report == [dict(weight=node.inputs[1], kind=form, rank=rank, before=cost.macs(g), after=macs,
                           error=report[0]["error"], degenerate=False if form == "cp" else None)]
    assert abs(report[0]["error"] * np.linalg.norm(w) - found) <= 1e-6 * found
    wide = [{n: v.astype(np.float64) for n, v in arrays.items()} for arrays in (g.arrays(), h.arrays())]
    exact = graph.run(g, x.astype(np.float64), values=wide[0] | {node.inputs[1]: back})
    ours = graph.run(h, x.astype(np.float64), values=wide[1])
    size = np.prod([np.abs(part).sum() for part in parts]) * np.abs(x).max()
    assert ours.shape == exact.shape and np.abs(ours - exact).max() <= 2.0 ** -53 * 4 * w.size * size


@pytest.mark.small
@pytest.mark.usefixtures("untouched")
def test_ranks_by_energy_and_where_nothing_is_saved(g):
    """The least rank that keeps the energy; layers where two cost more than one stay; full energy of full-rank weights
    changes nothing.
    """
    h = apply.lowrank(g, energy=0.7)
    pairs = [(first, second) for first, second in zip(h.nodes, h.nodes[1:]) if first.inputs[1:]
             and first.inputs[1].endswith("first.weight")]
    assert pairs and cost.macs(h) < cost.macs(g)
    for first, second in pairs:
        name = first.inputs[1].removesuffix("first.weight") + "weight"
        form = "linear" if first.op == "linear" else "channel_out"
        sigma = pure_lowrank.singular_values(g.array(name), form)
        assert len(h.array(first.inputs[1])) == pure_lowrank.rank_by_energy(sigma, 0.7)
        assert second.outputs[0] in {node.outputs[0] for node in g.nodes} and name not in h.parameters
    assert apply.lowrank(g, energy=1.0).nodes == g.nodes and apply.lowrank(g, ratio=1.0).nodes == g.nodes
    one = apply.lowrank(g, ratio=0.2, layers=["1.conv.0.0.weight"])
    assert [n for n in g.parameters if n not in one.parameters] == ["1.conv.0.0.weight"]
    again = apply.lowrank(h, ratio=0.5)
    assert graph.run(again, pictures(1, 2, 6, 6)).shape == (1, 4)


@pytest.mark.small
def test_full_rank_is_the_same_layer_within_rounding():
    """A weight of low rank by construction loses nothing when its pair has that rank: |error| by the terms of both sums."""
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(30, 20, rng=0))
    model[0].weight.data = (rng.standard_normal((20, 4)) @ rng.standard_normal((4, 30))).astype(np.float32)
    g = tc.trace(model, (1, 30))
    h = apply.lowrank(g, ratio=0.2)                                           # rank 4 of 20
    x = pictures(3, 30)
    w1, w2 = h.array("0.first.weight"), h.array("0.second.weight")
    size = np.abs(x) @ np.abs(w1).T @ np.abs(w2).T + np.abs(g.array("0.bias"))
    whole = np.abs(x) @ np.abs(g.array("0.weight")).T
    # rounded to float32, the weight's σ_5… are not 0
    left = np.linalg.norm(x, axis=1, keepdims=True) * 20 * U * np.linalg.norm(g.array("0.weight"))
    assert w1.shape == (4, 30) and (np.abs(graph.run(g, x) - graph.run(h, x)) <= (40 * U * size + 31 * U * whole + left)).all()


@pytest.mark.small
@pytest.mark.usefixtures("untouched")
def test_what_low_rank_refuses(g):
    """Unknown kinds and layers, grouped layers by name, shared weights by name, none or two of energy, ratio and macs, budgets
    that rank 1 exceeds, scopes that do not go with the rest."""
    least = cost.macs(apply.lowrank(g, ratio=0.01))
    assert cost.macs(apply.lowrank(g, macs=least)) == least
    for message, arguments in (("kind must be", dict(ratio=0.5, kind="tucker")), ("either energy or ratio or macs", {}),
                               ("either energy or ratio or macs", dict(energy=0.5, ratio=0.5)),
                               ("either energy or ratio or macs", dict(macs=10**6, ratio=0.5)),
                               (r"energy must lie in \(0, 1\], not 0", dict(energy=0)),
                               (r"energy must lie in \(0, 1\], not 90", dict(energy=90)),
                               (r"ratio must lie in \(0, 1\], not 1.5", dict(ratio=1.5)),
                               ("ratio must lie", dict(ratio=float("nan"))), ("macs must be at least", dict(macs=float("nan"))),
                               (f"macs must be at least {least:,}", dict(macs=least - 1)),
                               ("scope must be one of global, uniform", dict(macs=10**6, scope="layer")),
                               ("goes with macs, not 'uniform' with ratio", dict(ratio=0.5, scope="uniform")),
                               ('scope must be "uniform" for kind "cp"', dict(macs=10**6, scope="global", kind="cp")),
                               ("without a low-rank form here: nowhere", dict(ratio=0.5, layers=["nowhere"])),
                               ("without a low-rank form here: 1.conv.1.0.weight",
                                dict(ratio=0.5, layers=["1.conv.1.0.weight"]))):
        with pytest.raises(ValueError, match=message):
            apply.lowrank(g, **arguments)
    shared = tc.trace(Wired(lambda m, x: m.a(m.a(x)), a=conv(8, 8)), (1, 8, 4, 4), check=False)
    assert apply.lowrank(shared, ratio=0.2).nodes == shared.nodes
    with pytest.raises(ValueError, match="without a low-rank form here: a.weight"):
        apply.lowrank(shared, ratio=0.2, layers=["a.weight"])


@pytest.mark.small
@pytest.mark.filterwarnings("ignore:cp is degenerate:RuntimeWarning")     # random weights have no low rank: terms may cancel
@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("kind", apply.low_rank.KINDS)
def test_a_budget_for_the_whole_network(g, kind):
    """Never exceeded; under "global" no layer's rank could rise by itself; under "uniform" every layer keeps to one fraction;
    and "global" loses no more than "uniform". A budget that is no smaller than the network changes nothing."""
    total, lost = cost.macs(g), {}
    for scope in ("global", "uniform") if kind != "cp" else (None,):
        for budget in (total * 6 // 10, total * 8 // 10):
            report = []
            h = apply.lowrank(g, macs=budget, kind=kind, scope=scope, report=report)
            room = budget - cost.macs(h)
            assert room >= 0 and report and cost.macs(g) - cost.macs(h) == sum(row["before"] - row["after"] for row in report)
            lost[scope, budget] = sum(row["error"] ** 2 for row in report)
            for row in report if scope == "global" and kind != "tucker2" else ():
                unit = row["after"] // row["rank"]
                assert row["after"] == unit * row["rank"] and min(unit, row["before"] - row["after"]) > room
            if scope == "uniform":
                fractions = [row["after"] / row["before"] for row in report if row["rank"] not in (1, (1, 1))]
                assert max(fractions, default=0) < 1
    if kind != "cp":
        assert all(lost["global", b] <= lost["uniform", b] + 1e-6 for scope, b in lost if kind != "tucker2")
        assert apply.lowrank(g, macs=total, kind=kind).nodes == g.nodes


@pytest.mark.small
@pytest.mark.filterwarnings("ignore:cp is degenerate:RuntimeWarning")
def test_tucker_and_cp_by_energy():
    """The chain keeps the energy that was asked for; cp takes the least rank that does; where none saves, the layer stays."""
    g = tc.trace(nn.Sequential(conv(4, 5), nn.ReLU(), nn.Conv2d(5, 8, 1, rng=0)), (1, 4, 6, 6), check=False)
    for kind in ("tucker2", "cp"):
        report = []
        h = apply.lowrank(g, energy=0.4, kind=kind, report=report)
        assert [row["kind"] for row in report][:1] == [kind] and cost.macs(h) < cost.macs(g)
        assert report[0]["error"] ** 2 <= 0.6 and {row["kind"] for row in report[1:]} <= {"channel_out"}
        if kind == "cp":
            less = pure_lowrank.cp(g.array("0.weight"), report[0]["rank"] - 1)
            assert less.errors[-1] > 0.6 * np.square(g.array("0.weight"), dtype=np.float64).sum()
        assert apply.lowrank(g, energy=1.0, kind=kind).nodes == g.nodes


@pytest.mark.small
def test_a_degenerate_sum_is_told(monkeypatch):
    """A weight that sums of two terms approach without reaching it: a warning names the layer, and the report says so."""
    patient = functools.partial(pure_lowrank.cp, starts=2, sweeps=600, tolerance=0)
    monkeypatch.setattr(pure_lowrank, "cp", patient)
    w = np.zeros((9, 9, 3, 1), np.float32)
    w[0, 0, 1, 0] = w[0, 1, 0, 0] = w[1, 0, 0, 0] = 1
    model = nn.Sequential(nn.Conv2d(9, 9, (3, 1), bias=False, rng=0))
    model[0].weight.data = w
    report = []
    with pytest.warns(RuntimeWarning, match=r"cp is degenerate in 0\.weight"):
        apply.lowrank(tc.trace(model, (1, 9, 9, 9), check=False), ratio=2 / 27, kind="cp", report=report)
    assert report[0]["degenerate"] is True and report[0]["rank"] == 2


# ---- integers ------------------------------------------------------------------------------------------------------------

def two_readers(m, x):
    y = m.a(x)
    return m.head(F.flatten(F.adaptive_avg_pool2d(F.relu6(m.b(F.relu(y)) + y), 1)))


def moving(m, x):
    y = F.channel_shuffle(F.relu6(m.a(x)), 2)
    return m.head(F.dropout(F.take_channels(F.relu(m.b(y)), [3, 1, 0]).reshape(x.shape[0], -1)[:, 2:20], 0.5, m.training))


NETS = {
    "residual": (lambda: Wired(lambda m, x: m.head(F.flatten(m.c(F.relu(m.a(x) + m.b(m.a(x)))))), a=conv(2, 4), b=conv(4, 4),
                               c=conv(4, 2, stride=2),
                               head=nn.Linear(18, 3, rng=0)), (2, 6, 6)),
    "an activation beside another reader": (lambda: Wired(two_readers, a=conv(2, 4), b=conv(4, 4),
                                                          head=nn.Linear(4, 3, rng=0)), (2, 5, 5)),
    "moved channels": (lambda: Wired(moving, a=conv(2, 4), b=conv(4, 4, groups=2), head=nn.Linear(18, 3, rng=0)), (2, 3, 3)),
    "depthwise, norm, relu6": (lambda: nn.Sequential(nn.conv_bn_act(2, 4, rng=0), nn.conv_bn_act(4, 4, stride=2, groups=4, rng=1),
                                                     conv(4, 3, (1, 3), padding=(0, 2))), (2, 6, 6)),
    "an activation first": (lambda: nn.Sequential(nn.ReLU(), conv(2, 3)), (2, 3, 3)),
}


def branches(m, x):
    one, two = F.split(F.relu(m.a(x)), [1, 3])
    return m.b(F.channel_shuffle(F.concat([two, F.max_pool2d(x, 3, 1, 1), one]), 2))


def gated(m, x):
    y = F.hardswish(m.a(x))
    gates = F.sigmoid(m.c(F.silu(F.adaptive_avg_pool2d(y, 1))))
    return m.b(F.avg_pool2d(gates * y, 3, 2, 1)) * F.hardsigmoid(m.d(y))


CURVED = {
    "split, concat, shuffle, max pooling": (lambda: Wired(branches, a=conv(2, 4), b=conv(6, 4, groups=2)), (2, 5, 5)),
    "gates, curves, average pooling": (lambda: Wired(gated, a=conv(2, 4), b=conv(4, 2), c=conv(4, 4), d=conv(4, 2, stride=2)), (2, 5, 5)),
}


def exact_codes(values, scale, zero, clip=(-128, 127), zero_first=True):
    """Rational numbers to codes: half to even before the zero point is added, or after."""
    scale, zero, (low, high) = Fraction(float(scale)), int(zero), clip
    return np.array([min(max(round(v / scale + zero) if zero_first else round(v / scale) + zero, low), high)
                     for v in values.ravel()]).reshape(values.shape)


def exact(array):
    """An array as an object array of exact rationals."""
    return np.vectorize(Fraction, otypes=[object])(array.astype(object))


def exact_node(node, arguments, g):
    """One integer operation in rational arithmetic, from its codes: an independent computation, to be met in every code."""
    a = node.attributes
    if node.op == "quantize":
        return exact_codes(exact(arguments[0] / np.float32(a["scale"])), 1, a["zero_point"], zero_first=False)
    if node.op == "dequantize":
        return (arguments[0].astype(np.int32) - a["zero_point"]).astype(np.float32) * np.float32(a["scale"])
    if node.op == "qmul":
        left, right = (v.astype(object) - a[f"{s}_zero_point"] for v, s in zip(arguments, "ab"))
        multiplier = Fraction(a["a_scale"] * a["b_scale"] / a["y_scale"])
        product = np.vectorize(lambda n: Fraction(float(n * multiplier)), otypes=[object])(left * right)
        return exact_codes(product, 1, a["y_zero_point"], zero_first=False)
    if node.op == "qlook_up":
        reals = (arguments[0].astype(np.float64) - a["x_zero_point"]) * a["x_scale"]
        more = {k: v for k, v in a.items() if k == "negative_slope"}
        y = reals if a["function"] == "identity" else tc.ops.lookup(a["function"]).forward(reals, **more)[0]
        return exact_codes(exact(y), a["y_scale"], a["y_zero_point"], zero_first=False)
    if node.op == "qavg_pool2d":
        window = {k: a[k] for k in ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad") if k in a}
        centred, step = arguments[0].astype(np.float64) - a["x_zero_point"], Fraction(a["x_scale"])
        sums = tc.ops.lookup("avg_pool2d").forward(centred, **window)[0] * 9                  # windows of 3x3, padding counted
        return exact_codes(exact(np.rint(sums)) * step / 9, a["y_scale"], a["y_zero_point"], zero_first=False)
    if node.op == "qmax_pool2d":
        return tc.ops.lookup("max_pool2d").forward(arguments[0].astype(np.float64), **a)[0]
    if node.op == "split":
        return tc.ops.lookup("split").forward(arguments[0], **a)[0]
    if node.op in ("qconv2d", "qlinear"):
        q, w, bias, scale = arguments
        centred = q.astype(np.float64) - a["x_zero_point"]
        weight = w.astype(np.float64)
        column, sums = slice(None), centred @ weight.T if node.op == "qlinear" else None
        if node.op == "qconv2d":
            column = (slice(None), None, None)
            sums = tc.kernels.conv2d(centred, weight, None, a["stride"], a["padding"], a["dilation"], a["groups"])
        sums = sums + bias.astype(np.float64)[column]                        # exact: whole numbers below 2^53
        multiplier = np.float32(a["x_scale"]) * scale / np.float32(a["y_scale"])
        multiplier = np.broadcast_to(multiplier, len(w)).astype(np.float64)[column]
        return exact_codes(exact(sums * multiplier), 1, a["y_zero_point"], (a["q_min"], a["q_max"]))
    if node.op == "qadd":
        parts = [(exact(v) - a[f"{s}_zero_point"]) * Fraction(a[f"{s}_scale"]) for v, s in zip(arguments, "ab")]
        return exact_codes(parts[0] + parts[1], a["y_scale"], a["y_zero_point"], (a["q_min"], a["q_max"]), zero_first=False)
    if node.op == "qglobal_average_pool":
        n, c, h, w = arguments[0].shape
        sums = exact(arguments[0].astype(np.int64).sum(axis=(2, 3), keepdims=True) - a["x_zero_point"] * h * w)
        return exact_codes(sums * Fraction(a["x_scale"]) / (h * w), a["y_scale"], a["y_zero_point"], (a["q_min"], a["q_max"]),
                           zero_first=False)
    return np.asarray(tc.ops.lookup(node.op).forward(*(v.astype(np.int64) for v in arguments), **a)[0])


@pytest.mark.small
@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("name", [*NETS, *CURVED])
def test_every_code_of_the_integer_network(name, per_channel):
    """Each node's codes, from the codes it really has, in rational arithmetic: equal, all of them. And int8, int32 alone
    between first and last.
    """
    model, shape = {**NETS, **CURVED}[name]
    g = tc.trace(model(), (1, *shape), check=False)
    x = pictures(3, *shape)
    q = apply.quantize(g, x, per_channel=per_channel)
    known, kinds = {**q.arrays(), "input": x}, []

    def look(node, outputs):
        codes = exact_node(node, [known[v] for v in node.inputs], q)
        for y, wanted in zip(outputs, codes if node.op == "split" else (codes,)):
            assert np.array_equal(y, wanted), node
        known.update(zip(node.outputs, outputs))
        kinds.append((node.op, outputs[0].dtype))
    known["input"] = pictures(3, *shape, seed=5) * np.float32(1.2)          # a little beyond the range of the calibration
    assert np.array_equal(graph.run(q, known["input"], each=look), known[q.outputs[0]])
    assert kinds[0][0] == "quantize" and kinds[-1] == ("dequantize", np.float32)
    assert {kind for _, kind in kinds[:-1]} == {np.dtype(np.int8)}
    assert {node.op for node in q.nodes[1:-1]} <= {"qconv2d", "qlinear", "qadd", "qglobal_average_pool", "clip",
                                                   "channel_shuffle", "take_channels", "reshape",
                                                  "flatten", "slice", "split", "concat", "qmul", "qlook_up", "qmax_pool2d", "qavg_pool2d"}
    assert not q.parameters and {a.dtype.name for n, a in q.buffers.items()} == {"int8", "int32", "float32"}
    scales = [n.removesuffix("scale") for n in q.buffers if n.endswith("scale")]
    assert all(len(q.array(f"{n}scale")) == (len(q.array(f"{n}weight")) if per_channel else 1) for n in scales)


@pytest.mark.small
@pytest.mark.parametrize("name", NETS)
def test_the_integer_network_is_the_fake_quantized_one(name):
    """Each layer in float64, with weights, bias and inputs rounded to their codes, its result rounded to codes: those of the
    integer layer.

    Computed from the float graph alone (its activations, its adds), never from the integer nodes' attributes but scale and zero
    point. A code may differ only where the value lies within the rounding of the float32 multiplier (two roundings: 2^-22 of
    it) from the border.
    """
    model, shape = NETS[name]
    g = graph.fold_batch_norms(tc.trace(model(), (1, *shape), check=False))
    x = pictures(4, *shape)
    q = apply.quantize(g, x)
    codes, steps = {}, {}                                                    # of every value of the float graph
    graph.run(q, x, each=lambda node, outputs: codes.update(zip(node.outputs, outputs)))
    for node in q.nodes[:-1]:
        a = node.attributes
        own = (a.get("scale", a.get("y_scale")), a.get("zero_point", a.get("y_zero_point")))
        steps[node.outputs[0]] = steps[node.inputs[0]] if own[0] is None else own
    reals = {name: (codes[name].astype(np.float64) - zero) * scale for name, (scale, zero) in steps.items()}
    reals["input"] = reals["input/codes"]
    for name, a in g.arrays().items():
        stem, column = name.removesuffix("weight").removesuffix("bias"), (slice(None), *[None] * (a.ndim - 1))
        step = q.array(f"{stem}scale").astype(np.float64)
        if name.endswith("bias"):
            step = step * next(node.attributes["x_scale"] for node in q.nodes if f"{stem}scale" in node.inputs)
        reals[name] = np.rint(a.astype(np.float64) / step[column]) * step[column]
        assert (np.abs(reals[name] - a) <= step[column] / 2 * 1.000001).all()
    checked = 0
    for node in g.nodes:
        y = tc.ops.lookup(node.op).forward(*(reals[v] for v in node.inputs), **node.attributes)[0]
        # dropout, or a layer whose activation follows at once
        if node.outputs[0] not in steps:
            reals[node.outputs[0]] = y
            continue
        scale, zero = steps[node.outputs[0]]
        v = y / scale + zero
        away = np.clip(np.rint(v), -128, 127) != codes[node.outputs[0]]
        assert (np.abs(np.abs(v - np.rint(v)) - 0.5)[away] <= (np.abs(v - zero) * 2.0 ** -21 + 2.0 ** -30)[away]).all()
        checked += 1
    assert checked == len(q.nodes) - 2


@pytest.mark.small
def test_activations_are_fused_where_nobody_else_reads():
    """One node less for each: the range of codes is the activation. Beside another reader the codes are clipped in a node of
    their own.
    """
    g = tc.trace(NETS["an activation beside another reader"][0](), (1, 2, 5, 5), check=False)
    q = apply.quantize(g, pictures(4, 2, 5, 5))
    assert [node.op for node in q.nodes] == ["quantize", "qconv2d", "clip", "qconv2d", "qadd", "qglobal_average_pool", "flatten",
                                             "qlinear", "dequantize"]
    add = next(node for node in q.nodes if node.op == "qadd")
    assert add.outputs == ("relu6",) and add.attributes["q_min"] == add.attributes["y_zero_point"] == -128
    conv_, clip = q.nodes[1], q.nodes[2]
    assert (conv_.attributes["q_min"], conv_.attributes["q_max"]) == (-128, 127)
    assert clip.attributes == {"low": conv_.attributes["y_zero_point"], "high": 127}
    six = nn.Sequential(conv(1, 1, 1), nn.ReLU6())
    six[0].weight.data[:], six[0].bias.data[:] = 10, 0
    x = np.linspace(-1, 1, 16, dtype=np.float32).reshape(1, 1, 4, 4)
    y = graph.run(apply.quantize(tc.trace(six, (1, 1, 4, 4)), x), x)
    assert y.min() == 0 and abs(y.max() - 6) <= 6 / 255 / 2 * 1.001


@pytest.mark.small
def test_bytes_of_an_integer_network_in_its_file(tmp_path):
    """A byte a weight, four a bias and a scale: the file is its header plus exactly that; float32 takes four a weight."""
    g = tc.trace(nn.Sequential(conv(16, 32), nn.ReLU(), conv(32, 32), nn.Flatten(), nn.Linear(512, 10, rng=0)), (1, 16, 4, 4),
                 check=False)
    q = apply.quantize(g, pictures(2, 16, 4, 4))
    weights, filters = sum(a.size for a in g.parameters.values() if a.ndim > 1), 32 + 32 + 10
    length = tc.save(tmp_path / "q.safetensors", q)
    head = tc.io.safetensors_header(q.arrays(), {"format": graph.file.FORMAT, "graph": graph.graph_as_json(q)})
    assert length == len(head) + weights + 8 * filters
    arrays = [a for n, a in g.parameters.items() if n.endswith("weight")]
    assert sum(a.nbytes for a in q.buffers.values()) == sum(formulas.quantized_bytes(a.size, 8, len(a)) + 4 * len(a)
                                                            for a in arrays)
    assert length < tc.save(tmp_path / "g.safetensors", g) / 3


@pytest.mark.small
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_weight_codes_have_their_bits(bits):
    """Codes within ±(2^(bits-1) - 1), every filter reaching that end; |w - S q| <= S/2; per tensor one scale for all."""
    g = tc.trace(nn.Sequential(conv(3, 5)), (1, 3, 4, 4), check=False)
    x = pictures(2, 3, 4, 4)
    for per_channel in (True, False):
        q = apply.quantize(g, x, bits=bits, per_channel=per_channel)
        codes, scale, most = q.array("0.weight"), q.array("0.scale"), 2 ** (bits - 1) - 1
        reach = np.abs(codes.astype(int)).reshape(5, -1).max(axis=1)
        assert scale.shape == (5 if per_channel else 1,) and (reach == most).all() if per_channel else reach.max() == most
        assert (np.abs(g.array("0.weight") - codes * scale[:, None, None, None]) <= scale.max() * 0.50001).all()


@pytest.mark.small
def test_a_filter_that_vanished_keeps_its_bias():
    """γ = 0 folds to weights of 0 with a bias: no scale of 0, the bias fits into int32, the result is the bias within half a
    step.
    """
    model = nn.Sequential(conv(2, 3), nn.BatchNorm2d(3))
    model[1].weight.data[:], model[1].bias.data[:] = [0, 1, 0], [2, 0.5, -1]
    x = pictures(4, 2, 4, 4)
    q = apply.quantize(tc.trace(model, (1, 2, 4, 4), check=False), x)
    y, step = graph.run(q, x), q.nodes[-1].attributes["scale"]
    assert (np.abs(y[:, 0] - 2) <= step * 0.51).all() and (np.abs(y[:, 2] + 1) <= step * 0.51).all()


REFUSED = {
    "softmax": (lambda m, x: F.softmax(m.a(x)), "softmax cannot be quantized: it has no integer form"),
    "a norm that follows no convolution": (lambda m, x: m.a(m.n(x)), "batch_norm cannot be quantized: BatchNorm is folded"),
    "a number added": (lambda m, x: m.a(x) + 1, "add has an integer form for two results"),
    "a parameter added": (lambda m, x: m.a(x) + m.shift, "add has an integer form for two results"),
    "a sum over stretched axes": (lambda m, x: m.a(x) + F.adaptive_avg_pool2d(m.a(x), 1), "qadd takes two arrays of one shape"),
    "an average that is not global": (lambda m, x: F.adaptive_avg_pool2d(m.a(x), 2), "integer form for output size 1, not 2"),
    "linear on tokens": (lambda m, x: m.l(F.flatten(m.a(x), 2)), "linear has an integer form for inputs .N,C."),
    "a computed weight": (lambda m, x: F.conv2d(x, m.a.weight * 2), "mul has an integer form for two results of layers"),
    "two outputs": (lambda m, x: (m.a(x), x), "one input and one output, this one 1 and 2"),
}


@pytest.mark.small
@pytest.mark.parametrize("name", REFUSED)
def test_operations_without_an_integer_form_are_named(name):
    wire, message = REFUSED[name]
    model = Wired(wire, a=conv(2, 2), n=nn.BatchNorm2d(2), l=nn.Linear(16, 3, rng=0),
                  shift=nn.Parameter(np.ones((2, 1, 1), np.float32)))
    g = tc.trace(model, (1, 2, 4, 4), check=False)
    with pytest.raises(graph.GraphError, match=message):
        apply.quantize(g, pictures(2, 2, 4, 4))


@pytest.mark.small
@pytest.mark.usefixtures("untouched")
def test_calibration_that_says_nothing_is_refused(g):
    """No pictures, NaN, infinities, another shape, no array at all; unknown rules and bits; a second quantization."""
    x = pictures(2, 2, 6, 6)
    bad = x.copy()
    bad[1, 0, 2, 2] = np.nan
    for images, message in ((x[:0], "at least one"), (None, "must be pictures"), ([], "at least one"),
                            (bad, "calibration: input is not finite"), (x * np.inf, "not finite"),
                            (x[:, :1], r"must have shape \(N, 2, 6, 6\)"), (np.float32([1, 2]), "must be pictures"),
                            (0 * x, "different pixels, not 0.0 everywhere"), (0 * x + 0.5, "different pixels, not 0.5 everywhere")):
        with pytest.raises(ValueError, match=message):
            apply.quantize(g, images)
    for message, arguments in (("rule must be", dict(rule="half up")), ("bits must be", dict(bits=9)),
                               ("bits must be", dict(bits=1)), ("calibrator must be one of min-max, moving-average", dict(calibrator="max"))):
        with pytest.raises(ValueError, match=message):
            apply.quantize(g, x, **arguments)
    with pytest.raises(graph.GraphError, match="the network is quantized already"):
        apply.quantize(apply.quantize(g, x), x)


def test_weights_beyond_int32_are_refused():
    """70,000 weights of 127 times values of up to 255 do not fit: said before anything is added up."""
    huge = tc.trace(nn.Sequential(nn.Linear(70_000, 1, rng=0)), (1, 70_000), check=False)
    huge = huge.with_arrays({"0.weight": np.ones((1, 70_000), np.float32)})
    with pytest.raises(ValueError, match="0/linear: the sums of linear could reach 2,2.*int32"):
        apply.quantize(huge, np.float32([[1.0] + [0.5] * 69_999]))


@pytest.mark.small
@pytest.mark.usefixtures("untouched")
def test_ranges_come_from_all_batches(g):
    """Smallest and largest value over every picture, whatever the batches; uint8 pictures count as x/255, as training sees
    them.
    """
    x = pictures(7, 2, 6, 6)
    whole, parts = apply.calibrate(g, x), apply.calibrate(g, x, batch_size=3)
    assert whole.keys() == parts.keys() and whole["input"] == parts["input"] == (float(x.min()), float(x.max()))
    for name in whole:
        assert np.allclose(whole[name], parts[name], rtol=1e-5, atol=1e-6)
    assert apply.calibrate(g, np.full((1, 2, 6, 6), 255, np.uint8))["input"] == (1.0, 1.0)
    means = apply.calibrate(g, x, batch_size=3, observe=tc.compress.quantize.observe_moving_average)
    assert means["input"] != whole["input"]


def test_slip_integers_without_calibration(g):
    """Ranges that somebody invented (here: those of pictures ten times fainter) saturate; without data there is no network at all."""
    x = pictures(20, 2, 6, 6)
    exact, off = graph.run(g, x), {}
    for title, data in (("calibrated", x), ("invented", x / 10)):
        made = apply.quantize(g, data)
        off[title] = np.abs(graph.run(made, x) - exact).mean() / np.abs(exact).mean()
    assert off["calibrated"] < 0.01 < 10 * off["calibrated"] < off["invented"], off
    with pytest.raises(TypeError, match="calibration"):
        apply.quantize(g)


@pytest.mark.usefixtures("untouched")
def test_every_calibrator_makes_an_integer_network(g):
    """The scale of a value is that of the range which its calibrator finds in what was seen there; one far pixel, and they differ."""
    x = pictures(40, 2, 6, 6)
    x[3, 1, 2, 2] = 30.0
    qt, scales = tc.compress.quantize, {}
    samples = qt.samples_of(apply.calibrate(g, x, observe=qt.observe_histogram)["input"])
    expected = {"min-max": (x.min(), x.max()), "percentile": qt.range_by_percentile(samples[0], 0.9999, samples[1]),
                "mse": qt.range_by_mse(samples[0], 8, weights=samples[1]), "kl": qt.range_by_kl(samples[0], 8, weights=samples[1]),
                "moving-average": apply.calibrate(g, x, 10, qt.observe_moving_average)["input"]}
    assert expected.keys() == apply.CALIBRATORS.keys()
    for name, (low, high) in expected.items():
        made = apply.quantize(g, x, batch_size=10, calibrator=name).nodes[0].attributes
        scales[name] = made["scale"], made["zero_point"]
        assert scales[name] == tuple(v.item() for v in qt.affine(min(low, 0.0), max(high, 0.0)))
    assert len(set(scales.values())) >= 4 and scales["moving-average"] < scales["min-max"]


@pytest.mark.small
def test_integer_network_stays_near_the_float_one(g):
    """On the calibration pictures, with random weights: within 4 % of the range of the scores. (Accuracy on real pictures:
    the demo.)
    """
    x = pictures(16, 2, 6, 6)
    a, b = graph.run(g, x), graph.run(apply.quantize(g, x), x)
    assert np.abs(a - b).max() <= 0.04 * (a.max() - a.min())
