"""Floor 5: compress/ carried through networks. Graph in, Graph out; the graph that went in is untouched.

prune removes coupled channels, remove_blocks whole blocks, sparsify zeroes weights, lowrank splits layers, quantize writes the
network in integers; finetune and distill train what came out.
"""
from .distillation import distill
from .finetuning import finetune
from .low_rank import lowrank
from .pruning import chosen_groups, group_scores, prune, random_groups, sparsify
from .quantization import INTEGER, calibrate, quantize
from .shortening import Block, blocks, remove_blocks

__all__ = ["Block", "INTEGER", "blocks", "calibrate", "chosen_groups", "distill", "finetune", "group_scores", "lowrank", "prune",
           "quantize", "random_groups", "remove_blocks", "sparsify"]
