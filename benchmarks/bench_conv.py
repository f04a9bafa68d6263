"""Forward convolution against PyTorch eager: every distinct layer of the field's networks, a process an engine, in turn, medians.

    python benchmarks/bench_conv.py                                    batch 1, pictures of 224x224
    python benchmarks/bench_conv.py --batch 64 --csv conv64.csv        batch 64, pictures of 32x32
    python benchmarks/bench_conv.py --only depthwise --few 5           a quick look

For each layer the ratio is ours over the better of PyTorch's two memory formats (smaller is better); groups are summed up by the
geometric mean, beside the figure that is wanted. Ours: channels-last memory in and out, float32, the algorithm named in the row; at batch 1
the weights are packed beforehand (`plan_conv2d`), at batch 64 packing is timed. GFLOP/s count the multiply-adds of the definition, two FLOP
each, also where the algorithm needs fewer; the peak is that of fused multiply-adds, measured in the same process.
"""
import numpy as np
from common import Answer, disagreements, geometric_mean, head, means, median_seconds, options, ratio_figure, ratios, table, turns, write_csv
from layers import layers
from layers import options as layer_options

WANTED = {1: {"depthwise": 0.40, "pointwise": 0.60, "3x3 stride 1": 0.50, "strided, stems": 0.85, "grouped": 0.40},
          64: {"depthwise": 0.50, "pointwise": 0.90, "3x3 stride 1": 0.60}}


def run_ours(given):
    """Seconds a layer, the algorithm, and Σ|y|; what is said of the engine is its versions and the machine's limits."""
    import tinyconv as tc
    from tinyconv.kernels import layout, machine, select
    tc.set_num_threads(given.threads)
    answers = []
    for layer in layers(given.batch, given.only, given.few):
        x, w = layer.arrays()
        x = layout.shaped(layout.nhwc(x))
        more = None, layer.s, layer.p, 1, layer.groups
        if layer.n == 1:
            plan = tc.kernels.plan_conv2d(x.shape, w, *more)
            call = lambda: plan(x)
        else:
            call = lambda: tc.kernels.conv2d(x, w, *more)
        name = select.choose(tc.formulas.conv2d_geometry(x.shape, w.shape, *more[1:]))
        answers.append(Answer(median_seconds(call, given.least), name, float(np.abs(call()).sum(dtype=np.float64))))
    return answers, {"versions": f"tinyconv {tc.__version__}, numpy {np.__version__}", "peak": machine.peak(), "machine": str(machine.measure())}


def run_torch(given, channels_last):
    """Seconds a layer in PyTorch eager, inference mode, x and w in one memory format."""
    import torch
    torch.set_num_threads(given.threads)
    form = torch.channels_last if channels_last else torch.contiguous_format
    answers = []
    with torch.inference_mode():
        for layer in layers(given.batch, given.only, given.few):
            x, w = (torch.from_numpy(a).contiguous(memory_format=form) for a in layer.arrays())
            call = lambda: torch.nn.functional.conv2d(x, w, None, layer.s, layer.p, 1, layer.groups)
            answers.append(Answer(median_seconds(call, given.least), "", float(call().abs().sum(dtype=torch.float64))))
    return answers, {"versions": f"torch {torch.__version__}"}


ENGINES = {"ours": run_ours, "torch": lambda given: run_torch(given, False), "torch channels-last": lambda given: run_torch(given, True)}


def more_options(parser):
    """What this bench has beside the common options."""
    layer_options(parser)
    parser.add_argument("--batch", type=int, choices=WANTED, default=1, help="1: pictures of 224x224 (default); 64: of 32x32")


def main():
    """Run all engines in turn, print the table and the groups' means."""
    given = options(__doc__, ENGINES, more_options)
    answers, about = turns(given, ENGINES)
    head(given, about)
    cases, peak = layers(given.batch, given.only, given.few), about["ours"]["peak"]
    found, groups, rows = ratios(answers), {}, []
    for i, (layer, ratio) in enumerate(zip(cases, found)):
        groups.setdefault(layer.group, []).append(ratio)
        rate = layer.flop / answers["ours"][i].seconds
        rows.append([layer.group, layer.name, layer.networks.replace(" ", " + "), answers["ours"][i].note, *[f"{answers[e][i].seconds * 1e6:.1f}" for e in answers],
                     f"{rate / 1e9:.1f}", f"{rate / peak:.2f}", f"{ratio:.3f}"])
    titles = ["group", "layer", "networks", "algorithm", *[f"{e} us" for e in answers], "GFLOP/s", "of peak", "ours / better torch"]
    table(titles, rows)
    write_csv(given.csv, titles, rows)
    for line in disagreements(answers, [layer.name for layer in cases]):
        print("DIFFERENT RESULTS", line)
    if len(answers) > 1:
        means(groups, WANTED[given.batch])
        squeezed = [r for layer, r in zip(cases, found) if layer.group == "pointwise" and layer.h == 1]
        if given.batch == 1 and squeezed:
            rest = [r for layer, r in zip(cases, found) if layer.group == "pointwise" and layer.h > 1]
            print(f"  of the pointwise layers, {len(squeezed)} see one pixel (squeeze and excitation): {geometric_mean(squeezed):.3f}; "
                  + (f"the other {len(rest)}: {geometric_mean(rest):.3f}" if rest else "there are no others here"))
        if given.figure:
            ratio_figure(given.figure, groups, WANTED[given.batch], f"Forward convolution, batch {given.batch}, {given.threads} threads: time over PyTorch eager's")


if __name__ == "__main__":
    main()
