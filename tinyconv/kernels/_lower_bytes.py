"""How the steps of the byte tile (`byte_tile`) become machine instructions: int32 sums in a tuple of vectors, loops over them unrolled.

`emit_dot` is the one step that processors do differently. What becomes of the sums is `_lower_codes`.
"""
from llvmlite import ir
from numba import types
from numba.core import cgutils

from . import byte_tile
from ._jit import host_features
from ._instructions import instructions
from ._lower import I32, I64, emit_call, emit_mask, emit_splat, pointer
from ._lower_vectors import BYTES, SUMS, every, load_as, store_as, sums
from .simd import LANES

WORDS = ir.VectorType(ir.IntType(16), 2 * LANES)
MADD = {16: "llvm.x86.avx512.pmaddw.d.512", 8: "llvm.x86.avx2.pmadd.wd"}


def way(features):
    """How a processor of these features sums products of bytes: "vnni", "words" (16-bit products) or "portable".

    >>> way({"avx512f", "avx512bw", "avx512vnni"}), way({"avx2", "avx"}), way({"neon"})
    ('vnni', 'words', 'portable')
    """
    if {"avx512f", "avx512vnni"} <= features:
        return "vnni"
    return "words" if {"avx512f", "avx512bw"} <= features or "avx2" in features and "avx512f" not in features else "portable"


WAY = way(host_features())


def emit_dot(b, acc, x, w):
    """acc + the four products u8 x s8 in each lane; x, w: LANES times four bytes, as int32."""
    if WAY == "vnni":
        return emit_call(b, "llvm.x86.avx512.vpdpbusd.512", SUMS, [acc, x, w])
    if WAY == "words":                                          # bytes 0 and 2, then 1 and 3, as pairs of 16-bit numbers
        x, w = b.bitcast(x, WORDS), b.bitcast(w, WORDS)
        eight = every(WORDS, 8)
        for a, c in ((b.and_(x, every(WORDS, 255)), b.ashr(b.shl(w, eight), eight)), (b.lshr(x, eight), b.ashr(w, eight))):
            acc = b.add(acc, emit_call(b, MADD[LANES], SUMS, [a, c]))
        return acc
    for place in range(4):
        a = b.and_(b.lshr(x, every(SUMS, 8 * place)), every(SUMS, 255))
        acc = b.add(acc, b.mul(a, b.ashr(b.shl(w, every(SUMS, 24 - 8 * place)), every(SUMS, 24))))
    return acc


# ---- the tile ----------------------------------------------------------------------------------------------------------------

@instructions(byte_tile.biases)
def _biases(context, MR, NV, bias, at):
    kind = types.UniTuple(sums, MR.literal_value * NV.literal_value)

    def emit(c, b, s, v):
        p = pointer(c, b, s.args[2], v[2])
        return c.make_tuple(b, kind, [load_as(b, p, b.add(v[3], I64(LANES * j)), SUMS) for j in range(NV.literal_value)] * MR.literal_value)
    return kind(MR, NV, bias, types.intp), emit


@instructions(byte_tile.multiply_bytes)
def _multiply_bytes(context, acc, MR, NV, A, rows, q, hop, zero, first, B, b, K):
    index = types.intp
    signature = acc(acc, MR, NV, A, rows, index, index, zero, index, B, index, index)
    mr, nv = MR.literal_value, NV.literal_value

    def emit(c, builder, s, v):
        pA, pI, pZ, pB = (pointer(c, builder, s.args[i], v[i]) for i in (3, 4, 7, 9))
        q, hop, first, b, K = v[5], v[6], v[8], v[10], v[11]
        slots = [cgutils.alloca_once(builder, SUMS) for _ in range(mr * nv)]
        for slot, value in zip(slots, cgutils.unpack_tuple(builder, v[0])):
            builder.store(value, slot)
        starts = []
        for i in range(mr):
            at = builder.load(builder.gep(pI, [builder.add(q, builder.mul(hop, I64(i)))]))
            inside = builder.gep(pA, [builder.add(at, first)])
            start = builder.select(builder.icmp_signed("<", at, I64(0)), pZ, inside)
            starts.append(builder.bitcast(start, I32.as_pointer()))
        with cgutils.for_range(builder, K) as loop:
            at = builder.add(b, builder.mul(loop.index, I64(4 * nv * LANES)))
            columns = [load_as(builder, pB, builder.add(at, I64(4 * LANES * j)), SUMS) for j in range(nv)]
            for i, start in enumerate(starts):
                four = emit_splat(builder, builder.load(builder.gep(start, [loop.index]), align=1), SUMS)
                for j, column in enumerate(columns):
                    slot = slots[i * nv + j]
                    builder.store(emit_dot(builder, builder.load(slot), four, column), slot)
        return c.make_tuple(builder, s.return_type, [builder.load(slot) for slot in slots])
    return signature, emit


@instructions(byte_tile.keep_sums)
def _keep_sums(context, acc, MR, NV, S, at):
    def emit(c, b, s, v):
        for i, value in enumerate(cgutils.unpack_tuple(b, v[0])):
            store_as(b, pointer(c, b, s.args[3], v[3]), b.add(v[4], I64(LANES * i)), value)
        return c.get_dummy_value()
    return types.void(acc, MR, NV, S, types.intp), emit


@instructions(byte_tile.resume_sums)
def _resume_sums(context, MR, NV, S, at):
    kind = types.UniTuple(sums, MR.literal_value * NV.literal_value)

    def emit(c, b, s, v):
        p = pointer(c, b, s.args[2], v[2])
        return c.make_tuple(b, kind, [load_as(b, p, b.add(v[3], I64(LANES * i)), SUMS) for i in range(kind.count)])
    return kind(MR, NV, S, types.intp), emit


@instructions(byte_tile.slide)
def _slide(context, acc, ROWS, COLS, K, S, x, table, q, zero, c0, flip, w, wat, pitch, WHOLE, n):
    index, (rows, cols, k, step) = types.intp, (t.literal_value for t in (ROWS, COLS, K, S))
    wide, fours = (cols - 1) * step + k, byte_tile.quads(k)

    def emit(context, b, s, v):
        px, ptable, pzero, pflip, pw = (pointer(context, b, s.args[i], v[i]) for i in (5, 6, 8, 10, 11))
        q, c0, wat, pitch = v[7], v[9], v[12], v[13]
        mask, flip = None if WHOLE.literal_value else emit_mask(b, v[15]), load_as(b, pflip, I64(0), BYTES)
        weights = [load_as(b, pw, b.add(wat, b.mul(pitch, I64(4 * t))), SUMS) for t in range(k * len(fours))]
        sums = cgutils.unpack_tuple(b, v[0])
        for down in range((rows - 1) * step + k):
            last = every(SUMS, 0)
            for right in range(wide):
                place = b.load(b.gep(ptable, [b.add(q, I64(down * wide + right))]))
                start = b.select(b.icmp_signed("<", place, I64(0)), pzero, b.gep(px, [b.add(place, c0)]))
                pixel = load_as(b, start, I64(0), BYTES) if mask is None else emit_call(
                    b, f"llvm.masked.load.v{LANES}i8.p0", BYTES, [start, I32(1), mask, every(BYTES, 0)])
                pixel = b.zext(b.xor(pixel, flip), SUMS)
                last = emit_call(b, f"llvm.fshr.v{LANES}i32", SUMS, [pixel, last, every(SUMS, 8)])
                for r in range(rows):
                    for i, (end, _) in enumerate(fours):
                        u, j = down - r * step, (right - end) // step
                        if 0 <= u < k and 0 <= right - end <= (cols - 1) * step and (right - end) % step == 0:
                            sums[r * cols + j] = emit_dot(b, sums[r * cols + j], last, weights[u * len(fours) + i])
        return context.make_tuple(b, s.return_type, sums)
    return acc(acc, ROWS, COLS, K, S, x, table, index, zero, index, flip, w, index, index, WHOLE, index), emit
