"""The benches: every script explains itself, the layers are those of the networks, and what is counted is right.

Nothing is timed here. The scripts are run, or imported, as they lie in benchmarks/.
"""
import importlib
import math
import os
import pathlib
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

from tinyconv import kernels
from tinyconv.formulas import conv2d_macs

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "benchmarks"
SCRIPTS = ("bench_backward", "bench_constants", "bench_conv", "bench_int8", "bench_peers", "bench_prune", "bench_threads", "bench_train", "bit_table", "int8_accuracy",
           "layers", "roofline", "select_map")


@pytest.fixture
def bench(monkeypatch):
    """A function that imports a page of benchmarks/ by name; the pages are forgotten afterwards."""
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module
    for name in (*SCRIPTS, "common"):
        sys.modules.pop(name, None)


def run(*command):
    """A bench's process: its output, errors and return code."""
    path = os.pathsep.join([str(FOLDER.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run([sys.executable, *map(str, command)], env={**os.environ, "PYTHONPATH": path}, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=300)


def test_every_script_explains_itself():
    """--help says what a script is for and ends well; no script is missing from the list above."""
    assert {path.stem for path in FOLDER.glob("*.py")} - {"common", "make_golden", "make_onnx_nodes"} == set(SCRIPTS)
    for name in SCRIPTS:
        done = run(FOLDER / f"{name}.py", "--help")
        assert done.returncode == 0 and "usage" in done.stdout and f"python benchmarks/{name}.py" in done.stdout, done.stderr


def test_layers_are_those_of_the_networks(bench):
    """layers.csv has exactly the convolutions of the networks, of which three that have every group are held against it here."""
    layers, names = bench("layers"), ("mobilenet_v3_small", "shufflenet_v1", "resnet18")
    written = [layer for batch in layers.BATCH.values() for layer in layers.layers(batch)]
    mine = {layer._replace(networks="") for layer in written if set(names) & set(layer.networks.split())}
    assert {layer._replace(networks="") for layer in layers.from_networks(names)} == mine
    assert len({layer._replace(networks="") for layer in written}) == len(written)
    assert {layer.group for layer in mine} == set(layers.GROUPS)
    for layer in mine:
        g = layer.geometry
        assert layer.flop == 2 * layer.n * conv2d_macs(g.c, g.f, (g.kh, g.kw), g.oh, g.ow, g.groups) and layer.oh == g.oh


def test_groups_are_told_apart(bench):
    """One layer of each kind, by its numbers alone: 3 input channels make a stem, groups == channels is depthwise."""
    layer = bench("layers").Layer
    kinds = {(1, 3, 8, 4, 3, 1, 1, 1): "strided, stems", (1, 4, 8, 4, 3, 1, 1, 1): "3x3 stride 1",
             (1, 4, 8, 4, 3, 2, 1, 4): "depthwise", (1, 4, 8, 8, 1, 1, 0, 2): "grouped", (1, 4, 8, 8, 1, 1, 0, 1): "pointwise",
             (1, 4, 8, 8, 1, 2, 0, 1): "strided, stems", (1, 4, 8, 8, 5, 1, 2, 1): "strided, stems"}
    assert {numbers: layer(*numbers).group for numbers in kinds} == kinds


def test_peers_compute_the_convolution(bench):
    """The NumPy ways give what the formula gives, strides and groups included; a peer that left out a tap would not."""
    layers, peers = bench("layers"), bench("bench_peers")
    for numbers in ((2, 4, 7, 6, 3, 1, 1, 1), (1, 4, 8, 4, 3, 2, 1, 4), (1, 6, 5, 4, 1, 1, 0, 2), (1, 3, 9, 4, 5, 2, 2, 1)):
        layer = layers.Layer(*numbers)
        x, w = layer.arrays()
        wanted = kernels.conv2d(x.astype(np.float64), w.astype(np.float64), None, *layer.more)      # the seven loops
        for peer in (peers.by_einsum, peers.by_im2col):
            assert np.abs(peer(x, w, layer) - wanted).max() < 1e-4
            w_without = w.copy()
            w_without[:, :, 0, 0] = 0
            assert np.abs(peer(x, w_without, layer) - wanted).max() > 1e-2


def test_ratios_and_disagreements(bench):
    """Ours over the best rival that has the case; engines whose Σ|result| differs by more than the tolerance are named."""
    common = bench("common")
    answers = {"ours": [common.Answer(1.0, "", 10.0), common.Answer(3.0, "", 20.0)],
               "a": [common.Answer(2.0, "", 10.001), common.Answer(math.nan)],
               "b": [common.Answer(4.0, "", 10.2), common.Answer(6.0, "", 20.0)]}
    assert common.ratios(answers) == [0.5, 0.5]
    assert common.disagreements(answers, ["first", "second"]) == ["first: b 10.2, ours 10"]
    assert common.geometric_mean([0.25, 1.0]) == 0.5
    assert math.isnan(common.ratios({"ours": answers["ours"]})[0])


def test_what_is_disturbed_is_measured_again(bench, monkeypatch):
    """The first quiet turn counts; if others never rest, the quietest of all turns."""
    common = bench("common")
    for shares, wanted, turns in (([0.5, 0.01, 0.9], 1, 2), ([0.5, 0.3, 0.9, 0.4, 0.8, 0.7], 1, 6)):
        clock, taken, done = [0.0], [0.0], []

        def measure():
            clock[0] += 1.0
            taken[0] += shares[len(done)] * common.processors()
            done.append(len(done))
            return done[-1]

        monkeypatch.setattr(common, "others_seconds", lambda: taken[0])
        monkeypatch.setattr(common, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
        assert common.undisturbed(measure) == wanted and len(done) == turns


def test_rules_of_choice(bench):
    """The fit finds the constants that times were made with, thresholds those that times follow; the winner loses nothing."""
    page, layers = bench("select_map"), bench("layers")
    cells = [layers.Layer(1, c, h, c, 3, 1, 1, 1) for c in (8, 32, 128) for h in (4, 14, 28)]
    constants = {"direct": [5.0, 9.0], "winograd2": [6.0, 9.0, 100.0, 50.0], "winograd4": [7.0, 8.0, 200.0, 0.0]}
    times = [{name: 1e-12 * float(np.dot(constants[name], page.amounts(layer, m))) for name, m in page.ALGORITHMS.items()}
             for layer in cells]
    found = page.fit(times, cells)
    assert all(np.allclose(found[name], constants[name], rtol=1e-4, atol=1e-3) for name in constants)
    assert page.loss(times, [min(t, key=t.get) for t in times]) == 1.0
    assert page.loss(times, [max(t, key=t.get) for t in times]) > 1.1
    assert page.loss(times, [page.by_time(layer, found) for layer in cells]) == 1.0
    times = [{"direct": 2.0, "winograd2": 3.0, "winograd4": 1.0 if layer.c >= 32 and layer.h >= 14 else 9.0} for layer in cells]
    thresholds = page.best_thresholds(times, cells)
    assert page.loss(times, [page.by_thresholds(layer, thresholds) for layer in cells]) == 1.0
    assert thresholds["winograd4"][0] == 32


def test_constants_at_several_values(bench, monkeypatch):
    """Plans made at several values differ where the constant counts, in every page that copied it, and all is as before afterwards; numbers of another
    kind, and constants that may be compiled in, are refused."""
    from tinyconv.kernels import cutting, planes, planes_kernel
    page, layers = bench("bench_constants"), bench("layers")
    assert {("indirect_scheme", "DEEP"), ("threads", "SHARES"), ("winograd_scheme", "BLOCK")} <= {found[:2] for found in page.by_trial()}
    assert [page.number(text) for text in ("128", "-1", "0.5", "2**18")] == [128, -1, 0.5, 2**18]
    pages = page.pages_with("indirect_scheme.BEGINNING")
    assert [module.__name__.rpartition(".")[2] for module in pages] == ["indirect_scheme", "gemm"]
    seen, layer = [], layers.Layer(1, 17, 16, 17, 3, 1, 1, 17)
    monkeypatch.setattr(page, "forward", lambda layer, packed: lambda: seen.append([module.BEGINNING for module in pages]))
    page.plans(layer, pages, "BEGINNING", [1, 2])
    assert seen == [[1, 1], [2, 2]] and pages[0].BEGINNING == pages[1].BEGINNING == 200
    tiles = []
    monkeypatch.setattr(page, "forward", lambda layer, packed: lambda: tiles.append(planes.schemes(layer.geometry, "forward", 2)[0].rest[0].size))
    page.plans(layer, page.pages_with("planes_scheme.LARGE"), "LARGE", [16, 999])
    assert (tiles[0] != tiles[1]) == (planes_kernel.LANES == 16) and planes.schemes.cache_info().currsize == cutting.cut.cache_info().currsize == 0
    order = []
    monkeypatch.setattr(page, "plans", lambda layer, pages, constant, values: order.append(values) or [lambda v=v: time.sleep(v) for v in values])
    first, second = page.one_round(layer, pages, "BEGINNING", [0.0, 0.002], 0.001, 1)
    assert order == [[0.002, 0.0]] and first < 0.002 <= second
    for name in ("gemm_kernel.TERMS", "planes.NOTHING", "choice.NOTHING", "nowhere.DEEP", "DEEP"):
        with pytest.raises(SystemExit):
            page.pages_with(name)
    for texts, constant in ((["x"], 1), (["0.5"], 1), (["0"], 1), (["-1"], 0.5), (["inf"], 0.5)):
        with pytest.raises(SystemExit, match="--values must be"):
            page.checked(texts, constant)


def test_what_is_left_of_a_pruned_network(bench):
    """At half the MACs, uniform scope, the small MobileNetV2 has at most 0.60 of its bytes; the words follow the numbers."""
    page = bench("bench_prune")
    macs, params, nbytes = page.sizes(page.both("mobilenet_v2_small", "uniform"))
    assert 0.49 < macs <= 0.5 and params < nbytes <= page.WANTED["bytes"]["mobilenet_v2_small"]
    assert page.reached("time", "mobilenet_v2_small", 0.75).endswith("wanted 0.75: reached")
    assert page.reached("time", "mobilenet_v2_small", 0.76).endswith("NOT REACHED") and page.reached("bytes", "vgg16_small", 9) == ""


def test_a_bench_from_beginning_to_end(tmp_path):
    """Two layers, one round, no rival in sight: the table is printed and written, and the engine that is not there is named."""
    done = run(FOLDER / "bench_conv.py", "--only", "grouped", "--few", "2", "--rounds", "1", "--rest", "0", "--least", "0.001",
               "--rival-python", tmp_path / "none", "--csv", tmp_path / "table.csv")
    assert done.returncode == 0, done.stderr
    assert "torch: left out" in done.stdout and "peak" in done.stdout
    lines = (tmp_path / "table.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 3 and lines[0].startswith("group,layer") and all(line.startswith("grouped,") for line in lines[1:])
