"""One network trained by one command, and the file it leaves: its weights, and the record of how they came about.

    SETTINGS       network -> what the networks in the package were trained with (`models.PRETRAINED`), where it is not the usual
    settings       a network's own settings, any of them replaced; `command` says them as a command line
    run            train, test once, write the file that `models.read_trained` reads

SGD with Nesterov momentum 0.9, the learning rate a tenth of all steps rising and half a cosine falling; pictures shifted and
mirrored; cross-entropy with smoothed labels. The last epoch is what is kept, not the best one: to choose it by the test pictures
would make their accuracy worth less. Settings are chosen with `held_out` training pictures, which are then set aside.
"""
import platform
import shlex
import time
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .. import data, kernels, models, train
from ..io import write_safetensors
from .measuring import threads_used

DATA = ("fashion", "mnist", "cifar10", "shapes")
LEAST = {"images": 1, "held_out": 0, "epochs": 1, "batch_size": 1, "shift": 0, "seed": 0, "threads": 1}
SHAPES = {"train": (10_000, 0), "test": (2_000, 1)}                                         # pictures and seed of the drawn ones


class Settings(NamedTuple):
    """All that a training depends on, but the machine. Fields are the command's options."""

    network: str
    data: str = "fashion"
    root: str | None = None             # folder of official files; without it, the embedded pictures
    images: int | None = None           # so many training pictures, the first ones; None: all
    held_out: int = 0                   # so many of these, the last ones, set aside to watch the accuracy on
    width: float = 1.0
    epochs: int = 30
    batch_size: int = 128
    lr: float = 0.15
    weight_decay: float = 5e-4
    label_smoothing: float = 0.05
    shift: int = 1                      # pixels, at most, in both directions
    flip: bool = True                   # half of the pictures mirrored
    seed: int = 0
    threads: int | None = None          # None: as many as there are cores


# one thread: sums are then added in the same order on machines with any number of cores
EPOCHS = {"mobilenet_v2_small": 25, "mobilenet_v1_small": 60, "shufflenet_v2_small": 50, "resnet_small": 50, "vgg16_small": 30}
SETTINGS = {name: {"epochs": epochs, "threads": 1} for name, epochs in EPOCHS.items()}


def settings(network, **given):
    """Settings of a network: its own in SETTINGS or the usual, replaced by what is given and not None.

    Errors: ValueError for an unknown network, unknown data, and numbers out of range; TypeError for a setting that there is not.

    >>> settings("resnet20", epochs=2, seed=None)[:3], settings("resnet20", epochs=2).epochs
    (('resnet20', 'fashion', None), 2)
    """
    models.network(network)
    given = {name: value for name, value in given.items() if value is not None}
    own = dict(SETTINGS.get(network, {}))
    if given.get("data") == "mnist":
        own["flip"] = False                                                                 # a mirrored digit is no digit
    s = Settings(network, **{**own, **given})
    if s.data not in DATA:
        raise ValueError(f"data must be one of {', '.join(DATA)}, not {s.data!r}")
    if s.data in ("mnist", "cifar10") and s.root is None:
        raise ValueError(f"data {s.data!r} needs root, the folder of its official files; in the package there is fashion")
    if s.data == "shapes" and s.root is not None:
        raise ValueError("data 'shapes' are drawn and have no root")
    for name, least in LEAST.items():
        value = getattr(s, name)
        if value is not None and value < least:
            raise ValueError(f"{name} must be at least {least}, not {value}")
    return s


def command(s):
    """The command line of these settings, every one of them written out.

    >>> command(settings("resnet20", flip=False))[:53]
    'python -m tinyconv train resnet20 --data fashion --wi'
    """
    words = ["python -m tinyconv train", s.network]
    for name, value in s._asdict().items():
        option = "--" + name.replace("_", "-")
        if name == "flip":
            words.append(option if value else "--no-flip")
        elif name != "network" and value is not None and not (name == "held_out" and value == 0):
            words.append(f"{option} {shlex.quote(str(value))}")
    return " ".join(words)


def pictures(s, split):
    """Images uint8 (N,C,H,W) and labels (N,) of one split, "train" or "test"."""
    if s.data == "shapes":
        return data.shapes(*SHAPES[split])
    if s.data == "fashion":
        return data.fashion(split, s.root)
    return (data.mnist if s.data == "mnist" else data.cifar10)(s.root, split)


def augment(images, rng, shift, flip):
    """Each picture shifted by up to `shift` pixels in both directions, half of them mirrored."""
    images = data.random_crop(images, rng, padding=shift) if shift else images
    return data.random_flip(images, rng) if flip else images


def run(s, out=None, progress=True, say=print):
    """Train by the settings, test, and write `out` (NETWORK.safetensors if None); returns what its metadata say.

    Same settings, machine, versions and thread count: the same file. Errors: as the parts'; a file that could not be written is
    told before the training, not after it.
    """
    with threads_used(s.threads):
        return _run(s, out, progress, say)


def _run(s, out, progress, say):
    """`run`, with the threads as they should be."""
    out = Path(out or f"{s.network}.safetensors")
    if out.suffix != ".safetensors" or not out.absolute().parent.is_dir():
        raise ValueError(f"out must be a .safetensors file in a folder that exists, not {str(out)!r}")
    begin = time.perf_counter()
    images, labels = (part[:s.images] for part in pictures(s, "train"))
    if s.held_out >= len(images):
        raise ValueError(f"held_out must leave something of the {len(images):,} training pictures, not {s.held_out}")
    test = pictures(s, "test")
    watched = (images[-s.held_out:], labels[-s.held_out:]) if s.held_out else test
    images, labels = images[:len(images) - s.held_out], labels[:len(labels) - s.held_out]
    options = {"num_classes": 10, "in_channels": images.shape[1], "width_mult": s.width}
    model = models.network(s.network)(**options, rng=s.seed)
    numbers = sum(p.size for p in model.parameters())
    say(f"{s.network} of width {s.width:g}, {numbers:,} parameters: {s.epochs} epochs of {len(images):,} pictures, accuracy on "
        f"{len(watched[0]):,} {'that were set aside' if s.held_out else 'test pictures'} after each")
    train.fit(model, images, labels, epochs=s.epochs, batch_size=s.batch_size, lr=s.lr, weight_decay=s.weight_decay,
              label_smoothing=s.label_smoothing, augment=partial(augment, shift=s.shift, flip=s.flip), validation=watched,
              seed=s.seed, progress=progress)
    right = train.predict(model, test[0]).argmax(axis=1) == test[1]
    record = models.Trained(s.network, options, command(s), s.seed, int(right.sum()), len(right), int(right[:500].sum()),
                            made_with())
    write_safetensors(out, model.state_dict(), record.as_metadata())
    say(f"test accuracy {record.accuracy:.4f} ({record.correct:,} of {record.pictures:,} pictures), "
        f"{out.stat().st_size:,} bytes, {time.perf_counter() - begin:.0f} s: {out}")
    return record


def made_with():
    """Versions and threads that the last bits of a training depend on."""
    return (f"Python {platform.python_version()}, numpy {np.__version__}, numba {metadata.version('numba')}, "
            f"threads {kernels.get_num_threads()}")
