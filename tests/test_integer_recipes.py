"""The recipes that end in integers or few bits: names, budgets and ledgers, and one of them run on a few pictures."""
import pathlib

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import apply, nn
from tinyconv.compress import encode
from tinyconv.recipes import compressing, deep, few_bits, integers, keeping, ledgers, study

small = pytest.mark.small
ROOT = pathlib.Path(__file__).resolve().parent.parent
NAMES = ("int8", "qat4", "vgg16-int8", "mobilenet-int8", "deep-compression", "mixed", "binary")


class Dry(study.Bench):
    """A Bench that trains nothing: networks come out as they went in."""

    def tune(self, made, name, epochs, lr=0.03, **options):
        """Made under a new name."""
        return study.Made(name, made.g, made.epochs + 1)


def bench(kind=Dry):
    """64 pictures of all classes."""
    images, labels, test = study.pictures(quick=True)
    return kind(images[:64], labels[:64], tuple(part[:40] for part in test), 0, True)


@pytest.fixture
def dry(monkeypatch):
    """apply without its training: what is trained comes out as it went in, quantized where it would be."""
    monkeypatch.setattr(apply, "qat", lambda g, images, labels, bits, activation_bits=8, calibration=None, **options:
                        apply.fake_quantized(g, calibration, bits, activation_bits, "lsq"))
    monkeypatch.setattr(apply, "train_projected", lambda g, images, labels, to, names=None, *others, **options: apply.project(g, to, names))
    monkeypatch.setattr(integers, "calibration", lambda bench, n=500: bench.images[:8])
    monkeypatch.setattr(few_bits, "calibration", lambda bench, n=500: bench.images[:8])
    adaround, sensitivity = apply.adaround, apply.sensitivity
    monkeypatch.setattr(apply, "adaround", lambda g, images, bits: adaround(g, images[:4], bits, steps=5))
    monkeypatch.setattr(apply, "sensitivity", lambda g, images, labels, choices, kind, seed: sensitivity(g, images[:8], labels[:8], choices))


@pytest.mark.parametrize("name", NAMES)
def test_claims_are_about_networks_that_are_made(name, dry):
    """Each name once; every network of a claim, a tolerance and a figure's whole is among them; the encodings hold the arrays."""
    recipe = compressing.recipe(name)
    made = list(recipe.steps(bench()))
    names = [one.name for one in made]
    assert len(set(names)) == len(names)
    assert {n for claim in recipe.claims for n in claim[:2]} | {n for n, other, _ in recipe.near} | {o for _, o, _ in recipe.near} <= set(names)
    assert recipe.whole is None or {recipe.whole(n) for n in names} <= set(names)
    assert all(tc.graph.saved_bytes(one.g, one.encoding) > 0 and one.epochs >= 1 for one in made)
    if name in ("int8", "qat4"):                                                           # integers from the first node to the last
        for one in made:
            if one.name not in integers.SMALL and not one.name.endswith("longer"):
                assert [n.op for n in one.g.nodes if n.op in ("quantize", "dequantize")] == ["quantize", "dequantize"]
                assert not {n.op for n in one.g.nodes} & {"conv2d", "linear", "batch_norm", "add", "relu"}
    if name == "qat4":
        for one in made:
            if one.encoding:
                codes = [one.g.array(n.inputs[1]) for n in one.g.nodes if n.op in ("qconv2d", "qlinear")]
                assert max(np.abs(c).max() for c in codes[1:-1]) == 7 and min(np.abs(c).max() for c in (codes[0], codes[-1])) > 7
    if name == "mixed":                                                                    # the same budget for all
        sizes = {one.name: sum(encode.dense_bytes(one.g.array(n.inputs[1]).size, encode.fewest_bits(one.g.array(n.inputs[1])))
                               for n in one.g.nodes if n.op in ("qconv2d", "qlinear")) for one in made[1:]}
        assert max(sizes.values()) == sizes["uniform"]
    if name == "binary":
        for one in made[1:]:
            inner = list(apply.layer_weights(made[0].g))[1:-1]
            different = {len(np.unique(one.g.array(w))) for w in inner}
            assert max(different) == (2 if "binary" in one.name or "two" in one.name else 3)
    if name == "deep-compression":
        found = {one.name: tc.graph.saved_bytes(one.g, one.encoding) for one in made}
        assert found["Huffman"] < found["shared"] < found["pruned"] < found["base"]
        assert max(found["prune only"], found["share only"]) <= found["Huffman"]


def test_pruned_network_in_integers_end_to_end(tmp_path, monkeypatch):
    """vgg16-int8 on 64 pictures: half of the weights 0, none comes back in integers, and the report counts that from the files."""
    images, labels, test = study.pictures(quick=True)
    given = images[:64], labels[:64], tuple(part[:40] for part in test)
    recipe = compressing.recipe("vgg16-int8")
    result = study.run(recipe, quick=True, out=tmp_path, progress=False, say=lambda text: None, given=given)
    rows = {row["network"]: row for row in result["rows"]}
    assert list(rows) == ["base", "pruned", "pruned longer", "int8 QAT", "int8 rounded", "4 bits QAT", "4 bits rounded"]
    n = rows["base"]["weights"]
    assert rows["pruned"]["weights"] == rows["pruned longer"]["weights"] == n - round(n / 2)
    assert all(rows[name]["weights"] <= n - round(n / 2) for name in rows if name != "base")
    assert rows["4 bits QAT"]["file bytes"] < rows["int8 QAT"]["file bytes"] < rows["pruned"]["file bytes"]
    assert rows["4 bits QAT"]["epochs"] == rows["pruned longer"]["epochs"] == rows["4 bits rounded"]["epochs"]
    assert result["said"][-2:] == [f"{words} QAT: of {round(n / 2):,} weights pruned away 0 have come back" for words in ("int8", "4 bits")]
    assert sum("within" in line for line in result["said"]) == 2


@small
@pytest.mark.parametrize("lost, words", [(0.01, "is within 0.01 of"), (0.0105, "is NOT within 0.01 of"), (-0.5, "is within 0.01 of")])
def test_closeness_is_that_of_the_worst_seed(lost, words):
    """Exactly the tolerance still holds; one seed beyond it does not; to be better is no fault."""
    rows = [{"network": name, "accuracy": a} for name, values in (("int8", (0.9, 0.912 - lost)), ("float", (0.9, 0.912))) for a in values]
    (said,) = study.closeness(rows, [("int8", "float", 0.01)])
    assert said.startswith(f"int8 {words} float: at worst {min(0, -lost):+.4f}")


@small
@pytest.mark.parametrize("encoding", [None, "huffman", {"1.weight": "dense"}])
def test_parts_of_a_file_are_all_of_it(tmp_path, encoding):
    """Weights, the rest and the header add up to the length; weights are the encoded bytes where they are encoded."""
    model = nn.Sequential(nn.Conv2d(1, 4, 3, rng=0), nn.Conv2d(4, 4, 3, rng=1), nn.BatchNorm2d(4))
    g = tc.trace(model, (1, 1, 8, 8), check=False)
    path = tmp_path / "network.safetensors"
    length = tc.save(path, g, encoding)
    parts = ledgers.file_parts(path)
    sizes = {name: encode.encoded_bytes(g.array(name), how) if how else g.array(name).nbytes for name, how in (
        ("0.weight", encoding if encoding == "huffman" else None), ("1.weight", encoding["1.weight"] if isinstance(encoding, dict) else encoding))}
    assert sum(parts.values()) == length and parts[ledgers.WEIGHTS] == sum(sizes.values()) and parts[ledgers.REST] == 4 * (4 + 4 + 16)


@small
def test_controls_take_as_many_bytes():
    """The least sparsity and the most values whose file fits: one step less would not."""
    g = tc.trace(tc.models.vgg16_small(width_mult=0.125, rng=0), (1, 1, 28, 28))
    size = lambda sparsity: tc.graph.saved_bytes(apply.sparsify(g, sparsity, "uniform"), "smallest")
    budget = size(0.7)
    s = deep.sparsity_for(g, budget)
    assert size(s) <= budget < size(s - 1 / 512) and deep.sparsity_for(g, 0) == 511 / 512
    few = lambda k: tc.graph.saved_bytes(apply.project(g, deep.few_values(k, 0)), "huffman")
    assert deep.values_for(g, few(4), 0) >= 4 and few(deep.values_for(g, few(4), 0)) <= few(4) and deep.values_for(g, 0, 0) == 2


@small
def test_random_bits_fit_and_differ():
    """Within the budget, from all choices, another draw for another seed."""
    sizes = {name: {b: 100 * b for b in few_bits.CHOICES} for name in "abcdefgh"}
    found = [few_bits.random_bits(sizes, 8 * 300, np.random.default_rng(seed)) for seed in range(3)]
    assert all(sum(sizes[n][b] for n, b in bits.items()) <= 8 * 300 for bits in found) and len({tuple(f.values()) for f in found}) > 1


@small
@pytest.mark.parametrize("name", ["int8", "qat4"])
def test_kept_results_hold_the_tolerances_and_readme_says_so(name):
    """Full runs: each network within its tolerance with every seed, and README has these sentences."""
    rows = keeping.kept(ROOT / "benchmarks")[name]
    said, readme = list(study.closeness(rows, compressing.recipe(name).near)), (ROOT / "README.md").read_text(encoding="utf-8")
    assert said and all("NOT" not in line and f"\n{line}\n" in readme for line in said)
