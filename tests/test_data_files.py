"""The official files of MNIST, Fashion-MNIST and CIFAR-10: written here byte by byte as their formats say, read back, and refused
when anything about them is wrong.
"""
import gzip

import numpy as np
import pytest

import tinyconv as tc
from tinyconv.data import cifar, idx


def idx_bytes(array, magic=None):
    """An IDX file of unsigned bytes, by the format's own description."""
    magic = 2048 + array.ndim if magic is None else magic
    lengths = b"".join(length.to_bytes(4, "big") for length in array.shape)
    return magic.to_bytes(4, "big") + lengths + array.tobytes()


@pytest.fixture
def few(monkeypatch):
    """As if the official splits had 6 and 4 pictures, and CIFAR's files 5 records: wrong files are then quick to make."""
    monkeypatch.setattr(idx, "COUNTS", {"train": 6, "test": 4})
    monkeypatch.setattr(cifar, "RECORDS", 5)


def write_mnist(folder, rng, pack=False, spelled="-idx"):
    """Four files of 6 and 4 pictures: what they hold, by split."""
    held = {}
    folder.mkdir(parents=True, exist_ok=True)
    for split, n, name in (("train", 6, "train"), ("test", 4, "t10k")):
        images, labels = rng.integers(0, 256, (n, 28, 28)).astype(np.uint8), rng.integers(0, 10, n).astype(np.uint8)
        for array, what in ((images, "images-idx3"), (labels, "labels-idx1")):
            path = folder / f"{name}-{what}-ubyte{'.gz' * pack}".replace("-idx", spelled)
            path.write_bytes(gzip.compress(idx_bytes(array)) if pack else idx_bytes(array))
        held[split] = images, labels
    return held


# ---- IDX ------------------------------------------------------------------------------------------------------------------

@pytest.mark.small
@pytest.mark.parametrize("pack", [False, True])
@pytest.mark.parametrize("shape", [(0,), (7,), (3, 5), (2, 3, 4), (2, 1, 3, 2)])
def test_idx_round_trip(tmp_path, rng, shape, pack):
    """One to four axes, packed or not; a packed file is known by its contents, whatever its name."""
    array, path = rng.integers(0, 256, shape).astype(np.uint8), tmp_path / "array"
    path.write_bytes(gzip.compress(idx_bytes(array)) if pack else idx_bytes(array))
    read = tc.data.read_idx(path)
    assert np.array_equal(read, array) and read.dtype == np.uint8 and read.flags.writeable


@pytest.mark.small
def test_idx_refuses_every_truncation_and_every_longer_file(tmp_path):
    """Cut off after any byte, packed or plain, or one byte longer: a ValueError naming the file, never an array."""
    whole, path = idx_bytes(np.arange(12, dtype=np.uint8).reshape(3, 4)), tmp_path / "a-idx2-ubyte"
    packed = gzip.compress(whole)
    for text in (*(whole[:n] for n in range(len(whole))), whole + b"x", *(packed[:n] for n in range(len(packed))),
                 gzip.compress(whole[:-1]), gzip.compress(whole + b"x")):
        path.write_bytes(text)
        with pytest.raises(ValueError, match="a-idx2-ubyte: (truncated|no IDX file|bytes left over)"):
            tc.data.read_idx(path)


@pytest.mark.small
@pytest.mark.parametrize("text, message", [
    (b"", r"no IDX file: it must begin with 0, 0, the kind of number and the number of axes, not with \[\]"),
    (b"PK\x03\x04 a zip archive", "no IDX file"),
    (b"\0\0\x08\x00", "no IDX file"), (b"\0\0\x08\x09" + bytes(99), "no IDX file"),
    (b"\0\0\x0d\x01" + bytes(4), r"numbers of kind 13; only unsigned bytes \(8\) are read"),
    (b"\0\0\x08\x03" + b"\xff" * 12, "truncated: .* take 79228162458924105385300197375 bytes, and only 0 follow the header"),
])
def test_idx_refuses_foreign_files(tmp_path, text, message):
    """Whatever a header claims, packed or plain, nothing is allocated before the bytes are there."""
    for written in (text, gzip.compress(text)):
        (tmp_path / "file").write_bytes(written)
        with pytest.raises(ValueError, match=f"file: {message}"):
            tc.data.read_idx(tmp_path / "file")


# ---- MNIST and Fashion-MNIST ------------------------------------------------------------------------------------------------

@pytest.mark.small
@pytest.mark.parametrize("folder, pack, spelled", [("", False, "-idx"), ("", True, "-idx"), ("", False, ".idx"),
                                                   ("raw", True, "-idx"), ("MNIST/raw", True, "-idx"),
                                                   ("FashionMNIST/raw", False, ".idx")])
def test_official_files_are_found_and_read(tmp_path, rng, few, folder, pack, spelled):
    """In `root` or where torchvision puts them, packed or plain, in both spellings."""
    held = write_mnist(tmp_path / folder, rng, pack, spelled)
    for split, (images, labels) in held.items():
        ours, numbers = tc.data.fashion(split, tmp_path) if "Fashion" in folder else tc.data.mnist(tmp_path, split)
        assert np.array_equal(ours, images[:, None]) and ours.shape[1:] == (1, 28, 28) and ours.dtype == np.uint8
        assert np.array_equal(numbers, labels) and numbers.dtype == np.uint8
        assert tc.data.as_input(ours).dtype == np.float32


def test_official_counts(tmp_path):
    """Real sizes: 60,000 and 10,000 pictures; fashion without root stays the embedded selection."""
    for split, n, name in (("train", 60_000, "train"), ("test", 10_000, "t10k")):
        (tmp_path / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(np.zeros((n, 28, 28), np.uint8)), 1))
        (tmp_path / f"{name}-labels-idx1-ubyte").write_bytes(idx_bytes((np.arange(n) % 10).astype(np.uint8)))
        images, labels = tc.data.mnist(str(tmp_path), split)
        assert images.shape == (n, 1, 28, 28) and np.bincount(labels).tolist() == [n // 10] * 10
    assert len(tc.data.fashion("test")[0]) == 2000 and len(tc.data.fashion("test", root=tmp_path)[0]) == 10_000


def _swap(folder, a, b):
    """Exchange the contents of two files."""
    first, second = (folder / a).read_bytes(), (folder / b).read_bytes()
    (folder / a).write_bytes(second)
    (folder / b).write_bytes(first)


TRAIN, TRAIN_LABELS, TEST = "train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte"
WRONG = [
    (lambda f: _swap(f, TRAIN, TRAIN_LABELS), f"{TRAIN}: magic number 2049, and pictures have 2051: this is the file of labels"),
    (lambda f: _swap(f, TRAIN, TEST), f"{TRAIN}: 4 pictures, and the official train split has 6: this is the file of the test"),
    (lambda f: (f / TRAIN_LABELS).write_bytes(idx_bytes(np.zeros(5, np.uint8))), f"{TRAIN_LABELS}: 5 labels, and the official t"),
    (lambda f: (f / TRAIN_LABELS).write_bytes(idx_bytes(np.array([0, 1, 2, 200, 4, 5], np.uint8))),
     f"{TRAIN_LABELS}: label 200 at place 3; labels are 0 to 9"),
    (lambda f: (f / TRAIN_LABELS).write_bytes(idx_bytes(np.zeros((6, 1), np.uint8))), "magic number 2050, and labels have 2049"),
    (lambda f: (f / TRAIN).write_bytes(idx_bytes(np.zeros((6, 32, 32), np.uint8))), f"{TRAIN}: pictures of 32x32, and they must"),
    (lambda f: (f / TRAIN).write_bytes((f / TRAIN).read_bytes()[:-1]), f"{TRAIN}: truncated: .6, 28, 28. take 4704 .* only 4703"),
    (lambda f: (f / TRAIN).write_bytes(idx_bytes(np.zeros((6, 28, 28), np.uint8), 9 * 256 + 3)), "numbers of kind 9; only"),
]


@pytest.mark.small
@pytest.mark.parametrize("spoil, message", WRONG, ids=[message[-40:] for _, message in WRONG])
def test_wrong_mnist_files_are_refused(tmp_path, rng, few, spoil, message):
    """Truncated, mislabelled, of another magic number, count or size: the file is named, and what is wrong with it."""
    write_mnist(tmp_path, rng)
    spoil(tmp_path)
    with pytest.raises(ValueError, match=message):
        tc.data.mnist(tmp_path, "train")


@pytest.mark.small
def test_missing_mnist_files_and_splits_are_named(tmp_path, rng, few):
    with pytest.raises(FileNotFoundError, match="no train-images-idx3-ubyte or train-images-idx3-ubyte.gz there, nor in MN"):
        tc.data.mnist(tmp_path, "train")
    write_mnist(tmp_path, rng)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match="no t10k-labels-idx1-ubyte or"):
        tc.data.fashion("test", root=tmp_path)
    for split in ("validation", None, 0):
        with pytest.raises(ValueError, match="split must be 'train' or 'test', not"):
            tc.data.mnist(tmp_path, split)
        with pytest.raises(ValueError, match="split must be 'train' or 'test', not"):
            tc.data.cifar10(tmp_path, split)


# ---- CIFAR-10 ---------------------------------------------------------------------------------------------------------------

def write_cifar(folder, rng, n=5):
    """Six files of n records: pictures and labels by file name."""
    held = {}
    folder.mkdir(parents=True, exist_ok=True)
    for name in (*cifar.FILES["train"], *cifar.FILES["test"]):
        images, labels = rng.integers(0, 256, (n, 3, 32, 32)).astype(np.uint8), rng.integers(0, 10, n).astype(np.uint8)
        (folder / name).write_bytes(b"".join(bytes([label]) + image.tobytes() for image, label in zip(images, labels)))
        held[name] = images, labels
    return held


@pytest.mark.small
@pytest.mark.parametrize("folder", ["", "cifar-10-batches-bin"])
def test_cifar10_is_read_as_it_was_written(tmp_path, rng, few, folder):
    """Label, then red, green and blue planes row by row; the five training files in their order."""
    held = write_cifar(tmp_path / folder, rng)
    for split, names in cifar.FILES.items():
        images, labels = tc.data.cifar10(tmp_path, split)
        assert np.array_equal(images, np.concatenate([held[name][0] for name in names])) and images.dtype == np.uint8
        assert np.array_equal(labels, np.concatenate([held[name][1] for name in names])) and labels.dtype == np.uint8
    assert len(tc.data.CIFAR10_CLASSES) == 10


def test_cifar10_at_its_real_size(tmp_path):
    """50,000 and 10,000 pictures in files of 30,730,000 bytes (holes on the disk: the bytes are 0)."""
    for name in (*cifar.FILES["train"], *cifar.FILES["test"]):
        with open(tmp_path / name, "wb") as stream:
            stream.truncate(30_730_000)
    for split, n in (("train", 50_000), ("test", 10_000)):
        images, labels = tc.data.cifar10(tmp_path, split)
        assert images.shape == (n, 3, 32, 32) and labels.shape == (n,) and not images[:: n // 7].any() and not labels.any()


def _cut(path, n):
    path.write_bytes(path.read_bytes()[:n])


WRONG_CIFAR = [
    (lambda f: _cut(f / "data_batch_3.bin", -1), ValueError,
     "data_batch_3.bin: truncated: 15,364 bytes, and 5 records of 3,073 take 15,365"),
    (lambda f: _cut(f / "data_batch_3.bin", 0), ValueError, "data_batch_3.bin: truncated: 0 bytes"),
    (lambda f: (f / "data_batch_1.bin").write_bytes(bytes(15_366)), ValueError, "data_batch_1.bin: too long: 15,366 bytes"),
    (lambda f: (f / "data_batch_1.bin").write_bytes(bytes(5 * 3074)), ValueError, "3,074 bytes, as CIFAR-100 has them"),
    (lambda f: (f / "data_batch_5.bin").write_bytes(bytes(2 * 3073) + b"\x0a" + bytes(3072 + 2 * 3073)), ValueError,
     "data_batch_5.bin: label 10 in record 2; labels are 0 to 9"),
    (lambda f: (f / "data_batch_2.bin").unlink(), FileNotFoundError, "data_batch_2.bin: not there; the binary version of CIF"),
    (lambda f: (f / "data_batch_2.bin").rename(f / "data_batch_2"), FileNotFoundError, "the Python version, which is pickled"),
]


@pytest.mark.small
@pytest.mark.parametrize("spoil, error, message", WRONG_CIFAR, ids=[message[:40] for *_, message in WRONG_CIFAR])
def test_wrong_cifar_files_are_refused(tmp_path, rng, few, spoil, error, message):
    """Truncated, too long, another data set's, mislabelled, missing, pickled: the file is named. Nothing is read before all are
    checked.
    """
    write_cifar(tmp_path, rng)
    spoil(tmp_path)
    with pytest.raises(error, match=message):
        tc.data.cifar10(tmp_path, "train")


@pytest.mark.small
def test_only_the_python_version_is_there(tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    with pytest.raises(FileNotFoundError, match="data_batch_1.bin: not there; what lies there is the Python version"):
        tc.data.cifar10(tmp_path, "train")
