"""How the vectors of `simd` and the register tile of `tile` become machine instructions. Read those pages first: they say what is meant.

numba lets an `intrinsic` write LLVM code directly, and `overload` lets it stand for a Python function. One LLVM type, <LANES x float>, is
one register; numba is told that such a thing exists (`Vector`), and each operation is one instruction on it. A tuple of vectors
is kept in registers by the compiler as long as there are enough of them.
"""
import operator

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

from . import simd, strip, tile
from .simd import LANES

F32, I32, I64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
VECTOR, MASK = ir.VectorType(F32, LANES), ir.VectorType(ir.IntType(1), LANES)
ZERO = ir.Constant(VECTOR, [0.0] * LANES)
SUFFIX = f"v{LANES}f32"


class Vector(types.Type):
    """numba's name for one register of LANES float32."""

    def __init__(self):
        super().__init__(f"f32x{LANES}")


vector = Vector()


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, VECTOR)


def pointer(context, builder, kind, array):
    """The address of an array's first number: no bounds, no negative indices."""
    return context.make_array(kind)(context, builder, array).data


def emit_call(builder, name, result, arguments):
    """A call of an LLVM intrinsic by name."""
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, [a.type for a in arguments]), name)
    return builder.call(function, arguments)


def emit_splat(builder, x, kind=VECTOR):
    """x in every lane."""
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), x, I32(0))
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), ir.Constant(ir.VectorType(I32, LANES), [0] * LANES))


def emit_load(builder, p, at):
    """LANES numbers from p[at]; no alignment is assumed."""
    return builder.load(builder.bitcast(builder.gep(p, [at]), VECTOR.as_pointer()), align=4)


def emit_store(builder, p, at, v):
    """LANES numbers to p[at]."""
    builder.store(v, builder.bitcast(builder.gep(p, [at]), VECTOR.as_pointer()), align=4)


def emit_mask(builder, n, first=0):
    """The lanes whose number, first + lane, is below n."""
    kind = ir.VectorType(I64, LANES)
    return builder.icmp_signed("<", ir.Constant(kind, [first + i for i in range(LANES)]), emit_splat(builder, n, kind))


def emit_masked_load(builder, p, at, mask):
    """The lanes of the mask from p[at]; 0 in the others."""
    return emit_call(builder, f"llvm.masked.load.{SUFFIX}.p0", VECTOR, [builder.gep(p, [at]), I32(4), mask, ZERO])


def emit_masked_store(builder, p, at, mask, v):
    """The lanes of the mask to p[at]."""
    emit_call(builder, f"llvm.masked.store.{SUFFIX}.p0", ir.VoidType(), [v, builder.gep(p, [at]), I32(4), mask])


def emit_fma(builder, a, b, c):
    """One fused multiply-add."""
    return emit_call(builder, f"llvm.fma.{SUFFIX}", VECTOR, [a, b, c])


@intrinsic
def _load(context, x, at):
    return vector(x, types.intp), lambda c, b, s, v: emit_load(b, pointer(c, b, s.args[0], v[0]), v[1])


@intrinsic
def _load_n(context, x, at, n):
    return vector(x, types.intp, types.intp), lambda c, b, s, v: emit_masked_load(b, pointer(c, b, s.args[0], v[0]), v[1], emit_mask(b, v[2]))


@intrinsic
def _store(context, x, at, value):
    def emit(c, b, s, v):
        emit_store(b, pointer(c, b, s.args[0], v[0]), v[1], v[2])
        return c.get_dummy_value()
    return types.void(x, types.intp, vector), emit


@intrinsic
def _store_n(context, x, at, value, n):
    def emit(c, b, s, v):
        emit_masked_store(b, pointer(c, b, s.args[0], v[0]), v[1], emit_mask(b, v[3]), v[2])
        return c.get_dummy_value()
    return types.void(x, types.intp, vector, types.intp), emit


@intrinsic
def _splat(context, x):
    return vector(types.float32), lambda c, b, s, v: emit_splat(b, v[0])


@intrinsic
def _fma(context, x, y, z):
    return vector(vector, vector, vector), lambda c, b, s, v: emit_fma(b, *v)


def _two(emit):
    @intrinsic
    def operation(context, x, y):
        return vector(vector, vector), lambda c, b, s, v: emit(b, v[0], v[1])
    return operation


_add = _two(lambda b, x, y: b.fadd(x, y, flags=("contract",)))
_sub = _two(lambda b, x, y: b.fsub(x, y, flags=("contract",)))
_mul = _two(lambda b, x, y: b.fmul(x, y, flags=("contract",)))
_lower = _two(lambda b, x, y: b.select(b.fcmp_ordered("<", y, x), y, x))
_higher = _two(lambda b, x, y: b.select(b.fcmp_ordered(">", y, x), y, x))

overload(simd.load, inline="always")(lambda x, at: lambda x, at: _load(x, at))
overload(simd.load_n, inline="always")(lambda x, at, n: lambda x, at, n: _load_n(x, at, n))
overload(simd.store, inline="always")(lambda x, at, v: lambda x, at, v: _store(x, at, v))
overload(simd.store_n, inline="always")(lambda x, at, v, n: lambda x, at, v, n: _store_n(x, at, v, n))
overload(simd.splat, inline="always")(lambda s: lambda s: _splat(np.float32(s)))
overload(simd.fma, inline="always")(lambda a, b, c: lambda a, b, c: _fma(a, b, c))
overload(simd.lower, inline="always")(lambda a, b: lambda a, b: _lower(a, b))
overload(simd.higher, inline="always")(lambda a, b: lambda a, b: _higher(a, b))


def _operator(symbol, both):
    """Let kernels write x + y for vectors, and 4 * x with a number."""
    @overload(symbol, inline="always")
    def lowered(x, y):
        if isinstance(x, Vector) and isinstance(y, Vector):
            return lambda x, y: both(x, y)
        if isinstance(y, Vector) and isinstance(x, types.Number):
            return lambda x, y: both(_splat(np.float32(x)), y)
        return None


_operator(operator.add, _add)
_operator(operator.sub, _sub)
_operator(operator.mul, _mul)


# ---- the register tile ---------------------------------------------------------------------------------------------------

@intrinsic(prefer_literal=True)
def _zeros(context, MR, NV):
    kind = types.UniTuple(vector, MR.literal_value * NV.literal_value)

    def emit(c, b, s, v):
        return c.make_tuple(b, kind, [ZERO] * kind.count)
    return kind(MR, NV), emit


@intrinsic(prefer_literal=True)
def _multiply(context, acc, MR, NV, A, rows, q, hop, zero, first, B, b, K):
    index = types.intp
    signature = acc(acc, MR, NV, A, rows, index, index, zero, index, B, index, index)
    mr, nv = MR.literal_value, NV.literal_value

    def emit(c, builder, s, v):
        pA, pI, pZ, pB = (pointer(c, builder, s.args[i], v[i]) for i in (3, 4, 7, 9))
        q, hop, first, b, K = v[5], v[6], v[8], v[10], v[11]
        slots = [cgutils.alloca_once(builder, VECTOR) for _ in range(mr * nv)]
        for slot, value in zip(slots, cgutils.unpack_tuple(builder, v[0])):
            builder.store(value, slot)
        starts = []
        for i in range(mr):
            at = builder.load(builder.gep(pI, [builder.add(q, builder.mul(hop, I64(i)))]))
            inside = builder.gep(pA, [builder.add(at, first)])
            starts.append(builder.select(builder.icmp_signed("<", at, I64(0)), pZ, inside))
        with cgutils.for_range(builder, K) as loop:
            at = builder.add(b, builder.mul(loop.index, I64(nv * LANES)))
            columns = [emit_load(builder, pB, builder.add(at, I64(LANES * j))) for j in range(nv)]
            for i, start in enumerate(starts):
                a = emit_splat(builder, builder.load(builder.gep(start, [loop.index])))
                for j, column in enumerate(columns):
                    slot = slots[i * nv + j]
                    builder.store(emit_fma(builder, a, column, builder.load(slot)), slot)
        return c.make_tuple(builder, s.return_type, [builder.load(slot) for slot in slots])
    return signature, emit


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
def _outer(context, acc, MR, NV, A, rows, q, hop, count, first, m, B, places, column, n):
    index = types.intp
    signature = acc(acc, MR, NV, A, rows, index, index, index, index, index, B, places, index, index)
    mr, nv = MR.literal_value, NV.literal_value

    def emit(c, builder, s, v):
        pA, prows, pB, pplaces = (pointer(c, builder, s.args[i], v[i]) for i in (3, 4, 10, 11))
        q, hop, count, first, m, column, n = v[5], v[6], v[7], v[8], v[9], v[12], v[13]
        slots = [cgutils.alloca_once(builder, VECTOR) for _ in range(mr * nv)]
        for slot, value in zip(slots, cgutils.unpack_tuple(builder, v[0])):
            builder.store(value, slot)
        last = builder.sub(m, I64(1))                    # rows behind the edge repeat the last one; nobody reads their sums
        lanes = [builder.select(builder.icmp_signed("<", I64(i), m), I64(i), last) for i in range(mr)]
        masks = [emit_mask(builder, n, LANES * j) for j in range(nv)]
        with cgutils.for_range(builder, count) as loop:
            at = builder.load(builder.gep(prows, [builder.add(q, builder.mul(hop, loop.index))]))
            with builder.if_then(builder.icmp_signed(">=", at, I64(0)), likely=True):
                start = builder.gep(pA, [builder.add(at, first)])
                to = builder.add(builder.load(builder.gep(pplaces, [loop.index])), column)
                columns = [emit_masked_load(builder, pB, builder.add(to, I64(LANES * j)), masks[j]) for j in range(nv)]
                for i, lane in enumerate(lanes):
                    a = emit_splat(builder, builder.load(builder.gep(start, [lane])))
                    for j, x in enumerate(columns):
                        slot = slots[i * nv + j]
                        builder.store(emit_fma(builder, a, x, builder.load(slot)), slot)
        return c.make_tuple(builder, s.return_type, [builder.load(slot) for slot in slots])
    return signature, emit


overload(tile.zeros, inline="always", prefer_literal=True)(lambda MR, NV: lambda MR, NV: _zeros(MR, NV))
overload(tile.multiply, inline="always", prefer_literal=True)(
    lambda acc, MR, NV, A, rows, q, hop, zero, first, B, b, K: lambda acc, MR, NV, A, rows, q, hop, zero, first, B, b, K: _multiply(
        acc, MR, NV, A, rows, q, hop, zero, first, B, b, K))
overload(tile.keep, inline="always", prefer_literal=True)(lambda acc, MR, NV, S, at: lambda acc, MR, NV, S, at: _keep(acc, MR, NV, S, at))
overload(tile.resume, inline="always", prefer_literal=True)(lambda MR, NV, S, at: lambda MR, NV, S, at: _resume(MR, NV, S, at))
overload(tile.finish, inline="always", prefer_literal=True)(
    lambda acc, MR, NV, C, places, q, column, n, bias, at, R, residual, low, high:
    lambda acc, MR, NV, C, places, q, column, n, bias, at, R, residual, low, high:
    _finish(acc, MR, NV, C, places, q, column, n, bias, at, R, residual, low, high))
overload(tile.outer, inline="always", prefer_literal=True)(
    lambda acc, MR, NV, A, rows, q, hop, count, first, m, B, places, column, n:
    lambda acc, MR, NV, A, rows, q, hop, count, first, m, B, places, column, n:
    _outer(acc, MR, NV, A, rows, q, hop, count, first, m, B, places, column, n))


# ---- the strip -----------------------------------------------------------------------------------------------------------

@intrinsic(prefer_literal=True)
def _start(context, COLS, bias, at):
    kind = types.UniTuple(vector, COLS.literal_value)

    def emit(c, b, s, v):
        return c.make_tuple(b, kind, [emit_load(b, pointer(c, b, s.args[1], v[1]), v[2])] * kind.count)
    return kind(COLS, bias, types.intp), emit


def _inside(b, place, wide):
    """Does the column lie in the image? (Unsigned: a negative one is a very large one.)"""
    return b.icmp_unsigned("<", place, wide)


@intrinsic(prefer_literal=True)
def _slide(context, acc, COLS, K, S, x, at, column, hop, wide, c, w, wat, wpitch, n):
    index, (cols, k, step) = types.intp, (t.literal_value for t in (COLS, K, S))

    def emit(context, b, s, v):
        px, pw = pointer(context, b, s.args[4], v[4]), pointer(context, b, s.args[10], v[10])
        at, column, hop, wide, c, wat, wpitch, mask = *v[5:10], v[11], v[12], emit_mask(b, v[13])
        weights = [emit_load(b, pw, b.add(wat, b.mul(wpitch, I64(t)))) for t in range(k)]
        sums = cgutils.unpack_tuple(b, v[0])
        for q in range((cols - 1) * step + k):
            place = b.add(column, b.mul(hop, I64(q)))
            valid = emit_splat(b, _inside(b, place, wide), MASK)
            numbers = emit_masked_load(b, px, b.add(at, b.mul(place, c)), b.and_(mask, valid))
            for j in range(cols):
                if 0 <= q - j * step < k:
                    sums[j] = b.select(valid, emit_fma(b, numbers, weights[q - j * step], sums[j]), sums[j])
        return context.make_tuple(b, s.return_type, sums)
    return acc(acc, COLS, K, S, x, index, index, index, index, index, w, index, index, index), emit


@intrinsic(prefer_literal=True)
def _finish_strip(context, acc, COLS, y, at, pitch, count, low, high, n):
    index, number = types.intp, types.float32

    def emit(c, b, s, v):
        py, at, pitch, count, low, high, mask = pointer(c, b, s.args[2], v[2]), *v[3:6], emit_splat(b, v[6]), emit_splat(b, v[7]), emit_mask(b, v[8])
        for j, total in enumerate(cgutils.unpack_tuple(b, v[0])):
            total = b.select(b.fcmp_ordered("<", total, low), low, total)
            total = b.select(b.fcmp_ordered(">", total, high), high, total)
            wanted = b.and_(mask, emit_splat(b, b.icmp_signed("<", I64(j), count), MASK))
            emit_masked_store(b, py, b.add(at, b.mul(pitch, I64(j))), wanted, total)
        return c.get_dummy_value()
    return types.void(acc, COLS, y, index, index, index, number, number, index), emit


@intrinsic(prefer_literal=True)
def _correlate(context, acc, COLS, K, S, x, at, column, hop, wide, c, dy, dat, count, n):
    index, (cols, k, step) = types.intp, (t.literal_value for t in (COLS, K, S))

    def emit(context, b, s, v):
        px, pd = pointer(context, b, s.args[4], v[4]), pointer(context, b, s.args[10], v[10])
        at, column, hop, wide, c, dat, count, mask = *v[5:10], v[11], v[12], emit_mask(b, v[13])
        there = [emit_splat(b, b.icmp_signed("<", I64(j), count), MASK) for j in range(cols)]
        gradients = [emit_masked_load(b, pd, b.add(dat, b.mul(c, I64(j))), b.and_(mask, there[j])) for j in range(cols)]
        sums = cgutils.unpack_tuple(b, v[0])
        for q in range((cols - 1) * step + k):
            place = b.add(column, b.mul(hop, I64(q)))
            valid = emit_splat(b, _inside(b, place, wide), MASK)
            numbers = emit_masked_load(b, px, b.add(at, b.mul(place, c)), b.and_(mask, valid))
            for j in range(cols):
                if 0 <= q - j * step < k:
                    slot = (q - j * step) * cols + j
                    sums[slot] = b.select(b.and_(valid, there[j]), emit_fma(b, numbers, gradients[j], sums[slot]), sums[slot])
        return context.make_tuple(b, s.return_type, sums)
    return acc(acc, COLS, K, S, x, index, index, index, index, index, dy, index, index, index), emit


overload(strip.start, inline="always", prefer_literal=True)(lambda COLS, bias, at: lambda COLS, bias, at: _start(COLS, bias, at))
overload(strip.slide, inline="always", prefer_literal=True)(
    lambda acc, COLS, K, S, x, at, column, hop, wide, c, w, wat, wpitch, n: lambda acc, COLS, K, S, x, at, column, hop, wide, c, w, wat, wpitch, n:
    _slide(acc, COLS, K, S, x, at, column, hop, wide, c, w, wat, wpitch, n))
overload(strip.finish_strip, inline="always", prefer_literal=True)(
    lambda acc, COLS, y, at, pitch, count, low, high, n: lambda acc, COLS, y, at, pitch, count, low, high, n:
    _finish_strip(acc, COLS, y, at, pitch, count, low, high, n))
overload(strip.correlate, inline="always", prefer_literal=True)(
    lambda acc, COLS, K, S, x, at, column, hop, wide, c, dy, dat, count, n: lambda acc, COLS, K, S, x, at, column, hop, wide, c, dy, dat, count, n:
    _correlate(acc, COLS, K, S, x, at, column, hop, wide, c, dy, dat, count, n))
