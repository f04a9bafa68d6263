"""Floor 7: the commands. `python -m tinyconv COMMAND`, or `tinyconv COMMAND` once installed; each has --help."""
from .commands import main

__all__ = ["main"]
