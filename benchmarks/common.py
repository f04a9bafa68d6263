"""What the benches share: engines in processes of their own that take turns, medians, the machine in words, tables, CSV, figures.

A bench is a table of engines, name -> function(options); each measures one list of cases and returns (a list of Answers, a dict
of what it says about itself). `turns` runs every engine in a fresh process (the bench itself, with the same options and
--engine NAME), one after the other, with a rest between, as often as --rounds says: no thread pool disturbs another, and what
the machine does meanwhile meets all engines alike. What is reported is the median over rounds of the medians within a process.
"""
import argparse
import csv
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

POOLS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
TRIES, QUIET = 6, 0.06          # turns of one measurement at most; part of the processors that others may have had meanwhile


class Answer(NamedTuple):
    """One case measured: seconds (NaN where an engine has not got it), a note about how, such as the algorithm, and Σ|result|,
    by which engines are held against each other.
    """

    seconds: float
    note: object = ""
    checksum: float = math.nan


def options(doc, engines, add=None, rounds=3, least=0.12):
    """The options of a bench, and those of add(parser). In a process of `turns` the engine answers, and the process ends."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds, help="turns of every engine (default %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="threads of every engine (default %(default)s)")
    parser.add_argument("--least", type=float, default=least, help="seconds for each case (default %(default)s)")
    parser.add_argument("--rest", type=float, default=1.0, help="seconds of rest between processes (default %(default)s)")
    parser.add_argument("--rival-python", default=sys.executable, metavar="PYTHON", help="a Python with the rivals, if needed")
    parser.add_argument("--csv", metavar="FILE", help="write the table here")
    parser.add_argument("--figure", metavar="FILE", help="draw the figure here (.png, .svg, .pdf)")
    parser.add_argument("--engine", choices=engines, help=argparse.SUPPRESS)
    if add:
        add(parser)
    found = parser.parse_args()
    if found.engine:
        answers, about = engines[found.engine](found)
        print(json.dumps([answers, about]))
        sys.exit()
    return found


def with_torch(ours, torch):
    """The engines of most benches: ours, and PyTorch in both memory formats: torch(options, True) is channels-last."""
    return {"ours": ours, "torch": lambda given: torch(given, False), "torch channels-last": lambda given: torch(given, True)}


def torch_form(channels_last):
    """(PyTorch's name of a memory format, what is said of the engine)."""
    import torch
    return torch.channels_last if channels_last else torch.contiguous_format, {"versions": f"torch {torch.__version__}"}


def ours_about():
    """What our engine says about itself: versions, and the machine's limits as measured in this process."""
    import tinyconv as tc
    from tinyconv.kernels import machine
    m = machine.measure()
    return {"versions": f"tinyconv {tc.__version__}, numpy {np.__version__}", "machine": str(m), "peak": m.peak_flops_per_second,
            "limits": {"peak": m.peak_flops_per_second, "memory": m.memory_bytes_per_second, "caches": m.cache_bytes_per_second}}


def undisturbed(measure):
    """What measure() gives, in the first of TRIES turns during which others took less than QUIET of the processors, else in the quietest.

    A neighbour's work lengthens whatever runs meanwhile, more the longer a call takes; it does not wait for the next engine's turn.
    """
    found = []
    for _ in range(TRIES):
        begin, before = time.perf_counter(), others_seconds()
        result = measure()
        found.append(((others_seconds() - before) / (time.perf_counter() - begin) / processors(), len(found), result))
        if found[-1][0] < QUIET:
            break
    return min(found)[2]


def median_seconds(function, least):
    """Median of single calls over about `least` seconds and at least five, after a warm-up of a fifth of that, `undisturbed`."""
    return undisturbed(lambda: median_of_calls(function, least))


def median_of_calls(function, least):
    """`median_seconds` as it comes."""
    function()
    stop = time.perf_counter() + least / 5
    while time.perf_counter() < stop:
        function()
    times, stop = [], time.perf_counter() + least
    while time.perf_counter() < stop or len(times) < 5:
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def is_rival(engine):
    """Engines of our own are called "ours" or begin with it; the others run in --rival-python."""
    return not engine.startswith("ours")


def environment(threads, **more):
    """The environment of a child process: every pool that reads a variable gets the same number of threads."""
    return dict(os.environ, **dict.fromkeys(POOLS, str(threads)), **more)


def run(command, environment):
    """A process run to its end: its return code, output and errors; a program that is not there counts as failed."""
    try:
        return subprocess.run(command, capture_output=True, text=True, env=environment)
    except OSError as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))


def processors():
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def others_seconds():
    """Processor seconds taken so far by all but this process and those it ran to their end; 0 where the system does not tell."""
    try:
        user, nice, system, _, _, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    except (OSError, ValueError):
        return 0.0
    own = os.times()
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK") - sum(own[:4])


def turns(given, engines):
    """engine -> one Answer a case, medians over the rounds; engine -> what it says about itself, and how quiet it was meanwhile.

    An engine whose process fails is left out, and its last words are printed. Errors: SystemExit if none is left.
    """
    found, about, others = {}, {}, {}
    for turn in range(given.rounds):
        for engine in engines:
            python = given.rival_python if is_rival(engine) else sys.executable
            command = [python, sys.argv[0], *sys.argv[1:], "--engine", engine]
            begin, before = time.perf_counter(), others_seconds()
            done = run(command, environment(given.threads))
            taken = (others_seconds() - before) / (time.perf_counter() - begin) / processors()
            if done.returncode:
                if turn == 0:
                    print(f"{engine}: left out ({(done.stderr.strip().splitlines() or ['no reason given'])[-1]})")
                continue
            answers, about[engine] = json.loads(done.stdout.splitlines()[-1])
            others[engine] = max(taken, others.get(engine, 0.0))
            found.setdefault(engine, []).append([Answer(*a) for a in answers])
            print(f"round {turn + 1}/{given.rounds}  {engine}", file=sys.stderr)
            time.sleep(given.rest)
    if not found:
        sys.exit("no engine could be measured")
    for engine, rounds in found.items():
        about[engine]["others"] = f"other processes took {others[engine]:.0%} of the processors"
        cases = [[a.seconds for a in case] for case in zip(*rounds)]
        apart = [max(times) / min(times) - 1 for times in cases if not math.isnan(times[0])]
        if len(rounds) > 1 and apart:
            about[engine]["rounds"] = f"rounds differ by {statistics.median(apart):.0%} in the middle, {max(apart):.0%} at most"
    return {engine: [Answer(statistics.median(a.seconds for a in case), *case[0][1:]) for case in zip(*rounds)]
            for engine, rounds in found.items()}, about


def disagreements(answers, names, tolerance=1e-3):
    """Cases whose Σ|result| differs from the first engine's by more than the tolerance: they did not compute the same."""
    first, *others = answers
    return [f"{name}: {engine} {other.checksum:.6g}, {first} {mine.checksum:.6g}"
            for engine in others for name, mine, other in zip(names, answers[first], answers[engine])
            if abs(other.checksum - mine.checksum) > tolerance * abs(mine.checksum)]         # never of NaN: nothing to compare


def ratios(answers, ours="ours"):
    """Ours over the best rival, case by case; NaN where no rival has the case."""
    cases = zip(answers[ours], *(answers[e] for e in answers if is_rival(e)))
    return [mine.seconds / min((other.seconds for other in rivals if other.seconds == other.seconds), default=math.nan)
            for mine, *rivals in cases]


def geometric_mean(values):
    """exp(mean(log v)): the mean of ratios that does not care which of the two is the unit.

    >>> geometric_mean([0.5, 2.0])
    1.0
    """
    return math.exp(statistics.fmean(map(math.log, values)))


def processor():
    """The processor's name and how many of it this process may use."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        name = next((line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")), name)
    return f"{name}, {processors()} processors, {platform.system()}, Python {platform.python_version()}"


def head(given, about):
    """Print the machine, the threads, the rounds, and what each engine says about itself."""
    print(f"{processor()}; {given.threads} threads an engine; medians of {given.rounds} rounds")
    for engine, said in about.items():
        print(f"  {engine}: {'; '.join(word for word in said.values() if isinstance(word, str))}")


def table(titles, rows):
    """Print rows of words under their titles, numbers to the right."""
    widths = [max(len(str(row[i])) for row in [titles, *rows]) for i in range(len(titles))]
    right = [all(str(row[i])[:1] in "0123456789-.n" for row in rows) for i in range(len(titles))]
    for row in [titles, *rows]:
        print("  ".join(str(cell).rjust(w) if r else str(cell).ljust(w) for cell, w, r in zip(row, widths, right)).rstrip())


def write_csv(path, titles, rows):
    """The same table as a file, if a path was given."""
    if path:
        with open(path, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([titles, *rows])


def means(groups, wanted, limits=None):
    """Print each group's geometric mean beside the figure that was wanted.

    groups: name -> ratios; wanted: name -> figure; limits: name -> ratios of an engine at the machine's limits.
    """
    for name, values in groups.items():
        if not values or any(map(math.isnan, values)):
            continue
        mean, words = geometric_mean(values), ""
        if len(values) > 1:
            words += f", geometric mean over {len(values)}, from {min(values):.2f} to {max(values):.2f}"
        if name in wanted:
            words += f";  wanted {wanted[name]:.2f}: {'reached' if mean <= wanted[name] else 'NOT REACHED'}"
        if limits:
            words += f";  at the machine's limits {geometric_mean(limits[name]):.2f}"
        print(f"{name + ':':<22} {mean:.3f}{words}")


def compare_layers(given, engines, cases, wanted, title, passes=1):
    """A bench of layers from beginning to end: turns, table, CSV, means of groups beside what is wanted, figure -> answers.

    passes: how often the multiply-adds of the definition are done in what is timed (two gradients: 2).
    """
    answers, about = turns(given, engines)
    head(given, about)
    found, groups, rows, peak, limits, bounds = ratios(answers), {}, [], about["ours"]["peak"], about["ours"].get("limit"), {}
    for i, (layer, ratio) in enumerate(zip(cases, found)):
        groups.setdefault(layer.group, []).append(ratio)
        mine = answers["ours"][i]
        rate = passes * layer.flop / mine.seconds
        times = [f"{1e6 * answers[e][i].seconds:.1f}" for e in answers]
        rows.append([layer.group, layer.name, layer.networks.replace(" ", " + "), mine.note, *times,
                     f"{rate / 1e9:.1f}", f"{rate / peak:.2f}", f"{ratio:.3f}"])
        if limits:
            bounds.setdefault(layer.group, []).append(limits[i] * ratio / mine.seconds)
            rows[-1] += [f"{1e6 * limits[i]:.1f}", f"{bounds[layer.group][-1]:.3f}"]
    titles = ["group", "layer", "networks", "algorithm", *[f"{e} us" for e in answers], "GFLOP/s", "of peak", "ours / best rival"]
    titles += ["limit us", "limit / best rival"] * bool(limits)
    table(titles, rows)
    write_csv(given.csv, titles, rows)
    for line in disagreements(answers, [layer.name for layer in cases]):
        print("DIFFERENT RESULTS", line)
    means(groups, wanted, bounds)
    if given.figure and len(answers) > 1:
        ratio_figure(given.figure, groups, wanted, title, bounds=bounds)
    return answers


def ratio_figure(path, groups, wanted, title, what="layers, sorted within each group", bounds=None):
    """Every case a point, groups side by side, sorted; the geometric mean a line, the figure that was wanted a dashed one, and,
    if known, that of an engine at the machine's limits a dotted one."""
    import tinyconv as tc
    colours = tc.draw.canvas.COLOURS
    figure, (axes,) = tc.draw.panels(size=(11, 4.8))
    at, ticks = 0.0, []
    for (name, values), colour in zip(groups.items(), colours):
        values, width = sorted(values), max(len(values) - 1, 6)
        places = np.linspace(at, at + width, len(values)) if len(values) > 1 else [at + width / 2]
        axes.scatter(places, values, s=12, color=colour, zorder=3)
        mean = geometric_mean(values)
        axes.plot([at - 1, at + width + 1], [mean, mean], color=colour, linewidth=1.6)
        if name in wanted:
            axes.plot([at - 1, at + width + 1], [wanted[name]] * 2, color=colour, linewidth=1.2, linestyle=(0, (3, 2)))
        goal = f"\nwanted {wanted[name]:.2f}" if name in wanted else ""
        if bounds:
            least = geometric_mean(bounds[name])
            axes.plot([at - 1, at + width + 1], [least, least], color=colour, linewidth=1.4, linestyle=(0, (1, 1.5)))
            goal += f"\nlimit {least:.2f}"
        ticks.append((at + width / 2, f"{name}\n{'mean ' * (len(values) > 1)}{mean:.2f}{goal}"))
        at += width + 6
    axes.set_yscale("log")
    shown = [v for values in groups.values() for v in values] + [geometric_mean(v) for v in (bounds or {}).values()]
    shown += [wanted[name] for name in groups if name in wanted] + [1.0]
    near = max(shown) < 30 * min(shown)
    marks = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1, 1.5, 2, 3, 5, 10) if near else (0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.5, 1, 2, 5, 10)
    marks = [m for m in marks if 0.9 * min(shown) <= m <= 1.1 * max(shown)]
    axes.set_yticks(marks, [f"{m:g}" for m in marks])
    axes.minorticks_off()
    axes.axhline(1, color="black", linewidth=0.8)
    tc.draw.finish(axes, title, "", "ours / best rival (log scale)")
    axes.set_xticks([x for x, _ in ticks], [label for _, label in ticks], fontsize=9)
    axes.set_xlim(-4, at - 2)
    several, goals = max(map(len, groups.values())) > 1, any(name in wanted for name in groups)
    what += ";  line: geometric mean" * several + ";  dashed: wanted" * goals + ";  dotted: at the machine's limits" * bool(bounds)
    axes.set_xlabel(what, fontsize=9)
    tc.draw.save(figure, path)
