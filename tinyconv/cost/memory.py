"""How much memory do activations take? By liveness: a number lives from the node that makes it to the last node that reads it.

    live(node) = Σ bytes of the values made before it and still to be read + Σ bytes of its results
    peak       = max over nodes of live(node)

The order is the graph's. Weights are not counted. Views (reshape, flatten, split, slice, transpose, and dropout, which does
nothing when it does not train) have no memory of their own: they are further names of what they look at, which lives until the
last of its names is read. The runner lets go of a value by the same rule, so that what it really holds is this number (tests
count it). With in_place, BatchNorm and activations overwrite their input where nobody reads it afterwards, as inference engines
do.
Sources: liveness: Aho, Lam, Sethi & Ullman, "Compilers" (2006), section 9.2; peak memory as the limit of small devices:
Chowdhery et al., "Visual wake words dataset" (2019), section 2.
"""
from typing import NamedTuple

from ..graph import shapes as shapes_of
from ..ops import lookup
from ..ops.table import size

VIEWS = frozenset({"reshape", "flatten", "split", "slice", "transpose", "dropout"})
IN_PLACE = frozenset({"batch_norm", "relu", "relu6", "leaky_relu", "sigmoid", "tanh", "silu", "hardsigmoid", "hardswish", "clip"})
INT8 = frozenset({"quantize", "qconv2d", "qlinear", "qadd", "qglobal_average_pool", "qmul", "qlook_up", "qmax_pool2d", "qavg_pool2d"})
ITEMSIZE = {"float64": 8, "float32": 4, "int64": 8, "int32": 4, "int8": 1, "uint8": 1}


class Live(NamedTuple):
    """Bytes of activations at one node, and which node that is (its module, or the name of its result)."""

    bytes: int
    node: str


def dtypes(graph):
    """name -> dtype as text of every value: arrays have their own, inputs that of the parameters, results that of what is read.

    The integer operations make int8, `dequantize` float32.
    """
    known = {name: str(array.dtype) for name, array in graph.arrays().items()}
    floating = next((str(a.dtype) for a in graph.parameters.values()), "float32")
    known.update(dict.fromkeys(graph.inputs, floating))
    for node in graph.nodes:
        kind = "float32" if node.op == "dequantize" else known[node.values()[0]] if node.values() else floating
        kind = "int8" if node.op in INT8 else kind
        known.update(dict.fromkeys(node.outputs, kind))
    return known


def _places(graph, in_place):
    """name -> the name whose memory it uses, for every activation."""
    home, readers = {name: name for name in graph.inputs}, graph.consumers()
    last = {}                                             # place -> position of the last node that reads any of its names
    for i, node in enumerate(graph.nodes):
        for name in node.values():
            if name in home:
                last[home[name]] = i
        source = node.values()[0] if node.values() else None
        replaced = {source for source, _ in lookup(node.op).updates}
        overwrites = in_place and node.op in IN_PLACE and source in home and _dies(graph, home, readers, source, i)
        for j, name in enumerate(node.outputs):
            if j not in replaced:
                home[name] = home[source] if source in home and (node.op in VIEWS or overwrites) else name
    for name in graph.outputs:
        if name in home:
            last[home[name]] = len(graph.nodes)
    return home, last


def _dies(graph, home, readers, source, i):
    """Is node i the last to read the memory of `source` under any of its names so far?"""
    names = [name for name, place in home.items() if place == home[source]]
    later = {id(node) for node in graph.nodes[i + 1:]}
    return not any(name in graph.outputs or id(node) in later for name in names for node in readers.get(name, ()))


def live(graph, batch=1, in_place=False):
    """Bytes of activations at every node, in order: a list of `Live`.

    >>> g = tc.trace(tc.nn.Sequential(tc.nn.Conv2d(1, 2, 3, padding=1, rng=0), tc.nn.ReLU()), (1, 1, 4, 4))
    >>> [step.bytes for step in live(g)], [step.bytes for step in live(g, in_place=True)]        # 16 -> 32 -> 32 numbers
    ([192, 256], [192, 128])
    """
    shapes, kinds = shapes_of(graph, batch=batch), dtypes(graph)
    home, last = _places(graph, in_place)
    nbytes = {name: size(shapes[name]) * ITEMSIZE[kinds[name]] for name in home}
    held, steps = {name: nbytes[name] for name in graph.inputs}, []
    for i, node in enumerate(graph.nodes):
        held.update({home[name]: nbytes[home[name]] for name in node.outputs if name in home})
        steps.append(Live(sum(held.values()), node.module or node.outputs[0]))
        held = {name: length for name, length in held.items() if last.get(name, i) > i}
    return steps


def peak(graph, batch=1, in_place=False):
    """The most memory that activations take at one time, and at which node: `Live(bytes, node)`.

    >>> tc.cost.peak(tc.trace(tc.models.mobilenet_v2_small(rng=0), (1, 1, 28, 28), check=False)).node
    'features.2.conv.0.1'
    """
    return max(live(graph, batch, in_place), key=lambda step: step.bytes, default=Live(0, ""))
