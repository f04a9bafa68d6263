"""Which ranges the values inside a network have: calibration pictures run through it, and every value is looked at.

    "min-max"          smallest and largest value of all          "moving-average"   of every batch, averaged exponentially
    "percentile"       all but one value in ten thousand          "mse"   the width of the least squared error at so many bits
    "kl"               the width whose histogram tells least against the true one
The formulas: compress/quantize/calibration. All ranges are extended to hold 0.
"""
import numpy as np

from .. import train
from ..compress import quantize as pure
from ..graph import run

CALIBRATORS = {                                # what is noted of every batch, and how a range is searched in it
    "min-max": (pure.observe_min_max, None),
    "moving-average": (pure.observe_moving_average, None),
    "percentile": (pure.observe_histogram, lambda samples, bits: pure.range_by_percentile(samples[0], 0.9999, samples[1])),
    "mse": (pure.observe_histogram, lambda samples, bits: pure.range_by_mse(samples[0], bits, weights=samples[1])),
    "kl": (pure.observe_histogram, lambda samples, bits: pure.range_by_kl(samples[0], bits, weights=samples[1])),
}


def calibrate(g, images, batch_size=100, observe=pure.observe_min_max):
    """name -> (min, max) of every value while calibration pictures run through the graph.

    Errors: ValueError for no pictures, or values that are not finite (naming the value).
    """
    ranges = {}

    def look(node, outputs):
        for name, y in zip(node.outputs, outputs):
            if isinstance(y, np.ndarray) and y.dtype.kind == "f":
                ranges[name] = _observed(ranges.get(name), y, name, observe)
    images = np.asarray(images)
    if images.dtype.kind not in "fu" or images.ndim < 2 or len(images) < 1:
        given = f"{images.dtype} of shape {images.shape}"
        raise ValueError(f"calibration must be pictures, uint8 or floats, at least one, not {given}")
    for at in range(0, len(images), batch_size):
        x = train.as_batch(images[at:at + batch_size])
        for name in g.inputs:
            ranges[name] = _observed(ranges.get(name), x, name, observe)
        run(g, x, each=look)
    return ranges


def _observed(seen, x, name, observe):
    if not np.isfinite(x).all():
        raise ValueError(f"calibration: {name} is not finite (NaN or infinity); look at the pictures and weights")
    return observe(seen, x)


def ranges_of(g, calibration, points, calibrator="mse", batch_size=100):
    """value -> (low, high) for `points`, value -> bits (None: 8 bits for every value), from calibration pictures, by the calibrator named.

    A value that never changes has no range to search: it gets the one that holds it. Errors: those of `calibrate`; ValueError for an unknown
    calibrator, and for pictures that are all one constant.
    """
    if calibrator not in CALIBRATORS:
        raise ValueError(f"calibrator must be one of {', '.join(CALIBRATORS)}, not {calibrator!r}")
    calibration = np.asarray(calibration)
    if calibration.dtype.kind in "fu" and calibration.size and (calibration == calibration.flat[0]).all():
        raise ValueError(f"calibration must be pictures with different pixels, not {calibration.flat[0]} everywhere: there is no "
                         "range in them")
    observe, search = CALIBRATORS[calibrator]
    seen = calibrate(g, calibration, batch_size, observe)
    found = {}
    for name, bits in (dict.fromkeys(seen, 8) if points is None else points).items():
        if search is None:
            found[name] = seen[name]
            continue
        samples = pure.samples_of(seen[name])
        found[name] = search(samples, bits) if len(samples[0]) > 1 else (samples[0][0], samples[0][0])
    return {name: (min(float(low), 0.0), max(float(high), 0.0)) for name, (low, high) in found.items()}
