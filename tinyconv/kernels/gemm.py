"""Matrix product: what a BLAS does, and the engine under im2col and linear layers.

    C[i,j] = Σ_t A[i,t] B[t,j]          A (M,K), B (K,N), C (M,N): M·N·K multiply-adds on M·K + K·N + M·N numbers

Three loops in any order say it; fast is only one way to cut them (Goto & van de Geijn). From the inside out:

* The register tile (`tile`): MR rows x NR columns of C wait in vector registers while t runs. Every step loads NR numbers of B and MR of A for
  MR·NR multiply-adds, so that the multipliers are busy and not the loads.
* B is packed into panels of NR columns: the tile reads it straight on, one line of the cache after the other.
* t is cut into pieces of DEEP: the piece of a panel (DEEP·NR numbers, 16 KB) then stays in the first cache while all rows of a block of A
  pass over it; unfinished sums wait in `partial`.
* A block is a few tiles of rows (BLOCK), so that its numbers stay in the second cache while all panels pass.
* Threads share the blocks; where there are few, the panels.

A convolution with a 1x1 window is a matrix product, its pixels the rows. So the three products of a network are its three
directions, and `indirect` and `outer_products` compute them, with rows that happen to be neighbours:

    A B^T        forward: pixels A, filters B          A B        grad_input: gradients A, filters B         A^T B        grad_weight

Bound by: FMA. Source: Goto & van de Geijn, "Anatomy of high-performance matrix multiplication" (2008), sections 4 and 5.
"""
from functools import lru_cache

import numpy as np

from ..formulas.geometry import conv2d_geometry
from . import indirect, layout, outer_products, select
from ._jit import plain


@plain
def product(a, b, c):
    """c[i,j] += sum_t a[i,t] * b[t,j]: the formula."""
    for i in range(a.shape[0]):
        for t in range(a.shape[1]):
            for j in range(b.shape[1]):
                c[i, j] += a[i, t] * b[t, j]


@lru_cache(maxsize=4096)
def _as_convolution(pixels, c, f):
    """The geometry of a 1x1 convolution of so many pixels with c channels and f filters."""
    return conv2d_geometry((1, c, 1, pixels), (f, c, 1, 1))


def workspace_bytes(m, k, n, transpose_a=False, transpose_b=False):
    """Scratch of the fast `matmul` in bytes: packed B, tables and unfinished sums; with A transposed a C for each thread."""
    if transpose_a:
        shapes = outer_products.room_shapes(_as_convolution(k, n, m))
    elif transpose_b:
        shapes = indirect.scratch_shapes(_as_convolution(m, k, n), "forward")
    else:
        shapes = indirect.scratch_shapes(_as_convolution(m, n, k), "grad_input")
    return indirect.room_bytes(shapes)


def matmul(a, b, transpose_a=False, transpose_b=False):
    """a (M,K) x b (K,N) -> (M,N), each given transposed if so said; float32 or float64, see `tinyconv.kernels.matmul`.

    Cost: M*N*K multiply-adds; the numbers of B copied once, into panels.
    """
    if transpose_a and transpose_b:
        b, transpose_b = np.ascontiguousarray(b.T), False
    a, b = layout.writable(a), layout.writable(b)
    m, k = a.shape[::-1] if transpose_a else a.shape
    n = b.shape[0] if transpose_b else b.shape[1]
    if not select.is_fast(a.dtype):
        c = np.zeros((m, n), a.dtype)
        product(layout.writable(a.T if transpose_a else a), layout.writable(b.T if transpose_b else b), c)          # (M,K) x (K,N) -> (M,N)
        return c
    if transpose_a:
        return outer_products.grad_weight(a, b, _as_convolution(k, n, m)).reshape(m, n)
    if transpose_b:
        return indirect.Forward(b, None, _as_convolution(m, k, n))(a).reshape(m, n)
    return indirect.grad_input(a, b, _as_convolution(m, n, k)).reshape(m, n)
