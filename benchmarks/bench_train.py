"""Whole training steps against PyTorch eager: forward, cross-entropy, backward, SGD with momentum; batch 64, pictures of 32x32.

    python benchmarks/bench_train.py                                       ours, and torch where torchvision has the network
    python benchmarks/bench_train.py --first                               the first step of a process too: empty cache, then warm
    python benchmarks/bench_train.py --torchvision-shim shim.py            a file to run before torchvision is imported: it
                                                                           needs one where its compiled part is missing

The same architecture on both sides (torchvision's; MobileNetV1, which it has not, is written below), the same parameter count
(checked), ten classes, dropout as each has it. PyTorch in both memory formats, the better one counts. A step begins with
zero_grad and ends with the optimizer's step; the loss is taken out as a number. --first measures, from the start of the
process: `cold`, imports and first step with an empty kernel cache, and `warm`, the same in the next process; the compile time
is what cold takes longer than warm.
"""
import runpy
import sys
import tempfile
import time

import numpy as np
from common import (Answer, environment, head, means, median_seconds, options, ours_about, ratio_figure, ratios, run, table,
                    torch_form, turns, with_torch, write_csv)
from layers import channels_last

NETWORKS = ("mobilenet_v1", "mobilenet_v2", "shufflenet_v2_x1_0", "squeezenet1_1", "resnet18")
WANTED = {"mobilenet_v2": 0.60, "shufflenet_v2_x1_0": 0.60, "squeezenet1_1": 0.80, "resnet18": 0.80}
COMPILE_SECONDS, WARM_SECONDS = 40, 2.5                 # wanted of the first step
BATCH, SIZE, CLASSES, RATE, MOMENTUM = 64, 32, 10, 0.01, 0.9
V1 = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))     # filters, stride


def names(given):
    """The networks asked for."""
    found = [name for name in NETWORKS if given.only in name]
    return found or sys.exit(f"no network's name holds {given.only!r}: there are {', '.join(NETWORKS)}")


def batch():
    """Pictures (N,3,32,32) and labels (N,), the same for every engine."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((BATCH, 3, SIZE, SIZE), np.float32), rng.integers(0, CLASSES, BATCH)


def our_step(name):
    """A function that trains one step, and the number of parameters."""
    import tinyconv as tc
    model = tc.models.network(name)(num_classes=CLASSES, rng=0)
    optimizer = tc.optim.SGD(model.parameters(), RATE, MOMENTUM)
    images, labels = batch()
    (images,) = channels_last(images)
    model.train()

    def step():
        optimizer.zero_grad()
        loss = tc.functional.cross_entropy(model(tc.Tensor(images)), labels)
        loss.backward()
        optimizer.step()
        return float(loss.data)
    return step, sum(p.data.size for p in model.parameters())


def run_ours(given):
    """Seconds a step of each network; the note is its parameter count."""
    import tinyconv as tc
    tc.set_num_threads(given.threads)
    answers = []
    for name in names(given):
        step, size = our_step(name)
        answers.append(Answer(median_seconds(step, given.least), str(size)))
    return answers, ours_about()


def torch_mobilenet_v1(nn):
    """MobileNetV1 as a PyTorch module: a stem, thirteen separable blocks, BatchNorm and ReLU behind every convolution."""
    def conv(c, f, k, s, groups=1):
        return nn.Conv2d(c, f, k, s, k // 2, groups=groups, bias=False), nn.BatchNorm2d(f), nn.ReLU(inplace=True)
    layers, c = [*conv(3, 32, 3, 2)], 32
    for f, s in V1:
        layers += [*conv(c, c, 3, s, c), *conv(c, f, 1, 1)]
        c = f
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c, CLASSES))


def run_torch(given, last):
    """Seconds a step of each network in one memory format."""
    import torch
    shim = runpy.run_path(given.torchvision_shim) if given.torchvision_shim else {}      # what it registers lives while it does
    import torchvision
    torch.set_num_threads(given.threads)
    form, about = torch_form(last)
    about["versions"] += f", torchvision {torchvision.__version__}"
    answers = []
    for name in names(given):
        torch.manual_seed(0)
        model = torch_mobilenet_v1(torch.nn) if name == "mobilenet_v1" else getattr(torchvision.models, name)(num_classes=CLASSES)
        model = model.to(memory_format=form).train()
        optimizer = torch.optim.SGD(model.parameters(), RATE, MOMENTUM)
        images, labels = (torch.from_numpy(a) for a in batch())
        images = images.contiguous(memory_format=form)

        def step():
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
            return float(loss.detach())
        answers.append(Answer(median_seconds(step, given.least), str(sum(p.numel() for p in model.parameters()))))
    shim.clear()
    return answers, about


ENGINES = with_torch(run_ours, run_torch)


def first_step(given, name):
    """(seconds of a process until its first step is done, seconds of that step) with an empty kernel cache, then a warm one."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(2):
            begin = time.time()
            done = run([sys.executable, *sys.argv, "--first-step-of", name], environment(given.threads, NUMBA_CACHE_DIR=folder))
            if done.returncode:
                sys.exit(done.stderr)
            end, step = map(float, done.stdout.split())
            found.append((end - begin, step))
    return found


def answer_first_step(given):
    """In a process of its own: one step; prints the time of day when it was done, and the step's seconds."""
    import tinyconv as tc
    tc.set_num_threads(given.threads)
    step, _ = our_step(given.first_step_of)
    begin = time.perf_counter()
    step()
    print(time.time(), time.perf_counter() - begin)


def report_first_steps(given):
    """Print the first steps of every network beside what is wanted."""
    rows = []
    for name in names(given):
        (cold, cold_step), (warm, warm_step) = first_step(given, name)
        rows.append([name, f"{cold:.1f}", f"{cold_step:.1f}", f"{warm:.2f}", f"{warm_step:.2f}", f"{cold - warm:.1f}"])
    print(f"\nfirst step of a process, seconds; wanted: compile at most {COMPILE_SECONDS}, warm step at most {WARM_SECONDS}")
    table(["network", "cold, process", "cold, step", "warm, process", "warm, step", "compile"], rows)


def more_options(parser):
    """What this bench has beside the common options."""
    parser.add_argument("--only", default="", metavar="NETWORK", help="networks whose name holds this: " + ", ".join(NETWORKS))
    parser.add_argument("--torchvision-shim", metavar="FILE", help="a Python file to run before torchvision is imported")
    parser.add_argument("--first", action="store_true",
                        help="measure the first step of a process too (some minutes: everything is compiled anew)")
    parser.add_argument("--first-step-of", choices=NETWORKS,
                        help="be that process: train one step and print the time of day and the seconds")


def main():
    """Run all engines in turn and print the table; with --first, the first steps too."""
    given = options(__doc__, ENGINES, more_options, least=3.0)
    if given.first_step_of:
        return answer_first_step(given)
    answers, about = turns(given, ENGINES)
    head(given, about)
    found, cases = ratios(answers), names(given)
    rows = [[name, answers["ours"][i].note, *[f"{answers[e][i].seconds * 1e3:.1f}" for e in answers], f"{found[i]:.3f}"]
            for i, name in enumerate(cases)]
    titles = ["network", "parameters", *[f"{e} ms" for e in answers], "ours / better torch"]
    table(titles, rows)
    write_csv(given.csv, titles, rows)
    for i, name in enumerate(cases):
        sizes = {answers[e][i].note for e in answers}
        if len(sizes) > 1:
            print(f"DIFFERENT NETWORKS {name}: {' and '.join(sorted(sizes))} parameters")
    groups = {name: [ratio] for name, ratio in zip(cases, found)}
    means(groups, WANTED)
    if given.figure and len(answers) > 1:
        title = f"A training step, batch {BATCH}, {given.threads} threads: time over PyTorch eager's"
        ratio_figure(given.figure, groups, WANTED, title, "networks")
    if given.first:
        report_first_steps(given)
    return None


if __name__ == "__main__":
    main()
