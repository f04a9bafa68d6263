"""What flows where: channels as dots, steps as lines, and the ways that lead to one output drawn dark."""
import numpy as np

from .canvas import COLOURS, panels

MIXED = "#3d3d3d"


def _colours(steps):
    """Colour numbers of all dots, a list a column: inputs by what they feed in the first step, the rest by their only colour.

    -1 where a dot has sources of more than one colour: mixed.
    """
    first = steps[0].T.tolist()
    kinds = [pattern for i, pattern in enumerate(first) if first.index(pattern) == i]
    columns = [[kinds.index(pattern) for pattern in first]]
    for joined in steps:
        sources = [{columns[-1][c] for c in np.flatnonzero(row)} for row in joined]
        columns.append([next(iter(colours)) if len(colours) == 1 else -1 for colours in sources])
    return columns


def _reach(steps, output):
    """For each column the dots from which a way leads to the output: a list of boolean arrays."""
    reached = [np.arange(len(steps[-1])) == output]
    for joined in reversed(steps):
        reached.insert(0, joined[reached[0]].any(axis=0))
    return reached


def channel_flow(flows, output=0, title=""):
    """One panel a network: its channels as dots, a column before and after each step, the first at the
    top; a line where an output is made of an input.

    flows: name -> list of (word, joined), joined (F,C), not 0 where the step makes output f of input c (of a layer's graph:
    `channel_paths`). Inputs that feed the same outputs of the first step have one colour; a dot made of one colour has it too, a
    dot made of several is dark. Dark lines are the ways to the last step's channel `output`; under each panel, how many inputs
    it sees. Returns the figure. Errors: ValueError for no steps, steps that do not fit each other, and no such output.

    >>> halves = np.kron(np.eye(2), np.ones((2, 2)))
    >>> swap = np.eye(4)[[0, 2, 1, 3]]
    >>> steps = [("grouped", halves), ("shuffle", swap), ("grouped", halves)]
    >>> tc.draw.channel_flow({"shuffled": steps}).axes[0].get_xlabel()
    'dark: the ways to output 0, which sees 4 of 4 inputs'
    """
    figure = None
    for i, (name, steps) in enumerate(flows.items()):
        joined = [np.asarray(matrix) != 0 for _, matrix in steps]
        fits = joined and all(m.ndim == 2 for m in joined) and all(len(a) == b.shape[1] for a, b in zip(joined, joined[1:]))
        if not fits or not 0 <= output < len(joined[-1]):
            shapes = ", ".join(str(m.shape) for m in joined)
            raise ValueError(f"{name!r} must have steps (F,C) whose F is the next one's C, and an output {output}; "
                             f"it has {shapes}")
        if figure is None:
            most = max(max(m.shape) for _, matrices in flows.items() for m in (np.asarray(s[1]) for s in matrices))
            figure, frames = panels(len(flows), size=(5.2, 1.3 + 0.24 * most))
        _panel(frames[i], name, [word for word, _ in steps], joined, output)
    if figure is None:
        raise ValueError("flows must hold at least one network, name -> list of (word, joined)")
    if title:
        figure.suptitle(title, fontsize=11, x=0.01, ha="left")
    return figure


def _panel(axes, name, words, steps, output):
    """One network: lines first, the dark ones above, dots on top."""
    columns, reached = _colours(steps), _reach(steps, output)
    at = [np.linspace(1, 0, len(column)) if len(column) > 1 else np.array([0.5]) for column in columns]
    for i, joined in enumerate(steps):
        for f, c in np.argwhere(joined):
            way = reached[i + 1][f]
            axes.plot((i, i + 1), (at[i][c], at[i + 1][f]), color=MIXED if way else "#cccccc", linewidth=1.6 if way else 0.7,
                      zorder=2 if way else 1, solid_capstyle="round")
    for i, column in enumerate(columns):
        axes.scatter([i] * len(column), at[i], s=52, zorder=3, color=[COLOURS[k % 5] if k >= 0 else MIXED for k in column])
    for i, word in enumerate(words):
        axes.text(i + 0.5, 1.05, word, ha="center", va="bottom", fontsize=9)
    axes.set_title(name, fontsize=11, loc="left", pad=20)
    axes.set_xlabel(f"dark: the ways to output {output}, which sees {int(reached[0].sum())} of {len(reached[0])} inputs")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_ylim(-0.06, 1.06)
    for side in axes.spines.values():
        side.set_visible(False)
