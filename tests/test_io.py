"""Files: what is written comes back bit for bit, what is damaged is refused by name, and a crash leaves the old file."""
import json
import os
import zipfile

import numpy as np
import pytest

from tinyconv import io

DTYPES = ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?"]
SHAPES = [(), (0,), (1,), (7,), (3, 0, 2), (2, 3, 4)]


def _arrays(rng):
    """One array of every dtype and shape, filled with random values that the dtype can hold."""
    arrays = {}
    for dtype in DTYPES:
        for shape in SHAPES:
            values = np.clip(np.asarray(rng.standard_normal(shape)) * 50, -127, 127)
            values = values > 0 if dtype == "?" else abs(values) if "u" in dtype else values
            arrays[f"{dtype} {shape}"] = np.asarray(values).astype(dtype)
    return arrays


def _same(first, second):
    """Names, dtypes, shapes and every bit."""
    return list(first) == list(second) and all(
        a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in zip(first.values(), second.values()))


def _file(path, header, data=b"", length=None):
    """A .safetensors file with this header (a dict, or bytes as they are) and these array bytes."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)
    return path


def _entry(dtype="F32", shape=(1,), offsets=(0, 4)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


# .safetensors

@pytest.mark.small
def test_safetensors_round_trip(tmp_path, rng):
    """Every dtype with 0-d, empty and common shapes, and metadata with quotes, line ends and letters of the world."""
    arrays, metadata = _arrays(rng), {"graph": '{"nodes": [1, "ü"]}\n', "": "", "名": "𝄞"}
    path = tmp_path / "a.safetensors"
    io.write_safetensors(path, arrays, metadata)
    found, found_metadata = io.read_safetensors(path)
    assert found_metadata == metadata and _same(dict(sorted(found.items())), dict(sorted(arrays.items())))
    assert all(array.flags.writeable and array.flags.c_contiguous and array.dtype.isnative for array in found.values())


@pytest.mark.small
def test_safetensors_follows_the_format_byte_by_byte(tmp_path):
    """A small file, taken apart by hand: length, aligned header, end-to-end offsets, largest items first, then by name."""
    path = tmp_path / "a.safetensors"
    arrays = {"b": np.array([1, 2], np.int8), "z": np.array(1.5, np.float64), "a": np.array([3], np.int8)}
    io.write_safetensors(path, arrays, {"k": "v"})
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    assert length % 8 == 0 and data[8:9] == b"{"
    assert json.loads(data[8:8 + length]) == {
        "__metadata__": {"k": "v"},
        "z": _entry("F64", (), (0, 8)), "a": _entry("I8", (1,), (8, 9)), "b": _entry("I8", (2,), (9, 11))}
    assert data[8 + length:] == np.float64(1.5).tobytes() + bytes([3, 1, 2])


@pytest.mark.small
def test_safetensors_length_equals_its_formula(tmp_path, rng):
    """bytes of the file = len(header) + sum of nbytes, so a size in a table can be computed and measured."""
    arrays, path = _arrays(rng), tmp_path / "a.safetensors"
    io.write_safetensors(path, arrays, {"k": "v"})
    assert path.stat().st_size == len(io.safetensors_header(arrays, {"k": "v"})) + sum(array.nbytes for array in arrays.values())


@pytest.mark.small
def test_safetensors_same_arrays_same_bytes(tmp_path, rng):
    """The order of the dict, memory layout and byte order leave no trace in the file."""
    base = rng.standard_normal((2, 3, 4, 5)).astype(np.float32)
    first, second = tmp_path / "a", tmp_path / "b"
    io.write_safetensors(first, {"x": base, "y": base[:, ::2]}, {"a": "1", "b": "2"})
    last = np.ascontiguousarray(base.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2).astype(">f4")
    io.write_safetensors(second, {"y": base[:, ::2].copy(), "x": last}, {"b": "2", "a": "1"})
    assert first.read_bytes() == second.read_bytes()
    assert np.array_equal(io.read_safetensors(second)[0]["x"], base)


@pytest.mark.small
def test_safetensors_reads_bf16_exactly(tmp_path):
    """BF16 is the upper half of a float32: all 65,536 patterns, compared as bits (NaN and infinities let through)."""
    codes = np.arange(65536, dtype="<u2")
    path = _file(tmp_path / "a", {"w": _entry("BF16", (65536,), (0, 131072))}, codes.tobytes())
    found = io.read_safetensors(path, allow_nonfinite=True)[0]["w"]
    assert found.dtype == np.float32 and np.array_equal(found.view(np.uint32), codes.astype(np.uint32) << 16)
    with pytest.raises(ValueError, match="entry 'w': 256 of 65536 values are NaN or infinite"):
        io.read_safetensors(path)


@pytest.mark.small
def test_safetensors_reads_what_others_write(tmp_path):
    """Entries in any order in the header, no alignment, spaces at its end, no arrays at all: the format allows it."""
    data = bytes([1]) + np.array([2.5], "<f4").tobytes()
    header = json.dumps({"w": _entry(offsets=(1, 5)), "flag": _entry("BOOL", (1,), (0, 1))}).encode() + b"   "
    path = _file(tmp_path / "a", header, data)
    arrays, metadata = io.read_safetensors(path)
    assert list(arrays) == ["w", "flag"] and metadata == {}
    assert arrays["w"].tolist() == [2.5] and arrays["flag"].tolist() == [True]
    assert arrays["w"].flags.aligned
    assert io.read_safetensors(_file(tmp_path / "b", {})) == ({}, {})


@pytest.mark.small
@pytest.mark.parametrize("header, data, match", [
    (b"[1]", b"", "must be a JSON object, not list"),
    (b"{", b"", "no valid JSON"),
    (b"\xff\xfe", b"", "no valid JSON"),
    (b"[" * 100_000, b"", "no valid JSON"),
    (b'{"a": {"dtype":"U8","shape":[0],"data_offsets":[0,0]}, "a": {"dtype":"U8","shape":[0],"data_offsets":[0,0]}}', b"",
     "name 'a' is given twice"),
    ({"__metadata__": {"k": 1}}, b"", "__metadata__ must hold strings only"),
    ({"__metadata__": []}, b"", "__metadata__ must hold strings only"),
    ({"w": [1]}, b"", "entry 'w' must give dtype, shape and data_offsets"),
    ({"w": {"dtype": "F32", "shape": [1]}}, b"", "entry 'w' must give dtype, shape and data_offsets"),
    ({"w": {**_entry(), "more": 1}}, bytes(4), "entry 'w' must give dtype, shape and data_offsets"),
    ({"w": _entry("F8_E4M3", (4,))}, bytes(4), "entry 'w' has dtype 'F8_E4M3'; known are F64, F32"),
    ({"w": _entry("f32")}, bytes(4), "entry 'w' has dtype 'f32'"),
    ({"w": _entry(7)}, bytes(4), "entry 'w' has dtype 7"),
    ({"w": _entry(shape=(-1,))}, bytes(4), "entry 'w': shape must be a list"),
    ({"w": _entry(shape=(1.0,))}, bytes(4), "entry 'w': shape must be a list"),
    ({"w": _entry(shape=(True,))}, bytes(4), "entry 'w': shape must be a list"),
    ({"w": {**_entry(), "shape": 1}}, bytes(4), "entry 'w': shape must be a list"),
    ({"w": _entry(shape=(0, 2**62, 2**62), offsets=(0, 0))}, b"", "entry 'w': shape must be a list"),
    ({"w": _entry(shape=(1,) * 33)}, bytes(4), "entry 'w': shape must be a list"),
    ({"w": _entry(offsets=(0, 4, 8))}, bytes(8), r"entry 'w': data_offsets \[0, 4, 8\] do not lie"),
    ({"w": _entry(offsets=(4, 0))}, bytes(4), r"entry 'w': data_offsets \[4, 0\] do not lie"),
    ({"w": _entry(offsets=(-4, 0))}, bytes(4), r"entry 'w': data_offsets \[-4, 0\] do not lie"),
    ({"w": _entry(offsets=(0, 4))}, bytes(3), r"entry 'w': data_offsets \[0, 4\] do not lie within the 3 bytes"),
    ({"w": _entry(shape=(2**40,), offsets=(0, 2**42))}, bytes(4), "do not lie within the 4 bytes"),
    ({"w": _entry(shape=(2,))}, bytes(4), r"entry 'w': F32 of shape \(2,\) takes 8 bytes, but data_offsets \[0, 4\] give 4"),
    ({"v": _entry(), "w": _entry(offsets=(2, 6))}, bytes(6), "entry 'w' begins at byte 2 .* ends at 4: an overlap"),
    ({"v": _entry(), "w": _entry()}, bytes(4), "entry 'w' begins at byte 0 .* ends at 4: an overlap"),
    ({"v": _entry(), "w": _entry(offsets=(5, 9))}, bytes(9), "entry 'w' begins at byte 5 .* ends at 4: a hole"),
    ({"w": _entry(offsets=(4, 8))}, bytes(8), "entry 'w' begins at byte 4 .* ends at 0: a hole"),
    ({"w": _entry()}, bytes(5), "the arrays take 4 bytes, but 5 follow the header"),
    ({}, b"x", "the arrays take 0 bytes, but 1 follow the header"),
    ({"w": _entry("BOOL", (1,), (0, 1))}, b"\2", "entry 'w': a BOOL byte must be 0 or 1"),
    ({"w": _entry()}, np.array([np.nan], "<f4").tobytes(), r"entry 'w': 1 of 1 values are NaN or infinite, the first at \(0,\)"),
])
def test_safetensors_refuses_bad_files(tmp_path, header, data, match):
    """Each defect alone, in an otherwise proper file; the error names the file and what is wrong with which entry."""
    with pytest.raises(ValueError, match=match) as caught:
        io.read_safetensors(_file(tmp_path / "bad.safetensors", header, data))
    assert "bad.safetensors" in str(caught.value)


@pytest.mark.small
def test_safetensors_refuses_every_truncation(tmp_path):
    """A proper file cut at every single byte, and with one byte more: never arrays, always a ValueError that names the file."""
    path = tmp_path / "a.safetensors"
    io.write_safetensors(path, {"w": np.ones(3, np.float32), "n": np.array(1, np.int8)}, {"k": "v"})
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="a.safetensors: "):
            io.read_safetensors(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(ValueError, match="13 bytes, but 14 follow"):
        io.read_safetensors(path)


@pytest.mark.small
def test_safetensors_refuses_foreign_files(tmp_path):
    """Something else entirely, whose first 8 bytes are an absurd length; a header longer than the file, or than allowed."""
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"PK\3\4" + bytes(range(100, 200)))
    with pytest.raises(ValueError, match="no .safetensors file: it announces a header of"):
        io.read_safetensors(path)
    with pytest.raises(ValueError, match="truncated: it announces a header of 3 bytes, and only 2 follow"):
        io.read_safetensors(_file(path, b"{}", length=3))
    with pytest.raises(ValueError, match="a header of 100000001 bytes, and at most 100000000 are allowed"):
        io.read_safetensors(_file(path, b"{}", length=100_000_001))
    with pytest.raises(FileNotFoundError):
        io.read_safetensors(tmp_path / "none")


@pytest.mark.small
@pytest.mark.parametrize("arrays, metadata, error, match", [
    ([1], None, TypeError, "arrays must be a dict"),
    ({1: np.ones(1)}, None, TypeError, "name of an array must be a str, not 1"),
    ({"w": [1.0]}, None, TypeError, "entry 'w' must be a NumPy array, not list"),
    ({"w": np.array([{}], object)}, None, TypeError, "entry 'w' has dtype object"),
    ({"w": np.array(["a"])}, None, TypeError, "entry 'w' has dtype <U1"),
    ({"w": np.ones(1, complex)}, None, TypeError, "entry 'w' has dtype complex128"),
    ({"w": np.ones(1, np.longdouble)}, None, TypeError, "entry 'w' has dtype"),
    ({"__metadata__": np.ones(1)}, None, ValueError, "the format keeps that name"),
    ({"\ud800": np.ones(1)}, None, ValueError, "no valid Unicode text"),
    ({}, {"k": 1}, TypeError, "metadata must be a dict of str -> str"),
    ({}, "k", TypeError, "metadata must be a dict of str -> str"),
    ({"w": np.array([[1, np.inf]], np.float32)}, None, ValueError, r"entry 'w': 1 of 2 values are NaN .* the first at \(0, 1\)"),
])
def test_safetensors_refuses_to_write(tmp_path, arrays, metadata, error, match):
    """Nothing is cast or skipped; the error names the entry, and the file that was there before stays as it was."""
    if match == "entry 'w' has dtype" and np.dtype(np.longdouble).itemsize == 8:
        pytest.skip("long double is double here")
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"before")
    with pytest.raises(error, match=match):
        io.write_safetensors(path, arrays, metadata)
    assert path.read_bytes() == b"before" and os.listdir(tmp_path) == ["a.safetensors"]


@pytest.mark.small
@pytest.mark.parametrize("kind", ["safetensors", "npz"])
def test_nonfinite_values_pass_when_asked_for(tmp_path, kind):
    """By name, in both directions; otherwise refused on writing and on reading, naming the entry."""
    write = {"safetensors": io.write_safetensors, "npz": io.write_npz}[kind]
    read = {"safetensors": lambda *a, **k: io.read_safetensors(*a, **k)[0], "npz": io.read_npz}[kind]
    arrays = {"w": np.array([np.nan, -np.inf, 1], np.float16)}
    with pytest.raises(ValueError, match="entry 'w': 2 of 3 values are NaN or infinite"):
        write(tmp_path / "a", arrays)
    write(tmp_path / "a", arrays, allow_nonfinite=True)
    assert read(tmp_path / "a", allow_nonfinite=True)["w"].tobytes() == arrays["w"].tobytes()
    with pytest.raises(ValueError, match="entry 'w': 2 of 3 values"):
        read(tmp_path / "a")


# .npz

@pytest.mark.small
@pytest.mark.parametrize("compress", [True, False])
def test_npz_round_trip(tmp_path, rng, compress):
    """Every dtype and shape, Fortran order and big-endian, names that np.savez would trip over; NumPy reads the same."""
    arrays = {**_arrays(rng), "file": np.ones(1), "c": np.ones(2, complex), "x.npy": np.zeros(1)}
    arrays["a/b"] = np.asfortranarray(rng.standard_normal((2, 3)))
    io.write_npz(tmp_path / "a.npz", {**arrays, "big": np.arange(3, dtype=">i4")}, compress=compress)
    found = io.read_npz(tmp_path / "a.npz")
    assert _same(found, {**arrays, "big": np.arange(3, dtype="i4")})
    assert all(array.flags.writeable and array.dtype.isnative for array in found.values())
    with np.load(tmp_path / "a.npz", allow_pickle=False) as archive:
        assert all(np.array_equal(archive[name], array) for name, array in arrays.items())


@pytest.mark.small
def test_npz_reads_what_numpy_writes(tmp_path, rng):
    arrays = _arrays(rng)
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    assert _same(io.read_npz(tmp_path / "a.npz"), arrays)


@pytest.mark.small
def test_npz_same_arrays_same_bytes(tmp_path, rng):
    """No date in the archive: written twice, the same bytes."""
    arrays = _arrays(rng)
    io.write_npz(tmp_path / "a.npz", arrays)
    io.write_npz(tmp_path / "b.npz", arrays)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.small
def test_npz_never_unpickles(tmp_path):
    """An object array is refused in both directions; reading one runs nothing of what it holds."""
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "sprung"),))

    with pytest.raises(TypeError, match="entry 'w' has dtype object"):
        io.write_npz(tmp_path / "a.npz", {"w": np.array([Trap()], object)})
    np.savez(tmp_path / "a.npz", w=np.array([Trap()], object))
    with pytest.raises(ValueError, match="a.npz: .* entry 'w.npy': it has dtype object"):
        io.read_npz(tmp_path / "a.npz")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.small
def test_npz_refuses_damage(tmp_path):
    """Cut at any byte, a flipped byte of an array, a member that is no array, a header that promises more than is there."""
    path = tmp_path / "a.npz"
    io.write_npz(path, {"w": np.arange(5)}, compress=False)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="a.npz: damaged, or no .npz file"):
            io.read_npz(path)
    place = whole.index(np.arange(5).tobytes()) + 8
    path.write_bytes(whole[:place] + b"\7" + whole[place + 1:])
    with pytest.raises(ValueError, match="a.npz: damaged.* entry 'w.npy': .*CRC"):
        io.read_npz(path)
    member = zipfile.ZipFile(tmp_path / "b.npz", "w")
    with member:
        member.writestr("readme.txt", "hello")
    with pytest.raises(ValueError, match="entry 'readme.txt': no .npy array"):
        io.read_npz(tmp_path / "b.npz")
    short = zipfile.ZipFile(tmp_path / "c.npz", "w")
    with short, short.open("w.npy", "w") as stream:
        np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": (2**40,)})
    with pytest.raises(ValueError, match=r"entry 'w.npy': float64 of shape \(1099511627776,\) takes 8796093022208 bytes, but 0"):
        io.read_npz(tmp_path / "c.npz")
    with pytest.raises(FileNotFoundError):
        io.read_npz(tmp_path / "none.npz")


# atomic writing

@pytest.mark.small
def test_a_failure_leaves_the_old_file(tmp_path):
    """Half written, then an error (or Ctrl-C): the old bytes are still there, and no temporary file."""
    path = tmp_path / "a"
    path.write_bytes(b"before")

    for error in (OSError("disk full"), KeyboardInterrupt()):
        def fail(stream):
            stream.write(b"half of the ne")
            raise error

        with pytest.raises(type(error)):
            io.write_atomically(path, fail)
        assert path.read_bytes() == b"before" and os.listdir(tmp_path) == ["a"]


@pytest.mark.small
def test_the_new_file_appears_whole(tmp_path):
    """While it is written the old bytes stand under the name; afterwards the new ones, with the usual permissions."""
    path = tmp_path / "a"
    path.write_bytes(b"before")
    seen = []

    def write(stream):
        stream.write(b"after")
        stream.flush()
        seen.append(path.read_bytes())

    io.write_atomically(path, write)
    assert seen == [b"before"] and path.read_bytes() == b"after" and os.listdir(tmp_path) == ["a"]
    (tmp_path / "usual").write_bytes(b"")
    assert path.stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.small
def test_links_are_followed_and_missing_folders_named(tmp_path):
    (tmp_path / "real").write_bytes(b"before")
    try:
        (tmp_path / "link").symlink_to(tmp_path / "real")
    except OSError:
        pytest.skip("no symbolic links here")
    io.write_atomically(tmp_path / "link", lambda stream: stream.write(b"after"))
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_bytes() == b"after"
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        io.write_npz(tmp_path / "none" / "a.npz", {"w": np.ones(1)})
