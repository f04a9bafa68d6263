"""How much energy? A price list for operations and bytes, and the bill of a network.

    joules = Σ rows  multiplications · mul + additions · add + bytes moved · byte

A multiply-add is one of each; a comparison is priced as an addition (it is a subtraction), divisions and exponentials as a
multiplication, which is too little. Bytes are those of the cost table: every value of a node once, from and to the memory named.
The list is of one process (45 nm, 0.9 V), so joules are of no machine in use; ratios are what it teaches: a number from memory
costs as much as 170 multiplications, and int8 saves 15 times in arithmetic and 4 times in memory.

                     multiply   add      pJ; an int8 product is added as an int32
    float32          3.7        0.9
    float16          1.1        0.4
    int8             0.2        0.1
    32 bits, memory  640                 (1.3 to 2.6 nJ for 64 bits)
    32 bits, cache   5                   (8 KB: 10 pJ for 64 bits)
Source: Horowitz, "Computing's energy problem (and what we can do about it)", ISSCC 2014, figure 1.1.9 [mem: as quoted by others];
640 pJ: Han, Pool, Tran & Dally, "Learning both weights and connections" (2015), table 1 [mem].
"""
from typing import NamedTuple

MULTIPLY_PICOJOULES = {"float32": 3.7, "float16": 1.1, "int8": 0.2}
ADD_PICOJOULES = {"float32": 0.9, "float16": 0.4, "int8": 0.1}
BYTE_PICOJOULES = {"memory": 640 / 4, "cache": 5 / 4}


class Energy(NamedTuple):
    """Energy in joules of computing and of moving."""

    arithmetic_joules: float
    memory_joules: float

    @property
    def joules(self):
        """Both together."""
        return self.arithmetic_joules + self.memory_joules


def joules(summary, place="memory"):
    """The bill of a cost table: `Energy(arithmetic_joules, memory_joules)`. place: where values come from, "memory" or "cache".

    Errors: ValueError for another place, and for a dtype that the list has not.

    >>> bill = tc.cost.joules(tc.cost.summary(tc.nn.Conv2d(64, 64, 3, padding=1, bias=False, rng=0), (1, 64, 14, 14)))
    >>> round(bill.arithmetic_joules * 1e6, 2), round(bill.memory_joules * 1e6, 2)      # 7.2 million multiply-adds, 248 KB
    (33.24, 39.65)
    """
    if place not in BYTE_PICOJOULES:
        raise ValueError(f"place must be one of {', '.join(BYTE_PICOJOULES)}, not {place!r}")
    total = 0.0
    for row in summary.rows:
        if row.dtype not in MULTIPLY_PICOJOULES:
            raise ValueError(f"{row.name} computes in {row.dtype}; there are prices for {', '.join(MULTIPLY_PICOJOULES)}")
        macs, additions, multiplications, comparisons, special = row.counts
        total += (macs + multiplications + special) * MULTIPLY_PICOJOULES[row.dtype]
        total += (macs + additions + comparisons) * ADD_PICOJOULES[row.dtype]
    return Energy(total * 1e-12, summary.moved_bytes * BYTE_PICOJOULES[place] * 1e-12)
