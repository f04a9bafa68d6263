"""Floor 6: every picture. Matplotlib is imported when a picture is drawn, not before.

    canvas          panels, finish, save: an empty figure, its last touches, its file
    charts          pictures, history, accuracy_against_cost
    codes           staircase, error_by_bits, scale_search, sensitivities, bit_table: what quantization does and what it costs
    distributions   histograms: numbers before and after
    graphs          arrows, network: expressions and networks
    layers          kernels, feature_maps, channel_dependency: filters, what they make of a picture, and what an output can see
    rooflines       roofline: layers under the limits of a machine

Every function returns its figure; as the last value of a notebook's cell it shows itself.
"""
from .canvas import finish, panels, save
from .charts import accuracy_against_cost, history, pictures
from .codes import bit_table, error_by_bits, scale_search, sensitivities, staircase
from .distributions import histograms
from .graphs import arrows, network
from .layers import channel_dependency, channel_paths, feature_maps, kernels
from .rooflines import roofline

__all__ = [
    "accuracy_against_cost", "arrows", "bit_table", "channel_dependency", "channel_paths", "error_by_bits", "feature_maps",
    "finish", "histograms", "history", "kernels", "network", "panels", "pictures", "roofline", "save", "scale_search",
    "sensitivities", "staircase",
]
