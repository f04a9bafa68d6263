"""What several networks share: how widths are rounded and weights begin, and what a printed number says."""
from typing import NamedTuple

import numpy as np

from .. import nn


class Printed(NamedTuple):
    """One number as a paper, its authors or torchvision print it, and how it comes about. `agrees` compares it with a count.

    network, options, size   the builder, what it is given, and the pictures' height and width
    quantity, text           "macs" or "params", and what is printed: "569 M"
    convention               one of `tinyconv.cost.CONVENTIONS` ("paper": convolution and linear layers, padding taps counted);
                             for params "all", or "no norm" (without BatchNorm's γ and β)
    rounding                 "nearest", "down" where digits were cut off, "up" where the next one is printed
    source                   where it stands; [mem] marks a figure quoted from memory
    """

    network: str
    quantity: str
    text: str
    source: str
    convention: str = "paper"
    size: int = 224
    options: dict = {}
    rounding: str = "nearest"

    def agrees(self, count):
        """Does `count` print as `text`? "569 M" is 568.5 to 569.5 million; rounded down, 569 to 570.

        >>> row = Printed("mobilenet_v1", "macs", "569 M", "Howard et al. 2017, Table 6")
        >>> row.agrees(568_740_352), row.agrees(569_600_000)
        (True, False)
        """
        number, _, unit = self.text.partition(" ")
        last = 10.0 ** -len(number.partition(".")[2])                          # one unit of the last digit
        above = count / {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}[unit] - float(number)
        low, high = {"nearest": (-last / 2, last / 2), "down": (0, last), "up": (-last, 0)}[self.rounding]
        return low <= above <= high


def make_divisible(channels, divisor=8):
    """The nearest multiple of `divisor`, at least `divisor`, never more than a tenth below `channels` (the authors' rule).

    >>> make_divisible(33), make_divisible(26.0), make_divisible(3)
    (32, 24, 8)
    """
    if not 0 < channels < float("inf"):
        raise ValueError(f"channels must be above 0 and finite (is width_mult?), not {channels}")
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def scaled(channels, width_mult, divisor=1):
    """width_mult times `channels`, to the nearest multiple of `divisor`, at least one of them. Errors: ValueError.

    >>> scaled(64, 1.0), scaled(64, 0.3), scaled(58, 0.25, 2), scaled(3, 0.01)
    (64, 19, 14, 1)
    """
    _check_width(width_mult)
    return divisor * max(1, round(channels * width_mult / divisor))


def cut(channels, width_mult):
    """width_mult times `channels`, digits behind the point cut off, at least one of them. Errors: ValueError.

    >>> cut(64, 1.0), cut(64, 0.3), cut(3, 0.01)
    (64, 19, 1)
    """
    _check_width(width_mult)
    return max(1, int(channels * width_mult))


def _check_width(width_mult):
    if not 0 < width_mult < float("inf"):
        raise ValueError(f"width_mult must be a positive number, not {width_mult}")


def begin_fan_out(model, rng):
    """Every convolution of `model` begins as torchvision's residual and mobile networks do: weights normal with variance
    2 / (F KH KW) (He et al. 2015, equation 14), biases 0.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data = nn.init.kaiming_normal(module.weight.shape, mode="fan_out", nonlinearity="relu", rng=rng)
            if module.bias is not None:
                module.bias.data = np.zeros(module.bias.shape, np.float32)


def begin_linear(linear, rng, std=0.01):
    """A linear layer (or the convolution that takes its place): weights normal with deviation `std`, biases 0."""
    linear.weight.data = nn.init.normal(linear.weight.shape, std, rng)
    linear.bias.data = np.zeros(linear.bias.shape, np.float32)
