"""compress/quantize, the ways to have fewer values: groups, packing, powers of two, sharing, codebooks, signs, short floats."""
import itertools
from fractions import Fraction

import numpy as np
import pytest

from tinyconv.compress import quantize as qt

pytestmark = pytest.mark.small
F32 = 2.0 ** -24


def slack(scale):
    """Rounding on top of S/2: S, the quotient and the product are float32, each within 2^-24 of at most 256 steps."""
    return 3 * 256 * F32 * np.asarray(scale, np.float64)


def weights(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


# ---- groups and bytes ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("group", [1, 5, 18, 100])
@pytest.mark.parametrize("is_symmetric", [True, False])
def test_groups(bits, group, is_symmetric):
    """|w - ŵ| <= S/2 of each weight's own piece, the last piece short; zeros exact; equal to quantizing every piece alone."""
    w = weights(3, 2, 3, 3) * np.float32([1, 30, 0.01]).reshape(3, 1, 1, 1)
    w[0, 0, 0] = 0
    q, scale, zero = qt.quantize_groups(w, bits, group, is_symmetric)
    assert q.dtype == np.int8 and q.shape == w.shape and scale.shape == zero.shape == (3, -(-18 // group))
    back = qt.dequantize_groups(q, scale, zero, group)
    own = np.repeat(scale, group, axis=1)[:, :18].reshape(w.shape)
    assert (np.abs(w - back) <= own / 2 + slack(own)).all() and (back[w == 0] == 0).all()
    for f, p in itertools.product(range(3), range(scale.shape[1])):
        piece = w[f].ravel()[p * group:(p + 1) * group]
        if is_symmetric:
            codes, s = qt.quantize_weight(piece, bits, axis=None)
        else:
            s, z = qt.affine(*qt.value_range(piece), bits)
            codes = qt.quantize(piece, s, z, *qt.code_range(bits))
            assert z == zero[f, p]
        assert s == scale[f, p] and np.array_equal(codes, q[f].ravel()[p * group:(p + 1) * group])


def test_a_group_keeps_an_outlier_to_itself():
    """One weight of 100 among normal ones at 4 bits: per filter every other weight becomes 0, in groups of 8 only seven do."""
    w = weights(1, 64)
    w[0, 3] = 100
    assert np.count_nonzero(qt.quantize_weight(w, 4)[0]) == 1
    q, _, _ = qt.quantize_groups(w, 4, 8)
    assert np.count_nonzero(q[0, :8]) == 1 and np.count_nonzero(q[0, 8:]) > 45


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("n", [0, 1, 3, 4, 5, 16, 17])
def test_packing_there_and_back(bits, n):
    """unpack(pack(q)) == q for all codes of so many bits; the ceil(n bits / 8) bytes are those of one long integer."""
    for dtype, low in ((np.int8, -2 ** (bits - 1)), (np.uint8, 0)):
        codes = (np.arange(n) % 2 ** bits + low).astype(dtype)
        packed = qt.pack(codes, bits)
        by_hand = sum((int(c) % 2 ** bits) << (bits * i) for i, c in enumerate(codes)).to_bytes(-(-n * bits // 8), "little")
        assert packed.tobytes() == by_hand and len(packed) == qt.packed_bytes(n, bits)
        back = qt.unpack(packed, bits, (n,), signed=dtype is np.int8)
        assert back.dtype == dtype and np.array_equal(back, codes)
    shaped = qt.unpack(qt.pack(np.zeros((2, 3), np.int8), bits), bits, (2, 3))
    assert shaped.shape == (2, 3) and not shaped.any()


# ---- powers of two -------------------------------------------------------------------------------------------------------

def test_power_of_two_scales():
    """S <= S' < 2S and S' a power of two, exactly; powers stay, their neighbours above go up; nothing saturates with it."""
    powers = 2.0 ** np.arange(-100, 100)
    assert np.array_equal(qt.power_of_two(powers), powers.astype(np.float32))
    assert np.array_equal(qt.power_of_two(np.nextafter(powers, np.inf)), (2 * powers).astype(np.float32))
    s = np.exp(np.random.default_rng(0).uniform(-50, 50, 500))
    up = qt.power_of_two(s).astype(np.float64)
    assert ((s <= up) & (up < 2 * s)).all() and (np.frexp(up)[0] == 0.5).all()
    w = weights(4, 30)
    scale = qt.power_of_two(qt.symmetric(np.abs(w).max(axis=1)))
    q = qt.quantize(w, scale, 0, -127, 127, axis=0)
    assert (np.abs(w - qt.dequantize(q, scale, axis=0)) <= scale[:, None] / 2).all()           # exact: no rounding in w/S or S q


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_logarithmic(bits):
    """Every ŵ a power of two or 0, the ratio to w within sqrt 2 where the code is free, in exact fractions; zeros, signs kept."""
    w = np.concatenate([weights(200), [0.0, 1.5, 1.4142, -1.4143, 6.0]]).astype(np.float32)
    q, top = qt.logarithmic(w, bits)
    levels = 2 ** (bits - 1) - 1
    back = qt.from_logarithmic(q, top, bits)
    assert np.abs(q).max() == levels and (back[w == 0] == 0).all()
    assert np.array_equal(np.sign(back), np.where(back == 0, 0, np.sign(w)))
    for x, y in zip(w, back):
        least = Fraction(2) ** (top - levels + 1)
        if abs(Fraction(float(x))) < least / 2:
            assert y == 0
        elif abs(Fraction(float(x))) >= least and y < 2.0 ** top:
            ratio = Fraction(float(y)) / Fraction(float(x))
            assert Fraction(1, 2) <= ratio ** 2 <= 2 and np.frexp(abs(y))[0] == 0.5


def test_the_logarithm_splits_at_the_root_of_two():
    """1.4143 becomes 2 and 1.4142 becomes 1; the nearest power in absolute terms would split at 1.5."""
    q, top = qt.logarithmic(np.array([1.4142, 1.4143, 1.49, 4.0]), 4)
    assert qt.from_logarithmic(q, top).tolist() == [1, 2, 2, 4]


# ---- k-means, codebooks --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("init", ["linear", "density", "random", "kmeans++"])
@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("k", [1, 2, 16, 40])
def test_sharing(init, zero, k):
    """Losses never rise (beyond rounding); each weight has the nearest centroid, each centroid is the mean of its weights; zeros
    stay zeros; the last loss is that of ŵ.
    """
    w = weights(4, 30)
    w[np.abs(w) < 0.3] = 0
    codes, book, losses = qt.share(w, k, init, seed=1, zero=zero)
    assert codes.shape == w.shape and codes.dtype == np.uint8 and book.dtype == np.float32 and len(book) <= k
    n = w.size
    assert all(after <= before + 4 * n * 2.0 ** -53 * (w ** 2).sum() for before, after in zip(losses, losses[1:]))
    wide = w.astype(np.float64)
    nearest = ((wide[..., None] - book) ** 2).min(axis=2).sum()
    assert losses[-1] == pytest.approx(((wide - qt.shared(codes, book)) ** 2).sum(), rel=1e-4, abs=1e-9)
    assert losses[-1] == pytest.approx(nearest, rel=1e-4, abs=1e-9)
    for i, c in enumerate(book):
        if (codes == i).any() and not (zero and i == 0):
            assert abs(wide[codes == i].mean() - c) <= 1e-6
    if zero:
        assert book[0] == 0 and (codes[w == 0] == 0).all()


def test_sharing_finds_what_is_there():
    """As many values as clusters: loss 0, from every start that can reach it; fewer values than clusters: fewer centroids."""
    w = np.float32([[3, -1, 7], [7, 3, 3]])
    for init in ("random", "kmeans++", "density"):
        codes, book, losses = qt.share(w, 3, init, seed=0)
        assert np.array_equal(qt.shared(codes, book), w) and losses[-1] == 0
    assert len(qt.share(w, 10, "random")[1]) == len(qt.share(w, 10, "kmeans++")[1]) == 3
    assert qt.share(w, 1)[1].tolist() == [np.float32(w.mean())]


def test_lines_and_distances_choose_alike():
    """Numbers are assigned by midpoints, vectors by distances: the same k-means on (N,1) and, with zeros added, on (N,2)."""
    x = np.random.default_rng(3).standard_normal((80, 1))
    line = qt.kmeans(x, 7, "random", seed=2)
    plane = qt.kmeans(np.hstack([x, np.zeros_like(x)]), 7, "random", seed=2)
    assert np.array_equal(line[0], plane[0]) and np.allclose(line[1], plane[1][:, :1], rtol=0, atol=1e-12)


def test_the_slip_of_pruned_weights_that_come_back():
    """Without the fixed zero, pruned weights are shared like others and come back as something else."""
    w = weights(60)
    w[::2] = 0
    free, fixed = qt.share(w, 4), qt.share(w, 4, zero=True)
    assert np.count_nonzero(qt.shared(*free[:2])[::2]) == 30 and not qt.shared(*fixed[:2])[::2].any()


def test_codebook_gradient_is_the_sum():
    """dL/dc by difference quotients of L = Σ a cos(ŵ): the sum over members; their mean, a slip, is off by how many there are."""
    rng = np.random.default_rng(0)
    codes, book, a = rng.integers(0, 3, (5, 4)), rng.standard_normal(3), rng.standard_normal((5, 4))

    def loss(c):
        return (a * np.cos(c[codes])).sum()
    slope = [(loss(book + d) - loss(book - d)) / 2e-6 for d in 1e-6 * np.eye(3)]
    dw = -a * np.sin(book[codes])
    np.testing.assert_allclose(qt.codebook_gradient(dw, codes, 3), slope, rtol=1e-6)
    mean = qt.codebook_gradient(dw, codes, 3) / np.bincount(codes.ravel())
    assert np.abs(mean - slope).max() > 0.1


@pytest.mark.parametrize("d, m", [(1, 4), (2, 3), (9, 5), (4, 9)])
def test_vectors_and_products(d, m):
    """Losses never rise and are those of ŵ; with a codebook as long as there are vectors nothing is lost; bits by hand."""
    w = weights(4, 9, 2, 2)
    codes, book, losses = qt.vectors(w, d, m, seed=0)
    back = qt.from_vectors(codes, book, w.shape)
    assert codes.shape == (144 // d,) and book.shape == (m, d) and (np.diff(losses) <= 1e-12 * losses[0]).all()
    assert ((w.astype(np.float64) - back) ** 2).sum() == pytest.approx(losses[-1], rel=1e-4)
    assert qt.vector_bits(144, d, m) == 144 // d * {3: 2, 4: 2, 5: 3, 9: 4}[m] + m * d * 32
    parts = 36 // d
    codes, books, losses = qt.products(w, parts, m=2)
    back = qt.from_products(codes, books, w.shape)
    assert codes.shape == (4, parts) and sum(b.size for b in books) == 2 * 36
    assert ((w.astype(np.float64) - back) ** 2).sum() == pytest.approx(sum(part[-1] for part in losses), rel=1e-4)
    assert qt.product_bits(4, 36, parts, 2) == 4 * parts + 2 * 36 * 32
    assert np.array_equal(qt.from_products(*qt.products(w, parts, 4)[:2], w.shape), w)
    few = np.tile(weights(3, 4), (5, 1))
    assert np.array_equal(qt.from_vectors(*qt.vectors(few, 4, 3)[:2], few.shape), few)


# ---- signs ---------------------------------------------------------------------------------------------------------------

def test_binary_is_the_least_squares_scale():
    """α = mean|w| and B = sign(w): Σ(w - αB)² = Σw² - nα², below it for no other signs (all 2^6 tried, each with its best α).
    sign(0) = +1.
    """
    w = weights(3, 6).astype(np.float64)
    w[0, 0] = 0
    b, alpha = qt.binary(w)
    assert set(np.unique(b)) == {-1, 1} and b[0, 0] == 1 and np.array_equal(alpha, np.abs(w).mean(axis=1).astype(np.float32))
    loss = ((w - np.abs(w).mean(axis=1)[:, None] * b) ** 2).sum(axis=1)
    np.testing.assert_allclose(loss, (w ** 2).sum(axis=1) - 6 * np.abs(w).mean(axis=1) ** 2, rtol=1e-12)
    for signs in itertools.product((-1, 1), repeat=6):
        best = (w @ signs) / 6                                                   # the best α for these signs
        assert (((w - best[:, None] * signs) ** 2).sum(axis=1) >= loss - 1e-12).all()
    assert qt.binary(w, axis=None)[1].shape == () and qt.binary(w, axis=1)[1].shape == (6,)


def test_ternary():
    """TWN's threshold by its formula; "best" against every choice of the k largest, never worse, with Δ = α/2; zeros stay 0."""
    w = weights(5, 40)
    w[:, :3] = 0
    t, alpha = qt.ternary(w)
    size = np.abs(w).astype(np.float64)
    kept = size > 0.7 * size.mean(axis=1, keepdims=True)
    assert np.array_equal(t, np.sign(w) * kept) and (t[:, :3] == 0).all()
    np.testing.assert_allclose(alpha, [row[k].mean() for row, k in zip(size, kept)], rtol=1e-6)
    best, scale = qt.ternary(w, threshold="best")

    def loss(codes, a):
        return ((w.astype(np.float64) - np.asarray(a, np.float64)[:, None] * codes) ** 2).sum(axis=1)
    tried = [loss(np.sign(w) * (size >= d), [row[row >= d].mean() for row in size]) for d in np.unique(size[0][size[0] > 0])
             if (size >= d).any(axis=1).all()]
    assert (loss(best, scale) <= loss(t, alpha) + 1e-6).all() and (loss(best, scale)[0] <= np.min(tried, axis=0)[0] + 1e-6)
    for row, codes, a in zip(size, best, scale):
        assert row[codes != 0].min() >= a / 2 * (1 - 1e-6) and row[codes == 0].max() <= a / 2 * (1 + 1e-6)
    assert not qt.ternary(np.zeros((2, 3)))[0].any() and not qt.ternary(np.zeros((2, 3)), threshold="best")[0].any()


# ---- short floats --------------------------------------------------------------------------------------------------------

def neighbours(kind):
    """All finite numbers of the format, and what lies at, just below and just above the middle of every two neighbours."""
    patterns = qt.from_float_bits(np.arange(2 ** 15, dtype=np.uint16), kind)
    values = patterns[np.isfinite(patterns)].astype(np.float64)
    middle = (values[1:] + values[:-1]) / 2
    return values, middle


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_short_floats_everywhere(kind):
    """All 2^15 numbers, subnormal ones too, stay; every middle goes to the even pattern, a hair less or more to its own side."""
    values, middle = neighbours(kind)
    patterns = np.arange(len(values))
    for sign in (1, -1):
        assert np.array_equal(qt.round_to(sign * values, kind), sign * values)
        even = np.where(patterns[:-1] % 2 == 0, values[:-1], values[1:])
        assert np.array_equal(qt.round_to(sign * middle, kind), sign * even)
        assert np.array_equal(qt.round_to(sign * np.nextafter(middle, 0), kind), sign * values[:-1])
        assert np.array_equal(qt.round_to(sign * np.nextafter(middle, np.inf), kind), sign * values[1:])
    assert np.array_equal(qt.float_bits(values, kind), patterns)
    beyond = values[-1] + (values[-1] - values[-2]) / 2                       # the middle to the power of two that is not there
    assert qt.round_to(np.array([np.nextafter(beyond, 0), beyond, -beyond]), kind).tolist() == [values[-1], np.inf, -np.inf]
    special = qt.round_to(np.array([np.nan, np.inf, -np.inf, -0.0]), kind)
    assert np.isnan(special[0]) and special[1:].tolist() == [np.inf, -np.inf, 0.0] and np.signbit(special[3])
    assert qt.round_to(np.float32(1.0), kind) == 1
    assert np.isnan(qt.from_float_bits(qt.float_bits(np.float32([np.nan]), kind), kind))[0]


def test_float16_is_numpys_and_bfloat16_the_trick_with_bits():
    """float16 against NumPy's cast; bfloat16 against adding 0x7FFF and the last kept bit to float32's pattern and cutting."""
    x = np.random.default_rng(0).integers(0, 2 ** 32, 20000, dtype=np.uint64).astype(np.uint32).view(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        assert np.array_equal(qt.round_to(x, "float16"), x.astype(np.float16).astype(np.float32), equal_nan=True)
        wide = x.astype(np.float64) * (1 + 1e-9)
        assert np.array_equal(qt.round_to(wide, "float16"), wide.astype(np.float16).astype(np.float64), equal_nan=True)
    number = x[~np.isnan(x)]
    pattern = number.view(np.uint32).astype(np.uint64)
    trick = ((pattern + 0x7FFF + ((pattern >> 16) & 1)) >> 16).astype(np.uint16)
    assert np.array_equal(qt.float_bits(number), trick)


def test_slips_of_short_floats():
    """Cutting off instead of rounding errs by up to a whole step, always towards 0; rounding twice moves what was no middle."""
    x = np.abs(weights(5000)).astype(np.float32)
    cut = (x.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    unit = 2.0 ** (np.floor(np.log2(x)) - 7)
    assert (np.abs(qt.round_to(x) - x) <= unit / 2).all()
    assert (x - cut).min() >= 0 and ((x - cut) / unit).max() > 0.9
    just_above = 1 + 2.0 ** -8 + 2.0 ** -40                                        # float32 sees the middle itself
    assert qt.round_to(np.float64(just_above)) == 1 + 2.0 ** -7 and qt.round_to(np.float32(just_above)) == 1


@pytest.mark.parametrize("call, error, message", [
    (lambda: qt.quantize_groups(np.ones(4)), ValueError, r"w must be \(F,…\) with filters first"),
    (lambda: qt.quantize_groups(np.ones((2, 2)), group=0), ValueError, "group must be an integer of at least 1, not 0"),
    (lambda: qt.quantize_groups(np.ones((2, 2)), bits=9), ValueError, "bits must be an integer from 2 to 8, not 9"),
    (lambda: qt.quantize_groups(np.full((2, 2), np.nan)), ValueError, "w must be finite"),
    (lambda: qt.dequantize_groups(np.ones((2, 4), np.int8), np.ones((2, 1)), np.zeros((2, 1), int), 2), ValueError,
     r"must be \(2, 2\) for codes \(2, 4\)"),
    (lambda: qt.pack(np.int8([8]), 4), ValueError, r"codes must lie in -8…7 for 4 bits, not 8…8"),
    (lambda: qt.pack(np.int8([1]), 3), ValueError, "bits must be 1, 2, 4 or 8"),
    (lambda: qt.pack(np.int32([1]), 4), TypeError, "codes must be int8 or uint8, not int32"),
    (lambda: qt.unpack(np.uint8([1]), 4, (3,)), ValueError, r"packed must be 2 bytes \(uint8\) for 3 codes"),
    (lambda: qt.power_of_two(0.0), ValueError, "scale must be positive, not 0.0"),
    (lambda: qt.power_of_two(np.inf), ValueError, "scale must be finite"),
    (lambda: qt.power_of_two(1e-40), ValueError, "normal range"),
    (lambda: qt.logarithmic(np.zeros(3)), ValueError, "a weight other than 0"),
    (lambda: qt.from_logarithmic(np.int8([4]), 0, 3), ValueError, "codes must lie in -3…3 for 3 bits"),
    (lambda: qt.share(np.ones(3), 0), ValueError, "k must be an integer from 1 to 256, not 0"),
    (lambda: qt.share(np.ones(3), 2, "forgy"), ValueError, "init must be one of linear, density, random, kmeans"),
    (lambda: qt.share([], 2), ValueError, "w must not be empty"),
    (lambda: qt.kmeans(np.ones(3), 2), ValueError, r"x must be vectors \(N,D\)"),
    (lambda: qt.kmeans(np.ones((3, 2)), 2, "linear"), ValueError, "init must be 'random' or 'kmeans\\+\\+' for vectors of 2"),
    (lambda: qt.shared(np.uint8([3]), np.ones(3)), ValueError, "codes must be integers below 3"),
    (lambda: qt.codebook_gradient(np.ones(2), np.array([0, 2]), 2), ValueError, "codes must be integers below 2"),
    (lambda: qt.vectors(np.ones(5), 2), ValueError, "d must divide the 5 weights"),
    (lambda: qt.products(np.ones((2, 5)), 2), ValueError, "a row that parts divides"),
    (lambda: qt.product_bits(2, 5, 2, 4), ValueError, "parts must divide the 5 columns"),
    (lambda: qt.ternary(np.ones((1, 2)), threshold=-1), ValueError, "threshold must not be negative"),
    (lambda: qt.ternary(np.ones((1, 2)), threshold="least"), ValueError, "or 'best', not 'least'"),
    (lambda: qt.binary(np.ones((1, 2)), axis=2), ValueError, "axis must be one of the 2 axes"),
    (lambda: qt.round_to(np.ones(2), "float8"), ValueError, "kind must be one of float16, bfloat16, not 'float8'"),
    (lambda: qt.round_to(np.ones(2, int)), TypeError, "x must be float32 or float64"),
    (lambda: qt.from_float_bits(np.ones(2, np.int16)), TypeError, "bits must be uint16"),
])
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()
