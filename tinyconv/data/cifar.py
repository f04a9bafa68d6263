"""CIFAR-10 in its *binary* version: six files of 10,000 records, no pickle.

    a record      1 byte label, 1,024 bytes red, 1,024 green, 1,024 blue, each row by row
    a file        10,000 records, 30,730,000 bytes: data_batch_1.bin … data_batch_5.bin, test_batch.bin
The Python version of the same pictures (cifar-10-batches-py) is pickled, and reading a pickle runs what is in it: it is refused.
Source: Krizhevsky, "Learning multiple layers of features from tiny images" (2009); https://www.cs.toronto.edu/~kriz/cifar.html.
"""
from pathlib import Path

import numpy as np

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FILES = {"train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "test": ("test_batch.bin",)}
RECORDS, RECORD_BYTES = 10_000, 1 + 3 * 32 * 32
FOLDER = "cifar-10-batches-bin"


def cifar10(root, split):
    """CIFAR-10 of one split, "train" (50,000) or "test" (10,000): images uint8 (N,3,32,32), labels uint8 (N,), from `root` or
    from `root/cifar-10-batches-bin`. Names of the classes: `CIFAR10_CLASSES`.

    Errors: ValueError for any other split; FileNotFoundError naming the missing file, and where only the Python version lies
    there; ValueError naming the file that is truncated, too long or has a label above 9.
    """
    if split not in FILES:
        raise ValueError(f"split must be 'train' or 'test', not {split!r}")
    root = Path(root)
    folder = root / FOLDER if (root / FOLDER).is_dir() else root
    paths = [folder / name for name in FILES[split]]
    for path in paths:
        _check(root, path)
    images = np.empty((RECORDS * len(paths), 3, 32, 32), np.uint8)
    labels = np.empty(len(images), np.uint8)
    for i, path in enumerate(paths):
        records = np.fromfile(path, np.uint8).reshape(RECORDS, RECORD_BYTES)               # (10000, 3073)
        part = slice(i * RECORDS, (i + 1) * RECORDS)
        labels[part], images[part] = records[:, 0], records[:, 1:].reshape(-1, 3, 32, 32)
        if labels[part].max() > 9:
            at = int((labels[part] > 9).argmax())
            raise ValueError(f"{path}: label {labels[part][at]} in record {at}; labels are 0 to 9")
    return images, labels


def _check(root, path):
    """The file is there and as long as it must be."""
    if not path.is_file():
        pickled = (root / "cifar-10-batches-py").is_dir() or path.with_suffix("").is_file()
        raise FileNotFoundError(f"{path}: not there" + (
            "; what lies there is the Python version, which is pickled and never read: take the binary version" if pickled else
            f"; the binary version of CIFAR-10 has {', '.join(FILES['train'] + FILES['test'])}"))
    size, expected = path.stat().st_size, RECORDS * RECORD_BYTES
    if size != expected:
        why = "truncated" if size < expected else "too long"
        if size % (RECORD_BYTES + 1) == 0 and size:
            why = "records of 3,074 bytes, as CIFAR-100 has them"
        raise ValueError(f"{path}: {why}: {size:,} bytes, and {RECORDS:,} records of {RECORD_BYTES:,} take {expected:,}")
