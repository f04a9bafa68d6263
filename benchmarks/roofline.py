"""How near each layer comes to what this machine could do, what binds the others, and whether time grows as work does.

    python benchmarks/roofline.py --figure roofline.png          all parts at batch 1
    python benchmarks/roofline.py --part doubling --few 3        one part

layers     For every layer, on the algorithm selected, the least time and the share of it that is reached:
               least = launch + max(FLOP / peak, bytes / bandwidth),   share = least / measured
           Peak, bandwidth of a copy with as large a working set, and the cost of a parallel region, which is paid before and after
           any work in it, are measured in turns with the layer itself: the machine's speed changes from second to second, and a
           limit of another minute is none (tinyconv.kernels.machine.in_turns). FLOP are those of the algorithm: Winograd's products, and an instruction of its
           transforms as one multiply-add. Bytes: input, result, weights (as packed for Winograd), each once. Below 0.6 the row
           says where the time above the least goes, by measurement; what explains most of it binds:
               call      what is outside the kernel: the same call on the algorithm's smallest convolution, and a launch
               threads   time less what the same work would take were that on one thread shared out evenly
               edges     the part of the register tiles that is edge (counted), at the speed of the peak
               size      time less what an image takes at an eightfold batch: paid once a call within the kernel
               kernel    what these leave unexplained: the loop itself, its loads, stores and waiting
matmul     1024 x 1024 x 1024 against the peak, measured in turns with it as for the layers, and beside it what the register tile alone reaches, of which
           the whole falls short by what has to be fetched; MobileNetV2's pointwise shapes against np.matmul, which has a process of its own.
doubling   One dimension doubled under one algorithm: time / time before, where that is at least 100 microseconds. Beside it the same ratio of a
           plain copy of as many bytes: where that leaves a cache it grows by more than 2 itself.
"""
import math

import numpy as np
from common import Answer, head, median_seconds, options, ours_about, table, turns, undisturbed, write_csv
from layers import GROUPS, Layer, channels_last, forward, layers
from layers import options as layer_options

SHARE, PART_OF_LAYERS, MOST, FROM_SECONDS, GEMM_SHARE, MATMUL = 0.6, 0.8, 2.6, 100e-6, 0.75, 1.10       # what is wanted
TRANSFORMS = {"winograd2": (2, 32, 24), "winograd4": (4, 144, 100)}     # m, instructions a tile and channel: data, inverse
SMALLEST = {"depthwise": Layer(1, 16, 3, 16, 3, 1, 1, 16), "pointwise": Layer(1, 16, 2, 16, 1, 1, 0, 1)}
SMALL = Layer(1, 16, 3, 16, 3, 1, 1, 1)                                 # of the other algorithms
GEMM = (1024, 1024, 1024)
# what is doubled: algorithm, (N, C, H, W, F), K, groups (0: as many as channels)
BASES = (("pointwise", (1, 128, 28, 28, 128), 1, 1), ("direct", (1, 64, 28, 28, 64), 3, 1),
         ("direct", (1, 192, 28, 28, 192), 1, 3), ("winograd2", (1, 64, 28, 28, 64), 3, 1),
         ("winograd4", (1, 64, 28, 28, 64), 3, 1), ("depthwise", (1, 64, 56, 56, 64), 3, 0))
DIMENSIONS = {"batch": (0,), "channels": (1,), "height": (2,), "width": (3,), "filters": (4,)}
PARTS = ("layers", "matmul", "doubling")
DIRECTIONS = ("forward", "grad_input", "grad_weight")
POINTS = 5


def work(layer, algorithm):
    """(FLOP, bytes) of a layer by an algorithm."""
    numbers = [layer.n * layer.c * layer.h**2, layer.f * layer.c // layer.groups * layer.k**2, layer.n * layer.f * layer.oh**2]
    if algorithm not in TRANSFORMS:
        return layer.flop, 4 * sum(numbers)
    m, data, inverse = TRANSFORMS[algorithm]
    tiles, points = layer.n * math.ceil(layer.oh / m)**2, (m + layer.k - 1)**2
    numbers[1] = numbers[1] * points // layer.k**2
    return 2 * tiles * (points * layer.c * layer.f + data * layer.c + inverse * layer.f), 4 * sum(numbers)


def fill(layer, algorithm):
    """Part of the computed register tiles (of window tiles: channels alone) that is wanted."""
    from tinyconv.kernels.indirect_scheme import tile_rows
    from tinyconv.kernels.simd import LANES
    part = lambda count, unit: count / (math.ceil(count / unit) * unit)
    if algorithm == "depthwise":
        return part(layer.c, LANES)
    columns, m = part(layer.f // layer.groups, LANES), TRANSFORMS.get(algorithm, (0,))[0]
    return columns * (part(layer.oh, m)**2 if m else part(layer.n * layer.oh**2, tile_rows(layer.f // layer.groups)))


def what_binds(layer, algorithm, seconds, least, given):
    """name -> seconds of the time above `least` that each cause explains, as the top of this page says."""
    import tinyconv as tc
    from tinyconv.kernels import machine
    call = median_seconds(forward(SMALLEST.get(algorithm, SMALL), algorithm), given.least / 4) + machine.launch_seconds()
    tc.set_num_threads(1)
    alone = median_seconds(forward(layer, algorithm), given.least / 4)
    tc.set_num_threads(given.threads)
    many = median_seconds(forward(layer._replace(n=8 * layer.n), algorithm, packed=layer.n == 1), given.least / 4)
    flop, inside = work(layer, algorithm)[0], seconds - call
    found = {"call": min(call, seconds), "threads": inside - (alone - call) / given.threads, "size": inside - (many - call) / 8,
             "edges": flop * (1 / fill(layer, algorithm) - 1) / machine.peak()}
    found = {name: max(lost, 0.0) for name, lost in found.items()}
    return {**found, "kernel": max(seconds - least - sum(found.values()), 0.0)}


def layer_answers(given):
    """Two answers a layer: measured, with what binds it if the share is low; and the least time, with algorithm and limit."""
    from tinyconv.kernels import machine, select
    answers = []
    for layer in layers(given.batch, given.only, given.few):
        algorithm = select.choose(layer.geometry)
        flop, moved = work(layer, algorithm)
        seconds, peak, bandwidth, launch = undisturbed(lambda: machine.in_turns(forward(layer), moved, given.least))
        inside, limit = max((flop / peak, "arithmetic"), (moved / bandwidth, "memory"))
        least, limit = launch + inside, limit if inside > launch else "launch"
        binds = what_binds(layer, algorithm, seconds, least, given) if least / seconds < SHARE + 0.1 else None
        answers += [Answer(seconds, binds), Answer(least, [algorithm, limit])]
    return answers


def shapes():
    """(M, K, N) of the 1024 cube and of MobileNetV2's pointwise layers, pixels x channels times channels x filters."""
    return [GEMM] + [(x.h**2, x.c, x.f) for x in layers(1, "pointwise") if "mobilenet_v2" in x.networks.split()]


def matmul_answers(given, matmul):
    """Seconds of each product by one function."""
    rng, answers = np.random.default_rng(0), []
    for m, k, n in shapes():
        a, b = rng.standard_normal((m, k), np.float32), rng.standard_normal((k, n), np.float32)
        answers.append(Answer(median_seconds(lambda: matmul(a, b), given.least)))
    return answers


def cube_answers(given, matmul):
    """Two answers: seconds of the cube, and the least that the peak allows, measured in turns; with the share of the peak
    that the register tile alone reaches."""
    from tinyconv.kernels import machine
    a = np.random.default_rng(0).standard_normal(GEMM[:2], np.float32)
    seconds, peak, *_ = undisturbed(lambda: machine.in_turns(lambda: matmul(a, a), 3 * a.nbytes, 4 * given.least))
    return [Answer(seconds), Answer(2 * math.prod(GEMM) / peak, undisturbed(lambda: machine.tile_share(4 * given.least)))]


def doublings(given):
    """(direction, algorithm, dimension, groups, K, shapes (N,C,H,W,F) each twice the one before) for every series."""
    found = []
    for algorithm, base, k, groups in BASES:
        for dimension, places in DIMENSIONS.items():
            if groups == 0 and dimension == "filters":
                continue                                            # they are the channels
            places = (1, 4) if groups == 0 and dimension == "channels" else places
            series = [tuple(v * 2**step if q in places else v for q, v in enumerate(base)) for step in range(POINTS)]
            found += [(direction, algorithm, dimension, groups, k, series) for direction in DIRECTIONS]
    return found[::max(1, len(found) // (given.few * 4))] if given.few else found


def doubling_answers(given):
    """Seconds of every member of every series, the algorithm named in the call; with the seconds that its bytes would take to be copied."""
    from tinyconv import kernels
    from tinyconv.kernels import machine
    rng, answers = np.random.default_rng(0), []
    for direction, algorithm, _, groups, k, series in doublings(given):
        for n, c, h, w, f in series:
            of = groups or c
            x, dy = channels_last(*(rng.standard_normal((n, q, h, w), np.float32) for q in (c, f)))
            weights, more = rng.standard_normal((f, c // of, k, k), np.float32), (1, k // 2, 1, of, algorithm)
            plan = kernels.plan_conv2d(x.shape, weights, None, *more)
            call = {"forward": lambda: plan(x), "grad_input": lambda: kernels.conv2d_grad_input(dy, weights, x.shape, *more),
                    "grad_weight": lambda: kernels.conv2d_grad_weight(dy, x, weights.shape, *more)}[direction]
            moved = 4 * (n * (c + f) * h * w + weights.size)
            answers.append(Answer(median_seconds(call, given.least / 2), moved / machine.bandwidth(moved)))
    return answers


def run_ours(given):
    """The parts asked for, one after the other."""
    import tinyconv as tc
    tc.set_num_threads(given.threads)
    parts = {"layers": lambda: layer_answers(given), "matmul": lambda: matmul_answers(given, tc.kernels.matmul) + cube_answers(given, tc.kernels.matmul),
             "doubling": lambda: doubling_answers(given)}
    return [answer for part in given.part for answer in parts[part]()], ours_about()


def run_numpy(given):
    """np.matmul on the same products, with NumPy's own threads."""
    return matmul_answers(given, np.matmul), {"versions": f"numpy {np.__version__}"}


ENGINES = {"ours": run_ours, "numpy": run_numpy}


def report_layers(answers, given):
    """Print every layer's share and what binds the low ones -> the table's rows, and (group, FLOP/byte, FLOP/s, share) each."""
    rows, points = [], []
    for layer, measured, least in zip(layers(given.batch, given.only, given.few), answers[::2], answers[1::2]):
        (algorithm, limit), share, words = least.note, least.seconds / measured.seconds, ""
        if share < SHARE and measured.note:
            causes = sorted(measured.note.items(), key=lambda item: -item[1])
            words = "; ".join(f"{name} {1e6 * lost:.1f} us" for name, lost in causes[:3] if lost > 0)
        flop, moved = work(layer, algorithm)
        rows.append([layer.group, layer.name, algorithm, f"{1e6 * measured.seconds:.1f}", f"{1e6 * least.seconds:.1f}", limit,
                     f"{share:.2f}", words])
        points.append((layer.group, flop / moved, flop / measured.seconds, share))
    titles = ["group", "layer", "algorithm", "us", "least us", "limit", "share", "what binds: the time above the least"]
    table(titles, rows)
    reached = sum(share >= SHARE for *_, share in points)
    print(f"{reached} of {len(points)} layers reach {SHARE} of their roofline: {reached / len(points):.0%}, "
          f"wanted {PART_OF_LAYERS:.0%}")
    return [titles, *rows], points


def report_matmul(ours, theirs):
    """Print the products beside np.matmul, and the cube beside the peak."""
    rows = []
    for shape, mine, other in zip(shapes(), ours, theirs):
        rows.append(["x".join(map(str, shape)), f"{1e6 * mine.seconds:.1f}", f"{1e6 * other.seconds:.1f}",
                     f"{2 * math.prod(shape) / mine.seconds / 1e9:.1f}", f"{mine.seconds / other.seconds:.2f}"])
    table(["product", "ours us", "np.matmul us", "GFLOP/s", "ours / np.matmul"], rows)
    cube, least = ours[-2:]
    print(f"1024 cubed: {least.seconds / cube.seconds:.2f} of the peak measured in turns with it, wanted {GEMM_SHARE}; "
          f"the register tile alone, on numbers of the first cache: {least.note:.2f}")
    slower = [row[0] for row in rows[1:] if float(row[-1]) > MATMUL]
    print(f"slower than np.matmul by more than {MATMUL - 1:.0%}: {len(slower)} of {len(rows) - 1} pointwise shapes of "
          f"MobileNetV2, wanted none{': ' * bool(slower)}{', '.join(slower)}")


def report_doubling(answers, given):
    """Print the largest ratios -> (dimension, seconds before, ratio) of each doubling from FROM_SECONDS on."""
    points, rows, alike = [], [], 0
    for at, (direction, algorithm, dimension, groups, k, series) in enumerate(doublings(given)):
        mine = answers[at * POINTS:(at + 1) * POINTS]
        for (before, copied, _), (after, copied_after, _), shape in zip(mine, mine[1:], series):
            if before >= FROM_SECONDS:
                copy = copied_after / copied
                alike += MOST < after / before <= MOST / 2 * copy
                points.append((dimension, before, after / before))
                name = "x".join(map(str, shape)) + f", {k}x{k}" + f" g{groups or shape[1]}" * (groups != 1)
                rows.append([algorithm, direction, name, dimension,
                             f"{1e6 * before:.0f}", f"{1e6 * after:.0f}", f"{after / before:.2f}", f"{copy:.2f}"])
    rows.sort(key=lambda row: -float(row[-2]))
    table(["algorithm", "direction", "N x C x H x W x F before", "doubled", "us", "us doubled", "ratio", "a copy's"], rows[:12])
    over = sum(ratio > MOST for *_, ratio in points)
    print(f"of {len(points)} doublings from {1e6 * FROM_SECONDS:.0f} us on, the largest ratios are above; {over} exceed {MOST}, "
          f"wanted none. {alike} of them grow by no more than {MOST / 2:.1f} times what a copy of as many bytes does, which leaves a cache there.")
    return points


def draw_roofs(axes, points, limits, colours):
    """Every layer as FLOP/s over FLOP a byte, under the roofs of memory and of the caches."""
    for group in dict.fromkeys(p[0] for p in points):
        mine = [p for p in points if p[0] == group]
        axes.scatter([p[1] for p in mine], [p[2] / 1e9 for p in mine], s=9, color=colours[group], label=group, zorder=3)
    span = np.geomspace(0.1, 1000, 50)
    for name, style in (("memory", "-"), ("caches", (0, (3, 2)))):
        axes.plot(span, np.minimum(span * limits[name], limits["peak"]) / 1e9, color="black", linewidth=0.9, linestyle=style)
        axes.annotate(name, (0.1, 0.1 * limits[name] / 1e9), xytext=(3, -3), textcoords="offset points", fontsize=8, va="top")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(axes.get_ylim()[0] / 2)                          # room for the lowest label


def draw_shares(axes, points, colours):
    """The shares of each group's layers, sorted."""
    for group in dict.fromkeys(p[0] for p in points):
        mine = sorted(p[3] for p in points if p[0] == group)
        label = f"{group}: {sum(share >= SHARE for share in mine)} of {len(mine)} reach {SHARE}"
        places = [(i + 0.5) / len(mine) for i in range(len(mine))]
        axes.plot(places, mine, color=colours[group], marker="o", markersize=2.5, label=label)
    axes.axhline(SHARE, color="black", linewidth=0.9, linestyle=(0, (3, 2)))
    axes.set_ylim(0, max([1.0, *(1.05 * p[3] for p in points)]))


def draw_doublings(axes, points, colours):
    """Every doubling as its ratio over the time before."""
    for dimension in DIMENSIONS:
        mine = [p for p in points if p[0] == dimension]
        axes.scatter([1e6 * p[1] for p in mine], [p[2] for p in mine], s=9, color=colours[dimension], label=dimension, zorder=3)
    axes.axhline(MOST, color="black", linewidth=0.9, linestyle=(0, (3, 2)))
    axes.axhline(2, color="black", linewidth=0.6)
    axes.set_xscale("log")
    axes.set_ylim(0, max([3.2, *(1.05 * p[2] for p in points)]))


def figure_of(path, layer_points, doubling_points, limits, batch):
    """The panels for which there are points: layers under their roofs and the shares that they reach, doublings."""
    import tinyconv as tc
    figure, frames = tc.draw.panels(2 * bool(layer_points) + bool(doubling_points), size=(5.4, 4.4))
    colours, left = dict(zip([*GROUPS, *DIMENSIONS], [*tc.draw.canvas.COLOURS[:5]] * 2)), list(frames)
    if layer_points:
        axes = left.pop(0)
        draw_roofs(axes, layer_points, limits, colours)
        tc.draw.finish(axes, f"Layers under their roofs, batch {batch}", "FLOP a byte", "GFLOP/s")
        axes = left.pop(0)
        draw_shares(axes, layer_points, colours)
        tc.draw.finish(axes, "Share of its roofline that each layer reaches", "part of the group's layers", "least time / time")
    if doubling_points:
        axes = left.pop(0)
        draw_doublings(axes, doubling_points, colours)
        tc.draw.finish(axes, "One dimension doubled", "microseconds before", "time / time before")
    for axes in frames:
        wide = 5 if doubling_points and axes is frames[-1] else 1
        axes.legend(frameon=False, fontsize=8, loc="lower right", ncols=wide, columnspacing=0.8, handletextpad=0.4)
    tc.draw.save(figure, path)


def more_options(parser):
    """What this bench has beside the common options."""
    layer_options(parser)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS), help="parts to do (default all)")


def main():
    """Measure, print, draw."""
    given = options(__doc__, ENGINES, more_options)
    answers, about = turns(given, ENGINES if "matmul" in given.part else {"ours": run_ours})
    head(given, about)
    ours, layer_points, doubling_points = answers["ours"], [], []
    counts = {"layers": 2 * len(layers(given.batch, given.only, given.few)), "matmul": len(shapes()) + 2,
              "doubling": POINTS * len(doublings(given))}
    for part in given.part:
        mine, ours = ours[:counts[part]], ours[counts[part]:]
        if part == "layers":
            rows, layer_points = report_layers(mine, given)
            write_csv(given.csv, rows[0], rows[1:])
        elif part == "matmul":
            report_matmul(mine, answers["numpy"])
        else:
            doubling_points = report_doubling(mine, given)
    if given.figure and (layer_points or doubling_points):
        figure_of(given.figure, layer_points, doubling_points, about["ours"]["limits"], given.batch)


if __name__ == "__main__":
    main()
