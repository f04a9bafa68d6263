"""Quantization as array transforms: numbers as small integers, as few different numbers, or as shorter floats.

    codes          scale and zero point, affine and symmetric, per tensor and channel; codes and back; the straight-through mask
    groups         a scale for every few weights of a filter
    packing        codes of 1, 2 and 4 bits, several to a byte
    powers         scales that are powers of two, and the logarithmic code
    calibration    which range: min-max, moving average, percentile, squared error, KL
    sharing        k-means: K different weights;  codebooks    whole pieces of weights from a codebook
    signs          binary (XNOR) and ternary weights
    floats         float16 and bfloat16
    integers       BatchNorm folded, biases, sums that fit into 32 bits
    equalising     layers scaled against each other, biases absorbed and corrected
    rounding       AdaRound: up or down, chosen for the layer's output
    trained        learned step (LSQ) and learned clip (PACT), with their gradients

Every name is had from here: tc.compress.quantize.affine, tc.compress.quantize.share, …
"""
from .calibration import (observe_histogram, observe_min_max, observe_moving_average, range_by_kl, range_by_mse,
                          range_by_percentile, samples_of, search_scale, squared_error)
from .codebooks import from_products, from_vectors, product_bits, products, vector_bits, vectors
from .codes import (EPS, affine, code_range, dequantize, fake_quantize, quantize, quantize_weight, straight_through, symmetric,
                    value_range)
from .equalising import absorb_high_bias, bias_correction, equalise, equalising_scales, expected_relu
from .floats import FORMATS, float_bits, from_float_bits, round_to
from .groups import dequantize_groups, quantize_groups
from .integers import INT32_MAX, accumulator_bound, fold_batch_norm, quantize_bias, scale_that_fits_bias
from .packing import pack, packed_bytes, unpack
from .powers import from_logarithmic, logarithmic, power_of_two
from .rounding import adaround, rounding_error
from .sharing import codebook_gradient, kmeans, share, shared
from .signs import binary, ternary
from .trained import lsq, lsq_gradient, lsq_start, pact, pact_gradient

__all__ = [
    "EPS", "FORMATS", "INT32_MAX", "absorb_high_bias", "accumulator_bound", "adaround", "affine", "bias_correction", "binary",
    "code_range", "codebook_gradient", "dequantize", "dequantize_groups", "equalise", "equalising_scales", "expected_relu",
    "fake_quantize", "float_bits", "fold_batch_norm", "from_float_bits", "from_logarithmic", "from_products", "from_vectors",
    "kmeans", "logarithmic", "lsq", "lsq_gradient", "lsq_start", "observe_histogram", "observe_min_max", "observe_moving_average",
    "pack", "packed_bytes", "pact", "pact_gradient", "power_of_two", "product_bits", "products", "quantize", "quantize_bias",
    "quantize_groups", "quantize_weight", "range_by_kl", "range_by_mse", "range_by_percentile", "round_to", "rounding_error",
    "samples_of", "scale_that_fits_bias", "search_scale", "share", "shared", "squared_error", "straight_through", "symmetric",
    "ternary", "unpack", "value_range", "vector_bits", "vectors",
]
