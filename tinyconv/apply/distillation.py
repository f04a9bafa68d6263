"""A small network learns from a large one: the loop around the losses of compress/distill.

    method       L                                                            weight λ, or α
    kd           (1-λ) H(y, p_s) + λ T² KL(p_t^T ‖ p_s^T)                     0.9
    kd_alpha     H(y, p_s) + α T² KL(p_t^T ‖ p_s^T)                           1
    logits       H(y, p_s) + α ‖d - mean d‖²/(2K),  d = z_s - z_t             1
    decoupled    H(y, p_s) + α T² (TCKD + 8 NCKD)                             1
    hints        H(y, p_s) + α mean (R f_s - f_t)², R learnt beside           1
    attention    H(y, p_s) + α mean (u_s - u_t)², u the attention maps        1000
    similarity   H(y, p_s) + α ‖Ĝ_s - Ĝ_t‖²/N²                                3000
    relational   H(y, p_s) + α (25 distances + 50 angles)                     1

mean over the batch; the teacher in evaluation mode, without gradient, on the pictures the student sees. The last four compare
features: values of both graphs, named in `layers`; their terms are summed. A student that followed its teacher may end with
some epochs on the labels alone (tune_epochs). Weights: Hinton et al. 2015; Zhao et al. 2022; attention to relational as in the
code of Tian et al. 2020, made for lr 0.05: the step lr α must stay small, or training ends in NonFiniteLoss.
"""
import numpy as np

from .. import functional as F
from .. import train
from ..formulas.geometry import is_integer
from ..graph import Graph, Network, run, shapes, trace
from ..nn import Conv2d, Linear, Module, Sequential
from ..tensor import no_grad

SCORES = {                                                # method -> (usual weight, loss of (scores, teacher's scores, y, T, weight))
    "kd": (0.9, F.distillation_loss),
    "kd_alpha": (1.0, lambda s, t, y, T, a: F.cross_entropy(s, y) + a * F.distillation_loss(s, t, y, T, 1.0)),
    "logits": (1.0, lambda s, t, y, T, a: F.cross_entropy(s, y) + a * F.logit_matching_loss(s, t)),
    "decoupled": (1.0, lambda s, t, y, T, a: F.cross_entropy(s, y) + a * F.decoupled_distillation_loss(s, t, y, T)),
}
FEATURES = {                                              # method -> (usual weight, loss of (student's features, teacher's))
    "hints": (1.0, F.mse_loss),
    "attention": (1000.0, F.attention_transfer_loss),
    "similarity": (3000.0, F.similarity_preserving_loss),
    "relational": (1.0, F.relational_loss),
}
METHODS = (*SCORES, *FEATURES)


def distill(student, teacher, images, labels, temperature=4.0, weight=None, epochs=5, lr=0.1, history=None, method="kd",
            layers=None, tune_epochs=0, tune_lr=0.02, **options):
    """Train `student` (a Graph or Module) on the labels and on what `teacher` (a Graph or Module, of the same classes) says.

    Returns the trained Graph for a Graph; a Module is trained in place and returned. Losses, and the usual `weight` of each
    `method`: top of the page; temperature = T.
    layers        for hints, attention, similarity and relational: (student's value, teacher's value) pairs, or one name for both.
                  A name is that of a value of the graph (print it), or of a module: then the last value made in it
    tune_epochs   after that, so many epochs on the labels alone, at tune_lr;  history   a list that receives all epochs
    options       train.fit's, for both parts
    Errors, all before anything is trained: ValueError for a teacher with other classes, unknown methods, a weight that does not
    fit, layers that are missing, unknown, not needed, or of sizes that the loss cannot compare.
    """
    model = Network(student) if isinstance(student, Graph) else student
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, not {method!r}")
    usual, term = (SCORES | FEATURES)[method]
    weight = _checked_weight(usual if weight is None else weight, method)
    if not is_integer(tune_epochs) or tune_epochs < 0:
        raise ValueError(f"tune_epochs must be an integer of at least 0, not {tune_epochs!r}")
    first = train.predict(model, images[:1]).shape, train.predict(teacher, images[:1]).shape
    if first[0] != first[1]:
        raise ValueError(f"student and teacher must have the same classes, not {first[0][1]} and {first[1][1]}")
    if method in SCORES:
        if layers is not None:
            raise ValueError(f"layers go with {', '.join(FEATURES)}; method {method!r} compares scores alone")

        def loss(net, x, y):
            scores = net(x)
            taught = np.ascontiguousarray(train.predict(teacher, x.data, len(y)))
            return term(scores, taught, y, temperature, weight), scores
        rows = list(train.fit(model, images, labels, epochs=epochs, lr=lr, loss=loss, **options))
    else:
        rows = _by_features(model, teacher, images, labels, method, weight, layers, dict(epochs=epochs, lr=lr, **options))
    if tune_epochs:
        tuned = train.fit(model, images, labels, epochs=tune_epochs, lr=tune_lr, **options)
        rows += [{**row, "epoch": row["epoch"] + epochs} for row in tuned]
    if history is not None:
        history.extend(rows)
    return model.graph if isinstance(student, Graph) else model


def _checked_weight(weight, method):
    """λ in [0, 1] for kd, α of at least 0 for the others."""
    most = 1 if method == "kd" else np.inf
    if not 0 <= weight <= most or not np.isfinite(weight):
        raise ValueError(f"weight must {'lie in [0, 1]' if method == 'kd' else 'be at least 0 and finite'} for {method!r}, not {weight}")
    return float(weight)


# ---- features --------------------------------------------------------------------------------------------------------

class _Observed(Module):
    """A network that can also give values from its inside, with the regressors that learn beside it."""

    def __init__(self, g, names, regressors):
        super().__init__()
        self.network = Network(g.replace(outputs=(*g.outputs, *names)))
        self.regressors = Sequential(*(layer for layer in regressors if layer is not None))
        self.which = [None if layer is None else sum(r is not None for r in regressors[:i]) for i, layer in enumerate(regressors)]

    def forward(self, x):
        """The scores alone."""
        return self.network(x)[0]

    def inside(self, x):
        """(scores, features, each through its regressor)."""
        scores, *features = self.network(x)
        return scores, [f if at is None else self.regressors[at](f) for f, at in zip(features, self.which)]


def _by_features(model, teacher, images, labels, method, weight, layers, options):
    """Train by one of FEATURES: the student as a graph with further outputs, whose arrays go back into the model."""
    picture = train.as_batch(np.asarray(images[:1]))
    g, taught = (m if isinstance(m, Graph) else m.graph if isinstance(m, Network) else trace(m, picture.shape) for m in (model, teacher))
    pairs = _pairs(g, taught, layers, method)
    sizes = shapes(g), shapes(taught)
    _check_sizes(pairs, sizes, method)
    rng = np.random.default_rng(options.get("seed", 0))
    regressors = [_regressor(sizes[0][s], sizes[1][t], rng) if method == "hints" else None for s, t in pairs]
    observed = _Observed(g, [s for s, _ in pairs], regressors)
    source = taught.replace(outputs=(*taught.outputs, *(t for _, t in pairs)))
    term = FEATURES[method][1]

    def loss(net, x, y):
        scores, features = net.inside(x)
        with no_grad():
            _, *goals = run(source, x.data)
        value = F.cross_entropy(scores, y)
        for f, goal in zip(features, goals):
            value = value + weight * term(f, goal)
        return value, scores
    rows = train.fit(observed, images, labels, loss=loss, **options)
    model.load_state_dict(observed.network.state_dict())
    model.eval()
    return list(rows)


def _pairs(g, taught, layers, method):
    """(value of the student, value of the teacher) for each entry of `layers`."""
    if not layers or isinstance(layers, str):
        raise ValueError(f'layers must list values for method {method!r}, as [("student value", "teacher value")], not {layers!r}')
    pairs = [(entry, entry) if isinstance(entry, str) else tuple(entry) for entry in layers]
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError(f"layers must hold names or pairs of names, not {layers!r}")
    return [(_value(g, s, "student"), _value(taught, t, "teacher")) for s, t in pairs]


def _value(g, name, whose):
    """The value of that name, or the last one made in the module of that name."""
    made = [node for node in g.nodes if name in node.outputs or node.module == name or node.module.startswith(f"{name}.")]
    if not made:
        raise ValueError(f"layers: the {whose} has no value or module {name!r}; its modules are "
                         f"{', '.join(dict.fromkeys(node.module for node in g.nodes))}")
    return name if name in g.producers() else made[-1].outputs[0]


def _check_sizes(pairs, sizes, method):
    """Maps compared pixel by pixel have one size; there are maps where maps are compared."""
    for s, t in pairs:
        a, b = sizes[0][s], sizes[1][t]
        if method in ("hints", "attention") and (len(a) != len(b) or a[2:] != b[2:] or method == "attention" and len(a) != 4):
            raise ValueError(f"layers: {method} compares maps of one size, not {s} of {a[1:]} with {t} of {b[1:]}")


def _regressor(a, b, rng):
    """A 1×1 layer from the student's channels to the teacher's; None where they are as many."""
    if a[1] == b[1]:
        return None
    return Conv2d(a[1], b[1], 1, bias=False, rng=rng) if len(a) == 4 else Linear(a[1], b[1], bias=False, rng=rng)
