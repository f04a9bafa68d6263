"""Huffman's code: often used numbers get short words, so that the mean length comes near the entropy and nothing is lost.

    H = -Σ_k p_k log2 p_k bits,  p_k = share of number k;     H <= mean length L < H + 1
The two rarest are joined into one of their sum, and again, until one is left; a number's length is how often it was joined. So
Σ_k count_k · length_k = the sum of all joined counts: the bits are known without a single code word.
Canonical: words of equal length are consecutive integers, the shorter words before the longer, numbers of one length ascending:
    word of the first = 0;   next word = (word + 1) · 2^(next length - length)
so the K different numbers and their lengths are the whole table.
    payload = K v/8 + K + ceil(Σ count_k · length_k / 8)                                                           field: K
A single different number has a word of 0 bits: the shape says how often. (By Huffman's own rule it would be 1 bit, which is
H + 1: the one case in which L < H + 1 failed.) Words are written from their highest bit, the first bit of a byte the highest.
Sources: Huffman (1952); Schwartz & Kallick (1964), canonical codes; RFC 1951, section 3.2.2.
"""
import heapq

import numpy as np

from .bits import stream_bytes
from .container import Encoding, require
from .dense import different

PIECE = 2 ** 20                                             # bits that are read at a time
LONGEST = 63                                                # a word of this length needs more than 10^13 numbers


def entropy(counts):
    """H = -Σ p log2 p in bits, p = counts / Σ counts; a count of 0 adds nothing.

    >>> tc.compress.encode.entropy([2, 1, 1])
    1.5
    """
    counts = np.asarray(counts, np.float64)
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log2(p)).sum() + 0.0)


def huffman_lengths(counts):
    """The length of the word of each number, (K,) int64; of equal counts the earlier joined first, so it is the same everywhere.

    >>> tc.compress.encode.huffman_lengths([5, 1, 1, 2])
    array([1, 3, 3, 2])
    """
    counts = [int(count) for count in counts]
    if min(counts, default=1) < 1:
        raise ValueError(f"counts must be at least 1, not {min(counts)}: a number that does not occur has no word")
    heap = [(count, k) for k, count in enumerate(counts)]
    parent = [0] * max(2 * len(counts) - 1, 0)
    heapq.heapify(heap)
    for joined in range(len(counts), len(parent)):
        (a, i), (b, j) = heapq.heappop(heap), heapq.heappop(heap)
        parent[i] = parent[j] = joined
        heapq.heappush(heap, (a + b, joined))
    depth = [0] * len(parent)
    for node in range(len(parent) - 2, -1, -1):
        depth[node] = depth[parent[node]] + 1
    return np.array(depth[:len(counts)], np.int64)


def huffman_bits(counts):
    """Σ_k count_k · length_k, as the sum of all joined counts: independent of any code word.

    >>> tc.compress.encode.huffman_bits([5, 1, 1, 2])               # 2 + 4 + 9 = 5·1 + 1·3 + 1·3 + 2·2
    15
    """
    heap, bits = [int(count) for count in counts], 0
    heapq.heapify(heap)
    while len(heap) > 1:
        joined = heapq.heappop(heap) + heapq.heappop(heap)
        bits += joined
        heapq.heappush(heap, joined)
    return bits


def canonical_words(lengths):
    """The word of each number as an integer, (K,) uint64, from the lengths alone.

    >>> [f"{word:0{n}b}" for word, n in zip(tc.compress.encode.canonical_words([1, 3, 3, 2]), [1, 3, 3, 2])]
    ['0', '110', '111', '10']
    """
    lengths = np.asarray(lengths, np.int64)
    words, word, before = np.zeros(len(lengths), np.uint64), 0, 0
    for k in np.argsort(lengths, kind="stable").tolist():
        word <<= int(lengths[k]) - before
        words[k], before = word, int(lengths[k])
        word += 1
    return words


def huffman_bytes(counts, value_bits):
    """K v/8 + K + ceil(bits / 8): table and words of numbers that occur so often, of value_bits each.

    >>> tc.compress.encode.huffman_bytes([5, 1, 1, 2], 8)
    10
    """
    return len(counts) * (value_bits // 8 + 1) + stream_bytes(huffman_bits(counts), 1)


def huffman_block(x):
    """(K, table, words) of an array: the different numbers and a byte of length for each, then the words of all numbers."""
    if not x.size:
        return 0, b"", b""
    values, codes = different(x)
    lengths = huffman_lengths(np.bincount(codes))
    words, n = canonical_words(lengths)[codes], lengths[codes]
    ends = np.cumsum(n)
    bits = np.zeros(int(ends[-1]), np.uint8)
    for place in range(int(n.max())):                                       # bit `place` of all words that are long enough
        has = n > place
        bits[(ends - n)[has] + place] = words[has] >> (n[has] - 1 - place).astype(np.uint64) & np.uint64(1)
    return len(values), values.tobytes() + lengths.astype(np.uint8).tobytes(), np.packbits(bits).tobytes()


def read_table(payload, k, dtype=None):
    """(values, lengths) of a table of k numbers. Errors: ValueError unless the words fill the tree exactly, Σ 2^-length = 1."""
    values, lengths = payload.numbers(k, dtype), payload.numbers(k, np.dtype(np.uint8)).astype(np.int64)
    full = sum(1 << LONGEST - int(n) for n in lengths if n <= LONGEST) == 1 << LONGEST
    require(full or k == 0, f"the lengths of {k} words do not make a Huffman code")
    return values, lengths


def read_words(data, values, lengths, count):
    """`count` numbers out of their words. Errors: ValueError if the bytes are too few or too many.

    At every bit the word that would begin there is looked up at once; the words that really begin somewhere are then found by
    jumps of 1, 2, 4, … words from the first. Cost: bits · (log K + log(bits)), in NumPy, a piece of the bits at a time.
    """
    if len(values) < 2:
        require(len(data) == 0 and (len(values) or not count), f"{len(data)} bytes of words for {count} of {len(values)} numbers")
        return np.full(count, values[0] if count else 0, values.dtype)
    longest, order = int(lengths.max()), np.argsort(lengths, kind="stable")
    lefts = canonical_words(lengths)[order] << (longest - lengths[order]).astype(np.uint64)         # ascending
    bits = np.concatenate([np.unpackbits(np.frombuffer(data, np.uint8)), np.zeros(longest, np.uint8)])
    found, start, total = [], 0, len(data) * 8
    while count and start < total:
        size = min(PIECE, total - start)
        window = np.zeros(size, np.uint64)
        for place in range(longest):
            window = window << np.uint64(1) | bits[start + place:start + place + size]
        which = order[np.searchsorted(lefts, window, "right") - 1]
        begins = _chain(np.arange(size) + lengths[which])[:count]
        found.append(which[begins])
        count -= len(begins)
        start += int(begins[-1] + lengths[which[begins[-1]]])
    require(count == 0 and start <= total < start + 8 and not bits[start:].any(),
            f"{len(data)} bytes of words end {'before' if count else 'behind'} the last number")
    return values[np.concatenate(found)] if found else np.zeros(0, values.dtype)


def _chain(following):
    """0, following[0], following[following[0]], … as long as they are inside: (n,) indices from doubled jumps."""
    size = len(following)
    jump, chain = np.append(np.minimum(following, size), size), np.zeros(1, np.int64)
    while chain[-1] < size:
        chain, jump = np.concatenate([chain, jump[chain]]), jump[jump]
    return chain[:np.searchsorted(chain, size)]


def _write_huffman(x):
    k, table, words = huffman_block(x)
    return (k,), [table, words]


def _read_huffman(payload):
    (k,) = payload.fields
    require(k > 0, "a table of no words")
    values, lengths = read_table(payload, k)
    return read_words(payload.rest(), values, lengths, payload.size)


def _count_huffman(x):
    return huffman_bytes(np.bincount(different(x)[1]), 8 * x.dtype.itemsize)


HUFFMAN = Encoding(7, 1, _write_huffman, _read_huffman, _count_huffman)
