"""Floor 2: THE TABLE of operations. Each page registers entries; `apply` runs them, `lookup` finds them.

pages: elementwise reduce shaping linalg conv pool norm loss quant quant_training. The entry's fields are explained in `table`.
"""
from . import conv, elementwise, linalg, loss, norm, pool, quant, quant_training, reduce, shaping
from .dispatch import apply, recorder, set_recorder
from .table import TABLE, Counts, Op, lookup, register

__all__ = ["Counts", "Op", "TABLE", "apply", "lookup", "recorder", "register", "set_recorder"]
