"""Distillation: the losses by which a small network (the student) learns from a large one (the teacher), with their gradients.

    logits      temperature distillation in both usual forms, logit matching
    decoupled   what the teacher says of the true class, and of the others, weighted apart
    features    hints, attention transfer: maps inside the network, picture by picture
    relations   similarity-preserving, relational: how alike and how far apart the pictures of a batch are

Every loss returns (L, gradients in what is the student's): arrays in, arrays out, no network. `apply.distill` trains with them.
"""
from .decoupled import decoupled_terms, dkd_loss
from .features import attention_loss, attention_map, hint_loss
from .logits import kd_alpha_loss, kd_loss, kl_divergence, log_softmax, logit_loss, softmax
from .relations import angle_loss, distance_loss, relational_loss, similarity_loss

__all__ = [
    "angle_loss", "attention_loss", "attention_map", "decoupled_terms", "distance_loss", "dkd_loss", "hint_loss", "kd_alpha_loss",
    "kd_loss", "kl_divergence", "log_softmax", "logit_loss", "relational_loss", "similarity_loss", "softmax",
]
