"""The networks at work: a reduced member of each family learns, attention is added where it is asked for, and every page's claims
in numbers come out of the library itself. (That each runs as a graph bit for bit: test_graph.py.)
"""
import re

import numpy as np
import pytest
import reduced

import tinyconv as tc
from tinyconv import cost, data, formulas, models, nn
from tinyconv.recipes import exercising

@pytest.fixture(scope="module")
def pictures():
    """16 easy pictures: (N,3,32,32) float32, labels."""
    images, labels = data.shapes(16, seed=0, difficulty=0.2)
    return data.as_input(images), labels.astype(np.int64)


SLOW = "alexnet", "vgg16_small", "squeezenet1_1", "squeezenet_small"            # neither shortcuts nor much normalization


@pytest.mark.parametrize("name", reduced.MEMBERS)
def test_a_member_of_each_family_learns(name, pictures):
    """Twelve steps of Adam on 16 pictures, thirty for the slow ones: the mean loss of the last three is below nine tenths of the first three's.

    A network whose gradient is wrong, or whose scores do not depend on the picture, stays at log 10.
    """
    model, (channels, size, _) = reduced.member(name)
    x, labels = pictures
    x = np.repeat(np.repeat(x, 2, axis=2), 2, axis=3) if size == 64 else x[:, :channels]
    losses = exercising.losses(model, x, labels, 30 if name in SLOW else 12)
    assert np.isfinite(losses).all() and np.mean(losses[-3:]) < 0.9 * np.mean(losses[:3]), losses


@pytest.mark.parametrize("attention, added", [("se", True), ("spatial", True), ("cbam", True), (None, False)])
def test_attention_on_the_small_mobilenet(attention, added):
    """Behind every depthwise convolution, on as many channels; None is the network without."""
    model, plain = models.mobilenet_v2_small(attention=attention, rng=0), models.mobilenet_v2_small(rng=0)
    kinds = {"se": nn.SqueezeExcitation, "spatial": nn.SpatialAttention, "cbam": nn.CBAM, None: ()}[attention]
    found = [m for m in model.modules() if isinstance(m, kinds)]
    assert len(found) == (5 if added else 0)
    hidden = [16, 48, 72, 96, 160]
    extra = {"se": sum(c + c // 4 + 2 * c * (c // 4) for c in hidden), "spatial": 5 * 98, None: 0,
             "cbam": sum(2 * c * (c // 4) for c in hidden) + 5 * 98}[attention]
    assert sum(p.size for p in model.parameters()) - sum(p.size for p in plain.parameters()) == extra


# ---- what the pages say, computed ---------------------------------------------------------------------------------------------

def _macs(layer, *shape):
    return cost.summary(layer, shape).macs


def test_what_the_pages_say_it_buys():
    """The numbers in the docstrings of models/: shares, ratios and costs a pixel, each from the library's own counts."""
    p = models.PUBLISHED
    params, macs = ({name: row[key] for name, row in p.items()} for key in ("params", "macs"))
    linear = 9216 * 4096 + 4096 * 4096 + 4096 * 1000                                        # AlexNet's three
    assert round(linear / macs["alexnet"], 2) == 0.08 and round((linear + 9192) / params["alexnet"], 2) == 0.96
    linear = 25088 * 4096 + 4096 * 4096 + 4096 * 1000                                       # VGG's
    assert round((linear + 9192) / params["vgg16"], 2) == 0.89
    assert round(params["alexnet"] / params["squeezenet1_0"]) == 49
    assert round(macs["squeezenet1_0"] / macs["squeezenet1_1"], 1) == 2.3
    assert params["squeezenet1_0"] * 4 == 4_993_696 and round(4_993_696 / 2 ** 20, 2) == 4.76
    assert _macs(nn.Bottleneck(256, 64, rng=0), 1, 256, 2, 2) == 4 * 69_632
    assert 2 * _macs(nn.Conv2d(256, 256, 3, padding=1, bias=False, rng=0), 1, 256, 2, 2) == 4 * 1_179_648
    assert round(1 - macs["resnet50_paper"] / macs["resnet50"], 2) == 0.06
    assert params["se_resnet50"] - params["resnet50"] == 2_514_944 + 16_048                 # 2/r Σ C², and a bias a channel
    assert macs["se_resnet50"] - macs["resnet50_paper"] == 2_514_944
    assert round(macs["mobilenet_v1_conv"] / macs["mobilenet_v1"], 1) == 8.6
    assert round(macs["efficientnet_b0"] / macs["resnet50"], 1) == 0.1
    assert round(params["efficientnet_b0"] / params["resnet50"], 1) == 0.2
    assert _macs(nn.InvertedResidual(64, 64, 1, 6, rng=0), 1, 64, 2, 2) == 4 * 52_608
    assert _macs(nn.Conv2d(384, 384, 3, padding=1, bias=False, rng=0), 1, 384, 2, 2) == 4 * 1_327_104
    for layers, kernel, share in ((2, 5, 18 / 25), (3, 7, 27 / 49)):                        # VGG's stacks, for equal channels
        stacked, large = (formulas.conv2d_params(64, 64, k, bias=False) for k in (3, kernel))
        assert layers * stacked / large == share
    assert formulas.conv2d_geometry((1, 1, 7, 7), (1, 1, 7, 7)).oh == 1 == 7 - 3 * 2                      # three of 3x3 see 7x7
    assert [4 * width[1.0][1] for width in (models.shufflenetv1.WIDTHS[1], models.shufflenetv1.WIDTHS[3])] == [576, 960]


def test_what_the_pages_say_of_depthwise_layers():
    """Their share of the MACs and of the bytes that convolutions and linear layers move; how many have 5x5 kernels; and which
    networks have them, and which have shortcuts.
    """
    def rows(name):
        with nn.init.undrawn():
            found = cost.summary(models.network(name)(), (1, 3, 224, 224)).rows
        return [row for row in found if row.kind in ("conv2d", "linear")], sum(row.kind == "add" for row in found)

    def share(convs, chosen, field):
        return round(sum(getattr(row, field) for row in chosen) / sum(getattr(row, field) for row in convs), 2)
    light = {"shufflenet_v1": 13, "mobilenet_v2": 10, "mobilenet_v3_large": 10, "mnasnet1_0": 10, "efficientnet_b0": 9,
             "mobilenet_v1": 0, "shufflenet_v2_paper": 0}
    for name, shortcuts in light.items():
        convs, adds = rows(name)
        depthwise = [row for row in convs if row.kind == "conv2d" and row.attributes["groups"] == row.inputs[1][0] > 1]
        pointwise = [row for row in convs if row.kind == "conv2d" and row.inputs[1][2:] == (1, 1)]
        assert adds == shortcuts and len(depthwise) > 10 and len(pointwise) > 10, name
        if name == "mobilenet_v1":
            assert (share(convs, pointwise, "macs"), share(convs, depthwise, "macs")) == (0.95, 0.03)
        if name == "efficientnet_b0":
            assert (share(convs, depthwise, "macs"), share(convs, depthwise, "moved_bytes")) == (0.09, 0.33)
        if name == "mnasnet1_0":
            assert (sum(row.inputs[1][2:] == (5, 5) for row in depthwise), len(depthwise)) == (10, 17)


@pytest.mark.parametrize("page", models._PAGES, ids=lambda page: page.__name__.rpartition(".")[2])
def test_every_page_answers_five_questions(page):
    """What is new, where it sits, what it buys in numbers, whether it carries over, and which block it is: one that the
    page's first network really has.
    """
    text = " ".join(page.__doc__.split())
    answers = re.split(r"What (?:is|was) new: |Where (?:it|they) sits?: |What it buys|It carries over", text)
    assert len(answers) == 5 and re.search(r"\d", answers[3])
    with nn.init.undrawn():
        model = next(build for build in models.NETWORKS.values() if build.__module__ == page.__name__)()
    kinds = {type(module).__name__ for module in model.modules()}
    assert kinds & set(re.findall(r"`(?:nn\.)?([A-Z]\w+)`", answers[2])), answers[2]


def test_the_two_shufflenets_v2_are_different_networks():
    """torchvision's strided units halve, the authors' keep what they are given: at 0.5 the counts agree (24 of 48), elsewhere
    not.
    """
    def macs(model):
        return _macs(model, 1, 3, 224, 224)
    for width, name in ((0.5, "x0_5"), (1.0, "x1_0"), (1.5, "x1_5"), (2.0, "x2_0")):
        ours = macs(models.network(f"shufflenet_v2_{name}")(rng=0))
        assert (macs(models.shufflenet_v2_paper(width_mult=width, rng=0)) == ours) == (width == 0.5)
