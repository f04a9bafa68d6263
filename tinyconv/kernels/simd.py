"""Vectors a reader can run: what one machine instruction does to LANES numbers at once, first in NumPy, then as the instruction.

A processor multiplies not one float32 but a whole register of them: 16 with AVX-512, 8 with AVX2, 4 with NEON. A compiler finds
such vectors in simple loops; in the loops that matter most (many running sums kept in registers) it does not. So kernels say
what they mean with the functions of this page: `load`, `store`, `fma`, … Each is three lines of NumPy, which is what runs with
NUMBA_DISABLE_JIT=1, in a debugger and in print. Compiled, numba's `overload` puts one instruction in its place.

    v = load(x, at)            LANES neighbours of the flat array x, from position `at`
    acc = fma(a, b, acc)       a * b + acc, rounded once: the instruction whose rate is a processor's peak
    store(y, at, acc)

The masked forms `load_n`, `store_n` touch only the first n numbers: the edge of an array needs no loop of its own.
Source of the idea: Intel, "64 and IA-32 Architectures Optimization Reference Manual", chapter on AVX-512 masking.
"""
import ctypes

import numpy as np
from numba.core import config

from ._jit import host_features


def lanes_and_registers(features):
    """(float32 numbers in one vector register, how many such registers) of a processor, from its feature names.

    >>> lanes_and_registers({"avx512f", "avx2"}), lanes_and_registers({"avx2", "fma"}), lanes_and_registers({"neon"})
    ((16, 32), (8, 16), (4, 32))
    """
    if "avx512f" in features:
        return 16, 32
    return (8, 16) if "avx2" in features or "avx" in features else (4, 32)


LANES, REGISTERS = lanes_and_registers(host_features())


# ---- what each operation means: one vector is an array of LANES float32 -------------------------------------------------------

def load(x, at):
    """LANES neighbours of the flat array x, from position `at`."""
    return x[at:at + LANES].copy()


def load_n(x, at, n):
    """The first n of them; the other lanes are 0, and what lies there is not read."""
    v = np.zeros(LANES, x.dtype)
    n = min(max(n, 0), LANES)
    v[:n] = x[at:at + n]
    return v


def store(x, at, v):
    """Write a vector to LANES neighbours of x."""
    x[at:at + LANES] = v


def store_n(x, at, v, n):
    """Write only its first n lanes."""
    n = min(max(n, 0), LANES)
    x[at:at + n] = v[:n]


def turn(x, at, step, y, rows, q, to):
    """LANES vectors of x, `step` apart, are the rows of a square; its columns go to y[rows[q + i] + to …]."""
    square = np.stack([x[at + i * step:at + i * step + LANES] for i in range(LANES)])                 # (LANES, LANES)
    for i in range(LANES):
        y[rows[q + i] + to:rows[q + i] + to + LANES] = square[:, i]


def splat(s):
    """The number s in every lane."""
    return np.full(LANES, s, np.float32)


def fma(a, b, c):
    """a * b + c in every lane, rounded once (NumPy rounds twice: results may differ in the last bit)."""
    return a * b + c


def lower(a, b):
    """b where it is smaller than a, else a, lane by lane: a NaN in a goes through."""
    return np.where(b < a, b, a)


def higher(a, b):
    """b where it is larger than a, else a, lane by lane: a NaN in a goes through."""
    return np.where(b > a, b, a)


def numbers_at(address, n):
    """The n float32 numbers that lie in memory from `address` on, as a flat array that is no copy: for kernels given a table of arrays."""
    return np.ctypeslib.as_array((ctypes.c_float * int(n)).from_address(int(address)))


from . import _lower_simd  # noqa: E402,F401  the instructions behind these functions: numba must know them before a kernel is compiled

if not config.DISABLE_JIT:
    numbers_at = _lower_simd.numbers_at      # the instruction by itself: no function compiled without reference counts may return an array
