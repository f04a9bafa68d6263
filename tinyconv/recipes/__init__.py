"""Floor 7: whole studies, each one command. `demo` is the main job."""
from . import demo, measuring

__all__ = ["demo", "measuring"]
