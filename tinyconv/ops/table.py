"""What an operation is: one entry of the table that autograd, shape-only tracing, cost tables and the graph runner all read.

    forward(*arrays, **attributes) -> outputs, saved      outputs: an array or a tuple of arrays; saved: whatever vjp needs
    vjp(saved, *dy) -> one gradient an input              given dL/d(outputs), the vector-Jacobian product dL/d(inputs)
    shape(*shapes, **attributes) -> output shape(s)       the same rule on shapes alone
    counts(shapes, outputs, **attributes) -> Counts       operations executed, in closed form

Inputs are arrays, Python numbers, or None where an argument is absent. Attributes are JSON values, so that a network can be
written to a file. An operation holds no state: what changes with the mode or the dice comes in at run time (`runtime`),
and new running statistics go out as outputs (`updates` says which input each replaces).
A gradient in the answer of `vjp` may be None (no gradient), an array, or a function of no argument that makes the array:
it is called only if that input needs a gradient, so that the first layer never computes its dL/dx.
An operation whose work on its constants is worth keeping (packing weights) may say how:
    prepare(x_shape, x_dtype, *constants, **attributes) -> run;  run(x) == forward(x, *constants, **attributes)[0]
bit by bit; or None where nothing is gained, or the same bits cannot be promised. A run may do what stands behind it too: `conv.Planned`.
"""
from dataclasses import dataclass
from typing import Callable, NamedTuple, Optional


class Counts(NamedTuple):
    """Operations executed, by kind. `macs` are the multiply-adds of convolution and linear layers (1 MAC = 2 FLOPs)."""

    macs: int = 0
    additions: int = 0
    multiplications: int = 0
    comparisons: int = 0
    special: int = 0        # divisions, exponentials, square roots


@dataclass(frozen=True)
class Op:
    """One operation; the fields are explained at the top of this page."""

    name: str
    forward: Callable
    vjp: Optional[Callable]
    shape: Callable
    counts: Callable
    runtime: tuple = ()
    updates: tuple = ()
    prepare: Optional[Callable] = None


TABLE = {}


def register(name, forward, vjp, shape, counts, runtime=(), updates=(), prepare=None):
    """Put one operation into the table. Errors: ValueError if the name is taken."""
    if name in TABLE:
        raise ValueError(f"operation {name!r} is in the table already")
    TABLE[name] = Op(name, forward, vjp, shape, counts, tuple(runtime), tuple(updates), prepare)


def lookup(name):
    """The entry of operation `name`. Errors: ValueError naming the operation if the table has none."""
    if name not in TABLE:
        raise ValueError(f"unknown operation {name!r}; the table has {', '.join(sorted(TABLE))}")
    return TABLE[name]


def size(shape):
    """How many numbers an array of this shape holds.

    >>> size((2, 3, 4))
    24
    """
    total = 1
    for length in shape:
        total *= length
    return total


def same_shape(x, *others, **attributes):
    """Shape rule of operations that work number by number on their first input."""
    return tuple(x)


def free(shapes, outputs, **attributes):
    """Counts of operations that only move or rename numbers: none."""
    return Counts()
