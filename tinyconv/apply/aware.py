"""Quantization in the loop: a Graph in which weights and values pass through their codes, evaluated as it is or trained so.

    x -> [quantize] -> conv(x̂, ŵ) -> BatchNorm -> ReLU -> [quantize] -> …
`fake_quantized` puts a node wherever the integer network will have codes: at the input, behind every layer with its activation,
and in front of every weight. Computation stays in floats, every number on the grid of its codes. `qat` trains such a Graph, the
rounding straight through; tc.apply.quantize(…) then writes it in integers with the scales it has.
Sources: Jacob et al. 2018, section 3; Esser et al. 2020; Choi et al. 2018.
"""
import itertools
from dataclasses import replace

import numpy as np

from .. import train
from ..compress import quantize as pure
from ..graph import Graph, GraphError, Network, Node, fold_batch_norms, run
from ..graph.folding import foldable
from ..graph.structure import unused
from ._checks import check_graph, layer_weights
from .finetuning import tuned
from .quantization import _fusions
from .ranges import ranges_of

METHODS = ("lsq", "pact", "min-max")
FLOAT = 32
LAYERS = ("conv2d", "linear", "add", "adaptive_avg_pool2d")


def _checked_bits(value, name):
    if value != FLOAT:
        pure.code_range(value)
    return value


def layer_bits(g, bits, edge_bits=8):
    """weight -> bits: an integer for all layers, the first and last at least `edge_bits`; or a dict by weight, others 32.

    >>> g = tc.trace(tc.models.mobilenet_v1_small(rng=0), (1, 1, 28, 28))
    >>> sorted(set(tc.apply.layer_bits(g, 4).values()))
    [4, 8]
    """
    names = list(layer_weights(g))
    if isinstance(bits, dict):
        strange = set(bits) - set(names)
        if strange:
            raise ValueError(f"bits must name weights of layers, not {', '.join(sorted(strange))}; they are {', '.join(names)}")
        return {name: _checked_bits(bits.get(name, FLOAT), "bits") for name in names}
    _checked_bits(bits, "bits")
    return {name: max(bits, edge_bits) if name in (names[0], names[-1]) else bits for name in names}


class _Writer:
    """The Graph while it is being written: nodes, new arrays, and under which name a value is read from now on."""

    def __init__(self, g):
        self.g, self.nodes, self.renamed = g, [], {}
        self.parameters, self.buffers = dict(g.parameters), dict(g.buffers)
        self.taken = {*g.inputs, *g.arrays(), *g.producers()}

    def name(self, name):
        """A name that nothing else has."""
        name = unused(name, self.taken)
        self.taken.add(name)
        return name

    def made(self, op, inputs, name, module, **attributes):
        """Append a node with one output and return the output's name."""
        output = self.name(name)
        self.nodes.append(Node(op, inputs, (output,), attributes, module))
        return output

    def parameter(self, name, array):
        """A new parameter; its name."""
        name = self.name(name)
        self.parameters[name] = array
        return name

    def buffer(self, name, array):
        """A new buffer; its name."""
        name = self.name(name)
        self.buffers[name] = array
        return name

    def value(self, name, bits, bounds, method, module):
        """Quantize value `name`; who comes after reads the result."""
        low, high = bounds
        output = self.name(f"{name}/quantized")
        if method == "lsq" or (method == "pact" and low >= 0):
            ends = (0, 2 ** bits - 1) if low >= 0 else pure.code_range(bits)
            reach = max(max(-low, high), pure.EPS)
            scale = np.float32([reach / ends[1] if method == "lsq" else reach])
            learned = self.parameter(f"{name}/{'step' if method == 'lsq' else 'clip'}", scale)
            attributes = dict(q_min=ends[0], q_max=ends[1]) if method == "lsq" else dict(bits=bits)
            self.nodes.append(Node(method, (name, learned), (output,), attributes, module))
        else:
            ends = [self.buffer(f"{name}/{word}", np.float32([v])) for word, v in (("low", low), ("high", high))]
            outputs = (output, *(self.name(f"{name}/new_{word}") for word in ("low", "high")))
            self.nodes.append(Node("fake_quantize_range", (name, *ends), outputs, dict(bits=bits, momentum=0.01), module))
        self.renamed[name] = output

    def weight(self, name, array, bits, method, per_channel, module):
        """The quantized form of weight `name`, which now has the values `array`: the name of the result."""
        if method == "lsq":
            scale = np.atleast_1d(pure.search_scale(array, bits, 0 if per_channel else None, steps=50))
            q_min, q_max = pure.code_range(bits, narrow=True)
            inputs = (name, self.parameter(f"{name.split('/')[0]}/step", scale))
            return self.made("lsq", inputs, f"{name}/quantized", module, q_min=q_min, q_max=q_max)
        return self.made("fake_quantize_weight", (name,), f"{name}/quantized", module, bits=bits, per_channel=per_channel)


def fake_quantized(g, calibration, bits=8, activation_bits=8, method="min-max", calibrator="mse", per_channel=True, edge_bits=8,
                   batch_size=100):
    """The Graph whose weights and values pass through their codes: what its integer form computes, in floats, to run or train.

    calibration      pictures (N,C,H,W), uint8 or float32;  calibrator: of `ranges`, for the ranges of values
    bits             of weights: 2-8, or 32 (float), or a dict weight -> bits;  activation_bits  of values: 2-8 or 32
    method           "min-max" (S from max|w| at every step, ranges a moving average), "lsq" (learned steps, which begin at those
                     of least squared error), "pact" (learned clips where values are not negative, else as min-max)
    edge_bits        at least so many for the first and last weight, the input and the result
    BatchNorm behind a convolution is folded into the weight in front of Q and stays trainable (ops/quant_training). Errors: those
    of calibration; ValueError for bits, method; GraphError for a graph without weights.
    """
    check_graph(g)
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, not {method!r}")
    wanted, (folded, fused) = layer_bits(g, bits, edge_bits), _folded(g)
    _checked_bits(activation_bits, "activation_bits")
    if not wanted:
        raise GraphError("g must have convolution or linear layers with float weights, and has none")
    points, edge = {}, max(activation_bits, edge_bits)
    if activation_bits != FLOAT:
        points = dict.fromkeys(g.inputs, edge)
        for node in folded.nodes:
            if node.op in LAYERS:
                name = fused[node.outputs[0]].outputs[0] if node.outputs[0] in fused else node.outputs[0]
                points[name] = edge if name in g.outputs else activation_bits
    bounds = ranges_of(folded, calibration, points, calibrator, batch_size) if points else {}
    w = _Writer(g)
    for name in g.inputs:
        if name in points:
            w.value(name, points[name], bounds[name], method, "")
    readers = g.consumers()
    norms = {n.inputs[0]: n for n in g.nodes if n.op == "batch_norm"}
    skipped = set()
    for node in g.nodes:
        if node.outputs[0] in skipped:
            continue
        norm = norms.get(node.outputs[0])
        last = node
        if node.op in ("conv2d", "linear") and wanted.get(node.inputs[1], FLOAT) != FLOAT:
            if node.op == "conv2d" and norm is not None and foldable(g, node, norm, readers):
                _with_norm(w, node, norm, folded, wanted[node.inputs[1]], method, per_channel)
                skipped.add(norm.outputs[0])
                last = norm
            else:
                name = node.inputs[1]
                coded = w.weight(name, g.array(name), wanted[name], method, per_channel, node.module)
                inputs = _renamed(w, (node.inputs[0], coded, *node.inputs[2:]))
                w.nodes.append(Node(node.op, inputs, node.outputs, node.attributes, node.module))
        else:
            w.nodes.append(Node(node.op, _renamed(w, node.inputs), node.outputs, node.attributes, node.module))
        if last.outputs[0] in points:
            name = last.outputs[0]
            w.value(name, points[name], bounds[name], method, node.module)
    outputs = tuple(w.renamed.get(name, name) for name in g.outputs)
    return Graph(g.inputs, tuple(w.nodes), outputs, w.parameters, w.buffers)


def _folded(g):
    """The graph with BatchNorm folded, and which activation belongs to which layer in it."""
    folded = fold_batch_norms(g)
    return folded, _fusions(folded)


def _renamed(w, inputs):
    return tuple(w.renamed.get(v, v) if isinstance(v, str) else v for v in inputs)


def _with_norm(w, conv, norm, folded, bits, method, per_channel):
    """conv -> BatchNorm as: the convolution for its statistics, the folded weight quantized, and the convolution with that."""
    x, weight, bias = (*_renamed(w, conv.inputs), None)[:3]
    gamma, beta, mean, var = norm.inputs[1:5]
    channels = len(w.g.array(weight))
    gamma = gamma or w.buffer(f"{weight}/gamma", np.ones(channels, np.float32))
    beta = beta or w.buffer(f"{weight}/beta", np.zeros(channels, np.float32))
    eps, momentum = norm.attributes.get("eps", 1e-5), norm.attributes.get("momentum", 0.1)
    w.nodes.append(Node("conv2d", (x, weight, bias), conv.outputs, conv.attributes, conv.module))
    front = w.made("batch_norm_weight", (weight, gamma, var), f"{weight}/folded", conv.module, eps=eps)
    coded = w.weight(front, folded.array(weight), bits, method, per_channel, conv.module)
    names = tuple(w.name(f"{weight}/{word}") for word in ("corrected", "offset", "new_mean", "new_var"))
    w.nodes.append(Node("batch_norm_correct", (coded, conv.outputs[0], bias, gamma, beta, mean, var), names,
                        dict(eps=eps, momentum=momentum), conv.module))
    w.nodes.append(Node("conv2d", (x, *names[:2]), norm.outputs[:1], conv.attributes, conv.module))


class _Learner(Network):
    """A Network that can be trained on with statistics and ranges as they stand: what evaluation will use."""

    frozen = False

    def forward(self, *inputs):
        if not (self.training and self.frozen):
            return super().forward(*inputs)
        return run(self.structure, *inputs, values={**self._parameters, **self._buffers})

    def freeze(self, pictures):
        """From now on as it stands, BatchNorm's running statistics being exactly those of these pictures: an average that follows
        moving weights lags behind them, and would be frozen with its lag. Steps of folded weights move with w γ/σ, by σ/σ', so
        that no weight changes its code."""
        momentum = {"batch_norm": 1.0, "batch_norm_correct": 1.0, "fake_quantize_range": 0.0}
        nodes = tuple(replace(n, attributes={**n.attributes, "momentum": momentum[n.op]}) if n.op in momentum else n
                      for n in self.structure.nodes)
        updates = {}
        run(self.structure.replace(nodes=nodes), pictures, training=True, rng=self.rng, values=self.state_dict(), updates=updates)
        folds = {n.outputs[0]: n for n in self.structure.nodes if n.op == "batch_norm_weight"}
        for node in self.structure.nodes:
            if node.op == "lsq" and node.inputs[0] in folds:
                var, eps = folds[node.inputs[0]].inputs[2], folds[node.inputs[0]].attributes["eps"]
                step, ratio = self._parameters[node.inputs[1]].data, np.sqrt((self._buffers[var] + eps) / (updates[var] + eps))
                step *= ratio if len(step) == len(ratio) else ratio.mean()
        self._buffers.update(updates)
        self.frozen = True


def qat(g, images, labels, bits=4, activation_bits=8, method="lsq", epochs=2, lr=0.02, calibration=None, calibrator="mse",
        per_channel=True, edge_bits=8, freeze=0.1, keep_zeros=False, history=None, **options):
    """Quantization-aware training: `fake_quantized`, trained on images and labels; tc.apply.quantize makes integers of it.

    calibration  pictures that fix where ranges and steps begin (the first 500 of `images`, if None)
    freeze       the last part of all steps, a fraction, is trained with ranges and BatchNorm's statistics standing still, the
                 latter measured on `calibration` first: few bits do not forgive that evaluation uses others than training did
                 (Krishnamoorthi 2018, section 3.2.2)
    keep_zeros, history    as in finetune;  options  train.fit's: batch_size, weight_decay, …
    Learned steps stay positive: one that a training step brings below a hundredth of where it began is put there. g is untouched.
    Errors: those of fake_quantized and of train.fit.
    """
    if not 0 <= freeze <= 1:
        raise ValueError(f"freeze must be a fraction from 0 to 1, not {freeze!r}")
    start = images[:500] if calibration is None else calibration
    ready = fake_quantized(g, start, bits, activation_bits, method, calibrator, per_channel, edge_bits)
    least = {n.inputs[1]: ready.array(n.inputs[1]) / 100 for n in ready.nodes if n.op in ("lsq", "pact")}

    net, steps = _Learner(ready), itertools.count(1)
    total, pictures = epochs * -(-len(images) // options.get("batch_size", 64)), train.as_batch(np.asarray(start))

    def after_step(net):
        for name, floor in least.items():
            p = net._parameters[name]
            np.maximum(p.data, floor, out=p.data)
        if not net.frozen and next(steps) >= (1 - freeze) * total and freeze:
            net.freeze(pictures)
    return tuned(net, images, labels, epochs, lr, keep_zeros, history, after_step, **options)


def bit_grid(g, calibration, test, weight_bits=(32, 8, 4, 2), activation_bits=(32, 8, 4, 2), trained=None, **options):
    """Accuracy (rows weight bits, columns activation bits) on test = (images, labels), float64, each a fraction.

    trained  None: `fake_quantized` as it is; or (images, labels, epochs): each but 32 × 32 after `qat`. options: theirs.
    """
    table = np.empty((len(weight_bits), len(activation_bits)))
    for i, wb in enumerate(weight_bits):
        for j, ab in enumerate(activation_bits):
            if wb == ab == FLOAT:
                made = g
            elif trained is None:
                made = fake_quantized(g, calibration, wb, ab, **options)
            else:
                made = qat(g, trained[0], trained[1], wb, ab, epochs=trained[2], calibration=calibration, **options)
            table[i, j] = train.accuracy(made, *test)
    return table
