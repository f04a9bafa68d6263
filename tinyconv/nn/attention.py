"""Attention: weights that depend on the picture, for channels, for pixels, and for whole filters.

    squeeze and excitation    y_c = x_c σ(W₂ δ(W₁ mean x))_c                    a factor a channel, each by itself in (0, 1)
    softmax over channels     y = Σ_c a_c x_c,  a = softmax(W₂ δ(W₁ mean x))    Σ a_c = 1: one map, the channels compete
    spatial                   y = x σ(w * [mean_c x; max_c x])                  a factor a pixel, from 7x7 of two maps
    CBAM                      channels, from mean and maximum over the plane, then pixels
    dynamic convolution       y = W(x) * x,  W(x) = Σ_k π_k(x) W_k,  Σ π_k = 1
δ is ReLU, σ the sigmoid unless another gate is named; W₁ squeezes C channels to C/r, W₂ expands them again. Cost of squeezing and
expanding: 2 C²/r MACs a picture, whatever the plane; of the spatial form: 98 MACs a pixel.
Sources: Hu, Shen & Sun 2018, equations 2-4; Woo, Park, Lee & Kweon 2018 (CBAM), equations 1-3; Chen et al. 2020 (dynamic
convolution), equation 3 and section 3.2.
"""
import numpy as np

from .. import functional as F
from .activations import ReLU, Sigmoid
from .layers import Conv2d, _positive
from .module import Module, ModuleList


class SqueezeExcitation(Module):
    """y_c = x_c gate(W₂ activation(W₁ mean x))_c: (N,C,H,W) -> (N,C,H,W), `squeeze` channels between. Names: torchvision's
    (`fc1`, `fc2`).
    """

    def __init__(self, c, squeeze, activation=ReLU, gate=Sigmoid, rng=None):
        super().__init__()
        rng = np.random.default_rng(rng)
        self.fc1, self.fc2 = Conv2d(c, squeeze, 1, rng=rng), Conv2d(squeeze, c, 1, rng=rng)
        self.activation, self.gate = activation(), gate()

    def weigh(self, x):
        """The factors: (N,C,H,W) -> (N,C,1,1)."""
        return self.gate(self.fc2(self.activation(self.fc1(F.adaptive_avg_pool2d(x, 1)))))

    def forward(self, x):
        """Every channel times its factor."""
        return x * self.weigh(x)


class SoftmaxChannelAttention(Module):
    """y = Σ_c a_c x_c with Σ a_c = 1: (N,C,H,W) -> (N,1,H,W). The factors compete: one channel is read at another's expense."""

    def __init__(self, c, squeeze, rng=None):
        super().__init__()
        rng = np.random.default_rng(rng)
        self.fc1, self.fc2 = Conv2d(c, squeeze, 1, rng=rng), Conv2d(squeeze, c, 1, rng=rng)

    def weigh(self, x):
        """The factors: (N,C,H,W) -> (N,C,1,1), which sum to 1 over the channels."""
        return F.softmax(self.fc2(F.relu(self.fc1(F.adaptive_avg_pool2d(x, 1)))), dim=1)

    def forward(self, x):
        """The weighted mean of the channels."""
        return (x * self.weigh(x)).sum(axis=1, keepdims=True)


class SpatialAttention(Module):
    """y = x σ(w * [mean_c x; max_c x]): (N,C,H,W) -> (N,C,H,W), one factor for all channels of a pixel, from K x K of its
    neighbours.
    """

    def __init__(self, kernel_size=7, rng=None):
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, so that a factor stands in the middle of its window, not {kernel_size}")
        self.conv = Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False, rng=rng)

    def weigh(self, x):
        """The factors: (N,C,H,W) -> (N,1,H,W)."""
        return F.sigmoid(self.conv(F.concat([x.mean(axis=1, keepdims=True), x.max(axis=1, keepdims=True)], dim=1)))

    def forward(self, x):
        """Every pixel times its factor."""
        return x * self.weigh(x)


class CBAM(Module):
    """Channels, then pixels: x' = x σ(M(mean x) + M(max x)) with one M = W₂ δ(W₁ ·) for both, y = spatial attention of x'."""

    def __init__(self, c, squeeze, kernel_size=7, rng=None):
        super().__init__()
        rng = np.random.default_rng(rng)
        self.fc1, self.fc2 = Conv2d(c, squeeze, 1, bias=False, rng=rng), Conv2d(squeeze, c, 1, bias=False, rng=rng)
        self.spatial = SpatialAttention(kernel_size, rng=rng)

    def weigh(self, x):
        """The channels' factors: (N,C,H,W) -> (N,C,1,1)."""
        views = F.adaptive_avg_pool2d(x, 1), x.max(axis=(2, 3), keepdims=True)
        mean, largest = (self.fc2(F.relu(self.fc1(view))) for view in views)
        return F.sigmoid(mean + largest)

    def forward(self, x):
        """(N,C,H,W) -> (N,C,H,W)."""
        return self.spatial(x * self.weigh(x))


class DynamicConv2d(Module):
    """A convolution whose filters are mixed for each picture: y = W(x) * x, W(x) = Σ_k π_k(x) W_k, Σ π_k = 1.

    π = softmax(W₂ δ(W₁ mean x) / temperature); a high temperature (the paper begins with 30) keeps all K filters in play.
    Mixing the filters costs K F C/G KH KW products a picture and one convolution; here Σ_k π_k (W_k * x) is computed, K
    convolutions, which is the same because convolution is linear in W, and keeps the batch in one call. (N,C,H,W) ->
    (N,F,OH,OW). Other arguments: Conv2d's.
    """

    def __init__(self, c, f, kernel_size, stride=1, padding=0, groups=1, bias=True, experts=4, temperature=30.0, rng=None):
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0, not {temperature}")
        rng = np.random.default_rng(rng)
        squeeze, self.temperature = max(1, c // 4), float(temperature)
        self.fc1 = Conv2d(c, squeeze, 1, bias=False, rng=rng)
        self.fc2 = Conv2d(squeeze, _positive(experts, "experts"), 1, rng=rng)
        self.experts = ModuleList(Conv2d(c, f, kernel_size, stride, padding, groups=groups, bias=bias, rng=rng)
                                  for _ in range(experts))

    def weigh(self, x):
        """π: (N,C,H,W) -> (N,K,1,1), which sum to 1 over the K filters."""
        return F.softmax(self.fc2(F.relu(self.fc1(F.adaptive_avg_pool2d(x, 1)))) * (1 / self.temperature), dim=1)

    def forward(self, x):
        """Σ_k π_k (W_k * x + b_k)."""
        y = None
        for pi, expert in zip(F.split(self.weigh(x), 1, dim=1), self.experts):
            part = pi * expert(x)                                                         # (N,1,1,1) x (N,F,OH,OW)
            y = part if y is None else y + part
        return y


def attention_of(kind, c, squeeze, rng=None):
    """The attention of that name for C channels: "se", "spatial" or "cbam"; None is none. Errors: ValueError naming what there
    is.
    """
    if kind is None:
        return None
    kinds = {"se": lambda: SqueezeExcitation(c, squeeze, rng=rng), "spatial": lambda: SpatialAttention(rng=rng),
             "cbam": lambda: CBAM(c, squeeze, rng=rng)}
    if kind not in kinds:
        raise ValueError(f"attention must be None, {', '.join(map(repr, kinds))}, not {kind!r}")
    return kinds[kind]()
