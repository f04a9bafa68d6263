"""A network in a file, without its class: one .safetensors file, the arrays as tensors and the graph as JSON in the metadata.

`save` takes a Network, a Graph, or a dict of arrays; `load` gives a Network, or the dict. Arrays stand there
as they are, or encoded. The graph is checked as it is read:
operations, names and shapes must fit the arrays. Nothing in a file is ever executed or unpickled. Writing is atomic: the file is
complete or not there.
"""
import json
from pathlib import Path

import numpy as np

from ..io import read_npz, read_safetensors, write_npz, write_safetensors
from .encoding import decoded, encoded, foretold_bytes
from .network import Network
from .runner import shapes
from .structure import Graph, GraphError, Node

FORMAT = "tinyconv.graph.1"


def graph_as_json(graph):
    """The graph without its arrays, as JSON text."""
    return json.dumps({
        "inputs": [[name, list(shape)] for name, shape in graph.inputs.items()],
        "outputs": list(graph.outputs),
        "parameters": list(graph.parameters),
        "buffers": list(graph.buffers),
        "nodes": [[node.op, list(node.inputs), list(node.outputs), node.attributes, node.module] for node in graph.nodes],
    }, separators=(",", ":"), allow_nan=False)


def graph_from_json(text, arrays):
    """The graph written by `graph_as_json`, with its arrays. Errors: GraphError saying what does not fit."""
    try:
        plan = json.loads(text)
        inputs = {_text(name): tuple(_length(n) for n in shape) for name, shape in plan["inputs"]}
        nodes = tuple(_node(*fields) for fields in plan["nodes"])
        homes = {home: {name: arrays[name] for name in plan[home]} for home in ("parameters", "buffers")}
        outputs = tuple(_text(name) for name in plan["outputs"])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise GraphError(f"the graph in this file cannot be read: {type(error).__name__} {error}") from error
    extra = set(arrays) - set(homes["parameters"]) - set(homes["buffers"])
    if extra:
        raise GraphError(f"arrays that the graph does not know: {', '.join(sorted(extra))}")
    graph = Graph(inputs, nodes, outputs, **homes)
    try:
        shapes(graph)
    except (TypeError, ValueError, LookupError, AttributeError, OverflowError) as error:
        raise GraphError(f"the graph in this file does not fit its arrays: {error}") from error
    return graph


def _text(value):
    if not isinstance(value, str) or not value:
        raise TypeError(f"a name must be text, not {value!r}")
    return value


def _length(value):
    if type(value) is not int or value < 1:
        raise TypeError(f"a length must be a positive integer, not {value!r}")
    return value


def _node(op, inputs, outputs, attributes, module):
    """One node out of the file, each field of the type it must have."""
    if not isinstance(attributes, dict) or not isinstance(module, str) or not outputs:
        raise TypeError(f"{op!r} must have attributes (an object), a module (text) and outputs")
    if not all(value is None or isinstance(value, (str, int, float)) for value in inputs):
        raise TypeError(f"inputs of {op!r} must be names, numbers or null, not {inputs!r}")
    return Node(_text(op), tuple(inputs), tuple(_text(name) for name in outputs), attributes, module)


def save(path, network, encoding=None):
    """Write a Network or Graph (.safetensors) or a dict of arrays (.safetensors or .npz). Returns the length in bytes.

    encoding  None: arrays as they are. A name of `compress.encode.ENCODINGS`, or (name, options): every array of two axes or more
              is encoded so. "smallest": each of them in whichever way is shortest (as it is, or an encoding without needed
              options). {array name: any of these}: the arrays named, and no others.
    Nothing is lost (-0.0 in an encoded array comes back as 0.0), and the length is `saved_bytes(network, encoding)`.
    Errors: TypeError for anything else (a Module of your own: trace it first, or save its state_dict()); ValueError for another
    ending, an array that is not finite, or one that the encoding cannot hold, by name. The old file is then untouched.
    """
    path = Path(path)
    arrays, metadata = _contents(network)
    if metadata and path.suffix != ".safetensors":
        raise ValueError(f"a network is saved as .safetensors, not {path.name!r}")
    if path.suffix not in (".safetensors", ".npz"):
        raise ValueError(f"arrays are saved as .safetensors or .npz, not {path.name!r}")
    if path.suffix == ".npz":
        if encoding is not None:
            raise ValueError(f"encoded arrays are saved as .safetensors, not {path.name!r}")
        write_npz(path, arrays)
    else:
        arrays, encodings = encoded(arrays, encoding)
        write_safetensors(path, arrays, {**metadata, **encodings} or None)
    return path.stat().st_size


def saved_bytes(network, encoding=None):
    """How long the .safetensors file of `save(path, network, encoding)` will be: header and every array by formula.

    >>> tc.graph.saved_bytes({"w": np.zeros((8, 8), np.float32)}, "csr")
    148
    """
    return foretold_bytes(*_contents(network), encoding)


def _contents(network):
    """(arrays, metadata) of what `save` takes: no metadata for a dict of arrays."""
    if isinstance(network, Network):
        network = network.graph
    if isinstance(network, Graph):
        return network.arrays(), {"format": FORMAT, "graph": graph_as_json(network)}
    if isinstance(network, dict) and all(isinstance(a, np.ndarray) for a in network.values()):
        return network, {}
    raise TypeError(f"save takes a Network, a Graph or a dict of arrays, not {type(network).__name__}; "
                    "for a Module of your own: Network(trace(model, input_shape)), or model.state_dict()")


def load(path):
    """What `save` wrote: a Network (in evaluation mode) if the file holds a graph, else the dict of arrays.

    Errors: ValueError naming file and entry for whatever is damaged; nothing is half-loaded.
    """
    path = Path(path)
    if path.suffix == ".npz":
        return read_npz(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"load reads .safetensors and .npz, not {path.name!r}")
    arrays, metadata = read_safetensors(path)
    arrays = decoded(path, arrays, metadata)
    if "graph" not in metadata:
        return arrays
    if metadata.get("format") != FORMAT:
        raise GraphError(f"{path.name}: the graph is written as {metadata.get('format')!r}, this version reads {FORMAT!r}")
    try:
        return Network(graph_from_json(metadata["graph"], arrays)).eval()
    except GraphError as error:
        raise GraphError(f"{path.name}: {error}") from error
