"""What a network costs, layer by layer, in closed form: parameters, operations, and bytes.

One row a node of the graph: kind, shapes, parameters and counts; everything else is a sum over rows. Which operations are called
multiply-adds is a convention, and the same rows can be read by any of them (page `conventions`; "paper" is meant where none is
named). Counts are for one picture if the batch is 1, and in proportion to it. Parameters are counted once, BatchNorm's γ and β
included, running statistics not. Bytes moved are those of every input, weight and output of a node, each number once: the least
that must pass between memory and processor if nothing stays there between two nodes. Views (page `memory`) move nothing.
"""
from dataclasses import dataclass, replace

from .. import graph as graphs
from ..graph.tracing import input_shapes
from ..ops import Counts, lookup
from ..ops.table import size
from .conventions import CONVENTIONS, convention as _convention, described
from .memory import ITEMSIZE, VIEWS, dtypes, peak


@dataclass(frozen=True)
class Row:
    """One node: where it stands, what it is, the shape of its result, what it counts, and from which shapes and attributes.

    `macs` are by the summary's convention, `counts` the operations executed by kind (padding taps counted), `array_bytes` those
    of its parameters and buffers, `dtype` that of its result; `inputs` has None for a number or an argument left out.
    """

    name: str
    kind: str
    shape: tuple
    params: int
    macs: int
    counts: Counts
    array_bytes: int
    moved_bytes: int
    dtype: str
    inputs: tuple
    attributes: dict

    @property
    def flop(self):
        """Floating-point operations, 2 a MAC, whatever the convention: the numerator of arithmetic intensity."""
        return 2 * self.counts.macs + sum(self.counts[1:])

    @property
    def intensity(self):
        """Operations for each byte moved: flop / moved_bytes; 0 where nothing moves."""
        return self.flop / self.moved_bytes if self.moved_bytes else 0.0


def _sum(field):
    return property(lambda self: sum(getattr(row, field) for row in self.rows), doc=f"Sum of the rows' {field}.")


@dataclass(frozen=True)
class Summary:
    """All rows of a network and their sums: `.params`, `.macs`, `.array_bytes`, `.moved_bytes`, `.flop`. Print it.

    `peak_bytes`: the most that activations take at one time (page `memory`).
    """

    rows: tuple
    convention: str
    peak_bytes: int

    params, macs, array_bytes, moved_bytes, flop = map(_sum, ("params", "macs", "array_bytes", "moved_bytes", "flop"))

    @property
    def norm_params(self):
        """BatchNorm's γ and β, which some authors leave out of their parameters."""
        return sum(row.params for row in self.rows if row.kind == "batch_norm")

    @property
    def activations(self):
        """Numbers that convolution and linear layers put out (Radosavovic et al. 2020, section 3; fvcore's activation count)."""
        return sum(size(row.shape) for row in self.rows if row.counts.macs)

    @property
    def intensity(self):
        """Operations for each byte moved, all rows together."""
        return self.flop / self.moved_bytes if self.moved_bytes else 0.0

    def under(self, convention):
        """The same table with `macs` by another convention. Errors: ValueError for an unknown one.

        >>> s = tc.cost.summary(tc.nn.Conv2d(8, 8, 3, padding=1, rng=0), (1, 8, 4, 4))
        >>> {name: s.under(name).macs for name in ("paper", "interior", "bias", "torch")}
        {'paper': 9216, 'interior': 6400, 'bias': 9344, 'torch': 18432}
        """
        rule = _convention(convention)
        return replace(self, convention=convention, rows=tuple(replace(row, macs=rule.count(row)) for row in self.rows))

    def counted(self, quantity, convention):
        """What a printed number (`models.building.Printed`) is about: "macs" by a convention, "params", "all" or "no norm".

        Errors: ValueError for another quantity or convention.
        """
        known = {("params", "all"): self.params, ("params", "no norm"): self.params - self.norm_params}
        if (quantity, convention) in known:
            return known[quantity, convention]
        if quantity != "macs":
            raise ValueError('quantity must be "macs", or "params" with "all" or "no norm", '
                             f"not {quantity!r} with {convention!r}")
        return self.under(convention).macs

    def __str__(self):
        rows = [row for row in self.rows if row.params or row.macs]
        wide = max([len(row.name) for row in rows] + [5])
        form = "{:<%d}  {:<20}  {:<16}  {:>11}  {:>15}  {:>6}  {:>13}" % wide
        head = form.format("layer", "kind", "output", "params", CONVENTIONS[self.convention].unit, "share", "bytes moved")
        lines = [head, "-" * len(head)]
        for row in rows:
            share, shape = f"{row.macs / self.macs:.1%}" if row.macs else "", "x".join(map(str, row.shape))
            lines.append(form.format(row.name, described(row), shape, f"{row.params:,}", f"{row.macs:,}", share,
                                     f"{row.moved_bytes:,}"))
        total = form.format("total", self.convention + " convention", "", f"{self.params:,}", f"{self.macs:,}", "",
                            f"{self.moved_bytes:,}")
        below = (f"arrays {self.array_bytes:,} bytes; activations {self.activations:,}, at most {self.peak_bytes:,} bytes at a "
                 f"time; {self.intensity:.1f} FLOP a byte moved")
        return "\n".join([*lines, "-" * len(head), total, below])


def overview(summaries):
    """The totals of several tables as lines of text: name -> Summary in, a line a network out; units as `Summary` has them.

    >>> print(overview({"one layer": tc.cost.summary(tc.nn.Conv2d(8, 8, 3, padding=1, rng=0), (1, 8, 14, 14))}))
    network    params     MACs  array bytes  activations  peak bytes  bytes moved  FLOP/byte
    ----------------------------------------------------------------------------------------
    one layer     584  112,896        2,336        1,568      12,544       14,880       15.3
    """
    units = dict.fromkeys(CONVENTIONS[s.convention].unit for s in summaries.values())
    table = [["network", "params", "/".join(units), "array bytes", "activations", "peak bytes", "bytes moved", "FLOP/byte"]]
    for name, s in summaries.items():
        counts = s.params, s.macs, s.array_bytes, s.activations, s.peak_bytes, s.moved_bytes
        table.append([name, *(f"{count:,}" for count in counts), f"{s.intensity:.1f}"])
    wide = [max(map(len, column)) for column in zip(*table)]
    lines = ["  ".join([line[0].ljust(wide[0]), *(cell.rjust(w) for cell, w in zip(line[1:], wide[1:]))]) for line in table]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def graph_of(model_or_graph, input_shape=None):
    """(Graph, batch size) of a Module seen with input_shape (N,C,H,W), of a Network, or of a Graph (whose own shape it must be).

    Nothing is computed: a Module is traced on shapes alone. Errors: ValueError for a shape that is missing or not the graph's.
    """
    g = model_or_graph.structure if isinstance(model_or_graph, graphs.Network) else model_or_graph
    if not isinstance(g, graphs.Graph):
        if input_shape is None:
            raise ValueError("input_shape must be given for a Module: (N, C, H, W)")
        g = graphs.trace(g, input_shape, check=False)
    given = [] if input_shape is None else input_shapes(input_shape)
    for (name, shape), own in zip(g.inputs.items(), given):
        if own[1:] != tuple(shape):
            wanted = f"(N, {', '.join(map(str, shape))}), as the graph was traced"
            raise ValueError(f"input_shape of {name!r} must be {wanted}, not {own}")
    return g, given[0][0] if given else 1


def _row(node, g, shapes, kinds, own, rule):
    """One node's row. own: the parameters and buffers that no node before it has used."""
    op = lookup(node.op)
    made = [shapes[name] for name in node.outputs]
    inputs = tuple(tuple(shapes[v]) if isinstance(v, str) else None for v in node.inputs)
    counts = op.counts(list(inputs), made[0] if len(made) == 1 else made, **node.attributes)
    results = [name for i, name in enumerate(node.outputs) if i not in {source for source, _ in op.updates}]
    moved = 0 if node.op in VIEWS else sum(size(shapes[v]) * ITEMSIZE[kinds[v]]
                                           for v in (*dict.fromkeys(node.values()), *results))
    params = sum(g.parameters[v].size for v in own if v in g.parameters)
    row = Row(node.module or node.outputs[0], node.op, tuple(made[0]), params, 0,
              counts, sum(g.array(v).nbytes for v in own), moved, kinds[node.outputs[0]], inputs, node.attributes)
    return replace(row, macs=rule.count(row))


def summary(model_or_graph, input_shape=None, convention="paper"):
    """The cost table of a Module (with the input_shape (N,C,H,W) it sees) or of a Graph: `.params`, `.macs`, `.rows`; print it.

    A model of several inputs has a list of shapes. Nothing is computed: a Module is traced on shapes alone.
    Errors: ValueError for an unknown convention, and a shape that is missing or not the graph's.

    >>> tc.cost.summary(tc.models.mobilenet_v2(rng=0), (1, 3, 224, 224)).macs
    300774272
    """
    rule = _convention(convention)
    g, batch = graph_of(model_or_graph, input_shape)
    shapes, kinds, rows, seen = graphs.shapes(g, batch=batch), dtypes(g), [], set()
    for node in g.nodes:
        own = [v for v in node.values() if v in g.parameters or v in g.buffers]
        own = [v for v in dict.fromkeys(own) if not (v in seen or seen.add(v))]
        rows.append(_row(node, g, shapes, kinds, own, rule))
    return Summary(tuple(rows), convention, peak(g, batch).bytes)


def params(graph):
    """Trained numbers of a graph: the sum of its parameters' sizes."""
    return sum(size(array.shape) for array in graph.parameters.values())


def macs(graph):
    """Multiply-adds of a graph for one picture, by the paper convention."""
    return summary(graph).macs
