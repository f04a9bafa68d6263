"""Floor 6: every picture. Matplotlib is imported when a picture is drawn, not before.

    canvas          panels, finish, save: an empty figure, its last touches, its file
    channels        coupled_channels: which channels of a network must go together
    charts          pictures, history, accuracy_against_cost
    distributions   histograms: numbers before and after
    graphs          arrows, network: expressions and networks
    layers          kernels, feature_maps, channel_dependency: filters, what they make of a picture, and what an output can see
    rooflines       roofline: layers under the limits of a machine

Every function returns its figure; as the last value of a notebook's cell it shows itself.
"""
from .canvas import finish, panels, save
from .channels import coupled_channels
from .charts import accuracy_against_cost, history, pictures
from .distributions import histograms
from .graphs import arrows, network
from .layers import channel_dependency, channel_paths, feature_maps, kernels
from .rooflines import roofline

__all__ = [
    "accuracy_against_cost", "arrows", "channel_dependency", "channel_paths", "coupled_channels", "feature_maps", "finish", "histograms", "history",
    "kernels", "network", "panels", "pictures", "roofline", "save",
]
