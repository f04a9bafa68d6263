"""Bytes that live at one time, against what the runner really holds; bytes moved, against the closed form; joules by hand."""
import weakref

import numpy as np
import pytest
import reduced
from wired import Wired

import tinyconv as tc
from tinyconv import cost, formulas, graph, models, nn
from tinyconv import functional as F


def traced(model, *shapes):
    return tc.trace(model, shapes[0] if len(shapes) == 1 else list(shapes), check=False)


def held(g, x):
    """Bytes of distinct arrays alive at each node while the runner runs: weak references tell which are still there."""
    made, steps = {}, []

    def owner(array):
        while isinstance(array.base, np.ndarray):
            array = array.base
        return array

    def look(node, outputs):
        replaced = {source for source, _ in tc.ops.lookup(node.op).updates}
        for y in (y for i, y in enumerate(outputs) if i not in replaced):
            if id(owner(y)) not in made or made[id(owner(y))][0]() is None:
                made[id(owner(y))] = weakref.ref(owner(y)), y.nbytes
        steps.append(sum(nbytes for reference, nbytes in made.values() if reference() is not None))

    for value in x:
        made[id(owner(value))] = weakref.ref(owner(value)), value.nbytes
    graph.run(g, *x, each=look)
    return steps


@pytest.mark.parametrize("name", [name for name in reduced.MEMBERS if name not in ("alexnet", "vgg16_bn")])
def test_liveness_is_what_the_runner_holds(name):
    """A reduced member of every family, node by node: bytes by liveness == bytes of the arrays that are really there, the input
    apart, which the caller holds to the end. (Not AlexNet and VGG: flattening planes of channels-last memory copies them.)
    """
    model, (c, h, w) = reduced.member(name)
    g = tc.trace(model, (1, c, h, w), check=False)
    with tc.use("plain"):                                              # fast results are rounded up to lines of the cache
        found = held(g, [np.zeros((2, c, h, w), np.float32)])
    whole = 2 * c * h * w * 4
    left = max(i for i, node in enumerate(g.nodes) if set(node.values()) & set(g.inputs))
    assert found == [step.bytes + (whole if i > left else 0) for i, step in enumerate(cost.live(g, 2))]


@pytest.mark.small
def test_a_residual_lives_until_it_is_added():
    """x, f(x), g(f(x)): three planes at once where the sum is made of two and the result; two along a chain; in place fewer."""
    plane = 4 * 2 * 36
    block = Wired(lambda m, x: F.relu(m.b(F.relu(m.a(x))) + x), a=nn.Conv2d(2, 2, 3, padding=1, rng=0),
                  b=nn.Conv2d(2, 2, 3, padding=1, rng=0))
    g = traced(block, (1, 2, 6, 6))
    assert [step.bytes for step in cost.live(g)] == [2 * plane, 3 * plane, 3 * plane, 3 * plane, 2 * plane]
    assert [step.bytes for step in cost.live(g, in_place=True)] == [2 * plane, 2 * plane, 3 * plane, 3 * plane, plane]
    assert cost.peak(g) == (3 * plane, "relu") and cost.peak(g, batch=5).bytes == 15 * plane
    assert cost.summary(g).peak_bytes == cost.peak(g).bytes and cost.summary(g, (5, 2, 6, 6)).peak_bytes == 15 * plane


@pytest.mark.small
def test_views_have_no_memory_and_keep_what_they_look_at():
    """Halves of a split share its plane, which lives until the last is read; flatten is free; the unread are gone at once."""
    plane = 4 * 4 * 9
    g = traced(Wired(lambda m, x: F.relu(F.split(F.relu(x), 2)[1])), (1, 4, 3, 3))
    assert [node.op for node in g.nodes] == ["relu", "split", "relu"]
    assert [step.bytes for step in cost.live(g)] == [2 * plane, plane, plane * 3 // 2]
    g = traced(Wired(lambda m, x: (F.flatten(F.relu(x)), F.relu(x))), (1, 4, 3, 3))
    assert [step.bytes for step in cost.live(g)] == [2 * plane, 2 * plane, 3 * plane]
    # the input is read again: not overwritten, not by its own reader nor through a view
    g = traced(Wired(lambda m, x: F.relu(F.flatten(x)) + F.flatten(x)), (1, 4, 3, 3))
    assert max(step.bytes for step in cost.live(g, in_place=True)) == 3 * plane
    g = traced(Wired(lambda m, x: F.relu(F.sigmoid(x))), (1, 4, 3, 3))
    assert [step.bytes for step in cost.live(g, in_place=True)] == [plane, plane]


def test_peaks_of_networks():
    """Where networks are largest: V2's first expansion, 96 channels of 112x112 beside their copy; VGG's first two planes; and the
    peak is never below the largest single node, nor above everything at once.
    """
    with nn.init.undrawn():
        for name, values in (("mobilenet_v2", 2 * 96 * 112**2), ("vgg16", 2 * 64 * 224**2), ("mobilenet_v1", 2 * 64 * 112**2)):
            g = tc.trace(models.network(name)(), (1, 3, 224, 224), check=False)
            shapes = graph.shapes(g)
            assert cost.peak(g).bytes == 4 * values
            made = [sum(np.prod(shapes[v]) for v in {*node.values(), *node.outputs[:1]} - set(g.arrays())) for node in g.nodes]
            assert 4 * max(made) <= cost.peak(g).bytes <= 4 * sum(np.prod(shapes[node.outputs[0]]) for node in g.nodes)
            assert cost.peak(g, in_place=True).bytes <= cost.peak(g).bytes


@pytest.mark.small
@pytest.mark.parametrize("bias", [False, True])
def test_bytes_moved_are_the_closed_form(bias):
    """A convolution: input, weight, bias and result once each, `formulas.conv2d_bytes`; views and constants move nothing."""
    g = formulas.conv2d_geometry((2, 6, 9, 8), (4, 3, 3, 3), 2, 1, groups=2)
    row, = cost.summary(nn.Conv2d(6, 4, 3, 2, 1, groups=2, bias=bias, rng=0), (2, 6, 9, 8)).rows
    assert row.moved_bytes == formulas.conv2d_bytes(g, bias=bias) and row.array_bytes == 4 * (108 + 4 * bias)
    assert row.flop == 2 * row.macs + row.counts.additions and row.intensity == row.flop / row.moved_bytes
    rows = cost.summary(Wired(lambda m, x: F.flatten(F.dropout(x, 0.5, False)) * 2.0), (1, 2, 3, 3)).rows
    assert [row.moved_bytes for row in rows] == [0, 0, 4 * 36] and [row.intensity for row in rows] == [0.0, 0.0, 18 / 144]


@pytest.mark.small
def test_guideline_1_of_shufflenet_v2():
    """Equal channels move least: of 1x1 convolutions with the same MACs that with C = F has the greatest intensity."""
    rows = {c: cost.summary(nn.Conv2d(c, 4096 // c, 1, bias=False, rng=0), (1, c, 14, 14)).rows[0] for c in (16, 32, 64, 128)}
    assert len({row.macs for row in rows.values()}) == 1 and max(rows, key=lambda c: rows[c].intensity) == 64
    assert all(row.moved_bytes == 4 * formulas.pointwise_traffic(c, 4096 // c, 14, 14) for c, row in rows.items())


@pytest.mark.small
def test_int8_moves_a_quarter():
    """Values of an integer network are a byte each, whatever made them; float again behind `dequantize`."""
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, rng=0), nn.ReLU(), nn.Conv2d(8, 8, 1, rng=0))
    g = traced(net, (1, 3, 8, 8))
    x = np.random.default_rng(0).standard_normal((4, 3, 8, 8)).astype(np.float32)
    q = tc.apply.quantize(g, x)
    rows = cost.summary(q).rows
    assert [row.kind for row in rows] == ["quantize", "qconv2d", "qconv2d", "dequantize"]
    assert [row.dtype for row in rows] == ["int8", "int8", "int8", "float32"]
    assert rows[0].moved_bytes == 5 * 192 and rows[1].moved_bytes == 192 + 216 + 512 + 8 * 8 and rows[3].moved_bytes == 5 * 512
    assert cost.peak(q).bytes == 5 * 512 and cost.live(q)[1].bytes == 192 + 512
    for array in (graph.run(q, x[:1]), graph.run(g, x[:1])):
        assert array.nbytes == np.prod(array.shape) * cost.memory.ITEMSIZE[rows[3].dtype]


# activations as their counter's authors print them: Radosavovic et al. 2020 and timm's tables, to a tenth of a million [mem]
@pytest.mark.parametrize("name, exact, printed", [
    ("resnet50", 11_114_984, 11.1), ("resnet18", 2_484_712, 2.5), ("mobilenet_v2", 6_679_112, 6.7),
    ("efficientnet_b0", 6_748_036, 6.7), ("vgg16", 13_556_712, 13.6)])
def test_activations(name, exact, printed):
    with nn.init.undrawn():
        s = cost.summary(models.network(name)(), (1, 3, 224, 224))
    assert s.activations == exact and round(exact / 1e6, 1) == printed


# ---- energy -------------------------------------------------------------------------------------------------------------------

@pytest.mark.small
def test_the_bill_by_hand():
    """A convolution with bias, BatchNorm, ReLU, a pool: every operation at its price, every byte at that of its place."""
    net = nn.Sequential(nn.Conv2d(2, 4, 3, rng=0), nn.BatchNorm2d(4), nn.ReLU(), nn.AvgPool2d(2), nn.MaxPool2d(2))
    s = cost.summary(net.eval(), (1, 2, 6, 6))
    multiplications = 1152 + 64 + 16                                         # MACs; BatchNorm; an average's division
    additions = 1152 + 64 + 64 + 64 + 48 + 12                                # MACs; bias; BatchNorm; ReLU; averages; maxima
    for place, picojoules in (("memory", 160), ("cache", 1.25)):
        bill = cost.joules(s, place)
        assert bill.arithmetic_joules == pytest.approx((3.7 * multiplications + 0.9 * additions) * 1e-12, rel=1e-14)
        assert bill.memory_joules == pytest.approx(picojoules * s.moved_bytes * 1e-12, rel=1e-14)
        assert bill.joules == bill.arithmetic_joules + bill.memory_joules
    with pytest.raises(ValueError, match="place must be one of memory, cache, not 'disk'"):
        cost.joules(s, "disk")
    with pytest.raises(ValueError, match="computes in float64; there are prices for float32, float16, int8"):
        cost.joules(cost.summary(nn.Conv2d(2, 4, 3, rng=0).to(np.float64), (1, 2, 6, 6)))


@pytest.mark.small
def test_what_memory_costs():
    """A thousand million weights read from memory twenty times a second are 12.8 W (Han et al. 2015, introduction [mem])."""
    assert 20 * 1e9 * 4 * cost.energy.BYTE_PICOJOULES["memory"] * 1e-12 == pytest.approx(12.8)
    assert round(4 * cost.energy.BYTE_PICOJOULES["memory"] / cost.energy.MULTIPLY_PICOJOULES["float32"]) == 173
    g = traced(nn.Sequential(*[nn.Conv2d(16, 16, 3, padding=1, bias=False, rng=seed) for seed in (0, 1)]), (1, 16, 8, 8))
    q = tc.apply.quantize(g, np.random.default_rng(0).standard_normal((4, 16, 8, 8)).astype(np.float32))
    floats, integers = ([row for row in cost.summary(h).rows if row.counts.macs] for h in (g, q))
    for a, b in zip(floats, integers):
        ratio = (a.counts.macs * 4.6) / (b.counts.macs * 0.3)
        assert a.macs == b.macs and ratio == pytest.approx(15.33, abs=0.01) and 3.5 < a.moved_bytes / b.moved_bytes < 4
    assert cost.joules(cost.summary(q)).joules < cost.joules(cost.summary(g)).joules
