"""Numbers of any width, end to end: b bits each, no byte wasted but in the last.

    bit i·b + j of the stream = bit j of number i;   bit t of the stream = bit t mod 8 of byte ⌊t/8⌋        the lowest bit first
    bytes = ceil(n · b / 8),  the last one filled up with zeros
At 1, 2, 4 and 8 bits these are the bytes of `quantize.pack`. How wide must a number be that tells K things apart? ceil(log2 K)
bits: none at all for one thing, since then there is nothing to tell.
"""
import numpy as np

from .._checks import whole

BLOCK = 2 ** 16                                             # numbers at a time: whole bytes at any width, and little memory


def code_bits(k):
    """ceil(log2 k), the bits of a code that tells k things apart, k >= 1; exact, without a logarithm.

    >>> [tc.compress.encode.code_bits(k) for k in (1, 2, 3, 4, 5, 256, 257)]
    [0, 1, 2, 2, 3, 8, 9]
    """
    return (whole(k, "k", 1) - 1).bit_length()


def stream_bytes(n, bits):
    """ceil(n · bits / 8).

    >>> tc.compress.encode.stream_bytes(9, 3)
    4
    """
    return -(-whole(n, "n", 0) * whole(bits, "bits", 0, 64) // 8)


def pack_bits(numbers, bits):
    """Integers 0 … 2^bits - 1 of any shape as bytes, `bits` (0…64) each. Cost: n · bits steps.

    Invariant: unpack_bits(pack_bits(a, b), b, a.size) == a.ravel(). Errors: TypeError for no integers, ValueError for those that
    have no room.

    >>> tc.compress.encode.pack_bits(np.array([1, 7, 2]), 3).hex()                 # 010 111 001 from the right: 0xB9, 0x00
    'b900'
    """
    numbers, bits = np.asarray(numbers).ravel(), whole(bits, "bits", 0, 64)
    if numbers.dtype.kind not in "iu":
        raise TypeError(f"numbers must be integers, not {numbers.dtype}")
    if numbers.size and (numbers.min() < 0 or int(numbers.max()) >> bits):
        raise ValueError(f"numbers must lie in 0…{2 ** bits - 1} for {bits} bits, not {numbers.min()}…{numbers.max()}")
    numbers, places = numbers.astype(np.uint64), np.arange(bits, dtype=np.uint64)
    blocks = (numbers[at:at + BLOCK, None] >> places & np.uint64(1) for at in range(0, len(numbers), BLOCK))
    return b"".join(np.packbits(block.astype(np.uint8).ravel(), bitorder="little").tobytes() for block in blocks)


def unpack_bits(data, bits, n):
    """The n numbers of `pack_bits`, (n,) uint64. Errors: ValueError for another number of bytes, or bits set behind the last."""
    bits, n = whole(bits, "bits", 0, 64), whole(n, "n", 0)
    if len(data) != stream_bytes(n, bits):
        raise ValueError(f"{n} numbers of {bits} bits take {stream_bytes(n, bits)} bytes, not {len(data)}")
    data, places, numbers = np.frombuffer(data, np.uint8), np.arange(bits, dtype=np.uint64), np.zeros(n, np.uint64)
    if n * bits % 8 and data[-1] >> (n * bits % 8):
        raise ValueError(f"the bits behind the last of {n} numbers must be 0")
    for at in range(0, n if bits else 0, BLOCK):
        count = min(BLOCK, n - at)
        ones = np.unpackbits(data[at * bits // 8:], count=count * bits, bitorder="little").reshape(count, bits)
        numbers[at:at + BLOCK] = (ones.astype(np.uint64) << places).sum(axis=1, dtype=np.uint64)
    return numbers
