"""Training a graph on: a transform leaves a network that has lost something, and a few epochs give most of it back."""
from .. import train
from ..graph import Network
from .pruning import _check_graph


def finetune(g, images, labels, epochs=2, lr=0.02, keep_zeros=False, history=None, **options):
    """The Graph trained on images and labels, from the weights it has; g itself is untouched.

    keep_zeros  weights that are exactly 0 stay 0 (after `sparsify`). history: a list that receives the epochs. Options: train.fit's.
    """
    _check_graph(g)
    net = Network(g)
    masks = {name: p.data != 0 for name, p in net.named_parameters() if p.ndim > 1} if keep_zeros else {}

    def after_step(model):
        for name, mask in masks.items():
            model._parameters[name].data *= mask
    rows = train.fit(net, images, labels, epochs=epochs, lr=lr, after_step=after_step if keep_zeros else None, **options)
    if history is not None:
        history.extend(rows)
    return net.graph
