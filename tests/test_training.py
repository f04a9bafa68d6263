"""`tinyconv train`: every setting arrives where it belongs, the file says how it came about, and bad input is told at once."""
import shlex

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import models
from tinyconv.cli import commands, main
from tinyconv.recipes import training

NETWORK = "mobilenet_v1_small"
QUICK = {"images": 96, "epochs": 1, "batch_size": 32, "width": 0.25}


def from_line(line):
    """The settings that a command line leads to."""
    words = shlex.split(line)
    assert words[:3] == ["python", "-m", "tinyconv"]
    options = vars(commands.parser().parse_args(words[3:]))
    return training.settings(**{name: options[name] for name in training.Settings._fields})


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """One short training, all it says, its file and its record."""
    path, said = tmp_path_factory.mktemp("train") / "a.safetensors", []
    record = training.run(training.settings(NETWORK, **QUICK, seed=3), path, progress=False, say=said.append)
    return path, record, "\n".join(said)


# ---- settings -----------------------------------------------------------------------------------------------------------------

@pytest.mark.small
@pytest.mark.parametrize("given", [
    {}, {"epochs": 7, "lr": 1e-05, "flip": False}, {"data": "mnist", "root": "some folder/of mine", "flip": True},
    {"data": "shapes", "images": 500, "held_out": 100, "shift": 0, "seed": 12, "width": 0.3, "label_smoothing": 0.0,
     "weight_decay": 0.0, "batch_size": 1, "threads": 3}], ids=str)
def test_a_command_line_says_all_settings(given):
    """What `command` writes is parsed to the same settings, whatever the defaults are: none is left to them."""
    for network in ("resnet20", NETWORK):
        s = training.settings(network, **given)
        assert from_line(training.command(s)) == s and all(getattr(s, name) == value for name, value in given.items())


@pytest.mark.small
def test_what_is_not_said_is_the_networks_own_setting(monkeypatch):
    """Usual settings, the network's own, and what is given, each before the one that stands before it."""
    monkeypatch.setattr(training, "SETTINGS", {"resnet20": {"epochs": 77, "lr": 0.5}})
    s = from_line("python -m tinyconv train resnet20 --lr 0.25")
    usual = training.Settings("resnet20")
    assert s == usual._replace(epochs=77, lr=0.25) and training.settings("resnet32") == training.Settings("resnet32")
    assert usual.flip and not training.settings("resnet20", data="mnist", root=".").flip             # no mirrored digits


@pytest.mark.small
@pytest.mark.parametrize("name", models.PRETRAINED)
def test_the_recorded_commands_are_the_defaults(name):
    """What trained a network of the package is parsed to what `train NETWORK` does today: all pictures, the recorded seed."""
    row = models.PRETRAINED[name]
    s = from_line(row.command)
    assert s == training.settings(name) == from_line(f"python -m tinyconv train {name}") and training.command(s) == row.command
    assert s.seed == row.seed and s.images is None and s.held_out == 0 and s.data == "fashion" and s.root is None


@pytest.mark.small
def test_the_defaults_are_said_once():
    """Every setting is an option of the command, and none of these has a default of its own there."""
    options = vars(commands.parser().parse_args(["train", NETWORK]))
    assert set(training.Settings._fields) <= set(options)
    assert {name for name in training.Settings._fields if options[name] is not None} == {"network"}


@pytest.mark.small
@pytest.mark.parametrize("given, message", [
    ({"network": "resnet_9"}, "unknown network 'resnet_9'; did you mean resnet"),
    ({"data": "imagenet"}, "data must be one of fashion, mnist, cifar10, shapes, not 'imagenet'"),
    ({"data": "mnist"}, "data 'mnist' needs root, the folder of its official files"),
    ({"data": "cifar10"}, "data 'cifar10' needs root"),
    ({"data": "shapes", "root": "."}, "data 'shapes' are drawn and have no root"),
    ({"epochs": 0}, "epochs must be at least 1, not 0"), ({"images": 0}, "images must be at least 1, not 0"),
    ({"batch_size": 0}, "batch_size must be at least 1, not 0"), ({"shift": -1}, "shift must be at least 0, not -1"),
    ({"held_out": -1}, "held_out must be at least 0, not -1"), ({"seed": -1}, "seed must be at least 0, not -1"),
    ({"threads": 0}, "threads must be at least 1, not 0")], ids=str)
def test_bad_settings_are_named(given, message):
    with pytest.raises(ValueError, match=message):
        training.settings(**{"network": NETWORK, **given})


@pytest.mark.parametrize("arguments, words", [
    (["resnet_9"], "unknown network 'resnet_9'"),
    ([NETWORK, "--epochs", "none"], "invalid int value: 'none'"),
    ([NETWORK, "--data", "cifar10"], "needs root"),
    ([NETWORK, "--data", "mnist", "--root", "."], "no train-images-idx3-ubyte"),
    ([NETWORK, "--width", "-1"], "width_mult must be a positive number, not -1.0"),
    ([NETWORK, "--images", "20", "--held-out", "20"], "held_out must leave something of the 20 training pictures, not 20"),
    ([NETWORK, "--out", "nowhere/a.safetensors"], "out must be a .safetensors file in a folder that exists"),
    ([NETWORK, "--out", "a.npz"], "out must be a .safetensors file in a folder that exists, not 'a.npz'"),
    ([NETWORK, "--images", "20", "--lr", "1e30", "--epochs", "5"], "the loss is nan|the loss is inf"),
    (["alexnet_paper", "--images", "20", "--width", "0.05"], "no window fits|takes pictures of 227x227"),
], ids=str)
def test_the_command_says_what_is_wrong(arguments, words, capsys, tmp_path, monkeypatch):
    """Exit code 2, one sentence, no file."""
    monkeypatch.chdir(tmp_path)
    try:
        code = main(["train", *arguments])
    except SystemExit as stop:
        code = stop.code
    told = capsys.readouterr().err
    assert code == 2 and any(word in told for word in words.split("|")) and "Traceback" not in told, told
    assert list(tmp_path.iterdir()) == []


# ---- what is trained on -------------------------------------------------------------------------------------------------------

def test_settings_arrive_in_the_training(monkeypatch, tmp_path):
    """Pictures, the part set aside, every number of the optimiser: as `train.fit` is given them."""
    given = {}

    def fit(model, images, labels, **options):
        given.update(options, model=model, images=images, labels=labels)
        model.eval()
    monkeypatch.setattr(tc.train, "fit", fit)
    s = training.settings(NETWORK, images=50, held_out=20, width=0.5, epochs=6, batch_size=9, lr=0.7, weight_decay=0.01,
                          label_smoothing=0.3, shift=0, flip=False, seed=8)
    training.run(s, tmp_path / "a.safetensors", progress=False, say=lambda text: None)
    images, labels = tc.data.fashion("train")
    assert np.array_equal(given["images"], images[:30]) and np.array_equal(given["labels"], labels[:30])
    assert all(np.array_equal(part, whole[30:50]) for part, whole in zip(given["validation"], (images, labels)))
    names = ("epochs", "batch_size", "lr", "weight_decay", "label_smoothing", "seed")
    assert [given[name] for name in names] == [getattr(s, name) for name in names]
    assert given["augment"](images, np.random.default_rng(0)) is images                    # neither shifted nor mirrored
    twin = models.mobilenet_v1_small(width_mult=0.5, rng=8).state_dict()
    assert all(np.array_equal(twin[name], array) for name, array in given["model"].state_dict().items())


@pytest.mark.small
def test_augmenting():
    """Shifts of up to so many pixels, mirrored or not; each picture is one of these of itself."""
    images = np.arange(1, 31, dtype=np.uint8).reshape(1, 1, 5, 6).repeat(60, 0)
    seen = {picture.tobytes() for picture in training.augment(images, np.random.default_rng(0), 1, True)}
    padded = np.pad(images[0, 0], 1)
    shifted = [padded[a:a + 5, b:b + 6] for a in range(3) for b in range(3)]
    assert seen <= {x.tobytes() for y in shifted for x in (y, y[:, ::-1])} and len(seen) > 12
    assert {picture.tobytes() for picture in training.augment(images, np.random.default_rng(0), 1, False)} <= {
        x.tobytes() for x in shifted}


def test_other_data(tmp_path, monkeypatch):
    """Drawn shapes have three channels, and so does the network that learns them."""
    monkeypatch.setattr(training, "SHAPES", {"train": (40, 0), "test": (20, 1)})
    s = training.settings(NETWORK, data="shapes", **QUICK)
    record = training.run(s, tmp_path / "a.safetensors", progress=False, say=lambda text: None)
    model, found = models.read_trained(tmp_path / "a.safetensors")
    assert found == record and record.options["in_channels"] == 3 == model.features[0][0].weight.shape[1]
    train, test = (training.pictures(s, split)[0] for split in ("train", "test"))
    assert (len(train), len(test)) == (40, 20) and not np.array_equal(train[:20], test)


# ---- the file -----------------------------------------------------------------------------------------------------------------

def test_the_file_is_what_was_trained(trained):
    """Read back: class, width, evaluation mode, the recorded counts to the picture, the command that was meant."""
    path, record, said = trained
    model, found = models.read_trained(path)
    images, labels = tc.data.fashion("test")
    right = tc.train.predict(model, images).argmax(axis=1) == labels
    assert found == record and (record.correct, record.pictures) == (right.sum(), 2000)
    assert record.correct_of_first_500 == right[:500].sum()
    assert type(model) is models.MobileNetV1 and not any(m.training for m in model.modules())
    assert from_line(record.command) == training.settings(NETWORK, **QUICK, seed=3) and record.seed == 3
    assert f"test accuracy {record.accuracy:.4f}" in said and f"{path.stat().st_size:,} bytes" in said
    assert tc.io.read_safetensors(path)[1]["accuracy"] == f"{record.accuracy:.4f}" and "numpy" in record.made_with


def test_same_seed_same_file(trained, tmp_path):
    """Every bit of it; another seed gives another."""
    path, record, _ = trained
    for seed in (3, 4):
        other = tmp_path / "b.safetensors"
        training.run(from_line(record.command)._replace(seed=seed), other, progress=False, say=lambda text: None)
        assert (other.read_bytes() == path.read_bytes()) == (seed == 3)


def test_the_command_trains(tmp_path, monkeypatch, capsys):
    """In the folder where one is: NETWORK.safetensors, a line an epoch on standard error, the accuracy on standard output."""
    monkeypatch.chdir(tmp_path)
    assert main(["train", NETWORK, "--images", "60", "--epochs", "2", "--held-out", "10", "--width", "0.25"]) == 0
    out, err = capsys.readouterr()
    record = models.read_trained(tmp_path / f"{NETWORK}.safetensors")[1]
    assert [line[:9] for line in err.splitlines()] == ["epoch 1/2", "epoch 2/2"] and " validation " in err
    assert f"({record.correct:,} of 2,000 pictures)" in out and "50 pictures, accuracy on 10 that were set aside" in out
