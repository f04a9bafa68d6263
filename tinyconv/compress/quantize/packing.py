"""Codes of 1, 2 and 4 bits, several to a byte.

    byte j = Σ_i (q[j·m + i] mod 2^bits) · 2^(bits·i),   m = 8/bits         the first code in the lowest bits
A negative code is stored as its two's complement, of which the lowest bits are kept; reading extends the sign again. The last
byte is filled up with zeros: ceil(n·bits/8) bytes in all.
"""
import numpy as np

from .._checks import whole

WIDTHS = (1, 2, 4, 8)


def _width(bits):
    if bits not in WIDTHS:
        raise ValueError(f"bits must be 1, 2, 4 or 8 (so that whole codes fill a byte), not {bits!r}")
    return bits


def packed_bytes(n, bits):
    """ceil(n · bits / 8): how many bytes n packed codes take.

    >>> tc.compress.quantize.packed_bytes(9, 4)
    5
    """
    return -(-whole(n, "n", 0) * _width(bits) // 8)


def pack(codes, bits=4):
    """Codes of any shape as bytes, (ceil(n·bits/8),) uint8: two to a byte at 4 bits, four at 2, eight at 1.

    Signed (int8, -2^(bits-1) … 2^(bits-1)-1) or unsigned (uint8, 0 … 2^bits-1); `unpack` has to be told which. Invariant:
    unpack(pack(q)) == q. Errors: TypeError for other types, ValueError for codes that have no room in so many bits.

    >>> tc.compress.quantize.pack(np.int8([1, -1, 7]), bits=4).tolist()            # 0xF1, 0x07
    [241, 7]
    """
    codes, bits = np.asarray(codes), _width(bits)
    if codes.dtype not in (np.int8, np.uint8):
        raise TypeError(f"codes must be int8 or uint8, not {codes.dtype}")
    low, high = (-2 ** (bits - 1), 2 ** (bits - 1) - 1) if codes.dtype == np.int8 else (0, 2 ** bits - 1)
    if codes.size and (codes.min() < low or codes.max() > high):
        raise ValueError(f"codes must lie in {low}…{high} for {bits} bits, not {codes.min()}…{codes.max()}")
    parts = 8 // bits
    flat = np.zeros(packed_bytes(codes.size, bits) * parts, np.uint8)
    flat[:codes.size] = codes.ravel().view(np.uint8) & np.uint8(2 ** bits - 1)
    shifts = np.arange(parts, dtype=np.uint8) * np.uint8(bits)
    return np.bitwise_or.reduce(flat.reshape(-1, parts) << shifts, axis=1)


def unpack(packed, bits, shape, signed=True):
    """The codes of `pack`, int8 (signed) or uint8, in `shape`. Errors: ValueError for a wrong number of bytes.

    >>> tc.compress.quantize.unpack(np.uint8([241, 7]), 4, (3,))
    array([ 1, -1,  7], dtype=int8)
    """
    packed, bits = np.asarray(packed), _width(bits)
    n = int(np.prod(shape, dtype=np.int64))
    if packed.dtype != np.uint8 or packed.shape != (packed_bytes(n, bits),):
        raise ValueError(f"packed must be {packed_bytes(n, bits)} bytes (uint8) for {n} codes of {bits} bits, "
                         f"not {packed.dtype} of shape {packed.shape}")
    shifts = np.arange(8 // bits, dtype=np.uint8) * np.uint8(bits)
    codes = ((packed[:, None] >> shifts) & np.uint8(2 ** bits - 1)).ravel()[:n]
    if signed:
        codes = (codes << np.uint8(8 - bits)).view(np.int8) >> np.int8(8 - bits)        # an arithmetic shift copies the sign down
    return codes.reshape(shape)
