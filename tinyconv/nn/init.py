"""How weights begin: so that the size of the signal stays the same from layer to layer, forward (fan in) or backward (fan out).

    Kaiming (He et al. 2015, equations 10 and 14):    Var w = gain² / fan,               gain² = 2 for ReLU
    Xavier (Glorot & Bengio 2010, equation 16):       Var w = gain² 2 / (fan_in + fan_out)
fan_in = (C/G) KH KW numbers go into one output, fan_out = F KH KW in PyTorch's convention (per group: F/G in truth).
A uniform distribution on [-a, a] has variance a²/3. `rng`: None (fresh), a seed, or a numpy.random.Generator.
"""
import contextlib
import math
import threading

import numpy as np

GAINS = {"linear": 1.0, "conv2d": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2.0)}


def gain_of(nonlinearity, a=0.0):
    """The factor by which a nonlinearity shrinks the signal's size, inverted; leaky ReLU of slope a: sqrt(2 / (1 + a²)).

    >>> round(gain_of("relu"), 4)
    1.4142
    """
    if nonlinearity == "leaky_relu":
        return math.sqrt(2 / (1 + a * a))
    if nonlinearity not in GAINS:
        raise ValueError(f"nonlinearity must be one of leaky_relu, {', '.join(GAINS)}, not {nonlinearity!r}")
    return GAINS[nonlinearity]


def fans(shape):
    """(fan_in, fan_out) of a weight (F,C) or (F,C/G,KH,KW).

    >>> fans((64, 32, 3, 3))
    (288, 576)
    """
    if len(shape) < 2:
        raise ValueError(f"a weight of at least two axes has fans, not shape {tuple(shape)}")
    taps = math.prod(shape[2:])
    return shape[1] * taps, shape[0] * taps


def _fan(shape, mode):
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f'mode must be "fan_in" or "fan_out", not {mode!r}')
    return fans(shape)[mode == "fan_out"]


_here = threading.local()


@contextlib.contextmanager
def undrawn():
    """Inside, weights begin as zeros in this thread and nothing is drawn: for networks that are counted and never run.

    >>> with undrawn():
    ...     tc.nn.Linear(3, 2, bias=False).weight.data.tolist()
    [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    before, _here.undrawn = getattr(_here, "undrawn", False), True
    try:
        yield
    finally:
        _here.undrawn = before


def normal(shape, std=1.0, rng=None, dtype=np.float32):
    """Normal numbers of standard deviation `std`."""
    if getattr(_here, "undrawn", False):
        return np.zeros(shape, dtype)
    return (np.random.default_rng(rng).standard_normal(shape) * std).astype(dtype)


def uniform(shape, bound, rng=None, dtype=np.float32):
    """Uniform numbers on ± bound."""
    if getattr(_here, "undrawn", False):
        return np.zeros(shape, dtype)
    return np.random.default_rng(rng).uniform(-bound, bound, shape).astype(dtype)


def kaiming_normal(shape, a=0.0, mode="fan_in", nonlinearity="leaky_relu", rng=None, dtype=np.float32):
    """Normal numbers of standard deviation gain / sqrt(fan)."""
    return normal(shape, gain_of(nonlinearity, a) / math.sqrt(_fan(shape, mode)), rng, dtype)


def kaiming_uniform(shape, a=0.0, mode="fan_in", nonlinearity="leaky_relu", rng=None, dtype=np.float32):
    """Uniform numbers on ± gain sqrt(3 / fan)."""
    return uniform(shape, gain_of(nonlinearity, a) * math.sqrt(3 / _fan(shape, mode)), rng, dtype)


def xavier_normal(shape, gain=1.0, rng=None, dtype=np.float32):
    """Normal numbers of standard deviation gain sqrt(2 / (fan_in + fan_out))."""
    return normal(shape, gain * math.sqrt(2 / sum(fans(shape))), rng, dtype)


def xavier_uniform(shape, gain=1.0, rng=None, dtype=np.float32):
    """Uniform numbers on ± gain sqrt(6 / (fan_in + fan_out))."""
    return uniform(shape, gain * math.sqrt(6 / sum(fans(shape))), rng, dtype)
