"""Low rank: one layer written as a chain of thinner ones.

    svd        linear layers, and convolutions in three ways, as a pair: the best there is (Eckart and Young)
    tucker     a convolution as 1×1, small K×K, 1×1: within a factor sqrt 2 of the best (HOSVD), and improved from there (HOOI)
    polyadic   a convolution as 1×1, KH×1 and 1×KW depthwise, 1×1: alternating least squares, no bound, and what can go wrong
    ranks      by energy, by budget, and one budget for many layers

Weights are returned in the order of the product, the layer that runs first at the end. Strides, padding, parameters and MACs
of each chain: `formulas.low_rank_conv_geometries` and its neighbours. Nothing stands between the layers of a chain; the old
bias goes to the last.
"""
from .polyadic import Polyadic, cp, cp_max_rank, restore_cp
from .ranks import rank_by_budget, rank_by_energy, share_budget, tucker2_ranks_by_energy
from .svd import KINDS, max_rank, restore, singular_values, svd_conv, svd_linear, truncation_error
from .tucker import hooi, hosvd, mode_singular_values, restore_tucker2, tucker2_bound

__all__ = [
    "KINDS", "Polyadic", "cp", "cp_max_rank", "hooi", "hosvd", "max_rank", "mode_singular_values", "rank_by_budget",
    "rank_by_energy", "restore", "restore_cp", "restore_tucker2", "share_budget", "singular_values", "svd_conv", "svd_linear",
    "truncation_error", "tucker2_bound", "tucker2_ranks_by_energy",
]
