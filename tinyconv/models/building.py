"""What several networks share: the rule by which widths are rounded."""


def make_divisible(channels, divisor=8):
    """The nearest multiple of `divisor`, at least `divisor`, never more than a tenth below `channels` (the authors' rule).

    >>> make_divisible(33), make_divisible(26.0), make_divisible(3)
    (32, 24, 8)
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded
