"""What a network that was trained with quantization has learned: its weights as codes, and the scales of its values.

`settle` takes the nodes that stand for quantization out of a Graph. What they make of weights (BatchNorm folded, x̂) becomes the
weight; what they know of values (step, zero point, end codes) is kept beside it. The Graph that is left is an ordinary float
network, on whose weights every number is S times a code; `quantize` writes it in integers with the scales that were learned.
"""
from dataclasses import dataclass, replace

import numpy as np

from ..compress import quantize as pure
from ..graph import Graph
from ..graph.structure import unused
from ..ops import lookup
from ..ops.quant_training import weight_scale

ON_WEIGHTS = ("fake_quantize_weight", "lsq", "batch_norm_weight", "batch_norm_correct")
ON_VALUES = ("fake_quantize", "fake_quantize_range", "lsq", "pact")


@dataclass(frozen=True)
class Settled:
    """A plain Graph; weights: name -> scale (F,) or (1,); scales: value -> (S, Z) of int8 codes; ends: value -> its end codes."""

    graph: Graph
    weights: dict
    scales: dict
    ends: dict

    def codes(self, name):
        """(codes int8, scale) of a weight that has learned ones, or None."""
        if name not in self.weights:
            return None
        w, scale = self.graph.array(name), self.weights[name]
        axis, scale = (0, scale) if len(scale) > 1 else (None, scale[0])
        return pure.quantize(w, scale, 0, -127, 127, axis), scale

    def clip(self, name, bounds):
        """(low, high): the bounds of an activation, or None, narrowed to what the codes of a value reach."""
        if name not in self.ends:
            return bounds
        (scale, zero), ends = self.scales[name], self.ends[name]
        low, high = (float(scale) * (end - int(zero)) for end in ends)
        return max([low, *[v for v in bounds[:1] if v is not None]]), min([high, *[v for v in bounds[1:] if v is not None]])


def _of_value(node, arrays):
    """((S, Z), (q_min, q_max)) in int8 codes of a node that quantizes a value. Unsigned codes 0 … n are -128 … n - 128 there."""
    given, attributes = [arrays.get(name) for name in node.inputs[1:]], node.attributes
    if node.op == "fake_quantize":
        scale, zero, ends = np.float32(attributes["scale"]), attributes["zero_point"], (attributes["q_min"], attributes["q_max"])
    elif node.op == "fake_quantize_range":
        (scale, zero), ends = pure.affine(given[0][0], given[1][0], attributes["bits"]), pure.code_range(attributes["bits"])
    elif node.op == "lsq":
        scale, zero, ends = given[0][0], 0, (attributes["q_min"], attributes["q_max"])
    else:
        ends = pure.code_range(attributes["bits"], signed=False)
        scale, zero = given[0][0] / given[0].dtype.type(ends[1]), 0
    move = -128 if ends[1] > 127 or ends[0] == 0 else 0
    return (scale, np.int32(zero + move)), (ends[0] + move, ends[1] + move)


def settle(g):
    """The Settled form of a Graph; one without such nodes is left as it is, with nothing known of its scales."""
    known, scale_of, home = dict(g.arrays()), {}, {name: name for name in g.arrays()}
    renamed, scales, ends, nodes, made = {}, {}, {}, [], {}
    for node in g.nodes:
        inputs = tuple(renamed.get(v, v) if isinstance(v, str) else v for v in node.inputs)
        if node.op in ON_WEIGHTS and inputs[0] in known:
            values = _evaluated(node, inputs, known)
            known.update(zip(node.outputs, values))
            home[node.outputs[0]] = home[inputs[0]]
            if node.op == "batch_norm_correct":
                home[node.outputs[1]] = inputs[2] or f"{home[inputs[0]].removesuffix('weight')}bias"
            if node.op == "lsq":
                scale_of[node.outputs[0]] = known[inputs[1]]
            elif node.op == "fake_quantize_weight":
                scale_of[node.outputs[0]] = weight_scale(known[inputs[0]], **node.attributes)
            elif inputs[0] in scale_of:
                scale_of[node.outputs[0]] = scale_of[inputs[0]]
        elif node.op in ON_VALUES:
            name = renamed[node.outputs[0]] = inputs[0]
            scales[name], ends[name] = _of_value(node, known)
        else:
            nodes.append(replace(node, inputs=inputs))
    outputs = tuple(renamed.get(name, name) for name in g.outputs)
    nodes = _alive(nodes, outputs)
    taken = {*g.inputs, *(o for node in nodes for o in node.outputs), *g.arrays()}
    weights, parameters = {}, dict(g.parameters)
    for name in dict.fromkeys(v for node in nodes for v in node.values() if v in known and v not in g.arrays()):
        made[name] = home[name] if home[name] in g.arrays() else unused(home[name], taken)
        taken.add(made[name])
        parameters[made[name]] = known[name]
        if name in scale_of:
            weights[made[name]] = scale_of[name]
    nodes = tuple(replace(node, inputs=tuple(made.get(v, v) if isinstance(v, str) else v for v in node.inputs)) for node in nodes)
    return Settled(g.replace(nodes=nodes, outputs=outputs, parameters=parameters), weights, scales, ends)


def _evaluated(node, inputs, known):
    """What a node on weights makes outside training; the result that BatchNorm was measured on is not needed there."""
    arguments = [known.get(v) if isinstance(v, str) else v for v in inputs]
    values = lookup(node.op).forward(*arguments, **node.attributes)[0]
    return values if isinstance(values, tuple) else (values,)


def _alive(nodes, outputs):
    """The nodes that the outputs depend on."""
    needed, kept = set(outputs), []
    for node in reversed(nodes):
        if needed & set(node.outputs):
            kept.append(node)
            needed.update(node.values())
    return kept[::-1]
