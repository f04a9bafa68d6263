"""Winograd's convolution, FFT and Strassen: exact matrices, executed counts, errors by tile size, where NaN may spread.

That they compute the convolution, in every direction and layout, is in test_convolution.py with the other algorithms.
"""
from fractions import Fraction

import numpy as np
import pytest

from geometries import DIRECTIONS, data, geometry
from tinyconv import cost, formulas, kernels
from tinyconv.formulas.geometry import GeometryError, conv2d_geometry
from tinyconv.kernels import fft, reference, select, strassen, winograd, winograd_matrices, winograd_steps, winograd_tiles, winograd_transforms
from tinyconv.kernels._jit import called
from tinyconv.kernels.simd import LANES

FAMILIES = [(1, 3), (2, 2), (2, 3), (3, 2), (3, 3), (4, 3), (6, 3), (2, 5), (4, 5), (4, 1)]


def numbers(*shape):
    return np.random.default_rng(len(shape)).standard_normal(shape)


# ---- the matrices ------------------------------------------------------------------------------------------------------

@pytest.mark.small
@pytest.mark.parametrize("m, r", FAMILIES)
def test_matrices_compute_a_convolution_exactly(m, r):
    """Σ_t A^T[i,t] G[t,j] B^T[t,k] == [k == i + j], in exact fractions: y_i = Σ_j g_j d_{i+j}, and nothing else."""
    AT, G, BT = winograd_matrices.matrices(m, r)
    a = m + r - 1
    assert (len(AT), len(G), len(BT)) == (m, a, a) and all(isinstance(v, Fraction) for row in AT + G + BT for v in row)
    for i in range(m):
        for j in range(r):
            for k in range(a):
                assert sum(AT[i][t] * G[t][j] * BT[t][k] for t in range(a)) == (k == i + j)


@pytest.mark.small
def test_matrices_as_published():
    """F(2,3) and F(4,3) of Lavin & Gray (arXiv 1509.09308, section 4), the second with their points 0, 1, -1, 2, -2."""
    AT, G, BT = winograd_matrices.matrices(2, 3)
    h = Fraction(1, 2)
    assert G == [[1, 0, 0], [h, h, h], [h, -h, h], [0, 0, 1]]
    assert BT[:3] == [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0]] and BT[3] == [0, -1, 0, 1]       # (the paper turns this row's sign,
    assert AT == [[1, 1, 1, 0], [0, 1, -1, 1]]                                                      # and this last entry's)
    AT, G, BT = winograd_matrices.matrices(4, 3, (0, 1, -1, 2, -2))
    assert AT == [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]
    assert [[24 * v for v in row] for row in G] == [[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]
    assert BT == [[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0], [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0],
                  [0, 4, 0, -5, 0, 1]]


@pytest.mark.small
def test_bad_matrices_are_refused():
    """m, r and points are named with what would be right."""
    with pytest.raises(ValueError, match="m must be an integer of at least 1, not 0"):
        winograd_matrices.matrices(0, 3)
    with pytest.raises(ValueError, match="r must be an integer of at least 1, not 2.0"):
        winograd_matrices.matrices(2, 2.0)
    with pytest.raises(ValueError, match="points must be 3 different numbers"):
        winograd_matrices.matrices(2, 3, (0, 1, 1))
    with pytest.raises(ValueError, match=r"F\(20, 3\) needs 21 points"):
        winograd_matrices.matrices(20, 3)


@pytest.mark.small
@pytest.mark.parametrize("kind, m", [(2, 2), (4, 4), (0, 3)])
def test_factored_transforms_are_the_matrices(kind, m):
    """Each hand-factored transform of a tile of vectors equals M d M^T in float64 within (q + 1) roundings a step and number."""
    AT, G, BT = winograd_matrices.arrays(m, 3, np.float32)
    A, n = np.ascontiguousarray(AT.T), m + 2
    for function, M, sizes in ((winograd_transforms.data_tile, BT, (n,)), (winograd_transforms.output_tile, AT, (m, n)),
                               (winograd_transforms.spread_tile, A, (m, n))):
        rows, q = M.shape
        d, e, out = numbers(q, q, LANES).astype(np.float32), np.zeros(n * n * LANES, np.float32), np.zeros(rows * rows * LANES, np.float32)
        called(getattr(function, "py_func", function))(kind, M, *sizes, d.reshape(-1), 0, q * LANES, LANES, e, out, 0, LANES)
        exact, vectors = M.astype(np.float64), d.astype(np.float64)
        want, size = (np.einsum("ik,klc,jl->ijc", f(exact), f(vectors), f(exact)) for f in (np.array, np.abs))
        assert (np.abs(out.reshape(want.shape) - want) <= 2 * (q + 1) * 2.0**-24 * size).all(), function


# ---- counts ------------------------------------------------------------------------------------------------------------

@pytest.mark.small
@pytest.mark.parametrize("m", [2, 3, 4])
@pytest.mark.parametrize("case", [((1, 2, 5, 4), (3, 2, 3, 3), 1, 1), ((2, 1, 3, 3), (2, 1, 2, 2), 1, 0),
                                  ((1, 2, 4, 6), (1, 2, 3, 3), 1, ((2, 0), (0, 1)))])
def test_executed_counts_are_the_closed_forms(case, m):
    """Products: (m + r - 1)² for each ceil-tile and channel pair; transforms by their matrices; cutting and pasting multiply nothing."""
    g = conv2d_geometry(*case)
    a, r, p = m + g.kh - 1, g.kh, formulas.winograd_tiles(g, m)
    assert p == g.n * len(range(0, g.oh, m)) * len(range(0, g.ow, m))
    AT, G, BT = winograd_matrices.arrays(m, r, np.float64)
    found = cost.count(winograd_steps.products, numbers(g.f, g.c, a, a), numbers(p, g.c, a, a), np.zeros((p, g.f, a, a)))
    assert found == (formulas.winograd_products(g, m),) * 2 == (p * g.c * g.f * a**2,) * 2
    weight = cost.count(winograd_steps.products_weight, numbers(p, g.f, a, a), numbers(p, g.c, a, a), np.zeros((g.f, g.c, a, a)))
    assert weight == found
    for M, count, want in ((BT, p * g.c, 0), (G, g.f * g.c, 1), (AT, p * g.f, 2)):
        rows, q = M.shape
        executed = cost.count(winograd_steps.transform, M, numbers(count, q, q), np.zeros((count, rows, q)), np.zeros((count, rows, rows)))
        assert executed == (formulas.winograd_transform_macs(g, m)[want],) * 2
    across = -(-g.ow // m)
    assert cost.count(winograd_steps.cut, numbers(*g.x_shape), np.zeros((p, g.c, a, a)), m, g.top, g.left, across).multiplications == 0
    assert cost.count(winograd_steps.paste, numbers(p, g.f, m, m), np.zeros(g.y_shape), across) == (0, int(np.prod(g.y_shape)))


@pytest.mark.small
def test_winograd_saves_what_the_formula_says():
    """Where tiles fit, direct MACs / products == m² r² / (m + r - 1)²: 2.25, 4, 5.0625; only square windows have tiles."""
    for m, saved in ((2, 2.25), (4, 4.0), (6, 5.0625)):
        g = conv2d_geometry((2, 3, 12, 24), (5, 3, 3, 3), padding=1)
        assert g.n * formulas.conv2d_macs(g.c, g.f, 3, g.oh, g.ow) / formulas.winograd_products(g, m) == saved == formulas.winograd_reduction(m, 3)
    with pytest.raises(GeometryError, match="square window"):
        formulas.winograd_tiles(conv2d_geometry((1, 2, 5, 5), (2, 2, 3, 2)), 2)
    with pytest.raises(GeometryError, match="m must be an integer"):
        formulas.winograd_reduction(0, 3)


@pytest.mark.small
@pytest.mark.parametrize("variant", strassen.VARIANTS)
@pytest.mark.parametrize("sizes, levels", [((4, 4, 4), 0), ((4, 6, 8), 1), ((4, 8, 4), 2), ((8, 8, 8), 3)])
def test_strassen_executes_the_closed_form(sizes, levels, variant):
    """Every multiplication and addition of both schemes, run on numbers that count; 18 or 15 additions a level."""
    m, k, n = sizes
    step = {"strassen": strassen.strassen, "winograd": strassen.winograd}[variant]
    found = cost.count(step, numbers(m, k), numbers(k, n), levels)
    assert found == (formulas.strassen_multiplications(m, k, n, levels), formulas.strassen_additions(m, k, n, levels, variant))
    assert formulas.strassen_additions(2, 2, 2, 1, variant) == {"strassen": 18, "winograd": 15}[variant]


# ---- rounding ----------------------------------------------------------------------------------------------------------

@pytest.mark.small
def test_larger_tiles_round_worse():
    """Largest error in float32 against float64: F(2,3) no worse than twice the direct loops, then growing with m; all within their bounds."""
    g, rng = conv2d_geometry((1, 8, 12, 12), (3, 8, 3, 3), padding=1), np.random.default_rng(0)
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in (g.x_shape, g.w_shape))
    want, errors, allowed = reference.forward(x, w, None, g), {}, {}
    for m in (1, 2, 4, 6, 8):
        err = np.abs(winograd_steps.conv(x, w, g, m) - want)
        bound = winograd_steps.error_bound("forward", x, w, g, m)
        assert (err <= bound).all()
        errors[m], allowed[m] = err.max(), bound.max()
    with kernels.use("plain"):
        assert errors[2] <= 2 * np.abs(kernels.conv2d(x, w, padding=1, algorithm="direct") - want).max()
    assert errors[2] < errors[4] < errors[6] < errors[8] and list(allowed.values()) == sorted(allowed.values())


@pytest.mark.small
def test_better_points_round_better():
    """0, 1, -1, 1/2, -2 against the paper's 0, 1, -1, 2, -2: a smaller root mean square error on the same data (float32)."""
    g, rng = conv2d_geometry((1, 16, 16, 16), (2, 16, 3, 3)), np.random.default_rng(0)
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in (g.x_shape, g.w_shape))
    want = reference.forward(x, w, None, g)
    ours, paper = (np.sqrt(np.mean((winograd_steps.conv(x, w, g, 4, winograd_matrices.arrays(4, 3, np.float32, points)) - want)**2))
                   for points in (None, (0, 1, -1, 2, -2)))
    assert ours < paper


@pytest.mark.small
@pytest.mark.parametrize("variant", strassen.VARIANTS)
def test_strassen_on_any_size(variant):
    """Sizes that cannot be halved, 0 to 3 levels: integers exactly, random numbers within Higham's bound."""
    rng = np.random.default_rng(0)
    for m, k, n in ((1, 1, 1), (5, 3, 4), (7, 9, 2), (17, 20, 33)):
        for levels in (0, 1, 2, 3):
            a, b = rng.integers(-4, 5, (m, k)).astype(np.float32), rng.integers(-4, 5, (k, n)).astype(np.float32)
            assert np.array_equal(strassen.product(a, b, levels, variant), a @ b)
            a, b = rng.standard_normal((m, k)).astype(np.float32), rng.standard_normal((k, n)).astype(np.float32)
            err = np.abs(strassen.product(a, b, levels, variant) - a.astype(np.float64) @ b.astype(np.float64))
            assert (err <= strassen.product_bound(k, levels, np.abs(a).max(), np.abs(b).max(), variant)).all()


@pytest.mark.small
def test_bad_products_are_refused():
    """Variant, levels and shapes are named."""
    a = np.ones((2, 3))
    with pytest.raises(ValueError, match="variant must be one of strassen, winograd, not 'fast'"):
        strassen.product(a, a.T, 1, "fast")
    with pytest.raises(ValueError, match="levels must be an integer of at least 0, not -1"):
        strassen.product(a, a.T, -1)
    with pytest.raises(ValueError, match=r"of shapes \(2, 3\) and \(2, 3\)"):
        strassen.product(a, a)
    with pytest.raises(GeometryError, match="variant must be one of"):
        formulas.strassen_additions(2, 2, 2, 1, "fast")


# ---- NaN, other tiles, other machines ---------------------------------------------------------------------------------------

@pytest.mark.small
@pytest.mark.parametrize("m", [2, 4])
def test_a_nan_stays_in_its_tiles(m):
    """One NaN in x reaches no tile of outputs but those whose data it is among, and every result that the formula gives it."""
    g, rng = conv2d_geometry((2, 3, 11, 10), (4, 3, 3, 3), padding=1), np.random.default_rng(0)
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in (g.x_shape, g.w_shape))
    x[1, 2, 5, 6] = np.nan
    touched = np.zeros(g.y_shape, bool)
    for i in range(0, g.oh, m):
        for j in range(0, g.ow, m):
            if i - 1 <= 5 < i - 1 + m + 2 and j - 1 <= 6 < j - 1 + m + 2:
                touched[1, :, i:i + m, j:j + m] = True
    for mode in select.MODES:
        with kernels.use(mode):
            got = np.isnan(kernels.conv2d(x, w, padding=1, algorithm=f"winograd{m}"))
            assert not got[~touched].any() and got[np.isnan(reference.forward(x, w, None, g))].all()


@pytest.mark.small
@pytest.mark.parametrize("m", [3, 6])
@pytest.mark.parametrize("name", ["3x3 same", "2x2"])
def test_any_m_in_every_direction(name, m):
    """F(m, r) beyond the table of algorithms, fast (by its matrices) and plain, within its own bound."""
    g, (x, w, bias, dy), page = geometry(name), data(name), winograd.Winograd(m)
    for mode in select.MODES:
        with kernels.use(mode):
            for direction, got, a, b, want in (
                    ("forward", page.forward(x, w, bias, g), x, w, reference.forward(x, w, bias, g)),
                    ("grad_input", page.grad_input(dy, w, g), dy, w, reference.grad_input(dy, w, g)),
                    ("grad_weight", page.grad_weight(dy, x, g), dy, x, reference.grad_weight(dy, x, g))):
                bound = page.error_bound(direction, a, b, g, bias if direction == "forward" else None)
                assert (np.abs(got - want) <= bound).all(), (mode, direction)


@pytest.mark.parametrize("m", [2, 4])
def test_many_blocks_splits_and_pieces(m):
    """More channels than one piece of the sum, more tiles than a block, several panels: integers, exact for F(2,3)."""
    before = kernels.get_num_threads()
    try:
        for x_shape, w_shape in (((1, 150, 9, 9), (200, 150, 3, 3)), ((3, 33, 20, 20), (40, 33, 3, 3))):
            g, rng = conv2d_geometry(x_shape, w_shape, padding=1), np.random.default_rng(0)
            x, w, dy = (rng.integers(-3, 4, s).astype(np.float32) for s in (x_shape, w_shape, g.y_shape))
            for threads in (1, 2, 3):
                kernels.set_num_threads(threads)
                for function, args, direction in ((kernels.conv2d, (x, w), "forward"), (kernels.conv2d_grad_input, (dy, w, x_shape), "grad_input"),
                                                  (kernels.conv2d_grad_weight, (dy, x, w_shape), "grad_weight")):
                    got, want = (function(*args, padding=1, algorithm=name) for name in (f"winograd{m}", "direct"))
                    bound = 0 if m == 2 else winograd_steps.error_bound(direction, args[0], args[1], g, m)
                    assert (np.abs(got - want) <= bound).all(), (x_shape, threads, direction)
    finally:
        kernels.set_num_threads(before)


@pytest.mark.small
@pytest.mark.parametrize("m", [2, 4])
def test_an_image_alone_and_in_a_batch_by_tiles(m):
    """The block of tiles an image falls into does not change a bit of its result or gradient."""
    g, rng = conv2d_geometry((3, 5, 6, 7), (6, 5, 3, 3), padding=1), np.random.default_rng(0)
    x, w, dy = (rng.standard_normal(s).astype(np.float32) for s in (g.x_shape, g.w_shape, g.y_shape))
    rest = {"padding": 1, "algorithm": f"winograd{m}"}
    together = kernels.conv2d(x, w, **rest), kernels.conv2d_grad_input(dy, w, x.shape, **rest)
    for n in range(3):
        assert np.array_equal(together[0][n], kernels.conv2d(x[n:n + 1], w, **rest)[0])
        assert np.array_equal(together[1][n], kernels.conv2d_grad_input(dy[n:n + 1], w, (1, *x.shape[1:]), **rest)[0])


@pytest.mark.small
def test_bias_residual_and_clip_in_one_pass():
    """convolve's epilogue: clip(conv + bias + R, low, high), integers exactly by F(2,3)."""
    g, rng = conv2d_geometry((1, 3, 5, 5), (4, 3, 3, 3), padding=1), np.random.default_rng(0)
    x, w, bias, R = (rng.integers(-3, 4, s).astype(np.float32) for s in ((1, 5, 5, 3), g.w_shape, (4,), (1, 5, 5, 4)))
    got = winograd.winograd2.convolve(w, bias, g)(x, R, 0, 6)
    want = reference.forward(x.transpose(0, 3, 1, 2), w, bias, g).transpose(0, 2, 3, 1) + R
    assert np.array_equal(got, np.clip(want, 0, 6))


@pytest.mark.small
def test_fft_uses_powers_of_two_and_bounds_itself():
    """The plane holds the padded image; the bound is one number a plane and grows with it."""
    g = conv2d_geometry((1, 2, 9, 5), (3, 2, 3, 3), padding=2)
    assert fft.plane(g) == (16, 16)
    x, w = numbers(*g.x_shape).astype(np.float32), numbers(*g.w_shape, 1)[..., 0].astype(np.float32)
    bound = fft.error_bound("forward", x, w, g)
    assert bound.shape == g.y_shape and (bound == bound[:, :, :1, :1]).all()
    assert (np.abs(fft.forward(x, w, None, g) - reference.forward(x, w, None, g)) <= bound).all()


@pytest.mark.small
def test_kernels_are_built_once():
    """The same kind and register tile is the same compiled pair: 3x3 has factored transforms for m 2 and 4, others take matrices."""
    g = conv2d_geometry((1, 8, 6, 6), (8, 8, 3, 3))
    one = winograd.TILES[-1][:2]                                                   # a single panel
    for direction, place in (("forward", 0), ("grad_weight", 1)):
        built = {kind: winograd_tiles.build(kind, *one)[place] for kind in (0, 2, 4)}
        assert winograd.winograd4.kernel(g, direction) is built[4] and winograd.winograd2.kernel(g, direction) is built[2]
        assert winograd.winograd4.kernel(g._replace(kh=5, kw=5), direction) is built[0] is winograd.Winograd(6).kernel(g, direction)
    assert [d for d in DIRECTIONS if d not in select.ALGORITHMS["winograd4"].directions] == []
