"""Training: the loop, its progress line, its history, and what it refuses.

One step: pictures in, scores out, the loss, its gradient, one move of the optimiser. Before the move the loss and
every gradient must be finite; otherwise training stops, says in which epoch, step and layer the first bad number arose, and
leaves parameters and running statistics as they were before that step.
"""
import sys
import time

import numpy as np

from . import data, graph, optim
from . import functional as F
from .io import write_safetensors
from .tensor import Tensor, no_grad


class NonFiniteLoss(FloatingPointError):
    """The loss or a gradient became NaN or infinite; the message says where it began."""


class History(list):
    """One dict an epoch: epoch, loss, accuracy, lr, seconds, and val_accuracy where there was validation; `best` of them."""

    @property
    def best(self):
        """The epoch of highest validation accuracy (training accuracy where there was no validation), the earliest of equals."""
        return max(self, key=lambda row: row.get("val_accuracy", row["accuracy"])) if self else None


def classification_loss(label_smoothing=0.0):
    """The usual loss of `fit`: a function (model, x, labels) -> (loss, scores) with cross-entropy."""
    def loss(model, x, labels):
        scores = model(x)
        return F.cross_entropy(scores, labels, label_smoothing), scores
    return loss


def as_batch(images):
    """Pictures as the network takes them: uint8 by data.as_input, float arrays as they are."""
    return data.as_input(images) if images.dtype == np.uint8 else images


def fit(model, images, labels, epochs=10, batch_size=64, lr=0.1, momentum=0.9, weight_decay=5e-4, warmup=0.1, label_smoothing=0.0,
        optimizer=None, schedule=None, loss=None, augment=None, validation=None, keep_best=False, checkpoint=None, seed=0,
        progress=True, after_step=None):
    """Train `model` in place on images (N,C,H,W) and integer labels (N,); returns the History, the model in evaluation mode.

    lr, momentum, weight_decay   of SGD with Nesterov momentum, the learning rate a cosine with `warmup` (a fraction of all steps)
    optimizer      another optimiser (lr is then its own), under the same schedule
    schedule       a function (optimizer, steps) -> optim.Schedule, instead of the cosine over all steps
    loss           a function (model, x, labels) -> (loss, scores), instead of cross-entropy with `label_smoothing`
    augment        a function (images, rng) -> images on each batch
    validation     (images, labels): accuracy after each epoch; with keep_best the model ends as it was in its best epoch
    checkpoint     a .safetensors path that holds the best state so far
    after_step     called with the model after each step (to keep masks, say)
    seed           fixes order, augmentation and dropout: same seed, versions and thread count, same result
    Errors: ValueError or TypeError for data that does not fit; NonFiniteLoss.
    """
    images, labels = np.asarray(images), np.asarray(labels)
    if len(images) != len(labels) or not len(images):
        raise ValueError(f"images and labels must be equally many and at least one, not {len(images)} and {len(labels)}")
    if labels.dtype.kind not in "iu":
        raise TypeError(f"labels must be integers, not {labels.dtype}")
    if epochs < 1 or batch_size < 1 or not 0 <= warmup < 1:
        raise ValueError("epochs and batch_size must be at least 1 and warmup in [0, 1), "
                         f"not {epochs}, {batch_size} and {warmup}")
    rng = np.random.default_rng(seed)
    model.seed(rng.spawn(1)[0])
    loss = loss or classification_loss(label_smoothing)
    params = [p for p in model.parameters() if p.requires_grad]
    optimizer = optimizer or optim.SGD(params, lr, momentum, weight_decay, nesterov=momentum > 0)
    steps = -(-len(images) // batch_size)
    if schedule is None:
        schedule = optim.CosineSchedule(optimizer, epochs * steps, int(warmup * epochs * steps))
    else:
        schedule = schedule(optimizer, epochs * steps)
    history, best_state = History(), None
    for epoch in range(1, epochs + 1):
        begin, total, right, seen = time.perf_counter(), 0.0, 0, 0
        model.train()
        for step, (x, y) in enumerate(data.batches(images, labels, batch_size, rng, augment), 1):
            value, scores = _step(model, optimizer, loss, as_batch(x), y, (epoch, step))
            schedule.step()
            if after_step is not None:
                after_step(model)
            total, seen = total + value * len(y), seen + len(y)
            right += int((scores.argmax(axis=1) == y).sum())
            if progress and (step == steps or step % max(1, steps // 20) == 0):
                _line(f"epoch {epoch}/{epochs}  {seen:>{len(str(len(images)))}}/{len(images)}  "
                      f"loss {total / seen:.4f}  accuracy {right / seen:.4f}")
        row = dict(epoch=epoch, loss=total / seen, accuracy=right / seen, lr=optimizer.lr, seconds=time.perf_counter() - begin)
        if validation is not None:
            row["val_accuracy"] = accuracy(model, *validation)
        history.append(row)
        if progress:
            told = f"  validation {row['val_accuracy']:.4f}" if validation is not None else ""
            _line(f"epoch {epoch}/{epochs}  loss {row['loss']:.4f}  accuracy {row['accuracy']:.4f}{told}  {row['seconds']:.1f} s",
                  end="\n")
        if (keep_best or checkpoint) and history.best is row:
            best_state = model.state_dict()
            if checkpoint:
                write_safetensors(checkpoint, best_state)
    if keep_best:
        model.load_state_dict(best_state)
    model.eval()
    return history


def _step(model, optimizer, loss, x, y, where):
    """One step of training; returns the loss and the scores. On a number that is not finite everything is as before."""
    buffers = [(module, dict(module._buffers)) for module in model.modules() if module._buffers]
    optimizer.zero_grad()
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        value, scores = loss(model, Tensor(x), y)
        finite = bool(np.isfinite(value.data))
        if finite:
            value.backward()
            gradients = [p.grad for p in optimizer.params if p.grad is not None]
            finite = all(np.isfinite(a).all() for a in (*gradients, *model.buffers()))
    if not finite:
        optimizer.zero_grad()
        for module, held in buffers:
            module._buffers.update(held)
        raise NonFiniteLoss(f"epoch {where[0]}, step {where[1]}: the loss is {float(value.data):g}; {_first_bad(model, x)}; "
                            "parameters are as before this step (a smaller lr, or a look at the data, may help)")
    optimizer.step()
    return float(value.data), scores.data


def _first_bad(model, x):
    """Where the first number that is not finite arises, in words."""
    for name, p in model.named_parameters():
        if not np.isfinite(p.data).all():
            return f"parameter {name} is not finite"
    if not np.isfinite(x).all():
        return "the input is not finite"
    found = []

    def look(node, outputs):
        if not found and any(not np.isfinite(y).all() for y in outputs):
            found.append(f"the first bad layer is {node.module or node.outputs[0]} ({node.op})")

    try:
        g = model.graph if isinstance(model, graph.Network) else graph.trace(model, x.shape, check=False)
        with np.errstate(all="ignore"):
            graph.run(g, x, training=True, rng=np.random.default_rng(0), each=look)
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        return f"the layers could not be looked through ({error})"
    return found[0] if found else "forward is finite in every layer: it arose in the loss or on the way back"


def _line(text, end=""):
    """A progress line that is written over until its epoch ends; only whole lines where the output is no terminal."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}{end}")
    elif end:
        sys.stderr.write(text + end)
    sys.stderr.flush()


def predict(model, images, batch_size=250):
    """Scores (N,K) of a Module, a Graph or any function of arrays, batch by batch, in evaluation mode."""
    images = np.asarray(images)
    if not len(images) or batch_size < 1:
        raise ValueError(f"images must hold at least one picture and batch_size be at least 1, not {len(images)} and {batch_size}")
    if isinstance(model, graph.Graph):
        g, model = model, None
        call = lambda x: graph.run(g, x)
    elif hasattr(model, "parameters"):
        call = lambda x: model(Tensor(x)).data
    else:
        call = model
    training = [(m, m.training) for m in model.modules()] if hasattr(model, "modules") else []
    try:
        if training:
            model.eval()
        with no_grad():
            return np.concatenate([call(as_batch(images[at:at + batch_size])) for at in range(0, len(images), batch_size)])
    finally:
        for module, mode in training:
            object.__setattr__(module, "training", mode)


def accuracy(model, images, labels, batch_size=250):
    """The fraction of pictures whose highest score is their label's, in [0, 1]. Errors: ValueError unless equally many."""
    if np.shape(labels) != (len(images),):
        raise ValueError(f"labels must have shape ({len(images)},), one a picture, not {np.shape(labels)}")
    return float((predict(model, images, batch_size).argmax(axis=1) == np.asarray(labels)).mean())
