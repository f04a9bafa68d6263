"""Coupled channels: a network without them computes what the network with them masked computes, and costs what the closed form
says.

Every case runs at three ratios with randomly chosen groups. Under tc.use("plain") results are equal bit for bit, end to end: a
masked channel adds w·0 to a sum whose order does not change. The fast kernels group the terms of a sum by how many there are,
so there every operation is held to its own rounding bound, on the inputs that the masked network gives it.
"""
import itertools
from functools import lru_cache

import numpy as np
import pytest
import reduced
from wired import Wired

import tinyconv as tc
from tinyconv import functional as F
from tinyconv import formulas, graph, nn
from tinyconv.apply import INTEGER, random_groups
from tinyconv.apply._checks import SCOPES
from tinyconv.formulas.geometry import conv2d_geometry
from tinyconv.graph import removal
from tinyconv.kernels import select
from tinyconv.ops import TABLE, lookup
from tinyconv.recipes.shrinking import traced

RATIOS = (0.25, 0.5, 0.8)
U = 2.0 ** -24                                                   # unit roundoff of float32


def conv(c, f, k=3, **options):
    return nn.Conv2d(c, f, k, padding=k // 2, rng=c * 100 + f, **options)


def lin(c, f):
    return nn.Linear(c, f, rng=c * 100 + f)


def norm(c):
    """BatchNorm with statistics that are not the identity."""
    rng, made = np.random.default_rng(c), nn.BatchNorm2d(c)
    made.weight.data, made.bias.data = (rng.uniform(-1, 1, c).astype(np.float32) for _ in range(2))
    made.running_mean, made.running_var = rng.standard_normal(c).astype(np.float32), rng.uniform(0.5, 2, c).astype(np.float32)
    return made


def weight(*shape):
    return nn.Parameter(np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32))


def pooled(x):
    return F.flatten(F.adaptive_avg_pool2d(x, 1))


def residual(m, x):
    x = F.relu(m.norm(m.a(x)))
    x = F.relu(m.b(x) + x)
    return m.head(pooled(x - m.c(x)))


def split_in_two(m, x):
    left, right = F.split(m.a(x), [2, 4])
    return m.b(F.concat([m.c(left) + left, F.relu(right)]))


def shuffle_units(m, x):
    x = m.a(x)
    for unit in (m.b, m.c):
        left, right = F.split(x, 4)
        x = F.channel_shuffle(F.concat([left, F.relu(unit(right))]), 2)
    return m.head(pooled(x))


def sliced(m, x):
    x = m.a(x)
    return m.b(x[:, ::2]) + m.b(x[:, 3:]) + m.c(x[..., 1:, :])[:, :, :1] + F.pad(m.c(x[:, :, 0:2]), [0, 0, 0, 0])[:, :, 1:]


def squeeze_excite(m, x):
    x = m.a(x)
    s = F.sigmoid(m.up(F.relu(m.down(x.mean(axis=(2, 3))))))
    return m.b(x * s.reshape(x.shape[0], 6, 1, 1))


def attention(m, x):
    q = F.flatten(m.a(x), 2)                                                # (N,C,HW)
    return m.head(pooled(m.b(F.matmul(F.softmax(F.matmul(q, q.transpose(0, 2, 1))), q).reshape(x.shape))))


def attended(m, x):
    """Attention between two convolutions."""
    return m.b(m.attention(F.relu(m.norm(m.a(x)))))


def folded(m, x):
    x = m.a(x)
    x = m.b(x * x.mean(axis=(1, 2), keepdims=True) + x.sum(axis=1, keepdims=True))
    return m.c(x * ((x.abs() * -1 - 1).max(axis=[1, 2, 3]).reshape(x.shape[0], 1, 1, 1) + 2))            # all below 0


def twice(m, x):
    x = F.relu(m.a(x))
    return m.b(m.shared(F.relu(m.shared(x))))


def two_branches(m, x):
    return m.b(m.shared(m.left(x)) * m.shared(m.right(x)))


def head(m, x):
    return m.head(pooled(m.c(m.b(m.a(x)))))


# name: (model, input shape, number of groups that may go: counted by hand)
CASES = {
    "residual chain": (lambda: Wired(residual, a=conv(2, 6), norm=norm(6), b=conv(6, 6), c=conv(6, 6), head=lin(6, 3)),
                       (2, 5, 5), 6),
    "depthwise with multiplier 2": (lambda: Wired(head, a=conv(2, 4), b=conv(4, 8, groups=4), c=conv(8, 5), head=lin(5, 3)),
                                    (2, 5, 5), 4 + 5),
    "depthwise down to one channel": (lambda: Wired(head, a=conv(1, 2), b=conv(2, 2, groups=2, algorithm="depthwise"),
                                                    c=conv(2, 2, 1), head=lin(2, 3)),
                                      (1, 4, 4), 2 + 2),
    "grouped: positions tied": (lambda: Wired(head, a=conv(2, 8), b=conv(8, 12, groups=4), c=conv(12, 6, 1), head=lin(6, 3)),
                                (2, 4, 4), 2 + 3 + 6),
    "concat": (lambda: Wired(lambda m, x: m.c(F.relu(m.norm(F.concat([m.a(x), m.b(x)])))), a=conv(2, 3), b=conv(2, 4),
                             norm=norm(7), c=conv(7, 5)),
               (2, 4, 4), 3 + 4),
    "concat of one value twice": (lambda: Wired(lambda m, x: m.b(F.concat([m.a(x)] * 2)), a=conv(2, 3), b=conv(6, 4)),
                                  (2, 4, 4), 3),
    "concat along rows": (lambda: Wired(lambda m, x: m.c(F.concat([m.a(x), m.b(x)], dim=2)), a=conv(2, 3), b=conv(2, 3),
                                        c=conv(3, 4)), (2, 3, 3), 3),
    "split": (lambda: Wired(split_in_two, a=conv(2, 6), b=conv(6, 4), c=conv(2, 2)), (2, 4, 4), 2 + 4),
    "split, shuffle": (lambda: Wired(shuffle_units, a=conv(2, 8), b=conv(4, 4), c=conv(4, 4), head=lin(8, 3)),
                       (2, 3, 3), 8 + 4 + 4),
    "slices": (lambda: Wired(sliced, a=conv(2, 6), b=conv(3, 4), c=conv(6, 4)), (2, 3, 3), 3),
    "flatten to linear": (lambda: Wired(lambda m, x: m.c(F.relu(m.b(F.flatten(F.max_pool2d(m.a(x), 2))))), a=conv(1, 3),
                                        b=lin(12, 7), c=lin(7, 3)),
                          (1, 4, 4), 3 + 7),
    "reshape to linear": (lambda: Wired(lambda m, x: m.b(m.a(x).reshape(x.shape[0], -1)), a=conv(1, 4), b=lin(36, 3)),
                          (1, 3, 3), 4),
    "squeeze and excite": (lambda: Wired(squeeze_excite, a=conv(2, 6), down=lin(6, 3), up=lin(3, 6), b=conv(6, 4)),
                           (2, 4, 4), 6 + 3),
    "squeeze-excitation": (lambda: Wired(attended, a=conv(2, 6), norm=norm(6), attention=nn.SqueezeExcitation(6, 3, rng=0),
                                         b=conv(6, 4)), (2, 4, 4), 6 + 3),
    # the six that compete cannot go alone; nor are the three experts further down channels
    "softmax over channels": (lambda: Wired(attended, a=conv(2, 6), norm=norm(6), b=conv(1, 4),
                                            attention=nn.SoftmaxChannelAttention(6, 5, rng=0)), (2, 4, 4), 5),
    "spatial attention": (lambda: Wired(attended, a=conv(2, 6), norm=norm(6), attention=nn.SpatialAttention(rng=0), b=conv(6, 4)),
                          (2, 4, 4), 6),
    "CBAM": (lambda: Wired(attended, a=conv(2, 6), norm=norm(6), attention=nn.CBAM(6, 3, rng=0), b=conv(6, 4)), (2, 4, 4), 6 + 3),
    "dynamic convolution": (lambda: Wired(attended, a=conv(2, 8), norm=norm(8),
                                          attention=nn.DynamicConv2d(8, 6, 3, padding=1, experts=3, rng=0), b=conv(6, 4)),
                            (2, 4, 4), 8 + 2 + 6),
    "MobileNetV2 with CBAM": (lambda: tc.models.mobilenet_v2_small(num_classes=4, attention="cbam", rng=0), (1, 12, 12),
                              16 + 48 + 24 + 72 + 96 + 40 + 160 + 128 + (16 + 48 + 72 + 96 + 160) // 4),
    "folds over channels": (lambda: Wired(folded, a=conv(2, 6), b=conv(6, 5), c=conv(5, 3)), (2, 4, 3), 6 + 5),
    "parameters along channels": (lambda: Wired(lambda m, x: m.b(F.tanh(m.a(x) * m.scale + m.shift)), a=conv(2, 5),
                                                scale=weight(5, 1, 1),
                                                shift=weight(1, 5, 1, 1), b=conv(5, 4)), (2, 3, 3), 5),
    "one layer used twice": (lambda: Wired(twice, a=conv(2, 4), shared=conv(4, 4), b=conv(4, 3)), (2, 3, 3), 4),
    "one layer on two branches": (lambda: Wired(two_branches, left=conv(2, 4), right=conv(2, 4), shared=conv(4, 5), b=conv(5, 3)),
                                  (2, 3, 3), 4 + 5),
    "one norm used twice": (lambda: Wired(lambda m, x: m.c(m.norm(m.a(x)) + m.norm(m.b(x)) * 0.5), a=conv(2, 5), b=conv(2, 5),
                                          norm=norm(5), c=conv(5, 3)),
                            (2, 3, 3), 5),
    "quotients and differences": (lambda: Wired(lambda m, x: m.c(m.a(x) / (m.b(x).abs() + 1) - m.a(x) * 3), a=conv(2, 5),
                                                b=conv(2, 5), c=conv(5, 3)),
                                  (2, 3, 3), 5),
    "transposed planes": (lambda: Wired(lambda m, x: m.b(m.a(x).transpose(0, 1, 3, 2)), a=conv(2, 5), b=conv(5, 3)),
                          (2, 3, 4), 5),
    "two outputs": (lambda: Wired(lambda m, x: (m.a(x), m.c(m.b(m.a(x)))), a=conv(2, 5), b=conv(5, 4), c=conv(4, 3)),
                    (2, 3, 3), 4),
    # protected: nothing of these may go but what stands behind them
    "neighbours that alone would be 0/0": (lambda: Wired(lambda m, x: m.c(m.b(F.local_response_norm(m.a(x), 3, k=0))), a=conv(2, 4),
                                                         b=conv(4, 5), c=conv(5, 3)), (2, 3, 3), 5),
    "a softmax over channels": (lambda: Wired(lambda m, x: m.c(m.b(F.softmax(m.a(x), 1))), a=conv(2, 4), b=conv(4, 5),
                                            c=conv(5, 3)), (2, 3, 3), 5),
    "neighbouring channels": (lambda: Wired(lambda m, x: m.c(m.b(F.local_response_norm(m.a(x), 3, 0.5) + m.a(x))), a=conv(2, 6),
                                            b=conv(6, 5), c=conv(5, 3)), (2, 3, 3), 6 + 5),
    "neighbours in an even window": (lambda: Wired(lambda m, x: m.b(F.local_response_norm(F.relu(m.a(x)), 4, 2.0, 0.5, 0.1)),
                                                   a=conv(2, 7), b=conv(7, 3)), (2, 3, 3), 7),
    "attention": (lambda: Wired(attention, a=conv(4, 4), b=conv(4, 5), head=lin(5, 3)), (4, 3, 3), 5),
    "mean over channels and pictures": (lambda: Wired(lambda m, x: m.b(m.a(x) * m.a(x).mean(axis=(0, 1))), a=conv(2, 6),
                                                      b=conv(6, 4)), (2, 4, 4), 0),
    "a weight read elsewhere too": (lambda: Wired(lambda m, x: m.c(m.b(m.a(x) * m.a.weight.sum())), a=conv(2, 4), b=conv(4, 5),
                                                  c=conv(5, 3)), (2, 3, 3), 5),
    "a computed weight": (lambda: Wired(lambda m, x: m.c(m.b(F.conv2d(m.a(x), m.w * 2, padding=1))), a=conv(2, 4),
                                        w=weight(4, 4, 3, 3), b=conv(4, 5),
                                        c=conv(5, 3)), (2, 3, 3), 5),
    "a computed scale": (lambda: Wired(lambda m, x: m.c(m.b(m.a(x) * F.sigmoid(m.scale))), a=conv(2, 4), scale=weight(4, 1, 1),
                                       b=conv(4, 5), c=conv(5, 3)),
                         (2, 3, 3), 5),
}


@lru_cache(maxsize=None)
def case(name):
    """(graph, input) of a case or of a network of the package, at a size that plain loops can run; made once, changed by nobody."""
    if name in CASES:
        model, shape, _ = CASES[name]
        model = model()
    else:
        model, shape = reduced.member(name, num_classes=4)
    x = np.random.default_rng(1).standard_normal((8, *shape)).astype(np.float32)
    return traced(model, x), x[:2]


def plainly(g, x):
    """What a graph gives on the readable kernels, as a tuple."""
    with tc.use("plain"):
        y = graph.run(g, x)
    return y if isinstance(y, tuple) else (y,)


@lru_cache(maxsize=None)
def untouched(name):
    """What a case gives before anything is removed."""
    return plainly(*case(name))


def kept_masks(coupling, gone):
    return {name: ~np.isin(coupling.roots(ids), gone) for name, ids in coupling.ids.items()}


def closed_form(g, coupling, gone):
    """(MACs, parameters) that must be left, from the kept counts alone: (f/F)(c/C) of a layer, c/C of a depthwise one."""
    kept, shapes = kept_masks(coupling, gone), coupling.shapes
    before = {node.outputs[0]: row.macs for node, row in zip(g.nodes, tc.cost.summary(g).rows)}
    macs, sizes = 0, {name: a.size for name, a in g.parameters.items()}
    for node in g.nodes:
        y, x = node.outputs[0], node.inputs[0]
        if node.op in ("conv2d", "linear"):
            f, c = (int(kept[v].sum()) for v in (y, x))
            whole_f, whole_c = len(kept[y]), len(kept[x])
            if node.op == "conv2d" and node.attributes["groups"] == whole_c > 1:
                c = whole_c = 1
            macs += before[y] * f * c // (whole_f * whole_c)
            assert before[y] * f * c % (whole_f * whole_c) == 0
            if node.inputs[1] in sizes:
                sizes[node.inputs[1]] = int(np.prod(shapes[node.inputs[1]])) * f * c // (whole_f * whole_c)
        else:
            macs += before[y]                                                 # matmul: its channels are protected
            whole_f, f = len(kept[y]), int(kept[y].sum())
        for name in node.inputs[2:] if node.op in ("conv2d", "linear") else node.inputs:
            if name in sizes and len(kept[y]) in shapes[name]:                # a bias, γ and β, a parameter along the channels
                sizes[name] = int(np.prod(shapes[name])) * f // whole_f
    return macs, sum(sizes.values())


NAMES = [*CASES, *reduced.MEMBERS]
SMALL = [pytest.param(name, marks=pytest.mark.small) if name in CASES else name for name in NAMES]


@pytest.mark.small
@pytest.mark.parametrize("name", CASES)
def test_as_many_groups_as_counted_by_hand(name):
    """A coupling that protects too much prunes nothing and passes every equality below; the number of groups is counted by
    hand.
    """
    g, _ = case(name)
    assert len(graph.couple(g).groups) == CASES[name][2]


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("name", SMALL)
def test_removed_is_masked_bit_for_bit_and_costs_the_closed_form(name, ratio):
    """Plain kernels, end to end, of networks whose results do depend on what goes; MACs and parameters against kept counts; no
    layer empty; kept numbers keep their bits.
    """
    g, x = case(name)
    coupling = graph.couple(g)
    gone = random_groups(coupling, ratio, np.random.default_rng(round(100 * ratio)))
    small, masked = graph.remove_channels(g, gone, coupling), graph.mask_channels(g, gone, coupling)
    a, b = plainly(small, x), plainly(masked, x)
    assert all(np.array_equal(p, q) for p, q in zip(a, b))
    assert not gone or not all(np.array_equal(p, q) for p, q in zip(b, untouched(name)))        # of dead networks everything is equal
    assert (tc.cost.macs(small), tc.cost.params(small)) == closed_form(g, coupling, gone) == tc.cost.without(coupling, gone)[:2]
    assert sum(a.nbytes for a in small.arrays().values()) == tc.cost.without(coupling, gone).bytes
    assert all(min(shape, default=1) > 0 for shape in graph.shapes(small).values())
    assert set(small.arrays()) == set(g.arrays())
    assert all(np.isin(a.view(np.int32), g.array(name).view(np.int32)).all() for name, a in small.arrays().items())


@pytest.mark.small
@pytest.mark.parametrize("name", [name for name in CASES if 0 < CASES[name][2] < 30])
def test_a_budget_is_maximal_however_channels_hang_together(name):
    """MACs, parameters and bytes, both scopes, two budgets: kept; and with any one group that went given back, it would not be.
    Every such network is built and counted.
    """
    g, _ = case(name)
    coupling = graph.couple(g)

    def counted(gone):
        s = tc.cost.summary(graph.remove_channels(g, gone, coupling))
        return tc.cost.Cost(s.macs, s.params, s.array_bytes)
    scored = tc.apply.group_scores(g, "random", coupling=coupling)
    least = counted(random_groups(coupling, 1.0, np.random.default_rng(0)))
    for quantity, scope, share in itertools.product(tc.cost.Cost._fields, SCOPES, (0.3, 0.7)):
        fewest, all_ = (getattr(one, quantity) for one in (least, counted([])))
        budget = int(fewest + share * (all_ - fewest))
        gone = tc.apply.chosen_groups(coupling, *scored, scope=scope, **{quantity: budget})
        assert gone and getattr(counted(gone), quantity) <= budget
        assert all(getattr(counted([root for root in gone if root != back]), quantity) > budget for back in gone)


def bound(node, arguments, masked_terms):
    """How far two ways to compute one node may differ in float32, elementwise; 0 where nothing is rounded in another order.

    Sums of n products: n u Σ|x||w| each way (n + 1 with a bias); BatchNorm: three roundings each way; means: as sums; exp and
    its kin: NumPy's float32 loops are right to 4 units in the last place.
    """
    if node.op in ("conv2d", "linear"):
        x, w, b = (*arguments, None)[:3]
        terms = w[0].size + 1
        sizes = [None if a is None else np.abs(a.astype(np.float64)) for a in (x, w, b)]
        size = lookup(node.op).forward(*sizes, **{k: v for k, v in node.attributes.items() if k != "algorithm"})[0]
        straight = (terms + masked_terms) * U * size * 1.001
        return np.maximum(straight, by_tiles(node, x, w, b, masked_terms / terms)) if node.op == "conv2d" else straight
    if node.op == "batch_norm":
        x, gamma, beta, mean, var = (v.astype(np.float64) for v in arguments)
        scale = (gamma / np.sqrt(var + 1e-5))[:, None, None]
        return 6 * U * 1.001 * (np.abs(x * scale) + np.abs(mean[:, None, None] * scale) + np.abs(beta[:, None, None]))
    if node.op == "avg_pool2d":                                              # a sum of n numbers, a division
        taps = int(np.prod(formulas.pair(node.attributes["kernel_size"], "kernel_size")))
        size = lookup(node.op).forward(np.abs(arguments[0].astype(np.float64)), **node.attributes)[0]
        return 2 * U * 1.001 * (taps + 1) * size
    if node.op in ("adaptive_avg_pool2d", "mean", "sum"):
        axes, keepdims = (node.attributes["axis"], node.attributes["keepdims"]) if node.op in ("mean", "sum") else ([2, 3], True)
        size = np.abs(arguments[0].astype(np.float64)).sum(axis=tuple(axes) if axes else None, keepdims=keepdims)
        terms = arguments[0].size // size.size
        return 2 * U * 1.001 * (terms * size if node.op == "sum" else (terms + 1) * size / terms)
    return 16 * U if node.op in ("sigmoid", "tanh", "softmax") else 0        # their results are at most 1


def by_tiles(node, x, w, b, longer):
    """The same where the masked network has enough channels for Winograd: both may take it, the masked one with sums `longer` times as long."""
    rest = {k: node.attributes[k] for k in ("stride", "padding", "dilation", "groups")}
    if rest["groups"] > 1:
        return 0
    many = conv2d_geometry((len(x), 64, *x.shape[2:]), (64, 64, *w.shape[2:]), **rest)
    chosen = select.ALGORITHMS[select.choose(many)].page
    if not hasattr(chosen, "error_bound"):
        return 0
    return (1 + longer) * chosen.error_bound("forward", x, w, conv2d_geometry(x.shape, w.shape, **rest), b) * 1.001


@pytest.mark.parametrize("name", NAMES)
def test_removed_is_masked_within_rounding_in_fast_mode(name):
    """Every node of the small network on the values of the masked one gives the masked one's values, within the bound of that
    node.
    """
    g, x = case(name)
    coupling = graph.couple(g)
    gone = random_groups(coupling, 0.5, np.random.default_rng(3))
    small, masked = graph.remove_channels(g, gone, coupling), graph.mask_channels(g, gone, coupling)
    kept = kept_masks(coupling, gone)
    values = {next(iter(g.inputs)): x}
    graph.run(masked, x, each=lambda node, outputs: values.update(zip(node.outputs, outputs)))
    known = {**small.arrays(), **{n: v[:, kept[n]] if v.ndim > 1 else v for n, v in values.items() if n in kept}}
    homes = {output: node for node in g.nodes for output in node.outputs}
    for node in small.nodes:
        arguments = [known[v] if isinstance(v, str) else v for v in node.inputs]
        results = lookup(node.op).forward(*arguments, **node.attributes)[0]
        results = dict(zip(node.outputs, results if isinstance(results, tuple) else (results,)))
        if node.outputs[0] not in homes:                                     # the inner half of a fold over channels
            known.update(results)
            continue
        before = homes[node.outputs[0]]
        layer = before.op in ("conv2d", "linear") and before.inputs[1] in g.arrays()
        terms = g.array(before.inputs[1])[0].size + 1 if layer else 100
        if before.op == "mean" != node.op:                                   # its sum and its division are bounded together
            node, arguments = before, [values[before.inputs[0]]]
        limit = bound(node, arguments, terms)
        for output in node.outputs[:1] if node.op == "batch_norm" else node.outputs:
            error = np.abs(results[output].astype(np.float64) - known[output])
            assert (error <= limit).all(), (node.op, output, float(error.max()))


@pytest.mark.small
def test_every_operation_has_an_answer():
    """Coupling and integer form: a rule, or a sentence that says why there is none; and nothing is listed that is no
    operation.
    """
    for answers in (graph.COUPLING, INTEGER):
        assert set(answers) == set(TABLE)
        assert all(callable(answer) or isinstance(answer, str) and " " in answer for answer in answers.values())


@pytest.mark.small
def test_protected_groups_and_empty_layers_are_refused():
    """Inputs and outputs stay; so does the last channel of a value; masking refuses what removal refuses."""
    g, _ = case("depthwise with multiplier 2")
    coupling = graph.couple(g)
    stem = [root for root, bound in coupling.groups.items() if ("a.weight", 0) in {b[:2] for b in bound}]
    for pass_ in (graph.remove_channels, graph.mask_channels):
        with pytest.raises(graph.GraphError, match="protected"):
            pass_(g, [int(coupling.roots(coupling.ids[g.outputs[0]])[0])])
        with pytest.raises(graph.GraphError, match="protected"):
            pass_(g, [10 ** 6])
        with pytest.raises(graph.GraphError, match="at least one must stay"):
            pass_(g, stem)
    assert graph.remove_channels(g, []).nodes == g.nodes


@pytest.mark.small
def test_shuffle_and_split_after_pruning():
    """What was a rule becomes an explicit order: take_channels at no MACs, or smaller pieces; an untouched shuffle stays a
    shuffle.
    """
    g, _ = case("split, shuffle")
    coupling = graph.couple(g)
    small = graph.remove_channels(g, random_groups(coupling, 0.5, np.random.default_rng(0)), coupling)
    made = {node.op for node in small.nodes}
    assert {"take_channels", "split"} <= made and "channel_shuffle" not in made
    again = graph.remove_channels(small, random_groups(graph.couple(small), 0.3, np.random.default_rng(1)))
    assert tc.cost.macs(again) < tc.cost.macs(small) < tc.cost.macs(g)
    assert sum(row.macs for row in tc.cost.summary(small).rows if row.kind == "take_channels") == 0
    assert "channel_shuffle" in {node.op for node in graph.remove_channels(g, []).nodes}


@pytest.mark.small
@pytest.mark.parametrize("name", ["neighbouring channels", "neighbours in an even window"])
def test_neighbours_keep_their_distance(name):
    """Pruned twice, a window still runs over the places there were at the start; if channels just moved up, they would get
    neighbours that the masked network does not have.
    """
    def rows(h, *wanted):
        own = {b.index: root for root, bound in graph.couple(h).groups.items() for b in bound if b[:2] == ("a.weight", 0)}
        return [own[row] for row in wanted]
    g, x = case(name)
    twice = graph.remove_channels(g, rows(g, 1, 4))
    twice = graph.remove_channels(twice, rows(twice, 1))                     # the channel that was number 2
    near, = (node for node in twice.nodes if node.op == "local_response_norm")
    moved_up = graph.Node(near.op, near.inputs, near.outputs, {k: v for k, v in near.attributes.items() if k != "places"}, near.module)
    slip = twice.replace(nodes=tuple(moved_up if node is near else node for node in twice.nodes))
    with tc.use("plain"):
        expected = graph.run(graph.mask_channels(g, rows(g, 1, 2, 4)), x)
        assert near.attributes["places"] == [i for i in range(len(g.array("a.weight"))) if i not in (1, 2, 4)]
        assert np.array_equal(graph.run(twice, x), expected) and not np.allclose(graph.run(slip, x), expected, rtol=1e-3)


@pytest.mark.small
@pytest.mark.parametrize("name, kind", [("spatial attention", "mean"), ("folds over channels", "max")])
def test_a_fold_over_what_is_left_alone_is_another_number(name, kind, monkeypatch):
    """A mean that divided by the channels left, or a maximum that forgot the 0 of those gone, is not the masked network."""
    g, x = case(name)
    gone = random_groups(graph.couple(g), 0.5, np.random.default_rng(0))
    honest = removal._fold_with_zeros
    monkeypatch.setattr(removal, "_fold_with_zeros", lambda c, node: [node] if node.op == kind else honest(c, node))
    with tc.use("plain"):
        assert not np.allclose(graph.run(graph.remove_channels(g, gone), x), graph.run(graph.mask_channels(g, gone), x))


@pytest.mark.small
def test_operations_that_channels_cannot_be_followed_through():
    """A loss, or an integer network: named, with the reason."""
    lost = tc.trace(Wired(lambda m, x: F.mse_loss(m.a(x), m.a(x) * 2), a=conv(1, 2)), (1, 1, 3, 3), check=False)
    with pytest.raises(graph.GraphError, match="mse_loss: a loss is a number"):
        graph.couple(lost)
    g, x = case("reshape to linear")
    with pytest.raises(graph.GraphError, match="prune before quantizing"):
        tc.apply.prune(tc.apply.quantize(g, x), 0.5)
