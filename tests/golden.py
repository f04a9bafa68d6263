"""What torchvision says about its networks, and the weights on which it said it; benchmarks/make_golden.py wrote the file
beside it.

Nobody stores a gigabyte of random weights: both sides compute them from the names and shapes alone, by `weights`. One table of
65,537 numbers (a prime: no row of a matrix begins where another did) from PCG64's raw bits, which no version of NumPy changes,
is read from another place for every entry and scaled so that signals neither die nor explode.

    torchvision.npz    NAME/state    the names and shapes of the state_dict, a line an entry, as bytes of text
                       NAME/logits   40 of the 1000 scores of one picture of 64x64
"""
import pathlib

import numpy as np

from tinyconv.io import read_npz

PATH = pathlib.Path(__file__).with_name("torchvision.npz")
PERIOD = 65537
SHOWN = slice(None, None, 25)                                               # the scores that are kept: 0, 25, …, 975


def table():
    """65,537 numbers in [-1, 1), multiples of 2^-23, the same for ever."""
    return ((np.random.PCG64(2016).random_raw(PERIOD) >> np.uint64(40)).astype(np.float32) - 2.0 ** 23) / np.float32(2 ** 23)


def picture(channels=3, size=64, batch=1):
    """Input: float32 (N,C,H,W) in [-1, 1)."""
    return np.resize(table()[::-1], (batch, channels, size, size))


def weights(shapes):
    """name -> float32 array for every name -> shape: weights uniform with variance 2/fan_in, γ in [0.7, 1.3), variances in
    [0.5, 1.5), biases and means in [-0.1, 0.1).
    """
    base, arrays = table(), {}
    for at, name in enumerate(sorted(shapes)):
        shape, last = shapes[name], name.rpartition(".")[2]
        u = np.resize(np.roll(base, -977 * at), shape)
        if last == "running_var":
            u = 1 + u / 2
        elif last == "weight" and len(shape) == 1:
            u = 1 + np.float32(0.3) * u
        elif last == "weight":
            u *= np.float32(np.sqrt(6 / np.prod(shape[1:])))
        else:
            u = u / np.float32(10)
        arrays[name] = u.astype(np.float32, copy=False)
    return arrays


def as_text(shapes):
    """Names and shapes as bytes: "features.0.weight 96 3 7 7", a line an entry, sorted."""
    lines = [" ".join([name, *map(str, shape)]) for name, shape in sorted(shapes.items())]
    return np.frombuffer("\n".join(lines).encode(), np.uint8)


def recorded():
    """network -> (shapes by name, scores) of everything in the file."""
    arrays, found = read_npz(PATH), {}
    for network in sorted({name.partition("/")[0] for name in arrays}):
        lines = [line.split() for line in arrays[f"{network}/state"].tobytes().decode().splitlines()]
        found[network] = ({name: tuple(map(int, shape)) for name, *shape in lines}, arrays[f"{network}/logits"])
    return found
