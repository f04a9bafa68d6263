"""Measuring networks side by side: milliseconds an image as medians of alternating runs; how many threads compute meanwhile."""
import contextlib
import statistics
import time

import numpy as np

from .. import graph, kernels, train


@contextlib.contextmanager
def threads_used(n=None):
    """Inside, kernels use n threads (None: as many as they did). Errors: kernels.set_num_threads', for what is no number of them.

    >>> with threads_used(1):
    ...     tc.get_num_threads()
    1
    """
    before = kernels.get_num_threads()
    kernels.set_num_threads(before if n is None else n)
    try:
        yield
    finally:
        kernels.set_num_threads(before)


def milliseconds_per_image(networks, images, rounds=7, batch=100):
    """name -> median milliseconds an image over `rounds` runs of one batch, the networks taking turns (a slow moment hits all).

    networks: name -> Graph. BatchNorm folded where it can be, as anyone would run them. The first, uncounted round warms up.
    """
    x = train.as_batch(np.asarray(images[:batch]))
    ready = {name: graph.fold_batch_norms(g) for name, g in networks.items()}
    times = {name: [] for name in ready}
    for turn in range(rounds + 1):
        for name, g in ready.items():
            begin = time.perf_counter()
            graph.run(g, x)
            if turn:
                times[name].append((time.perf_counter() - begin) * 1000 / len(x))
    return {name: statistics.median(values) for name, values in times.items()}
