"""Floor 0: numbers in, numbers out. The closed forms that everything else in the house is checked against.

`geometry` is the only home of the size formula and of its errors; `costs` counts parameters, multiply-adds (MACs) and bytes of
every layer and transform, `attention` those of attention, `low_rank` those of layers written as chains, `algorithms` what Winograd's
and Strassen's save.
Nothing here imports anything, not even NumPy, so that each formula can be read, and tried in a console, by itself.
"""
from .algorithms import (
    strassen_additions,
    strassen_multiplications,
    winograd_products,
    winograd_reduction,
    winograd_tiles,
    winograd_transform_macs,
    winograd_weight_bytes,
)
from .attention import (
    cbam_macs,
    cbam_params,
    dynamic_conv2d_macs,
    dynamic_conv2d_params,
    spatial_attention_macs,
    spatial_attention_params,
    squeeze_excitation_macs,
    squeeze_excitation_params,
)
from .costs import (
    batch_norm_params,
    conv2d_bytes,
    conv2d_interior_macs,
    conv2d_macs,
    conv2d_params,
    depthwise_separable_macs,
    depthwise_separable_ratio,
    filter_pruning_factor,
    im2col_blow_up,
    im2col_bytes,
    linear_macs,
    linear_params,
    matmul_macs,
    pointwise_traffic,
    pool2d_operations,
    quantized_bytes,
    receptive_field,
    receptive_field_of_chain,
    shuffle_groups,
    shuffled_pair_macs,
)
from .geometry import Conv2dGeometry, GeometryError, Pool2dGeometry, conv2d_geometry, output_size, pair, pool2d_geometry
from .low_rank import (
    LOW_RANK_KINDS,
    low_rank_break_even,
    low_rank_conv_geometries,
    low_rank_conv_macs,
    low_rank_conv_params,
    low_rank_linear_macs,
    low_rank_linear_params,
)

__all__ = [
    "Conv2dGeometry", "GeometryError", "LOW_RANK_KINDS", "Pool2dGeometry", "batch_norm_params", "cbam_macs", "cbam_params",
    "conv2d_bytes", "conv2d_geometry", "conv2d_interior_macs", "conv2d_macs", "conv2d_params", "depthwise_separable_macs",
    "depthwise_separable_ratio", "dynamic_conv2d_macs", "dynamic_conv2d_params", "filter_pruning_factor", "im2col_blow_up",
    "im2col_bytes", "linear_macs", "linear_params", "low_rank_break_even", "low_rank_conv_geometries", "low_rank_conv_macs",
    "low_rank_conv_params", "low_rank_linear_macs", "low_rank_linear_params", "matmul_macs", "output_size", "pair",
    "pointwise_traffic", "pool2d_geometry", "pool2d_operations", "quantized_bytes", "receptive_field",
    "receptive_field_of_chain", "shuffle_groups", "shuffled_pair_macs", "spatial_attention_macs", "spatial_attention_params",
    "squeeze_excitation_macs", "squeeze_excitation_params", "strassen_additions", "strassen_multiplications",
    "winograd_products", "winograd_reduction", "winograd_tiles", "winograd_transform_macs", "winograd_weight_bytes",
]
