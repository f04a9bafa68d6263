"""The suite shared by two processes: the session takes its tests from the first one on, a second process from the last one on, until they meet.

Most of the time goes into compiling kernels, and a process compiles on one processor; what one has compiled the other loads from the cache.
The second process writes down how each of its tests went, as pytest's own reports. Where the session comes to a test that is done, it takes
these in its place: passed, failed or skipped, with all that was said. Without a second processor, or if that process breaks down, the session runs
what is left itself. The files, in a folder of the session's: `tests`, a line each; `done`, a byte for each that the session has behind it; `reports`,
a line of JSON for each that the second process has.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDER = os.environ.pop("TINYCONV_TEST_SHARED", None)    # in the second process: where these files are; a pytest that a test begins is none
RUN = {}                                                 # in the session: the process, the open files, and "found", the reports by test


def begin(tests):
    """Begin the second process for these tests (their node ids, in the session's order)."""
    if RUN or FOLDER or (os.cpu_count() or 1) < 2:
        return
    folder = RUN["folder"] = tempfile.TemporaryDirectory()
    pathlib.Path(folder.name, "tests").write_text("\n".join(tests), encoding="utf-8")
    pathlib.Path(folder.name, "reports").touch()
    RUN["done"] = open(pathlib.Path(folder.name, "done"), "wb", buffering=0)
    RUN["reports"] = open(pathlib.Path(folder.name, "reports"), "rb")
    RUN["found"], RUN["rest"] = {}, b""
    RUN["process"] = subprocess.Popen([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"], cwd=ROOT, stdin=subprocess.DEVNULL,
                                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "TINYCONV_TEST_SHARED": folder.name})


def one_done():
    """The session has one test more behind it."""
    if RUN:
        RUN["done"].write(b".")


def reports_of(test):
    """In the session: what the second process wrote of this test, a list of reports as dictionaries; None if it has not run it."""
    if not RUN:
        return None
    *lines, RUN["rest"] = (RUN["rest"] + RUN["reports"].read()).split(b"\n")                    # the last one may be half written
    RUN["found"].update(json.loads(line) for line in lines)
    return RUN["found"].pop(test, None)


def end():
    """Nothing outlives the session, however it ends."""
    if RUN:
        RUN["process"].kill()                                                                   # nothing, if it has ended
        RUN["process"].wait()
        RUN["done"].close()
        RUN["reports"].close()
        RUN["folder"].cleanup()
        RUN.clear()


def backwards(items, folder):
    """In the second process: the session's tests, the last one first."""
    wanted = {test: i for i, test in enumerate(pathlib.Path(folder, "tests").read_text(encoding="utf-8").split("\n"))}
    items[:] = sorted((item for item in items if item.nodeid in wanted), key=lambda item: -wanted[item.nodeid])


def write(test, reports, folder):
    """In the second process: what became of a test, in one piece."""
    with open(pathlib.Path(folder, "reports"), "ab", buffering=0) as file:
        file.write(json.dumps([test, reports]).encode() + b"\n")


def met(left, folder):
    """In the second process, with so many tests left: has the session come as far, or ended?"""
    try:
        return os.path.getsize(pathlib.Path(folder, "done")) >= left
    except OSError:
        return True
