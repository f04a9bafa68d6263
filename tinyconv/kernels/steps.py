"""The optimisers' steps: every number of a parameter by itself, all of it in one pass over memory.

    SGD      g' = g + λ w;   v = μ v + g';   w -= lr · (v, or g' + μ v for Nesterov, or g' without momentum)
    Adam     g' = g + λ w;   m += (1-β1)(g' - m);   v += (1-β2)(g'² - v);   w -= step · m / (sqrt(v / b) + ε)
             step = lr / (1 - β1^t),  b = 1 - β2^t;  AdamW: λ w stays out of g', and w is first multiplied by `keep` = 1 - lr λ

Written with arrays, each operation is a pass of its own: 4 for SGD, 12 for Adam. Cost: SGD reads 12 bytes a number and writes 8, Adam 16 and
12; bound by memory. The parameters of a network are many and mostly small: the kernel is given a table of all of them and goes through once.
Each function changes w and the states in place. Sources: as `tinyconv.optim`.
"""
import numpy as np

from . import layout, select, threads
from ._jit import fast, plain
from .simd import numbers_at


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


@fast
def sgd_all(lo, hi, table, lr, momentum, decay, nesterov):
    """Tasks: numbers of all parameters. table[p] = (numbers before, addresses of w, g and v); a last row holds the number of all."""
    for p in range(table.shape[0] - 1):
        before, n = table[p, 0], table[p + 1, 0] - table[p, 0]
        first, last = max(0, lo - before), min(n, hi - before)
        if first < last:
            fast_sgd(first, last, numbers_at(table[p, 1], n), numbers_at(table[p, 2], n), numbers_at(table[p, 3], n), lr, momentum, decay, nesterov)


@fast
def adam_all(lo, hi, table, step, keep_m, keep_v, bias, eps, decay, keep):
    """Tasks: numbers of all parameters. table[p] = (numbers before, addresses of w, g, m and v); a last row holds the number of all."""
    for p in range(table.shape[0] - 1):
        before, n = table[p, 0], table[p + 1, 0] - table[p, 0]
        first, last = max(0, lo - before), min(n, hi - before)
        if first < last:
            fast_adam(first, last, numbers_at(table[p, 1], n), numbers_at(table[p, 2], n), numbers_at(table[p, 3], n), numbers_at(table[p, 4], n), step,
                      keep_m, keep_v, bias, eps, decay, keep)


def _table(rows):
    """The table of `sgd_all` and `adam_all` for lists of arrays, each C-contiguous float32."""
    table = np.zeros((len(rows) + 1, len(rows[0]) + 1), np.int64)
    for p, row in enumerate(rows):
        table[p, 1:] = [layout.address(a) for a in row]
        table[p + 1, 0] = table[p, 0] + row[0].size
    return table


def _one(kernel, row, numbers, *last):
    """The plain kernel on one parameter; what does not lie in C order is changed in a copy that is put back."""
    copies = {id(a): np.ascontiguousarray(a) for a in row}                  # by array: without momentum w stands for v too
    inside = [copies[id(a)] for a in row]
    kernel(0, row[0].size, *(a.reshape(-1) for a in inside), *(row[0].dtype.type(n) for n in numbers), *last)
    for a, changed in zip(row, inside):
        if changed is not a:
            a[...] = changed


def _run(plain_kernel, kernel, rows, numbers, *last):
    """All parameters (w, g, states …): those that can in one pass of the fast kernel, the others one by one."""
    together = [row for row in rows if select.is_fast(row[0].dtype) and all([a.flags.carray and a.size for a in row])]
    if together:
        table = _table(together)
        threads.run(kernel, int(table[-1, 0]), table, *(np.float32(n) for n in numbers), *last, work=int(table[-1, 0]) // 2)
    if len(together) < len(rows):
        done = {id(row) for row in together}
        for row in rows:
            if id(row) not in done and row[0].size:
                _one(plain_kernel, row, numbers, *last)


def sgd(ws, gs, vs, lr, momentum=0.0, decay=0.0, nesterov=False):
    """One step of SGD: every w and v (or None without momentum) is changed; the three of one shape and dtype."""
    rows = [(w, g, w if v is None else v) for w, g, v in zip(ws, gs, vs)]
    _run(plain_sgd, sgd_all, rows, (lr, momentum, decay), int(nesterov))


def adam(ws, gs, ms, vs, lr, betas, t, eps, decay=0.0, keep=1.0):
    """Step t (from 1 on) of Adam: every w, m and v is changed; `keep` multiplies w first (AdamW: 1 - lr λ)."""
    b1, b2 = betas
    _run(plain_adam, adam_all, list(zip(ws, gs, ms, vs)), (lr / (1 - b1**t), 1 - b1, 1 - b2, 1 - b2**t, eps, decay, keep))
