"""Floor 5: what a network costs. Counts in closed form from one table, and the same counts by counting what is executed."""
from .counting import Executed, count
from .table import CONVENTIONS, Row, Summary, macs, params, summary

__all__ = ["CONVENTIONS", "Executed", "Row", "Summary", "count", "macs", "params", "summary"]
