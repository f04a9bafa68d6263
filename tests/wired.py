"""A model for tests of wiring: any layers, joined by any function."""
from tinyconv import nn


class Wired(nn.Module):
    """Layers by name, and a function that wires them."""

    def __init__(self, wire, **layers):
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.wire = wire

    def forward(self, *x):
        return self.wire(self, *x)
