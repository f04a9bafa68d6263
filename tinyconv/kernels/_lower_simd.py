"""How the vectors of `simd` become machine instructions. Read that page first: it says what is meant.

numba lets an `intrinsic` write LLVM code directly, and `instructions` lets it stand for a Python function: each operation is one instruction
on a register (`_lower` has them by name). A tuple of vectors is kept in registers by the compiler as long as there are enough of them.
"""
import operator

from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

from . import simd
from ._instructions import instructions
from ._lower import F32, I32, I64, emit_fma, emit_load, emit_mask, emit_masked_load, emit_masked_store, emit_splat, emit_store, pointer, vector
from .simd import LANES


@instructions(simd.load)
def _load(context, x, at):
    return vector(x, types.intp), lambda c, b, s, v: emit_load(b, pointer(c, b, s.args[0], v[0]), v[1])


@instructions(simd.load_n)
def _load_n(context, x, at, n):
    return vector(x, types.intp, types.intp), lambda c, b, s, v: emit_masked_load(b, pointer(c, b, s.args[0], v[0]), v[1], emit_mask(b, v[2]))


@instructions(simd.store)
def _store(context, x, at, value):
    def emit(c, b, s, v):
        emit_store(b, pointer(c, b, s.args[0], v[0]), v[1], v[2])
        return c.get_dummy_value()
    return types.void(x, types.intp, vector), emit


@instructions(simd.store_n)
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


@instructions(simd.turn)
def _turn(context, x, at, step, y, rows, q, to):
    index = types.intp

    def emit(c, b, s, v):
        px, py, prows = (pointer(c, b, s.args[i], v[i]) for i in (0, 3, 4))
        square = [emit_load(b, px, b.add(v[1], b.mul(v[2], I64(i)))) for i in range(LANES)]
        for i, column in enumerate(emit_transpose(b, square)):
            emit_store(b, py, b.add(b.load(b.gep(prows, [b.add(v[5], I64(i))])), v[6]), column)
        return c.get_dummy_value()
    return types.void(x, index, index, y, rows, index, index), emit


@instructions(simd.splat)
def _splat(context, x):
    return vector(types.float32), lambda c, b, s, v: emit_splat(b, v[0])


@instructions(simd.fma)
def _fma(context, x, y, z):
    return vector(vector, vector, vector), lambda c, b, s, v: emit_fma(b, *v)


def _two(meaning, emit):
    """An operation on two vectors, or on a number, in every lane, and a vector."""
    @instructions(meaning)
    def operation(context, x, y):
        if x is vector and y is vector:
            return vector(vector, vector), lambda c, b, s, v: emit(b, *v)
        if isinstance(x, types.Number) and y is vector:
            return vector(types.float32, vector), lambda c, b, s, v: emit(b, emit_splat(b, v[0]), v[1])
        return None


_two(operator.add, lambda b, x, y: b.fadd(x, y, flags=("contract",)))
_two(operator.sub, lambda b, x, y: b.fsub(x, y, flags=("contract",)))
_two(operator.mul, lambda b, x, y: b.fmul(x, y, flags=("contract",)))
_two(simd.lower, lambda b, x, y: b.select(b.fcmp_ordered("<", y, x), y, x))
_two(simd.higher, lambda b, x, y: b.select(b.fcmp_ordered(">", y, x), y, x))


@intrinsic
def numbers_at(context, address, n):
    """`simd.numbers_at`: an array that owns nothing."""
    kind = types.Array(types.float32, 1, "C")

    def emit(c, b, s, v):
        array = c.make_array(kind)(c, b)
        populate_array(array, data=b.inttoptr(v[0], F32.as_pointer()), shape=[v[1]], strides=[I64(4)], itemsize=I64(4), meminfo=None)
        return array._getvalue()
    return kind(types.int64, types.int64), emit
