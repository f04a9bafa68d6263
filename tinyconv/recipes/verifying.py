"""`tinyconv verify`: every count three times: by formula, executed, and as it was published; and whether they are equal.

    networks         multiply-adds of one picture: sum of closed forms | the compiled loops of every layer, run on ones at its
                     real size | what the paper, its authors or torchvision print
    without padding  the same with the taps on padding left out, which nobody prints
    parameters       sum of closed forms | numbers that the arrays hold | printed
    tools            totals by the conventions of tools
    algorithms       steps of a table of convolutions: closed forms | each page's own loops on numbers that count
    layers, transforms   layers and networks made smaller: formula | the smaller one's layers run on ones
    networks at work, blocks   (--full) every network trains, and runs as a graph bit for bit; blocks have the right gradients
    networks pruned  (--full) half the MACs of every network, at its real size: by formula | the layers left, run on ones;
                     reduced, it is itself masked, bit for bit

Layers of equal sizes are run once. "fft" has no count: its transform is NumPy's. Without --full, networks above LIGHT
multiply-adds are not executed, and say so.
"""
import inspect
import sys

import numpy as np

from .. import apply, cost, formulas, graph, kernels, models, nn
from ..cost import execution
from ..formulas import conv2d_geometry
from . import exercising, shrinking
from .lines import as_text, line
from .on_ones import executed_rows, run_on_ones, with_padding

LIGHT = 600_000_000
# what the algorithms are counted on: strides, padding on one side, dilation, groups, depthwise, pointwise, a larger window
GEOMETRIES = [conv2d_geometry(*row) for row in (
    ((1, 3, 7, 8), (4, 3, 3, 3), 1, 1), ((2, 2, 6, 5), (3, 2, 3, 3), 1, 0), ((1, 3, 9, 8), (4, 3, 3, 3), 2, 1),
    ((1, 2, 7, 6), (3, 2, 2, 3), (1, 2), ((2, 0), (0, 1))), ((1, 2, 9, 9), (2, 2, 3, 3), 1, 2, 2),
    ((1, 4, 6, 6), (6, 2, 3, 3), 1, 1, 1, 2), ((1, 6, 7, 7), (6, 1, 3, 3), 2, 1, 1, 6), ((2, 5, 4, 4), (7, 5, 1, 1)),
    ((1, 2, 8, 7), (2, 2, 5, 5), 1, 2), ((1, 3, 6, 6), (20, 3, 3, 3), 1, 1))]


# ---- networks -----------------------------------------------------------------------------------------------------------------

def _key(row):
    """What has to be built for a printed row: (network, size of the picture, options that are not the builder's own)."""
    usual = inspect.signature(models.network(row.network)).parameters
    options = sorted((name, value) for name, value in row.options.items() if value != usual[name].default)
    return row.network, models.input_shape(row.network)[2] if row.quantity == "params" else row.size, tuple(options)


def tables():
    """Key -> cost table: every network as it is usually given, and every row that is printed of one."""
    keys = dict.fromkeys([*((name, models.input_shape(name)[2], ()) for name in models.NETWORKS), *map(_key, models.PRINTED)])
    with nn.init.undrawn():
        return {key: cost.summary(models.network(key[0])(**dict(key[2])), (1, models.input_shape(key[0])[1], key[1], key[1]))
                for key in keys}


def printed(key, quantity):
    """convention -> the rows that are printed of a table, beginning with the usual convention, whether or not there are any."""
    rows = {"macs": {"paper": []}, "params": {"all": []}}[quantity]
    for row in models.PRINTED:
        if row.quantity == quantity and _key(row) == key:
            rows.setdefault(row.convention, []).append(row)
    return rows


def _executed(s, jobs, convention):
    """(multiply-adds that the rows executed, is each row's its formula): None where they were not run, or a convention counts
    other operations too.
    """
    s = s.under(convention)
    if convention not in ("paper", "interior", "conv") or any(with_padding(execution.job(row), True) not in jobs for row in s.rows if row.macs):
        return None, True
    rows = executed_rows(s, jobs, convention != "interior")
    return sum(executed for _, executed in rows), all(row.macs == executed for row, executed in rows)


def _named(key, convention=""):
    network, size, options = key
    usual = models.input_shape(network)[2]
    words = [network, *(f"{name.removesuffix('_mult')} {value}" for name, value in options),
             *([f"{size}x{size}"] if size != usual else [])]
    return ", ".join(words) + (f" ({convention})" if convention not in ("", "paper", "all") else "")


def _sources(rows):
    return "; ".join(f"{row.text} ({row.source})" for row in rows) or None


def network_lines(found, jobs):
    """Multiply-adds of every table by the paper convention, then by those that printed numbers name."""
    for key, s in found.items():
        for convention, rows in printed(key, "macs").items():
            counted, (executed, each) = s.counted("macs", convention), _executed(s, jobs, convention)
            agrees = each and all(row.agrees(counted) for row in rows)
            yield line(_named(key, convention), counted, executed, _sources(rows), agrees)


def interior_lines(found, jobs):
    """The same of networks as they are usually given, taps on padding left out."""
    for key, s in found.items():
        if key[1:] == (models.input_shape(key[0])[2], ()):
            executed, each = _executed(s, jobs, "interior")
            yield line(_named(key), s.counted("macs", "interior"), executed, None, each)


def _closed_params(row):
    """Parameters of one row by formula, from its shapes."""
    bias = len(row.inputs) > 2 and row.inputs[2] is not None
    if row.kind == "conv2d":
        g = execution.job(row)
        return formulas.conv2d_params(g.c, g.f, (g.kh, g.kw), g.groups, bias)
    if row.kind == "linear":
        return formulas.linear_params(row.inputs[1][1], row.inputs[1][0], bias)
    return formulas.batch_norm_params(row.shape[1]) if row.kind == "batch_norm" else 0


def parameter_lines(found):
    """Parameters of every table of the usual size: closed forms against what the arrays hold, and printed numbers."""
    for key, s in found.items():
        for convention, rows in printed(key, "params").items() if key[1] == models.input_shape(key[0])[2] else ():
            closed = sum(_closed_params(row) for row in s.rows if convention == "all" or row.kind != "batch_norm")
            yield line(_named(key, convention), closed, s.counted("params", convention), _sources(rows),
                       all(row.agrees(closed) for row in rows))


def tool_lines(found):
    """What tools print, by their conventions."""
    for row in cost.TOOLS:
        counted = found[_key(row)].counted(row.quantity, row.convention)
        yield line(f"{row.network} by {row.convention}", counted, None, f"{row.text} ({row.source})", row.agrees(counted))


# ---- algorithms and transforms ------------------------------------------------------------------------------------------------

def algorithm_lines():
    """Each algorithm, direction and step over GEOMETRIES: multiplications shown, additions compared too; then what it saves."""
    for name, algorithm in kernels.ALGORITHMS.items():
        for direction in algorithm.directions if name != "fft" else ():
            shapes = [g for g in GEOMETRIES if algorithm.supports(g)]
            pairs = [(cost.closed_form(name, g, direction), cost.execute(name, g, direction)[1]) for g in shapes]
            for step in (step for step in pairs[0][0] if step != "copies"):
                formula, executed = (sum(side[step].multiplications for side in sides) for sides in zip(*pairs))
                yield line(f"{name} {direction}: {step}", formula, executed, None, all(a == b for a, b in pairs))
    whole = conv2d_geometry((1, 2, 12, 12), (3, 2, 3, 3), padding=1)
    for m, text in ((2, "2.25"), (4, "4")):
        closed, products = formulas.winograd_reduction(m, 3), cost.execute(f"winograd{m}", whole)[1]["products"].multiplications
        yield line(f"F({m},3) saves", closed, execution.padded_macs(whole) / products, f"{text} (Lavin & Gray 2016)",
                   closed == float(text))
    from ..kernels import strassen
    for variant, additions in (("strassen", 18), ("winograd", 15)):
        found = cost.count(getattr(strassen, variant), np.ones((2, 2)), np.ones((2, 2)), 1)
        closed = formulas.strassen_multiplications(2, 2, 2, 1), formulas.strassen_additions(2, 2, 2, 1, variant)
        said = ("{} products, {} sums".format(*pair) for pair in (closed, found, (7, additions)))
        yield line(f"{variant}'s scheme for matrices", next(said), next(said), f"{next(said)} (Higham 2002)",
                   closed == (7, additions))


def _on_ones(model_or_graph, shape=None):
    return sum(cost.row_on_ones(row) for row in cost.summary(model_or_graph, shape).rows)


def layer_lines():
    """MobileNetV1's Table 3, a shuffled pair, and low-rank chains: formulas of layers against the layers."""
    separable = nn.DepthwiseSeparable
    for c, size, text in ((512, 14, "52.3 M"), (384, 14, "29.6 M"), (384, 10, "15.1 M")):
        row = models.building.Printed("mobilenet_v1", "macs", text, "Howard et al. 2017, Table 3")
        closed = formulas.depthwise_separable_macs(c, c, 3, size, size)
        yield line(f"depthwise separable {c}x{size}x{size}", closed, _on_ones(separable(c, c, rng=0), (1, c, size, size)),
                   _sources([row]), row.agrees(closed))
    pair = nn.ShuffledPointwise(64, 8, rng=0)
    yield line("shuffled pair of 1x1, 64 channels, 8 groups", 49 * formulas.shuffled_pair_macs(64, 8),
               _on_ones(pair, (1, 64, 7, 7)))
    g = graph.trace(nn.Sequential(nn.Conv2d(16, 24, 3, 2, 1, rng=0)), (1, 16, 9, 9), check=False)
    whole = conv2d_geometry((1, 16, 9, 9), (24, 16, 3, 3), 2, 1)
    for kind in formulas.LOW_RANK_KINDS:
        small = apply.lowrank(g, ratio=0.25, kind=kind, report=(report := []))
        rank = report[0]["rank"]
        yield line(f"3x3 to rank {rank}, {kind}", formulas.low_rank_conv_macs(whole, rank, kind), _on_ones(small))
        yield line(f"3x3 to rank {rank}, {kind}: parameters",
                   formulas.low_rank_conv_params(16, 24, 3, rank, kind), sum(a.size for a in small.arrays().values()))
    g = graph.trace(nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, rng=0), nn.ReLU(), nn.Conv2d(16, 8, 3, padding=1, rng=0)),
                    (1, 3, 8, 8), check=False)
    small = apply.prune(g, 0.5)
    first, second = (row.macs for row in cost.summary(g).rows if row.macs)
    kept = formulas.filter_pruning_factor(8, 16, 3, 3) * first + formulas.filter_pruning_factor(8, 8, 8, 16) * second
    yield line("two 3x3, half of 16 filters pruned", int(kept), _on_ones(small))


def transform_lines():
    """A small network and what is made of it: the new network's closed form against its layers run on ones."""
    g = graph.trace(models.mobilenet_v2_small(rng=0), (1, 1, 28, 28), check=False)
    x = np.random.default_rng(0).standard_normal((8, 1, 28, 28)).astype(np.float32)
    half, nbytes = apply.prune(g, macs=cost.macs(g) // 2), cost.summary(g).array_bytes
    made = {"mobilenet_v2_small": g, "BatchNorm folded": graph.fold_batch_norms(g), "pruned to half": half,
            "half its parameters": apply.prune(g, params=cost.params(g) // 2), "half its bytes": apply.prune(g, bytes=nbytes // 2),
            "low rank": apply.lowrank(g, energy=0.8), "int8": apply.quantize(g, x), "pruned, int8": apply.quantize(half, x)}
    vgg = graph.trace(models.vgg16_small(rng=0), (1, 1, 28, 28), check=False)
    made |= {f"vgg16_small, half by {kind}": apply.lowrank(vgg, macs=cost.macs(vgg) // 2, kind=kind)
             for kind in ("channel_out", "spatial", "tucker2")}
    for name, small in made.items():
        yield line(name, cost.macs(small), _on_ones(small))
    for name, block in apply.blocks(g).items():
        if block.residual:
            yield line(f"without the block {name}", cost.macs(g) - block.macs, _on_ones(apply.remove_blocks(g, [name])))


# ---- the whole ----------------------------------------------------------------------------------------------------------------

def _reporter():
    """Where somebody watches: a function that writes one line over and over again."""
    if not sys.stderr.isatty():
        return lambda text: None
    return lambda text: print(f"\r{text:<60}", end="\r", file=sys.stderr, flush=True)


def run(full=False, say=print):
    """Print every section; returns the lines. `full` runs every network at its real size, and sees all of them at work."""
    found, progress = tables(), _reporter()
    jobs = run_on_ones([s for s in found.values() if full or s.macs <= LIGHT], progress)
    sections = {"networks": network_lines(found, jobs), "without padding": interior_lines(found, jobs),
                "parameters": parameter_lines(found), "tools": tool_lines(found), "algorithms": algorithm_lines(),
                "layers": layer_lines(), "transforms": transform_lines()}
    said = []
    for title, lines in sections.items():
        said += (lines := list(lines))
        say(as_text(title, lines) + "\n")
    if full:
        for title, columns, lines in (*exercising.sections(progress), *shrinking.sections(progress)):
            said += (lines := list(lines))
            say(as_text(title, lines, columns) + "\n")
    wrong = [row.what for row in said if not row.equal]
    say(f"{len(said)} lines, {len(wrong)} unequal{': ' * bool(wrong)}{'; '.join(wrong)}")
    if not full:
        say(f"networks above {LIGHT:,} multiply-adds were not executed (-): "
            "tinyconv verify --full runs every layer of all, trains and prunes them")
    return said
