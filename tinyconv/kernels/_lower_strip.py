"""How the steps of the window tile (`strip`) become machine instructions: every loop over outputs and taps unrolled."""
from numba import types
from numba.core import cgutils

from . import strip
from ._instructions import instructions
from ._lower import I64, emit_fma, emit_load, emit_mask, emit_masked_load, emit_masked_store, emit_splat, emit_store, pointer, vector


@instructions(strip.start)
def _start(context, COUNT, bias, at):
    kind = types.UniTuple(vector, COUNT.literal_value)

    def emit(c, b, s, v):
        return c.make_tuple(b, kind, [emit_load(b, pointer(c, b, s.args[1], v[1]), v[2])] * kind.count)
    return kind(COUNT, bias, types.intp), emit


def emit_pixel(b, numbers, zero, table, at, c0, mask):
    """The lanes of the mask (all, for None) of the pixel that table[at] says, from channel c0 on; zeros where it says -1."""
    place = b.load(b.gep(table, [at]))
    start = b.select(b.icmp_signed("<", place, I64(0)), zero, b.gep(numbers, [b.add(place, c0)]))
    return emit_load(b, start, I64(0)) if mask is None else emit_masked_load(b, start, I64(0), mask)


def lanes(b, WHOLE, n):
    """The mask of the first n lanes; None where the kernel was built for whole vectors."""
    return None if WHOLE.literal_value else emit_mask(b, n)


@instructions(strip.window)
def _window(context, acc, ROWS, COLS, K, S, TOP, BOTTOM, LEFT, RIGHT, x, table, q, zero, c0, w, wat, pitch, WHOLE, n):
    rows, cols, k, step, top, bottom, left, right = (t.literal_value for t in (ROWS, COLS, K, S, TOP, BOTTOM, LEFT, RIGHT))
    index, wide = types.intp, (cols - 1) * step + k
    terms = [(a, b, r * cols + j, (a - r * step) * k + b - j * step)                               # pixel (a, b), sum, weight
             for a in range(top, bottom) for b in range(left, right) for r in range(rows) for j in range(cols)
             if 0 <= a - r * step < k and 0 <= b - j * step < k]

    def emit(context, b, s, v):
        px, ptable, pzero, pw = (pointer(context, b, s.args[i], v[i]) for i in (9, 10, 12, 14))
        q, c0, wat, pitch, mask = v[11], v[13], v[15], v[16], lanes(b, WHOLE, v[18])
        weights = {t: emit_load(b, pw, b.add(wat, b.mul(pitch, I64(t)))) for t in sorted({t for *_, t in terms})}
        sums, pixels = cgutils.unpack_tuple(b, v[0]), {}
        for down, along, i, t in terms:
            if (down, along) not in pixels:
                pixels[down, along] = emit_pixel(b, px, pzero, ptable, b.add(q, I64(down * wide + along)), c0, mask)
            sums[i] = emit_fma(b, pixels[down, along], weights[t], sums[i])
        return context.make_tuple(b, s.return_type, sums)
    return acc(acc, ROWS, COLS, K, S, TOP, BOTTOM, LEFT, RIGHT, x, table, index, zero, index, w, index, index, WHOLE, index), emit


@instructions(strip.finish_strip)
def _finish_strip(context, acc, COUNT, y, places, p, c0, low, high, WHOLE, n):
    index, number = types.intp, types.float32

    def emit(c, b, s, v):
        py, pplaces, c0 = pointer(c, b, s.args[2], v[2]), pointer(c, b, s.args[3], v[3]), v[5]
        low, high, mask = emit_splat(b, v[6]), emit_splat(b, v[7]), lanes(b, WHOLE, v[9])
        for j, total in enumerate(cgutils.unpack_tuple(b, v[0])):
            place = b.load(b.gep(pplaces, [b.add(v[4], I64(j))]))
            with b.if_then(b.icmp_signed(">=", place, I64(0)), likely=True):
                total = b.select(b.fcmp_ordered("<", total, low), low, total)
                total = b.select(b.fcmp_ordered(">", total, high), high, total)
                if mask is None:
                    emit_store(b, py, b.add(place, c0), total)
                else:
                    emit_masked_store(b, py, b.add(place, c0), mask, total)
        return c.get_dummy_value()
    return types.void(acc, COUNT, y, places, index, index, number, number, WHOLE, index), emit


@instructions(strip.gradients)
def _gradients(context, acc, COLS, K, S, x, table, q, zero, c0, dy, places, p, d0, WHOLE, n):
    index, (cols, k, step) = types.intp, (t.literal_value for t in (COLS, K, S))
    wide = (cols - 1) * step + k

    def emit(context, b, s, v):
        px, ptable, pzero, pd, pplaces = (pointer(context, b, s.args[i], v[i]) for i in (4, 5, 7, 9, 10))
        q, c0, p, d0, mask = v[6], v[8], v[11], v[12], lanes(b, WHOLE, v[14])
        slopes = [emit_pixel(b, pd, pzero, pplaces, b.add(p, I64(j)), d0, mask) for j in range(cols)]
        sums = cgutils.unpack_tuple(b, v[0])
        for u in range(k):
            for right in range(wide):
                numbers = emit_pixel(b, px, pzero, ptable, b.add(q, I64(u * wide + right)), c0, mask)
                for j in range(cols):
                    if 0 <= right - j * step < k:
                        slot = u * k + right - j * step
                        sums[slot] = emit_fma(b, numbers, slopes[j], sums[slot])
        return context.make_tuple(b, s.return_type, sums)
    return acc(acc, COLS, K, S, x, table, index, zero, index, dy, places, index, index, WHOLE, index), emit
