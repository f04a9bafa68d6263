"""The main job and the commands: what they print must be what is on disk and what the closed forms say."""
import re
import subprocess
import sys

import numpy as np
import pytest

import tinyconv as tc
from tinyconv.cli import main
from tinyconv.recipes import demo, measuring


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """One quick run on a third of its pictures, with everything it says."""
    said, all_of = [], tc.data.fashion
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tc.data, "fashion", lambda part: tuple(a[:512] if part == "train" else a for a in all_of(part)))
        result = demo.run(out=tmp_path_factory.mktemp("demo"), quick=True, seed=3, progress=False, say=said.append)
    return result, "\n".join(map(str, said))


def test_every_row_is_what_its_file_holds(quick):
    """Bytes are the file's length; accuracy, parameters and MACs are recomputed from the file alone and must be equal."""
    result, _ = quick
    test = tuple(part[::4] for part in tc.data.fashion("test"))
    for row in result["rows"]:
        path = result["files"][row["network"]]
        g = tc.load(path).graph
        assert row["file bytes"] == path.stat().st_size
        assert row["MACs"] == tc.cost.summary(g).macs
        assert row["accuracy"] == tc.train.accuracy(g, *test)
        assert row["ms/image"] > 0


def test_pruned_is_at_most_half_the_work_and_int8_a_quarter_of_the_arrays(quick):
    """The budget holds; int8 arrays (weights 1 byte, int32 biases and float32 scales beside them) are far smaller than float ones."""
    rows = {row["network"]: row for row in quick[0]["rows"]}
    files = quick[0]["files"]
    array_bytes = {name: sum(a.nbytes for a in tc.load(path).graph.arrays().values()) for name, path in files.items()}
    assert rows["pruned"]["MACs"] <= rows["base"]["MACs"] // 2
    assert rows["pruned"]["MACs"] == rows["pruned, not tuned"]["MACs"] == rows["pruned + int8"]["MACs"]
    assert rows["int8"]["MACs"] == rows["base"]["MACs"]
    base = tc.graph.fold_batch_norms(tc.load(files["base"]).graph)
    weights = sum(a.size for a in base.parameters.values() if a.ndim > 1)
    filters = sum(len(a) for a in base.parameters.values() if a.ndim > 1)
    assert array_bytes["int8"] == weights + 8 * filters                  # a byte a weight; an int32 bias and a float32 scale a filter


def test_the_table_and_the_figure(quick):
    """Every network is a line of the printed table; the figure is a PNG of some size."""
    result, said = quick
    for row in result["rows"]:
        assert re.search(rf"^{re.escape(row['network'])} +{row['accuracy']:.4f} ", said, re.M), row["network"]
    assert result["figure"].read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and result["figure"].stat().st_size > 20_000


def test_notes_say_what_the_numbers_say():
    """A network that is not faster is named as such: the words are computed."""
    rows = [{"network": "base", "ms/image": 1.0}, {"network": "half", "ms/image": 0.5}, {"network": "codes", "ms/image": 1.7}]
    assert demo.notes(rows).split("\n")[1:] == ["faster than base: half", "smaller but not faster here: codes"]


def test_milliseconds_take_turns():
    """All networks are timed on one batch; the answer has one positive number each."""
    g = tc.trace(tc.models.mobilenet_v1_small(rng=0), (1, 1, 28, 28))
    times = measuring.milliseconds_per_image({"a": g, "b": g}, np.zeros((4, 1, 28, 28), np.uint8), rounds=3)
    assert set(times) == {"a", "b"} and min(times.values()) > 0


def test_summary_command_prints_the_published_macs(capsys):
    """`summary mobilenet_v2` shows the paper's totals."""
    assert main(["summary", "mobilenet_v2"]) == 0
    told = capsys.readouterr().out
    assert "300,774,272" in told and "3,504,872" in told


@pytest.mark.parametrize("arguments, words", [
    (["summary", "resnet_9000"], "unknown network 'resnet_9000'"),
    (["summary", "mobilenet_v2_small", "--input", "1,0,28"], "positive numbers"),
    (["dance"], "invalid choice"),
])
def test_wrong_commands_say_what_is_wrong(arguments, words, capsys):
    """Exit code 2 and one sentence, no traceback."""
    try:
        code = main(arguments)
    except SystemExit as stop:
        code = stop.code
    told = capsys.readouterr().err
    assert code == 2 and words in told and "Traceback" not in told


@pytest.mark.parametrize("command", [[], ["demo"], ["summary"], ["train"], ["verify"], ["warmup"]])
def test_help(command):
    """Every command explains itself, in a new process."""
    done = subprocess.run([sys.executable, "-m", "tinyconv", *command, "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "usage: tinyconv" in done.stdout
