"""How sparsity grows while a network trains on: a little at a time, so that what is left can take over.

    t = (step - begin)/(end - begin), clipped to [0, 1]
    cubic    s_f + (s_i - s_f)(1 - t)³        much at first, when much is redundant; the last steps take little
    linear   s_f + (s_i - s_f)(1 - t)         the same at every step
Sparsity is a fraction of all weights (or filters) there were at the start, never of those that are left; both give exactly s_i up
to `begin` and exactly s_f from `end` on, and lie between them elsewhere. Source: Zhu & Gupta, "To prune, or not to prune" (2018), equation 1.
"""
from .._checks import fraction, whole


def _way(step, begin, end):
    """1 - t: the part of the way that is left, in [0, 1]."""
    begin = whole(begin, "begin", 0)
    end = whole(end, "end", begin + 1)
    return (end - min(max(whole(step, "step", 0), begin), end)) / (end - begin)


def _between(initial, final, left):
    """final + (initial - final)·left, so written that both ends are exact."""
    return fraction(initial, "initial") * left + fraction(final, "final") * (1 - left)


def cubic_sparsity(step, end, final, initial=0.0, begin=0):
    """The sparsity at `step`: s_f + (s_i - s_f)(1 - t)³, from `initial` at step `begin` to `final` at step `end`.

    Errors: ValueError for sparsities outside [0, 1], or unless 0 <= begin < end.

    >>> [tc.compress.prune.cubic_sparsity(step, 4, 0.64) for step in (0, 1, 2, 4, 9)]
    [0.0, 0.37, 0.56, 0.64, 0.64]
    """
    return _between(initial, final, _way(step, begin, end) ** 3)


def linear_sparsity(step, end, final, initial=0.0, begin=0):
    """The sparsity at `step`: s_f + (s_i - s_f)(1 - t), from `initial` at step `begin` to `final` at step `end`.

    Errors: ValueError for sparsities outside [0, 1], or unless 0 <= begin < end.

    >>> [tc.compress.prune.linear_sparsity(step, 4, 0.75, initial=0.25) for step in range(5)]
    [0.25, 0.375, 0.5, 0.625, 0.75]
    """
    return _between(initial, final, _way(step, begin, end))
