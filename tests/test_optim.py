"""Optimisers against the formulas of their papers, written straight down in float64; schedules against their values; errors."""
import math

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import optim
from tinyconv.compress.prune import soft_threshold

pytestmark = pytest.mark.small
STEPS = 12


def _gradient(w, target):
    """dL/dw of L = Σ a (w - target)²/2 with curvatures a from 0.5 to 2."""
    return np.linspace(0.5, 2, w.size).reshape(w.shape) * (w - target)


def _ours(make, kind=np.float64):
    """The parameter after each step of an optimiser, gradients handed over by hand."""
    rng = np.random.default_rng(1)
    w, target = rng.standard_normal((3, 4)).astype(kind), rng.standard_normal((3, 4)).astype(kind)
    p = tc.nn.Parameter(w.copy())
    optimizer, path = make([p]), []
    for _ in range(STEPS):
        p.grad = _gradient(p.data, target).astype(kind)
        optimizer.step()
        path.append(p.data.copy())
    return path


def _theirs(step):
    """The same, by `step(w, g, t, memory)`, the formula."""
    rng = np.random.default_rng(1)
    w, target = rng.standard_normal((3, 4)), rng.standard_normal((3, 4))
    path, memory = [], {}
    for t in range(1, STEPS + 1):
        w = step(w, _gradient(w, target), t, memory)
        path.append(w)
    return path


def _sgd(lr, mu=0.0, decay=0.0, nesterov=False):
    """v_1 = g_1, v_t = μ v_{t-1} + g_t; w_t = w_{t-1} - lr v_t, or with Nesterov - lr (g_t + μ v_t); g includes λ w."""
    def step(w, g, t, memory):
        g = g + decay * w
        v = memory["v"] = g if t == 1 else mu * memory["v"] + g
        return w - lr * (g + mu * v if nesterov else v)
    return step


def _adam(lr=1e-3, b1=0.9, b2=0.999, eps=1e-8, decay=0.0, decoupled=False):
    """m and v as the sums they are: m_t = (1-β1) Σ β1^(t-s) g_s (Kingma & Ba 2015, section 3), not as the recursion the code
    runs."""
    def step(w, g, t, memory):
        if not decoupled:
            g = g + decay * w
        seen = memory.setdefault("g", [])
        seen.append(g)
        m = (1 - b1) * sum(b1 ** (t - s) * old for s, old in enumerate(seen, 1)) / (1 - b1 ** t)
        v = (1 - b2) * sum(b2 ** (t - s) * old ** 2 for s, old in enumerate(seen, 1)) / (1 - b2 ** t)
        return w - lr * m / (np.sqrt(v) + eps) - (lr * decay * w if decoupled else 0)
    return step


OPTIMISERS = {
    "SGD": (lambda p: optim.SGD(p, 0.1), _sgd(0.1)),
    "momentum": (lambda p: optim.SGD(p, 0.1, momentum=0.9), _sgd(0.1, 0.9)),
    "weight decay": (lambda p: optim.SGD(p, 0.1, weight_decay=0.05), _sgd(0.1, decay=0.05)),
    "momentum and decay": (lambda p: optim.SGD(p, 0.1, 0.9, 0.05), _sgd(0.1, 0.9, 0.05)),
    "Nesterov": (lambda p: optim.SGD(p, 0.1, 0.9, nesterov=True), _sgd(0.1, 0.9, nesterov=True)),
    "Nesterov and decay": (lambda p: optim.SGD(p, 0.1, 0.8, 0.05, True), _sgd(0.1, 0.8, 0.05, True)),
    "Adam": (lambda p: optim.Adam(p), _adam()),
    "Adam with all": (lambda p: optim.Adam(p, 0.05, (0.8, 0.95), 1e-3, 0.1), _adam(0.05, 0.8, 0.95, 1e-3, 0.1)),
    "AdamW": (lambda p: optim.AdamW(p), _adam(decay=1e-2, decoupled=True)),
    "AdamW with all": (lambda p: optim.AdamW(p, 0.05, (0.8, 0.95), 1e-3, 0.1), _adam(0.05, 0.8, 0.95, 1e-3, 0.1, True)),
}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_every_step_is_the_formula(name):
    """Twelve steps in float64, each within 2^-44 (some hundred roundings of numbers of size 1) of the formula."""
    make, formula = OPTIMISERS[name]
    for ours, theirs in zip(_ours(make), _theirs(formula), strict=True):
        assert np.abs(ours - theirs).max() <= 2.0 ** -44


@pytest.mark.parametrize("name", OPTIMISERS)
def test_float32_stays_float32(name):
    """No step widens a parameter; twelve steps stay within 2^-16 of the float64 ones (some hundred roundings of 2^-24)."""
    make, formula = OPTIMISERS[name]
    for ours, theirs in zip(_ours(make, np.float32), _theirs(formula), strict=True):
        assert ours.dtype == np.float32 and np.abs(ours - theirs).max() <= 2.0 ** -16


@pytest.mark.parametrize("name", OPTIMISERS)
def test_steps_are_taken_in_place_and_leave_gradients_alone(name):
    """The parameter's array is the same one afterwards; its gradient is not written to, read-only ones do."""
    p = tc.nn.Parameter(np.ones((2, 3)))
    array, p.grad = p.data, np.full((2, 3), 0.5)
    p.grad.flags.writeable = False
    optimizer = OPTIMISERS[name][0]([p])
    for _ in range(3):
        optimizer.step()
    assert p.data is array and (p.grad == 0.5).all() and (array < 1).all()


def test_parameters_without_gradient_stay():
    """As in PyTorch: not even decayed. Each parameter counts its own steps, so that Adam's first step of a latecomer is a first
    step."""
    still, late = tc.nn.Parameter(np.ones(2)), tc.nn.Parameter(np.ones(2))
    optimizer = optim.Adam([still, late], 0.1)
    for _ in range(3):
        late.grad, still.grad = None, None
        optimizer.step()
    late.grad = np.full(2, 7.0)
    optimizer.step()
    assert still.data.tolist() == [1, 1] and late.data == pytest.approx([0.9, 0.9], abs=1e-8)
    optimizer.zero_grad()
    assert late.grad is None


def test_a_number_as_parameter_moves_in_place():
    """0-d arrays too: w <- w - lr dw."""
    p = tc.nn.Parameter(np.array(2.0))
    for make in (lambda: optim.SGD([p], 0.25), lambda: optim.SGD([p], 0.25, 0.5), lambda: optim.Adam([p], 0.25)):
        p.data[...] = 2.0
        array, p.grad = p.data, np.array(1.0)
        make().step()
        assert p.data is array and float(array) == pytest.approx(1.75, abs=1e-8)


def test_they_find_the_minimum():
    """A valley with curvatures 1 and 30 in training: every optimiser comes within 1e-3 of its floor."""
    for make in (lambda p: optim.SGD(p, 0.05), lambda p: optim.SGD(p, 0.02, 0.9),
                 lambda p: optim.SGD(p, 0.02, 0.9, nesterov=True),
                 lambda p: optim.Adam(p, 0.1), lambda p: optim.AdamW(p, 0.1, weight_decay=0.0)):
        p = tc.nn.Parameter(np.array([2.0, -1.0]))
        optimizer = make([p])
        for _ in range(400):
            optimizer.zero_grad()
            ((p - np.array([1.0, 0.5])) ** 2 * np.array([1.0, 30.0]) * 0.5).sum().backward()
            optimizer.step()
        assert p.data == pytest.approx([1.0, 0.5], abs=1e-3)


# ---- schedules ------------------------------------------------------------------------------------------------------------

def test_cosine_values():
    """Peak at the end of the warm-up, half way down half way, floor at the end and after it."""
    assert [optim.cosine(s, 100, 2.0) for s in (0, 100, 101, 1000)] == [2.0, 0.0, 0.0, 0.0]
    assert optim.cosine(50, 100, 2.0) == pytest.approx(1.0, rel=1e-15)
    assert optim.cosine(25, 100, 2.0) == pytest.approx(1 + math.sqrt(0.5), rel=1e-15)
    assert [optim.cosine(s, 30, 1.0, warmup=4) for s in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert optim.cosine(17, 30, 1.0, warmup=4, floor=0.5) == pytest.approx(0.75, rel=1e-15)
    assert optim.cosine(30, 30, 1.0, warmup=4, floor=0.5) == 0.5
    rates = [optim.cosine(s, 30, 1.0, warmup=4) for s in range(31)]
    assert rates[:4] == sorted(rates[:4]) and rates[4:] == sorted(rates[4:], reverse=True)


def test_a_schedule_sets_the_rate():
    """The first step uses rate(0); each step() one further. CosineSchedule takes the optimiser's own lr as its peak."""
    optimizer = optim.SGD([tc.nn.Parameter(np.ones(1))], lr=0.4)
    schedule = optim.CosineSchedule(optimizer, total=10, warmup=2, floor=0.1)
    seen = [optimizer.lr]
    for _ in range(10):
        schedule.step()
        seen.append(optimizer.lr)
    assert seen == [optim.cosine(s, 10, 0.4, 2, 0.1) for s in range(11)] and seen[0] == 0.2 and seen[-1] == 0.1
    p = optimizer.params[0]
    p.grad = np.ones(1)
    optimizer.step()
    assert p.data[0] == 1 - 0.1


def _path(schedule, steps):
    """(learning rate, momentum or β1) at each step."""
    seen = []
    for _ in range(steps):
        o = schedule.optimizer
        seen.append((o.lr, o.betas[0] if hasattr(o, "betas") else o.momentum))
        schedule.step()
    return seen


def test_steps_multiply():
    """lr γ^floor(step/n), and γ^(milestones reached); the optimiser's own lr is where it begins, momentum is left alone."""
    make = lambda: optim.SGD([tc.nn.Parameter(np.ones(1))], lr=0.4, momentum=0.9)
    every = _path(optim.StepSchedule(make(), 3, gamma=0.5), 20)
    assert every == [(0.4 * 0.5 ** (step // 3), 0.9) for step in range(20)]
    listed = _path(optim.StepSchedule(make(), [2, 5, 11], gamma=0.3), 20)
    assert listed == [(0.4 * 0.3 ** ((step >= 2) + (step >= 5) + (step >= 11)), 0.9) for step in range(20)]
    assert _path(optim.StepSchedule(make(), []), 3) == [(0.4, 0.9)] * 3


# (step, learning rate, momentum) of torch.optim.lr_scheduler.OneCycleLR, PyTorch 2.13, to ten decimals, from a loop of step() on
#     SGD, OneCycleLR(o, 0.7, total_steps=20)
#     Adam, OneCycleLR(o, 0.7, total_steps=37, pct_start=0.25, div_factor=10.0, final_div_factor=100.0, base_momentum=0.8,
#                      max_momentum=0.9)
#     SGD, OneCycleLR(o, 0.7, total_steps=20, anneal_strategy="linear", cycle_momentum=False)
ONE_CYCLE = {
    "SGD": (lambda p: optim.OneCycleSchedule(optim.SGD(p, 0.4, 0.9), 0.7, 20),
            [(0, 0.028, 0.95), (3, 0.4678297101, 0.8845491503), (5, 0.7, 0.85), (10, 0.5018601013, 0.878305813),
             (16, 0.0763614757, 0.9390915741), (19, 0.0000028, 0.95)]),
    "Adam": (lambda p: optim.OneCycleSchedule(optim.Adam(p, 0.4), 0.7, 37, 0.25, div_factor=10.0, final_div_factor=100.0,
                                              base_momentum=0.8, max_momentum=0.9),
             [(0, 0.07, 0.9), (3, 0.2541442709, 0.8707707507), (5, 0.4880264084, 0.8336466018), (10, 0.6931603733, 0.8009780676),
              (16, 0.5738347272, 0.8180416521), (36, 0.0007, 0.9)]),
    "linear": (lambda p: optim.OneCycleSchedule(optim.SGD(p, 0.4, 0.9), 0.7, 20, anneal="linear", cycle_momentum=False),
               [(0, 0.028, 0.9), (3, 0.4312, 0.9), (5, 0.7, 0.9), (10, 0.450001, 0.9), (16, 0.1500022, 0.9),
                (19, 0.0000028, 0.9)]),
}


@pytest.mark.parametrize("name", ONE_CYCLE)
def test_one_cycle_is_pytorchs(name):
    """To the digits kept; and behind the last step it stays where it ended, where PyTorch's has no
    value.
    """
    make, torchs = ONE_CYCLE[name]
    schedule = make([tc.nn.Parameter(np.ones(1))])
    total = torchs[-1][0] + 1
    path = _path(schedule, total + 3)
    for step, rate, momentum in torchs:
        assert path[step] == pytest.approx((rate, momentum), rel=0, abs=6e-11)
    assert path[total] == path[total + 2] == path[total - 1] and max(rate for rate, _ in path) <= 0.7


def test_one_cycle_shape():
    """First, top and last value where they must be; half way by cosine is half way by line."""
    for anneal in ("cos", "linear"):
        f = lambda step: optim.one_cycle(step, 40, 0.1, 1.0, 0.01, pct_start=0.275, anneal=anneal)
        assert f(0) == 0.1 and f(10) == pytest.approx(1.0, rel=1e-15)
        assert f(39) == pytest.approx(0.01, rel=1e-13) and f(99) == f(39)
        assert f(5) == pytest.approx(0.55, rel=1e-15)
        rates = [f(step) for step in range(40)]
        assert rates[:11] == sorted(rates[:11]) and rates[10:] == sorted(rates[10:], reverse=True)


def _lasso(make, steps=1500):
    """The weight that an optimiser ends at on ½ Σ a (w - target)² + 0.3 Σ|w|, the penalty being the optimiser's affair."""
    target, p = np.array([2.0, -1.0, 0.15, -0.05]), tc.nn.Parameter(np.ones(4))
    optimizer = make(p)
    for _ in range(steps):
        p.grad = _gradient(p.data, target)
        optimizer.step()
    return p.data


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}, {"momentum": 0.5, "nesterov": True}])
def test_proximal_sgd_arrives_at_the_minimum_of_the_lasso(options):
    """Known here: sign(t) max(|t| - 0.3/a, 0), each weight by itself; with momentum too, and the zeros are exact."""
    target, a = np.array([2.0, -1.0, 0.15, -0.05]), np.linspace(0.5, 2, 4)
    known = np.sign(target) * np.maximum(np.abs(target) - 0.3 / a, 0)
    found = _lasso(lambda p: optim.ProximalSGD([p], 0.05, [(p, soft_threshold, 0.3)], **options))
    assert found == pytest.approx(known, abs=1e-9) and np.array_equal(found == 0, known == 0) and (known == 0).sum() == 2


def test_slip_a_proximal_step_that_forgets_momentum():
    """t = lr λ behind momentum 0.9 is a tenth of the penalty asked for; a subgradient instead of the step gives no zero at all."""
    class Forgetful(optim.SGD):
        def step(self):
            super().step()
            for p in self.params:
                p.data[...] = soft_threshold(p.data, self.lr * 0.3)

    class Subgradient(optim.SGD):
        def update(self, w, g, state):
            return super().update(w, g + 0.3 * np.sign(w), state)
    target, a = np.array([2.0, -1.0, 0.15, -0.05]), np.linspace(0.5, 2, 4)
    weaker = np.sign(target) * np.maximum(np.abs(target) - 0.03 / a, 0)
    assert _lasso(lambda p: Forgetful([p], 0.05, momentum=0.9)) == pytest.approx(weaker, abs=1e-9)
    assert (_lasso(lambda p: Subgradient([p], 0.05)) != 0).all()


@pytest.mark.parametrize("f, error, message", [
    (lambda p: optim.step_decay(3, 1.0, 0), ValueError, "milestones must be steps of at least 1, or one such number, not 0"),
    (lambda p: optim.StepSchedule(optim.SGD([p], 0.1), [3, 2.5]), ValueError, r"milestones must be .* not \[3, 2.5\]"),
    (lambda p: optim.one_cycle(0, 3, 0, 1, 0), ValueError, "pct_start must leave at least a step .* not 0.3 of 3 steps"),
    (lambda p: optim.one_cycle(0, 30, 0, 1, 0, 1.0), ValueError, "not 1.0 of 30 steps"),
    (lambda p: optim.one_cycle(0, 30, 0, 1, 0, anneal="cosine"), ValueError, 'anneal must be "cos" or "linear", not .cosine.'),
    (lambda p: optim.SGD([], 0.1), ValueError, "at least one parameter"),
    (lambda p: optim.SGD([np.ones(2)], 0.1), ValueError, "parameters only"),
    (lambda p: optim.SGD([p, p], 0.1), ValueError, "one parameter twice"),
    (lambda p: optim.SGD([p], -0.1), ValueError, "lr must be finite and at least 0, not -0.1"),
    (lambda p: optim.SGD([p], float("nan")), ValueError, "lr must be finite and at least 0, not nan"),
    (lambda p: optim.SGD([p], float("inf")), ValueError, "lr must be finite and at least 0, not inf"),
    (lambda p: optim.SGD([p], 0.1, momentum=1.0), ValueError, r"momentum must lie in \[0, 1\), not 1.0"),
    (lambda p: optim.SGD([p], 0.1, weight_decay=-1), ValueError, "weight_decay must be finite and at least 0, not -1"),
    (lambda p: optim.SGD([p], 0.1, nesterov=True), ValueError, "nesterov needs momentum above 0"),
    (lambda p: optim.ProximalSGD([p], 0.1, [(p, soft_threshold, -1)]), ValueError, "strength must be finite and at least 0, not -1"),
    (lambda p: optim.ProximalSGD([p], 0.1, [(tc.nn.Parameter(np.ones(2)), soft_threshold, 1)]), ValueError, "among params"),
    (lambda p: optim.Adam([p], betas=(0.9, 1.0)), ValueError, r"betas\[1\] must lie in \[0, 1\), not 1.0"),
    (lambda p: optim.Adam([p], betas=(-0.1, 0.9)), ValueError, r"betas\[0\] must lie in"),
    (lambda p: optim.Adam([p], eps=-1), ValueError, "eps must be finite and at least 0, not -1"),
    (lambda p: optim.cosine(0, 0, 1.0), ValueError, "total must be at least 1"),
    (lambda p: optim.cosine(0, 5, 1.0, warmup=5), ValueError, r"warmup in 0..4, not 5 and 5"),
    (lambda p: optim.Optimizer([p], 0.1, 0.0).update(None, None, None), NotImplementedError, r"Optimizer defines no update"),
])
def test_bad_arguments_are_refused(f, error, message):
    with pytest.raises(error, match=message):
        f(tc.nn.Parameter(np.ones(2)))
