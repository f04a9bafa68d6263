"""What runs as one step, and what is kept of a float layer: bit by bit the nodes one after the other."""
import copy

import numpy as np
import pytest

import tinyconv as tc
from geometries import NAMES, SMALL, arguments, data, geometry
from tinyconv import kernels, nn
from tinyconv.graph import Graph, Node, run
from tinyconv.ops import lookup
from wired import Wired

MARKED = [pytest.param(name, marks=pytest.mark.small) if name in SMALL else name for name in NAMES]
FAST = pytest.mark.skipif(kernels.mode() == "plain", reason="nothing is prepared for the loops")


@pytest.fixture(autouse=True)
def infinities_may_meet():
    """NumPy warns where infinities are subtracted or multiplied by zeros, compiled kernels do not: here both happen on purpose."""
    with np.errstate(invalid="ignore"):
        yield


def check_bits(a, b):
    """The same numbers, signs of zeros too; which NaN it is does not count."""
    assert a.shape == b.shape and a.dtype == b.dtype
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(np.signbit(a) & ~np.isnan(a), np.signbit(b) & ~np.isnan(b))


def one_by_one(g, *x, values=None, **rest):
    """The network's result with every node's forward, nothing kept and nothing joined."""
    known = {**g.arrays(), **(values or {}), **dict(zip(g.inputs, x))}
    for node in g.nodes:
        op = lookup(node.op)
        given = {key: {"training": False, "rng": None}[key] for key in op.runtime}
        known[node.outputs[0]] = op.forward(*(known[v] if isinstance(v, str) else v for v in node.inputs), **node.attributes, **given)[0]
    return known[g.outputs[0]]


def graph_of(x_shape, w, b, nodes, attributes, more=None):
    """conv2d of x with w and b, and the nodes (op, other input or None) behind it; `more`: other inputs by name."""
    made, last = [Node("conv2d", ("x", "w", "b"), ("y0",), attributes)], "y0"
    for i, (op, other) in enumerate(nodes):
        made.append(Node(op, (last,) if other is None else (last, other), (f"y{i + 1}",)))
        last = f"y{i + 1}"
    return Graph({"x": x_shape[1:], **(more or {})}, tuple(made), (last,), {"w": w, "b": b})


def awkward(shape, rng):
    """Normal numbers with zeros of both signs, infinities and a NaN among them."""
    x = rng.standard_normal(shape).astype(np.float32)
    x.flat[rng.integers(0, x.size, max(4, x.size // 8))] = np.resize(np.float32([0, -0.0, np.inf, -np.inf, np.nan]), max(4, x.size // 8))
    return x


@pytest.mark.parametrize("name", MARKED)
def test_a_prepared_convolution_is_the_convolution(name, rng):
    """Alone, clipped by its own bounds, and with an addition and an activation behind it, whatever the numbers: the same bits, twice."""
    (x, w, b), (_, _, rest), g = data(name)[:3], arguments(name), geometry(name)
    forward, prepare = lookup("conv2d").forward, lookup("conv2d").prepare
    for more in ({}, {"low": 0.0, "high": 6.0}, {"algorithm": "im2col"}):
        run_ = prepare(x.shape, x.dtype, w, b, **rest, **more)
        assert run_ is not None or kernels.mode() == "plain"
        for given in (x, -x, awkward(x.shape, rng)) if run_ else ():
            check_bits(run_(given), forward(given, w, b, **rest, **more)[0])
    R, attributes = rng.standard_normal(g.y_shape).astype(np.float32), {k: v if isinstance(v, (int, str)) else list(v) for k, v in rest.items()}
    for behind in ([("relu", None)], [("relu6", None)], [("add", "R")], [("add", "R"), ("relu", None)], [("add", "R"), ("relu6", None), ("relu", None)]):
        net = graph_of(x.shape, w, b, behind, attributes, {"R": g.y_shape[1:]} if behind[0][0] == "add" else None)
        assert len(net.nodes_joined) == (2 if len(behind) == 3 else 1)
        for given, other in ((x, R), (-x, -R), (awkward(x.shape, rng), awkward(g.y_shape, rng))):
            inputs = (given, other)[:len(net.inputs)]
            check_bits(run(net, *inputs), one_by_one(net, *inputs))


@pytest.mark.parametrize("shape, f", [*(pytest.param(*row, marks=pytest.mark.small) for row in (((1, 1), 1), ((5, 33), 10), ((2, 3, 40), 7), ((9,), 4))),
                                      ((64, 128), 10), ((300, 600), 65)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_prepared_linear_layer_is_the_linear_layer(shape, f, bias, rng):
    """Rows, rows of rows, a single row: the same bits."""
    w, b = rng.standard_normal((f, shape[-1])).astype(np.float32), rng.standard_normal(f).astype(np.float32) if bias else None
    run_ = lookup("linear").prepare(shape, np.dtype(np.float32), w, b)
    for x in (rng.standard_normal(shape).astype(np.float32), awkward(shape, rng), rng.standard_normal(shape[::-1]).astype(np.float32).T):
        if run_:
            check_bits(run_(x), lookup("linear").forward(x, w, b)[0])


@pytest.mark.small
def test_what_is_not_prepared(rng):
    """float64, two types, plain mode, weights that are not finite: they go the old way, with its results and its errors."""
    x, w = rng.standard_normal((2, 3, 5, 5)).astype(np.float32), rng.standard_normal((4, 3, 3, 3)).astype(np.float32)
    conv, linear = lookup("conv2d").prepare, lookup("linear").prepare
    for bad in (np.inf, np.nan):
        strange = w.copy()
        strange[0, 0, 0, 0] = bad
        assert conv(x.shape, x.dtype, strange, padding=1) is None and linear((2, 3), x.dtype, strange[:, :, 0, 0]) is None
        net = graph_of(x.shape, strange, np.zeros(4, np.float32), [("relu", None)], {"padding": 1})
        check_bits(run(net, x), one_by_one(net, x))
    assert conv(x.shape, np.dtype(np.float64), w.astype(np.float64)) is None and conv(x.shape, np.dtype(np.float64), w) is None
    with kernels.use("plain"):
        assert conv(x.shape, x.dtype, w) is None and linear((2, 3), x.dtype, w[:, :, 0, 0]) is None
    net = graph_of(x.shape, w, np.zeros(4, np.float32), [("relu", None)], {})
    check_bits(run(net, x.astype(np.float64), values={k: v.astype(np.float64) for k, v in net.arrays().items()}),
               one_by_one(net, x.astype(np.float64), values={k: v.astype(np.float64) for k, v in net.arrays().items()}))
    for tensors in (np.asarray, tc.Tensor):
        with pytest.raises(TypeError, match="float32|float64"):
            run(net, tensors(x.astype(np.float64)))
    with pytest.raises(ValueError, match="channels"):
        run(Graph({"x": (2, 5, 5)}, net.nodes, net.outputs, net.parameters), x[:, :2])


@pytest.mark.small
def test_only_what_nobody_else_reads_is_joined():
    """A value read twice, returned, added to itself or to a number, or clipped already stays a step's last; inner values are never asked for."""
    conv, relu = Node("conv2d", ("x", "w"), ("y",)), Node("relu", ("y",), ("z",))
    add = lambda *inputs: Node("add", inputs, ("s",))
    for nodes, outputs, count in (((conv, relu), ("z",), 1), ((conv, relu), ("z", "y"), 2), ((conv, relu, add("y", "z")), ("s",), 3),
                                  ((conv, add("y", "y")), ("s",), 2), ((conv, add("y", 1.0)), ("s",), 2), ((conv, add("x", "y")), ("s",), 1),
                                  ((conv, Node("relu6", ("y",), ("z",)), Node("relu", ("z",), ("s",))), ("s",), 2),
                                  ((conv, Node("sigmoid", ("y",), ("z",))), ("z",), 2), ((Node("conv2d", ("x", "w"), ("y",), {"low": 0, "high": 1}), relu), ("z",), 2)):
        g = Graph({"x": (1, 2, 2)}, nodes, outputs, {"w": -np.ones((1, 1, 1, 1), np.float32)})
        assert len(g.nodes_joined) == count and len(g.nodes_apart) == len(nodes)
        x = np.float32([[[[1, -2], [-0.0, 9]]]])
        results = run(g, x)
        for name, result in zip(outputs, results if len(outputs) > 1 else (results,)):
            check_bits(result, one_by_one(g.replace(outputs=(name,)), x))


@pytest.mark.small
@pytest.mark.parametrize("other", [(4, 1, 1), (1, 6, 6), (4, 6, 6)])
def test_a_residual_that_is_stretched_is_added_by_itself(other, rng):
    """R of the result's shape goes into the pass; one that NumPy stretches does not, and the numbers are the same."""
    x, R = rng.standard_normal((2, 3, 6, 6)).astype(np.float32), rng.standard_normal((2, *other)).astype(np.float32)
    w, b = rng.standard_normal((4, 3, 3, 3)).astype(np.float32), rng.standard_normal(4).astype(np.float32)
    net = graph_of(x.shape, w, b, [("add", "R"), ("relu", None)], {"padding": 1}, {"R": other})
    for _ in range(2):
        check_bits(run(net, x, R), one_by_one(net, x, R))


@pytest.mark.small
def test_two_ways_that_meet(rng):
    """A block whose shortcut is a convolution too, in every order of the two, gives what the nodes give; so do branches that wait for each other."""
    x = rng.standard_normal((3, 4, 7, 7)).astype(np.float32)
    layers = dict(a=nn.Conv2d(4, 6, 3, padding=1, rng=0), b=nn.Conv2d(4, 6, 1, rng=1), c=nn.Conv2d(6, 6, 3, padding=1, groups=6, rng=2))
    relu = tc.functional.relu
    for wire in (lambda m, x: relu(m.a(x) + m.b(x)), lambda m, x: relu(m.b(x) + m.c(relu(m.a(x)))), lambda m, x: relu(m.c(m.a(x)) + m.b(x)),
                 lambda m, x: m.c(m.a(x) + relu(m.b(x))) + m.a(x), lambda m, x: relu(m.a(x) + (m.b(x) + m.a(x)))):
        g = tc.trace(Wired(wire, **layers), (1, 4, 7, 7), check=False)
        assert len(g.nodes_joined) < len(g.nodes)
        for given in (x, x[:1], x):
            check_bits(run(g, given), one_by_one(g, given))


@pytest.mark.small
@FAST
def test_float_weights_that_change_are_seen(rng):
    """Weights changed in place, to NaN and back, to -0, given for one run or by load_state_dict; sizes and threads that change between runs."""
    model = nn.Sequential(nn.Conv2d(2, 5, 3, padding=1, rng=0), nn.ReLU6(), nn.Conv2d(5, 5, 3, padding=1, groups=5, rng=1), nn.Flatten(), nn.Linear(80, 3, rng=2))
    g, x = tc.trace(model, (1, 2, 4, 4), check=False), rng.standard_normal((2, 2, 4, 4)).astype(np.float32)
    check_bits(run(g, x), one_by_one(g, x))
    assert len(g.prepared.here.__dict__.get("runs")) == 3
    for name, array in g.parameters.items():
        kept, other = array.copy(), array.copy()
        for value in (1.5, np.nan, -0.0, 0.0):
            array[(0,) * array.ndim] = value
            check_bits(run(g, x), one_by_one(g, x))
        array[...] = kept
        other[(-1,) * array.ndim] = 7
        for n in (2, 1, 2):
            check_bits(run(g, x[:n]), one_by_one(g, x[:n]))
            check_bits(run(g, x[:n], values={name: other}), one_by_one(g, x[:n], values={name: other}))
    before = tc.kernels.get_num_threads()
    for count in (before, before + 1, before):
        tc.set_num_threads(count)
        check_bits(run(g, x), one_by_one(g, x))


@pytest.mark.small
@FAST
def test_networks_keep_their_runs_where_nothing_is_recorded(rng):
    """A Network without gradients runs as the graph on arrays does, and sees each step of training at once; with gradients nothing is kept."""
    model = nn.Sequential(nn.Conv2d(2, 5, 3, padding=1, rng=0), nn.ReLU(), nn.Flatten(), nn.Linear(180, 3, rng=2))
    net, x = tc.Network(tc.trace(model, (1, 2, 6, 6), check=False)), rng.standard_normal((4, 2, 6, 6)).astype(np.float32)
    optimizer = tc.optim.SGD(net.parameters(), 0.1)
    y = net(tc.Tensor(x))
    assert not net.structure.prepared.here.__dict__.get("runs") and y.requires_grad
    for _ in range(3):
        with tc.no_grad():
            y = net(tc.Tensor(x))
        assert isinstance(y, tc.Tensor) and not y.requires_grad and len(net.structure.prepared.here.__dict__.get("runs")) == 2
        check_bits(y.data, one_by_one(net.graph, x))
        optimizer.zero_grad()
        loss = net(tc.Tensor(x)).sum()
        loss.backward()
        optimizer.step()
    seen = []
    with tc.no_grad():
        run(net.structure, tc.Tensor(x), values=dict(net.named_parameters()), each=lambda node, outputs: seen.append((node.op, type(outputs[0]))))
    assert seen == [(node.op, tc.Tensor) for node in net.structure.nodes]


@pytest.mark.small
@FAST
def test_large_arrays_that_can_be_written_to_are_not_kept(rng, monkeypatch):
    """Where comparing would cost what packing costs: unless nobody can write to them, when they are known without a look."""
    monkeypatch.setattr(tc.graph.preparing, "LARGEST", 10)
    monkeypatch.setattr(tc.graph.preparing, "PIECE", 3)
    g, x = tc.trace(nn.Linear(4, 3, rng=0), (1, 4), check=False), rng.standard_normal((2, 4)).astype(np.float32)
    check_bits(run(g, x), one_by_one(g, x))
    assert not g.prepared.here.__dict__.get("runs")
    g.parameters["weight"].setflags(write=False)
    check_bits(run(g, x), one_by_one(g, x))
    assert len(g.prepared.here.__dict__.get("runs")) == 1
    g.parameters["bias"][2] += 1
    check_bits(run(g, x), one_by_one(g, x))


@pytest.mark.small
def test_looking_inside_may_change_things(rng):
    """What `each` writes to, and runs of the same graph inside of it, are seen by the nodes that come after; a copy begins anew."""
    model = nn.Sequential(nn.Conv2d(2, 5, 3, rng=0), nn.ReLU(), nn.Conv2d(5, 4, 3, rng=1), nn.ReLU())
    g, x = tc.trace(model, (1, 2, 7, 7), check=False), rng.standard_normal((2, 2, 7, 7)).astype(np.float32)
    name = g.nodes[2].inputs[1]
    other, seen = {name: rng.standard_normal(g.array(name).shape).astype(np.float32)}, []

    def look(node, outputs):
        seen.append(node.op)
        if node is g.nodes[0]:
            check_bits(run(g, x, values=other), one_by_one(g, x, values=other))
            g.array(name)[0] += 1
    for _ in range(3):
        first = one_by_one(g, x)
        check_bits(run(g, x), first)
        y = run(g, x, each=look)
        check_bits(y, one_by_one(g, x))
        assert not np.array_equal(y, first)
    assert seen == 3 * [node.op for node in g.nodes]
    twin = copy.deepcopy(g)
    assert not twin.prepared.here.__dict__
    check_bits(run(twin, x), one_by_one(g, x))
