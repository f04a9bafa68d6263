"""Training with quantization: BatchNorm folded while it learns, fake-quantized networks and their integers, steps that learn."""
import numpy as np
import pytest
from wired import Wired

import tinyconv as tc
from tinyconv import apply, graph, nn, ops
from tinyconv.compress import quantize as qt

small = pytest.mark.small


def pictures(*shape, seed=2):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def small_net():
    """Stem, two inverted residuals (depthwise, a residual sum, linear bottlenecks), head; statistics that are not 0 and 1."""
    model = nn.Sequential(nn.conv_bn_act(2, 8, rng=0), nn.InvertedResidual(8, 8, 1, 2, rng=1),
                          nn.InvertedResidual(8, 6, 2, 2, rng=2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4, rng=3))
    rng = np.random.default_rng(4)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data = (rng.standard_normal(module.weight.shape) + 1).astype(np.float32)
            module.running_mean = 0.1 * rng.standard_normal(module.weight.shape).astype(np.float32)
            module.running_var = (0.5 + rng.random(module.weight.shape)).astype(np.float32)
    return tc.trace(model, (1, 2, 6, 6), check=False)


# ---- BatchNorm, folded while it is trained -------------------------------------------------------------------------------

def folded_layer(x, w, gamma, beta, mean, var, training=True, quantizer=lambda w: w):
    """The chain of qat for one layer: (y, new mean, new variance)."""
    y = ops.apply("conv2d", x, w, None, padding=1)
    front = ops.apply("batch_norm_weight", w, gamma, var, eps=1e-5)
    corrected, offset, m, v = ops.apply("batch_norm_correct", quantizer(front), y, None, gamma, beta, mean, var, eps=1e-5,
                                        momentum=0.1, training=training)
    return ops.apply("conv2d", x, corrected, offset, padding=1), m, v


@small
@pytest.mark.parametrize("training", [True, False])
def test_folded_in_training_is_batch_norm(training):
    """Without quantization the folded chain *is* convolution and BatchNorm: result, statistics and all gradients, in float64,
    with a γ of 0 and a negative one. Dividing by γ/σ, the slip, gives NaN in that channel.
    """
    rng = np.random.default_rng(0)
    arrays = dict(x=rng.standard_normal((4, 3, 5, 5)), w=rng.standard_normal((4, 3, 3, 3)), gamma=np.array([0.0, -1.5, 1e-3, 2]),
                  beta=rng.standard_normal(4), mean=rng.standard_normal(4), var=rng.random(4) + 0.5)
    dy = rng.standard_normal((4, 4, 5, 5))

    def run(f):
        tensors = {name: tc.Tensor(a, requires_grad=name not in ("mean", "var")) for name, a in arrays.items()}
        results = f(**tensors)
        results[0].backward(dy)
        return [r.data for r in results] + [t.grad for t in tensors.values() if t.requires_grad]

    def plain(x, w, gamma, beta, mean, var):
        y = ops.apply("conv2d", x, w, None, padding=1)
        return ops.apply("batch_norm", y, gamma, beta, mean, var, momentum=0.1, eps=1e-5, training=training)
    for ours, theirs in zip(run(lambda **t: folded_layer(**t, training=training)), run(plain)):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)
    assert np.abs(run(lambda **t: folded_layer(**t, training=training))[5][0]) > 1e-3            # γ = 0 still learns
    factor = arrays["gamma"] / np.sqrt(arrays["var"] + 1e-5)
    with np.errstate(invalid="ignore"):
        slip = (arrays["w"] * factor.reshape(4, 1, 1, 1)) / factor.reshape(4, 1, 1, 1)
    assert np.isnan(slip[0]).all() and not np.isnan(slip[1:]).any()


@small
def test_the_quantizer_sees_steady_weights():
    """Q's input is w γ/σ_running whatever the batch; with w γ/σ_batch, the slip, its codes change from batch to batch."""
    rng = np.random.default_rng(0)
    w, gamma, var = rng.standard_normal((4, 3, 3, 3)), np.ones(4), np.ones(4)
    seen = []
    for scale in (1.0, 3.0):
        folded_layer(tc.Tensor(scale * rng.standard_normal((4, 3, 5, 5))), tc.Tensor(w), gamma, np.zeros(4), np.zeros(4), var,
                     quantizer=lambda v: seen.append(v.data) or v)
    assert np.array_equal(*seen)


# ---- fake-quantized networks ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("method", apply.aware.METHODS)
@pytest.mark.parametrize("bits, activation_bits", [(8, 8), (4, 8), (2, 4), (3, 32), (32, 8)])
def test_values_are_on_their_grids(method, bits, activation_bits):
    """Every weight used has at most 2^b - 1 values a filter, every value between layers at most 2^b; edges at least 8 bits; at 32
    bits nothing is touched. The graph that went in stays.
    """
    g = small_net()
    before = {n: a.tobytes() for n, a in g.arrays().items()}
    x = pictures(8, 2, 6, 6)
    fake = apply.fake_quantized(g, x, bits, activation_bits, method)
    wanted = apply.layer_bits(g, bits)
    known = {**fake.arrays(), **dict.fromkeys(fake.inputs, x)}
    graph.run(fake, x, each=lambda node, outputs: known.update(zip(node.outputs, outputs)))
    checked = 0
    for node in fake.nodes:
        if node.op in ("conv2d", "linear") and node.inputs[1].endswith(("quantized", "corrected")):
            name = node.inputs[1].split("/")[0]
            assert all(len(np.unique(row)) <= 2 ** wanted[name] - 1 for row in known[node.inputs[1]]), name
            checked += 1
        if node.op in apply.settling.ON_VALUES and node.inputs[0] not in fake.arrays() and "/folded" not in node.inputs[0]:
            edge = node.inputs[0] in g.inputs or node.outputs[0] in fake.outputs
            assert len(np.unique(known[node.outputs[0]])) <= 2 ** (8 if edge else activation_bits)
    assert checked == (0 if bits == 32 else len(wanted))
    assert {n: a.tobytes() for n, a in g.arrays().items()} == before


@pytest.mark.parametrize("method", apply.aware.METHODS)
@pytest.mark.parametrize("bits, activation_bits", [(8, 8), (4, 8), (4, 4)])
@pytest.mark.parametrize("per_channel", [True, False])
def test_integers_are_those_of_the_fake_network(method, bits, activation_bits, per_channel):
    """Weight codes of the integer network: S q is the weight that the fake network used, exactly. Codes of values: each layer in
    float, from the integer network's own codes before it, lies within half a code (and half a step of the 32-bit bias) of its
    codes; ends of 4-bit values are kept.
    """
    g, x = small_net(), pictures(8, 2, 6, 6)
    fake = apply.fake_quantized(g, x, bits, activation_bits, method, per_channel=per_channel)
    whole, settled = apply.quantize(fake, x), apply.settle(fake)
    used, codes = {}, {}
    graph.run(fake, x, each=lambda node, outputs: used.update(zip(node.outputs, outputs)))
    graph.run(whole, x, each=lambda node, outputs: codes.update(zip(node.outputs, outputs)))
    codes["input"] = codes["input/codes"]
    steps = {}
    for node in fake.nodes:
        if node.op in ("conv2d", "linear") and "/" in node.inputs[1]:
            name = node.inputs[1].split("/")[0]
            steps[name] = whole.array(f"{name.removesuffix('weight')}scale")
            w = whole.array(name) * steps[name].reshape(-1, *[1] * (whole.array(name).ndim - 1))
            assert np.array_equal(w, used[node.inputs[1]])
            assert np.abs(whole.array(name)).max() < 2 ** (apply.layer_bits(g, bits)[name] - 1)
    known, makers = dict(settled.graph.arrays()), settled.graph.producers()
    scales = {**settled.scales, "4/flatten": settled.scales["3/adaptive_avg_pool2d"]}
    known["input"] = qt.dequantize(codes["input"], *scales["input"])
    for node in settled.graph.nodes:
        name = node.outputs[0]
        known[name] = ops.lookup(node.op).forward(*(known[v] for v in node.inputs), **node.attributes)[0]
        if name in settled.scales:
            (scale, zero), (low, high) = scales[name], settled.ends[name]
            layer = makers[node.inputs[0]] if node.op == "relu6" else node
            weighted = layer.op in ("conv2d", "linear")
            bias_step = scales[layer.inputs[0]][0] * steps[layer.inputs[1]].max() if weighted else 0.0
            off = np.abs(np.clip(known[name] / scale + zero, low, high) - codes[name])
            assert off.max() <= 0.5 + 0.5 * bias_step / scale + 1e-3
            assert codes[name].min() >= low and codes[name].max() <= high
            assert high - low == 2 ** (8 if name in settled.graph.outputs else activation_bits) - 1
            known[name] = qt.dequantize(codes[name], scale, zero)
    assert len(settled.scales) == 11


@small
def test_settling_leaves_other_graphs_alone():
    """No node of training in it: the same nodes and arrays, no scales. With some: an ordinary network with the fake weights."""
    g = small_net()
    alone = apply.settle(g)
    assert alone.graph.nodes == g.nodes and not alone.scales and not alone.weights and alone.clip("x", (0.0, None)) == (0.0, None)
    x = pictures(8, 2, 6, 6)
    fake = apply.fake_quantized(g, x, 4, 32, "lsq")
    settled = apply.settle(fake)
    assert {n.op for n in settled.graph.nodes} <= {n.op for n in graph.fold_batch_norms(g).nodes}
    np.testing.assert_allclose(graph.run(settled.graph, x), graph.run(fake, x), rtol=1e-5, atol=1e-5)
    assert set(settled.weights) == set(apply.layer_bits(g, 4))


@small
def test_one_fake_node_of_each_kind_tells_its_scale():
    """The plain fake_quantize operation in a traced model, signed and unsigned, becomes the scale of the integer network."""
    layer = nn.Conv2d(2, 3, 1, rng=0)
    for zero, ends, expected in ((3, (-100, 50), (3, -100, 50)), (0, (0, 255), (-128, -128, 127)),
                                 (7, (0, 15), (-121, -128, -113))):
        wire = lambda m, x: tc.functional.fake_quantize(m.a(x), 0.125, zero, *ends)
        g = tc.trace(Wired(wire, a=layer), (1, 2, 3, 3), check=False)
        q = apply.quantize(g, pictures(4, 2, 3, 3))
        node = next(n for n in q.nodes if n.op == "qconv2d")
        assert tuple(node.attributes[key] for key in ("y_scale", "y_zero_point", "q_min", "q_max")) == (0.125, *expected)


# ---- training ------------------------------------------------------------------------------------------------------------

@small
def test_ranges_follow_in_training_and_stand_still_after():
    """A moving average with momentum 0.01 from where calibration left it; evaluation changes nothing."""
    g = tc.trace(nn.Sequential(nn.Conv2d(1, 2, 1, rng=0)), (1, 1, 4, 4), check=False)
    net = tc.Network(apply.fake_quantized(g, pictures(9, 1, 4, 4), 8, 8, "min-max", calibrator="min-max"))
    low = net._buffers["input/low"].copy()
    x = 5 * pictures(9, 1, 4, 4, seed=3)
    net.train()(tc.Tensor(x))
    assert net._buffers["input/low"] == pytest.approx(low + 0.01 * (x.min() - low), rel=1e-6)
    after = net._buffers["input/low"].copy()
    net.eval()(tc.Tensor(100 * x))
    assert np.array_equal(net._buffers["input/low"], after)


def test_steps_stay_positive():
    """Learning rates far too large: no step falls below a hundredth of its beginning, and the network can still be quantized."""
    model = nn.Sequential(nn.Conv2d(1, 3, 3, rng=0), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2, rng=0))
    g = tc.trace(model, (1, 1, 4, 4), check=False)
    x, y = pictures(32, 1, 4, 4), np.arange(32) % 2
    start = apply.fake_quantized(g, x, 4, 4, "lsq")
    made = apply.qat(g, x, y, 4, 4, epochs=1, lr=3.0, momentum=0, calibration=x, progress=False)
    steps = [n for n in start.parameters if n.endswith("/step")]
    assert len(steps) == 5 and any((made.array(n) <= start.array(n) / 100 * 1.0001).any() for n in steps)
    assert all((made.array(n) >= start.array(n) / 100 * 0.9999).all() for n in steps)
    assert apply.quantize(made, x).nodes


def test_the_last_part_is_trained_as_it_will_be_evaluated():
    """freeze: ranges move in the first half only; then BatchNorm's statistics are those of the calibration pictures and stay,
    while weights go on learning. 0: everything moves to the end.
    """
    g, x, y = small_net(), pictures(32, 2, 6, 6), np.arange(32) % 4
    steady = lambda optimizer, steps: tc.optim.Schedule(optimizer, lambda step: 0.05)
    options = dict(method="min-max", lr=0.05, batch_size=8, calibration=x, progress=False, schedule=steady)
    half, short, moving = (apply.qat(g, x, y, 4, epochs=e, freeze=f, **options) for e, f in ((2, 0.5), (1, 0.0), (2, 0.0)))
    ranges, norms = ([n for n in half.buffers if ("running" in n) == norm] for norm in (False, True))
    assert len(ranges) == 22 and len(norms) == 14
    assert all(np.array_equal(half.buffers[n], short.buffers[n]) for n in ranges)
    assert any(not np.array_equal(half.buffers[n], moving.buffers[n]) for n in ranges)
    assert all(not np.array_equal(half.parameters[n], short.parameters[n]) for n in half.parameters)
    net = apply.aware._Learner(short)
    net.freeze(x)
    assert all(np.array_equal(net._buffers[n], half.buffers[n]) for n in norms)
    first = next(n for n in short.nodes if n.op == "batch_norm_correct")
    seen = {}
    graph.run(short, x, each=lambda node, outputs: seen.update(zip(node.outputs, outputs)))
    np.testing.assert_allclose(net._buffers[first.inputs[5]], seen[first.inputs[1]].mean((0, 2, 3)), rtol=1e-4, atol=1e-6)
    learned = apply.fake_quantized(g, x, 3, 8, "lsq")
    net = apply.aware._Learner(learned)
    net.train().freeze(3 * x)                                         # other statistics, the same codes
    before, after = apply.settle(learned), apply.settle(net.graph)
    assert all(np.array_equal(before.codes(n)[0], after.codes(n)[0]) for n in before.weights)
    assert any(not np.allclose(before.weights[n], after.weights[n], rtol=0.1) for n in before.weights)
    with pytest.raises(ValueError, match="freeze must be a fraction from 0 to 1, not 40"):
        apply.qat(g, x, y, freeze=40)


def test_zeros_stay_zero_through_training():
    """keep_zeros, as finetune has it: pruned weights are 0 in the network trained with quantization and in its integer codes."""
    model = nn.Sequential(nn.Conv2d(1, 4, 3, rng=0), nn.Flatten(), nn.Linear(16, 2, rng=0))
    g = apply.sparsify(tc.trace(model, (1, 1, 4, 4), check=False), 0.5)
    x, y = pictures(32, 1, 4, 4), np.arange(32) % 2
    made = apply.quantize(apply.qat(g, x, y, 4, epochs=1, keep_zeros=True, calibration=x, progress=False), x)
    for name in ("0.weight", "2.weight"):
        assert (made.array(name)[g.array(name) == 0] == 0).all() and made.array(name).any()


@pytest.fixture(scope="module")
def real():
    """A network trained on the embedded pictures, 600 of them, and its test accuracy: (graph, images, labels, test, accuracy)."""
    images, labels = tc.data.fashion("train")
    g, test = tc.trace(tc.models.pretrained("mobilenet_v1_small"), (1, 1, 28, 28)), tc.data.fashion("test")
    return g, images[:600], labels[:600], test, tc.train.accuracy(g, *test)


def test_four_bits_after_training_are_near_the_float_network(real):
    """Weights of 4 bits, values of 8: the integer network after qat is within 0.02 of the float one on the 2,000 test pictures;
    at 2 bits training wins back most of what rounding alone loses.
    """
    g, images, labels, test, accuracy = real
    made = apply.qat(g, images, labels, 4, epochs=1, batch_size=64, progress=False)
    assert tc.train.accuracy(apply.quantize(made, images[:200]), *test) >= accuracy - 0.02 and accuracy > 0.75
    rounded = tc.train.accuracy(apply.fake_quantized(g, images[:200], 2, 8, "lsq"), *test)
    two = apply.qat(g, images, labels, 2, epochs=1, batch_size=64, progress=False)
    assert tc.train.accuracy(two, *test) > rounded + 0.2


def test_adaround_lowers_the_objective_of_nearly_every_layer(real):
    """4 bits: strictly below the nearest rounding in at least nine layers of ten, never above; written in integers as it is."""
    g, images, *_ = real
    made, errors = apply.adaround(g, images[:24], 4, steps=150)
    lower = [chosen < nearest for nearest, chosen in errors.values()]
    assert len(lower) == len(apply.layer_bits(g, 4)) and np.mean(lower) >= 0.9
    assert all(chosen <= nearest for nearest, chosen in errors.values())
    whole, settled = apply.quantize(made, images[:100]), apply.settle(made)
    for name in errors:
        scale = settled.weights[name].reshape(-1, *[1] * (made.array(name).ndim - 1))
        assert np.array_equal(whole.array(name) * scale, made.array(name)) and np.abs(whole.array(name)).max() <= 7


@small
def test_adaround_of_chosen_weights():
    """bits as a dict: those named are rounded to as many, the others keep every bit; names that are no weights are refused."""
    g = small_net()
    first, second, *others = apply.layer_weights(g)
    made, errors = apply.adaround(g, pictures(4, 2, 6, 6), {first: 2, second: 3, others[0]: 32}, steps=20)
    folded = graph.fold_batch_norms(g)
    assert list(errors) == [first, second] and all(np.array_equal(made.array(n), folded.array(n)) for n in others)
    for name, most in ((first, 1), (second, 3)):
        codes = apply.settle(made).codes(name)[0]
        assert np.abs(codes).max() == most
    with pytest.raises(ValueError, match="bits must name weights of layers, not nobody"):
        apply.adaround(g, pictures(4, 2, 6, 6), {"nobody": 4})


@small
@pytest.mark.parametrize("groups, options", [(1, dict(padding=1)), (2, dict(stride=2)), (4, dict(padding=2, dilation=2))])
def test_grams_are_the_error_of_the_layer(groups, options):
    """Σ δ G δᵀ is the mean squared change of the layer's output, counted over pixels and summed over filters, by convolution."""
    rng = np.random.default_rng(0)
    x, off = rng.standard_normal((3, 4, 7, 6)), rng.standard_normal((4, 4 // groups, 3, 3))
    y = tc.kernels.conv2d(x, off, None, groups=groups, **options)
    made = apply.rounding.grams(x, off.shape, groups=groups, **options)
    total = qt.rounding_error(np.zeros_like(off), off, made)
    assert total == pytest.approx((y ** 2).mean(axis=(0, 2, 3)).sum(), rel=1e-12)


def test_bit_grid():
    """Rows are weight bits, columns activation bits; each cell the accuracy of that network, 32 × 32 the float one's."""
    g = small_net()
    x, y = pictures(8, 2, 6, 6), np.arange(8) % 4
    table = apply.bit_grid(g, x, (x, y), (32, 2), (32, 8))
    assert table[0, 0] == tc.train.accuracy(g, x, y) and table[1, 1] == tc.train.accuracy(apply.fake_quantized(g, x, 2, 8), x, y)
    assert table.shape == (2, 2)
    trained = apply.bit_grid(g, x, (x, y), (2,), (8,), trained=(x, y, 1), progress=False, lr=0.1)
    assert trained[0, 0] == tc.train.accuracy(apply.qat(g, x, y, 2, 8, epochs=1, lr=0.1, calibration=x, progress=False), x, y)


@small
def test_what_is_refused():
    """Bits, methods, calibration data that say nothing, networks without weights; each by name."""
    g, x = small_net(), pictures(4, 2, 6, 6)
    for message, arguments in (("bits must be an integer from 2 to 8, not 1", dict(bits=1)),
                               ("bits must be an integer", dict(bits=16)), ("bits must be an integer", dict(activation_bits=9)),
                               ("method must be one of lsq", dict(method="ste")),
                               ("calibrator must be one of min-max", dict(calibrator="max")),
                               ("bits must name weights of layers, not nowhere", dict(bits={"nowhere": 4}))):
        with pytest.raises(ValueError, match=message):
            apply.fake_quantized(g, x, **arguments)
    with pytest.raises(ValueError, match="pictures with different pixels, not 0.0 everywhere"):
        apply.fake_quantized(g, 0 * x)
    with pytest.raises(ValueError, match="calibration: input is not finite"):
        apply.fake_quantized(g, x * np.where(np.arange(6) == 3, np.nan, 1).astype(np.float32))
    with pytest.raises(ValueError, match="calibration must be pictures"):
        apply.fake_quantized(g, x[:0])
    with pytest.raises(TypeError, match="g must be a Graph"):
        apply.fake_quantized(tc.Network(g), x)
    with pytest.raises(graph.GraphError, match="must have convolution or linear layers with float weights"):
        apply.fake_quantized(apply.quantize(g, x), x)
    with pytest.raises(graph.GraphError, match="steps and ranges belong to the channels there are"):
        apply.prune(apply.fake_quantized(g, x), 0.5)


@small
def test_a_layer_that_is_dead_in_calibration_does_not_stop_it():
    """Nothing but zeros behind a ReLU: no range to search in, so the least one; the network still runs and quantizes."""
    layer = nn.Conv2d(1, 2, 1, rng=0)
    layer.bias.data = np.float32([-99, -99])
    g = tc.trace(nn.Sequential(layer, nn.ReLU(), nn.Conv2d(2, 2, 1, rng=1)), (1, 1, 3, 3), check=False)
    x = pictures(5, 1, 3, 3)
    for method in apply.aware.METHODS:
        fake = apply.fake_quantized(g, x, 4, 8, method)
        assert np.isfinite(graph.run(fake, x)).all() and np.isfinite(graph.run(apply.quantize(fake, x), x)).all()
