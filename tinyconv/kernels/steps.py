"""The optimisers' steps: every number of a parameter by itself, all of it in one pass over memory.

    SGD      g' = g + λ w;   v = μ v + g';   w -= lr · (v, or g' + μ v for Nesterov, or g' without momentum)
    Adam     g' = g + λ w;   m += (1-β1)(g' - m);   v += (1-β2)(g'² - v);   w -= step · m / (sqrt(v / b) + ε)
             step = lr / (1 - β1^t),  b = 1 - β2^t;  AdamW: λ w stays out of g', and w is first multiplied by `keep` = 1 - lr λ

Written with arrays, each operation is a pass of its own: 4 for SGD, 12 for Adam. Cost: SGD reads 12 bytes a number and writes 8, Adam 16 and
12; bound by memory. Each function changes w and the states in place. Sources: as `tinyconv.optim`.
"""
import numpy as np

from . import layout, select, threads
from ._jit import fast, plain


def sgd_loop(lo, hi, w, g, v, lr, momentum, decay, nesterov):
    """Tasks: numbers. momentum 0 leaves v alone."""
    for i in range(lo, hi):
        gradient = g[i] + decay * w[i]
        if momentum > 0:
            v[i] = momentum * v[i] + gradient
            gradient = gradient + momentum * v[i] if nesterov else v[i]
        w[i] -= lr * gradient


def adam_loop(lo, hi, w, g, m, v, step, keep_m, keep_v, bias, eps, decay, keep):
    """Tasks: numbers. keep_m = 1 - β1, keep_v = 1 - β2."""
    for i in range(lo, hi):
        weight = w[i] * keep
        gradient = g[i] + decay * weight
        m[i] += keep_m * (gradient - m[i])
        v[i] += keep_v * (gradient * gradient - v[i])
        w[i] = weight - step * m[i] / (np.sqrt(v[i] / bias) + eps)


fast_sgd, plain_sgd, fast_adam, plain_adam = fast(sgd_loop), plain(sgd_loop), fast(adam_loop), plain(adam_loop)


def _run(kernels, w, g, states, numbers, *last):
    """The kernel on flat arrays; what does not lie in C order is changed in a copy that is put back."""
    if not (w.flags.c_contiguous and all([state.flags.c_contiguous for state in states])):
        inside = [np.ascontiguousarray(a) for a in (w, *states)]
        _run(kernels, inside[0], g, inside[1:], numbers, *last)
        for a, changed in zip((w, *states), inside):
            a[...] = changed
        return
    kernel, number = kernels[0] if select.is_fast(w.dtype) else kernels[1], w.dtype.type
    flat = [a.reshape(-1) for a in (w, layout.writable(g), *(states or (w,)))]
    threads.run(kernel, w.size, *flat, *[number(n) for n in numbers], *last, work=w.size // 2)


def sgd(w, g, v, lr, momentum=0.0, decay=0.0, nesterov=False):
    """One step of SGD: w and v (or None without momentum) are changed; all of one shape and dtype."""
    _run((fast_sgd, plain_sgd), w, g, () if v is None else (v,), (lr, momentum, decay), int(nesterov))


def adam(w, g, m, v, lr, betas, t, eps, decay=0.0, keep=1.0):
    """Step t (from 1 on) of Adam: w, m and v are changed; `keep` multiplies w first (AdamW: 1 - lr λ)."""
    b1, b2 = betas
    _run((fast_adam, plain_adam), w, g, (m, v), (lr / (1 - b1**t), 1 - b1, 1 - b2, 1 - b2**t, eps, decay, keep))
