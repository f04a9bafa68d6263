"""Pruning: which weights or filters go, and what a network looks like without them.

Two things that are often confused. *Zeroing* weights (a mask) leaves every array as large as it was: it saves nothing until a
sparse format stores it. *Removing* filters gives smaller arrays: fewer parameters, fewer MACs, less time.

Conventions of these pages
    mask     bool, the shape of the weight, True = kept. Exactly k = exact_count(n, sparsity) entries are False.
    score    one float64 number a weight or filter; the smallest scores go, equal scores by index, the lower first.
    kept     int64 indices of the filters or channels that stay, ascending: what stays keeps its order and its bits.

    choosing       exactly k of the smallest; masks, of one array or of several together
    weights        scores of single weights: gradient, Taylor, movement, LAMP; magnitude; N of every M
    filters        scores of whole filters: L1, L2, geometric median, BatchNorm's γ, Taylor three times, random
    second_order   the Hessian of a layer's output error; optimal brain damage, and surgeon with its update
    schedules      how sparsity grows: cubic, linear
    proximal       L1 and group lasso with the steps that give exact zeros
    taking         arrays without some filters or channels

Sources: Han et al., "Learning both weights and connections" (2015), magnitude; Li et al., "Pruning filters for efficient
ConvNets" (2017), L1 of filters; Blalock et al., "What is the state of neural network pruning?" (2020), why a random control;
the others stand with their functions.
"""
from .choosing import (
    choose_smallest,
    exact_count,
    generator,
    kept_after,
    mask_smallest,
    mask_smallest_of_all,
    masked,
    shuffled_mask,
)
from .filters import (
    batch_norm_scores,
    geometric_median_scores,
    l1_scores,
    l2_scores,
    random_scores,
    taylor_abs_sum_scores,
    taylor_sum_abs_scores,
    taylor_sum_squares_scores,
)
from .proximal import group_lasso, group_soft_threshold, l1, soft_threshold
from .schedules import cubic_sparsity, linear_sparsity
from .second_order import (
    damped_inverse,
    layer_columns,
    layer_hessian,
    obd_scores,
    obs_prune,
    obs_scores,
    obs_update,
    output_error,
    output_errors,
)
from .taking import depthwise_filters, take_channels, take_filters
from .weights import (
    global_magnitude,
    gradient_scores,
    lamp_scores,
    magnitude,
    movement_scores,
    n_of_m,
    random_weight_scores,
    taylor_scores,
)

__all__ = [
    "batch_norm_scores", "choose_smallest", "cubic_sparsity", "damped_inverse", "depthwise_filters", "exact_count",
    "generator", "geometric_median_scores", "global_magnitude", "gradient_scores", "group_lasso", "group_soft_threshold", "kept_after", "l1",
    "l1_scores", "l2_scores", "lamp_scores", "layer_columns", "layer_hessian", "linear_sparsity", "magnitude", "mask_smallest",
    "mask_smallest_of_all", "masked", "movement_scores", "n_of_m", "obd_scores", "obs_prune", "obs_scores", "obs_update",
    "output_error", "output_errors", "random_scores", "random_weight_scores", "shuffled_mask", "soft_threshold", "take_channels", "take_filters",
    "taylor_abs_sum_scores", "taylor_scores", "taylor_sum_abs_scores", "taylor_sum_squares_scores",
]
