"""What every test shares: a generator with a fixed seed, and a guard that no test leaves a switch turned."""
import os

import ahead
import numpy as np
import pytest

from tinyconv import kernels, tensor

kernels.use(os.environ.get("TINYCONV_TEST_MODE", "fast"))          # test_without_jit runs the small tests once more in plain mode


def _second_runs(session):
    """The chosen tests of test_without_jit."""
    return [item for item in session.items if item.path.name == "test_without_jit.py"]


def pytest_collection_modifyitems(items):
    """The process that compiles ahead takes the tests the other way round."""
    if ahead.FOLDER:
        ahead.backwards(items, ahead.FOLDER)


def pytest_collection_finish(session):
    """The second runs begin at once, beside all other tests, and so does the process that compiles their kernels ahead."""
    if session.config.option.collectonly or not (runs := _second_runs(session)):
        return
    for item in runs:
        item.module.begin(item.callspec.params["setting"])
    if not runs[0].module.SECOND_RUN:
        ahead.begin([item.nodeid for item in session.items if item not in runs])


def pytest_runtest_teardown(item, nextitem):
    """Each process knows how far the other one is."""
    ahead.one_done()
    if ahead.FOLDER and nextitem and ahead.met(len(item.session.items) - item.session.items.index(nextitem), ahead.FOLDER):
        item.session.shouldstop = "the tests that are left have been run"


def pytest_sessionfinish(session):
    """They end with the session, also with one that was interrupted."""
    ahead.end()
    for item in _second_runs(session):
        item.module.end()


@pytest.fixture
def rng():
    """A generator with a fixed seed, new for each test: the order in which tests run cannot matter."""
    return np.random.default_rng(0)


def _switches():
    """Everything global that a test could leave changed for the tests after it."""
    legacy = np.random.get_state()
    return {"mode": kernels.mode(), "threads": kernels.get_num_threads(), "gradients": tensor.grad_enabled(),
            "floating-point errors": np.geterr(), "folder": os.getcwd(),
            "NumPy's global random state": (legacy[1].tobytes(), *legacy[2:])}


@pytest.fixture(autouse=True)
def no_switch_left_turned():
    """Fail a test after which the kernels' mode, the thread count, gradients, NumPy's error or random state or the folder differ.

    Why: such a test passes, and another one, somewhere else, fails or passes for the wrong reason.
    """
    before = _switches()
    yield
    after = _switches()
    kernels.use(before["mode"])
    kernels.set_num_threads(before["threads"])
    np.seterr(**before["floating-point errors"])
    os.chdir(before["folder"])
    changed = [name for name in before if before[name] != after[name]]
    assert not changed, f"the test left changed: {', '.join(changed)}"


@pytest.fixture
def always_shared(monkeypatch):
    """Small jobs go to the threads too, in as many pieces as long ones, so that small tests really run them."""
    from tinyconv.kernels import indirect, planes
    monkeypatch.setattr(kernels.threads, "SMALL", 0)
    monkeypatch.setattr(kernels.threads, "LONG", 0)
    for made in (indirect.schemes, planes.schemes):                    # how work is cut is remembered
        made.cache_clear()
    yield
    for made in (indirect.schemes, planes.schemes):
        made.cache_clear()
