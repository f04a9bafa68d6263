"""Where the bytes of a file are, and by how many times it is smaller: read from files, beside what was claimed."""
from ..graph.encoding import KEY
from ..io import read_safetensors

WEIGHTS, REST, HEADER = "weights", "biases, scales, statistics", "header with the graph"


def file_parts(path):
    """{part: bytes} of a network's file; invariant: their sum is its length. Weights are arrays of two axes or more, or encoded."""
    arrays, metadata = read_safetensors(path)
    encoded = metadata.get(KEY, "")
    weights = sum(a.nbytes for name, a in arrays.items() if a.ndim > 1 or f'"{name}":' in encoded)
    rest = sum(a.nbytes for a in arrays.values()) - weights
    return {WEIGHTS: weights, REST: rest, HEADER: path.stat().st_size - weights - rest}


def factors(stages, claimed):
    """A sentence a stage but the first: how many times smaller its weights are, and its file; beside the claim where there is one.

    >>> parts = {"weights": 400, "header": 100}
    >>> print(*factors({"float": parts, "int8": {"weights": 100, "header": 100}}, {"int8": 4}))
    int8: weights 4.00 times smaller, the file 2.50 times (200 bytes), claimed 4
    """
    (_, first), *others = stages.items()
    for name, parts in others:
        size = sum(parts.values())
        claim = f", claimed {claimed[name]:g}" if name in claimed else ""
        yield (f"{name}: weights {first[WEIGHTS] / parts[WEIGHTS]:.2f} times smaller, the file {sum(first.values()) / size:.2f} times "
               f"({size:,} bytes){claim}")
