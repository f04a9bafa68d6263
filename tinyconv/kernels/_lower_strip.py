"""How the steps of the window tile (`strip`) become machine instructions: every loop over outputs and taps unrolled.

Places are addresses here (`_lower_places`), of a row of zeros for padding and 0 for an output that is not there.
"""
from numba import types
from numba.core import cgutils

from . import strip
from ._instructions import instructions
from ._lower import (F32, I64, VECTOR, emit_clip, emit_fma, emit_kept_mask, emit_load, emit_masked_load, emit_masked_store, emit_open, emit_splat,
                     emit_store, pointer, vector)
from ._lower_places import emit_multiples, emit_places, emit_unknown, place_at
from .simd import LANES


@instructions(strip.pixels)
def _pixels(context, where, to, COUNT, x, table, q, at, zero):
    index = types.intp

    def emit(c, b, s, v):
        pwhere, px, ptable, pzero = (pointer(c, b, s.args[i], v[i]) for i in (0, 3, 4, 7))
        emit_places(b, b.gep(pwhere, [v[1]]), b.gep(px, [v[6]]), b.gep(ptable, [v[5]]), COUNT.literal_value, b.ptrtoint(pzero, I64))
        return c.get_dummy_value()
    return types.void(where, index, COUNT, x, table, index, index, zero), emit


@instructions(strip.outputs)
def _outputs(context, where, to, COUNT, y, table, q, at):
    index = types.intp

    def emit(c, b, s, v):
        pwhere, py, ptable = (pointer(c, b, s.args[i], v[i]) for i in (0, 3, 4))
        emit_places(b, b.gep(pwhere, [v[1]]), b.gep(py, [v[6]]), b.gep(ptable, [v[5]]), COUNT.literal_value, I64(0))
        return c.get_dummy_value()
    return types.void(where, index, COUNT, y, table, index, index), emit


@instructions(strip.start)
def _start(context, COUNT, bias, at):
    kind = types.UniTuple(vector, COUNT.literal_value)

    def emit(c, b, s, v):
        return c.make_tuple(b, kind, [emit_load(b, pointer(c, b, s.args[1], v[1]), v[2])] * kind.count)
    return kind(COUNT, bias, types.intp), emit


def emit_pixel(builder, place, c0, mask):
    """The lanes of the mask (all, for None) of the pixel at that address, from channel c0 on."""
    start = builder.inttoptr(place, F32.as_pointer())
    return emit_load(builder, start, c0) if mask is None else emit_masked_load(builder, start, c0, mask)


def lanes(b, WHOLE, n):
    """The first n lanes as `emit_kept_mask` has them; None where the kernel was built for whole vectors."""
    return None if WHOLE.literal_value else emit_kept_mask(b, n)


@instructions(strip.window)
def _window(context, acc, ROWS, COLS, K, S, TOP, BOTTOM, LEFT, RIGHT, where, to, x, zero, c0, pitch, w, at, EVEN, WHOLE, n):
    rows, cols, k, step, top, bottom, left, right, even = (t.literal_value for t in (ROWS, COLS, K, S, TOP, BOTTOM, LEFT, RIGHT, EVEN))
    index, wide, edge = types.intp, (cols - 1) * step + k, k // 2
    # pixel, sum, weight; every k-th pixel of a row first: neighbours change the same sums, which would wait for themselves
    terms = [[(a * wide + b, r * cols + j, (a - r * step) * k + b - j * step)
              for b in sorted(range(left, right), key=lambda b: (b % k, b)) for r in range(rows) for j in range(cols)
              if 0 <= a - r * step < k and 0 <= b - j * step < k] for a in range(top, bottom)]
    terms = [row for row in terms if row]                                                          # a window may see no column at all

    def emit(context, b, s, v):
        pwhere, pzero, pw = (pointer(context, b, s.args[i], v[i]) for i in (9, 12, 15))
        to, c0, at, mask = v[10], v[13], v[16], lanes(b, WHOLE, v[19])
        sums = cgutils.unpack_tuple(b, v[0])

        def multiply(row, sums, weights, place):
            """The products of one row of pixels are added to `sums`; weights: those that are loaded."""
            pixels = {}
            for q, i, t in row:
                if q not in pixels:
                    pixels[q] = emit_pixel(b, place(q), c0, mask)
                if t not in weights:                                                               # not before it is needed: few registers are left
                    weights[t] = emit_load(b, pw, b.add(at, I64(t * LANES)))
                sums[i] = emit_fma(b, pixels[q], weights[t], sums[i])

        by_table = lambda q: place_at(b, pwhere, to, q)

        def evenly(first, further):
            """Places of a row's pixels: of those between the edges by their distance from the first."""
            return lambda q: further(first, q % wide - edge) if edge <= q % wide < wide - edge else by_table(q)

        if rows > 1 or not even:                                           # weights serve several rows, which all are multiplied
            weights = {}
            for row in terms:
                place = by_table
                if even:                                                   # of a row of padding both are `zero`, and so the distance is 0
                    first, second = (by_table(row[0][0] // wide * wide + edge + i) for i in (0, 1))
                    place = evenly(first, emit_multiples(b, b.sub(second, first)))
                multiply(row, sums, weights, place)
            return context.make_tuple(b, s.return_type, sums)
        slots, none = [cgutils.alloca_once(b, VECTOR) for _ in sums], b.ptrtoint(pzero, I64)
        further = emit_multiples(b, emit_unknown(b, b.shl(v[14], I64(2))))
        for slot, value in zip(slots, sums):
            b.store(value, slot)
        for row in terms:
            first = by_table(row[0][0] // wide * wide + edge)
            with b.if_then(b.icmp_signed("!=", first, none), likely=True):
                sums = [b.load(slot) for slot in slots]
                multiply(row, sums, {}, evenly(first, further))
                for slot, value in zip(slots, sums):
                    b.store(value, slot)
        return context.make_tuple(b, s.return_type, [b.load(slot) for slot in slots])
    return acc(acc, ROWS, COLS, K, S, TOP, BOTTOM, LEFT, RIGHT, where, index, x, zero, index, index, w, index, EVEN, WHOLE, index), emit


@instructions(strip.finish_strip)
def _finish_strip(context, acc, where, to, y, c0, low, high, WHOLE, n):
    index, number = types.intp, types.float32

    def emit(c, b, s, v):
        sums, pwhere = cgutils.unpack_tuple(b, v[0]), pointer(c, b, s.args[1], v[1])
        to, c0, low, high, mask = v[2], v[4], emit_splat(b, v[5]), emit_splat(b, v[6]), lanes(b, WHOLE, v[8])
        free = emit_open(b, v[5], v[6])

        def put(total, place, clip=True):
            total = emit_clip(b, total, low, high) if clip else total
            out = b.inttoptr(place, F32.as_pointer())
            if mask is None:
                emit_store(b, out, c0, total)
            else:
                emit_masked_store(b, out, c0, mask, total)

        last = place_at(b, pwhere, to, len(sums) - 1)
        with b.if_else(b.icmp_signed("!=", last, I64(0)), likely=True) as (whole, part):               # the last one is there: all are
            with whole:
                with b.if_else(free, likely=True) as (bare, clipped):
                    for clip, branch in ((False, bare), (True, clipped)):
                        with branch:
                            for i, total in enumerate(sums):
                                put(total, place_at(b, pwhere, to, i), clip)
            with part:
                for i, total in enumerate(sums):
                    place = place_at(b, pwhere, to, i)
                    with b.if_then(b.icmp_signed("!=", place, I64(0))):
                        put(total, place)
        return c.get_dummy_value()
    return types.void(acc, where, index, y, index, number, number, WHOLE, index), emit


@instructions(strip.gradients)
def _gradients(context, acc, COLS, K, S, where, to, x, dy, c0, WHOLE, n):
    cols, k, step = (t.literal_value for t in (COLS, K, S))
    wide = (cols - 1) * step + k

    def emit(context, b, s, v):
        pwhere, to, c0, mask = pointer(context, b, s.args[4], v[4]), v[5], v[8], lanes(b, WHOLE, v[10])
        sums = cgutils.unpack_tuple(b, v[0])
        slopes = [emit_pixel(b, place_at(b, pwhere, to, k * wide + j), c0, mask) for j in range(cols)]
        for right in range(wide):
            for u in range(k):                                                                         # k·k sums take turns: none waits for itself
                numbers = emit_pixel(b, place_at(b, pwhere, to, u * wide + right), c0, mask)
                for j in range(cols):
                    if 0 <= right - j * step < k:
                        slot = u * k + right - j * step
                        sums[slot] = emit_fma(b, numbers, slopes[j], sums[slot])
        return context.make_tuple(b, s.return_type, sums)
    return acc(acc, COLS, K, S, where, types.intp, x, dy, types.intp, WHOLE, types.intp), emit
