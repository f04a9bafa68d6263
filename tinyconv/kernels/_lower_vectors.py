"""Vectors of bytes and of int32 in machine code: what the pages of the byte tile (`_lower_bytes`, `_lower_codes`) are written with."""
from llvmlite import ir
from numba import types
from numba.extending import models, register_model

from .simd import LANES

SUMS, BYTES = (ir.VectorType(ir.IntType(bits), LANES) for bits in (32, 8))


class Sums(types.Type):
    """numba's name for one register of LANES int32."""

    def __init__(self):
        super().__init__(f"i32x{LANES}")


sums = Sums()


@register_model(Sums)
class _SumsModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, SUMS)


def every(kind, value):
    """A constant vector."""
    return ir.Constant(kind, [value] * kind.count)


def load_as(b, p, at, kind):
    """A vector of this kind from p[at]; no alignment is assumed beyond that of its numbers."""
    return b.load(b.bitcast(b.gep(p, [at]), kind.as_pointer()), align=1)


def store_as(b, p, at, value):
    """A vector to p[at]."""
    b.store(value, b.bitcast(b.gep(p, [at]), value.type.as_pointer()), align=1)
