"""The small tests once more: with the compiler switched off, and on the readable kernels alone (`tc.use("plain")`)."""
import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
SECOND_RUN = os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0") or "TINYCONV_TEST_MODE" in os.environ


@pytest.mark.skipif(SECOND_RUN, reason="this is such a run already")
@pytest.mark.parametrize("setting", [{"NUMBA_DISABLE_JIT": "1"}, {"TINYCONV_TEST_MODE": "plain"}], ids=["without the compiler", "plain"])
def test_small_tests_pass_otherwise_too(setting):
    """`python -m pytest -m small` in a process of its own: all pass, and there were some to pass.

    Without the compiler every kernel is plain Python, for a debugger to step through; in plain mode everything, training
    included, runs on the loops that are the formulas.
    """
    command = [sys.executable, "-m", "pytest", "-m", "small", "-q", "-p", "no:cacheprovider", "--durations=5"]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **setting}, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=400)
    report = done.stdout[-4000:] + done.stderr[-2000:]
    assert done.returncode == 0, report
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed and int(passed.group(1)) >= 2000, report
