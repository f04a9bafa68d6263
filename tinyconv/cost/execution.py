"""What a convolution really executes, two ways, and the closed form of each algorithm that both must equal.

On counting numbers (small shapes): a page's own plain `forward`, `grad_input` or `grad_weight` runs in float64, and every kernel
that it calls is also run from its source on numbers that count (page `counting`), step by step:

    products       multiplications of x, w and dy with each other, each with its addition
    copies         numbers moved by adding them to zeros: windows and tiles cut out, results pasted; no multiplications
    transforms     Winograd's three matrix products around the products, by the matrices that the page generates

On ones (any size): where x and w are all ones, every product is 1, and the sum of the result is the number of products that the
compiled loops made. In float64 that is exact below 2^53. Taps that fall on padding are left out by the loops (the interior
count); with the padding filled with ones beforehand they are made and counted, as the papers do.

The transform by fft has no count: it is NumPy's.
"""
import types
from importlib import import_module

import numpy as np

from ..formulas import (
    Conv2dGeometry,
    conv2d_interior_macs,
    conv2d_macs,
    strassen_additions,
    strassen_multiplications,
    winograd_products,
    winograd_transform_macs,
)
from ..kernels import ALGORITHMS
from ..ops.table import size
from .conventions import as_float, geometry_of
from .counting import Executed, count

STEPS = {"unfold": "copies", "fold": "copies", "cut": "copies", "paste": "copies", "transform": "transforms"}    # else products
# names of the kernels of a page: all else on it is called as it is, and what it calls is watched in turn
KERNELS = {"direct": ("conv", "conv_input", "conv_weight"), "depthwise": ("conv", "conv_input", "conv_weight"),
           "pointwise": ("conv", "conv_input", "conv_weight"), "strassen": ("strassen", "winograd"),
           "im2col": ("unfold", "fold", "product", "product_input", "product_weight"),
           "winograd": ("cut", "transform", "products", "products_weight", "paste")}


def _watched(page, names, steps):
    """The page's namespace, and that of pages whose names go on from its own (winograd, winograd_steps), with each of the kernels `names` replaced
    by one that also counts into `steps` (step -> Executed)."""
    functions = [value for value in vars(page).values() if isinstance(value, types.FunctionType)]
    own = {value.__module__ for value in functions if value.__module__.startswith(f"{page.__name__}_")}
    space = {name: value for one in (*sorted(own), page.__name__) for name, value in vars(import_module(one)).items()}
    kernels = {name: space[name] for name in names}
    for name, value in list(space.items()):
        if isinstance(value, types.FunctionType) and value.__module__ in (page.__name__, *own):
            space[name] = types.FunctionType(value.__code__, space, name, value.__defaults__, value.__closure__)

    def watch(name, kernel):
        def run(*arguments):
            step = STEPS.get(name, "products")
            found, before = count(kernel, *arguments), steps.get(step, Executed(0, 0))
            steps[step] = Executed(before.multiplications + found.multiplications, before.additions + found.additions)
            return kernel(*arguments)
        return run
    space.update({name: watch(name, kernel) for name, kernel in kernels.items()})
    return space


def execute(algorithm, geometry, direction="forward", a=None, b=None):
    """(result, steps): what a page's plain kernels compute and execute; steps is step -> Executed(multiplications, additions).

    a, b: float64 arrays of forward(x, w), grad_input(dy, w) or grad_weight(dy, x), or None for random ones. Cost: about a
    microsecond a multiply-add. Errors: ValueError for "fft", and for a direction or geometry that the algorithm has not.

    >>> from tinyconv.formulas import conv2d_geometry
    >>> execute("im2col", conv2d_geometry((1, 1, 3, 3), (1, 1, 3, 3), padding=1))[1]
    {'copies': Executed(multiplications=0, additions=49), 'products': Executed(multiplications=81, additions=81)}
    """
    if algorithm == "fft" or algorithm not in ALGORITHMS:
        raise ValueError(f"algorithm must be one of {', '.join(name for name in ALGORITHMS if name != 'fft')}, not {algorithm!r}")
    g, found, rng = geometry, ALGORITHMS[algorithm], np.random.default_rng(0)
    found.require(g, direction)
    shapes = (g.x_shape if direction == "forward" else g.y_shape, g.x_shape if direction == "grad_weight" else g.w_shape)
    a, b = (rng.standard_normal(shape) if array is None else np.array(array, np.float64) for array, shape in zip((a, b), shapes))
    page, owner = found.page, None
    if not isinstance(page, types.ModuleType):                         # an object with the page's functions, as winograd2 is
        owner, page = page, import_module(type(page).__module__)
    steps = {}
    space = _watched(page, KERNELS[page.__name__.rpartition(".")[2]], steps)
    call = space[direction] if owner is None else types.FunctionType(getattr(type(owner), direction).__code__, space)
    arguments = (a, b, None, g) if direction == "forward" else (a, b, g)
    return call(*arguments) if owner is None else call(owner, *arguments), steps


def padded_macs(geometry):
    """Multiply-adds of the whole batch with padding taps counted."""
    g = geometry
    return g.n * conv2d_macs(g.c, g.f, (g.kh, g.kw), g.oh, g.ow, g.groups)


def _winograd_form(g, m, direction):
    """Steps of F(m, r) on tiles of a x a: products and transforms by `formulas`; pixels cut out of x, outputs pasted."""
    from ..kernels.winograd import turned
    t = turned(g) if direction == "grad_input" else g
    a, tiles = m + t.kh - 1, (-(-t.oh // m), -(-t.ow // m))
    cut = conv2d_interior_macs(t._replace(f=t.c, groups=t.c, kh=a, kw=a, sh=m, sw=m, oh=tiles[0], ow=tiles[1]))
    copies = cut + t.n * t.f * t.oh * t.ow                                   # for dw the tiles of dy are cut, not pasted: as many
    products, transforms = winograd_products(t, m), sum(winograd_transform_macs(t, m))
    return {"copies": Executed(0, copies), "transforms": Executed(transforms, transforms),
            "products": Executed(products, products)}


def closed_form(algorithm, geometry, direction="forward"):
    """step -> Executed: what `execute` must find, by formula, for the whole batch.

    >>> from tinyconv.formulas import conv2d_geometry
    >>> g = conv2d_geometry((1, 2, 4, 4), (3, 2, 3, 3), padding=1)
    >>> [closed_form(name, g)["products"].multiplications for name in ("direct", "im2col", "winograd2", "winograd4")]
    [600, 864, 384, 216]
    """
    g, interior = geometry, conv2d_interior_macs(geometry)
    if algorithm in ("direct", "depthwise", "pointwise"):
        return {"products": Executed(interior, interior)}
    if algorithm == "im2col":
        every = padded_macs(g)
        return {"copies": Executed(0, interior * g.groups // g.f), "products": Executed(every, every)}
    if algorithm in ("winograd2", "winograd4"):
        return _winograd_form(g, ALGORITHMS[algorithm].page.m, direction)
    if algorithm in ("strassen", "strassen_winograd"):
        from ..kernels.strassen import levels_for
        variant = ALGORITHMS[algorithm].page.variant
        sizes = g.f // g.groups, g.c // g.groups * g.kh * g.kw, g.oh * g.ow
        levels, times = levels_for(*sizes), g.n * g.groups
        return {"products": Executed(times * strassen_multiplications(*sizes, levels),
                                     times * strassen_additions(*sizes, levels, variant))}
    raise ValueError(f"algorithm must be one of {', '.join(name for name in ALGORITHMS if name != 'fft')}, not {algorithm!r}")


# ---- at any size ------------------------------------------------------------------------------------------------------------

def conv2d_on_ones(geometry, padded=False):
    """Multiply-adds that the compiled loops of `direct` execute: without the taps on padding, or with them. An exact integer.

    >>> from tinyconv.formulas import conv2d_geometry
    >>> g = conv2d_geometry((1, 1, 3, 3), (1, 1, 3, 3), padding=1)
    >>> conv2d_on_ones(g), conv2d_on_ones(g, padded=True)
    (49, 81)
    """
    from ..kernels import direct
    g = geometry
    if padded:
        g = g._replace(h=g.h + g.top + g.bottom, w=g.w + g.left + g.right, top=0, bottom=0, left=0, right=0)
    y = np.zeros(g.y_shape)
    direct.conv(np.ones(g.x_shape), np.ones(g.w_shape), y, g.sh, g.sw, g.top, g.left, g.dh, g.dw, g.groups)
    return int(y.sum())


def matmul_on_ones(m, k, n):
    """Multiply-adds that the compiled loops of `gemm` execute for (M,K) times (K,N). An exact integer."""
    from ..kernels import gemm
    c = np.zeros((m, n))
    gemm.product(np.ones((m, k)), np.broadcast_to(np.ones(()), (k, n)), c)
    return int(c.sum())


def job(row):
    """What has to be run to count a row of a cost table: a `Conv2dGeometry`, (M, K, N) of a matrix product with how many of them
    there are, or None for an operation without multiply-adds. Equal jobs execute equal counts.
    """
    kind = as_float(row.kind)
    if not row.counts.macs:
        return None
    if kind == "conv2d":
        return geometry_of(row)
    (*before, k), n = row.inputs[0], row.shape[-1]
    return (size(before), k, n, 1) if kind == "linear" else (before[-1], k, n, size(before[:-1]))


def run(job, padded=True):
    """Multiply-adds that a job executes on ones; `padded` says whether padding is filled first."""
    return conv2d_on_ones(job, padded) if isinstance(job, Conv2dGeometry) else job[3] * matmul_on_ones(*job[:3])


def row_on_ones(row, padded=True):
    """Multiply-adds that one row of a cost table executes at its real size, taps on padding counted or left out: an integer."""
    found = job(row)
    return 0 if found is None else run(found, padded)
