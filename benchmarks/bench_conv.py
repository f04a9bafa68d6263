"""Forward convolution against PyTorch eager: every engine in a process of its own, in turn, the same layers, medians.

    python benchmarks/bench_conv.py                     ours and, where it is installed, torch (both memory formats)
    python benchmarks/bench_conv.py --rounds 5 --csv benchmarks/bench_conv.csv

For each layer the ratio is ours over the better of PyTorch's two memory formats (smaller is better); groups are summed up by the
geometric mean. Ours: channels-last memory in and out, float32, the algorithm named in the row. Engines take turns, process
by process, with rests between, so that no thread pool disturbs another; threads and versions are printed.
"""
import argparse
import csv
import json
import math
import os
import statistics
import subprocess
import sys
import time

import numpy as np

# (group, network, N, C, H, F, K, S, groups): layers of the field's networks at batch 1, 224x224 pictures
LAYERS = [
    ("depthwise", "mobilenet_v2", 1, 32, 112, 32, 3, 1, 32), ("depthwise", "mobilenet_v2", 1, 96, 112, 96, 3, 2, 96),
    ("depthwise", "mobilenet_v2", 1, 144, 56, 144, 3, 1, 144), ("depthwise", "mobilenet_v2", 1, 192, 28, 192, 3, 1, 192),
    ("depthwise", "mobilenet_v2", 1, 384, 14, 384, 3, 1, 384), ("depthwise", "mobilenet_v2", 1, 576, 14, 576, 3, 2, 576),
    ("depthwise", "mobilenet_v2", 1, 960, 7, 960, 3, 1, 960),
    ("pointwise", "mobilenet_v2", 1, 32, 112, 16, 1, 1, 1), ("pointwise", "mobilenet_v2", 1, 16, 112, 96, 1, 1, 1),
    ("pointwise", "mobilenet_v2", 1, 96, 56, 24, 1, 1, 1), ("pointwise", "mobilenet_v2", 1, 24, 56, 144, 1, 1, 1),
    ("pointwise", "mobilenet_v2", 1, 192, 28, 32, 1, 1, 1), ("pointwise", "mobilenet_v2", 1, 384, 14, 96, 1, 1, 1),
    ("pointwise", "mobilenet_v2", 1, 576, 7, 160, 1, 1, 1), ("pointwise", "mobilenet_v2", 1, 320, 7, 1280, 1, 1, 1),
    ("3x3 stride 1", "resnet18", 1, 64, 56, 64, 3, 1, 1), ("3x3 stride 1", "resnet18", 1, 128, 28, 128, 3, 1, 1),
    ("3x3 stride 1", "resnet18", 1, 256, 14, 256, 3, 1, 1), ("3x3 stride 1", "resnet18", 1, 512, 7, 512, 3, 1, 1),
    ("strided and stems", "resnet18", 1, 3, 224, 64, 7, 2, 1), ("strided and stems", "resnet18", 1, 64, 56, 128, 3, 2, 1),
    ("strided and stems", "resnet18", 1, 128, 28, 256, 3, 2, 1), ("strided and stems", "mobilenet_v2", 1, 3, 224, 32, 3, 2, 1),
    ("grouped", "shufflenet_v1 g=3", 1, 240, 28, 60, 1, 1, 3), ("grouped", "shufflenet_v1 g=3", 1, 60, 28, 240, 1, 1, 3),
    ("grouped", "shufflenet_v1 g=3", 1, 480, 14, 120, 1, 1, 3), ("grouped", "shufflenet_v1 g=3", 1, 960, 7, 240, 1, 1, 3),
]


def data(layer):
    """x (N,C,H,W) and w of a layer, the same for every engine."""
    _, _, n, c, h, f, k, _, groups = layer
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, c, h, h)).astype(np.float32), rng.standard_normal((f, c // groups, k, k)).astype(np.float32)


def median_seconds(function, least=0.12):
    """Median of single calls over about `least` seconds, after a warm-up of a fifth of that."""
    stop = time.perf_counter() + least / 5
    while time.perf_counter() < stop:
        function()
    times, stop = [], time.perf_counter() + least
    while time.perf_counter() < stop or len(times) < 5:
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def run_ours(threads):
    """Seconds a layer, and the algorithm."""
    import tinyconv as tc
    from tinyconv.kernels import layout, select
    tc.set_num_threads(threads)
    answers = []
    for layer in LAYERS:
        _, _, n, c, h, f, k, s, groups = layer
        x, w = data(layer)
        x = layout.shaped(np.ascontiguousarray(x.transpose(0, 2, 3, 1)))
        geometry = tc.formulas.conv2d_geometry(x.shape, w.shape, s, k // 2, 1, groups)
        seconds = median_seconds(lambda: tc.kernels.conv2d(x, w, None, s, k // 2, 1, groups))
        answers.append([seconds, select.choose(geometry)])
    return answers, f"tinyconv {tc.__version__}, numpy {np.__version__}"


def run_torch(threads, channels_last):
    """Seconds a layer in PyTorch eager, inference mode."""
    import torch
    torch.set_num_threads(threads)
    form = torch.channels_last if channels_last else torch.contiguous_format
    answers = []
    with torch.inference_mode():
        for layer in LAYERS:
            s, k, groups = layer[7], layer[6], layer[8]
            x, w = (torch.from_numpy(a).contiguous(memory_format=form) for a in data(layer))
            answers.append([median_seconds(lambda: torch.nn.functional.conv2d(x, w, None, s, k // 2, 1, groups)), ""])
    return answers, f"torch {torch.__version__}"


ENGINES = {"ours": run_ours, "torch": lambda t: run_torch(t, False), "torch channels-last": lambda t: run_torch(t, True)}


def turns(rounds, threads, python):
    """engine -> list over rounds of its answers; an engine that cannot be imported is left out, and that is said."""
    found, versions = {}, {}
    for turn in range(rounds):
        for engine in ENGINES:
            done = subprocess.run([python.get(engine, sys.executable), __file__, "--engine", engine, "--threads", str(threads)],
                                  capture_output=True, text=True, env=dict(os.environ, OMP_NUM_THREADS=str(threads)))
            if done.returncode:
                if turn == 0:
                    print(f"{engine}: left out ({done.stderr.strip().splitlines()[-1]})")
                continue
            answers, versions[engine] = json.loads(done.stdout.splitlines()[-1])
            found.setdefault(engine, []).append(answers)
            print(f"round {turn + 1}/{rounds}  {engine}", file=sys.stderr)
            time.sleep(1)
    return found, versions


def main():
    """Run all engines in turn and print the table; with --engine, be one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="turns of every engine (default 3)")
    parser.add_argument("--threads", type=int, default=2, help="threads of every engine (default 2)")
    parser.add_argument("--rival-python", default=sys.executable, help="a Python that has torch, if this one has not")
    parser.add_argument("--csv", help="write the table here")
    parser.add_argument("--engine", choices=ENGINES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.engine:
        print(json.dumps(ENGINES[options.engine](options.threads)))
        return
    python = {engine: options.rival_python for engine in ENGINES if engine != "ours"}
    found, versions = turns(options.rounds, options.threads, python)
    print(f"{options.threads} threads; {'; '.join(sorted(set(versions.values())))}; medians of {options.rounds} rounds")
    seconds = {engine: [statistics.median(answers[i][0] for answers in rounds) for i in range(len(LAYERS))] for engine, rounds in found.items()}
    rows, ratios = [], {}
    for i, layer in enumerate(LAYERS):
        group, network, n, c, h, f, k, s, groups = layer
        oh = (h + 2 * (k // 2) - k) // s + 1
        rate = 2 * n * f * oh * oh * (c // groups) * k * k / seconds["ours"][i] / 1e9
        rivals = [seconds[e][i] for e in seconds if e != "ours"]
        ratio = seconds["ours"][i] / min(rivals) if rivals else math.nan
        ratios.setdefault(group, []).append(ratio)
        rows.append([group, network, f"{c}@{h} -> {f}, {k}x{k}/{s} g{groups}", found["ours"][0][i][1], f"{rate:.0f}",
                     *[f"{seconds[e][i] * 1e6:.0f}" for e in seconds], f"{ratio:.2f}"])
    head = ["group", "network", "layer", "algorithm", "GFLOP/s", *[f"{e} us" for e in seconds], "ours / better torch"]
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, *rows]:
        print("  ".join(cell.ljust(w) for cell, w in zip(row, widths)))
    for group, values in ratios.items():
        print(f"{group}: geometric mean {math.exp(sum(map(math.log, values)) / len(values)):.2f} over {len(values)} layers")
    if options.csv:
        with open(options.csv, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([head, *rows])


if __name__ == "__main__":
    main()
