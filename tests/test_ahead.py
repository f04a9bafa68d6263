"""The process that compiles ahead of the session (`ahead`): which tests it runs, in which order, and when it ends."""
from types import SimpleNamespace

import ahead
import pytest


@pytest.fixture
def session(tmp_path):
    """A session of four chosen tests, none done, as the second process sees it."""
    (tmp_path / "tests").write_text("a\nb\nc[x y]\nd", encoding="utf-8")
    (tmp_path / "done").write_bytes(b"")
    return tmp_path


def test_the_chosen_tests_backwards(session):
    """In the second process the session's tests are run the last one first, and no others."""
    items = [SimpleNamespace(nodeid=name) for name in ("other", "a", "b", "c[x y]", "d", "last")]
    ahead.backwards(items, session)
    assert [item.nodeid for item in items] == ["d", "c[x y]", "b", "a"]


def test_it_ends_where_it_meets_the_session(session):
    """With one test done, a is left out; and there is nothing to do for a session that has ended and taken its folder away."""
    assert not any(ahead.met(left, session) for left in (1, 2, 3, 4))
    (session / "done").write_bytes(b".")
    assert [ahead.met(left, session) for left in (3, 2, 1)] == [False, False, True]
    (session / "done").unlink()
    assert ahead.met(3, session)


def test_no_third_process(session, monkeypatch):
    """The second process begins none of its own."""
    with monkeypatch.context() as changed:
        changed.setattr(ahead, "RUN", {})
        changed.setattr(ahead, "FOLDER", str(session))
        ahead.begin(["a"])
        assert ahead.RUN == {}
