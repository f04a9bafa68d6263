"""The network as data: a graph is its model bit for bit, trains as it does, refuses what it cannot say, and travels without
its class.
"""
import json
import subprocess
import sys

import numpy as np
import pytest
import reduced
from wired import Wired

import tinyconv as tc
from tinyconv import functional as F
from tinyconv import graph, nn

U = 2.0 ** -24


class Masked(nn.Module):
    """A buffer that is no statistic."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mask", np.float32([1, 0, 2]).reshape(3, 1, 1))

    def forward(self, x):
        return x * self.mask


def conv(c, f, k=3, **options):
    return nn.Conv2d(c, f, k, **{"padding": 0 if isinstance(k, tuple) else k // 2, **options}, rng=c * 100 + f)


def attention(m, x):
    tokens = F.flatten(m.a(x), 2).transpose(0, 2, 1)                                             # (N,HW,C)
    scores = F.softmax(F.matmul(m.query(tokens), tokens.transpose(0, 2, 1)) * (1 / 2))
    return F.matmul(scores, tokens).transpose(0, 2, 1).reshape(x.shape[0], 4, x.shape[2], -1)


def elementwise(m, x):
    x = m.a(x)
    y = 2 * x - 1 + x / 3 - (1 / (x.abs() + 1)) * -x + (x ** 2 + 1).sqrt() + (x.clip(-1, 2).exp() + 1).log()
    return F.leaky_relu(y) + F.silu(x) * F.hardsigmoid(x) + F.tanh(F.hardswish(x)) + F.relu6(x) + F.sigmoid(x)


def pools(m, x):
    x = F.max_pool2d(m.a(x), 3, 2, 1, ceil_mode=True)
    x = F.avg_pool2d(x, 2, 1, 1, count_include_pad=False) + F.avg_pool2d(x, 2, 1, 1)
    return x.max(axis=2) + x.mean(axis=-1) + F.adaptive_avg_pool2d(x, (6, 2)).sum(axis=[3])


def pads(m, x):
    x = F.pad(F.pad(x, [1, 0, 2, 1], "reflect"), [0, 1, 1, 0], value=0.5)
    return m.a(F.pad(F.pad(x, 1, "replicate"), 1, "circular"))


def pieces(m, x):
    a, b = F.split(m.a(x), [1, 5])
    whole, = F.split(F.channel_shuffle(F.concat([b, a]), 3), 6)
    return F.take_channels(whole[:, 1:], [4, 0, 0])[..., ::2, :]


def tangled(m, x, y):
    h = m.a(x)
    return h + m.a(y), h, F.relu(h)


MODELS = {
    "convolution, norm, activation": (lambda: nn.Sequential(conv(2, 3), nn.BatchNorm2d(3), nn.ReLU6()), (2, 5, 5)),
    "one layer twice": (lambda: Wired(lambda m, x: m.a(F.relu(m.a(x))), a=conv(2, 2)), (2, 5, 5)),
    "one norm twice": (lambda: Wired(lambda m, x: m.n(m.a(m.n(x))), a=conv(2, 2), n=nn.BatchNorm2d(2)), (2, 5, 5)),
    "norm without parameters": (lambda: nn.Sequential(conv(2, 3), nn.BatchNorm2d(3, affine=False, momentum=0.5,
                                                                                 eps=1e-3)), (2, 5, 5)),
    "dropouts": (lambda: nn.Sequential(conv(2, 4), nn.Dropout(0.3, rng=0), conv(4, 4), nn.Dropout(0.6, rng=1), nn.Flatten(),
                                       nn.Dropout(0.0)), (2, 4, 4)),
    "geometries": (lambda: nn.Sequential(conv(4, 8, (3, 5), padding=((2, 1), (0, 3)), stride=(2, 1)),
                                         conv(8, 8, 3, groups=8, dilation=2, padding=2),
                                         conv(8, 6, 3, groups=2, padding="same"), conv(6, 3, 1, padding_mode="zeros", bias=False),
                                         conv(3, 3, 3, padding_mode="reflect")), (4, 7, 6)),
    "numbers and functions": (lambda: Wired(elementwise, a=conv(2, 3)), (2, 4, 4)),
    "pools and folds": (lambda: Wired(pools, a=conv(2, 3)), (2, 8, 8)),
    "pads": (lambda: Wired(pads, a=conv(2, 3)), (2, 5, 5)),
    "pieces of channels": (lambda: Wired(pieces, a=conv(2, 6)), (2, 5, 5)),
    "attention": (lambda: Wired(attention, a=conv(2, 4), query=nn.Linear(4, 4, rng=0)), (2, 3, 4)),
    "neighbours": (lambda: nn.Sequential(conv(2, 6), nn.LocalResponseNorm(4)), (2, 4, 4)),
    "parameter and buffer": (lambda: Wired(lambda m, x: m.mask(m.a(x)) * F.sigmoid(m.scale) + m.shift, a=conv(2, 3),
                                           mask=Masked(),
                                           scale=nn.Parameter(np.full((3, 1, 1), 0.5, np.float32)),
                                           shift=nn.Parameter(np.ones((1, 3, 1, 1), np.float32))), (2, 4, 4)),
    "batch rolled up and out": (lambda: Wired(lambda m, x: m.a(x.reshape(-1, 4)).reshape(x.shape[0], -1, 3).sum(axis=1),
                                              a=nn.Linear(4, 3, rng=0)), (3, 4)),
    "two inputs, three outputs": (lambda: Wired(tangled, a=conv(2, 3)), ((2, 4, 4), (2, 4, 4))),
    "the input itself": (lambda: Wired(lambda m, x: (x, m.a(x)), a=conv(2, 3)), (2, 4, 4)),
    "float64": (lambda: nn.Sequential(conv(2, 3), nn.BatchNorm2d(3), nn.Flatten(),
                                      nn.Linear(48, 2, rng=0)).to(np.float64), (2, 4, 4)),
}


def shapes_of(name, batch):
    shape = MODELS[name][1]
    return [(batch, *s) for s in shape] if isinstance(shape[0], tuple) else [(batch, *shape)]


def inputs(shapes, dtype=np.float32, seed=3):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(s).astype(dtype) for s in shapes]


def as_tuple(y):
    return y if isinstance(y, tuple) else (y,)


def equal(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b)


# ---- a graph is its model ------------------------------------------------------------------------------------------------

def check_same(model, shapes):
    """Evaluation and training, several batch sizes, bit for bit, statistics and dropout included; arrays are the graph's own."""
    g = tc.trace(model, shapes if len(shapes) > 1 else shapes[0])
    dtype = next(model.parameters()).dtype
    before = {name: a.copy() for name, a in model.state_dict().items()}
    for batch, training in ((1, False), (4, False), (3, True)):
        xs = inputs([(batch, *s[1:]) for s in shapes], dtype, batch)
        updates = {}
        ours = graph.run(g, *xs, training=training, rng=np.random.default_rng(5), updates=updates)
        with tc.no_grad():
            theirs = model.train(training).seed(5)(*map(tc.Tensor, xs))
        assert len(as_tuple(theirs)) == len(as_tuple(ours))
        assert all(equal(a.data, b) for a, b in zip(as_tuple(theirs), as_tuple(ours)))
        assert all(equal(a, updates.get(name, before[name])) for name, a in model.named_buffers())
        sizes = graph.shapes(g, batch)
        assert [sizes[name] for name in g.outputs] == [y.shape for y in as_tuple(ours)]
    assert all(equal(a, before[name]) for name, a in g.arrays().items())
    return g


@pytest.mark.small
@pytest.mark.parametrize("name", MODELS)
def test_a_graph_is_its_model(name):
    """Every odd wiring; and the graph of the Network of the graph is the same network again."""
    g = check_same(MODELS[name][0](), shapes_of(name, 2))
    again = check_same(graph.Network(g), shapes_of(name, 5))
    assert [node.op for node in again.nodes] == [node.op for node in g.nodes] and again.parameters.keys() == g.parameters.keys()


@pytest.mark.parametrize("name", reduced.MEMBERS)
def test_a_graph_is_its_network(name):
    """A member of every family of networks."""
    model, shape = reduced.member(name)
    check_same(model, [(1, *shape)])


@pytest.mark.parametrize("name", ["convolution, norm, activation", "one norm twice", "dropouts", "attention",
                                  "parameter and buffer", "mobilenet_v2_small"])
def test_a_network_trains_as_its_model(name):
    """Four steps of SGD with momentum on the module and on the Network of its graph: every parameter and statistic equal in
    every bit.
    """
    if name in MODELS:
        model, shape = MODELS[name][0](), shapes_of(name, 6)[0]
    else:
        model, (c, *plane) = reduced.member(name)
        shape = (6, c, *plane)
    net = graph.Network(tc.trace(model, shape))
    trained = []
    for m in (model, net):
        optimizer = tc.optim.SGD(m.parameters(), 0.1, momentum=0.9)
        m.train().seed(7)
        for step in range(4):
            optimizer.zero_grad()
            y = m(tc.Tensor(inputs([shape], seed=step)[0]))
            (y * y).mean().backward()
            optimizer.step()
        trained.append(m.state_dict())
    assert trained[0].keys() == trained[1].keys()
    assert all(equal(a, trained[1][name]) for name, a in trained[0].items())
    moved = net.graph
    assert all(equal(a, trained[1][name]) for name, a in moved.arrays().items())
    assert not all(equal(moved.array(name), net.structure.array(name)) for name in moved.parameters)


@pytest.mark.small
def test_tracing_leaves_everything_as_it_was():
    """Modes, statistics, random generators and arrays of the model; the graph's arrays are copies; two traces are equal."""
    model = nn.Sequential(conv(2, 3), nn.BatchNorm2d(3), nn.Dropout(0.5, rng=3)).train()
    model[1].eval()
    dice = model[2].rng.bit_generator.state
    before = model.state_dict()
    g, again = tc.trace(model, (1, 2, 4, 4)), tc.trace(model, (9, 2, 4, 4), check=False)
    assert [m.training for m in model.modules()] == [True, True, False, True] and model[2].rng.bit_generator.state == dice
    assert all(equal(a, before[name]) for name, a in model.state_dict().items())
    assert g.nodes == again.nodes and g.inputs == again.inputs == {"input": (2, 4, 4)} and g.outputs == again.outputs
    model[0].weight.data[:] = 0
    assert equal(g.array("0.weight"), before["0.weight"])


@pytest.mark.small
def test_run_looks_inside_and_takes_other_values():
    """`each` sees every node in order, `values` stand in for arrays, a Network writes nothing into its graph in evaluation."""
    g = tc.trace(nn.Sequential(conv(1, 2), nn.ReLU()), (1, 1, 3, 3))
    x, seen = inputs([(2, 1, 3, 3)])[0], []
    y = graph.run(g, x, each=lambda node, outputs: seen.append((node.op, outputs[0].shape)))
    assert seen == [("conv2d", (2, 2, 3, 3)), ("relu", (2, 2, 3, 3))]
    assert not graph.run(g, x, values={"0.weight": g.array("0.weight") * 0, "0.bias": g.array("0.bias") * 0}).any() and y.any()
    assert isinstance(graph.run(g, tc.Tensor(x)), tc.Tensor) and isinstance(y, np.ndarray)


# ---- what tracing refuses ------------------------------------------------------------------------------------------------

def stray(m, x):
    return m.inner(x)


REFUSED = {
    "a constant made inside": (lambda m, x: m.a(x) * np.ones((1, 2, 1, 1), np.float32), "inner reads an array of shape"),
    "a Tensor made inside": (lambda m, x: m.a(x) + tc.Tensor(np.ones((1, 2, 1, 1), np.float32)), "inner reads an array of shape"),
    "arithmetic on data": (lambda m, x: m.a(x) * (m.a(x).data * 2), "inner reads an array of shape"),
    "data of a result": (lambda m, x: F.relu(tc.Tensor(m.a(x).data)), "relu in inner reads inner.a/conv2d off the tape"),
    "data beside the tape": (lambda m, x: (lambda y: y + y.data)(m.a(x)), "add in inner reads inner.a/conv2d off the tape"),
    "detach": (lambda m, x: F.relu(m.a(x).detach()), "off the tape"),
    "data of a parameter": (lambda m, x: F.conv2d(x, m.a.weight.data), "conv2d in inner reads inner.a.weight off the tape"),
    "a number out of data": (lambda m, x: m.a(x) * float(m.a(x).data.mean()), "mul in inner is another one"),
    "a branch on data": (lambda m, x: F.relu(m.a(x)) if x.data.mean() > 0 else F.tanh(m.a(x)), "tanh|relu"),
    "a branch on a rarer number": (lambda m, x: F.tanh(m.a(x)) if abs(x.data).max() > 1.5 else F.relu(m.a(x)),
                                   "first difference is tanh in inner"),
    "the batch size as a factor": (lambda m, x: m.a(x) / x.shape[0], "div in inner is another one"),
    "the batch size in a slice": (lambda m, x: m.a(x)[:x.shape[0] - 1], "slice in inner is another one"),
    "a batch size in a reshape": (lambda m, x: m.a(x).reshape(2, -1), "reshape in inner is another one"),
    "the batch size in a reshape": (lambda m, x: m.a(x).reshape(4, -1),
                                    "reshape in inner, recorded with a batch of 3: 54 numbers"),
    "a loop over the batch": (lambda m, x: F.concat([m.a(x)[i:i + 1] for i in range(x.shape[0])], dim=0), "inner is another one"),
    "a module in a plain list": (lambda m, x: m.hidden[0](x), "conv2d in inner reads an array .* ModuleList"),
    "dropout in a plain list": (lambda m, x: m.hidden[1](m.a(x)), "dropout in inner is in training mode"),
    "dropout without self.training": (lambda m, x: F.dropout(m.a(x), 0.5, rng=np.random.default_rng(0)),
                                      "dropout in inner is in training mode"),
    "norm without statistics": (lambda m, x: m.bare(m.a(x)), "batch_norm in inner.bare is in training mode"),
    "an infinite number": (lambda m, x: m.a(x).clip(0, np.inf), "clip in inner is given inf"),
    "an array out": (lambda m, x: m.a(x).data, "must return results of operations .* not a ndarray"),
    "another array out": (lambda m, x: tc.Tensor(m.a(x).data * 1),
                          "must return results of operations .* a Tensor from elsewhere"),
    "a dict out": (lambda m, x: {"y": m.a(x)}, "not a dict"),
}


@pytest.mark.small
@pytest.mark.parametrize("name", REFUSED)
def test_what_a_graph_cannot_say_is_refused(name):
    """With the module named; the recorder and the model are as before afterwards."""
    wire, message = REFUSED[name]
    inner = Wired(wire, a=conv(2, 2), bare=nn.BatchNorm2d(2, track_running_stats=False))
    inner.hidden = [conv(2, 2), nn.Dropout(0.5, rng=0)]
    model = Wired(stray, inner=inner).train()
    with pytest.raises(graph.TraceError, match=message):
        tc.trace(model, (4, 2, 3, 3))
    assert model.training and F.relu(tc.Tensor(np.float32([-1, 1]))).data.tolist() == [0, 1]


@pytest.mark.small
def test_shapes_that_are_none_are_refused():
    """For trace and for the inputs of a run; numbers and shapes of nodes that do not fit are named by node."""
    model = nn.Sequential(conv(2, 3), nn.Flatten(), nn.Linear(48, 2, rng=0))
    for shape in ((), (2,), (1, 2, 0, 4), (1, 2, 4.5, 4), 3, [(1, 2, 4, 4), (1,)]):
        with pytest.raises(ValueError, match="input_shape must be"):
            tc.trace(model, shape)
    with pytest.raises(ValueError, match=r"linear in 2, recorded with a batch of 2: linear takes input .* \(2, 75\)"):
        tc.trace(model, (1, 2, 5, 5))
    g = tc.trace(model, (1, 2, 4, 4))
    x = np.zeros((1, 2, 4, 4), np.float32)
    for bad, message in ((x[0], r"must have shape \(N, 2, 4, 4\)"), (x[:, :, 1:], r"must have shape \(N, 2, 4, 4\)"),
                         (x[:0], "at least 1")):
        with pytest.raises(graph.GraphError, match=message):
            graph.run(g, bad)
    with pytest.raises(graph.GraphError, match="takes 1 inputs"):
        graph.run(g, x, x)
    with pytest.raises(TypeError, match="must be an array"):
        graph.run(g, [1.0])
    with pytest.raises(graph.GraphError, match="values must be named .* strange"):
        graph.run(g, x, values={"strange": x})
    with pytest.raises(graph.GraphError, match="1/flatten|2/linear"):
        graph.shapes(g.replace(inputs={"input": (2, 5, 5)}))


@pytest.mark.small
def test_a_graph_that_does_not_hang_together_is_refused():
    """Names made twice or never, unknown operations and arrays, run-time attributes."""
    g = tc.trace(nn.Sequential(conv(1, 2), nn.ReLU()), (1, 1, 3, 3))
    node = g.nodes[1]
    moody = graph.Node("dropout", node.inputs, node.outputs, {"p": 0.5, "training": True})
    for nodes, message in ((g.nodes[1:], "nothing before it makes"), (g.nodes + (node,), "made twice"),
                           (g.nodes[:1] + (moody,), "run time"),
                           ((graph.Node("nonsense", (), ("y",)),), "unknown operation"), (g.nodes[:1], "which nothing makes")):
        with pytest.raises(graph.GraphError, match=message):
            g.replace(nodes=nodes)
    with pytest.raises(graph.GraphError, match="no arrays of these names: strange"):
        g.with_arrays({"strange": np.zeros(1)})
    with pytest.raises(graph.GraphError, match="stands for"):
        g.replace(buffers={"0.bias": np.zeros(2)})
    with pytest.raises(graph.GraphError, match="must be an array"):
        g.replace(parameters={**g.parameters, "0.bias": [0, 0]})
    with pytest.raises(TypeError, match="must be a Graph"):
        graph.Network(nn.ReLU())


@pytest.mark.small
def test_a_graph_prints_one_line_a_node():
    """Values, operations and attributes, readable top to bottom."""
    lines = str(tc.trace(nn.Sequential(conv(1, 2), nn.ReLU()), (1, 1, 3, 3))).splitlines()
    assert lines[0] == "input: (N, 1, 3, 3)" and lines[-1] == "return 1/relu"
    assert lines[1].startswith("0/conv2d = conv2d(input, 0.weight, 0.bias; stride=[1, 1], padding=1")
    assert lines[2] == "1/relu = relu(0/conv2d)"


# ---- folding -------------------------------------------------------------------------------------------------------------

def moved(g):
    """The graph with statistics, γ and β that are not the identity (γ of both signs, one of them 0)."""
    rng, new = np.random.default_rng(4), {}
    for node in g.nodes:
        if node.op == "batch_norm":
            gamma, beta, mean, var = node.inputs[1:5]
            c = g.array(mean).shape
            new[mean], new[var] = rng.standard_normal(c), rng.uniform(0.1, 2, c)
            if gamma:
                new[gamma], new[beta] = rng.uniform(-1, 1, c), rng.standard_normal(c)
                new[gamma][0] = 0
    return g.with_arrays({name: a.astype(np.float32) for name, a in new.items()})


def folding_bound(node, x, w, b, gamma, beta, mean, var, eps):
    """|folded - apart| in float32: with s = γ/sqrt(σ²+ε), n the terms of a sum and S = |s| (Σ|x||w| + |b| + |μ|) + |β|, at most
    (2n + 12) u S.

    Apart: the sum n + 1 roundings, s five, -μs + β two more, y = s x + t two; folded: w' and b' one each, the sum n + 1.
    """
    f64 = [None if a is None else np.abs(a.astype(np.float64)) for a in (x, w, b, mean, beta)]
    scale = np.abs((np.ones_like(mean) if gamma is None else gamma).astype(np.float64)) / np.sqrt(var.astype(np.float64) + eps)
    attributes = {k: v for k, v in node.attributes.items() if k != "algorithm"}
    size = F.conv2d(f64[0], f64[1], f64[2], **attributes).data + f64[3][:, None, None]
    return 1.001 * (2 * w[0].size + 12) * U * (scale[:, None, None] * size + (0 if beta is None else f64[4][:, None, None]))


@pytest.mark.parametrize("name", [*sorted(reduced.MEMBERS.keys() - reduced.WITHOUT_NORM), "geometry: groups, stride, bias",
                                  "norm without parameters", "convolution, norm, activation"])
def test_folding_is_exact_within_rounding(name):
    """Each folded convolution, on the inputs it has in the unfolded network, gives what BatchNorm gave there; and no
    BatchNorm is left.
    """
    if name in MODELS:
        model, shape = MODELS[name][0](), shapes_of(name, 1)[0][1:]
    elif name in reduced.MEMBERS:
        model, shape = reduced.member(name)
    else:
        model, shape = nn.Sequential(conv(4, 6, groups=2, stride=2), nn.BatchNorm2d(6), conv(6, 6, groups=6, bias=False),
                                     nn.BatchNorm2d(6, eps=0.1)), (4, 7, 7)
    g = moved(tc.trace(model, (1, *shape), check=False))
    folded = graph.fold_batch_norms(g)
    norms = {node.outputs[0]: node for node in g.nodes if node.op == "batch_norm"}
    assert norms and not any(node.op == "batch_norm" for node in folded.nodes) and len(folded.nodes) == len(g.nodes) - len(norms)
    assert not any("running" in name for name in folded.arrays())
    x = inputs([(2, *shape)])[0]
    known, makers = {**g.arrays(), "input": x}, g.producers()
    graph.run(g, x, each=lambda node, outputs: known.update(zip(node.outputs, outputs)))
    for node in folded.nodes:
        if node.outputs[0] in norms:
            norm, before = norms[node.outputs[0]], makers[norms[node.outputs[0]].inputs[0]]
            arrays = [None if name is None else g.array(name) for name in (*(*before.inputs, None)[1:3], *norm.inputs[1:5])]
            new = [folded.array(name) for name in node.inputs[1:]]
            y = F.conv2d(known[node.inputs[0]], *new, **node.attributes).data
            limit = folding_bound(before, known[node.inputs[0]], *arrays, norm.attributes["eps"])
            assert (np.abs(y.astype(np.float64) - known[norm.outputs[0]]) <= limit).all()


@pytest.mark.small
def test_folding_keeps_what_is_shared():
    """A convolution with a second reader, a weight used twice, a norm behind no convolution, a computed weight: unchanged,
    and still right.
    """
    kept = {
        "a second reader": Wired(lambda m, x: (lambda y: m.n(y) + y)(m.a(x)), a=conv(2, 2), n=nn.BatchNorm2d(2)),
        "an output": Wired(lambda m, x: (lambda y: (m.n(y), y))(m.a(x)), a=conv(2, 2), n=nn.BatchNorm2d(2)),
        "a weight used twice": Wired(lambda m, x: m.n(m.a(m.a(x))), a=conv(2, 2), n=nn.BatchNorm2d(2)),
        "a weight read elsewhere": Wired(lambda m, x: m.n(m.a(x)) * m.a.weight.sum(), a=conv(2, 2), n=nn.BatchNorm2d(2)),
        "no convolution": Wired(lambda m, x: m.n(F.relu(m.a(x))), a=conv(2, 2), n=nn.BatchNorm2d(2)),
        "a computed weight": Wired(lambda m, x: m.n(F.conv2d(x, m.a.weight * 2)), a=conv(2, 2), n=nn.BatchNorm2d(2)),
        "a computed scale": Wired(lambda m, x: F.batch_norm(m.a(x), m.n.running_mean, m.n.running_var, F.tanh(m.n.weight),
                                                            m.n.bias, m.training)[0],
                                  a=conv(2, 2), n=nn.BatchNorm2d(2)),
    }
    for name, model in kept.items():
        g = tc.trace(model, (1, 2, 3, 3), check=False)
        g = moved(g) if name != "a computed scale" else g
        assert graph.fold_batch_norms(g).nodes == g.nodes, name
    # two convolutions, one norm: both fold
    shared = Wired(lambda m, x: m.n(m.a(x)) + m.n(m.b(x)), a=conv(2, 2), b=conv(2, 2), n=nn.BatchNorm2d(2))
    g = moved(tc.trace(shared, (1, 2, 3, 3), check=False))
    assert [node.op for node in graph.fold_batch_norms(g).nodes] == ["conv2d", "conv2d", "add"]
    x = inputs([(1, 2, 3, 3)])[0]
    assert np.allclose(graph.run(g, x), graph.run(graph.fold_batch_norms(g), x), atol=1e-5)


# ---- files ---------------------------------------------------------------------------------------------------------------

@pytest.mark.small
@pytest.mark.parametrize("name", MODELS)
def test_a_saved_network_is_the_same_network(name, tmp_path):
    """Structure, attributes and every bit of every array; the length returned is the length of the file."""
    g = tc.trace(MODELS[name][0](), shapes_of(name, 1), check=False)
    path = tmp_path / "net.safetensors"
    assert tc.save(path, g) == path.stat().st_size
    net = tc.load(path)
    h = net.graph
    assert isinstance(net, graph.Network) and not net.training
    assert (h.inputs, h.nodes, h.outputs) == (g.inputs, g.nodes, g.outputs)
    assert [*h.parameters] == [*g.parameters] and [*h.buffers] == [*g.buffers]
    assert all(equal(a, h.array(n)) for n, a in g.arrays().items())
    assert [[type(v) for v in node.inputs] for node in h.nodes] == [[type(v) for v in node.inputs] for node in g.nodes]
    tc.save(tmp_path / "again.safetensors", net)
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


@pytest.mark.small
def test_an_integer_network_in_a_file(tmp_path):
    """int8 and int32 arrays, float attributes that are exact float32 scales: same codes, same result, bit for bit."""
    x = inputs([(8, 2, 4, 4)])[0]
    g = tc.apply.quantize(tc.trace(nn.Sequential(conv(2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 4, rng=0)), (1, 2, 4, 4)), x)
    tc.save(tmp_path / "q.safetensors", g)
    h = tc.load(tmp_path / "q.safetensors").graph
    assert h.nodes == g.nodes and {a.dtype.name for a in h.arrays().values()} == {"int8", "int32", "float32"}
    assert all(equal(a, h.array(n)) for n, a in g.arrays().items()) and equal(graph.run(g, x), graph.run(h, x))


def test_a_file_needs_no_class(tmp_path):
    """Another process, which never saw the class, loads the network and computes the same bits."""
    g = tc.trace(Wired(pieces, a=conv(2, 6)), (1, 2, 5, 5))
    x = inputs([(3, 2, 5, 5)])[0]
    tc.save(tmp_path / "net.safetensors", g)
    tc.save(tmp_path / "x.npz", {"x": x})
    code = ("import sys, tinyconv as tc; at = sys.argv[1]; x = tc.Tensor(tc.load(at + '/x.npz')['x']);"
            "tc.save(at + '/y.npz', {'y': tc.load(at + '/net.safetensors')(x).data})")
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=120)
    assert equal(tc.load(tmp_path / "y.npz")["y"], np.ascontiguousarray(graph.run(g, x)))


@pytest.mark.small
def test_what_cannot_be_saved_or_loaded(tmp_path):
    """Modules without a graph, other endings, numbers that are not finite, a file of another version: clear errors, and no
    file.
    """
    g = tc.trace(nn.Linear(2, 2, rng=0), (1, 2))
    for what, path, error, message in ((nn.Linear(2, 2), "a.safetensors", TypeError, "for a Module of your own"),
                                       (g, "a.npz", ValueError, "saved as .safetensors"),
                                       ({"a": np.ones(1)}, "a.bin", ValueError, ".safetensors or .npz"),
                                       ({"a": [1]}, "a.npz", TypeError, "dict of arrays"),
                                       (g.with_arrays({"bias": np.float32([np.nan, 0])}), "a.safetensors", ValueError, "bias")):
        with pytest.raises(error, match=message):
            tc.save(tmp_path / path, what)
    assert not list(tmp_path.iterdir())
    tc.io.write_safetensors(tmp_path / "b.safetensors", {}, {"format": "tinyconv.graph.99", "graph": "{}"})
    with pytest.raises(graph.GraphError, match="b.safetensors.*99"):
        tc.load(tmp_path / "b.safetensors")
    with pytest.raises(ValueError, match="reads .safetensors and .npz"):
        tc.load(tmp_path / "b.onnx")


DAMAGE = {
    "no JSON": lambda plan: "{",
    "deep": lambda plan: "[" * 100_000,
    "a list": lambda plan: json.dumps([1, 2]),
    "without nodes": lambda plan: json.dumps({k: v for k, v in plan.items() if k != "nodes"}),
    "an unknown operation": lambda plan: json.dumps(plan).replace('"conv2d"', '"konv"', 1),
    "an unknown attribute": lambda plan: json.dumps(plan).replace('"stride"', '"strode"', 1),
    "an attribute of another kind": lambda plan: json.dumps(plan).replace('"padding": 1', '"padding": {}', 1),
    "a value nobody makes": lambda plan: json.dumps(plan).replace('["input"', '["outside"', 1),
    "another input shape": lambda plan: json.dumps({**plan, "inputs": [["input", [3, 4, 4]]]}),
    "a negative length": lambda plan: json.dumps({**plan, "inputs": [["input", [2, -4, 4]]]}),
    "an array too few": lambda plan: json.dumps({**plan, "parameters": plan["parameters"] + ["ghost"]}),
    "an array too many": lambda plan: json.dumps({**plan, "parameters": plan["parameters"][1:], "nodes": [],
                                                  "outputs": ["input"]}),
    "an array twice": lambda plan: json.dumps({**plan, "buffers": plan["parameters"]}),
    "outputs that are none": lambda plan: json.dumps({**plan, "outputs": ["nowhere"]}),
    "too many results": lambda plan: json.dumps(plan).replace('["0/conv2d"],', '["0/conv2d", "extra"],', 1),
    "an input that is a list": lambda plan: json.dumps(plan).replace('["input", "0.weight"', '[["input"], "0.weight"', 1),
    "run-time attributes": lambda plan: json.dumps(plan).replace('"p": ', '"training": true, "p": ', 1),
}


def a_plan():
    g = tc.trace(nn.Sequential(conv(2, 3), nn.Dropout(0.5, rng=0), nn.Flatten(), nn.Linear(48, 2, rng=0)), (1, 2, 4, 4),
                 check=False)
    return g, json.loads(graph.graph_as_json(g))


@pytest.mark.small
@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_graph_is_refused(name, tmp_path):
    """Always a GraphError that names the file, never another error and never a network."""
    g, plan = a_plan()
    text = DAMAGE[name](plan)
    assert text != json.dumps(plan)
    tc.io.write_safetensors(tmp_path / "bad.safetensors", g.arrays(), {"format": "tinyconv.graph.1", "graph": text})
    with pytest.raises(graph.GraphError, match="bad.safetensors"):
        tc.load(tmp_path / "bad.safetensors")


@pytest.mark.small
def test_random_damage_is_refused_or_harmless():
    """2,000 graphs with one number, text or list of their JSON replaced: a GraphError, or a graph that hangs together;
    nothing else.
    """
    g, plan = a_plan()
    rng, loaded, refused = np.random.default_rng(0), 0, 0
    odd = [None, True, -1, 0, 3, 1e30, 0.5, "", "input", "0.weight", [], [[]], {}, {"a": 1}, [1, 2], "x" * 50]

    def places(value, path=()):
        yield path
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
            yield from places(inner, (*path, key))
    every = [p for p in places(plan) if p]
    for _ in range(2000):
        copy = json.loads(json.dumps(plan))
        *way, last = every[rng.integers(len(every))]
        inner = copy
        for key in way:
            inner = inner[key]
        inner[last] = odd[rng.integers(len(odd))]
        try:
            h = graph.graph_from_json(json.dumps(copy), g.arrays())
            loaded += 1
            str(h), graph.graph_as_json(h)
        except graph.GraphError:
            refused += 1
    assert refused > 1000 and loaded > 20
