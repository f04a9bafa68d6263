"""Transforms of whole networks: exact counts, budgets kept, integers that are integers, and a graph that went in untouched."""
from fractions import Fraction

import numpy as np
import pytest
from wired import Wired

import tinyconv as tc
from tinyconv import apply, cost, formulas, graph, nn
from tinyconv import functional as F
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
@pytest.mark.parametrize("criterion", apply.pruning.CRITERIA)
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
def test_random_control_follows_its_seed(g):
    """The same seed, the same network; another seed, another one; a Generator is taken; no seed is refused."""
    def kept(seed):
        return apply.prune(g, 0.5, "random", seed=seed).array("0.0.weight").tobytes()
    assert kept(3) == kept(3) == kept(np.random.default_rng(3)) and len({kept(seed) for seed in range(6)}) > 1
    with pytest.raises(ValueError, match="seed must be"):
        kept(None)


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("scope", apply.pruning.SCOPES)
@pytest.mark.parametrize("criterion", apply.pruning.CRITERIA)
def test_a_budget_is_kept_and_used(g, scope, criterion):
    """Never exceeded; with the last group that went given back it would be. Against the order of scores, one group after
    another.
    """
    order = apply.pruning._order(*apply.group_scores(g, criterion)[1:], scope)
    coupling = graph.couple(g)
    roots = apply.group_scores(g, criterion, coupling=coupling)[0]
    going = [int(roots[i]) for i in apply.pruning._never_empty(coupling, roots, order)]
    for share in (1.0, 0.9, 0.5, 0.3):
        budget = int(cost.macs(g) * share)
        small = apply.prune(g, macs=budget, criterion=criterion, scope=scope)
        gone = groups_gone(g, small)
        assert cost.macs(small) <= budget and cost.macs(small) == cost.macs(graph.remove_channels(g, going[:gone]))
        if gone:
            assert cost.macs(graph.remove_channels(g, going[:gone - 1])) > budget
        assert (share == 1.0) == (gone == 0)


@pytest.mark.small
@pytest.mark.usefixtures("untouched")
def test_what_pruning_refuses(g):
    """Ratios and budgets that cannot be met, unknown names, both or neither, things that are no graph."""
    least = cost.macs(apply.prune(g, macs=cost.macs(apply.prune(g, 0.75))))
    for message, arguments in (("ratio must lie", dict(ratio=1.0)), ("ratio must lie", dict(ratio=-0.1)),
                               ("ratio must lie", dict(ratio=float("nan"))),
                               ("would empty a layer: 1 more", dict(ratio=0.93)),
                               ("criterion must be", dict(ratio=0.5, criterion="taylor")),
                               ("scope must be", dict(ratio=0.5, scope="local")), ("either ratio or macs", {}),
                               ("either ratio or macs", dict(ratio=0.5, macs=1)),
                               ("macs must be at least", dict(macs=100)), ("macs must be at least", dict(macs=float("nan")))):
        with pytest.raises(ValueError, match=message):
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
    for scope in apply.pruning.SCOPES:
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


# ---- low rank ------------------------------------------------------------------------------------------------------------

LAYERS = {
    "padded, strided, dilated": (lambda: conv(12, 10, 3, stride=(2, 1), dilation=(1, 2), padding=(1, 2)), (12, 9, 9)),
    "same": (lambda: conv(10, 12, 4, padding="same"), (10, 6, 6)),
    "uneven padding": (lambda: conv(9, 9, 3, padding=((2, 0), (1, 3)), bias=False), (9, 6, 7)),
    "linear": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(24, 20, rng=0)), (6, 2, 2)),
}


@pytest.mark.small
@pytest.mark.parametrize("kind", apply.low_rank.KINDS)
@pytest.mark.parametrize("name", LAYERS)
def test_a_low_rank_pair_costs_and_errs_as_the_formulas_say(name, kind):
    """MACs and parameters against formulas.low_rank_*, the weight's error against sqrt(Σσ²), the result against the restored
    weight.
    """
    model, shape = LAYERS[name]
    g = tc.trace(nn.Sequential(model()), (1, *shape), check=False)
    x = pictures(2, *shape)
    node = next(node for node in g.nodes if node.op in ("conv2d", "linear"))
    w, form = g.array(node.inputs[1]), "linear" if name == "linear" else kind
    limit = pure_lowrank.max_rank(w.shape, form)
    rank = max(1, round(0.25 * limit))
    h = apply.lowrank(g, ratio=0.25, kind=kind)
    first, second = (n for n in h.nodes if n.op in ("conv2d", "linear"))
    if form == "linear":
        macs, params = formulas.low_rank_linear_macs(24, 20, rank), formulas.low_rank_linear_params(24, 20, rank)
    else:
        a = node.attributes
        geometry = formulas.conv2d_geometry((1, *shape), w.shape, a["stride"], a["padding"], a["dilation"])
        macs, bias = formulas.low_rank_conv_macs(geometry, rank, kind), node.inputs[2] is not None
        params = formulas.low_rank_conv_params(geometry.c, geometry.f, w.shape[2:], rank, kind, bias)
    assert (cost.macs(h), cost.params(h)) == (macs, params) and cost.macs(h) < cost.macs(g)
    restored = pure_lowrank.restore(h.array(second.inputs[1]), h.array(first.inputs[1]), form)
    error = pure_lowrank.truncation_error(pure_lowrank.singular_values(w, form), rank)
    roundings = 3 * U * rank * np.linalg.norm(h.array(second.inputs[1])) * np.linalg.norm(h.array(first.inputs[1]))
    assert abs(np.linalg.norm(restored - w) - error) <= roundings
    wide = [{n: v.astype(np.float64) for n, v in arrays.items()} for arrays in (g.arrays(), h.arrays())]
    exact = graph.run(g, x.astype(np.float64), values=wide[0] | {node.inputs[1]: restored})
    ours = graph.run(h, x.astype(np.float64), values=wide[1])
    size = np.abs(h.array(second.inputs[1])).sum() * np.abs(h.array(first.inputs[1])).sum() * np.abs(x).max()
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
    """Unknown kinds and layers, grouped layers by name, shared weights by name, both or neither of energy and ratio."""
    for message, arguments in (("kind must be", dict(ratio=0.5, kind="tucker")), ("either energy or ratio", {}),
                               ("either energy or ratio", dict(energy=0.5, ratio=0.5)),
                               ("either energy or ratio", dict(energy=0)), ("either energy or ratio", dict(ratio=1.5)),
                               ("either energy or ratio", dict(ratio=float("nan"))),
                               ("without a low-rank form here: nowhere", dict(ratio=0.5, layers=["nowhere"])),
                               ("without a low-rank form here: 1.conv.1.0.weight",
                                dict(ratio=0.5, layers=["1.conv.1.0.weight"]))):
        with pytest.raises(ValueError, match=message):
            apply.lowrank(g, **arguments)
    shared = tc.trace(Wired(lambda m, x: m.a(m.a(x)), a=conv(8, 8)), (1, 8, 4, 4), check=False)
    assert apply.lowrank(shared, ratio=0.2).nodes == shared.nodes
    with pytest.raises(ValueError, match="without a low-rank form here: a.weight"):
        apply.lowrank(shared, ratio=0.2, layers=["a.weight"])


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
    """No pictures, NaN, infinities, another shape, no array at all; unknown rules and bits; a second quantization; weights
    beyond int32.
    """
    x = pictures(2, 2, 6, 6)
    bad = x.copy()
    bad[1, 0, 2, 2] = np.nan
    for images, message in ((x[:0], "at least one"), (None, "must be pictures"), ([], "at least one"),
                            (bad, "calibration: input is not finite"), (x * np.inf, "not finite"),
                            (x[:, :1], r"must have shape \(N, 2, 6, 6\)"), (np.float32(1), "must be pictures")):
        with pytest.raises(ValueError, match=message):
            apply.quantize(g, images)
    for message, arguments in (("rule must be", dict(rule="half up")), ("bits must be", dict(bits=9)),
                               ("bits must be", dict(bits=1))):
        with pytest.raises(ValueError, match=message):
            apply.quantize(g, x, **arguments)
    with pytest.raises(graph.GraphError, match="the network is quantized already"):
        apply.quantize(apply.quantize(g, x), x)
    huge = tc.trace(nn.Sequential(nn.Linear(70_000, 1, rng=0)), (1, 70_000), check=False)
    huge = huge.with_arrays({"0.weight": np.ones((1, 70_000), np.float32)})
    with pytest.raises(ValueError, match="0/linear: the sums of linear could reach 2,2.*int32"):
        apply.quantize(huge, np.ones((1, 70_000), np.float32))


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


@pytest.mark.small
def test_integer_network_stays_near_the_float_one(g):
    """On the calibration pictures, with random weights: within 4 % of the range of the scores. (Accuracy on real pictures:
    the demo.)
    """
    x = pictures(16, 2, 6, 6)
    a, b = graph.run(g, x), graph.run(apply.quantize(g, x), x)
    assert np.abs(a - b).max() <= 0.04 * (a.max() - a.min())
