"""Steps: the nodes of a graph in the order in which they run, a convolution together with what stands behind it.

    y = clip(conv(x, w) + b + R, low, high)         conv2d, add (of a residual connection) and relu or relu6: one pass over memory, not three

Joined are nodes whose values nobody else reads. They run where the last of them stands, so that R is there. A step is only a proposal: if its
operation cannot do all of it in one pass, bit by bit as the nodes one after the other, they run one after the other.
"""
from typing import NamedTuple

import numpy as np

from ..ops import TABLE

CLIPS = {"relu": (0.0, np.inf), "relu6": (0.0, 6.0)}


class Step(NamedTuple):
    """`nodes` as one; `number`: the first one's place in the graph; `residual`: the name of R, or None; `finished`: names to let go afterwards;
    `constant`: does the first node read nothing but x and arrays of the graph, so that what it works out from them may be kept?"""

    number: int
    nodes: tuple
    residual: str | None
    low: float
    high: float
    finished: tuple
    constant: bool


def steps(graph, joined):
    """All nodes of the graph as a list of Step, in the order in which they run: joined where they can be, or each by itself."""
    chains, taken, places = {}, set(), {id(node): i for i, node in enumerate(graph.nodes)}
    readers = graph.consumers() if joined else {}
    for number, node in enumerate(graph.nodes):
        chain, residual, bounds = _chain(graph, node, readers, taken) if joined and node.op == "conv2d" else ([node], None, None)
        if len(chain) > 1 or id(node) not in taken:
            taken.update(map(id, chain))
            chains[places[id(chain[-1])]] = number, chain, residual, bounds or (-np.inf, np.inf)
    ordered = [chains[place] for place in sorted(chains)]
    finished = _finished(graph, [chain for _, chain, _, _ in ordered])
    return [Step(number, tuple(chain), residual, *bounds, tuple(names), _constant(chain[0], graph))
            for (number, chain, residual, bounds), names in zip(ordered, finished)]


def _constant(node, graph):
    """Does this node read x, made or given, and beside it only arrays of the graph and numbers?"""
    return (TABLE[node.op].prepare is not None and isinstance(node.inputs[0], str)
            and not any(isinstance(v, str) and v not in graph.parameters and v not in graph.buffers for v in node.inputs[1:]))


def _chain(graph, node, readers, taken):
    """The nodes that a convolution can do in its own pass, itself first; the name of R or None; the bounds or None."""
    chain, residual, bounds = [node], None, None
    while bounds is None and node.attributes.get("low") is None:
        name = chain[-1].outputs[0]
        after = readers.get(name, ())
        if len(after) != 1 or name in graph.outputs or id(after[0]) in taken:
            break
        after, = after
        if after.op in CLIPS:
            bounds = CLIPS[after.op]
        elif after.op == "add" and residual is None and all(isinstance(v, str) for v in after.inputs) and after.inputs[0] != after.inputs[1]:
            residual, = (v for v in after.inputs if v != name)
        else:
            break
        chain.append(after)
    return chain, residual, bounds


def _finished(graph, chains):
    """For each chain the names that nothing reads after it, and that the network does not return: they can be let go."""
    last, kept = {}, {*graph.outputs, *graph.parameters, *graph.buffers}
    for i, chain in enumerate(chains):
        inner = {node.outputs[0] for node in chain[:-1]}
        names = {name for node in chain for name in (*node.outputs, *node.values())} - inner
        last.update(dict.fromkeys(names, i))
    found = [[] for _ in chains]
    for name, i in last.items():
        if name not in kept:
            found[i].append(name)
    return found
