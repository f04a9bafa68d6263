"""How the steps of the register tile (`tile`) become machine instructions: sums in a tuple of vectors, loops over them unrolled.

Inside the loop over k the sums live in slots on the stack, which the compiler's first pass turns into registers.
"""
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from . import tile
from ._lower import (I64, VECTOR, ZERO, emit_fetch, emit_fma, emit_load, emit_mask, emit_masked_load, emit_masked_store, emit_splat, emit_store,
                     pointer, vector)
from .simd import LANES


STEPS = 4               # of k between two jumps back


@intrinsic(prefer_literal=True)
def _zeros(context, MR, NV):
    kind = types.UniTuple(vector, MR.literal_value * NV.literal_value)

    def emit(c, b, s, v):
        return c.make_tuple(b, kind, [ZERO] * kind.count)
    return kind(MR, NV), emit


def multiply_rows(builder, acc, mr, pA, pI, q, hop, pZ, first, panels, K, ahead=None):
    """The loop of `multiply` over panels (address, vectors) -> the sums; with every step a row from `ahead` on is asked for."""
    slots = [cgutils.alloca_once(builder, VECTOR) for _ in acc]
    for slot, value in zip(slots, acc):
        builder.store(value, slot)
    starts = []
    for i in range(mr):
        at = builder.load(builder.gep(pI, [builder.add(q, builder.mul(hop, I64(i)))]))
        inside = builder.gep(pA, [builder.add(at, first)])
        starts.append(builder.select(builder.icmp_signed("<", at, I64(0)), pZ, inside))

    def step(k):
        columns = [emit_load(builder, panel, builder.add(builder.mul(k, I64(nv * LANES)), I64(LANES * j))) for panel, nv in panels for j in range(nv)]
        if ahead is not None:
            for j in range(panels[0][1]):
                emit_fetch(builder, ahead, builder.add(builder.mul(k, I64(panels[0][1] * LANES)), I64(LANES * j)))
        for i, start in enumerate(starts):
            a = emit_splat(builder, builder.load(builder.gep(start, [k])))
            for j, column in enumerate(columns):
                slot = slots[i * len(columns) + j]
                builder.store(emit_fma(builder, a, column, builder.load(slot)), slot)

    together = builder.sdiv(K, I64(STEPS))
    with cgutils.for_range(builder, together) as loop:
        for u in range(STEPS):
            step(builder.add(builder.mul(loop.index, I64(STEPS)), I64(u)))
    with cgutils.for_range(builder, builder.srem(K, I64(STEPS))) as loop:
        step(builder.add(builder.mul(together, I64(STEPS)), loop.index))
    return [builder.load(slot) for slot in slots]


@intrinsic(prefer_literal=True)
def _multiply(context, acc, MR, NV, A, rows, q, hop, zero, first, B, b, K):
    index = types.intp
    signature = acc(acc, MR, NV, A, rows, index, index, zero, index, B, index, index)

    def emit(c, builder, s, v):
        pA, pI, pZ, pB = (pointer(c, builder, s.args[i], v[i]) for i in (3, 4, 7, 9))
        sums = multiply_rows(builder, cgutils.unpack_tuple(builder, v[0]), MR.literal_value, pA, pI, v[5], v[6], pZ, v[8],
                             [(builder.gep(pB, [v[10]]), NV.literal_value)], v[11])
        return c.make_tuple(builder, s.return_type, sums)
    return signature, emit


@intrinsic(prefer_literal=True)
def _multiply_panels(context, acc, MR, PANELS, NV, LAST, A, rows, q, hop, zero, first, B, b, apart, K):
    index = types.intp
    signature = acc(acc, MR, PANELS, NV, LAST, A, rows, index, index, zero, index, B, index, index, index)
    widths = [NV.literal_value] * (PANELS.literal_value - 1) + [LAST.literal_value]

    def emit(c, builder, s, v):
        pA, pI, pZ, pB = (pointer(c, builder, s.args[i], v[i]) for i in (5, 6, 9, 11))
        panels = [(builder.gep(pB, [builder.add(v[12], builder.mul(v[13], I64(p)))]), width) for p, width in enumerate(widths)]
        sums = multiply_rows(builder, cgutils.unpack_tuple(builder, v[0]), MR.literal_value, pA, pI, v[7], v[8], pZ, v[10], panels, v[14])
        return c.make_tuple(builder, s.return_type, sums)
    return signature, emit


@intrinsic(prefer_literal=True)
def _multiply_ahead(context, acc, MR, PANELS, NV, A, rows, q, hop, zero, first, B, b, apart, K, ahead):
    index = types.intp
    signature = acc(acc, MR, PANELS, NV, A, rows, index, index, zero, index, B, index, index, index, index)

    def emit(c, builder, s, v):
        pA, pI, pZ, pB = (pointer(c, builder, s.args[i], v[i]) for i in (4, 5, 8, 10))
        panels = [(builder.gep(pB, [builder.add(v[11], builder.mul(v[12], I64(p)))]), NV.literal_value) for p in range(PANELS.literal_value)]
        sums = multiply_rows(builder, cgutils.unpack_tuple(builder, v[0]), MR.literal_value, pA, pI, v[6], v[7], pZ, v[9], panels, v[13],
                             builder.gep(pB, [v[14]]))
        return c.make_tuple(builder, s.return_type, sums)
    return signature, emit


@intrinsic(prefer_literal=True)
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


@intrinsic(prefer_literal=True)
def _keep(context, acc, MR, NV, S, at):
    def emit(c, b, s, v):
        for i, value in enumerate(cgutils.unpack_tuple(b, v[0])):
            emit_store(b, pointer(c, b, s.args[3], v[3]), b.add(v[4], I64(LANES * i)), value)
        return c.get_dummy_value()
    return types.void(acc, MR, NV, S, types.intp), emit


@intrinsic(prefer_literal=True)
def _resume(context, MR, NV, S, at):
    kind = types.UniTuple(vector, MR.literal_value * NV.literal_value)

    def emit(c, b, s, v):
        p = pointer(c, b, s.args[2], v[2])
        return c.make_tuple(b, kind, [emit_load(b, p, b.add(v[3], I64(LANES * i))) for i in range(kind.count)])
    return kind(MR, NV, S, types.intp), emit


@intrinsic(prefer_literal=True)
def _finish(context, acc, MR, NV, C, places, q, column, n, bias, at, R, residual, low, high):
    index, number = types.intp, types.float32
    signature = types.void(acc, MR, NV, C, places, index, index, index, bias, index, R, index, number, number)
    mr, nv = MR.literal_value, NV.literal_value

    def emit(context, builder, s, v):
        pC, pplaces, pbias, pR = (pointer(context, builder, s.args[i], v[i]) for i in (3, 4, 8, 10))
        q, column, n, at, residual = v[5], v[6], v[7], v[9], v[11]
        low, high = emit_splat(builder, v[12]), emit_splat(builder, v[13])
        sums = cgutils.unpack_tuple(builder, v[0])

        def rows(load, store, more):
            """Every row that has a place: bias (and more) added, clipped, stored."""
            offsets = [load(pbias, builder.add(at, I64(LANES * j)), j) for j in range(nv)]
            for i in range(mr):
                place = builder.load(builder.gep(pplaces, [builder.add(q, I64(i))]))
                with builder.if_then(builder.icmp_signed(">=", place, I64(0)), likely=True):
                    for j in range(nv):
                        to = builder.add(builder.add(place, column), I64(LANES * j))
                        y = more(builder.fadd(sums[i * nv + j], offsets[j]), to, j)
                        y = builder.select(builder.fcmp_ordered("<", y, low), low, y)
                        y = builder.select(builder.fcmp_ordered(">", y, high), high, y)
                        store(pC, to, j, y)

        full = builder.and_(builder.icmp_signed(">=", n, I64(nv * LANES)), builder.icmp_signed("==", residual, I64(0)))
        with builder.if_else(full, likely=True) as (whole, part):
            with whole:
                rows(lambda p, to, j: emit_load(builder, p, to), lambda p, to, j, y: emit_store(builder, p, to, y), lambda y, to, j: y)
            with part:
                masks = [emit_mask(builder, n, LANES * j) for j in range(nv)]
                wanted = builder.icmp_signed("!=", residual, I64(0))
                some = [builder.and_(mask, emit_splat(builder, wanted, mask.type)) for mask in masks]
                rows(lambda p, to, j: emit_masked_load(builder, p, to, masks[j]), lambda p, to, j, y: emit_masked_store(builder, p, to, masks[j], y),
                     lambda y, to, j: builder.fadd(y, emit_masked_load(builder, pR, builder.select(wanted, to, I64(0)), some[j])))
        return context.get_dummy_value()
    return signature, emit


@intrinsic(prefer_literal=True)
def _outer(context, acc, MR, NV, A, a, pitch_a, B, b, pitch_b, n, count):
    index = types.intp
    signature = acc(acc, MR, NV, A, index, index, B, index, index, index, index)
    mr, nv = MR.literal_value, NV.literal_value

    def emit(c, builder, s, v):
        first, second = builder.gep(pointer(c, builder, s.args[3], v[3]), [v[4]]), builder.gep(pointer(c, builder, s.args[6], v[6]), [v[7]])
        slots = [cgutils.alloca_once(builder, VECTOR) for _ in range(mr * nv)]
        for slot, value in zip(slots, cgutils.unpack_tuple(builder, v[0])):
            builder.store(value, slot)
        masks = [emit_mask(builder, v[9], LANES * j) for j in range(nv)]
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


overload(tile.zeros, inline="always", prefer_literal=True)(lambda MR, NV: lambda MR, NV: _zeros(MR, NV))
overload(tile.multiply, inline="always", prefer_literal=True)(
    lambda acc, MR, NV, A, rows, q, hop, zero, first, B, b, K: lambda acc, MR, NV, A, rows, q, hop, zero, first, B, b, K: _multiply(
        acc, MR, NV, A, rows, q, hop, zero, first, B, b, K))
overload(tile.multiply_panels, inline="always", prefer_literal=True)(
    lambda acc, MR, PANELS, NV, LAST, A, rows, q, hop, zero, first, B, b, apart, K:
    lambda acc, MR, PANELS, NV, LAST, A, rows, q, hop, zero, first, B, b, apart, K:
    _multiply_panels(acc, MR, PANELS, NV, LAST, A, rows, q, hop, zero, first, B, b, apart, K))
overload(tile.multiply_ahead, inline="always", prefer_literal=True)(
    lambda acc, MR, PANELS, NV, A, rows, q, hop, zero, first, B, b, apart, K, ahead:
    lambda acc, MR, PANELS, NV, A, rows, q, hop, zero, first, B, b, apart, K, ahead:
    _multiply_ahead(acc, MR, PANELS, NV, A, rows, q, hop, zero, first, B, b, apart, K, ahead))
overload(tile.slide, inline="always", prefer_literal=True)(
    lambda acc, MR, NV, HOP, A, a, B, b, K: lambda acc, MR, NV, HOP, A, a, B, b, K: _slide(acc, MR, NV, HOP, A, a, B, b, K))
overload(tile.keep, inline="always", prefer_literal=True)(lambda acc, MR, NV, S, at: lambda acc, MR, NV, S, at: _keep(acc, MR, NV, S, at))
overload(tile.resume, inline="always", prefer_literal=True)(lambda MR, NV, S, at: lambda MR, NV, S, at: _resume(MR, NV, S, at))
overload(tile.finish, inline="always", prefer_literal=True)(
    lambda acc, MR, NV, C, places, q, column, n, bias, at, R, residual, low, high:
    lambda acc, MR, NV, C, places, q, column, n, bias, at, R, residual, low, high:
    _finish(acc, MR, NV, C, places, q, column, n, bias, at, R, residual, low, high))
overload(tile.outer, inline="always", prefer_literal=True)(
    lambda acc, MR, NV, A, a, pitch_a, B, b, pitch_b, n, count: lambda acc, MR, NV, A, a, pitch_a, B, b, pitch_b, n, count:
    _outer(acc, MR, NV, A, a, pitch_a, B, b, pitch_b, n, count))
