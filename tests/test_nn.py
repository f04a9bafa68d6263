"""Layers and modules: gradients, names, states, modes, running statistics, how weights begin; and what is refused."""
import math

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import nn

pytestmark = pytest.mark.small
RNG = np.random.default_rng(6)          # of 5 one number is too near the bend of relu


def _x(*shape):
    return RNG.standard_normal(shape)


PLANE, ODD = (2, 4, 6, 5), (3, 4, 5, 3)
LAYERS = [
    (lambda: nn.Conv2d(4, 6, 3, stride=2, padding=1, rng=0), PLANE),
    (lambda: nn.Conv2d(4, 6, (2, 3), stride=(1, 2), padding=(0, 2), dilation=(2, 1), groups=2, bias=False, rng=0), PLANE),
    (lambda: nn.Conv2d(4, 8, 3, padding="same", groups=4, rng=0), ODD),
    (lambda: nn.Conv2d(4, 2, 3, padding=((2, 0), (0, 1)), rng=0), ODD),
    *[(lambda mode=mode: nn.Conv2d(4, 2, 3, padding=(2, 1), padding_mode=mode, rng=0), PLANE)
      for mode in ("reflect", "replicate", "circular")],
    (lambda: nn.Linear(5, 3, rng=0), (4, 5)), (lambda: nn.Linear(5, 3, bias=False, rng=0), (2, 3, 5)),
    (lambda: nn.BatchNorm2d(4), ODD), (lambda: nn.BatchNorm2d(4).eval(), ODD), (lambda: nn.BatchNorm2d(4, affine=False), ODD),
    (lambda: nn.BatchNorm2d(4, track_running_stats=False).eval(), ODD),
    (lambda: nn.LocalResponseNorm(3, alpha=0.5), PLANE), (lambda: nn.LocalResponseNorm(2, alpha=0.5), PLANE),
    (lambda: nn.MaxPool2d(2), PLANE), (lambda: nn.MaxPool2d(3, 2, 1, ceil_mode=True), PLANE),
    (lambda: nn.AvgPool2d(2, 1, 1, count_include_pad=False), PLANE),
    (lambda: nn.AdaptiveAvgPool2d((2, 3)), PLANE), (lambda: nn.AdaptiveAvgPool2d(1), PLANE), (lambda: nn.Flatten(), PLANE),
    (lambda: nn.Identity(), PLANE),
    (lambda: nn.ChannelShuffle(2), PLANE), (lambda: nn.Dropout(0.3, rng=0), PLANE), (lambda: nn.Dropout(0.3).eval(), PLANE),
    *[(lambda kind=kind: kind(), PLANE)
      for kind in (nn.ReLU, nn.ReLU6, nn.Sigmoid, nn.Tanh, nn.SiLU, nn.Hardsigmoid, nn.Hardswish)],
    (lambda: nn.LeakyReLU(0.2), PLANE), (lambda: nn.Softmax(dim=1), PLANE),
    (lambda: nn.DepthwiseSeparable(4, 3, stride=2, rng=0), PLANE), (lambda: nn.InvertedResidual(4, 4, rng=0), ODD),
    (lambda: nn.InvertedResidual(4, 6, stride=2, expand_ratio=2, rng=0), ODD),
    (lambda: nn.InvertedResidual(4, 4, expand_ratio=1, rng=0).eval(), ODD),
    (lambda: nn.Fire(4, 2, 3, 4, rng=0), PLANE), (lambda: nn.BasicBlock(4, 4, rng=0), ODD),
    (lambda: nn.BasicBlock(4, 3, stride=2, rng=0), PLANE), (lambda: nn.Bottleneck(8, 2, rng=0), (2, 8, 3, 3)),
    (lambda: nn.Bottleneck(4, 2, stride=2, rng=0), PLANE), (lambda: nn.Bottleneck(4, 2, 2, stride_first=True, rng=0), PLANE),
    (lambda: nn.ShuffleUnitV2(4, 4, rng=0), ODD), (lambda: nn.ShuffleUnitV2(4, 6, stride=2, rng=0), PLANE),
    (lambda: nn.ShuffleUnitV2(4, 6, stride=2, keep_input=True, rng=0).eval(), PLANE),
    (lambda: nn.BasicBlock(4, 7, stride=2, padded=True, rng=0), ODD), (lambda: nn.PaddedShortcut(4, 8), PLANE),
    (lambda: nn.Bottleneck(8, 2, attention="se", rng=0), (2, 8, 3, 3)),
    (lambda: nn.MBConv(4, 8, 4, 5, squeeze=2, rng=0), ODD), (lambda: nn.MBConv(4, 4, 6, 3, 2, 1, nn.SiLU, nn.SiLU, rng=0), PLANE),
    (lambda: nn.MBConv(4, 8, 4, 3, 1, 2, nn.Hardswish, nn.ReLU, nn.Hardsigmoid, rng=0), PLANE),
    (lambda: nn.MBConv(4, 8, 4, squeeze=0, drop=0.4, rng=0), ODD), (lambda: nn.StochasticDepth(0.3, rng=0), PLANE),
    (lambda: nn.ShuffledPointwise(4, rng=0), PLANE), (lambda: nn.ShuffleUnitV1(8, 8, groups=2, rng=0), (2, 8, 5, 3)),
    (lambda: nn.ShuffleUnitV1(4, 16, 2, groups=4, first_groups=1, rng=0), PLANE),
    (lambda: nn.ShuffleUnitV1(4, 16, 2, rng=0).eval(), (2, 4, 5, 5)),
    (lambda: nn.SqueezeExcitation(4, 2, rng=0), PLANE), (lambda: nn.SqueezeExcitation(4, 1, nn.SiLU, nn.Hardsigmoid, rng=0), ODD),
    (lambda: nn.SoftmaxChannelAttention(4, 2, rng=0), PLANE), (lambda: nn.SpatialAttention(3, rng=0), ODD),
    (lambda: nn.SpatialAttention(rng=0), PLANE), (lambda: nn.CBAM(4, 2, rng=0), PLANE),
    (lambda: nn.DynamicConv2d(4, 6, 3, stride=2, padding=1, groups=2, temperature=2.0, rng=0), PLANE),
    *[(lambda kind=kind: nn.InvertedResidual(4, 4, 1, 2, kind, rng=0), ODD) for kind in ("se", "spatial", "cbam")],
    (lambda: nn.conv_bn_act(4, 3, rng=0), PLANE), (lambda: nn.Sequential(nn.Conv2d(4, 2, 1, rng=0), nn.Flatten(),
                                                                         nn.Linear(60, 2, rng=0)), PLANE),
]
LOSSES = [(lambda: nn.CrossEntropyLoss(0.1), [(3, 4)], [np.array([0, 3, 1])]), (lambda: nn.MSELoss("sum"), [(3, 4), (3, 4)], []),
          (lambda: nn.DistillationLoss(2.0, 0.5), [(3, 4)], [_x(3, 4), np.array([0, 3, 1])])]


def _repr(layer):
    return repr(layer()).split("\n")[0]


def _moved(layer):
    """The layer in float64, parameters and statistics moved away from where they begin (0 and 1 hide mistakes)."""
    layer = layer().to(np.float64)
    for p in layer.parameters():
        p.data = p.data + 0.3 * _x(*p.shape)
    for module in layer.modules():
        if "running_var" in module._buffers:
            module.running_mean, module.running_var = _x(module.num_features), 0.5 + RNG.random(module.num_features)
    return layer


@pytest.mark.parametrize("layer, shape", LAYERS, ids=lambda v: _repr(v) if callable(v) else "x".join(map(str, v)))
def test_every_layer_has_the_right_gradients(layer, shape):
    """gradcheck in float64 over the input and all parameters; dropout draws the same numbers in every call."""
    layer = _moved(layer)
    assert tc.gradcheck(lambda x: layer.seed(3)(x), _x(*shape), parameters=layer.parameters())


@pytest.mark.parametrize("layer, shapes, rest", LOSSES, ids=lambda v: _repr(v) if callable(v) else "")
def test_every_loss_has_the_right_gradients(layer, shapes, rest):
    assert tc.gradcheck(lambda *x: layer()(*x, *rest), *(_x(*s) for s in shapes))


def test_no_layer_is_left_out():
    """Every layer that nn promises stands in one of the tables above."""
    seen = {type(m) for layer, *_ in (*LAYERS, *LOSSES) for m in layer().modules()} | {nn.Module, nn.ModuleList}
    classes = {getattr(nn, name) for name in nn.__all__ if isinstance(getattr(nn, name), type)}
    promised = {kind for kind in classes if issubclass(kind, nn.Module)}
    assert promised - seen == set()


# ---- layers ---------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("mode, numpys", [("reflect", "reflect"), ("replicate", "edge"), ("circular", "wrap"),
                                          ("zeros", "constant")])
@pytest.mark.parametrize("padding, widths", [(2, ((2, 2), (2, 2))), ((1, 2), ((1, 1), (2, 2))),
                                             (((1, 0), (0, 2)), ((1, 0), (0, 2)))])
def test_padding_modes_pad_first(mode, numpys, padding, widths):
    """A convolution with a padding mode is np.pad, then the convolution without padding, bit for bit in float64."""
    layer = nn.Conv2d(3, 4, 3, padding=padding, padding_mode=mode, rng=0).to(np.float64)
    x = _x(2, 3, 5, 6)
    padded = np.pad(x, ((0, 0), (0, 0), *widths), numpys)
    assert np.array_equal(layer(tc.Tensor(x)).data, tc.functional.conv2d(padded, layer.weight, layer.bias).data)


def test_batch_norm_keeps_running_statistics_as_pytorch_does():
    """running <- (1 - momentum) running + momentum batch, the batch's variance divided by M - 1; three batches, against the
    formula."""
    layer, mean, var = nn.BatchNorm2d(3, momentum=0.3).to(np.float64), np.zeros(3), np.ones(3)
    for n in (2, 1, 4):
        x = 2 * _x(n, 3, 2, 5) + 1
        y = layer(tc.Tensor(x)).data
        m, v = x.mean((0, 2, 3)), x.var((0, 2, 3))
        mean, var = 0.7 * mean + 0.3 * m, 0.7 * var + 0.3 * x.var((0, 2, 3), ddof=1)
        assert y == pytest.approx((x - m[:, None, None]) / np.sqrt(v[:, None, None] + 1e-5), abs=1e-12)       # the biased one normalises
    assert layer.running_mean == pytest.approx(mean, rel=1e-13) and layer.running_var == pytest.approx(var, rel=1e-13)
    held = layer.running_mean, layer.running_var
    x = _x(1, 3, 1, 1)                                                      # one number a channel: fine outside training
    assert layer.eval()(tc.Tensor(x)).data == pytest.approx((x - mean[:, None, None]) / np.sqrt(var[:, None, None] + 1e-5),
                                                            abs=1e-12)
    assert layer.running_mean is held[0] and layer.running_var is held[1]


def test_batch_norm_without_tracking_uses_each_batch():
    layer = nn.BatchNorm2d(3, track_running_stats=False).eval()
    assert list(layer.state_dict()) == ["weight", "bias"]
    y = layer(tc.Tensor(_x(4, 3, 2, 2).astype(np.float32))).data
    assert np.abs(y.mean((0, 2, 3))).max() < 1e-6


def test_statistics_move_without_a_tape_too_and_old_arrays_stay():
    """Training mode under no_grad moves them (as in PyTorch); the arrays are replaced, never written to, so that a step can be
    undone."""
    layer = nn.BatchNorm2d(2)
    before = layer.running_mean
    with tc.no_grad():
        layer(tc.Tensor(np.ones((2, 2, 2, 2), np.float32)))
    assert before.tolist() == [0, 0] and layer.running_mean == pytest.approx([0.1, 0.1]) and layer.running_mean.dtype == np.float32


def test_dropout_statistics():
    """Kept numbers are divided by 1 - p exactly, others 0; their count is binomial, here within 6 of its standard deviations."""
    n, p = 20000, 0.3
    layer, x = nn.Dropout(p, rng=0), np.full((1, n), 2.0)
    y = layer(tc.Tensor(x)).data
    assert set(np.unique(y)) == {0.0, 2.0 * (1 / 0.7)}
    assert abs((y == 0).sum() - n * p) < 6 * math.sqrt(n * p * (1 - p))
    assert not np.array_equal(layer(tc.Tensor(x)).data, y)                  # new numbers each time
    assert np.array_equal(layer.eval()(tc.Tensor(x)).data, x)
    assert np.array_equal(nn.Dropout(0.0)(tc.Tensor(x)).data, x)
    assert np.array_equal(nn.Dropout(p, rng=0)(tc.Tensor(x)).data, y)       # the same seed, the same numbers


# ---- how weights begin ----------------------------------------------------------------------------------------------------

def _within_chance(w, variance, kurtosis):
    """Mean 0 and this variance, within 6 standard errors: σ/sqrt(n), and σ² sqrt((kurtosis - 1)/n)."""
    w = w.astype(np.float64)
    assert abs(w.mean()) < 6 * math.sqrt(variance / w.size)
    assert abs((w ** 2).mean() / variance - 1) < 6 * math.sqrt((kurtosis - 1) / w.size)


NORMAL, UNIFORM = 3.0, 1.8
SHAPE = (64, 32, 3, 3)                                                      # fan_in 288, fan_out 576


@pytest.mark.parametrize("draw, variance, kurtosis", [
    (lambda **k: nn.init.kaiming_normal(SHAPE, nonlinearity="relu", **k), 2 / 288, NORMAL),
    (lambda **k: nn.init.kaiming_normal(SHAPE, mode="fan_out", nonlinearity="relu", **k), 2 / 576, NORMAL),
    (lambda **k: nn.init.kaiming_normal(SHAPE, nonlinearity="linear", **k), 1 / 288, NORMAL),
    (lambda **k: nn.init.kaiming_normal(SHAPE, nonlinearity="tanh", **k), 25 / 9 / 288, NORMAL),
    (lambda **k: nn.init.kaiming_uniform(SHAPE, a=math.sqrt(5), **k), 1 / 3 / 288, UNIFORM),
    (lambda **k: nn.init.kaiming_uniform(SHAPE, nonlinearity="relu", **k), 2 / 288, UNIFORM),
    (lambda **k: nn.init.normal(SHAPE, 0.01, **k), 1e-4, NORMAL),
    (lambda **k: nn.init.xavier_normal(SHAPE, **k), 2 / 864, NORMAL),
    (lambda **k: nn.init.xavier_uniform(SHAPE, gain=2.0, **k), 8 / 864, UNIFORM),
])
def test_variances_are_the_papers(draw, variance, kurtosis):
    """Against He et al. 2015 and Glorot & Bengio 2010; uniform numbers also stay within sqrt(3 variance). Same seed, same
    numbers."""
    w = draw(rng=0)
    _within_chance(w, variance, kurtosis)
    if kurtosis == UNIFORM:
        assert np.abs(w).max() <= np.float32(math.sqrt(3 * variance))
    assert w.dtype == np.float32 and np.array_equal(w, draw(rng=np.random.default_rng(0))) and not np.array_equal(w, draw(rng=1))
    assert draw(rng=0, dtype=np.float64).dtype == np.float64


@pytest.mark.parametrize("layer, fan_in", [(lambda: nn.Conv2d(32, 64, 3, groups=4, rng=0), 72),
                                           (lambda: nn.Linear(100, 64, rng=0), 100)])
def test_layers_begin_as_pytorchs(layer, fan_in):
    """Weights and biases uniform on ± 1/sqrt(fan_in), fan_in counted within a group."""
    layer = layer()
    _within_chance(layer.weight.data, 1 / 3 / fan_in, UNIFORM)
    _within_chance(layer.bias.data, 1 / 3 / fan_in, UNIFORM)
    bound = np.float32(1 / math.sqrt(fan_in))
    assert np.abs(layer.weight.data).max() <= bound and np.abs(layer.bias.data).max() <= bound


def test_seeds():
    """One seed fixes a whole block; layers built from one Generator differ from each other."""
    a, b = nn.InvertedResidual(4, 4, rng=3), nn.InvertedResidual(4, 4, rng=3)
    assert all(np.array_equal(p.data, q.data) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    rng = np.random.default_rng(0)
    assert not np.array_equal(nn.Linear(3, 3, rng=rng).weight.data, nn.Linear(3, 3, rng=rng).weight.data)
    assert nn.init.fans((5, 7)) == (7, 5) and nn.init.gain_of("leaky_relu", math.sqrt(5)) == pytest.approx(math.sqrt(1 / 3))


# ---- modules --------------------------------------------------------------------------------------------------------------

class Net(nn.Module):
    """A network with every kind of thing in it: nested modules, a list, a parameter of its own, a shared layer, a buffer."""

    def __init__(self, rng=0):
        super().__init__()
        rng = np.random.default_rng(rng)
        self.stem = nn.conv_bn_act(1, 4, rng=rng)
        self.blocks = nn.ModuleList([nn.Conv2d(4, 4, 1, bias=False, rng=rng), nn.Dropout(0.5, rng=rng)])
        self.again = self.blocks[0]
        self.scale = nn.Parameter(np.ones(1, np.float32))
        self.head = nn.Linear(4, 3, rng=rng)
        self.tied = nn.Linear(4, 3, rng=rng)
        self.tied.weight = self.head.weight
        self.register_buffer("table", np.arange(3))

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        x = (self.again(x) * self.scale).mean(axis=(2, 3))
        return self.head(x) + self.tied(x)


NAMES = ["scale", "stem.0.weight", "stem.1.weight", "stem.1.bias", "blocks.0.weight", "head.weight", "head.bias", "tied.bias"]


def _images(n=2):
    return tc.Tensor(np.random.default_rng(0).standard_normal((n, 1, 4, 4)).astype(np.float32))


def test_names_follow_the_attributes_and_shared_things_come_once():
    net = Net()
    assert [name for name, _ in net.named_parameters()] == NAMES
    assert [name for name, _ in net.named_buffers()] == ["table", "stem.1.running_mean", "stem.1.running_var"]
    assert len(list(net.parameters())) == len(NAMES) and len(list(net.buffers())) == 3
    modules = [name for name, _ in net.named_modules()]
    assert modules[:3] == ["", "stem", "stem.0"] and len(modules) == len(set(modules)) and "again" not in modules
    assert [name for name, _ in net.named_children()] == ["stem", "blocks", "again", "head", "tied"]
    assert len(list(net.children())) == 5 and len(list(net.modules())) == len(modules)


def test_a_shared_parameter_gets_both_gradients():
    net = Net().eval()
    net(_images()).sum().backward()
    both = net.head.weight.grad.copy()
    net.tied.weight = nn.Parameter(net.head.weight.data.copy())
    net.zero_grad()
    net(_images()).sum().backward()
    assert both == pytest.approx(net.head.weight.grad + net.tied.weight.grad, rel=1e-5)


def test_a_state_travels(tmp_path):
    """state_dict -> load_state_dict into another network: the same function, bit for bit; the state is a copy; extra counters
    are let be."""
    a, b = Net(0), Net(1)
    a(_images(4))                                                           # statistics move
    state = a.state_dict()
    assert set(state) == {*NAMES, "tied.weight", "table", "stem.1.running_mean", "stem.1.running_var"}
    state["stem.1.num_batches_tracked"] = np.array(7)
    assert b.load_state_dict(state) == ([], [])
    assert np.array_equal(a.eval()(_images()).data, b.eval()(_images()).data)
    state["scale"][:] = 100
    assert a.scale.data.tolist() == b.scale.data.tolist() == [1]


@pytest.mark.parametrize("change, message", [
    (lambda s: s.pop("head.bias"), "head.bias: missing"),
    (lambda s: s.update({"extra": np.ones(2)}), "extra: unexpected"),
    (lambda s: s.update({"head.bias": np.ones(4, np.float32)}), r"head.bias: shape \(4,\), should be \(3,\)"),
    (lambda s: s.update({"head.bias": np.ones((1, 3), np.float32)}), r"head.bias: shape \(1, 3\)"),
    (lambda s: s.update({"head.bias": np.ones(3, int)}), "head.bias: int64, should be float32"),
    (lambda s: s.update({"head.bias": np.array([1, np.nan, 2], np.float32)}), "head.bias: holds NaN or infinities"),
    (lambda s: s.update({"stem.1.running_var": np.full(4, np.inf)}), "stem.1.running_var: holds NaN or infinities"),
    (lambda s: s.update({"head.bias": np.full(3, 1e39)}), "head.bias: holds numbers too large for float32"),
    (lambda s: s.update({"head.bias": [[1.0], [2.0, 3.0]]}), "head.bias: no array"),
    (lambda s: s.update({"head.bias": np.array([None] * 3)}), "head.bias: object, should be float32"),
    (lambda s: s.update({7: np.ones(3)}), "7: unexpected"),
])
def test_a_state_that_does_not_fit_changes_nothing(change, message):
    net = Net(0)
    before, state = net.state_dict(), Net(1).state_dict()
    change(state)
    with pytest.raises(ValueError, match=f"this state does not fit Net: .*{message}"):
        net.load_state_dict(state)
    assert all(before[name].tobytes() == array.tobytes() for name, array in net.state_dict().items())


def test_integers_that_do_not_fit_are_refused():
    """A buffer of int8 takes int64 numbers that are int8 numbers, and no others: 200 would become -56."""
    net = nn.Module()
    net.register_buffer("codes", np.zeros(2, np.int8))
    net.load_state_dict({"codes": np.array([-128, 127])})
    with pytest.raises(ValueError, match="codes: holds numbers too large for int8"):
        net.load_state_dict({"codes": np.array([0, 200])})
    assert net.codes.tolist() == [-128, 127] and net.codes.dtype == np.int8


@pytest.mark.parametrize("state", [None, "net.safetensors", [("scale", 1)]])
def test_a_state_that_is_no_dict_is_refused(state):
    with pytest.raises(TypeError, match=f"state must be a dict of name -> array, not {type(state).__name__}; tinyconv.load"):
        Net(0).load_state_dict(state)


def test_all_faults_are_listed_at_once():
    with pytest.raises(ValueError, match="a: unexpected; bias: missing; weight: shape"):
        nn.Linear(3, 2).load_state_dict({"a": np.ones(1), "weight": np.ones((3, 2))})


def test_not_strict_loads_what_is_there():
    net, state = Net(0), Net(1).state_dict()
    del state["head.bias"]
    state["extra"] = np.ones(2)
    assert net.load_state_dict(state, strict=False) == (["head.bias"], ["extra"])
    assert np.array_equal(net.stem[0].weight.data, state["stem.0.weight"])
    with pytest.raises(ValueError, match="scale: shape"):                   # a wrong shape is never let be
        net.load_state_dict({"scale": np.ones(2, np.float32)}, strict=False)


def test_a_copy_has_arrays_of_its_own_and_keeps_what_is_shared():
    a = Net()
    b = a.copy()
    assert b.tied.weight is b.head.weight and b.again is b.blocks[0] and b.scale is not a.scale
    for (name, p), (other, q) in zip(a.named_parameters(), b.named_parameters(), strict=True):
        assert name == other and np.array_equal(p.data, q.data) and not np.shares_memory(p.data, q.data)
    for p, q in zip(a.buffers(), b.buffers(), strict=True):
        assert np.array_equal(p, q) and not np.shares_memory(p, q)
    assert np.array_equal(a(_images()).data, b(_images()).data)             # dropout too: its generator is copied as it stands


def test_training_and_evaluation_reach_every_module():
    net = Net()
    assert net.training and net.eval() is net and not any(m.training for m in net.modules())
    assert net.train() is net and all(m.training for m in net.modules())
    net.blocks.eval()
    assert net.training and not net.again.training


def test_precision_of_a_whole_module():
    """to(float64): parameters and statistics, not integer buffers; gradients are forgotten."""
    net = Net()
    net(_images()).sum().backward()
    assert net.to("float64") is net and all(p.dtype == np.float64 and p.grad is None for p in net.parameters())
    assert net.stem[1].running_var.dtype == np.float64 and net.table.dtype == np.int64
    assert net(tc.Tensor(_images().data.astype(np.float64))).dtype == np.float64
    with pytest.raises(TypeError, match="convert one side first"):
        net(_images())
    with pytest.raises(TypeError, match="dtype must be float32 or float64"):
        net.to(np.float16)


def test_freezing():
    net = Net().requires_grad_(False)
    assert not net(_images()).requires_grad
    net.head.requires_grad_()
    net(_images()).sum().backward()
    assert net.head.weight.grad is not None and net.stem[0].weight.grad is None
    net.zero_grad()
    assert net.head.weight.grad is None


def test_seeding_reaches_every_dice():
    net = Net()
    first = net.seed(5)(_images()).data
    assert np.array_equal(net.seed(np.random.default_rng(5))(_images()).data, first) and not np.array_equal(net(_images()).data,
                                                                                                            first)


def test_attributes_move_between_their_homes():
    """Assigning a parameter, module, None or plain value puts it where it belongs; what would be lost in silence is refused."""
    layer = nn.Linear(3, 2)
    layer.bias = None
    assert list(layer.state_dict()) == ["weight"] and layer(tc.Tensor(np.ones((1, 3), np.float32))).shape == (1, 2)
    layer.bias = nn.Parameter(np.zeros(2, np.float32))
    assert list(layer.state_dict()) == ["weight", "bias"]
    del layer.bias
    assert not hasattr(layer, "bias")
    layer.note = "a word"
    assert layer.note == "a word" and list(layer.state_dict()) == ["weight"]
    for value in (np.ones((2, 3)), tc.Tensor(np.ones((2, 3), np.float32)), 3):
        with pytest.raises(TypeError, match="Linear.weight is a Parameter; a .* cannot take its place"):
            layer.weight = value
    norm = nn.BatchNorm2d(2)
    with pytest.raises(TypeError, match="buffer 'running_mean' must be a NumPy array or None, not Tensor"):
        norm.running_mean = tc.Tensor(np.zeros(2, np.float32))
    with pytest.raises(AttributeError, match="Linear has no attribute 'wieght'"):
        layer.wieght
    with pytest.raises(AttributeError):
        del layer.wieght

    class Forgetful(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(1, 1)

    with pytest.raises(AttributeError, match=r"call super\(\).__init__\(\) before assigning 'layer' in Forgetful"):
        Forgetful()
    with pytest.raises(NotImplementedError, match=r"Module defines no forward"):
        nn.Module()(1)


def test_sequential_and_lists():
    a, b, c = nn.ReLU(), nn.Identity(), nn.Flatten()
    chain = nn.Sequential(a, b)
    assert len(chain) == 2 and list(chain) == [a, b] and chain[-1] is b and list(chain[1:]) == [b]
    assert chain.append(c) is chain and chain[2] is c
    named = nn.Sequential({"first": nn.Linear(2, 3, rng=0), "second": nn.Linear(3, 1, rng=0)})
    assert list(named.state_dict()) == ["first.weight", "first.bias", "second.weight", "second.bias"]
    x = tc.Tensor(np.ones((1, 2), np.float32))
    assert np.array_equal(named(x).data, named[1](named[0](x)).data) and nn.Sequential()(x) is x
    some = nn.ModuleList([a])
    assert some.append(b) is some and len(some) == 2 and list(some) == [a, b] and some[1] is b
    with pytest.raises(NotImplementedError, match="ModuleList defines no forward"):
        some(x)
    for f in (lambda: nn.Sequential(a, np.tanh), lambda: nn.Sequential(a).append(None), lambda: nn.ModuleList([3])):
        with pytest.raises(TypeError, match=r"(Sequential|ModuleList) takes modules, not (ufunc|NoneType|int) \([01]\)"):
            f()
    with pytest.raises(ValueError, match="has a module '1' already"):
        nn.Sequential({"1": a}).append(b)


def test_modules_print_what_they_are():
    """The arguments that matter, nested modules indented."""
    assert repr(nn.Conv2d(3, 8, 3, 2, 1, groups=1, bias=False)) == "Conv2d(3, 8, kernel_size=(3, 3), stride=(2, 2), padding=1, bias=False)"
    assert repr(nn.MaxPool2d(3, 2)) == "MaxPool2d(kernel_size=3, stride=2, padding=0, dilation=1, ceil_mode=False)"
    assert repr(nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.ReLU()))) == (
        "Sequential(\n  (0): Linear(in_features=2, out_features=3, bias=True)\n  (1): Sequential(\n    (0): ReLU()\n  )\n)")
    assert all(repr(layer()).startswith(type(layer()).__name__ + "(") for layer, *_ in (*LAYERS, *LOSSES))


@pytest.mark.parametrize("f, message", [
    (lambda: nn.Conv2d(0, 4, 3), "in_channels must be an integer of at least 1, not 0"),
    (lambda: nn.Conv2d(4, 2.0, 3), "out_channels must be an integer of at least 1, not 2.0"),
    (lambda: nn.Conv2d(4, True, 3), "out_channels must be an integer of at least 1, not True"),
    (lambda: nn.Conv2d(4, 6, 0), "kernel_size must be at least 1, not 0"),
    (lambda: nn.Conv2d(4, 6, (3, 3, 3)), "kernel_size must be an integer or a pair"),
    (lambda: nn.Conv2d(4, 6, 3, stride=0), "stride must be at least 1"),
    (lambda: nn.Conv2d(4, 6, 3, dilation=0), "dilation must be at least 1"),
    (lambda: nn.Conv2d(4, 6, 3, groups=4), "groups must divide in_channels and out_channels, not 4 with 4 and 6"),
    (lambda: nn.Conv2d(4, 6, 3, groups=0), "groups must be an integer of at least 1, not 0"),
    (lambda: nn.Conv2d(4, 6, 3, padding_mode="mirror"), "padding_mode must be zeros, reflect, replicate or circular, not 'mirror'"),
    (lambda: nn.Conv2d(4, 6, 3, padding="same", padding_mode="reflect"), "'reflect' needs padding in numbers, not 'same'"),
    (lambda: nn.Conv2d(1, 1, 3, padding=-1)(_images()), "padding must be at least 0, not -1"),
    (lambda: nn.Conv2d(1, 1, 3, algorithm="magic")(_images()), "magic"),
    (lambda: nn.Conv2d(3, 1, 3)(_images()), "input channels"),
    (lambda: nn.Linear(3, 0), "out_features must be an integer of at least 1"),
    (lambda: nn.BatchNorm2d(0), "num_features must be an integer of at least 1"),
    (lambda: nn.BatchNorm2d(3)(_images()), r"weight must have shape \(1,\), one number a channel, not \(3,\)"),
    (lambda: nn.BatchNorm2d(1)(tc.Tensor(np.ones((1, 1, 1, 1), np.float32))), "more than one number a channel"),
    (lambda: nn.Dropout(1.0), r"p must lie in \[0, 1\), not 1.0"),
    (lambda: nn.LocalResponseNorm(0), "size must be an integer of at least 1"),
    (lambda: nn.ChannelShuffle(0), "groups must be an integer of at least 1"),
    (lambda: nn.init.fans((3,)), r"at least two axes has fans, not shape \(3,\)"),
    (lambda: nn.init.kaiming_normal((3, 3), mode="fan"), 'mode must be "fan_in" or "fan_out", not \'fan\''),
    (lambda: nn.init.kaiming_normal((3, 3), nonlinearity="swish"), "nonlinearity must be one of leaky_relu, linear"),
])
def test_wrong_arguments_are_named(f, message):
    with pytest.raises(ValueError, match=message):
        f()
