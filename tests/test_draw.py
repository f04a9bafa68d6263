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
