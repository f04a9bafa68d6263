"""Trained networks: five small forms that travel in the package, and any file that `tinyconv train` wrote.

    pretrained(name)     the network of the package, trained, in evaluation mode
    PRETRAINED           name -> the command that trained it, its seed, and what it gets right
    read_trained(path)   (network, record) of a file of one's own

A file is .safetensors: the network's state_dict, under the names of its class, and as metadata the record, a `Trained`. The
graph is not in it, for the class and its options make it; `graph.trace` gives it. All five learnt from the 10,000 embedded
training pictures of clothing and were tested once on the 2,000 embedded test pictures (`data.fashion`), a split of this project:
their accuracies may not be compared with published ones.
"""
import hashlib
import json
from pathlib import Path
from typing import NamedTuple

from .. import nn
from ..io import read_safetensors

FOLDER = Path(__file__).parent
FORMAT = "tinyconv.trained.1"


class Trained(NamedTuple):
    """How a network was trained and what came of it. As metadata of a file every value is text.

    network, options       the builder in `models` and what it was given (num_classes, in_channels, width_mult)
    command, seed          what was run; the seed fixes weights, order and augmentation
    correct, pictures      how many of so many test pictures it gets right, and of the first 500 of them
    made_with              versions and threads: with others the last bits, and so a few pictures, may differ
    """

    network: str
    options: dict
    command: str
    seed: int
    correct: int
    pictures: int
    correct_of_first_500: int
    made_with: str

    @property
    def accuracy(self):
        """The fraction of test pictures it gets right."""
        return self.correct / self.pictures

    def as_metadata(self):
        """Name -> text, as a .safetensors file keeps it; the accuracy is there to be read, and is not read back."""
        fields = {name: value if isinstance(value, str) else json.dumps(value) for name, value in self._asdict().items()}
        return {"format": FORMAT, **fields, "accuracy": f"{self.accuracy:.4f}"}


def read_trained(path):
    """(network, Trained) of a file that `tinyconv train` wrote: its class, every array loaded strictly, in evaluation mode.

    Errors: FileNotFoundError; ValueError naming file and entry for what is damaged, is no such file, or does not fit its class.
    """
    from . import network                                             # at call time: the room is whole only then
    arrays, text = read_safetensors(path)
    if text.get("format") != FORMAT:
        raise ValueError(f"{path}: no trained network: format {text.get('format')!r} in its metadata, should be {FORMAT!r}")
    try:
        record = Trained(**{name: kind(text[name]) if kind is str else json.loads(text[name])
                            for name, kind in Trained.__annotations__.items()})
        for name, kind in Trained.__annotations__.items():
            if type(getattr(record, name)) is not kind:
                raise TypeError(f"{name} must be {kind.__name__}, not {text[name]}")
        with nn.init.undrawn():
            model = network(record.network)(**record.options)
        model.load_state_dict(arrays)
    except KeyError as error:
        raise ValueError(f"{path}: its metadata have no {error}") from None
    except (TypeError, ValueError, MemoryError, OverflowError) as error:
        raise ValueError(f"{path}: {error}") from error
    return model.eval(), record


def pretrained(name):
    """A trained network of the package: `pretrained("resnet_small")` is `resnet_small()` that knows ten kinds of clothing.

    It takes float32 (N,1,28,28) as `data.as_input` makes it, and gives scores of `data.CLASSES`. The file is compared with its
    SHA-256. Errors: ValueError naming those that there are; ValueError or FileNotFoundError for a damaged installation.

    >>> model = tc.models.pretrained("resnet_small")
    >>> type(model).__name__, model.training, tc.models.PRETRAINED["resnet_small"].seed
    ('ResNet', False, 0)
    """
    if name not in PRETRAINED:
        raise ValueError(f"no trained network {name!r} in the package; there are {', '.join(PRETRAINED)} "
                         "(`python -m tinyconv train NETWORK` trains others)")
    path = FOLDER / f"{name}.safetensors"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not there; reinstall tinyconv, or make it again: {PRETRAINED[name].command}")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != PRETRAINED[name].sha256:
        raise ValueError(f"{path}: not what was put there: SHA-256 {found[:16]}.. instead of {PRETRAINED[name].sha256[:16]}..; "
                         "reinstall tinyconv")
    return read_trained(path)[0]


class Shipped(NamedTuple):
    """One row of PRETRAINED: correct of the 2,000 test pictures, the file's SHA-256, seed, and the command that makes it."""

    correct: int
    sha256: str
    seed: int
    command: str


PRETRAINED = {
    "mobilenet_v2_small": Shipped(
        1824, "d75ab3fdb2fd7c43e5297e2525618d3e5c2cbe6d22f3bc62058fe5bfdc9e8059", 0,
        "python -m tinyconv train mobilenet_v2_small --data fashion --width 1.0 --epochs 25 --batch-size 128 --lr "
        "0.15 --weight-decay 0.0005 --label-smoothing 0.05 --shift 1 --flip --seed 0 --threads 1"),
    "mobilenet_v1_small": Shipped(
        1823, "7466803435c5be6896bd8800a9a9c147e79acd82c8c3141eefccedb4d11b40df", 0,
        "python -m tinyconv train mobilenet_v1_small --data fashion --width 1.0 --epochs 60 --batch-size 128 --lr "
        "0.15 --weight-decay 0.0005 --label-smoothing 0.05 --shift 1 --flip --seed 0 --threads 1"),
    "shufflenet_v2_small": Shipped(
        1834, "2d672f26977b8bc77140b2b6e2b504a4e7188d9c3901f35f80994b105d792e3d", 0,
        "python -m tinyconv train shufflenet_v2_small --data fashion --width 1.0 --epochs 50 --batch-size 128 --lr "
        "0.15 --weight-decay 0.0005 --label-smoothing 0.05 --shift 1 --flip --seed 0 --threads 1"),
    "resnet_small": Shipped(
        1845, "c9831d31eca73ac1ad407b5f9126feb6d4292741ef8a6fe481e76bf2471109b0", 0,
        "python -m tinyconv train resnet_small --data fashion --width 1.0 --epochs 50 --batch-size 128 --lr 0.15 "
        "--weight-decay 0.0005 --label-smoothing 0.05 --shift 1 --flip --seed 0 --threads 1"),
    "vgg16_small": Shipped(
        1843, "42e2f33c67ee1eab53288156f7a846be112db691ccbf2b53178d8aa80f511a86", 0,
        "python -m tinyconv train vgg16_small --data fashion --width 1.0 --epochs 30 --batch-size 128 --lr 0.15 "
        "--weight-decay 0.0005 --label-smoothing 0.05 --shift 1 --flip --seed 0 --threads 1"),
}
