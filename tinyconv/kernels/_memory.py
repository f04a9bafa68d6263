"""What numba's Python cannot say about memory: numbers that several threads change, addresses, a function called by its address.

An update by `add` or `swap` is one instruction that no other processor comes between (atomic): of two threads that add 1, neither is lost. `read` and
`write` are whole: who reads what was written sees all that was written before it (but a thread's own next `read` may come before its `write` is seen). `_mailbox` and `_standing` are made of these.
"""
from llvmlite import ir
from numba import types, typeof
from numba._dispatcher import compute_fingerprint
from numba.core import cgutils
from numba.extending import intrinsic

from ._instructions import instructions

I64 = ir.IntType(64)
_addresses = {}         # kernel -> fingerprint of its arguments' types -> address


def place(context, builder, kind, box, at):
    """Address of box[at]."""
    return builder.gep(context.make_array(kind)(context, builder, box).data, [at])


@intrinsic
def read(context, box, at):
    """box[at] as the last writer left it."""
    def emit(c, b, s, v):
        return b.load_atomic(place(c, b, s.args[0], v[0], v[1]), "seq_cst", 8)
    return types.int64(box, types.intp), emit


@intrinsic
def write(context, box, at, value):
    """box[at] = value, seen by every thread that reads it afterwards, with all that was written before."""
    def emit(c, b, s, v):
        b.store_atomic(v[2], place(c, b, s.args[0], v[0], v[1]), "release", 8)
        return c.get_dummy_value()
    return types.void(box, types.intp, types.int64), emit


def add(box, at, value):
    """box[at] += value, no update lost; the value before."""
    before = box[at]
    box[at] += value
    return before


@instructions(add)
def _add(context, box, at, value):
    def emit(c, b, s, v):
        return b.atomic_rmw("add", place(c, b, s.args[0], v[0], v[1]), v[2], "seq_cst")
    return types.int64(box, types.intp, types.int64), emit


@intrinsic
def swap(context, box, at, old, new):
    """box[at] = new if it is old; 1 if it was."""
    def emit(c, b, s, v):
        pair = b.cmpxchg(place(c, b, s.args[0], v[0], v[1]), v[2], v[3], "seq_cst", "seq_cst")
        return b.zext(b.extract_value(pair, 1), I64)
    return types.int64(box, types.intp, types.int64, types.int64), emit


@intrinsic
def cycles(context):
    """The processor's clock."""
    def emit(c, b, s, v):
        return b.call(cgutils.get_or_insert_function(b.module, ir.FunctionType(I64, []), "llvm.readcyclecounter"), [])
    return types.int64(), emit


@intrinsic
def call(context, entry, arguments, lo, hi):
    """entry(lo, hi, arguments): what `_launch.lay_down` made, by its address; 0 unless the kernel failed."""
    def emit(c, b, s, v):
        kind = ir.FunctionType(I64, [I64, I64, I64])
        return b.call(b.inttoptr(v[0], kind.as_pointer()), [v[2], v[3], v[1]])
    return types.int64(types.int64, types.int64, types.int64, types.int64), emit


@intrinsic
def address(context, array):
    """Where an array's first number lies."""
    def emit(c, b, s, v):
        return b.ptrtoint(c.make_array(s.args[0])(c, b, v[0]).data, I64)
    return types.int64(array), emit


@intrinsic
def put(context, at, value):
    """value (an integer, or float32) at that address."""
    def emit(c, b, s, v):
        b.store(v[1], b.inttoptr(v[0], v[1].type.as_pointer()))
        return c.get_dummy_value()
    return types.void(types.int64, value), emit


def address_of(kernel, arguments):
    """Where the machine code of a kernel lies for arguments of these types; compiled, or taken from the cache, on first use."""
    known = _addresses.setdefault(kernel, {})
    key = compute_fingerprint(arguments)
    if key not in known:
        signature = (types.int64, types.int64) + tuple(typeof(a) for a in arguments)
        kernel.compile(signature)
        compiled = kernel.overloads[signature]
        known[key] = compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)
    return known[key]
