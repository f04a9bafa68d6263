"""The networks at work: a reduced member of each family learns, attention is added where it is asked for, and every page's claims
in numbers come out of the library itself. (That each runs as a graph bit for bit: test_graph.py.)
"""
import numpy as np
import pytest
import reduced

import tinyconv as tc
from tinyconv import cost, data, models, nn
from tinyconv.recipes import exercising

@pytest.fixture(scope="module")
def pictures():
    """16 easy pictures: (N,3,32,32) float32, labels."""
    images, labels = data.shapes(16, seed=0, difficulty=0.2)
    return data.as_input(images), labels.astype(np.int64)


@pytest.mark.parametrize("name", reduced.MEMBERS)
def test_a_member_of_each_family_learns(name, pictures):
    """Thirty steps of Adam on 16 pictures: the mean loss of the last three is below nine tenths of the first three's.

    A network whose gradient is wrong, or whose scores do not depend on the picture, stays at log 10.
    """
    model, (channels, size, _) = reduced.member(name)
    x, labels = pictures
    x = np.repeat(np.repeat(x, 2, axis=2), 2, axis=3) if size == 64 else x[:, :channels]
    losses = exercising.losses(model, x, labels)
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


def test_the_two_shufflenets_v2_are_different_networks():
    """torchvision's strided units halve, the authors' keep what they are given: at 0.5 the counts agree (24 of 48), elsewhere
    not.
    """
    def macs(model):
        return _macs(model, 1, 3, 224, 224)
    for width, name in ((0.5, "x0_5"), (1.0, "x1_0"), (1.5, "x1_5"), (2.0, "x2_0")):
        ours = macs(models.network(f"shufflenet_v2_{name}")(rng=0))
        assert (macs(models.shufflenet_v2_paper(width_mult=width, rng=0)) == ours) == (width == 0.5)
