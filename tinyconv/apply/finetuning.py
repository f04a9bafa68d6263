"""Training a graph on: a transform leaves a network that has lost something, and a few epochs give most of it back."""
import numpy as np

from .. import train
from ..graph import Network
from ._checks import check_graph


def finetune(g, images, labels, epochs=2, lr=0.02, keep_zeros=False, history=None, after_step=None, **options):
    """The Graph trained on images and labels, from the weights it has; g itself is untouched.

    keep_zeros  weights that are exactly 0 stay 0 (after `sparsify`)
    history     a list that receives the epochs
    after_step  called with the Network after each step;  options: train.fit's
    Errors: ValueError for a graph without parameters (an integer network), and those of train.fit.
    """
    check_graph(g)
    return tuned(Network(g), images, labels, epochs, lr, keep_zeros, history, after_step, **options)


def tuned(net, images, labels, epochs, lr, keep_zeros, history, after_step, **options):
    """`finetune` of a Network that is there already: trained in place; its Graph at the end. Arguments and errors: finetune's."""
    if not net._parameters:
        raise ValueError("g must have parameters to train, and has none (an integer network is trained before it is quantized)")
    zeros = [(p, p.data == 0) for p in net.parameters() if p.ndim > 1] if keep_zeros else []

    def keep(model):
        for p, gone in zeros:
            np.copyto(p.data, 0, where=gone)
        if after_step is not None:
            after_step(model)
    rows = train.fit(net, images, labels, epochs=epochs, lr=lr, after_step=keep, **options)
    if history is not None:
        history.extend(rows)
    return net.graph
