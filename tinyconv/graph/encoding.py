"""Arrays of a network encoded for a file: each as the bytes of `compress.encode`, a row of uint8 in the same container.

The metadata say which were encoded and how, as JSON {name: encoding} under one key; the bytes themselves hold shape, type and
options. So
    bytes of the file = len(safetensors_header) + Σ encoded_bytes(x) over the encoded + Σ nbytes over the others
and the header, metadata and all, is known before an array is encoded.
"""
import json

import numpy as np

from ..compress import encode as en
from ..compress.encode.dense import MOST
from ..io import safetensors_header
from ..io.checking import check_finite

KEY = "tinyconv.encodings"
ANY = ("dense", "csr", "relative")                                          # what takes any array without being told how,
FEW = ("codebook", "huffman", "relative_shared", "deep_compression")        # and what takes at most MOST different numbers


def chosen(arrays, encoding):
    """{array name: (encoding, options)} of those that are encoded; `encoding` as `save` takes it.

    Errors: ValueError or TypeError for what is no encoding, and for names that no array has.
    """
    if encoding is None:
        return {}
    if isinstance(encoding, dict):
        strange = [str(name) for name in encoding if name not in arrays]
        if strange:
            raise ValueError(f"encoding names arrays that are not there: {', '.join(strange)}; there are {', '.join(arrays)}")
        return {name: choice for name, how in encoding.items() if (choice := _choice(name, arrays[name], how))}
    return chosen(arrays, {name: encoding for name, array in arrays.items() if array.ndim > 1})


def _choice(name, array, how):
    """(encoding, options) of one array, or None if it is shortest as it is."""
    if how == "smallest":
        candidates = () if not array.size or array.dtype == bool else ANY if len(np.unique(array)) > MOST else ANY + FEW
        lengths = {None: array.nbytes}
        lengths.update((how, _naming(name, en.encoded_bytes, array, how)) for how in candidates)
        best = min(lengths, key=lengths.get)
        return best and (best, {})
    if isinstance(how, str):
        return how, {}
    if isinstance(how, tuple) and len(how) == 2 and isinstance(how[0], str) and isinstance(how[1], dict):
        return how
    raise TypeError(f"encoding of {name!r} must be a name, (name, options) or 'smallest', not {how!r}")


def _naming(name, function, array, encoding, **options):
    """What the function makes of the array; an error names the array."""
    try:
        return function(array, encoding, **options)
    except (TypeError, ValueError) as error:
        raise type(error)(f"entry {name!r}: {error}") from error


def encoded(arrays, encoding):
    """(arrays as they are written, metadata): the encoded ones are rows of uint8. Errors: `encode`'s, naming the array."""
    choices = chosen(arrays, encoding)
    rows = {name: np.frombuffer(_naming(name, en.encode, arrays[name], how, **options), np.uint8)
            for name, (how, options) in choices.items()}
    return {**arrays, **rows}, _metadata(choices)


def _metadata(choices):
    """What the file says about them; nothing if nothing is encoded."""
    return {KEY: json.dumps({name: how for name, (how, _) in choices.items()}, separators=(",", ":"))} if choices else {}


def foretold_bytes(arrays, metadata, encoding):
    """The length of the file, by formula. Errors: as `encoded`."""
    choices = chosen(arrays, encoding)
    rows = {name: np.broadcast_to(np.uint8(0), _naming(name, en.encoded_bytes, arrays[name], how, **options))
            for name, (how, options) in choices.items()}
    stored = {**arrays, **rows}
    return len(safetensors_header(stored, {**metadata, **_metadata(choices)} or None)) + sum(a.nbytes for a in stored.values())


def decoded(path, arrays, metadata):
    """The arrays of a file as they were before they were encoded.

    Errors: ValueError naming file and entry: a list of encodings that cannot be read, bytes that are damaged or encoded otherwise
    than the metadata say, numbers that are not finite.
    """
    try:
        hows = json.loads(metadata.get(KEY, "{}"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: the list of encodings is no valid JSON: {error}") from None
    if not isinstance(hows, dict) or not all(name in arrays and isinstance(how, str) for name, how in hows.items()):
        raise ValueError(f"{path}: the list of encodings must give names of arrays and of encodings, not {hows!r:.200}")
    plain = dict(arrays)
    for name, how in hows.items():
        row = arrays[name]
        if row.dtype != np.uint8 or row.ndim != 1:
            raise ValueError(f"{path}: entry {name!r}: an encoded array is a row of uint8, not {row.dtype} of shape {row.shape}")
        try:
            data = row.tobytes()
            plain[name], found = en.decode(data), en.encoding_of(data)
        except ValueError as error:
            raise ValueError(f"{path}: entry {name!r}: {error}") from error
        if found != how:
            raise ValueError(f"{path}: entry {name!r} is encoded as {found!r}, the metadata say {how!r}")
        check_finite(path, name, plain[name])
    return plain
