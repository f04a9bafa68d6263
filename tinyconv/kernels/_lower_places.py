"""Where the pixels of a window tile (`strip`) lie, as addresses: from a table, all at once, and from their distances, one after the other.

A place is an address, of a row of zeros for padding and 0 for an output that is not there.
"""
from llvmlite import ir

from ._lower import I64, emit_splat
from .simd import LANES


def emit_places(builder, out, numbers, table, count, otherwise):
    """out[i] = address of numbers[table[i]], or `otherwise` where the table says -1, i < count: a vector of addresses at a time."""
    wide = min(LANES // 2, count)
    kind = ir.VectorType(I64, wide)
    base, none, four, zero = (emit_splat(builder, value, kind) for value in (builder.ptrtoint(numbers, I64), otherwise, I64(2), I64(0)))
    for i in sorted({*range(0, count - wide + 1, wide), count - wide}):                                # the last one may begin a little earlier
        place = builder.load(builder.bitcast(builder.gep(table, [I64(i)]), kind.as_pointer()), align=8)
        found = builder.select(builder.icmp_signed("<", place, zero), none, builder.add(base, builder.shl(place, four)))
        builder.store(found, builder.bitcast(builder.gep(out, [I64(i)]), kind.as_pointer()), align=8)


def place_at(b, where, to, i):
    """The i-th address from where[to] on."""
    return b.load(b.gep(where, [b.add(to, I64(i))]))


def emit_multiples(builder, pitch):
    """place(first, i) = the address i · pitch bytes behind `first`, i >= 0: processors add 1, 2, 4 or 8 times a register to the address of what they load."""
    odd = {i: builder.mul(pitch, I64(i)) for i in (1, 3, 5, 7)}

    def place(first, i):
        if i >= 8:
            first, i = builder.add(first, builder.mul(pitch, I64(i // 8 * 8))), i % 8
        if i == 0:
            return first
        shift = (i & -i).bit_length() - 1
        return builder.add(first, builder.shl(odd[i >> shift], I64(shift)))
    return place


def emit_unknown(builder, value):
    """The value, behind an empty line of assembler: the compiler no longer knows that it stays the same from one vector of channels to the next. Else the
    compiler would work out all multiples of it beforehand, keep them in memory for want of registers, and load each before it is used."""
    return builder.asm(ir.FunctionType(I64, [I64]), "", "=r,0", [value], side_effect=True)
