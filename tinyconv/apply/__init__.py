"""Floor 5: compress/ carried through networks. Graph in, Graph out; the graph that went in is untouched.

prune removes coupled channels, remove_blocks whole blocks, sparsify zeroes weights (n_of_m in a pattern, obs_sparsify with the others
following, with_masks by name), lowrank splits layers, quantize writes the network in integers; finetune and distill train what came out;
sparse_train, slim and soft_prune make sparse while they train; prune_iteratively prunes and trains in turns, find_ticket looks for a
lottery ticket; qat trains with quantization in the loop, train_projected with weights of one form (signs, clusters), search_bits
gives every layer its own bits.
"""
from ._checks import layer_weights
from .aware import bit_grid, fake_quantized, layer_bits, qat
from .bit_search import search_bits, sensitivity, weight_bytes
from .curvature import hessian_times, layer_gradient, top_eigenvalue
from .distillation import distill
from .finetuning import finetune
from .iterating import find_ticket, prune_iteratively
from .low_rank import lowrank
from .projecting import project, to_clusters, to_signs, train_projected, with_sign_codes
from .pruning import chosen_groups, group_scores, prune, random_groups
from .quantization import INTEGER, quantize
from .ranges import CALIBRATORS, calibrate
from .rounding import adaround
from .scoring import CRITERIA, WEIGHT_CRITERIA, weight_scores
from .settling import settle
from .shortening import Block, blocks, remove_blocks
from .sparse_training import slim, soft_prune, sparse_train
from .sparsifying import n_of_m, obs_sparsify, sparsify, with_masks

__all__ = ["Block", "CALIBRATORS", "CRITERIA", "INTEGER", "WEIGHT_CRITERIA", "adaround", "bit_grid", "blocks", "calibrate", "chosen_groups",
           "distill", "fake_quantized", "find_ticket", "finetune", "group_scores", "hessian_times", "layer_bits",
           "layer_gradient", "layer_weights", "lowrank", "n_of_m", "obs_sparsify", "project", "prune", "prune_iteratively",
           "qat", "quantize", "random_groups", "remove_blocks", "search_bits", "sensitivity", "settle", "slim", "soft_prune",
           "sparse_train", "sparsify", "to_clusters", "to_signs", "top_eigenvalue", "train_projected", "weight_bytes",
           "weight_scores", "with_masks", "with_sign_codes"]
