"""Pruning and training in turns: a little at a time with fine-tuning between, and lottery tickets.

Ratios and budgets are always of the network as it was at the start: pruning 0.3 and then 0.3 of what is left would leave 0.49, not 0.4.
A ticket (Frankle & Carbin 2019) is a mask: train, prune the smallest weights, put the survivors back to where they began, and again.
Its claim is tested against two controls: the same mask with other initial values, and as many zeros at random places.
"""
import numpy as np

from ..compress import prune as pure
from ..cost import macs as macs_of
from ._checks import check_graph, layer_weights
from .evidence import checked_data
from .finetuning import finetune
from .pruning import prune
from .sparsifying import sparsify, with_masks


def prune_iteratively(g, images, labels, sparsity=None, macs=None, steps=4, epochs=1, schedule=pure.cubic_sparsity, criterion=None,
                      scope="global", seed=0, history=None, **options):
    """Prune a little, fine-tune, and again, `steps` times; g is untouched.

    sparsity   zero this fraction of the weights in the end (`sparsify`; criterion "magnitude" if None): after step i of n the fraction
               schedule(i, n, sparsity), the zeros kept at 0
    macs       or remove channels down to this budget (`prune`; "l1"): after step i at most all - schedule(i, n, 1) (all - macs)
    epochs     of fine-tuning after each step; options: finetune's. history: a list that receives all epochs
    Errors: ValueError unless exactly one of sparsity and macs is given, for budgets and fractions that cannot be met, unknown names:
    before anything is trained.
    """
    check_graph(g)
    if (sparsity is None) == (macs is None):
        raise ValueError(f"give either sparsity or macs, one of them, not {sparsity} and {macs}")
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
    data, whole = checked_data((images, labels), "iterative pruning"), macs_of(g)
    parts = [schedule(i, steps, 1.0) for i in range(1, steps + 1)]
    criterion = criterion or ("l1" if sparsity is None else "magnitude")

    def pruned(now, part):
        if sparsity is None:
            return prune(now, macs=round(whole - part * (whole - macs)), criterion=criterion, scope=scope, seed=seed, data=data)
        return sparsify(now, part * sparsity, scope, criterion, data, seed)
    pruned(g, 1.0)                                                                # what cannot be met is refused here
    for part in parts:
        g = finetune(pruned(g, part), images, labels, epochs=epochs, keep_zeros=sparsity is not None, history=history, seed=seed,
                     **options)
    return g


def find_ticket(g, images, labels, sparsity, rounds=3, epochs=2, history=None, **options):
    """{weight name: mask} of a lottery ticket in g, a network at its start: True = kept, exactly round(n · sparsity) False in all.

    Each of `rounds` rounds trains the survivors from g's values, then drops the smallest |w| of the whole network, so that after round r
    the fraction 1 - (1-sparsity)^(r/rounds) is gone: the same share of what is left each time. Masks only ever lose.
        ticket            with_masks(g, masks)                                 rewound to its start, or, for late rewinding,
                          with_masks(finetune(g, epochs=1), masks)             to the weights after k epochs
        other values      with_masks(the same network from another seed, masks)
        random places     with_masks(g, {name: compress.prune.shuffled_mask(mask, seed)})
    Options: finetune's. Errors: ValueError for a sparsity outside [0, 1), rounds below 1, and data that does not fit.
    """
    check_graph(g)
    if not 0 <= sparsity < 1 or rounds < 1:
        raise ValueError(f"sparsity must lie in [0, 1) and rounds be at least 1, not {sparsity} and {rounds}")
    checked_data((images, labels), "a lottery ticket")
    masks = {name: np.ones(w.shape, dtype=bool) for name, w in layer_weights(g).items()}
    for r in range(1, rounds + 1):
        trained = finetune(with_masks(g, masks), images, labels, epochs=epochs, keep_zeros=True, history=history, **options)
        scores = [np.where(mask, np.abs(trained.array(name)), -1.0) for name, mask in masks.items()]
        gone = sparsity if r == rounds else 1 - (1 - sparsity) ** (r / rounds)
        masks = dict(zip(masks, pure.mask_smallest_of_all(scores, gone)))
    return masks
