"""NumPy's .npz, read and written without pickle: a zip archive with one .npy member an array.

A member is a small header (dtype, order, shape) and the array's bytes; the archive keeps a CRC-32 of each, which is
compared on reading. Source: NumPy Enhancement Proposal 1, "A Simple File Format for NumPy Arrays".
"""
import io
import math
import zipfile
import zlib

import numpy as np
from numpy.lib import format as npy

from .atomic import write_atomically
from .checking import check_arrays, check_finite

KINDS = "biufc"


def write_npz(path, arrays, compress=True, allow_nonfinite=False):
    """Write a dict of arrays as one .npz file, whole or not at all; np.load reads it as well.

    The members carry no date: the same arrays give the same bytes (with the same zlib).
    Errors: TypeError for anything but str -> array of numbers (object arrays would need pickle and are refused); ValueError for
    NaN or infinities unless `allow_nonfinite`. The old file is then untouched.
    """
    arrays = check_arrays(path, arrays, KINDS)
    if not allow_nonfinite:
        for name, array in arrays.items():
            check_finite(path, name, array)

    def write(stream):
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED) as archive:
            for name, array in arrays.items():
                with archive.open(name + ".npy", "w", force_zip64=True) as member:
                    npy.write_array(member, array, allow_pickle=False)

    write_atomically(path, write)


def read_npz(path, allow_nonfinite=False):
    """Read every array of an .npz file: a dict of name -> ndarray, writable and in the machine's byte order.

    Errors: FileNotFoundError; ValueError naming file and entry: no zip archive, truncated, a failed CRC, a member that is
    no array or needs pickle, a name given twice, a header that does not fit its bytes; NaN or infinities unless
    `allow_nonfinite`.
    """
    arrays, name = {}, ""
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                name = member.filename
                if not name.endswith(".npy") or name[:-4] in arrays:
                    raise ValueError("no .npy array" if not name.endswith(".npy") else "given twice")
                arrays[name[:-4]] = _array(archive.read(member))
    except (ValueError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        where = f" entry {name!r}:" if name else ""
        raise ValueError(f"{path}: damaged, or no .npz file:{where} {error}") from None
    if not allow_nonfinite:
        for name, array in arrays.items():
            check_finite(path, name, array)
    return arrays


def _array(data):
    """The array in the bytes of one .npy member, its header checked against the bytes that follow."""
    stream = io.BytesIO(data)
    version = npy.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"it has .npy version {version}; known are 1.0 and 2.0")
    shape, fortran, dtype = (npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0)(stream)
    if dtype.kind not in KINDS:
        raise ValueError(f"it has dtype {dtype}: only plain numbers are read, and objects would need pickle")
    rest = len(data) - stream.tell()
    expected = math.prod(shape) * dtype.itemsize
    if rest != expected:
        raise ValueError(f"{dtype} of shape {shape} takes {expected} bytes, but {rest} are there")
    flat = np.frombuffer(data, dtype, math.prod(shape), stream.tell()).astype(dtype.newbyteorder("="))
    return flat.reshape(shape, order="F" if fortran else "C")
