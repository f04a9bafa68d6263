"""What stands before every payload: which encoding, which type, which shape, and a checksum of it all.

    1 byte    the encoding's number            1 byte    the type's number, its place in TYPES
    1 byte    a, the number of axes            1 byte    f, the number of fields
    4 bytes   CRC-32 of all other bytes        4 a bytes the lengths of the axes       4 f bytes the encoding's own numbers
    header = 8 + 4 (a + f) bytes, all numbers unsigned and little-endian
A field is a number that the reader cannot know otherwise (bits of a code, entries stored, …); each encoding says which are its.
"""
import math
import zlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .._checks import finite

TYPES = tuple(np.dtype(name) for name in ("<f2", "<f4", "<f8", "|i1", "<i2", "<i4", "<i8", "|u1", "<u2", "<u4", "<u8"))
LARGEST = 2 ** 32 - 1                                       # what 4 bytes hold


def header_bytes(axes, fields):
    """8 + 4 (axes + fields).

    >>> tc.compress.encode.header_bytes(4, 1)                       # a dense convolution's weight: four axes, one field
    28
    """
    return 8 + 4 * (axes + fields)


def checked(x):
    """`x` in C order, little-endian, -0.0 as +0.0. Errors: TypeError for other types; ValueError for emptiness, NaN, too many."""
    x = np.asarray(x)
    little = x.dtype.newbyteorder("<")
    if little not in TYPES:
        raise TypeError(f"x must be float16, float32, float64 or integers of 8 to 64 bits, not {x.dtype}")
    finite(x, "x") if little.kind == "f" or not x.size else None
    if x.size > LARGEST or x.ndim > 32:
        raise ValueError(f"x must have at most {LARGEST} numbers and 32 axes, not shape {x.shape}")
    x = np.asarray(x, dtype=little, order="C")
    return np.where(x == 0, np.zeros((), little), x) if little.kind == "f" else x


def assemble(number, x, fields, blocks):
    """Header and payload as one `bytes`."""
    if any(field > LARGEST for field in fields):
        raise ValueError(f"x of shape {x.shape} needs a number of the header beyond {LARGEST}: {fields}")
    kind = bytes([number, TYPES.index(x.dtype), x.ndim, len(fields)])
    rest = np.array([*x.shape, *fields], "<u4").tobytes() + b"".join(blocks)
    return kind + zlib.crc32(kind + rest).to_bytes(4, "little") + rest


class Encoding(NamedTuple):
    """A row of the table: its number in the header, how many fields it has there, and its three functions.

    write(x, **options) -> (fields, blocks of bytes); read(payload) -> the numbers of x; count(x, **options) -> the length of all
    blocks, by formula. x as `checked` gives it.
    """

    number: int
    fields: int
    write: Callable
    read: Callable
    count: Callable


class Payload:
    """Encoded bytes being read: `number`, `dtype`, `shape`, `size`, `fields`, and the payload a piece at a time.

    Errors: TypeError for anything but bytes; ValueError for damage, before an array is made.
    """

    def __init__(self, data):
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"encoded data must be bytes, not {type(data).__name__}")
        self.data = bytes(data)
        if len(self.data) < 8:
            raise ValueError(f"encoded data begin with a header of at least 8 bytes, and there are {len(self.data)}")
        self.number, kind, axes, fields = self.data[:4]
        self.at = header_bytes(axes, fields)
        if len(self.data) < self.at:
            raise ValueError(f"encoded data are truncated: a header of {self.at} bytes, and {len(self.data)} are there")
        if zlib.crc32(self.data[:4] + self.data[8:]) != int.from_bytes(self.data[4:8], "little"):
            raise ValueError(f"encoded data are damaged: the checksum of the {len(self.data)} bytes is another than the header's")
        if kind >= len(TYPES) or axes > 32:
            raise ValueError(f"encoded data have the type number {kind}, not 0…{len(TYPES) - 1}, or {axes} axes, above 32")
        numbers = np.frombuffer(self.data[8:self.at], "<u4").tolist()
        self.dtype, self.shape, self.fields = TYPES[kind], tuple(numbers[:axes]), numbers[axes:]
        self.size = math.prod(self.shape)
        require(0 < self.size <= LARGEST, f"the shape {self.shape} does not hold 1…{LARGEST} numbers")

    def take(self, count):
        """The next `count` bytes."""
        piece = self.data[self.at:self.at + count]
        require(len(piece) == count, f"{count} bytes should follow at byte {self.at}, and {len(piece)} do")
        self.at += count
        return piece

    def numbers(self, count, dtype=None):
        """The next `count` numbers of the array's own type (or `dtype`)."""
        dtype = dtype or self.dtype
        return np.frombuffer(self.take(count * dtype.itemsize), dtype)

    def rest(self):
        """All bytes that are left."""
        return self.take(len(self.data) - self.at)

    def finish(self):
        """Nothing may be left over."""
        require(self.at == len(self.data), f"{len(self.data) - self.at} bytes are left over")


def require(condition, problem):
    """Errors: ValueError saying how the bytes contradict themselves, if they do."""
    if not condition:
        raise ValueError(f"encoded data contradict themselves: {problem}")
