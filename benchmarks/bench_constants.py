"""A constant of the kernels at several values: what each layer takes with them, called in turns in one process, beside what it takes at the first.

    python benchmarks/bench_constants.py --constant indirect_scheme.DEEP --values 256 128 512 --only pointwise
    python benchmarks/bench_constants.py --constant planes_scheme.LARGE --values 16 999 --only depthwise
    python benchmarks/bench_constants.py --list

Constants that are said to be "by trial" in `tinyconv.kernels` were chosen so: how long a piece is, how many rows a block has, what a copy costs.
--list prints them. They decide how work is cut before a layer is first called, so a plan (forward, weights packed) is made at each value and the
plans take turns: the processor's speed changes from second to second and meets all alike. A constant that is compiled into kernels is refused.
"""
import re
import statistics
import sys
import time
from importlib import import_module
from pathlib import Path
from types import CodeType

from common import geometric_mean, head, options, ours_about, table, undisturbed, write_csv
from layers import GROUPS, forward, layers
from layers import options as layer_options

KERNELS = Path(__file__).parent.parent / "tinyconv" / "kernels"


def by_trial():
    """(page, constant, value as it is written, what is said of it) of every constant that says so."""
    pattern = re.compile(r"^([A-Z_]+) = (.+?)\s+# (.*by trial.*)$", re.MULTILINE)
    return [(page.stem, *found) for page in sorted(KERNELS.glob("*.py")) for found in pattern.findall(page.read_text(encoding="utf-8"))]


def number(text):
    """A value as it is written on the command line: 128, 0.5 or 2**18. Errors: ValueError for anything else."""
    base, power, exponent = text.partition("**")
    return int(base)**int(exponent) if power else int(text) if re.fullmatch(r"-?\d+", text) else float(text)


def inner_names(code, outermost=True):
    """Names that functions within a function's code use: kernels are made there."""
    nested = [c for c in code.co_consts if isinstance(c, CodeType)]
    return set(() if outermost else code.co_names).union(*(inner_names(c, False) for c in nested))


def pages_with(name):
    """The pages that have the constant "page.NAME", its own one first. Errors: SystemExit if there is none, or if kernels are compiled with it."""
    page, _, constant = name.rpartition(".")
    if not page or not (KERNELS / f"{page}.py").exists():
        sys.exit(f"--constant must be PAGE.NAME with a page of tinyconv.kernels, not {name!r}")
    own = import_module(f"tinyconv.kernels.{page}")
    if type(getattr(own, constant, None)) not in (int, float):
        sys.exit(f"tinyconv.kernels.{page} has no number {constant!r}; --list prints those found by trial")
    copied = re.compile(rf"^from \.{page} import [^\n]*\b{constant}\b", re.MULTILINE)
    pages = [own, *(import_module(f"tinyconv.kernels.{path.stem}") for path in sorted(KERNELS.glob("*.py"))
                    if copied.search(path.read_text(encoding="utf-8")))]
    for module in pages:
        for thing in vars(module).values():
            kernel, maker = getattr(thing, "py_func", None), getattr(thing, "__wrapped__", None)
            if kernel and constant in kernel.__code__.co_names or maker and constant in inner_names(maker.__code__):
                sys.exit(f"{name} is compiled into {module.__name__}.{thing.__name__}: change it there")
    return pages


def forget():
    """Let every page forget what it worked out: it depends on constants."""
    for name, module in list(sys.modules.items()):
        if name.startswith("tinyconv.kernels."):
            for thing in list(vars(module).values()):
                if hasattr(thing, "cache_clear") and thing.__name__ != "build":                # compiled kernels depend on none of them
                    thing.cache_clear()


def plans(layer, pages, constant, values):
    """The layer's forward pass with weights packed, a function without arguments for every value."""
    found, stands = [], getattr(pages[0], constant)
    for value in (*values, stands):
        for module in pages:
            setattr(module, constant, value)
        forget()
        found.append(forward(layer, packed=True))
        found[-1]()                                                         # into how many pieces a call is cut is worked out by the first
    return found[:-1]


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
    try:
        values = [number(value) for value in given.values]
    except ValueError as error:
        sys.exit(f"--values must be numbers such as 128, 0.5 or 2**18: {error}")
    import tinyconv as tc
    tc.set_num_threads(given.threads)
    pages, constant = pages_with(given.constant), given.constant.rpartition(".")[2]
    head(given, {"ours": ours_about()})
    rows, ratios, cases = [], {}, layers(given.batch, given.only, given.few)
    for layer in cases:
        calls = plans(layer, pages, constant, values)
        rounds = [undisturbed(lambda: in_turns(calls, given.least)) for _ in range(given.rounds)]
        seconds = [statistics.median(each) for each in zip(*rounds)]
        found = [mine / seconds[0] for mine in seconds[1:]]
        rows.append([layer.group, layer.name, *(f"{1e6 * mine:.1f}" for mine in seconds), *(f"{ratio:.2f}" for ratio in found)])
        ratios.setdefault(layer.group, []).append(found)
        print(f"{len(rows)}/{len(cases)}", end="\r", file=sys.stderr)
    first, *others = given.values
    titles = ["group", "layer", *(f"{value} us" for value in given.values), *(f"{value} / {first}" for value in others)]
    table(titles, rows)
    write_csv(given.csv, titles, rows)
    for group in filter(ratios.get, GROUPS):
        for value, found in zip(others, zip(*ratios[group])):
            print(f"{group}: {given.constant} = {value} takes {geometric_mean(found):.3f} of the time at {first}, from {min(found):.2f} to {max(found):.2f}")


if __name__ == "__main__":
    main()
