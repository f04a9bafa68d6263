"""The recorder that `trace` puts between a model and the operations: it writes down what would be computed."""
import contextlib
import math

import numpy as np

from .runner import result_shapes
from .structure import GraphError, Node, unused


class TraceError(GraphError):
    """A model that cannot be written as a graph; the message names the module and what it did."""


class Path:
    """Knows in which module an operation runs, by the module's name in the model."""

    def __init__(self, model):
        self.modules, self.path = {id(module): name for name, module in model.named_modules()}, [""]

    @contextlib.contextmanager
    def inside(self, module):
        """While this module runs, operations are its."""
        self.path.append(self.modules.get(id(module), self.path[-1]))
        try:
            yield
        finally:
            self.path.pop()

    def where(self, op):
        """The operation and its module, in words."""
        return f"{op.name} in {self.path[-1] or 'the model'}"


class Recorder(Path):
    """Writes down the operations of one forward pass: `nodes`. Its arrays have shapes, and one number for contents (`made`)."""

    def __init__(self, model, inputs):
        super().__init__(model)
        parameters = dict(model.named_parameters())
        self.inputs, self.outputs = inputs, ()
        self.parameters, self.buffers = {name: p.data for name, p in parameters.items()}, dict(model.named_buffers())
        self.trained = {name for name, p in parameters.items() if p.requires_grad}
        known = {**self.parameters, **self.buffers, **inputs}
        self.names, self.sizes = {id(a): name for name, a in known.items()}, {name: a.shape for name, a in known.items()}
        self.alive = list(known.values())                                  # an id is good while its array lives
        self.taken, self.nodes = set(known), []
        self.content = next(iter(inputs.values())).flat[0]

    def made(self, op, arrays, attributes):
        """Stand-ins for the results of an operation: the right shapes, and no contents."""
        given = [a for a in arrays if isinstance(a, np.ndarray)]
        try:
            shapes = [a.shape if isinstance(a, np.ndarray) else None for a in arrays]
            found, several = result_shapes(op, shapes, _lasting(op, attributes))
        except ValueError as error:
            batch = len(next(iter(self.inputs.values())))
            raise TraceError(f"{self.where(op)}, recorded with a batch of {batch}: {error}") from error
        kind = given[0].dtype if given else self.content.dtype
        stand_ins = tuple(np.broadcast_to(np.asarray(self.content, kind), shape) for shape in found)
        return stand_ins if several else stand_ins[0]

    def name_of(self, value, op):
        """The name of an argument, or the number it is."""
        if value is None or isinstance(value, (int, float, np.generic)):
            return self.plain(value, op)
        if id(value) not in self.names:
            raise TraceError(f"{self.where(op)} reads an array of shape {value.shape} that is no input, parameter, buffer or "
                             "result of an operation; keep it on the tape (no `.data`), register it as a buffer, or hold its "
                             "module in a ModuleList instead of a list")
        return self.names[id(value)]

    def plain(self, value, op):
        """A number or attribute as JSON can say it."""
        value = value.item() if isinstance(value, np.generic) else value
        if isinstance(value, (list, tuple)):
            return [self.plain(v, op) for v in value]
        if not (value is None or isinstance(value, (bool, int, str)) or isinstance(value, float) and math.isfinite(value)):
            raise TraceError(f"{self.where(op)} is given {value!r}, which a graph cannot hold: only finite numbers and text")
        return value

    def record(self, op, arrays, attributes, outputs):
        """One operation that was run."""
        if "training" in op.runtime and attributes.get("training"):
            raise TraceError(f"{self.where(op)} is in training mode though the model is not: hand it self.training, hold its "
                             "module in a ModuleList instead of a list, and give BatchNorm running statistics")
        inputs = tuple(self.name_of(a, op) for a in arrays)
        kept = {key: self.plain(value, op) for key, value in _lasting(op, attributes).items()}
        names = []
        for y in outputs:
            name = unused(f"{self.path[-1]}/{op.name}" if self.path[-1] else op.name, self.taken)
            self.taken.add(name)
            self.names[id(y)], self.sizes[name] = name, y.shape
            self.alive.append(y)
            names.append(name)
        self.nodes.append(Node(op.name, inputs, tuple(names), kept, self.path[-1]))


def _lasting(op, attributes):
    """The attributes that stand in a graph: those that are not given at run time."""
    return {key: value for key, value in attributes.items() if key not in op.runtime}
