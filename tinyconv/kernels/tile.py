"""The register tile: MR pixels x NV vectors of output channels, summed in registers. Every fast matrix product is made of it.

    acc[i, :] += Σ_k A[row_i + k] · B[k, :]             i < MR rows,  k < K,  B[k, :] one row of NV·LANES numbers

A number loaded from memory should be used many times before it is let go. For each k the tile loads NV vectors of B and broadcasts MR
numbers of A, and does MR·NV fused multiply-adds with them; the sums themselves never leave the registers. With MR = 8, NV = 3
that is 11 loads for 24 multiply-adds, so the multipliers and not the loads set the pace. MR·NV + NV + 1 registers are needed.

The rows of A need not be neighbours: `rows[q + i]` says where row i begins in the flat array A, and a negative entry means a row
of zeros. That one table makes the same tile serve 1x1 and KxK convolutions, strides, dilation, padding and groups, with no
copied windows (Dukhan, "The indirect convolution algorithm", arXiv 1907.02129).

Sums live in a tuple of vectors, which the compiler keeps in registers: `zeros`, then `multiply` as often as there are taps and blocks
of channels, then `finish`, which adds bias and residual, clips and stores. MR and NV are literals: the loops over them
are unrolled while the kernel is compiled; only the loop over k is in the machine code. Bound by: FMA.
"""
import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from .simd import (I64, LANES, REGISTERS, VECTOR, ZERO, emit_fma, emit_load, emit_mask, emit_masked_load, emit_masked_store, emit_splat,
                   emit_store, pointer,
                   vector)

# (MR, NV) by the number of output channels: few, multiples of three vectors, anything else
TILES = ((14, 2), (8, 3), (6, 4)) if REGISTERS == 32 else ((6, 2), (4, 3), (3, 4))


# ---- what each step means -------------------------------------------------------------------------------------------------

def zeros(MR, NV):
    """The sums at the beginning: MR x NV vectors of 0, as one tuple."""
    return tuple(np.zeros(LANES, np.float32) for _ in range(MR * NV))


def multiply(acc, MR, NV, A, rows, q, zero, first, B, b, K):
    """acc[i] += Σ_{k<K} A[rows[q+i] + first + k] · B[b + k·NR : b + (k+1)·NR], NR = NV·LANES; rows < 0 read `zero` instead."""
    NR = NV * LANES
    panel = B[b:b + K * NR].reshape(K, NR)                                                     # (K, NR)
    out = []
    for i in range(MR):
        at = rows[q + i]
        row = zero[:K] if at < 0 else A[at + first:at + first + K]                             # (K,)
        total = np.concatenate(acc[i * NV:(i + 1) * NV])
        for k in range(K):
            total = total + row[k] * panel[k]
        out.extend(total.reshape(NV, LANES))
    return tuple(out)


def keep(acc, MR, NV, S, at):
    """Put the sums away in the flat array S, from `at` on, for later."""
    S[at:at + MR * NV * LANES] = np.concatenate(acc)


def resume(MR, NV, S, at):
    """The sums as `keep` put them away."""
    return tuple(S[at + i * LANES:at + (i + 1) * LANES].copy() for i in range(MR * NV))


def finish(acc, MR, NV, C, c, pitch, m, n, bias, at, R, residual, low, high):
    """C[c + i·pitch + j] = clip(acc[i, j] + bias[at + j] + residual·R[same place], low, high) for i < m rows, j < n columns."""
    for i in range(min(MR, m)):
        place = slice(c + i * pitch, c + i * pitch + n)
        y = np.concatenate(acc[i * NV:(i + 1) * NV])[:n] + bias[at:at + n]
        if residual:
            y = y + R[place]
        C[place] = np.where(y < low, low, np.where(y > high, high, y))


# ---- how they are compiled ------------------------------------------------------------------------------------------------

@intrinsic(prefer_literal=True)
def _zeros(context, MR, NV):
    kind = types.UniTuple(vector, MR.literal_value * NV.literal_value)

    def emit(c, b, s, v):
        return c.make_tuple(b, kind, [ZERO] * kind.count)
    return kind(MR, NV), emit


@intrinsic(prefer_literal=True)
def _multiply(context, acc, MR, NV, A, rows, q, zero, first, B, b, K):
    index = types.intp
    signature = acc(acc, MR, NV, A, rows, index, zero, index, B, index, index)
    mr, nv = MR.literal_value, NV.literal_value

    def emit(c, builder, s, v):
        pA, pI, pZ, pB = (pointer(c, builder, s.args[i], v[i]) for i in (3, 4, 6, 8))
        q, first, b, K = v[5], v[7], v[9], v[10]
        slots = [cgutils.alloca_once(builder, VECTOR) for _ in range(mr * nv)]
        for slot, value in zip(slots, cgutils.unpack_tuple(builder, v[0])):
            builder.store(value, slot)
        starts = []
        for i in range(mr):
            at = builder.load(builder.gep(pI, [builder.add(q, I64(i))]))
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
def _finish(context, acc, MR, NV, C, c, pitch, m, n, bias, at, R, residual, low, high):
    index, number = types.intp, types.float32
    signature = types.void(acc, MR, NV, C, index, index, index, index, bias, index, R, index, number, number)
    mr, nv = MR.literal_value, NV.literal_value

    def emit(context, builder, s, v):
        pC, pbias, pR = (pointer(context, builder, s.args[i], v[i]) for i in (3, 8, 10))
        c, pitch, m, n, at, residual = v[4], v[5], v[6], v[7], v[9], v[11]
        low, high = emit_splat(builder, v[12]), emit_splat(builder, v[13])
        masks = [emit_mask(builder, n, LANES * j) for j in range(nv)]
        offsets = [emit_masked_load(builder, pbias, builder.add(at, I64(LANES * j)), masks[j]) for j in range(nv)]
        wanted = builder.icmp_signed("!=", residual, I64(0))
        some = [builder.and_(mask, emit_splat(builder, wanted, mask.type)) for mask in masks]
        sums = cgutils.unpack_tuple(builder, v[0])
        for i in range(mr):
            with builder.if_then(builder.icmp_signed("<", I64(i), m), likely=True):
                start = builder.add(c, builder.mul(I64(i), pitch))
                for j in range(nv):
                    place = builder.add(start, I64(LANES * j))
                    y = builder.fadd(sums[i * nv + j], offsets[j])
                    y = builder.fadd(y, emit_masked_load(builder, pR, place, some[j]))
                    y = builder.select(builder.fcmp_ordered("<", y, low), low, y)
                    y = builder.select(builder.fcmp_ordered(">", y, high), high, y)
                    emit_masked_store(builder, pC, place, masks[j], y)
        return context.get_dummy_value()
    return signature, emit


overload(zeros, inline="always", prefer_literal=True)(lambda MR, NV: lambda MR, NV: _zeros(MR, NV))
overload(multiply, inline="always", prefer_literal=True)(
    lambda acc, MR, NV, A, rows, q, zero, first, B, b, K: lambda acc, MR, NV, A, rows, q, zero, first, B, b, K: _multiply(
        acc, MR, NV, A, rows, q, zero, first, B, b, K))
overload(keep, inline="always", prefer_literal=True)(lambda acc, MR, NV, S, at: lambda acc, MR, NV, S, at: _keep(acc, MR, NV, S, at))
overload(resume, inline="always", prefer_literal=True)(lambda MR, NV, S, at: lambda MR, NV, S, at: _resume(MR, NV, S, at))
overload(finish, inline="always", prefer_literal=True)(
    lambda acc, MR, NV, C, c, pitch, m, n, bias, at, R, residual, low, high: lambda acc, MR, NV, C, c, pitch, m, n, bias, at, R, residual, low, high: _finish(
        acc, MR, NV, C, c, pitch, m, n, bias, at, R, residual, low, high))
