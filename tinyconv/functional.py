"""torch.nn.functional's names, one call each into the table of operations. Arguments and their order follow PyTorch.

Every function takes Tensors (or plain arrays) and returns a Tensor; formulas stand with the operations in `tinyconv.ops`, and
the loops in `tinyconv.kernels`. Where PyTorch keeps hidden state, there is none here: `batch_norm` returns the new
running statistics beside its result, `dropout` takes its random generator, and both take `training`.
"""
from .ops import apply


def _numbers(value):
    """An attribute as JSON: tuples and arrays become lists, at any depth, and NumPy's numbers Python's."""
    if type(value) is int:
        return value
    value = value.tolist() if hasattr(value, "tolist") else value
    return [_numbers(v) for v in value] if isinstance(value, (tuple, list)) else value


def _axis(dim, x):
    """`dim`, a negative one counted from the end. Errors: ValueError if x has no such axis."""
    if not -len(x.shape) <= dim < len(x.shape):
        raise ValueError(f"dim must be an axis of shape {tuple(x.shape)}, not {dim}")
    return int(dim) % len(x.shape)


def conv2d(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, algorithm="auto", bounds=None):
    """Convolution of x (N,C,H,W) with weight (F,C/G,KH,KW) and bias (F,) -> (N,F,OH,OW).

    `padding` may also be "same", "valid" or ((top, bottom), (left, right)). `algorithm` names one of tc.kernels.ALGORITHMS.
    `bounds` (low, high) clips the result in the same pass, as a ReLU, (0, inf), behind it would.
    Cost: KH KW (C/G) F OH OW MACs a picture. Errors: GeometryError printing every size.

    >>> F = tc.functional
    >>> F.conv2d(np.ones((1, 1, 3, 3)), np.ones((1, 1, 3, 3)), padding=1).data[0, 0].astype(int).tolist()
    [[4, 6, 4], [6, 9, 6], [4, 6, 4]]
    """
    return apply("conv2d", x, weight, bias, stride=_numbers(stride), padding=_numbers(padding), dilation=_numbers(dilation),
                 groups=_numbers(groups), algorithm=algorithm, **_clip(bounds))


def _clip(bounds):
    return {} if bounds is None else {"low": float(bounds[0]), "high": float(bounds[1])}


def linear(x, weight, bias=None):
    """x W^T + b: x (…,C), weight (F,C), bias (F,) -> (…,F). Cost: C F MACs a row."""
    return apply("linear", x, weight, bias)


def matmul(a, b):
    """The matrix product over the last two axes: (…,M,K) x (…,K,N) -> (…,M,N). Cost: M K N MACs."""
    return apply("matmul", a, b)


def relu(x):
    """max(x, 0)."""
    return apply("relu", x)


def relu6(x):
    """min(max(x, 0), 6)."""
    return apply("relu6", x)


def leaky_relu(x, negative_slope=0.01):
    """x where positive, negative_slope x elsewhere."""
    return apply("leaky_relu", x, negative_slope=float(negative_slope))


def sigmoid(x):
    """1 / (1 + e^-x)."""
    return apply("sigmoid", x)


def tanh(x):
    """The hyperbolic tangent."""
    return apply("tanh", x)


def silu(x):
    """x sigmoid(x), also called swish."""
    return apply("silu", x)


def hardsigmoid(x):
    """min(max(x + 3, 0), 6) / 6."""
    return apply("hardsigmoid", x)


def hardswish(x):
    """x hardsigmoid(x) (MobileNetV3)."""
    return apply("hardswish", x)


def softmax(x, dim=-1):
    """e^x / Σ e^x along `dim`."""
    return apply("softmax", x, axis=int(dim))


def log_softmax(x, dim=-1):
    """log softmax(x) along `dim`, without overflow."""
    return apply("log_softmax", x, axis=int(dim))


def dropout(x, p=0.5, training=True, rng=None):
    """In training keep each number with probability 1 - p and divide it by 1 - p; otherwise x itself.

    `rng`: the numpy.random.Generator to draw from. Errors: ValueError for p outside [0, 1) or training without rng.
    """
    return apply("dropout", x, p=float(p), training=bool(training), rng=rng)


def stochastic_depth(x, p=0.2, training=True, rng=None):
    """Dropout of whole pictures: in training each is kept with probability 1 - p and divided by it, or 0; otherwise x itself.

    Arguments and errors: dropout's.
    """
    return apply("dropout", x, p=float(p), whole=True, training=bool(training), rng=rng)


def batch_norm(x, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5, bounds=None):
    """Batch normalisation of x (N,C,H,W) -> (y, new running mean, new running variance).

    Unlike PyTorch's it stores nothing: keep outputs 1 and 2 yourself (nn.BatchNorm2d does). `bounds` (low, high) clips y in the same pass,
    as a ReLU, (0, inf), or a ReLU6, (0, 6), behind it would. Errors: ValueError naming the argument.
    """
    return apply("batch_norm", x, weight, bias, running_mean, running_var, momentum=float(momentum), eps=float(eps),
                 training=bool(training), **_clip(bounds))


def local_response_norm(x, size, alpha=1e-4, beta=0.75, k=1.0, places=None):
    """x_c / (k + alpha/size Σ x²)^beta over the `size` channels around c (AlexNet).

    places   where the channels of x stood before some were removed, ascending: what is missing between them counts as 0 (None:
             all are there). Errors: ValueError for places that are not one for each channel, ascending from 0.
    """
    more = {} if places is None else {"places": _numbers(list(places))}
    return apply("local_response_norm", x, n=int(size), alpha=float(alpha), beta=float(beta), k=float(k), **more)


def max_pool2d(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """The largest number of each window; stride None means the kernel size. NaN wins over every number."""
    return apply("max_pool2d", x, kernel_size=_numbers(kernel_size), stride=_numbers(stride), padding=_numbers(padding),
                 dilation=_numbers(dilation), ceil_mode=bool(ceil_mode))


def avg_pool2d(x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
    """The mean of each window, padding counted or not."""
    return apply("avg_pool2d", x, kernel_size=_numbers(kernel_size), stride=_numbers(stride), padding=_numbers(padding),
                 ceil_mode=bool(ceil_mode), count_include_pad=bool(count_include_pad))


def adaptive_avg_pool2d(x, output_size):
    """The mean over windows that cover the plane evenly, as many as `output_size` (1: global average pooling)."""
    return apply("adaptive_avg_pool2d", x, output_size=_numbers(output_size))


def pad(x, padding, mode="constant", value=0.0):
    """Widen planes by [left, right, top, bottom], filled as `mode` says: constant, reflect, replicate, circular."""
    padding = _numbers(padding)
    return apply("pad", x, padding=[padding] * 4 if isinstance(padding, int) else padding, mode=mode, value=float(value))


def flatten(x, start_dim=1):
    """Axes from start_dim on rolled into one: (N,C,H,W) -> (N, C H W)."""
    return apply("flatten", x, start_dim=_axis(start_dim, x))


def concat(tensors, dim=1):
    """Tensors set side by side along `dim` (channels). Errors: TypeError for one tensor, ValueError for shapes that differ."""
    if hasattr(tensors, "shape"):
        raise TypeError("tensors must be a list or tuple of them, not one")
    tensors = tuple(tensors)
    return apply("concat", *tensors, axis=_axis(dim, tensors[0]) if tensors else dim)


def split(x, split_size_or_sections, dim=1):
    """x cut along `dim` into pieces of one size (the last may be shorter), or of the sizes listed. Returns a tuple."""
    axis, sizes = _axis(dim, x), _numbers(split_size_or_sections)
    length = x.shape[axis]
    if isinstance(sizes, int):
        if sizes < 1:
            raise ValueError(f"split_size_or_sections must be at least 1, not {sizes}")
        sizes = [min(sizes, length - at) for at in range(0, length, sizes)]
    return apply("split", x, sizes=sizes, axis=axis)


def channel_shuffle(x, groups):
    """Deal the channels out: (G, C/G) -> (C/G, G) (ShuffleNet). A fixed permutation; its inverse uses C/G groups."""
    return apply("channel_shuffle", x, groups=int(groups))


def take_channels(x, indices):
    """The channels listed, in that order."""
    return apply("take_channels", x, indices=_numbers(list(indices)))


def fake_quantize(x, scale, zero_point, q_min=-128, q_max=127):
    """S (clip(round(x/S) + Z, q_min, q_max) - Z), with the straight-through gradient: 1 where the code was not clipped."""
    return apply("fake_quantize", x, scale=float(scale), zero_point=int(zero_point), q_min=int(q_min), q_max=int(q_max))


def lsq(x, scale, q_min, q_max):
    """S clip(round(x/S), q_min, q_max) with a step that learns: scale (1,), or (F,) for x (F,…) (Esser et al. 2020).

    The gradient of x is straight through, that of S as in tc.compress.quantize.lsq_gradient.
    """
    return apply("lsq", x, scale, q_min=int(q_min), q_max=int(q_max))


def pact(x, alpha, bits=8):
    """x clipped to [0, α] in 2^bits - 1 steps, with a bound that learns: alpha (1,), in place of a ReLU (Choi et al. 2018)."""
    return apply("pact", x, alpha, bits=int(bits))


def cross_entropy(x, labels, label_smoothing=0.0, reduction="mean"):
    """-log softmax(x) at the labels, the mean over the batch: x (N,K), labels (N,) integers."""
    return apply("cross_entropy", x, labels, label_smoothing=float(label_smoothing), reduction=reduction)


def nll_loss(x, labels, reduction="mean"):
    """-x at the labels: cross_entropy for log-probabilities."""
    return apply("nll_loss", x, labels, reduction=reduction)


def mse_loss(x, target, reduction="mean"):
    """The mean of (x - target)²."""
    return apply("mse_loss", x, target, reduction=reduction)


def kl_div(x, target, reduction="batchmean", log_target=False):
    """KL(target ‖ e^x) for log-probabilities x (N,K), summed over classes, mean over the batch ("batchmean")."""
    return apply("kl_div", x, target, reduction=reduction, log_target=bool(log_target))


def distillation_loss(student, teacher, labels, temperature=4.0, weight=0.9):
    """(1-λ) H(y, p_s) + λ T² KL(p_t^T ‖ p_s^T), mean over the batch, λ = weight (Hinton et al. 2015).

    The gradient reaches the student alone. Shapes: student and teacher (N,K) logits, labels (N,).
    """
    return apply("distillation_loss", student, teacher, labels, temperature=float(temperature), weight=float(weight))


def logit_matching_loss(student, teacher, centred=True):
    """mean ‖d‖²/(2K), d = student - teacher, each row less its mean if centred: logits (N,K), the limit of T² KL as T grows.

    Here and below the gradient reaches the student alone; formulas and sources: compress/distill.
    """
    return apply("logit_matching_loss", student, teacher, centred=bool(centred))


def decoupled_distillation_loss(student, teacher, labels, temperature=4.0, alpha=1.0, beta=8.0):
    """T² mean (α TCKD + β NCKD): the true class and the others weighted apart; logits (N,K), labels (N,)."""
    return apply("decoupled_distillation_loss", student, teacher, labels, temperature=float(temperature), alpha=float(alpha),
                 beta=float(beta))


def attention_transfer_loss(student, teacher):
    """mean (u_s - u_t)², u the map Σ_c f² of each picture divided by its length: features (N,C,H,W), channels may differ."""
    return apply("attention_transfer_loss", student, teacher)


def similarity_preserving_loss(student, teacher):
    """‖Ĝ_s - Ĝ_t‖²/N², Ĝ the products F Fᵀ of a batch's features, each row divided by its length: (N,…), widths may differ."""
    return apply("similarity_preserving_loss", student, teacher)


def relational_loss(student, teacher, distance=25.0, angle=50.0):
    """Huber losses of all distances (relative to their mean) and all angles between a batch's features (N,…), weighted."""
    return apply("relational_loss", student, teacher, distance=float(distance), angle=float(angle))


__all__ = sorted(name for name, value in list(globals().items())
                 if callable(value) and not name.startswith("_") and name != "apply")
