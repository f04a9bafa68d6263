"""Floor 6: every picture. Matplotlib is imported when a picture is drawn, not before."""
from .charts import accuracy_against_cost, history, pictures, save

__all__ = ["accuracy_against_cost", "history", "pictures", "save"]
