"""The network as data: a list of operations with named values, and the arrays they use.

A value is the input, a parameter, a buffer, or an output of a node; it has one name. A node says which operation of the table
it runs, on which values (or plain numbers, or nothing), with which attributes (JSON), and what its outputs are called. Nodes
stand in the order in which they run. The batch size is in no node: any batch runs through one graph. A Graph is never changed
in place: transforms make a new one.
"""
from dataclasses import dataclass, field, fields, replace
from functools import cached_property

import numpy as np

from ..ops import TABLE
from .joining import steps
from .preparing import Prepared


class GraphError(ValueError):
    """A graph that does not hang together, or a model that cannot be written as one."""


@dataclass(frozen=True)
class Node:
    """One operation: `op` on `inputs` (names, numbers or None) with `attributes` makes `outputs`; `module` is where it stood."""

    op: str
    inputs: tuple
    outputs: tuple
    attributes: dict = field(default_factory=dict)
    module: str = ""

    def values(self):
        """The names among the inputs."""
        return tuple(i for i in self.inputs if isinstance(i, str))


@dataclass(frozen=True)
class Graph:
    """A network. `inputs`: name -> shape without the batch; `parameters` and `buffers`: name -> array; `outputs`: names."""

    inputs: dict
    nodes: tuple
    outputs: tuple
    parameters: dict
    buffers: dict = field(default_factory=dict)

    def __post_init__(self):
        _check(self)

    def replace(self, **changes):
        """A graph with some fields changed; arrays that no node uses any more are dropped."""
        new = {field.name: getattr(self, field.name) for field in fields(self)} | changes
        used = {name for node in new["nodes"] for name in node.values()} | set(new["outputs"])
        for home in ("parameters", "buffers"):
            new[home] = {name: array for name, array in new[home].items() if name in used}
        return Graph(**new)

    def with_arrays(self, arrays):
        """The same graph with some parameters or buffers replaced by name. Errors: GraphError for names it does not have."""
        strange = set(arrays) - set(self.parameters) - set(self.buffers)
        if strange:
            raise GraphError(f"the graph has no arrays of these names: {', '.join(sorted(strange))}")
        return replace(self, parameters={n: arrays.get(n, a) for n, a in self.parameters.items()},
                       buffers={n: arrays.get(n, a) for n, a in self.buffers.items()})

    def array(self, name):
        """The parameter or buffer of this name."""
        return self.parameters[name] if name in self.parameters else self.buffers[name]

    def arrays(self):
        """All parameters and buffers by name."""
        return {**self.parameters, **self.buffers}

    def producers(self):
        """value name -> the node that makes it."""
        return {output: node for node in self.nodes for output in node.outputs}

    def consumers(self):
        """value name -> the nodes that read it, in order."""
        readers = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.values()):
                readers.setdefault(name, []).append(node)
        return readers

    @cached_property
    def nodes_apart(self):
        """The nodes in the order in which they run, each a step by itself (`joining`)."""
        return steps(self, joined=False)

    @cached_property
    def nodes_joined(self):
        """The same with convolutions and what they can do in their own pass as one step."""
        return steps(self, joined=True)

    @cached_property
    def prepared(self):
        """Packed weights, kept from one run to the next."""
        return Prepared()

    def fresh(self, name):
        """`name`, or the first of name_2, name_3, … that no value here has."""
        taken = set(self.arrays()) | set(self.inputs) | {o for node in self.nodes for o in node.outputs}
        return unused(name, taken)

    def __str__(self):
        lines = [f"{name}: (N, {', '.join(map(str, shape))})" for name, shape in self.inputs.items()]
        for node in self.nodes:
            inputs, attributes = ", ".join(map(str, node.inputs)), ", ".join(f"{k}={v}" for k, v in node.attributes.items())
            lines.append(f"{', '.join(node.outputs)} = {node.op}({inputs}{'; ' * bool(attributes)}{attributes})")
        return "\n".join([*lines, f"return {', '.join(self.outputs)}"])


def unused(name, taken):
    """`name`, or the first of name_2, name_3, … not in `taken`."""
    new, count = name, 1
    while new in taken:
        count += 1
        new = f"{name}_{count}"
    return new


def _check(graph):
    """Every value is made once, before it is read; every operation is in the table; arrays are arrays."""
    for home in (graph.parameters, graph.buffers):
        for name, array in home.items():
            if not isinstance(array, np.ndarray):
                raise GraphError(f"{name} must be an array, not {type(array).__name__}")
    known = {}
    for source, names in (("input", graph.inputs), ("parameter", graph.parameters), ("buffer", graph.buffers)):
        for name in names:
            if name in known:
                raise GraphError(f"the name {name!r} stands for a {known[name]} and a {source}")
            known[name] = source
    for node in graph.nodes:
        if node.op not in TABLE:
            raise GraphError(f"{node.module or 'the network'} has an unknown operation {node.op!r}")
        for name in node.values():
            if name not in known:
                raise GraphError(f"{node.op} in {node.module or 'the network'} reads {name!r}, which nothing before it makes")
        for key in node.attributes:
            if key in TABLE[node.op].runtime:
                raise GraphError(f"{key!r} of {node.op} is given at run time and cannot stand in a graph")
        for name in node.outputs:
            if name in known:
                raise GraphError(f"{name!r} is made twice")
            known[name] = "result"
    for name in graph.outputs:
        if name not in known:
            raise GraphError(f"the network returns {name!r}, which nothing makes")
