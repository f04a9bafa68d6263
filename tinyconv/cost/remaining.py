"""What a network costs without some of its coupled channels, in closed form: nothing is built, nothing is cut.

    numbers in an array      Π over its axes: positions that stay (all of them on an axis that is bound to no channel)
    MACs of a layer          results of one filter (OH OW of a convolution, rows of a linear layer) · numbers in its weight
    params, bytes            Σ numbers of the parameters;  Σ itemsize · numbers of all parameters and buffers
A weight is bound along its filters and along its input channels, so keeping f of F and c of C leaves (f/F)(c/C) of it, and a
depthwise one, bound along its filters alone, c/C. Whatever else multiplies (matmul, layers with computed weights) has channels
that must stay, and costs what it did. As every cost is a sum of products of counts, a group costs the more to give back the more
others are there: what does not fit now will not fit later.
"""
from math import prod
from typing import NamedTuple

from .table import macs as macs_of
from .table import size


class Cost(NamedTuple):
    """MACs of one picture (paper convention), trained numbers, and bytes of all arrays."""

    macs: int
    params: int
    bytes: int


class Remaining:
    """The cost of a graph without some of its coupled groups, kept up to date group by group. `cost`: a Cost, exact.

    Begins with every group in place. Time of a step: the arrays that the group runs through, whatever the size of the network.
    Errors: KeyError for a root that is no group of the coupling.

    >>> g = tc.trace(tc.nn.Sequential(tc.nn.Conv2d(1, 4, 3, rng=0), tc.nn.Conv2d(4, 2, 1, rng=0)), (1, 1, 5, 5))
    >>> left = tc.cost.Remaining(tc.graph.couple(g))
    >>> left.cost.macs, left.step(1, -1).macs                     # 9 windows: 9 taps of a filter, 2 of the layer behind it
    (396, -99)
    """

    def __init__(self, coupling):
        graph, shapes = coupling.graph, coupling.shapes
        self.kept = {(name, axis): len(ids) for (name, axis), ids in coupling.owner.items()}
        self.axes, self.rest = {}, {}                              # array -> its bound axes, and the product of the others
        for name, axis in self.kept:
            self.axes.setdefault(name, []).append(axis)
        for name, axes in self.axes.items():
            self.rest[name] = prod(length for axis, length in enumerate(shapes[name]) if axis not in axes)
        self.positions = {}                                        # root -> array -> axis -> how many positions it has there
        for root, bound in coupling.groups.items():
            mine = self.positions[root] = {}
            for name, axis, _ in bound:
                axes = mine.setdefault(name, {})
                axes[axis] = axes.get(axis, 0) + 1
        self.price = _prices(graph, shapes)
        arrays = graph.arrays().values()
        self.cost = Cost(macs_of(graph), sum(a.size for a in graph.parameters.values()), sum(a.nbytes for a in arrays))

    def step(self, root, sign):
        """By how much the cost changes if this group goes (sign -1) or comes back (+1): a Cost; nothing is changed yet."""
        macs = params = nbytes = 0
        for name, moved in self.positions[root].items():
            before = after = self.rest[name]
            for axis in self.axes[name]:
                kept = self.kept[name, axis]
                before, after = before * kept, after * (kept + sign * moved.get(axis, 0))
            price = self.price[name]
            numbers = after - before
            macs, params, nbytes = macs + price.macs * numbers, params + price.params * numbers, nbytes + price.bytes * numbers
        return Cost(macs, params, nbytes)

    def move(self, root, sign):
        """Let this group go (-1) or come back (+1); returns the new cost. Whoever calls keeps account of which are gone."""
        self.cost = Cost(*map(sum, zip(self.cost, self.step(root, sign))))
        for name, moved in self.positions[root].items():
            for axis, count in moved.items():
                self.kept[name, axis] += sign * count
        return self.cost


def _prices(graph, shapes):
    """Array -> what each of its numbers costs: as many MACs as the layers that it is a weight of make results of a filter."""
    macs = dict.fromkeys(graph.arrays(), 0)
    for node in graph.nodes:
        if node.op in ("conv2d", "linear") and node.inputs[1] in macs:
            macs[node.inputs[1]] += size(shapes[node.outputs[0]]) // shapes[node.inputs[1]][0]
    return {name: Cost(macs[name], int(name in graph.parameters), a.itemsize) for name, a in graph.arrays().items()}


def without(coupling, gone):
    """The Cost of what `remove_channels(graph, gone, coupling)` would make, in closed form.

    >>> g = tc.trace(tc.nn.Sequential(tc.nn.Conv2d(1, 4, 3, rng=0), tc.nn.Conv2d(4, 2, 1, rng=0)), (1, 1, 5, 5))
    >>> tc.cost.without(tc.graph.couple(g), [1, 2])
    Cost(macs=198, params=26, bytes=104)
    """
    left = Remaining(coupling)
    for root in gone:
        left.move(int(root), -1)
    return left.cost
