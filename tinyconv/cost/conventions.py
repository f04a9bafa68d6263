"""What is a multiply-add, and of which layers? Eleven answers, each a column over the same table, each with somebody's numbers.

A convention says for each kind of layer how many operations a row of the table counts; kinds that it does not name count nothing.
The papers' own count of ResNet-50 is 4,089,184,256; the tools make up to 4,133,742,592 of it, or twice as many:

    paper          MACs of convolution and linear layers, taps on padding counted; bias, BatchNorm, activation and pooling not.
                   torchvision's GFLOPS column, AIMET, and fvcore before it counted BatchNorm say the same
    interior       the same without the taps that fall on zero padding: the multiplications a program cannot avoid
    conv           convolutions alone (ShuffleNet's Table 2 leaves the classifier out, MobileNet's Table 4 as well)
    bias           an addition more for each output of a layer with bias (Kim et al. 2016; ptflops with its aten engine)
    squeeze        squeeze-excitation's averages and products counted too, one a number each (Hu et al. 2018)
    fvcore         paper, 2 a number for BatchNorm and 1 a number for global pooling; ReLU and other pools not (`jit_handles.py`)
    ptflops_0_7_0  bias, 2 a number for BatchNorm, 1 for ReLU and for each number that is pooled (up to this version;
                   Torch-Pruning's counter, a copy of it, too)
    ptflops        later versions hook the module and the function that it calls, and so count ReLU and pools twice
    thop           paper, 4 a number for BatchNorm ("fused in inference", says a comment), 1 an average, its additions if adaptive
    torchinfo      parameters times pixels for a convolution; parameters alone for everything else, BatchNorm included
    torch          torch.utils.flop_counter: 2 a MAC

Rules of the tools were read in their sources. They see modules, so a function called outside one may escape them; here every row
counts as the module that PyTorch has for it. 1 MAC = 2 FLOPs, though some call the MAC a FLOP: `unit` is the tool's own word.
"""
from typing import NamedTuple

from ..formulas import conv2d_geometry, conv2d_interior_macs
from ..models.building import Printed
from ..ops.table import size

_INTEGER = {"qconv2d": "conv2d", "qlinear": "linear", "qglobal_average_pool": "adaptive_avg_pool2d",
            "qmax_pool2d": "max_pool2d", "qavg_pool2d": "avg_pool2d"}


class Convention(NamedTuple):
    """What a tool or paper calls its operations, and how many a row of a kind counts: kind -> function of the row."""

    unit: str
    rules: dict

    def count(self, row):
        """Operations of one row (`table.Row`), an integer; kinds without a rule count 0."""
        rule = self.rules.get(as_float(row.kind))
        return 0 if rule is None else rule(row)


def as_float(kind):
    """The operation whose counts an integer one has: "qconv2d" counts as "conv2d"."""
    return _INTEGER.get(kind, kind)


def geometry_of(row):
    """The `Conv2dGeometry` of a convolution's row."""
    steps = {key: row.attributes[key] for key in ("stride", "padding", "dilation", "groups") if key in row.attributes}
    return conv2d_geometry(*row.inputs[:2], **steps)


def described(row):
    """The row's operation in words, of a convolution how it looks: "depthwise 3x3"."""
    if as_float(row.kind) != "conv2d":
        return row.kind
    g = geometry_of(row)
    word = "depthwise" if g.is_depthwise else "grouped" if g.groups > 1 else "pointwise" if g.kh == g.kw == 1 else "convolution"
    return f"{word} {g.kh}x{g.kw}"


def macs(row):
    """Multiply-adds, padding taps counted."""
    return row.counts.macs


def interior_macs(row):
    """Multiply-adds of a convolution without the taps on padding."""
    return conv2d_interior_macs(geometry_of(row))


def macs_and_bias(row):
    """Multiply-adds, and an addition an output where there is a bias."""
    return row.counts.macs + row.counts.additions


def _of_input(times):
    return lambda row: times * size(row.inputs[0])


def _of_output(times):
    return lambda row: times * size(row.shape)


def _thop_adaptive(row):
    """(window + 1) an output, the window H/OH times W/OW whether or not that is whole."""
    (h, w), (oh, ow) = row.inputs[0][2:], row.shape[2:]
    return int((h / oh * w / ow + 1) * size(row.shape))


def _parameters(row):
    """Numbers of weight and bias, once for each picture."""
    return row.shape[0] * sum(size(shape) for shape in row.inputs[1:3] if shape is not None)


_LAYERS = {"conv2d": macs, "linear": macs, "matmul": macs}
_BIASED = {"conv2d": macs_and_bias, "linear": macs_and_bias, "matmul": macs}
_ONCE = dict.fromkeys(("relu", "relu6", "leaky_relu", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d"), _of_input(1))
_TWICE = dict.fromkeys(("relu", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d"), _of_input(2))

CONVENTIONS = {
    "paper": Convention("MACs", _LAYERS),
    "interior": Convention("MACs", {**_LAYERS, "conv2d": interior_macs}),
    "conv": Convention("MACs", {"conv2d": macs}),
    "bias": Convention("MACs + bias", _BIASED),
    "squeeze": Convention("MACs + scale", {**_LAYERS, "mul": _of_output(2)}),
    "fvcore": Convention("flops", {**_LAYERS, "batch_norm": _of_input(2), "adaptive_avg_pool2d": _of_input(1)}),
    "ptflops_0_7_0": Convention("MACs", {**_BIASED, **_ONCE, "batch_norm": _of_input(2)}),
    "ptflops": Convention("MACs", {**_BIASED, **_ONCE, **_TWICE, "batch_norm": _of_input(2), "silu": _of_input(1)}),
    "thop": Convention("MACs", {"conv2d": macs, "linear": macs, "batch_norm": _of_input(4), "avg_pool2d": _of_output(1),
                                "adaptive_avg_pool2d": _thop_adaptive}),
    "torchinfo": Convention("mult-adds", {"conv2d": macs_and_bias, "linear": _parameters, "batch_norm": _parameters}),
    "torch": Convention("FLOPs", {kind: lambda row: 2 * row.counts.macs for kind in _LAYERS}),
}

# what tools print of networks, and where; what papers print of them stands on the networks' own pages
TOOLS = (
    Printed("resnet50", "macs", "8178368512", "torch 2.13, flop_counter", "torch"),
    Printed("mobilenet_v2", "macs", "601548544", "torch 2.13, flop_counter", "torch"),
    Printed("resnet50", "macs", "4.13 G", "ptflops README", "ptflops"),
    Printed("resnet18", "macs", "1.83 G", "ptflops README", "ptflops"),
    Printed("vgg16", "macs", "15.52 G", "ptflops README", "ptflops"),
    Printed("resnet50", "macs", "4.12 G", "ptflops, issues 76 and 94", "ptflops_0_7_0"),
    Printed("resnet18", "macs", "1.822177768 G", "Torch-Pruning README", "ptflops_0_7_0"),
    Printed("resnet50", "macs", "4.09 G", "torchinfo's tests: 8.18 G for two pictures", "torchinfo"),
)


def convention(name):
    """The convention of that name. Errors: ValueError naming those there are."""
    if name not in CONVENTIONS:
        raise ValueError(f"convention must be one of {', '.join(CONVENTIONS)}, not {name!r}")
    return CONVENTIONS[name]
