"""Every convolution algorithm against the reference, on the table of awkward geometries (geometries.py).

Tolerances are derived: |err| <= c * n * u * conv(|x|, |w|) element by element, n the number of summed terms, u the unit
roundoff, c the tolerance in the table of algorithms; or the bound that an algorithm's page derives (`geometries.allowed`).
"""
import weakref
from functools import lru_cache

import numpy as np
import pytest

from geometries import DIRECTIONS, NAMES, SMALL, allowed, arguments, data, exact, expected, geometry, spreads
from tinyconv import kernels
from tinyconv.formulas.geometry import GeometryError, conv2d_geometry
from tinyconv.kernels import layout, reference, select, tile

ALGORITHMS = tuple(select.ALGORITHMS)
MARKED = [pytest.param(name, marks=pytest.mark.small) if name in SMALL else name for name in NAMES]
KINDS = [("fast", np.float32), ("plain", np.float32), ("fast", np.float64)]
KIND_NAMES = ["fast float32", "plain float32", "float64"]


def channels_last(a):
    """The same array of shape (N,C,H,W) on channels-last memory."""
    out = layout.empty(a.shape, a.dtype)
    out[:] = a
    return out


def strided(a):
    """The same array as every second element of a larger one, which may not be written to: neither layout."""
    out = np.full((*a.shape[:-1], 2 * a.shape[-1]), np.nan, a.dtype)[..., ::2]
    out[:] = a
    out.flags.writeable = False
    return out


LAYOUTS = {"contiguous": np.ascontiguousarray, "channels_last": channels_last, "strided": strided}


def compute(direction, name, x, w, bias, dy, algorithm):
    """One direction through the public functions."""
    x_shape, w_shape, rest = arguments(name)
    if direction == "forward":
        return kernels.conv2d(x, w, bias, algorithm=algorithm, **rest)
    if direction == "grad_input":
        return kernels.conv2d_grad_input(dy, w, x_shape, algorithm=algorithm, **rest)
    return kernels.conv2d_grad_weight(dy, x, w_shape, algorithm=algorithm, **rest)


def check_refused(name, algorithm):
    """An algorithm that does not support a geometry refuses it by name, in all directions: no silent fallback."""
    for direction in DIRECTIONS:
        with pytest.raises(ValueError, match=f"'{algorithm}' does not support this convolution"):
            compute(direction, name, *data(name), algorithm)


@pytest.mark.small
@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if select.ALGORITHMS[name].directions != DIRECTIONS])
def test_a_missing_direction_is_refused(algorithm):
    """A reference that is forward only says so, by name, and what it does compute."""
    for direction in set(DIRECTIONS) - set(select.ALGORITHMS[algorithm].directions):
        with pytest.raises(ValueError, match=f"'{algorithm}' has no {direction} .*: it computes forward; \"auto\" chooses one that does"):
            compute(direction, "3x3", *data("3x3"), algorithm)
        with pytest.raises(ValueError, match=f"'{algorithm}' has no {direction}"):
            select.ALGORITHMS[algorithm].workspace_bytes(geometry("3x3"), direction)


@pytest.mark.parametrize("kind", KINDS, ids=KIND_NAMES)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("name", MARKED)
def test_every_algorithm_against_the_reference(name, algorithm, kind):
    """Forward with and without bias, both gradients with random cotangents, every memory layout, float32 and float64."""
    if not select.ALGORITHMS[algorithm].supports(geometry(name)):
        check_refused(name, algorithm)
        return
    mode, dtype = kind
    x, w, bias, dy = (a.astype(dtype) for a in data(name))
    with kernels.use(mode):
        for memory, change in LAYOUTS.items():
            for direction in select.ALGORITHMS[algorithm].directions:
                got = compute(direction, name, change(x), change(w), bias, change(dy), algorithm)
                want, bound = expected(name)[direction], allowed(algorithm, name, direction, dtype)
                assert got.dtype == dtype and got.shape == want.shape, (memory, direction)
                assert (np.abs(got - want) <= bound).all(), (memory, direction, np.abs(got - want).max(), bound.max())
        without = compute("forward", name, x, w, None, dy, algorithm)
        assert (np.abs(without + bias[:, None, None] - expected(name)["forward"]) <= 2 * allowed(algorithm, name, "forward", dtype)).all()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("name", MARKED)
def test_small_integers_are_exact(name, algorithm):
    """Integers of -4 .. 4: every product and sum is exact in float32 whatever the order, so the results are bit-equal.

    (Where thirds or cosines are among the factors, nothing is claimed: those algorithms are held to their bounds alone.)
    """
    if not select.ALGORITHMS[algorithm].supports(geometry(name)):
        check_refused(name, algorithm)
        return
    for mode, dtype in KINDS if exact(algorithm, name) else ():
        arrays = [a.astype(dtype) for a in data(name, integers=True)]
        with kernels.use(mode):
            for direction in select.ALGORITHMS[algorithm].directions:
                assert np.array_equal(compute(direction, name, *arrays, algorithm), expected(name, True)[direction]), direction


@pytest.mark.small
def test_a_panel_and_a_trio():
    """On one thread, which does all panels, three with a narrow last one give the same small integers, bit for bit."""
    before, name = kernels.get_num_threads(), "pointwise 20 to 75"
    kernels.set_num_threads(1)
    try:
        arrays = [a.astype(np.float32) for a in data(name, integers=True)]
        assert np.array_equal(compute("forward", name, *arrays, "pointwise"), expected(name, True)["forward"])
    finally:
        kernels.set_num_threads(before)


def other_tiles(monkeypatch, **constants):
    """What a fixture yields from: depthwise tiles by other constants than this processor's, and none remembered before or after."""
    from tinyconv.kernels import planes, planes_scheme
    for name, value in constants.items():
        monkeypatch.setattr(planes_scheme, name, value)
    for made in (planes.schemes, planes.weight_scheme):
        made.cache_clear()
    yield
    for made in (planes.schemes, planes.weight_scheme):
        made.cache_clear()


@pytest.fixture
def pages_of_17_channels(monkeypatch):
    """Seventeen channels count as a page of memory: such pixels are taken in smaller tiles."""
    yield from other_tiles(monkeypatch, PAGES=17)


def test_pixels_of_a_page(pages_of_17_channels):
    """Tiles of 2 x 4, and of 1 x 4 in the gradient in the weights (with 16 registers: always), give the same small integers, bit for bit."""
    name = "depthwise 3x3, plane of squares"
    for direction in DIRECTIONS:
        arrays = [a.astype(np.float32) for a in data(name, integers=True)]
        assert np.array_equal(compute(direction, name, *arrays, "depthwise"), expected(name, True)[direction]), direction


@pytest.fixture
def sixteen_registers(monkeypatch):
    """Depthwise tiles as for a processor with 16 registers, on any."""
    yield from other_tiles(monkeypatch, REGISTERS=16, PLANE=2)


@pytest.mark.parametrize("name", ["depthwise 3x3, tiles within", "depthwise 5x5, wide", "depthwise 3x3, wide, stride 2",
                                  "depthwise 3x3, a row of padding alone", "depthwise 3x3, plane of squares"])
def test_tiles_for_sixteen_registers(sixteen_registers, name):
    """Small integers, bit for bit, where most places are found by their distance; tiles of one row and of two."""
    for direction in ("forward", "grad_input"):
        arrays = [a.astype(np.float32) for a in data(name, integers=True)]
        assert np.array_equal(compute(direction, name, *arrays, "depthwise"), expected(name, True)[direction]), direction


@pytest.mark.small
def test_evenly_spaced_pixels(sixteen_registers):
    """Where a kernel counts on it, between the outer columns each row of the tables is padding, or its pixels lie a pixel apart; often it does, in tiles of
    one row and of two."""
    from tinyconv.kernels import planes_scheme
    found = []
    for name in NAMES:
        g = geometry(name)
        if g.groups != g.c:
            continue
        for direction in ("forward", "grad_input"):
            sizes = ((g.h, g.w), (g.oh, g.ow)) if direction == "forward" else ((g.oh, g.ow), (g.h, g.w))
            for p in planes_scheme.passes(g, direction):
                if not (len(p[4][0]) and len(p[4][1])):
                    continue
                tables = planes_scheme.Tables(p, *sizes, g.f)
                K, S, ROWS, COLS = tables.tile
                if tables.even:
                    rows = tables.tables[0].reshape(-1, (COLS - 1) * S + K)[:, K // 2:(COLS - 1) * S + K - K // 2]
                    assert ((rows == -1).all(1) | (np.diff(rows, axis=1) == g.f).all(1) & (rows != -1).all(1)).all(), (name, direction)
                    found.append(ROWS)
    assert len(found) > 8 and set(found) == {1, 2}


@pytest.mark.small
def test_tiles_of_a_depthwise_plane(monkeypatch):
    """Squares where they cover a large plane, smaller tiles where a pixel is a page; with 16 registers tiles of eight sums, for the gradient in the
    weights of four."""
    from tinyconv.kernels import planes_scheme
    near, wide = [-1, 0, 1], [-2, -1, 0, 1, 2]
    wanted = {(16, 20, 32, False): ((4, 4), (2, 4)), (16, 18, 32, False): ((2, 2), (1, 2)), (12, 14, 32, False): ((2, 7), (1, 7)),
              (16, 16, 1024, False): ((2, 4), (2, 4)), (15, 16, 1024, False): ((2, 8), (1, 8)), (16, 16, 1024, True): ((1, 4), (1, 4)),
              (16, 16, 32, True): ((1, 8), (1, 4)), (14, 14, 1024, False): ((2, 7), (1, 7))}
    for registers in (32, 16):
        monkeypatch.setattr(planes_scheme, "REGISTERS", registers)
        monkeypatch.setattr(planes_scheme, "PLANE", 4 if registers == 32 else 2)
        for (height, width, c, line), tiles in wanted.items():
            found = planes_scheme.tile_of(near, near, (1, 1), height, width, c, line)
            assert found == (3, 1, *tiles[registers == 16]), (registers, height, width, c, line)
        assert planes_scheme.tile_of(near, near, (2, 2), 16, 16, 1024) == ((3, 2, 2, 8) if registers == 32 else (3, 2, 2, 4))
        assert planes_scheme.tile_of(wide, wide, (1, 1), 16, 16, 1024) == ((5, 1, 2, 8) if registers == 32 else (5, 1, 1, 8))


def check_not_finite(got, want, algorithm):
    """The same numbers, NaN and infinities as the reference's; or no fewer that are not finite."""
    if spreads(algorithm):
        assert not np.isfinite(got[~np.isfinite(want)]).any()
    else:
        assert np.array_equal(got, want, equal_nan=True)


@lru_cache(maxsize=2)
def not_finite(name):
    """direction -> (the arrays of `data`, one NaN and one infinity in x, or in dy for grad_input; the reference's result)."""
    g, (x, w, bias, dy), finite = geometry(name), (a.copy() for a in data(name, integers=True)), data(name, integers=True)
    rng = np.random.default_rng(1)
    for a in (x, dy):
        a.reshape(-1)[rng.integers(a.size)] = np.inf
        a.reshape(-1)[rng.integers(a.size)] = np.nan
    with np.errstate(invalid="ignore"):
        return {"forward": ((x, w, bias, dy), reference.forward(x, w, bias, g)), "grad_input": ((x, w, bias, dy), reference.grad_input(dy, w, g)),
                "grad_weight": ((x, w, bias, finite[3]), reference.grad_weight(finite[3], x, g))}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("name", MARKED)
def test_nan_and_infinity_stay_where_they_belong(name, algorithm):
    """One NaN and one infinity in x (in dy for grad_input): the results hold them where the reference's do, nowhere else.

    An algorithm that mixes numbers before it multiplies may spread them: nothing that the reference makes non-finite is finite there.
    """
    if not select.ALGORITHMS[algorithm].supports(geometry(name)):
        check_refused(name, algorithm)
        return
    with np.errstate(invalid="ignore"):
        for mode in select.MODES:
            with kernels.use(mode):
                for direction in select.ALGORITHMS[algorithm].directions:
                    args, want = not_finite(name)[direction]
                    check_not_finite(compute(direction, name, *args, algorithm), want, algorithm)


@pytest.mark.small
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("name", ["pointwise", "3x3", "depthwise 3x3, one output column"])
def test_nan_and_infinity_in_weights_and_cotangents(name, algorithm):
    """Without padding also a NaN or infinity among the weights, or in dy for grad_weight, spreads as in the reference."""
    g = geometry(name)
    if not select.ALGORITHMS[algorithm].supports(g):
        check_refused(name, algorithm)
        return
    x, w, bias, dy = (a.copy() for a in data(name, integers=True))
    w.reshape(-1)[0], w.reshape(-1)[-1], dy.reshape(-1)[0], dy.reshape(-1)[-1] = np.inf, np.nan, np.nan, -np.inf
    finite = data(name, integers=True)[3]
    with np.errstate(invalid="ignore"):
        for direction, want, args in (("forward", reference.forward(x, w, bias, g), (x, w, bias, dy)),
                                      ("grad_input", reference.grad_input(finite, w, g), (x, w, bias, finite)),
                                      ("grad_weight", reference.grad_weight(dy, x, g), (x, w, bias, dy))):
            if direction in select.ALGORITHMS[algorithm].directions:
                check_not_finite(compute(direction, name, *args, algorithm), want, algorithm)


@pytest.mark.parametrize("name", MARKED)
def test_gradients_are_the_adjoints(name):
    """sum(conv(x, w) * dy) == sum(x * grad_input) == sum(w * grad_weight) for "auto", within (terms + 2) u sum(|x| |w| |dy|)."""
    g, (x, w, _, dy) = geometry(name), data(name)
    spread = np.sum(reference.forward(np.abs(x), np.abs(w), None, g) * np.abs(dy))          # every product, absolute
    taps = g.kh * g.kw
    terms = {"forward": g.c // g.groups * taps, "grad_input": g.f // g.groups * taps, "grad_weight": g.n * g.oh * g.ow}
    for mode, dtype in KINDS:
        arrays = [a.astype(dtype) for a in (x, w, dy)]
        with kernels.use(mode):
            results = {d: compute(d, name, arrays[0], arrays[1], None, arrays[2], "auto").astype(np.float64) for d in DIRECTIONS}
        sums = [np.sum(results["forward"] * dy), np.sum(results["grad_input"] * x), np.sum(results["grad_weight"] * w)]
        unit = np.finfo(dtype).eps / 2
        # each result errs by at most terms * u of its products; the three sums here are float64, over x.size + w.size + dy.size
        room = (sum(terms.values()) + 6) * unit * spread + (x.size + w.size + dy.size) * np.finfo(np.float64).eps * spread
        assert abs(sums[0] - sums[1]) <= room and abs(sums[0] - sums[2]) <= room


@pytest.mark.parametrize("name", MARKED)
def test_an_image_alone_and_in_a_batch(name):
    """An image's result, and its gradient, are bit for bit the same in any batch."""
    x_shape, _, rest = arguments(name)
    x, w, bias, dy = data(name)
    together = kernels.conv2d(x, w, bias, **rest), kernels.conv2d_grad_input(dy, w, x_shape, **rest)
    for n in range(len(x)):
        alone = kernels.conv2d(x[n:n + 1], w, bias, **rest), kernels.conv2d_grad_input(dy[n:n + 1], w, (1, *x_shape[1:]), **rest)
        assert np.array_equal(together[0][n], alone[0][0]) and np.array_equal(together[1][n], alone[1][0])


@pytest.mark.parametrize("shape, window, more", [
    ((30, 17, 2, 2), (40, 17, 3, 3), {"padding": 1}),
    ((31, 5, 3, 4), (9, 5, 3, 3), {"padding": 1}),
    ((30, 3, 2, 2), (60, 3, 3, 3), {"padding": 1}),
    ((29, 4, 4, 4), (6, 4, 3, 3), {"padding": 1, "stride": 2}),
    ((40, 20, 2, 2), (20, 1, 3, 3), {"padding": 1, "groups": 20}),
    ((40, 33, 4, 3), (33, 1, 5, 5), {"padding": 2, "groups": 33}),
    ((70, 6, 2, 2), (6, 1, 5, 5), {"padding": 2, "stride": 2, "groups": 6}),
    ((35, 16, 1, 1), (16, 1, 3, 3), {"padding": 1, "groups": 16})], ids=str)
def test_many_small_images(shape, window, more):
    """Where padding is left out of the sum, because images are many or planes small, integers are exact and images the same as alone."""
    rng = np.random.default_rng(0)
    x, w = (rng.integers(-4, 5, size).astype(np.float32) for size in (shape, window))
    y = kernels.conv2d(x, w, None, **more, algorithm="auto" if "groups" in more else "direct")
    g = conv2d_geometry(shape, window, **more)
    assert np.array_equal(y, reference.forward(x, w, None, g))
    assert all(np.array_equal(y[n], kernels.conv2d(x[n:n + 1], w, None, **more)[0]) for n in (0, len(x) - 1))
    dy = rng.integers(-4, 5, y.shape).astype(np.float32)
    dx = kernels.conv2d_grad_input(dy, w, shape, **more, algorithm="auto" if "groups" in more else "direct")
    assert np.array_equal(dx, reference.grad_input(dy, w, g))


class Scratch:
    """Counts the scratch that is alive, and the most that ever was."""

    def __init__(self):
        self.now = self.peak = 0

    def take(self, real, shape, dtype=np.float32):
        """What select.scratch does, counted until it is let go."""
        room = real(shape, dtype)
        self.count(room.base, room.nbytes)
        return room

    def count(self, memory, size):
        """`memory` has `size` bytes of scratch."""
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(memory, self.release, size)
        return memory

    def release(self, size):
        """`size` bytes are free again."""
        self.now -= size


@pytest.fixture
def scratch(monkeypatch):
    """The scratch that wrappers take from now on."""
    counter, real, loose = Scratch(), select.scratch, select.loose
    monkeypatch.setattr(select, "scratch", lambda *arguments: counter.take(real, *arguments))
    monkeypatch.setattr(select, "loose", lambda count: counter.count(loose(count), 8 * count))
    return counter


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_workspace_is_what_is_taken(algorithm, threads, scratch):
    """workspace_bytes(geometry) equals the most scratch alive at one time, for every row, direction, mode and dtype."""
    before = kernels.get_num_threads()
    kernels.set_num_threads(threads)
    try:
        for name in NAMES:
            found = select.ALGORITHMS[algorithm]
            if not found.supports(geometry(name)):
                continue
            for mode, dtype in KINDS:
                arrays = [a.astype(dtype) for a in data(name)]
                with kernels.use(mode):
                    for direction in found.directions:
                        scratch.peak = scratch.now
                        compute(direction, name, *arrays, algorithm)
                        assert scratch.now == 0 and scratch.peak == found.workspace_bytes(geometry(name), direction, dtype), (name, direction)
    finally:
        kernels.set_num_threads(before)


LARGE = [((1, 64, 224, 224), (64, 64, 3, 3), {"padding": 1}), ((1, 512, 7, 7), (512, 512, 3, 3), {"padding": 1}),
         ((64, 3, 32, 32), (64, 3, 7, 7), {"padding": 3, "stride": 2}), ((1, 2048, 7, 7), (4096, 2048, 3, 3), {"padding": 1}),
         ((2, 512, 14, 14), (512, 1, 3, 3), {"padding": 1, "groups": 512}), ((1, 8192, 2, 2), (8192, 8192, 1, 1), {}),
         ((8, 960, 14, 14), (960, 8, 5, 5), {"padding": 2, "groups": 120})]


def padded_weights(g):
    """How many weights there are once filters fill whole panels and channels whole tiles, in whichever direction is more."""
    def whole(size, unit):
        return -(-size // unit) * unit
    fg, cg = g.f // g.groups, g.c // g.groups
    return g.groups * g.kh * g.kw * max(whole(fg, tile.NR) * whole(cg, tile.MR), whole(cg, tile.NR) * fg)


@pytest.mark.small
def test_workspace_is_bounded():
    """Beside a copy of the weights (grad_weight: of dw, for each thread) never more than 1 MB a thread or twice the result, however large the
    layer (the whole matrix of windows would be up to 9 times x)."""
    rows = [(geometry(name), name) for name in NAMES] + [(conv2d_geometry(x, w, **rest), x) for x, w, rest in LARGE]
    before = kernels.get_num_threads()
    for threads in (1, 2, 16):
        kernels.set_num_threads(threads)
        for g, name in rows:
            sizes = {"forward": g.y_shape, "grad_input": g.x_shape, "grad_weight": g.w_shape}
            for mode, dtype in KINDS:
                with kernels.use(mode):
                    for direction, shape in sizes.items():
                        for algorithm in ("direct", "im2col", "depthwise"):
                            found = select.ALGORITHMS[algorithm]
                            if found.supports(g):
                                room, result = found.workspace_bytes(g, direction, dtype), int(np.prod(shape)) * np.dtype(dtype).itemsize
                                copies = padded_weights(g) * np.dtype(dtype).itemsize * (threads if direction == "grad_weight" else 1)
                                assert room <= copies + max(2**20 * threads, 2 * result), (algorithm, name, direction, threads, room)
    kernels.set_num_threads(before)


def test_im2col_in_chunks_and_bands():
    """A sum too long for one chunk, and more pixels than one band: several rounds, with groups too, give the same numbers."""
    function = {"forward": kernels.conv2d, "grad_input": kernels.conv2d_grad_input, "grad_weight": kernels.conv2d_grad_weight}
    for x_shape, w_shape, rest in (((1, 130, 4, 5), (40, 130, 3, 3), {"padding": 1}),
                                   ((2, 140, 9, 9), (6, 70, 3, 3), {"groups": 2})):
        g, rng = conv2d_geometry(x_shape, w_shape, **rest), np.random.default_rng(0)
        x, w, dy = (rng.integers(-3, 4, s).astype(np.float32) for s in (x_shape, w_shape, g.y_shape))
        for direction, a, b, shape in (("forward", x, w, None), ("grad_input", dy, w, x_shape), ("grad_weight", dy, x, w_shape)):
            more = () if shape is None else (shape,)
            fast = function[direction](a, b, *more, algorithm="im2col", **rest)
            with kernels.use("plain"):
                assert np.array_equal(fast, function[direction](a, b, *more, algorithm="direct", **rest)), direction


@pytest.mark.small
def test_results_lie_as_promised():
    """Fast results lie channels-last, plain and float64 ones in C order."""
    name = "3x3 odd plane, stride 2"
    for mode, dtype in KINDS:
        with kernels.use(mode):
            for algorithm in ("direct", "im2col"):
                for direction in ("forward", "grad_input"):
                    got = compute(direction, name, *(a.astype(dtype) for a in data(name)), algorithm)
                    assert layout.of(got) == ("channels_last" if select.is_fast(got.dtype) else "contiguous")


@pytest.mark.small
@pytest.mark.skipif(select.mode() == "plain", reason="this is the run in plain mode")
def test_choice():
    """"auto" is the formula itself in plain mode and float64; else it goes by the window and the channels of a group."""
    for name in NAMES:
        for direction in DIRECTIONS:
            assert select.choose(geometry(name), direction, np.float64) == "direct"
            with kernels.use("plain"):
                assert select.choose(geometry(name), direction) == "direct"
            assert select.ALGORITHMS[select.choose(geometry(name), direction)].supports(geometry(name))
    for name, choice in (("pointwise", "pointwise"), ("pointwise with stride", "direct"), ("depthwise 5x5", "depthwise"),
                         ("3x3 stem", "direct"), ("groups of one filter each", "direct"), ("groups of 16 and 32", "direct")):
        assert select.choose(geometry(name)) == choice
    with pytest.raises(ValueError, match="direction must be one of forward, grad_input, grad_weight, not 'backward'"):
        select.choose(geometry("3x3"), "backward")


@pytest.mark.small
@pytest.mark.parametrize("bad", ["winograd9", "", None, 3])
def test_unknown_algorithm(bad):
    """An algorithm that is not in the table is refused, with the list of those that are."""
    x, w, _, _ = data("3x3")
    with pytest.raises(ValueError, match='algorithm must be "auto" or one of direct, depthwise, pointwise, im2col'):
        kernels.conv2d(x, w, algorithm=bad)


@pytest.mark.small
def test_bad_arrays_are_refused():
    """Wrong kinds, dtypes and shapes are refused before any kernel runs, naming the argument and the value."""
    x, w, bias, dy = data("3x3")
    with pytest.raises(TypeError, match="x is float32 but w is float64"):
        kernels.conv2d(x, w.astype(np.float64))
    with pytest.raises(TypeError, match="x is float32 but bias is float64"):
        kernels.conv2d(x, w, bias.astype(np.float64))
    with pytest.raises(TypeError, match="x must be float32 or float64, not int64"):
        kernels.conv2d(x.astype(np.int64), w)
    with pytest.raises(TypeError, match="w must be float32 or float64, not float16"):
        kernels.conv2d(x, w.astype(np.float16))
    with pytest.raises(TypeError, match="x must be a NumPy array, not list"):
        kernels.conv2d(x.tolist(), w)
    with pytest.raises(ValueError, match=r"bias must have shape \(4,\), not \(3,\)"):
        kernels.conv2d(x, w, bias[:3])
    with pytest.raises(GeometryError, match="weight expects"):
        kernels.conv2d(x[:, :2], w)
    with pytest.raises(GeometryError, match="no window fits"):
        kernels.conv2d(x[:, :, :2], w)
    with pytest.raises(GeometryError, match="must not be empty"):
        kernels.conv2d(x[:0], w)
    with pytest.raises(ValueError, match=r"dy must have shape \(2, 4, 4, 3\), not \(2, 4, 3, 3\)"):
        kernels.conv2d_grad_input(dy[:, :, :3], w, x.shape)
    with pytest.raises(ValueError, match=r"dy must have shape"):
        kernels.conv2d_grad_weight(dy[:1], x, w.shape)
    with pytest.raises(TypeError, match="dy is float64 but x is float32"):
        kernels.conv2d_grad_weight(dy.astype(np.float64), x, w.shape)
    with pytest.raises(ValueError, match="direction must be one of"):
        select.ALGORITHMS["direct"].workspace_bytes(geometry("3x3"), "sideways")


@pytest.mark.small
def test_arguments_are_left_alone():
    """No kernel writes into what it is given."""
    for name in ("3x3", "pointwise", "depthwise 3x3, one output column"):
        arrays = [channels_last(a) if a.ndim == 4 else a.copy() for a in data(name)]
        before = [a.copy() for a in arrays]
        for algorithm in ALGORITHMS:
            if select.ALGORITHMS[algorithm].supports(geometry(name)):
                for direction in select.ALGORITHMS[algorithm].directions:
                    compute(direction, name, *arrays, algorithm)
        assert all(np.array_equal(a, b) for a, b in zip(arrays, before))


def test_the_oracle_by_hand():
    """The reference itself, on a case worked out by hand: stride 2, padding on top alone, two groups."""
    x = np.arange(1.0, 9.0).reshape(1, 2, 2, 2)                                             # [[1,2],[3,4]] and [[5,6],[7,8]]
    w = np.array([[[[1.0, 10.0], [100.0, 1000.0]]], [[[1.0, 0.0], [0.0, 2.0]]]])            # one 2x2 filter a channel
    g = conv2d_geometry(x.shape, w.shape, stride=2, padding=((2, 0), (0, 0)), groups=2)
    assert reference.forward(x, w, np.array([0.5, 0.0]), g).tolist() == [[[[0.5], [4321.5]], [[0.0], [21.0]]]]
    dy = np.array([[[[7.0], [1.0]], [[7.0], [3.0]]]])
    assert reference.grad_input(dy, w, g).tolist() == [[[[1.0, 10.0], [100.0, 1000.0]], [[3.0, 0.0], [0.0, 6.0]]]]
    assert reference.grad_weight(dy, x, g).tolist() == [[[[1.0, 2.0], [3.0, 4.0]]], [[[15.0, 18.0], [21.0, 24.0]]]]
    assert reference.bound("forward", x, w, g)[0, 0, 1, 0] == 5 * 2.0**-24 * 4321
