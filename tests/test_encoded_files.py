"""Networks in encoded files: the length foretold, the network that comes back runs and is the same, damage refused."""
import json

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import graph, nn
from tinyconv.compress import encode as en

pytestmark = pytest.mark.small


def network(seed=0):
    """Convolution, BatchNorm, linear; the weights pruned to 30 % and shared among 7 values, as Deep Compression leaves them."""
    model = nn.Sequential(nn.Conv2d(2, 8, 3, padding=1, rng=seed), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(),
                          nn.Linear(128, 10, rng=1))
    g = tc.trace(model, (1, 2, 4, 4))
    return g.with_arrays({name: en.deep_compression(a, 0.7, 3)["shared"][0] for name, a in g.parameters.items() if a.ndim > 1})


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b)


WAYS = [None, "dense", "codebook", "csr", "relative", "relative_shared", "huffman", "deep_compression", "smallest",
        ("relative", {"index_bits": 6}), ("products", {"parts": 2}), ("n_of_m", {"n": 2, "m": 2}),
        {"0.weight": "huffman", "1.running_mean": "codebook"}, {"4.weight": ("vectors", {"d": 5}), "4.bias": "smallest"}, {}]


@pytest.mark.parametrize("encoding", WAYS, ids=str)
def test_an_encoded_network_is_the_same_network(encoding, tmp_path):
    """Every array, every node, and its results bit for bit; the length is the formula's and the file's."""
    g, path = network(), tmp_path / "net.safetensors"
    x = np.random.default_rng(0).standard_normal((3, 2, 4, 4)).astype(np.float32)
    length = tc.save(path, tc.Network(g), encoding)
    assert length == path.stat().st_size == graph.saved_bytes(g, encoding)
    net = tc.load(path)
    assert isinstance(net, graph.Network) and not net.training and net.graph.nodes == g.nodes
    assert all(same(a, net.graph.array(name)) for name, a in g.arrays().items())
    assert np.array_equal(net(tc.Tensor(x)).data, graph.run(g, x))
    tc.save(tmp_path / "again.safetensors", net, encoding)
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_no_encoding_is_left_out():
    """Every row of the table of encodings is among those whose files are measured above."""
    ways = [way for given in WAYS for way in (given.values() if isinstance(given, dict) else [given]) if way]
    assert {way if isinstance(way, str) else way[0] for way in ways} == {*tc.compress.encode.table.ENCODINGS, "smallest"}


def test_the_length_is_a_sum():
    """Header + encoded weights + the other arrays as they are, added up by hand."""
    g = network()
    stored, metadata = graph.encoding.encoded(g.arrays(), "huffman")
    header = len(tc.io.safetensors_header(stored, {"format": "tinyconv.graph.1", "graph": graph.graph_as_json(g), **metadata}))
    weights = [a for a in g.arrays().values() if a.ndim > 1]
    rest = sum(a.nbytes for a in g.arrays().values() if a.ndim < 2)
    assert len(weights) == 2
    assert graph.saved_bytes(g, "huffman") == header + rest + sum(len(en.encode(a, "huffman")) for a in weights)
    assert json.loads(metadata["tinyconv.encodings"]) == {"0.weight": "huffman", "4.weight": "huffman"}


def test_smallest_is_the_smallest(rng):
    """Array by array against every encoding, and as it is where nothing is shorter: random floats, empty ones, truth values."""
    arrays = {"random": rng.standard_normal((9, 7)).astype(np.float32),
              "shared": rng.choice([0.5, 1, 2], (40, 30)).astype(np.float32),
              "codes": rng.integers(-8, 8, (50, 4)).astype(np.int8),
              "empty": np.zeros((0, 3), np.float32), "truth": np.ones((3, 3), bool),
              "pruned": np.where(rng.random((50, 50)) < 0.05, rng.standard_normal((50, 50)), 0),
              "many": np.arange(70_000.0).reshape(7, -1)}
    choices = graph.encoding.chosen(arrays, "smallest")
    assert set(choices) == {"shared", "codes", "pruned"}
    for name, (how, options) in choices.items():
        ways = ("dense", "codebook", "csr", "relative", "relative_shared", "huffman", "deep_compression")
        least = min(len(en.encode(arrays[name], way)) for way in ways)
        assert len(en.encode(arrays[name], how, **options)) == least < arrays[name].nbytes


def test_arrays_without_a_network(tmp_path):
    """A dict of arrays comes back as a dict, integers and halves too; rows of one axis are left alone unless named."""
    arrays = {"a": np.float16([[0, 1.5], [0, 0]]), "b": np.int32([[5, -5]]), "c": np.float32([1, 2])}
    assert tc.save(tmp_path / "a.safetensors", arrays, "csr") == graph.saved_bytes(arrays, "csr")
    found, raw = tc.load(tmp_path / "a.safetensors"), tc.io.read_safetensors(tmp_path / "a.safetensors")[0]
    assert all(same(found[name], array) for name, array in arrays.items())
    assert [raw[n].dtype.name for n in "abc"] == ["uint8", "uint8", "float32"]


def test_an_integer_network_encoded(tmp_path):
    """int8 weights by Huffman: the same codes, the same results, the length as foretold."""
    x = np.random.default_rng(0).standard_normal((8, 2, 8, 8)).astype(np.float32)
    model = nn.Sequential(nn.Conv2d(2, 16, 3, rng=0), nn.ReLU(), nn.Flatten(), nn.Linear(576, 10, rng=0))
    g = tc.apply.quantize(tc.trace(model, (1, 2, 8, 8)), x)
    assert tc.save(tmp_path / "q.safetensors", g, "huffman") == graph.saved_bytes(g, "huffman")
    assert graph.saved_bytes(g, "smallest") == graph.saved_bytes(g)                        # evenly spread codes: nothing to gain
    h = tc.load(tmp_path / "q.safetensors").graph
    assert all(same(a, h.array(name)) for name, a in g.arrays().items()) and np.array_equal(graph.run(g, x), graph.run(h, x))


@pytest.mark.parametrize("encoding, error, message", [
    ("zip", ValueError, "entry '0.weight': encoding must be one of dense, codebook"),
    (7, TypeError, "encoding of '0.weight' must be a name, .* not 7"),
    ({"nobody": "csr"}, ValueError, "encoding names arrays that are not there: nobody; there are 0.weight"),
    (("n_of_m", {"n": 1, "m": 4}), ValueError, "entry '0.weight': x must have at most n = 1"),
    (("csr", {"bits": 1}), ValueError, "'csr' takes the options index_bits, not bits"),
    ({"1.weight": None}, TypeError, "encoding of '1.weight' must be a name"),
])
def test_what_cannot_be_encoded_is_not_written(encoding, error, message, tmp_path):
    """The array is named, and the old file stays."""
    path = tmp_path / "net.safetensors"
    path.write_bytes(b"old")
    with pytest.raises(error, match=message):
        tc.save(path, network(), encoding)
    assert path.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


def test_numbers_that_are_not_finite_and_other_endings(tmp_path):
    g = network()
    with pytest.raises(ValueError, match="entry '4.weight': x must be finite"):
        tc.save(tmp_path / "a.safetensors", g.with_arrays({"4.weight": np.full((10, 128), np.nan, np.float32)}), "csr")
    with pytest.raises(ValueError, match="encoded arrays are saved as .safetensors, not 'a.npz'"):
        tc.save(tmp_path / "a.npz", {"a": np.ones((2, 2))}, "csr")
    assert not list(tmp_path.iterdir())


def rewritten(path, change):
    """The file with its arrays and metadata changed, in a container that is right."""
    arrays, metadata = tc.io.read_safetensors(path)
    change(arrays, metadata)
    tc.io.write_safetensors(path, arrays, metadata)


def _flip(arrays, metadata):
    arrays["4.weight"][40] ^= 4


def _cut(arrays, metadata):
    arrays["4.weight"] = arrays["4.weight"][:-1]


def _retype(arrays, metadata):
    arrays["4.weight"] = arrays["4.weight"].astype(np.int16)


def _rename(arrays, metadata):
    metadata["tinyconv.encodings"] = metadata["tinyconv.encodings"].replace("huffman", "csr")


def _unknown(arrays, metadata):
    metadata["tinyconv.encodings"] = '{"nobody": "csr"}'


def _no_json(arrays, metadata):
    metadata["tinyconv.encodings"] = "{"


def _forget(arrays, metadata):
    del metadata["tinyconv.encodings"]


def _other_shape(arrays, metadata):
    arrays["4.weight"] = np.frombuffer(en.encode(np.zeros((10, 127), np.float32), "huffman"), np.uint8)


@pytest.mark.parametrize("change, message", [
    (_flip, "net.safetensors: entry '4.weight': encoded data are damaged: the checksum"),
    (_cut, "entry '4.weight': encoded data"),
    (_retype, "entry '4.weight': an encoded array is a row of uint8, not int16"),
    (_rename, "entry '0.weight' is encoded as 'huffman', the metadata say 'csr'"),
    (_unknown, "the list of encodings must give names of arrays"), (_no_json, "the list of encodings is no valid JSON"),
    (_forget, "does not fit its arrays"), (_other_shape, "does not fit its arrays"),
])
def test_damaged_files_are_refused_by_name(change, message, tmp_path):
    path = tmp_path / "net.safetensors"
    tc.save(path, network(), "huffman")
    rewritten(path, change)
    with pytest.raises(ValueError, match=message):
        tc.load(path)
