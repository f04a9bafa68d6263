"""`import tinyconv` is light: under half a second, and neither numba nor matplotlib comes with it."""
import json
import os
import pathlib
import subprocess
import sys

import tinyconv as tc

ROOT = pathlib.Path(__file__).resolve().parent.parent


def _fresh(code):
    """What the code prints as JSON in a fresh process that knows nothing of this one."""
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_import_is_quick_and_light():
    """Best of several fresh processes: processor time of the import alone (others may hold the machine), NumPy's included."""
    code = ("import time; begun = time.process_time(); import tinyconv; seconds = time.process_time() - begun; import json, sys\n"
            "print(json.dumps([seconds, [name for name in ('numba', 'llvmlite', 'matplotlib') if name in sys.modules]]))")
    results = []
    while len(results) < 8 and (not results or min(seconds for seconds, _ in results) >= 0.5):
        results.append(_fresh(code))
    assert all(loaded == [] for _, loaded in results)
    assert min(seconds for seconds, _ in results) < 0.5


def test_every_room_opens_without_numba_and_matplotlib():
    """Every room and public name, asked for one after the other: the compiler comes with the first kernel that runs,
    matplotlib with the first picture."""
    code = ("import json, sys, tinyconv as tc\n"
            "names = [name for name in tc.__all__ if hasattr(tc, name)]\n"
            "print(json.dumps([names, [name for name in ('numba', 'llvmlite', 'matplotlib') if name in sys.modules]]))")
    names, loaded = _fresh(code)
    assert names == tc.__all__ and loaded == []
