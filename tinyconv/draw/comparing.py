"""Networks beside each other: by two of their costs, and by what each cost is made of."""
from .canvas import COLOURS, finish, panels
from .charts import place_labels

YELLOW = "#edae49"                                                                     # too bright for white letters
SHARES = ("#6a4c93", "#1b6ca8", YELLOW, "#2e933c", "#d1495b", "#0b7a75", "#b36a5e", "#9a9a9a")


def landscape(families, x, y, title=""):
    """Networks as points on logarithmic axes, every name beside its point; those of a family have one colour and are joined.

    families: family -> {network: (x, y)}, numbers above 0; x, y: names of the axes. Returns the figure. Errors: ValueError for a
    number that has no logarithm.

    >>> tc.draw.landscape({"two": {"a": (1, 10), "b": (10, 100)}}, "cost", "worth").axes[0].get_xscale()
    'log'
    """
    points = {name: point for family in families.values() for name, point in family.items()}
    wrong = [f"{name} {point}" for name, point in points.items() if not all(v > 0 for v in point)]
    if wrong or not points:
        raise ValueError(f"families must hold numbers above 0, not {', '.join(wrong) or 'none'}")
    figure, (axes,) = panels(1, size=(9.6, 6.2))
    colours = {}
    for members, colour in zip(families.values(), COLOURS * len(families)):
        colours.update(dict.fromkeys(members, colour))
        axes.plot(*zip(*members.values()), "o-", color=colour, markersize=6, linewidth=1, alpha=0.9)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.margins(0.12)
    finish(axes, title, x, y)
    place_labels(axes, list(points.values()), list(points), [colours[name] for name in points])
    return figure


def shares(parts, title="", unit=""):
    """What a cost is made of: a bar a network, whose parts are 1 together; those of a tenth and more are named in %.

    parts: name -> {kind: number}; a kind has one colour in all bars, where it stands in the order of first appearance. unit: of
    what the shares are. Returns the figure. Errors: ValueError for a negative number, a bar of nothing, more than eight kinds.

    >>> [float(patch.get_width()) for patch in tc.draw.shares({"network": {"3x3": 3, "1x1": 1}}).axes[0].patches]
    [0.75, 0.25]
    """
    kinds = list(dict.fromkeys(kind for bar in parts.values() for kind in bar))
    wrong = [name for name, bar in parts.items() if not sum(bar.values()) > 0 or min(bar.values()) < 0]
    if wrong or not kinds or len(kinds) > len(SHARES):
        raise ValueError(f"parts must be of 1 to {len(SHARES)} kinds, none negative and not all 0; there are {len(kinds)} kinds"
                         + (f", and {', '.join(wrong)} is not so" if wrong else ""))
    figure, (axes,) = panels(1, size=(9.6, 0.9 + 0.36 * len(parts)))
    for i, bar in enumerate(parts.values()):
        left, whole = 0.0, sum(bar.values())
        for kind in (kind for kind in kinds if kind in bar):
            share, colour = bar[kind] / whole, SHARES[kinds.index(kind)]
            axes.barh(i, share, left=left, height=0.72, color=colour)
            if share >= 0.1:
                axes.text(left + share / 2, i, f"{share:.0%}", ha="center", va="center", fontsize=8.5,
                          color="#3d3d3d" if colour == YELLOW else "white")
            left += share
    for kind, colour in zip(kinds, SHARES):
        axes.plot([], [], "s", color=colour, label=kind)
    axes.legend(frameon=False, fontsize=9, ncols=len(kinds), loc="lower left", bbox_to_anchor=(-0.01, 1.0), handletextpad=0.2)
    finish(axes, "", unit and f"share of {unit}", "")
    axes.set_title(title, fontsize=11, loc="left", pad=28)
    axes.set_yticks(range(len(parts)), list(parts))
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.invert_yaxis()
    axes.grid(False)
    return figure
