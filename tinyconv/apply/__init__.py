"""Floor 5: compress/ carried through networks. Graph in, Graph out; the graph that went in is untouched.

prune removes coupled channels, sparsify zeroes weights, lowrank splits layers, quantize writes the network in integers;
finetune and distill train what came out, qat trains with quantization in the loop, search_bits gives every layer its own bits.
"""
from .aware import bit_grid, fake_quantized, layer_bits, qat
from .bit_search import search_bits, sensitivity, weight_bytes
from .curvature import hessian_times, layer_gradient, top_eigenvalue
from .distillation import distill
from .finetuning import finetune
from .low_rank import lowrank
from .pruning import group_scores, prune, sparsify
from .quantization import INTEGER, calibrate, quantize
from .rounding import adaround
from .settling import settle

__all__ = ["INTEGER", "adaround", "bit_grid", "calibrate", "distill", "fake_quantized", "finetune", "group_scores",
           "hessian_times", "layer_bits", "layer_gradient", "lowrank", "prune", "qat", "quantize", "search_bits", "sensitivity",
           "settle", "sparsify", "top_eigenvalue", "weight_bytes"]
