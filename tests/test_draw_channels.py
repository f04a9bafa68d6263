"""The picture of coupled channels: a cell for every channel of every column, hollow where it is gone, and words that fit."""
import itertools

import numpy as np
import pytest
from wired import Wired

import tinyconv as tc
from tinyconv import apply, graph, nn
from tinyconv import functional as F
from tinyconv.draw import channels


@pytest.fixture(scope="module")
def g():
    """A stem, an inverted residual, a shuffle unit, a head: 8 channels wide."""
    model = nn.Sequential(nn.conv_bn_act(3, 8, rng=0), nn.InvertedResidual(8, 8, 1, 2, rng=1), nn.ShuffleUnitV2(8, 8, rng=2),
                          nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4, rng=3))
    return tc.trace(model, (1, 3, 8, 8), check=False)


def columns(axes):
    """x -> colours of the cells there, from top to bottom (the squares of the legend left out)."""
    found = {}
    for patch in axes.patches:
        if patch.get_width() == pytest.approx(0.3):
            found.setdefault(round(patch.get_x() + 0.15, 3), []).append((-patch.get_y(), patch.get_facecolor()))
    return {x: [colour for _, colour in sorted(cells)] for x, cells in sorted(found.items())}


def test_every_channel_is_a_cell_and_what_is_gone_is_hollow(g):
    """Columns and their heights by hand; hollow cells are those whose group is gone; numbers above say how many are left."""
    coupling = graph.couple(g)
    gone = apply.random_groups(coupling, 0.4, np.random.default_rng(0))
    shown = [value for value, _, _ in channels._columns(coupling)]
    assert [len(coupling.ids[value]) for value in shown] == [3, 8, 16, 16, 8, 8, 4, 4, 4, 4, 4, 8, 8, 4]
    axes = tc.draw.coupled_channels(g, gone, title="half").axes[0]
    hollow = [[colour[:3] == (1, 1, 1) for colour in cells] for cells in columns(axes).values()]
    assert hollow == [[bool(root in gone) for root in coupling.roots(coupling.ids[value])] for value in shown]
    texts = [text.get_text() for text in axes.texts]
    for cells in hollow:
        assert (f"{len(cells) - sum(cells)} of {len(cells)}" if any(cells) else str(len(cells))) in texts
    assert {"half", "add", "concat", "shuffle", "1.conv.1.0: 3×3 depthwise", "must stay; hollow cells are taken out"} <= set(texts)


def test_one_colour_is_one_family(g):
    """Cells have one colour if and only if the layers whose filters they hang on are the same; protected ones are grey."""
    coupling = graph.couple(g)
    kinds = channels.families(coupling)
    assert sum(map(len, kinds.values())) == len(coupling.groups)
    assert [names for names in kinds][:2] == [("0.0.weight", "1.conv.2.weight"), ("1.conv.0.0.weight", "1.conv.1.0.weight")]
    family = {root: names for names, roots in kinds.items() for root in roots}
    drawn = columns(tc.draw.coupled_channels(g).axes[0]).values()
    pairs = {(family.get(root), colour) for cells, (value, _, _) in zip(drawn, channels._columns(coupling))
             for colour, root in zip(cells, coupling.roots(coupling.ids[value]).tolist())}
    assert len(pairs) == len(kinds) + 1 == len({colour for _, colour in pairs}) == len({names for names, _ in pairs})


def test_a_group_is_followed(g):
    """Dots of a followed group stand on its cells, in every column that has one: through the sum, and where the shuffle puts it."""
    coupling = graph.couple(g)
    root = int(coupling.ids["0.0/conv2d"][5])
    axes = tc.draw.coupled_channels(g, follow=[root]).axes[0]
    dots = next(line for line in axes.lines if line.get_marker() == "o")
    wanted = [(i, k) for i, (value, _, _) in enumerate(channels._columns(coupling))
              for k, own in enumerate(coupling.roots(coupling.ids[value]).tolist()) if own == root]
    found = [round((x - 0.5) / channels.COLUMN) for x in dots.get_xdata()]
    assert found == [i for i, _ in wanted] == [1, 4, 5, 7]
    assert np.ptp(np.round(dots.get_ydata() + channels.CELL * np.array([k for _, k in wanted]), 9)) == 0


def test_words_do_not_lie_on_each_other(g):
    """Boxes as drawn, names, numbers and legend: none overlaps another, and none leaves the sheet."""
    figure = tc.draw.coupled_channels(g, apply.random_groups(graph.couple(g), 0.4, np.random.default_rng(0)), title="a title")
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert not [1 for a, b in itertools.combinations(boxes, 2) if a.overlaps(b)]
    assert all(figure.bbox.x0 <= b.x0 and b.x1 <= figure.bbox.x1 and b.y0 >= 0 and b.y1 <= figure.bbox.y1 for b in boxes)


def test_arcs_are_stacked_and_mistakes_are_answered(g):
    """Lines over the same column have different heights; roots that are no groups are named."""
    assert channels._levels([(0, 3), (1, 4), (3, 5), (0, 5)]) == [0, 1, 0, 2] and channels._levels([]) == []
    dense = Wired(lambda m, x: F.concat([m.a(x), m.b(m.a(x)), x]), a=nn.Conv2d(2, 2, 1, rng=0), b=nn.Conv2d(2, 2, 1, rng=0))
    assert tc.draw.coupled_channels(tc.trace(dense, (1, 2, 3, 3), check=False)).axes[0].texts
    for options in ({"gone": [10 ** 6]}, {"follow": [0]}):
        with pytest.raises(ValueError, match="gone and follow must be roots of groups of this graph, not "):
            tc.draw.coupled_channels(g, **options)
