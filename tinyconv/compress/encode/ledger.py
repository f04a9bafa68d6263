"""Deep Compression of one weight, prune -> share -> Huffman, and what each stage really saves.

    stage      what is done                                       how it is written                bits of a kept weight
    dense      nothing                                            as it is                         v
    pruned     k = round(n · sparsity) smallest |w| become 0      relative index                   v + b
    shared     kept weights take 2^w - 1 different values         relative index, codes, codebook  w + b (and the codebook)
    huffman    nothing: the same numbers                          Huffman for codes and for gaps   the two mean lengths
2^w - 1 and not 2^w: one code is the fillers' zero. Between the stages a network is trained again, which is not done here; so a
ledger takes the arrays of every stage, wherever they come from.
Each row counts what is there: weights n, nonzero R, entries E >= R (with fillers), different values, additions and multi-
plications that one output position needs, bytes (all of them, header included); bits a weight = 8 bytes / n.
Additions: R. Multiplications: inputs that meet equal weights can be added first, so that a filter needs one for each different
value it has.
Source: Han, Mao, Dally, "Deep Compression" (2016), figure 1, section 5 and tables 4 and 5.
"""
from typing import NamedTuple

import numpy as np

from .._checks import finite, whole
from ..prune import magnitude, masked
from ..quantize import share
from .relative import entries
from .table import encoded_bytes


class Stage(NamedTuple):
    """One row of a ledger: counts of one weight, or of several together, after one stage."""

    name: str
    encoding: str
    weights: int
    nonzero: int
    entries: int
    different: int
    additions: int
    multiplications: int
    bytes: int

    @property
    def bits_per_weight(self):
        """8 · bytes / weights, all overhead included."""
        return 8 * self.bytes / self.weights

    @property
    def fillers_per_nonzero(self):
        """(entries - nonzero) / nonzero; 0 where nothing is kept."""
        return (self.entries - self.nonzero) / max(self.nonzero, 1)


def share_kept(w, bits, init="linear", seed=0):
    """The weight with at most 2^bits - 1 different values among its nonzero numbers, found by k-means; zeros stay 0. float32.

    Only the kept weights are clustered: pruned ones would draw every centroid to 0. Invariant: the loss is k-means' of the kept
    ones. Errors: ValueError for bits outside 1…8, NaN, emptiness; `share`'s.

    >>> tc.compress.encode.share_kept(np.array([0.0, 1.0, 1.2, -3.0]), 2)
    array([ 0. ,  1.1,  1.1, -3. ], dtype=float32)
    """
    w, k = finite(w, "w"), 2 ** whole(bits, "bits", 1, 8) - 1
    kept, result = w != 0, np.zeros(w.shape, np.float32)
    if kept.any():
        codes, codebook, _ = share(w[kept], k, init, seed)
        result[kept] = codebook[codes]
    return result


def deep_compression(w, sparsity, bits, index_bits=4, init="linear", seed=0):
    """{stage: (array, encoding, options)} of one weight without training in between: what `account` takes.

    >>> w = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    >>> stages = tc.compress.encode.deep_compression(w, 0.9, 4)
    >>> [(row.name, row.entries, row.different, row.bytes) for row in tc.compress.encode.account(stages)]     # doctest: +ELLIPSIS
    [('dense', 4096, 4096, 16404), ('pruned', ..., ...), ('shared', ...), ('huffman', ...)]
    """
    w = finite(w, "w").astype(np.float32)
    pruned = masked(w, magnitude(w, sparsity))
    shared = share_kept(pruned, bits, init, seed)
    gaps = {"index_bits": index_bits}
    return {"dense": (w, "dense", {}), "pruned": (pruned, "relative", gaps), "shared": (shared, "relative_shared", gaps),
            "huffman": (shared, "deep_compression", gaps)}


def account(stages):
    """The ledger of one weight, a list of `Stage`: stages {name: (array (F,…), encoding, options)}.

    Every number is counted from the array of its stage; the bytes are `encoded_bytes`. Errors: `encoded_bytes`'.
    """
    rows = []
    for name, (x, encoding, options) in stages.items():
        x = np.asarray(x)
        nonzero = np.count_nonzero(x)
        filters = x.reshape(len(x), -1) if x.ndim > 1 else x.reshape(1, -1)
        ordered = np.sort(filters, axis=1)
        fresh = np.concatenate([np.ones((len(ordered), 1), bool), ordered[:, 1:] != ordered[:, :-1]], axis=1) & (ordered != 0)
        stored = entries(x, options["index_bits"]) if "index_bits" in options and encoding != "csr" else x.size
        rows.append(Stage(name, encoding, x.size, nonzero, stored, len(np.unique(x[x != 0])), nonzero, int(fresh.sum()),
                          encoded_bytes(x, encoding, **options)))
    return rows


def total(ledgers):
    """The ledger of several weights together: stage by stage, the sum of every count (`different`: the largest of them).

    Errors: ValueError unless all have the same stages.
    """
    ledgers = [list(rows) for rows in ledgers]
    names = [[row.name for row in rows] for rows in ledgers]
    if not names or names.count(names[0]) != len(names):
        raise ValueError(f"ledgers must hold the same stages, at least one ledger, not {names}")
    summed = []
    for rows in zip(*ledgers):
        sums = {field: sum(getattr(row, field) for row in rows) for field in Stage._fields[2:]}
        kinds = sorted({row.encoding for row in rows})
        summed.append(Stage(rows[0].name, " ".join(kinds), **sums | {"different": max(row.different for row in rows)}))
    return summed
