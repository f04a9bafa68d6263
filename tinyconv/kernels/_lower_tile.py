"""How the register tile (`tile`) begins, waits and ends, as machine instructions: sums in a tuple of vectors, loops over them unrolled. What it
multiplies in between is `_lower_products`.
"""
from numba import types
from numba.core import cgutils

from . import tile
from ._instructions import instructions
from ._lower import I64, ZERO, emit_clip, emit_load, emit_kept_mask, emit_masked_load, emit_masked_store, emit_open, emit_splat, emit_store, pointer, vector
from .simd import LANES


@instructions(tile.zeros)
def _zeros(context, MR, NV):
    kind = types.UniTuple(vector, MR.literal_value * NV.literal_value)

    def emit(c, b, s, v):
        return c.make_tuple(b, kind, [ZERO] * kind.count)
    return kind(MR, NV), emit


def row_place(builder, at, pitch, i, nv):
    """Where vector number i of the sums lies, nv of them in a row."""
    return builder.add(builder.add(at, builder.mul(pitch, I64(i // nv))), I64(LANES * (i % nv)))


@instructions(tile.keep)
def _keep(context, acc, MR, NV, S, at, pitch):
    nv = NV.literal_value

    def emit(c, b, s, v):
        p = pointer(c, b, s.args[3], v[3])
        for i, value in enumerate(cgutils.unpack_tuple(b, v[0])):
            emit_store(b, p, row_place(b, v[4], v[5], i, nv), value)
        return c.get_dummy_value()
    return types.void(acc, MR, NV, S, types.intp, types.intp), emit


@instructions(tile.resume)
def _resume(context, MR, NV, S, at, pitch):
    nv = NV.literal_value
    kind = types.UniTuple(vector, MR.literal_value * nv)

    def emit(c, b, s, v):
        p = pointer(c, b, s.args[2], v[2])
        return c.make_tuple(b, kind, [emit_load(b, p, row_place(b, v[3], v[4], i, nv)) for i in range(kind.count)])
    return kind(MR, NV, S, types.intp, types.intp), emit


@instructions(tile.finish)
def _finish(context, acc, MR, NV, C, places, q, column, n, bias, at, R, residual, low, high):
    index, number = types.intp, types.float32
    signature = types.void(acc, MR, NV, C, places, index, index, index, bias, index, R, index, number, number)
    mr, nv = MR.literal_value, NV.literal_value

    def emit(context, builder, s, v):
        pC, pplaces, pbias, pR = (pointer(context, builder, s.args[i], v[i]) for i in (3, 4, 8, 10))
        q, column, n, at, residual = v[5], v[6], v[7], v[9], v[11]
        low, high = emit_splat(builder, v[12]), emit_splat(builder, v[13])
        sums = cgutils.unpack_tuple(builder, v[0])

        def rows(masks, more=False, clip=True, there=False):
            """Every row that has a place (all, if they are known to be there): bias (and the residual) added, clipped if so said, the lanes of the masks stored."""
            offsets = [emit_masked_load(builder, pbias, builder.add(at, I64(LANES * j)), masks[j]) if masks else
                       emit_load(builder, pbias, builder.add(at, I64(LANES * j))) for j in range(nv)]

            def put(i, place):
                for j in range(nv):
                    to = builder.add(builder.add(place, column), I64(LANES * j))
                    y = builder.fadd(sums[i * nv + j], offsets[j])
                    y = builder.fadd(y, emit_masked_load(builder, pR, to, masks[j])) if more else y
                    y = emit_clip(builder, y, low, high) if clip else y
                    if masks:
                        emit_masked_store(builder, pC, to, masks[j], y)
                    else:
                        emit_store(builder, pC, to, y)

            for i in range(mr):
                place = builder.load(builder.gep(pplaces, [builder.add(q, I64(i))]))
                if there:
                    put(i, place)
                    continue
                with builder.if_then(builder.icmp_signed(">=", place, I64(0)), likely=True):
                    put(i, place)

        def free_rows():
            """The same without clipping. Those that are there are neighbours: with the first and the last row all are."""
            first, last = (builder.load(builder.gep(pplaces, [builder.add(q, I64(i))])) for i in (0, mr - 1))
            with builder.if_else(builder.icmp_signed(">=", builder.or_(first, last), I64(0)), likely=True) as (all_there, some_there):
                with all_there:
                    rows(None, clip=False, there=True)
                with some_there:
                    rows(None, clip=False)

        alone, full = builder.icmp_signed("==", residual, I64(0)), builder.icmp_signed(">=", n, I64(nv * LANES))
        with builder.if_else(alone, likely=True) as (bare, added):
            with bare:
                with builder.if_else(full, likely=True) as (whole, part):
                    with whole:
                        with builder.if_else(emit_open(builder, v[12], v[13]), likely=True) as (free, clipped):
                            with free:
                                free_rows()
                            with clipped:
                                rows(None)
                    with part:
                        rows([emit_kept_mask(builder, n, LANES * j) for j in range(nv)])
            with added:
                rows([emit_kept_mask(builder, n, LANES * j) for j in range(nv)], True)
        return context.get_dummy_value()
    return signature, emit
