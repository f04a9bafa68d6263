"""Floor 7: whole studies, each one command. `demo` is the main job; `training` trains one network; `verifying` counts
everything three times.
"""
from . import demo, exercising, lines, measuring, training, verifying

__all__ = ["demo", "exercising", "lines", "measuring", "training", "verifying"]
