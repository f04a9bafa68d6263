"""Deep Compression's sparse format: each number with its distance from the last one, in few bits.

The array as one row; an entry is a number that is not zero and its gap, the step from the entry before it (from -1 for the
first). A gap of 1 … 2^b is stored as gap - 1 in b bits. Where more zeros lie between, an entry of value 0 is put in, a *filler*,
at gap 2^b; a run of z zeros before a number takes ⌊z / 2^b⌋ of them. Zeros at the end are not stored. For w the bits of a value,
    entries E = R + Σ ⌊z_i / 2^b⌋              R numbers other than 0
    relative          E values as they are, then E gaps                     payload = E v/8 + ceil(E b / 8)        fields: b, E
    relative_shared   a codebook of K values, E codes of w = ceil(log2 K)   payload = K v/8 + ceil(E w / 8) + ceil(E b / 8)
                      bits, then E gaps                                                                         fields: b, E, K
    deep_compression  values and gaps each with a Huffman code of their own, its table before its words           (below)
Fillers count: of weights kept at random with probability p there are q^(2^b) / (1 - q^(2^b)) for each kept one, q = 1 - p. So a
published table that gives densities alone does not say how many bytes there were; the weights do.
Source: Han et al., "Deep Compression" (2016), sections 2, 3 and 5, figure 2.
"""
import numpy as np

from .._checks import fraction, whole
from .bits import code_bits, pack_bits, stream_bytes, unpack_bits
from .container import Encoding, require
from .dense import MOST, coded, different
from .huffman import huffman_block, huffman_bytes, read_table, read_words

BYTE = np.dtype(np.uint8)                                   # what a gap - 1 is a number of: b <= 8


def gaps(x, index_bits):
    """(positions of the entries (E,) int64, gap - 1 of each (E,) uint8): fillers are among them, the positions where x is 0.

    >>> tc.compress.encode.gaps(np.array([0, 3, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]), 3)        # Han's figure: 1, 4, 15
    (array([ 1,  4, 12, 15]), array([1, 2, 7, 2], dtype=uint8))
    """
    span = 2 ** whole(index_bits, "index_bits", 1, 8)
    nonzero = np.flatnonzero(x)
    zeros = np.diff(nonzero, prepend=-1) - 1                                        # (R,) zeros before each
    fill = zeros // span
    steps = np.full(int(fill.sum()) + len(nonzero), span - 1, np.uint8)             # a filler stands after span - 1 zeros
    steps[np.cumsum(fill + 1) - 1] = zeros % span
    return np.cumsum(steps + np.int64(1)) - 1, steps


def entries(x, index_bits):
    """E = R + Σ ⌊z_i / 2^b⌋: how many entries x has, fillers included.

    >>> tc.compress.encode.entries(np.array([0] * 16 + [5]), 4), tc.compress.encode.entries(np.array([0] * 15 + [5]), 4)
    (2, 1)
    """
    span, nonzero = 2 ** whole(index_bits, "index_bits", 1, 8), np.flatnonzero(x)
    return len(nonzero) + int(((np.diff(nonzero, prepend=-1) - 1) // span).sum())


def expected_fillers(density, index_bits):
    """q^s / (1 - q^s), s = 2^b, q = 1 - density: fillers for each kept weight if weights are kept at random.

    >>> [round(tc.compress.encode.expected_fillers(p, 4), 3) for p in (0.09, 0.25)]
    [0.284, 0.01]
    """
    density = fraction(density, "density")
    if not density:
        raise ValueError("density must be above 0: of no weights at all there are no fillers for each")
    run = (1 - density) ** 2 ** whole(index_bits, "index_bits", 1, 8)
    return run / (1 - run)


def relative_bytes(count, value_bits, index_bits):
    """E v/8 + ceil(E b / 8) for E entries, fillers included.

    >>> tc.compress.encode.relative_bytes(1001, 32, 4)
    4505
    """
    return count * value_bits // 8 + stream_bytes(count, index_bits)


def relative_shared_bytes(count, k, value_bits, index_bits):
    """K v/8 + ceil(E ceil(log2 K) / 8) + ceil(E b / 8) for E entries of K different values (0 among them if there are fillers).

    >>> tc.compress.encode.relative_shared_bytes(1001, 16, 32, 4)   # a codebook of 64 bytes, a byte an entry
    1066
    """
    return k * value_bits // 8 + stream_bytes(count, code_bits(max(k, 1))) + stream_bytes(count, index_bits)


def _write_relative(x, index_bits=4):
    at, steps = gaps(x, index_bits)
    return (index_bits, len(at)), [x.ravel()[at].tobytes(), pack_bits(steps, index_bits)]


def _read_relative(payload):
    index_bits, count = payload.fields
    return _scatter(payload, payload.numbers(count), _read_gaps(payload, index_bits, count))


def _count_relative(x, index_bits=4):
    return relative_bytes(entries(x, index_bits), 8 * x.dtype.itemsize, index_bits)


RELATIVE = Encoding(5, 2, _write_relative, _read_relative, _count_relative)


def _write_relative_shared(x, index_bits=4):
    at, steps = gaps(x, index_bits)
    values, codes = different(x.ravel()[at])
    blocks = [values.tobytes(), pack_bits(codes, code_bits(max(len(values), 1))), pack_bits(steps, index_bits)]
    return (index_bits, len(at), len(values)), blocks


def _read_relative_shared(payload):
    index_bits, count, k = payload.fields
    require(k <= MOST and (k > 0) == (count > 0), f"{count} entries with a codebook of {k}")
    values = coded(payload, k, count) if k else payload.numbers(0)
    return _scatter(payload, values, _read_gaps(payload, index_bits, count))


def _count_relative_shared(x, index_bits=4):
    at, _ = gaps(x, index_bits)
    return relative_shared_bytes(len(at), len(different(x.ravel()[at])[0]), 8 * x.dtype.itemsize, index_bits)


RELATIVE_SHARED = Encoding(6, 3, _write_relative_shared, _read_relative_shared, _count_relative_shared)


def _read_gaps(payload, index_bits, count):
    require(1 <= index_bits <= 8, f"gaps of {index_bits} bits")
    return unpack_bits(payload.take(stream_bytes(count, index_bits)), index_bits, count)


def _scatter(payload, values, steps):
    """The array with these values at these gaps."""
    at = np.cumsum(steps.astype(np.int64) + 1) - 1
    require(not len(at) or at[-1] < payload.size, f"an entry at {at[-1:]} of {payload.size}")
    x = np.zeros(payload.size, payload.dtype)
    x[at] = values
    return x


# ---- with Huffman's code ---------------------------------------------------------------------------------------------

def deep_compression_bytes(value_counts, gap_counts, value_bits):
    """Both Huffman blocks: of the values of the entries, and of their gaps, a byte each in the table.

    K v/8 + K + ceil(Σ count · length / 8) + 2 G + ceil(Σ count · length / 8), K different values, G different gaps. b is in it
    through the fillers alone: it says how far a gap may reach. Fields: b, E, K, G, bytes of the values' words.

    >>> tc.compress.encode.deep_compression_bytes([5, 1, 1, 2], [8, 1], 32)
    28
    """
    return huffman_bytes(value_counts, value_bits) + huffman_bytes(gap_counts, 8)


def _write_deep_compression(x, index_bits=4):
    at, steps = gaps(x, index_bits)
    k, table, words = huffman_block(x.ravel()[at])
    g, gap_table, gap_words = huffman_block(steps)
    return (index_bits, len(at), k, g, len(words)), [table, words, gap_table, gap_words]


def _read_deep_compression(payload):
    index_bits, count, k, g, length = payload.fields
    require(1 <= index_bits <= 8 and count <= payload.size, f"{count} entries of {payload.size}, gaps of {index_bits} bits")
    table = read_table(payload, k)
    values = read_words(payload.take(length), *table, count)
    gap_table = read_table(payload, g, BYTE)
    steps = read_words(payload.rest(), *gap_table, count)
    require(steps.max(initial=0) < 2 ** index_bits, f"a gap of {int(steps.max(initial=0)) + 1} in {index_bits} bits")
    return _scatter(payload, values, steps)


def _count_deep_compression(x, index_bits=4):
    at, steps = gaps(x, index_bits)
    value_counts = np.unique(x.ravel()[at], return_counts=True)[1]
    return deep_compression_bytes(value_counts, np.unique(steps, return_counts=True)[1], 8 * x.dtype.itemsize)


DEEP_COMPRESSION = Encoding(8, 5, _write_deep_compression, _read_deep_compression, _count_deep_compression)
