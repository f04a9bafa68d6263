"""What can be said on the command line: demo, summary, verify, warmup."""
import argparse
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


def _summary(options):
    from .. import cost, models, nn
    cost.convention(options.convention)                                                # refused before anything is built
    shape = options.input or models.input_shape(options.network)
    with nn.init.undrawn():
        model = models.network(options.network)(in_channels=shape[1])
    print(cost.summary(model, shape, convention=options.convention))


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
    add = commands.add_parser("summary", help="what a network costs, layer by layer", description="Parameters and multiply-adds of every layer, in closed form.")
    add.add_argument("network", help="a name in tinyconv.models, such as mobilenet_v2")
    add.add_argument("--input", type=_input_shape, help="C,H,W or N,C,H,W (default: the picture of its published counts, "
                                                                "3,224,224 for most; small forms 1,28,28)")
    add.add_argument("--convention", default="paper",
                     help="what counts: paper (default), interior (taps on padding left out), conv, bias, squeeze, or as a tool "
                          "has it: fvcore, ptflops, ptflops_0_7_0, thop, torchinfo, torch")
    add.set_defaults(run=_summary)
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


def main(arguments=None):
    """Run one command; returns the exit code: its own, 0 if it has none. Errors of input are one line on stderr, exit code 2."""
    options = parser().parse_args(arguments)
    try:
        return options.run(options) or 0
    except (ValueError, TypeError, OSError) as error:
        print(f"tinyconv {options.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
