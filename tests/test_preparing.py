"""Packed weights kept in a graph: prepared once, and never another result than without keeping anything."""
import copy
import threading
from dataclasses import replace

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import apply, nn
from tinyconv.ops import TABLE, lookup

pytestmark = pytest.mark.small


@pytest.fixture
def integers(rng):
    """(an integer network with a convolution, a depthwise one and a linear layer; pictures for it)."""
    model = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1, rng=0), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=4, rng=1), nn.Flatten(), nn.Linear(64, 3, rng=2))
    x = rng.standard_normal((6, 2, 6, 6)).astype(np.float32)
    return apply.quantize(tc.trace(model, (1, 2, 6, 6), check=False), x), x


@pytest.fixture
def prepared(monkeypatch):
    """The operations prepared so far, in order."""
    seen = []

    def watched(op):
        def prepare(*arguments, **attributes):
            seen.append(op.name)
            return op.prepare(*arguments, **attributes)
        return replace(op, prepare=prepare)
    for op in [op for op in TABLE.values() if op.prepare]:
        monkeypatch.setitem(TABLE, op.name, watched(op))
    return seen


def plainly(g, x, values=None):
    """The network's result with every node's forward, nothing kept."""
    known = {**g.arrays(), **(values or {}), next(iter(g.inputs)): x}
    for node in g.nodes:
        known[node.outputs[0]] = lookup(node.op).forward(*(known[v] for v in node.inputs), **node.attributes)[0]
    return known[g.outputs[0]]


def check_same(g, x, values=None):
    np.testing.assert_array_equal(tc.graph.run(g, x, values=values), plainly(g, x, values))


def test_prepared_once(integers, prepared):
    """Three layers are prepared in the first run and in none after it; another size, mode or number of threads prepares anew."""
    g, x = integers
    for _ in range(3):
        assert tc.graph.run(g, x).shape == (6, 3)
    assert prepared == ["qconv2d", "qconv2d", "qlinear"]
    tc.graph.run(g, x[:2])
    assert len(prepared) == 6
    with tc.kernels.use("plain"):
        tc.graph.run(g, x[:2])
    assert len(prepared) == (6 if tc.kernels.mode() == "plain" else 9)
    before = tc.kernels.get_num_threads()
    tc.set_num_threads(before + 1)
    try:
        count = len(prepared)
        tc.graph.run(g, x[:2])
        assert len(prepared) == count + 3
    finally:
        tc.set_num_threads(before)


def test_the_arrays_of_an_integer_network_cannot_be_written_to(integers):
    """So that its packed weights stay right without a look at them."""
    g, _ = integers
    name = next(name for name in g.buffers if name.endswith("weight"))
    with pytest.raises(ValueError, match="read-only"):
        g.array(name)[...] = 0


def test_changed_constants_are_seen(integers, prepared):
    """Weights, biases and scales written to in place or given for one run, and arrays made writable again: always the result of what is there."""
    g, x = integers
    x = x[:1]
    for name in g.buffers:
        other = g.array(name).copy()
        check_same(g, x)
        for change in (1, 2, 1):
            other[(0,) * other.ndim] = change
            check_same(g, x, {name: other})
        check_same(g, x)
    weight = g.array(next(iter(g.buffers)))
    weight.setflags(write=True)
    weight[0] = 3
    check_same(g, x)
    weight.setflags(write=False)
    check_same(g, x)


def test_a_network_of_integers(integers, prepared):
    """Its weights cannot be written to, nor those of its graph; new ones by load_state_dict can, and every change of them is seen."""
    g, x = integers
    net = tc.Network(g).eval()
    first = net(x)
    name = next(name for name in g.buffers if name.endswith("weight"))
    assert not net._buffers[name].flags.writeable and net.graph.array(name) is net._buffers[name]
    net.load_state_dict({name: -a if a.dtype == np.int8 else a for name, a in net.state_dict().items()})
    for _ in range(2):
        np.testing.assert_array_equal(net(x), plainly(net.graph, x))
        assert not np.array_equal(net(x), first)
        prepared.clear()
        net(x)
        assert not prepared                                                  # compared with a copy, number by number: equal
        net._buffers[name][0] = 5


def test_the_last_run_is_kept_and_not_the_one_before(integers):
    """One prepared run a node, however many sizes come; a copy of the graph begins with none, tensors and arrays get the same."""
    g, x = integers
    for n in (1, 2, 6, 2):
        check_same(g, x[:n])
    assert len(g.prepared.here.runs) == 3
    twin = copy.deepcopy(g)
    assert not hasattr(twin.prepared.here, "runs")
    check_same(twin, x)
    y = tc.graph.run(g, tc.Tensor(x))
    assert isinstance(y, tc.Tensor) and np.array_equal(y.data, tc.graph.run(g, x))
    traced = tc.trace(tc.Network(g).eval(), (1, 2, 6, 6))
    assert [node.op for node in traced.nodes] == [node.op for node in g.nodes]


def test_threads_do_not_share_scratch(integers):
    """Four threads run one graph at once, each on pictures of its own: every result is that of running alone."""
    g, x = integers
    expected, found = [plainly(g, x + i) for i in range(4)], {}

    def work(i):
        found[i] = [tc.graph.run(g, x + i) for _ in range(5)]
    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(y, expected[i]) for i in range(4) for y in found[i])
