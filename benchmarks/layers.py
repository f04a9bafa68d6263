"""Every distinct convolution of the networks that the benches are about, as data: layers.csv, made from the networks themselves.

    python benchmarks/layers.py             say whether layers.csv is what tinyconv.models gives, and count its groups
    python benchmarks/layers.py --write     write it anew

Two convolutions are one layer if channels, plane, filters, kernel, stride, padding and groups agree. Pictures of 224x224 are
the layers of batch 1, pictures of 32x32 those of batch 64 (AlexNet apart: with 32x32 its last pooling has no window). Groups:

    depthwise        groups == channels, any kernel and stride
    grouped          other groups
    pointwise        1x1, stride 1
    3x3 stride 1     with more than 3 input channels
    strided, stems   the rest: strides, 5x5, 7x7, 11x11, and every layer that sees the picture's 3 channels
"""
import argparse
import csv
import io
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

NETWORKS = ("alexnet", "mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "shufflenet_v1",
            "squeezenet1_1", "resnet18", "vgg16")
TOO_SMALL = {("alexnet", 32)}                           # pictures that a network cannot take
BATCH = {224: 1, 32: 64}                                # size of the picture -> batch
GROUPS = ("depthwise", "pointwise", "3x3 stride 1", "strided, stems", "grouped")
FILE = Path(__file__).with_name("layers.csv")


class Layer(NamedTuple):
    """One convolution of square kernels on square planes: x (N,C,H,H), w (F,C/groups,K,K), stride S, padding P."""

    n: int
    c: int
    h: int
    f: int
    k: int
    s: int
    p: int
    groups: int
    networks: str = ""

    @property
    def group(self):
        """Which of GROUPS it belongs to."""
        if self.groups == self.c > 1:
            return "depthwise"
        if self.groups > 1:
            return "grouped"
        if self.k == self.s == 1:
            return "pointwise"
        return "3x3 stride 1" if self.k == 3 and self.s == 1 and self.c > 3 else "strided, stems"

    @property
    def name(self):
        """C@H -> F, KxK and what is not 1."""
        more = f" /{self.s}" * (self.s > 1) + f" g{self.groups}" * (self.groups > 1)
        return f"{self.c}@{self.h} -> {self.f}, {self.k}x{self.k}{more}"

    @property
    def oh(self):
        """Rows (and columns) of the result."""
        return (self.h + 2 * self.p - self.k) // self.s + 1

    @property
    def flop(self):
        """Two for each multiply-add of the definition, padding taps counted."""
        return 2 * self.n * self.f * self.oh**2 * (self.c // self.groups) * self.k**2

    @property
    def least_flop(self):
        """Two for each multiplication that the cheapest way known here needs: windows without their padding taps, or, for 3x3
        at stride 1 over more than 3 channels, the products of F(2,3) or F(4,3) on whole tiles, transforms not counted.
        """
        seen = sum(0 <= i * self.s + u - self.p < self.h for i in range(self.oh) for u in range(self.k))
        channels, outputs = self.c // self.groups, [seen**2]
        if self.group == "3x3 stride 1":
            outputs += [(m + 2)**2 * (-(-self.oh // m))**2 for m in (2, 4)]
        return 2 * self.n * self.f * channels * min(outputs)

    @property
    def least_bytes(self):
        """Input, weights and result, each number once."""
        return 4 * (self.n * self.c * self.h**2 + self.f * self.c // self.groups * self.k**2 + self.n * self.f * self.oh**2)

    @property
    def geometry(self):
        """The same as tinyconv knows it."""
        from tinyconv.formulas import conv2d_geometry
        w_shape = self.f, self.c // self.groups, self.k, self.k
        return conv2d_geometry((self.n, self.c, self.h, self.h), w_shape, *self.more)

    @property
    def more(self):
        """stride, padding, dilation, groups: what follows the arrays in every call."""
        return self.s, self.p, 1, self.groups

    def arrays(self):
        """x (N,C,H,H) and w (F,C/groups,K,K), float32 and normal, the same for every engine."""
        rng = np.random.default_rng(0)
        x = rng.standard_normal((self.n, self.c, self.h, self.h), np.float32)
        return x, rng.standard_normal((self.f, self.c // self.groups, self.k, self.k), np.float32)


def channels_last(*arrays):
    """Each array (N,C,H,W) copied to channels-last memory."""
    from tinyconv.kernels import layout
    return [layout.shaped(layout.nhwc(a)) for a in arrays]


def forward(layer, algorithm="auto", packed=None):
    """Our forward pass as a function without arguments; weights packed beforehand (None: at batch 1) or each time."""
    from tinyconv import kernels
    (x,), w = channels_last(layer.arrays()[0]), layer.arrays()[1]
    if not (layer.n == 1 if packed is None else packed):
        return lambda: kernels.conv2d(x, w, None, *layer.more, algorithm)
    plan = kernels.plan_conv2d(x.shape, w, None, *layer.more, algorithm)
    return lambda: plan(x)


def from_geometry(g):
    """A Conv2dGeometry as a Layer. Errors: ValueError unless everything is square."""
    if not (g.h == g.w and g.kh == g.kw and g.sh == g.sw and g.top == g.bottom == g.left == g.right and g.dh == g.dw == 1):
        raise ValueError(f"not square: {g}")
    return Layer(g.n, g.c, g.h, g.f, g.kh, g.sh, g.top, g.groups)


def from_networks(names=NETWORKS):
    """The layers as tinyconv.models has them, in the networks' order."""
    import tinyconv as tc
    found = {}
    for size, batch in BATCH.items():
        for name in names:
            if (name, size) in TOO_SMALL:
                continue
            g = tc.trace(tc.models.network(name)(rng=0), (1, 3, size, size), check=False)
            shapes = tc.graph.runner.shapes(g, batch)
            for node in g.nodes:
                if node.op == "conv2d":
                    x, w = (shapes[v] for v in node.inputs[:2])
                    more = (node.attributes[key] for key in ("stride", "padding", "dilation", "groups"))
                    found.setdefault(from_geometry(tc.formulas.conv2d_geometry(x, w, *more)), {})[name] = None
    return [layer._replace(networks=" ".join(networks)) for layer, networks in found.items()]


def as_text(layers):
    """The layers as the text of layers.csv."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerows([("group", *Layer._fields), *((layer.group, *layer) for layer in layers)])
    return stream.getvalue()


def layers(batch, only="", few=0):
    """The layers of one batch size from layers.csv, group by group; of groups whose name holds `only`; at most `few` of each.

    Errors: SystemExit if none is left.
    """
    with open(FILE, newline="", encoding="utf-8") as file:
        rows = [Layer(*(int(row[name]) for name in Layer._fields[:-1]), row["networks"]) for row in csv.DictReader(file)]
    found = []
    for group in GROUPS:
        mine = [layer for layer in rows if layer.n == batch and layer.group == group and only in group]
        take = min(few, len(mine)) if few else len(mine)
        found += [mine[i * len(mine) // take] for i in range(take)]
    if not found:
        sys.exit(f"no layer of batch {batch} in a group named {only!r}: there are {', '.join(GROUPS)}")
    return found


def options(parser, batch=True):
    """Options of a bench over these layers."""
    if batch:
        parser.add_argument("--batch", type=int, choices=sorted(BATCH.values()), default=1,
                            help="1: pictures of 224x224 (default); 64: of 32x32")
    parser.add_argument("--only", default="", metavar="GROUP", help="groups whose name holds this: " + ", ".join(GROUPS))
    parser.add_argument("--few", type=int, default=0, metavar="N", help="at most N layers of each group, for a quick look")


def main():
    """Compare or write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write layers.csv")
    write, text = parser.parse_args().write, as_text(from_networks())
    if write:
        FILE.write_text(text, encoding="utf-8")
    elif FILE.read_text(encoding="utf-8") != text:
        sys.exit("layers.csv is not what the networks give: run with --write")
    for batch in BATCH.values():
        found = layers(batch)
        print(f"batch {batch}: {len(found)} layers; " + ", ".join(f"{g} {sum(x.group == g for x in found)}" for g in GROUPS))


if __name__ == "__main__":
    main()
