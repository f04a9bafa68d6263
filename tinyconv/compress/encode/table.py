"""The table of encodings, and the three functions that read it: encode, decode, encoded_bytes.

One row an encoding, which its page gives (`container.Encoding`): how it is written, read, and counted without being written.
"""
from inspect import signature

from . import dense, huffman, pieces, relative, sparse
from .container import Payload, assemble, checked, header_bytes, require

ENCODINGS = {
    "dense": dense.DENSE, "codebook": dense.CODEBOOK, "csr": sparse.CSR, "n_of_m": sparse.N_OF_M, "relative": relative.RELATIVE,
    "relative_shared": relative.RELATIVE_SHARED, "huffman": huffman.HUFFMAN, "deep_compression": relative.DEEP_COMPRESSION,
    "products": pieces.PRODUCTS, "vectors": pieces.VECTORS,
}
BY_NUMBER = {row.number: name for name, row in ENCODINGS.items()}


def _row(encoding, options):
    """The row of that name. Errors: ValueError for an unknown name, or options it does not take or lacks."""
    if not isinstance(encoding, str) or encoding not in ENCODINGS:
        raise ValueError(f"encoding must be one of {', '.join(ENCODINGS)}, not {encoding!r}")
    row = ENCODINGS[encoding]
    taken = dict(list(signature(row.write).parameters.items())[1:])
    needed = {name for name, parameter in taken.items() if parameter.default is parameter.empty}
    if set(options) - set(taken) or needed - set(options):
        raise ValueError(f"{encoding!r} takes the options {', '.join(taken) or 'none'}"
                         f"{f' (needed: {chr(44).join(sorted(needed))})' if needed else ''}, not {', '.join(options) or 'none'}")
    return row


def encode(x, encoding, **options):
    """An array as bytes: header and payload, complete in themselves. Nothing is lost: what was lost, quantizing lost before.

    x         float16/32/64 or integers, any shape, at least one number
    encoding  and options:  "dense" (bits=the fewest)   "codebook"   "csr" (index_bits=the fewest)   "n_of_m" (n, m)
              "relative", "relative_shared", "deep_compression" (index_bits=4)   "huffman"   "products" (parts)   "vectors" (d)
    Invariants: decode(encode(x, …)) == x, in shape and dtype (the machine's byte order; -0.0 comes back as 0.0), and
    len(encode(x, …)) == encoded_bytes(x, …).
    Errors: ValueError for emptiness, NaN and infinities, options the encoding does not take, and an array it cannot hold (more
    different numbers than a codebook has, more than N in M); TypeError for other types.

    >>> data = tc.compress.encode.encode(np.float32([0, 0, 1.5, 0]), "relative")
    >>> len(data), tc.compress.encode.decode(data)                  # 8 + 4·(1 axis + 2 fields), 4 of value, 1 of gap
    (25, array([0. , 0. , 1.5, 0. ], dtype=float32))
    """
    row, x = _row(encoding, options), checked(x)
    fields, blocks = row.write(x, **options)
    return assemble(row.number, x, fields, blocks)


def decode(data):
    """The array of `encode`, the caller's own. Errors: TypeError unless bytes; ValueError saying what is damaged."""
    payload = Payload(data)
    require(payload.number in BY_NUMBER, f"no encoding has the number {payload.number}")
    row = ENCODINGS[BY_NUMBER[payload.number]]
    require(len(payload.fields) == row.fields, f"{len(payload.fields)} fields, and {BY_NUMBER[payload.number]} has {row.fields}")
    x = row.read(payload)
    payload.finish()
    return x.reshape(payload.shape).astype(payload.dtype.newbyteorder("="))


def encoding_of(data):
    """The name of the encoding that bytes were made with. Errors: `decode`'s.

    >>> tc.compress.encode.encoding_of(tc.compress.encode.encode(np.int8([1, 2]), "dense"))
    'dense'
    """
    number = Payload(data).number
    require(number in BY_NUMBER, f"no encoding has the number {number}")
    return BY_NUMBER[number]


def encoded_bytes(x, encoding, **options):
    """len(encode(x, …)) by the formulas: header_bytes(axes, fields) + the encoding's payload. Errors: `encode`'s.

    >>> x = np.float32([[0, 2, 0, 2], [0, 0, 0, 2]])
    >>> {name: tc.compress.encode.encoded_bytes(x, name) for name in ("dense", "csr", "relative_shared", "huffman")}
    {'dense': 52, 'csr': 42, 'relative_shared': 34, 'huffman': 31}
    """
    row, x = _row(encoding, options), checked(x)
    return header_bytes(x.ndim, row.fields) + int(row.count(x, **options))
