"""The .safetensors format, read and written by hand.

    8 bytes     n, the length of the header, little-endian unsigned, at most 100,000,000
    n bytes     JSON: {"__metadata__": {str: str}, name: {"dtype": "F32", "shape": [..], "data_offsets": [begin, end]}, ..}
    the rest    the arrays, C order, little-endian; offsets count from the end of the header

The arrays lie end to end: no hole, no overlap, nothing after the last. The header is filled up with spaces so that
the arrays begin at a multiple of 8, and entries are sorted by item size (largest first), then by name: every array is
aligned for its own dtype, and the same arrays always give the same bytes.

Decided here: BF16 is read as float32, exactly (its 16 bits are the upper half of a float32), and never written;
other types NumPy does not have (F8_E4M3, F8_E5M2, F4, ..) are refused by name. Source: the format's description in
https://github.com/huggingface/safetensors (README, "Format").
"""
import json
import math
import os

import numpy as np

from .atomic import write_atomically
from .checking import check_arrays, check_finite

MAX_HEADER_BYTES = 100_000_000
DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
          "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1", "BOOL": "|b1"}
NAMES = {np.dtype(text): name for name, text in DTYPES.items() if name != "BF16"}


def write_safetensors(path, arrays, metadata=None, allow_nonfinite=False):
    """Write a dict of arrays, and a dict of strings beside them, as one .safetensors file, whole or not at all.

    Any memory layout and byte order is taken; the file is C order, little-endian, and depends only on names, values and
    metadata. Its length is `len(safetensors_header(arrays, metadata))` + the arrays' own bytes.
    Errors: TypeError for anything but str -> array of bool, integer or float16/32/64, and metadata of str -> str;
    ValueError for the name "__metadata__", and for NaN or infinities unless `allow_nonfinite`. The old file is then untouched.
    """
    arrays = check_arrays(path, arrays)
    if not allow_nonfinite:
        for name, array in arrays.items():
            check_finite(path, name, array)
    head = safetensors_header(arrays, metadata, path)

    def write(stream):
        stream.write(head)
        for name in _order(arrays):
            little = np.asarray(arrays[name], dtype=arrays[name].dtype.newbyteorder("<"), order="C")
            stream.write(little.tobytes())

    write_atomically(path, write)


def safetensors_header(arrays, metadata=None, path="safetensors"):
    """Everything of the file that is not an array: the header's length, the header, the spaces that align it.

    So bytes of the file = len(safetensors_header(arrays, metadata)) + Σ array.nbytes.
    Errors: as `write_safetensors`.

    >>> head = tc.io.safetensors_header({"w": np.zeros((2, 3), np.float32)})
    >>> len(head) % 8, int.from_bytes(head[:8], "little") == len(head) - 8
    (0, True)
    """
    header, offset = {}, 0
    if metadata is not None:
        if not isinstance(metadata, dict) or not all(isinstance(s, str) for pair in metadata.items() for s in pair):
            raise TypeError(f"{path}: metadata must be a dict of str -> str, not {metadata!r:.200}")
        header["__metadata__"] = dict(sorted(metadata.items()))
    arrays = check_arrays(path, arrays)
    for name in _order(arrays):
        array = arrays[name]
        if name == "__metadata__":
            raise ValueError(f"{path}: an array cannot be called '__metadata__': the format keeps that name")
        dtype = array.dtype.newbyteorder("<")
        if dtype not in NAMES:
            raise TypeError(f"{path}: entry {name!r} has dtype {array.dtype}; the format has {', '.join(NAMES.values())}")
        header[name] = {"dtype": NAMES[dtype], "shape": list(array.shape), "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
    try:
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{path}: a name or metadata is no valid Unicode text: {error}") from None
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER_BYTES:
        raise ValueError(f"{path}: a header of {len(text)} bytes; the format allows {MAX_HEADER_BYTES}")
    return len(text).to_bytes(8, "little") + text


def read_safetensors(path, allow_nonfinite=False):
    """Read a .safetensors file: (arrays, metadata), a dict of name -> ndarray and a dict of str -> str.

    The arrays are the caller's own: writable, C order, the machine's byte order; BF16 becomes float32 exactly.
    Every claim of the header is checked against the length of the file before anything is allocated.
    Errors: FileNotFoundError; ValueError naming file and entry: too short, a header that is longer than the file or no
    JSON object, unknown dtype, shape and offsets that disagree, holes, overlaps, bytes missing or left over, a name
    given twice, a BOOL byte other than 0 and 1, and NaN or infinities unless `allow_nonfinite`.
    """
    with open(path, "rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        header, data_bytes = _read_header(path, stream, size)
        metadata = _checked_metadata(path, header.pop("__metadata__", {}))
        entries = _checked_entries(path, header, data_bytes)
        arrays = {}
        for name, tag, shape, count in entries:
            array = np.empty(count, DTYPES[tag])
            if stream.readinto(array.view(np.uint8)) != array.nbytes:
                raise ValueError(f"{path}: entry {name!r}: the file ended while it was read")
            arrays[name] = _native(path, name, tag, array).reshape(shape)
            if not allow_nonfinite:
                check_finite(path, name, arrays[name])
    return {name: arrays[name] for name in header}, metadata


def _order(arrays):
    """Largest item size first, then by name."""
    return sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))


def _read_header(path, stream, size):
    """The JSON object at the head of the file, and how many bytes of arrays follow it."""
    if size < 8:
        raise ValueError(f"{path}: {size} bytes are no .safetensors file: it begins with 8 bytes that give the header's length")
    length = int.from_bytes(stream.read(8), "little")
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"{path}: no .safetensors file: it announces a header of {length} bytes, and at most {MAX_HEADER_BYTES} "
                         "are allowed")
    if length > size - 8:
        raise ValueError(f"{path}: truncated: it announces a header of {length} bytes, and only {size - 8} follow")
    try:
        header = json.loads(stream.read(length).decode("utf-8"), object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: the header is no valid JSON: {error}") from None
    if not isinstance(header, dict):
        raise ValueError(f"{path}: the header must be a JSON object, not {type(header).__name__}")
    return header, size - 8 - length


def _no_duplicates(pairs):
    """A JSON object in which no name is given twice."""
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the name {next(n for n in names if names.count(n) > 1)!r} is given twice")
    return result


def _checked_metadata(path, metadata):
    """The metadata, a dict of str -> str."""
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError(f"{path}: __metadata__ must hold strings only, not {metadata!r:.200}")
    return metadata


def _checked_entries(path, header, data_bytes):
    """(name, dtype, shape, count) of every array in the order of the file, after all offsets were found to fit."""
    found = []
    for name, entry in header.items():
        if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
            raise ValueError(f"{path}: entry {name!r} must give dtype, shape and data_offsets, not {entry!r:.200}")
        tag, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not isinstance(tag, str) or tag not in DTYPES:
            raise ValueError(f"{path}: entry {name!r} has dtype {tag!r:.50}; known are {', '.join(DTYPES)}")
        if not _are_sizes(shape) or len(shape) > 32 or math.prod(size or 1 for size in shape) >= 2**59:
            raise ValueError(f"{path}: entry {name!r}: shape must be a list of at most 32 integers >= 0 that fit in memory, "
                             f"not {shape!r:.200}")
        if not _are_sizes(offsets) or len(offsets) != 2 or not offsets[0] <= offsets[1] <= data_bytes:
            raise ValueError(f"{path}: entry {name!r}: data_offsets {offsets!r:.200} do not lie within the {data_bytes} bytes "
                             "of arrays")
        count = math.prod(shape)
        expected = count * np.dtype(DTYPES[tag]).itemsize
        if offsets[1] - offsets[0] != expected:
            raise ValueError(f"{path}: entry {name!r}: {tag} of shape {tuple(shape)} takes {expected} bytes, but data_offsets "
                             f"{offsets} give {offsets[1] - offsets[0]}")
        found.append((*offsets, name, tag, tuple(shape), count))
    found.sort(key=lambda entry: entry[:2])
    reached = 0
    for begin, end, name, *_ in found:
        if begin != reached:
            raise ValueError(f"{path}: entry {name!r} begins at byte {begin} of the arrays, but the one before it ends at "
                             f"{reached}: {'an overlap' if begin < reached else 'a hole'}")
        reached = end
    if reached != data_bytes:
        raise ValueError(f"{path}: the arrays take {reached} bytes, but {data_bytes} follow the header")
    return [entry[2:] for entry in found]


def _are_sizes(value):
    """A list of integers >= 0 (true and 1.0 are none)."""
    return isinstance(value, list) and all(type(v) is int and v >= 0 for v in value)


def _native(path, name, tag, array):
    """The bytes as read, as the array they stand for: native byte order, BF16 widened, BOOL checked."""
    if tag == "BF16":
        return (array.astype(np.uint32) << 16).view(np.float32)
    if tag == "BOOL" and (array.view(np.uint8) > 1).any():
        raise ValueError(f"{path}: entry {name!r}: a BOOL byte must be 0 or 1")
    return array.astype(array.dtype.newbyteorder("="), copy=False)
