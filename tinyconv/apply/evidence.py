"""What criteria of pruning look at: gradients of the loss, Hessians of every layer's output error, movement during an epoch.

    gradients   of the mean cross-entropy, a batch at a time, BatchNorm in evaluation
    hessians    H = 2XXᵀ/N of every layer's own inputs
    movement    -Σ_t w_t g_t over an epoch of training a copy
"""
import numpy as np

from .. import functional as F
from .. import optim, train
from ..compress import prune as pure
from ..formulas import conv2d_geometry
from ..graph import Network, run
from ..tensor import Tensor
from ._checks import layer_weights


def checked_data(data, what):
    """(images, labels) as arrays, equally many. Errors: ValueError or TypeError naming `what` wants them."""
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        raise ValueError(f"{what} needs data=(images, labels), not {'None' if data is None else type(data).__name__}")
    images, labels = np.asarray(data[0]), np.asarray(data[1])
    if not len(images) or labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
        raise ValueError(f"{what} needs data=(images, labels), at least one picture and an integer label for each, "
                         f"not {images.shape} and {labels.dtype} of shape {labels.shape}")
    return images, labels


def gradients(g, data, batch_size=100):
    """For each batch of data=(images, labels): (its share of the pictures, {weight name: ∂L/∂w}), L the mean cross-entropy.

    BatchNorm uses its running statistics. With those of the batch a filter's scale would have no effect on the loss, and Σ w g over
    its weights would be 0.
    """
    images, labels = data
    for at in range(0, len(images), batch_size):
        x, y = train.as_batch(images[at:at + batch_size]), labels[at:at + batch_size]
        weights = {name: Tensor(w, requires_grad=True) for name, w in layer_weights(g).items()}
        F.cross_entropy(run(g, Tensor(x), values=weights), y).backward()
        yield len(y) / len(images), {name: np.zeros_like(w.data) if w.grad is None else w.grad for name, w in weights.items()}


def hessians(g, images, batch_size=50):
    """{weight name: H (G,K,K)} of every convolution and linear layer: 2XXᵀ/N over all pixels of all pictures, in float64.

    A weight that several layers share gets the H of all their inputs. Cost: K² multiply-adds for each pixel of each layer.
    """
    readers = [node for node in g.nodes if node.op in ("conv2d", "linear") and node.inputs[1] in layer_weights(g)]
    wanted, sums, pixels = {node.inputs[0] for node in readers}, {}, {}
    for at in range(0, len(images), batch_size):
        x = train.as_batch(images[at:at + batch_size])
        seen = {name: x for name in g.inputs if name in wanted}
        run(g, x, each=lambda node, outputs: seen.update((n, y) for n, y in zip(node.outputs, outputs) if n in wanted))
        for node in readers:
            columns, name = _columns(node, seen[node.inputs[0]], g.array(node.inputs[1]).shape), node.inputs[1]
            n = columns.shape[-1]
            sums[name] = sums.get(name, 0) + n * pure.layer_hessian(columns)
            pixels[name] = pixels.get(name, 0) + n
    return {name: h / pixels[name] for name, h in sums.items()}


def _columns(node, x, w_shape):
    """A layer's inputs as columns (G,K,N)."""
    if node.op == "linear":
        return x.reshape(1, -1, x.shape[-1]).swapaxes(1, 2)
    a = {key: node.attributes[key] for key in ("stride", "padding", "dilation", "groups") if key in node.attributes}
    return pure.layer_columns(x, conv2d_geometry(x.shape, w_shape, **a))


class _Watched(optim.SGD):
    """SGD that adds up what every step contributes to movement, at the weights from which it starts."""

    def __init__(self, params, lr):
        super().__init__(params, lr, momentum=0.9, nesterov=True)
        self.moved = [np.zeros(p.shape) for p in self.params]

    def step(self):
        for total, p in zip(self.moved, self.params):
            if p.grad is not None:
                total += pure.movement_scores(p.data, p.grad)
        super().step()


def movement(g, data, seed=0, lr=0.02):
    """{weight name: -Σ_t w_t g_t} over one epoch of training a copy of the network; g is untouched."""
    net = Network(g)
    watched = _Watched(net.parameters(), lr)
    train.fit(net, *data, epochs=1, optimizer=watched, seed=seed, progress=False)
    moved = dict(zip((id(p) for p in watched.params), watched.moved))
    return {name: moved.get(id(net._parameters.get(name)), np.zeros(w.shape)) for name, w in layer_weights(g).items()}
