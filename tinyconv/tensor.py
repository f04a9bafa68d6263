"""Tensor: an array that remembers how it was made, and `backward`, which walks that memory (the tape) in reverse.

    y = f(x)        dL/dx = (dy/dx)^T dL/dy         the vector-Jacobian product of each operation, in reverse order of making

Every operation appends a Node to the tape: which operation, what it saved, and which tensors it came from. `backward` orders
the nodes so that each comes before those it was made from, hands every node the sum of what its consumers sent, and adds what
arrives at a leaf to its `.grad`. Cost: each node's vjp once. Source: Griewank & Walther, "Evaluating Derivatives" (2008), ch. 3.
"""
import contextlib
import operator
import threading

import numpy as np

_mode = threading.local()


def grad_enabled():
    """Whether operations are recorded on the tape in this thread."""
    return getattr(_mode, "on", True)


@contextlib.contextmanager
def no_grad():
    """Within this block (or the function it decorates) nothing is recorded: less memory, no backward.

    >>> x = tc.Tensor([1.0], requires_grad=True)
    >>> with tc.no_grad():
    ...     (x * 2).requires_grad
    False
    """
    before, _mode.on = grad_enabled(), False
    try:
        yield
    finally:
        _mode.on = before


class Node:
    """One operation that was run: what it saved, the tensors it came from, the shapes and types of what it made."""

    __slots__ = ("op", "saved", "parents", "made", "freed")

    def __init__(self, op, saved, parents, results):
        self.op, self.saved, self.parents, self.freed = op, saved, parents, False
        self.made = [(y.shape, y.dtype) for y in results]
        replaced = {output for output, _ in op.updates}
        for position, y in enumerate(results):
            if position not in replaced and y.dtype.kind == "f":
                y.requires_grad, y._node, y._position = True, self, position

    def gradients(self, dys):
        """dL/d(parents) from dL/d(outputs); an output that nobody used counts as zeros."""
        if self.freed:
            raise RuntimeError(f"backward came to {self.op.name!r} a second time, but its tape has been freed; "
                               "run the forward pass again, or keep the tape with backward(retain_graph=True)")
        dys = [np.zeros(shape, dtype) if dy is None else dy for dy, (shape, dtype) in zip(dys, self.made)]
        answers = self.op.vjp(self.saved, *dys)
        return [None if parent is None or answer is None else self._fitting(answer() if callable(answer) else answer, parent)
                for parent, answer in zip(self.parents, answers)]

    def _fitting(self, dx, parent):
        """dx, if it has its tensor's shape and type: else NumPy would stretch or convert it on the way, and nobody would see."""
        if dx.shape != parent.shape or dx.dtype != parent.dtype:
            raise RuntimeError(f"the vjp of {self.op.name!r} is wrong: it sends a gradient {dx.dtype} of shape {dx.shape} "
                               f"to a tensor {parent.dtype} of shape {parent.shape}")
        return dx

    def free(self):
        """Let go of what was kept for backward: a loss still at hand then holds no network's activations."""
        self.saved, self.parents, self.freed = None, (), True


def _reverse_order(root):
    """Nodes that `root` came from, each before those it was made from (depth first, without recursion)."""
    order, seen, stack = [], set(), [(root, False)]
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            stack.extend((p._node, False) for p in node.parents if p is not None and p._node is not None)
    return order[::-1]


class Tensor:
    """An array with a gradient: `Tensor(array, requires_grad=False)`.

    Numbers and lists become float32; arrays keep their type (float32 and float64 can have gradients). `.data` is the array
    itself, `.grad` its gradient (an array, or None before `backward`).

    >>> x = tc.Tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    array([2., 4., 6.], dtype=float32)
    """

    __slots__ = ("data", "grad", "requires_grad", "_node", "_position", "_keep", "__weakref__")
    __array_ufunc__ = None          # array * tensor asks the tensor, so that nothing leaves the tape unseen

    def __init__(self, data, requires_grad=False):
        if isinstance(data, Tensor):
            raise TypeError("data must be an array, a number or a list, not a Tensor; use detach() to leave the tape")
        array = data if isinstance(data, np.ndarray) else np.asarray(data)
        if not isinstance(data, (np.ndarray, np.generic)) and array.dtype.kind in "fiu" and array.dtype != np.float32:
            array = array.astype(np.float32)
        if array.dtype.kind not in "fiub":
            raise TypeError(f"data must hold numbers, not {array.dtype}")
        self.data, self.grad, self._node, self._position, self._keep = array, None, None, 0, False
        self.requires_grad = False
        if requires_grad:
            self.requires_grad_()

    def requires_grad_(self, requires_grad=True):
        """Ask for a gradient (or not), in place; only float32 and float64 can have one, and results cannot leave the tape."""
        if not requires_grad and self._node is not None:
            raise RuntimeError("this tensor is the result of an operation on the tape; detach() gives its array without history")
        if requires_grad and self.data.dtype not in (np.float32, np.float64):
            raise TypeError(f"only float32 and float64 tensors have gradients, not {self.data.dtype}")
        self.requires_grad = bool(requires_grad)
        return self

    shape = property(lambda self: self.data.shape)
    dtype = property(lambda self: self.data.dtype)
    ndim = property(lambda self: self.data.ndim)
    size = property(lambda self: self.data.size)
    T = property(lambda self: self.transpose())

    def detach(self):
        """The same array as a leaf without history."""
        return Tensor(self.data)

    def numpy(self):
        """The array itself. Errors: RuntimeError if the tensor is on the tape (say `detach()` first, as in PyTorch)."""
        if self.requires_grad:
            raise RuntimeError("this tensor requires a gradient; call detach().numpy()")
        return self.data

    def item(self):
        """The one number in here as a Python number."""
        return self.data.item()

    def retain_grad(self):
        """Keep `.grad` of this intermediate result too when `backward` passes it. Errors: RuntimeError off the tape."""
        if not self.requires_grad:
            raise RuntimeError("retain_grad needs a tensor that came from one with requires_grad=True, outside no_grad()")
        self._keep = True
        return self

    def zero_grad(self):
        """Forget the gradient."""
        self.grad = None

    def backward(self, grad=None, retain_graph=False):
        """Add dL/dx to `.grad` of every leaf x this tensor was made from, L being the sum of this tensor times `grad`.

        `grad` (an array of this shape) may be left out for a single number. The tape is freed on the way unless
        `retain_graph`. Errors: RuntimeError for a tensor off the tape, a freed tape, or no `grad` for many numbers;
        ValueError for a `grad` of another shape or type.
        """
        if not self.requires_grad:
            raise RuntimeError("backward needs a tensor that came from one with requires_grad=True, outside no_grad()")
        if grad is None:
            if self.data.size != 1:
                raise RuntimeError(f"backward of shape {self.shape} needs grad, an array of that shape: only one number needs none")
            grad = np.ones_like(self.data)
        grad = grad.data if isinstance(grad, Tensor) else grad if isinstance(grad, np.ndarray) else np.asarray(grad, self.dtype)
        if grad.shape != self.shape or grad.dtype != self.dtype:
            raise ValueError(f"grad must be {self.dtype} of shape {self.shape}, not {grad.dtype} of shape {grad.shape}")
        if self._node is None:
            _add_to_leaf(self, grad)
            return
        arriving = {id(self._node): [None] * len(self._node.made)}
        arriving[id(self._node)][self._position] = grad
        if self._keep:
            _add_to_leaf(self, grad)
        for node in _reverse_order(self._node):
            dys = arriving.pop(id(node), None)
            if dys is None:                                 # nothing came this way: its consumers had no gradient for it
                continue
            for parent, dx in zip(node.parents, node.gradients(dys)):
                if dx is None:
                    continue
                if parent._node is None or parent._keep:
                    _add_to_leaf(parent, dx)
                if parent._node is not None:
                    slots = arriving.setdefault(id(parent._node), [None] * len(parent._node.made))
                    at = parent._position
                    slots[at] = dx if slots[at] is None else slots[at] + dx
            if not retain_graph:
                node.free()

    def __len__(self):
        return len(self.data)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __repr__(self):
        return f"Tensor({np.array2string(self.data, prefix='Tensor(')}{', requires_grad=True' if self.requires_grad else ''})"

    def __bool__(self):
        return bool(self.data)

    def __float__(self):
        return float(self.data)

    def __add__(self, other): return _apply("add", self, other)
    def __radd__(self, other): return _apply("add", other, self)
    def __sub__(self, other): return _apply("sub", self, other)
    def __rsub__(self, other): return _apply("sub", other, self)
    def __mul__(self, other): return _apply("mul", self, other)
    def __rmul__(self, other): return _apply("mul", other, self)
    def __truediv__(self, other): return _apply("div", self, other)
    def __rtruediv__(self, other): return _apply("div", other, self)
    def __neg__(self): return _apply("neg", self)
    def __pow__(self, exponent): return _apply("pow", self, exponent=_number(exponent))
    def __matmul__(self, other): return _apply("matmul", self, other)
    def __rmatmul__(self, other): return _apply("matmul", other, self)

    def __getitem__(self, index):
        """Slices of axes, as NumPy writes them: integers, slices and Ellipsis."""
        from .ops import shaping
        return _apply("slice", self, index=shaping.index_as_json(index))

    def exp(self):
        """e^x, number by number."""
        return _apply("exp", self)

    def log(self):
        """ln x, number by number."""
        return _apply("log", self)

    def sqrt(self):
        """The square root, number by number."""
        return _apply("sqrt", self)

    def abs(self):
        """|x|, number by number."""
        return _apply("abs", self)

    def clip(self, low, high):
        """min(max(x, low), high), number by number."""
        return _apply("clip", self, low=_number(low), high=_number(high))

    def sum(self, axis=None, keepdims=False):
        """The sum over `axis` (None: all)."""
        return _apply("sum", self, axis=_axes(axis), keepdims=bool(keepdims))

    def mean(self, axis=None, keepdims=False):
        """The mean over `axis` (None: all)."""
        return _apply("mean", self, axis=_axes(axis), keepdims=bool(keepdims))

    def max(self, axis=None, keepdims=False):
        """The largest over `axis` (None: all); equal largest ones share the gradient."""
        return _apply("max", self, axis=_axes(axis), keepdims=bool(keepdims))

    def reshape(self, *shape):
        """The same numbers in another shape; one length may be -1."""
        lengths = shape[0] if len(shape) == 1 and not np.isscalar(shape[0]) else shape
        return _apply("reshape", self, shape=[operator.index(s) for s in lengths])

    def transpose(self, *axes):
        """The axes in another order (reversed if none is given), as NumPy's transpose."""
        axes = axes[0] if len(axes) == 1 and not np.isscalar(axes[0]) else axes
        return _apply("transpose", self, axes=[operator.index(a) for a in axes] if axes else list(range(self.ndim))[::-1])

    def flatten(self, start_dim=0):
        """Axes from `start_dim` on rolled into one."""
        return _apply("flatten", self, start_dim=operator.index(start_dim))


def _apply(name, *inputs, **attributes):
    from .ops import apply
    return apply(name, *inputs, **attributes)


def _number(value):
    """A NumPy number as the Python number it is: attributes are JSON, and do not widen float32."""
    return value.item() if isinstance(value, np.generic) else value


def _axes(axis):
    """An axis argument as JSON: None or a list of integers."""
    return None if axis is None else [operator.index(a) for a in ([axis] if np.isscalar(axis) else axis)]


def _add_to_leaf(leaf, dx):
    """leaf.grad += dx, in an array that is the leaf's own."""
    leaf.grad = np.array(dx) if leaf.grad is None else np.asarray(leaf.grad + dx)
