"""The layers: each keeps its arguments and parameters under PyTorch's names and calls one function of `functional`.

Weights begin as PyTorch's do: Kaiming-uniform with a = sqrt 5, that is uniform on ± 1/sqrt(fan_in), biases likewise.
`rng`: None (fresh), a seed, or a Generator. Shapes: images (N,C,H,W), vectors (N,C).
"""
import math

import numpy as np

from .. import functional as F
from ..formulas import pair
from . import init
from .module import Module, Parameter


def _bias(shape, fan_in, wanted, rng):
    bound = 1 / math.sqrt(fan_in)
    return Parameter(rng.uniform(-bound, bound, shape).astype(np.float32)) if wanted else None


def _positive(value, name):
    if not hasattr(value, "__index__") or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be an integer of at least 1, not {value!r}")
    return int(value)


class Conv2d(Module):
    """Convolution (N,C,H,W) -> (N,F,OH,OW), weight (F,C/G,KH,KW). Arguments as torch.nn.Conv2d, and `algorithm`.

    `padding` also takes "same", "valid" and ((top, bottom), (left, right)). Errors: ValueError for sizes below 1, groups that do
    not divide, an unknown padding mode.

    >>> tc.nn.Conv2d(3, 8, 3, stride=2, padding=1)(tc.Tensor(np.zeros((1, 3, 9, 9), np.float32))).shape
    (1, 8, 5, 5)
    """

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True,
                 padding_mode="zeros", algorithm="auto", rng=None):
        super().__init__()
        self.in_channels, self.out_channels = _positive(in_channels, "in_channels"), _positive(out_channels, "out_channels")
        self.kernel_size, self.stride = pair(kernel_size, "kernel_size", least=1), pair(stride, "stride", least=1)
        self.dilation, self.groups, self.padding = pair(dilation, "dilation", least=1), _positive(groups, "groups"), padding
        if in_channels % groups or out_channels % groups:
            raise ValueError(f"groups must divide in_channels and out_channels, not {groups} with {in_channels} and {out_channels}")
        if padding_mode not in ("zeros", "reflect", "replicate", "circular"):
            raise ValueError(f"padding_mode must be zeros, reflect, replicate or circular, not {padding_mode!r}")
        if padding_mode != "zeros" and isinstance(padding, str):
            raise ValueError(f"padding_mode {padding_mode!r} needs padding in numbers, not {padding!r}")
        self.padding_mode, self.algorithm = padding_mode, algorithm
        rng = np.random.default_rng(rng)
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self.weight = Parameter(init.kaiming_uniform(shape, a=math.sqrt(5), rng=rng))
        self.bias = _bias(out_channels, init.fans(shape)[0], bias, rng)

    def forward(self, x):
        """(N,C,H,W) -> (N,F,OH,OW)."""
        padding = self.padding
        if self.padding_mode != "zeros":
            vertical, horizontal = padding if isinstance(padding, (tuple, list)) else (padding, padding)
            (top, bottom), (left, right) = pair(vertical, "padding", least=0), pair(horizontal, "padding", least=0)
            x, padding = F.pad(x, [left, right, top, bottom], mode=self.padding_mode), 0
        return F.conv2d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups, self.algorithm)

    def describe(self):
        rest = [f"{name}={value}" for name, value, usual in (("padding", self.padding, 0), ("dilation", self.dilation, (1, 1)),
                                                             ("groups", self.groups, 1),
                                                             ("bias", self.bias is not None, True),
                                                             ("padding_mode", self.padding_mode, "zeros")) if value != usual]
        return ", ".join([str(self.in_channels), str(self.out_channels), f"kernel_size={self.kernel_size}",
                          f"stride={self.stride}", *rest])


class Linear(Module):
    """x W^T + b: (…,C) -> (…,F), weight (F,C).

    >>> tc.nn.Linear(3, 2)(tc.Tensor(np.zeros((5, 3), np.float32))).shape
    (5, 2)
    """

    def __init__(self, in_features, out_features, bias=True, rng=None):
        super().__init__()
        self.in_features, self.out_features = _positive(in_features, "in_features"), _positive(out_features, "out_features")
        rng = np.random.default_rng(rng)
        self.weight = Parameter(init.kaiming_uniform((out_features, in_features), a=math.sqrt(5), rng=rng))
        self.bias = _bias(out_features, in_features, bias, rng)

    def forward(self, x):
        """(…,C) -> (…,F)."""
        return F.linear(x, self.weight, self.bias)

    def describe(self):
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class BatchNorm2d(Module):
    """Batch normalisation of (N,C,H,W), a channel at a time (formula: ops/norm). Running statistics as PyTorch keeps them:

        running = (1 - momentum) running + momentum batch,  the batch's variance unbiased (M/(M-1))
    """

    def __init__(self, num_features, eps=1e-5, momentum=0.1, affine=True, track_running_stats=True):
        super().__init__()
        self.num_features, self.eps, self.momentum = _positive(num_features, "num_features"), float(eps), float(momentum)
        self.affine, self.track_running_stats = bool(affine), bool(track_running_stats)
        self.weight = Parameter(np.ones(num_features, np.float32)) if affine else None
        self.bias = Parameter(np.zeros(num_features, np.float32)) if affine else None
        if track_running_stats:
            self.register_buffer("running_mean", np.zeros(num_features, np.float32))
            self.register_buffer("running_var", np.ones(num_features, np.float32))

    def forward(self, x):
        """(N,C,H,W) -> (N,C,H,W); in training the running statistics move."""
        track = self.track_running_stats
        mean, var = (self.running_mean, self.running_var) if track else (None, None)
        y, mean, var = F.batch_norm(x, mean, var, self.weight, self.bias, self.training or not track, self.momentum, self.eps)
        if self.training and track:
            self.running_mean, self.running_var = mean.data, var.data
        return y

    def describe(self):
        return (f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
                f"track_running_stats={self.track_running_stats}")


class LocalResponseNorm(Module):
    """x_c / (k + alpha/size Σ x²)^beta over neighbouring channels (AlexNet)."""

    def __init__(self, size, alpha=1e-4, beta=0.75, k=1.0):
        super().__init__()
        self.size, self.alpha, self.beta, self.k = _positive(size, "size"), alpha, beta, k

    def forward(self, x):
        """(N,C,H,W) -> (N,C,H,W)."""
        return F.local_response_norm(x, self.size, self.alpha, self.beta, self.k)

    def describe(self):
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


class MaxPool2d(Module):
    """The largest number of each window (arguments as torch.nn.MaxPool2d)."""

    def __init__(self, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
        super().__init__()
        self.arguments = (kernel_size, kernel_size if stride is None else stride, padding, dilation, ceil_mode)

    def forward(self, x):
        """(N,C,H,W) -> (N,C,OH,OW)."""
        return F.max_pool2d(x, *self.arguments)

    def describe(self):
        return "kernel_size={}, stride={}, padding={}, dilation={}, ceil_mode={}".format(*self.arguments)


class AvgPool2d(Module):
    """The mean of each window (arguments as torch.nn.AvgPool2d)."""

    def __init__(self, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
        super().__init__()
        self.arguments = (kernel_size, kernel_size if stride is None else stride, padding, ceil_mode, count_include_pad)

    def forward(self, x):
        """(N,C,H,W) -> (N,C,OH,OW)."""
        return F.avg_pool2d(x, *self.arguments)

    def describe(self):
        return "kernel_size={}, stride={}, padding={}, ceil_mode={}, count_include_pad={}".format(*self.arguments)


class AdaptiveAvgPool2d(Module):
    """The mean over windows that cover the plane evenly; output_size 1 is global average pooling."""

    def __init__(self, output_size):
        super().__init__()
        self.output_size = output_size

    def forward(self, x):
        """(N,C,H,W) -> (N,C,OH,OW)."""
        return F.adaptive_avg_pool2d(x, self.output_size)

    def describe(self):
        return f"output_size={self.output_size}"


class Flatten(Module):
    """(N,C,H,W) -> (N, C H W)."""

    def __init__(self, start_dim=1):
        super().__init__()
        self.start_dim = start_dim

    def forward(self, x):
        """Axes from start_dim on rolled into one."""
        return F.flatten(x, self.start_dim)

    def describe(self):
        return f"start_dim={self.start_dim}"


class Identity(Module):
    """x itself."""

    def forward(self, x):
        """x."""
        return x


class ChannelShuffle(Module):
    """Deal the channels out over groups (ShuffleNet)."""

    def __init__(self, groups):
        super().__init__()
        self.groups = _positive(groups, "groups")

    def forward(self, x):
        """(N,C,H,W) -> (N,C,H,W), channels permuted."""
        return F.channel_shuffle(x, self.groups)

    def describe(self):
        return f"groups={self.groups}"


class Dropout(Module):
    """In training each number is kept with probability 1 - p and divided by it. `rng`: a seed or Generator of its own."""

    def __init__(self, p=0.5, rng=None):
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"p must lie in [0, 1), not {p}")
        self.p, self.rng = float(p), np.random.default_rng(rng)

    def forward(self, x):
        """x, thinned out in training."""
        return F.dropout(x, self.p, self.training, self.rng)

    def describe(self):
        return f"p={self.p}"


class StochasticDepth(Module):
    """In training each picture's numbers are all kept, and divided by 1 - p, or all 0 with probability p: a branch that is left
    out (Huang et al. 2016). `rng`: a seed or Generator of its own.
    """

    def __init__(self, p=0.2, rng=None):
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"p must lie in [0, 1), not {p}")
        self.p, self.rng = float(p), np.random.default_rng(rng)

    def forward(self, x):
        """x, whole pictures thinned out in training."""
        return F.stochastic_depth(x, self.p, self.training, self.rng)

    def describe(self):
        return f"p={self.p}"
