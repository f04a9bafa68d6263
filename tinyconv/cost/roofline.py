"""Where does each layer stand under the roofline, and how near does it come? Predicted time against measured.

    least(layer) = max(FLOP / peak, bytes moved / bandwidth, launch)                    share = least / measured
    FLOP / s    <= min(peak, intensity · bandwidth)                                     intensity = FLOP / bytes moved

Peak, bandwidth and launch are this machine's, measured once a process (`kernels.machine`); FLOP and bytes are the cost table's: 2
a multiply-add with padding taps counted, every value of a node once. So a layer left of the ridge peak / bandwidth is bound by
memory, right of it by arithmetic, and small ones by the launch of a parallel region. An algorithm may beat the roof: Winograd's
executes fewer products than are counted here, and a result that the last layer left in a cache comes faster than from memory.
Source: Williams, Waterman & Patterson, "Roofline: an insightful visual performance model for multicore architectures" (2009).
"""
import statistics
import time
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .. import graph as graphs
from .conventions import described
from .memory import VIEWS
from .table import graph_of, summary


class Placed(NamedTuple):
    """One layer: its work, the least time that the machine allows and what sets it, the time it takes (None: not measured)."""

    name: str
    kind: str
    flop: int
    moved_bytes: int
    least_seconds: float
    limit: str
    seconds: float | None

    @property
    def intensity(self):
        """FLOP a byte moved."""
        return self.flop / self.moved_bytes

    @property
    def share(self):
        """The part of the roofline that is reached: least / measured time."""
        return self.least_seconds / self.seconds


@dataclass(frozen=True)
class Placement:
    """All layers of a network under the roofline of one machine; print it."""

    layers: tuple
    machine: object

    @property
    def least_seconds(self):
        """The least time of the layers one after the other."""
        return sum(layer.least_seconds for layer in self.layers)

    @property
    def seconds(self):
        """The measured time of the layers one after the other; None if they were not measured."""
        times = [layer.seconds for layer in self.layers]
        return None if None in times else sum(times)

    def __str__(self):
        wide = max([len(layer.name) for layer in self.layers] + [5])
        form = "{:<%d}  {:<20}  {:>9}  {:>9}  {:>9}  {:<10}  {:>9}  {:>6}" % wide
        head = form.format("layer", "kind", "MFLOP", "FLOP/byte", "least us", "limit", "us", "share")
        total = Placed("total", "", sum(row.flop for row in self.layers), sum(row.moved_bytes for row in self.layers),
                       self.least_seconds, "", self.seconds)
        lines = [str(self.machine), "", head, "-" * len(head)]
        for row in (*self.layers, total):
            taken = ("-", "-") if row.seconds is None else (f"{row.seconds * 1e6:.1f}", f"{row.share:.0%}")
            lines.append(form.format(row.name, row.kind, f"{row.flop / 1e6:.3f}", f"{row.intensity:.1f}",
                                     f"{row.least_seconds * 1e6:.1f}", row.limit, *taken))
        return "\n".join([*lines[:-1], "-" * len(head), lines[-1]])


def node_seconds(g, batch=1, rounds=9):
    """Seconds of each node, in order: medians over so many runs of the graph on random inputs, after one that is not counted.

    A node's time is that from the end of the node before it to its own: the runner's few microseconds are in it.
    """
    dice, kinds = np.random.default_rng(0), (a.dtype for a in g.parameters.values())
    x = [dice.standard_normal((batch, *shape)).astype(next(kinds, np.dtype(np.float32))) for shape in g.inputs.values()]
    runs = []
    for _ in range(rounds + 1):
        stamps = []
        begin = time.perf_counter()
        graphs.run(g, *x, each=lambda node, outputs: stamps.append(time.perf_counter()))
        runs.append([after - before for before, after in zip([begin, *stamps], stamps)])
    return [statistics.median(times) for times in zip(*runs[1:])]


def place(model_or_graph, input_shape=None, rounds=9, least=None):
    """Every layer of a Module (seen with input_shape (N,C,H,W)) or Graph under this machine's roofline: a `Placement`.

    rounds: how often the network is run to measure it, 0: not at all. least: (flop, nbytes) -> (seconds, limit), in place of this
    machine's. A graph with BatchNorm folded (`graph.fold_batch_norms`) shows the layers as they would be run. Views are left out.
    Errors: as `summary`; ValueError for rounds below 0.

    >>> model = tc.nn.Sequential(tc.nn.Conv2d(8, 16, 3, rng=0), tc.nn.ReLU())
    >>> slow = lambda flop, nbytes: max((flop / 1e9, "arithmetic"), (nbytes / 1e9, "memory"))
    >>> layers = tc.cost.place(model, (1, 8, 10, 10), rounds=0, least=slow).layers
    >>> [(layer.kind, layer.limit, round(layer.least_seconds * 1e6, 1)) for layer in layers]
    [('convolution 3x3', 'arithmetic', 148.5), ('relu', 'memory', 8.2)]
    """
    if rounds < 0:
        raise ValueError(f"rounds must be at least 0, not {rounds}")
    machine = "limits as given"
    if least is None:
        from ..kernels import machine as measured
        least, machine = measured.least_seconds, measured.measure()
    g, batch = graph_of(model_or_graph, input_shape)
    rows = summary(g, [(batch, *shape) for shape in g.inputs.values()]).rows
    times = node_seconds(g, batch, rounds) if rounds else [None] * len(rows)
    layers = [Placed(row.name, described(row), row.flop, row.moved_bytes, *least(row.flop, row.moved_bytes), seconds)
              for row, seconds in zip(rows, times) if row.kind not in VIEWS]
    return Placement(tuple(layers), machine)
