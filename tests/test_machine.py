"""The machine's limits: the kernels that measure them do what they say, and nothing that is timed was optimised away."""
import time

import numpy as np
import pytest

from tinyconv import kernels
from tinyconv.kernels import machine, threads
from tinyconv.kernels.simd import LANES

COMPILED = hasattr(machine.copies, "py_func")


@pytest.fixture
def one_thread():
    """Figures of one thread: other tests may be running beside this one."""
    before = kernels.get_num_threads()
    kernels.set_num_threads(1)
    yield
    kernels.set_num_threads(before)


@pytest.mark.small
@pytest.mark.parametrize("form", ["as called", "the source"])
def test_what_the_kernels_compute(form):
    """x + steps / 2 in every task's row, exactly (halves of small integers); a copy of the vectors asked for and of no other."""
    kernels_of = (machine.multiply_adds, machine.copies)
    multiply_adds, copies = (getattr(k, "py_func", k) if form == "the source" else k for k in kernels_of)
    x = np.arange(machine.SUMS * LANES, dtype=np.float32)
    y = np.zeros((3, x.size), np.float32)
    multiply_adds(1, 3, x, y.reshape(-1), 5)
    assert np.array_equal(y, [0 * x, x + 2.5, x + 2.5])
    z = np.zeros_like(x)
    copies(1, 4, x, z, 2)
    assert np.array_equal(z, np.where((x >= LANES) & (x < 4 * LANES), x, 0))


def seconds_of(kernel, *arguments):
    return machine.least(kernel, 1, *arguments, seconds=0.05)


@pytest.mark.skipif(not COMPILED, reason="times of compiled code")
def test_nothing_is_optimised_away(one_thread):
    """Eight times the steps, or the copies, take at least four times as long: the work is really done."""
    x, y = np.ones(machine.SUMS * LANES, np.float32), np.zeros(machine.SUMS * LANES, np.float32)
    assert seconds_of(machine.multiply_adds, x, y, 8 * machine.STEPS) > 4 * seconds_of(machine.multiply_adds, x, y, machine.STEPS)
    a, b = np.ones(2**14, np.float32), np.zeros(2**14, np.float32)
    few, many = (machine.least(machine.copies, a.size // LANES, a, b, times, seconds=0.05) for times in (50, 400))
    assert many > 4 * few


@pytest.mark.skipif(not COMPILED, reason="rates of compiled code")
def test_limits_hold_and_are_measured_once(one_thread):
    """A matrix product does not come to twice the peak (a processor's speed changes from moment to moment by as much); asked again, the same figures."""
    m = machine.measure()
    a = np.ones((256, 256), np.float32)
    kernels.matmul(a, a)
    begin = time.perf_counter()
    for _ in range(10):
        kernels.matmul(a, a)
    assert 10 * 2 * 256**3 / (time.perf_counter() - begin) < 2 * m.peak_flops_per_second
    assert 0 < m.memory_bytes_per_second < m.cache_bytes_per_second and 0 < m.launch_seconds < 1e-2
    assert machine.measure() == m and m.threads == 1
    assert machine.bandwidth(machine.CACHED - 5) == machine.bandwidth(machine.CACHED) == m.cache_bytes_per_second
    assert machine.bandwidth(10 * machine.LARGE) == m.memory_bytes_per_second
    text = str(m)
    assert text.startswith("1 thread: ") and f"{m.peak_flops_per_second / 1e9:.0f} GFLOP/s" in text
    assert f"launch {m.launch_seconds * 1e6:.1f} us" in text


def test_least_seconds_names_the_limit(monkeypatch):
    """max(FLOP / peak, bytes / bandwidth, launch), and which of the three it was."""
    monkeypatch.setattr(machine, "peak", lambda: 100.0)
    monkeypatch.setattr(machine, "bandwidth", lambda nbytes: 10.0)
    monkeypatch.setattr(machine, "launch_seconds", lambda: 3.0)
    assert machine.least_seconds(1000, 99) == (10.0, "arithmetic")
    assert machine.least_seconds(1000, 101) == (10.1, "memory")
    assert machine.least_seconds(200, 20) == (3.0, "launch")


@pytest.mark.small
def test_the_tile_alone(one_thread):
    """Every task's sums are `times` products of a and b, exactly; the share is measured and lies below what no tile exceeds."""
    from tinyconv.kernels.machine_kernels import PANELS, ROWS, TERMS, WIDE, tiles
    from tinyconv.kernels.tile import NR
    rng = np.random.default_rng(0)
    a, b = rng.integers(-3, 4, (ROWS, TERMS)).astype(np.float32), rng.integers(-3, 4, (PANELS, TERMS, NR)).astype(np.float32)
    sums = np.full(3 * ROWS * WIDE * LANES, np.nan, np.float32)
    tiles(0, 2, a.reshape(-1), b.reshape(-1), sums, np.arange(ROWS) * TERMS, np.zeros(TERMS, np.float32), 3)
    product = 3 * np.einsum("rk,pkj->rpj", a, b).reshape(ROWS, -1)
    assert np.array_equal(sums.reshape(3, ROWS, -1)[:2], [product, product]) and np.isnan(sums[2 * product.size:]).all()
    if COMPILED:
        assert 0.1 < machine.tile_share(0.05) < 1.3


@pytest.mark.small
def test_bad_sizes_are_refused():
    """A negative number of bytes is named."""
    with pytest.raises(ValueError, match="nbytes must be at least 0, not -1"):
        machine.bandwidth(-1)


def test_least_counts_every_thread_of_a_job():
    """`least` runs the whole range: what it times really is the job of all tasks."""
    before = kernels.get_num_threads()
    kernels.set_num_threads(2)
    try:
        x, y = np.ones(machine.SUMS * LANES, np.float32), np.zeros(2 * machine.SUMS * LANES, np.float32)
        assert machine.least(machine.multiply_adds, 2, x, y, 4, seconds=0) > 0
    finally:
        kernels.set_num_threads(before)
    assert np.array_equal(y, np.full(y.size, 3, np.float32)) and threads.get_num_threads() == before
