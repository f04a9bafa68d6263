"""Recipes that end in integers: eight bits for nothing, four with training, and a pruned VGG-16 of which the zeros stay zeros.

    int8            four small networks, trained anew for each seed, and their integer form without any training
    qat4            the trained four with 4-bit weights: rounded to the nearest code, by AdaRound, trained with the codes (LSQ)
    vgg16-int8      half of all weights pruned -> trained on -> trained with codes, zeros kept -> integers
    mobilenet-int8  "8 bits are 4 times smaller than 32": by how much is the file?
Every network here but the float ones computes in integers from its first node to its last; values have 8 bits, and so have the first
and the last weight of the networks with 4-bit weights. 4-bit codes are packed in the file. Ranges of values come from 500 training
pictures that the seed draws.
"""
import numpy as np

from .. import apply, draw, graph, models
from ..nn import init
from . import ledgers
from .study import Made, Recipe, file_name

SMALL = {"V1": "mobilenet_v1_small", "V2": "mobilenet_v2_small", "ResNet": "resnet_small", "ShuffleNetV2": "shufflenet_v2_small"}
LEARN, TUNE, RATE = 5, 1, 0.02


def calibration(bench, n=500):
    """n training pictures, which and in which order by the seed."""
    return bench.images[np.random.default_rng(bench.seed).permutation(len(bench.images))[:n]]


def trained_with_codes(bench, made, name, bits, epochs, start, encoding="dense", **options):
    """Made after quantization-aware training with weights of so many bits, in integers."""
    epochs = bench.epochs(epochs)
    options = {"label_smoothing": 0.05, **bench.options, **options}
    g = apply.qat(made.g, bench.images, bench.labels, bits, epochs=epochs, lr=RATE, calibration=start, **options)
    return Made(name, apply.quantize(g, start), made.epochs + epochs, encoding)


def rounded(made, name, bits, start, encoding="dense"):
    """Made with weights of so many bits, nearest codes, scales of least squared error a filter, in integers."""
    g = apply.fake_quantized(made.g, start, bits, 32, method="lsq")
    return Made(name, apply.quantize(g, start), made.epochs, encoding)


def family(name):
    """The float network that a network was made of.

    >>> family("V2 one scale")
    'V2'
    """
    return name.split()[0]


def int8(bench):
    """Each of the four: float, int8 with a scale a filter, int8 with a scale a weight array."""
    start = calibration(bench)
    for short, name in SMALL.items():
        whole = bench.learn(bench.build(name), short, LEARN)
        yield whole
        yield Made(f"{short} int8", apply.quantize(whole.g, start), whole.epochs)
        yield Made(f"{short} one scale", apply.quantize(whole.g, start, per_channel=False), whole.epochs)


def qat4(bench):
    """Each of the four: float, trained on in float as the control of more epochs, and 4-bit weights in three ways."""
    start = calibration(bench)
    for short, name in SMALL.items():
        whole = bench.trained(name)._replace(name=short)
        bits = apply.layer_bits(whole.g, 4)
        yield whole
        yield bench.tune(whole, f"{short} longer", TUNE, RATE)
        yield rounded(whole, f"{short} nearest", bits, start)
        yield Made(f"{short} AdaRound", apply.quantize(apply.adaround(whole.g, start[:64], bits)[0], start), whole.epochs, "dense")
        yield trained_with_codes(bench, whole, f"{short} QAT", bits, TUNE, start)


def vgg16_int8(bench):
    """Half of vgg16_small's weights gone, the smallest; the control trains as long in float and is rounded then."""
    start, base = calibration(bench), bench.trained("vgg16_small")
    yield base
    pruned = bench.tune(Made("", apply.sparsify(base.g, 0.5), base.epochs), "pruned", TUNE, keep_zeros=True)
    yield pruned
    longer = bench.tune(pruned, "pruned longer", TUNE, RATE, keep_zeros=True)
    yield longer
    for bits, words in ((8, "int8"), (4, "4 bits")):
        yield trained_with_codes(bench, pruned, f"{words} QAT", bits, TUNE, start, "smallest", keep_zeros=True)
        yield rounded(longer, f"{words} rounded", bits, start, "smallest")


def zeros_kept(rows, out):
    """How many of the pruned weights are no longer zero in the networks trained with codes, counted from the files."""
    for words in ("int8", "4 bits"):
        gone = back = 0
        for seed in sorted({row["seed"] for row in rows}):
            pruned, coded = (graph.load(out / file_name(name, seed)).graph for name in ("pruned", f"{words} QAT"))
            for name, w in apply.layer_weights(pruned).items():
                gone += int((w == 0).sum())
                back += int(((w == 0) & (coded.array(name) != 0)).sum())
        yield f"{words} QAT: of {gone:,} weights pruned away {back:,} have come back"


def mobilenet_int8(bench):
    """MobileNetV2 in 8-bit affine codes, as they are and with Huffman's; a scale a filter, and one for all of a layer."""
    start, base = calibration(bench), bench.trained("mobilenet_v2_small")
    integers = apply.quantize(base.g, start)
    yield base
    yield Made("int8", integers, base.epochs)
    yield Made("int8 Huffman", integers, base.epochs, "huffman")
    yield Made("int8 one scale", apply.quantize(base.g, start, per_channel=False), base.epochs)


def four_times(rows, out):
    """Claimed beside measured: the weights alone and the file, of seed 0; and of networks of full size, whose files are foretold."""
    stages = {name: ledgers.file_parts(out / file_name(name, 0)) for name in ("base", "int8", "int8 Huffman")}
    draw.save(draw.ledger(stages, {"int8": 4}, "mobilenet_v2_small: where the bytes of the file are"), out / "ledger.png")
    yield from ledgers.factors(stages, {"int8": 4})
    for name in ("mobilenet_v1", "mobilenet_v2"):
        with init.undrawn():
            model = models.network(name)(rng=0)
        g = graph.trace(model, (1, 3, 224, 224), check=False)
        codes = apply.quantize(g, np.random.default_rng(0).random((1, 3, 224, 224), np.float32))
        whole, small = graph.saved_bytes(g), graph.saved_bytes(codes)
        yield f"{name}, 1,000 classes: {whole:,} bytes in float32, {small:,} in int8: {whole / small:.2f} times smaller, claimed 4"


RECIPES = (
    Recipe("int8", "Integers without training", int8,
           tuple((f"{short} int8", f"{short} one scale", "one scale for all filters of a layer") for short in SMALL),
           near=tuple((f"{short} int8", short, 0.01) for short in SMALL), whole=family),
    Recipe("qat4", "Weights of 4 bits", qat4,
           tuple(claim for short in SMALL for claim in (
               (f"{short} AdaRound", f"{short} nearest", "rounding to the nearest code"),
               (f"{short} QAT", f"{short} nearest", "rounding to the nearest code"))),
           near=tuple((f"{short} QAT", other, 0.02) for short in SMALL for other in (short, f"{short} longer")), whole=family),
    Recipe("vgg16-int8", "VGG-16: half of its weights, then integers", vgg16_int8,
           tuple((f"{words} QAT", f"{words} rounded", "training as long in float, rounded then") for words in ("int8", "4 bits")),
           near=(("int8 QAT", "base", 0.01), ("4 bits QAT", "base", 0.02)), report=zeros_kept),
    Recipe("mobilenet-int8", "MobileNetV2 in 8 bits", mobilenet_int8, (("int8", "int8 one scale", "one scale for all filters of a layer"),),
           near=(("int8", "base", 0.01),), report=four_times),
)
