"""Every network at work, reduced: it learns, and it is its graph, bit for bit; and every block has the right gradients.

A network of NETWORKS is built narrow, on small pictures, with all its layers: 30 steps of Adam on 16 easy pictures must bring the
mean loss of the last three below nine tenths of the first three's (one whose gradient is wrong, or that does not look at its
picture, stays where it began, at log 10), and `trace` compares it with its graph on fresh inputs. Blocks are checked in float64
against difference quotients.
"""
import inspect

import numpy as np

from .. import data, graph, models, nn, optim
from .. import functional as F
from ..gradient_check import GradientError, gradcheck
from ..tensor import Tensor
from .lines import Line

# the longest beginning of a network's name -> (width, height and width of its pictures); all others: the pictures of a small form
REDUCED = {"alexnet": (1 / 16, 64), "alexnet_paper": (1 / 16, 227), "vgg": (1 / 16, 32), "squeezenet1": (1 / 2, 64),
           "resnet": (1 / 16, 32), "resnet18": (1 / 8, 32), "resnet34": (1 / 8, 32), "resnet20": (1 / 4, 16),
           "resnet32": (1 / 4, 16), "resnet44": (1 / 4, 16), "resnet56": (1 / 4, 16), "resnet110": (1 / 4, 16),
           "se_resnet": (1 / 16, 32), "mobilenet_v1": (1 / 4, 32), "mobilenet_v1_conv": (1 / 16, 32),
           "mobilenet_v2": (1 / 4, 32), "mobilenet_v3": (0.35, 32), "shufflenet": (1 / 4, 32), "efficientnet": (1 / 4, 32),
           "mnasnet": (1 / 2, 32)}
RATES = dict.fromkeys(("resnet152", "resnet152_paper", "squeezenet1_0", "squeezenet1_1"), 1e-3)
# so deep and so narrow, or with a ReLU before the scores, at 2e-3 the loss jumps or stays where nothing learns: rounding decides
PLANE = (2, 4, 4, 5)
BLOCKS = (
    lambda: nn.DepthwiseSeparable(4, 6, 2, rng=0),
    lambda: nn.InvertedResidual(4, 4, 1, 2, rng=0), lambda: nn.InvertedResidual(4, 6, 2, 2, rng=0),
    lambda: nn.MBConv(4, 8, 4, 5, squeeze=2, rng=0),
    lambda: nn.MBConv(4, 8, 6, 3, 2, 2, nn.Hardswish, nn.ReLU, nn.Hardsigmoid, rng=0),
    lambda: nn.Fire(4, 2, 3, 4, rng=0), lambda: nn.BasicBlock(4, 4, rng=0), lambda: nn.BasicBlock(4, 6, 2, rng=0),
    lambda: nn.BasicBlock(4, 7, 2, padded=True, rng=0), lambda: nn.Bottleneck(4, 1, rng=0),
    lambda: nn.Bottleneck(4, 2, 2, stride_first=True, rng=0),
    lambda: nn.Bottleneck(4, 1, attention="se", rng=0),
    lambda: nn.ShuffledPointwise(4, rng=0), lambda: nn.ShuffleUnitV1(4, 4, groups=1, rng=0),
    lambda: nn.ShuffleUnitV1(4, 16, 2, groups=4, first_groups=1, rng=0), lambda: nn.ShuffleUnitV2(4, 4, rng=0),
    lambda: nn.ShuffleUnitV2(4, 6, 2, keep_input=True, rng=0), lambda: nn.SqueezeExcitation(4, 2, rng=0),
    lambda: nn.SoftmaxChannelAttention(4, 2, rng=0), lambda: nn.SpatialAttention(rng=0), lambda: nn.CBAM(4, 2, rng=0),
    lambda: nn.DynamicConv2d(4, 6, 3, 2, 1, 2, temperature=2.0, rng=0))


def reduced(name):
    """(model, pictures (16,C,H,W) float32, labels) of a network: narrow, dropout off, on easy pictures of 10 classes."""
    prefix = max((p for p in REDUCED if name.startswith(p) and (models.input_shape(name)[1] == 3)), key=len, default=None)
    width, size = REDUCED.get(prefix, (1.0, 28))
    channels = models.input_shape(name)[1]
    known = inspect.signature(models.network(name)).parameters
    options = {"dropout": 0.0} if "dropout" in known else {}
    model = models.network(name)(num_classes=10, in_channels=channels, width_mult=width, rng=0, **options)
    images, labels = data.shapes(16, seed=0, difficulty=0.2)
    x = data.as_input(images)[:, :channels]                                                # (16,C,32,32)
    at = np.arange(size) * x.shape[2] // size
    return model, np.ascontiguousarray(x[:, :, at][:, :, :, at]), labels.astype(np.int64)


def losses(model, x, labels, steps=30, lr=2e-3):
    """The loss of each of so many steps of Adam on one batch."""
    found, optimizer = [], optim.Adam(model.parameters(), lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(Tensor(x)), labels)
        loss.backward()
        optimizer.step()
        found.append(float(loss.data))
    return found


def network_lines(progress):
    """A line a network: mean loss of the first and last three steps, and whether the graph is the model."""
    for i, name in enumerate(models.NETWORKS, 1):
        progress(f"networks at work: {i} of {len(models.NETWORKS)}")
        model, x, labels = reduced(name)
        try:
            graph.trace(model, x.shape)
            said = "bit for bit"
        except graph.TraceError as error:
            said = str(error)
        found = losses(model, x, labels, lr=RATES.get(name, 2e-3))
        first, last = (float(np.mean(part)) for part in (found[:3], found[-3:]))
        learns = bool(np.isfinite(found).all()) and last < 0.9 * first
        yield Line(name, round(first, 3), round(last, 3), said, learns and said == "bit for bit")


def right_gradients(build, points=3):
    """Are a block's gradients its difference quotients, in float64 and training mode? "as the quotients", or what gradcheck says.

    A quotient across a corner of ReLU is no derivative: of three random points two must agree.
    """
    said = []
    for seed in range(points):
        block, dice = build().to(np.float64), np.random.default_rng(seed)
        for p in block.parameters():                                                # away from 0 and 1, which hide mistakes
            p.data = p.data + 0.3 * dice.standard_normal(p.shape)
        try:
            gradcheck(block, dice.standard_normal(PLANE), parameters=block.parameters())
        except GradientError as error:
            said.append(str(error).splitlines()[0])
    return "as the quotients" if 2 * len(said) < points else said[0]


def block_lines():
    """A line a block: its parameters, the numbers of its result on PLANE, and its gradients."""
    for build in BLOCKS:
        block, said = build().to(np.float64), right_gradients(build)
        name, y = repr(block).split("\n")[0].rstrip("("), block(Tensor(np.zeros(PLANE)))
        yield Line(name, sum(p.size for p in block.parameters()), y.data.size, said, said == "as the quotients")


def sections(progress):
    """(title, columns, lines) of both."""
    yield "networks at work", ("loss", "30 steps on", "graph"), network_lines(progress)
    yield "blocks", ("params", "results", "gradients"), block_lines()
