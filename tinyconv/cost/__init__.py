"""Floor 5: what a network costs. Counts in closed form from one table, and the same counts by counting what is executed.

    table           summary: a row a layer, what it counts and moves; read by any of the conventions; overview: the totals of
                    several side by side
    conventions     what papers and tools count, and TOOLS, what they print
    memory          peak, live: bytes of activations
    roofline        place: every layer under this machine's roofline, predicted time against measured
    remaining       Remaining, without: the same sums without some coupled channels, nothing built
    energy          joules: by a price list of operations and bytes
    counting        count: a kernel's source run on numbers that count
    execution       execute, closed_form: the steps of every convolution algorithm; row_on_ones: a layer at its real size
"""
from .conventions import CONVENTIONS, TOOLS, Convention, convention, described
from .counting import Executed, count
from .energy import Energy, joules
from .execution import closed_form, execute, row_on_ones
from .memory import Live, live, peak
from .remaining import Cost, Remaining, without
from .roofline import Placed, Placement, place
from .table import Row, Summary, macs, overview, params, summary

__all__ = [
    "CONVENTIONS", "TOOLS", "Convention", "Cost", "Energy", "Executed", "Live", "Placed", "Placement", "Remaining", "Row",
    "Summary", "closed_form", "convention", "count", "described", "execute", "joules", "live", "macs", "overview", "params",
    "peak", "place", "row_on_ones", "summary", "without",
]
