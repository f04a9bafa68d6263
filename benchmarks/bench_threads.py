"""What a parallel region costs: numba's prange (its omp and its workqueue layer) and tinyconv's runner, a process each.

    python benchmarks/bench_threads.py

A region gives every thread one task: nothing, or a chain of dependent multiply-adds that takes one thread 5 or 50 microseconds
(as many steps as that needs here, measured first). What it takes beyond that is its cost. It is called in three ways:

    chained         one right after the other, as the layers of a network are
    apart           a millisecond of the caller's own work before each: threads may have gone to sleep (that work is not counted)
    with matmul     one np.matmul of 256x256 before each, by NumPy's own pool of threads; the cost is what both take together,
                    less the work, less what the same matmul takes by itself before any region was run

The first call, compiler included, is told too. A layer that numba has not got on this machine is left out, with its words.
"""
import os
import statistics
import time

import numpy as np
from common import Answer, head, median_seconds, options, table, turns, write_csv

WORK = (0.0, 5e-6, 50e-6)
WAYS = ("chained", "apart", "with matmul")
PAUSE = 1e-3
LINE = 16                                               # float32 numbers of a cache line: every thread writes to its own


def chain(steps, start):
    """steps multiply-adds, each waiting for the one before."""
    total = start
    for _ in range(steps):
        total = total * np.float32(0.999) + np.float32(0.5)
    return total


def numba_kernels():
    """(chain compiled, region(steps, y) of prange): one task a row of y."""
    import numba
    one = numba.njit(nogil=True)(chain)

    @numba.njit(parallel=True, nogil=True)
    def region(steps, y):
        for task in numba.prange(y.shape[0]):
            y[task, 0] = one(steps, y[task, 0])
    return one, region


def tinyconv_kernels():
    """The same for `threads.run`."""
    import numba
    from tinyconv.kernels import threads
    one = numba.njit(nogil=True)(chain)

    @numba.njit(nogil=True)
    def tasks(lo, hi, steps, y):
        for task in range(lo, hi):
            y[task, 0] = one(steps, y[task, 0])
    return one, lambda steps, y: threads.run(tasks, y.shape[0], steps, y)


def apart(function, least):
    """Median of calls with PAUSE seconds of the caller's own work before each."""
    times, end = [], time.perf_counter() + least
    while time.perf_counter() < end or len(times) < 5:
        stop = time.perf_counter() + PAUSE
        while time.perf_counter() < stop:
            pass
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def measure(given, one, region):
    """(seconds of a region for every work and way of calling, noted what is no cost of it; seconds of the first call)."""
    answers, y, a = [], np.zeros((given.threads, LINE), np.float32), np.ones((256, 256), np.float32)
    matmul = median_seconds(lambda: np.matmul(a, a), given.least)
    begin = time.perf_counter()
    region(0, y)
    first = time.perf_counter() - begin
    alone = lambda steps: min(median_seconds(lambda: one(steps, np.float32(1)), given.least / 4) for _ in range(3))
    call, many = alone(0), 20_000
    step = (alone(many) - call) / many
    for work in WORK:
        steps = round(work / step)
        call = lambda: region(steps, y)
        both = lambda: (np.matmul(a, a), region(steps, y))
        answers += [Answer(median_seconds(call, given.least), steps * step), Answer(apart(call, given.least), steps * step),
                    Answer(median_seconds(both, given.least), steps * step + matmul)]
    return answers, f"first call {first:.2f} s"


def run_prange(given, layer):
    """numba's own threads, by the layer of that name."""
    os.environ["NUMBA_THREADING_LAYER"] = layer
    import numba
    one, region = numba_kernels()
    numba.set_num_threads(given.threads)
    answers, first = measure(given, one, region)
    return answers, {"versions": f"numba {numba.__version__}, layer {numba.threading_layer()}", "first": first}


def run_ours(given):
    """tinyconv's threads."""
    import tinyconv as tc
    tc.set_num_threads(given.threads)
    answers, first = measure(given, *tinyconv_kernels())
    return answers, {"versions": f"tinyconv {tc.__version__}", "first": first}


ENGINES = {"ours": run_ours, "prange omp": lambda given: run_prange(given, "omp"),
           "prange workqueue": lambda given: run_prange(given, "workqueue")}


def main():
    """Run all engines in turn and print what a region takes and costs."""
    given = options(__doc__, ENGINES, rounds=3, least=0.3)
    answers, about = turns(given, ENGINES)
    head(given, about)
    cases, rows = [(work, how) for work in WORK for how in WAYS], []
    for i, (work, how) in enumerate(cases):
        rows.append([f"{work * 1e6:.0f} us" if work else "nothing", how, *[f"{answers[e][i].seconds * 1e6:.1f}" for e in answers],
                     *[f"{(answers[e][i].seconds - answers[e][i].note) * 1e6:.1f}" for e in answers]])
    titles = ["a thread's work", "called", *[f"{e} us" for e in answers], *[f"{e} cost us" for e in answers]]
    table(titles, rows)
    write_csv(given.csv, titles, rows)
    if given.figure:
        figure_of(given.figure, answers, cases)


def figure_of(path, answers, cases):
    """Bars: what a region costs beyond its work, engine by engine, each way of calling in its panel."""
    import tinyconv as tc
    figure, frames = tc.draw.panels(3, size=(4.6, 4.0), sharey=True)
    for axes, how in zip(frames, WAYS):
        chosen = [i for i, case in enumerate(cases) if case[1] == how]
        for e, (engine, colour) in enumerate(zip(answers, tc.draw.canvas.COLOURS)):
            costs = [max(1e6 * (answers[engine][i].seconds - answers[engine][i].note), 0.1) for i in chosen]
            places = [q + (e - (len(answers) - 1) / 2) * 0.26 for q in range(len(chosen))]
            axes.bar(places, costs, 0.24, color=colour, label="tinyconv's runner" if engine == "ours" else engine)
            for place, cost in zip(places, costs):
                axes.annotate(f"{cost:.1f}", (place, cost), xytext=(0, 2), textcoords="offset points", ha="center", fontsize=8)
        tc.draw.finish(axes, f"What a parallel region costs, {how}", "a thread's work",
                       "microseconds beyond that work (log scale)" * (axes is frames[0]))
        axes.set_xticks(range(len(chosen)), ["nothing" if not cases[i][0] else f"{cases[i][0] * 1e6:.0f} us" for i in chosen])
        axes.set_yscale("log")
    frames[0].legend(frameon=False, fontsize=8, loc="upper left")
    frames[0].set_ylim(top=frames[0].get_ylim()[1] * 3)
    tc.draw.save(figure, path)


if __name__ == "__main__":
    main()
