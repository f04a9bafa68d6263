"""What machine code is written with: the types of numbers and vectors, and one function for each instruction that several pages emit.

One LLVM type, <LANES x float>, is one register; numba is told that such a thing exists (`Vector`). Each function `emit_…` appends a
few instructions to the code that `builder` writes. The vectors of `simd` become such code in `_lower_simd`; read that first.
"""
from math import inf

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import models, register_model

from .simd import LANES

F32, I32, I64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
VECTOR = ir.VectorType(F32, LANES)
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
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), ir.Constant(ir.VectorType(I32, kind.count), [0] * kind.count))


def emit_load(builder, p, at):
    """LANES numbers from p[at]; no alignment is assumed."""
    return builder.load(builder.bitcast(builder.gep(p, [at]), VECTOR.as_pointer()), align=4)


def emit_store(builder, p, at, v):
    """LANES numbers to p[at]."""
    builder.store(v, builder.bitcast(builder.gep(p, [at]), VECTOR.as_pointer()), align=4)


def emit_clip(builder, v, low, high):
    """v within the lanes of low and high; NaN stays."""
    v = builder.select(builder.fcmp_ordered("<", v, low), low, v)
    return builder.select(builder.fcmp_ordered(">", v, high), high, v)


def emit_open(builder, low, high):
    """Do the bounds clip nothing? Two instructions a vector are then left out."""
    return builder.and_(builder.fcmp_ordered("==", low, F32(-inf)), builder.fcmp_ordered("==", high, F32(inf)))


def emit_fetch(builder, p, at):
    """Ask for the line of memory with p[at] to come into the second cache."""
    place = builder.bitcast(builder.gep(p, [at]), ir.IntType(8).as_pointer())
    kind = ir.FunctionType(ir.VoidType(), [place.type, I32, I32, I32])
    builder.call(builder.module.declare_intrinsic("llvm.prefetch", [place.type], kind), [place, I32(0), I32(2), I32(1)])     # to read, second cache, data


def emit_signs(builder, n, first=0):
    """Numbers that are negative in the lanes whose number, first + lane, is below n."""
    kind, zero, most = ir.VectorType(I32, LANES), I64(0), I64(first + LANES)
    n = builder.select(builder.icmp_signed("<", n, zero), zero, builder.select(builder.icmp_signed("<", n, most), n, most))     # 32 bits hold it
    return builder.sub(ir.Constant(kind, [first + i for i in range(LANES)]), emit_splat(builder, builder.trunc(n, I32), kind))


def emit_mask(builder, n, first=0):
    """The lanes whose number, first + lane, is below n."""
    return as_mask(builder, emit_signs(builder, n, first))


# Masks that are used in other blocks of code than they are made in: with 16 lanes they have registers of their own; with fewer a mask is the signs of
# a vector, which would be packed into bits behind the one block and unpacked in the other
emit_kept_mask = emit_mask if LANES == 16 else emit_signs


def as_mask(builder, mask):
    """Signs as the mask of the lanes in which they are negative; a mask as it is."""
    return builder.icmp_signed("<", mask, ir.Constant(mask.type, [0] * LANES)) if mask.type.element == I32 else mask


def emit_masked_load(builder, p, at, mask):
    """The lanes of the mask (or of negative signs) from p[at]; 0 in the others."""
    return emit_call(builder, f"llvm.masked.load.{SUFFIX}.p0", VECTOR, [builder.gep(p, [at]), I32(4), as_mask(builder, mask), ZERO])


def emit_masked_store(builder, p, at, mask, v):
    """The lanes of the mask (or of negative signs) to p[at]."""
    emit_call(builder, f"llvm.masked.store.{SUFFIX}.p0", ir.VoidType(), [v, builder.gep(p, [at]), I32(4), as_mask(builder, mask)])


def emit_fma(builder, a, b, c):
    """One fused multiply-add."""
    return emit_call(builder, f"llvm.fma.{SUFFIX}", VECTOR, [a, b, c])
