"""Pictures of quantization: they show the numbers they are given, and mistakes are answered."""
import numpy as np
import pytest

import tinyconv as tc


def test_staircase_and_errors():
    """x̂ and x̂ - x over sorted x; errors by bits as given, on a logarithmic axis, beside a line that halves."""
    x = np.array([1.0, -1.0, 0.4])
    above, below = tc.draw.staircase(x, {"round": np.rint(x), "floor": np.floor(x)}).axes
    assert above.lines[1].get_data()[0].tolist() == [-1, 0.4, 1] and above.lines[2].get_data()[1].tolist() == [-1, 0, 1]
    assert np.allclose(below.lines[0].get_data()[1], [0, -0.4, 0])
    assert [t.get_text() for t in above.get_legend().texts] == ["round", "floor"]
    axes = tc.draw.error_by_bits({"weights": {2: 0.4, 4: 0.1}, "values": {4: 0.2, 8: 0.01}}).axes[0]
    assert axes.get_yscale() == "log" and [list(line.get_ydata()) for line in axes.lines[:2]] == [[0.4, 0.1], [0.2, 0.01]]
    half = axes.lines[2].get_ydata()
    assert np.allclose(half[:-1] / half[1:], [4, 16]) and half[0] > 0.8
    for call, message in ((lambda: tc.draw.staircase(x, {}), "rounded must hold at least one row"),
                          (lambda: tc.draw.staircase(x, {"a": x[:2]}), r"\[\(2,\)\] for \(3,\)"),
                          (lambda: tc.draw.error_by_bits({"a": {2: 0.0}}), "positive errors")):
        with pytest.raises(ValueError, match=message):
            call()


def test_scale_search():
    """Both parts and their sum; the least is marked where the sum is least; chosen widths are lines with their name."""
    widths, rounding, saturation = np.array([0.2, 0.5, 1.0]), np.array([1.0, 2.0, 6.0]), np.array([9.0, 1.0, 0.0])
    axes = tc.draw.scale_search(widths, rounding, saturation, {"min-max": 1.0}).axes[0]
    assert axes.lines[2].get_ydata().tolist() == [10, 3, 6]
    assert (axes.lines[3].get_xdata()[0], axes.lines[3].get_ydata()[0]) == (0.5, 3)
    assert axes.lines[4].get_xdata()[0] == 1.0 and axes.get_legend().texts[-1].get_text() == "min-max: 1.00"
    with pytest.raises(ValueError, match="must be rows of one length"):
        tc.draw.scale_search(widths, rounding[:2], saturation)


def test_sensitivities_and_table():
    """A point a layer and choice, layers from above; costs that are not positive at the left edge; accuracies in percent."""
    costs = {"first": {8: 1e-4, 2: 0.5}, "second": {8: -1e-5, 2: 0.1}}
    axes = tc.draw.sensitivities(costs, {"first": 8, "second": 2}).axes[0]
    assert axes.lines[0].get_xdata().tolist() == [1e-4, 5e-5] and axes.lines[1].get_xdata().tolist() == [0.5, 0.1]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["first", "second"]
    assert [t.get_text() for t in axes.texts] == ["8 bits", "2 bits"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]
    table = np.array([[0.9, 0.5], [0.25, np.nan]])
    axes = tc.draw.bit_table({"rounded": table, "trained": table}, (8, 2), (8, 4)).axes[1]
    assert [t.get_text() for t in axes.texts] == ["90.0", "50.0", "25.0"]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["8", "2"]
    for call, message in ((lambda: tc.draw.bit_table({"a": table}, (8,), (8, 4)), r"array of shape \(1, 2\)"),
                          (lambda: tc.draw.sensitivities({"a": {8: 1}, "b": {4: 1}}), "the same choices of bits")):
        with pytest.raises(ValueError, match=message):
            call()


def test_ledger():
    """A bar a stage, its parts end to end and as long as they are; sums, factors and claims behind them."""
    stages = {"float": {"weights": 400, "rest": 100}, "int8": {"weights": 100, "rest": 60}, "same": {"weights": 400, "rest": 100}}
    axes = tc.draw.ledger(stages, {"int8": 4}).axes[0]
    assert [(bar.get_x(), bar.get_width()) for bar in axes.patches] == [(0, 400), (400, 100), (0, 100), (100, 60), (0, 400), (400, 100)]
    assert [t.get_text() for t in axes.texts] == ["500", "160: 3.1 times smaller, claimed 4", "500: 1.0 times smaller"]
    assert [t.get_text() for t in axes.get_yticklabels()] == list(stages) and axes.get_ylim()[0] > axes.get_ylim()[1]
    for call, message in ((lambda: tc.draw.ledger({}), "at least one stage"),
                          (lambda: tc.draw.ledger({"a": {"x": 1}, "b": {"y": 1}}), "the same parts"),
                          (lambda: tc.draw.ledger({"a": {"x": -1}}), "none negative"),
                          (lambda: tc.draw.ledger(stages, {"int4": 8}), "claimed must name stages")):
        with pytest.raises(ValueError, match=message):
            call()
