"""What a network costs, layer by layer, in closed form: parameters, multiply-adds, other operations, bytes.

Conventions (one row a node; totals are sums of rows)
    "paper"       MACs of convolution and linear layers, padding taps counted, bias, BatchNorm, activations and pooling not: what
                  papers print. 1 MAC = 2 FLOPs.
    "interior"    the same without the taps that fall on zero padding: the multiplications a program cannot avoid.
Counts are for one picture if the batch is 1, and in proportion to it. Parameters are counted once, BatchNorm's γ and β included,
running statistics not.
"""
from dataclasses import dataclass

from .. import graph as graphs
from ..formulas import conv2d_geometry, conv2d_interior_macs
from ..graph.tracing import input_shapes
from ..ops import Counts, lookup
from ..ops.table import size

CONVENTIONS = ("paper", "interior")


@dataclass(frozen=True)
class Row:
    """One node: where it stands, what it is, the shape of its result, and its counts."""

    name: str
    kind: str
    shape: tuple
    params: int
    macs: int
    counts: Counts
    array_bytes: int


@dataclass(frozen=True)
class Summary:
    """All rows of a network, and their sums: `.params`, `.macs`, `.array_bytes`. Printing it gives the table."""

    rows: tuple
    convention: str

    params = property(lambda self: sum(row.params for row in self.rows))
    macs = property(lambda self: sum(row.macs for row in self.rows))
    array_bytes = property(lambda self: sum(row.array_bytes for row in self.rows))

    def __str__(self):
        width = max([len(row.name) for row in self.rows] + [5])
        head = f"{'layer':<{width}}  {'kind':<20}  {'output':<20}  {'params':>11}  {'MACs':>14}  {'share':>6}"
        lines = [head, "-" * len(head)]
        for row in self.rows:
            if row.params or row.macs:
                share = f"{row.macs / self.macs:.1%}" if self.macs else ""
                shape = "x".join(map(str, row.shape))
                lines.append(f"{row.name:<{width}}  {row.kind:<20}  {shape:<20}  {row.params:>11,}  {row.macs:>14,}  {share:>6}")
        total = f"{'total':<{width}}  {self.convention + ' convention':<42}  {self.params:>11,}  {self.macs:>14,}"
        return "\n".join([*lines, "-" * len(head), total])


def _macs(node, shapes, counts, convention):
    if convention == "paper" or node.op not in ("conv2d", "qconv2d"):
        return counts.macs
    x, w = (shapes[name] for name in node.inputs[:2])
    steps = {key: node.attributes[key] for key in ("stride", "padding", "dilation", "groups") if key in node.attributes}
    return conv2d_interior_macs(conv2d_geometry(x, w, **steps))


def summary(model_or_graph, input_shape=None, convention="paper"):
    """The cost table of a Module (with the input_shape (N,C,H,W) it sees) or of a Graph: `.params`, `.macs`, `.rows`; print it.

    A model of several inputs has a list of shapes. Nothing is computed: a Module is traced on shapes alone.
    Errors: ValueError for an unknown convention, and a shape that is missing or not the graph's.

    >>> tc.cost.summary(tc.models.mobilenet_v2(rng=0), (1, 3, 224, 224)).macs
    300774272
    """
    if convention not in CONVENTIONS:
        raise ValueError(f"convention must be one of {', '.join(CONVENTIONS)}, not {convention!r}")
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
    shapes = graphs.shapes(g, batch=given[0][0] if given else 1)
    rows, seen = [], set()
    for node in g.nodes:
        made = [shapes[name] for name in node.outputs]
        counts = lookup(node.op).counts([shapes[v] if isinstance(v, str) else None for v in node.inputs],
                                        made[0] if len(made) == 1 else made, **node.attributes)
        own = [v for v in node.values() if v in g.parameters or v in g.buffers]
        own = [v for v in dict.fromkeys(own) if not (v in seen or seen.add(v))]
        params = sum(g.parameters[v].size for v in own if v in g.parameters)
        macs, held = _macs(node, shapes, counts, convention), sum(g.array(v).nbytes for v in own)
        rows.append(Row(node.module or node.outputs[0], node.op, tuple(made[0]), params, macs, counts, held))
    return Summary(tuple(rows), convention)


def params(graph):
    """Trained numbers of a graph: the sum of its parameters' sizes."""
    return sum(size(array.shape) for array in graph.parameters.values())


def macs(graph):
    """Multiply-adds of a graph for one picture, by the paper convention."""
    return summary(graph).macs
