"""Floor 6: every picture. Matplotlib is imported when a picture is drawn, not before.

    canvas          panels, finish, save: an empty figure, its last touches, its file
    charts          pictures, history, accuracy_against_cost
    distributions   histograms: numbers before and after
    graphs          arrows, network: expressions and networks

Every function returns its figure; as the last value of a notebook's cell it shows itself.
"""
from .canvas import finish, panels, save
from .charts import accuracy_against_cost, history, pictures
from .distributions import histograms
from .graphs import arrows, network

__all__ = ["accuracy_against_cost", "arrows", "finish", "histograms", "history", "network", "panels", "pictures", "save"]
