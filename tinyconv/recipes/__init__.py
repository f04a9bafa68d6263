"""Floor 7: whole studies, each one command. `demo` is the main job; `training` trains one network; `compressing` has the
recipes, each a study with its controls (`study`), `keeping` what was kept of them; `verifying` counts everything three times.
"""
from . import compressing, demo, exercising, keeping, lines, measuring, study, training, verifying

__all__ = ["compressing", "demo", "exercising", "keeping", "lines", "measuring", "study", "training", "verifying"]
