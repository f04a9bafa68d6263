"""The count is proven: closed form == what the readable loops execute, for every algorithm, direction and awkward geometry; at
full size by ones; and both ways agree where both run.
"""
import numpy as np
import pytest
from geometries import DIRECTIONS, NAMES, SMALL, allowed, data, expected, geometry

import tinyconv as tc
from tinyconv import cost, formulas, nn
from tinyconv.cost import execution
from tinyconv.formulas import conv2d_geometry, conv2d_interior_macs
from tinyconv.kernels import ALGORITHMS, _jit, direct, gemm, layout, winograd_matrices

COUNTED = tuple(name for name in ALGORITHMS if name != "fft")               # NumPy's transform cannot be counted
MARKED = [pytest.param(name, marks=pytest.mark.small) if name in SMALL else name for name in NAMES]


def brute_force(g):
    """Taps that fall on a real pixel, by looking at every one."""
    inside = 0
    for i in range(g.oh):
        for j in range(g.ow):
            for u in range(g.kh):
                for v in range(g.kw):
                    inside += 0 <= i * g.sh - g.top + u * g.dh < g.h and 0 <= j * g.sw - g.left + v * g.dw < g.w
    return g.n * g.f * (g.c // g.groups) * inside


# ---- on numbers that count --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", MARKED)
@pytest.mark.parametrize("algorithm", COUNTED)
def test_executed_is_the_closed_form(algorithm, name):
    """Every step of the page's own plain functions, in every direction it has: multiplications and additions to the unit; and
    what was counted computed the right thing (in float64, within the algorithm's bound).
    """
    g, (x, w, _, dy) = geometry(name), data(name)
    if not ALGORITHMS[algorithm].supports(g):
        with pytest.raises(ValueError, match="does not support this convolution"):
            execution.execute(algorithm, g)
        return
    for direction in ALGORITHMS[algorithm].directions:
        a, b = {"forward": (x, w), "grad_input": (dy, w), "grad_weight": (dy, x)}[direction]
        result, steps = execution.execute(algorithm, g, direction, a, b)
        assert steps == execution.closed_form(algorithm, g, direction), direction
        want = expected(name)[direction] - (data(name)[2][:, None, None].astype(np.float64) if direction == "forward" else 0)
        assert (np.abs(result - want) <= allowed(algorithm, name, direction, np.float64) + 1e-14).all(), direction


@pytest.mark.small
@pytest.mark.parametrize("name", NAMES)
def test_the_interior_count_is_the_taps_on_pixels(name):
    """The closed form of the interior against every tap looked at; padding taps only ever add to it."""
    g = geometry(name)
    assert conv2d_interior_macs(g) == brute_force(g) <= execution.padded_macs(g)
    assert g.top or g.bottom or g.left or g.right or brute_force(g) == execution.padded_macs(g)


@pytest.mark.small
@pytest.mark.parametrize("name", NAMES)
def test_ones_count_as_counting_numbers_do(name):
    """Both ways agree: the loops on ones, without padding and with it filled, against direct and im2col in closed form."""
    g = geometry(name)
    assert execution.conv2d_on_ones(g) == execution.closed_form("direct", g)["products"].multiplications
    assert execution.conv2d_on_ones(g, padded=True) == execution.padded_macs(g)
    assert execution.closed_form("im2col", g)["products"].multiplications == execution.padded_macs(g)


@pytest.mark.small
@pytest.mark.parametrize("m, r", [(2, 3), (4, 3), (2, 2), (4, 5), (6, 3)])
def test_winograd_transforms_by_their_own_matrices(m, r):
    """The matrices that the page generates are as large as the closed form says, so that B^T d B costs 2a³, G w G^T a r (a + r)
    and A^T M A m a (a + m) multiply-adds a tile; tiles at the edge are computed whole.
    """
    AT, G, BT = winograd_matrices.arrays(m, r, np.float64)
    a = m + r - 1
    assert (AT.shape, G.shape, BT.shape) == ((m, a), (a, r), (a, a))
    g = conv2d_geometry((1, 2, m + r, 2 * m + r - 1), (3, 2, r, r))                     # outputs (m + 1) x 2m: four tiles
    data_macs, filter_macs, output_macs = formulas.winograd_transform_macs(g, m)
    assert formulas.winograd_tiles(g, m) == 4
    assert (data_macs, filter_macs, output_macs) == (4 * 2 * 2 * a**3, 6 * a * r * (a + r), 4 * 3 * m * a * (a + m))


@pytest.mark.small
def test_algorithms_that_cannot_be_counted():
    """fft is exempt and says so; unknown names and directions are answered."""
    g = conv2d_geometry((1, 1, 3, 3), (1, 1, 3, 3))
    for function in (execution.execute, execution.closed_form):
        with pytest.raises(ValueError, match="algorithm must be one of direct, .*, strassen_winograd, not 'fft'"):
            function("fft", g)
    with pytest.raises(ValueError, match="has no grad_weight"):
        execution.execute("strassen", g, "grad_weight")
    assert set(DIRECTIONS) == {"forward", "grad_input", "grad_weight"}


honest_loops = _jit.source(direct.conv)


def wasteful(x, w, y, *steps):
    """The direct loops, and one product more."""
    y[0, 0, 0, 0] += w[0, 0, 0, 0] * x[0, 0, 0, 0]
    honest_loops(x, w, y, *steps)


@pytest.mark.small
def test_a_kernel_that_does_more_is_caught(monkeypatch):
    """The checker itself: with one product too many the steps differ from the closed form."""
    g = geometry("3x3")
    honest = execution.execute("direct", g)[1]
    monkeypatch.setattr(direct, "conv", wasteful)
    found = execution.execute("direct", g)[1]
    assert honest == execution.closed_form("direct", g) != found
    assert found["products"].multiplications == honest["products"].multiplications + 1


def counted(x, y, out):
    """A kernel of every operation a counting number knows."""
    for i in range(len(x)):
        a = x[i] * y[i] + x[i] - 2 * y[i]
        b = 1 - -a
        out[i] += b if b > a and a < b else a
        out[i] = out[i] * 2.0


def numbers(*shape):
    return np.random.default_rng(len(shape)).standard_normal(shape)


@pytest.mark.small
def test_counting_numbers():
    """Products, sums and differences from both sides, negation and comparisons; values are those of the floats; integers pass
    through.
    """
    x, y = numbers(3), numbers(3)
    assert cost.count(counted, x, y, np.zeros(3)) == cost.Executed(multiplications=9, additions=12)
    plain, tally = np.zeros(3), [0, 0]
    counted(x, y, plain)
    made = [cost.counting.counting(a, tally) for a in (x, y, np.zeros(3))]
    counted(*made)
    assert [float(v) for v in made[2]] == plain.tolist() and tally == [9, 12] and made[2][0] == plain[0]
    assert callable(_jit.source(gemm.product)) and layout.of(np.zeros((1, 2, 3, 3))) == "contiguous"


@pytest.mark.small
def test_matrix_products_execute_the_closed_form():
    """M K N both ways, and what a linear layer says of itself is the same number."""
    assert cost.count(gemm.product, numbers(3, 4), numbers(4, 5), np.zeros((3, 5))) == (60, 60)
    assert formulas.matmul_macs(3, 4, 5) == execution.matmul_on_ones(3, 4, 5) == 60
    assert cost.summary(nn.Linear(4, 5, rng=0), (3, 4)).macs == formulas.linear_macs(4, 5, n=3) == 60


# ---- whole networks at their real size ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["resnet20", "shufflenet_v2_x0_5", "mobilenet_v3_small", "squeezenet_small", "vgg16_small"])
def test_networks_execute_what_they_count(name):
    """Layer by layer, padding taps counted and left out. (All networks, at every printed width: `tinyconv verify --full`.)"""
    with nn.init.undrawn():
        s = cost.summary(tc.models.network(name)(), tc.models.input_shape(name))
    for padded, convention in ((True, "paper"), (False, "interior")):
        rows = s.under(convention).rows
        assert [execution.row_on_ones(row, padded) for row in rows] == [row.macs for row in rows]
    assert s.under("interior").macs < s.macs


@pytest.mark.small
def test_rows_of_other_kinds_execute_nothing_and_batches_all():
    """Batched products count every batch, an operation without MACs none; an integer convolution counts as a float one."""
    class Product(nn.Module):
        def forward(self, x, y):
            return tc.functional.relu(tc.functional.matmul(x, y))
    rows = cost.summary(Product(), [(2, 3, 4), (2, 4, 5)]).rows
    assert [execution.row_on_ones(row) for row in rows] == [120, 0] == [row.macs for row in rows]
    g = tc.trace(nn.Sequential(nn.Conv2d(2, 3, 3, padding=1, rng=0)), (1, 2, 4, 4))
    q = tc.apply.quantize(g, numbers(2, 2, 4, 4).astype(np.float32))
    row = next(row for row in cost.summary(q).rows if row.kind == "qconv2d")
    interior = brute_force(conv2d_geometry((1, 2, 4, 4), (3, 2, 3, 3), 1, 1))
    assert (execution.row_on_ones(row), execution.row_on_ones(row, False)) == (864, interior)
