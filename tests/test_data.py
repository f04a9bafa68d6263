"""The images: the embedded selection is exactly what its rule gives, drawn shapes are what their seed says, nothing is cast."""
import hashlib
import itertools
import time

import numpy as np
import pytest

import tinyconv as tc
from tinyconv.data import building, embedded
from tinyconv.io import write_npz


# the embedded images

@pytest.mark.small
@pytest.mark.parametrize("split, per_class", [("train", 1000), ("test", 200)])
def test_fashion_has_its_shapes_and_balanced_classes(split, per_class):
    """Shapes, dtypes and exact counts, as the issue asks for them."""
    images, labels = tc.data.fashion(split)
    assert images.shape == (10 * per_class, 1, 28, 28) and images.dtype == np.uint8
    assert labels.shape == (10 * per_class,) and labels.dtype == np.uint8
    assert np.bincount(labels).tolist() == [per_class] * 10 == [per_class] * len(tc.data.CLASSES)


@pytest.mark.small
def test_fashion_has_its_sha256():
    """The arrays that a caller gets, hashed here by hand, against the constants: the split can never change unseen."""
    for split in ("train", "test"):
        images, labels = tc.data.fashion(split)
        assert hashlib.sha256(images.tobytes()).hexdigest() == embedded.SHA256[f"{split}_images"]
        assert hashlib.sha256(labels.tobytes()).hexdigest() == embedded.SHA256[f"{split}_labels"]


def test_no_image_stands_twice_or_on_both_sides():
    """Leakage: 12,000 images, 12,000 different digests, each split in the order of its digests, so not sorted by class."""
    digests = {}
    for split in ("train", "test"):
        images, labels = tc.data.fashion(split)
        digests[split] = [hashlib.sha256(image.tobytes()).digest() for image in images]
        assert digests[split] == sorted(digests[split])
        assert (np.diff(labels.astype(int)) < 0).any()
    assert len(set(digests["train"] + digests["test"])) == 12000


def test_test_images_follow_the_training_images_of_their_class():
    """The rule itself, from the result: in each class every training digest is smaller than every test digest."""
    (train, of_train), (test, of_test) = tc.data.fashion("train"), tc.data.fashion("test")
    for label in range(10):
        last = max(hashlib.sha256(image.tobytes()).digest() for image in train[of_train == label])
        first = min(hashlib.sha256(image.tobytes()).digest() for image in test[of_test == label])
        assert last < first


@pytest.mark.small
def test_fashion_hands_out_copies():
    """A caller who paints on the images must not spoil them for the next one."""
    images, labels = tc.data.fashion("test")
    images[:], labels[:] = 0, 0
    again, labels_again = tc.data.fashion("test")
    assert again.any() and labels_again.any()


@pytest.mark.small
@pytest.mark.parametrize("split", ["valid", "Train", None, 0])
def test_fashion_refuses_unknown_splits(split):
    with pytest.raises(ValueError, match="split must be 'train' or 'test', not"):
        tc.data.fashion(split)


def test_damaged_files_are_refused(tmp_path):
    """Truncated, or one bit changed in the compressed arrays: always a ValueError that names the file, never other images."""
    whole = embedded.PATH.read_bytes()
    path = tmp_path / "fashion.npz"
    for length in (0, 10, 1000, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="fashion.npz: damaged"):
            embedded.read_embedded(path)
    for place in (1000, len(whole) // 3, len(whole) // 2, len(whole) - 2000):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1:])
        with pytest.raises(ValueError, match="fashion.npz: "):
            embedded.read_embedded(path)
    path.write_text("no archive at all")
    with pytest.raises(ValueError, match="fashion.npz: damaged, or no .npz file"):
        embedded.read_embedded(path)


def test_altered_files_are_refused(tmp_path):
    """A proper archive with other contents: one pixel, one label, one missing array, other dtypes and shapes."""
    path = tmp_path / "fashion.npz"
    arrays = embedded.read_embedded(embedded.PATH)
    for name in arrays:
        altered = {**arrays, name: arrays[name].copy()}
        altered[name].flat[-1] ^= 1
        write_npz(path, altered, compress=False)
        with pytest.raises(ValueError, match=f"{name} is not what was put there: SHA-256"):
            embedded.read_embedded(path)
    write_npz(path, {**arrays, "test_labels": arrays["test_labels"].astype(np.int64)}, compress=False)
    with pytest.raises(ValueError, match=r"test_labels must be uint8 \(2000,\), not int64"):
        embedded.read_embedded(path)
    write_npz(path, {**arrays, "train_images": arrays["train_images"].reshape(-1, 28, 28)}, compress=False)
    with pytest.raises(ValueError, match=r"train_images must be uint8 \(10000, 1, 28, 28\)"):
        embedded.read_embedded(path)
    del arrays["test_labels"]
    write_npz(path, arrays, compress=False)
    with pytest.raises(ValueError, match="must hold the arrays"):
        embedded.read_embedded(path)


@pytest.mark.small
def test_a_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="reinstall tinyconv, or rebuild"):
        embedded.read_embedded(tmp_path / "fashion.npz")


# how it was built

def _source(rng, each=6):
    """A small source: `each` random images of each class, an exact duplicate, and one image under two labels."""
    images = rng.integers(0, 256, (10 * each + 3, 28, 28)).astype(np.uint8)
    labels = (np.arange(10 * each + 3) % 10).astype(np.uint8)
    images[10], labels[10] = images[0], labels[0]
    images[-1], labels[-1], images[-2], labels[-2] = 7, 3, 7, 4
    return images, labels


@pytest.mark.small
def test_choose_follows_its_rule(rng):
    """Against the rule written a second time, as plainly as possible."""
    images, labels = _source(rng)
    found = building.choose(images, labels, {"train": 3, "test": 2})
    train, test = [], []
    for label in range(10):
        distinct = {image.tobytes() for image in images[labels == label]} - {bytes([7]) * 784}
        ordered = sorted(distinct, key=lambda pixels: hashlib.sha256(pixels).digest())
        train += [(pixels, label) for pixels in ordered[:3]]
        test += [(pixels, label) for pixels in ordered[3:5]]
    for split, expected in (("train", train), ("test", test)):
        expected.sort(key=lambda pair: hashlib.sha256(pair[0]).digest())
        assert found[f"{split}_images"].tobytes() == b"".join(pixels for pixels, _ in expected)
        assert found[f"{split}_labels"].tolist() == [label for _, label in expected]


@pytest.mark.small
def test_choose_does_not_see_the_order_of_the_source(rng):
    """Anyone with the 70,000 images, in whatever order, gets the same arrays."""
    images, labels = _source(rng)
    order = rng.permutation(len(labels))
    first = building.choose(images, labels, {"train": 3, "test": 2})
    second = building.choose(images[order][:, None], labels[order], {"train": 3, "test": 2})
    assert all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.small
def test_choose_refuses_bad_sources(rng):
    images, labels = _source(rng)
    with pytest.raises(ValueError, match="distinct images; 8 are needed"):
        building.choose(images, labels, {"train": 6, "test": 2})
    with pytest.raises(TypeError, match="must be uint8, not float64"):
        building.choose(images / 255, labels)
    with pytest.raises(ValueError, match=r"images must be \(N,28,28\) with labels \(N,\)"):
        building.choose(images, labels[1:])


def test_building_refuses_wrong_sources_and_writes_nothing(tmp_path, capsys, rng):
    """The command ends with status 1 and a reason, and leaves no file: not the images, not enough of them, no file at all."""
    out = tmp_path / "out.npz"
    images, labels = _source(rng)
    write_npz(tmp_path / "few.npz", {"images": images, "labels": labels})
    write_npz(tmp_path / "names.npz", {"x": images})
    fake = np.zeros((70000, 28, 28), np.uint8)
    fake[:, 0, :3] = np.arange(70000)[:, None] // [65536, 256, 1] % 256
    write_npz(tmp_path / "fake.npz", {"images": fake, "labels": (np.arange(70000) % 10).astype(np.uint8)}, compress=False)
    reasons = {"few.npz": "all 70,000 images", "names.npz": "must hold the arrays images and labels",
               "fake.npz": "not the images of Fashion-MNIST", "none.npz": "No such file"}
    for name, reason in reasons.items():
        assert building.main([str(tmp_path / name), "--out", str(out)]) == 1
        assert reason in capsys.readouterr().err
    assert not out.exists()


# numbers and batches

@pytest.mark.small
def test_as_input_is_x_over_255():
    """All 256 bytes: float32, the nearest float32 to x/255 within one rounding, and back without loss."""
    images = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    x = tc.data.as_input(images)
    assert x.dtype == np.float32 and x.min() == 0 and x.max() == 1
    assert np.array_equal(x, (images / 255.0).astype(np.float32))
    assert np.array_equal(np.rint(x * 255), images)


@pytest.mark.small
@pytest.mark.parametrize("bad, error, match", [
    (np.zeros((1, 1, 2, 2), np.float32), TypeError, "must be uint8 .* not float32"),
    (np.zeros((1, 1, 2, 2), np.int8), TypeError, "must be uint8 .* not int8"),
    (np.zeros((1, 28, 28), np.uint8), ValueError, r"four axes \(N,C,H,W\), not shape \(1, 28, 28\)"),
    (np.zeros((0, 1, 28, 28), np.uint8), ValueError, "must not be empty"),
    ([[[[1]]]], TypeError, "must be a NumPy array, not list"),
])
def test_as_input_refuses(bad, error, match):
    with pytest.raises(error, match=match):
        tc.data.as_input(bad)


@pytest.mark.small
@pytest.mark.parametrize("n, batch_size", [(10, 3), (10, 5), (10, 10), (10, 11), (1, 1)])
@pytest.mark.parametrize("shuffled", [False, True])
def test_batches_hand_out_each_image_once(n, batch_size, shuffled):
    """Every image with its own label, exactly once; sizes full but for the last; `drop_last` leaves the rest away."""
    images, labels = np.arange(n * 4, dtype=np.uint8).reshape(n, 1, 2, 2), np.arange(n)
    rng = np.random.default_rng(3) if shuffled else None
    found = list(tc.data.batches(images, labels, batch_size, rng))
    assert [len(y) for _, y in found] == [batch_size] * (n // batch_size) + [n % batch_size] * (n % batch_size > 0)
    order = np.concatenate([y for _, y in found])
    assert sorted(order) == list(range(n)) and (shuffled or order.tolist() == list(range(n)))
    assert all(np.array_equal(x, images[y]) for x, y in found)
    if batch_size <= n:
        found = list(tc.data.batches(images, labels, batch_size, drop_last=True))
        assert [len(y) for _, y in found] == [batch_size] * (n // batch_size)


@pytest.mark.small
def test_shuffling_is_the_generators():
    """Same seed, same order; the next epoch of the same Generator, another one; abandoning an epoch changes nothing in it."""
    images, labels = np.zeros((50, 1, 1, 1), np.uint8), np.arange(50)

    def epoch(rng):
        return np.concatenate([y for _, y in tc.data.batches(images, labels, 8, rng)]).tolist()

    first, second = np.random.default_rng(5), np.random.default_rng(5)
    assert epoch(first) == epoch(second)
    next(iter(tc.data.batches(images, labels, 8, second)))
    epoch(first)
    assert epoch(first) == epoch(second) != epoch(first)


@pytest.mark.small
def test_batches_augment():
    """`augment` sees the batch and the Generator, and its result is what comes out; the stored images stay as they are."""
    images, labels = np.ones((5, 1, 4, 4), np.uint8), np.arange(5)
    seen = []

    def augment(x, rng):
        seen.append((len(x), rng))
        return x * 2

    rng = np.random.default_rng(0)
    assert all((x == 2).all() for x, _ in tc.data.batches(images, labels, 2, rng, augment))
    assert seen == [(2, rng), (2, rng), (1, rng)] and (images == 1).all()


@pytest.mark.small
def test_batches_refuse_before_the_first_batch():
    """At the call, where the mistake is, not at the first `next`."""
    images, labels = np.zeros((4, 1, 2, 2), np.uint8), np.arange(4)
    for batch_size in (0, -1, 1.5, True, None):
        with pytest.raises(ValueError, match="batch_size must be an integer of at least 1, not"):
            tc.data.batches(images, labels, batch_size)
    with pytest.raises(ValueError, match=r"labels must be \(4,\), one for each image, not \(3,\)"):
        tc.data.batches(images, labels[:3], 2)
    with pytest.raises(ValueError, match="must not be empty"):
        tc.data.batches(images[:0], labels[:0], 2)
    with pytest.raises(TypeError, match="rng must be a numpy.random.Generator"):
        tc.data.batches(images, labels, 2, rng=0)
    with pytest.raises(ValueError, match="augment needs rng"):
        tc.data.batches(images, labels, 2, augment=tc.data.random_flip)
    with pytest.raises(ValueError, match="leaves nothing of 4 images"):
        tc.data.batches(images, labels, 5, drop_last=True)


# augmentation

@pytest.mark.small
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_random_crop_is_a_shift(rng, dtype):
    """Each result is one of the (2P+1)² shifts of its image, by a plain loop; every shift comes up; channels move together."""
    images = (1 + np.arange(400 * 2 * 3 * 4) % 200).reshape(400, 2, 3, 4).astype(dtype)
    kept = images.copy()
    found = tc.data.random_crop(images, rng, padding=1)
    assert found.shape == images.shape and found.dtype == dtype and np.array_equal(images, kept)
    seen = set()
    for image, crop in zip(images, found):
        matches = []
        for a, b in itertools.product(range(3), range(3)):
            shifted = np.zeros_like(image)
            for h, w in itertools.product(range(3), range(4)):
                if 0 <= h + a - 1 < 3 and 0 <= w + b - 1 < 4:
                    shifted[:, h, w] = image[:, h + a - 1, w + b - 1]
            if np.array_equal(shifted, crop):
                matches.append((a, b))
        assert len(matches) == 1
        seen.update(matches)
    assert len(seen) == 9


@pytest.mark.small
def test_random_crop_without_padding_copies(rng):
    images = rng.integers(0, 256, (3, 1, 5, 5)).astype(np.uint8)
    found = tc.data.random_crop(images, rng, padding=0)
    assert np.array_equal(found, images) and not np.shares_memory(found, images)


@pytest.mark.small
def test_random_flip_mirrors_about_half(rng):
    """Each image is itself or its mirror image; with probability 0 and 1 exactly none and all.

    With 1/2 the count is binomial: within 5 standard deviations, sqrt(n/4) each.
    """
    images = rng.integers(0, 256, (1000, 3, 2, 5)).astype(np.uint8)
    mirror = images[:, :, :, ::-1]
    found = tc.data.random_flip(images, rng)
    same = (found == images).all((1, 2, 3))
    assert (same | (found == mirror).all((1, 2, 3))).all()
    assert abs(same.sum() - 500) <= 5 * np.sqrt(1000 * 0.25)
    assert np.array_equal(tc.data.random_flip(images, rng, 0), images)
    assert np.array_equal(tc.data.random_flip(images, rng, 1), mirror)


@pytest.mark.small
def test_augmentation_refuses(rng):
    images = np.zeros((2, 1, 4, 4), np.uint8)
    for padding in (-1, 0.5, True):
        with pytest.raises(ValueError, match="padding must be an integer of at least 0, not"):
            tc.data.random_crop(images, rng, padding)
    for probability in (-0.1, 50, float("nan")):
        with pytest.raises(ValueError, match=r"probability must be a fraction in \[0, 1\], not"):
            tc.data.random_flip(images, rng, probability)
    for function in (tc.data.random_crop, tc.data.random_flip):
        with pytest.raises(ValueError, match=r"four axes \(N,C,H,W\), not \(1, 4, 4\)"):
            function(images[0], rng)
        with pytest.raises(TypeError, match="rng must be a numpy.random.Generator"):
            function(images, 0)


# drawn shapes

@pytest.mark.small
def test_shapes_are_what_they_say():
    """Shape, dtype, balance for every remainder of n, and class names without repetition."""
    for n in (1, 9, 10, 37):
        images, labels = tc.data.shapes(n, seed=1)
        assert images.shape == (n, 3, 32, 32) and images.dtype == np.uint8 and labels.shape == (n,) and labels.dtype == np.uint8
        counts = np.bincount(labels, minlength=10)
        assert counts.max() - counts.min() <= 1
    assert len(set(tc.data.SHAPE_CLASSES)) == 10


@pytest.mark.small
def test_shapes_repeat_by_seed():
    """Same seed: same bytes, with an integer and with a Generator in the same state; another seed: others."""
    images, labels = tc.data.shapes(30, 7)
    again, labels_again = tc.data.shapes(30, np.random.default_rng(7))
    other, _ = tc.data.shapes(30, 8)
    assert np.array_equal(images, again) and np.array_equal(labels, labels_again) and not np.array_equal(images, other)


def test_shapes_are_quick():
    """1,000 images in under a second of processor time (best of three: another process may hold the machine)."""
    seconds = []
    for _ in range(3):
        begun = time.process_time()
        tc.data.shapes(1000, 0)
        seconds.append(time.process_time() - begun)
    assert min(seconds) < 1


def _nearest_centroid_accuracy(difficulty):
    """How many of 400 test shapes the nearest class mean (of 2,000 standardised images) gets right: no training, no luck."""
    def silhouette(images):
        outer = np.concatenate([images[:, :, :2], images[:, :, -2:]], axis=2)  # (N,3,4,32)
        ground = outer.mean((2, 3), keepdims=True)  # (N,3,1,1)
        away = np.linalg.norm(images - ground, axis=1).reshape(len(images), -1)  # each pixel's colour from the ground's: (N,1024)
        away -= away.mean(1, keepdims=True)
        return away / (np.linalg.norm(away, axis=1, keepdims=True) + 1e-9)

    (train, labels), (test, answers) = tc.data.shapes(2000, 0, difficulty), tc.data.shapes(400, 1, difficulty)
    means = np.stack([silhouette(train[labels == k]).mean(0) for k in range(10)])
    return float((np.argmax(silhouette(test) @ means.T, axis=1) == answers).mean())


def test_difficulty_is_difficulty():
    """A classifier without training: almost always right on the easiest, worse in the middle, worse again on the hardest."""
    easy, middle, hard = (_nearest_centroid_accuracy(difficulty) for difficulty in (0, 0.5, 1))
    assert easy > 0.95 and easy > middle + 0.1 and middle > hard + 0.1


@pytest.mark.small
def test_shapes_refuse():
    for n in (0, -1, 2.5, True, None):
        with pytest.raises(ValueError, match="n must be an integer of at least 1, not"):
            tc.data.shapes(n, 0)
    with pytest.raises(TypeError, match="seed must be an integer or a numpy.random.Generator"):
        tc.data.shapes(10, None)
    for difficulty in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match=r"difficulty must be a fraction in \[0, 1\], not"):
            tc.data.shapes(10, 0, difficulty)
