"""Both gradients of a convolution together, against PyTorch eager: batch 64, pictures of 32x32, a process an engine, in turn.

    python benchmarks/bench_backward.py
    python benchmarks/bench_backward.py --only depthwise --few 5

Ours: `conv2d_grad_input` and `conv2d_grad_weight`, channels-last memory, the algorithms named in the row, packing timed.
PyTorch's: `autograd.grad` of a convolution with respect to x and w, the forward pass not timed, in both memory formats, of
which the better counts.
"""
import numpy as np
from common import Answer, compare_layers, median_seconds, options, ours_about, torch_form, with_torch
from layers import channels_last, layers
from layers import options as layer_options

WANTED = {"depthwise": 0.75, "pointwise": 0.95, "3x3 stride 1": 0.90}
BATCH = 64


def cases(given):
    """The layers of the three groups."""
    return [layer for layer in layers(BATCH, given.only, given.few) if layer.group in WANTED]


def gradient(layer):
    """dy (N,F,OH,OH), the same for every engine."""
    return np.random.default_rng(1).standard_normal((layer.n, layer.f, layer.oh, layer.oh), np.float32)


def run_ours(given):
    """Seconds a layer, both algorithms, and Σ|dx| + Σ|dw|."""
    import tinyconv as tc
    from tinyconv.kernels import select
    tc.set_num_threads(given.threads)
    answers = []
    for layer in cases(given):
        x, w = layer.arrays()
        x, dy = channels_last(x, gradient(layer))
        both = lambda: (tc.kernels.conv2d_grad_input(dy, w, x.shape, *layer.more),
                        tc.kernels.conv2d_grad_weight(dy, x, w.shape, *layer.more))
        names = dict.fromkeys(select.choose(layer.geometry, direction) for direction in ("grad_input", "grad_weight"))
        checksum = sum(float(np.abs(a).sum(dtype=np.float64)) for a in both())
        answers.append(Answer(median_seconds(both, given.least), " + ".join(names), checksum))
    return answers, ours_about()


def run_torch(given, last):
    """Seconds a layer in PyTorch eager, all arrays in one memory format."""
    import torch
    torch.set_num_threads(given.threads)
    form, about = torch_form(last)
    answers = []
    for layer in cases(given):
        x, w, dy = (torch.from_numpy(a).contiguous(memory_format=form) for a in (*layer.arrays(), gradient(layer)))
        x, w = x.requires_grad_(), w.requires_grad_()
        y = torch.nn.functional.conv2d(x, w, None, *layer.more)
        both = lambda: torch.autograd.grad(y, (x, w), dy, retain_graph=True)
        checksum = sum(float(a.abs().sum(dtype=torch.float64)) for a in both())
        answers.append(Answer(median_seconds(both, given.least), "", checksum))
    return answers, about


ENGINES = with_torch(run_ours, run_torch)


def main():
    """Run all engines in turn, print the table and the groups' means."""
    given = options(__doc__, ENGINES, lambda parser: layer_options(parser, batch=False))
    title = f"Both gradients, batch {BATCH}, {given.threads} threads: time over PyTorch eager's"
    compare_layers(given, ENGINES, cases(given), WANTED, title, passes=2)


if __name__ == "__main__":
    main()
