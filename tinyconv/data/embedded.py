"""The embedded images: a selection of Fashion-MNIST, small enough to travel in the package, large enough to learn from.

10,000 images to train with and 2,000 to test with, 1,000 and 200 of each of ten classes. THE SPLIT IS THE PROJECT'S OWN: it is
not the official one of 60,000 + 10,000, and an accuracy on it may not be compared with published ones. The selection rule
(`building`) depends on nothing but the images themselves, so anyone with the 70,000 can rebuild the same arrays.

Fashion-MNIST: Xiao, Rasul & Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms",
arXiv:1708.07747 (2017). Copyright (c) 2017 Zalando SE, MIT licence.
"""
import functools
import hashlib
from pathlib import Path

import numpy as np

from ..io import read_npz
from .idx import official

CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
PATH = Path(__file__).with_name("fashion.npz")
PER_CLASS = {"train": 1000, "test": 200}
SHA256 = {
    "train_images": "592af9d34341fecc5b822a5956efe2e6afe4b41d250c5dd371b51861c5eb254e",
    "train_labels": "b682ad86eed28c73602e2c67dcaa657cc43331c369d548c8e1aa2c0e3f037370",
    "test_images": "0a5ef24b25abea4ab746043a646fe80fa0a4f97e54f1dfbadefb16ce895f82c7",
    "test_labels": "7023b371e20db7e60392ba3252454a72c3135ad898ec95fc43677eef0e5d6c97",
}


def fashion(split, root=None):
    """The embedded Fashion-MNIST images of one split, "train" or "test": (images, labels).

    images uint8 (N,1,28,28), 0 = background; labels uint8 (N,), names in `CLASSES`; N = 10,000 and 2,000, every class as often
    as the others. The training images lie in an order that does not depend on the class; the test images in that of the
    selection rule, which does (the first 20 are dresses): for a part of them take every k-th. The arrays are copies: the caller
    may change them. The split is the project's own, not the official one. The file is compared with its SHA-256 once in a process (about 50 ms). With
    `root`, a folder that holds the official IDX files, all 60,000 or 10,000 of the official split instead (`idx.mnist`'s
    rules). Errors: ValueError for any other split, and for a file that is damaged, truncated or altered; FileNotFoundError.

    >>> images, labels = tc.data.fashion("test")
    >>> images.shape, images.dtype, labels.shape, tc.data.CLASSES[labels[0]] in tc.data.CLASSES
    ((2000, 1, 28, 28), dtype('uint8'), (2000,), True)
    """
    if split not in PER_CLASS:
        raise ValueError(f"split must be 'train' or 'test', not {split!r}")
    if root is not None:
        return official(root, split, "FashionMNIST")
    arrays = _verified()
    return arrays[f"{split}_images"].copy(), arrays[f"{split}_labels"].copy()


def sha256_of(array):
    """SHA-256 of an array's bytes in C order, as 64 hexadecimal digits.

    >>> sha256_of(np.arange(3, dtype=np.uint8))[:16]
    'ae4b3280e56e2faf'
    """
    return hashlib.sha256(np.ascontiguousarray(array)).hexdigest()


def read_embedded(path):
    """Read a file of embedded images and compare every array with the SHA-256 it must have: a dict of four arrays.

    Errors: FileNotFoundError; ValueError naming the file and what is wrong with it: damaged, truncated, a missing or an
    unknown array, altered contents.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: the embedded images are not there; reinstall tinyconv, or rebuild them with "
                                "python -m tinyconv.data.building")
    arrays = read_npz(path)
    if set(arrays) != set(SHA256):
        raise ValueError(f"{path}: must hold the arrays {sorted(SHA256)}, not {sorted(arrays)}")
    for name, expected in SHA256.items():
        split, what = name.split("_")
        shape = (10 * PER_CLASS[split], 1, 28, 28) if what == "images" else (10 * PER_CLASS[split],)
        if arrays[name].shape != shape or arrays[name].dtype != np.uint8:
            raise ValueError(f"{path}: {name} must be uint8 {shape}, not {arrays[name].dtype} {arrays[name].shape}")
        found = sha256_of(arrays[name])
        if found != expected:
            raise ValueError(f"{path}: {name} is not what was put there: SHA-256 {found[:16]}.. instead of {expected[:16]}..; "
                             "reinstall tinyconv")
    return arrays


@functools.lru_cache(maxsize=1)
def _verified():
    """The embedded arrays, read and compared once in a process."""
    return read_embedded(PATH)
