"""The small tests once more with the compiler switched off: every kernel is also plain Python, for a debugger to step through."""
import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"), reason="this is the run without the compiler")
def test_small_tests_pass_without_the_compiler():
    """`NUMBA_DISABLE_JIT=1 python -m pytest -m small` in a process of its own: all pass, and there were some to pass."""
    command = [sys.executable, "-m", "pytest", "-m", "small", "-q", "-p", "no:cacheprovider", "--durations=5"]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "NUMBA_DISABLE_JIT": "1"}, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=400)
    report = done.stdout[-4000:] + done.stderr[-2000:]
    assert done.returncode == 0, report
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed and int(passed.group(1)) >= 100, report
