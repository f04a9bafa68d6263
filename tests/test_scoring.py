"""Criteria on whole networks: gradients, Hessians and movement are what they say, and every criterion prunes exactly as many."""
import numpy as np
import pytest
from wired import Wired

import tinyconv as tc
from tinyconv import apply, cost, graph, nn
from tinyconv.apply import scoring
from tinyconv.compress import prune as pure

RATIO = 0.4


def toy(n=48, seed=0):
    """Pictures of two channels whose class is the quadrant that is bright."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, n)
    images = rng.standard_normal((n, 2, 6, 6)).astype(np.float32) * 0.5
    for image, label in zip(images, labels):
        image[:, 3 * (label // 2):3 * (label // 2) + 3, 3 * (label % 2):3 * (label % 2) + 3] += 1.5
    return images, labels


DATA = toy()


@pytest.fixture(scope="module")
def g():
    """Stem, inverted residual with its depthwise layer, head; trained for a moment, so that no two scores are alike."""
    net = nn.Sequential(nn.conv_bn_act(2, 8, rng=0), nn.InvertedResidual(8, 8, 1, 2, rng=1), nn.InvertedResidual(8, 6, 2, 2, rng=2),
                        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4, rng=3))
    return apply.finetune(tc.trace(net, (1, 2, 6, 6), check=False), *DATA, epochs=2, progress=False)


@pytest.fixture
def untouched(g):
    """The graph that goes in is the graph that was there before: nodes, and every bit of every array."""
    before = {name: a.tobytes() for name, a in g.arrays().items()}
    nodes = g.nodes
    yield
    assert g.nodes == nodes and {name: a.tobytes() for name, a in g.arrays().items()} == before


def wide(g):
    """The same network in float64."""
    return g.with_arrays({name: a.astype(np.float64) for name, a in g.arrays().items()})


# ---- what scores are made of -----------------------------------------------------------------------------------------

@pytest.mark.usefixtures("untouched")
def test_gradients_are_those_of_the_loss(g):
    """Along a random direction against the difference quotient in float64; two batches weigh as many pictures as they hold."""
    images, labels = DATA[0].astype(np.float64), DATA[1]
    g = wide(g)
    ((share, grads),) = scoring.gradients(g, (images, labels))
    assert share == 1 and set(grads) == {name for name, a in g.parameters.items() if a.ndim > 1}
    rng = np.random.default_rng(0)
    move = {name: rng.standard_normal(w.shape) for name, w in grads.items()}

    def loss(step):
        z = graph.run(g, images, values={name: g.array(name) + step * v for name, v in move.items()})
        return tc.functional.cross_entropy(z, labels).data
    slope = (loss(1e-7) - loss(-1e-7)) / 2e-7                                     # a short step: ReLU6 has corners
    terms = np.concatenate([(grads[name] * v).ravel() for name, v in move.items()])
    assert slope == pytest.approx(terms.sum(), abs=1e-6 * np.abs(terms).sum())
    parts = list(scoring.gradients(g, (images, labels), batch_size=32))
    assert [part for part, _ in parts] == [32 / 48, 16 / 48]
    for name, whole in grads.items():
        np.testing.assert_allclose(sum(part * found[name] for part, found in parts), whole, rtol=0, atol=1e-12)


@pytest.mark.usefixtures("untouched")
def test_hessians_measure_what_every_layer_puts_out(g):
    """Each layer's weights moved at random in the float64 network: the mean squared change of its own outputs is ½δᵀHδ."""
    g, images = wide(g), DATA[0].astype(np.float64)
    h, rng = scoring.hessians(g, images, batch_size=20), np.random.default_rng(0)
    for node in g.nodes:
        if node.op not in ("conv2d", "linear"):
            continue
        name, seen = node.inputs[1], []
        w, look = g.array(name), lambda at, outputs: seen.append(outputs[0]) if at is node else None
        delta = rng.standard_normal(w.shape)
        for value in (w, w + delta):
            graph.run(g, images, values={name: value}, each=look)
        pixels = seen[0].size / len(w)
        assert h[name].shape[0] == node.attributes.get("groups", 1)
        assert np.square(seen[1] - seen[0]).sum() / pixels == pytest.approx(pure.output_error(delta, h[name]), rel=1e-10)


def test_a_shared_weight_has_the_inputs_of_all_its_layers():
    """One convolution, read twice: its H is the mean over both inputs, each with its number of pixels."""
    model = Wired(lambda self, x: self.a(self.a(x)), a=nn.Conv2d(2, 2, 3, bias=False, rng=0))
    g, x = tc.trace(model, (1, 2, 7, 7)), DATA[0][:, :, :, :].astype(np.float32)
    x = np.pad(x, ((0, 0), (0, 0), (0, 1), (0, 1)))
    h = scoring.hessians(g, x)["a.weight"]
    first = tc.formulas.conv2d_geometry(x.shape, (2, 2, 3, 3))
    middle = tc.kernels.conv2d(x, g.array("a.weight"))
    second = tc.formulas.conv2d_geometry(middle.shape, (2, 2, 3, 3))
    columns = np.concatenate([pure.layer_columns(x, first), pure.layer_columns(middle, second)], axis=2)
    np.testing.assert_allclose(h, pure.layer_hessian(columns), rtol=1e-12)


@pytest.mark.usefixtures("untouched")
def test_movement_of_one_step(g):
    """One batch is one step: -w times the gradient in training mode, at the weights before the step."""
    net = graph.Network(g).train()
    tc.functional.cross_entropy(net(tc.Tensor(DATA[0])), DATA[1]).backward()
    moved = scoring.movement(g, DATA)
    for name, score in moved.items():
        w, grad = g.array(name), net._parameters[name].grad
        allowed = 1e-4 * np.abs(w * grad).max()                                  # the batch's order changes float32 sums
        np.testing.assert_allclose(score, -w.astype(np.float64) * grad, rtol=0, atol=allowed)


def test_slip_taylor_behind_batch_statistics(g):
    """In training BatchNorm divides a filter's scale out, so Σ w g is 0 to rounding and |Σ w g| ranks noise; in evaluation it
    is a number of the size of Σ |w g|."""
    g, images = wide(g), DATA[0].astype(np.float64)
    name = g.nodes[0].inputs[1]
    assert g.nodes[0].op == "conv2d" and g.nodes[1].op == "batch_norm"
    w = tc.Tensor(g.array(name), requires_grad=True)
    tc.functional.cross_entropy(graph.run(g, tc.Tensor(images), values={name: w}, training=True), DATA[1]).backward()
    slip = pure.taylor_abs_sum_scores(w.data, w.grad).max() / pure.taylor_sum_abs_scores(w.data, w.grad).max()
    ((_, grads),) = scoring.gradients(g, (images, DATA[1]))
    right = pure.taylor_abs_sum_scores(w.data, grads[name]).max() / pure.taylor_sum_abs_scores(w.data, grads[name]).max()
    assert slip < 1e-3 and right > 0.05                                           # ε of BatchNorm keeps it from 0 exactly


# ---- every criterion, one network ------------------------------------------------------------------------------------

@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("criterion", apply.CRITERIA)
def test_every_criterion_prunes_one_network(g, criterion):
    """Exactly round(ratio · n) groups go, of all or of each family; pruned == masked bit for bit on plain kernels; a budget is kept."""
    coupling = graph.couple(g)
    roots, scores, families = apply.group_scores(g, criterion, 0, coupling, DATA)
    assert scores.shape == (len(coupling.groups),) and len(set(scores.tolist())) > len(scores) // 2
    small = apply.prune(g, RATIO, criterion, data=DATA)
    gone = roots[np.argsort(scores, kind="stable")[:round(RATIO * len(roots))]]
    masked = graph.mask_channels(g, gone, coupling)
    assert len(graph.couple(small).groups) == len(roots) - round(RATIO * len(roots))
    with tc.use("plain"):
        assert np.array_equal(graph.run(small, DATA[0][:4]), graph.run(masked, DATA[0][:4]))
    uniform = apply.group_scores(apply.prune(g, RATIO, criterion, "uniform", data=DATA), "l1")[2]
    assert all(uniform.count(family) == families.count(family) - round(RATIO * families.count(family)) for family in set(families))
    half = apply.prune(g, macs=cost.macs(g) // 2, criterion=criterion, data=DATA)
    assert cost.macs(half) <= cost.macs(g) // 2


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("criterion", apply.WEIGHT_CRITERIA)
def test_every_criterion_of_weights_zeroes_exactly_as_many(g, criterion):
    """round(n · s) over all or in each array; kept ones keep their bits; and twice, 0.3 then 0.6, is 0.6: zeros go first again."""
    names = [name for name, a in g.parameters.items() if a.ndim > 1]
    total = sum(g.array(name).size for name in names)
    once = apply.sparsify(g, 0.3, criterion=criterion, data=DATA)
    twice = apply.sparsify(once, 0.6, criterion=criterion, data=DATA)
    each = apply.sparsify(g, 0.3, "uniform", criterion, DATA)
    assert [sum(int((h.array(name) == 0).sum()) for name in names) for h in (once, twice)] == [round(0.3 * total), round(0.6 * total)]
    for name in names:
        w = g.array(name)
        assert (each.array(name) == 0).sum() == round(0.3 * w.size)
        kept = once.array(name) != 0
        assert once.array(name)[kept].tobytes() == w[kept].tobytes() and not (twice.array(name)[~kept]).any()


@pytest.mark.usefixtures("untouched")
def test_tables_hold_what_the_pages_define(g):
    """By name, against compress/prune on gradients and Hessians made here."""
    weights = {name: a for name, a in g.parameters.items() if a.ndim > 1}
    ((_, grads),) = scoring.gradients(g, DATA)
    h = scoring.hessians(g, DATA[0])
    expected = {
        "gradient": lambda n, w: np.abs(grads[n].astype(np.float64)).reshape(len(w), -1).sum(1),
        "taylor_sum_abs": lambda n, w: pure.taylor_sum_abs_scores(w, grads[n]),
        "taylor_abs_sum": lambda n, w: pure.taylor_abs_sum_scores(w, grads[n]),
        "taylor_sum_squares": lambda n, w: pure.taylor_sum_squares_scores(w, grads[n]),
        "obd": lambda n, w: pure.obd_scores(w, h[n]).reshape(len(w), -1).sum(1),
        "obs": lambda n, w: pure.output_errors(w, h[n]), "lamp": lambda n, w: pure.lamp_scores(pure.l2_scores(w)),
        "geometric_median": lambda n, w: pure.geometric_median_scores(w),
    }
    for criterion, score in expected.items():
        found = scoring.scored(g, criterion, DATA, 0, scoring.CRITERIA)
        assert set(found) == set(weights)
        for name, w in weights.items():
            np.testing.assert_allclose(found[name], score(name, w), rtol=1e-6)
    gammas = scoring.scored(g, "batch_norm", None, 0, scoring.CRITERIA)
    assert all(np.array_equal(s, np.abs(g.array(name).astype(np.float64))) for name, s in gammas.items()) and len(gammas) == 7


@pytest.mark.small
def test_slimming_ranks_gamma_as_it_is():
    """The channels of the smallest |γ| of the whole network go, not the smallest of each layer's mean."""
    model = nn.Sequential(nn.Conv2d(2, 4, 3, rng=0), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, rng=1), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1, rng=2))
    model[1].weight.data = np.float32([1, -2, 3, 4])
    model[3].weight.data = np.float32([0.1, 0.2, -0.3, 0.4])
    small = apply.prune(tc.trace(model, (1, 2, 6, 6), check=False), 3 / 8, "batch_norm")
    assert small.array("1.weight").tolist() == [1, -2, 3, 4] and small.array("3.weight").tolist() == [np.float32(0.4)]


@pytest.mark.small
def test_n_of_m_on_a_network():
    """Every layer with blocks has exactly n of m left; the stem and the depthwise layer stay whole, and are refused by name."""
    model = nn.Sequential(nn.Conv2d(1, 8, 3, rng=0), nn.Conv2d(8, 8, 3, groups=8, rng=1), nn.Conv2d(8, 12, 1, rng=2))
    g = tc.trace(model, (1, 1, 8, 8), check=False)
    h = apply.n_of_m(g, 2, 4)
    assert np.count_nonzero(h.array("2.weight")) == 12 * 8 // 2
    assert all(np.array_equal(h.array(name), g.array(name)) for name in ("0.weight", "1.weight"))
    with pytest.raises(ValueError, match="layers without blocks of 4 input channels: 1.weight"):
        apply.n_of_m(g, 2, 4, layers=["1.weight", "2.weight"])


@pytest.mark.usefixtures("untouched")
def test_obs_on_a_network(g):
    """Each layer loses exactly its share, and its output error is below OBD's and magnitude's at the same count."""
    sparse, h = apply.obs_sparsify(g, 0.5, DATA[0], damping=1e-4), scoring.hessians(g, DATA[0])
    for name, hessian in h.items():
        w, new = g.array(name), sparse.array(name)
        assert new.dtype == np.float32 and (new == 0).sum() == round(0.5 * w.size)
        error = pure.output_error(new.astype(np.float64) - w, hessian)
        for mask in (pure.magnitude(w, 0.5), pure.mask_smallest(pure.obd_scores(w, hessian), 0.5)):
            assert error < pure.output_error(pure.masked(w, mask).astype(np.float64) - w, hessian)


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("call, message", [
    (lambda g: apply.prune(g, 0.5, "taylor", data=DATA), "criterion must be one of l1, l2, .*, not 'taylor'"),
    (lambda g: apply.sparsify(g, 0.5, criterion="l1"), "criterion must be one of magnitude, .*, not 'l1'"),
    (lambda g: apply.prune(g, 0.5, "taylor_sum_abs"), r"criterion 'taylor_sum_abs' needs data=\(images, labels\), not None"),
    (lambda g: apply.sparsify(g, 0.5, criterion="obs", data=DATA[0]), r"criterion 'obs' needs data=\(images, labels\), not ndarray"),
    (lambda g: apply.prune(g, 0.5, "obd", data=(DATA[0], DATA[1][:3])), "an integer label for each"),
    (lambda g: apply.prune(g, 0.5, "movement", data=(DATA[0], DATA[1] * 1.0)), "an integer label for each, not .* float64"),
    (lambda g: apply.prune(g, 0.5, "gradient", data=(DATA[0][:0], DATA[1][:0])), "at least one picture"),
    (lambda g: apply.prune(g, 1.0, "l2"), r"ratio must lie in \[0, 1\)"),
    (lambda g: apply.sparsify(g, 1.5), "sparsity must be a fraction from 0 to 1, not 1.5"),
    (lambda g: apply.sparsify(g, 0.5, criterion="random", seed=None), "seed must be"),
    (lambda g: apply.prune(tc.trace(nn.Sequential(nn.Conv2d(1, 3, 3, rng=0), nn.Conv2d(3, 2, 1, rng=1)), (1, 1, 5, 5)), 0.5, "batch_norm"),
     "criterion 'batch_norm' has no score for 3 of 3 groups, the first in 0.bias: no BatchNorm behind it"),
    (lambda g: apply.obs_sparsify(g, -0.1, DATA[0]), "sparsity must be a fraction"),
    (lambda g: apply.obs_sparsify(g, 0.5, DATA[0][:0]), "images must hold at least one picture"),
    (lambda g: apply.with_masks(g, {"nothing": np.ones(3, bool)}), "masks for arrays that the graph does not have: nothing"),
])
def test_refusals(g, call, message):
    with pytest.raises(ValueError, match=message):
        call(g)
