"""Pictures of what is inside a network: they show the numbers they are given, all labels are there, and mistakes are answered."""
import numpy as np
import pytest
from wired import Wired

import tinyconv as tc
from tinyconv import cost, nn
from tinyconv import functional as F
from tinyconv.kernels.machine import Machine


def traced(model, *shape):
    return tc.trace(model, (1, *shape), check=False)


def grouped_pair(c, g):
    """Two grouped 1x1 convolutions as in `nn.ShuffledPointwise`, nothing between them."""
    return Wired(lambda m, x: m.b(m.a(x)), a=nn.Conv2d(c, c, 1, groups=g, rng=0), b=nn.Conv2d(c, c, 1, groups=c // g, rng=0))


def by_gradients(g, c, plane):
    """(F,C): does a gradient of the output channel reach the input channel? Positive weights and pixels, in float64."""
    values = {name: np.abs(a).astype(np.float64) + 0.1 for name, a in g.arrays().items()}
    found = []
    for f in range(tc.graph.shapes(g)[g.outputs[0]][1]):
        x = tc.Tensor(np.full((1, c, *plane), 0.5), requires_grad=True)
        tc.graph.run(g, x, values=values)[:, f].sum().backward()
        found.append(np.abs(x.grad).sum(axis=(0, 2, 3)) > 0)
    return np.array(found)


@pytest.mark.parametrize("model, c, plane, share", [
    (grouped_pair(24, 4), 24, (2, 2), 1 / 3), (nn.ShuffledPointwise(24, 4, rng=0), 24, (2, 2), 1.0),
    (nn.Conv2d(6, 6, 3, groups=6, rng=0), 6, (3, 3), 1 / 6),
    (nn.ShuffleUnitV2(12, 12, rng=0), 12, (3, 3), (6 + 36) / 144), (nn.ShuffleUnitV1(36, 36, groups=3, rng=0), 36, (3, 3), 1.0),
    (nn.InvertedResidual(4, 6, 2, 2, rng=0), 4, (4, 4), 1.0), (nn.Fire(4, 2, 3, 3, rng=0), 4, (3, 3), 1.0)],
                         ids=lambda v: type(v).__name__)
def test_paths_are_where_gradients_go(model, c, plane, share):
    """A way from an input to an output channel is there if and only if a gradient passes; the picture shows these."""
    g = traced(model.eval(), c, *plane)
    paths = tc.draw.channel_paths(g)
    assert np.array_equal(paths > 0, by_gradients(g, c, plane)) and (paths > 0).mean() == pytest.approx(share)
    axes = tc.draw.channel_dependency({"it": g}).axes[0]
    assert np.array_equal(axes.images[0].get_array(), paths > 0)
    assert axes.get_xlabel() == f"input channel; {100 * share:.0f} % of pairs joined"


@pytest.mark.small
def test_paths_are_counted():
    """A shuffled pair has exactly one way for every pair of channels; a dense pair C of them; windows count their taps."""
    assert (tc.draw.channel_paths(traced(nn.ShuffledPointwise(12, 3, rng=0), 12, 1, 1)) == 1).all()
    dense = Wired(lambda m, x: m.b(m.a(x)), a=nn.Conv2d(4, 5, 1, rng=0), b=nn.Conv2d(5, 3, 1, rng=0))
    assert np.array_equal(tc.draw.channel_paths(traced(dense, 4, 1, 1)), np.full((3, 4), 5.0))
    assert np.array_equal(tc.draw.channel_paths(traced(nn.Conv2d(2, 2, 3, rng=0), 2, 3, 3)), np.full((2, 2), 9.0))


def test_kernels_show_the_weights():
    """One picture a filter: red and blue for one channel, colours for three, a row a filter for more; no more than asked for."""
    w = np.random.default_rng(0).standard_normal((20, 1, 3, 3))
    figure = tc.draw.kernels(w, most=18, title="filters")
    drawn = [axes.images[0] for axes in figure.axes if axes.images]
    assert len(drawn) == 18 and np.array_equal(drawn[17].get_array(), w[17, 0])
    assert drawn[3].get_clim() == (-np.abs(w[3]).max(), np.abs(w[3]).max())
    drawn = [axes.images[0].get_array() for axes in tc.draw.kernels(w[:6].reshape(2, 3, 3, 3)).axes]
    assert len(drawn) == 2 and drawn[0].shape == (3, 3, 3) and 0 <= drawn[0].min() <= drawn[0].max() <= 1
    drawn = [axes.images[0] for axes in tc.draw.kernels(w.reshape(5, 4, 3, 3), most=12).axes]
    assert len(drawn) == 12 and np.array_equal(drawn[5].get_array(), w.reshape(5, 4, 3, 3)[1, 1])
    with pytest.raises(ValueError, match=r"weight must have four axes \(F,C/G,KH,KW\), none empty, not shape \(3, 4\)"):
        tc.draw.kernels(np.ones((3, 4)))


def test_feature_maps_are_what_layers_make():
    """The maps drawn are the graph's own results behind each layer's last operation; convolutions unless layers are named."""
    g = traced(nn.Sequential(nn.Conv2d(1, 3, 3, rng=0), nn.ReLU(), nn.Conv2d(3, 4, 3, rng=0), nn.Flatten(),
                             nn.Linear(16, 2, rng=0)), 1, 6, 6)
    picture = np.random.default_rng(0).random((1, 6, 6), np.float32)
    seen = {}
    tc.graph.run(g, picture[None], each=lambda node, outputs: seen.update({node.module: outputs[0][0]}))
    figure = tc.draw.feature_maps(g, picture, most=4, title="maps")
    assert [axes.texts[0].get_text() for axes in figure.axes if axes.texts] == ["0\n3 of 4×4", "2\n4 of 2×2"]
    drawn = [axes.images[0].get_array() if axes.images else None for axes in figure.axes]
    assert len(drawn) == 8 and drawn[3] is None
    assert np.array_equal(drawn[2], seen["0"][2]) and np.array_equal(drawn[7], seen["2"][3])
    drawn = tc.draw.feature_maps(g, picture, layers=["1"], most=2).axes
    assert len(drawn) == 2 and np.array_equal(drawn[1].images[0].get_array(), seen["1"][1])
    with pytest.raises(ValueError, match="layers must name modules that make maps, not 4, nine; the graph has 0, 1, 2, 3, 4"):
        tc.draw.feature_maps(g, picture, layers=["0", "4", "nine"])
    whole = tc.draw.feature_maps(traced(tc.models.mobilenet_v2_small(rng=0), 1, 28, 28), np.zeros((1, 28, 28), np.float32))
    assert len(whole.axes) == 64 and whole.axes[0].texts[0].get_text().startswith("features.0.0\n16 of 14×14")


def test_roofline_shows_every_layer():
    """Each layer with work is a point at its intensity and speed, and at its least and measured time; and the roof."""
    g = traced(nn.Sequential(nn.Conv2d(4, 8, 3, rng=0), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8, rng=0),
                             nn.Conv2d(8, 8, 1, rng=0), nn.Flatten(),
                             nn.Linear(8 * 36, 2, rng=0)), 4, 10, 10)
    limits = Machine(1, 1e11, 1e10, 5e10, 1e-6)
    placed = cost.place(g, rounds=1, least=lambda flop, nbytes: max((flop / 1e11, "arithmetic"), (nbytes / 1e10, "memory")))
    placed = cost.Placement(placed.layers, limits)
    left, right = tc.draw.roofline(placed).axes
    assert left.get_legend_handles_labels()[1] == ["10 GB/s from memory", "50 GB/s from caches", "convolution", "depthwise",
                                                   "pointwise", "linear", "other"]
    points = np.concatenate([c.get_offsets() for c in left.collections])
    order = [placed.layers[i] for i in (0, 2, 3, 4, 1)]
    assert np.allclose(points, [(layer.intensity, layer.flop / layer.seconds / 1e9) for layer in order])
    times = np.concatenate([c.get_offsets() for c in right.collections])
    assert np.allclose(times, [(layer.least_seconds * 1e6, layer.seconds * 1e6) for layer in order])
    x, y = left.lines[0].get_data()
    assert np.allclose(y, np.minimum(100, 10 * x)) and "peak 100 GFLOP/s" in [t.get_text() for t in left.texts]
    for wrong in (cost.place(g, rounds=0, least=lambda flop, nbytes: (1.0, "memory")),
                  cost.place(g, rounds=1, least=lambda flop, nbytes: (1.0, "memory"))):
        with pytest.raises(ValueError, match="placement must be measured on a machine"):
            tc.draw.roofline(wrong)


def test_dependency_needs_graphs_of_one_input():
    two = tc.trace(Wired(lambda m, x, y: F.relu(x) + y), [(1, 2, 3, 3), (1, 2, 3, 3)], check=False)
    for graphs in ({}, {"two": two}):
        with pytest.raises(ValueError, match="graphs must hold at least one, each of one input and one output"):
            tc.draw.channel_dependency(graphs)


def test_flow_shows_the_ways():
    """A line for each pair that is joined, dark where a way leads to the output; dots keep one colour until several meet."""
    halves, swap = np.kron(np.eye(2), np.ones((2, 2))), np.eye(4)[[0, 2, 1, 3]]
    flows = {"apart": [("a", halves), ("b", halves)], "together": [("a", halves), ("b", swap), ("c", halves)]}
    left, right = tc.draw.channel_flow(flows, output=3, title="two").axes
    assert len(left.lines) == 16 and len(right.lines) == 8 + 4 + 8
    dark = [sum(line.get_color() == "#3d3d3d" for line in axes.lines) for axes in (left, right)]
    assert dark == [4 + 2, 4 + 2 + 2]                                      # every second pair leads there; both halves do
    assert [axes.get_xlabel().split(", ")[1] for axes in (left, right)] == ["which sees 2 of 4 inputs", "which sees 4 of 4 inputs"]
    colours = [[tuple(c) for c in dots.get_facecolors()] for dots in right.collections]
    blue, red = colours[0][0], colours[0][2]
    assert colours == [[blue, blue, red, red], [blue, blue, red, red], [blue, red, blue, red], [colours[3][0]] * 4]
    assert colours[3][0] not in (blue, red) and len(left.collections) == 3
    assert {tuple(c) for c in left.collections[2].get_facecolors()} == {blue, red}
    assert [text.get_text() for text in right.texts] == ["a", "b", "c"]
    for wrong, output in (({"x": [("a", halves), ("b", np.eye(3))]}, 0), ({"x": []}, 0), ({"x": [("a", halves)]}, 4)):
        with pytest.raises(ValueError, match=r"'x' must have steps \(F,C\) whose F is the next one's C, and an output"):
            tc.draw.channel_flow(wrong, output)
    with pytest.raises(ValueError, match="flows must hold at least one network"):
        tc.draw.channel_flow({})


def test_attention_maps_lie_over_their_pictures():
    """A row of pictures and one for each map, all on the scale from 0 to 1, as large as the picture whatever their own size."""
    images, rng = tc.data.fashion("test")[0][:3], np.random.default_rng(0)
    maps = {"coarse": rng.random((3, 4, 4)), "fine": rng.random((3, 14, 14))}
    *axes, scale = tc.draw.attention_maps(images, maps, title="where").axes
    assert len(axes) == 9 and all(np.array_equal(axes[j].images[0].get_array(), images[j, 0]) for j in range(3))
    for i, name in enumerate(maps, 1):
        for j in range(3):
            drawn = axes[3 * i + j].images[0]
            assert np.array_equal(drawn.get_array(), maps[name][j]) and drawn.get_clim() == (0, 1)
            assert drawn.get_extent() == [-0.5, 27.5, 27.5, -0.5]
    assert [axes[3 * i].texts[0].get_text() for i in range(3)] == ["picture", "coarse", "fine"]
    for wrong in ({}, {"two": rng.random((2, 4, 4))}):
        with pytest.raises(ValueError, match=r"must hold factors \(3,h,w\), one for each picture, not (none|two \(2, 4, 4\))"):
            tc.draw.attention_maps(images, wrong)
