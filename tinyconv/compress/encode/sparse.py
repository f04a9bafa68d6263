"""Only what is not zero, and where it was: compressed rows, and N of every M.

    csr      the array as a matrix (F, C): its first axis, and the rest (one row if there is one axis).
             R nonzero numbers row by row; the column of each, c bits; where each row begins among them, F + 1 numbers of p bits
             payload = R v/8 + ceil(R c / 8) + ceil((F+1) p / 8),   c = ceil(log2 C), p = ceil(log2 (R+1))    fields: R, c, p
    n_of_m   blocks of M along axis 1 (of a matrix or a weight; axis 0 of a row), the last filled up with zeros; of each block N
             numbers and their places among the M
             payload = B N v/8 + ceil(B N ceil(log2 M) / 8),  B blocks                                        fields: N, M
v = bits of a number. Positions are what a sparse format costs: with 32-bit columns a float32 weight takes twice its own bytes,
so that csr begins to pay at half the weights gone; 2:4 of float16 takes (16 + 2)/2 = 9 bits a weight, 56.25 %, not the half.
Sources: Han et al. (2016), section 2 (2a + n + 1 numbers for a nonzeros in n rows); NVIDIA, 2:4 (Mishra et al. 2021, section 2).
"""
import numpy as np

from .._checks import whole
from .bits import code_bits, pack_bits, stream_bytes, unpack_bits
from .container import Encoding, require


def csr_bytes(rows, nonzero, value_bits, column_bits, pointer_bits):
    """R v/8 + ceil(R c / 8) + ceil((F+1) p / 8) for F rows and R nonzero numbers.

    >>> tc.compress.encode.csr_bytes(4, 10, 32, 32, 32) // 4        # 2a + n + 1 numbers of 32 bits: 2·10 + 4 + 1
    25
    """
    return nonzero * value_bits // 8 + stream_bytes(nonzero, column_bits) + stream_bytes(rows + 1, pointer_bits)


def _rows(shape):
    """F: the length of the first axis, 1 if there is no second."""
    return shape[0] if len(shape) > 1 else 1


def _csr_widths(x, index_bits):
    """(rows, columns, nonzero, bits of a column, bits of a pointer) of an array."""
    rows, nonzero = _rows(x.shape), np.count_nonzero(x)
    columns = x.size // rows
    least = code_bits(columns), code_bits(nonzero + 1)
    if index_bits is not None:
        least = (whole(index_bits, "index_bits for these columns and rows", max(least), 32),) * 2
    return rows, columns, nonzero, *least


def _write_csr(x, index_bits=None):
    rows, columns, nonzero, *widths = _csr_widths(x, index_bits)
    row, column = np.nonzero(x.reshape(rows, columns))
    begins = np.searchsorted(row, np.arange(rows + 1))
    blocks = [x.reshape(rows, columns)[row, column].tobytes(), pack_bits(column, widths[0]), pack_bits(begins, widths[1])]
    return (nonzero, *widths), blocks


def _read_csr(payload):
    nonzero, *widths = payload.fields
    rows = _rows(payload.shape)
    columns = payload.size // rows
    require(nonzero <= payload.size and max(widths) <= 32, f"{nonzero} nonzero of {payload.size}, indices of {widths} bits")
    values = payload.numbers(nonzero)
    column, begins = (unpack_bits(payload.take(stream_bytes(n, bits)), bits, n).astype(np.int64)
                      for n, bits in zip((nonzero, rows + 1), widths))
    require(begins[0] == 0 and begins[-1] == nonzero and (np.diff(begins) >= 0).all(), "rows that do not follow each other")
    at = np.repeat(np.arange(rows), np.diff(begins)) * columns + column
    require(column.max(initial=0) < columns and (np.diff(at) > 0).all(), f"columns that do not ascend, or are beyond {columns}")
    x = np.zeros(payload.size, payload.dtype)
    x[at] = values
    return x


def _count_csr(x, index_bits=None):
    rows, _, nonzero, *widths = _csr_widths(x, index_bits)
    return csr_bytes(rows, nonzero, 8 * x.dtype.itemsize, *widths)


CSR = Encoding(3, 3, _write_csr, _read_csr, _count_csr)


# ---- N of every M ----------------------------------------------------------------------------------------------------

def n_of_m_bytes(blocks, n, m, value_bits):
    """B N v/8 + ceil(B N ceil(log2 M) / 8).

    >>> [tc.compress.encode.n_of_m_bytes(16, 2, 4, v) / (16 * 4 * v / 8) for v in (16, 8)]          # float16, int8 as 2:4
    [0.5625, 0.625]
    """
    return blocks * n * value_bits // 8 + stream_bytes(blocks * n, code_bits(m))


def _axis(shape):
    """The axis along which blocks lie."""
    return min(1, len(shape) - 1)


def _blocks(shape, m):
    """How many blocks of m an array of this shape has."""
    length = shape[_axis(shape)]
    return int(np.prod(shape, dtype=np.int64)) // length * -(-length // m)


def _checked_pattern(x, n, m):
    """(n, m) as integers. Errors: ValueError for a number without axes and a pattern that is none."""
    if not x.ndim:
        raise ValueError("x must have at least one axis to lie in blocks of M, not shape ()")
    m = whole(m, "m", 1, 2 ** 16)
    return whole(n, "n", 1, m), m


def _write_n_of_m(x, n, m):
    n, m = _checked_pattern(x, n, m)
    rows = np.moveaxis(x, _axis(x.shape), -1)
    rows = rows.reshape(-1, rows.shape[-1])
    blocks = np.pad(rows, ((0, 0), (0, -rows.shape[1] % m))).reshape(-1, m)                         # (B, M)
    most = np.count_nonzero(blocks, axis=1).max()
    if most > n:
        raise ValueError(f"x must have at most n = {n} numbers other than 0 in every {m}, not {most}: prune it so first")
    places = np.sort(np.argsort(blocks == 0, axis=1, kind="stable")[:, :n], axis=1)                 # nonzero first, then fill up
    return (n, m), [np.take_along_axis(blocks, places, 1).tobytes(), pack_bits(places, code_bits(m))]


def _read_n_of_m(payload):
    n, m = payload.fields
    require(payload.shape and 1 <= n <= m <= 2 ** 16, f"{n} of {m} along the axes {payload.shape}")
    axis, count = _axis(payload.shape), _blocks(payload.shape, m)
    values = payload.numbers(count * n).reshape(count, n)
    places = unpack_bits(payload.take(stream_bytes(count * n, code_bits(m))), code_bits(m), count * n).reshape(count, n)
    places = places.astype(np.int64)
    require((places < m).all() and (np.diff(places, axis=1) > 0).all(), f"places that do not ascend below {m}")
    blocks = np.zeros((count, m), payload.dtype)
    np.put_along_axis(blocks, places, values, 1)
    length = payload.shape[axis]
    rows = blocks.reshape(-1, -(-length // m) * m)
    require(not rows[:, length:].any(), "numbers behind the end of a row")
    others = [size for a, size in enumerate(payload.shape) if a != axis]
    return np.moveaxis(rows[:, :length].reshape(*others, length), -1, axis)


def _count_n_of_m(x, n, m):
    n, m = _checked_pattern(x, n, m)
    return n_of_m_bytes(_blocks(x.shape, m), n, m, 8 * x.dtype.itemsize)


N_OF_M = Encoding(4, 2, _write_n_of_m, _read_n_of_m, _count_n_of_m)
