"""Weights that keep one form while they learn: signs with a scale, a few values a layer, whatever a projection gives.

    ŵ_t = P(w_t);   forward and gradient with ŵ_t;   w_{t+1} = w_t + Δ_t,   Δ_t = what the optimiser did to ŵ_t
w is the latent weight, a float that nobody sees. The gradient at ŵ goes to w as it is, straight through P; small steps add up in w
until ŵ changes, which a projection without memory, ŵ_{t+1} = P(ŵ_t + Δ_t), would undo every time. Where P is linear, as the mean of
each cluster is, both are the same: Δ is then the mean of the members' gradients.
Sources: Courbariaux et al., "BinaryConnect" (2015), algorithm 1; Rastegari et al., "XNOR-Net" (2016), algorithm 1; Li et al.,
"Ternary weight networks" (2016); Han et al., "Deep Compression" (2016), section 3, for shared weights.
"""
import numpy as np

from ..compress import quantize as pure
from ..graph import GraphError, Network, fold_batch_norms
from ._checks import check_graph, layer_weights
from .finetuning import tuned
from .rounding import with_steps

SIGNS = {"binary": pure.binary, "ternary": pure.ternary}


def to_signs(kind):
    """P of "binary" or "ternary": a function (name, w) -> α·code in w's type, an α a filter (compress/quantize/signs).

    >>> tc.apply.to_signs("binary")("w", np.float32([[1.0, -3.0], [0.5, 0.5]]))
    array([[ 2. , -2. ],
           [ 0.5,  0.5]], dtype=float32)
    """
    if kind not in SIGNS:
        raise ValueError(f"kind must be one of {', '.join(SIGNS)}, not {kind!r}")

    def project(name, w):
        codes, scale = SIGNS[kind](w)
        return pure.dequantize(codes, scale, axis=0).astype(w.dtype)
    return project


def to_clusters(g, names=None):
    """P that keeps weights equal that are equal now: each becomes its cluster's mean; those that are 0 stay 0.

    A function (name, w) for the weights of g named (all, if None). Invariant: never more different values than now.
    """
    weights = _named(g, names)
    members = {name: np.unique(w, return_inverse=True) for name, w in weights.items()}

    def project(name, w):
        values, codes = members[name]
        means = np.bincount(codes.ravel(), w.ravel(), len(values)) / np.bincount(codes.ravel(), minlength=len(values))
        return np.where(values == 0, 0, means)[codes].reshape(w.shape).astype(w.dtype)
    return project


def _named(g, names):
    """name -> weight of the layers named. Errors: TypeError for no Graph; ValueError naming what is no weight of a layer."""
    check_graph(g)
    weights = layer_weights(g)
    strange = [str(name) for name in names or () if name not in weights]
    if strange:
        raise ValueError(f"names must be weights of layers, not {', '.join(strange)}; they are {', '.join(weights)}")
    return weights if names is None else {name: weights[name] for name in names}


def project(g, to, names=None):
    """The Graph whose weights are P of what they are: `to` a function (name, w) -> ŵ, names the weights, all if None."""
    return g.with_arrays({name: to(name, w) for name, w in _named(g, names).items()})


def train_projected(g, images, labels, to, names=None, epochs=2, lr=0.02, history=None, **options):
    """The Graph trained with ŵ = to(name, w) in forward and backward, as above; all its weights named have that form at the end.

    names   weights of layers (all, if None); everything else is trained as ever;  history, options    as in finetune
    Errors: TypeError for no Graph; ValueError for names that are no weights, and those of train.fit. g is untouched.
    """
    latent = {name: w.copy() for name, w in _named(g, names).items()}
    shown = {name: to(name, w) for name, w in latent.items()}
    net = Network(g.with_arrays(shown))

    def after_step(net):
        for name, w in latent.items():
            p = net._parameters[name].data
            w += p - shown[name]
            shown[name] = to(name, w)
            p[...] = shown[name]
    return tuned(net, images, labels, epochs, lr, False, history, after_step, **options)


def with_sign_codes(g, names):
    """BatchNorm folded, and the scale of each filter kept beside its weight, so that tc.apply.quantize writes codes -1, 0, 1.

    Folding multiplies a filter by one number: α·code stays α'·code. Errors: GraphError for a weight that is not ±α or 0 in every
    filter, up to rounding.
    """
    found = {}
    folded = fold_batch_norms(g)
    for name, w in _named(folded, names).items():
        scale = np.maximum(np.abs(w).reshape(len(w), -1).max(axis=1), pure.EPS).astype(np.float32)
        codes = pure.quantize(w, scale, 0, -1, 1, axis=0)
        exact = pure.dequantize(codes, scale, axis=0)
        if (np.abs(exact - w) > 1e-5 * scale.reshape(-1, *[1] * (w.ndim - 1))).any():
            raise GraphError(f"{name} has more than -α, 0 and α in a filter: project it first")
        found[name] = exact, scale
    return with_steps(folded, found, dict.fromkeys(found, 2))
