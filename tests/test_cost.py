"""The cost table: rows and totals by hand, shapes, and how it prints. (What is executed: test_execution.py.)"""
import numpy as np
import pytest

import tinyconv as tc
from tinyconv import cost, nn
from tinyconv import functional as F
from tinyconv.cost.execution import conv2d_on_ones
from tinyconv.formulas import conv2d_geometry


def numbers(*shape):
    return np.random.default_rng(len(shape)).standard_normal(shape)


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
    assert [row.macs for row in interior.rows if row.kind == "conv2d"] == [conv2d_on_ones(g) for g in geometries]
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
    assert lines[0].split() == ["layer", "kind", "output", "params", "MACs", "share", "bytes", "moved"]
    assert len(lines) == 2 + 4 + 3 and len({len(line) for line in lines[:-2]}) == 1
    assert [line.split()[0] for line in lines[2:-3]] == ["0.0", "0.1", "1", "4"]
    assert lines[2].split()[1:] == ["convolution", "3x3", "1x8x4x4", "216", "3,456", "58.4%", "2,144"]   # 4 (192 + 344) bytes
    assert lines[3].split()[1:] == ["batch_norm", "1x8x4x4", "16", "0", "1,152"]                     # no work, no share
    assert lines[4].split()[1:3] == ["grouped", "3x3"]
    assert lines[-2].split() == ["total", "paper", "convention", "549", "5,920", "7,400"]
    assert lines[-1].split("; ") == ["arrays 2,260 bytes", "activations 261, at most 1,280 bytes at a time",
                                     "1.7 FLOP a byte moved"]
    head = str(cost.summary(model(), (1, 3, 8, 8), "torchinfo")).splitlines()[0]
    assert "mult-adds" in head and "MACs" not in head
    assert "0.0%" not in str(cost.summary(nn.ReLU(), (1, 2, 3, 3))) and cost.summary(nn.ReLU(), (1, 2, 3, 3)).macs == 0


@pytest.mark.small
def test_totals_side_by_side():
    """A line a network, the totals of its summary, columns as wide as their widest cell; every unit that there is is named."""
    a, b = (cost.summary(model(), (n, 3, 8, 8), convention) for n, convention in ((1, "paper"), (3, "torch")))
    head, rule, first, second = cost.overview({"a": a, "three pictures": b}).splitlines()
    assert head.split()[:4] == ["network", "params", "MACs/FLOPs", "array"]
    assert len({len(line) for line in (head, rule, first, second)}) == 1
    assert first.split() == ["a", "549", "5,920", "2,260", "261", "1,280", "7,400", "1.7"]
    assert second.split()[2:4] == ["549", "35,520"] and second.startswith("three pictures  ")
