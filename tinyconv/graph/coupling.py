"""Which channels must go together? If channel 5 of one layer is removed, whatever is added to it must lose its channel too.

Every channel of every value gets a number. An operation says how its output channels follow from its input channels: a
convolution makes new ones, BatchNorm and ReLU keep theirs, an addition makes two channels one (union), a concatenation sets the
numbers side by side, a flatten repeats each for all its pixels. Arrays are bound to the channels they belong to: filter i of a
weight to output channel i, its slice j along axis 1 to input channel j; an array that two nodes share makes their channels one.
What carries one number at the end is one coupled group: it stays or goes as a whole. Channels of inputs and outputs of the
network, and what an operation mixes in a way that no removal can preserve, are protected. (The idea of following index maps is
that of DepGraph, Fang et al. 2023; here on arrays.)

How the channels of each operation's outputs follow from those of its inputs: page `following`.
"""
from typing import NamedTuple

import numpy as np

from .following import COUPLING, LAYERS, elementwise, mix
from .runner import shapes
from .structure import GraphError


class Binding(NamedTuple):
    """Position `index` of axis `axis` of array `name` belongs to a channel."""

    name: str
    axis: int
    index: int


class Coupling:
    """The channels of a graph and how they hang together. `groups`: root -> sorted bindings, for every group that may be removed.

    A Coupling is filled by `couple` and never changed afterwards. `ids`: value name -> the channel numbers of its axis 1.
    """

    def __init__(self, graph):
        self.graph, self.shapes = graph, shapes(graph)
        self.parent, self.owner, self.ids = [], {}, {}
        self.protected, self.frozen, self.bound = set(), set(), set()
        self.groups = {}

    def new(self, count):
        """`count` channels that are not yet coupled to any other."""
        first = len(self.parent)
        self.parent.extend(range(first, first + count))
        return np.arange(first, first + count)

    def find(self, channel):
        """The number that stands for the whole group of `channel`."""
        while self.parent[channel] != channel:
            self.parent[channel] = self.parent[self.parent[channel]]
            channel = self.parent[channel]
        return channel

    def unite(self, a, b):
        """Channel by channel, a and b are one from now on."""
        for i, j in zip(np.ravel(a).tolist(), np.ravel(b).tolist()):
            i, j = self.find(i), self.find(j)
            self.parent[max(i, j)] = min(i, j)

    def bind(self, name, axis, ids):
        """Positions 0, 1, … of this axis of an array belong to the channels `ids`; two nodes that share an array share them."""
        self.bound.add(name)
        before = self.owner.setdefault((name, axis), ids)
        if before is not ids:
            self.unite(before, ids)

    def protect(self, ids):
        """These channels must stay."""
        self.protected.update(np.ravel(ids).tolist())

    def roots(self, ids):
        """The group numbers of the channels `ids`."""
        return self.root[ids]

    def settle(self):
        """Work out the groups, now that everything is coupled."""
        self.root = np.array([self.find(channel) for channel in range(len(self.parent))], dtype=np.int64)
        found = {}
        for (name, axis), ids in self.owner.items():
            if name in self.frozen:
                self.protect(ids)
            for index, root in enumerate(self.root[ids].tolist()):
                found.setdefault(root, []).append(Binding(name, axis, index))
        safe = set(self.root[sorted(self.protected)].tolist())
        self.groups = {root: sorted(found[root]) for root in sorted(found) if root not in safe}
        return self


def couple(graph):
    """Follow the channels through a graph. Errors: GraphError naming the operation that has no coupling.

    >>> g = tc.trace(tc.nn.Sequential(tc.nn.Conv2d(1, 2, 3, rng=0), tc.nn.Conv2d(2, 5, 3, rng=0)), (1, 1, 9, 9))
    >>> [[(b.name, b.axis, b.index) for b in bound] for bound in tc.graph.couple(g).groups.values()]
    [[('0.bias', 0, 0), ('0.weight', 0, 0), ('1.weight', 1, 0)], [('0.bias', 0, 1), ('0.weight', 0, 1), ('1.weight', 1, 1)]]
    """
    c = Coupling(graph)
    for name, shape in graph.inputs.items():
        c.ids[name] = c.new(shape[0])
        c.protect(c.ids[name])
    for node in graph.nodes:
        rule = COUPLING[node.op]
        if isinstance(rule, str):
            raise GraphError(f"{node.outputs[0]}: channels cannot be followed through {node.op}: {rule}")
        arrays = [name for name in node.values() if name not in c.ids]
        usual = arrays == [name for name in node.inputs[1:] if name] if rule in LAYERS else not arrays or rule is elementwise
        c.bound = set()
        (rule if usual else mix)(c, node)
        c.frozen.update(set(arrays) - c.bound)                               # read, and not along its channels: it cannot be cut
    for name in graph.outputs:
        c.protect(c.ids.get(name, ()))
        c.frozen.add(name)
    return c.settle()
