"""The training loop: it learns, it repeats itself bit for bit, it keeps the best, and it stops at the first number that is not
finite."""
import numpy as np
import pytest

import tinyconv as tc
from tinyconv import nn, train

pytestmark = pytest.mark.small


def _problem(n=32, seed=0):
    """Pictures 1x4x4 of bytes, brighter on the left (class 0), on the right (1) or nowhere (2): a linear problem with little
    noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    images = rng.integers(0, 60, (n, 1, 4, 4))
    images[labels == 0, :, :, :2] += 150
    images[labels == 1, :, :, 2:] += 150
    return images.astype(np.uint8), labels


def _model(seed=0, dropout=0.0):
    rng = np.random.default_rng(seed)
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1, bias=False, rng=rng), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(),
                         nn.Dropout(dropout, rng=rng),
                         nn.Linear(64, 3, rng=rng))


def _fit(model, *data, **given):
    images, labels = data or _problem()
    return train.fit(model, images, labels, **{"epochs": 2, "batch_size": 8, "progress": False, **given})


def _same(a, b):
    """Two states in every bit (NaN included)."""
    return a.keys() == b.keys() and all(a[k].tobytes() == b[k].tobytes() for k in a)


def test_it_learns_a_problem_that_can_be_learnt():
    """Three epochs: every training picture and every fresh one right, the loss falling, the model left in evaluation mode."""
    model = _model()
    history = _fit(model, epochs=3, validation=_problem(30, seed=9))
    assert history[-1]["accuracy"] == 1.0 and history[-1]["val_accuracy"] == 1.0 == train.accuracy(model, *_problem(30, seed=9))
    assert history[-1]["loss"] < 0.3 * history[0]["loss"]
    assert not any(m.training for m in model.modules())


def test_history_holds_what_happened():
    """One row an epoch. The rate is that of the schedule after the epoch's last step; the last is 0, the end of the cosine."""
    rows = _fit(_model(), epochs=3, lr=0.1, warmup=0.25)
    assert [list(row) for row in rows] == [["epoch", "loss", "accuracy", "lr", "seconds"]] * 3 and isinstance(rows, train.History)
    assert [row["epoch"] for row in rows] == [1, 2, 3] and all(row["seconds"] > 0 for row in rows)
    assert [row["lr"] for row in rows] == [tc.optim.cosine(4 * e, 12, 0.1, warmup=3) for e in (1, 2, 3)]
    assert list(_fit(_model(), epochs=1, validation=_problem())[0])[-1] == "val_accuracy"


def test_the_best_epoch_is_the_earliest_of_equals():
    rows = train.History([{"epoch": 1, "accuracy": 0.5}, {"epoch": 2, "accuracy": 0.9}, {"epoch": 3, "accuracy": 0.9}])
    assert rows.best["epoch"] == 2 and train.History().best is None
    rows = train.History([{"epoch": 1, "accuracy": 0.9, "val_accuracy": 0.2}, {"epoch": 2, "accuracy": 0.5, "val_accuracy": 0.3}])
    assert rows.best["epoch"] == 2


def test_same_seed_same_bits():
    """Order, augmentation and dropout come from one seed: equal seeds give equal parameters in every bit, other seeds others."""
    def run(seed):
        model = _model(dropout=0.3)
        _fit(model, seed=seed, augment=lambda x, rng: tc.data.random_flip(x, rng))
        return model.state_dict()

    first = run(1)
    assert _same(first, run(1)) and not _same(first, run(2))


def test_the_loss_is_the_mean_over_all_pictures():
    """With lr 0 nothing moves: the epoch's loss is the formula's over all 32 pictures, the last batch (of 4) counted as it is
    large."""
    images, labels = _problem()
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3, rng=0))
    z = model(tc.Tensor(tc.data.as_input(images))).data.astype(np.float64)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    for smoothing in (0.0, 0.2):
        q = (1 - smoothing) * np.eye(3)[labels] + smoothing / 3
        (row,) = _fit(model, images, labels, epochs=1, batch_size=7, lr=0.0, label_smoothing=smoothing)
        assert row["loss"] == pytest.approx(-(q * log_p).sum(axis=1).mean(), rel=1e-5)
        assert row["accuracy"] == (z.argmax(axis=1) == labels).mean()


def test_one_step_is_forward_backward_and_one_move():
    """One batch, without schedule effects: fit equals the four lines a reader would write, bit for bit."""
    images, labels = _problem(8)
    model, twin = _model(), _model()
    rate = 0.05
    _fit(model, images, labels, epochs=1, lr=rate, momentum=0.0, weight_decay=0.1, warmup=0.0, seed=4)
    rng = np.random.default_rng(4)
    rng.spawn(1)
    order = rng.permutation(8)
    loss = tc.functional.cross_entropy(twin(tc.Tensor(tc.data.as_input(images[order]))), labels[order])
    loss.backward()
    tc.optim.SGD(twin.parameters(), rate, weight_decay=0.1).step()
    assert _same(model.state_dict(), twin.state_dict())


def test_an_optimiser_a_loss_and_a_hook_of_ones_own():
    """A given optimiser moves only its parameters; a given loss is used; after_step is called with the model after every step."""
    model, seen = _model(), []
    before = model.state_dict()

    def loss(m, x, y):
        scores = m(x)
        return tc.functional.mse_loss(scores, np.eye(3, dtype=np.float32)[y]), scores

    _fit(model, optimizer=tc.optim.Adam(model[5].parameters(), 0.01), loss=loss, after_step=seen.append)
    after = model.state_dict()
    assert seen == [model] * 8
    assert {k for k in before if not np.array_equal(before[k], after[k])} == {
        "1.running_mean", "1.running_var", "5.weight", "5.bias"}


def test_a_schedule_of_ones_own():
    """It is made of the optimiser and the count of all steps; the history holds the rate after each epoch's last step."""
    asked = []

    def schedule(optimizer, steps):
        asked.append(steps)
        return tc.optim.StepSchedule(optimizer, 5, gamma=0.5)

    rows = _fit(_model(), epochs=3, lr=0.1, schedule=schedule)
    assert asked == [12] and [row["lr"] for row in rows] == [0.1 * 0.5 ** (step // 5) for step in (4, 8, 12)]
    cycle = _fit(_model(), epochs=3, schedule=lambda optimizer, steps: tc.optim.OneCycleSchedule(optimizer, 0.1, steps))
    assert cycle[-1]["lr"] == pytest.approx(4e-7, rel=1e-9) and cycle[0]["lr"] > 0.05


def test_frozen_parameters_stay():
    model = _model()
    model[0].requires_grad_(False)
    before = model.state_dict()
    _fit(model)
    assert np.array_equal(model[0].weight.data, before["0.weight"]) and not np.array_equal(model[5].weight.data,
                                                                                           before["5.weight"])


def _spoil_after(steps):
    """A hook that ruins the last layer from the given step on, so that later epochs are worse."""
    count = []

    def hook(model):
        count.append(1)
        if len(count) > steps:
            model[5].weight.data[:] = 0
            model[5].bias.data[:] = [0, 0, 1]
    return hook


def test_the_best_state_is_kept_and_written(tmp_path):
    """Epochs 3 and 4 are spoilt: the file holds epoch 2 exactly, loads into a fresh model, and keep_best ends with it."""
    validation, path = _problem(30, seed=9), tmp_path / "best.safetensors"
    model = _model()
    history = _fit(model, epochs=4, validation=validation, keep_best=True, checkpoint=path, after_step=_spoil_after(8))
    assert history.best["epoch"] <= 2 and history[-1]["val_accuracy"] < 0.5 < history.best["val_accuracy"]
    arrays, _ = tc.io.read_safetensors(path)
    assert _same(arrays, model.state_dict())
    fresh = _model(seed=5)
    fresh.load_state_dict(arrays)
    assert train.accuracy(fresh, *validation) == history.best["val_accuracy"] == train.accuracy(model, *validation)
    last = _model()
    _fit(last, epochs=4, validation=validation, after_step=_spoil_after(8))
    assert train.accuracy(last, *validation) == history[-1]["val_accuracy"]                # without keep_best: as it ended


# ---- numbers that are not finite -------------------------------------------------------------------------------------------

def _bad_batch(at, value=np.nan):
    """An augmentation that puts one bad number into the batch of the given step."""
    count = []

    def augment(images, rng):
        count.append(1)
        if len(count) == at:
            images = images.copy()
            images[0, 0, 0, 0] = value
        return images
    return augment


def _stops(model, match, **given):
    """Training stops with the message; parameters and statistics are in every bit those after the last good step; gradients are
    gone."""
    images, labels = _problem()
    held = [model.state_dict()]
    with pytest.raises(train.NonFiniteLoss, match=match):
        _fit(model, tc.data.as_input(images), labels, after_step=lambda m: held.append(m.state_dict()), **given)
    assert _same(model.state_dict(), held[-1]) and all(p.grad is None for p in model.parameters())
    return len(held) - 1


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_bad_input_stops_training(value):
    """The sixth batch (epoch 2, step 2) holds one NaN: five good steps, then the message, and nothing of the sixth remains."""
    assert _stops(_model(), "epoch 2, step 2: the loss is nan; the input is not finite; parameters are as before this step",
                  augment=_bad_batch(6, value)) == 5


def test_the_first_bad_layer_is_named():
    """Weights of 1e38 are finite, their sums are not: the convolution is the first bad layer, by its name in the model."""
    model = _model()
    model[0].weight.data[:] = 3e38
    assert _stops(model, r"epoch 1, step 1: the loss is nan; the first bad layer is 0 \(conv2d\)") == 0
    model = _model()
    model[5].bias.data[:] = 3e38
    model[5].weight.data[:] = 3e38
    assert _stops(model, r"the first bad layer is 5 \(linear\)") == 0


def test_a_network_made_of_a_graph_tells_it_too():
    """Network's buffers are restored as a module's are."""
    model = _model()
    model[5].weight.data[:] = 3e38
    model[5].bias.data[:] = 3e38
    net = tc.Network(tc.trace(model, (1, 1, 4, 4), check=False))
    assert _stops(net, r"the first bad layer is 5 \(linear\)") == 0


def test_a_bad_parameter_is_named():
    model = _model()
    model[5].bias.data[1] = np.nan
    assert _stops(model, "the loss is nan; parameter 5.bias is not finite") == 0


def test_a_bad_gradient_under_a_finite_loss_stops_training():
    """sqrt(0) is finite and its derivative is not: the loss is fine, the step would not be."""
    def loss(model, x, y):
        scores = model(x)
        return ((scores - scores.detach()) ** 2).sum().sqrt(), scores

    message = "epoch 1, step 1: the loss is 0; forward is finite in every layer: it arose in the loss or on the way back"
    assert _stops(_model(), message, loss=loss) == 0


def test_a_model_that_cannot_be_traced_still_gives_the_main_error():
    """The look for the first bad layer may fail; epoch and step are told all the same."""
    class Stray(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = _model()

        def forward(self, x):
            return self.inner(tc.Tensor(x.data * np.float32(1)))

    model = Stray()
    model.inner[0].weight.data[:] = 3e38
    assert _stops(model, r"epoch 1, step 1: the loss is nan; the layers could not be looked through \(.*no input, parameter") == 0


# ---- prediction ------------------------------------------------------------------------------------------------------------

def test_a_module_a_graph_and_a_function_are_asked_alike():
    """Same scores from all three, in whatever batches; bytes become numbers in one place; nothing of the model changes."""
    images, labels = _problem()
    model = _model()
    _fit(model)
    model.train()
    model[1].eval()
    modes, state = [m.training for m in model.modules()], model.state_dict()
    scores = train.predict(model, images, batch_size=5)
    assert [m.training for m in model.modules()] == modes and _same(state, model.state_dict())
    g = tc.trace(model, (1, 1, 4, 4))
    assert np.array_equal(train.predict(g, images), scores)
    assert np.array_equal(train.predict(lambda x: tc.graph.run(g, x), tc.data.as_input(images), batch_size=1), scores)
    right = float((scores.argmax(axis=1) == labels).mean())
    assert train.accuracy(model, images, labels) == train.accuracy(g, images, labels, batch_size=3) == right
    assert scores.shape == (32, 3) and not isinstance(scores, tc.Tensor)


def test_modes_are_restored_after_an_error_too():
    model = _model()
    with pytest.raises(ValueError, match="input channels"):
        train.predict(model, np.ones((2, 3, 4, 4), np.float32))
    assert all(m.training for m in model.modules())


def test_progress_is_one_line_an_epoch_where_there_is_no_terminal(capsys):
    """Nothing on standard output, one whole line an epoch on standard error; silence if asked."""
    _fit(_model(), progress=True, validation=_problem())
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == "" and len(lines) == 2 and lines[0].startswith("epoch 1/2  loss ")
    assert " validation " in lines[1] and lines[1].endswith(" s")
    _fit(_model())
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("given, error, message", [
    ({"images": np.zeros((0, 1, 4, 4), np.uint8), "labels": np.zeros(0, int)}, ValueError,
     "equally many and at least one, not 0 and 0"),
    ({"labels": np.zeros(31, int)}, ValueError, "equally many and at least one, not 32 and 31"),
    ({"labels": np.zeros(32)}, TypeError, "labels must be integers, not float64"),
    ({"labels": np.zeros((32, 1), int)}, ValueError, r"labels must be \(32,\)"),
    ({"labels": np.full(32, 3)}, ValueError, r"labels must lie in 0..2, but run from 3 to 3"),
    ({"images": np.zeros((32, 4, 4), np.uint8)}, ValueError, "four axes"),
    ({"images": np.zeros((32, 3, 4, 4), np.uint8)}, ValueError, "input channels"),
    ({"images": np.zeros((32, 1, 4, 4))}, TypeError, "mix float32 and float64"),
    ({"epochs": 0}, ValueError, "epochs and batch_size must be at least 1"),
    ({"batch_size": 0}, ValueError, "epochs and batch_size must be at least 1"),
    ({"warmup": 1.0}, ValueError, r"warmup in \[0, 1\), not"),
    ({"lr": -1}, ValueError, "lr must be finite and at least 0"),
    ({"label_smoothing": 2}, ValueError, r"label_smoothing must lie in \[0, 1\]"),
])
def test_bad_arguments_are_refused_before_anything_moves(given, error, message):
    images, labels = _problem()
    model = _model()
    before = model.state_dict()
    given = {"images": images, "labels": labels, "epochs": 1, "batch_size": 8, "progress": False, **given}
    with pytest.raises(error, match=message):
        train.fit(model, **given)
    after = model.state_dict()
    assert all(np.array_equal(before[name], after[name]) for name, _ in model.named_parameters())


@pytest.mark.parametrize("f, message", [
    (lambda m, x, y: train.accuracy(m, x, y[:1]), r"labels must have shape \(32,\), one a picture, not \(1,\)"),
    (lambda m, x, y: train.predict(m, x[:0]), "at least one picture"),
    (lambda m, x, y: train.predict(m, x, 0), "batch_size be at least 1, not 32 and 0"),
    (lambda m, x, y: train.fit(nn.Sequential(nn.Flatten()), x, y), "params must hold at least one parameter"),
])
def test_prediction_refuses_what_does_not_fit(f, message):
    with pytest.raises(ValueError, match=message):
        f(_model(), *_problem())
