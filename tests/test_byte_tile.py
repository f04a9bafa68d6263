"""The byte tile and the window of sliding bytes: what is compiled must be what its NumPy meaning says, by every way of multiplying bytes.

All is integers, so equality is exact. The ways "vnni", "words" and "portable" are compiled for this processor one after the other.
"""
import numpy as np
import pytest

from tinyconv.kernels import _lower_bytes, byte_tile, integer
from tinyconv.kernels._jit import exact, host_features
from tinyconv.kernels.byte_conv import signed_bytes
from tinyconv.kernels.requantization import FUSED, ONNX
from tinyconv.kernels.simd import LANES

biases, multiply_bytes, keep_sums, resume_sums, finish_codes, slide = (
    getattr(byte_tile, name) for name in ("biases", "multiply_bytes", "keep_sums", "resume_sums", "finish_codes", "slide"))
POSSIBLE = [way for way, needed in (("portable", set()), ("words", {16: {"avx512bw"}, 8: {"avx2"}}.get(LANES, {"none"})),
                                    ("vnni", {"avx512vnni", "avx512f"})) if needed <= host_features()]


def dense(A, rows, hop, zero, B, bias, S, T):
    acc = biases(3, 2, bias, 1)
    acc = multiply_bytes(acc, 3, 2, A, rows, 1, hop, zero, 5, B, 8, 3)
    keep_sums(acc, 3, 2, S, LANES)
    keep_sums(multiply_bytes(resume_sums(3, 2, S, LANES), 3, 2, A, rows, 0, hop, zero, 2, B, 0, 1), 3, 2, T, 0)


def window(x, table, zero, flip, w, bias, S, n):
    keep_sums(slide(biases(6, 1, bias, 0), 2, 3, 3, 2, x, table, 1, zero, 2, flip, w, 8, LANES, 0, n), 6, 1, S, 0)
    keep_sums(slide(biases(4, 1, bias, 0), 1, 4, 5, 1, x, table, 3, zero, 1, flip, w, 4, LANES, 1, LANES), 4, 1, S, 6 * LANES)


def codes(S, Y, places, m, s, rule, n):
    finish_codes(S, LANES, 3, 2, rule, Y, places, 1, 2, n, m, s, 1, -3.0, -20.0, 90.0)


def check_same(function, compiled, *arguments):
    """Run meaning and machine code on copies of the arguments: every array must end the same."""
    ours, theirs = ([a.copy() if isinstance(a, np.ndarray) else a for a in arguments] for _ in range(2))
    function(*ours)
    compiled(*theirs)
    for mine, other in zip(ours, theirs):
        assert np.array_equal(mine, other)
    assert any(not np.array_equal(mine, given) for mine, given in zip(ours, arguments) if isinstance(given, np.ndarray))


def some_bytes(rng, n, kind=np.uint8):
    info = np.iinfo(kind)
    return rng.integers(info.min, info.max + 1, n).astype(kind)


@pytest.mark.parametrize("way", POSSIBLE)
def test_products_of_bytes_by_every_way(way, monkeypatch):
    """The whole range of bytes, the ends together (vpmaddubsw would saturate at 2 * 255 * 127), flipped and not, rows of padding, resumed sums;
    windows of 3 and of 5 taps, strides, padding, masked lanes."""
    monkeypatch.setattr(_lower_bytes, "WAY", way)
    monkeypatch.setattr("tinyconv.kernels._cache.FOLDER", None)
    rng, compiled = np.random.default_rng(0), {f: exact(f, door=True) for f in (dense, window)}
    for flip, most in ((0, False), (128, True)):
        A, B = some_bytes(rng, 90), some_bytes(rng, 40 * LANES, np.int8)
        if most:
            A[:], B[:] = 255 ^ flip, 127
        rows, flips, bias = np.array([7, 0, -1, 30]), np.full(4 * LANES, flip, np.uint8), rng.integers(-2 ** 30, 2 ** 30, 3 * LANES).astype(np.int32)
        check_same(dense, compiled[dense], A, rows, 1, some_bytes(rng, 64), B, bias, np.zeros(8 * LANES, np.int32), np.zeros(6 * LANES, np.int32))
        table = rng.integers(0, 300, 60)
        table[[1, 7, 20, 33]] = -1
        for n in (2, LANES):
            check_same(window, compiled[window], some_bytes(rng, 400), table, some_bytes(rng, LANES), flips, some_bytes(rng, 60 * LANES, np.int8), bias,
                       np.zeros(10 * LANES, np.int32), n)


@pytest.mark.small
def test_pairs_saturated_in_16_bits_are_the_slip():
    """vpmaddubsw: 211·71 + 171·107 = 33278 is 32767 there. The bytes of the test above would show it in every pair; 7 bits of weight would not."""
    def pairs(u, s):
        return (u.astype(int) * s.astype(int)).reshape(-1, 2).sum(1)

    def saturated(u, s):
        return np.clip(pairs(u, s), -2 ** 15, 2 ** 15 - 1)
    u, s = np.uint8([211, 171]), np.int8([71, 107])
    assert pairs(u, s) == 33278 and saturated(u, s) == 32767
    most, ends = np.full(24, 255, np.uint8), (np.full(24, 127, np.int8), np.full(24, -128, np.int8))
    assert all((saturated(most, end) != pairs(most, end)).all() for end in ends)
    assert all((saturated(most, end // 2) == pairs(most, end // 2)).all() for end in ends)


@pytest.mark.parametrize("n", [1, LANES - 1, LANES, 2 * LANES - 3, 2 * LANES, 3 * LANES])
def test_codes_and_their_places(n):
    """Every rule; fewer filters than a vector, and more, than both vectors hold too; a place left out; nothing written beyond."""
    rng, compiled = np.random.default_rng(n), exact(codes, door=True)
    S = rng.integers(-20000, 20000, 8 * LANES).astype(np.int32)
    for name, rule in integer.RULES.items():
        m, s = rule.parameters(np.float32(0.1), rng.uniform(0.02, 0.5, 4 * LANES).astype(np.float32), np.float32(1.0))
        for number in (rule.number, FUSED) if rule.number == ONNX else (rule.number,):
            for places in ([0, 3, 60, 120], [0, 3, 60, -1], [0, -1, 60, -1]):
                check_same(codes, compiled, S, np.full(200, 77, np.uint8), np.array(places), m, s, number, n)


@pytest.mark.small
def test_the_way_follows_the_processor():
    """vpdpbusd needs AVX-512 VNNI; pairs of 16-bit numbers AVX2, or AVX-512 with its bytes and words; all else multiplies in 32 bits."""
    ways = {"vnni": {"avx512f", "avx512bw", "avx512vnni"}, "words": {"avx", "avx2"}, "portable": {"neon"}}
    assert all(_lower_bytes.way(features) == way for way, features in ways.items())
    assert _lower_bytes.way({"avx512f", "avx2"}) == "portable" and _lower_bytes.way({"avx512f", "avx512bw"}) == "words"


@pytest.mark.small
def test_weights_as_sums_of_bytes():
    """Every integer from -255 to 255 is a sum of at most three bytes, of one where one is enough."""
    w = np.arange(-255, 256)
    assert np.array_equal(sum(part.astype(int) for part in signed_bytes(w)), w) and len(signed_bytes(w)) == 3
    assert [len(signed_bytes(np.array([v]))) for v in (-128, 127, 0, 128, -129, 254, 255, -255)] == [1, 1, 1, 2, 2, 2, 3, 2]


@pytest.mark.small
def test_quads_hold_every_tap_once():
    """A row of K taps, four by four: each tap in one byte of one quad, at its distance from the quad's last."""
    for K in range(1, 12):
        found = byte_tile.quads(K)
        assert sorted(v for _, four in found for v in four if v >= 0) == list(range(K))
        assert all(v in (-1, end - 3 + place) for end, four in found for place, v in enumerate(four))
