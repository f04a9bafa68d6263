"""Accuracy by bits of weights and of values, {32, 8, 4, 2} x {32, 8, 4, 2}: rounded, and trained with the codes (LSQ), over seeds.

    python benchmarks/bit_table.py --csv benchmarks/bit_table.csv --figure benchmarks/bit_table.png
    python benchmarks/bit_table.py --images 640 --seeds 1                    to see that it runs

The package's mobilenet_v1_small (or another). First and last weight, the input and the scores keep at least 8 bits. Rounded: scales of
least squared error, nothing trained; trained: one epoch of so many training pictures from there, each pair of bits by itself; 32 x 32 is
the float network, never trained on. The seed draws the 500 pictures that ranges come from, those that are trained on, and their order.
Accuracy of the 2,000 test pictures; mean of the seeds, and half the span between the least and the largest.
"""
import argparse

from common import table, write_csv

BITS = (32, 8, 4, 2)


def main():
    """Both tables for each seed; their means as a picture, every number in a line of the CSV."""
    import numpy as np

    import tinyconv as tc
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=list(tc.models.PRETRAINED), default="mobilenet_v1_small")
    parser.add_argument("--images", type=int, default=5000, help="training pictures of the one epoch (default %(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="seeds, from 0 on (default %(default)s)")
    parser.add_argument("--csv", metavar="FILE", help="write the table here")
    parser.add_argument("--figure", metavar="FILE", help="draw it here")
    given = parser.parse_args()
    (images, labels), test = tc.data.fashion("train"), tc.data.fashion("test")
    g = tc.trace(tc.models.pretrained(given.network), (1, 1, 28, 28))
    found = {"rounded": [], "trained": []}
    for seed in range(given.seeds):
        order = np.random.default_rng(seed).permutation(len(images))
        start, some = images[order[:500]], order[:given.images]
        found["rounded"].append(tc.apply.bit_grid(g, start, test, BITS, BITS, method="lsq"))
        found["trained"].append(tc.apply.bit_grid(g, start, test, BITS, BITS, trained=(images[some], labels[some], 1), batch_size=64,
                                                  label_smoothing=0.05, seed=seed, progress=False))
        print(f"seed {seed}", *(f"{how}:\n{(100 * grids[-1]).round(2)}" for how, grids in found.items()), flush=True)
    titles = ["network", "weights", "values", *(f"{how} {word}" for how in found for word in ("mean", "spread"))]
    means = {how: np.mean(grids, axis=0) for how, grids in found.items()}
    spreads = {how: np.ptp(grids, axis=0) / 2 for how, grids in found.items()}
    rows = [[given.network, w, v, *(f"{part[how][i, j]:.4f}" for how in found for part in (means, spreads))]
            for i, w in enumerate(BITS) for j, v in enumerate(BITS)]
    table(titles, rows)
    write_csv(given.csv, titles, rows)
    if given.figure:
        names = {"rounded": "rounded", "trained": "trained with codes"}
        tc.draw.save(tc.draw.bit_table({names[how]: mean for how, mean in means.items()}, BITS, BITS,
                                       f"{given.network}: accuracy (%), mean of {given.seeds} seeds"), given.figure)


if __name__ == "__main__":
    main()
