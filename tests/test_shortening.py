"""Whole blocks taken out: what is left is the network with the block's branch multiplied by 0, and costs what the sums say; and
what cannot go stays.
"""
import numpy as np
import pytest
import reduced
from wired import Wired

import tinyconv as tc
from tinyconv import apply, cost, graph, models, nn
from tinyconv import functional as F
from tinyconv.recipes import shrinking

RESIDUAL = ("resnet18", "resnet_small", "se_resnet50", "mobilenet_v2_small", "mobilenet_v3_small", "shufflenet_v1",
            "efficientnet_b0", "mnasnet0_5")


def conv(c, f, k=3, **options):
    return nn.Conv2d(c, f, k, padding=k // 2, rng=c * 100 + f, **options)


def traced(model, *shape):
    return tc.trace(model, (1, *shape), check=False)


def without_branch(g, block):
    """The graph in which what the block adds to its input is multiplied by 0."""
    nodes = []
    for node in g.nodes:
        if node.op == "add" and block.source in node.inputs and node.outputs[0] in _behind(g, block):
            branch = next(v for v in node.inputs if v != block.source)
            nodes.append(graph.Node("mul", (branch, 0.0), (f"{branch}/none",), {}, node.module))
            node = graph.Node("add", tuple(f"{v}/none" if v == branch else v for v in node.inputs), node.outputs)
        nodes.append(node)
    return g.replace(nodes=tuple(nodes))


def _behind(g, block):
    """The block's result, and the value before it if an activation makes it."""
    return block.result, g.producers()[block.result].inputs[0]


@pytest.mark.parametrize("name", RESIDUAL)
def test_a_residual_block_that_goes_is_its_branch_times_zero(name):
    """Bit for bit under plain kernels, one block at a time and all together; MACs and parameters are differences of sums."""
    model, shape = reduced.member(name, num_classes=4)
    x = np.random.default_rng(0).standard_normal((8, *shape)).astype(np.float32)
    g, x = shrinking.traced(model, x), x[:2]
    able = {n: block for n, block in apply.blocks(g).items() if block.residual}
    names = [n for n in able if not any(n.startswith(f"{other}.") for other in able)]
    assert names
    for gone in ([names[0]], [names[-1]], names):
        small, masked = apply.remove_blocks(g, gone), g
        for n in gone:
            masked = without_branch(masked, able[n])
        with tc.use("plain"):
            a, b, whole = (graph.run(h, x) for h in (small, masked, g))
        assert np.array_equal(a, b) and not np.array_equal(a, whole)
        assert cost.macs(small) == cost.macs(g) - sum(able[n].macs for n in gone)
        assert cost.params(small) == cost.params(g) - sum(able[n].params for n in gone)
        assert len(small.nodes) == len(g.nodes) - sum(able[n].nodes for n in gone)
        assert all(np.array_equal(a, g.array(n)) for n, a in small.arrays().items())
    assert cost.macs(apply.prune(small, macs=cost.macs(small) * 2 // 3)) <= cost.macs(small) * 2 // 3


def test_mobilenet_v1_becomes_its_shallow_control():
    """Without its five 512 -> 512 blocks it has the counts that Table 5 of the paper prints of the shallow network."""
    with nn.init.undrawn():
        g = traced(models.mobilenet_v1(), 3, 224, 224)
    small = apply.remove_blocks(g, [f"features.{i}" for i in range(7, 12)])
    published = models.PUBLISHED["mobilenet_v1_shallow"]
    assert {"macs": cost.macs(small), "params": cost.params(small)} == {key: published[key] for key in ("macs", "params")}


@pytest.mark.small
def test_what_can_go():
    """One value in, one value out, one shape, multiply-adds: by hand. A block whose inside is read elsewhere, that projects, that
    has two inputs, or is the whole network, stays; residual is what leaves its input when it goes.
    """
    def wire(m, x):
        x = F.relu(m.stem(x))
        y = m.seen.a(x)
        x = F.relu(x + m.seen.b(y))
        x = m.wide(m.plain(x))
        x = m.two(x, m.last(x))
        return m.head(x - F.concat([y, y], dim=1))
    two = Wired(lambda m, a, b: m.c(a) + b, c=conv(8, 8))
    model = Wired(wire, stem=conv(2, 4), seen=Wired(None, a=conv(4, 4), b=conv(4, 4)), plain=conv(4, 4), wide=conv(4, 8), two=two,
                  last=Wired(lambda m, x: m.c(F.relu(x)) + x, c=conv(8, 8, 1)), head=conv(8, 3))
    found = apply.blocks(traced(model, 2, 5, 5))
    assert {name: block.residual for name, block in found.items()} == {
        "seen.a": False, "seen.b": False, "plain": False, "two.c": False, "last": True, "last.c": False}
    assert (found["last"].macs, found["last"].params, found["last"].nodes) == (64 * 25, 72, 3)
    assert apply.blocks(traced(nn.Sequential(nn.Sequential(conv(2, 2), nn.ReLU())), 2, 5, 5)).keys() == {"0.0"}


@pytest.mark.small
def test_an_activation_that_changes_the_input_is_no_residual_block():
    """relu(x + F(x)) leaves x only where x has been through a ReLU: behind BatchNorm alone it has not."""
    def block():
        return Wired(lambda m, x: F.relu(m.a(x) + x), a=conv(4, 4))
    for between, residual in ((nn.ReLU(), True), (nn.BatchNorm2d(4), False), (nn.ReLU6(), False),
                              (nn.Sequential(nn.ReLU(), nn.MaxPool2d(2)), True)):
        g = traced(nn.Sequential(conv(2, 4), between, block(), conv(4, 3)), 2, 6, 6)
        assert apply.blocks(g)["2"].residual == residual


@pytest.mark.small
def test_shared_arrays_stay_as_long_as_someone_reads_them():
    """Two blocks of one weight: each alone takes nothing along, both take it once. A module that runs twice is no block: its name
    does not say which of the two.
    """
    shared = nn.Parameter(np.ones((4, 4, 3, 3), np.float32))
    block, twice = lambda: Wired(lambda m, x: F.conv2d(x, m.w, padding=1) + x, w=shared), conv(4, 4)
    g = traced(nn.Sequential(conv(2, 4), block(), block(), twice, nn.ReLU(), twice, conv(4, 3)), 2, 5, 5)
    found = apply.blocks(g)
    assert {name: (block.macs, block.params) for name, block in found.items()} == {"1": (144 * 25, 0), "2": (144 * 25, 0)}
    one, none = apply.remove_blocks(g, "1"), apply.remove_blocks(g, ["1", "2"])
    assert (cost.params(g) - cost.params(one), cost.params(g) - cost.params(none)) == (0, 144)
    assert cost.macs(none) == cost.macs(g) - 2 * 144 * 25


@pytest.mark.small
def test_what_is_refused():
    """Names that are no blocks, blocks within blocks, none; and the graph is as it was."""
    g = traced(models.resnet_small(rng=0), 1, 12, 12)
    before = {name: a.tobytes() for name, a in g.arrays().items()}
    for names, words in ((["layer2.0"], "not layer2.0; there are layer1, layer1.0"), ([], "not none"),
                         (["nowhere", "layer1"], "nowhere;"),
                         (["layer1", "layer1.0.conv1"], "must not lie within each other: layer1.0.conv1 in layer1")):
        with pytest.raises(ValueError, match=words):
            apply.remove_blocks(g, names)
    assert {name: a.tobytes() for name, a in g.arrays().items()} == before
    with pytest.raises(TypeError, match="g must be a Graph"):
        apply.blocks(models.resnet_small(rng=0))
