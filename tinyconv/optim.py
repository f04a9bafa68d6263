"""Optimisers and learning-rate schedules, under PyTorch's names and conventions.

SGD       g += λ w;  v = μ v + g;  w -= lr v           (Nesterov: w -= lr (g + μ v));  the first v is g itself, as in PyTorch
Adam      m = β1 m + (1-β1) g;  v = β2 v + (1-β2) g²;  w -= lr m̂ / (sqrt(v̂) + ε),  m̂ = m/(1-β1^t),  v̂ = v/(1-β2^t)
AdamW     the same, with w -= lr λ w beside it instead of λ w inside g
Proximal  SGD, then w = prox(w): a penalty that sets weights exactly to 0 (operators: compress/prune/proximal)
Learning rates: half a cosine, steps, one cycle; each a function of the step, and a Schedule that sets it.
Sources: Sutskever et al. 2013 (momentum), Kingma & Ba 2015, Loshchilov & Hutter 2017 (cosine) and 2019 (AdamW), Smith & Topin
2018 (one cycle).
"""
import math

import numpy as np

from . import kernels
from .formulas.geometry import is_integer
from .tensor import Tensor


def _within(value, name, low, high=math.inf, open_high=False):
    if not (low <= value <= high) or open_high and value == high or not math.isfinite(value):
        span = f"be finite and at least {low}" if high == math.inf else f"lie in [{low}, {high}{')' if open_high else ']'}"
        raise ValueError(f"{name} must {span}, not {value}")
    return float(value)


class Optimizer:
    """What the optimisers share: the list of parameters and the learning rate `lr`, which a schedule may set."""

    def __init__(self, params, lr, weight_decay):
        self.params = list(params)
        if not self.params or not all(isinstance(p, Tensor) for p in self.params):
            raise ValueError("params must hold at least one parameter, and parameters only; a generator can be used once")
        if len({id(p) for p in self.params}) < len(self.params):
            raise ValueError("params hold one parameter twice: it would be moved twice a step")
        self.lr, self.weight_decay = _within(lr, "lr", 0), _within(weight_decay, "weight_decay", 0)
        self.state = [None] * len(self.params)

    def zero_grad(self):
        """Forget all gradients."""
        for p in self.params:
            p.grad = None

    def step(self):
        """Move every parameter that has a gradient, in place."""
        moving = [i for i, p in enumerate(self.params) if p.grad is not None]
        if moving:
            changed = self.update([self.params[i].data for i in moving], [self.params[i].grad for i in moving], [self.state[i] for i in moving])
            for i, state in zip(moving, changed):
                self.state[i] = state

    def update(self, ws, gs, states):
        """Change every w in place by its gradient g; returns the new states, one a parameter. A parameter's first state is None."""
        raise NotImplementedError(f"{type(self).__name__} defines no update(…)")


class SGD(Optimizer):
    """Gradient descent with momentum, weight decay and Nesterov's look ahead.

    >>> w = tc.nn.Parameter(np.array([1.0]))
    >>> (w * w).sum().backward()
    >>> tc.optim.SGD([w], lr=0.1).step()
    >>> w.data
    array([0.8])
    """

    def __init__(self, params, lr, momentum=0.0, weight_decay=0.0, nesterov=False):
        super().__init__(params, lr, weight_decay)
        self.momentum, self.nesterov = _within(momentum, "momentum", 0, 1, open_high=True), bool(nesterov)
        if nesterov and not momentum:
            raise ValueError("nesterov needs momentum above 0")

    def update(self, ws, gs, vs):
        """One step; the state is the velocity v."""
        vs = [np.zeros_like(w) if self.momentum and v is None else v for w, v in zip(ws, vs)]       # the first v is then g itself
        kernels.sgd_step(ws, gs, vs, self.lr, self.momentum, self.weight_decay, self.nesterov)
        return vs


class ProximalSGD(SGD):
    """SGD on a loss, and after each step the proximal step of a penalty: minimises L₀ + Σ λ·penalty(w), with exact zeros.

        w -= lr v;   w = prox_t(w),   t = lr λ/(1-μ)
    shrink: a list of (parameter, operator, λ), operator(w, t) such as compress.prune.soft_threshold or group_soft_threshold. Why
    1-μ: where nothing moves any more v = g/(1-μ), so the loss pulls by lr g/(1-μ) a step, and the penalty must pull as often; with
    t = lr λ the penalty in force would be (1-μ)λ. Errors: ValueError for a λ below 0, or a parameter that is not among params.

    >>> w = tc.nn.Parameter(np.array([1.0, 0.05]))
    >>> ((w - 0.5) ** 2).sum().backward()
    >>> tc.optim.ProximalSGD([w], 0.1, [(w, tc.compress.prune.soft_threshold, 2.0)]).step()
    >>> w.data.round(9)
    array([0.7, 0. ])
    """

    def __init__(self, params, lr, shrink, momentum=0.0, weight_decay=0.0, nesterov=False):
        super().__init__(params, lr, momentum, weight_decay, nesterov)
        self.shrink = [(p, operator, _within(strength, "strength", 0)) for p, operator, strength in shrink]
        if not {id(p) for p, _, _ in self.shrink} <= {id(p) for p in self.params}:
            raise ValueError("shrink must name parameters that are among params")

    def step(self):
        """Move every parameter that has a gradient, then shrink those that are penalised."""
        super().step()
        for p, operator, strength in self.shrink:
            if p.grad is not None:
                p.data[...] = operator(p.data, self.lr * strength / (1 - self.momentum))


class Adam(Optimizer):
    """Steps of about lr whatever the gradient's size, by running means of g and g²."""

    decoupled = False

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
        super().__init__(params, lr, weight_decay)
        b1, b2 = betas
        self.betas = _within(b1, "betas[0]", 0, 1, open_high=True), _within(b2, "betas[1]", 0, 1, open_high=True)
        self.eps = _within(eps, "eps", 0)

    def update(self, ws, gs, states):
        """One step; the state is (t, m, v)."""
        states = [state or (0, np.zeros_like(w), np.zeros_like(w)) for w, state in zip(ws, states)]
        decay, keep = (0.0, 1 - self.lr * self.weight_decay) if self.decoupled else (self.weight_decay, 1.0)
        for t in {t for t, _, _ in states}:                                  # one pass for all that have moved equally often
            alike = [(w, g, m, v) for w, g, (s, m, v) in zip(ws, gs, states) if s == t]
            kernels.adam_step(*map(list, zip(*alike)), self.lr, self.betas, t + 1, self.eps, decay, keep)
        return [(t + 1, m, v) for t, m, v in states]


class AdamW(Adam):
    """Adam with weight decay beside the step instead of inside the gradient."""

    decoupled = True

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2):
        super().__init__(params, lr, betas, eps, weight_decay)


def cosine(step, total, peak, warmup=0, floor=0.0):
    """The learning rate at `step` of `total`: a straight rise over `warmup` steps, then half a cosine from peak to floor.

        lr = peak (step + 1)/warmup                                                  step < warmup
        lr = floor + (peak - floor) (1 + cos(π (step - warmup)/(total - warmup)))/2    after it

    >>> [round(cosine(s, 6, 1.0, warmup=2), 3) for s in range(7)]
    [0.5, 1.0, 1.0, 0.854, 0.5, 0.146, 0.0]
    """
    if total < 1 or not 0 <= warmup < total:
        raise ValueError(f"total must be at least 1 and warmup in 0..{total - 1}, not {total} and {warmup}")
    if step < warmup:
        return peak * (step + 1) / warmup
    way = min((step - warmup) / (total - warmup), 1.0)
    return floor + (peak - floor) * 0.5 * (1 + math.cos(math.pi * way))


def step_decay(step, peak, milestones, gamma=0.1):
    """peak γ^k, k the number of milestones that `step` has reached: milestones is a list of steps, or one number for all its
    multiples.

    >>> [step_decay(s, 1.0, 2, gamma=0.5) for s in range(5)], [step_decay(s, 1.0, [1, 3], gamma=0.5) for s in range(5)]
    ([1.0, 1.0, 0.5, 0.5, 0.25], [1.0, 0.5, 0.5, 0.25, 0.25])
    """
    listed = [milestones] if is_integer(milestones) else list(milestones)
    if not all(is_integer(m) and m >= 1 for m in listed):
        raise ValueError(f"milestones must be steps of at least 1, or one such number, not {milestones!r}")
    return peak * gamma ** (step // milestones if is_integer(milestones) else sum(step >= m for m in listed))


def one_cycle(step, total, first, top, last, pct_start=0.3, anneal="cos"):
    """From `first` to `top` at step pct_start total - 1, then to `last` at step total - 1, where it stays; half a cosine each
    way.

        a + (b - a) (1 - cos(π p))/2, p the way between both steps            anneal "cos"
        a + (b - a) p                                                         anneal "linear"
    PyTorch's OneCycleLR, at every step before `total`. Errors: ValueError unless either way has a step of its own.

    >>> [round(one_cycle(s, 10, 0.0, 1.0, 0.0, pct_start=0.5), 3) for s in (0, 2, 4, 6, 9, 10)]
    [0.0, 0.5, 1.0, 0.655, 0.0, 0.0]
    """
    peak = pct_start * total - 1
    if not 0 < peak < total - 1:
        raise ValueError(f"pct_start must leave at least a step before and after the top, not {pct_start} of {total} steps")
    if anneal not in ("cos", "linear"):
        raise ValueError(f'anneal must be "cos" or "linear", not {anneal!r}')
    a, b, p = (first, top, step / peak) if step <= peak else (top, last, min((step - peak) / (total - 1 - peak), 1.0))
    return a + (b - a) * (0.5 * (1 - math.cos(math.pi * p)) if anneal == "cos" else p)


class Schedule:
    """Sets an optimiser's learning rate by a function of the step: Schedule(optimizer, rate); call `step()` after each step.

    >>> s = Schedule(SGD([tc.nn.Parameter(np.ones(1))], lr=1.0), lambda step: 1.0 / (1 + step))
    >>> s.step(); s.optimizer.lr
    0.5
    """

    def __init__(self, optimizer, rate):
        self.optimizer, self.rate, self.now = optimizer, rate, 0
        optimizer.lr = float(rate(0))

    def step(self):
        """One step further."""
        self.now += 1
        self.optimizer.lr = float(self.rate(self.now))


class CosineSchedule(Schedule):
    """Warm-up and half a cosine over `total` steps, from the optimiser's own learning rate as its peak."""

    def __init__(self, optimizer, total, warmup=0, floor=0.0):
        peak = optimizer.lr
        super().__init__(optimizer, lambda step: cosine(step, total, peak, warmup, floor))


class StepSchedule(Schedule):
    """The optimiser's own learning rate times γ at every milestone (`step_decay`): PyTorch's StepLR for one number, MultiStepLR
    for a list.
    """

    def __init__(self, optimizer, milestones, gamma=0.1):
        peak = optimizer.lr
        super().__init__(optimizer, lambda step: step_decay(step, peak, milestones, gamma))


class OneCycleSchedule(Schedule):
    """Learning rate from max_lr/div_factor up to max_lr and down to the first one's 1/final_div_factor, momentum (Adam: β1) from
    max_momentum down to base_momentum and back, over `total` steps (`one_cycle`; defaults: PyTorch's OneCycleLR).
    """

    def __init__(self, optimizer, max_lr, total, pct_start=0.3, anneal="cos", cycle_momentum=True, base_momentum=0.85,
                 max_momentum=0.95, div_factor=25.0, final_div_factor=1e4):
        first = max_lr / div_factor
        self.momentum = None
        if cycle_momentum:
            self.momentum = lambda step: one_cycle(step, total, max_momentum, base_momentum, max_momentum, pct_start, anneal)
        last = first / final_div_factor
        super().__init__(optimizer, lambda step: one_cycle(step, total, first, max_lr, last, pct_start, anneal))
        self._set_momentum()

    def _set_momentum(self):
        if self.momentum is not None and hasattr(self.optimizer, "betas"):
            self.optimizer.betas = (self.momentum(self.now), self.optimizer.betas[1])
        elif self.momentum is not None:
            self.optimizer.momentum = self.momentum(self.now)

    def step(self):
        """One step further."""
        super().step()
        self._set_momentum()
