"""A compression recipe: named networks made step by step, each beside its control, over several seeds; table, CSV, figure.

    Recipe      a function that makes networks one after the other, and which of them must beat which
    Bench       what it makes them on: pictures, one seed, and the few ways in which every recipe trains
    run         all seeds of a recipe; writes every network, results.csv (a line a network and seed, with the command) and figure.png

accuracy is of the test pictures and never chose anything; epochs are all passes through the training pictures that the weights
have seen, those before the package included; weights are those of convolution and linear layers that are not 0; bytes are the
file's length. What is said of a method and its control: it beats it if it is ahead with every seed, pair by pair. Of n seeds
chance alone does that one time in 2ⁿ, and the sentence says so.
"""
import csv
import shlex
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Callable, NamedTuple

import numpy as np

from .. import apply, cost, data, draw, graph, kernels, models, nn, train
from .demo import as_text
from .measuring import threads_used
from .training import EPOCHS, augment

UNTUNED = ", not tuned"                   # the end of the name of a network that is shown, but not drawn: it is far below the rest
COLUMNS = (("network", "{}"), ("accuracy", "{:.4f}"), ("spread", "{}"), ("epochs", "{:,.0f}"), ("params", "{:,.0f}"),
           ("weights", "{:,.0f}"), ("MACs", "{:,.0f}"), ("file bytes", "{:,.0f}"))
MEASURED = ("accuracy", "epochs", "params", "weights", "MACs", "file bytes")
QUICK = (2000, 500)                                                                # training and test pictures


class Recipe(NamedTuple):
    """`steps(bench)` yields Made, always the same names; `claims` are (network, control, "what the control is") by name.

    near     (network, another, tolerance): its accuracy should be at most that far below the other's, with every seed
    whole    a function of a network's name: the one whose costs its own are parts of (the first, if None)
    report   a function (rows, out): more sentences about what was made, from the files in `out`, where it may draw
    """

    name: str
    title: str
    steps: Callable
    claims: tuple
    near: tuple = ()
    whole: Callable | None = None
    report: Callable | None = None


class Made(NamedTuple):
    """A network of a recipe, how many epochs its weights have seen, and how its arrays are written (graph.save's `encoding`)."""

    name: str
    g: graph.Graph
    epochs: int
    encoding: object = None


class Bench(NamedTuple):
    """The pictures, one seed, and how networks begin and train: every recipe's only way to do either."""

    images: np.ndarray
    labels: np.ndarray
    test: tuple
    seed: int = 0
    quick: bool = False
    embedded: bool = True
    progress: bool = False

    @property
    def options(self):
        """What every training shares: SGD, batches of 128 (quick: 32, for the sake of steps), pictures shifted and mirrored, labels
        smoothed where a loss is not given.
        """
        shift = 1 if self.embedded else 4                                          # 4 is what CIFAR-10's papers use
        return dict(batch_size=32 if self.quick else 128, seed=self.seed, progress=self.progress, label_smoothing=0.05,
                    augment=partial(augment, shift=shift, flip=True))

    def epochs(self, n):
        """n, or 1 in the quick setting."""
        return 1 if self.quick else n

    def build(self, name, **options):
        """A network of `models` with this seed's weights, for these pictures: a Graph."""
        return self.traced(models.network(name)(num_classes=10, in_channels=self.images.shape[1], rng=self.seed, **options))

    def traced(self, model):
        """A Module as a Graph that takes these pictures."""
        return graph.trace(model, (1, *self.images.shape[1:]))

    def tune(self, made, name, epochs, lr=0.03, **options):
        """Made trained on, under a new name; options: apply.finetune's."""
        epochs = self.epochs(epochs)
        g = apply.finetune(made.g, self.images, self.labels, epochs=epochs, lr=lr, **self.options, **options)
        return Made(name, g, made.epochs + epochs)

    def learn(self, g, name, epochs, **options):
        """A network trained from the values that it has, at a rate for the beginning; options: apply.finetune's."""
        return self.tune(Made(name, g, 0), name, epochs, **{"lr": 0.15, **options})

    def trained(self, name, epochs=10):
        """The package's trained network, or, where there is none for these pictures, one of this seed."""
        if self.embedded and name in models.PRETRAINED:
            return Made("base", self.traced(models.pretrained(name)), EPOCHS[name])
        return self.learn(self.build(name), "base", epochs)

    def again(self, made, name):
        """The control "from scratch": Made's shape, new weights, as many epochs as Made has seen."""
        return self.learn(redrawn(made.g, self.seed), name, made.epochs)


def redrawn(g, rng):
    """The Graph with the values of an untrained network: convolutions normal with variance 2 / (F KH KW), linear layers with
    deviation 0.01, biases and β 0, γ 1, running means 0 and variances 1, as the networks of `models` begin.

    >>> g = redrawn(tc.trace(tc.models.vgg16_small(rng=0), (1, 1, 28, 28)), 1)
    >>> float(g.array("features.1.weight").min()), float(g.array("features.0.bias").max())
    (1.0, 0.0)
    """
    rng, arrays = np.random.default_rng(rng), {}
    for node in g.nodes:
        names = [name if isinstance(name, str) else None for name in node.inputs]
        if node.op in ("conv2d", "linear"):
            shape = g.array(names[1]).shape
            arrays[names[1]] = (nn.init.kaiming_normal(shape, mode="fan_out", nonlinearity="relu", rng=rng) if node.op == "conv2d"
                                else nn.init.normal(shape, 0.01, rng))
            if len(names) > 2 and names[2]:
                arrays[names[2]] = np.zeros_like(g.array(names[2]))
        elif node.op == "batch_norm":
            fresh = zip(names[1:5], (1, 0, 0, 1))                                  # γ, β, running mean, running variance
            arrays.update((name, np.full_like(g.array(name), value)) for name, value in fresh if name)
    return g.with_arrays(arrays)


def pictures(folder=None, quick=False):
    """(images, labels, (test images, test labels)): the embedded ones, or CIFAR-10 of a folder; if quick a few of them, evenly from the
    whole (the embedded test pictures are not in random order: of the first 500 none is a pullover).

    Errors: those of data.cifar10, for a folder that is not there or holds something else.
    """
    sets = [data.fashion(split) if folder is None else data.cifar10(folder, split) for split in ("train", "test")]
    if quick:
        sets = [tuple(part[::len(part) // n] for part in one) for one, n in zip(sets, QUICK)]
    return *sets[0], sets[1]


def command(name, quick=False, folder=None, seeds=None, threads=None):
    """The command line that makes a recipe's results; where they are written is no part of it.

    >>> command("vgg16", quick=True, folder="my pictures", seeds=2)
    "python -m tinyconv compress --recipe vgg16 --quick --data 'my pictures' --seeds 2"
    """
    words = ["python -m tinyconv compress --recipe", name, *(["--quick"] if quick else [])]
    words += [] if folder is None else ["--data", shlex.quote(str(folder))]
    return " ".join(words + [f"--{option} {n}" for option, n in (("seeds", seeds), ("threads", threads)) if n is not None])


def run(recipe, quick=False, folder=None, seeds=None, out=None, progress=True, say=print, given=None, threads=None):
    """Run a recipe; returns {"rows": a dict a network and seed, "table": a dict a network, "csv": path, "figure": path, "said": verdicts}.

    quick    2,000 pictures, one epoch each, one seed: to see that everything runs;  folder  of CIFAR-10, binary version
    seeds    how many, 3 (quick: 1) if None: weights, order, augmentation, random choices
    out      the folder to write to (the recipe's name if None);  given  what `pictures` returns, instead of reading it
    threads  to compute with, all cores if None: sums are added in another order by another number, and a training ends elsewhere
    Errors: ValueError for seeds or threads below 1, those of `pictures`, before anything is trained; OSError for a folder that cannot
    be written.
    """
    n = (1 if quick else 3) if seeds is None else seeds
    if n < 1:
        raise ValueError(f"seeds must be at least 1, not {n}")
    if threads is not None and threads < 1:
        raise ValueError(f"threads must be at least 1, not {threads}")
    with threads_used(threads):
        return _run(recipe, quick, folder, n, out, progress, say, given)


def _run(recipe, quick, folder, n, out, progress, say, given):
    """`run`, with the threads as they should be."""
    images, labels, test = given or pictures(folder, quick)
    line = command(recipe.name, quick, folder, n, kernels.get_num_threads())
    begin, out = time.perf_counter(), Path(out or recipe.name)
    out.mkdir(parents=True, exist_ok=True)
    say(f"{recipe.title}\n{len(images):,} pictures to learn from, {len(test[0]):,} to test with, {n} seed{'s' * (n > 1)}")
    rows = []
    for seed in range(n):
        bench = Bench(images, labels, test, seed, quick, folder is None, progress)
        for made in recipe.steps(bench):
            rows.append(measured(made, bench, out))
            say(f"seed {seed}: {made.name}: accuracy {rows[-1]['accuracy']:.4f}   [{time.perf_counter() - begin:.0f} s]")
    said, table = [*verdicts(rows, recipe.claims), *closeness(rows, recipe.near)], summary(rows)
    paths = out / "results.csv", out / "figure.png"
    write_csv(paths[0], [{**row, "command": line} for row in rows])
    draw.save(figure(rows, recipe), paths[1])
    said += recipe.report(rows, out) if recipe.report else []
    say("\n" + as_text(table, COLUMNS) + "\n\n" + "\n".join(said))
    if quick:
        say("these are quick numbers: they show that everything runs, and nothing else")
    say(f"\ntable: {paths[0]}   figure: {paths[1]}   networks: {out}/*.safetensors   {time.perf_counter() - begin:.0f} s in all")
    return {"rows": rows, "table": table, "csv": paths[0], "figure": paths[1], "said": said}


def file_name(name, seed):
    """The file of a network and seed.

    >>> file_name("L1, not tuned", 0)
    'L1-not-tuned-0.safetensors'
    """
    return f"{name.replace(', ', '-').replace(' ', '-')}-{seed}.safetensors"


def measured(made, bench, out):
    """A row: the network saved, loaded again, and what was loaded is what is measured."""
    path = out / file_name(made.name, bench.seed)
    file_bytes = graph.save(path, made.g, made.encoding)
    g = graph.load(path).graph
    counted = cost.summary(g)
    kept = {node.inputs[1] for node in g.nodes if node.op in ("conv2d", "linear", "qconv2d", "qlinear")}
    numbers = counted.params or sum(a.size for a in g.arrays().values())                    # an integer network's are all there are
    return {"network": made.name, "seed": bench.seed, "accuracy": train.accuracy(g, *bench.test), "epochs": made.epochs,
            "params": numbers, "weights": sum(int(np.count_nonzero(g.array(name))) for name in kept), "MACs": counted.macs,
            "file bytes": file_bytes}


def by_network(rows, column):
    """network -> its values of one column, in the order of seeds."""
    found = {}
    for row in rows:
        found.setdefault(row["network"], []).append(row[column])
    return found


def summary(rows):
    """A row a network: means over the seeds, and the standard deviation of the accuracy as its spread ("-" for one seed).

    >>> rows = [{"network": "a", "seed": s, **dict.fromkeys(MEASURED, 10), "accuracy": a} for s, a in enumerate((0.5, 0.7))]
    >>> summary(rows)[0]["accuracy"], summary(rows)[0]["spread"], summary(rows[:1])[0]["spread"]
    (0.6, '0.1414', '-')
    """
    columns = {column: by_network(rows, column) for column in MEASURED}
    spread = {name: f"{statistics.stdev(a):.4f}" if len(a) > 1 else "-" for name, a in columns["accuracy"].items()}
    return [{"network": name, "spread": spread[name], **{column: statistics.fmean(columns[column][name]) for column in MEASURED}}
            for name in spread]


def compared(rows, claims):
    """A dict a claim: network, control and what it is, both mean accuracies, their difference ahead, won of n seeds, beats."""
    accuracy = by_network(rows, "accuracy")
    for name, control, words in claims:
        ours, others = accuracy[name], accuracy[control]
        ahead = [a - b for a, b in zip(ours, others, strict=True)]
        won, n = sum(d > 0 for d in ahead), len(ahead)
        yield {"network": name, "control": control, "words": words, "accuracy": statistics.fmean(ours), "control's": statistics.fmean(others),
               "ahead": statistics.fmean(ahead), "won": won, "n": n, "beats": won == n}


def verdicts(rows, claims):
    """A sentence a claim: does the network beat its control, by how much, and with how many of the seeds.

    >>> rows = [{"network": n, "accuracy": a} for n, a in (("half", 0.75), ("half", 0.5), ("random", 0.5), ("random", 0.5))]
    >>> print(*verdicts(rows, [("half", "random", "random filters")]))
    half does not beat random filters: +0.1250, ahead with 1 of 2 seeds
    """
    for claim in compared(rows, claims):
        won, n = claim["won"], claim["n"]
        chance = f" (chance alone: 1 time in {2 ** n})" if claim["beats"] else ""
        yield (f"{claim['network']} {'beats' if claim['beats'] else 'does not beat'} {claim['words']}: {claim['ahead']:+.4f}, "
               f"ahead with {won} of {n} seed{'s' * (n > 1)}{chance}")


def closeness(rows, near):
    """A sentence a pair: is the accuracy at most the tolerance below the other's, with every seed, and how far at the worst.

    >>> rows = [{"network": n, "accuracy": a} for n, a in (("int8", 0.75), ("int8", 0.5), ("float", 0.75), ("float", 0.53125))]
    >>> print(*closeness(rows, [("int8", "float", 0.01)]))
    int8 is NOT within 0.01 of float: at worst -0.0312, in the mean of 2 seeds -0.0156
    """
    accuracy = by_network(rows, "accuracy")
    for name, other, tolerance in near:
        gained = [a - b for a, b in zip(accuracy[name], accuracy[other], strict=True)]
        n, held = len(gained), min(gained) >= -tolerance - 1e-9                    # 1e-9: fractions of pictures are not exact
        yield (f"{name} is {'within' if held else 'NOT within'} {tolerance:g} of {other}: at worst {min(gained):+.4f}, "
               f"in the mean of {n} seed{'s' * (n > 1)} {statistics.fmean(gained):+.4f}")


def write_csv(path, rows):
    """A line a row, written whole or not at all."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    Path(file.name).replace(path)


def figure(rows, recipe):
    """The accuracy of every network and seed, and what each costs beside the first, or beside its own whole one."""
    rows = [row for row in rows if not row["network"].endswith(UNTUNED)]
    costs = {kind: {name: statistics.fmean(v) for name, v in by_network(rows, kind).items()} for kind in ("MACs", "file bytes", "weights")}
    first = next(iter(costs["MACs"]))
    whole = recipe.whole or (lambda name: first)
    shares = {kind: {name: cost / found[whole(name)] for name, cost in found.items()} for kind, found in costs.items()}
    return draw.trials(by_network(rows, "accuracy"), shares, {control for _, control, _ in recipe.claims}, recipe.title,
                       whole=None if recipe.whole is None else "the float network")
