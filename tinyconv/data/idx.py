"""The official files of MNIST and Fashion-MNIST, read as they are distributed: IDX, packed by gzip or plain.

    2 bytes       0, 0
    1 byte        the kind of number, 8 for unsigned bytes (the only one here)
    1 byte        how many axes: 3 for pictures, 1 for labels
    4 bytes each  the axes' lengths, big-endian
    the rest      the numbers, C order
The first four bytes together are the magic number: 2051 for pictures, 2049 for labels. Nothing is downloaded: the four files of a
data set lie in `root`, or where torchvision puts them (`root/MNIST/raw`, `root/FashionMNIST/raw`).
Source: LeCun, Cortes & Burges, "The MNIST database of handwritten digits" (the format at the end of the page).
"""
import gzip
import math
import zlib
from pathlib import Path

import numpy as np

PICTURES, LABELS = 2051, 2049
FILES = {"train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
         "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")}
COUNTS = {"train": 60_000, "test": 10_000}


def read_idx(path):
    """The array in an IDX file of unsigned bytes, packed or plain: uint8, as many axes as its header says.

    Every claim of the header is compared with the bytes that are there; a packed file is recognised by its contents, not its
    name. Errors: FileNotFoundError; ValueError naming the file and what is wrong: no IDX file, another kind of number,
    truncated, bytes left over, a damaged gzip stream.
    """
    try:
        with open(path, "rb") as stream:
            packed = stream.read(2) == b"\x1f\x8b"
        with (gzip.open if packed else open)(path, "rb") as stream:
            shape = _read_header(path, stream)
            expected = math.prod(shape)
            data = _read_up_to(stream, expected + 1)                        # one more than there may be
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path}: truncated or damaged: {error}") from None
    if len(data) != expected:
        what, found = ("truncated", f"only {len(data)}") if len(data) < expected else ("bytes left over", "more")
        raise ValueError(f"{path}: {what}: {shape} take {expected} bytes, and {found} follow the header")
    return np.frombuffer(data, np.uint8).reshape(shape).copy()


def _read_up_to(stream, limit):
    """At most `limit` bytes, a piece at a time: what a header claims is not allocated before it is there."""
    pieces = []
    while limit > 0 and (piece := stream.read(min(limit, 1 << 20))):
        pieces.append(piece)
        limit -= len(piece)
    return b"".join(pieces)


def _read_header(path, stream):
    """The lengths of the axes."""
    head = stream.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or not 1 <= head[3] <= 4:
        raise ValueError(f"{path}: no IDX file: it must begin with 0, 0, the kind of number and the number of axes, not with "
                         f"{list(head)}")
    if head[2] != 8:
        raise ValueError(f"{path}: numbers of kind {head[2]}; only unsigned bytes (8) are read")
    lengths = stream.read(4 * head[3])
    if len(lengths) < 4 * head[3]:
        raise ValueError(f"{path}: truncated: the header of {head[3]} axes takes {4 + 4 * head[3]} bytes")
    return tuple(int.from_bytes(lengths[at:at + 4], "big") for at in range(0, len(lengths), 4))


def mnist(root, split):
    """The official MNIST of one split, "train" (60,000) or "test" (10,000): images uint8 (N,1,28,28), labels uint8 (N,), from
    `root`.

    Errors: ValueError for any other split; FileNotFoundError naming the files that are looked for; ValueError naming the file
    that is truncated, no IDX file, of the wrong magic number or count, or whose labels are none.
    """
    return official(root, split, "MNIST")


def official(root, split, name):
    """Pictures and labels of the data set `name` ("MNIST" or "FashionMNIST") under `root`; what `mnist` and `fashion(root=…)`
    share.
    """
    if split not in FILES:
        raise ValueError(f"split must be 'train' or 'test', not {split!r}")
    paths = [_find(root, name, file) for file in FILES[split]]
    arrays = []
    for path, magic, what in zip(paths, (PICTURES, LABELS), ("pictures", "labels")):
        array = read_idx(path)
        found = 2048 + array.ndim
        if found != magic:
            raise ValueError(f"{path}: magic number {found}, and {what} have {magic}" + (
                ": this is the file of " + ("labels" if found == LABELS else "pictures") if found in (PICTURES, LABELS) else ""))
        if len(array) != COUNTS[split]:
            other = [s for s, count in COUNTS.items() if count == len(array)]
            raise ValueError(f"{path}: {len(array):,} {what}, and the official {split} split has {COUNTS[split]:,}" + (
                f": this is the file of the {other[0]} split" if other else ""))
        arrays.append(array)
    images, labels = arrays
    if images.shape[1:] != (28, 28):
        raise ValueError(f"{paths[0]}: pictures of {images.shape[1]}x{images.shape[2]}, and they must be 28x28")
    if labels.max() > 9:
        at = int((labels > 9).argmax())
        raise ValueError(f"{paths[1]}: label {labels[at]} at place {at}; labels are 0 to 9")
    return images[:, None], labels


def _find(root, name, file):
    """The path of an official file, packed or plain. Errors: FileNotFoundError."""
    names = [spelled + ending for spelled in (file, file.replace("-idx", ".idx")) for ending in ("", ".gz")]
    folders = [Path(root), Path(root) / name / "raw", Path(root) / "raw"]
    for folder in folders:
        for candidate in names:
            if (folder / candidate).is_file():
                return folder / candidate
    raise FileNotFoundError(f"{root}: no {file} or {file}.gz there, nor in {name}/raw; the four official files of {name} are "
                            f"{', '.join(f for files in FILES.values() for f in files)}")
