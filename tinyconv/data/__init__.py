"""Floor 4: images to learn from, always uint8 (N,C,H,W) with labels uint8 (N,), and the ways to feed them.

    fashion(split)               12,000 images of Fashion-MNIST that travel in the package (10 classes, 1x28x28)
    fashion(split, root=…)       all 70,000, from the official files; mnist(root, split) likewise (IDX, packed or plain)
    cifar10(root, split)         60,000 photographs (10 classes, 3x32x32), from the binary version's files
    shapes(n, seed)              drawn shapes, as many as wanted, as difficult as wanted (10 classes, 3x32x32)
    as_input(images)             the one place where bytes become numbers: float32 x/255
    batches(images, labels, ..)  one epoch, shuffled by a Generator
    random_crop, random_flip     augmentation, whole batches at a time

`python -m tinyconv.data.building` rebuilds the embedded images from all 70,000.
"""
from .augmenting import random_crop, random_flip
from .batching import as_input, batches
from .cifar import CIFAR10_CLASSES, cifar10
from .embedded import CLASSES, fashion
from .idx import mnist, read_idx
from .synthetic import SHAPE_CLASSES, shapes

__all__ = [
    "CIFAR10_CLASSES", "CLASSES", "SHAPE_CLASSES", "as_input", "batches", "cifar10", "fashion", "mnist", "random_crop",
    "random_flip", "read_idx", "shapes",
]
