"""Executed multiplications and additions, counted by running the very loops on numbers that count.

A counting number is a float that tells a tally of every * and + done to it. `count` hands arrays of them to the *source* of a
plain kernel (compiled code cannot count), so that what is counted is the page a reader reads. Closed form == this: the proof.
"""
from typing import NamedTuple

import numpy as np


class Executed(NamedTuple):
    """What was executed: multiplications and additions."""

    multiplications: int
    additions: int


class CountingNumber:
    """A number that tells its tally (a list [multiplications, additions]) of each operation; values behave as floats."""

    __slots__ = ("value", "tally")

    def __init__(self, value, tally):
        self.value, self.tally = value, tally

    def _other(self, other):
        return other.value if isinstance(other, CountingNumber) else other

    def __mul__(self, other):
        self.tally[0] += 1
        return CountingNumber(self.value * self._other(other), self.tally)

    def __add__(self, other):
        self.tally[1] += 1
        return CountingNumber(self.value + self._other(other), self.tally)

    def __sub__(self, other):
        self.tally[1] += 1
        return CountingNumber(self.value - self._other(other), self.tally)

    def __rsub__(self, other):
        self.tally[1] += 1
        return CountingNumber(other - self.value, self.tally)

    __rmul__, __radd__ = __mul__, __add__

    def __neg__(self):
        return CountingNumber(-self.value, self.tally)

    def __float__(self):
        return float(self.value)

    def __gt__(self, other):
        return self.value > self._other(other)

    def __lt__(self, other):
        return self.value < self._other(other)

    def __eq__(self, other):
        return self.value == self._other(other)


def counting(array, tally):
    """An object array of counting numbers with the values of `array`."""
    made = np.empty(array.shape, object)
    for index in np.ndindex(array.shape):
        made[index] = CountingNumber(float(array[index]), tally)
    return made


def count(kernel, *arguments):
    """Run `kernel`'s source on counting numbers; returns Executed(multiplications, additions).

    Floating-point arrays become arrays of counting numbers (outputs among them, which the kernel must be given zeroed); integers
    and integer arrays pass through. Slow on purpose: use small shapes.

    >>> from tinyconv.kernels import gemm
    >>> tc.cost.count(gemm.product, np.ones((2, 3)), np.ones((3, 4)), np.zeros((2, 4)))
    Executed(multiplications=24, additions=24)
    """
    from ..kernels import _jit
    tally = [0, 0]
    made = [counting(a, tally) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a for a in arguments]
    _jit.source(kernel)(*made)
    return Executed(*tally)
