"""From stored bytes to what a network takes: float32 x/255, and one epoch in batches."""
import numpy as np


def as_input(images):
    """Bytes to numbers, in this one place: float32 x/255, so that every pixel lies in [0, 1].

    images uint8 (N,C,H,W) -> float32 (N,C,H,W). Every network here is trained, tested, quantized and served on exactly this.
    Invariant: `np.rint(as_input(x) * 255) == x` exactly.
    Errors: TypeError unless dtype is uint8 (scaled data must not be scaled twice); ValueError unless four axes, N >= 1.

    >>> tc.data.as_input(np.full((1, 1, 1, 2), 51, np.uint8))
    array([[[[0.2, 0.2]]]], dtype=float32)
    """
    _check_images(images)
    if images.dtype != np.uint8:
        raise TypeError(f"images must be uint8 (0..255, not yet scaled), not {images.dtype}")
    return np.divide(images, np.float32(255), dtype=np.float32)  # (N,C,H,W)


def batches(images, labels, batch_size, rng=None, augment=None, drop_last=False):
    """One epoch: an iterator of (images, labels), at most `batch_size` of them at a time, each once.

    images (N,C,H,W) of any dtype, labels (N,). With a Generator as `rng` the order is shuffled (drawn anew for each call);
    without, it is the order given. `augment(images, rng) -> images` is applied to each batch. The last batch holds what is left,
    unless `drop_last`. Same Generator state, same batches. All arguments are checked here and now, not at the first batch.
    Errors: TypeError, ValueError for anything else: no images, labels of another length, batch_size < 1, augment without rng.

    >>> images, labels = np.zeros((5, 1, 2, 2), np.uint8), np.arange(5)
    >>> [y.tolist() for x, y in tc.data.batches(images, labels, 2)]
    [[0, 1], [2, 3], [4]]
    """
    _check_images(images)
    if np.shape(labels) != images.shape[:1]:
        raise ValueError(f"labels must be ({len(images)},), one for each image, not {np.shape(labels)}")
    if isinstance(batch_size, bool) or not hasattr(batch_size, "__index__") or batch_size < 1:
        raise ValueError(f"batch_size must be an integer of at least 1, not {batch_size!r}")
    if rng is not None and not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng must be a numpy.random.Generator, such as np.random.default_rng(0), or None; not {rng!r}")
    if augment is not None and rng is None:
        raise ValueError("augment needs rng: random crops and flips are drawn from a Generator")
    if drop_last and batch_size > len(images):
        raise ValueError(f"batch_size {batch_size} with drop_last leaves nothing of {len(images)} images")
    order = np.arange(len(images)) if rng is None else rng.permutation(len(images))
    return _batches(images, np.asarray(labels), int(batch_size), order, rng, augment, drop_last)


def _batches(images, labels, batch_size, order, rng, augment, drop_last):
    """The generator behind `batches`, its arguments already checked."""
    stop = len(order) - len(order) % batch_size if drop_last else len(order)
    for begin in range(0, stop, batch_size):
        index = order[begin:begin + batch_size]
        chosen = images[index]  # (B,C,H,W)
        yield chosen if augment is None else augment(chosen, rng), labels[index]


def _check_images(images):
    """An array of four axes with something in it."""
    if not isinstance(images, np.ndarray):
        raise TypeError(f"images must be a NumPy array, not {type(images).__name__}")
    if images.ndim != 4:
        raise ValueError(f"images must have four axes (N,C,H,W), not shape {images.shape}")
    if images.size == 0:
        raise ValueError(f"images must not be empty, but their shape is {images.shape}")
