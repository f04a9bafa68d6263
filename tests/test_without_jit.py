"""The small tests once more: with the compiler switched off, and on the readable kernels alone (`tc.use("plain")`).

Both runs are processes of their own. conftest begins the first as soon as these tests are chosen, beside all the others, and the second when half
of those are done and most of its kernels compiled. The tests here, the last ones, wait for their ends.
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
SECOND_RUN = os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0") or "TINYCONV_TEST_MODE" in os.environ
SETTINGS = {"without the compiler": {"NUMBA_DISABLE_JIT": "1"}, "plain": {"TINYCONV_TEST_MODE": "plain"}}
RUNS = {}               # setting -> the process, the file of what it says


def begin(setting):
    """`python -m pytest -m small` in a process of its own, under one of the settings; nothing if it was begun, or in such a run."""
    if SECOND_RUN or setting in RUNS:
        return
    command = [sys.executable, "-m", "pytest", "-m", "small", "-q", "-p", "no:cacheprovider", "--durations=5"]
    said = tempfile.TemporaryFile("w+", encoding="utf-8")                                       # a pipe that nobody empties fills up
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **SETTINGS[setting]}, stdin=subprocess.DEVNULL,
                               stdout=said, stderr=subprocess.STDOUT)
    RUNS[setting] = process, said


def end():
    """Nothing outlives the session, however it ends."""
    for process, said in RUNS.values():
        process.kill()                                                                          # nothing, if it has ended
        process.wait()
        said.close()
    RUNS.clear()


@pytest.mark.skipif(SECOND_RUN, reason="this is such a run already")
@pytest.mark.parametrize("setting", SETTINGS)
def test_small_tests_pass_otherwise_too(setting):
    """All pass, and there were some to pass.

    Without the compiler every kernel is plain Python, for a debugger to step through; in plain mode everything, training
    included, runs on the loops that are the formulas.
    """
    begin(setting)
    process, said = RUNS[setting]
    code = process.wait(timeout=600)
    said.seek(0)
    told = said.read()
    assert code == 0, told[-6000:]
    passed = re.search(r"(\d+) passed", told)
    assert passed and int(passed.group(1)) >= 2000, told[-6000:]
