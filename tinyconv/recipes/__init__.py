"""Floor 7: whole studies, each one command. `demo` is the main job; `verifying` counts everything three times."""
from . import demo, exercising, lines, measuring, verifying

__all__ = ["demo", "exercising", "lines", "measuring", "verifying"]
