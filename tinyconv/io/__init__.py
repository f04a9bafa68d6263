"""Floor 4: arrays in files, without pickle. Two small formats, each read and written on one page.

    .safetensors   names, dtypes, shapes and offsets as JSON, then the bytes: what networks are kept in
    .npz           NumPy's zip of arrays: what data sets are kept in

Every file is written beside its final place, flushed to the disk and renamed, so a crash leaves the old file or the new
one, never half of one. Every file is read with suspicion: each claim of a header is checked against the bytes that are
really there before anything is allocated, and the error names the file and the entry.
"""
from .atomic import write_atomically
from .npz import read_npz, write_npz
from .safetensors import read_safetensors, safetensors_header, write_safetensors

__all__ = ["read_npz", "read_safetensors", "safetensors_header", "write_atomically", "write_npz", "write_safetensors"]
