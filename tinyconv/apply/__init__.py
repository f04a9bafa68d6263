"""Floor 5: compress/ carried through networks. Graph in, Graph out; the graph that went in is untouched.

prune removes coupled channels, sparsify zeroes weights, lowrank splits layers, quantize writes the network in integers;
finetune and distill train what came out.
"""
from .distillation import distill
from .finetuning import finetune
from .low_rank import lowrank
from .pruning import chosen_groups, group_scores, prune, random_groups, sparsify
from .quantization import INTEGER, calibrate, quantize

__all__ = ["INTEGER", "calibrate", "chosen_groups", "distill", "finetune", "group_scores", "lowrank", "prune", "quantize",
           "random_groups", "sparsify"]
