"""How tinyconv/data/fashion.npz was made, and how anyone can make it again from the 70,000 images of Fashion-MNIST.

    python -m tinyconv.data.building fashion_mnist_70k.npz

The rule depends on nothing but the images: in each class, sort the distinct images by the SHA-256 of their 784 bytes; the
first 1,000 are for training, the next 200 for testing; each split is then put in the order of those digests, which has
nothing to do with the class. An image that is there several times counts once, so it never stands on both sides; the one
that is there under two different labels is left out. The order of the source does not matter.
"""
import argparse
import hashlib
import sys
import time

import numpy as np

from ..io import write_npz
from .embedded import CLASSES, PATH, PER_CLASS, SHA256, sha256_of, read_embedded


def choose(images, labels, per_class=PER_CLASS):
    """Choose the embedded images by the rule above: a dict of train_images, train_labels, test_images, test_labels.

    images uint8 (N,28,28) or (N,1,28,28), labels uint8 (N,) below 10, in any order; `per_class` gives the images of each class
    for each split. Returns images uint8 (M,1,28,28), labels uint8 (M,). Cost: N hashes, about 0.1 s for 70,000 images.
    Invariant: no image is in both splits or twice in one; a permuted source gives the same arrays.
    Errors: TypeError, ValueError for other shapes and dtypes; ValueError if a class has too few distinct images.
    """
    if images.dtype != np.uint8 or labels.dtype != np.uint8:
        raise TypeError(f"images and labels must be uint8, not {images.dtype} and {labels.dtype}")
    if images.shape[1:] not in ((28, 28), (1, 28, 28)) or labels.shape != images.shape[:1]:
        raise ValueError(f"images must be (N,28,28) with labels (N,), not {images.shape} with {labels.shape}")
    label_of, where = {}, {}
    for i, (image, label) in enumerate(zip(images, labels.tolist())):
        digest = hashlib.sha256(image.tobytes()).digest()
        label_of.setdefault(digest, set()).add(label)
        where[digest] = i
    chosen = {split: [] for split in per_class}
    for label in range(len(CLASSES)):
        digests = sorted(digest for digest, found in label_of.items() if found == {label})
        if len(digests) < sum(per_class.values()):
            raise ValueError(f"class {label} ({CLASSES[label]}) has {len(digests)} distinct images; "
                             f"{sum(per_class.values())} are needed")
        begin = 0
        for split, count in per_class.items():
            chosen[split] += digests[begin:begin + count]
            begin += count
    arrays = {}
    for split, digests in chosen.items():
        index = [where[digest] for digest in sorted(digests)]
        arrays[f"{split}_images"] = images[index].reshape(-1, 1, 28, 28)
        arrays[f"{split}_labels"] = labels[index]
    return arrays


def load_source(path):
    """The 70,000 images and labels in an .npz file with the arrays `images` and `labels`: 7,000 of each class, in any order.

    Errors: FileNotFoundError; ValueError if the file is no such source.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            images, labels = archive["images"], archive["labels"]
    except KeyError as error:
        raise ValueError(f"{path}: must hold the arrays images and labels: {error}") from None
    if images.shape not in ((70000, 28, 28), (70000, 1, 28, 28)) or labels.shape != (70000,):
        raise ValueError(f"{path}: all 70,000 images (70000,28,28) with labels (70000,) are needed, not {images.shape} with "
                         f"{labels.shape}")
    counts = np.bincount(labels, minlength=10)
    if counts.tolist() != [7000] * 10:
        raise ValueError(f"{path}: 7,000 images of each of the ten classes are needed, not {counts.tolist()}")
    return images, labels


def main(arguments=None):
    """Rebuild the embedded images from a source of all 70,000; returns the exit status: 0 done, 1 refused.

    Nothing is written unless the chosen arrays have the SHA-256 that `embedded` names.
    """
    parser = argparse.ArgumentParser(prog="python -m tinyconv.data.building", description=__doc__.split("\n")[0])
    parser.add_argument("source", help=".npz file with images uint8 (70000,28,28) and labels uint8 (70000,), in any order")
    parser.add_argument("--out", default=str(PATH), help="the file to write (default: the one in the package)")
    options = parser.parse_args(arguments)
    begun = time.perf_counter()
    try:
        print(f"reading {options.source}", flush=True)
        images, labels = load_source(options.source)
        print(f"choosing {sum(PER_CLASS.values())} of 7000 images a class by their SHA-256", flush=True)
        arrays = choose(images, labels)
        for name, array in arrays.items():
            if sha256_of(array) != SHA256[name]:
                raise ValueError(f"{options.source}: not the images of Fashion-MNIST: {name} would have SHA-256 "
                                 f"{sha256_of(array)}, not {SHA256[name]}")
        print(f"writing {options.out}", flush=True)
        write_npz(options.out, arrays)
        read_embedded(options.out)
    except (OSError, ValueError, TypeError) as error:
        print(f"refused: {error}", file=sys.stderr)
        return 1
    print(f"done in {time.perf_counter() - begun:.1f} s; every array has the SHA-256 it must have")
    return 0


if __name__ == "__main__":
    sys.exit(main())
