"""The table of operations, entry by entry: value, gradient, shape rule, counts, attributes, types; and the errors of
`functional`.

CASES holds at least one call of every entry; a test demands it. Values are compared with formulas written here in plain NumPy,
gradients with difference quotients in float64 along random directions under random cotangents, shapes with what was executed.
"""
import json
from itertools import product
from typing import NamedTuple

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import functional as F
from tinyconv.ops import TABLE, Counts, apply, lookup, register

pytestmark = pytest.mark.small
RNG = np.random.default_rng(7)
STRAIGHT_THROUGH = {"fake_quantize", "fake_quantize_weight", "fake_quantize_range", "lsq", "pact"}  # not the derivative: tested apart
TEACHING = ("distillation_loss", "logit_matching_loss", "decoupled_distillation_loss", "attention_transfer_loss",
            "similarity_preserving_loss", "relational_loss")
NO_GRADIENT_FOR = {"batch_norm": (3, 4), **dict.fromkeys(TEACHING, (1,)), "fake_quantize_range": (1, 2), "batch_norm_weight": (2,),
                   "batch_norm_correct": (5, 6)}                    # running statistics, ranges and the teacher are constants


def _r(*shape):
    return RNG.standard_normal(shape)


def _p(*shape):
    """Positive numbers, away from 0."""
    return 0.2 + RNG.random(shape)


class Case(NamedTuple):
    """One call of an operation: arrays (or numbers, or None) and attributes; `expected` is the formula in NumPy."""

    name: str
    inputs: tuple
    attributes: dict
    expected: object
    rng: bool = False

    def __call__(self, *inputs):
        return apply(self.name, *inputs, **self.attributes, **({"rng": np.random.default_rng(3)} if self.rng else {}))

    @property
    def fixed(self):
        """The attributes that stand in a graph."""
        return {k: v for k, v in self.attributes.items() if k not in lookup(self.name).runtime}


def _rounded_to(x, scale, q_min, q_max):
    return scale * np.clip(np.rint(x / scale), q_min, q_max)


def _ranged(x, low, high):
    scale = np.float32((high - low)[0] / 3)
    zero = -2 - np.rint(low[0] / ((high - low)[0] / 3))
    return scale * (np.clip(np.rint(x / scale) + zero, -2, 1) - zero), low, high


def _corrected(w, y, b, gamma, beta, mean, var, training):
    """BatchNorm of the batch, as the factor and the offset that the running one lacks, and the running statistics moved."""
    if not training:
        return w, beta + gamma * (b - mean) / np.sqrt(var + 0.01), mean, var
    m, v, n = y.mean((0, 2, 3)), y.var((0, 2, 3)), y[:, 0].size
    return (w * np.sqrt((var + 0.01) / (v + 0.01)).reshape(-1, 1, 1, 1), beta + gamma * (b - m) / np.sqrt(v + 0.01),
            0.8 * mean + 0.2 * m, 0.8 * var + 0.2 * v * n / (n - 1))


# ---- formulas -------------------------------------------------------------------------------------------------------------

def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _softmax(z, axis):
    e = np.exp(z)
    return e / e.sum(axis=axis, keepdims=True)


def _conv(x, w, b=None, stride=(1, 1), pads=((0, 0), (0, 0)), dilation=(1, 1), groups=1):
    """Every output value by itself: the sum over its window."""
    x = np.pad(x, ((0, 0), (0, 0), *pads))
    (n, c, h, wide), (f, cg, kh, kw) = x.shape, w.shape
    oh, ow = [(size - d * (k - 1) - 1) // s + 1 for size, k, s, d in zip((h, wide), (kh, kw), stride, dilation)]
    y = np.zeros((n, f, oh, ow))
    for i, j, k in product(range(oh), range(ow), range(f)):
        g = k // (f // groups)
        rows, columns = [s * at + d * np.arange(m) for at, s, d, m in zip((i, j), stride, dilation, (kh, kw))]
        window = x[:, g * cg:(g + 1) * cg][:, :, rows[:, None], columns]
        y[:, k, i, j] = (window * w[k]).sum(axis=(1, 2, 3)) + (0 if b is None else b[k])
    return y


def _windows(fold, x, size, stride, padding=(0, 0), dilation=(1, 1), output=None):
    """fold over the numbers inside each window (those in the padding left out) and the window's own size."""
    n, c, h, w = x.shape
    oh, ow = output or [(m + 2 * p - d * (k - 1) - 1) // s + 1 for m, p, d, k, s in zip((h, w), padding, dilation, size, stride)]
    y = np.zeros((n, c, oh, ow))
    for i, j in product(range(oh), range(ow)):
        rows = [r for r in i * stride[0] - padding[0] + dilation[0] * np.arange(size[0]) if 0 <= r < h]
        columns = [q for q in j * stride[1] - padding[1] + dilation[1] * np.arange(size[1]) if 0 <= q < w]
        y[:, :, i, j] = fold(x[:, :, rows][..., columns].reshape(n, c, -1), size[0] * size[1])
    return y


def _adaptive(x, oh, ow):
    y, (h, w) = np.zeros((*x.shape[:2], oh, ow)), x.shape[2:]
    for i, j in product(range(oh), range(ow)):
        y[:, :, i, j] = x[:, :, i * h // oh:-(-(i + 1) * h // oh), j * w // ow:-(-(j + 1) * w // ow)].mean(axis=(2, 3))
    return y


def _column(v):
    return np.asarray(v)[:, None, None]


def _normed(x, gamma, beta, mean, var, eps):
    return (x - _column(mean)) / np.sqrt(_column(var) + eps) * _column(gamma) + _column(beta)


def _trained(x, gamma, beta, mean, var, momentum, eps):
    m, v, count = x.mean((0, 2, 3)), x.var((0, 2, 3)), x.size // x.shape[1]
    unbiased = v * count / (count - 1)
    return _normed(x, gamma, beta, m, v, eps), (1 - momentum) * mean + momentum * m, (1 - momentum) * var + momentum * unbiased


def _lrn(x, n, alpha, beta, k, places=None):
    if places is not None:
        wide = np.zeros((len(x), 9, *x.shape[2:]))
        wide[:, places] = x
        return _lrn(wide, n, alpha, beta, k)[:, places]
    y = np.empty_like(x)
    for c in range(x.shape[1]):
        near = x[:, max(0, c - n // 2):c + (n - 1) // 2 + 1]
        y[:, c] = x[:, c] / (k + alpha / n * (near ** 2).sum(axis=1)) ** beta
    return y


def _cross_entropy(z, labels, smoothing=0.0):
    n, k = z.shape
    q = (1 - smoothing) * np.eye(k)[labels] + smoothing / k
    return -(q * np.log(_softmax(z, 1))).sum(axis=1)


def _distilled(s, t, y, temperature, weight):
    p, q = _softmax(t / temperature, 1), _softmax(s / temperature, 1)
    return (1 - weight) * _cross_entropy(s, y).mean() + weight * temperature ** 2 * (p * np.log(p / q)).sum(axis=1).mean()


def _decoupled(s, t, y, temperature, alpha, beta):
    total = 0.0
    for row_s, row_t, label in zip(s / temperature, t / temperature, y):
        p, q = _softmax(row_t, 0), _softmax(row_s, 0)
        others_p, others_q = (np.delete(v, label) / (1 - v[label]) for v in (p, q))
        two_p, two_q = (np.array([v[label], 1 - v[label]]) for v in (p, q))
        total += alpha * (two_p * np.log(two_p / two_q)).sum() + beta * (others_p * np.log(others_p / others_q)).sum()
    return temperature ** 2 * total / len(y)


def _attended(f):
    q = (f ** 2).mean(axis=1).reshape(len(f), -1)
    return q / np.sqrt((q ** 2).sum(axis=1, keepdims=True))


def _alike(f):
    f = f.reshape(len(f), -1)
    gram = (f[:, None] * f[None]).sum(-1)
    return gram / np.sqrt((gram ** 2).sum(axis=1, keepdims=True))


def _related(s, t, distance, angle):
    """Every pair and every triplet by itself."""
    s, t = s.reshape(len(s), -1), t.reshape(len(t), -1)
    huber = lambda x: x * x / 2 if abs(x) < 1 else abs(x) - 0.5
    pairs = [(i, j) for i in range(len(s)) for j in range(len(s)) if i != j]
    far = [[np.sqrt(((f[i] - f[j]) ** 2).sum()) for i, j in pairs] for f in (s, t)]
    far = [np.array(d) / np.mean(d) for d in far]
    triplets = [(i, j, k) for i, j in pairs for k in range(len(s)) if k not in (i, j)]
    unit = lambda v: v / np.sqrt((v ** 2).sum())
    bent = [[(unit(f[i] - f[j]) * unit(f[k] - f[j])).sum() for i, j, k in triplets] for f in (s, t)]
    return distance * np.mean([huber(a - b) for a, b in zip(*far)]) + angle * np.mean([huber(a - b) for a, b in zip(*bent)])


def _kept(x, p):
    return x * (np.random.default_rng(3).random(x.shape, dtype=np.float32) >= p) / (1 - p)


def _codes(x, scale, zero_point):
    return np.clip(np.rint(x / scale) + zero_point, -128, 127).astype(np.int8)


def _requantized(sums):
    """Sums of the integer convolution below as codes: S_x S_w / S_y = 2^-7, and "onnx" rounds after Z_y = 1 is added."""
    return np.clip(np.rint(sums * 2.0 ** -7 + 1), -128, 127).astype(np.int8)


# ---- the table ------------------------------------------------------------------------------------------------------------

CASES = []


def _case(name, *inputs, expected, rng=False, **attributes):
    CASES.append(Case(name, inputs, attributes, expected, rng))


for _name, _f in (("add", np.add), ("sub", np.subtract), ("mul", np.multiply), ("div", np.divide)):
    for _a, _b in ((_r(3, 1, 4), _p(2, 1)), (_r(2, 3), _p(2, 3)), (_r(), _p(2, 1)), (_r(1, 1), _p(3)), (2.5, _p(2, 3)),
                   (_r(2, 3), -3)):
        _case(_name, _a, _b, expected=_f)
_case("neg", _r(2, 3), expected=lambda x: 0 - x)
_case("abs", _r(2, 3), expected=lambda x: np.where(x < 0, -x, x))
_case("exp", _r(2, 3), expected=lambda x: np.e ** x)
_case("log", _p(2, 3), expected=lambda x: np.log2(x) * np.log(2))
_case("sqrt", _p(2, 3), expected=lambda x: x ** 0.5)
for _e in (2, 3, 0.5, -1, 0, 1):
    _case("pow", _p(2, 3), exponent=_e, expected=lambda x, e=_e: np.exp(e * np.log(x)))
_case("clip", 2 * _r(4, 5), low=-1.0, high=0.5, expected=lambda x: np.minimum(np.maximum(x, -1), 0.5))
_case("relu", _r(2, 3, 4, 5), expected=lambda x: x * (x > 0))
_case("relu6", 6 * _r(2, 3, 4, 5), expected=lambda x: np.minimum(np.maximum(x, 0), 6))
_case("leaky_relu", _r(4, 5), negative_slope=0.2, expected=lambda x: np.maximum(x, 0.2 * x))
_case("sigmoid", 3 * _r(4, 5), expected=_sigmoid)
_case("tanh", _r(4, 5), expected=lambda x: 2 * _sigmoid(2 * x) - 1)
_case("silu", 3 * _r(4, 5), expected=lambda x: x * _sigmoid(x))
_case("hardsigmoid", 4 * _r(4, 5), expected=lambda x: np.minimum(np.maximum(x / 6 + 0.5, 0), 1))
_case("hardswish", 4 * _r(4, 5), expected=lambda x: x * np.minimum(np.maximum(x / 6 + 0.5, 0), 1))
_case("dropout", _r(4, 5), p=0.3, training=True, rng=True, expected=lambda x: _kept(x, 0.3))
_case("dropout", _r(4, 5), p=0.3, training=False, expected=lambda x: x)
_case("dropout", _r(9, 2, 3), p=0.3, whole=True, training=True, rng=True,
      expected=lambda x: x * (np.random.default_rng(3).random((9, 1, 1), dtype=np.float32) >= 0.3) / 0.7)
for _axis, _keep in ((None, False), ([1], False), ([0, -1], True), ([2, 3], False)):
    _np = {"axis": None if _axis is None else tuple(_axis), "keepdims": _keep}
    for _name in ("sum", "mean", "max"):
        _case(_name, _r(3, 4, 5, 7), axis=_axis, keepdims=_keep, expected=lambda x, f=getattr(np, _name), kw=_np: f(x, **kw))
_case("slice", _r(4, 5, 3), index=["...", [None, None, -2]], expected=lambda x: x[..., ::-2])
_case("slice", _r(4, 5, 3), index=[-1, [1, 4, 2]], expected=lambda x: x[-1, 1:4:2])
_case("reshape", _r(2, 3, 4), shape=[4, -1], expected=lambda x: np.array(x.ravel().tolist()).reshape(4, 6))
_case("flatten", _r(2, 3, 1, 2), start_dim=1, expected=lambda x: np.array([a.ravel() for a in x]))
_case("transpose", _r(2, 3, 4), axes=[2, 0, 1], expected=lambda x: np.einsum("abc->cab", x))
_case("concat", _r(2, 1, 3), _r(2, 4, 3), _r(2, 2, 3), axis=1, expected=lambda *a: np.hstack(a))
_case("split", _r(2, 6, 3), sizes=[1, 3, 2], axis=1, expected=lambda x: (x[:, :1], x[:, 1:4], x[:, 4:]))
_case("channel_shuffle", _r(2, 6, 3, 1), groups=3, expected=lambda x: x[:, [0, 2, 4, 1, 3, 5]])
_case("take_channels", _r(2, 5, 3, 2), indices=[4, 0, 2], expected=lambda x: np.stack([x[:, 4], x[:, 0], x[:, 2]], 1))
_case("take_channels", _r(2, 3), indices=[1, 1], expected=lambda x: np.stack([x[:, 1]] * 2, 1))
for _mode, _np in (("constant", {"constant_values": 1.5}), ("reflect", {}), ("replicate", {}), ("circular", {})):
    _case("pad", _r(2, 3, 4, 5), padding=[2, 1, 0, 3], mode=_mode, value=1.5,
          expected=lambda x, m=_mode, kw=_np: np.pad(x, ((0, 0), (0, 0), (0, 3), (2, 1)),
                                                     {"replicate": "edge", "circular": "wrap"}.get(m, m), **kw))
_case("matmul", _r(3, 4), _r(4, 2), expected=lambda a, b: np.einsum("ik,kj->ij", a, b))
_case("matmul", _r(2, 1, 3, 4), _r(2, 1, 4, 5), expected=lambda a, b: np.einsum("...ik,...kj->...ij", a, b))
_case("linear", _r(3, 5), _r(2, 5), _r(2), expected=lambda x, w, b: (x[:, None] * w).sum(-1) + b)
_case("linear", _r(2, 1, 5), _r(4, 5), None, expected=lambda x, w, b: (x[..., None, :] * w).sum(-1))
_case("linear", _r(5), _r(1, 5), _r(1), expected=lambda x, w, b: (x * w).sum(-1) + b)
_case("conv2d", _r(2, 3, 5, 4), _r(4, 3, 3, 2), _r(4), expected=_conv)
_case("conv2d", _r(1, 4, 6, 5), _r(6, 2, 2, 3), None, stride=[2, 1], padding=[1, 2], dilation=[1, 2], groups=2,
      expected=lambda x, w, b: _conv(x, w, b, (2, 1), ((1, 1), (2, 2)), (1, 2), 2))
_case("conv2d", _r(2, 3, 4, 4), _r(6, 1, 3, 3), _r(6), padding="same", groups=3,
      expected=lambda x, w, b: _conv(x, w, b, pads=((1, 1), (1, 1)), groups=3))
_case("conv2d", _r(2, 3, 4, 5), _r(2, 3, 1, 1), _r(2), stride=3, padding=[[0, 1], [2, 0]],
      expected=lambda x, w, b: _conv(x, w, b, (3, 3), ((0, 1), (2, 0))))
_case("max_pool2d", _r(2, 3, 5, 6), kernel_size=3, stride=2, padding=1,
      expected=lambda x: _windows(lambda v, k: v.max(-1), x, (3, 3), (2, 2), (1, 1)))
_case("max_pool2d", _r(1, 2, 7, 6), kernel_size=[2, 3], stride=[3, 1], dilation=[2, 1],
      expected=lambda x: _windows(lambda v, k: v.max(-1), x, (2, 3), (3, 1), (0, 0), (2, 1)))
_case("max_pool2d", _r(1, 2, 6, 6), kernel_size=3, stride=2, ceil_mode=True,
      expected=lambda x: _windows(lambda v, k: v.max(-1), x, (3, 3), (2, 2), output=(3, 3)))
_case("avg_pool2d", _r(2, 3, 5, 6), kernel_size=[3, 2], stride=2, padding=1,
      expected=lambda x: _windows(lambda v, k: v.sum(-1) / k, x, (3, 2), (2, 2), (1, 1)))
_case("avg_pool2d", _r(2, 3, 5, 6), kernel_size=2, padding=1, count_include_pad=False,
      expected=lambda x: _windows(lambda v, k: v.mean(-1), x, (2, 2), (2, 2), (1, 1)))
_case("adaptive_avg_pool2d", _r(2, 3, 5, 7), output_size=[2, 3], expected=lambda x: _adaptive(x, 2, 3))
_case("adaptive_avg_pool2d", _r(2, 3, 5, 4), output_size=1, expected=lambda x: _adaptive(x, 1, 1))
_bn = dict(momentum=0.3, eps=1e-3)
_case("batch_norm", _r(3, 2, 4, 1), _r(2), _r(2), _r(2), _p(2), training=True, **_bn, expected=lambda *a: _trained(*a, **_bn))
_case("batch_norm", _r(3, 2, 1, 3), None, None, _r(2), _p(2), training=True, **_bn,
      expected=lambda x, g, b, m, v: _trained(x, np.ones(2), np.zeros(2), m, v, **_bn))
_case("batch_norm", _r(3, 2, 1, 3), _r(2), _r(2), None, None, training=True, **_bn,
      expected=lambda x, g, b, m, v: (_trained(x, g, b, np.zeros(2), np.zeros(2), **_bn)[0], x.mean((0, 2, 3)), x.var((0, 2, 3))))
_case("batch_norm", _r(1, 2, 3, 3), _r(2), _r(2), _r(2), _p(2), training=False, **_bn,
      expected=lambda x, g, b, m, v: (_normed(x, g, b, m, v, 1e-3), m, v))
for _n in (1, 2, 3, 4, 7):
    _case("local_response_norm", _r(2, 5, 2, 3), n=_n, alpha=0.5, beta=0.75, k=1.2,
          expected=lambda x, n=_n: _lrn(x, n, 0.5, 0.75, 1.2))
    _case("local_response_norm", _r(2, 4, 2, 3), n=_n, alpha=0.5, beta=0.75, k=1.2, places=[1, 2, 5, 7],
          expected=lambda x, n=_n: _lrn(x, n, 0.5, 0.75, 1.2, [1, 2, 5, 7]))
_case("mul", _r(2, 3, 5, 7), _r(1, 3, 1, 1), expected=np.multiply)
_case("softmax", _r(3, 4, 5, 3), axis=1, expected=lambda z: _softmax(z, 1))
_case("log_softmax", _r(3, 4, 5, 3), axis=-1, expected=lambda z: np.log(_softmax(z, -1)))
_y = np.array([1, 0, 3])
for _reduction, _fold in (("mean", np.mean), ("sum", np.sum), ("none", np.array)):
    _case("cross_entropy", _r(3, 4), _y, label_smoothing=0.0, reduction=_reduction,
          expected=lambda z, y, f=_fold: f(_cross_entropy(z, y)))
    _case("cross_entropy", _r(3, 4), _y, label_smoothing=0.2, reduction=_reduction,
          expected=lambda z, y, f=_fold: f(_cross_entropy(z, y, 0.2)))
    _case("nll_loss", _r(3, 4), _y, reduction=_reduction, expected=lambda z, y, f=_fold: f(-z[[0, 1, 2], y]))
    _case("mse_loss", _r(3, 4), _r(3, 4), reduction=_reduction, expected=lambda a, b, f=_fold: f((a - b) ** 2))
    _case("kl_div", _r(3, 4), _p(3, 4), reduction=_reduction, expected=lambda x, t, f=_fold: f(t * np.log(t) - t * x))
_case("kl_div", _r(3, 4), _p(3, 4), expected=lambda x, t: (t * np.log(t) - t * x).sum() / 3)
_case("kl_div", _r(3, 4), _r(3, 4), log_target=True, expected=lambda x, t: (np.exp(t) * (t - x)).sum() / 3)
_case("distillation_loss", 2 * _r(3, 4), 2 * _r(3, 4), _y, temperature=3.0, weight=0.7,
      expected=lambda s, t, y: _distilled(s, t, y, 3.0, 0.7))
for _centred in (True, False):
    _case("logit_matching_loss", _r(3, 4), _r(3, 4), centred=_centred,
          expected=lambda s, t, c=_centred: ((s - t - c * (s - t).mean(1, keepdims=True)) ** 2).sum() / (2 * 4 * 3))
_case("decoupled_distillation_loss", 2 * _r(3, 4), 2 * _r(3, 4), _y, temperature=3.0, alpha=1.5, beta=4.0,
      expected=lambda s, t, y: _decoupled(s, t, y, 3.0, 1.5, 4.0))
_case("attention_transfer_loss", _r(3, 4, 5, 2), _r(3, 6, 5, 2), expected=lambda s, t: ((_attended(s) - _attended(t)) ** 2).mean())
_case("similarity_preserving_loss", _r(3, 4, 2), _r(3, 5), expected=lambda s, t: ((_alike(s) - _alike(t)) ** 2).sum() / 9)
_case("relational_loss", _r(5, 4), _r(5, 3, 2, 1), distance=2.0, angle=3.0, expected=lambda s, t: _related(s, t, 2.0, 3.0))
_case("fake_quantize", 20 * _r(4, 5), scale=0.25, zero_point=3, q_min=-100, q_max=50,
      expected=lambda x: 0.25 * (np.clip(np.rint(x / 0.25) + 3, -100, 50) - 3))
_case("fake_quantize_weight", _r(4, 3, 3, 3), bits=3, per_channel=True,
      expected=lambda w: np.stack([_rounded_to(v, np.float32(np.abs(v).max() / 3), -3, 3) for v in w]))
_case("fake_quantize_weight", _r(4, 6), bits=8, per_channel=False,
      expected=lambda w: _rounded_to(w, np.float32(np.abs(w).max() / 127), -127, 127))
_case("fake_quantize_range", _r(2, 3, 4, 4), np.array([-1.0]), np.array([1.55]), bits=8, momentum=0.1, training=False,
      expected=lambda x, low, high: (_rounded_to(x, np.float32(0.01), -100, 155), low, high))
_case("fake_quantize_range", _r(5, 4), np.array([-1.0]), np.array([1.0]), bits=2, momentum=0.5, training=True,
      expected=lambda x, low, high: _ranged(x, low + 0.5 * (x.min() - low), high + 0.5 * (x.max() - high)))
_case("lsq", _r(4, 3, 2, 2), _p(4), q_min=-3, q_max=2,
      expected=lambda x, s: np.stack([_rounded_to(v, step, -3, 2) for v, step in zip(x, s)]))
_case("lsq", _r(2, 3, 4, 4), np.array([0.3]), q_min=0, q_max=3, expected=lambda x, s: _rounded_to(x, s, 0, 3))
_case("pact", 3 * _r(2, 3, 4, 4), np.array([2.0]), bits=3, expected=lambda x, a: np.rint(np.clip(x, 0, a) * 7 / a) * a / 7)
_case("batch_norm_weight", _r(4, 3, 2, 2), np.append(_r(3), 0.0), _p(4), eps=0.01,
      expected=lambda w, g, v: w * (g / np.sqrt(v + 0.01)).reshape(4, 1, 1, 1))
for _training in (False, True):
    for _b in (None, _r(3)):
        _case("batch_norm_correct", _r(3, 2, 2, 2), _r(2, 3, 4, 3), _b, np.append(_r(2), 0.0), _r(3), _r(3), _p(3), eps=0.01,
              momentum=0.2, training=_training,
              expected=lambda w, y, b, g, beta, m, v, t=_training: _corrected(w, y, 0 if b is None else b, g, beta, m, v, t))

# integer operations: scales are powers of two, so that every product below is exact and one formula serves all
_q = [RNG.integers(-128, 128, shape).astype(np.int8) for shape in ((2, 4, 5, 5), (6, 2, 3, 3), (3, 7), (5, 7), (2, 4, 5, 5))]
_wide = {"y_scale": 2.0 ** -2, "y_zero_point": 1}
_case("quantize", (20 * _r(4, 5)).astype(np.float32), scale=0.25, zero_point=3, expected=lambda x: _codes(x, 0.25, 3))
_case("dequantize", _q[2], scale=0.25, zero_point=3, expected=lambda q: 0.25 * (q.astype(float) - 3))
_case("qconv2d", _q[0], _q[1], np.arange(6, dtype=np.int32), np.full(6, 2.0 ** -6, np.float32), x_scale=2.0 ** -3,
      x_zero_point=5, stride=[2, 1], padding=1,
      groups=2, **_wide,
      expected=lambda x, w, b, s: _requantized(_conv(x - 5.0, w.astype(float), b.astype(float), (2, 1), ((1, 1), (1, 1)), (1, 1),
                                                     2)))
_case("qlinear", _q[2], _q[3], np.arange(5, dtype=np.int32), np.full(5, 2.0 ** -6, np.float32), x_scale=2.0 ** -3,
      x_zero_point=5, **_wide,
      expected=lambda x, w, b, s: _requantized(((x - 5.0)[:, None] * w).sum(-1) + b))
_case("qadd", _q[0], _q[4], a_scale=0.5, a_zero_point=3, b_scale=0.25, b_zero_point=-2, y_scale=1.0, y_zero_point=1,
      expected=lambda a, b: _codes(0.5 * (a - 3.0) + 0.25 * (b + 2.0), 1.0, 1))
_case("qglobal_average_pool", _q[0][..., :4, :4], x_scale=0.5, x_zero_point=3, y_scale=0.25, y_zero_point=-2,
      expected=lambda x: _codes(0.5 * (x - 3.0).mean((2, 3), keepdims=True), 0.25, -2))
_case("qmul", _q[0], _q[4][..., :1, :1], a_scale=0.5, a_zero_point=3, b_scale=0.25, b_zero_point=-2, y_scale=4.0, y_zero_point=1,
      expected=lambda a, b: _codes(0.5 * (a - 3.0) * 0.25 * (b + 2.0), 4.0, 1))
_case("qlook_up", _q[0], np.arange(256).astype(np.uint8).view(np.int8)[::-1].copy(), expected=lambda x, table: -1 - x)
_case("qmax_pool2d", _q[0], kernel_size=2, stride=1, expected=lambda x: np.max([x[..., i:x.shape[2] - 1 + i, j:x.shape[3] - 1 + j]
                                                                           for i in (0, 1) for j in (0, 1)], axis=0))
_case("qavg_pool2d", _q[0], kernel_size=2, stride=1, x_scale=0.5, x_zero_point=3, y_scale=0.25, y_zero_point=-2,
      expected=lambda x: _codes(0.5 * np.mean([x[..., i:x.shape[2] - 1 + i, j:x.shape[3] - 1 + j] - 3.0 for i in (0, 1) for j in (0, 1)], axis=0),
                                0.25, -2))

DIFFERENTIABLE = [case for case in CASES if TABLE[case.name].vjp is not None]


def _label(case):
    given = " ".join(f"{k}={v}" for k, v in case.attributes.items())
    return f"{case.name} {' '.join(str(np.shape(a)) if a is not None else '-' for a in case.inputs)} {given}".strip()


every_case = pytest.mark.parametrize("case", CASES, ids=_label)
every_differentiable = pytest.mark.parametrize("case", DIFFERENTIABLE, ids=_label)


def _as(kind, value):
    return value.astype(kind) if isinstance(value, np.ndarray) and value.dtype == np.float64 else value


def _tuple(value):
    return value if isinstance(value, tuple) else (value,)


def test_every_operation_has_a_case():
    """An operation added to the table without a case here fails this test."""
    assert set(TABLE) == {case.name for case in CASES}
    assert {name for name, op in TABLE.items() if op.vjp is not None} == {case.name for case in DIFFERENTIABLE}


@every_case
def test_the_value_is_the_formula(case):
    """In float64, against the formula in plain NumPy: within 100 roundings (2^-46 of the largest number), codes exactly."""
    ours, theirs = _tuple(case(*case.inputs)), _tuple(case.expected(*case.inputs))
    assert len(ours) == len(theirs)
    for y, e in zip(ours, theirs):
        assert y.shape == np.shape(e)
        if y.dtype.kind == "f":
            assert np.abs(y.data - e).max() <= 2.0 ** -46 * max(1, np.abs(e).max())
        else:
            assert y.dtype == np.int8 and np.array_equal(y.data, e)


@pytest.mark.parametrize("case", [case for case in DIFFERENTIABLE if case.name not in STRAIGHT_THROUGH], ids=_label)
def test_the_gradient_is_the_derivative(case):
    """gradcheck over all inputs that have a gradient, and the running statistics and the teacher held constant."""
    constant = NO_GRADIENT_FOR.get(case.name, ())
    moving = [i for i, a in enumerate(case.inputs) if isinstance(a, np.ndarray) and i not in constant]

    def f(*tensors):
        inputs = list(case.inputs)
        for i, t in zip(moving, tensors):
            inputs[i] = t
        y = case(*inputs)
        return y[0] if case.name == "batch_norm" else y[:2] if case.name == "batch_norm_correct" else y

    assert tc.gradcheck(f, *(case.inputs[i] for i in moving), directions=3)


@every_case
def test_the_shape_rule_says_what_is_executed(case):
    """On shapes alone, with the attributes that stand in a graph: the same shapes as the results have."""
    op = lookup(case.name)
    shapes = [a.shape if isinstance(a, np.ndarray) else None for a in case.inputs]
    found = op.shape(*shapes, **case.fixed)
    results = case(*case.inputs)
    assert found == (tuple(y.shape for y in results) if isinstance(results, tuple) else results.shape)
    counts = op.counts(shapes, found, **case.fixed)
    assert isinstance(counts, Counts) and all(isinstance(v, int) and v >= 0 for v in counts)


@every_case
def test_attributes_are_json(case):
    """What stands in a graph can be written to a file and read back the same, and leads to the same result, bit for bit."""
    read = json.loads(json.dumps(case.fixed))
    assert read == case.fixed
    again = case._replace(attributes={**case.attributes, **read})
    for a, b in zip(_tuple(case(*case.inputs)), _tuple(again(*case.inputs))):
        assert np.array_equal(a.data, b.data)


@every_differentiable
def test_types_and_memory_stay(case):
    """float32 in: float32 out, float32 gradients of the inputs' shapes. Inputs and cotangents stay as they were, read-only ones
    do."""
    inputs = [_as(np.float32, a) for a in case.inputs]
    copies = [np.array(a) if isinstance(a, np.ndarray) else a for a in inputs]
    for a in inputs:
        if isinstance(a, np.ndarray):
            a.flags.writeable = False
    tensors = [tc.Tensor(a, requires_grad=a.dtype == np.float32) if isinstance(a, np.ndarray) else a for a in inputs]
    results = _tuple(case(*tensors))
    assert all(y.dtype == np.float32 and y.data is not t.data for y in results for t in tensors if isinstance(t, tc.Tensor))
    node = results[0]._node
    dys = [np.asarray(np.random.default_rng(i).standard_normal(y.shape), np.float32) for i, y in enumerate(results)]
    before = [dy.copy() for dy in dys]
    for dy in dys:
        dy.flags.writeable = False
    answers = node.op.vjp(node.saved, *dys)
    assert len(answers) >= len(inputs)
    for i, (t, answer) in enumerate(zip(tensors, answers)):
        if isinstance(t, tc.Tensor) and t.requires_grad and i not in NO_GRADIENT_FOR.get(case.name, ()):
            dx = answer() if callable(answer) else answer
            assert dx.shape == t.shape and dx.dtype == np.float32
    assert all(np.array_equal(a, b) for a, b in zip([*inputs, *dys], [*copies, *before]) if a is not None)


@pytest.mark.parametrize("case", [c for c in DIFFERENTIABLE if np.ndim(c.inputs[0]) == 4], ids=_label)
def test_the_layout_of_memory_changes_nothing(case):
    """NCHW-shaped arrays over channels-last memory give the same result and gradients, bit for bit, in float64 and in float32."""
    def run(kind, last):
        tensors = []
        for a in case.inputs:
            a = _as(kind, a)
            if isinstance(a, np.ndarray) and a.ndim == 4 and last:
                a = np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
            tensors.append(tc.Tensor(a, requires_grad=a.dtype == kind) if isinstance(a, np.ndarray) else a)
        y = _tuple(case(*tensors))[0]
        dy = np.random.default_rng(1).standard_normal(y.shape).astype(kind)
        y.backward(np.ascontiguousarray(dy.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) if last and dy.ndim == 4 else dy)
        return [y.data, *(t.grad for t in tensors if isinstance(t, tc.Tensor) and t.grad is not None)]

    for kind in (np.float32, np.float64):
        for a, b in zip(run(kind, False), run(kind, True), strict=True):
            assert np.array_equal(a, b)


def test_straight_through():
    """fake_quantize: the gradient is dy where the code is in range, the outermost codes included, and 0 where it was clipped."""
    case = next(c for c in CASES if c.name == "fake_quantize")
    edges = 0.25 * (np.array([-100, 50]) - 3)                                  # x̂ of the outermost codes
    x = tc.Tensor(np.concatenate([case.inputs[0].ravel(), edges, edges + 0.12, edges - 0.12, edges + 0.13, edges - 0.13]),
                  requires_grad=True)
    dy = RNG.standard_normal(x.shape)
    case(x).backward(dy)
    codes = np.rint(x.data / 0.25) + 3
    assert np.array_equal(x.grad, dy * ((codes >= -100) & (codes <= 50))) and 0 < (x.grad == 0).sum() < x.size - 4


CORNERS = [
    ("relu", {}, [0.0, -0.0], [0, 0]), ("relu6", {}, [0.0, 6.0, 3.0], [0, 0, 1]),
    ("leaky_relu", {"negative_slope": 0.1}, [0.0], [0.1]),
    ("hardswish", {}, [-3.0, 3.0], [0, 1]), ("hardsigmoid", {}, [-3.0, 3.0], [0, 0]), ("abs", {}, [0.0], [0]),
    ("clip", {"low": -1.0, "high": 1.0}, [-1.0, 1.0], [1, 1]), ("pow", {"exponent": 0}, [0.0], [0]),
    ("pow", {"exponent": 1}, [0.0], [1]),
    ("max", {"axis": None, "keepdims": False}, [2.0, 1.0, 2.0], [0.5, 0, 0.5]),
]


@pytest.mark.parametrize("name, attributes, x, gradient", CORNERS, ids=lambda v: str(v))
def test_corners_are_pytorchs(name, attributes, x, gradient):
    """Where a function has a corner the derivative is a matter of choice: PyTorch's choice is taken (values written down from
    PyTorch 2.13)."""
    t = tc.Tensor(np.array(x), requires_grad=True)
    apply(name, t, **attributes).sum().backward()
    assert t.grad.tolist() == gradient


def test_among_equals_the_first_maximum_of_a_window_gets_the_gradient():
    x = tc.Tensor(np.ones((1, 1, 2, 4)), requires_grad=True)
    F.max_pool2d(x, 2).backward(np.array([[[[2.0, 3.0]]]]))
    assert x.grad.tolist() == [[[[2, 0, 3, 0], [0, 0, 0, 0]]]]


def test_no_function_overflows():
    """Far out, functions reach their limits without a warning (warnings are errors here), in float32 too."""
    for kind, far in ((np.float32, 1e4), (np.float64, 1e5)):
        x = np.array([[-far, 0, far]], kind)
        assert F.sigmoid(x).data.tolist() == [[0, 0.5, 1]] and F.silu(x).data.tolist() == [[0, 0, far]]
        assert F.softmax(x).data.tolist() == [[0, 0, 1]] and F.log_softmax(x).data[0, 2] == 0
        assert F.tanh(x).data.tolist() == [[-1, 0, 1]]
        loss = F.cross_entropy(tc.Tensor(x, requires_grad=True), np.array([0]))
        assert loss.item() == 2 * far and loss.dtype == kind


def test_a_masked_score_costs_nothing():
    """A class with score -inf has probability 0: the loss of another label is finite, as is its gradient (0 · ∞ is avoided)."""
    x = tc.Tensor(np.array([[0.0, -np.inf, 0.0]]), requires_grad=True)
    loss = F.cross_entropy(x, np.array([0]))
    loss.backward()
    assert loss.item() == pytest.approx(np.log(2), rel=1e-15) and x.grad.tolist() == [[-0.5, 0, 0.5]]


def test_nan_and_infinities_pass_through():
    """A NaN in a picture is still there after convolution, pooling, normalisation and activation."""
    x = np.zeros((1, 1, 4, 4))
    x[0, 0, 1, 1] = np.nan
    for y in (F.conv2d(x, np.zeros((1, 1, 1, 1))), F.max_pool2d(x, 2), F.avg_pool2d(x, 2), F.relu(x), F.relu6(x), F.hardswish(x),
              F.sigmoid(x),
              F.batch_norm(x, np.zeros(1), np.ones(1))[0], F.softmax(x)):
        assert np.isnan(y.data).any()


def test_macs_are_the_terms_of_the_sum():
    """counts: a convolution (groups 2) and matrix products, against the number of products written out; additions are the
    bias."""
    assert TABLE["conv2d"].counts([(2, 4, 5, 5), (6, 2, 3, 3), (6,)], (2, 6, 3, 3), groups=2) == Counts(macs=2 * 6 * 9 * 2 * 9,
                                                                                                        additions=2 * 6 * 9)
    assert TABLE["linear"].counts([(3, 2, 5), (4, 5), None], (3, 2, 4)) == Counts(macs=6 * 4 * 5)
    assert TABLE["matmul"].counts([(7, 3, 4), (7, 4, 2)], (7, 3, 2)) == Counts(macs=7 * 3 * 4 * 2)
    assert TABLE["max_pool2d"].counts([(1, 2, 4, 4)], (1, 2, 2, 2), kernel_size=2) == Counts(comparisons=8 * 3)


# ---- functional -----------------------------------------------------------------------------------------------------------

NAMES = """conv2d linear relu relu6 silu sigmoid tanh hardswish hardsigmoid leaky_relu softmax log_softmax dropout batch_norm
local_response_norm max_pool2d avg_pool2d adaptive_avg_pool2d pad flatten concat split channel_shuffle take_channels
fake_quantize cross_entropy
nll_loss mse_loss kl_div distillation_loss""".split()


def test_functional_has_the_names_that_were_promised():
    """The list of the design page, matmul and stochastic_depth, the further losses of distillation, and what trains with quantization."""
    assert sorted(F.__all__) == sorted([*NAMES, "matmul", "stochastic_depth", *TEACHING[1:], "lsq", "pact"])


def test_every_function_writes_json_attributes():
    """Whatever sequences and NumPy numbers a caller gives, tuples and arrays become lists and numbers become Python's."""
    seen = []

    class Watch:
        def made(self, op, arrays, attributes):
            return op.forward(*arrays, **attributes)[0]

        def record(self, op, arrays, attributes, outputs):
            seen.append((op.name, json.dumps({k: v for k, v in attributes.items() if k not in op.runtime})))

    from tinyconv.ops import set_recorder
    x, two, rng = np.ones((2, 4, 6, 6)), np.int64(2), np.random.default_rng(0)
    before = set_recorder(Watch())
    try:
        F.conv2d(x, np.ones((4, 2, 3, 3)), None, np.array([1, 2]), (np.int64(1), 0), two, two)
        F.conv2d(x, np.ones((1, 4, 3, 3)), padding=((1, 0), (np.int8(1), 2)))
        F.max_pool2d(x, two, (1, two), np.array([1, 0]), ceil_mode=np.bool_(True))
        F.avg_pool2d(x, (two, 3), count_include_pad=np.bool_(False))
        F.adaptive_avg_pool2d(x, (two, two))
        F.pad(x, np.array([1, 2, 0, 0]), value=np.float32(2))
        F.split(x, np.array([1, 3]))
        F.split(x, two)
        F.take_channels(x, np.array([0, 2]))
        F.take_channels(x, range(2))
        F.concat((x, x), np.int64(-1))
        F.channel_shuffle(x, two)
        F.fake_quantize(x, np.float32(0.5), np.int8(1))
        F.dropout(x, np.float32(0.5), True, rng)
        F.local_response_norm(x, two, np.float32(0.1))
        F.local_response_norm(x, two, places=np.array([0, 1, 3, 7]))
        F.softmax(x, two)
        F.batch_norm(x, np.zeros(4), np.ones(4), momentum=np.float32(0.1))
        y = tc.Tensor(x)
        (y ** two, y.clip(np.float32(0), two), y.sum(two), y.mean((0, two)), y[two - 1, 1:two], y.reshape(two, -1),
         y.transpose(0, two, 1, 3), y.flatten(two))
    finally:
        set_recorder(before)
    assert len(seen) == 26
    assert dict(seen)["take_channels"] == '{"indices": [0, 1]}' and ("slice", '{"index": [1, [1, 2, null]]}') in seen


@pytest.mark.parametrize("f, error, message", [
    (lambda x: F.conv2d(x, np.ones((3, 4, 3, 3)), np.ones(2)), ValueError,
     r"bias must have shape \(3,\), not \(2,\)"),
    (lambda x: F.conv2d(x, np.ones((3, 5, 3, 3))), ValueError, "input channels.*stride.*padding.*dilation.*groups"),
    (lambda x: F.conv2d(x, np.ones((3, 4, 9, 3))), ValueError, "larger than the padded input"),
    (lambda x: F.conv2d(x, np.ones((3, 1, 3, 3)), groups=3), ValueError, "groups must divide"),
    (lambda x: F.conv2d(x, np.ones((3, 4, 3, 3), np.float32)), TypeError, "conv2d: arguments mix float32 and float64"),
    (lambda x: F.conv2d(x, np.ones((3, 4, 3, 3)), algorithm="magic"), ValueError, "magic"),
    (lambda x: F.conv2d(x[:0], np.ones((3, 4, 3, 3))), ValueError, "empty"),
    (lambda x: F.conv2d(x.astype(int), np.ones((3, 4, 3, 3), int)), TypeError, "float32 or float64, not int64"),
    (lambda x: F.conv2d([1.0], np.ones((3, 4, 3, 3))), TypeError,
     "conv2d: argument 0 must be a Tensor, an array or a number, not list"),
    (lambda x: F.linear(x, np.ones((3, 5))), ValueError, r"input \(…,C\) and weight \(F,C\), not shapes"),
    (lambda x: F.linear(x, np.ones((3, 6)), np.ones(1)), ValueError, r"bias must have shape \(3,\)"),
    (lambda x: F.linear(x[:0], np.ones((3, 6))), ValueError, "at least one row"),
    (lambda x: F.matmul(x, x[:, :2]), ValueError, "equal leading axes"),
    (lambda x: F.matmul(x[:0], x[:0]), ValueError, "not empty"),
    (lambda x: F.max_pool2d(x, 9), ValueError, "larger than the padded input"),
    (lambda x: F.max_pool2d(x, 2, padding=2), ValueError, "at most half the kernel"),
    (lambda x: F.avg_pool2d(x, 2.5), ValueError, "kernel_size must be an integer"),
    (lambda x: F.adaptive_avg_pool2d(x, 0), ValueError, "output_size must be at least 1"),
    (lambda x: F.adaptive_avg_pool2d(x[0], 1), ValueError, "four axes"),
    (lambda x: F.batch_norm(x, np.zeros(3), np.ones(3)), ValueError, r"running_mean must have shape \(4,\)"),
    (lambda x: F.batch_norm(x, None, None), ValueError, "needs running_mean and running_var, both"),
    (lambda x: F.batch_norm(x[0], None, None, training=True), ValueError, r"takes \(N,C,H,W\)"),
    (lambda x: F.batch_norm(x[:0], None, None, training=True), ValueError, "empty"),
    (lambda x: F.batch_norm(x[:1, :, :1, :1], None, None, training=True), ValueError, "more than one number a channel"),
    (lambda x: F.local_response_norm(x, 0), ValueError, "size of at least 1"),
    (lambda x: F.local_response_norm(x, 3, places=[0, 1, 2]), ValueError, r"4 ascending places of channels, none below 0, not \[0, 1, 2\]"),
    (lambda x: F.local_response_norm(x, 3, places=[0, 2, 2, 3]), ValueError, "ascending places"),
    (lambda x: F.local_response_norm(x, 3, places=[-1, 0, 2, 3]), ValueError, "none below 0"),
    (lambda x: F.pad(x, [1, 2]), ValueError, r"padding \[left, right, top, bottom\]"),
    (lambda x: F.pad(x, 1, "mirror"), ValueError, "mode must be one of constant, reflect, replicate, circular, not 'mirror'"),
    (lambda x: F.pad(x, 6, "reflect"), ValueError, "too large for a plane of 6x6"),
    (lambda x: F.concat([]), ValueError, "at least one array"),
    (lambda x: F.concat(x), TypeError, "list or tuple of them, not one"),
    (lambda x: F.concat([x, x[:, :, :2]]), ValueError, "needs equal other axes"),
    (lambda x: F.concat([x, x], 4), ValueError, "dim must be an axis"),
    (lambda x: F.split(x, 0), ValueError, "at least 1, not 0"),
    (lambda x: F.split(x, [1, 2]), ValueError, "add up to axis 1"),
    (lambda x: F.channel_shuffle(x, 3), ValueError, "groups must divide the 4 channels, not 3"),
    (lambda x: F.channel_shuffle(x[0, 0, 0], 1), ValueError, "has none"),
    (lambda x: F.take_channels(x, [4]), ValueError, r"indices must lie in 0..3"),
    (lambda x: F.take_channels(x, []), ValueError, "at least one"),
    (lambda x: F.softmax(x, 4), ValueError, "dim must be an axis"),
    (lambda x: F.flatten(x, 4), ValueError, "dim must be an axis"),
    (lambda x: F.dropout(x, 1.0), ValueError, r"p must lie in \[0, 1\), not 1.0"),
    (lambda x: F.dropout(x, 0.5), ValueError, "needs rng, a numpy.random.Generator, not NoneType"),
    (lambda x: F.dropout(x, 0.5, True, 3), ValueError, "not int"),
    (lambda x: F.cross_entropy(x, np.zeros(2, int)), ValueError, r"scores must have shape \(N, K\)"),
    (lambda x: F.cross_entropy(np.ones((0, 3)), np.zeros(0, int)), ValueError, "at least one"),
    (lambda x: F.cross_entropy(np.ones((2, 3)), np.zeros(3, int)), ValueError, r"labels must have shape \(2,\)"),
    (lambda x: F.cross_entropy(np.ones((2, 3)), np.array([0, 3])), ValueError, r"labels must lie in 0..2, but run from 0 to 3"),
    (lambda x: F.cross_entropy(np.ones((2, 3)), np.array([0, -1])), ValueError, "run from -1 to 0"),
    (lambda x: F.cross_entropy(np.ones((2, 3)), np.zeros(2)), TypeError, "labels must be an array of integers, not float64"),
    (lambda x: F.cross_entropy(np.ones((2, 3)), np.zeros(2, int), 1.5), ValueError, r"label_smoothing must lie in \[0, 1\]"),
    (lambda x: F.cross_entropy(np.ones((2, 3)), np.zeros(2, int), reduction="batchmean"), ValueError,
     "reduction must be one of mean, sum, none"),
    (lambda x: F.mse_loss(x, x[:, :1]), ValueError, "two arrays of one shape"),
    (lambda x: F.kl_div(x, x[:, :1]), ValueError, "of one shape"),
    (lambda x: F.distillation_loss(x[0, 0], x[0, 0], np.zeros(6, int), weight=2), ValueError,
     r"weight must lie in \[0, 1\], not 2"),
    (lambda x: F.distillation_loss(x[0, 0], x[0, 0], np.zeros(6, int), temperature=0), ValueError,
     "temperature must be positive"),
    (lambda x: F.decoupled_distillation_loss(x[0, 0], x[0, 0], np.zeros(6, int), beta=-1), ValueError, "beta must be at least 0"),
    (lambda x: F.decoupled_distillation_loss(x[0, 0], x[0, 0, :, :5], np.zeros(6, int)), ValueError, "must have the same shape"),
    (lambda x: F.logit_matching_loss(x, x), ValueError, r"z_s must be \(N,C\)"),
    (lambda x: F.attention_transfer_loss(x, x[:, :, :3]), ValueError, "attention needs maps .* of one size"),
    (lambda x: F.similarity_preserving_loss(x, x[:1]), ValueError, "of the same batch, not 2 and 1 rows"),
    (lambda x: F.relational_loss(x, x), ValueError, "at least 3 pictures to relate, not 2"),
    (lambda x: F.fake_quantize(x, 0.0, 0), ValueError, "scale must be positive"),
    (lambda x: tc.Tensor(x) + np.ones(5), ValueError, r"shapes \(2, 4, 6, 6\) and \(5,\) do not fit together"),
    (lambda x: apply("mystery", x), ValueError, "unknown operation 'mystery'; the table has abs, adaptive"),
    (lambda x: register("relu", None, None, None, None), ValueError, "'relu' is in the table already"),
])
def test_bad_input_says_what_would_be_right(f, error, message):
    """The message names the argument, what was given and what would fit, and no kernel has run."""
    with pytest.raises(error, match=message):
        f(np.ones((2, 4, 6, 6)))


def test_negative_axes_count_from_the_end():
    """As in PyTorch, for every function that takes an axis."""
    x = RNG.standard_normal((2, 3, 4, 5))
    for f in (lambda d: F.concat([x, x], d), lambda d: F.split(x, 1, d)[0], lambda d: F.softmax(x, d),
              lambda d: F.log_softmax(x, d), lambda d: F.flatten(x, d)):
        for axis in range(4):
            assert np.array_equal(f(axis).data, f(axis - 4).data)
