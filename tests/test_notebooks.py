"""The chapters: each runs from top to bottom in a fresh process, offline, and is committed with its outputs.

A notebook is JSON; its code cells, one after the other, are a Python program. So neither Jupyter nor a plug-in is needed here.
"""
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SECONDS = 60


def _cells(path, kind):
    """The sources of all cells of one kind, and the cells themselves."""
    cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == kind]
    return ["".join(cell["source"]) for cell in cells], cells


def _outputs(path):
    return [output for cell in _cells(path, "code")[1] for output in cell["outputs"]]


def test_there_are_chapters():
    """None is lost, and the README names each."""
    names, readme = {path.stem for path in NOTEBOOKS}, (ROOT / "README.md").read_text(encoding="utf-8")
    assert {"attention", "autograd_by_hand", "depthwise_grouped_shuffle", "networks", "whole_pipeline"} <= names
    assert names == set(re.findall(r"\(notebooks/(\w+)\.ipynb\)", readme))


@pytest.mark.notebooks
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_chapter_runs(path, tmp_path):
    """All code cells as one program, in an empty folder, with the quick setting and no screen: exit status 0 within a minute."""
    script = tmp_path / f"{path.stem}.py"
    script.write_text("\n\n".join(_cells(path, "code")[0]), encoding="utf-8")
    (tmp_path / "empty").mkdir()
    environment = {**os.environ, "MPLBACKEND": "Agg", "TINYCONV_QUICK": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path / "empty", env=environment, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_chapter_is_plain_python(path):
    """Each cell compiles by itself (no magics, no shell), and the chapter asserts what its conclusions rest on."""
    sources, _ = _cells(path, "code")
    for source in sources:
        compile(source, path.name, "exec")
    assert sources and re.search(r"^\s*assert ", "\n".join(sources), re.M)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_chapter_was_run_before_it_was_committed(path):
    """Cells numbered 1, 2, 3, .. as one run from top to bottom gives them; a picture among the outputs; no error, no stderr."""
    cells = [cell for cell in _cells(path, "code")[1] if "".join(cell["source"]).strip()]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = _outputs(path)
    assert [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"] == []
    assert any("image/png" in output.get("data", {}) for output in outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_chapter_names_no_machine(path):
    """No path of somebody's machine in text, code, outputs or metadata (pictures are bytes and left out)."""
    sources = _cells(path, "code")[0] + _cells(path, "markdown")[0]
    texts = ["".join(output.get("text", [])) for output in _outputs(path)]
    shown = [pair for output in _outputs(path) for pair in output.get("data", {}).items()]
    texts += ["".join(value) for kind, value in shown if kind.startswith("text/")]
    metadata = json.dumps(json.loads(path.read_text(encoding="utf-8"))["metadata"])
    machine = r"(?<![\w.~$}])/(?:tmp|root|home|work|Users|opt)/\S*|\b[A-Z]:\\\S+"
    assert [match for text in [*sources, *texts, metadata] for match in re.findall(machine, text)] == []
