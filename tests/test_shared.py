"""The suite shared by two processes (`shared`): which tests the second one runs, what it says of them, and when it ends."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
import shared

TESTS = """
import os
import pytest
import shared

def beside():
    assert "TINYCONV_TEST_SHARED" not in os.environ
    return shared.FOLDER is not None

@pytest.fixture
def broken_afterwards():
    yield
    assert not beside(), "broken afterwards"

def test_first(): pass
def test_fails(): assert not beside(), "failed beside"
def test_skips(): pytest.skip("no reason")
@pytest.mark.xfail(reason="known")
def test_known(): assert False
def test_breaks(broken_afterwards): print("said in the test")
def test_last(): pass
"""


@pytest.fixture
def session(tmp_path):
    """A session of four chosen tests, none done, as the second process sees it."""
    (tmp_path / "tests").write_text("a\nb\nc[x y]\nd", encoding="utf-8")
    (tmp_path / "done").write_bytes(b"")
    return tmp_path


def test_the_chosen_tests_backwards(session):
    """In the second process the session's tests are run the last one first, and no others."""
    items = [SimpleNamespace(nodeid=name) for name in ("other", "a", "b", "c[x y]", "d", "last")]
    shared.backwards(items, session)
    assert [item.nodeid for item in items] == ["d", "c[x y]", "b", "a"]


def test_it_ends_where_it_meets_the_session(session):
    """With one test done, a is left out; and there is nothing to do for a session that has ended and taken its folder away."""
    assert not any(shared.met(left, session) for left in (1, 2, 3, 4))
    (session / "done").write_bytes(b".")
    assert [shared.met(left, session) for left in (3, 2, 1)] == [False, False, True]
    (session / "done").unlink()
    assert shared.met(3, session)


def test_reports_are_read_as_they_come(session, monkeypatch):
    """A test's reports once they are there as a whole line; None before, and once they have been taken."""
    (session / "reports").touch()
    with open(session / "reports", "rb") as file:
        monkeypatch.setattr(shared, "RUN", {"reports": file, "found": {}, "rest": b""})
        assert shared.reports_of("d") is None
        shared.write("d", [{"outcome": "passed"}], session)
        line = json.dumps(["c[x y]", [{"outcome": "failed"}]]).encode() + b"\n"
        with open(session / "reports", "ab") as half:
            half.write(line[:9])
        assert (shared.reports_of("c[x y]"), shared.reports_of("d"), shared.reports_of("d")) == (None, [{"outcome": "passed"}], None)
        with open(session / "reports", "ab") as half:
            half.write(line[9:])
        assert shared.reports_of("c[x y]") == [{"outcome": "failed"}]


def test_no_third_process(session, monkeypatch):
    """The second process begins none of its own."""
    with monkeypatch.context() as changed:
        changed.setattr(shared, "RUN", {})
        changed.setattr(shared, "FOLDER", str(session))
        shared.begin(["a"])
        assert shared.RUN == {} and shared.reports_of("a") is None


def test_what_the_second_process_finds_counts(tmp_path):
    """A session that takes all tests from the second process: passed, failed, skipped, expected to fail, broken afterwards, as it went there, with
    what was said."""
    (tmp_path / "test_some.py").write_text(TESTS, encoding="utf-8")
    (tmp_path / "conftest.py").write_text("""
import sys
sys.path.insert(0, %r)
import shared
from conftest_of_the_suite import *

def pytest_collection_finish(session):
    if not shared.FOLDER:
        shared.ROOT = shared.pathlib.Path(__file__).parent
        shared.begin([item.nodeid for item in session.items])
        shared.RUN["process"].wait()
""" % os.path.dirname(shared.__file__), encoding="utf-8")
    shutil.copy(pathlib.Path(shared.__file__).with_name("conftest.py"), tmp_path / "conftest_of_the_suite.py")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = small: x\n", encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(shared.ROOT), os.environ.get("PYTHONPATH", "")])}
    run = subprocess.run([sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", str(tmp_path)], cwd=tmp_path, env=environment,
                         capture_output=True, text=True, timeout=120)
    assert run.returncode == 1, run.stdout + run.stderr
    assert "failed beside" in run.stdout and "broken afterwards" in run.stdout and "said in the test" in run.stdout
    assert re.search(r"1 failed, 3 passed, 1 skipped, 1 xfailed, 1 error", run.stdout), run.stdout
