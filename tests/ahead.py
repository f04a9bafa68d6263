"""Kernels compiled ahead: the chosen tests in a second process as well, the last one first, so that two processors compile and not one.

Most of the suite's time goes into compiling kernels, and a process compiles on one processor. What this process has compiled lies in the
cache of kernels, and the tests proper load it from there. What becomes of its tests nobody asks: all of them run in the session itself.
It ends where it meets the session, which writes a byte for each test that is done.
"""
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDER = os.environ.get("TINYCONV_TEST_AHEAD")           # in the second process: where to read which tests there are, and how many are done
RUN = {}


def begin(tests):
    """Begin the second process for these tests (their node ids, in the session's order)."""
    if RUN or FOLDER or (os.cpu_count() or 1) < 2:
        return
    folder = RUN["folder"] = tempfile.TemporaryDirectory()
    pathlib.Path(folder.name, "tests").write_text("\n".join(tests), encoding="utf-8")
    RUN["done"] = open(pathlib.Path(folder.name, "done"), "wb", buffering=0)
    RUN["process"] = subprocess.Popen([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"], cwd=ROOT, stdin=subprocess.DEVNULL,
                                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "TINYCONV_TEST_AHEAD": folder.name})
    if hasattr(os, "setpriority"):
        os.setpriority(os.PRIO_PROCESS, RUN["process"].pid, os.getpriority(os.PRIO_PROCESS, 0) + 5)


def one_done():
    """The session has finished one test."""
    if RUN:
        RUN["done"].write(b".")


def end():
    """Nothing outlives the session, however it ends."""
    if RUN:
        RUN["process"].kill()                                                                   # nothing, if it has ended
        RUN["process"].wait()
        RUN["done"].close()
        RUN["folder"].cleanup()
        RUN.clear()


def backwards(items, folder):
    """In the second process: the session's tests, the last one first."""
    wanted = {test: i for i, test in enumerate(pathlib.Path(folder, "tests").read_text(encoding="utf-8").split("\n"))}
    items[:] = sorted((item for item in items if item.nodeid in wanted), key=lambda item: -wanted[item.nodeid])


def met(left, folder):
    """In the second process, with so many tests left: has the session come as far, or ended?"""
    try:
        return os.path.getsize(pathlib.Path(folder, "done")) >= left
    except OSError:
        return True
