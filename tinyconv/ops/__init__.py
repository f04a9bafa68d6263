"""Floor 2: THE TABLE of operations. Each page registers entries; `apply` runs them, `lookup` finds them.

pages: elementwise reduce shaping linalg conv pool norm loss distilling quant quant_training. The entry's fields are explained in
`table`. LOSSES names the entries that are no layer: a network is traced without them.
"""
from . import conv, distilling, elementwise, linalg, loss, norm, pool, quant, quant_training, reduce, shaping
from .dispatch import apply, recorder, set_recorder
from .table import TABLE, Counts, Op, lookup, register

LOSSES = ("cross_entropy", "nll_loss", "mse_loss", "kl_div", "distillation_loss", "logit_matching_loss",
          "decoupled_distillation_loss", "attention_transfer_loss", "similarity_preserving_loss", "relational_loss")

__all__ = ["Counts", "LOSSES", "Op", "TABLE", "apply", "lookup", "recorder", "register", "set_recorder"]
