"""A constant of the kernels at several values: what each layer takes with them, called in turns in one process, beside what it takes at the first.

    python benchmarks/bench_constants.py --constant indirect_scheme.DEEP --values 256 128 512 --only pointwise
    python benchmarks/bench_constants.py --constant planes_scheme.LARGE --values 16 999 --only depthwise
    python benchmarks/bench_constants.py --list

Constants that are said to be "by trial" in `tinyconv.kernels` were chosen so: how long a piece is, how many rows a block has, what a copy costs.
--list prints them. They decide how work is cut before a layer is first called, so a plan (forward, weights packed) is made at each value and the
plans take turns: the processor's speed changes from second to second and meets all alike. Every round makes them anew, the values in another order,
for where arrays happen to lie makes a difference of its own. The first value twice, --values 256 256 128, shows what chance does; so does a layer on
which the constant has no bearing.
"""
import re
import statistics
import sys
import time
from importlib import import_module
from pathlib import Path

from common import geometric_mean, head, options, ours_about, table, undisturbed, write_csv
from layers import GROUPS, forward, layers
from layers import options as layer_options

KERNELS = Path(__file__).parent.parent / "tinyconv" / "kernels"
ELSEWHERE = "gemm", "layout"    # pages of products, and of x on other memory, which no layer of the list calls


def by_trial():
    """(page, constant, value as it is written, what is said of it) of every constant that says so."""
    pattern = re.compile(r"^([A-Z_]+) = (.+?)\s+# (.*by trial.*)$", re.MULTILINE)
    return [(page.stem, *found) for page in sorted(KERNELS.glob("*.py")) if page.stem not in ELSEWHERE
            for found in pattern.findall(page.read_text(encoding="utf-8"))]


def number(text):
    """A value as it is written on the command line: 128, 0.5 or 2**18. Errors: ValueError for anything else."""
    base, power, exponent = text.partition("**")
    return int(base)**int(exponent) if power else int(text) if re.fullmatch(r"-?\d+", text) else float(text)


def pages_with(name):
    """The pages that have the constant "page.NAME", its own one first. Errors: SystemExit unless it is one of `by_trial` or of page `choice`: others
    may be compiled into kernels, or more may be made of them when their page is imported."""
    page, _, constant = name.rpartition(".")
    if page != "choice" and (page, constant) not in [found[:2] for found in by_trial()]:
        sys.exit(f"--constant must be PAGE.NAME, one of those that --list prints or of page choice, not {name!r}")
    own = import_module(f"tinyconv.kernels.{page}")
    if type(getattr(own, constant, None)) not in (int, float):
        sys.exit(f"tinyconv.kernels.{page} has no number {constant!r}")
    copied = re.compile(rf"^from \.{page} import [^\n]*\b{constant}\b", re.MULTILINE)
    return [own, *(import_module(f"tinyconv.kernels.{path.stem}") for path in sorted(KERNELS.glob("*.py"))
                   if copied.search(path.read_text(encoding="utf-8")))]


def checked(texts, constant):
    """The values as numbers. Errors: SystemExit for one that is none, or negative, or of another kind than the constant."""
    try:
        values = [number(text) for text in texts]
    except ValueError as error:
        sys.exit(f"--values must be numbers such as 128, 0.5 or 2**18: {error}")
    for text, value in zip(texts, values):
        if not 0 <= value < float("inf") or isinstance(constant, int) and not (isinstance(value, int) and value > 0):
            sys.exit(f"--values must be {'integers from 1 on' if isinstance(constant, int) else 'numbers from 0 on'}, as the constant is, not {text}")
    return values


def forget():
    """Let every page forget what it worked out, which depends on constants; but not compiled kernels and what was measured, which do not."""
    for name, module in list(sys.modules.items()):
        if name.startswith("tinyconv.kernels") and name != "tinyconv.kernels.machine":
            for thing in list(vars(module).values()):
                if hasattr(thing, "cache_clear") and thing.__name__ != "build":
                    thing.cache_clear()


def plans(layer, pages, constant, values):
    """The layer's forward pass with weights packed, a function without arguments for every value. Afterwards all is as it was."""
    found, stands = [], getattr(pages[0], constant)
    try:
        for value in values:
            for module in pages:
                setattr(module, constant, value)
            forget()
            found.append(forward(layer, packed=True))
            found[-1]()                                                     # into how many pieces a call is cut is worked out by the first
    finally:
        for module in pages:
            setattr(module, constant, stands)
        forget()
    return found


def in_turns(calls, least):
    """Median seconds of each function, called one after the other for about `least` seconds each."""
    times, stop = [[] for _ in calls], time.perf_counter() + least * len(calls)
    while time.perf_counter() < stop or len(times[0]) < 5:
        for mine, call in zip(times, calls):
            call()                                                              # brings its arrays back into the caches
            begin = time.perf_counter()
            call()
            mine.append(time.perf_counter() - begin)
    return [statistics.median(mine) for mine in times]


def one_round(layer, pages, constant, values, least, turn):
    """Median seconds of the layer at every value, plans made for this round, those from value number `turn` on first."""
    order = [(i + turn) % len(values) for i in range(len(values))]
    calls = plans(layer, pages, constant, [values[i] for i in order])
    return [seconds for _, seconds in sorted(zip(order, undisturbed(lambda: in_turns(calls, least))))]


def more_options(parser):
    """What this bench has beside the common options."""
    layer_options(parser)
    parser.add_argument("--constant", metavar="PAGE.NAME", help="which one, of a page of tinyconv.kernels")
    parser.add_argument("--values", nargs="+", metavar="VALUE", help="what it shall be, one after the other; ratios are to the first")
    parser.add_argument("--list", action="store_true", help="print the constants found by trial, and end")


def main():
    """Measure and print."""
    given = options(__doc__, {}, more_options)
    if given.list:
        table(["page", "constant", "value", "what it says"], by_trial())
        return
    if not given.constant or not given.values:
        sys.exit("--constant and --values are needed; --list prints the constants found by trial")
    if given.figure:
        sys.exit("--figure: this bench draws none")
    import tinyconv as tc
    tc.set_num_threads(given.threads)
    pages, constant = pages_with(given.constant), given.constant.rpartition(".")[2]
    values = checked(given.values, getattr(pages[0], constant))
    head(given, {"ours": ours_about()})
    rows, ratios, cases = [], {}, layers(given.batch, given.only, given.few)
    for layer in cases:
        rounds = [one_round(layer, pages, constant, values, given.least, turn) for turn in range(given.rounds)]
        seconds = [statistics.median(each) for each in zip(*rounds)]
        found = [statistics.median(each[i] / each[0] for each in rounds) for i in range(1, len(values))]
        rows.append([layer.group, layer.name, *(f"{1e6 * mine:.1f}" for mine in seconds), *(f"{ratio:.2f}" for ratio in found)])
        ratios.setdefault(layer.group, []).append(found)
        print(f"{len(rows)}/{len(cases)}", end="\r", file=sys.stderr)
    print(file=sys.stderr)
    first, *others = given.values
    titles = ["group", "layer", *(f"{value} us" for value in given.values), *(f"{value} / {first}" for value in others)]
    table(titles, rows)
    write_csv(given.csv, titles, rows)
    for group in filter(ratios.get, GROUPS):
        for value, found in zip(others, zip(*ratios[group])):
            print(f"{group}: {given.constant} = {value} takes {geometric_mean(found):.3f} of the time at {first}, from {min(found):.2f} to {max(found):.2f}")


if __name__ == "__main__":
    main()
