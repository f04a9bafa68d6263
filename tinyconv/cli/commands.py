"""What can be said on the command line: demo, summary, train, compress, verify, warmup."""
import argparse
import os
import sys
import time


def _input_shape(text):
    try:
        shape = tuple(int(part) for part in text.replace("x", ",").split(","))
    except ValueError:
        shape = ()
    if len(shape) == 3:
        shape = (1, *shape)
    if len(shape) != 4 or min(shape) < 1:
        raise argparse.ArgumentTypeError(f"an input is C,H,W or N,C,H,W in positive numbers, such as 3,224,224; not {text!r}")
    return shape


def _demo(options):
    from ..recipes import demo
    demo.run(out=options.out, quick=options.quick, seed=options.seed)


SUMMARY = """columns of the table:
  layer, kind    the module's name in the network, and what it is
  output         shape of its result: pictures x channels x height x width
  params         trained numbers, BatchNorm's two a channel included
  MACs, share    multiply-adds by the convention, and their part of the total
  bytes moved    of its inputs, weights and output, each number once, as float32
and below it: bytes of all arrays (running statistics included), numbers that layers with MACs put out, and the most memory
that activations take at one time.

conventions:
  paper          convolution and linear layers, taps on padding counted (what papers and torchvision print)
  interior       the same without the taps on zero padding
  conv           convolutions alone
  bias           and an addition more for every output with a bias
  squeeze        and squeeze-excitation's averages and products
  fvcore, ptflops, ptflops_0_7_0, thop, torchinfo, torch      as these tools count

examples:
  tinyconv summary                                    every network there is, a line each
  tinyconv summary mobilenet_v2
  tinyconv summary resnet18 --input 3,160,160
  tinyconv summary resnet50 --convention interior
"""


def _table(network, shape, convention):
    """The cost table of a network whose weights nobody needs."""
    from .. import cost, models, nn
    with nn.init.undrawn():
        return cost.summary(models.network(network)(in_channels=shape[1]), shape, convention=convention)


def _summary(options):
    from .. import cost, models
    cost.convention(options.convention)                                                # refused before anything is built
    if options.network is None:
        if options.input:
            raise ValueError("--input needs a NETWORK: without one, each network is shown on its usual picture")
        print(cost.overview({name: _table(name, models.input_shape(name), options.convention) for name in models.NETWORKS}))
        print(f"\none picture each, of its usual size; {options.convention} convention; "
              "`tinyconv summary NETWORK` shows the layers")
        return
    shape = options.input or models.input_shape(options.network)
    table = _table(options.network, shape, options.convention)
    print(f"{options.network} on {'x'.join(map(str, shape))}\n\n{table}")


def _train(options):
    from ..recipes import training
    given = {name: getattr(options, name) for name in training.Settings._fields if name != "network"}
    training.run(training.settings(options.network, **given), out=options.out)


def _compress(options):
    from ..recipes import compressing, study
    study.run(compressing.recipe(options.recipe), options.quick, options.data, options.seeds, options.out, threads=options.threads)


def _verify(options):
    from ..recipes import verifying
    return int(not all(line.equal for line in verifying.run(options.full)))


def _warmup(options):
    import numpy as np

    from .. import data, models, train
    begin = time.perf_counter()
    images, labels = data.fashion("train")
    for network in (models.mobilenet_v2_small, models.mobilenet_v1_small):
        train.fit(network(rng=0), images[:8], labels[:8], epochs=1, batch_size=8, progress=False)
    from .. import apply, graph
    g = graph.trace(models.mobilenet_v2_small(rng=0), (1, 1, 28, 28))
    graph.run(apply.quantize(g, images[:8]), np.zeros((1, 1, 28, 28), np.float32))
    print(f"kernels compiled and kept for the next process: {time.perf_counter() - begin:.1f} s")


def parser():
    """All commands and their options: one sub-parser a command, whose `run` takes the parsed options. Nothing is imported until one runs."""
    top = argparse.ArgumentParser(prog="tinyconv", description="The lightweight-CNN textbook that runs.")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    add = commands.add_parser("demo", help="train, prune, quantize, factorize and distil a small network on real pictures",
                              description="Trains a small MobileNetV2 on 10,000 pictures of clothing, makes it smaller in five ways, and prints one table: "
                                          "test accuracy, parameters, MACs, bytes of the files, milliseconds an image. One figure is saved. About two minutes on two cores.")
    add.add_argument("--quick", action="store_true", help="fewer pictures, one epoch each: to see that everything runs")
    add.add_argument("--seed", type=int, default=0, help="fixes weights, order and augmentation (default 0)")
    add.add_argument("--out", default="demo", help="folder for the networks and the figure (default ./demo)")
    add.set_defaults(run=_demo)
    add = commands.add_parser("summary", help="what a network costs, layer by layer", epilog=SUMMARY,
                              formatter_class=argparse.RawDescriptionHelpFormatter,
                              description="Parameters, multiply-adds and bytes of every layer, in closed form; nothing is run.")
    add.add_argument("network", nargs="?", metavar="NETWORK", help="such as mobilenet_v2; without one, all are listed")
    add.add_argument("--input", type=_input_shape, metavar="C,H,W",
                     help="or N,C,H,W (default: the picture of its published counts, 3,224,224 for most; small forms 1,28,28)")
    add.add_argument("--convention", default="paper", metavar="NAME", help="which operations count (default paper): see below")
    add.set_defaults(run=_summary)
    _add_train(commands)
    _add_compress(commands)
    add = commands.add_parser("verify", help="every count three times: by formula, executed, as published",
                              description="Prints for every network, algorithm and transform: formula, executed, published, "
                                          "equal or not; half a minute. Exit code 1 if anything is not equal.")
    add.add_argument("--full", action="store_true",
                     help="run every layer of every network at its real size, and train them all: a few minutes")
    add.set_defaults(run=_verify)
    add = commands.add_parser("warmup", help="compile all kernels once, so that later processes start at once",
                              description="Runs one small training step and one integer network; compiled kernels are kept in the cache folder.")
    add.set_defaults(run=_warmup)
    return top


def _add_train(commands):
    """`train` and its options, each called as in `recipes.training.Settings`; what is not given is the network's own setting."""
    add = commands.add_parser(
        "train", help="train a network; the settings of those in the package are the defaults",
        description="Trains a network on the embedded pictures of clothing (or other data), prints loss and accuracy after every "
                    "epoch and the test accuracy at the end, and writes one .safetensors file: the weights, and this command "
                    "with all its settings. For the five networks in the package the defaults are what they were trained "
                    "with, a few minutes each on one core.")
    add.add_argument("network", help="a name in tinyconv.models, such as mobilenet_v2_small")
    add.add_argument("--data", choices=("fashion", "mnist", "cifar10", "shapes"), help="what to learn (default fashion)")
    add.add_argument("--root", help="folder of the official files of mnist, cifar10, or all 70,000 of fashion")
    add.add_argument("--images", type=int, metavar="N", help="only the first N training pictures (default all)")
    add.add_argument("--held-out", type=int, metavar="N",
                     help="set the last N training pictures aside, and print the accuracy on them after every epoch, not that on "
                          "the test pictures (default 0)")
    for option, kind, words in (
            ("--width", float, "multiplier of all channels (default 1)"), ("--epochs", int, "times through the pictures"),
            ("--batch-size", int, "pictures a step"), ("--lr", float, "highest learning rate of SGD, which falls to 0"),
            ("--weight-decay", float, "of SGD"), ("--label-smoothing", float, "share of each label spread over all classes"),
            ("--shift", int, "pixels, at most, by which pictures are shifted"),
            ("--seed", int, "fixes weights, order and augmentation (default 0)"),
            ("--threads", int, "threads to compute with; another number may change the last bits (default: all cores)")):
        add.add_argument(option, type=kind, metavar="N" if kind is int else "X", help=words)
    add.add_argument("--flip", action=argparse.BooleanOptionalAction, help="mirror half of the pictures (default: but for mnist)")
    add.add_argument("--out", help="the file to write (default NETWORK.safetensors in this folder)")
    add.set_defaults(run=_train)


COMPRESS = """recipes:
  vgg16          half of VGG-16's filters by L1          beside random filters, and the same size from scratch
  mobilenet      MobileNetV2 to half its MACs            beside the same; and as V1's teacher, beside V1 alone
  lowrank        ResNet in thin factors, half its MACs   beside one share for all layers, L1 pruning, and from scratch
  lottery        a tenth of ResNet's weights, rewound    beside other values, and other places for the zeros
  slimming       half of VGG-16's channels by γ          beside γ without the penalty, at random, and from scratch
  attention      MobileNetV2 with SE, spatial, CBAM      beside none, and wider blocks of as many MACs
  distill        a ResNet taught by a larger, four ways  beside the labels alone
  int8           four networks in integers, no training  beside one scale a layer; wanted within 0.01 of float
  qat4           4-bit weights, trained with the codes   beside the nearest codes, AdaRound; wanted within 0.02 of float
  vgg16-int8     half of VGG-16's weights, then integers beside rounding without training, at 8 bits and at 4
  mobilenet-int8 MobileNetV2 in 8 bits                   the file's factor beside the claimed 4
  deep-compression  VGG-16: prune, share, Huffman        beside pruning alone and sharing alone in as few bytes; the ledger
  mixed          bits by layer in the bytes of 3         beside 3 bits everywhere, and bits at random
  binary         weights of one bit, and of three codes  beside no training, k-means, and a learned step

examples:
  tinyconv compress --recipe vgg16 --quick
  tinyconv compress --recipe vgg16 --data cifar-10-batches-bin --out vgg16-cifar10
  tinyconv compress --recipe attention --threads 1            as the results in README were made
"""


def _add_compress(commands):
    """`compress` and its options."""
    add = commands.add_parser(
        "compress", help="a compression method beside its control, over several seeds", epilog=COMPRESS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Runs a recipe: makes networks smaller, makes its controls beside them, and prints a table over the seeds "
                    "(accuracy and its spread, epochs, parameters, weights, MACs, bytes of the file) and whether the method beats "
                    "its control. Writes networks, results.csv and figure.png.")
    add.add_argument("--recipe", required=True, metavar="NAME", help="one of those below")
    add.add_argument("--quick", action="store_true", help="few pictures, one epoch each, one seed: to see that everything runs")
    add.add_argument("--data", metavar="DIR", help="folder of CIFAR-10, binary version (default: the embedded pictures of clothing)")
    add.add_argument("--seeds", type=int, metavar="N", help="how many (default 3, with --quick 1)")
    add.add_argument("--threads", type=int, metavar="N",
                     help="threads to compute with; another number may change the last bits (default: all cores)")
    add.add_argument("--out", metavar="DIR", help="folder for all that is written (default: the recipe's name)")
    add.set_defaults(run=_compress)


def main(arguments=None):
    """Run one command; returns the exit code: its own, 0 if it has none. Errors of input are one line on stderr, exit code 2;
    without a command the help is.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments:
        parser().print_help(sys.stderr)
        return 2
    options = parser().parse_args(arguments)
    try:
        code = options.run(options) or 0
        sys.stdout.flush()
        return code
    except BrokenPipeError:                                                            # `… | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, TypeError, ArithmeticError, OSError) as error:
        print(f"tinyconv {options.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
