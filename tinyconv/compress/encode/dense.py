"""Every number stored: as it is, in fewer bits, or as a code that a codebook explains.

    dense       n numbers of b bits                                        payload = ceil(n b / 8)                  field: b
    codebook    the K different numbers, then n codes of ceil(log2 K) bits payload = K v/8 + ceil(n ceil(log2 K)/8) field: K
v = bits of the array's own type. Integers are stored dense in any b that holds them, negative ones as two's complement; floats
as they are, b = v. The codebook is what k-means sharing leaves to store; the numbers in it ascend.
"""
import numpy as np

from .._checks import whole
from .bits import code_bits, pack_bits, stream_bytes, unpack_bits
from .container import Encoding, require

MOST = 2 ** 16                                              # different numbers that a codebook may have


def fewest_bits(x):
    """The least b that holds every number of x: two's complement if its type is signed; floats take their own width.

    >>> [tc.compress.encode.fewest_bits(np.int8(a)) for a in ([0, -1], [7], [-8], [-9])]
    [1, 4, 4, 5]
    """
    x = np.asarray(x)
    if x.dtype.kind == "f":
        return 8 * x.dtype.itemsize
    low, high = int(x.min()), int(x.max())
    if x.dtype.kind == "u":
        return max(1, high.bit_length())
    return 1 + max(n.bit_length() if n >= 0 else (~n).bit_length() for n in (low, high))


def _width(x, bits):
    """The bits a number, given or the fewest. Errors: ValueError if they do not hold x."""
    least = fewest_bits(x)
    return least if bits is None else whole(bits, f"bits for these {x.dtype} numbers", least, 8 * x.dtype.itemsize)


def dense_bytes(n, bits):
    """ceil(n bits / 8), the payload of n dense numbers.

    >>> tc.compress.encode.dense_bytes(1001, 4)
    501
    """
    return stream_bytes(n, bits)


def _write_dense(x, bits=None):
    bits = _width(x, bits)
    if bits == 8 * x.dtype.itemsize:
        return (bits,), [x.tobytes()]
    return (bits,), [pack_bits(x.ravel().astype(np.int64).view(np.uint64) & np.uint64(2 ** bits - 1), bits)]


def _read_dense(payload):
    (bits,), width = payload.fields, 8 * payload.dtype.itemsize
    require(1 <= bits <= width and (bits == width or payload.dtype.kind != "f"), f"{bits} bits for numbers of {payload.dtype}")
    if bits == width:
        return payload.numbers(payload.size)
    numbers = unpack_bits(payload.take(stream_bytes(payload.size, bits)), bits, payload.size)
    if payload.dtype.kind == "i":
        empty = np.uint64(64 - bits)
        numbers = (numbers << empty).view(np.int64) >> np.int64(64 - bits)              # an arithmetic shift copies the sign down
    return numbers.astype(payload.dtype)


def _count_dense(x, bits=None):
    return dense_bytes(x.size, _width(x, bits))


DENSE = Encoding(1, 1, _write_dense, _read_dense, _count_dense)


def codebook_bytes(n, k, value_bits=32):
    """K v/8 + ceil(n ceil(log2 K) / 8): the payload of n codes and the codebook they need.

    >>> tc.compress.encode.codebook_bytes(1000, 16)                 # 64 bytes of codebook, half a byte a weight
    564
    """
    return k * value_bits // 8 + stream_bytes(n, code_bits(k))


def different(x, most=MOST):
    """(the different numbers of x ascending, their index for each number). Errors: ValueError if there are more than `most`."""
    values, codes = np.unique(x, return_inverse=True)
    if len(values) > most:
        raise ValueError(f"x must have at most {most} different numbers for a codebook, not {len(values)}: share them first")
    return values, codes.ravel()


def _write_codebook(x):
    values, codes = different(x)
    return (len(values),), [values.tobytes(), pack_bits(codes, code_bits(len(values)))]


def _read_codebook(payload):
    (k,) = payload.fields
    require(1 <= k <= MOST, f"a codebook of {k} numbers")
    return coded(payload, k, payload.size)


def coded(payload, k, n):
    """n numbers behind a codebook of k, read from there."""
    values, bits = payload.numbers(k), code_bits(k)
    codes = unpack_bits(payload.take(stream_bytes(n, bits)), bits, n)
    require(codes.max(initial=0) < k, f"the code {codes.max(initial=0)} of a codebook of {k}")
    return values[codes]


def _count_codebook(x):
    return codebook_bytes(x.size, len(different(x)[0]), 8 * x.dtype.itemsize)


CODEBOOK = Encoding(2, 1, _write_codebook, _read_codebook, _count_codebook)
