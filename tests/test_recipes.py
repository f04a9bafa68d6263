"""The frame of the recipes on a recipe of two tiny networks, the real recipes on a few pictures, what the command refuses, and the
results of full runs in benchmarks/, which are what README says.
"""
import csv
import pathlib

import numpy as np
import pytest

import tinyconv as tc
from tinyconv.cli import commands, main
from tinyconv.recipes import attending, compressing, keeping, study

SHAPE = (1, 1, 6, 6)
ROOT = pathlib.Path(__file__).resolve().parent.parent
NETWORKS = {                                                   # what each recipe makes, in this order, whatever the pictures
    "vgg16": ["base", "L1, not tuned", "L1", "random", "from scratch"],
    "mobilenet": ["base", "L1, not tuned", "L1", "random", "from scratch", "V1 student", "V1 alone"],
    "lowrank": ["base", "spatial, not tuned", "spatial", "Tucker-2, not tuned", "Tucker-2", "spatial, equal shares", "L1 filters",
                "spatial, from scratch"],
    "lottery": ["whole", "ticket", "late ticket", "other values", "other places"],
    "slimming": ["base", "slim, not tuned", "slim", "γ, no penalty", "random", "from scratch"],
    "attention": ["none", "SE", "spatial", "CBAM", "wider"],
    "distill": ["teacher", "KD", "decoupled KD", "hints", "attention maps", "labels alone"],
}


def _steps(bench):
    """A linear classifier, a copy with half of its weights 0, and one that a control stands for."""
    model = tc.nn.Sequential(tc.nn.Flatten(), tc.nn.Linear(36, 10, rng=bench.seed))
    whole = bench.learn(tc.trace(model, SHAPE), "whole", 2)
    yield whole
    yield study.Made("half", tc.apply.sparsify(whole.g, 0.5), whole.epochs)
    yield bench.again(whole, "again, not tuned")


TINY = study.Recipe("tiny", "Two tiny networks", _steps, (("half", "whole", "the whole network"),))


def _given(n=64, size=6):
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (n, 1, size, size), dtype=np.uint8), rng.integers(0, 10, n)
    return images, labels, (images[:20], labels[:20])


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A run over two seeds, and all it says."""
    out, said = tmp_path_factory.mktemp("tiny"), []
    return study.run(TINY, seeds=2, out=out, progress=False, say=said.append, given=_given()), "\n".join(said), out


def test_every_row_is_what_its_file_holds(tiny):
    """Each number recomputed from the file alone; epochs as the steps made them; the halved one has exactly half the weights."""
    result, _, out = tiny
    assert [(row["network"], row["seed"]) for row in result["rows"]] == [
        (name, seed) for seed in (0, 1) for name in ("whole", "half", "again, not tuned")]
    for row in result["rows"]:
        path = out / f"{row['network'].replace(', ', '-').replace(' ', '-')}-{row['seed']}.safetensors"
        g, (_, _, test) = tc.load(path).graph, _given()
        assert row["accuracy"] == tc.train.accuracy(g, *test) and row["file bytes"] == path.stat().st_size
        assert (row["params"], row["MACs"], row["epochs"]) == (370, 360, 2)
        assert row["weights"] == (180 if row["network"] == "half" else 360)


def test_the_table_the_csv_and_the_figure(tiny):
    """The table's means and spreads are those of the CSV, whose lines carry a command that parses to the same run."""
    result, said, out = tiny
    with open(result["csv"], encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["network", "seed", *study.MEASURED, "command"] and len(rows) == 6
    for line in result["table"]:
        found = [float(row["accuracy"]) for row in rows if row["network"] == line["network"]]
        assert line["accuracy"] == pytest.approx(np.mean(found)) and float(line["spread"]) == pytest.approx(np.std(found, ddof=1), abs=5e-5)
        assert f"{line['accuracy']:.4f}" in said
    options = commands.parser().parse_args(rows[0]["command"].split()[3:])
    assert (options.recipe, options.quick, options.data, options.seeds) == ("tiny", False, None, 2)
    assert options.threads == tc.get_num_threads()
    assert result["figure"].read_bytes()[:4] == b"\x89PNG" and "quick numbers" not in said
    assert [label.get_text() for label in study.figure(result["rows"], TINY).axes[0].get_yticklabels()] == ["whole", "half"]


@pytest.mark.small
@pytest.mark.parametrize("method, words", [
    ((0.9, 0.8, 0.7), "beats chance: +0.1000, ahead with 3 of 3 seeds (chance alone: 1 time in 8)"),
    ((0.9, 0.8, 0.6), "does not beat chance: +0.0667, ahead with 2 of 3 seeds"),                      # a draw is no win
    ((0.5, 0.6, 0.5), "does not beat chance: -0.1667, ahead with 0 of 3 seeds")])
def test_verdicts_are_computed_from_pairs(method, words):
    """The mean difference alone does not win: every seed must; said plainly."""
    rows = [{"network": name, "accuracy": a} for name, values in (("ours", method), ("control", (0.8, 0.7, 0.6))) for a in values]
    assert list(study.verdicts(rows, [("ours", "control", "chance")])) == [f"ours {words}"]


@pytest.mark.small
def test_redrawn_networks_are_as_new():
    """No array keeps its values, all keep their shapes; normals have the deviation of the networks' own beginning."""
    old = tc.trace(tc.models.pretrained("vgg16_small"), (1, 1, 28, 28), check=False)
    new, other = study.redrawn(old, 1), study.redrawn(old, 2)
    for name, a in old.arrays().items():
        b = new.array(name)
        assert a.shape == b.shape and a.dtype == b.dtype and not np.array_equal(a, b), name
        assert (b.ndim > 1) == (not np.array_equal(b, other.array(name))), name
    w = new.array("features.40.weight") if old.array("features.40.weight").ndim > 1 else new.array("features.7.weight")
    assert np.std(w) == pytest.approx(np.sqrt(2 / (len(w) * 9)), rel=5 / np.sqrt(2 * w.size))          # five deviations of a deviation


@pytest.mark.small
def test_quick_pictures_are_of_all_classes():
    """The embedded pictures are not in random order; a quick run must not meet a class for the first time when it is tested."""
    _, labels, (_, tested) = study.pictures(quick=True)
    assert len(labels) == study.QUICK[0] and len(tested) == study.QUICK[1]
    assert np.bincount(labels, minlength=10).min() > 100 and np.bincount(tested, minlength=10).min() > 20


def test_a_real_recipe_on_64_pictures(tmp_path):
    """vgg16: pruned networks of one size, which is that of vgg16_small built at half width; the base is the package's."""
    images, labels, test = study.pictures(quick=True)
    given = images[:64], labels[:64], tuple(part[:50] for part in test)
    result = study.run(compressing.recipe("vgg16"), quick=True, out=tmp_path, progress=False, say=lambda text: None, given=given)
    rows = {row["network"]: row for row in result["rows"]}
    assert list(rows) == NETWORKS["vgg16"]
    half = tc.cost.summary(tc.models.vgg16_small(width_mult=0.5), (1, 1, 28, 28))
    assert all((row["params"], row["MACs"]) == (half.params, half.macs) for name, row in rows.items() if name != "base")
    assert rows["base"]["epochs"] + 1 == rows["L1"]["epochs"] == rows["random"]["epochs"] and len(result["said"]) == 2
    assert len({row["accuracy"] for row in rows.values()}) > 1


@pytest.fixture(scope="module")
def made():
    """A function of a recipe's name: its networks, full setting, on 8 pictures in colour, for which no trained one is there."""
    found, rng = {}, np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (8, 3, 32, 32), dtype=np.uint8), rng.integers(0, 10, 8)
    bench = study.Bench(images, labels, (images, labels), seed=3, embedded=False)

    def networks(name):
        if name not in found:
            found[name] = list(compressing.recipe(name).steps(bench))
        return found[name]
    return networks


def _weights(g):
    """Weights of convolution and linear layers that are not 0, and the places of all that are."""
    weights = {name: g.array(name) for name in {node.inputs[1] for node in g.nodes if node.op in ("conv2d", "linear")}}
    return sum(np.count_nonzero(w) for w in weights.values()), {name: w == 0 for name, w in weights.items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_recipe_makes_its_networks(name, made):
    """The same names in the same order, those of its claims among them; all take these pictures and give finite scores."""
    assert [one.name for one in made(name)] == NETWORKS[name] and name in compressing.RECIPES
    assert {word for network, control, _ in compressing.recipe(name).claims for word in (network, control)} <= set(NETWORKS[name])
    for one in made(name):
        assert np.isfinite(tc.train.predict(one.g, np.zeros((2, 3, 32, 32), np.float32))).all() and one.epochs >= 1, one.name


def test_controls_are_as_dear_as_what_they_stand_beside(made):
    """Equal MACs where the budget is one, at least those of the dearest attention, the same arrays from scratch; as many epochs."""
    macs = {recipe: {one.name: tc.cost.macs(one.g) for one in made(recipe)} for recipe in NETWORKS}
    epochs = {recipe: {one.name: one.epochs for one in made(recipe)} for recipe in NETWORKS}
    for recipe, at_most in (("lowrank", macs["lowrank"]["base"] // 2), ("slimming", macs["slimming"]["slim"])):
        assert all(n <= at_most for name, n in macs[recipe].items() if name != "base")
    assert macs["attention"]["none"] < macs["attention"]["SE"] < macs["attention"]["CBAM"] <= macs["attention"]["wider"]
    assert macs["attention"]["wider"] < 1.02 * macs["attention"]["CBAM"]
    factor = attending.least_factor(macs["attention"]["CBAM"], (1, 3, 32, 32))
    assert tc.cost.macs(tc.trace(attending.widened(factor - 0.01, 3, 0), (1, 3, 32, 32))) < macs["attention"]["CBAM"]
    for recipe in NETWORKS:
        for network, control, _ in compressing.recipe(recipe).claims:
            assert epochs[recipe][network] == epochs[recipe][control], (recipe, network, control)
    for recipe, network, control in (("slimming", "slim", "from scratch"), ("lowrank", "spatial", "spatial, from scratch")):
        shapes = [{name: a.shape for name, a in one.g.arrays().items()} for one in made(recipe) if one.name in (network, control)]
        assert len(shapes) == 2 and shapes[0] == shapes[1]


def test_tickets_and_their_controls_have_the_same_zeros(made):
    """A tenth of the weights is left in all; other values have the ticket's places, other places are others, as many in a layer."""
    found = {one.name: _weights(one.g) for one in made("lottery")}
    whole = sum(zero.size for zero in found["whole"][1].values())
    assert {n for name, (n, _) in found.items() if name != "whole"} == {whole - round(0.9 * whole)} and found["whole"][0] > 0.99 * whole
    ticket = found["ticket"][1]
    for name, (_, zeros) in found.items():
        same = [np.array_equal(zeros[layer], ticket[layer]) for layer in ticket]
        assert all(same) if name in ("ticket", "late ticket", "other values") else not any(same), name
        assert name == "whole" or [z.sum() for z in zeros.values()] == [ticket[layer].sum() for layer in zeros]


def test_a_taught_student_from_beginning_to_end(tmp_path):
    """distill on 64 pictures of clothing: the teacher is the package's; four students and the control cost the same, and differ."""
    images, labels, test = study.pictures(quick=True)
    given = images[:64], labels[:64], tuple(part[:50] for part in test)
    result = study.run(compressing.recipe("distill"), quick=True, out=tmp_path, progress=False, say=lambda text: None, given=given, threads=1)
    rows = {row["network"]: row for row in result["rows"]}
    assert list(rows) == NETWORKS["distill"] and rows["teacher"]["epochs"] == 50 and rows["teacher"]["accuracy"] > 0.8
    student = tc.cost.summary(tc.models.resnet_small(width_mult=0.25), (1, 1, 28, 28))
    assert all((row["params"], row["MACs"], row["epochs"]) == (student.params, student.macs, 1) for name, row in rows.items() if name != "teacher")
    kept = keeping.read_csv(result["csv"])
    assert kept == [{**row, "command": study.command("distill", quick=True, seeds=1, threads=1)} for row in result["rows"]]
    arrays = [tc.load(tmp_path / f"{name.replace(' ', '-')}-0.safetensors").graph.array("fc.weight").tobytes() for name in NETWORKS["distill"]]
    assert len(set(arrays)) == len(arrays)


KEPT = sorted((ROOT / "benchmarks").glob("recipe_*.csv"))


@pytest.mark.small
@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_what_is_kept_of_full_runs(path):
    """A recipe of that name; one command, full, with three seeds and its threads; a line a network and seed; a figure beside it."""
    rows = keeping.read_csv(path)
    line, = {row["command"] for row in rows}
    options = commands.parser().parse_args(line.split()[3:])
    assert path.stem == f"recipe_{options.recipe}" and options.run is commands._compress and line.startswith("python -m tinyconv compress ")
    assert (options.quick, options.data, options.seeds) == (False, None, 3) and options.threads >= 1
    names = [row["network"] for row in rows[:len(rows) // 3]]
    assert [(row["seed"], row["network"]) for row in rows] == [(seed, name) for seed in range(3) for name in names]
    assert len(set(names)) == len(names) and names == NETWORKS.get(options.recipe, names)
    assert all(0 < row["accuracy"] <= 1 and row["weights"] <= row["params"] for row in rows)
    assert path.with_suffix(".png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.small
def test_readme_says_what_is_kept():
    """README's table is the one that keeping makes of the files that there are; it lists every recipe."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = keeping.kept(ROOT / "benchmarks")
    assert len(found) == len(KEPT) and all(f"| `{name}` |" in readme for name in compressing.RECIPES)
    assert not found or f"```text\n{keeping.table(found)}\n```" in readme


@pytest.mark.small
def test_a_file_that_is_no_result_is_refused(tmp_path):
    """By name, and with what is wrong: columns, or a word for a number."""
    path = tmp_path / "recipe_vgg16.csv"
    for text, words in (("", "not of nothing"), ("network,seed\na,0\n", "not of network, seed"),
                        ("network,seed,accuracy,epochs,params,weights,MACs,file bytes,command\na,0,high,1,1,1,1,1,x\n", "high")):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=f"recipe_vgg16.csv.*{words}"):
            keeping.kept(tmp_path)


@pytest.mark.small
@pytest.mark.parametrize("arguments, words", [
    (["--recipe", "haste"], "recipe must be one of vgg16, mobilenet"),
    (["--recipe", "vgg16", "--data", "nowhere/at/all"], "test_batch.bin"),
    (["--recipe", "vgg16", "--seeds", "0"], "seeds must be at least 1, not 0"),
    (["--recipe", "vgg16", "--threads", "0"], "threads must be at least 1, not 0"),
    ([], "--recipe")])
def test_the_command_says_what_is_wrong(arguments, words, capsys, tmp_path, monkeypatch):
    """One sentence, exit code 2, nothing written."""
    monkeypatch.chdir(tmp_path)
    try:
        code = main(["compress", *arguments])
    except SystemExit as stop:
        code = stop.code
    told = capsys.readouterr().err
    assert code == 2 and words in told and "Traceback" not in told and not list(tmp_path.iterdir())


@pytest.mark.small
def test_help_names_every_recipe():
    """The list in the help is that of the recipes, in their order."""
    lines = [line.split() for line in commands.COMPRESS.split("examples")[0].splitlines()[1:]]
    assert [words[0] for words in lines if words] == list(compressing.RECIPES)


@pytest.mark.small
@pytest.mark.parametrize("recipe", compressing.RECIPES.values(), ids=lambda recipe: recipe.name)
def test_trials_refuses_costs_of_other_networks(recipe):
    """Every claim says what its control is; a figure whose halves do not name the same networks is refused."""
    assert recipe.claims and all(name != control and words for name, control, words in recipe.claims)
    with pytest.raises(ValueError, match="wrong: MACs"):
        tc.draw.trials({name: [0.5] for name, _, _ in recipe.claims}, {"MACs": {"other": 1.0}})
