"""Floor 5: what a network costs. Counts in closed form from one table, and the same counts by counting what is executed.

    table           summary: a row a layer, what it counts and moves; read by any of the conventions
    conventions     what papers and tools count
    memory          peak, live: bytes of activations
    counting        count: a kernel's source run on numbers that count
"""
from .conventions import CONVENTIONS, Convention
from .counting import Executed, count
from .memory import Live, live, peak
from .table import Row, Summary, macs, params, summary

__all__ = ["CONVENTIONS", "Convention", "Executed", "Live", "Row", "Summary", "count", "live", "macs", "params", "peak", "summary"]
