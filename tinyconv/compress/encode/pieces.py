"""Pieces of an array out of codebooks: what vector and product quantization leave to store.

    products   the array as F rows (its first axis; one row if it has one axis), each cut into P parts of d numbers; part p
               has M_p different pieces
    vectors    the array in memory order, d numbers at a time: one part, P = 1
             payload = 4 P + Σ_p (M_p d v/8 + ceil(rows · ceil(log2 M_p) / 8))                                fields: P, d
First the P numbers M_p, 4 bytes each; then for every part its codebook and its codes. v = bits of a number. Without the 4 P
bytes, and where no byte is broken, these are `quantize.product_bits` and `quantize.vector_bits`.
"""
import numpy as np

from .._checks import whole
from .bits import code_bits, pack_bits, stream_bytes, unpack_bits
from .container import Encoding, require
from .dense import MOST

COUNT = np.dtype("<u4")


def pieces_bytes(rows, d, different, value_bits=32):
    """4 P + Σ_p (M_p d v/8 + ceil(rows ceil(log2 M_p) / 8)); `different` lists M_1 … M_P.

    >>> tc.compress.encode.pieces_bytes(128, 9, [16])               # 1152 weights, nine to a code of 4 bits
    644
    """
    return sum(4 + m * d * value_bits // 8 + stream_bytes(rows, code_bits(m)) for m in different)


def _by_products(x, parts):
    """x as (F, P, d)."""
    parts = whole(parts, "parts", 1)
    rows = x.shape[0] if x.ndim > 1 else 1
    if x.size // rows % parts:
        raise ValueError(f"parts must divide the {x.size // rows} numbers of a row of shape {x.shape}, not {parts}")
    return x.reshape(rows, parts, -1)


def _by_vectors(x, d):
    """x as (N/d, 1, d)."""
    d = whole(d, "d", 1)
    if x.size % d:
        raise ValueError(f"d must divide the {x.size} numbers of shape {x.shape}, not {d}")
    return x.reshape(-1, 1, d)


def _books(cut):
    """[(different pieces (M,d), the code of each row (rows,))] of every part."""
    books = []
    for part in range(cut.shape[1]):
        book, codes = np.unique(cut[:, part], axis=0, return_inverse=True)
        if len(book) > MOST:
            raise ValueError(f"x must have at most {MOST} different pieces in a part, not {len(book)}: quantize it first")
        books.append((book, codes.ravel()))
    return books


def _write(cut):
    books = _books(cut)
    blocks = [np.array([len(book) for book, _ in books], COUNT).tobytes()]
    for book, codes in books:
        blocks += [book.tobytes(), pack_bits(codes, code_bits(len(book)))]
    return cut.shape[1:], blocks


def _write_products(x, parts):
    return _write(_by_products(x, parts))


def _write_vectors(x, d):
    return _write(_by_vectors(x, d))


def _read_pieces(payload):
    parts, d = payload.fields
    require(parts > 0 and d > 0 and payload.size % (parts * d) == 0, f"{parts} parts of {d} in {payload.size} numbers")
    rows, columns = payload.size // (parts * d), []
    for m in payload.numbers(parts, COUNT).tolist():
        require(1 <= m <= min(rows, MOST), f"{m} different pieces among {rows}")
        book = payload.numbers(m * d).reshape(m, d)
        codes = unpack_bits(payload.take(stream_bytes(rows, code_bits(m))), code_bits(m), rows)
        require(codes.max() < m, f"the code {codes.max()} of a codebook of {m}")
        columns.append(book[codes])
    return np.stack(columns, axis=1)


def _count(cut, value_bits):
    return pieces_bytes(len(cut), cut.shape[2], [len(book) for book, _ in _books(cut)], value_bits)


def _count_products(x, parts):
    return _count(_by_products(x, parts), 8 * x.dtype.itemsize)


PRODUCTS = Encoding(9, 2, _write_products, _read_pieces, _count_products)


def _count_vectors(x, d):
    return _count(_by_vectors(x, d), 8 * x.dtype.itemsize)


VECTORS = Encoding(10, 2, _write_vectors, _read_pieces, _count_vectors)
