"""Single weights of a network set to 0 by more than a score: the N:M pattern, optimal brain surgeon, masks by name.

The Graphs are as large as before; what the zeros are worth is for an encoding, or for hardware that reads 2:4, to say.
"""
import numpy as np

from ..compress import prune as pure
from ..graph import GraphError
from ._checks import check_graph, layer_weights
from .scoring import DAMPING, hessians


def with_masks(g, masks):
    """The Graph with every weight set to 0 where its mask (name -> bool array, True = kept) is False.

    Applied to the network as it was at its start, this is rewinding: survivors have the values they began with.
    Errors: GraphError for unknown names; ValueError or TypeError for a mask of another shape or type.
    """
    check_graph(g)
    arrays = g.arrays()
    strange = sorted(masks.keys() - arrays.keys())
    if strange:
        raise GraphError(f"masks for arrays that the graph does not have: {', '.join(strange)}")
    return g.with_arrays({name: pure.masked(arrays[name], mask) for name, mask in masks.items()})


def n_of_m(g, n=2, m=4, layers=None):
    """A Graph with N:M sparsity: of every m consecutive input channels of a filter, at each tap, the n largest weights stay.

    layers   names of weights (None: every layer with a multiple of m channels a filter; a stem of one or three channels and depthwise
             layers stay whole)
    Errors: ValueError for layers named here whose channels m does not divide: they would not be what hardware reads.
    """
    check_graph(g)
    weights = layer_weights(g)
    able = [name for name, w in weights.items() if w.shape[1] % m == 0]
    if layers is not None and not set(layers) <= set(able):
        raise ValueError(f"layers without blocks of {m} input channels: {', '.join(sorted(set(layers) - set(able)))}")
    chosen = able if layers is None else layers
    return with_masks(g, {name: pure.n_of_m(weights[name], n, m) for name in chosen})


def obs_sparsify(g, sparsity, images, damping=DAMPING):
    """A Graph in which every layer lost round(n · sparsity) weights by optimal brain surgeon, and the others made up for them.

    Each layer's H is that of its inputs in the network as it was, over all `images`; `damping` as in compress.prune.damped_inverse.
    Cost: F K³ multiplications or so a layer, K = (C/G) KH KW: for small networks. Errors: ValueError for a sparsity outside [0, 1],
    no images, or an H that is singular even when damped.
    """
    check_graph(g)
    pure.exact_count(0, sparsity)
    if not len(images):
        raise ValueError("images must hold at least one picture")
    inverses = {name: pure.damped_inverse(h, damping) for name, h in hessians(g, np.asarray(images)).items()}
    return g.with_arrays({name: pure.obs_prune(g.array(name), inverse, sparsity)[0] for name, inverse in inverses.items()})
