"""Between the image and Winograd's tiles: a tile's pixels read and transformed, its results transformed back and written.

    V[to + point·hop + channel] = B^T d B           d the n x n pixels at (i0, j0), zeros outside the image
    y[m x m pixels at (i0, j0)] = clip(A^T S A + bias + R), as far as they lie in the image

One vector of LANES channels at a time; `winograd_transforms` has the transforms, `winograd_tiles` the kernels that walk over the tiles. A tile within
the image is read and written where it lies, a vector of whole channels; at a border its pixels are gathered first, and written one by one.
Bound by: the lines that come and go between the first and the second cache, about one a vector read or written.
"""
from ._jit import called, unrolled
from .simd import LANES, higher, load, load_n, lower, splat, store, store_n
from .tile import NR
from .winograd_transforms import START, VECTOR, data_tile, output_tile, outputs2, outputs4, spread_tile


@called
def pitch(c):
    """Numbers from one point's channels (in the weight gradient: one tile's) to the next's: whole vectors, and no power of two, which would fall on
    the same lines of the cache."""
    wide = (c + LANES - 1) // LANES * LANES
    return wide + LANES if wide % 256 == 0 else wide


@unrolled
def gather(x, image, i0, j0, size, h, w, c, c0, d):
    """d[i·size + j] = LANES channels of pixel (i0 + i, j0 + j), 0 outside the image: a size x size tile at a border."""
    for i in range(size):
        for j in range(size):
            row, column = i0 + i, j0 + j
            inside = row >= 0 and row < h and column >= 0 and column < w
            store(d, (i * size + j) * LANES, load_n(x, ((image * h + row) * w + column) * c + c0, c - c0 if inside else 0))


@unrolled
def read_data(kind, BT, n, x, image, i0, j0, h, w, c, d, e, V, to, hop):
    """V[to + point·hop + channel] = B^T d B of the n x n tile at (i0, j0)."""
    interior = i0 >= 0 and j0 >= 0 and i0 + n <= h and j0 + n <= w
    for c0 in range(0, c, LANES):
        if interior and c0 + LANES <= c:
            data_tile(kind, BT, n, x, ((image * h + i0) * w + j0) * c + c0, w * c, c, e, V, to + c0, hop)
        else:
            gather(x, image, i0, j0, n, h, w, c, c0, d)
            data_tile(kind, BT, n, d, START, n * LANES, VECTOR, e, V, to + c0, hop)


@unrolled
def read_gradient(kind, A, m, n, dy, image, i0, j0, h, w, c, d, e, Z, to, hop, block):
    """Z[to·NR + point·hop + filter] = A dY A^T of the m x m tile at (i0, j0), filters in panels of NR, `block` tiles each."""
    inner = i0 + m <= h and j0 + m <= w
    for c0 in range(0, (c + NR - 1) // NR * NR, LANES):                  # whole panels: filters behind the last are zeros
        place = (c0 // NR * block + to) * NR + c0 % NR
        if inner and c0 + LANES <= c:
            spread_tile(kind, A, m, n, dy, ((image * h + i0) * w + j0) * c + c0, w * c, c, e, Z, place, hop)
        else:
            gather(dy, image, i0, j0, m, h, w, c, c0, d)
            spread_tile(kind, A, m, n, d, START, m * LANES, VECTOR, e, Z, place, hop)


@unrolled
def write(v, offset, R, residual, low, high, y, place):
    """y[place] = clip(v + bias + R) for one whole vector."""
    v = v + offset
    if residual:
        v = v + load(R, place)
    store(y, place, lower(higher(v, low), high))


@unrolled
def write2(v, offset, R, residual, low, high, y, place, f):
    """Two neighbouring pixels."""
    write(v[0], offset, R, residual, low, high, y, place)
    write(v[1], offset, R, residual, low, high, y, place + f)


@unrolled
def write4(v, offset, R, residual, low, high, y, place, f):
    """Four neighbouring pixels."""
    write2((v[0], v[1]), offset, R, residual, low, high, y, place, f)
    write2((v[2], v[3]), offset, R, residual, low, high, y, place + 2 * f, f)


@unrolled
def write_tile(kind, AT, m, n, S, at, hop, d, e, image, i0, j0, h, w, f, f0, bias, R, residual, low, high, y):
    """y = clip(A^T S A + bias + R) for LANES filters from f0 on of the m x m pixels at (i0, j0), as far as they lie in the image."""
    place, row, least, most = ((image * h + i0) * w + j0) * f + f0, w * f, splat(low), splat(high)
    inner = i0 + m <= h and j0 + m <= w and f0 + LANES <= f
    if kind == 4 and inner:
        offset, (a, b, c, g) = load(bias, f0), outputs4(S, at, n * hop, hop)
        write4(a, offset, R, residual, least, most, y, place, f)
        write4(b, offset, R, residual, least, most, y, place + row, f)
        write4(c, offset, R, residual, least, most, y, place + 2 * row, f)
        write4(g, offset, R, residual, least, most, y, place + 3 * row, f)
        return
    if kind == 2 and inner:
        offset, (a, b) = load(bias, f0), outputs2(S, at, n * hop, hop)
        write2(a, offset, R, residual, least, most, y, place, f)
        write2(b, offset, R, residual, least, most, y, place + row, f)
        return
    output_tile(kind, AT, m, n, S, at, n * hop, hop, e, d, START, VECTOR)
    offset = load_n(bias, f0, f - f0)
    for i in range(min(m, h - i0)):
        for j in range(min(m, w - j0)):
            here = place + i * row + j * f
            v = load(d, (i * m + j) * LANES) + offset
            if residual:
                v = v + load_n(R, here, f - f0)
            store_n(y, here, lower(higher(v, least), most), f - f0)
