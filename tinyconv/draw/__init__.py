"""Floor 6: every picture. Matplotlib is imported when a picture is drawn, not before.

    canvas          panels, finish, save: an empty figure, its last touches, its file
    channels        coupled_channels: which channels of a network must go together
    charts          pictures, history, accuracy_against_cost
    codes           staircase, error_by_bits, scale_search, sensitivities, bit_table: what quantization does and what it costs
    comparing       landscape, shares: networks by two of their costs, and what a cost is made of
    distributions   histograms: numbers before and after
    flows           channel_flow: which channels meet, step by step
    graphs          arrows, network: expressions and networks
    layers          kernels, feature_maps, attention_maps, channel_dependency: filters, what they make of a picture, where
                    attention looks, and what an output can see
    ledgers         ledger: bytes by part, stage by stage
    repeated        trials: one experiment with several seeds, its controls and its costs
    rooflines       roofline: layers under the limits of a machine

Every function returns its figure; as the last value of a notebook's cell it shows itself.
"""
from .canvas import finish, panels, save
from .channels import coupled_channels
from .charts import accuracy_against_cost, history, pictures
from .codes import bit_table, error_by_bits, scale_search, sensitivities, staircase
from .comparing import landscape, shares
from .distributions import histograms
from .flows import channel_flow
from .graphs import arrows, network
from .layers import attention_maps, channel_dependency, channel_paths, feature_maps, kernels
from .ledgers import ledger
from .repeated import trials
from .rooflines import roofline

__all__ = [
    "accuracy_against_cost", "arrows", "attention_maps", "bit_table", "channel_dependency", "channel_flow", "channel_paths",
    "coupled_channels", "error_by_bits", "feature_maps", "finish", "histograms", "history", "kernels", "landscape", "ledger",
    "network", "panels", "pictures", "roofline", "save", "scale_search", "sensitivities", "shares", "staircase", "trials",
]
