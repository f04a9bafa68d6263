"""A small network learns from a large one: the loop around compress/distill's loss.

    L = (1-λ) H(y, p_s) + λ T² KL(p_t^T ‖ p_s^T), mean over the batch; the teacher in evaluation mode, without gradient.
"""
import numpy as np

from .. import functional as F
from .. import train
from ..graph import Graph, Network


def distill(student, teacher, images, labels, temperature=4.0, weight=0.9, epochs=5, lr=0.1, history=None, **options):
    """Train `student` (a Graph or Module) on the labels and on the scores of `teacher` (a Graph or Module, of the same classes).

    Returns the trained Graph for a Graph; a Module is trained in place and returned. weight = λ, temperature = T. Options:
    train.fit's. Errors: ValueError if the teacher has other classes than the student.
    """
    model = Network(student) if isinstance(student, Graph) else student
    first = train.predict(model, images[:1]).shape, train.predict(teacher, images[:1]).shape
    if first[0] != first[1]:
        raise ValueError(f"student and teacher must have the same classes, not {first[0][1]} and {first[1][1]}")

    def loss(net, x, y):
        scores = net(x)
        taught = np.ascontiguousarray(train.predict(teacher, x.data, len(y)))
        return F.distillation_loss(scores, taught, y, temperature, weight), scores
    rows = train.fit(model, images, labels, epochs=epochs, lr=lr, loss=loss, **options)
    if history is not None:
        history.extend(rows)
    return model.graph if isinstance(student, Graph) else model
