"""Vectors: what is compiled must be what its NumPy meaning says, operation by operation, at every edge.

Each meaning is called as it stands (Python) and from inside a compiled kernel, on the same numbers. Small integers make every
product and sum exact, so equality is exact too, whatever the order and however often it is rounded.
"""
import numpy as np
import pytest

from tinyconv.kernels import simd, strip, tile
from tinyconv.kernels._jit import called

LANES = simd.LANES
load, load_n, store_n, fma, splat, lower, higher, turn = (
    getattr(simd, name) for name in ("load", "load_n", "store_n", "fma", "splat", "lower", "higher", "turn"))
NAMES = "zeros", "multiply_panels", "slide", "keep", "resume", "finish", "outer"
zeros, multiply_panels, slide, keep, resume, finish, outer = (getattr(tile, name) for name in NAMES)
NAMES = "pixels", "outputs", "start", "window", "finish_strip", "gradients"
pixels, outputs, start, window, finish_strip, gradients = (getattr(strip, name) for name in NAMES)


def numbers(rng, *shape):
    return rng.integers(-4, 5, shape).astype(np.float32)


def lanes_kernel(x, w, y, n):
    v = fma(load_n(x, 1, n), load(w, 0), splat(2.0)) + 3.0 * load(w, 1) - load(w, 0) * load(w, 1)
    store_n(y, 0, higher(lower(v, splat(9.0)), splat(-9.0)), n)


def tile_kernel(A, rows, hop, zero, B, places, C, S, bias, n, residual, low, high):
    acc = zeros(3, 2)
    acc = multiply_panels(acc, 3, 1, 2, 2, A, rows, hop, hop, zero, 2, B, 0, 0, 4, 0)
    keep(acc, 3, 2, S, 0, 2 * LANES)
    finish(resume(3, 2, S, 0, 2 * LANES), 3, 2, C, places, 1, 1, n, bias, 2, C, residual, low, high)
    keep(slide(zeros(3, 2), 3, 2, 5, A, 2, B, LANES, 4), 3, 2, S, 12 * LANES, 2 * LANES)
    acc = outer(zeros(3, 2), 3, 2, A, 1, 7, B, 3, 2 * LANES + hop, n, 4)
    keep(acc, 3, 2, S, 6 * LANES, 2 * LANES)
    keep(multiply_panels(zeros(3, 4), 3, 2, 2, 2, A, rows, hop, hop, zero, 2, B, LANES, 5 * LANES, 3, 0), 3, 4, S, 18 * LANES, 7 * LANES)
    keep(multiply_panels(zeros(3, 4), 3, 2, 2, 2, A, rows, hop, hop, zero, 2, B, LANES, 5 * LANES, 4, 8 * LANES), 3, 4, S, 39 * LANES, 4 * LANES)
    keep(multiply_panels(zeros(3, 3), 3, 2, 2, 1, A, rows, hop, hop, zero, 2, B, LANES, 5 * LANES, 5, 0), 3, 3, S, 30 * LANES, 3 * LANES)
    for q in range(2):                                                                                # one panel that asks for nothing, and for a row
        keep(multiply_panels(zeros(3, 2), 3, 1, 2, 2, A, rows, hop, hop, zero, 2, B, LANES, 0, 5, LANES + q * 8 * LANES), 3, 2, S,
             (51 + 6 * q) * LANES, 2 * LANES)


def strip_kernel(x, table, zero, w, bias, dy, places, y, S, n, low, high, where):
    pixels(where, 1, 35, x, table, 1, 2, zero)
    outputs(where, 36, 6, y, places, 1, 1)
    acc = window(start(6, bias, 0), 2, 3, 3, 2, 1, 5, 0, 6, where, 1, x, zero, 3, 0, w, 5, 0, 0, n)
    finish_strip(acc, where, 36, y, 2, low, high, 0, n)
    pixels(where, 0, 15, x, table, 2, 2, zero)
    pixels(where, 15, 3, dy, places, 2, 3, zero)
    keep(gradients(resume(3, 3, S, 0, 3 * LANES), 3, 3, 1, where, 0, x, dy, 4, 0, n), 3, 3, S, 0, 3 * LANES)
    pixels(where, 0, 12, x, table, 3, 2, zero)
    outputs(where, 12, 2, y, places, 2, 249)
    acc = window(start(2, bias, 0), 1, 2, 3, 1, 0, 3, 0, 4, where, 0, x, zero, 5, 0, w, 5, 0, 1, LANES)
    finish_strip(acc, where, 12, y, 3, low, high, 1, LANES)
    where[:] = 0


def even_kernel(x, table, zero, w, bias, places, y, where):
    pixels(where, 8, 51, x, table, 0, 2, zero)
    outputs(where, 0, 8, y, places, 0, 1)
    acc = window(start(8, bias, 0), 1, 8, 3, 2, 0, 3, 0, 17, where, 8, x, zero, 3, 11, w, 5, 1, 1, LANES)
    finish_strip(acc, where, 0, y, 2, np.float32(-np.inf), np.float32(np.inf), 1, LANES)
    pixels(where, 8, 24, x, table, 51, 2, zero)
    outputs(where, 0, 8, y, places, 8, 1)
    acc = window(start(8, bias, 0), 2, 4, 3, 1, 0, 4, 0, 6, where, 8, x, zero, 3, 11, w, 5, 1, 1, LANES)
    finish_strip(acc, where, 0, y, 2, np.float32(-np.inf), np.float32(np.inf), 1, LANES)
    where[:] = 0


def turn_kernel(x, y, rows):
    turn(x, 3, LANES + 5, y, rows, 1, 2)


COMPILED = {f: called(f) for f in (turn_kernel, lanes_kernel, tile_kernel, strip_kernel, even_kernel)}


def check_same(function, *arguments, nothing=False):
    """Run meaning and machine code on copies of the arguments: every array must end the same, and one other than it began (unless `nothing` is done)."""
    ours, theirs = ([a.copy() if isinstance(a, np.ndarray) else a for a in arguments] for _ in range(2))
    function(*ours)
    COMPILED[function](*theirs)
    for mine, other in zip(ours, theirs):
        assert np.array_equal(mine, other)
    assert nothing != any(not np.array_equal(mine, given) for mine, given in zip(ours, arguments) if isinstance(given, np.ndarray))


@pytest.mark.small
@pytest.mark.parametrize("n", [1, 3, LANES - 1, LANES, LANES + 5, 0, -3, -2**33 + 3, 2**32 + 1])
def test_lanes(n):
    """Arithmetic, bounds and masks: n numbers are read and written, fewer than a vector, none, a vector, and more than one, beyond 32 bits, too."""
    rng = np.random.default_rng(abs(n))
    check_same(lanes_kernel, numbers(rng, 3 * LANES), numbers(rng, 2 * LANES), np.zeros(2 * LANES, np.float32), n, nothing=n <= 0)


@pytest.mark.small
def test_turn():
    """A square of numbers is turned, each column going to its own place."""
    rng = np.random.default_rng(0)
    check_same(turn_kernel, numbers(rng, LANES * (LANES + 7)), np.zeros((LANES + 1) * (LANES + 2) + 4, np.float32), rng.permutation(LANES + 1) * (LANES + 2))


@pytest.mark.small
def test_lower_and_higher_let_nan_through():
    """A NaN in the first argument stays; one in the second is passed by: min(max(x, low), high) keeps a NaN of x."""
    a, b = np.full(LANES, np.nan, np.float32), np.zeros(LANES, np.float32)
    assert np.isnan(lower(a, b)).all() and np.isnan(higher(a, b)).all() and not lower(b, a).any() and not higher(b, a).any()


@pytest.mark.small
def test_what_is_asked_for():
    """Each of the first tiles asks for a panel of the next piece, behind the last one for one of the next panels; the others for what is there."""
    following = getattr(tile.following, "py_func", tile.following)
    assert [following(i, 2, 100, 1000, 32, 0) for i in (-1, 0, 1, 2)] == [100, 132, 1132, 100]
    assert [following(i, 2, 1968, 1000, 32, 1) for i in (0, 1, 2)] == [3000, 4000, 1968]         # 2000 is the second panel, which has come already
    assert [following(i, 1, 100, 1000, 32, 1) for i in (0, 1)] == [132, 100]


@pytest.mark.small
def test_which_panels_go_together():
    """Two and two; but of three, the last of which is narrow, the first by itself, so that a trio is left. Without registers for two, one by one."""
    NR, at_once = tile.NR, getattr(tile.at_once, "py_func", tile.at_once)
    for filters, wanted in ((NR, [1]), (NR + LANES, [2]), (2 * NR, [2]), (2 * NR + LANES, [1, 2]), (2 * NR + 1, [1, 2]), (2 * NR + LANES + 1, [2, 1]),
                            (3 * NR, [2, 1]), (4 * NR + 1, [2, 1, 2]), (3 * NR + 1, [2, 2])):
        p, last, found = 0, -(-filters // NR), []
        while p < last:
            found.append(at_once(p, last, filters - p * NR))
            p += found[-1]
        assert found == (wanted if tile.PAIR else [1] * last), filters


@pytest.mark.small
@pytest.mark.parametrize("n", [1, LANES, LANES + 1, 2 * LANES])
@pytest.mark.parametrize("residual", [0, 1])
@pytest.mark.parametrize("hop", [1, 2])
def test_tile(n, residual, hop):
    """Rows by table (one of zeros), sums kept and resumed, masked columns, places left out, bias, residual, clip; two panels at once; the
    sum over pixels."""
    rng = np.random.default_rng(n)
    pitch = 3 * LANES
    rows = np.full(4 * hop, 3)
    rows[::hop] = 9, 0, -1, 5
    for three in ((0, 1, 2), (0, 1, -1), (-1, 0, 1), (-1, 2, -1)):                                  # all there, the last or the first not, one alone
        places = np.array([0, *(p if p < 0 else p * pitch for p in three)], np.int64)
        for low, high in ((-20, 30), (-np.inf, np.inf)):
            check_same(tile_kernel, numbers(rng, 30), rows, hop, np.zeros(8, np.float32), numbers(rng, 16 * LANES), places, numbers(rng, 16 * LANES),
                       np.zeros(63 * LANES, np.float32), numbers(rng, 6 * LANES), n, residual, np.float32(low), np.float32(high))


@pytest.mark.small
@pytest.mark.parametrize("n", [2, LANES])
def test_window_tile(n):
    """Pixels by table, padding as zeros, an output left out, masked lanes not touched, clip; and a strip's part of the weight gradient."""
    rng = np.random.default_rng(n)
    table, places = rng.integers(0, 300, 40), np.array([7, 0, 40, 80, -1, 200, -1])
    table[[1, 7, 20, 33]] = -1
    check_same(strip_kernel, numbers(rng, 400), table, np.zeros(2 * LANES, np.float32), numbers(rng, 11 * LANES), numbers(rng, LANES), numbers(rng, 400),
               places, np.zeros(400, np.float32), numbers(rng, 9 * LANES), n, np.float32(-30), np.float32(40), np.zeros(50, np.int64))


@pytest.mark.small
def test_window_tile_of_evenly_spaced_pixels():
    """Outer columns by table, padding or not; of those between, the first tell of all; a row that is all padding. As if each place were read, in tiles
    of one row and of two."""
    rng = np.random.default_rng(0)
    x, w, bias, places = numbers(rng, 400), numbers(rng, 11 * LANES), numbers(rng, LANES), np.arange(16) * 20
    y, zero, where, parts = np.zeros(400, np.float32), np.zeros(2 * LANES, np.float32), np.zeros(60, np.int64), []
    for at, (rows, cols, S, firsts) in enumerate(((1, 8, 2, (3, 0, 150)), (2, 4, 1, (3, 60, 0, 150)))):
        wide = (cols - 1) * S + 3
        told = np.array([first + 11 * np.arange(wide) for first in firsts])
        told[firsts.index(0)], told[0, 0], told[-1, -1], told[-1, 0] = -1, -1, -1, 7
        parts.append(told.copy())
        parts[-1][0, 3:wide - 1] = -999                                                              # what stands here is not looked at
        for j in range(8):
            total = bias.copy()
            for u in range(3):
                for v in range(3):
                    place = told[j // cols * S + u, j % cols * S + v]
                    if place >= 0:
                        total += x[place + 5:place + 5 + LANES] * w[5 + (u * 3 + v) * LANES:][:LANES]
            y[3 + places[8 * at + j]:][:LANES] = total
    table, found = np.concatenate([part.reshape(-1) for part in parts]), np.zeros(400, np.float32)
    even_kernel(x, table, zero, w, bias, places, found, where)
    assert np.array_equal(found, y)
    check_same(even_kernel, x, table, zero, w, bias, places, np.zeros(400, np.float32), where)


@pytest.mark.small
def test_the_tile_follows_the_processor():
    """AVX-512 has 32 registers of 16, AVX2 16 of 8, NEON 32 of 4; every tile leaves room for a row of B and a number of A."""
    assert simd.lanes_and_registers({"avx512f", "avx2"}) == (16, 32)
    assert simd.lanes_and_registers({"avx2", "fma"}) == (8, 16)
    assert simd.lanes_and_registers({"neon"}) == (4, 32)
    assert tile.MR * tile.NV + tile.NV + 1 <= simd.REGISTERS
