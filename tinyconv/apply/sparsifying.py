"""Single weights of a network set to 0: by a score, in the N:M pattern, by optimal brain surgeon, by masks with names.

The Graphs are as large as before; what the zeros are worth is for an encoding, or for hardware that reads 2:4, to say.
"""
import numpy as np

from ..compress import prune as pure
from ..graph import GraphError
from ._checks import check_graph, check_scope, layer_weights
from .evidence import hessians
from .scoring import DAMPING, weight_scores


def sparsify(g, sparsity, scope="global", criterion="magnitude", data=None, seed=0):
    """A Graph of the same size with the weights of least score set to 0: exactly round(n · sparsity) of all weights of
    convolution and linear layers together, or of each array under scope="uniform". Those that are 0 already go first.

    criterion  a name of WEIGHT_CRITERIA; data, seed as for `prune`. Nothing gets smaller or faster by this; a sparse encoding may.
    `finetune(…, keep_zeros=True)` trains the rest. Errors: ValueError for unknown names, a sparsity outside [0, 1], missing data.
    """
    check_graph(g)
    check_scope(scope)
    pure.exact_count(0, sparsity)                                                 # a bad fraction is refused before scores are made
    weights, table = layer_weights(g), weight_scores(g, criterion, data, seed)
    below = np.nextafter(min(scores.min() for scores in table.values()), -np.inf)
    scores = [np.where(w == 0, below, table[name]) for name, w in weights.items()]
    masks = pure.mask_smallest_of_all(scores, sparsity) if scope == "global" else [pure.mask_smallest(s, sparsity) for s in scores]
    return g.with_arrays({name: pure.masked(w, mask) for (name, w), mask in zip(weights.items(), masks)})


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
