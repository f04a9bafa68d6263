"""Which convolution algorithm? The table of them, and the one by a name; what "auto" means is `choice`, "fast" and "plain" are `modes`.

An algorithm is a page of this folder with five functions of the same names and signatures:

    forward(x, w, bias, geometry) -> y            x (N,C,H,W), w (F,C/G,KH,KW), bias (F,) or None -> y (N,F,OH,OW)
    grad_input(dy, w, geometry) -> dx             the adjoint in x: dy (N,F,OH,OW) -> dx (N,C,H,W)
    grad_weight(dy, x, geometry) -> dw            the adjoint in w: -> dw (F,C/G,KH,KW)
    supports(geometry) -> bool                    is this geometry one the page can compute?
    workspace_bytes(geometry, direction="forward", dtype=np.float32) -> int    scratch memory beside arguments and result

A page may hold several algorithms as objects with these functions (`inside` names the object), and a reference may be forward only
(`directions`). A page is imported, and with it numba, when one of its functions is first called; this page imports neither. It computes
nothing: what binds an algorithm is told on its page.
"""
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module

import numpy as np

from . import layout
from .choice import DIRECTIONS, choose
from .modes import MODES, is_fast, mode, use

__all__ = ["ALGORITHMS", "Algorithm", "DIRECTIONS", "MODES", "algorithm", "checked", "choose", "is_fast", "mode", "scratch", "use"]


@dataclass(frozen=True)
class Algorithm:
    """One way to compute a convolution and, if `directions` says so, both its gradients.

    `tolerance` is the c of |err| <= c * n * u * conv(|x|, |w|): n the number of summed terms, u the unit roundoff of the
    dtype. 1 is the bound of any order of summation. An algorithm that transforms its input has no such bound for each
    number by itself (tolerance is then None): its page has `error_bound(direction, a, b, geometry, bias, dtype)` instead.
    """

    name: str
    tolerance: float | None
    about: str
    inside: str = ""
    directions: tuple = DIRECTIONS

    @cached_property
    def page(self):
        """The module that holds the algorithm, or the object `inside` it ("module.object"), imported on first use."""
        module, _, name = self.inside.partition(".")
        page = import_module(f"{__package__}.{module or self.name}")
        return getattr(page, name) if name else page

    def supports(self, geometry):
        """Can it compute this geometry?"""
        return self.page.supports(geometry)

    def workspace_bytes(self, geometry, direction="forward", dtype=np.float32):
        """Scratch memory in bytes with the present mode and thread count, beside arguments, result and changes of layout."""
        if direction not in DIRECTIONS:
            raise ValueError(f"direction must be one of {', '.join(DIRECTIONS)}, not {direction!r}")
        self.require(geometry, direction)
        return self.page.workspace_bytes(geometry, direction, np.dtype(dtype))

    def require(self, geometry, direction="forward"):
        """Raise ValueError unless the algorithm has the direction and supports the geometry."""
        if direction not in self.directions:
            raise ValueError(f"algorithm {self.name!r} has no {direction} ({self.about}): it computes {', '.join(self.directions)}; "
                             f'"auto" chooses one that does')
        if not self.supports(geometry):
            raise ValueError(f"algorithm {self.name!r} does not support this convolution ({self.about}): {geometry}; "
                             f'"auto" chooses one that does')

    def forward(self, x, w, bias, geometry):
        """y = conv(x, w) + bias. Errors: ValueError if the geometry is not supported."""
        self.require(geometry)
        return self.page.forward(x, w, bias, geometry)

    def plan(self, w, bias, geometry):
        """The forward pass made ready for one geometry and these weights: run(x (N,C,H,W), R=None, low=-inf, high=inf) gives
        clip(conv(x, w) + bias + R, low, high). Pages that can, pack the weights once and keep their working memory. None if w is not finite and
        the fast kernel would multiply padding by it."""
        self.require(geometry)
        if hasattr(self.page, "plan") and is_fast(w.dtype):
            return self.page.plan(w, bias, geometry)
        w, bias = w.copy(), None if bias is None else bias.copy()

        def run(x, R=None, low=-np.inf, high=np.inf):
            y = self.page.forward(x, w, bias, geometry)
            return np.clip(y if R is None else y + R, w.dtype.type(low), w.dtype.type(high))
        return run

    def standing(self, w, bias, geometry):
        """The forward pass made ready for many calls: `plan`, with x and R held to their shapes and types, and, where the page can, weights packed
        and all other arguments laid down once (page `standing`)."""
        self.require(geometry)
        found = self.page.standing(w, bias, geometry) if hasattr(self.page, "standing") and is_fast(w.dtype) else None
        return found or checked(self.plan(w, bias, geometry), geometry.x_shape, geometry.y_shape, w.dtype)

    def grad_input(self, dy, w, geometry):
        """dx, the adjoint in x. Errors: ValueError if the geometry is not supported."""
        self.require(geometry, "grad_input")
        return self.page.grad_input(dy, w, geometry)

    def grad_weight(self, dy, x, geometry):
        """dw, the adjoint in w. Errors: ValueError if the geometry is not supported."""
        self.require(geometry, "grad_weight")
        return self.page.grad_weight(dy, x, geometry)


ALGORITHMS = {a.name: a for a in (
    Algorithm("direct", 1.0, "any geometry"),
    Algorithm("depthwise", 1.0, "every input channel by itself: groups == C"),
    Algorithm("pointwise", 1.0, "a 1x1 window at stride 1, without groups or padding"),
    Algorithm("im2col", 1.0, "any geometry"),
    Algorithm("winograd2", None, "F(2,r): a square window of at least 2x2 at stride 1, without dilation or groups", "winograd.winograd2"),
    Algorithm("winograd4", None, "F(4,r): a square window of at least 2x2 at stride 1, without dilation or groups", "winograd.winograd4"),
    Algorithm("fft", None, "a reference, forward only", "", ("forward",)),
    Algorithm("strassen", None, "a reference, forward only", "strassen.by_strassen", ("forward",)),
    Algorithm("strassen_winograd", None, "a reference, forward only", "strassen.by_winograd", ("forward",)),
)}


def checked(run, x_shape, y_shape, dtype):
    """run(x, R, low, high), with x and R of other shapes or another type refused."""
    def plan(x, R=None, low=-np.inf, high=np.inf):
        if x.shape != x_shape or x.dtype != dtype:
            raise ValueError(f"x must be {dtype} of shape {x_shape}, not {x.dtype} of shape {x.shape}")
        if R is not None and R.shape != y_shape:
            raise ValueError(f"R must have shape {y_shape}, not {R.shape}")
        return run(x, R, low, high)
    return plan


def algorithm(name, geometry, direction="forward", dtype=np.float32):
    """The Algorithm of that name, "auto" being answered by `choose`.

    Errors: ValueError listing the names if there is none of that name; ValueError if it lacks the direction or does not support the geometry.
    """
    if name == "auto":
        return ALGORITHMS[choose(geometry, direction, dtype)]
    if not isinstance(name, str) or name not in ALGORITHMS:
        raise ValueError(f"algorithm must be \"auto\" or one of {', '.join(ALGORITHMS)}, not {name!r}")
    found = ALGORITHMS[name]
    found.require(geometry, direction)
    return found


def scratch(shape, dtype=np.float32):
    """Uninitialised working memory for a kernel, beginning at a multiple of 64 bytes.

    Every page takes its working memory here, so that `workspace_bytes` can be held against what is really taken.
    """
    return layout.room(shape, dtype)


def loose(count):
    """Working memory for so many integers of 8 bytes, taken in less time: compiled code finds the line where it begins, for which there is room."""
    return np.empty(count + 8, np.int64)
