"""compress/prune: exactly as many go as asked for, the right ones, and what stays keeps its bits and its order."""
import numpy as np
import pytest

from tinyconv.compress import prune

small = pytest.mark.small


@small
def test_exact_count():
    """Half to even, monotone in the sparsity, all and nothing at the ends; |k - n s| <= 1/2."""
    assert [prune.exact_count(n, 0.5) for n in (1, 3, 5, 7)] == [0, 2, 2, 4]
    for n in (0, 1, 7, 64, 1000):
        counts = [prune.exact_count(n, s) for s in np.linspace(0, 1, 41)]
        assert counts == sorted(counts) and counts[0] == 0 and counts[-1] == n
        assert all(abs(k - n * s) <= 0.5 for k, s in zip(counts, np.linspace(0, 1, 41)))


@small
def test_choose_smallest_and_kept_after_are_complements():
    """Against a sort of (score, index) pairs, with many ties."""
    scores = np.random.default_rng(0).integers(0, 4, 50)
    for k in (0, 1, 17, 50):
        expected = sorted(i for _, i in sorted(zip(scores.tolist(), range(50)))[:k])
        assert prune.choose_smallest(scores, k).tolist() == expected
        assert prune.kept_after(scores, k).tolist() == [i for i in range(50) if i not in expected]


@small
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.5, 0.77, 1.0])
def test_magnitude(sparsity, dtype):
    """Exactly k go, none of them larger than one that stays; kept values bit-identical, dropped ones +0."""
    w = np.random.default_rng(0).standard_normal((6, 5, 3, 3)).astype(dtype)
    before = w.copy()
    mask = prune.magnitude(w, sparsity)
    pruned = prune.masked(w, mask)
    k = round(w.size * sparsity)
    assert mask.dtype == bool and mask.shape == w.shape and np.count_nonzero(~mask) == k == np.count_nonzero(pruned == 0)
    assert k in (0, w.size) or np.abs(w[~mask]).max() <= np.abs(w[mask]).min()
    assert pruned.dtype == dtype and pruned[mask].tobytes() == w[mask].tobytes() and not np.signbit(pruned[~mask]).any()
    assert w.tobytes() == before.tobytes()


@small
def test_zeros_go_first():
    """Weights that are zero already count among the k, and pruning a pruned weight again changes nothing."""
    w = np.array([0.0, 3.0, -1.0, 0.0, 2.0, -4.0])
    assert prune.magnitude(w, 0.5).tolist() == [False, True, False, False, True, True]
    once = prune.masked(w, prune.magnitude(w, 0.5))
    assert np.array_equal(prune.masked(once, prune.magnitude(once, 0.5)), once)


@small
def test_global_magnitude():
    """Equals `magnitude` of all weights in one row; the layer with small weights loses more, which local pruning forbids."""
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal((4, 3, 3, 3)), 0.1 * rng.standard_normal((8, 4, 1, 1)), rng.standard_normal((5, 8))]
    masks = prune.global_magnitude(weights, 0.4)
    row = prune.magnitude(np.concatenate([w.ravel() for w in weights]), 0.4)
    assert np.array_equal(np.concatenate([m.ravel() for m in masks]), row)
    assert [m.shape for m in masks] == [w.shape for w in weights]
    assert masks[1].mean() < 0.2 < prune.magnitude(weights[1], 0.4).mean()


@small
def test_scores():
    """One score a filter, for convolutions and linear layers, against loops; random is repeatable and ignores the weights."""
    rng = np.random.default_rng(0)
    for w in (rng.standard_normal((5, 4, 3, 2)).astype(np.float32), rng.standard_normal((5, 7))):
        rows = [[float(v) for v in f.ravel()] for f in w]
        assert prune.l1_scores(w) == pytest.approx([sum(abs(v) for v in row) for row in rows], rel=1e-14)
        assert prune.l2_scores(w) == pytest.approx([sum(v * v for v in row) ** 0.5 for row in rows], rel=1e-14)
        assert prune.random_scores(w, 3).tolist() == prune.random_scores(0 * w, 3).tolist() != prune.random_scores(w, 4).tolist()
    generator = np.random.default_rng(3)
    assert prune.random_scores(w, generator).tolist() != prune.random_scores(w, generator).tolist()


@small
def test_take_filters_and_channels():
    """Removal is slicing: right entries, old order, same bits, contiguous, own memory."""
    w = np.random.default_rng(0).standard_normal((6, 4, 3, 3)).astype(np.float32)
    kept = prune.kept_after(prune.l1_scores(w), 2)
    assert np.array_equal(prune.take_filters(w, kept), np.stack([w[i] for i in kept]))
    assert np.array_equal(prune.take_channels(w, [1, 3]), np.stack([w[:, 1], w[:, 3]], axis=1))
    assert np.array_equal(prune.take_channels(w[:, :, 0, 0], [0]), w[:, :1, 0, 0])
    for part in (prune.take_filters(w, kept), prune.take_channels(w, [1, 3])):
        assert part.flags.c_contiguous and not np.shares_memory(part, w) and part.dtype == w.dtype


def conv(x, w, groups):
    """Plain 'valid' convolution, x (C,H,W), w (F,C/G,KH,KW): small enough to read."""
    f, cg, kh, kw = w.shape
    windows = np.lib.stride_tricks.sliding_window_view(x, (kh, kw), axis=(1, 2))                     # (C,OH,OW,KH,KW)
    return np.stack([np.einsum("chwyx,cyx->hw", windows[i * groups // f * cg:][:cg], w[i]) for i in range(f)])


@small
@pytest.mark.parametrize("groups", [1, 2])
def test_removed_equals_masked(groups):
    """A layer without some input channels gives what the full layer gives when those channels are 0, group by group."""
    rng = np.random.default_rng(0)
    x, w, kept = rng.standard_normal((6, 5, 5)), rng.standard_normal((4, 6 // groups, 3, 3)), [0, 2, 3, 5]
    silent = np.zeros_like(x)
    silent[kept] = x[kept]
    shrunk = prune.take_channels(w, kept, groups)
    assert shrunk.shape == (4, 4 // groups, 3, 3)
    np.testing.assert_allclose(conv(x[kept], shrunk, groups), conv(silent, w, groups), rtol=0, atol=54 * 2 ** -52 * 30)
    filters = [0, 3]
    assert np.array_equal(conv(x, prune.take_filters(w, filters, groups), groups), conv(x, w, groups)[filters])


@small
def test_depthwise_removal():
    """A depthwise channel takes its m filters with it; the remaining outputs are untouched."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((4, 5, 5)), rng.standard_normal((8, 1, 3, 3))                         # m = 2
    kept = np.array([0, 3])
    filters = prune.depthwise_filters(kept, 2)
    assert filters.tolist() == [0, 1, 6, 7]
    assert np.array_equal(conv(x[kept], prune.take_filters(w, filters), 2), conv(x, w, 4)[filters])


# ---- slips that circulate --------------------------------------------------------------------------------------------

@small
def test_slip_argsort_from_the_wrong_end():
    """`argsort(score)[n·rate:]` zeroed: at rate 0.3 that removes 70 %, and the most important ones."""
    scores, rate = np.arange(10.0), 0.3
    slip = np.argsort(scores)[int(10 * rate):]
    right = prune.choose_smallest(scores, prune.exact_count(10, rate))
    assert right.tolist() == [0, 1, 2]
    assert len(slip) == 7 and scores.argmax() in slip and not set(slip) & set(right)


@small
def test_slip_table_instead_of_one_score_a_filter():
    """`abs(w).sum(axis=(2, 3))` is an (F,C) table: no score of filters, and `choose_smallest` refuses it."""
    w = np.random.default_rng(0).standard_normal((6, 4, 3, 3))
    table = np.abs(w).sum(axis=(2, 3))
    assert table.shape == (6, 4) and prune.l1_scores(w).shape == (6,)
    with pytest.raises(ValueError, match=r"scores must be one row \(n,\), not shape \(6, 4\)"):
        prune.choose_smallest(table, 2)


@small
def test_slip_threshold_takes_or_spares_all_ties():
    """score <= t on [1]·6 + [2, 3] asked for 4 removes 6, score < t removes 0; a fresh BatchNorm's γ is exactly this case."""
    scores = np.array([1.0] * 6 + [2.0, 3.0])
    threshold = np.sort(scores)[3]
    assert np.count_nonzero(scores <= threshold) == 6 and np.count_nonzero(scores < threshold) == 0
    assert prune.choose_smallest(scores, 4).tolist() == [0, 1, 2, 3]


@small
def test_slip_multiplying_by_the_mask():
    """w * mask keeps the sign of what it dropped, -0.0: other bytes than zero, and no run of equal bytes for a packer."""
    w, mask = np.array([-1.0, 2.0]), np.array([False, True])
    assert np.signbit((w * mask)[0]) and not np.signbit(prune.masked(w, mask)[0])


@small
def test_slip_zeroing_is_not_shrinking():
    """The masked array has as many bytes as before; the one without the filters has fewer."""
    w = np.random.default_rng(0).standard_normal((8, 4, 3, 3))
    kept = prune.kept_after(prune.l2_scores(w), 4)
    mask = np.zeros(w.shape, bool)
    mask[kept] = True
    assert prune.masked(w, mask).nbytes == w.nbytes == 2 * prune.take_filters(w, kept).nbytes


@small
@pytest.mark.parametrize("call, error, message", [
    (lambda: prune.exact_count(10, 50), ValueError, "sparsity must be a fraction from 0 to 1, not 50.0"),
    (lambda: prune.exact_count(10, float("nan")), ValueError, "sparsity must be a fraction"),
    (lambda: prune.exact_count(2.5, 0.5), ValueError, "n must be an integer of at least 0, not 2.5"),
    (lambda: prune.choose_smallest([1.0, np.nan], 1), ValueError, "scores must be finite: 1 of 2 values"),
    (lambda: prune.choose_smallest([1.0, 2.0], 3), ValueError, "k must be an integer from 0 to 2, not 3"),
    (lambda: prune.magnitude([1.0, np.inf], 0.5), ValueError, "must be finite"),
    (lambda: prune.magnitude(np.zeros((0, 3)), 0.5), ValueError, "must not be empty"),
    (lambda: prune.magnitude(np.array(["a"]), 0.5), TypeError, "must hold real numbers"),
    (lambda: prune.global_magnitude([], 0.5), ValueError, "at least one array"),
    (lambda: prune.masked(np.ones(3), np.ones(3)), TypeError, "mask must be bool"),
    (lambda: prune.masked(np.ones(3), np.ones((3, 1), bool)), ValueError, r"mask must have the shape of the weight \(3,\), not \(3, 1\)"),
    (lambda: prune.l1_scores(np.ones(3)), ValueError, r"w must be \(F,C/G,KH,KW\) or \(F,C\)"),
    (lambda: prune.random_scores(np.ones((3, 2)), None), ValueError, "seed must be"),
    (lambda: prune.take_filters(np.ones(4), [2, 1]), ValueError, r"ascending indices of the 4 filters, each once, not \[2, 1\]"),
    (lambda: prune.take_filters(np.ones(4), [1, 1]), ValueError, "each once"),
    (lambda: prune.take_filters(np.ones(4), [-1]), ValueError, "ascending indices"),
    (lambda: prune.take_filters(np.ones(4), [4]), ValueError, "ascending indices"),
    (lambda: prune.take_filters(np.ones(4), []), ValueError, "at least one integer index"),
    (lambda: prune.take_filters(np.ones(4), [True, False, True, True]), ValueError, "integer index"),
    (lambda: prune.take_filters(np.ones(4), [0, 1, 2], groups=2), ValueError, r"every group must keep the same number of filters, not \[2, 1\]"),
    (lambda: prune.take_channels(np.ones((4, 2, 1, 1)), [0, 1], groups=2), ValueError, r"same number of channels, not \[2, 0\]"),
    (lambda: prune.take_channels(np.ones((4, 2, 1, 1)), [0, 1], groups=3), ValueError, "groups must divide the 4 filters, not 3"),
    (lambda: prune.take_channels(np.ones(4), [0]), ValueError, "w must be"),
    (lambda: prune.depthwise_filters([0, 1], 0), ValueError, "multiplier must be an integer of at least 1"),
])
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()
