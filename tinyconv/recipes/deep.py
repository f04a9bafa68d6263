"""Deep Compression of VGG-16: prune -> share -> Huffman, every stage beside its control, and the ledger of all.

Four fifths of the weights become 0 and the rest is trained on; 15 values a layer are left of it, trained without losing the sharing;
the same numbers are written in Huffman's code. Controls: as many zeros drawn at random; and each stage alone in the bytes of the
whole, pruning so far, or sharing among so few values, that the file gets as short as Deep Compression's.
Source: Han, Mao, Dally, "Deep Compression" (2016); the claimed factors are its tables 1 and 4, for weights that are not these.
"""
from .. import apply, draw, graph
from ..compress import encode
from ..compress import quantize as pure
from . import ledgers
from .demo import as_text
from .study import UNTUNED, Made, Recipe, file_name

SPARSITY, BITS, TUNE, SHARE = 0.8, 4, 2, 1
STAGES = {"base": ("dense", {}), "pruned": ("relative", {"index_bits": 4}), "shared": ("relative_shared", {"index_bits": 4}),
          "Huffman": ("deep_compression", {"index_bits": 4})}
CLAIMED = {"pruned": 13, "shared": 31, "Huffman": 49}                              # VGG-16 of 138 million weights
COLUMNS = (("stage", "{}"), ("nonzero", "{:,}"), ("entries", "{:,}"), ("different", "{:,}"), ("multiplications", "{:,}"),
           ("additions", "{:,}"), ("bytes", "{:,}"), ("bits a weight", "{:.2f}"), ("times smaller", "{:.1f}"), ("claimed", "{}"))


def sparse(bench, made, name, sparsity, epochs, encoding="relative", **how):
    """Made without that share of its weights, trained on with the zeros kept; how: sparsify's scope and criterion."""
    g = apply.sparsify(made.g, sparsity, seed=bench.seed, **how)
    return bench.tune(Made(name, g, made.epochs), name, epochs, keep_zeros=True)._replace(encoding=encoding)


def shared(bench, made, name, values, epochs, encoding):
    """Made with the weights that `values` (a function (name, w)) gives, equal ones kept equal while it is trained."""
    g, epochs = apply.project(made.g, values), bench.epochs(epochs)
    options = {"lr": 0.005, "label_smoothing": 0.05, "weight_decay": 0.0, **bench.options}
    g = apply.train_projected(g, bench.images, bench.labels, apply.to_clusters(g), epochs=epochs, **options)
    return Made(name, g, made.epochs + epochs, encoding)


def sparsity_for(g, file_bytes):
    """The least sparsity, in steps of 1/512, whose file is no longer than that (511/512 if none is).

    Each array in its shortest encoding: a relative index would consist of fillers. The same of every layer: so many of the smallest
    weights of all would leave layers with none, and the network cut through.
    """
    low, high = 0, 511
    while low < high:
        middle = (low + high) // 2
        fits = graph.saved_bytes(apply.sparsify(g, middle / 512, "uniform"), "smallest") <= file_bytes
        low, high = (low, middle) if fits else (middle + 1, high)
    return low / 512


def few_values(k, seed):
    """k-means with k values, as a function (name, w)."""
    return lambda name, w: pure.shared(*pure.share(w, k, "linear", seed)[:2])


def values_for(g, file_bytes, seed):
    """The most values a layer, at least 2, whose file in Huffman's code is no longer than that."""
    fitting = (k for k in range(2 ** BITS, 2, -1) if graph.saved_bytes(apply.project(g, few_values(k, seed)), "huffman") <= file_bytes)
    return next(fitting, 2)


def deep_compression(bench):
    """vgg16_small pruned to 1 - SPARSITY of its weights, the rest in 2^BITS shared values, these in Huffman's code; then the controls.

    Yields Made: every stage before and after tuning, zeros at random, and pruning alone and sharing alone in at most as many bytes of file.
    Source: Han, Mao & Dally, "Deep compression" (2016), sections 2 to 4.
    """
    base = bench.trained("vgg16_small")
    yield base
    pruned = sparse(bench, base, "pruned", SPARSITY, TUNE)
    yield pruned
    yield sparse(bench, base, "pruned at random", SPARSITY, TUNE, criterion="random")
    kept = lambda name, w: encode.share_kept(w, BITS, seed=bench.seed)
    yield Made(f"shared{UNTUNED}", apply.project(pruned.g, kept), pruned.epochs, "relative_shared")
    whole = shared(bench, pruned, "shared", kept, SHARE, "relative_shared")
    yield whole
    yield whole._replace(name="Huffman", encoding="deep_compression")
    budget = graph.saved_bytes(whole.g, "deep_compression")
    yield sparse(bench, base, "prune only", sparsity_for(base.g, budget), TUNE + SHARE, "smallest", scope="uniform")
    k = values_for(base.g, budget, bench.seed)
    yield shared(bench, base, "share only", few_values(k, bench.seed), TUNE + SHARE, "huffman")


def account(rows, out):
    """The ledger of seed 0's weights, counted from the files; then their files, claimed beside measured, and a picture of them."""
    graphs = {name: graph.load(out / file_name(name, 0)).graph for name in STAGES}
    weights = list(apply.layer_weights(graphs["base"]))
    found = encode.total(encode.account({name: (graphs[name].array(w), *how) for name, how in STAGES.items()}) for w in weights)
    lines = [{"stage": row.name, **{column: getattr(row, column) for column in ("nonzero", "entries", "different", "multiplications", "additions", "bytes")},
              "bits a weight": row.bits_per_weight, "times smaller": found[0].bytes / row.bytes, "claimed": str(CLAIMED.get(row.name, "-"))} for row in found]
    stages = {name: ledgers.file_parts(out / file_name(name, 0)) for name in STAGES}
    draw.save(draw.ledger(stages, CLAIMED, "vgg16_small: where the bytes of the file are"), out / "ledger.png")
    yield f"\nthe weights of seed 0, stage by stage (claimed: of VGG-16's, in the paper)\n{as_text(lines, COLUMNS)}\n"
    yield from ledgers.factors(stages, CLAIMED)


RECIPES = (
    Recipe("deep-compression", "VGG-16: prune, share, Huffman", deep_compression, (
        ("pruned", "pruned at random", "zeros at random"), ("Huffman", "prune only", "pruning alone to as few bytes"),
        ("Huffman", "share only", "sharing alone in as few bytes")), near=(("Huffman", "base", 0.01),), report=account),
)
