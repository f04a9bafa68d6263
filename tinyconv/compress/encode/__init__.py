"""Encoding: arrays as bytes, so that what compression saved can be counted in a file.

Pruned weights are zeros and shared weights are repetitions: both take as many bytes as before until somebody writes them down
otherwise. Every encoding here is lossless, says its length beforehand, and stands for itself: decode(encode(x)) == x, and
len(encode(x)) == encoded_bytes(x) = header + payload, positions, codebooks, tables and fillers included.

    table       encode, decode, encoded_bytes, and the table of encodings
    container   the header: encoding, type, shape, fields, checksum
    bits        numbers of b bits, end to end
    dense       all numbers in b bits; a codebook and codes
    sparse      compressed rows (csr); N of every M
    relative    Deep Compression's relative index with fillers: as it is, shared, and with Huffman's code
    huffman     entropy and canonical Huffman code
    pieces      codes of vector and product quantization
    ledger      Deep Compression of one weight, its stages, and their ledger

Every name is had from here: tc.compress.encode.encode, tc.compress.encode.huffman_bits, …
"""
from .bits import code_bits, pack_bits, stream_bytes, unpack_bits
from .container import header_bytes
from .dense import codebook_bytes, dense_bytes, fewest_bits
from .huffman import canonical_words, entropy, huffman_bits, huffman_bytes, huffman_lengths
from .ledger import Stage, account, deep_compression, share_kept, total
from .pieces import pieces_bytes
from .relative import deep_compression_bytes, entries, expected_fillers, gaps, relative_bytes, relative_shared_bytes
from .sparse import csr_bytes, n_of_m_bytes
from .table import ENCODINGS, decode, encode, encoded_bytes, encoding_of

__all__ = [
    "ENCODINGS", "Stage", "account", "canonical_words", "code_bits", "codebook_bytes", "csr_bytes", "decode", "deep_compression",
    "deep_compression_bytes", "dense_bytes", "encode", "encoded_bytes", "encoding_of", "entries", "entropy", "expected_fillers",
    "fewest_bits", "gaps", "header_bytes", "huffman_bits", "huffman_bytes", "huffman_lengths", "n_of_m_bytes", "pack_bits",
    "pieces_bytes", "relative_bytes", "relative_shared_bytes", "share_kept", "stream_bytes", "total", "unpack_bits",
]
