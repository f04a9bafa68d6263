"""How numbers are spread: histograms under each other on one axis, to see what a transform did to them."""
import numpy as np

from .canvas import COLOURS, finish, panels


def histograms(samples, x="value", bins=300, title="", log=False):
    """One histogram a sample, under each other, all over the same range and bins, so that they can be compared by eye.

    samples: name -> array of any shape. log: counts on a logarithmic axis (zeros then stand out less). Returns the figure.
    Errors: ValueError for no samples, or an array that is empty or not finite.

    >>> tc.draw.histograms({"before": np.arange(9.0), "after": np.arange(9.0) // 3 * 3}, bins=9).axes[1].get_title(loc="left")
    'after'
    """
    arrays = {name: np.asarray(a, np.float64).ravel() for name, a in samples.items()}
    if not arrays or any(not a.size or not np.isfinite(a).all() for a in arrays.values()):
        raise ValueError(f"samples must hold at least one array, none empty, all finite; they are {', '.join(arrays) or 'none'}")
    low, high = min(a.min() for a in arrays.values()), max(a.max() for a in arrays.values())
    edges = np.linspace(low, high, bins + 1) if high > low else np.linspace(low - 0.5, high + 0.5, bins + 1)
    figure, rows = panels(1, len(arrays), size=(8.4, 1.9), sharex=True)
    for axes, (name, a), colour in zip(rows, arrays.items(), COLOURS * len(arrays)):
        axes.hist(a, edges, color=colour, log=log)
        finish(axes, name, x if axes is rows[-1] else "", "how many")
    if title:
        figure.suptitle(title, fontsize=12, x=0.01, ha="left")
    return figure
