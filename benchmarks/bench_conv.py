"""Forward convolution against PyTorch eager: every distinct layer of the field's networks, a process an engine, in turn, medians.

    python benchmarks/bench_conv.py                                    batch 1, pictures of 224x224
    python benchmarks/bench_conv.py --batch 64 --csv conv64.csv        batch 64, pictures of 32x32
    python benchmarks/bench_conv.py --only depthwise --few 5           a quick look

For each layer the ratio is ours over the better of PyTorch's two memory formats (smaller is better); groups are summed up by
the geometric mean, beside the figure that is wanted. Ours: channels-last memory in and out, float32, the algorithm named in the
row; at batch 1 the weights are packed beforehand (`plan_conv2d`), at batch 64 packing is timed. GFLOP/s count the multiply-adds
of the definition, two FLOP each, also where the algorithm needs fewer; the peak is measured in the same process.

"limit" is the time that this machine allows: max(FLOP / peak, bytes / bandwidth, launch), with the fewest multiplications known here
(`Layer.least_flop`), each number moved once at the speed of a copy of that size, and peak, bandwidth and launch as measured in
the same process. limit / best rival is the ratio of an engine without any loss: a smaller figure than its mean cannot be reached.
"""
import numpy as np
from common import Answer, compare_layers, means, median_seconds, options, ours_about, ratios, torch_form, with_torch
from layers import forward, layers
from layers import options as layer_options

WANTED = {1: {"depthwise": 0.40, "pointwise": 0.60, "3x3 stride 1": 0.50, "strided, stems": 0.85, "grouped": 0.40},
          64: {"depthwise": 0.50, "pointwise": 0.90, "3x3 stride 1": 0.60}}


def run_ours(given):
    """Seconds a layer, the algorithm, and Σ|y|."""
    import tinyconv as tc
    from tinyconv.kernels import machine, select
    tc.set_num_threads(given.threads)
    answers, limits = [], []
    for layer in layers(given.batch, given.only, given.few):
        call = forward(layer)
        checksum = float(np.abs(call()).sum(dtype=np.float64))
        answers.append(Answer(median_seconds(call, given.least), select.choose(layer.geometry), checksum))
        limits.append(machine.least_seconds(layer.least_flop, layer.least_bytes)[0])
    return answers, {**ours_about(), "limit": limits}


def run_torch(given, channels_last):
    """Seconds a layer in PyTorch eager, inference mode, x and w in one memory format."""
    import torch
    torch.set_num_threads(given.threads)
    form, about = torch_form(channels_last)
    answers = []
    with torch.inference_mode():
        for layer in layers(given.batch, given.only, given.few):
            x, w = (torch.from_numpy(a).contiguous(memory_format=form) for a in layer.arrays())
            call = lambda: torch.nn.functional.conv2d(x, w, None, *layer.more)
            answers.append(Answer(median_seconds(call, given.least), "", float(call().abs().sum(dtype=torch.float64))))
    return answers, about


ENGINES = with_torch(run_ours, run_torch)


def main():
    """Run all engines in turn, print the table and the groups' means."""
    given = options(__doc__, ENGINES, layer_options)
    cases = layers(given.batch, given.only, given.few)
    title = f"Forward convolution, batch {given.batch}, {given.threads} threads: time over PyTorch eager's"
    found = ratios(compare_layers(given, ENGINES, cases, WANTED[given.batch], title))
    pointwise = [(layer.h == 1, ratio) for layer, ratio in zip(cases, found) if layer.group == "pointwise"]
    parts = {"  on 1x1 planes": True, "  on larger planes": False}
    means({name: [ratio for one, ratio in pointwise if one == wanted] for name, wanted in parts.items()}, {})


if __name__ == "__main__":
    main()
