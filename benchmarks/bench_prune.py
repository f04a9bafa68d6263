"""The small networks pruned to half their multiply-adds: bytes of the arrays and time of a batch of 64, before and after.

    python benchmarks/bench_prune.py
    python benchmarks/bench_prune.py --rounds 5 --csv benchmarks/bench_prune.csv          as the table beside this page was made
    python benchmarks/bench_prune.py --only mobilenet_v2_small --scope global

Coupled groups of channels go by the L1 norm of their filters, the same share of every family (--scope uniform). Before and after
take turns in one process, BatchNorm folded in both; what is reported is the median of the processes' medians. `wanted` is said
of the small MobileNetV2: at most 0.60 of the bytes and 0.75 of the time.
"""
import sys

import numpy as np
from common import Answer, head, options, ours_about, table, turns, write_csv

NETWORKS = ("mobilenet_v2_small", "mobilenet_v1_small", "shufflenet_v2_small", "resnet_small", "vgg16_small", "squeezenet_small")
WANTED = {"bytes": {"mobilenet_v2_small": 0.60}, "time": {"mobilenet_v2_small": 0.75}}
BATCH = 64


def names(given):
    """The networks asked for."""
    found = [name for name in NETWORKS if given.only in name]
    return found or sys.exit(f"no network's name holds {given.only!r}: there are {', '.join(NETWORKS)}")


def both(name, scope):
    """{"before": Graph, "after": the same pruned to half its MACs}, trained by nobody: widths do not depend on the weights."""
    import tinyconv as tc
    whole = tc.trace(tc.models.network(name)(rng=0), tc.models.input_shape(name), check=False)
    return {"before": whole, "after": tc.apply.prune(whole, macs=tc.cost.macs(whole) // 2, scope=scope)}


def sizes(networks):
    """[MACs, parameters, bytes] after over before."""
    import tinyconv as tc
    counts = [(s.macs, s.params, s.array_bytes) for s in map(tc.cost.summary, networks.values())]
    return [after / before for before, after in zip(*counts)]


def run_ours(given):
    """Two answers a network, before and after: seconds of a batch; the note of the second is what is left of its size."""
    import tinyconv as tc
    from tinyconv.recipes.measuring import milliseconds_per_image
    tc.set_num_threads(given.threads)
    answers = []
    for name in names(given):
        networks = both(name, given.scope)
        images = np.random.default_rng(0).random((BATCH, *tc.models.input_shape(name)[1:]), np.float32)
        times = milliseconds_per_image(networks, images, rounds=given.turns, batch=BATCH)
        seconds = [BATCH * times[key] / 1000 for key in networks]
        answers += [Answer(seconds[0]), Answer(seconds[1], sizes(networks))]
    return answers, ours_about()


def reached(what, name, ratio):
    """The figure that was wanted beside what was found, in words; nothing where none was."""
    wanted = WANTED[what].get(name)
    return "" if wanted is None else f"  {what} wanted {wanted:.2f}: {'reached' if ratio <= wanted else 'NOT REACHED'}"


def add(parser):
    """The options that the other benches have not."""
    parser.add_argument("--only", default="", help="networks whose name holds this")
    parser.add_argument("--scope", choices=("uniform", "global"), default="uniform", help="of pruning (default %(default)s)")
    parser.add_argument("--turns", type=int, default=201, help="runs of each network in a process (default %(default)s)")


def main():
    """Turns, the table, and what was wanted."""
    engines = {"ours": run_ours}
    given = options(__doc__, engines, add)
    answers, about = turns(given, engines)
    head(given, about)
    rows, words = [], []
    for name, before, after in zip(names(given), answers["ours"][::2], answers["ours"][1::2]):
        macs, params, nbytes = after.note
        ratio = after.seconds / before.seconds
        shares, times = (macs, params, nbytes), (before.seconds, after.seconds)
        rows.append([name, *(f"{r:.3f}" for r in shares), *(f"{1e3 * t:.2f}" for t in times), f"{ratio:.3f}"])
        words.append(reached("bytes", name, nbytes) + reached("time", name, ratio))
    titles = ["network", "MACs", "params", "bytes", f"ms before, {BATCH} pictures", "ms after", "time"]
    table(titles, rows)
    write_csv(given.csv, titles, rows)
    for name, said in zip(names(given), words):
        if said:
            print(f"{name}:{said}")


if __name__ == "__main__":
    main()
