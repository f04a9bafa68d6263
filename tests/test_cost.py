"""The count is proven: closed form == what the readable loops execute, layer by layer; and the table adds up."""
import numpy as np
import pytest

import tinyconv as tc
from tinyconv import cost, formulas, nn
from tinyconv import functional as F
from tinyconv.formulas import conv2d_geometry, conv2d_interior_macs
from tinyconv.kernels import _jit, depthwise, direct, gemm, im2col, layout, pointwise

# x shape, w shape, stride, padding, dilation, groups
GEOMETRIES = [
    ((1, 1, 3, 3), (1, 1, 3, 3), 1, 1, 1, 1),
    ((2, 2, 4, 5), (3, 2, 3, 2), 1, 0, 1, 1),
    ((1, 2, 5, 5), (2, 2, 3, 3), 2, 1, 1, 1),
    ((1, 4, 4, 3), (6, 2, 2, 3), 1, 1, 1, 2),
    ((1, 3, 5, 4), (3, 1, 3, 3), 1, 1, 1, 3),
    ((1, 2, 5, 6), (4, 1, 3, 2), (2, 1), ((2, 0), (0, 1)), 1, 2),
    ((2, 3, 3, 2), (4, 3, 1, 1), 1, 0, 1, 1),
    ((1, 2, 3, 3), (2, 2, 1, 1), 2, 1, 1, 1),
    ((1, 1, 6, 5), (2, 1, 2, 3), 1, 2, 2, 1),
    ((1, 2, 1, 1), (1, 2, 3, 3), 3, 2, 1, 1),
]


def padded(g):
    """MACs with padding taps counted, by the formula for one picture."""
    return g.n * formulas.conv2d_macs(g.c, g.f, (g.kh, g.kw), g.oh, g.ow, g.groups)


def brute_force(g):
    """Taps that fall on a real pixel, by looking at every one."""
    inside = 0
    for i in range(g.oh):
        for j in range(g.ow):
            for u in range(g.kh):
                for v in range(g.kw):
                    inside += 0 <= i * g.sh - g.top + u * g.dh < g.h and 0 <= j * g.sw - g.left + v * g.dw < g.w
    return g.n * g.f * (g.c // g.groups) * inside


def numbers(*shape):
    return np.random.default_rng(len(shape)).standard_normal(shape)


def executed(algorithm, g, direction):
    """Multiplications and additions that a page's readable loops execute for the whole batch; the result is checked on the
    way.
    """
    x, w, dy = numbers(*g.x_shape), numbers(*g.w_shape), numbers(*g.y_shape)
    steps = (g.sh, g.sw, g.top, g.left, g.dh, g.dw)
    if algorithm == "pointwise":
        w, steps = w[:, :, 0, 0], ()
    elif algorithm == "depthwise":
        w = w[:, 0]
    else:
        steps += (g.groups,)
    page = {"direct": direct, "depthwise": depthwise, "pointwise": pointwise}[algorithm]
    kernel, arrays = {"forward": (page.conv, (x, w, np.zeros(g.y_shape))),
                      "grad_input": (page.conv_input, (dy, w, np.zeros(g.x_shape))),
                      "grad_weight": (page.conv_weight, (dy, x, np.zeros(w.shape)))}[direction]
    return cost.count(kernel, *arrays, *steps)


@pytest.mark.small
@pytest.mark.parametrize("direction", ["forward", "grad_input", "grad_weight"])
@pytest.mark.parametrize("case", GEOMETRIES, ids=str)
def test_direct_convolution_executes_the_closed_form(case, direction):
    """The seven loops leave padding out: the interior count, forward and both gradients; each product is added once."""
    g = conv2d_geometry(*case)
    assert conv2d_interior_macs(g) == brute_force(g) <= padded(g)
    assert executed("direct", g, direction) == (brute_force(g), brute_force(g))


@pytest.mark.small
@pytest.mark.parametrize("direction", ["forward", "grad_input", "grad_weight"])
@pytest.mark.parametrize("case", [c for c in GEOMETRIES if c[5] == c[0][1] > 1], ids=str)
def test_depthwise_convolution_executes_the_closed_form(case, direction):
    """Each channel by itself: a C-th of the full convolution's count, multiplier included."""
    g = conv2d_geometry(*case)
    assert executed("depthwise", g, direction) == (conv2d_interior_macs(g),) * 2
    assert padded(g) * g.c == g.n * formulas.conv2d_macs(g.c, g.f, (g.kh, g.kw), g.oh, g.ow)


@pytest.mark.small
@pytest.mark.parametrize("direction", ["forward", "grad_input", "grad_weight"])
def test_pointwise_convolution_executes_the_closed_form(direction):
    """A matrix product over pixels: no padding to leave out, both conventions are one."""
    g = conv2d_geometry((2, 3, 3, 2), (4, 3, 1, 1))
    assert executed("pointwise", g, direction) == (padded(g),) * 2 and padded(g) == conv2d_interior_macs(g) == 2 * 3 * 4 * 6


@pytest.mark.small
@pytest.mark.parametrize("case", GEOMETRIES, ids=str)
def test_im2col_executes_the_padded_closed_form(case):
    """Windows are copied with their zeros, and the zeros are multiplied: the papers' count, padding taps included. No
    multiplication copies.
    """
    g = conv2d_geometry(*case)
    x, w, pixels = numbers(*g.x_shape), numbers(*g.w_shape), g.oh * g.ow
    y, total, cg, fg = np.zeros((g.n, g.f, pixels)), 0, g.c // g.groups, g.f // g.groups
    window = (g.kh, g.kw, g.sh, g.sw, g.top, g.left, g.dh, g.dw, g.ow)
    for n in range(g.n):
        for group in range(g.groups):
            cols = np.zeros((pixels, cg * g.kh * g.kw))
            assert cost.count(im2col.unfold, x, n, group * cg, 0, cols, *window).multiplications == 0
            im2col.unfold(x, n, group * cg, 0, cols, *window)
            flat = w.reshape(g.f, -1)
            found = cost.count(im2col.product, cols, flat, np.zeros_like(y), n, group * fg, fg, 0)
            assert found.multiplications == found.additions
            im2col.product(cols, flat, y, n, group * fg, fg, 0)
            total += found.multiplications
    assert total == padded(g)
    assert np.allclose(y.reshape(g.y_shape), tc.kernels.conv2d(x, w, None, *case[2:]), rtol=1e-12, atol=1e-12)


@pytest.mark.small
def test_matrix_products_execute_the_closed_form():
    """M K N, and what a linear layer says of itself is the same number."""
    assert cost.count(gemm.product, numbers(3, 4), numbers(4, 5), np.zeros((3, 5))) == (60, 60)
    assert formulas.matmul_macs(3, 4, 5) == 60
    assert cost.summary(nn.Linear(4, 5, rng=0), (3, 4)).macs == formulas.linear_macs(4, 5, n=3) == 60


@pytest.mark.parametrize("case", [((2, 16, 30, 31), (24, 16, 3, 3), 1, 1, 1, 1),
                                  ((1, 64, 28, 28), (64, 1, 3, 3), 2, 1, 1, 64)], ids=str)
def test_full_size_counts_from_ones(case):
    """At full size: the compiled loops on arrays of ones add up to the number of products they made. Sums below 2^53 are
    exact.
    """
    g = conv2d_geometry(*case)
    y = np.zeros(g.y_shape)
    direct.conv(np.ones(g.x_shape), np.ones(g.w_shape), y, g.sh, g.sw, g.top, g.left, g.dh, g.dw, g.groups)
    assert y.sum() == conv2d_interior_macs(g)


def counted(x, y, out):
    """A kernel of every operation a counting number knows."""
    for i in range(len(x)):
        a = x[i] * y[i] + x[i] - 2 * y[i]
        b = 1 - -a
        out[i] += b if b > a and a < b else a
        out[i] = out[i] * 2.0


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


# ---- the table -----------------------------------------------------------------------------------------------------------

def model():
    return nn.Sequential(nn.conv_bn_act(3, 8, stride=2, rng=0), nn.Conv2d(8, 8, 3, padding=1, groups=4, rng=0), nn.MaxPool2d(2),
                         nn.Flatten(),
                         nn.Linear(32, 5, rng=0))


@pytest.mark.small
def test_rows_and_totals():
    """One row a node; counts by hand; totals are sums; parameters once, running statistics none; a batch counts as often as
    it is large.
    """
    s = cost.summary(model(), (1, 3, 8, 8))
    plane = (1, 8, 4, 4)
    assert [(row.name, row.kind, row.shape, row.params, row.macs) for row in s.rows] == [
        ("0.0", "conv2d", plane, 216, 216 * 16), ("0.1", "batch_norm", plane, 16, 0), ("0.2", "relu6", plane, 0, 0),
        ("1", "conv2d", plane, 144 + 8, 144 * 16), ("2", "max_pool2d", (1, 8, 2, 2), 0, 0), ("3", "flatten", (1, 32), 0, 0),
        ("4", "linear", (1, 5), 165, 160)]
    g = tc.trace(model(), (1, 3, 8, 8))
    assert (s.params, s.macs) == (216 + 16 + 152 + 165, 36 * 160 + 160) == (cost.params(g), cost.macs(g))
    assert s.array_bytes == 4 * (s.params + 2 * 8)
    assert [row.counts.additions for row in s.rows] == [0, 128, 0, 128, 0, 0, 5]
    assert [row.counts.comparisons for row in s.rows] == [0, 0, 256, 0, 96, 0, 0]
    assert cost.summary(model(), (6, 3, 8, 8)).macs == 6 * s.macs and cost.summary(model(), (6, 3, 8, 8)).params == s.params


@pytest.mark.small
def test_interior_convention():
    """Taps on padding left out of convolutions, the rest as it was; and of the integer network the same."""
    m = model()
    s, interior = cost.summary(m, (2, 3, 8, 8)), cost.summary(m, (2, 3, 8, 8), convention="interior")
    geometries = [conv2d_geometry((2, 3, 8, 8), (8, 3, 3, 3), 2, 1), conv2d_geometry((2, 8, 4, 4), (8, 2, 3, 3), 1, 1, groups=4)]
    assert [row.macs for row in interior.rows if row.kind == "conv2d"] == [brute_force(g) for g in geometries]
    assert interior.macs < s.macs and interior.rows[-1].macs == s.rows[-1].macs
    g = tc.trace(nn.Sequential(nn.Conv2d(2, 3, 3, padding=1, rng=0)), (1, 2, 4, 4))
    q = tc.apply.quantize(g, numbers(2, 2, 4, 4).astype(np.float32))
    for convention in cost.CONVENTIONS:
        assert cost.summary(q, convention=convention).macs == cost.summary(g, convention=convention).macs
    assert cost.summary(q).array_bytes == 54 + 8 * 3 and cost.summary(q).params == 0


@pytest.mark.small
def test_a_shared_weight_counts_twice_in_macs_and_once_in_parameters():
    shared = nn.Conv2d(2, 2, 3, padding=1, rng=0)
    s = cost.summary(nn.Sequential(shared, nn.ReLU(), shared), (1, 2, 4, 4))
    assert s.macs == 2 * 36 * 16 and s.params == 38 and s.array_bytes == 4 * 38


class Two(nn.Module):
    """Two inputs, one layer for both."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(2, 3, 1, rng=0)

    def forward(self, x, y):
        return F.matmul(self.layer(x), self.layer(y))


@pytest.mark.small
def test_shapes_of_a_summary():
    """A Module needs one, a Graph or Network has its own and refuses another; several inputs have a list."""
    s = cost.summary(Two(), [(2, 2, 4, 4), (2, 2, 4, 4)])
    assert s.macs == 2 * (2 * 6 * 16 + 3 * 64)
    g = tc.trace(model(), (1, 3, 8, 8))
    assert cost.summary(g).macs == cost.summary(tc.Network(g)).macs == cost.summary(g, (1, 3, 8, 8)).macs
    assert cost.summary(g, (3, 3, 8, 8)).macs == 3 * cost.summary(g).macs
    for what, arguments, message in ((model(), (), "must be given for a Module"),
                                     (g, ((1, 3, 9, 9),), r"must be \(N, 3, 8, 8\), as the graph was traced"),
                                     (g, ((1, 3, 8, 8), "flops"), "convention must be one of paper, interior"),
                                     (model(), ((1, 3, 0, 8),), "positive lengths")):
        with pytest.raises(ValueError, match=message):
            cost.summary(what, *arguments)


@pytest.mark.small
def test_the_printed_table():
    """A line for each row that has parameters or MACs, shares that add up, the totals last, in the convention's own word."""
    lines = str(cost.summary(model(), (1, 3, 8, 8))).splitlines()
    assert lines[0].split() == ["layer", "kind", "output", "params", "MACs", "bytes", "moved", "share"] and len(lines) == 2 + 4 + 3
    assert [line.split()[0] for line in lines[2:-3]] == ["0.0", "0.1", "1", "4"]
    assert lines[2].split()[2:] == ["1x8x4x4", "216", "3,456", "2,144", "58.4%"]            # 4 (192 + 216 + 128) bytes
    assert lines[-2].split() == ["total", "paper", "convention", "549", "5,920", "7,400"] and len({len(line) for line in lines[:-2]}) == 1
    assert lines[-1].split("; ") == ["arrays 2,260 bytes", "activations 261, at most 1,280 bytes at a time", "1.7 FLOP a byte moved"]
    head = str(cost.summary(model(), (1, 3, 8, 8), "torchinfo")).splitlines()[0]
    assert "mult-adds" in head and "MACs" not in head
    assert "0.0%" not in str(cost.summary(nn.ReLU(), (1, 2, 3, 3))) and cost.summary(nn.ReLU(), (1, 2, 3, 3)).macs == 0
