"""The networks against what their papers and authors print: parameters and multiply-adds to the unit, names and shapes of
torchvision.
"""
import golden
import numpy as np
import pytest

import tinyconv as tc
from tinyconv import cost, models, nn
from tinyconv.models.building import make_divisible


def costs(name, size=224, **options):
    """(MACs, parameters, parameters without BatchNorm's) of a network on pictures of that size."""
    model = models.NETWORKS[name](rng=0, **options)
    summary = cost.summary(model, (1, 3, size, size))
    norms = sum(p.size for m in model.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters())
    assert summary.params == sum(p.size for p in model.parameters())
    return summary.macs, summary.params, summary.params - norms


@pytest.fixture
def undrawn(monkeypatch):
    """Weights begin as zeros where a test only counts them: drawing 138 million numbers takes seconds, and zeros nothing."""
    for draw in ("kaiming_normal", "kaiming_uniform"):
        monkeypatch.setattr(nn.init, draw, lambda shape, **options: np.zeros(shape, np.float32))


@pytest.mark.parametrize("name", models.PUBLISHED)
def test_published_counts_to_the_unit(name, undrawn):
    """What the page of the network states is what the network is."""
    published = models.PUBLISHED[name]
    macs, params, without = costs(name, published.get("size", 224))
    assert {"size": 224, "params_without_batch_norm": without, **published} == {
        "size": published.get("size", 224), "macs": macs, "params": params, "params_without_batch_norm": without}
    assert set(models.PUBLISHED) <= set(models.NETWORKS) and set(models.NETWORKS) <= set(dir(models))


def counted(row, rows, model):
    """What a row of PRINTED is about, counted by its convention."""
    macs = {kind: sum(r.macs for r in rows if r.kind == kind) for kind in ("conv2d", "linear")}
    norms = sum(p.size for m in model.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters())
    params = sum(p.size for p in model.parameters())
    return {("macs", "conv + linear"): macs["conv2d"] + macs["linear"], ("macs", "conv"): macs["conv2d"],
            ("params", "all"): params, ("params", "no norm"): params - norms}[row.quantity, row.convention]


def test_every_printed_number_comes_about(undrawn):
    """Each row of PRINTED, by the convention and rounding it names; half as much or half as much again would not."""
    held = {}
    for row in models.PRINTED:
        key = (row.network, row.size, *row.options.items())
        if key not in held:
            model = models.NETWORKS[row.network](rng=0, **row.options)
            held[key] = cost.summary(model, (1, 3, row.size, row.size)).rows, model
        count = counted(row, *held[key])
        assert row.agrees(count), (row, count)
        assert not row.agrees(round(count * 1.5)) and not row.agrees(round(count * 0.5)), row


@pytest.mark.small
def test_printed_numbers_are_ranges():
    """Rounding to nearest, down and up, by the digits that are printed."""
    def agrees(text, count, rounding="nearest"):
        return models.building.Printed("x", "macs", text, "nobody", rounding=rounding).agrees(count)
    assert agrees("569 M", 568_500_000) and agrees("569 M", 569_499_999) and not agrees("569 M", 568_499_999)
    assert agrees("1.8 G", 1_750_000_001) and not agrees("1.80 G", 1_750_000_001) and agrees("12", 12) and not agrees("12", 13)
    assert agrees("3.8 G", 3_899_999_999, "down") and not agrees("3.8 G", 3_799_999_999, "down")
    assert agrees("41 M", 40_000_001, "up") and not agrees("41 M", 41_000_001, "up")


# ---- against torchvision ----------------------------------------------------------------------------------------------------

TORCHVISION = golden.recorded()


@pytest.mark.parametrize("name", TORCHVISION)
def test_networks_are_torchvisions(name, undrawn):
    """Names and shapes of the state_dict are torchvision's, so that its checkpoints load strictly (the counters it keeps beside
    every BatchNorm are accepted); and on the same weights the same scores come out, to 1e-4 of the largest (float32 rounds
    2^-24 = 6e-8 an operation; up to 152 layers in a row add some hundred times that).

    Made by: python benchmarks/make_golden.py (torch 2.13, torchvision 0.29).
    """
    model, (shapes, scores) = models.NETWORKS[name]().eval(), TORCHVISION[name]
    assert {entry: a.shape for entry, a in model.state_dict().items()} == shapes
    state = golden.weights(shapes)
    state.update({entry.replace("running_mean", "num_batches_tracked"): np.int64(1) for entry in shapes if "running_mean" in entry})
    assert model.load_state_dict(state) == ([], [])
    with tc.no_grad():
        y = model(tc.Tensor(golden.picture())).data[:, golden.SHOWN]
    assert np.abs(y - scores).max() <= 1e-4 * np.abs(scores).max() and np.abs(np.diff(scores)).max() > 0


def test_the_record_is_complete():
    """Every network here that torchvision has too is held against it: the names, written out."""
    assert set(TORCHVISION) == {
        "squeezenet1_0", "squeezenet1_1", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "mobilenet_v2",
        "shufflenet_v2_x0_5", "shufflenet_v2_x1_0", "shufflenet_v2_x1_5", "shufflenet_v2_x2_0"}


def test_a_checkpoint_that_does_not_fit_is_refused():
    """Missing, unexpected, misshapen: every entry is named, and nothing is loaded."""
    model = models.squeezenet1_1(num_classes=10, rng=0)
    before, state = model.state_dict(), golden.weights(TORCHVISION["squeezenet1_1"][0])
    del state["features.3.squeeze.weight"]
    state["features.99.bias"] = np.zeros(3, np.float32)
    with pytest.raises(ValueError, match="(?s)does not fit SqueezeNet: .*classifier.1.weight: shape .1000, 512, 1, 1., should be "
                                         ".10, 512, 1, 1.; features.3.squeeze.weight: missing; features.99.bias: unexpected"):
        model.load_state_dict(state)
    assert all(np.array_equal(a, before[name]) for name, a in model.state_dict().items())


# ---- widths and resolutions -------------------------------------------------------------------------------------------------

# width: (MACs, parameters, printed millions of MACs); Howard et al. 2017, Table 6
V1_WIDTHS = {1.0: (568_740_352, 4_231_976, 569), 0.75: (325_400_448, 2_585_560, 325), 0.5: (149_497_088, 1_331_592, 149),
             0.25: (41_030_272, 470_072, 41)}
# Table 7; 160 is printed truncated
V1_SIZES = {224: (568_740_352, 569), 192: (418_121_728, 418), 160: (290_675_200, 290), 128: (186_400_768, 186)}
# width: (MACs, parameters without BatchNorm's, printed M MACs, printed M parameters); the authors' table in tf-models slim
V2_WIDTHS = {1.4: (582_195_824, 6_060_840, 582, 6.06), 1.3: (509_374_560, 5_342_536, 509, 5.34),
             1.0: (300_774_272, 3_470_760, 300, 3.47),
             0.75: (209_069_792, 2_609_784, 209, 2.61), 0.5: (97_131_840, 1_950_136, 97, 1.95),
             0.35: (59_285_808, 1_663_048, 59, 1.66)}
V2_SIZES = {192: 221.32, 160: 154.08, 128: 99.07, 96: 56.29}                # million MACs


@pytest.mark.parametrize("width", V1_WIDTHS)
def test_mobilenet_v1_widths(width):
    """Table 6 of the paper: the width multiplier α, every channel count int(α c)."""
    macs, params, printed = V1_WIDTHS[width]
    assert costs("mobilenet_v1", width_mult=width)[:2] == (macs, params)
    assert abs(macs / 1e6 - printed) < 0.51


@pytest.mark.parametrize("size", V1_SIZES)
def test_mobilenet_v1_resolutions(size):
    """Table 7 of the paper: the resolution multiplier ρ."""
    macs, printed = V1_SIZES[size]
    assert costs("mobilenet_v1", size)[0] == macs and abs(macs / 1e6 - printed) < 0.7


@pytest.mark.parametrize("width", V2_WIDTHS)
def test_mobilenet_v2_widths(width):
    """All six rows that the authors print, both columns: MACs rounded down or to nearest, parameters without BatchNorm's."""
    macs, without, printed_macs, printed_params = V2_WIDTHS[width]
    found = costs("mobilenet_v2", width_mult=width)
    assert (found[0], found[2]) == (macs, without)
    assert abs(macs / 1e6 - printed_macs) < 0.8 and abs(without / 1e6 - printed_params) < 0.005


@pytest.mark.parametrize("size", V2_SIZES)
def test_mobilenet_v2_resolutions(size):
    """The authors' rows; and to the unit: all but the linear layer go with the area, since every size is a multiple of 32."""
    macs, linear = costs("mobilenet_v2", size)[0], 1280 * 1000
    assert round(macs / 1e6, 2) == V2_SIZES[size]
    assert (macs - linear) * 224 ** 2 == (V2_WIDTHS[1.0][0] - linear) * size ** 2


def test_mobilenet_v1_layer_of_table_3():
    """An inner layer of the paper's Table 3, 14x14x512: 462 M as a full convolution, 52.3 M separable, and both multipliers
    on top.
    """
    def layer(c, size):
        return cost.summary(nn.DepthwiseSeparable(c, c, rng=0), (1, c, size, size)).macs
    assert cost.summary(nn.Conv2d(512, 512, 3, padding=1, bias=False), (1, 512, 14, 14)).macs == 462_422_016
    assert (layer(512, 14), layer(384, 14), layer(384, 10)) == (52_283_392, 29_578_752, 15_091_200)


def test_erratum_of_mobilenet_v1_table_2():
    """The first convolution has 1.91 % of the MACs, not the printed 1.19; with it the column adds up to 100."""
    rows = cost.summary(models.mobilenet_v1(rng=0), (1, 3, 224, 224)).rows
    convolutions = [row for row in rows if row.kind == "conv2d"]
    total = sum(row.macs for row in rows)
    shares = [convolutions[0].macs / total, sum(row.macs for row in convolutions[2::2]) / total,
              sum(row.macs for row in convolutions[1::2]) / total,
              next(row.macs for row in rows if row.kind == "linear") / total]
    # 3x3; 1x1; depthwise; fully connected
    assert [round(100 * share, 2) for share in shares] == [1.91, 94.86, 3.06, 0.18]


@pytest.mark.small
def test_widths_round_as_the_authors_do():
    """To multiples of 8, never more than a tenth down: the channels of every published width."""
    assert [make_divisible(32 * a) for a in (1.4, 1.3, 0.75, 0.5, 0.35)] == [48, 40, 24, 16, 16]
    assert [make_divisible(c * 0.35) for c in (16, 24, 32, 64, 96, 160, 320)] == [8, 8, 16, 24, 32, 56, 112]
    for c in range(1, 2000):
        assert make_divisible(c) >= 0.9 * c and make_divisible(c) % 8 == 0 and abs(make_divisible(c) - c) <= max(8, c / 10 + 4)


@pytest.mark.parametrize("name", [name for name in models.NETWORKS if name.endswith("_small")])
def test_small_forms(name):
    """28x28 and 32x32 pictures, one channel or three, other class counts and widths; the same seed gives the same bits."""
    build = models.NETWORKS[name]
    for channels, size in ((1, 28), (3, 32)):
        model = build(num_classes=7, in_channels=channels, width_mult=0.5, rng=1)
        assert model(tc.Tensor(np.zeros((2, channels, size, size), np.float32))).shape == (2, 7)
    a, b, c = (build(rng=seed).state_dict() for seed in (3, np.random.default_rng(3), 4))
    assert all(np.array_equal(v, b[n]) for n, v in a.items()) and any(not np.array_equal(v, c[n]) for n, v in a.items())
    assert cost.macs(tc.trace(build(rng=0), (1, 1, 28, 28))) < 2_000_000
