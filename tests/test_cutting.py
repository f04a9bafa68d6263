"""How the work of a product is cut into tasks: kernels/cutting."""
import itertools

import pytest

from tinyconv.kernels import threads
from tinyconv.kernels.cutting import COST, SLOWER, cut, ending, pieces_for, pieces_of, share

SHAPES = [(tiles, groups, panels) for tiles in (1, 2, 9, 25, 131) for groups in (1, 3) for panels in (1, 2, 5, 18)]


@pytest.mark.small
def test_a_split_of_pairs_is_even():
    """share · splits covers all panels; where two are multiplied together it is even, or the one panel that there is for each."""
    for panels, splits, together in itertools.product(range(1, 20), range(1, 20), (1, 2)):
        per = share(panels, min(splits, panels), together)
        assert per * min(splits, panels) >= panels and (together == 1 or per == 1 or per % 2 == 0)


@pytest.mark.small
def test_ending_by_hand():
    """The time of the busiest thread, equal threads and unequal ones, with what a panel costs a block and what a piece costs to begin with."""
    assert ending(6, 1, 1, 1, 1, 6, 1, 0) == 6 + 6                                              # one thread does all, at its own pace
    assert ending(6, 1, 1, 2, 2, 3, 1, 0) == 3 + 3 * SLOWER                                     # two halves: the slower thread ends last
    assert ending(6, 1, 1, 2, 3, 2, 1, 0) == 4 + 4                                              # three thirds: the faster one takes two of them
    assert ending(6, 1, 1, 2, 6, 1, 1, 0) == 3 + 4                                              # six sixths: four of them, while the other does two
    assert ending(6, 1, 2, 2, 2, 3, 1, 1, each=5) == (4 * 2 + 5) * (1 + SLOWER)
    assert ending(6, 2, 3, 1, 9, 6, 2, 0, together=2) == 2 * 6 * 2 * 3                          # two groups of a pair and a single panel
    assert ending(4, 1, 1, 2, 2, 3, 1, 0) == 3 + 3                                              # the last block has what is left


@pytest.mark.small
@pytest.mark.parametrize("together, more, each", [(1, 0, 0), (2, 4 / 3, 1.5)])
def test_no_cut_ends_earlier(together, more, each):
    """Of all blocks and splits into as many tasks as it may make, the one that `cut` names ends first."""
    for (tiles, groups, panels), count in itertools.product(SHAPES, (1, 2, 3)):
        pieces, most = 2 * count, 6
        block, splits = cut(tiles, groups, panels, count, pieces, most, more, together, each)
        assert 1 <= block <= most and 1 <= splits <= panels
        if tiles >= 8 * most * pieces:
            continue
        found = ending(tiles, groups, panels, count, pieces, block, splits, more, together, each)
        for other, parts in itertools.product(range(1, most + 1), range(1, panels + 1)):
            across, per = -(-tiles // other), share(panels, parts, together)
            even = -(-tiles // across) == other and -(-panels // per) == parts                  # no block or split that could be less
            if even and per >= min(panels, together) and across * groups * parts <= 4 * pieces:
                assert found <= ending(tiles, groups, panels, count, pieces, other, parts, more, together, each) + 1e-9, (other, parts)


@pytest.mark.small
def test_no_number_of_pieces_ends_earlier():
    """Of all numbers of pieces that there may be, the first that ends earliest; as many as there may be where units are many; one unit is one piece."""
    for units, count, each in itertools.product((1, 2, 5, 7, 14, 33), (1, 2, 3), (0, 0.3, 4)):
        ends = [ending(units, 1, 1, count, pieces, 1, 1, 0, 1, each) for pieces in range(1, min(units, 4 * count) + 1)]
        assert pieces_of(units, count, 4 * count, each) == (1 + ends.index(min(ends)) if units < 32 * count else 4 * count)
    assert pieces_of(1000, 2, 8) == 8 and pieces_of(1, 2, 8) == 1
    assert pieces_for(14, 10**9, 2) == 8 and threads.pieces(60 * COST, 2) == 8 and threads.pieces(30 * COST, 2) == 4
    assert (pieces_for(14, 60 * COST, 2), pieces_for(7, 30 * COST, 2)) == (2, 3)                # what a piece costs to begin with decides
