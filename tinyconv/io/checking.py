"""What both formats ask of the arrays they are given: a dictionary, names, numbers, all finite."""
import numpy as np


def check_arrays(path, arrays, kinds="biuf"):
    """A dict of plain ndarrays, each of a dtype kind in `kinds`; anything else is an error naming file and entry.

    Errors: TypeError unless `arrays` is a dict of str -> array of numbers (object arrays would need pickle: refused).
    """
    if not isinstance(arrays, dict):
        raise TypeError(f"{path}: arrays must be a dict of name -> array, not {type(arrays).__name__}")
    checked = {}
    for name, value in arrays.items():
        if not isinstance(name, str):
            raise TypeError(f"{path}: the name of an array must be a str, not {name!r}")
        if not isinstance(value, (np.ndarray, np.generic)):
            raise TypeError(f"{path}: entry {name!r} must be a NumPy array, not {type(value).__name__}")
        if value.dtype.kind not in kinds:
            raise TypeError(f"{path}: entry {name!r} has dtype {value.dtype}, and only plain numbers are kept")
        checked[name] = np.asarray(value)
    return checked


def check_finite(path, name, array):
    """No NaN and no infinity among the entries of an array of floats: a checkpoint that holds one is no checkpoint.

    Errors: ValueError naming file, entry, how many and the first position.
    """
    if array.dtype.kind not in "fc" or np.isfinite(array).all():
        return
    bad = np.argwhere(~np.isfinite(array))
    first = tuple(int(i) for i in bad[0])
    raise ValueError(f"{path}: entry {name!r}: {len(bad)} of {array.size} values are NaN or infinite, the first at {first}; "
                     "allow_nonfinite=True lets them pass")
