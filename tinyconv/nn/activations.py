"""Activations as layers; the formulas stand in ops/elementwise. `inplace` is accepted for PyTorch's sake and changes nothing."""
from .. import functional as F
from .module import Module


class _Activation(Module):
    """A function without parameters, as a layer."""

    function = None

    def __init__(self, inplace=False):
        super().__init__()

    def forward(self, x):
        """The function, number by number."""
        return type(self).function(x)


class ReLU(_Activation):
    """max(x, 0)."""

    bounds = (0.0, float("inf"))
    function = staticmethod(F.relu)


class ReLU6(_Activation):
    """min(max(x, 0), 6)."""

    bounds = (0.0, 6.0)
    function = staticmethod(F.relu6)


class Sigmoid(_Activation):
    """1 / (1 + e^-x)."""

    function = staticmethod(F.sigmoid)


class Tanh(_Activation):
    """The hyperbolic tangent."""

    function = staticmethod(F.tanh)


class SiLU(_Activation):
    """x sigmoid(x)."""

    function = staticmethod(F.silu)


class Hardsigmoid(_Activation):
    """min(max(x + 3, 0), 6) / 6."""

    function = staticmethod(F.hardsigmoid)


class Hardswish(_Activation):
    """x hardsigmoid(x)."""

    function = staticmethod(F.hardswish)


class LeakyReLU(Module):
    """x where positive, negative_slope x elsewhere."""

    def __init__(self, negative_slope=0.01, inplace=False):
        super().__init__()
        self.negative_slope = float(negative_slope)

    def forward(self, x):
        """The function, number by number."""
        return F.leaky_relu(x, self.negative_slope)

    def describe(self):
        return f"negative_slope={self.negative_slope}"


class Softmax(Module):
    """e^x / Σ e^x along `dim`."""

    def __init__(self, dim=-1):
        super().__init__()
        self.dim = dim

    def forward(self, x):
        """Shape kept; sums to 1 along dim."""
        return F.softmax(x, self.dim)

    def describe(self):
        return f"dim={self.dim}"
