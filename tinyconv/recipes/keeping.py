"""Results of full runs, kept as recipe_NAME.csv: read again, and put together as the table that README shows.

A file is results.csv as `study.run` wrote it. Whoever wants the numbers anew gives its `command`, the same in every line; the same
machine, versions and threads give the same ones.
"""
import csv
from pathlib import Path

from .compressing import RECIPES
from .demo import as_text
from .study import MEASURED, by_network, compared

COLUMNS = (("recipe", "{}"), ("network", "{}"), ("MACs", "{:.2f}"), ("weights", "{:.2f}"), ("file bytes", "{:.2f}"), ("accuracy", "{:.4f}"), ("control", "{}"),
           ("its accuracy", "{:.4f}"), ("ahead", "{:+.4f}"), ("with seeds", "{}"), ("beats it", "{}"))


def read_csv(path):
    """The rows of a recipe's results, numbers as numbers. Errors: ValueError naming the file, for columns that are not those of
    `study.run`, or a line without a number where one belongs.
    """
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    wanted = ["network", "seed", *MEASURED, "command"]
    if not rows or list(rows[0]) != wanted:
        raise ValueError(f"{path}: must hold lines of {', '.join(wanted)}, not of {', '.join(rows[0]) if rows else 'nothing'}")
    try:
        return [{**row, "accuracy": float(row["accuracy"]), **{name: int(row[name]) for name in ("seed", *MEASURED[1:])}} for row in rows]
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def kept(folder):
    """recipe name -> rows of every recipe_NAME.csv of a folder, in the order of the recipes. Errors: those of read_csv."""
    paths = {name: Path(folder) / f"recipe_{name}.csv" for name in RECIPES}
    return {name: read_csv(path) for name, path in paths.items() if path.is_file()}


def table(found):
    """A line a claim of every recipe that was kept: both accuracies; MACs, weights and file as parts of the recipe's first network's, or of its
    own float network's where the recipe has several.
    """
    lines = []
    for name, rows in found.items():
        sizes = {column: by_network(rows, column) for column in ("MACs", "weights", "file bytes")}
        first = rows[0]["network"]
        for claim in compared(rows, RECIPES[name].claims):
            whole = (RECIPES[name].whole or (lambda _: first))(claim["network"])
            parts = {column: sum(of[claim["network"]]) / sum(of[whole]) for column, of in sizes.items()}
            lines.append({**claim, **parts, "recipe": name, "its accuracy": claim["control's"], "with seeds": f"{claim['won']} of {claim['n']}",
                          "beats it": "yes" if claim["beats"] else "no"})
    return as_text(lines, COLUMNS)
