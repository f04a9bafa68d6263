"""Augmentation: small changes that leave the label as it is. Pure functions of a whole batch and a Generator."""
import numpy as np


def random_crop(images, rng, padding=2):
    """Shift each image by up to `padding` pixels: pad with zeros on every side, cut a window of the old size at a random place.

    y[n,c,h,w] = padded[n, c, h + a_n, w + b_n] with a_n, b_n uniform on 0..2·padding, the same for all channels.
    images (N,C,H,W) of any dtype -> the same shape and dtype; the input is not changed. padding 0 copies.
    Errors: TypeError, ValueError for other arguments. Source: Lee et al., arXiv:1409.5185 (2014), the usual CIFAR recipe.
    """
    _check(images, rng)
    if isinstance(padding, bool) or not hasattr(padding, "__index__") or padding < 0:
        raise ValueError(f"padding must be an integer of at least 0, not {padding!r}")
    n, _, h, w = images.shape
    padded = np.pad(images, ((0, 0), (0, 0), (padding, padding), (padding, padding)))  # (N,C,H+2P,W+2P)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (h, w), axis=(2, 3))  # (N,C,2P+1,2P+1,H,W), a view
    a, b = rng.integers(0, 2 * padding + 1, (2, n))  # (N,), (N,)
    return windows[np.arange(n), :, a, b]  # (N,C,H,W)


def random_flip(images, rng, probability=0.5):
    """Mirror each image left to right with the given probability.

    y[n,c,h,w] = x[n, c, h, W-1-w] for the images drawn, x itself for the others.
    images (N,C,H,W) of any dtype -> the same shape and dtype; the input is not changed.
    Errors: TypeError, ValueError for other arguments.
    """
    _check(images, rng)
    if not 0 <= probability <= 1:
        raise ValueError(f"probability must be a fraction in [0, 1], not {probability!r}")
    mirrored = rng.random(len(images)) < probability  # (N,)
    return np.where(mirrored[:, None, None, None], images[..., ::-1], images)  # (N,C,H,W)


def _check(images, rng):
    """Four axes, and a Generator."""
    if not isinstance(images, np.ndarray) or images.ndim != 4:
        raise ValueError(f"images must be an array of four axes (N,C,H,W), not {getattr(images, 'shape', type(images).__name__)}")
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng must be a numpy.random.Generator, such as np.random.default_rng(0), not {rng!r}")
