"""Floor 5: compress/ carried through networks. Graph in, Graph out; the graph that went in is untouched.

prune removes coupled channels, sparsify zeroes weights, lowrank splits layers, quantize writes the network in integers;
finetune and distill train what came out.
"""
from .distillation import distill
from .finetuning import finetune
from .low_rank import lowrank
from .pruning import group_scores, prune, sparsify
from .quantization import INTEGER, calibrate, quantize

__all__ = ["INTEGER", "calibrate", "distill", "finetune", "group_scores", "lowrank", "prune", "quantize", "sparsify"]
