"""Matrix product: the engine under pointwise, im2col and linear layers.

    C[i,j] = start[j] + sum over t of  A[i,t] * B[t,j]          A (M,K), B (K,N), C (M,N): M*N*K multiply-adds

How it is made fast, from the inside out:

* A tile is 4 rows x 32 columns of C, gathered in a scratch `acc` that stays in the first-level cache. One step takes four
  terms of the sum at once: 16 numbers of A wait in registers, and for each vector of columns 4 loads of B serve 16
  multiply-adds (and 4 loads and 4 stores of acc): arithmetic, not memory, is the limit.
* B is packed in panels of 32 columns (the last of 16 if no more are left, columns that are missing filled with 0), so that
  a tile reads it straight on, and every distance and length in the innermost loop is a constant: plain vector code
  without a remainder loop. Packing costs 1/M of the work.
* A is read through two strides (`row`, `step`), so a transposed A costs nothing extra. Rows missing in the last tile
  repeat a row that exists, and are not stored.
* `rows` shares the rows of C among the threads. Where C is small and the sum long (the gradient of weights: a sum over
  all pixels), `slabs` shares the sum: each thread has a C of its own, and `add` adds them in order.

Limit: the compiler uses 256-bit vectors, half of what an AVX-512 core can do; explicit vectors lift that. Source of the
scheme: Goto & van de Geijn, "Anatomy of high-performance matrix multiplication" (2008), sections 4 and 5.
"""
import numpy as np

from . import layout, select, threads
from ._jit import apart, fast, plain

WIDTH = 32              # columns of a tile
ROWS = 64               # rows of C that a thread works on before it turns to the next panel of B: they stay in the cache
TERMS = 128             # terms of the sum that `slabs` packs at a time
TILE = 4 * WIDTH + 64   # floats of scratch for one tile, and a gap, so that no two threads share a cache line


@plain
def product(a, b, c):
    """c[i,j] += sum_t a[i,t] * b[t,j]: the formula."""
    for i in range(a.shape[0]):
        for t in range(a.shape[1]):
            for j in range(b.shape[1]):
                c[i, j] += a[i, t] * b[t, j]


@fast
def copy(a, a0, count, b, b0):
    """b[b0:] = a[a0:], count numbers. (Not @apart: sure of no overlap, the compiler calls memcpy, slow for short runs.)"""
    line, to = a[a0:a0 + count], b[b0:b0 + count]
    for q in range(count):
        to[q] = line[q]


@apart
def tile32(a, a0, r1, r2, r3, step, b, k, acc):
    """acc[4 x 32] += 4 rows of A (they begin at a0 and at distances r1, r2, r3 from it) times one panel of B.

    Places in A are unsigned: the compiler then leaves out the test for indices below 0, a third of the time.
    """
    s0, d, d1, d2, d3 = np.uint64(a0), np.uint64(step), np.uint64(r1), np.uint64(r2), np.uint64(r3)
    for q in range(k // 4):
        x = b[q * 128:q * 128 + 128]
        s1 = s0 + d
        s2 = s1 + d
        s3 = s2 + d
        a00, a01, a02, a03 = a[s0], a[s1], a[s2], a[s3]
        a10, a11, a12, a13 = a[s0 + d1], a[s1 + d1], a[s2 + d1], a[s3 + d1]
        a20, a21, a22, a23 = a[s0 + d2], a[s1 + d2], a[s2 + d2], a[s3 + d2]
        a30, a31, a32, a33 = a[s0 + d3], a[s1 + d3], a[s2 + d3], a[s3 + d3]
        for j in range(32):
            x0, x1, x2, x3 = x[j], x[32 + j], x[64 + j], x[96 + j]
            acc[j] += a00 * x0 + a01 * x1 + a02 * x2 + a03 * x3
            acc[32 + j] += a10 * x0 + a11 * x1 + a12 * x2 + a13 * x3
            acc[64 + j] += a20 * x0 + a21 * x1 + a22 * x2 + a23 * x3
            acc[96 + j] += a30 * x0 + a31 * x1 + a32 * x2 + a33 * x3
        s0 = s3 + d
    for t in range(k - k % 4, k):
        x = b[t * 32:t * 32 + 32]
        a00, a10, a20, a30 = a[s0], a[s0 + d1], a[s0 + d2], a[s0 + d3]
        for j in range(32):
            acc[j] += a00 * x[j]
            acc[32 + j] += a10 * x[j]
            acc[64 + j] += a20 * x[j]
            acc[96 + j] += a30 * x[j]
        s0 = s0 + d


@apart
def tile16(a, a0, r1, r2, r3, step, b, k, acc):
    """The same with 16 columns: acc[4 x 16] += 4 rows of A times the last, narrow panel of B."""
    s0, d, d1, d2, d3 = np.uint64(a0), np.uint64(step), np.uint64(r1), np.uint64(r2), np.uint64(r3)
    for q in range(k // 4):
        x = b[q * 64:q * 64 + 64]
        s1 = s0 + d
        s2 = s1 + d
        s3 = s2 + d
        a00, a01, a02, a03 = a[s0], a[s1], a[s2], a[s3]
        a10, a11, a12, a13 = a[s0 + d1], a[s1 + d1], a[s2 + d1], a[s3 + d1]
        a20, a21, a22, a23 = a[s0 + d2], a[s1 + d2], a[s2 + d2], a[s3 + d2]
        a30, a31, a32, a33 = a[s0 + d3], a[s1 + d3], a[s2 + d3], a[s3 + d3]
        for j in range(16):
            x0, x1, x2, x3 = x[j], x[16 + j], x[32 + j], x[48 + j]
            acc[j] += a00 * x0 + a01 * x1 + a02 * x2 + a03 * x3
            acc[16 + j] += a10 * x0 + a11 * x1 + a12 * x2 + a13 * x3
            acc[32 + j] += a20 * x0 + a21 * x1 + a22 * x2 + a23 * x3
            acc[48 + j] += a30 * x0 + a31 * x1 + a32 * x2 + a33 * x3
        s0 = s3 + d
    for t in range(k - k % 4, k):
        x = b[t * 16:t * 16 + 16]
        a00, a10, a20, a30 = a[s0], a[s0 + d1], a[s0 + d2], a[s0 + d3]
        for j in range(16):
            acc[j] += a00 * x[j]
            acc[16 + j] += a10 * x[j]
            acc[32 + j] += a20 * x[j]
            acc[48 + j] += a30 * x[j]
        s0 = s0 + d


@apart
def block(a, a0, row, step, b, start, c, c0, pitch, m, n, k, add, acc):
    """m rows of C = start + A B, or with `add` of C += A B.

    C[i,j] lies at c[c0 + i*pitch + j], A[i,t] at a[a0 + i*row + t*step]; b is packed; start has columns(n) numbers.
    """
    for j in range(0, n, 32):
        width = 16 if n - j <= 16 else 32
        panel, valid = b[j * k:(j + width) * k], min(width, n - j)
        for i in range(0, m, 4):
            last = min(3, m - 1 - i)                                    # the tile's last row that exists
            at, r1, r2, r3 = a0 + i * row, min(1, last) * row, min(2, last) * row, last * row
            to = c0 + i * pitch + j
            for r in range(4):
                if add:
                    copy(c, to + min(r, last) * pitch, valid, acc, r * width)
                else:
                    copy(start, j, width, acc, r * width)
            if width == 32:
                tile32(a, at, r1, r2, r3, step, panel, k, acc)
            else:
                tile16(a, at, r1, r2, r3, step, panel, k, acc)
            for r in range(last + 1):
                copy(acc, r * width, valid, c, to + r * pitch)


@apart
def pack_panel(b, b0, row, col, k, n, j, out):
    """Columns j.. of B, B[t,j] at b[b0 + t*row + j*col], as the panel of all k terms that begins at out[j*k]."""
    width = 16 if n - j <= 16 else 32
    valid = min(width, n - j)
    for t in range(k):
        first, to = b0 + t * row + j * col, j * k + t * width
        if col == 1:
            copy(b, first, valid, out, to)
        else:
            for q in range(valid):
                out[to + q] = b[first + q * col]
        for q in range(valid, width):
            out[to + q] = np.float32(0)


@apart
def pack(lo, hi, b, b0, row, col, k, n, out):
    """Pack B (k,n): task p is the panel of columns 32p.. ."""
    for p in range(lo, hi):
        pack_panel(b, b0, row, col, k, n, 32 * p, out)


@apart
def rows(lo, hi, a, row, step, b, start, c, m, n, k, tiles, pieces):
    """C = start + A B; task t makes the rows t*m//pieces .. of C (m,n), and `tiles[t]` is its scratch."""
    for t in range(lo, hi):
        end = (t + 1) * m // pieces
        for i in range(t * m // pieces, end, ROWS):
            block(a, i * row, row, step, b, start, c, i * n, n, min(ROWS, end - i), n, k, np.bool_(False), tiles[t])


@apart
def slabs(lo, hi, a, row, step, b, b_row, b_col, start, c, m, n, k, panels, tiles, pieces):
    """c[t] = the terms t*k//pieces .. of A B: a C of its own (m*n floats) for each task t; panels[t], tiles[t] are scratch."""
    for t in range(lo, hi):
        mine = c[t]
        first, end = t * k // pieces, (t + 1) * k // pieces
        for s in range(first, end, TERMS):
            depth = min(TERMS, end - s)
            for j in range(0, n, 32):
                pack_panel(b, s * b_row, b_row, b_col, depth, n, j, panels[t])
            block(a, s * step, row, step, panels[t], start, mine, np.int64(0), n, m, n, depth, s > first, tiles[t])


def columns(n):
    """n rounded up to whole vectors of 16: the width of a packed B."""
    return -(-n // 16) * 16


def starting(bias, n):
    """What n sums begin with: bias (n,) or 0 if None, filled up with 0 to whole vectors."""
    start = select.scratch(columns(n))
    start[:n] = 0 if bias is None else bias
    start[n:] = 0
    return start


def packed(b, b0, row, col, k, n):
    """B (k,n), its element (t,j) at b[b0 + t*row + j*col] of a flat array, packed in panels (k * columns(n) floats)."""
    out = select.scratch(k * columns(n))
    threads.run(pack, -(-n // WIDTH), b, b0, row, col, k, n, out, work=k * n)
    return out


def multiply(a, row, step, b, start, c, m, n, k):
    """c (m*n floats, flat) = start (see `starting`) + A B: A in the flat array a with element strides (row, step), B packed."""
    pieces = max(1, min(threads.get_num_threads(), m // 4))
    tiles = select.scratch((pieces, TILE))
    threads.run(rows, pieces, a, row, step, b, start, c, m, n, k, tiles, pieces, work=m * n * k)


def multiply_bytes(m, n, k):
    """Scratch of `packed`, `starting` and `multiply`."""
    return 4 * ((k + 1) * columns(n) + max(1, min(threads.get_num_threads(), m // 4)) * TILE)


def sum_pieces(k):
    """Into how many parts `multiply_long` cuts a sum of k terms."""
    return max(1, min(threads.get_num_threads(), k // 64))


def multiply_long(a, row, step, b, b_row, b_col, m, n, k):
    """A B (m,n) where the sum of k terms is long: every thread sums a part of it, then the parts are added in order.

    The narrower matrix is the one that is packed: if that is A, the transposed product B^T A^T is computed.
    """
    if n > m:
        return np.ascontiguousarray(multiply_long(b, b_col, b_row, a, step, row, n, m, k).T)
    pieces = sum_pieces(k)
    parts = select.scratch((pieces, m * n))
    panels, tiles = select.scratch((pieces, TERMS * columns(n))), select.scratch((pieces, TILE))
    threads.run(slabs, pieces, a, row, step, b, b_row, b_col, starting(None, n), parts, m, n, k, panels, tiles, pieces,
                work=m * n * k)
    return add(parts).reshape(m, n)


def multiply_long_bytes(m, n, k):
    """Scratch of `multiply_long`."""
    wide = columns(min(m, n))
    return 4 * (wide + sum_pieces(k) * (m * n + TERMS * wide + TILE))


def add(parts):
    """parts (P, size) -> their sum, added in the order of the parts, in a new array."""
    total = parts[0].copy()
    for part in parts[1:]:
        total += part
    return total


def matmul(a, b, transpose_a=False, transpose_b=False):
    """a (M,K) x b (K,N) -> (M,N), each given transposed if so said; float32 or float64, see `tinyconv.kernels.matmul`.

    Cost: M*N*K multiply-adds; K*N floats of packed B. The sum is shared among threads where M*N is small beside K.
    """
    a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
    m, k = a.shape[::-1] if transpose_a else a.shape
    n = b.shape[0] if transpose_b else b.shape[1]
    if not select.is_fast(a.dtype):
        c = np.zeros((m, n), a.dtype)
        a, b = a.T if transpose_a else a, b.T if transpose_b else b
        product(layout.writable(a), layout.writable(b), c)                                    # (M,K) x (K,N) -> (M,N)
        return c
    row, step = (1, m) if transpose_a else (k, 1)
    b_row, b_col = (1, k) if transpose_b else (n, 1)
    a, b = layout.writable(a.reshape(-1)), layout.writable(b.reshape(-1))
    if k >= 4 * max(m, n):
        return multiply_long(a, row, step, b, b_row, b_col, m, n, k)
    c = np.empty(m * n, np.float32)
    multiply(a, row, step, packed(b, 0, b_row, b_col, k, n), starting(None, n), c, m, n, k)
    return c.reshape(m, n)
