"""The onnx package's node tests of operators on 8-bit codes, fed in: every output equal. benchmarks/make_onnx_nodes.py wrote the arrays."""
import json
import pathlib

import numpy as np
import pytest

from tinyconv.io import read_npz
from tinyconv.kernels import integer

ARRAYS = read_npz(pathlib.Path(__file__).with_name("onnx_nodes.npz"))
CASES = json.loads(ARRAYS["cases"].tobytes())
ONNX = CASES.pop("onnx")


def number(a):
    """A scale or zero point: one number, or a row; float16 scales are float32 numbers."""
    a = a.astype(np.float32) if a.dtype == np.float16 else a
    return a.reshape(())[()] if a.size == 1 else a


def quantize(x, scale, zero, axis=1):
    return [integer.quantize_linear(x, number(scale), number(zero), zero.dtype, axis=axis if scale.ndim else None)]


def dequantize(q, scale, zero, axis=1):
    return [integer.dequantize_linear(q, number(scale), number(zero), axis=axis if scale.ndim else None)]


def conv_integer(x, w, x_zero, w_zero=np.uint8(0), pads=(0, 0, 0, 0)):
    return [integer.conv_integer(x, number(x_zero), w, number(np.asarray(w_zero)), padding=((pads[0], pads[2]), (pads[1], pads[3])))]


def conv(x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, **attributes):
    scales = [number(v) for v in (x_scale, x_zero, w_scale, w_zero, y_scale, y_zero)]
    return [integer.qlinear_conv(x, *scales[:2], w, *scales[2:], dtype=y_zero.dtype, **attributes)]


def matmul(a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero):
    if a.ndim == 3:
        return [np.stack([matmul(one, a_scale, a_zero, two, b_scale, b_zero, y_scale, y_zero)[0] for one, two in zip(a, b)])]
    scales = [number(v) for v in (a_scale, a_zero, b_scale, b_zero, y_scale, y_zero)]
    return [integer.qlinear_matmul(a, *scales[:2], np.ascontiguousarray(b.T), *scales[2:], dtype=y_zero.dtype)]


OPERATORS = {"QuantizeLinear": quantize, "DequantizeLinear": dequantize, "DynamicQuantizeLinear": integer.dynamic_quantize_linear,
             "ConvInteger": conv_integer, "QLinearConv": conv, "QLinearMatMul": matmul}


@pytest.mark.small
def test_the_file_holds_every_operator():
    """Made with the onnx that is named, at least one case of each operator."""
    assert ONNX == "1.23.2" and {case["operator"] for case in CASES.values()} == set(OPERATORS) and len(CASES) >= 17


@pytest.mark.small
@pytest.mark.parametrize("name", CASES)
def test_node(name):
    """Each output equals the one recorded, type and shape included."""
    operator, attributes = OPERATORS[CASES[name]["operator"]], CASES[name]["attributes"]
    inputs = [ARRAYS[f"{name}/{i}"] for i in range(sum(key.startswith(f"{name}/") and "/y" not in key for key in ARRAYS))]
    outputs = operator(*inputs, **attributes)
    for i, y in enumerate(outputs):
        wanted = ARRAYS[f"{name}/y{i}"]
        assert np.asarray(y).dtype == wanted.dtype and np.shape(y) == wanted.shape
        np.testing.assert_array_equal(y, wanted)
    assert f"{name}/y{len(outputs)}" not in ARRAYS
