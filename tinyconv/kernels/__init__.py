"""Floor 1: plain arrays in, plain arrays out. The convolution engine.

Shapes are (N,C,H,W) and (F,C/G,KH,KW); the memory under them may be channels-last (`layout`). float32 takes the fast
kernels and returns channels-last memory; float64, and everything under `use("plain")`, takes the readable loops.

| idea                                          | page                                |
|-----------------------------------------------|-------------------------------------|
| the formula, never optimised: the oracle      | reference                           |
| the seven loops                               | direct                              |
| one channel at a time                         | depthwise                           |
| one pixel at a time: a matrix product         | pointwise, gemm (_kernel)           |
| copied windows, then a matrix product         | im2col (_loops)                     |
| tiles with fewer products                     | winograd (_matrices, _steps, _scheme, _lines, _transforms, _pixels, _filters, _tiles) |
| references: frequencies; seven for eight      | fft, strassen                       |
| vectors, and sums kept in registers           | simd, tile, strip (_lower, _lower_simd, _tile, _products, _strip) |
| the fast loops made of them                   | indirect (_scheme, _kernel), packing, stems, cutting, outer_products (outer_kernel), planes (_scheme, _kernel) |
| arguments laid down once                      | standing (_standing)                |
| windows without weights; per-channel scaling  | pool (_windows, _kernels), norm (_loops, _kernels), sums, activations |
| the optimisers' steps; channels moved about    | steps, rows                         |
| networks in integers, four rules of rounding  | integer (_layers, _pointwise, _pool, _kernels), codes, requantization |
| products of bytes, and layers made of them    | byte_tile (_lower_bytes, _codes, _vectors), byte_kernel, byte_planes, byte_conv |
| who computes what                             | select, choice, modes, threads, workers (_launch, _mailbox, _memory), layout, _jit (_cache) |
| what the machine allows                       | machine (_kernels)                  |

Constants found by trial say so; benchmarks/bench_constants.py tries others.
This page imports no other page that needs numba: each function imports its own on first call.
"""
from functools import lru_cache
from importlib import import_module

import numpy as np

from ..formulas.geometry import conv2d_geometry, is_integer, pair
from .select import ALGORITHMS, algorithm as _algorithm, is_fast, mode, use
from .threads import get_num_threads, set_num_threads

__all__ = [
    "ALGORITHMS", "adam_step", "adaptive_avg_pool2d", "adaptive_avg_pool2d_grad", "avg_pool2d", "avg_pool2d_grad",
    "batch_norm_apply", "batch_norm_grad", "batch_norm_scales", "batch_norm_statistics", "batch_norm_train", "channel_sums",
    "clip", "clip_grad", "clip_grad_sums", "concat", "conv2d", "conv2d_grad_input", "conv2d_grad_weight", "get_num_threads",
    "integer", "matmul", "max_pool2d", "max_pool2d_grad", "mode", "pick", "plan_conv2d", "set_num_threads", "sgd_step",
    "shuffle", "use",
]


FLOAT32 = np.dtype(np.float32)


def __getattr__(name):
    if name == "integer":
        return import_module(f"{__name__}.integer")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@lru_cache(maxsize=None)
def _page(name):
    return import_module(f"{__name__}.{name}")


def _floats(**arrays):
    """Refuse anything but NumPy arrays of one floating dtype, float32 or float64; None is an argument left out."""
    for array in arrays.values():
        if array is not None and (type(array) is not np.ndarray or array.dtype is not FLOAT32):
            break
    else:
        return                                                          # float32 arrays, as nearly always
    first = None
    for name, array in arrays.items():
        if array is None:
            continue
        if not isinstance(array, np.ndarray):
            raise TypeError(f"{name} must be a NumPy array, not {type(array).__name__}")
        kind = array.dtype.char
        if kind != "f" and kind != "d" or not array.dtype.isnative:
            raise TypeError(f"{name} must be float32 or float64, not {array.dtype}: convert with {name}.astype(np.float32)")
        if first is None:
            first = name
        elif kind != arrays[first].dtype.char:
            raise TypeError(f"{first} is {arrays[first].dtype} but {name} is {array.dtype}: both must be of one dtype")


def _shape(name, array, shape):
    if array.shape != tuple(shape):
        raise ValueError(f"{name} must have shape {tuple(shape)}, not {array.shape}")


def _four(name, array):
    if array.ndim != 4 or 0 in array.shape:
        raise ValueError(f"{name} must have four axes (N, C, H, W), none of them empty, not shape {array.shape}")


def conv2d(x, w, bias=None, stride=1, padding=0, dilation=1, groups=1, algorithm="auto", low=None, high=None):
    """Two-dimensional convolution (cross-correlation: filters are not flipped).

        y[n,f,i,j] = bias[f] + sum over c,u,v of  w[f,c,u,v] * x[n, g*C/G + c, i*S - P + u*D, j*S - P + v*D],  g = f // (F/G)

    x (N,C,H,W), w (F,C/G,KH,KW), bias (F,) or None -> y (N,F,OH,OW); values of x outside the image are 0.
    Cost: N*OH*OW*F*(C/G)*KH*KW multiply-adds, padding taps counted. NaN and infinities pass through; in weights over padding
    they give NaN in the algorithms that multiply by padding (depthwise, im2col), nothing in those that leave it out.
    `padding`: an integer, a pair, "same", "valid" or ((top, bottom), (left, right)). `algorithm`: a name of ALGORITHMS. low, high: y is clipped
    on its way to memory, as a ReLU behind it would. Errors: TypeError for anything but float32 or float64 arrays of one dtype; GeometryError (a ValueError) for sizes that do
    not fit; ValueError for an unknown algorithm or one that does not support the geometry.
    Source: Dumoulin & Visin, "A guide to convolution arithmetic for deep learning" (2016), section 2.

    >>> y = conv2d(np.ones((1, 1, 3, 3)), np.ones((1, 1, 3, 3)), padding=1)
    >>> y[0, 0, 1].tolist()
    [6.0, 9.0, 6.0]
    """
    _floats(x=x, w=w, bias=bias)
    geometry = conv2d_geometry(x.shape, w.shape, stride, padding, dilation, groups)
    if bias is not None:
        _shape("bias", bias, (geometry.f,))
    found = _algorithm(algorithm, geometry, "forward", x.dtype)
    if low is None:
        return found.page.forward(x, w, bias, geometry)
    run = found.plan(w, bias, geometry) if is_fast(x.dtype) else None
    if run is not None:
        return run(x, None, low, high)
    return clip(found.page.forward(x, w, bias, geometry), low, high)


def plan_conv2d(x_shape, w, bias=None, stride=1, padding=0, dilation=1, groups=1, algorithm="auto"):
    """The convolution of `conv2d` made ready for one shape and these weights: pack once, call often.

    x_shape (N,C,H,W), the rest as `conv2d` -> plan; plan(x, R=None, low=-inf, high=inf) -> clip(conv2d(x, w, bias) + R, low, high), where R is a
    residual of the result's shape. The weights are copied: later changes of w are not seen. One caller at a time may use a plan. Errors: as
    `conv2d`; ValueError if w is not finite; by the plan, ValueError for another shape than x_shape.

    >>> plan = plan_conv2d((1, 1, 3, 3), np.ones((1, 1, 3, 3), np.float32), padding=1)
    >>> plan(np.ones((1, 1, 3, 3), np.float32), high=5)[0, 0, 0].tolist()
    [4.0, 5.0, 4.0]
    """
    _floats(w=w, bias=bias)
    geometry = conv2d_geometry(x_shape, w.shape, stride, padding, dilation, groups)
    if bias is not None:
        _shape("bias", bias, (geometry.f,))
    if not np.isfinite(w).all():
        raise ValueError("w must be finite: a plan multiplies padding by it")
    return _algorithm(algorithm, geometry, "forward", w.dtype).standing(w, bias, geometry)


def conv2d_grad_input(dy, w, x_shape, stride=1, padding=0, dilation=1, groups=1, algorithm="auto"):
    """Gradient of a convolution in its input, the transposed convolution: every product goes back where it came from.

        dx[n, g*C/G + c, i*S - P + u*D, j*S - P + v*D] += w[f,c,u,v] * dy[n,f,i,j]

    dy (N,F,OH,OW), w (F,C/G,KH,KW), x_shape (N,C,H,W) -> dx of shape x_shape. Cost: that of the forward pass.
    Invariant: sum(conv2d(x, w) * dy) == sum(x * dx) for every x. Errors: as `conv2d`; ValueError if dy has another shape
    than the convolution's result.
    """
    _floats(dy=dy, w=w)
    geometry = conv2d_geometry(x_shape, w.shape, stride, padding, dilation, groups)
    _shape("dy", dy, geometry.y_shape)
    return _algorithm(algorithm, geometry, "grad_input", dy.dtype).page.grad_input(dy, w, geometry)


def conv2d_grad_weight(dy, x, w_shape, stride=1, padding=0, dilation=1, groups=1, algorithm="auto"):
    """Gradient of a convolution in its weights.

        dw[f,c,u,v] = sum over n,i,j of  dy[n,f,i,j] * x[n, g*C/G + c, i*S - P + u*D, j*S - P + v*D]

    dy (N,F,OH,OW), x (N,C,H,W), w_shape (F,C/G,KH,KW) -> dw of shape w_shape. Cost: that of the forward pass.
    Invariant: sum(conv2d(x, w) * dy) == sum(w * dw) for every w. Errors: as `conv2d_grad_input`.
    """
    _floats(dy=dy, x=x)
    geometry = conv2d_geometry(x.shape, w_shape, stride, padding, dilation, groups)
    _shape("dy", dy, geometry.y_shape)
    return _algorithm(algorithm, geometry, "grad_weight", dy.dtype).page.grad_weight(dy, x, geometry)


def matmul(a, b, transpose_a=False, transpose_b=False):
    """Matrix product on our own threads: a (M,K) x b (K,N) -> (M,N); `transpose_a` takes a as (K,M), `transpose_b` b as (N,K).

    Cost: M*N*K multiply-adds. Errors: TypeError for other dtypes than float32 or float64, or two different ones; ValueError
    unless both are matrices, none empty, whose inner lengths agree.

    >>> matmul(np.eye(2), np.array([[1.0, 2.0], [3.0, 4.0]]), transpose_b=True).tolist()
    [[1.0, 3.0], [2.0, 4.0]]
    """
    if type(a) is type(b) is np.ndarray and a.dtype is b.dtype is FLOAT32 and a.flags.carray and b.flags.carray and mode() == "fast":
        return _product(a.shape, b.shape, bool(transpose_a), bool(transpose_b), get_num_threads())(a, b)
    _floats(a=a, b=b)
    _lengths(a.shape, b.shape, transpose_a, transpose_b)
    return _page("gemm").matmul(a, b, bool(transpose_a), bool(transpose_b))


@lru_cache(maxsize=4096)
def _product(shape_a, shape_b, transpose_a, transpose_b, count):
    """The product of float32 arrays of these shapes, as they lie in memory, for `count` threads: shapes are looked at once."""
    return _page("gemm").ready(*_lengths(shape_a, shape_b, transpose_a, transpose_b), transpose_a, transpose_b, count)


def _lengths(shape_a, shape_b, transpose_a, transpose_b):
    """M, K, N of a matrix product, or what is wrong with its shapes."""
    for name, shape in (("a", shape_a), ("b", shape_b)):
        if len(shape) != 2 or 0 in shape:
            raise ValueError(f"{name} must be a matrix that is not empty, not of shape {shape}")
    (m, inner_a), (inner_b, n) = shape_a[::-1] if transpose_a else shape_a, shape_b[::-1] if transpose_b else shape_b
    if inner_a != inner_b:
        raise ValueError(f"inner lengths differ: a {shape_a} gives {inner_a}, b {shape_b} gives {inner_b} "
                         f"(transpose_a={transpose_a}, transpose_b={transpose_b})")
    return m, inner_a, n


def max_pool2d(x, geometry):
    """Largest value of each window and where it lay.

    x (N,C,H,W), geometry from `pool2d_geometry` -> y (N,C,OH,OW) and index, int32 of the same shape: the flat position
    h*W + w in the input plane. NaN wins, among equals the first. Errors: ValueError if x is not of geometry.x_shape.
    """
    _floats(x=x)
    _shape("x", x, geometry.x_shape)
    return _page("pool").max_pool2d(x, geometry)


def max_pool2d_grad(dy, index, geometry):
    """Gradient of `max_pool2d`: each dy (N,C,OH,OW) is added where `index` says that the largest value lay -> dx (N,C,H,W).

    Errors: ValueError for other shapes; TypeError unless index is int32.
    """
    _floats(dy=dy)
    _shape("dy", dy, geometry.y_shape)
    if not isinstance(index, np.ndarray) or index.dtype != np.int32:
        raise TypeError(f"index must be an int32 array, not {getattr(index, 'dtype', type(index).__name__)}")
    _shape("index", index, geometry.y_shape)
    return _page("pool").max_pool2d_grad(dy, index, geometry)


def avg_pool2d(x, geometry, count_include_pad=True):
    """Mean of each window: x (N,C,H,W) -> (N,C,OH,OW), geometry from `pool2d_geometry`.

    The divisor is the window's size within the padded image, or within the image alone unless `count_include_pad`.
    """
    _floats(x=x)
    _shape("x", x, geometry.x_shape)
    return _page("pool").avg_pool2d(x, geometry, count_include_pad)


def avg_pool2d_grad(dy, geometry, count_include_pad=True):
    """Gradient of `avg_pool2d`: each dy (N,C,OH,OW), divided as there, is added to its whole window -> dx (N,C,H,W)."""
    _floats(dy=dy)
    _shape("dy", dy, geometry.y_shape)
    return _page("pool").avg_pool2d_grad(dy, geometry, count_include_pad)


def adaptive_avg_pool2d(x, output_size):
    """Means over OH x OW windows that cover the plane, window i from floor(i*H/OH) to ceil((i+1)*H/OH).

    x (N,C,H,W), output_size an integer or a pair (OH, OW) -> (N,C,OH,OW). (1, 1) is the global average.
    """
    _floats(x=x)
    _four("x", x)
    return _page("pool").adaptive_avg_pool2d(x, pair(output_size, "output_size", least=1))


def adaptive_avg_pool2d_grad(dy, x_shape):
    """Gradient of `adaptive_avg_pool2d`: dy (N,C,OH,OW), shared out evenly over each window -> dx of shape x_shape.

    Errors: ValueError unless x_shape has dy's N and C.
    """
    _floats(dy=dy)
    _four("dy", dy)
    x_shape = tuple(x_shape)
    if len(x_shape) != 4 or not all(is_integer(v) and v > 0 for v in x_shape) or x_shape[:2] != dy.shape[:2]:
        raise ValueError(f"x_shape must be (N, C, H, W) with the N and C of dy {dy.shape}, not {x_shape}")
    return _page("pool").adaptive_avg_pool2d_grad(dy, x_shape)


def channel_sums(x):
    """Σ over images and pixels: x (N,C,H,W) -> (C,), of x's dtype, added in float64."""
    _floats(x=x)
    _four("x", x)
    return _page("sums").channel_sums(x)


def clip_grad_sums(dy, y, low, high):
    """`clip_grad` of a result y (N,C,H,W) that was clipped, and the sums of it over images and pixels -> (N,C,H,W), (C,): what a bias and a ReLU
    behind it need, in one pass."""
    _floats(dy=dy, y=y)
    _four("y", y)
    _shape("dy", dy, y.shape)
    return _page("sums").clip_grad_sums(dy, y, low, high)


def batch_norm_statistics(x):
    """Mean and biased variance of each channel over images and pixels: x (N,C,H,W) -> (C,), (C,), of x's dtype."""
    _floats(x=x)
    _four("x", x)
    return _page("norm").batch_norm_statistics(x)


def batch_norm_train(x, gamma, beta, running_mean, running_var, momentum=0.1, eps=1e-5, low=None, high=None):
    """A batch normalization in training -> clip(y, low, high) (N,C,H,W), and (C,): mean, inv_std, scale, both running statistics after this batch.

    x (N,C,H,W) with more than one number a channel; gamma, beta (C,) or None; low None clips nothing. Formulas: page `norm`.
    """
    _floats(x=x, gamma=gamma, beta=beta, running_mean=running_mean, running_var=running_var)
    _four("x", x)
    for name, array in (("gamma", gamma), ("beta", beta), ("running_mean", running_mean), ("running_var", running_var)):
        if array is not None:
            _shape(name, array, (x.shape[1],))
    return _page("norm").batch_norm_train(x, gamma, beta, running_mean, running_var, momentum, eps, low, high)


def batch_norm_scales(mean, var, gamma=None, beta=None, eps=1e-5):
    """inv_std = 1/sqrt(var + eps), scale = gamma inv_std, shift = beta - mean scale: all (C,); gamma, beta None are ones and zeros."""
    _floats(mean=mean, var=var, gamma=gamma, beta=beta)
    return _page("norm").batch_norm_scales(mean, var, gamma, beta, eps)


def batch_norm_apply(x, scale, shift, low=None, high=None):
    """y[n,c] = clip(x[n,c] * scale[c] + shift[c], low, high): x (N,C,H,W), scale and shift (C,) -> (N,C,H,W); low None clips nothing."""
    _floats(x=x, scale=scale, shift=shift)
    _four("x", x)
    for name, array in (("scale", scale), ("shift", shift)):
        _shape(name, array, (x.shape[1],))
    return _page("norm").batch_norm_apply(x, scale, shift, low, high)


def batch_norm_grad(dy, x, mean, inv_std, gamma, y=None, low=None, high=None):
    """Gradients of a batch normalization in training -> dx (N,C,H,W), dgamma (C,), dbeta (C,).

    dy and x (N,C,H,W); mean, inv_std = 1/sqrt(var + eps) and gamma (C,); where the result y was clipped, y and its bounds.
    """
    _floats(dy=dy, x=x, mean=mean, inv_std=inv_std, gamma=gamma)
    _four("x", x)
    _shape("dy", dy, x.shape)
    for name, array in (("mean", mean), ("inv_std", inv_std), ("gamma", gamma)):
        _shape(name, array, (x.shape[1],))
    if low is not None:
        _floats(x=x, y=y)
        _shape("y", y, x.shape)
    return _page("norm").batch_norm_grad(dy, x, mean, inv_std, gamma, y, low, high)


def _alike(**lists):
    """Refuse lists of arrays unless they go together, one parameter after the other: one dtype, one shape."""
    names, lists = list(lists), list(lists.values())
    if len({len(arrays) for arrays in lists}) > 1:
        raise ValueError(f"{', '.join(names)} must be equally long, not {[len(arrays) for arrays in lists]}")
    for i, row in enumerate(zip(*lists)):
        w = row[0]
        if type(w) is np.ndarray and w.dtype.char in "fd" and all([a is None or type(a) is np.ndarray and a.dtype is w.dtype and a.shape == w.shape for a in row]):
            continue
        _floats(**{f"{name}[{i}]": a for name, a in zip(names, row)})
        for name, a in zip(names, row):
            if a is not None:
                _shape(f"{name}[{i}]", a, row[0].shape)


def sgd_step(ws, gs, vs, lr, momentum=0.0, decay=0.0, nesterov=False):
    """One step of stochastic gradient descent, in place: lists of parameters w, gradients g and velocities v (None without momentum).

        g' = g + decay w;  v = momentum v + g';  w -= lr v        (Nesterov: w -= lr (g' + momentum v))
    """
    _alike(ws=ws, gs=gs, vs=vs)
    _page("steps").sgd(ws, gs, vs, lr, momentum, decay, nesterov)


def adam_step(ws, gs, ms, vs, lr, betas, t, eps, decay=0.0, keep=1.0):
    """Step t (from 1 on) of Adam, in place: lists of parameters w, gradients g, means m and v of g and g²; AdamW: decay 0 and keep = 1 - lr λ.

        m += (1-β1)(g - m);  v += (1-β2)(g² - v);  w = keep w - lr/(1-β1^t) m / (sqrt(v/(1-β2^t)) + eps)
    """
    _alike(ws=ws, gs=gs, ms=ms, vs=vs)
    _page("steps").adam(ws, gs, ms, vs, lr, betas, t, eps, decay, keep)


def concat(arrays):
    """(N,C1,…), (N,C2,…), … of any one dtype -> (N, C1+C2+…, …): channels side by side. Errors: NumPy's for axes that do not fit."""
    return _page("rows").concat(arrays)


def pick(x, order):
    """Channels by index: x (N,C,…) of any dtype, indices (K,) in 0..C-1 -> x[:, order] (N,K,…)."""
    return _page("rows").pick(x, order)


def shuffle(x, groups):
    """x (N,C,…) of any dtype, seen as `groups` groups of channels -> the first channels of all groups, then the second ones, … (ShuffleNet).

    Errors: ValueError unless groups divides C.
    """
    return _page("rows").shuffle(x, groups)


def clip(x, low, high):
    """min(max(x, low), high), number by number: any shape -> the same. ReLU is clip(x, 0, inf), ReLU6 clip(x, 0, 6)."""
    _floats(x=x)
    return _page("activations").clip(x, low, high)


def clip_grad(dy, x, low, high):
    """Gradient of `clip`: dy where low < x < high, else 0; dy and x of one shape."""
    _floats(dy=dy, x=x)
    _shape("dy", dy, x.shape)
    return _page("activations").clip_grad(dy, x, low, high)
