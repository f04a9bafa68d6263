"""Lines of a table in which numbers stand side by side that must be equal."""
from typing import NamedTuple


class Line(NamedTuple):
    """What is compared: a number by formula, as executed, and as published (None: there is none), and whether all agree."""

    what: str
    formula: object
    executed: object
    published: str | None
    equal: bool


def line(what, formula, executed=None, published=None, agrees=True):
    """A Line that is equal where formula and executed are (a None is not compared) and `agrees` says so too.

    >>> line("3x3 on one pixel", 9, 9).equal, line("3x3 on one pixel", 9, 8).equal, line("3x3", 9, None, "9.1", False).equal
    (True, False, False)
    """
    return Line(what, formula, executed, published, bool(agrees) and (executed is None or formula == executed))


def _shown(value):
    return "-" if value is None else value if isinstance(value, str) else f"{value:,}" if isinstance(value, int) else f"{value:g}"


def as_text(title, lines, columns=("formula", "executed", "published")):
    """The lines under their title: a name, three columns, and "yes" or "NO".

    >>> print(as_text("windows", [line("3x3", 9, 9, "9 (everybody)"), line("5x5", 1025, 25)]))
    windows  formula  executed  published      equal
    ------------------------------------------------
    3x3            9         9  9 (everybody)  yes
    5x5        1,025        25  -              NO
    """
    cells = [(title, *columns, "equal")]
    cells += [(row.what, *map(_shown, row[1:4]), "yes" if row.equal else "NO") for row in lines]
    widths = [max(len(row[i]) for row in cells) for i in range(5)]
    adjust = (str.ljust, str.rjust, str.rjust, str.ljust, str.ljust)
    text = ["  ".join(f(cell, w) for f, cell, w in zip(adjust, row, widths)).rstrip() for row in cells]
    return "\n".join([text[0], "-" * len(text[0]), *text[1:]])
