"""Matrix product: what a BLAS does, and the engine under im2col and linear layers.

    C[i,j] = Σ_t A[i,t] B[t,j]          A (M,K), B (K,N), C (M,N): M·N·K multiply-adds on M·K + K·N + M·N numbers

Three loops in any order say it; fast is only one way to cut them (Goto & van de Geijn). From the inside out:

* The register tile (`tile`): MR rows x NR columns of C wait in vector registers while t runs. Every step loads NR numbers of B and MR of A for
  MR·NR multiply-adds, so that the multipliers are busy and not the loads.
* B is cut into panels of NR columns, taken two at a time, and t into pieces of TERMS. A piece of two panels (2·TERMS·NR numbers, 16 KB) is laid down
  in the first cache, in the order in which the tile reads it, and stays there while all rows of a block of A pass over it; unfinished sums wait.
* A block is BLOCK rows, so that its numbers stay in the second cache while all panels pass.
* Threads share the blocks; where there are few, the panels.

Where A is one row (a linear layer and one picture), no number of B is used twice: it streams by as it lies (`of_columns`, `of_rows`).

The products of a linear layer are its three directions:

    A B^T        forward: pixels A, filters B          A B        grad_input: gradients A, filters B         A^T B        grad_weight

`gemm_kernel` has the first two, the same but for the way B is laid down; the third, a sum over rows, is `outer_products`. A large B that many blocks
of rows need is packed once, as the weights of a convolution are (`indirect`).

Bound by: FMA. Source: Goto & van de Geijn, "Anatomy of high-performance matrix multiplication" (2008), sections 4 and 5.
"""
import math
from functools import lru_cache

import numpy as np

from ..formulas.geometry import conv2d_geometry
from . import indirect, layout, outer_products, select, standing, threads
from ._jit import plain
from .cutting import cut
from .gemm_kernel import TERMS, multiply, of_columns, of_rows
from .indirect_scheme import BEGINNING, BLOCK, STREAMED, WHOLE, tile_rows
from .simd import LANES
from .tile import NR, PAIR

LAYING = 5              # what laying down a panel costs, in rows multiplied with it (by trial)
ALONE = 1 << 14         # numbers of a matrix that is multiplied by one row or column
SEVERAL, LARGE = 2, 1 << 19     # blocks and bytes: so large a B read so often is packed once, as a convolution's


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


@lru_cache(maxsize=4096)
def _scheme(m, k, n, count):
    """How a product is cut for `count` threads: (pieces, work, shape of the scratch, arrays that never change, numbers)."""
    panels, rows, work = -(-n // NR), tile_rows(n), (m + STREAMED) * n * k // 32
    tiles, splits = cut(-(-m // rows), 1, panels, count, threads.pieces(work, count), BLOCK // rows, LAYING / rows, 2 if PAIR else 1, BEGINNING / k)
    block = tiles * rows
    pieces = min(threads.pieces(work, count), -(-m // block) * splits)
    several = 2 if PAIR and panels > 1 else 1                                       # panels at once
    tall = -(-block // WHOLE) * WHOLE if several > 1 else block                     # whole tiles, of 6 and 8 rows as of 12
    words = 2 * tall + TERMS * NR + tall * NR * several // 2                       # of 8 bytes: places of rows, a piece of B, sums
    steps = np.concatenate([np.arange(2 * TERMS) * NR, np.arange(2 * TERMS) * LANES])       # where the rows of a piece begin
    return pieces, work, (pieces, words), (np.zeros(max(n, 2 * TERMS), np.float32), steps), (pieces, block, tall, splits)


def _often(m, k, n):
    """Do so many blocks of rows need so large a B that it is packed once?"""
    return m > SEVERAL * BLOCK and 4 * k * n > LARGE


@lru_cache(maxsize=4096)
def ready(m, k, n, transpose_a, turned, count):
    """run(a, b) -> c (M,N) for `count` threads, a (M,K) and b (K,N), each the other way if so said: the kernel with all that shapes tell laid down
    once. float32 arrays in C order."""
    if transpose_a and turned:
        return lambda a, b: matmul(a, np.ascontiguousarray(b.T), True)
    if _is_vector(m, k, n):
        return (lambda a, b: _vector(a, b, turned, (1, n))) if m == 1 else lambda a, b: _vector(b, a, not transpose_a, (m, 1))
    if transpose_a:
        return lambda a, b: outer_products.grad_weight(a, b, _as_convolution(k, n, m)).reshape(m, n)
    if _often(m, k, n):
        if turned:
            return lambda a, b: indirect.Forward(b, None, _as_convolution(m, k, n))(a).reshape(m, n)
        return lambda a, b: indirect.grad_input(a, b, _as_convolution(m, n, k)).reshape(m, n)
    pieces, work, room, constants, numbers = _scheme(m, k, n, count)
    numbers = (*numbers, int(turned), m, k, n)
    if hasattr(multiply, "overloads"):
        return standing.product(multiply, pieces, constants, numbers, m, k, n, room, work, count)

    def run(a, b):
        c, scratch = layout.room((m, n)), select.loose(math.prod(room))[:-8].reshape(room)
        threads.run(multiply, pieces, a.reshape(-1), b.reshape(-1), c.reshape(-1), *constants, scratch, scratch.view(np.float32), *numbers)
        return c
    return run


def _is_vector(m, k, n):
    """Is one of the factors a row or a column, and the other one so large that its own kernel pays?"""
    return (m == 1 or n == 1) and m * k * n >= ALONE


def _vector(v, matrix, turned, shape):
    """v (K) times a matrix (K,N), or (N,K) if turned -> N numbers in that shape."""
    c = layout.result(shape)
    n, work = c.size, (1 + STREAMED) * matrix.size // 32
    if turned:
        threads.run(of_rows, n, v.reshape(-1), matrix.reshape(-1), c.reshape(-1), work=work)
    else:
        width = -(-n // (LANES * threads.get_num_threads())) * LANES
        threads.run(of_columns, -(-n // width), v.reshape(-1), matrix.reshape(-1), c.reshape(-1), n, width, work=work)
    return c


def workspace_bytes(m, k, n, transpose_a=False, transpose_b=False):
    """Scratch of the fast `matmul` in bytes: for each piece of the work a piece of B, a table and unfinished sums, or all of B packed; with A transposed
    a C for each thread."""
    if _is_vector(m, k, n):
        return 0
    if transpose_a:
        return indirect.room_bytes(outer_products.room_shapes(_as_convolution(k, n, m)))
    if _often(m, k, n):
        like, direction = (_as_convolution(m, k, n), "forward") if transpose_b else (_as_convolution(m, n, k), "grad_input")
        return indirect.room_bytes(indirect.scratch_shapes(like, direction))
    pieces, words = _scheme(m, k, n, threads.get_num_threads())[2]
    return 8 * pieces * words


def matmul(a, b, transpose_a=False, transpose_b=False):
    """a (M,K) x b (K,N) -> (M,N), each given transposed if so said; float32 or float64, see `tinyconv.kernels.matmul`.

    Cost: M*N*K multiply-adds; the numbers of B copied once a block of rows, into panels.
    """
    a, b = (x if x.flags.carray else layout.writable(x) for x in (a, b))
    m, k = a.shape[::-1] if transpose_a else a.shape
    n = b.shape[0] if transpose_b else b.shape[1]
    if select.is_fast(a.dtype):
        return ready(m, k, n, transpose_a, transpose_b, threads.get_num_threads())(a, b)
    c = np.zeros((m, n), a.dtype)
    product(*(layout.writable(x.T if turned else x) for x, turned in ((a, transpose_a), (b, transpose_b))), c)          # (M,K) x (K,N) -> (M,N)
    return c
