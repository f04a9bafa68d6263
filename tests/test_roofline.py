"""Layers under the roofline: work by the cost table, least time and limit by the machine's three figures, measured time beside
it.
"""
import numpy as np
import pytest
from wired import Wired

import tinyconv as tc
from tinyconv import cost, nn
from tinyconv import functional as F
from tinyconv.kernels import machine

LIMITS = {"peak": lambda: 1e9, "bandwidth": lambda nbytes: 1e8, "launch_seconds": lambda: 1e-6}


def slow(flop, nbytes):
    """A machine of 1 GFLOP/s, 100 MB/s and launches of a microsecond."""
    return max((flop / 1e9, "arithmetic"), (nbytes / 1e8, "memory"), (1e-6, "launch"))


def net():
    return nn.Sequential(nn.Conv2d(8, 16, 3, padding=1, bias=False, rng=0), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(16, 2, bias=False, rng=0),
                         nn.Sigmoid())


@pytest.mark.small
def test_each_layer_by_hand():
    """FLOP and bytes of the cost table, the largest of three times, and its name; views are left out; a batch is more work, not
    more weights.
    """
    placed = cost.place(net(), (1, 8, 10, 10), rounds=0, least=slow)
    conv, relu, pool, linear, sigmoid = placed.layers
    assert (conv.flop, conv.moved_bytes) == (2 * 72 * 16 * 100, 4 * (800 + 1152 + 1600))
    assert conv.intensity == conv.flop / conv.moved_bytes
    assert (conv.limit, conv.least_seconds) == ("arithmetic", conv.flop / 1e9) and conv.seconds is None
    assert (relu.limit, relu.least_seconds) == ("memory", 8 * 1600 / 1e8) and (linear.flop, linear.limit) == (64, "memory")
    assert (sigmoid.limit, sigmoid.least_seconds) == ("launch", 1e-6) and pool.kind == "adaptive_avg_pool2d"
    assert placed.least_seconds == sum(layer.least_seconds for layer in placed.layers) and placed.seconds is None
    kinds = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4, rng=0), nn.Conv2d(4, 4, 1, rng=0), nn.Conv2d(4, 6, 2, groups=2, rng=0))
    assert [layer.kind for layer in cost.place(kinds, (1, 4, 9, 9), rounds=0,
                                               least=slow).layers] == ["depthwise 3x3", "pointwise 1x1", "grouped 2x2"]
    batch = cost.place(net(), (3, 8, 10, 10), rounds=0, least=slow).layers
    assert batch[0].flop == 3 * conv.flop and batch[0].moved_bytes == 4 * (2400 + 1152 + 4800)


@pytest.mark.small
def test_the_machine_is_asked(monkeypatch):
    """Without other limits those of kernels.machine, and the machine heads the table."""
    for name, figure in LIMITS.items():
        monkeypatch.setattr(machine, name, figure)
    placed, given = cost.place(net(), (1, 8, 10, 10), rounds=0), cost.place(net(), (1, 8, 10, 10), rounds=0, least=slow)
    assert placed.layers == given.layers and given.machine == "limits as given"
    head, _, names, rule, *rows, _, total = str(placed).splitlines()
    assert head == str(machine.measure()) and "peak 1 GFLOP/s" in head
    assert names.split() == ["layer", "kind", "MFLOP", "FLOP/byte", "least", "us", "limit", "us", "share"] and len(rows) == 5
    assert rows[0].split() == ["0", "convolution", "3x3", "0.230", "16.2", "230.4", "arithmetic", "-",
                               "-"] and {len(row) for row in rows} == {len(rule)}
    assert total.split()[0] == "total" and total.split()[1] == f"{sum(layer.flop for layer in placed.layers) / 1e6:.3f}"


def test_measured_times_are_the_nodes():
    """Every layer has a time; the layer with nearly all of the work has most of it; shares are least over measured."""
    g = tc.trace(Wired(lambda m, x: F.relu(m.b(F.relu(m.a(x)))), a=nn.Conv2d(2, 2, 1, rng=0),
                       b=nn.Conv2d(2, 128, 9, padding=4, rng=0)), (1, 2, 96, 96), check=False)
    placed = cost.place(g, rounds=3, least=slow)
    assert all(layer.seconds > 0 for layer in placed.layers) and placed.seconds == sum(layer.seconds for layer in placed.layers)
    assert max(placed.layers, key=lambda layer: layer.seconds) is placed.layers[2]
    assert all(layer.share == layer.least_seconds / layer.seconds for layer in placed.layers)
    assert "%" in str(placed).splitlines()[-1]
    assert len(cost.roofline.node_seconds(g, batch=2, rounds=1)) == len(g.nodes)


def test_integer_networks_and_mistakes():
    """An int8 network is placed too; negative rounds, missing and wrong shapes are answered."""
    g = tc.trace(nn.Sequential(nn.Conv2d(8, 16, 3, padding=1, bias=False, rng=0), nn.ReLU()), (1, 8, 10, 10))
    q = tc.apply.quantize(g, np.random.default_rng(0).standard_normal((4, 8, 10, 10)).astype(np.float32))
    first = next(layer for layer in cost.place(q, rounds=0, least=slow).layers if layer.kind == "convolution 3x3")
    assert first.moved_bytes < 4 * (800 + 1152 + 1600) / 3
    with pytest.raises(ValueError, match="rounds must be at least 0, not -1"):
        cost.place(g, rounds=-1)
    with pytest.raises(ValueError, match="input_shape must be given"):
        cost.place(net())
    with pytest.raises(ValueError, match=r"must be \(N, 8, 10, 10\), as the graph was traced"):
        cost.place(g, (1, 8, 9, 9))
