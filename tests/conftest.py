"""What every test shares: a fixed seed, a guard that no test leaves a switch turned, and how two processes share the suite (`shared`)."""
import os

import numpy as np
import pytest
import shared

from tinyconv import kernels, tensor

kernels.use(os.environ.get("TINYCONV_TEST_MODE", "fast"))          # test_without_jit runs the small tests once more in plain mode


REPORTS, COUNT, BEGUN = (pytest.StashKey() for _ in range(3))      # in the second process: a test's reports, its tests; tests begun


def _second_runs(session):
    """The chosen tests of test_without_jit."""
    return [item for item in session.items if item.path.name == "test_without_jit.py"]


def pytest_collection_modifyitems(items):
    """The second process takes the tests the other way round."""
    if shared.FOLDER:
        shared.backwards(items, shared.FOLDER)


def pytest_collection_finish(session):
    """The second run without the compiler begins at once, beside all other tests, and so does the process that shares these with the session."""
    if session.config.option.collectonly or not (runs := _second_runs(session)):
        return
    runs[0].module.begin(runs[0].callspec.params["setting"])
    if not runs[0].module.SECOND_RUN:
        shared.begin([item.nodeid for item in session.items if item not in runs])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    """A test that the second process has run counts as it went there. Halfway the other second run begins, which finds its kernels in the cache."""
    session = item.session
    session.stash[BEGUN] = session.stash.get(BEGUN, 0) + 1
    if session.stash[BEGUN] == len(session.items) // 2:
        for run in _second_runs(session):
            run.module.begin(run.callspec.params["setting"])
    if (found := shared.reports_of(item.nodeid)) is None:
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for data in found:
        report = item.config.hook.pytest_report_from_serializable(config=item.config, data=data)
        if isinstance(report.longrepr, list):                                   # a skipped test's file, line and reason, a tuple before JSON
            report.longrepr = tuple(report.longrepr)
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    item.session._setupstate.teardown_exact(nextitem)                           # as after a test of the session's own: what is set up for a module
    return True


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """The second process writes down how each test went: before it, in it and after it."""
    outcome = yield
    if shared.FOLDER:
        kept = item.stash.setdefault(REPORTS, [])
        kept.append(item.config.hook.pytest_report_to_serializable(config=item.config, report=outcome.get_result()))
        if call.when == "teardown":
            shared.write(item.nodeid, kept, shared.FOLDER)


def pytest_runtest_logfinish():
    """Each process knows how far the other one is."""
    shared.one_done()


def pytest_runtest_teardown(item, nextitem):
    """Where the second process meets the session it ends."""
    item.session.stash[COUNT] = item.session.stash.get(COUNT, 0) + 1
    if shared.FOLDER and nextitem and shared.met(len(item.session.items) - item.session.stash[COUNT], shared.FOLDER):
        item.session.shouldstop = "the tests that are left have been run"


def pytest_sessionfinish(session):
    """They end with the session, also with one that was interrupted."""
    shared.end()
    for item in _second_runs(session):
        item.module.end()


@pytest.fixture
def rng():
    """A generator with a fixed seed, new for each test: the order in which tests run cannot matter."""
    return np.random.default_rng(0)


@pytest.fixture(autouse=True)
def same_numbers(request, _begun={}):
    """A module's own generator, RNG, begins each test where it stood before the module's first one, for the same reason."""
    if (own := getattr(request.module, "RNG", None)) is not None:
        own.bit_generator.state = _begun.setdefault(request.module.__name__, own.bit_generator.state)


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
    from tinyconv.kernels import cutting, indirect, planes
    monkeypatch.setattr(kernels.threads, "SMALL", 0)
    monkeypatch.setattr(kernels.threads, "PIECE", 1)
    monkeypatch.setattr(cutting, "COST", 0)
    for made in (indirect.schemes, planes.schemes):                    # how work is cut is remembered
        made.cache_clear()
    yield
    for made in (indirect.schemes, planes.schemes):
        made.cache_clear()
