"""int8 convolution against the float32 algorithm selected for the same shape: MobileNetV1, V2 and ResNet-18, batch 1, pictures of 224x224.

    python benchmarks/bench_int8.py                                    every distinct layer of the three networks
    python benchmarks/bench_int8.py --rule tflite --csv int8.csv       another rule of requantization
    python benchmarks/bench_int8.py --only depthwise --few 5           a quick look

The ratio is the integer layer's time over the float layer's (smaller is better): one process an engine, in turn, medians of rounds;
weights are packed beforehand for both. int8: codes of int8 in and out, int8 weights with a scale a filter, a zero point that is not 0, ReLU's
clipping, all of requantization included. float32: `plan_conv2d` with "auto", ReLU's clipping, channels-last in and out. Depthwise layers have
a group and a mean of their own. GFLOP/s count the multiply-adds of the definition, two each; the peak is float32's, so that int8 may pass it.
"""
import numpy as np
from common import Answer, compare_layers, geometric_mean, median_seconds, options, ours_about, ratios
from layers import channels_last, layers
from layers import options as layer_options

NETWORKS = {"mobilenet_v1", "mobilenet_v2", "resnet18"}
RULES = ("onnx", "fp32", "tflite", "single")
WANTED = 0.50                               # geometric mean, depthwise apart


def cases(given):
    """The layers of the three networks."""
    return [layer for layer in layers(1, given.only, 0) if NETWORKS & set(layer.networks.split())][:given.few or None]


def run_int8(given):
    """Seconds a layer in integers; the rule's name."""
    import tinyconv as tc
    from tinyconv.kernels import integer
    tc.set_num_threads(given.threads)
    rng, answers = np.random.default_rng(0), []
    for layer in cases(given):
        g = layer.geometry
        (x,) = channels_last(rng.integers(-128, 128, g.x_shape).astype(np.int8))
        w = rng.integers(-127, 128, g.w_shape).astype(np.int8)
        scale = rng.uniform(0.5, 1.0, g.f).astype(np.float32) / np.float32(100 * np.sqrt(w[0].size))         # results fill the codes
        plan = integer.prepare_conv(g.x_shape, np.int8, 1.0, 3, w, scale, 0, 1.0, -5, np.arange(g.f, dtype=np.int32), *layer.more, rule=given.rule,
                                    q_min=-5)
        answers.append(Answer(median_seconds(lambda: integer.run_conv(plan, x), given.least), given.rule))
    return answers, ours_about()


def run_float32(given):
    """Seconds a layer by the algorithm that "auto" takes, named in the note."""
    import tinyconv as tc
    from tinyconv import kernels
    from tinyconv.kernels import select
    tc.set_num_threads(given.threads)
    answers = []
    for layer in cases(given):
        x, w = layer.arrays()
        (x,), plan = channels_last(x), kernels.plan_conv2d(x.shape, w, np.zeros(layer.f, np.float32), *layer.more)
        answers.append(Answer(median_seconds(lambda: plan(x, low=0.0), given.least), select.choose(layer.geometry)))
    return answers, ours_about()


ENGINES = {"ours": run_int8, "float32": run_float32}


def add(parser):
    """The options of layers, and the rule."""
    layer_options(parser, batch=False)
    parser.add_argument("--rule", choices=RULES, default="onnx", help="how sums are requantized (default %(default)s)")


def main():
    """Both engines in turn, the table, the groups' means, and the mean of all but depthwise."""
    given = options(__doc__, ENGINES, add)
    found, title = cases(given), f"int8 convolution ({given.rule}), batch 1, {given.threads} threads: time over float32's"
    dense = [ratio for layer, ratio in zip(found, ratios(compare_layers(given, ENGINES, found, {}, title))) if layer.group != "depthwise"]
    if dense:
        mean = geometric_mean(dense)
        print(f"all but depthwise:     {mean:.3f}, geometric mean over {len(dense)};  wanted {WANTED:.2f}: {'reached' if mean <= WANTED else 'NOT REACHED'}")


if __name__ == "__main__":
    main()
