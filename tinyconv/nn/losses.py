"""Losses as layers, for those who like them so; the formulas stand in ops/loss."""
from .. import functional as F
from .module import Module


class CrossEntropyLoss(Module):
    """-log softmax(scores) at the labels, with label smoothing if asked."""

    def __init__(self, label_smoothing=0.0, reduction="mean"):
        super().__init__()
        self.label_smoothing, self.reduction = label_smoothing, reduction

    def forward(self, scores, labels):
        """scores (N,K), labels (N,) -> the loss."""
        return F.cross_entropy(scores, labels, self.label_smoothing, self.reduction)


class MSELoss(Module):
    """The mean of (x - target)²."""

    def __init__(self, reduction="mean"):
        super().__init__()
        self.reduction = reduction

    def forward(self, x, target):
        """Two tensors of one shape -> the loss."""
        return F.mse_loss(x, target, self.reduction)


class DistillationLoss(Module):
    """(1-λ) H(y, p_s) + λ T² KL(p_t ‖ p_s), mean over the batch."""

    def __init__(self, temperature=4.0, weight=0.9):
        super().__init__()
        self.temperature, self.weight = temperature, weight

    def forward(self, student, teacher, labels):
        """student and teacher (N,K), labels (N,) -> the loss."""
        return F.distillation_loss(student, teacher, labels, self.temperature, self.weight)
