"""AlexNet (Krizhevsky, Sutskever, Hinton: "ImageNet classification with deep convolutional neural networks", NIPS 2012).

What was new: depth that could be trained, by ReLU, dropout and two GPUs. Where it sits: five convolutions (`nn.Conv2d`), three
fully connected layers. What it buys is the measure of all that follows: 714 MMACs, of which the linear layers are 8 %, and 61.1 M
parameters, of which they are 96 %. It carries over: ReLU and dropout did; local response normalisation and large kernels did not.

Two forms. The paper's (`alexnet_paper`, on 227x227 pictures: with the 224 it names no window ends at the border) has 96
filters, local response normalisation y = x / (2 + 1e-4 Σ x²)^0.75 over five channels (our α is divided by their number, hence
5e-4 below), and convolutions 2, 4 and 5 in two groups, a tower for each GPU: half the weights and MACs of these layers a
worker, and the other tower's maps cross over before convolution 3 alone. torchvision's (`alexnet`) is the later one-tower form;
names and shapes are its.
"""
import numpy as np

from .. import functional as F
from .. import nn
from .building import Printed, scaled

# filters, kernel, stride, padding, groups of each convolution, and what stands behind its ReLU: section 3.5 of the paper
PAPER = ((96, 11, 4, 0, 1, "norm pool"), (256, 5, 1, 2, 2, "norm pool"), (384, 3, 1, 1, 1, ""), (384, 3, 1, 1, 2, ""),
         (256, 3, 1, 1, 2, "pool"))
TORCHVISION = ((64, 11, 4, 2, 1, "pool"), (192, 5, 1, 2, 1, "pool"), (384, 3, 1, 1, 1, ""), (256, 3, 1, 1, 1, ""),
               (256, 3, 1, 1, 1, "pool"))
HIDDEN, PLANE = 4096, 6

PUBLISHED = {"alexnet": {"params": 61_100_840, "macs": 714_188_480},
             "alexnet_paper": {"params": 60_965_224, "macs": 724_406_816, "size": 227}}
PRINTED = (
    Printed("alexnet", "params", "61100840", "torchvision alexnet.py", "all"),
    Printed("alexnet", "macs", "0.714 G", "torchvision alexnet.py"),
    Printed("alexnet_paper", "params", "60 M", "Krizhevsky et al. 2012, abstract", "all", 227, rounding="down"),
    Printed("alexnet_paper", "macs", "725 M", "Kim et al. 2016, Table 2 [mem]", "bias", 227),
)


class AlexNet(nn.Module):
    """Five convolutions by `table`, then three linear layers with dropout: (N,C,H,W) -> (N,K)."""

    def __init__(self, table, any_size, num_classes, in_channels, width_mult, dropout, rng):
        super().__init__()
        rng = np.random.default_rng(rng)
        c, features = in_channels, []
        for channels, kernel, stride, padding, groups, behind in table:
            f = scaled(channels, width_mult, 2)
            features += [nn.Conv2d(c, f, kernel, stride, padding, groups=groups, rng=rng), nn.ReLU()]
            features += [nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)] if "norm" in behind else []
            features += [nn.MaxPool2d(3, 2)] if "pool" in behind else []
            c = f
        self.features, self.any_size, hidden = nn.Sequential(*features), any_size, scaled(HIDDEN, width_mult)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout, rng=rng.spawn(1)[0]), nn.Linear(c * PLANE * PLANE, hidden, rng=rng), nn.ReLU(),
            nn.Dropout(dropout, rng=rng.spawn(1)[0]), nn.Linear(hidden, hidden, rng=rng), nn.ReLU(),
            nn.Linear(hidden, num_classes, rng=rng))

    def forward(self, x):
        """(N,C,H,W) -> scores (N,K). Errors: ValueError for a picture whose last plane is not 6x6 where nothing averages it."""
        y = self.features(x)                                                              # (N,C,H,W) -> (N,256,h,w)
        if self.any_size:
            y = F.adaptive_avg_pool2d(y, PLANE)                                           # -> (N,256,6,6)
        elif y.shape[2:] != (PLANE, PLANE):
            raise ValueError(f"the paper's AlexNet takes pictures of 227x227, not {x.shape[2]}x{x.shape[3]}: its linear layers "
                             f"stand on planes of 6x6, not {y.shape[2]}x{y.shape[3]}")
        return self.classifier(F.flatten(y))


def alexnet(num_classes=1000, in_channels=3, width_mult=1.0, dropout=0.5, rng=None):
    """torchvision's network, for pictures from 63x63. Cost at 224: PUBLISHED, exactly."""
    return AlexNet(TORCHVISION, True, num_classes, in_channels, width_mult, dropout, rng)


def alexnet_paper(num_classes=1000, in_channels=3, width_mult=1.0, dropout=0.5, rng=None):
    """The paper's network in two groups, for pictures of 227x227."""
    return AlexNet(PAPER, False, num_classes, in_channels, width_mult, dropout, rng)
