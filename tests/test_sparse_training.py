"""Sparse while training: exact zeros, filters that come back, tickets that are rewound, counts that are those of the start."""
import numpy as np
import pytest

import tinyconv as tc
from tinyconv import apply, cost, graph, nn
from tinyconv.compress import prune as pure


def toy(n=128, seed=0):
    """Pictures of two channels whose class is the quadrant that is bright."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, n)
    images = rng.standard_normal((n, 2, 6, 6)).astype(np.float32) * 0.5
    for image, label in zip(images, labels):
        image[:, 3 * (label // 2):3 * (label // 2) + 3, 3 * (label % 2):3 * (label % 2) + 3] += 1.5
    return images, labels


def network(seed=0):
    """Two convolutions with BatchNorm, a linear head."""
    return tc.trace(nn.Sequential(nn.conv_bn_act(2, 8, rng=seed), nn.conv_bn_act(8, 8, rng=seed + 1), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
                                  nn.Linear(32, 4, rng=seed + 2)), (1, 2, 6, 6), check=False)


DATA, QUIET = toy(), dict(progress=False)
WEIGHTS = ("0.0.weight", "1.0.weight", "4.weight")


@pytest.fixture(scope="module")
def g():
    return network()


@pytest.fixture(autouse=True)
def untouched(g):
    """The graph that goes in is the graph that was there before, bit for bit."""
    before = {name: a.tobytes() for name, a in g.arrays().items()}
    yield
    assert {name: a.tobytes() for name, a in g.arrays().items()} == before


def zeros(g):
    return sum(int((g.array(name) == 0).sum()) for name in WEIGHTS)


def numbers(g):
    return sum(g.array(name).size for name in WEIGHTS)


def test_l1_gives_exact_zeros_and_weight_decay_none(g):
    """More with more strength, all +0.0; and pictures are still told apart. Strength 0 is plain training, bit for bit."""
    counts = []
    for strength in (0.0, 0.005, 0.02):
        trained = apply.sparse_train(g, *DATA, strength, epochs=12, seed=1, **QUIET)
        counts.append(zeros(trained))
        assert not any(np.signbit(trained.array(name)[trained.array(name) == 0]).any() for name in WEIGHTS)
        assert tc.train.accuracy(trained, *DATA) > 0.9
        if not strength:
            plain = apply.finetune(g, *DATA, epochs=12, lr=0.05, weight_decay=0.0, seed=1, **QUIET)
            assert all(np.array_equal(a, plain.array(name)) for name, a in trained.arrays().items())
    assert counts[0] == 0 < counts[1] < counts[2]
    assert zeros(apply.finetune(g, *DATA, epochs=12, weight_decay=0.02, seed=1, **QUIET)) == 0


def test_group_lasso_zeroes_whole_filters(g):
    """Filters are 0 as a whole or not at all; the head, whose rows are classes, is not touched by the penalty."""
    history = []
    trained = apply.sparse_train(g, *DATA, 0.2, "group_lasso", epochs=10, batch_size=32, history=history, **QUIET)
    gone = {name: (trained.array(name).reshape(len(trained.array(name)), -1) == 0) for name in WEIGHTS}
    assert all((rows.all(axis=1) == rows.any(axis=1)).all() for rows in gone.values()) and len(history) == 10
    assert sum(rows.all(axis=1).sum() for rows in gone.values()) >= 3 and not gone["4.weight"].any()
    assert (apply.group_scores(trained, "l2")[1] == 0).sum() == sum(rows.all(axis=1).sum() for rows in gone.values())


def test_slimming(g):
    """L1 on γ drives some to exact 0, in this network and not in plain training; those are the channels that go."""
    trained = apply.sparse_train(g, *DATA, 0.15, "gamma", epochs=10, batch_size=32, seed=2, **QUIET)
    gammas = np.concatenate([trained.array(name) for name in ("0.1.weight", "1.1.weight")])
    share = np.count_nonzero(gammas == 0) / len(gammas)
    assert 0.2 < share < 1 and all((trained.array(name) != 0).any() for name in ("0.1.weight", "1.1.weight"))
    small = apply.slim(g, *DATA, share, 0.15, epochs=10, batch_size=32, seed=2, **QUIET)
    left = np.concatenate([small.array(name) for name in ("0.1.weight", "1.1.weight")])
    assert np.array_equal(left, gammas[gammas != 0]) and cost.macs(small) < cost.macs(g)


def test_soft_pruning(g, monkeypatch):
    """After each epoch exactly half of each layer's filters are 0; a step later none is: they come back; at the end the zeros go."""
    seen, fit = [], tc.train.fit

    def watched(net, *arguments, after_step, **options):
        def both(model):
            after_step(model)
            seen.append([int((model._parameters[name].data.reshape(8, -1) == 0).all(axis=1).sum()) for name in WEIGHTS[:2]])
        return fit(net, *arguments, after_step=both, **options)
    monkeypatch.setattr(tc.train, "fit", watched)
    small = apply.soft_prune(g, *DATA, 0.5, epochs=3, batch_size=32, seed=3, **QUIET)
    assert seen == [[0, 0], [0, 0], [0, 0], [4, 4]] * 3
    assert small.array("0.0.weight").shape == (4, 2, 3, 3) and small.array("1.0.weight").shape == (4, 4, 3, 3)
    assert not any((f == 0).all() for name in WEIGHTS[:2] for f in small.array(name))


def test_iterative_pruning_of_weights(g):
    """After each step the schedule's share of all weights there were, not of what is left; zeros stay; both schedules."""
    for schedule in (pure.cubic_sparsity, pure.linear_sparsity):
        history = []
        sparse = apply.prune_iteratively(g, *DATA, sparsity=0.8, steps=3, schedule=schedule, history=history, **QUIET)
        assert zeros(sparse) == round(0.8 * numbers(g)) and len(history) == 3
    again = apply.prune_iteratively(g, *DATA, sparsity=0.8, steps=3, criterion="taylor", seed=1, **QUIET)
    assert zeros(again) == round(0.8 * numbers(g))


def test_iterative_pruning_of_channels(g):
    """The budget is kept at the end."""
    small = apply.prune_iteratively(g, *DATA, macs=cost.macs(g) // 2, steps=3, **QUIET)
    assert cost.macs(g) // 4 < cost.macs(small) <= cost.macs(g) // 2


@pytest.mark.small
def test_slip_the_ratio_of_what_is_left(g):
    """On the way to half, 0.25 and then 0.5 of what is left leaves 6 groups of 16; by budgets of the start, what was asked is left."""
    once = apply.prune(g, 0.25)
    slip, right = apply.prune(once, 0.5), apply.prune(g, 0.5)
    assert [len(graph.couple(h).groups) for h in (g, once, slip, right)] == [16, 12, 6, 8]


def test_a_ticket_is_rewound(g):
    """Exactly k weights are gone; survivors are g's own bits; masks are nested from round to round; the same seed, the same masks."""
    history = []
    masks = apply.find_ticket(g, *DATA, 0.7, rounds=3, epochs=1, seed=4, history=history, **QUIET)
    ticket = apply.with_masks(g, masks)
    assert sum(int((~mask).sum()) for mask in masks.values()) == round(0.7 * numbers(g)) and len(history) == 3
    for name, mask in masks.items():
        assert ticket.array(name)[mask].tobytes() == g.array(name)[mask].tobytes() and not ticket.array(name)[~mask].any()
    assert all(np.array_equal(ticket.array(name), a) for name, a in g.arrays().items() if name not in masks)
    first = apply.find_ticket(g, *DATA, 1 - 0.3 ** (1 / 3), rounds=1, epochs=1, seed=4, **QUIET)
    assert all((mask <= first[name]).all() for name, mask in masks.items())
    other = apply.with_masks(network(50), masks)                                  # the control with other initial values
    places = apply.with_masks(g, {name: pure.shuffled_mask(mask, 0) for name, mask in masks.items()})
    assert zeros(other) == zeros(places) == zeros(ticket)
    trained = apply.finetune(ticket, *DATA, epochs=8, lr=0.05, keep_zeros=True, **QUIET)
    assert zeros(trained) == zeros(ticket) and tc.train.accuracy(trained, *DATA) > 0.9


@pytest.mark.small
@pytest.mark.parametrize("call, message", [
    (lambda g: apply.sparse_train(g, *DATA, 0.1, "l2"), "penalty must be one of l1, group_lasso, gamma, not 'l2'"),
    (lambda g: apply.sparse_train(g, *DATA, -0.1), "strength must be finite and at least 0, not -0.1"),
    (lambda g: apply.sparse_train(g, DATA[0], DATA[1][:2], 0.1), "sparse training needs data"),
    (lambda g: apply.sparse_train(tc.trace(nn.Sequential(nn.Conv2d(2, 2, 3, rng=0)), (1, 2, 6, 6)), *DATA, 0.1, "gamma"),
     "penalty 'gamma' finds nothing to act on"),
    (lambda g: apply.slim(g, *DATA, 1.0), r"ratio must lie in \[0, 1\)"),
    (lambda g: apply.soft_prune(g, *DATA, 0.5, criterion="best"), "criterion must be one of"),
    (lambda g: apply.soft_prune(g, *DATA, 0.99), "would empty a layer"),
    (lambda g: apply.prune_iteratively(g, *DATA), "either sparsity or macs, one of them, not None and None"),
    (lambda g: apply.prune_iteratively(g, *DATA, sparsity=1.5), "sparsity must be a fraction from 0 to 1, not 1.5"),
    (lambda g: apply.prune_iteratively(g, *DATA, macs=10), "macs must be at least"),
    (lambda g: apply.prune_iteratively(g, *DATA, sparsity=0.5, steps=0), "steps must be"),
    (lambda g: apply.find_ticket(g, *DATA, 1.0), r"sparsity must lie in \[0, 1\) and rounds be at least 1, not 1.0 and 3"),
    (lambda g: apply.find_ticket(g, *DATA, 0.5, rounds=0), "not 0.5 and 0"),
    (lambda g: apply.find_ticket(g, DATA[0], DATA[1] * 1.0, 0.5), "a lottery ticket needs data"),
])
def test_refusals(g, call, message):
    with pytest.raises(ValueError, match=message):
        call(g)
