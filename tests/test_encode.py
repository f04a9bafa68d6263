"""Encodings: decode(encode(x)) == x, the length foretold to the byte, Huffman between H and H + 1, damage refused."""
import heapq
import itertools
import zlib

import numpy as np
import pytest

import tinyconv as tc
from tinyconv.compress import encode as en
from tinyconv.compress import prune, quantize

pytestmark = pytest.mark.small


def sparse(shape, density, dtype=np.float32, values=None, seed=0):
    """Numbers at random places, zeros elsewhere: as they fall, or out of `values`."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape) * 20 if values is None else rng.choice(values, shape)
    return np.where(rng.random(shape) < density, x, 0).astype(dtype)


def lone(n, at, dtype=np.float32):
    """Zeros, and 3 at some places."""
    x = np.zeros(n, dtype)
    x[list(at)] = 3
    return x


ARRAYS = {
    "one number": np.float32([[2.5]]), "no axes": np.float32(-1.5), "one zero": np.zeros(1, np.float32),
    "all zeros": np.zeros((3, 5), np.float32), "one value": np.full((4, 7), -0.25, np.float32),
    "odd": sparse((3, 5, 1, 3), 0.3), "dense": sparse((7, 9), 1.0), "half": sparse((5, 3), 0.5, np.float16),
    "double": sparse((2, 11), 0.4, np.float64), "bytes": sparse((6, 8), 0.5, np.int8), "unsigned": np.arange(256, dtype=np.uint8),
    "wide": np.int64([[2 ** 62, -2 ** 63, 0], [1, -1, 2 ** 63 - 1]]), "large": np.uint64([2 ** 64 - 1, 0, 5]),
    "int32": sparse((4, 4, 2), 0.6, np.int32),
    "last alone": lone(1000, [999]), "first alone": lone(1000, [0]), "long runs": lone(3000, [15, 32, 48, 49, 600, 2999]),
    "shared": sparse((8, 40), 0.2, values=[-1.5, 0.5, 0.75]), "zeros behind": lone((2, 50), [0]),
    "minus zero": np.float32([0.0, -0.0, 1.0]), "not contiguous": sparse((8, 12), 0.3)[::2, 1::3].T,
    "other byte order": sparse((3, 4), 0.5).astype(">f4"), "more than a block": sparse((70_001,), 0.01, values=[1.0, 2.0, 5.0]),
}
WAYS = [("dense", {}), ("codebook", {}), ("csr", {}), ("csr", {"index_bits": 32}), ("relative", {}),
        ("relative", {"index_bits": 1}), ("relative", {"index_bits": 8}), ("relative_shared", {"index_bits": 3}), ("huffman", {}),
        ("deep_compression", {"index_bits": 5}), ("vectors", {"d": 1}), ("products", {"parts": 1})]


@pytest.mark.parametrize("name, options", WAYS, ids=lambda value: str(value))
@pytest.mark.parametrize("case", ARRAYS)
def test_what_is_encoded_comes_back(case, name, options):
    """Shape, type and every number; a copy; the length that the formula says; the encoding's name from the bytes alone."""
    x = ARRAYS[case]
    data = en.encode(x, name, **options)
    y = en.decode(data)
    assert y.shape == np.shape(x) and y.dtype == x.dtype.newbyteorder("=") and np.array_equal(y, x) and y.flags.writeable
    assert len(data) == en.encoded_bytes(x, name, **options) and en.encoding_of(data) == name
    assert data == en.encode(np.ascontiguousarray(x).reshape(np.shape(x)), name, **options)
    assert not np.signbit(y[y == 0]).any() if y.dtype.kind == "f" else True


@pytest.mark.parametrize("shape, n, m", [((6, 8), 2, 4), ((3, 7, 2, 3), 2, 4), ((5, 9), 1, 5), ((13,), 3, 4), ((4, 4), 4, 4),
                                         ((2, 3), 2, 8), ((4, 6), 1, 1)])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int8])
def test_n_of_m(shape, n, m, dtype):
    """Blocks that a row ends in, with fewer than N numbers, and of one number; the pattern of `prune.n_of_m` fits."""
    x = sparse(shape, 1.0, dtype)
    rows = np.moveaxis(x, min(1, x.ndim - 1), -1)
    for block in range(0, rows.shape[-1], m):
        rows[..., block + n:block + m] = 0
    rows[..., 0] = 0
    data = en.encode(x, "n_of_m", n=n, m=m)
    assert np.array_equal(en.decode(data), x) and len(data) == en.encoded_bytes(x, "n_of_m", n=n, m=m)
    w = sparse((8, 6, 3, 3), 1.0)
    w = prune.masked(w, prune.n_of_m(w, 2, 4))
    assert np.array_equal(en.decode(en.encode(w, "n_of_m", n=2, m=4)), w)


def test_pieces_of_codebooks():
    """What product and vector quantization give comes back, each part with a codebook of its own; the bits are theirs."""
    w = sparse((16, 6, 3, 3), 1.0)
    codes, books, _ = quantize.products(w, parts=6, m=8)
    x = quantize.from_products(codes, books, w.shape)
    data = en.encode(x, "products", parts=6)
    assert np.array_equal(en.decode(data), x) and len(data) == en.encoded_bytes(x, "products", parts=6)
    assert [len(book) for book in books] == [8] * 6
    assert 8 * (len(data) - en.header_bytes(4, 2) - 4 * 6) == quantize.product_bits(16, 54, 6, 8)
    codes, book, _ = quantize.vectors(w, d=9, m=16)
    x = quantize.from_vectors(codes, book, w.shape)
    data = en.encode(x, "vectors", d=9)
    assert np.array_equal(en.decode(data), x)
    assert 8 * (len(data) - en.header_bytes(4, 2) - 4) == quantize.vector_bits(w.size, 9, 16)
    uneven = np.float32([[1, 1, 5], [2, 1, 5], [3, 1, 6]])
    assert len(en.encode(uneven, "products", parts=3)) == en.header_bytes(2, 2) + en.pieces_bytes(3, 1, [3, 1, 2])


@pytest.mark.parametrize("bits", [0, 1, 2, 3, 5, 7, 8, 12, 31, 33, 63, 64])
def test_numbers_of_any_width(bits, rng):
    """Against Python's integers: number i stands at bit i·b. Lengths around a byte, and one beyond the block of the writer."""
    for n in (0, 1, 7, 8, 9, 70_001 if bits < 4 else 100):
        numbers = rng.integers(0, 2 ** bits - 1, n, dtype=np.uint64, endpoint=True)
        data = en.pack_bits(numbers, bits)
        assert len(data) == en.stream_bytes(n, bits) and np.array_equal(en.unpack_bits(data, bits, n), numbers)
        if n <= 100:
            assert int.from_bytes(data, "little") == sum(number << i * bits for i, number in enumerate(numbers.tolist()))
    if bits in (1, 2, 4, 8):
        codes = rng.integers(0, 2 ** bits, 37).astype(np.uint8)
        assert en.pack_bits(codes, bits) == quantize.pack(codes, bits).tobytes()


def test_dense_integers_take_the_fewest_bits():
    """Signed and unsigned, given bits and found ones: -8…7 in 4, and 17 numbers of 3 bits in 7 bytes."""
    for low, high, bits in ((-8, 7, 4), (-8, -8, 4), (-9, 7, 5), (0, 7, 4), (0, 0, 1), (-1, 0, 1), (-128, 127, 8)):
        x = np.linspace(low, high, 17).round().astype(np.int8)
        data = en.encode(x, "dense")
        assert en.fewest_bits(x) == bits and len(data) == en.header_bytes(1, 1) + -(-17 * bits // 8)
        assert np.array_equal(en.decode(en.encode(x, "dense", bits=8)), x)
    assert en.fewest_bits(np.uint8([7])) == 3 and len(en.encode(np.full(17, 7, np.uint8), "dense")) == en.header_bytes(1, 1) + 7


# ---- Huffman ---------------------------------------------------------------------------------------------------------

COUNTS = [[1, 1], [5, 1, 1, 2], [1] * 7, [1, 1, 2, 3, 5, 8, 13, 21, 34], [1000, 1], [3, 3, 3, 3, 3],
          [2 ** k for k in range(12)], list(range(1, 60))]


@pytest.mark.parametrize("counts", COUNTS, ids=str)
def test_huffman_is_between_h_and_h_plus_one(counts):
    """H <= mean length < H + 1, and the words fill the tree: none begins another."""
    lengths, n = en.huffman_lengths(counts), sum(counts)
    bits = int((np.array(counts) * lengths).sum())
    assert en.entropy(counts) - 1e-12 <= bits / n < en.entropy(counts) + 1 and bits == en.huffman_bits(counts)
    assert sum(2.0 ** -lengths) == 1
    words = [f"{int(word):0{length}b}" for word, length in zip(en.canonical_words(lengths), lengths)]
    assert not any(a.startswith(b) for a, b in itertools.permutations(words, 2))
    ordered = sorted(words, key=len)
    assert ordered == sorted(words)                                          # canonical: shorter first, and ascending in a length


def best_lengths(k, most):
    """All lists of k word lengths that fill a tree exactly, none above `most`."""
    return [lengths for lengths in itertools.product(range(1, most + 1), repeat=k) if sum(2.0 ** -n for n in lengths) == 1]


@pytest.mark.parametrize("counts", [[1, 2, 3, 4, 5], [1, 1, 1, 1, 1], [10, 1, 1, 1, 1], [5, 5, 2, 1, 1]], ids=str)
def test_no_prefix_code_is_shorter(counts):
    """Every prefix code of five numbers, tried."""
    assert en.huffman_bits(counts) == min(sum(c * n for c, n in zip(counts, lengths)) for lengths in best_lengths(5, 4))


def test_one_different_number_takes_no_bits():
    """The case in which Huffman's rule gives 1 bit, not below H + 1 = 1: here the table alone, a value and a length of 0."""
    assert en.huffman_lengths([9]).tolist() == [0] and en.huffman_bits([9]) == 0 and en.entropy([9]) == 0
    assert len(en.encode(np.full(9, 2.5, np.float32), "huffman")) == en.header_bytes(1, 1) + 5


def test_huffman_across_pieces(rng, monkeypatch):
    """Long words (a Fibonacci tree), and pieces so small that words lie across their edges: the same numbers."""
    fibonacci = [1, 1]
    while len(fibonacci) < 20:
        fibonacci.append(sum(fibonacci[-2:]))
    x = rng.permutation(np.repeat(np.arange(20, dtype=np.int16), fibonacci))
    data = en.encode(x, "huffman")
    assert en.huffman_lengths(fibonacci).max() == 19
    for piece in (1, 7, 64, 1000):
        monkeypatch.setattr("tinyconv.compress.encode.huffman.PIECE", piece)
        small = x[:300]
        assert np.array_equal(en.decode(en.encode(small, "huffman")), small)
    monkeypatch.undo()
    assert np.array_equal(en.decode(data), x)


# ---- Deep Compression ------------------------------------------------------------------------------------------------

def han_bytes(x, index_bits):
    """E by walking from number to number, as the paper's figure 2 does: an oracle without a formula."""
    entries, last = 0, -1
    for at in np.flatnonzero(x):
        while at - last > 2 ** index_bits:
            last, entries = last + 2 ** index_bits, entries + 1
        last, entries = at, entries + 1
    return entries


@pytest.mark.parametrize("index_bits", [1, 2, 3, 4, 8])
def test_fillers(index_bits):
    """Gaps at, below and above the span, and weights at random; Han's own example 1, 4, 15 with 3 bits has one filler."""
    span = 2 ** index_bits
    for x in (lone(5 * span, [span - 1]), lone(5 * span, [span]), lone(5 * span, [2 * span - 1, 2 * span, 4 * span]),
              sparse(5000, 0.03), np.zeros(5)):
        at, steps = en.gaps(x, index_bits)
        assert len(at) == len(steps) == en.entries(x, index_bits) == han_bytes(x, index_bits)
        assert steps.max(initial=0) < span and set(np.flatnonzero(x)) <= set(at.tolist())
    assert en.entries(lone(16, [1, 4, 15]), 3) == 4


def test_expected_fillers(rng):
    """One in four at 9 % and 4 bits, one in a hundred at 25 %, against a million weights: within four standard deviations."""
    assert abs(en.expected_fillers(0.09, 4) - 0.284) < 5e-4 and abs(en.expected_fillers(0.25, 4) - 0.01) < 5e-4
    for p in (0.09, 0.25):
        x = rng.random(1_000_000) < p
        kept, expected = np.count_nonzero(x), en.expected_fillers(p, 4)
        deviation = np.sqrt(expected * (1 + expected) / kept)               # fillers before a weight are geometric
        assert abs((en.entries(x, 4) - kept) / kept - expected) < 4 * deviation


def test_the_ledger_of_a_weight():
    """Each row against numbers counted otherwise: kept, entries, different, operations filter by filter; each stage is
    smaller.
    """
    w = sparse((24, 16, 3, 3), 1.0)
    stages = en.deep_compression(w, 0.9, 4)
    rows = en.account(stages)
    assert [row.name for row in rows] == ["dense", "pruned", "shared", "huffman"]
    kept = w.size - prune.exact_count(w.size, 0.9)
    for row, (x, encoding, options) in zip(rows, stages.values()):
        assert row.bytes == len(en.encode(x, encoding, **options)) and row.weights == w.size
        assert row.additions == row.nonzero == (w.size if row.name == "dense" else kept)
        assert row.different == len(set(x.ravel().tolist()) - {0.0})
        assert row.multiplications == sum(len(set(f.ravel().tolist()) - {0.0}) for f in x)
        assert row.entries == (w.size if row.name == "dense" else han_bytes(x, 4))
        assert row.bits_per_weight == 8 * row.bytes / w.size
    assert all(a.bytes > b.bytes for a, b in itertools.pairwise(rows))
    assert rows[2].different <= 15 and rows[2].multiplications < kept
    assert rows[1].bytes == en.header_bytes(4, 2) + en.relative_bytes(rows[1].entries, 32, 4)
    assert rows[1].fillers_per_nonzero == (rows[1].entries - kept) / kept
    k = rows[2].different + (rows[2].entries > kept)
    assert rows[2].bytes == en.header_bytes(4, 3) + 4 * k + -(-rows[2].entries // 2) * 2
    shared = stages["shared"][0]
    assert np.array_equal(shared != 0, stages["pruned"][0] != 0)
    double = en.total([rows, rows])
    assert [(row.bytes, row.entries, row.different) for row in double] == [(2 * r.bytes, 2 * r.entries, r.different)
                                                                           for r in rows]
    assert double[0].bits_per_weight == rows[0].bits_per_weight


def test_sharing_keeps_zeros_out_of_the_clusters():
    """The loss is k-means' of the kept weights alone; all zeros stay so."""
    w = sparse((40, 30), 0.2)
    x = en.share_kept(w, 3)
    _, _, losses = quantize.share(w[w != 0], 7)
    assert abs(((w - x).astype(np.float64) ** 2).sum() - losses[-1]) < 1e-5 * losses[-1] and len(np.unique(x[w != 0])) == 7
    assert not en.share_kept(np.zeros((2, 2)), 3).any()


# ---- refusals --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("call, error, message", [
    (lambda: en.encode(np.zeros((0, 3)), "dense"), ValueError, "x must not be empty"),
    (lambda: en.encode(np.zeros(0, np.int8), "dense"), ValueError, "x must not be empty"),
    (lambda: en.encode(np.float32([1, np.nan]), "csr"), ValueError, "x must be finite"),
    (lambda: en.encode(np.ones(2, bool), "dense"), TypeError, "not bool"),
    (lambda: en.encode(np.ones(2), "zip"), ValueError, "encoding must be one of dense, codebook"),
    (lambda: en.encode(np.ones(2), "csr", bits=4), ValueError, "'csr' takes the options index_bits, not bits"),
    (lambda: en.encode(np.ones(2), "n_of_m", n=1), ValueError, r"takes the options n, m \(needed: m,n\), not n"),
    (lambda: en.encode(np.int8([9]), "dense", bits=4), ValueError, "bits for these int8 numbers must be an integer from 5 to 8"),
    (lambda: en.encode(np.ones(2, np.float32), "dense", bits=16), ValueError, "from 32 to 32"),
    (lambda: en.encode(np.ones((1, 4)), "n_of_m", n=2, m=4), ValueError, "at most n = 2 numbers other than 0 in every 4, not 4"),
    (lambda: en.encode(np.float32(1), "n_of_m", n=2, m=4), ValueError, "at least one axis"),
    (lambda: en.encode(np.ones((1, 4)), "n_of_m", n=5, m=4), ValueError, "n must be an integer from 1 to 4"),
    (lambda: en.encode(np.arange(70_000), "codebook"), ValueError, "at most 65536 different numbers for a codebook, not 70000"),
    (lambda: en.encode(np.arange(70_000), "huffman"), ValueError, "at most 65536 different"),
    (lambda: en.encode(np.arange(70_000), "vectors", d=1), ValueError, "at most 65536 different pieces"),
    (lambda: en.encode(np.ones((2, 5)), "products", parts=2), ValueError, "parts must divide the 5 numbers"),
    (lambda: en.encode(np.ones(5), "vectors", d=2), ValueError, "d must divide the 5 numbers"),
    (lambda: en.encode(np.ones(5), "relative", index_bits=9), ValueError, "index_bits must be an integer from 1 to 8, not 9"),
    (lambda: en.encode(np.ones((2, 9)), "csr", index_bits=3), ValueError, "from 5 to 32"),
    (lambda: en.decode([1, 2]), TypeError, "must be bytes, not list"),
    (lambda: en.pack_bits(np.array([8]), 3), ValueError, "numbers must lie in 0…7 for 3 bits, not 8…8"),
    (lambda: en.pack_bits(np.array([-1]), 3), ValueError, "numbers must lie in 0…7"),
    (lambda: en.pack_bits(np.ones(2), 3), TypeError, "numbers must be integers"),
    (lambda: en.unpack_bits(b"a", 3, 3), ValueError, "3 numbers of 3 bits take 2 bytes, not 1"),
    (lambda: en.unpack_bits(b"\xff", 3, 2), ValueError, "the bits behind the last"),
    (lambda: en.code_bits(0), ValueError, "k must be an integer of at least 1"),
    (lambda: en.huffman_lengths([1, 0]), ValueError, "counts must be at least 1, not 0"),
    (lambda: en.expected_fillers(0, 4), ValueError, "density must be above 0"),
    (lambda: en.share_kept(np.ones(2), 9), ValueError, "bits must be an integer from 1 to 8"),
    (lambda: en.total([]), ValueError, "ledgers must hold the same stages"),
])
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()


EVERY_WAY = [(name, {**options, **({"n": 2, "m": 4} if name == "n_of_m" else {})}) for name, options in
             [("dense", {"bits": 5}), ("codebook", {}), ("csr", {}), ("n_of_m", {}), ("relative", {}), ("relative_shared", {}),
              ("huffman", {}), ("deep_compression", {}), ("products", {"parts": 2}), ("vectors", {"d": 2})]]


def sample():
    """An array that every encoding takes: 2:4, few values, a run longer than 16."""
    x = np.zeros((6, 12), np.int8)
    x[0, [0, 3, 5]], x[1, [1, 2, 11]], x[5, [0, 10]] = [1, -3, 7], [5, 5, 1], [2, 9]
    return x


@pytest.mark.parametrize("name, options", EVERY_WAY, ids=lambda value: str(value))
def test_every_flipped_bit_and_every_cut_is_noticed(name, options):
    """The checksum sees each single bit; a file that ends early or goes on is refused too."""
    data = en.encode(sample(), name, **options)
    assert np.array_equal(en.decode(data), sample())
    for bit in range(8 * len(data)):
        with pytest.raises(ValueError, match="encoded data"):
            en.decode(bytes(byte ^ (1 << bit % 8 if at == bit // 8 else 0) for at, byte in enumerate(data)))
    for damaged in (*(data[:n] for n in range(len(data))), data + b"\0"):
        with pytest.raises(ValueError, match="encoded data"):
            en.decode(damaged)


def forged(data):
    """The same bytes with a checksum that fits them."""
    return data[:4] + zlib.crc32(data[:4] + data[8:]).to_bytes(4, "little") + data[8:]


@pytest.mark.parametrize("name, options", EVERY_WAY, ids=lambda value: str(value))
def test_bytes_that_lie_are_refused_or_are_an_array(name, options):
    """Damage with a checksum that fits: a ValueError, or an array that its header describes; never another error."""
    data, rng = en.encode(sample(), name, **options), np.random.default_rng(0)
    refused, read = 0, 0
    for _ in range(400):
        changed = bytearray(data)
        for at in rng.integers(0, len(data), rng.integers(1, 4)):
            changed[at] = rng.integers(0, 256) if at not in (10, 11, 14, 15) else 0              # lengths of axes below 65536
        cut = forged(bytes(changed[:rng.integers(8, len(data) + 1)] if rng.random() < 0.2 else changed))
        try:
            x = en.decode(cut)
        except ValueError:
            refused += 1
        else:
            read += 1
            assert x.dtype.kind in "iuf" and x.size > 0
    assert refused > 100, (refused, read)


def field(data, position, value):
    """The same bytes with another field, of a two-axis array."""
    return forged(data[:16 + 4 * position] + value.to_bytes(4, "little") + data[20 + 4 * position:])


@pytest.mark.parametrize("name, options, position, value, message", [
    ("dense", {}, 0, 0, "0 bits for numbers of int8"), ("dense", {}, 0, 9, "9 bits"),
    ("dense", {}, 0, 8, "72 bytes should follow"), ("codebook", {}, 0, 0, "a codebook of 0"),
    ("csr", {}, 0, 999, "999 nonzero of 72"), ("csr", {}, 1, 40, "indices of"),
    ("n_of_m", {"n": 2, "m": 4}, 0, 5, "5 of 4"), ("relative", {}, 0, 9, "gaps of 9 bits"),
    ("relative", {}, 1, 6, "6 bytes are left over"), ("dense", {}, 0, 3, "18 bytes are left over"),
    ("relative_shared", {}, 2, 0, "with a codebook of 0"), ("huffman", {}, 0, 0, "a table of no words"),
    ("huffman", {}, 0, 3, "do not make a Huffman code"), ("deep_compression", {}, 1, 200, "200 entries of 72"),
    ("products", {"parts": 2}, 0, 5, "5 parts of 6 in 72"), ("products", {"parts": 2}, 1, 0, "2 parts of 0"),
])
def test_what_a_lie_is_told(name, options, position, value, message):
    with pytest.raises(ValueError, match=message):
        en.decode(field(en.encode(sample(), name, **options), position, value))


def test_lies_about_places_and_codes():
    """Columns that do not ascend, a code beyond the codebook, a position beyond the array, places twice, an unknown number."""
    row = np.int8([[5, 0, 6, 0]])
    csr = bytearray(en.encode(row, "csr"))
    csr[-2] = 0b0010                                                        # columns 2, 0 for 0, 2
    with pytest.raises(ValueError, match="columns that do not ascend"):
        en.decode(forged(bytes(csr)))
    book = bytearray(en.encode(np.int8([1, 2, 3]), "codebook"))
    book[-1] = 0b110100
    with pytest.raises(ValueError, match="the code 3 of a codebook of 3"):
        en.decode(forged(bytes(book)))
    gap = bytearray(en.encode(row, "relative"))
    gap[-1] = 0xF0
    with pytest.raises(ValueError, match=r"an entry at \[16\] of 4"):
        en.decode(forged(bytes(gap)))
    pair = bytearray(en.encode(row, "n_of_m", n=2, m=4))
    pair[-1] = 0b0101
    with pytest.raises(ValueError, match="places that do not ascend below 4"):
        en.decode(forged(bytes(pair)))
    with pytest.raises(ValueError, match="no encoding has the number 77"):
        en.decode(forged(b"\x4d" + bytes(csr[1:])))
    with pytest.raises(ValueError, match="type number 99"):
        en.decode(forged(csr[:1] + b"\x63" + bytes(csr[2:])))


def test_published_sizes():
    """AlexNet's 60 965 224 float32 weights are 243.9 MB or 232.6 MiB; 2:4 takes 56.25 % of float16 and 62.5 % of int8; Han's CSR
    of a nonzeros in n rows 2a + n + 1 numbers."""
    assert en.dense_bytes(60_965_224, 32) == 243_860_896 and round(243_860_896 / 2 ** 20, 1) == 232.6
    for dtype, share in ((np.float16, 0.5625), (np.int8, 0.625)):
        x = np.tile(np.array([1, 0, 0, 2], dtype), (8, 16))
        assert en.encoded_bytes(x, "n_of_m", n=2, m=4) - en.header_bytes(2, 2) == share * x.nbytes
    x = sparse((9, 50), 0.2)
    assert en.encoded_bytes(x, "csr", index_bits=32) - en.header_bytes(2, 3) == 4 * (2 * np.count_nonzero(x) + 9 + 1)


def test_wrong_codes_are_caught():
    """The checks above see a code that is too long, one that joins in the wrong order, and fillers forgotten."""
    counts = [5, 1, 1, 2]
    assert np.dot(counts, [2, 2, 2, 2]) != en.huffman_bits(counts)

    def backwards(counts):
        """Joins the two most often used."""
        heap, bits = [-c for c in counts], 0
        heapq.heapify(heap)
        while len(heap) > 1:
            joined = heapq.heappop(heap) + heapq.heappop(heap)
            bits -= joined
            heapq.heappush(heap, joined)
        return bits

    skewed = [1000, 1, 1, 1]
    assert not backwards(skewed) / 1003 < en.entropy(skewed) + 1 and en.huffman_bits(skewed) / 1003 < en.entropy(skewed) + 1
    x = lone(100, [60])
    assert np.count_nonzero(x) != han_bytes(x, 4) == en.entries(x, 4)
