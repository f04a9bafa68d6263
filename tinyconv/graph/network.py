"""Network: a graph as a Module, so that what came out of a transform is called, trained and saved like what went in."""
import numpy as np

from ..nn import Module, Parameter
from ..ops import TABLE
from .runner import run
from .structure import Graph


class Network(Module):
    """Network(graph): call it, train it, save it. Names of parameters and buffers are the graph's, those of the traced model.

    `net.graph` is the network as data again, with copies of the arrays as they are now.

    >>> g = tc.trace(tc.nn.Linear(3, 2, rng=0), (1, 3))
    >>> tc.Network(g)(tc.Tensor(np.zeros((1, 3), np.float32))).shape
    (1, 2)
    """

    def __init__(self, graph, rng=None):
        super().__init__()
        if not isinstance(graph, Graph):
            raise TypeError(f"graph must be a Graph (from trace or a transform), not {type(graph).__name__}")
        self.structure, self.rng = graph, np.random.default_rng(rng)
        for name, array in graph.parameters.items():
            self._parameters[name] = Parameter(array.copy())
        prepared_from = {name for node in graph.nodes if TABLE[node.op].prepare for name in node.values()}
        for name, array in graph.buffers.items():
            self._buffers[name] = array.copy()
            self._buffers[name].setflags(write=name not in prepared_from)         # known unchanged, without a look (`preparing`)

    def forward(self, *inputs):
        """The graph on these inputs; in training, running statistics move."""
        updates = {}
        values = {**self._parameters, **self._buffers}
        y = run(self.structure, *inputs, training=self.training, rng=self.rng, values=values, updates=updates)
        if self.training:
            self._buffers.update(updates)
        return y

    @property
    def graph(self):
        """The network as data, arrays copied (but for those that nobody can write to)."""
        shared = {name: array for name, array in self._buffers.items() if not array.flags.writeable}
        return self.structure.with_arrays({**self.state_dict(), **shared})

    def describe(self):
        return f"{len(self.structure.nodes)} operations, {sum(p.size for p in self._parameters.values())} parameters"
