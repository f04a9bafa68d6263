"""What int8 without training costs in accuracy: small networks trained on the embedded pictures, then integers only, over seeds and rules.

    python benchmarks/int8_accuracy.py                               four networks, 3 seeds, all 2,000 test pictures
    python benchmarks/int8_accuracy.py --epochs 1 --seeds 1 --networks resnet_small

Each network is trained in float32 (SGD, cosine, pictures mirrored and shifted), its BatchNorms folded, its ranges taken from 500 training
pictures (min-max), its weights made int8 with a scale a filter. Accuracy of the float and of the integer network, on the same pictures; the
integer network computes without floats from its first node to its last. The spread is that over seeds. Wanted: the integer network within
0.01 of the float one, for every network and seed.
"""
import argparse
import statistics

from common import table, write_csv

NETWORKS = ("mobilenet_v1_small", "mobilenet_v2_small", "resnet_small", "shufflenet_v2_small")
RULES = ("onnx", "fp32", "tflite", "single")
WANTED = 0.01


def main():
    """Train, quantize, compare; a row a network and seed, and the spread a network."""
    import tinyconv as tc
    from tinyconv.recipes.demo import augment
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=4, help="epochs of training (default %(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="seeds, from 0 on (default %(default)s)")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--rules", nargs="+", choices=RULES, default=RULES)
    parser.add_argument("--csv", metavar="FILE", help="write the table here")
    given = parser.parse_args()
    (images, labels), test = tc.data.fashion("train"), tc.data.fashion("test")
    rows, losses = [], []
    for name in given.networks:
        lost = {rule: [] for rule in given.rules}
        for seed in range(given.seeds):
            model = tc.models.network(name)(rng=seed)
            tc.train.fit(model, images, labels, epochs=given.epochs, lr=0.15, batch_size=128, augment=augment, label_smoothing=0.05, seed=seed,
                         progress=False)
            g = tc.trace(model, (1, 1, 28, 28))
            exact = tc.train.accuracy(g, *test)
            for rule in given.rules:
                lost[rule].append(exact - tc.train.accuracy(tc.apply.quantize(g, images[:500], rule=rule), *test))
            rows.append([name, seed, f"{exact:.4f}", *(f"{-lost[rule][-1]:+.4f}" for rule in given.rules)])
            print(*rows[-1], flush=True)
        losses += [loss for values in lost.values() for loss in values]
        rows.append([name, "mean, spread", "", *(f"{-statistics.fmean(v):+.4f} ± {(max(v) - min(v)) / 2:.4f}" for v in lost.values())])
    titles = ["network", "seed", "float32", *given.rules]
    table(titles, rows)
    write_csv(given.csv, titles, rows)
    print(f"largest loss {max(losses):.4f};  wanted {WANTED}: {'reached' if max(losses) <= WANTED else 'NOT REACHED'}")


if __name__ == "__main__":
    main()
