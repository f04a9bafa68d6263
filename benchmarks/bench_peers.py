"""Forward convolution against the ways in which it is written in NumPy today, each in a process of its own, in turn, medians.

    python benchmarks/bench_peers.py                     three layers of each group at batch 1 (--few 0: all of them)
    python benchmarks/bench_peers.py --batch 64

    einsum       windows by as_strided, then np.einsum(optimize=True): the answer found under most questions
    im2col       windows by as_strided copied into a matrix, then one np.matmul with the weights (for each group)
    autograd     autograd.scipy.signal.convolve, HIPS autograd's only convolution: stride 1 and no groups, where it is installed

All take and give (N,C,H,W) in C order, float32, and have NumPy's own threads; zeros are padded with np.pad, as it is done. Ours
is `tc.kernels.conv2d`, which packs the weights each time: on the same C-ordered arrays, which it converts to channels-last at
the door (ratios are to this), and on channels-last arrays, as layers within a network find them.
"""
import math
from importlib import import_module, metadata

import numpy as np
from common import Answer, compare_layers, geometric_mean, is_rival, median_seconds, options, ours_about
from layers import channels_last as to_channels_last
from layers import layers
from layers import options as layer_options


def windows(x, layer):
    """A view (N,C,OH,OH,K,K) of the padded x: every window of every channel, nothing copied."""
    x = np.pad(x, ((0, 0), (0, 0), (layer.p, layer.p), (layer.p, layer.p)))
    n, c, row, pixel = x.strides
    shape = layer.n, layer.c, layer.oh, layer.oh, layer.k, layer.k
    return np.lib.stride_tricks.as_strided(x, shape, (n, c, row * layer.s, pixel * layer.s, row, pixel))


def by_einsum(x, w, layer):
    """y (N,F,OH,OH) = Σ_{c,u,v} windows · w, the groups an axis of their own."""
    if layer.groups == 1:
        return np.einsum("ncijuv,fcuv->nfij", windows(x, layer), w, optimize=True)
    seen = windows(x, layer).reshape(layer.n, layer.groups, -1, layer.oh, layer.oh, layer.k, layer.k)
    y = np.einsum("ngcijuv,gfcuv->ngfij", seen, w.reshape(layer.groups, -1, *w.shape[1:]), optimize=True)
    return y.reshape(layer.n, layer.f, layer.oh, layer.oh)


def by_im2col(x, w, layer):
    """y (N,F,OH,OH): the copied windows (N, G, C/G K K, OH OH) under the weights (G, F/G, C/G K K)."""
    matrix = windows(x, layer).transpose(0, 1, 4, 5, 2, 3).reshape(layer.n, layer.groups, -1, layer.oh**2)
    return np.matmul(w.reshape(layer.groups, layer.f // layer.groups, -1), matrix).reshape(layer.n, layer.f, layer.oh, layer.oh)


def by_autograd(x, w, layer):
    """The same by autograd's convolve, which flips the filters as mathematics does; None where it has no such convolution."""
    from autograd.scipy.signal import convolve
    if layer.s > 1 or layer.groups > 1:
        return None
    x = np.pad(x, ((0, 0), (0, 0), (layer.p, layer.p), (layer.p, layer.p)))
    return convolve(x, w[:, :, ::-1, ::-1], axes=([2, 3], [2, 3]), dot_axes=([1], [1]), mode="valid")


def peer(function, package="numpy", channels_last=False):
    """An engine: seconds a layer, and Σ|y|."""
    def engine(given):
        import_module(package)
        answers = []
        for layer in layers(given.batch, given.only, given.few):
            x, w = layer.arrays()
            if channels_last:
                (x,) = to_channels_last(x)
            y = function(x, w, layer)
            if y is None:
                answers.append(Answer(math.nan))
            else:
                seconds = median_seconds(lambda: function(x, w, layer), given.least)
                answers.append(Answer(seconds, "", float(np.abs(y).sum(dtype=np.float64))))
        return answers, {"versions": ", ".join(f"{name} {metadata.version(name)}" for name in dict.fromkeys(("numpy", package)))}
    return engine


def run_ours(given, channels_last):
    """Seconds a layer, the algorithm, and Σ|y|."""
    import tinyconv as tc
    from tinyconv.kernels import select
    tc.set_num_threads(given.threads)
    answers, _ = peer(lambda x, w, layer: tc.kernels.conv2d(x, w, None, *layer.more), channels_last=channels_last)(given)
    cases = layers(given.batch, given.only, given.few)
    return [a._replace(note=select.choose(layer.geometry)) for a, layer in zip(answers, cases)], ours_about()


ENGINES = {"ours": lambda given: run_ours(given, False), "ours channels-last": lambda given: run_ours(given, True),
           "einsum": peer(by_einsum), "im2col": peer(by_im2col), "autograd": peer(by_autograd, "autograd")}


def more_options(parser):
    """What this bench has beside the common options."""
    layer_options(parser)
    parser.set_defaults(few=3)


def main():
    """Run all engines in turn, print the table, the groups' means and each peer's."""
    given = options(__doc__, ENGINES, more_options, rounds=1)
    cases = layers(given.batch, given.only, given.few)
    title = f"Forward convolution, batch {given.batch}, {given.threads} threads: time over the best NumPy way's"
    answers = compare_layers(given, ENGINES, cases, {}, title)
    for engine in filter(is_rival, answers):
        found = [other.seconds / mine.seconds for mine, other in zip(answers["ours"], answers[engine])]
        found = [ratio for ratio in found if not math.isnan(ratio)]
        if found:
            print(f"{engine}: {geometric_mean(found):.1f} times our time, geometric mean over {len(found)} layers, "
                  f"from {min(found):.1f} to {max(found):.1f}")


if __name__ == "__main__":
    main()
