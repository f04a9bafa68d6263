"""How the last step of the byte tile, `byte_tile.finish_codes`, becomes machine instructions: int32 sums from memory, codes of a byte to memory.

The rules (`requantization`) are written on whole vectors of 64-bit numbers where a rule needs them; the compiler cuts those to registers. What a rule
needs for LANES filters is made once, and then serves every row of the tile.
"""
from llvmlite import ir
from numba import types
from numba.core import cgutils

from . import byte_tile
from . import requantization as rules
from ._instructions import instructions
from ._lower import F32, I32, I64, emit_call, emit_fma, emit_mask, emit_splat, pointer
from ._lower_vectors import BYTES, SUMS, every, load_as, store_as
from .simd import LANES

F64 = ir.DoubleType()
LONGS, REALS, DOUBLES = (ir.VectorType(kind, LANES) for kind in (I64, F32, F64))
RULES = (rules.ONNX, rules.FUSED, rules.FP32, rules.TFLITE, rules.SINGLE)


def emit_clip(b, value, low, high):
    """value within low … high, integers or floats."""
    less, more = (b.icmp_signed, b.icmp_signed) if isinstance(value.type.element, ir.IntType) else (b.fcmp_ordered, b.fcmp_ordered)
    value = b.select(less("<", value, low), low, value)
    return b.select(more(">", value, high), high, value)


def emit_parameters(b, rule, pm, ps, at, zero, low, high):
    """What a rule needs for LANES filters from `at` on: multipliers, shifts, zero point and bounds, as the vectors it computes with."""
    m, whole = load_as(b, pm, at, DOUBLES), lambda v: emit_splat(b, b.fptosi(v, I32), SUMS)
    if rule == rules.ONNX:
        return [m, *(emit_splat(b, v, DOUBLES) for v in (zero, low, high))]
    if rule == rules.FUSED:
        return [b.fptrunc(m, REALS), emit_splat(b, b.fptrunc(b.fadd(zero, F64(rules.ROUND32)), F32), REALS), *(
            emit_splat(b, b.add(b.fptosi(v, I32), I32(rules.BITS32)), SUMS) for v in (low, high))]
    if rule == rules.FP32:
        return [b.fptrunc(m, REALS), whole(zero), *(emit_splat(b, b.fptrunc(b.fsub(v, zero), F32), REALS) for v in (low, high))]
    return [b.fptosi(m, LONGS), whole(zero), whole(low), whole(high), b.fptosi(load_as(b, ps, at, DOUBLES), LONGS)]


def emit_rule(b, rule, acc, m, zero, low, high, s=None):
    """LANES int32 sums acc -> LANES bytes, the codes by the rule of that number, from what `emit_parameters` made."""
    if rule == rules.ONNX:                                      # a product, a sum: kernels are compiled `exact`, so never fused
        value = b.fadd(b.fmul(b.sitofp(acc, DOUBLES), m), zero)
        return b.trunc(b.bitcast(b.fadd(emit_clip(b, value, low, high), every(DOUBLES, rules.ROUND)), LONGS), BYTES)
    if rule == rules.FUSED:                                     # the sum's last bit is 1: rounded to an integer, its low byte the code's
        value = emit_fma(b, b.sitofp(acc, REALS), m, zero)
        return b.trunc(emit_clip(b, b.bitcast(value, SUMS), low, high), BYTES)
    if rule == rules.FP32:
        value = emit_clip(b, b.fmul(b.sitofp(acc, REALS), m), low, high)
        return b.trunc(b.add(b.bitcast(b.fadd(value, every(REALS, rules.ROUND32)), SUMS), zero), BYTES)
    product, one = b.mul(b.sext(acc, LONGS), m), every(LONGS, 1)
    if rule == rules.TFLITE:
        once = b.ashr(b.add(product, every(LONGS, 2 ** 30)), every(LONGS, 31))
        mask = b.sub(b.shl(one, s), one)
        half = b.sub(b.lshr(mask, one), b.ashr(once, every(LONGS, 63)))
        value = b.add(b.ashr(once, s), b.zext(b.icmp_signed(">", b.and_(once, mask), half), LONGS))
    else:
        value = b.ashr(b.add(product, b.shl(one, b.sub(s, one))), s)
    return b.trunc(emit_clip(b, b.add(b.trunc(value, SUMS), zero), low, high), BYTES)


@instructions(byte_tile.finish_codes)
def _finish_codes(context, S, at, rows, vectors, rule, Y, places, q, column, n, m, s, f, zero, low, high):
    index, number = types.intp, types.float64
    signature = types.void(S, index, index, index, index, Y, places, index, index, index, m, s, index, number, number, number)

    def emit(context, builder, s, v):
        pS, pY, pplaces, pm, ps = (pointer(context, builder, s.args[i], v[i]) for i in (0, 5, 6, 10, 11))
        at, rows, vectors, kind, q, column, n, f = (v[i] for i in (1, 2, 3, 4, 7, 8, 9, 12))
        last = builder.load(builder.gep(pplaces, [builder.sub(builder.add(q, rows), I64(1))]))

        def column_of(rule, j, all_there, store):
            """Vector j of every row that has a place."""
            lane = builder.mul(j, I64(LANES))
            given = emit_parameters(builder, rule, pm, ps, builder.add(f, lane), *v[13:])
            with cgutils.for_range(builder, rows) as row:
                place = builder.load(builder.gep(pplaces, [builder.add(q, row.index)]))

                def one():
                    here = builder.add(at, builder.mul(builder.add(builder.mul(row.index, vectors), j), I64(LANES)))
                    store(builder.add(builder.add(place, column), lane), emit_rule(builder, rule, load_as(builder, pS, here, SUMS), *given))
                if all_there:
                    one()
                else:
                    with builder.if_then(builder.icmp_signed(">=", place, I64(0)), likely=True):
                        one()

        for rule in RULES:
            with builder.if_then(builder.icmp_signed("==", kind, I64(rule))):
                with cgutils.for_range(builder, vectors) as loop:
                    left = builder.sub(n, builder.mul(loop.index, I64(LANES)))
                    full = builder.and_(builder.icmp_signed(">=", left, I64(LANES)), builder.icmp_signed(">=", last, I64(0)))
                    with builder.if_else(full, likely=True) as (whole, part):
                        with whole:
                            column_of(rule, loop.index, True, lambda to, code: store_as(builder, pY, to, code))
                        with part:
                            mask = emit_mask(builder, left)
                            column_of(rule, loop.index, False, lambda to, code: emit_call(
                                builder, f"llvm.masked.store.v{LANES}i8.p0", ir.VoidType(), [code, builder.gep(pY, [to]), I32(1), mask]))
        return context.get_dummy_value()
    return signature, emit
