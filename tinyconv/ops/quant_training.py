"""Training with quantization in the loop: what stands in a network while it learns to live with few bits.

    fake_quantize_weight   x̂ = S q, S = max|w|/q_max measured anew at every step, one a filter or one for all
    fake_quantize_range    affine x̂ for a range that follows the batches as a moving average, and stands still outside training
    lsq, pact              learned step and learned clip (compress/quantize/trained)
    batch_norm_weight, batch_norm_correct      BatchNorm folded while it is still trained:
        w_f = w γ/σ_r,    w_c = Q(w_f) σ_r/σ_B,    b_c = β + γ (b - μ_B)/σ_B,    y = w_c * x + b_c
σ_r² = running variance + ε, μ_B and σ_B² = the batch's mean and variance + ε of w * x + b, the convolution as it was, which is
run for them. Q sees the weights that will be stored, w γ/σ_r, and not ones that jump with every batch; σ_r/σ_B makes up for it.
Outside training σ_B = σ_r and μ_B = the running mean: the folded layer itself. Nothing is divided by γ: a channel with γ = 0
gives β, and its γ still learns. (Dividing the result by γ/σ again, as another form of this does, gives NaN there.)
The gradient of Q is straight through. Sources: Jacob et al. 2018, section 3.2; Krishnamoorthi 2018, section 3.2.2.
"""
import numpy as np

from .. import kernels
from ..compress import quantize as pure
from .table import Counts, register, same_shape, size


def _counts(shapes, output, **attributes):
    out = output[0] if isinstance(output[0], tuple) else output
    return Counts(multiplications=size(out), additions=2 * size(out), comparisons=2 * size(out), special=size(out))


def _rows(row, like):
    """A number a filter, against (F,…)."""
    return row.reshape(-1, *[1] * (like.ndim - 1))


# ---- weights and activations ---------------------------------------------------------------------------------------------

def weight_scale(w, bits, per_channel):
    """The symmetric scale of fake_quantize_weight: max|w|/(2^(bits-1) - 1), (F,) or (1,), float32."""
    low, high = pure.value_range(w, 0 if per_channel else None)
    return np.atleast_1d(pure.symmetric(np.maximum(-low, high), bits))


def _fake_weight(w, bits, per_channel=True):
    return pure.lsq(w, weight_scale(w, bits, per_channel), *pure.code_range(bits, narrow=True)), None


register("fake_quantize_weight", _fake_weight, lambda saved, dy: (dy,), same_shape, _counts)


def _fake_range(x, low, high, bits=8, momentum=0.01, training=False):
    if training:
        least, most = pure.value_range(x)
        low, high = low + low.dtype.type(momentum) * (least - low), high + high.dtype.type(momentum) * (most - high)
    limits = pure.code_range(bits)
    scale, zero = pure.affine(low[0], high[0], bits)
    y = pure.fake_quantize(x, scale, zero, *limits)
    return (y, low, high), pure.straight_through(x, scale, zero, *limits)


register("fake_quantize_range", _fake_range, lambda inside, dy, *ranges: (dy * inside, None, None),
         lambda x, low, high, **attributes: (tuple(x), tuple(low), tuple(high)), _counts, runtime=("training",),
         updates=((1, 1), (2, 2)))

register("lsq", lambda x, scale, q_min, q_max: (pure.lsq(x, scale, q_min, q_max), (x, scale, q_min, q_max)),
         lambda saved, dy: pure.lsq_gradient(*saved, dy), same_shape, _counts)

register("pact", lambda x, alpha, bits: (pure.pact(x, alpha, bits), (x, alpha, bits)),
         lambda saved, dy: pure.pact_gradient(*saved, dy), same_shape, _counts)


# ---- BatchNorm, folded in training -----------------------------------------------------------------------------------------

def _bn_weight(w, gamma, var, eps=1e-5):
    inverse = 1 / np.sqrt(var + var.dtype.type(eps))                                              # (F,), a constant
    return w * _rows(gamma * inverse, w), (w, gamma, inverse)


def _bn_weight_vjp(saved, dy):
    w, gamma, inverse = saved
    return dy * _rows(gamma * inverse, w), (dy * w).reshape(len(w), -1).sum(axis=1) * inverse, None


register("batch_norm_weight", _bn_weight, _bn_weight_vjp, same_shape,
         lambda shapes, output, **attributes: Counts(multiplications=size(output), special=2 * shapes[0][0]))


def _bn_correct(w, y, bias, gamma, beta, mean, var, eps=1e-5, momentum=0.1, training=False):
    t = w.dtype.type
    moved = (mean, var)
    m, v = mean, var
    if training:
        n = y.size // y.shape[1]
        if n < 2:
            raise ValueError(f"batch_norm_correct in training needs more than one number a channel, not result {y.shape}")
        m, v = kernels.batch_norm_statistics(y)
        moved = (mean + t(momentum) * (m - mean), var + t(momentum) * (v * t(n / (n - 1)) - var))
    inverse = 1 / np.sqrt(v + t(eps))
    ratio = np.sqrt(var + t(eps)) * inverse if training else np.ones_like(inverse)
    offset = (0 if bias is None else bias) - m                                                    # (F,)
    made = w * _rows(ratio, w), beta + gamma * offset * inverse
    return (*made, *moved), (w, y, bias is not None, gamma, m, inverse, ratio, offset, training)


def _bn_correct_vjp(saved, dw, db, *statistics):
    """With r = σ_r/σ_B and i = 1/σ_B: ∂(w r, β + γ o i)/∂v = (-w r, -γ o i) i²/2; then mean and variance back to y."""
    w, y, has_bias, gamma, mean, inverse, ratio, offset, training = saved
    dmean = -db * gamma * inverse

    def to_y():
        dvar = -0.5 * inverse ** 2 * (ratio * (dw * w).reshape(len(w), -1).sum(axis=1) + db * gamma * offset * inverse)
        n = w.dtype.type(y.size // y.shape[1])
        column = (slice(None), None, None)
        return (dmean / n)[column] + (y - mean[column]) * (2 * dvar / n)[column]
    return (dw * _rows(ratio, w), to_y if training else lambda: np.zeros_like(y), db * gamma * inverse if has_bias else None,
            db * offset * inverse, db, None, None)


def _bn_correct_shape(w, y, bias, gamma, beta, mean, var, **attributes):
    if len(y) != 4 or y[1] != w[0]:
        raise ValueError(f"batch_norm_correct takes a weight (F,…) and its result (N,F,OH,OW), not {tuple(w)} and {tuple(y)}")
    return tuple(w), (w[0],), (w[0],), (w[0],)


register("batch_norm_correct", _bn_correct, _bn_correct_vjp, _bn_correct_shape,
         lambda shapes, output, **attributes: Counts(multiplications=size(output[0]) + size(shapes[1]),
                                                     additions=2 * size(shapes[1]), special=3 * shapes[0][0]),
         runtime=("training",), updates=((2, 5), (3, 6)))
