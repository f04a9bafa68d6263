"""Pictures: drawn without a screen, labels all there and on nobody's toes, written by their ending."""
import itertools

import numpy as np
import pytest

import tinyconv as tc


def _rows(spread):
    rng = np.random.default_rng(0)
    names = ["base", "pruned", "int8", "pruned + int8", "low rank", "student"]
    return [dict(name=n, accuracy=0.85 + spread * rng.random(), size=10 + 90 * rng.random(), parent=None if n == "base" else "base") for n in names]


@pytest.mark.parametrize("spread", [0.0, 0.002, 0.05])
def test_labels_are_all_there_and_apart(spread):
    """Even with all points at one height no two labels overlap (boxes measured as drawn), and each stays within the axes."""
    rows = _rows(spread)
    figure = tc.draw.accuracy_against_cost(rows, {"size": "bytes"})
    figure.canvas.draw()
    axes = figure.axes[0]
    texts = [t for t in axes.texts if t.get_text()]
    assert sorted(t.get_text() for t in texts) == sorted(row["name"] for row in rows)
    boxes = [t.get_window_extent() for t in texts]
    assert not any(a.overlaps(b) for a, b in itertools.combinations([b.shrunk(0.9, 0.8) for b in boxes], 2))
    frame = axes.get_window_extent()
    assert all(frame.x0 <= b.x0 and b.x1 <= frame.x1 for b in boxes)


def test_history_and_pictures_and_save(tmp_path):
    """The other charts draw what they are given, and a file is what its ending says."""
    rows = [dict(epoch=i, loss=1 / i, accuracy=0.5, val_accuracy=0.1 * i) for i in (1, 2, 3)]
    figure = tc.draw.history({"run": rows})
    assert figure.axes[0].lines[0].get_ydata().tolist() == [1.0, 0.5, 1 / 3]
    assert np.allclose(figure.axes[1].lines[0].get_ydata(), [10, 20, 30])
    sheet = tc.draw.pictures(tc.data.fashion("test")[0][:7], titles=range(7), columns=4)
    assert len(sheet.axes) == 7 and all(a.images for a in sheet.axes)
    assert len(tc.draw.pictures(tc.data.shapes(3, seed=0)[0]).axes) == 3
    tc.draw.save(sheet, tmp_path / "sheet.svg")
    assert (tmp_path / "sheet.svg").read_text().lstrip().startswith("<?xml")


def test_landscape_shows_every_network():
    """A point where each belongs, joined within a family alone; all names, and none over another; no number without logarithm."""
    rng = np.random.default_rng(0)
    families = {f"family {i}": {f"network {i}{j}": tuple(10 ** rng.uniform(0, 3, 2)) for j in range(5)} for i in range(4)}
    axes, = tc.draw.landscape(families, "cost", "worth", "all").axes
    assert [line.get_xydata().tolist() for line in axes.lines] == [[list(p) for p in f.values()] for f in families.values()]
    assert sorted(text.get_text() for text in axes.texts) == sorted(name for f in families.values() for name in f)
    boxes = [text.get_window_extent().shrunk(0.9, 0.8) for text in axes.texts]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2)) and axes.get_ylabel() == "worth"
    for wrong in ({}, {"a": {"b": (1, 0)}}):
        with pytest.raises(ValueError, match="families must hold numbers above 0, not (none|b \\(1, 0\\))"):
            tc.draw.landscape(wrong, "", "")


def test_shares_add_up():
    """Each bar is 1 long, its parts in the order and colour of their kinds, wide as their share, named from a tenth on."""
    axes, = tc.draw.shares({"a": {"x": 3, "y": 1}, "b": {"z": 1, "y": 18, "x": 1}}, "of what", "work").axes
    bars = {i: [p for p in axes.patches if abs(p.get_y() + p.get_height() / 2 - i) < 1e-9] for i in (0, 1)}
    assert [p.get_width() for p in bars[0]] == [0.75, 0.25] and [p.get_x() for p in bars[1]] == pytest.approx([0, 0.05, 0.95])
    assert bars[0][1].get_facecolor() == bars[1][1].get_facecolor() != bars[1][0].get_facecolor() == bars[0][0].get_facecolor()
    assert [text.get_text() for text in axes.texts] == ["75%", "25%", "90%"] and axes.get_xlabel() == "share of work"
    assert axes.get_legend_handles_labels()[1] == ["x", "y", "z"]
    for wrong in ({}, {"a": {"x": 0}}, {"a": {"x": 2, "y": -1}}, {"a": {str(i): 1 for i in range(9)}}):
        with pytest.raises(ValueError, match="parts must be of 1 to 8 kinds, none negative and not all 0"):
            tc.draw.shares(wrong)
