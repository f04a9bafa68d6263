"""One table, every convention: the totals that papers and tools print come out of the same rows, to the unit; and where a printed
number is wrong, the closed form says so.
"""
import functools

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import cost, models, nn
from tinyconv import functional as F


@functools.lru_cache(maxsize=None)
def table(name, size=224, **options):
    """The table of a network, whose weights nobody needs."""
    with nn.init.undrawn():
        return cost.summary(models.network(name)(**options), (1, 3, size, size))


# ---- totals of whole networks -------------------------------------------------------------------------------------------------

# what each tool makes of ResNet-50 at 224x224; conv and squeeze beside them
RESNET50 = {"paper": 4_089_184_256, "interior": 3_948_251_904, "conv": 4_087_136_256, "bias": 4_089_185_256,
            "squeeze": 4_089_184_256, "fvcore": 4_111_512_576, "ptflops_0_7_0": 4_121_925_096, "ptflops": 4_132_436_968,
            "thop": 4_133_742_592, "torchinfo": 4_089_238_376, "torch": 8_178_368_512}


def test_resnet50_under_every_convention():
    """Eleven totals of one network, and one more for the paper's own form, whose strides stand in the 1x1 convolutions."""
    assert {name: table("resnet50").under(name).macs for name in cost.CONVENTIONS} == RESNET50
    assert table("resnet50_paper").macs == 3_857_973_248 and table("resnet50").convention == "paper"
    assert table("resnet50").under("fvcore").params == table("resnet50").params


@pytest.mark.parametrize("name, size, convention, total", [
    ("resnet18", 224, "interior", 1_680_390_912), ("vgg16", 224, "interior", 14_969_824_000),
    ("alexnet_paper", 227, "interior", 671_322_656),
    ("resnet18", 224, "ptflops_0_7_0", 1_822_177_768),                     # README of Torch-Pruning, whose counter is ptflops's
    ("alexnet_paper", 227, "bias", 725_066_088), ("vgg16", 224, "bias", 15_483_821_032)])
def test_totals_to_the_unit(name, size, convention, total):
    assert table(name, size).under(convention).macs == total


def test_a_tools_total_taken_apart():
    """Torch-Pruning's 1.822177768 G for ResNet-18: convolutions and the linear layer, BatchNorm, ReLU, both pools, one bias."""
    rows, added = table("resnet18").under("ptflops_0_7_0").rows, {}
    for row in rows:
        added[row.kind] = added.get(row.kind, 0) + row.macs
    assert added["conv2d"] + added["linear"] == 1_814_073_344 + 1_000 and added["batch_norm"] == 4_967_424
    assert added["relu"] == 2_308_096 and added["max_pool2d"] + added["adaptive_avg_pool2d"] == 827_904
    assert sum(added.values()) == 1_822_177_768


@pytest.mark.parametrize("row", cost.TOOLS, ids=lambda row: f"{row.convention} {row.network}")
def test_what_tools_print(row):
    """By the convention that the row names, and not by the next one."""
    other = {"torch": "paper", "ptflops": "ptflops_0_7_0", "ptflops_0_7_0": "ptflops", "torchinfo": "thop"}[row.convention]
    s = table(row.network, row.size)
    assert row.agrees(s.under(row.convention).macs) and not row.agrees(s.under(other).macs)


@pytest.mark.parametrize("name, once, twice", [("vgg16", 15.50, 15.52), ("resnet18", 1.82, 1.83), ("resnet50", 4.12, 4.13)])
def test_ptflops_counts_relu_and_pools_twice(name, once, twice):
    """Its README prints the second column; issues from before 0.7.1 the first. The difference is ReLU and pools, once more."""
    s = table(name)
    assert (round(s.under("ptflops_0_7_0").macs / 1e9, 2), round(s.under("ptflops").macs / 1e9, 2)) == (once, twice)
    more = sum(np.prod(row.inputs[0]) for row in s.rows if row.kind in ("relu", "max_pool2d", "adaptive_avg_pool2d"))
    assert s.under("ptflops").macs - s.under("ptflops_0_7_0").macs == more


# said by torch.utils.flop_counter.FlopCounterMode of torch 2.13 on torchvision 0.29's networks, one picture of 224x224
TORCH = {"resnet50": 8_178_368_512, "resnet18": 3_628_146_688, "mobilenet_v2": 601_548_544, "vgg16": 30_940_528_640,
         "alexnet": 1_428_376_960, "shufflenet_v2_x1_0": 289_815_984, "efficientnet_b0": 771_629_504,
         "mobilenet_v3_large": 433_179_520,
         "squeezenet1_0": 1_637_849_152, "mnasnet1_0": 628_831_744}


@pytest.mark.parametrize("name", TORCH)
def test_torchs_own_counter(name):
    assert table(name).under("torch").macs == TORCH[name] == 2 * table(name).macs


def test_squeeze_and_excitation_is_printed_with_its_products():
    """3.87 G are not the MACs alone (3.860): an average and a product a number are counted too, 5,519,360 each."""
    s = table("se_resnet50")
    assert s.macs == 3_860_488_192 and s.under("squeeze").macs - s.macs == 2 * 5_519_360
    added = sum(2 * n * c**2 // 16 for n, c in ((3, 256), (4, 512), (6, 1024), (3, 2048)))
    assert s.macs - table("resnet50_paper").macs == 2_514_944 == added
    biases = sum(int(np.prod(row.inputs[2])) for row in s.rows if row.kind in ("conv2d", "linear") and row.inputs[2] is not None)
    assert biases == 17_048 and s.params - table("resnet50_paper").params == 2_514_944 + 17_048 - 1_000


# ---- rules, one by one --------------------------------------------------------------------------------------------------------

class Ends(nn.Module):
    """A convolution, one operation, and nothing else."""

    def __init__(self, then, bias=True):
        super().__init__()
        self.conv, self.then = nn.Conv2d(2, 4, 3, padding=1, bias=bias, rng=0), then

    def forward(self, x):
        return self.then(self.conv(x))


CONV, OUT = 9 * 2 * 4 * 36, 4 * 36                                          # MACs and results of that convolution on 6x6
ALL = dict.fromkeys(cost.CONVENTIONS, 0)


@pytest.mark.small
@pytest.mark.parametrize("then, expected", [
    (F.relu, {"ptflops_0_7_0": OUT, "ptflops": 2 * OUT}),
    (F.relu6, {"ptflops_0_7_0": OUT, "ptflops": OUT}),
    (F.silu, {"ptflops": OUT}),
    (F.hardswish, {}),
    (F.sigmoid, {}),
    (lambda y: y * y, {"squeeze": 2 * OUT}),
    (lambda y: y + y, {}),
    (lambda y: F.max_pool2d(y, 2), {"ptflops_0_7_0": OUT, "ptflops": 2 * OUT}),
    (lambda y: F.avg_pool2d(y, 2), {"ptflops_0_7_0": OUT, "ptflops": 2 * OUT, "thop": OUT // 4}),
    (lambda y: F.adaptive_avg_pool2d(y, 1), {"fvcore": OUT, "ptflops_0_7_0": OUT, "ptflops": 2 * OUT, "thop": 4 * 37}),
    (lambda y: F.adaptive_avg_pool2d(y, 4), {"fvcore": OUT, "ptflops_0_7_0": OUT, "ptflops": 2 * OUT, "thop": int(3.25 * 64)}),
    (nn.BatchNorm2d(4), {"fvcore": 2 * OUT, "ptflops_0_7_0": 2 * OUT, "ptflops": 2 * OUT, "thop": 4 * OUT, "torchinfo": 8}),
    (nn.LocalResponseNorm(3), {}),
    (lambda y: F.channel_shuffle(y, 2), {}),
], ids=str)
def test_what_each_convention_adds(then, expected):
    """One picture: the operation's own count under all conventions, by hand. Two pictures: twice as much of everything."""
    for bias in (True, False):
        alone, both = (cost.summary(Ends(f, bias).eval(), (1, 2, 6, 6)) for f in (lambda y: F.channel_shuffle(y, 4), then))
        added = {name: both.under(name).macs - alone.under(name).macs for name in cost.CONVENTIONS}
        assert added == {**ALL, **expected}
        with_bias = {"bias": OUT, "ptflops_0_7_0": OUT, "ptflops": OUT, "torchinfo": OUT}
        assert alone.under("interior").macs == 2 * 4 * 16**2 and alone.under("torch").macs == 2 * CONV
        for name in set(cost.CONVENTIONS) - {"interior", "torch"}:
            assert alone.under(name).macs == CONV + (with_bias.get(name, 0) if bias else 0), name
    twice = cost.summary(Ends(then).eval(), (2, 2, 6, 6))
    once = cost.summary(Ends(then).eval(), (1, 2, 6, 6))
    assert all(twice.under(name).macs == 2 * once.under(name).macs for name in cost.CONVENTIONS)


@pytest.mark.small
def test_linear_layers_and_products():
    """MACs everywhere but in conv; the bias where it is counted; thop and torchinfo see no plain matrix product."""
    s = cost.summary(nn.Linear(5, 7, rng=0), (3, 5))
    biased = {"bias", "ptflops_0_7_0", "ptflops", "torchinfo"}
    assert {name: s.under(name).macs for name in cost.CONVENTIONS} == {
        name: 0 if name == "conv" else 210 if name == "torch" else 105 + 21 * (name in biased) for name in cost.CONVENTIONS}

    class Product(nn.Module):
        def forward(self, x, y):
            return F.matmul(x, y)
    s = cost.summary(Product(), [(2, 3, 4), (2, 4, 5)])
    assert {name: s.under(name).macs for name in cost.CONVENTIONS} == {
        name: {"conv": 0, "thop": 0, "torchinfo": 0, "torch": 240}.get(name, 120) for name in cost.CONVENTIONS}


def test_integer_networks_count_like_their_float_forms():
    g = tc.trace(models.mobilenet_v2_small(rng=0), (1, 1, 28, 28))
    x = np.random.default_rng(0).random((4, 1, 28, 28), np.float32)
    q, folded = cost.summary(tc.apply.quantize(g, x)), cost.summary(tc.graph.fold_batch_norms(g))
    for name in ("paper", "interior", "conv", "torch", "fvcore"):
        assert q.under(name).macs == folded.under(name).macs, name


@pytest.mark.small
def test_unknown_conventions_and_quantities():
    s = cost.summary(nn.Linear(5, 7, rng=0), (3, 5))
    with pytest.raises(ValueError, match="convention must be one of paper, interior, .*, torch, not 'flops'"):
        s.under("flops")
    with pytest.raises(ValueError, match="must be .macs., or .params. with .all. or .no norm., not 'params' with 'paper'"):
        s.counted("params", "paper")
    assert s.counted("params", "all") == s.counted("params", "no norm") == 42 and s.counted("macs", "torch") == 210


# ---- the authors' tables, row by row ------------------------------------------------------------------------------------------

# MobileNetV1 as its authors' mobilenet_v1.py lists it: parameters of the 27 convolutions and their MACs
SLIM_100_224 = ([864, 288, 2048, 576, 8192, 1152, 16384, 1152, 32768, 2304, 65536, 2304, 131072, *[4608, 262144] * 5, 4608,
                 524288, 9216, 1048576],
                [10838016, 3612672, 25690112, 1806336, 25690112, 3612672, 51380224, 903168, 25690112, 1806336, 51380224,
                 451584, 25690112, *[903168, 51380224] * 5, 225792, 25690112, 451584, 51380224])
SLIM_75_128 = ([648, 216, 1152, 432, 4608, 864, 9216, 864, 18432, 1728, 36864, 1728, 73728, *[3456, 147456] * 5, 3456, 294912,
                6912, 589824],
               [2654208, 884736, 4718592, 442368, 4718592, 884736, 9437184, 221184, 4718592, 442368, 9437184, 110592, 4718592,
                *[221184, 9437184] * 5, 55296, 4718592, 110592, 9437184])


@pytest.mark.parametrize("golden, width, size, totals", [(SLIM_100_224, 1.0, 224, (3_185_088, 567_716_352)),
                                                         (SLIM_75_128, 0.75, 128, (1_800_144, 106_002_432))])
def test_mobilenet_v1_layer_by_layer(golden, width, size, totals):
    """All 27 convolutions of two tables in the authors' source, and their totals."""
    rows = [row for row in table("mobilenet_v1", size, width_mult=width).rows if row.kind == "conv2d"]
    assert ([row.params for row in rows], [row.macs for row in rows]) == golden
    assert (sum(golden[0]), sum(golden[1])) == totals


# (width, size): million MACs as the same authors' mobilenet_v1.md prints them
SLIM_README = {(1.0, 224): 569, (1.0, 192): 418, (1.0, 160): 291, (1.0, 128): 186, (0.75, 224): 317, (0.75, 192): 233,
               (0.75, 160): 162, (0.75, 128): 104, (0.5, 224): 150, (0.5, 192): 110, (0.5, 160): 77, (0.5, 128): 49,
               (0.25, 224): 41, (0.25, 192): 34, (0.25, 160): 21, (0.25, 128): 14}


def test_erratum_of_the_authors_readme():
    """Of its 16 rows 10 are the closed form to the nearest million and one is rounded up; four of width 0.75 and one of 0.25 are
    of no network: their own source has 106,002,432 + 768,000 where the page has 104 M.
    """
    exact = {key: table("mobilenet_v1", key[1], width_mult=key[0]).macs / 1e6 for key in SLIM_README}
    wrong = {key: round(exact[key], 1) for key, printed in SLIM_README.items() if round(exact[key]) != printed}
    assert wrong == {(0.75, 224): 325.4, (0.75, 192): 239.3, (0.75, 160): 166.4, (0.75, 128): 106.8, (0.5, 224): 149.5,
                     (0.25, 192): 30.2}
    assert table("mobilenet_v1", 128, width_mult=0.75).macs == 106_002_432 + 768_000


def test_erratum_of_mobilenet_v1_table_2():
    """The first convolution has 1.91 % of the MACs, not the printed 1.19 [mem]: the column then adds up to 100.01, not 99.29.

    The column of parameters is right, BatchNorm's and the classifier's bias left out.
    """
    rows = [row for row in table("mobilenet_v1").rows if row.params and row.kind != "batch_norm"]
    weights = [int(np.prod(row.inputs[1])) for row in rows]
    kinds = {"1x1": rows[2:-1:2], "depthwise": rows[1:-1:2], "3x3": rows[:1], "fully connected": rows[-1:]}
    macs = {kind: round(100 * sum(row.macs for row in found) / sum(row.macs for row in rows), 2) for kind, found in kinds.items()}
    held = {kind: round(100 * sum(np.prod(row.inputs[1]) for row in found) / sum(weights), 2) for kind, found in kinds.items()}
    assert macs == {"1x1": 94.86, "depthwise": 3.06, "3x3": 1.91, "fully connected": 0.18} and sum(weights) == 4_209_088
    assert held == {"1x1": 74.59, "depthwise": 1.06, "3x3": 0.02, "fully connected": 24.33}
    assert round(sum(macs.values()), 2) == 100.01 and round(sum(macs.values()) - 1.91 + 1.19, 2) == 99.29


def test_a_row_that_cannot_be_reproduced():
    """MobileNetV2 of width 1.4 in its paper, 585 M and 6.9 M [mem]: no convention makes either of this network; its authors'
    later page has 582 M and 6.06 M, and these come out.
    """
    s = table("mobilenet_v2", width_mult=1.4)
    assert 585 not in {round(s.under(name).macs / 1e6) for name in cost.CONVENTIONS} and round(s.params / 1e6, 1) != 6.9
    assert (s.macs, s.params, s.params - s.norm_params) == (582_195_824, 6_108_776, 6_060_840)


def test_full_convolutions_cost_mobilenet_v1_eight_and_a_half_times_as_much():
    """Layer by layer 1/N + 1/9 is what the pairs leave of them; over the whole network 8.558 times less."""
    assert round(table("mobilenet_v1_conv").macs / table("mobilenet_v1").macs, 3) == 8.558
    names = "mobilenet_v1_conv", "mobilenet_v1"
    full, pairs = ([row for row in table(name).rows if row.kind == "conv2d"][1:] for name in names)
    assert len(full) == 13
    for row, depthwise, pointwise in zip(full, pairs[::2], pairs[1::2], strict=True):
        n = row.inputs[1][0]
        assert (depthwise.macs + pointwise.macs) * 9 * n == row.macs * (9 + n)


def test_two_conventions_of_the_same_authors():
    """ShuffleNet's paper leaves the classifier out (143, 140, 137, 133, 137 M [mem]), its authors' later page counts it. Nor has
    the classifier a bias here, as in their code; with one, parameters print as 1.53, 1.73, 1.87, 1.97 and 2.43 M.
    """
    both = [(table("shufflenet_v1", groups=g).under("conv").macs, table("shufflenet_v1", groups=g).macs) for g in (1, 2, 3, 4, 8)]
    assert [round(alone / 1e6, 2) for alone, _ in both] == [142.5, 140.04, 136.5, 133.25, 136.83]
    assert [whole for _, whole in both] == [143_078_976, 140_836_512, 137_460_672, 134_339_776, 138_365_952]
    params = [table("shufflenet_v1", groups=g).params for g in (1, 2, 3, 4, 8)]
    assert [round((held + 1000) / 1e6, 2) for held in params] == [1.53, 1.73, 1.87, 1.97, 2.43]


def test_megabytes_are_of_two_kinds():
    """AlexNet's "240 MB" and "233 MB" are the same 243,860,896 bytes; SqueezeNet's 4.8 MB are 4.76 of 2^20 bytes."""
    alexnet, squeezenet = table("alexnet_paper", 227).array_bytes, table("squeezenet1_0").array_bytes
    assert alexnet == 243_860_896 and (round(alexnet / 1e6, 1), round(alexnet / 2**20, 1)) == (243.9, 232.6)
    assert squeezenet == 4_993_696 and round(squeezenet / 2**20, 2) == 4.76
    vgg = table("vgg16").array_bytes
    assert vgg == 553_430_176 and round(vgg / 2**20, 1) == 527.8


def test_undrawn_weights_count_the_same():
    """Zeros in place of drawn numbers change no row; outside of `undrawn` numbers are drawn again."""
    with nn.init.undrawn():
        blank = models.mobilenet_v2_small(rng=0)
        with nn.init.undrawn():
            assert not nn.init.xavier_uniform((2, 3), rng=0).any()
        assert not nn.init.normal((2, 3), rng=0).any()
    drawn = models.mobilenet_v2_small(rng=0)
    assert cost.summary(blank, (1, 1, 28, 28)) == cost.summary(drawn, (1, 1, 28, 28))
    assert not blank.features[0][0].weight.data.any() and drawn.features[0][0].weight.data.all()
