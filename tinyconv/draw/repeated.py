"""The same experiment with several seeds: every outcome, its mean, and what the networks cost."""
from statistics import fmean

from .canvas import COLOURS, finish, panels


def trials(accuracies, shares, controls=(), title="", names=("a network", "a control"), whole=None):
    """Two panels, a line a network: the accuracy of each seed with a bar at the mean, and its costs as parts of the first one's.

    accuracies: name -> [accuracy of each seed]; shares: kind of cost -> {name: part of the first network's}; controls: names drawn
    hollow and in another colour; whole: whose costs those are parts of, if not the first one's. Returns the figure.
    Errors: ValueError for a kind of cost that does not have the same names.

    >>> figure = tc.draw.trials({"a": [0.5, 0.7], "b": [0.4]}, {"MACs": {"a": 1.0, "b": 0.5}}, controls={"b"})
    >>> [float(x) for x in figure.axes[0].lines[0].get_xdata()], [float(p.get_width()) for p in figure.axes[1].patches]
    ([60.0, 60.0], [1.0, 0.5])
    """
    wrong = [kind for kind, found in shares.items() if list(found) != list(accuracies)]
    if wrong or not accuracies or not shares:
        raise ValueError(f"shares must have a number for each of {', '.join(accuracies) or 'no network'}; wrong: "
                         f"{', '.join(wrong) or 'none'}")
    whole = whole or next(iter(accuracies))
    n, colours = len(accuracies), {False: COLOURS[0], True: COLOURS[1]}
    figure, (left, right) = panels(2, size=(5.6, 1.5 + 0.42 * n), sharey=True)
    for i, (name, values) in enumerate(accuracies.items()):
        control = name in controls
        mean = 100 * fmean(values)
        left.plot([mean, mean], [i - 0.3, i + 0.3], color=colours[control], linewidth=2, alpha=0.6)
        left.scatter([100 * a for a in values], [i] * len(values), s=40, zorder=3, edgecolor=colours[control],
                     color="white" if control else colours[control])
    right.set_axisbelow(True)
    for k, (kind, found) in enumerate(shares.items()):
        height = 0.8 / len(shares)
        at = [i + (k - (len(shares) - 1) / 2) * height for i in range(n)]
        right.barh(at, list(found.values()), height=0.92 * height, color=COLOURS[2 + k], label=kind)
    for control, word in enumerate(names):
        if any((name in controls) == control for name in accuracies):
            left.scatter([], [], s=40, edgecolor=colours[bool(control)], color="white" if control else colours[False], label=word)
    left.set_yticks(range(n), list(accuracies))
    left.set_ylim(n - 0.5, -0.5)
    finish(left, title, "test accuracy (%); a dot a seed, the bar their mean")
    finish(right, "", f"cost; {whole} = 1")
    figure.legend(loc="outside lower center", ncols=2 + len(shares), frameon=False, fontsize=9)
    return figure
