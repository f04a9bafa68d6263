"""Which algorithm wins where, direct or Winograd's F(2,3) or F(4,3), over channels and size of plane; the constants of a rule.

    python benchmarks/select_map.py --figure map.png                 batch 1, weights packed beforehand
    python benchmarks/select_map.py --batch 64 --direction grad_weight

3x3 windows, stride 1, padding 1, as many filters as channels. Two rules are fitted to what is measured:

    by time          the least of     direct        call + a · MACs
                                      winograd m    call_m + b_m · products + c_m · numbers + d_m · weights (transformed)
                     MACs = N H W C F 9, products = tiles C F (m+2)², numbers = tiles (C + F) (m+2)², weights = C F (m+2)²; the
                     constants by non-negative least squares of relative errors
    by thresholds    winograd m where min(C, F) >= channels_m and ceil(OH/m) ceil(OW/m) >= tiles_m (of one image: the batch
                     plays no part), the larger m first; the thresholds of the least loss among those on the grid

A rule's loss is the geometric mean of (time of its choice / time of the winner): 1.00 is a rule that is always right. The same
is told of `kernels.select.choose` as it is, and of always direct.
"""
import itertools
import math

import numpy as np
from common import Answer, geometric_mean, head, median_seconds, options, ours_about, table, turns, write_csv
from layers import Layer, channels_last, forward

ALGORITHMS = {"direct": 0, "winograd2": 2, "winograd4": 4}               # name -> m
CHANNELS = (8, 16, 32, 64, 128, 256, 512)
PLANES = {1: (4, 7, 10, 14, 20, 28, 56, 112, 224), 64: (1, 2, 4, 8, 16, 32)}
MOST_FLOP = 16e9                                                        # larger convolutions are left out
WINNER = "Who wins"
DIRECTIONS = ("forward", "grad_input", "grad_weight")


def cells(given):
    """The layers of the map."""
    planes, channels = PLANES[given.batch], CHANNELS
    if given.few:
        planes, channels = planes[::max(1, len(planes) // given.few)], channels[::max(1, len(channels) // given.few)]
    found = [Layer(given.batch, c, h, c, 3, 1, 1, 1) for c in channels for h in planes]
    return [layer for layer in found if layer.flop <= MOST_FLOP]


def call_of(layer, direction, algorithm):
    """A function without arguments that computes one direction of a layer by one algorithm."""
    from tinyconv import kernels
    if direction == "forward":
        return forward(layer, algorithm)
    x, w = layer.arrays()
    x, dy = channels_last(x, np.random.default_rng(1).standard_normal((layer.n, layer.f, layer.oh, layer.oh), np.float32))
    if direction == "grad_input":
        return lambda: kernels.conv2d_grad_input(dy, w, x.shape, *layer.more, algorithm)
    return lambda: kernels.conv2d_grad_weight(dy, x, w.shape, *layer.more, algorithm)


def run_ours(given):
    """Seconds of every layer by every algorithm; the note is what `choose` takes."""
    import tinyconv as tc
    from tinyconv.kernels import select
    tc.set_num_threads(given.threads)
    answers = []
    for layer in cells(given):
        taken = select.choose(layer.geometry, given.direction)
        answers += [Answer(median_seconds(call_of(layer, given.direction, name), given.least), taken) for name in ALGORITHMS]
    return answers, ours_about()


ENGINES = {"ours": run_ours}


def amounts(layer, m):
    """What an algorithm's time is a sum of: calls and MACs; of Winograd calls, products, transformed numbers and weights."""
    if not m:
        return 1, layer.flop / 2
    points, tiles = (m + layer.k - 1)**2, layer.n * math.ceil(layer.oh / m)**2
    return 1, points * tiles * layer.c * layer.f, points * tiles * (layer.c + layer.f), points * layer.c * layer.f


def non_negative(matrix, wanted):
    """The x >= 0 of least |matrix x - wanted|²: least squares, the most negative number set to 0 until none is."""
    kept = list(range(matrix.shape[1]))
    while True:
        x = np.linalg.lstsq(matrix[:, kept], wanted, rcond=None)[0]
        if (x >= 0).all():
            found = np.zeros(matrix.shape[1])
            found[kept] = x
            return found
        kept.pop(int(x.argmin()))


def fit(times, layers):
    """Algorithm -> picoseconds of each amount, fitted to relative errors. times: a dict (algorithm -> seconds) a layer."""
    found = {}
    for name, m in ALGORITHMS.items():
        matrix = np.array([[amount / t[name] for amount in amounts(layer, m)] for t, layer in zip(times, layers)])
        found[name] = 1e12 * non_negative(matrix, np.ones(len(layers)))
    return found


def by_time(layer, constants):
    """The algorithm of the least predicted time."""
    return min(ALGORITHMS, key=lambda name: float(np.dot(constants[name], amounts(layer, ALGORITHMS[name]))))


def by_thresholds(layer, thresholds):
    """The larger m whose (channels, tiles of an image) the layer reaches, else direct."""
    for name in ("winograd4", "winograd2"):
        channels, tiles = thresholds[name]
        if min(layer.c, layer.f) >= channels and math.ceil(layer.oh / ALGORITHMS[name])**2 >= tiles:
            return name
    return "direct"


def loss(times, chosen):
    """Geometric mean of (time of the choice / time of the winner)."""
    return geometric_mean([t[name] / min(t.values()) for t, name in zip(times, chosen)])


def best_thresholds(times, layers):
    """The thresholds of the least loss; those of the larger m are sought together with those of the smaller."""
    channels = [*sorted({layer.c for layer in layers}), math.inf]
    tiles = {name: sorted({math.ceil(layer.oh / ALGORITHMS[name])**2 for layer in layers}) for name in ("winograd2", "winograd4")}
    found = [dict(winograd2=two, winograd4=four) for two in itertools.product(channels, tiles["winograd2"])
             for four in itertools.product(channels, tiles["winograd4"])]
    return min(found, key=lambda thresholds: loss(times, [by_thresholds(layer, thresholds) for layer in layers]))


def figure_of(path, layers, times, maps, given):
    """One map a rule: channels across, planes upwards, coloured by algorithm; how much slower than the winner its choice is."""
    import tinyconv as tc
    colours = dict(zip(ALGORITHMS, tc.draw.canvas.COLOURS))
    planes, channels = sorted({layer.h for layer in layers}), sorted({layer.c for layer in layers})
    figure, frames = tc.draw.panels(2, 2, size=(1.2 + 0.62 * len(channels), 1.4 + 0.38 * len(planes)), sharey=True)
    for axes, (title, chosen) in zip(frames, maps.items()):
        for layer, t, name in zip(layers, times, chosen):
            at = channels.index(layer.c), planes.index(layer.h)
            axes.bar(at[0], 0.94, 0.94, at[1] - 0.47, color=colours[name], alpha=0.8)
            lost = t[name] / min(t.values()) - 1
            text = f"{t['direct'] / t[name]:.2f}" if title == WINNER else f"+{lost:.0%}" * (lost > 0)
            axes.annotate(text, at, ha="center", va="center", fontsize=7, color="white")
        words = f"loss {loss(times, chosen):.3f}; slower than the winner by"
        words = "how many times faster than direct" if title == WINNER else words
        tc.draw.finish(axes, f"{title}\n{words}", "channels and filters", "plane (pixels a side)" * (axes in frames[::2]))
        axes.grid(False)
        axes.set_xticks(range(len(channels)), channels)
        axes.set_yticks(range(len(planes)), planes)
    patches = [frames[0].bar(0, 0, color=colour) for colour in colours.values()]
    title = f"3x3, batch {given.batch}, {given.direction}, {given.threads} threads"
    figure.legend(patches, list(colours), loc="outside lower center", ncols=3, frameon=False, title=title, title_fontsize=9)
    tc.draw.save(figure, path)


def more_options(parser):
    """What this bench has beside the common options."""
    parser.add_argument("--batch", type=int, choices=sorted(PLANES), default=1, help="1 (default) or 64, each with its planes")
    parser.add_argument("--direction", choices=DIRECTIONS, default="forward",
                        help="default forward; packing is timed in all but forward at batch 1")
    parser.add_argument("--few", type=int, default=0, metavar="N", help="about N channels and N planes, for a quick look")


def main():
    """Measure the map, fit the rules, print and draw."""
    given = options(__doc__, ENGINES, more_options, rounds=1, least=0.06)
    answers, about = turns(given, ENGINES)
    head(given, about)
    layers, ours = cells(given), answers["ours"]
    times = [dict(zip(ALGORITHMS, (a.seconds for a in ours[i * len(ALGORITHMS):]))) for i in range(len(layers))]
    constants, thresholds = fit(times, layers), best_thresholds(times, layers)
    maps = {WINNER: [min(t, key=t.get) for t in times], "`choose` takes": [a.note for a in ours[::len(ALGORITHMS)]],
            "Rule by time": [by_time(layer, constants) for layer in layers],
            "Rule by thresholds": [by_thresholds(layer, thresholds) for layer in layers]}
    rows = [[layer.c, layer.h, *[f"{1e6 * t[name]:.1f}" for name in ALGORITHMS], *[chosen[i] for chosen in maps.values()]]
            for i, (layer, t) in enumerate(zip(layers, times))]
    titles = ["channels", "plane", *[f"{name} us" for name in ALGORITHMS], *maps]
    table(titles, rows)
    write_csv(given.csv, titles, rows)
    for name, numbers in constants.items():
        what = ("a MAC",) if name == "direct" else ("a product", "a transformed number", "a transformed weight")
        words = ", ".join(f"{number:.3g} ps {word}" for number, word in zip(numbers[1:], what))
        print(f"{name}: {numbers[0] / 1e6:.1f} us a call, {words}")
    for name, (channels, tiles) in thresholds.items():
        print(f"{name}: " + ("never" if channels == math.inf else f"channels >= {channels}, tiles of an image >= {tiles}"))
    for title, chosen in {**maps, "always direct": ["direct"] * len(layers)}.items():
        if title != WINNER:
            worst = max(t[name] / min(t.values()) for t, name in zip(times, chosen))
            print(f"{title}: loss {loss(times, chosen):.3f}, at most {worst:.2f}")
    if given.figure:
        figure_of(given.figure, layers, times, maps, given)


if __name__ == "__main__":
    main()
