"""Taking whole blocks out of a network, the coarsest pruning: what stands behind a block reads what the block read.

A block is the part of a graph that one module wrote (names as in the model: "layer1.1", "features.7", down to single layers).
It can go if it reads one value, makes one that others read, and both have one shape: a residual block without projection, one
of the 512 -> 512 separable blocks of MobileNetV1, a 3x3 convolution of VGG with as many filters as channels. Of a residual
block y = x + F(x) the input remains, y = x: the masked form is F multiplied by 0 before it is added. Any other block is replaced
by the identity, which is another function; fine-tune.
MACs after = MACs before - Σ MACs of the blocks, exactly; parameters likewise, those that a layer outside reads too stay.
Sources: residual networks survive the loss of a block (Veit, Wilber & Belongie 2016, section 4.1); MobileNetV1's shallow
control is its network without five such blocks (Howard et al. 2017, Table 5).
"""
from typing import NamedTuple

from ..cost import summary
from ..graph import Node, shapes
from ._checks import check_graph


class Block(NamedTuple):
    """A block that can go: the value it reads, the value it makes, how many nodes it has, what leaves with it, and whether it is
    residual: the sum of what it reads and something else, then possibly the ReLU that what it reads has been through already.
    """

    source: str
    result: str
    nodes: int
    macs: int
    params: int
    residual: bool


def blocks(g):
    """Module name -> Block, of every part with multiply-adds that can be taken out; a block may lie within another.

    >>> g = tc.trace(tc.models.resnet_small(rng=0), (1, 1, 28, 28))
    >>> [(name, block.residual, block.macs) for name, block in tc.apply.blocks(g).items() if "conv" not in name]
    [('layer1', True, 903168), ('layer1.0', True, 903168)]
    """
    check_graph(g)
    known, rows, inside = shapes(g), summary(g).rows, {}
    for i, node in enumerate(g.nodes):
        parts = node.module.split(".") if node.module else []
        for depth in range(1, len(parts) + 1):
            inside.setdefault(".".join(parts[:depth]), []).append(i)
    found = {}
    for name, indices in inside.items():
        macs = sum(rows[i].macs for i in indices)
        ends = _ends(g, [g.nodes[i] for i in indices]) if macs else None
        if ends and known[ends[0]] == known[ends[1]] and not (ends[0] in g.inputs and ends[1] in g.outputs):
            nodes = [g.nodes[i] for i in indices]
            found[name] = Block(*ends, len(nodes), macs, _params(g, nodes), _is_residual(g, nodes, *ends))
    return found


def _ends(g, nodes):
    """(value read, value made) of a part of the graph; None if it reads or makes more than one that the rest knows."""
    made, arrays = {v for node in nodes for v in node.outputs}, g.arrays()
    read = {v for node in nodes for v in node.values()} - made - arrays.keys()
    mine = set(map(id, nodes))
    seen = {v for node in g.nodes if id(node) not in mine for v in node.values()}
    shown = made & (seen | set(g.outputs))
    return (*read, *shown) if len(read) == len(shown) == 1 else None


def _params(g, nodes):
    """Trained numbers that only these nodes read."""
    mine = set(map(id, nodes))
    others = {v for node in g.nodes if id(node) not in mine for v in node.values()}
    own = {v for node in nodes for v in node.values()} - others
    return sum(a.size for name, a in g.parameters.items() if name in own)


def _is_residual(g, nodes, source, result):
    """Is the block x + F(x), or relu(x + F(x)) of an x that no further ReLU changes?"""
    makers, mine = g.producers(), {v for node in nodes for v in node.outputs}
    node = makers[result]
    if node.op in ("relu", "relu6") and node.inputs[0] in mine:
        before = makers.get(source)
        while before is not None and before.op == "max_pool2d":
            before = makers.get(before.inputs[0])
        if before is None or before.op != node.op:
            return False
        node = makers[node.inputs[0]]
    return node.op == "add" and source in node.inputs and any(v in mine for v in node.values())


def remove_blocks(g, names):
    """A Graph without these blocks; other arrays keep every bit. names: of modules, as `blocks` has them.

    Errors: ValueError for a block that cannot go, naming those that can, for one inside another of the names, and for none.

    >>> g = tc.trace(tc.models.resnet_small(rng=0), (1, 1, 28, 28))
    >>> tc.cost.macs(g) - tc.cost.macs(tc.apply.remove_blocks(g, ["layer1.0"]))
    903168
    """
    able, names = blocks(g), [names] if isinstance(names, str) else list(names)
    if not names or not set(names) <= able.keys():
        wrong = ", ".join(str(name) for name in names if name not in able) or "none"
        raise ValueError(f"names must be of blocks that read and make one value of one shape, not {wrong}; "
                         f"there are {', '.join(able) or 'none'}")
    inner = [f"{a} in {b}" for a in names for b in names if a.startswith(f"{b}.")]
    if inner:
        raise ValueError(f"names must not lie within each other: {', '.join(inner)}")
    instead = {able[name].result: able[name].source for name in names}

    def now(value):
        while value in instead:
            value = instead[value]
        return value
    kept = [node for node in g.nodes if not any(node.module == name or node.module.startswith(f"{name}.") for name in names)]
    nodes = [Node(node.op, tuple(map(now, node.inputs)), node.outputs, node.attributes, node.module) for node in kept]
    return g.replace(nodes=tuple(nodes), outputs=tuple(map(now, g.outputs)))
