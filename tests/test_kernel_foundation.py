"""What the kernels stand on: threads, layout, the compiler's flags and cache, the mode, the matrix product, lazy imports."""
import itertools
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from geometries import DIRECTIONS, allowed, arguments, data, expected, geometry
from tinyconv import kernels
from tinyconv.kernels import _cache, _jit, direct, gemm, layout, reference, select, threads

SHARED = ("3x3 16 to 16", "pointwise, 70 pixels", "depthwise 3x3, 49 channels", "7x7 stride 2", "three groups, stride 2")


@pytest.fixture(autouse=True)
def same_thread_count():
    """Whatever a test sets, the next one finds the thread count as it was."""
    before = kernels.get_num_threads()
    yield
    kernels.set_num_threads(before)


def all_results(name):
    """The three results of every algorithm that supports a row of the table."""
    x_shape, w_shape, rest = arguments(name)
    x, w, bias, dy = data(name)
    out = {}
    for algorithm, found in select.ALGORITHMS.items():
        if found.supports(geometry(name)):
            out[algorithm, "forward"] = kernels.conv2d(x, w, bias, algorithm=algorithm, **rest)
            if "grad_input" in found.directions:
                out[algorithm, "grad_input"] = kernels.conv2d_grad_input(dy, w, x_shape, algorithm=algorithm, **rest)
                out[algorithm, "grad_weight"] = kernels.conv2d_grad_weight(dy, x, w_shape, algorithm=algorithm, **rest)
    return out


# threads

@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("name", SHARED)
def test_any_number_of_threads(name, count, always_shared):
    """Every algorithm within its bound on 1, 2, 3 and 5 threads, and bit for bit the same when run again."""
    kernels.set_num_threads(count)
    first, second = all_results(name), all_results(name)
    for (algorithm, direction), got in first.items():
        assert (np.abs(got - expected(name)[direction]) <= allowed(algorithm, name, direction)).all(), (algorithm, direction)
        assert np.array_equal(got, second[algorithm, direction]), (algorithm, direction)


def test_several_callers_at_once(always_shared):
    """Four threads of a user's program computing at the same time get what one gets alone."""
    kernels.set_num_threads(2)
    alone = {name: all_results(name) for name in SHARED}
    with ThreadPoolExecutor(4) as callers:
        for name, got in zip(SHARED * 4, callers.map(all_results, SHARED * 4)):
            assert all(np.array_equal(got[key], alone[name][key]) for key in got), name


def test_matmul_of_numpy_in_between(always_shared):
    """NumPy's own threads between ours disturb neither result."""
    a = np.random.default_rng(0).standard_normal((200, 200)).astype(np.float32)
    product, alone = a @ a, all_results(SHARED[0])
    for _ in range(5):
        again = all_results(SHARED[0])
        assert np.array_equal(a @ a, product) and all(np.array_equal(again[key], alone[key]) for key in alone)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_computes(always_shared):
    """After a fork the child has a pool of its own: it ends within the time given, with the right numbers."""
    kernels.set_num_threads(2)
    alone = all_results(SHARED[0])
    child = os.fork()
    if child == 0:
        status = 1
        try:
            again = all_results(SHARED[0])
            status = 0 if all(np.array_equal(again[key], alone[key]) for key in alone) else 2
        finally:
            os._exit(status)
    deadline = time.monotonic() + 30
    done, status = os.waitpid(child, os.WNOHANG)
    while not done and time.monotonic() < deadline:
        time.sleep(0.01)
        done, status = os.waitpid(child, os.WNOHANG)
    if not done:
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert done and os.waitstatus_to_exitcode(status) == 0
    assert all(np.array_equal(got, alone[key]) for key, got in all_results(SHARED[0]).items())


compiled_only = pytest.mark.skipif(bool(_jit.config.DISABLE_JIT), reason="about compiled kernels")


@_jit.plain
def noted(lo, hi, begun, ended, bad):
    """Writes down which tasks its pieces had; fails at task `bad`."""
    if lo <= bad and bad < hi:
        raise ValueError
    for task in range(lo, hi):
        begun[task], ended[task] = lo, hi


@compiled_only
def test_a_failing_piece_is_reported():
    """A piece that fails reaches the caller as an error, after every other piece has ended; the pool goes on working."""
    kernels.set_num_threads(3)
    for bad in (0, 4, 8, -1):
        begun, ended = np.full(9, -1), np.full(9, -1)
        if bad >= 0:
            with pytest.raises(RuntimeError, match="kernel noted failed"):
                threads.run(noted, 9, begun, ended, bad)
        else:
            threads.run(noted, 9, begun, ended, bad)
        done = [piece for piece in ((0, 3), (3, 6), (6, 9)) if not piece[0] <= bad < piece[1]]
        assert sorted(set(zip(begun.tolist(), ended.tolist())) - {(-1, -1)}) == done


@pytest.mark.small
def test_small_jobs_stay_on_the_calling_thread():
    """A job of little work is one piece; a large one is shared."""
    kernels.set_num_threads(2)
    begun, ended = np.zeros(10, np.int64), np.zeros(10, np.int64)
    threads.run(noted, 10, begun, ended, -1, work=threads.SMALL - 1)
    assert set(ended) == {10}
    threads.run(noted, 10, begun, ended, -1, work=threads.SMALL)
    assert set(zip(begun.tolist(), ended.tolist())) == {(0, 5), (5, 10)}


@pytest.mark.small
def test_long_jobs_are_cut_finer():
    """A piece for every PIECE operations, from one to SHARES a thread; never more than there are tasks, or bits of a ticket; one thread has one."""
    kernels.set_num_threads(2)
    long, begun, ended = 2 * threads.SHARES * threads.PIECE, np.zeros(16, np.int64), np.zeros(16, np.int64)
    threads.run(noted, 16, begun, ended, -1, work=long)
    assert sorted(set(zip(begun.tolist(), ended.tolist()))) == threads.split(16, 2 * threads.SHARES)
    threads.run(noted, 3, begun, ended, -1, work=long)
    assert ended[:3].tolist() == [1, 2, 3]
    works = None, threads.SMALL, 3 * threads.PIECE, 4 * threads.PIECE - 1, long, 100 * long
    assert [threads.pieces(work, 2) for work in works] == [2, 2, 3, 3, 2 * threads.SHARES, 2 * threads.SHARES]
    assert threads.pieces(100 * long, 1) == 1 and threads.pieces(100 * long, 20) == threads.MOST


@pytest.mark.small
def test_python_kernels_raise_their_own_errors():
    """A kernel that is a Python function does its pieces in turn; its exception is the caller's."""
    kernels.set_num_threads(3)
    pieces = []
    threads.run(lambda lo, hi: pieces.append((lo, hi)), 9)
    assert pieces == [(0, 3), (3, 6), (6, 9)]
    with pytest.raises(ZeroDivisionError):
        threads.run(lambda lo, hi: 1 // (lo - 3), 9)


@compiled_only
def test_every_piece_is_done_once():
    """Hundreds of jobs in a row, some after a rest in which the workers fall asleep, with more workers than processors."""
    for count in (2, 3, 7):
        kernels.set_num_threads(count)
        sums = np.zeros(4 * count, np.int64)
        for job in range(300):
            threads.run(counted, sums.size, sums)
            if job % 100 == 0:
                time.sleep(0.01)
        assert (sums == 300).all()


@compiled_only
def test_who_finds_the_threads_at_work_waits():
    """A job, a plan, a product and several jobs in a row that come while another caller has the mailbox begin when it is free, and not before."""
    from tinyconv.kernels import _mailbox
    kernels.set_num_threads(2)
    sums, a = np.zeros(8, np.int64), np.ones((300, 300), np.float32)
    plan, x = kernels.plan_conv2d((1, 32, 40, 40), np.ones((32, 1, 3, 3), np.float32), None, 1, 1, 1, 32), np.ones((1, 32, 40, 40), np.float32)
    c = np.ones(32, np.float32)
    for job in (lambda: threads.run(counted, 8, sums), lambda: plan(x), lambda: kernels.matmul(a, a),
                lambda: kernels.batch_norm_train(x, c, c, c, c)):
        job()
        box = threads.pool().ready()
        box[_mailbox.CLAIMED] = 1
        with ThreadPoolExecutor(1) as caller:
            waiting = caller.submit(job)
            time.sleep(0.02)
            early = waiting.done()
            box[_mailbox.CLAIMED] = 0
            waiting.result(timeout=30)
        assert not early and box[_mailbox.CLAIMED] == 0
    assert (sums == 2).all()


@compiled_only
def test_thread_counts_change_under_way():
    """Jobs of one thread of a program are done right while another one changes the number of threads."""
    sums, seen = np.zeros(12, np.int64), set()
    threads.run(counted, 12, np.zeros(12, np.int64))

    def jobs():
        for _ in range(2000):
            seen.add(kernels.get_num_threads())
            threads.run(counted, 12, sums)
    with ThreadPoolExecutor(1) as caller:
        done = caller.submit(jobs)
        for count in itertools.cycle((2, 5, 1, 3, 4)):
            kernels.set_num_threads(count)
            time.sleep(1e-4)
            if done.done():
                break
        done.result()
    assert (sums == 2000).all() and len(seen) > 2


@pytest.mark.small
def test_pieces_are_dealt_out_as_tasks_are():
    """Thread i of so many begins where piece i of as many would: neighbours, the first threads one more."""
    from tinyconv.kernels._mailbox import begin
    begin = getattr(begin, "py_func", begin)
    for count in (1, 2, 7, 32):
        for parts in (1, 2, 3, 5):
            assert [(begin(count, parts, i), begin(count, parts, i + 1)) for i in range(parts)] == threads.split(count, parts)


@_jit.plain
def counted(lo, hi, sums):
    """sums[task] += 1."""
    for task in range(lo, hi):
        sums[task] += 1


@pytest.mark.small
def test_thread_counts():
    """The count is kept; counts that make no sense are refused."""
    kernels.set_num_threads(np.int64(3))
    assert kernels.get_num_threads() == 3
    for bad in (0, -1, 1.5, "2", None, True):
        with pytest.raises(ValueError, match="n must be an integer of at least 1"):
            kernels.set_num_threads(bad)
    assert [len(threads.split(7, parts)) for parts in (1, 3, 7)] == [1, 3, 7]
    assert all(a == b for (_, a), (b, _) in zip(threads.split(7, 3), threads.split(7, 3)[1:]))


# layout

@pytest.mark.small
def test_layout_of():
    """Channels-last, contiguous or neither; axes of length 1 have no order; channels-last wins where both hold."""
    x = np.zeros((2, 3, 4, 5), np.float32)
    assert layout.of(x) == "contiguous" and layout.of(layout.empty(x.shape)) == "channels_last"
    assert layout.of(x[:, :, :, ::2]) == layout.of(x[:, ::2]) == layout.of(x.transpose(0, 1, 3, 2)) == "strided"
    for shape in ((2, 1, 4, 5), (2, 3, 1, 1), (1, 1, 1, 1)):
        assert layout.of(np.zeros(shape)) == layout.of(layout.zeros(shape)) == "channels_last"
    assert layout.of(np.zeros((2, 3, 4, 1))) == "contiguous"
    assert layout.of(np.zeros((4, 3, 4, 5))[:1]) == "contiguous" and layout.of(layout.empty((4, 3, 4, 5))[1:2]) == "channels_last"


@pytest.mark.small
def test_layout_changes():
    """nhwc and nchw give the same numbers, C-contiguous and writable: views where they can be, copies where they must."""
    x = np.arange(120.0).reshape(2, 3, 4, 5)
    last = layout.empty(x.shape)
    last[:] = x
    for a in (x, last, x[:, :, ::2], np.broadcast_to(x[:1], x.shape)):
        for change, order in ((layout.nhwc, (0, 2, 3, 1)), (layout.nchw, (0, 1, 2, 3))):
            got = change(a)
            assert np.array_equal(got, a.transpose(order)) and got.flags.c_contiguous and got.flags.writeable
    assert np.shares_memory(layout.nhwc(last), last) and np.shares_memory(layout.nchw(x), x)
    assert not np.shares_memory(layout.nhwc(x), x) and not np.shares_memory(layout.nchw(last), last)
    one_channel = x[:, :1].copy()
    assert np.shares_memory(layout.nhwc(one_channel), one_channel)
    x.flags.writeable = False
    assert layout.nchw(x).flags.writeable and not np.shares_memory(layout.nchw(x), x)
    assert np.array_equal(layout.shaped(layout.nhwc(x)), x)
    assert layout.empty((2, 3, 4, 5), np.float32).dtype == np.float32 and not layout.zeros((2, 3, 4, 5)).any()


@pytest.mark.small
def test_scratch_is_aligned():
    """Scratch memory begins at a multiple of 64 bytes, is C-contiguous and of the kind that kernels are compiled for."""
    for shape in (1, 17, (3, 5), (2, 1)):
        for dtype in (np.float32, np.float64):
            a = select.scratch(shape, dtype)
            assert a.ctypes.data % 64 == 0 and a.dtype == dtype and a.flags.c_contiguous and a.flags.writeable and a.flags.aligned


# the compiler and its cache

def test_cache_key_follows_the_sources(tmp_path, monkeypatch):
    """An edit of any page of kernels/ gives another cache folder; the same sources the same one."""
    here = Path(_jit.__file__).parent
    copy = shutil.copytree(here, tmp_path / "kernels", ignore=shutil.ignore_patterns("__pycache__"))
    before = _cache.cache_key()
    monkeypatch.setattr(_cache, "__file__", str(copy / "_cache.py"))
    assert _cache.cache_key() == before
    with open(copy / "gemm.py", "a", encoding="utf-8") as page:
        page.write("# edited\n")
    edited = _cache.cache_key()
    assert edited != before
    (copy / "another.py").write_text("", encoding="utf-8")
    assert _cache.cache_key() not in (before, edited)


def test_cache_folder(tmp_path, monkeypatch):
    """The folder lies under NUMBA_CACHE_DIR where that is set; where nothing can be written, there is none."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert Path(_cache.cache_folder()) == tmp_path / "tinyconv" / _cache.cache_key()
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file"))
    assert _cache.cache_folder() is None


def test_numba_keeps_its_own_setting():
    """Decorating a kernel leaves numba's global cache folder as the user has it."""
    before = _jit.config.CACHE_DIR
    for decorate in (_jit.plain, _jit.fast, _jit.apart):
        decorate(lambda x: x)
        assert _jit.config.CACHE_DIR == before


@compiled_only
def test_kernels_of_one_function_are_kept_apart(tmp_path, monkeypatch):
    """Kernels built from one function, and their signatures, each have a file of their own, which depends on what they are alone: processes that
    write at the same time cannot give one another's name. What is kept is found again, and runs as what it was."""
    monkeypatch.setattr(_cache, "FOLDER", str(tmp_path))

    def build(K):
        @_jit.plain
        def times(x):
            return x * K
        return times

    first = [build(2), build(3)]
    assert [times(5) for times in first] == [10, 15] and first[1](0.5) == 1.5
    kept = sorted(tmp_path.rglob("*.nbc"))
    assert len(kept) == 3 and not list(tmp_path.rglob("*.nbi"))
    again = [build(3), build(2)]
    assert [times(5) for times in again] == [15, 10] and again[0](0.5) == 1.5
    assert [sum(times.stats.cache_hits.values()) for times in again] == [2, 1] and sorted(tmp_path.rglob("*.nbc")) == kept


def _doubled(lo, hi, x):
    for i in range(lo, hi):
        x[i] = x[i] + x[i]


@compiled_only
def test_one_function_compiled_in_several_ways(tmp_path, monkeypatch):
    """Strict, fast, and fast without a door for Python: each way has its own file and runs as what it is, also when found again. From Python a kernel
    without a door takes a range and arrays; nothing else of that kind may be called."""
    monkeypatch.setattr(_cache, "FOLDER", str(tmp_path))
    for _ in range(2):
        x, ways = np.ones(8, np.float32), [_jit.plain(_doubled), _jit.fast(_doubled), _jit.fast(_doubled, door=True)]
        for way in ways:
            way(1, 7, x)
        assert x.tolist() == [1] + [8] * 6 + [1] and len(list(tmp_path.rglob("*_doubled*.nbc"))) == 3
    assert [sum(way.stats.cache_hits.values()) for way in ways] == [1, 1, 1]
    with pytest.raises(TypeError, match="_doubled is called by compiled code alone"):
        ways[1](x)


class Counted:
    """A number that counts the multiplications and additions done with it and its like."""

    multiplies = additions = 0

    def __init__(self, value):
        self.value = value

    def __mul__(self, other):
        Counted.multiplies += 1
        return Counted(self.value * other.value)

    def __add__(self, other):
        Counted.additions += 1
        return Counted(self.value + other.value)


@pytest.mark.small
@pytest.mark.parametrize("name", ["3x3 odd plane, stride 2", "padding beyond the kernel", "groups of one filter each"])
def test_source_of_a_kernel(name):
    """source() is the kernel as Python: the same numbers, also on objects that count, as often as the formula multiplies.

    The count is that of the products whose pixel lies inside the image; the compiled kernel on ones gives the same sum.
    """
    g, (x, w, _, _) = geometry(name), data(name, integers=True)
    steps = (g.sh, g.sw, g.top, g.left, g.dh, g.dw, g.groups)
    plain, y, z = _jit.source(direct.conv), np.zeros(g.y_shape), np.zeros(g.y_shape)
    plain(x.astype(np.float64), w.astype(np.float64), y, *steps)
    direct.conv(x.astype(np.float64), w.astype(np.float64), z, *steps)
    assert np.array_equal(y, z) and np.array_equal(y, reference.forward(x, w, None, g))
    counted = np.frompyfunc(Counted, 1, 1)
    Counted.multiplies = Counted.additions = 0
    out = counted(np.zeros(g.y_shape))
    plain(counted(x), counted(w), out, *steps)
    products = sum(1 for _ in reference.terms(g))
    assert Counted.multiplies == Counted.additions == products
    assert np.array_equal(np.vectorize(lambda c: c.value, otypes=[float])(out), y)
    ones = np.zeros(g.y_shape)
    direct.conv(np.ones(g.x_shape), np.ones(g.w_shape), ones, *steps)
    assert ones.sum() == products


def _inner(x):
    return x + x


def _outer(x):
    return inner(x) + inner(x)


@pytest.mark.small
def test_source_reaches_kernels_within_kernels():
    """source() replaces the kernels that a kernel calls by their sources too."""
    globals()["inner"] = _jit.plain(_inner)
    try:
        outer = _jit.plain(_outer)
        assert outer(3.0) == 12.0 and _jit.source(outer)("ab") == "abababab"
    finally:
        del globals()["inner"]


# the mode

@pytest.mark.small
@pytest.mark.skipif(kernels.mode() == "plain", reason="this is the run in plain mode")
def test_use():
    """use() holds at once and for good; as a context manager it gives the mode back, after errors and nested too."""
    assert kernels.mode() == "fast"
    kernels.use("plain")
    assert kernels.mode() == "plain" and not select.is_fast(np.float32)
    with kernels.use("fast"):
        assert kernels.mode() == "fast" and select.is_fast(np.float32) and not select.is_fast(np.float64)
        with pytest.raises(KeyError), kernels.use("plain"):
            assert kernels.mode() == "plain"
            raise KeyError
        assert kernels.mode() == "fast"
    assert kernels.mode() == "plain"
    kernels.use("fast")
    for bad in ("quick", "", None):
        with pytest.raises(ValueError, match='mode must be "fast" or "plain"'):
            kernels.use(bad)
    assert kernels.mode() == "fast"


@pytest.mark.small
def test_table_of_algorithms():
    """Every entry has the functions that its users count on, under its own name."""
    assert set(select.ALGORITHMS) == {"direct", "depthwise", "pointwise", "im2col", "winograd2", "winograd4", "fft", "strassen", "strassen_winograd"}
    for name, algorithm in select.ALGORITHMS.items():
        assert algorithm.name == name and set(algorithm.directions) <= set(DIRECTIONS)
        assert all(callable(getattr(algorithm.page, f)) for f in (*algorithm.directions, "supports", "workspace_bytes"))
        assert callable(algorithm.page.error_bound) if algorithm.tolerance is None else algorithm.tolerance >= 1


# the matrix product

MATRICES = [(1, 1, 1), (1, 7, 5), (4, 32, 4), (5, 33, 3), (3, 16, 129), (70, 17, 9), (64, 10, 128), (2, 3, 700), (40, 8, 300),
            (8, 40, 300), (33, 49, 31), (130, 100, 65), (50, 140, 45), (30, 75, 20), (220, 450, 300), (1, 130, 127), (130, 1, 127), (1, 9, 2051), (9, 1, 2051)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("m, n, k", [pytest.param(*s, marks=pytest.mark.small) if np.prod(s) < 1000 else s for s in MATRICES])
def test_matmul(m, n, k, dtype, always_shared):
    """Every transposition, memory order and thread count against float64, within k u |a| |b|; integers exactly."""
    rng = np.random.default_rng(m * n * k)
    a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
    whole = (rng.integers(-9, 10, (m, k)).astype(dtype), rng.integers(-9, 10, (k, n)).astype(dtype))
    exact, bound = a.astype(np.longdouble) @ b, (k + 1) * np.finfo(dtype).eps / 2 * (np.abs(a) @ np.abs(b))
    for count in (1, 2):
        kernels.set_num_threads(count)
        for ta in (False, True):
            for tb in (False, True):
                for mode in select.MODES:
                    with kernels.use(mode):
                        got = kernels.matmul(a.T if ta else a, np.ascontiguousarray(b.T) if tb else b, ta, tb)
                        assert got.dtype == dtype and got.flags.c_contiguous and (np.abs(got - exact) <= bound).all()
                        got = kernels.matmul(whole[0].T if ta else whole[0], whole[1].T if tb else whole[1], ta, tb)
                        assert np.array_equal(got, whole[0] @ whole[1])


@pytest.mark.small
@pytest.mark.parametrize("m, n", [(1, 21), (21, 1), (1, 1), (1, 16), (33, 1)])
def test_a_row_times_a_matrix(m, n, always_shared, monkeypatch):
    """Where one factor is a row or column, it has kernels of its own, for every length of the sum; what is not finite spreads as in the formula."""
    monkeypatch.setattr(gemm, "ALONE", 0)
    kernels.set_num_threads(2)
    gemm.ready.cache_clear()                                # which kernels is decided once a shape
    kernels._product.cache_clear()
    for k in (1, 3, 4, 6, 17):
        rng = np.random.default_rng(k)
        a, b = rng.integers(-9, 10, (m, k)).astype(np.float32), rng.integers(-9, 10, (k, n)).astype(np.float32)
        odd = b.copy()
        odd[k // 2, -1], odd[0, 0] = np.nan, np.inf
        for ta in (False, True):
            for tb in (False, True):
                for right in (b, odd):
                    with np.errstate(invalid="ignore"):
                        got = kernels.matmul(a.T if ta else a, right.T if tb else right, ta, tb)
                        assert got.shape == (m, n) and np.array_equal(got, (a[:, :, None] * right).sum(1), equal_nan=True)


@pytest.mark.parametrize("m, k, n", [(12, 5, 3), (49, 96, 40), (220, 300, 450), (1, 140, 130), (130, 140, 1)])
def test_matmul_takes_what_it_says(m, k, n, monkeypatch):
    """Scratch taken == workspace_bytes, exactly, for every transposition: pieces of B, and B packed as a whole."""
    taken, scratch, loose = [], select.scratch, select.loose
    monkeypatch.setattr(select, "scratch", lambda *a, **k: taken.append(scratch(*a, **k)) or taken[-1])
    monkeypatch.setattr(select, "loose", lambda count: taken.append(np.empty(count)) or loose(count))
    for ta in (False, True):
        for tb in (False, True):
            taken.clear()
            kernels.matmul(np.ones((k, m) if ta else (m, k), np.float32), np.ones((n, k) if tb else (k, n), np.float32), ta, tb)
            assert sum(a.nbytes for a in taken) == gemm.workspace_bytes(m, k, n, ta, tb)


@pytest.mark.small
def test_matmul_refuses():
    """Anything but two matrices of one floating dtype and fitting lengths."""
    a = np.ones((2, 3), np.float32)
    with pytest.raises(ValueError, match="inner lengths differ"):
        kernels.matmul(a, a)
    with pytest.raises(ValueError, match="a must be a matrix"):
        kernels.matmul(a[0], a)
    with pytest.raises(ValueError, match="b must be a matrix that is not empty"):
        kernels.matmul(a, a[:, :0].T)
    with pytest.raises(TypeError, match="a is float32 but b is float64"):
        kernels.matmul(a, a.T.astype(np.float64))
    with pytest.raises(TypeError, match="a must be float32 or float64, not int32"):
        kernels.matmul(a.astype(np.int32), a)


@pytest.mark.small
def test_matmul_keeps_nan_and_infinity():
    """A NaN spoils its row of the result and no other; an infinity stays one."""
    a, b = np.ones((5, 6), np.float32), np.ones((6, 4), np.float32)
    a[1, 2], a[3, 0] = np.nan, np.inf
    with np.errstate(invalid="ignore"):
        got = kernels.matmul(a, b)
    assert np.isnan(got[1]).all() and np.isposinf(got[3]).all() and (got[[0, 2, 4]] == 6).all()


# what an import brings with it

def run_python(code, **environment):
    """Standard output of a fresh process; its errors fail the test."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120,
                          cwd=Path(__file__).resolve().parents[1], env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_import_brings_no_numba():
    """`import tinyconv.kernels` imports no numba, nor do the mode, the table, and what is refused before a kernel runs."""
    code = """
import sys, numpy as np
import tinyconv.kernels as kernels
kernels.use("plain"); kernels.set_num_threads(1); list(kernels.ALGORITHMS)
try:
    kernels.conv2d(np.ones((1, 1, 2, 2)), np.ones((1, 1, 3, 3)))
except ValueError:
    print("refused")
print("numba" in sys.modules)
kernels.conv2d(np.ones((1, 1, 3, 3)), np.ones((1, 1, 3, 3)))
print("numba" in sys.modules)
"""
    assert run_python(code) == ["refused", "False", "True"]


def test_kernels_without_a_cache_and_without_the_compiler(tmp_path):
    """Where nothing can be written, and with the compiler off, a convolution still gives its numbers."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    code = """
import numpy as np
from tinyconv import kernels
x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
print(*kernels.conv2d(x, np.ones((1, 1, 3, 3), np.float32)).reshape(-1).astype(int))
"""
    assert run_python(code, NUMBA_CACHE_DIR=str(tmp_path / "file")) == ["45", "54", "81", "90"]
    assert run_python(code, NUMBA_DISABLE_JIT="1") == ["45", "54", "81", "90"]
