"""How tests/onnx_nodes.npz was made: python benchmarks/make_onnx_nodes.py, with onnx installed.

The onnx package's own node tests of the operators on 8-bit codes: their inputs, attributes and expected outputs, with the version of onnx. Left
out are types that no code here has (4 and 16 bits, float8, float4) and blocks of scales.
"""
import json
import pathlib
import sys
import warnings

import numpy as np
import onnx
import onnx.backend.test.case.node as nodes

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tinyconv.io import write_npz  # noqa: E402

OPERATORS = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "QLinearConv", "QLinearMatMul")
KINDS = {"uint8", "int8", "int32", "float32", "float16"}


def cases():
    """(name, operator, attributes, inputs, outputs) of every node test that fits."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nodes.collect_testcases(None)
    for case in nodes._NodeTestCases:
        graph = case.model.graph.node
        if len(graph) != 1 or graph[0].op_type not in OPERATORS:
            continue
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in graph[0].attribute}
        inputs, outputs = case.data_sets[0]
        if all(str(getattr(a, "dtype", "")) in KINDS for a in (*inputs, *outputs)) and "block_size" not in attributes:
            yield case.name, graph[0].op_type, attributes, inputs, outputs


def main():
    """Write the file: NAME/0, NAME/1, … inputs, NAME/y0, … outputs, and a line of JSON for each case."""
    arrays, lines = {}, {"onnx": onnx.__version__}
    for name, operator, attributes, inputs, outputs in cases():
        lines[name] = {"operator": operator, "attributes": attributes}
        for letter, values in (("", inputs), ("y", outputs)):
            arrays.update({f"{name}/{letter}{i}": np.asarray(value) for i, value in enumerate(values)})
    arrays["cases"] = np.frombuffer(json.dumps(lines).encode(), np.uint8)
    path = ROOT / "tests" / "onnx_nodes.npz"
    write_npz(path, arrays)
    print(f"{path.name}: {len(lines) - 1} cases, {path.stat().st_size:,} bytes, onnx {onnx.__version__}")


if __name__ == "__main__":
    main()
