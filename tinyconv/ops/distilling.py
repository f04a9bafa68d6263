"""Losses of distillation: the pages of compress/distill as operations. The gradient, worked out beside the loss, is what `saved` holds.

    vjp: dL/d(student) = gradient · dy;   the teacher, and the labels, have none

Hints are no entry: with the regressor as a layer they are `mse_loss`.
"""
import numpy as np

from ..compress import distill
from .table import Counts, register, size


def _operation(loss):
    """forward(student, teacher, *labels, **attributes) around a loss of compress/distill, which checks what it is given."""
    def forward(student, teacher, *labels, **attributes):
        value, gradient = loss(student, teacher, *labels, **attributes)
        return np.asarray(value, student.dtype), gradient
    return forward


def _two(gradient, dy):
    return gradient * dy, None


def _three(gradient, dy):
    return gradient * dy, None, None


def _softened(z_s, z_t, labels, temperature=4.0, weight=0.9):
    if not 0 <= weight <= 1:
        raise ValueError(f"weight must lie in [0, 1], not {weight}")
    return distill.kd_loss(z_s, z_t, labels, temperature, weight)


def _scalar(*shapes, **attributes):
    return ()


def _score_counts(shapes, output, **attributes):
    n = size(shapes[0])
    return Counts(special=2 * n, additions=3 * n, multiplications=n, comparisons=n)


def _logit_counts(shapes, output, **attributes):
    n = size(shapes[0])
    return Counts(additions=3 * n, multiplications=n)


def _map_counts(shapes, output):
    """Squares and their sums over the channels of both; then lengths, divisions and differences of the maps."""
    maps = shapes[0][0] * size(shapes[0][2:])
    both = size(shapes[0]) + size(shapes[1])
    return Counts(multiplications=both + 3 * maps, additions=both + 2 * maps, special=2 * maps + 2 * shapes[0][0])


def _gram_counts(shapes, output):
    """Two Gram matrices, their rows' lengths, divisions, one difference."""
    n, products = shapes[0][0], shapes[0][0] * (size(shapes[0]) + size(shapes[1]))
    return Counts(multiplications=products + 3 * n * n, additions=products + 4 * n * n, special=2 * n * n + 2 * n)


def _relation_counts(shapes, output, **attributes):
    """Differences and lengths of all pairs, then the cosines of all triplets, for student and teacher; h of each."""
    n, values = shapes[0][0], size(shapes[0]) + size(shapes[1])
    return Counts(multiplications=(n + n * n) * values, additions=(2 * n + n * n) * values + 2 * n**3, comparisons=n * n + n**3,
                  special=n * values + 2 * n * n)


register("distillation_loss", _operation(_softened), _three, _scalar, _score_counts)
register("logit_matching_loss", _operation(distill.logit_loss), _two, _scalar, _logit_counts)
register("decoupled_distillation_loss", _operation(distill.dkd_loss), _three, _scalar, _score_counts)
register("attention_transfer_loss", _operation(distill.attention_loss), _two, _scalar, _map_counts)
register("similarity_preserving_loss", _operation(distill.similarity_loss), _two, _scalar, _gram_counts)
register("relational_loss", _operation(distill.relational_loss), _two, _scalar, _relation_counts)
