"""The networks against what their papers and authors print: parameters and multiply-adds to the unit; against torchvision: names,
shapes and scores; and what every one of them takes and refuses.
"""
import functools

import golden
import numpy as np
import pytest

import tinyconv as tc
from tinyconv import cost, models, nn
from tinyconv.models.building import make_divisible


@pytest.fixture
def undrawn():
    """Weights begin as zeros where a test only counts them: drawing 138 million numbers takes seconds, and zeros nothing."""
    with nn.init.undrawn():
        yield


@functools.lru_cache(maxsize=None)
def counted(name, size=224, **options):
    """The table of a network on pictures of that size; what it says of parameters is what the model has."""
    model = models.NETWORKS[name](rng=0, **options)
    summary = cost.summary(model, (1, 3, size, size))
    norms = sum(p.size for m in model.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters())
    assert summary.params == sum(p.size for p in model.parameters()) and summary.norm_params == norms
    return summary


def costs(name, size=224, **options):
    """(MACs, parameters, parameters without BatchNorm's)."""
    found = counted(name, size, **options)
    return found.macs, found.params, found.params - found.norm_params


@pytest.mark.parametrize("name", models.PUBLISHED)
def test_published_counts_to_the_unit(name, undrawn):
    """What the page of the network states is what the network is."""
    published = models.PUBLISHED[name]
    macs, params, without = costs(name, published.get("size", 224))
    found = {"macs": macs, "params": params, "params_without_batch_norm": without, "size": published.get("size", 224)}
    assert published == {key: found[key] for key in published} and {"macs", "params"} <= set(published)


def test_every_network_is_published_or_small(undrawn):
    """NETWORKS, PUBLISHED and the room's names belong together: counts for every network but the small forms, no others."""
    small = {name for name in models.NETWORKS if name.endswith("_small") and name != "mobilenet_v3_small"}
    assert set(models.PUBLISHED) == set(models.NETWORKS) - small and len(small) == 7
    assert set(models.NETWORKS) <= set(dir(models)) and {row.network for row in models.PRINTED} <= set(models.PUBLISHED)


@pytest.mark.parametrize("row", models.PRINTED, ids=lambda row: f"{row.network} {row.text} {row.options or row.size}")
def test_every_printed_number_comes_about(row, undrawn):
    """By the convention and rounding it names; half as much or half as much again would not."""
    count = counted(row.network, row.size, **row.options).counted(row.quantity, row.convention)
    assert row.agrees(count), count
    assert not row.agrees(round(count * 1.5)) and not row.agrees(round(count * 0.5))


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
    state.update({entry.replace("running_mean", "num_batches_tracked"): np.int64(1) for entry in shapes if "_mean" in entry})
    assert model.load_state_dict(state) == ([], [])
    with tc.no_grad():
        y = model(tc.Tensor(golden.picture())).data[:, golden.SHOWN]
    assert np.abs(y - scores).max() <= 1e-4 * np.abs(scores).max() and np.abs(np.diff(scores)).max() > 0


def test_the_record_is_complete():
    """Every network here that torchvision has too is held against it: the names, written out."""
    numbered = {"resnet": (18, 34, 50, 101, 152), "squeezenet": ("1_0", "1_1"), "shufflenet_v2_x": ("0_5", "1_0", "1_5", "2_0"),
                "vgg": (16, 19, "16_bn", "19_bn"), "efficientnet_b": (0, 1, 2, 3), "mnasnet": ("0_5", "0_75", "1_0", "1_3"),
                "mobilenet_v": (2, "3_large", "3_small"), "alexnet": ("",)}
    assert set(TORCHVISION) == {f"{family}{number}" for family, numbers in numbered.items() for number in numbers}
    assert all(len(shapes) > 15 and scores.shape == (1, 40) for shapes, scores in TORCHVISION.values())


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


@pytest.mark.small
def test_a_checkpoint_with_a_damaged_head_is_refused_whole(tmp_path):
    """Every byte of length and header changed, one at a time: a ValueError, and not a bit of the model has moved; or the header
    still means the same (a space that fills it up), and all is loaded.
    """
    path, state = tmp_path / "a.safetensors", nn.conv_bn_act(1, 2, 1, rng=1).state_dict()
    tc.save(path, state)
    whole, model, loaded = path.read_bytes(), nn.conv_bn_act(1, 2, 1, rng=0), 0
    before = {name: array.tobytes() for name, array in model.state_dict().items()}
    header = len(whole) - sum(array.nbytes for array in state.values())
    for place in range(header):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ (1, 16, 128)[place % 3]]) + whole[place + 1:])
        try:
            model.load_state_dict(tc.load(path))
        except ValueError:
            assert {name: array.tobytes() for name, array in model.state_dict().items()} == before, place
        else:
            assert all(np.array_equal(state[name], array) for name, array in model.state_dict().items()), place
            model, loaded = nn.conv_bn_act(1, 2, 1, rng=0), loaded + 1
    assert loaded <= 7 and header > 300


# ---- widths and resolutions -------------------------------------------------------------------------------------------------

# width: (MACs, parameters); what is printed of them stands in PRINTED
V1_WIDTHS = {1.0: (568_740_352, 4_231_976), 0.75: (325_400_448, 2_585_560), 0.5: (149_497_088, 1_331_592),
             0.25: (41_030_272, 470_072)}
V1_SIZES = {192: 418_121_728, 160: 290_675_200, 128: 186_400_768}
# parameters without BatchNorm's
V2_WIDTHS = {1.4: (582_195_824, 6_060_840), 1.3: (509_374_560, 5_342_536), 1.0: (300_774_272, 3_470_760),
             0.75: (209_069_792, 2_609_784), 0.5: (97_131_840, 1_950_136), 0.35: (59_285_808, 1_663_048)}
V2_SIZES = {192: 221.32, 160: 154.08, 128: 99.07, 96: 56.29}                # million MACs
SHUFFLE_V1 = {(1, 1.0): (143_078_976, 1_530_936), (2, 1.0): (140_836_512, 1_732_848), (3, 0.5): (37_589_856, 717_324),
              (3, 1.0): (137_460_672, 1_864_728), (3, 1.5): (292_443_552, 3_441_168), (3, 2.0): (524_045_184, 5_449_776),
              (4, 1.0): (134_339_776, 1_967_344), (8, 0.5): (40_469_760, 1_010_448), (8, 1.0): (138_365_952, 2_433_768),
              (8, 1.5): (290_188_800, 4_268_952), (8, 2.0): (521_942_016, 6_521_232)}
SHUFFLE_V2 = {0.5: (40_476_448, 1_366_792), 1.0: (145_814_296, 2_279_760), 1.5: (298_970_656, 3_507_720),
              2.0: (590_783_000, 7_403_600)}


def test_widths_to_the_unit(undrawn):
    """Every published row of V1 (Table 6, channels int(α c)), V2 (the authors' six rows), ShuffleNet and ShuffleNet V2."""
    assert {width: costs("mobilenet_v1", width_mult=width)[:2] for width in V1_WIDTHS} == V1_WIDTHS
    assert {width: costs("mobilenet_v2", width_mult=width)[::2] for width in V2_WIDTHS} == V2_WIDTHS
    assert {key: costs("shufflenet_v1", groups=key[0], width_mult=key[1])[:2] for key in SHUFFLE_V1} == SHUFFLE_V1
    assert {width: costs("shufflenet_v2_paper", width_mult=width)[:2] for width in SHUFFLE_V2} == SHUFFLE_V2


def test_resolutions_to_the_unit(undrawn):
    """Table 7 of V1 and the authors' rows of V2: all but the linear layer go with the area, since every size is a multiple of
    32.
    """
    assert {size: costs("mobilenet_v1", size)[0] for size in V1_SIZES} == V1_SIZES
    for size, printed in V2_SIZES.items():
        macs, linear = costs("mobilenet_v2", size)[0], 1280 * 1000
        assert round(macs / 1e6, 2) == printed and (macs - linear) * 224 ** 2 == (V2_WIDTHS[1.0][0] - linear) * size ** 2


def test_mobilenet_v1_layer_of_table_3():
    """An inner layer of the paper's Table 3, 14x14x512: 462 M as a full convolution, 52.3 M separable, and both multipliers
    on top.
    """
    def layer(c, size):
        return cost.summary(nn.DepthwiseSeparable(c, c, rng=0), (1, c, size, size)).macs
    assert cost.summary(nn.Conv2d(512, 512, 3, padding=1, bias=False), (1, 512, 14, 14)).macs == 462_422_016
    assert (layer(512, 14), layer(384, 14), layer(384, 10)) == (52_283_392, 29_578_752, 15_091_200)


@pytest.mark.small
def test_widths_round_as_the_authors_do():
    """To multiples of 8, never more than a tenth down: the channels of every published width."""
    assert [make_divisible(32 * a) for a in (1.4, 1.3, 0.75, 0.5, 0.35)] == [48, 40, 24, 16, 16]
    assert [make_divisible(c * 0.35) for c in (16, 24, 32, 64, 96, 160, 320)] == [8, 8, 16, 24, 32, 56, 112]
    for c in range(1, 2000):
        assert make_divisible(c) >= 0.9 * c and make_divisible(c) % 8 == 0 and abs(make_divisible(c) - c) <= max(8, c / 10 + 4)


@pytest.mark.small
def test_compound_scaling_is_not_quite_what_was_published():
    """The formula at the φ of B0 to B3 beside the published coefficients: B0 exactly, the others near; B3 is 1.4, 1.2, 300."""
    page = models.efficientnet
    scaled = {name: models.compound_scaling(phi) for name, phi in page.PHI.items()}
    found = {name: (round(depth, 2), round(width, 2), round(size)) for name, (depth, width, size) in scaled.items()}
    published = {name: row[:3] for name, row in page.PUBLISHED_SCALING.items()}
    assert found == {"efficientnet_b0": (1.0, 1.0, 224), "efficientnet_b1": (1.1, 1.05, 240), "efficientnet_b2": (1.2, 1.1, 258),
                     "efficientnet_b3": (1.44, 1.21, 296)}
    assert published["efficientnet_b3"] == (1.4, 1.2, 300)
    assert [name for name in found if found[name] == published[name]] == ["efficientnet_b0"]
    assert abs(page.ALPHA * page.BETA ** 2 * page.GAMMA ** 2 - 2) < 0.1


# ---- what every network takes and refuses -----------------------------------------------------------------------------------

@pytest.mark.small
def test_usual_inputs():
    """Published counts say of which picture; mobilenet_v3_small is no small form."""
    assert {models.input_shape(name) for name in ("resnet18", "mobilenet_v3_small", "shufflenet_v1")} == {(1, 3, 224, 224)}
    assert models.input_shape("resnet20") == (1, 3, 32, 32) and models.input_shape("efficientnet_b3") == (1, 3, 300, 300)
    assert models.input_shape("vgg16_small") == (1, 1, 28, 28)
    with pytest.raises(ValueError, match="unknown network 'vgg'; did you mean vgg1"):
        models.input_shape("vgg")


@pytest.mark.parametrize("name", models.NETWORKS)
def test_every_network_takes_other_classes_channels_and_widths(name, undrawn):
    """num_classes, in_channels and width_mult of all, on shapes alone: scores (N,7), fewer parameters, the same convolutions (a
    shortcut may come or go with the rounding of widths).
    """
    size = 227 if name == "alexnet_paper" else 64
    build = models.network(name)
    whole = tc.trace(build(in_channels=2, num_classes=7), (1, 2, size, size), check=False)
    thin = tc.trace(build(in_channels=2, num_classes=7, width_mult=0.3), (1, 2, size, size), check=False)
    for op in ("conv2d", "linear"):
        assert [node.module for node in thin.nodes if node.op == op] == [node.module for node in whole.nodes if node.op == op]
    assert tc.graph.shapes(thin, batch=3)[thin.outputs[0]] == (3, 7) and cost.params(thin) < 0.35 * cost.params(whole)


@pytest.mark.parametrize("name", [name for name in models.NETWORKS if name.endswith("_small") and name != "mobilenet_v3_small"])
def test_small_forms(name):
    """28x28 and 32x32 pictures, one channel or three, other class counts and widths; the same seed gives the same bits; under
    300 kB and 2.5 million MACs.
    """
    build = models.NETWORKS[name]
    for channels, size in ((1, 28), (3, 32)):
        model = build(num_classes=7, in_channels=channels, width_mult=0.5, rng=1)
        assert model(tc.Tensor(np.zeros((2, channels, size, size), np.float32))).shape == (2, 7)
    a, b, c = (build(rng=seed).state_dict() for seed in (3, np.random.default_rng(3), 4))
    assert all(np.array_equal(v, b[n]) for n, v in a.items()) and any(not np.array_equal(v, c[n]) for n, v in a.items())
    assert sum(v.nbytes for v in a.values()) < 300_000
    assert cost.macs(tc.trace(build(rng=0), (1, 1, 28, 28))) < 2_500_000


@pytest.mark.small
@pytest.mark.parametrize("f, error, message", [
    (lambda: models.network("resnet81"), ValueError, "unknown network 'resnet81'; did you mean resnet18"),
    (lambda: models.network("nothing like it"), ValueError, "unknown network 'nothing like it'; there are alexnet, alexnet_p"),
    (lambda: models.squeezenet_small(width_mult=0), ValueError, "width_mult must be a positive number, not 0"),
    (lambda: models.mobilenet_v1_small(width_mult=-1.0), ValueError, "width_mult must be a positive number, not -1.0"),
    (lambda: models.mobilenet_v2_small(width_mult=-1.0), ValueError, "channels must be above 0 and finite .* not -16.0"),
    (lambda: models.mnasnet1_0(width_mult=float("inf")), ValueError, "channels must be above 0 and finite"),
    (lambda: models.resnet_small(num_classes=0), ValueError, "out_features must be an integer of at least 1, not 0"),
    (lambda: models.resnet_small(in_channels=1.5), ValueError, "in_channels must be an integer of at least 1, not 1.5"),
    (lambda: models.squeezenet_small(dropout=1.0), ValueError, r"p must lie in \[0, 1\), not 1.0"),
    (lambda: models.shufflenet_v1_small(groups=5), ValueError, "groups"),
    (lambda: models.shufflenet_v1(groups=5), ValueError, "groups must be one of 1, 2, 3, 4, 8 .the paper's Table 1., not 5"),
    (lambda: models.mobilenet_v2_small(attention="all"), ValueError, "attention must be None, 'se', 'spatial', 'cbam', not 'al"),
    (lambda: models.resnet_small(rng=0)(np.zeros((1, 3, 28, 28), np.float32)), ValueError,
     r"input \(1, 3, 28, 28\), kernel \(16, 1, 3, 3\)"),
    (lambda: models.resnet_small(rng=0)(np.zeros((1, 28, 28), np.float32)), ValueError, r"four axes \(N, C, H, W\)"),
    (lambda: models.squeezenet_small(rng=0)(np.zeros((1, 1, 4, 4), np.float32)), ValueError, "no window fits"),
    (lambda: models.alexnet_paper(width_mult=0.02, rng=0)(np.zeros((1, 3, 224, 224), np.float32)), ValueError,
     "takes pictures of 227x227, not 224x224"),
])
def test_wrong_arguments_and_pictures_are_named(f, error, message):
    with pytest.raises(error, match=message):
        f()
