"""The trained networks in the package: small files, strictly loaded, as good as their record says; and what is no such file."""
import pathlib

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import io, models
from tinyconv.models import trained

SUBSET = 500


@pytest.fixture(scope="module")
def pictures():
    """The first 500 test pictures and their labels."""
    return tuple(part[:SUBSET] for part in tc.data.fashion("test"))


def test_there_are_five():
    families = "mobilenet_v2", "mobilenet_v1", "shufflenet_v2", "resnet", "vgg16"
    assert set(models.PRETRAINED) == {f"{family}_small" for family in families}
    assert {path.stem for path in trained.FOLDER.glob("*.safetensors")} == set(models.PRETRAINED)


@pytest.mark.parametrize("name", models.PRETRAINED)
def test_a_trained_network_is_the_network(name):
    """Class, names, shapes and options are those of the builder's own; evaluation mode; arrays of one's own at every call."""
    model, fresh = models.pretrained(name), models.network(name)(rng=0)
    assert type(model) is type(fresh) and repr(model) == repr(fresh) and not any(m.training for m in model.modules())
    state, other = model.state_dict(), fresh.state_dict()
    assert {key: (a.shape, a.dtype) for key, a in state.items()} == {key: (a.shape, a.dtype) for key, a in other.items()}
    next(model.parameters()).data[:] = 0
    assert all(np.array_equal(state[key], a) for key, a in models.pretrained(name).state_dict().items())


@pytest.mark.parametrize("name", models.PRETRAINED)
def test_it_gets_right_what_its_record_says(name, pictures):
    """On the first 500 test pictures. Other machines add in other orders: float32 rounds by 2^-24 an addition, some thousand of
    them stand behind a score, so scores may differ by 1e-4 of the largest; the count may differ by as many pictures as have their
    two best scores closer than twice that.
    """
    model, record = trained.read_trained(trained.FOLDER / f"{name}.safetensors")
    scores = tc.train.predict(model, pictures[0])
    correct = int((scores.argmax(axis=1) == pictures[1]).sum())
    second, best = np.sort(scores, axis=1)[:, -2:].T
    close = int((best - second < 2e-4 * np.abs(scores).max()).sum())
    assert abs(correct - record.correct_of_first_500) <= close <= 2
    assert record.accuracy >= 0.895 and 0.87 <= correct / SUBSET


@pytest.mark.parametrize("name", models.PRETRAINED)
def test_the_record_is_in_the_file_and_in_the_table(name):
    """Under 300 kB; the table's row is the file's record. (Where its command leads: test_training.py.)"""
    path = trained.FOLDER / f"{name}.safetensors"
    row, record = models.PRETRAINED[name], trained.read_trained(path)[1]
    assert path.stat().st_size < 300_000
    assert (row.correct, row.seed, row.command) == (record.correct, record.seed, record.command) and record.pictures == 2000
    assert record.network == name and record.options == {"num_classes": 10, "in_channels": 1, "width_mult": 1.0}
    assert io.read_safetensors(path)[1]["accuracy"] == f"{row.correct / 2000:.4f}"


@pytest.mark.parametrize("name", models.PRETRAINED)
def test_the_readme_says_the_same(name):
    """Its table: accuracy, parameters, multiply-adds and bytes of the file."""
    model, file_bytes = models.pretrained(name), (trained.FOLDER / f"{name}.safetensors").stat().st_size
    s = tc.cost.summary(model, (1, 1, 28, 28))
    line = [name, f"{models.PRETRAINED[name].correct / 2000:.4f}", f"{s.params:,}", f"{s.macs:,}", f"{file_bytes:,}"]
    readme = (pathlib.Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")
    assert line in [text.split() for text in readme.splitlines()]


def test_a_trained_network_goes_on(pictures):
    """As a graph, bit for bit; in integers, two of a hundred pictures lost at most; trained further, it does not forget."""
    model = models.pretrained("resnet_small")
    g = tc.trace(model, (1, 1, 28, 28))
    assert np.array_equal(tc.train.predict(g, pictures[0]), tc.train.predict(model, pictures[0]))
    accuracy, integers = (tc.train.accuracy(net, *pictures) for net in (g, tc.apply.quantize(g, pictures[0][:200])))
    assert integers >= accuracy - 0.02
    images, labels = tc.data.fashion("train")
    tc.train.fit(model, images[:512], labels[:512], epochs=1, lr=1e-3, progress=False)
    assert tc.train.accuracy(model, *pictures) >= accuracy - 0.02


# ---- what is refused ----------------------------------------------------------------------------------------------------------

@pytest.mark.small
@pytest.mark.parametrize("name", ["resnet50", "resnet", "", None, 3])
def test_unknown_names_are_told_the_known_ones(name):
    with pytest.raises(ValueError, match=f"no trained network {name!r} in the package; there are mobilenet_v2_small, .*resnet_small, .*train"):
        models.pretrained(name)


def test_a_damaged_installation_is_told(tmp_path, monkeypatch):
    """A byte of the file changed, or no file: by name, with what to do."""
    whole = (trained.FOLDER / "resnet_small.safetensors").read_bytes()
    monkeypatch.setattr(trained, "FOLDER", tmp_path)
    with pytest.raises(FileNotFoundError, match="resnet_small.safetensors: not there; reinstall tinyconv, or make it again"):
        models.pretrained("resnet_small")
    (tmp_path / "resnet_small.safetensors").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ValueError, match="resnet_small.safetensors: not what was put there: SHA-256 .*; reinstall tinyconv"):
        models.pretrained("resnet_small")


def _without(entry):
    def change(arrays, text):
        del (arrays if entry in arrays else text)[entry]
    return change


def _with(entry, value):
    def change(arrays, text):
        (text if isinstance(value, str) else arrays)[entry] = value
    return change


@pytest.mark.small
@pytest.mark.parametrize("change, message", [
    (_without("format"), "no trained network: format None in its metadata, should be 'tinyconv.trained.1'"),
    (_with("format", "tinyconv.graph.1"), "no trained network: format 'tinyconv.graph.1'"),
    (_without("command"), "its metadata have no 'command'"),
    (_with("network", "resnet_9"), "unknown network 'resnet_9'"),
    (_with("network", "vgg16_small"), "this state does not fit VGG: .*classifier.1.weight: missing"),
    (_with("options", '{"width_mult": 1.0}'), r"classifier.weight: shape \(10, 32\), should be \(10, 128\)"),
    (_with("options", '{"stride": 3}'), "unexpected keyword argument 'stride'"),
    (_with("options", '{"width_mult": -1}'), "width_mult must be a positive number, not -1"),
    (_with("options", "[1]"), "options must be dict, not .1."),
    (_with("options", "{"), "Expecting property name"),
    (_with("correct", "true"), "correct must be int, not true"),
    (_without("classifier.bias"), "does not fit MobileNetV1: classifier.bias: missing"),
    (_with("more", np.ones(2)), "does not fit MobileNetV1: more: unexpected"),
    (_with("classifier.bias", np.ones(9, np.float32)), r"classifier.bias: shape \(9,\), should be \(10,\)"),
    (_with("classifier.bias", np.ones(10, np.int32)), "classifier.bias: int32, should be float32"),
])
def test_files_that_are_no_trained_network(change, message, tmp_path):
    """Metadata and arrays, one entry wrong at a time: the file and the entry are named."""
    model, path = models.mobilenet_v1_small(width_mult=0.25, rng=0), tmp_path / "a.safetensors"
    options = {"num_classes": 10, "in_channels": 1, "width_mult": 0.25}
    record = models.Trained("mobilenet_v1_small", options, "python", 0, 1, 2, 0, "nothing")
    arrays, text = model.state_dict(), record.as_metadata()
    io.write_safetensors(path, arrays, text)
    assert models.read_trained(path)[1] == record
    change(arrays, text)
    io.write_safetensors(path, arrays, text)
    with pytest.raises(ValueError, match=f"a.safetensors: .*({message})"):
        models.read_trained(path)
