"""How the products of the register tile (`tile`) become machine instructions: loops over rows and vectors unrolled, the loop over k in the code.

Inside that loop the sums live in slots on the stack, which the compiler's first pass turns into registers.
"""
from numba import types
from numba.core import cgutils

from . import tile
from ._instructions import instructions
from ._lower import I64, VECTOR, emit_fetch, emit_fma, emit_load, emit_kept_mask, emit_masked_load, emit_splat, pointer
from .simd import LANES

STEPS = 4               # of k between two jumps back
LINE = 16               # numbers of a cache line


def multiply_rows(builder, acc, mr, pA, pI, q, hop, pZ, first, panels, K, ahead, here=None):
    """The loop of `multiply_panels` over panels (address, vectors) -> the sums; with every step a row from `ahead` on is asked for, if there is one.
    here: if `ahead` is the same, there is nothing to ask for, and a loop without asking is taken."""
    slots = [cgutils.alloca_once(builder, VECTOR) for _ in acc]
    for slot, value in zip(slots, acc):
        builder.store(value, slot)
    starts = []
    for i in range(mr):
        at = builder.load(builder.gep(pI, [builder.add(q, builder.mul(hop, I64(i)))]))
        inside = builder.gep(pA, [builder.add(at, first)])
        starts.append(builder.select(builder.icmp_signed("<", at, I64(0)), pZ, inside))

    def step(k, asking):
        columns = [emit_load(builder, panel, builder.add(builder.mul(k, I64(nv * LANES)), I64(LANES * j))) for panel, nv in panels for j in range(nv)]
        for j in range(0, panels[0][1] if asking else 0, LINE // LANES):
            emit_fetch(builder, ahead, builder.add(builder.mul(k, I64(panels[0][1] * LANES)), I64(LANES * j)))
        for i, start in enumerate(starts):
            a = emit_splat(builder, builder.load(builder.gep(start, [k])))
            for j, column in enumerate(columns):
                slot = slots[i * len(columns) + j]
                builder.store(emit_fma(builder, a, column, builder.load(slot)), slot)

    together = builder.sdiv(K, I64(STEPS))

    def loops(asking):
        with cgutils.for_range(builder, together) as loop:
            for u in range(STEPS):
                step(builder.add(builder.mul(loop.index, I64(STEPS)), I64(u)), asking)

    if here is None:
        loops(ahead is not None)
    else:
        with builder.if_else(builder.icmp_unsigned("==", ahead, here)) as (quiet, asking):
            with quiet:
                loops(False)
            with asking:
                loops(True)
    with cgutils.for_range(builder, builder.srem(K, I64(STEPS))) as loop:
        step(builder.add(builder.mul(together, I64(STEPS)), loop.index), ahead is not None and here is None)
    return [builder.load(slot) for slot in slots]


@instructions(tile.multiply_panels)
def _multiply_panels(context, acc, MR, PANELS, NV, LAST, A, rows, q, hop, zero, first, B, b, apart, K, ahead):
    index = types.intp
    signature = acc(acc, MR, PANELS, NV, LAST, A, rows, index, index, zero, index, B, index, index, index, index)
    widths = [NV.literal_value] * (PANELS.literal_value - 1) + [LAST.literal_value]

    def emit(c, builder, s, v):
        pA, pI, pZ, pB = (pointer(c, builder, s.args[i], v[i]) for i in (5, 6, 9, 11))
        panels = [(builder.gep(pB, [builder.add(v[12], builder.mul(v[13], I64(p)))]), width) for p, width in enumerate(widths)]
        alone = not tile.PAIR and widths == [tile.NV] and not isinstance(ahead, types.IntegerLiteral)
        asked = builder.gep(pB, [v[15]]) if alone or widths == [tile.NV, tile.NV] else None
        sums = multiply_rows(builder, cgutils.unpack_tuple(builder, v[0]), MR.literal_value, pA, pI, v[7], v[8], pZ, v[10], panels, v[14], asked,
                             panels[0][0] if alone else None)
        return c.make_tuple(builder, s.return_type, sums)
    return signature, emit


@instructions(tile.slide)
def _slide(context, acc, MR, NV, HOP, A, a, B, b, K):
    index = types.intp
    mr, nv, hop = MR.literal_value, NV.literal_value, HOP.literal_value

    def emit(c, builder, s, v):
        first, pB = builder.gep(pointer(c, builder, s.args[4], v[4]), [v[5]]), pointer(c, builder, s.args[6], v[6])
        slots = [cgutils.alloca_once(builder, VECTOR) for _ in range(mr * nv)]
        for slot, value in zip(slots, cgutils.unpack_tuple(builder, v[0])):
            builder.store(value, slot)
        with cgutils.for_range(builder, v[8]) as loop:
            row, at = builder.gep(first, [loop.index]), builder.add(v[7], builder.mul(loop.index, I64(nv * LANES)))
            columns = [emit_load(builder, pB, builder.add(at, I64(LANES * j))) for j in range(nv)]
            for i in range(mr):
                x = emit_splat(builder, builder.load(builder.gep(row, [I64(i * hop)])))
                for j, column in enumerate(columns):
                    slot = slots[i * nv + j]
                    builder.store(emit_fma(builder, x, column, builder.load(slot)), slot)
        return c.make_tuple(builder, s.return_type, [builder.load(slot) for slot in slots])
    return acc(acc, MR, NV, HOP, A, index, B, index, index), emit


@instructions(tile.outer)
def _outer(context, acc, MR, NV, A, a, pitch_a, B, b, pitch_b, n, count):
    index = types.intp
    signature = acc(acc, MR, NV, A, index, index, B, index, index, index, index)
    mr, nv = MR.literal_value, NV.literal_value

    def emit(c, builder, s, v):
        first, second = builder.gep(pointer(c, builder, s.args[3], v[3]), [v[4]]), builder.gep(pointer(c, builder, s.args[6], v[6]), [v[7]])
        slots = [cgutils.alloca_once(builder, VECTOR) for _ in range(mr * nv)]
        for slot, value in zip(slots, cgutils.unpack_tuple(builder, v[0])):
            builder.store(value, slot)
        masks = [emit_kept_mask(builder, v[9], LANES * j) for j in range(nv)]
        with cgutils.for_range(builder, v[10]) as loop:
            row, at = builder.gep(first, [builder.mul(loop.index, v[5])]), builder.mul(loop.index, v[8])
            columns = [emit_masked_load(builder, second, builder.add(at, I64(LANES * j)), masks[j]) for j in range(nv)]
            for i in range(mr):
                x = emit_splat(builder, builder.load(builder.gep(row, [I64(i)])))
                for j, column in enumerate(columns):
                    slot = slots[i * nv + j]
                    builder.store(emit_fma(builder, x, column, builder.load(slot)), slot)
        return c.make_tuple(builder, s.return_type, [builder.load(slot) for slot in slots])
    return signature, emit
