"""How the vectors of `simd` become machine instructions. Read that page first: it says what is meant.

numba lets an `intrinsic` write LLVM code directly, and `overload` lets it stand for a Python function: each operation is one instruction
on a register (`_lower` has them by name). A tuple of vectors is kept in registers by the compiler as long as there are enough of them.
"""
import operator

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload
from numba.np.arrayobj import populate_array

from . import simd
from ._lower import (F32, I32, I64, Vector, emit_fma, emit_load, emit_mask, emit_masked_load, emit_masked_store, emit_splat, emit_store,
                     pointer, vector)
from .simd import LANES


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


def emit_transpose(b, rows):
    """A square of vectors turned: at distance d, lanes with bit d of one half change places with lanes without it of the other."""
    for d in (2**k for k in range(LANES.bit_length() - 1)):
        for i in range(LANES):
            if not i & d:
                first = [lane if not lane & d else LANES + lane - d for lane in range(LANES)]
                second = [lane + d if not lane & d else LANES + lane for lane in range(LANES)]
                rows[i], rows[i + d] = (b.shuffle_vector(rows[i], rows[i + d], ir.Constant(ir.VectorType(I32, LANES), m)) for m in (first, second))
    return rows


@intrinsic
def _turn(context, x, at, step, y, rows, q, to):
    index = types.intp

    def emit(c, b, s, v):
        px, py, prows = (pointer(c, b, s.args[i], v[i]) for i in (0, 3, 4))
        square = [emit_load(b, px, b.add(v[1], b.mul(v[2], I64(i)))) for i in range(LANES)]
        for i, column in enumerate(emit_transpose(b, square)):
            emit_store(b, py, b.add(b.load(b.gep(prows, [b.add(v[5], I64(i))])), v[6]), column)
        return c.get_dummy_value()
    return types.void(x, index, index, y, rows, index, index), emit


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

@intrinsic
def numbers_at(context, address, n):
    """`simd.numbers_at`: an array that owns nothing."""
    kind = types.Array(types.float32, 1, "C")

    def emit(c, b, s, v):
        array = c.make_array(kind)(c, b)
        populate_array(array, data=b.inttoptr(v[0], F32.as_pointer()), shape=[v[1]], strides=[I64(4)], itemsize=I64(4), meminfo=None)
        return array._getvalue()
    return kind(types.int64, types.int64), emit


overload(simd.load, inline="always")(lambda x, at: lambda x, at: _load(x, at))
overload(simd.load_n, inline="always")(lambda x, at, n: lambda x, at, n: _load_n(x, at, n))
overload(simd.store, inline="always")(lambda x, at, v: lambda x, at, v: _store(x, at, v))
overload(simd.store_n, inline="always")(lambda x, at, v, n: lambda x, at, v, n: _store_n(x, at, v, n))
overload(simd.turn, inline="always")(lambda x, at, step, y, rows, q, to: lambda x, at, step, y, rows, q, to: _turn(x, at, step, y, rows, q, to))
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
