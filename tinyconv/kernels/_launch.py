"""How a compiled kernel is reached: by its address, with arguments that lie where any thread can read them.

A kernel is compiled without a door for Python, which would take a tenth to a third of a second more (`_jit`). `launch` is the one
door for all kernels whose arguments are of the same types: Python hands it a kernel's address and the arguments; it lays both down on its stack and
calls the kernel from there, alone or with the threads that watch the mailbox (`_mailbox`). `within` is the same for compiled code.

    entry(lo, hi, block)      a small function made for these types: takes the address and the arguments out of the block, and calls

Bound by: what Python takes to hand over arguments, about 0.05 microseconds each.
"""
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic

from ._jit import door, leading
from ._mailbox import CLAIMED, claim, shared_out
from ._memory import I64, address_of, call, swap  # noqa: F401  `threads` takes address_of from here


def entry_of(context, builder, kinds):
    """A function entry(lo, hi, block) of this module that calls the kernel whose address and arguments of these types lie in the block -> it, and
    the block's type."""
    convention = context.call_conv
    native = convention.get_function_type(types.void, (types.int64, types.int64) + kinds)
    block = ir.LiteralStructType([I64] + [context.get_value_type(kind) for kind in kinds])
    entry = ir.Function(builder.module, ir.FunctionType(I64, [I64, I64, I64]), context.mangler("tinyconv_entry", kinds))
    entry.linkage = "internal"
    inside = ir.IRBuilder(entry.append_basic_block("entry"))
    laid = inside.load(inside.inttoptr(entry.args[2], block.as_pointer()))
    function = inside.inttoptr(inside.extract_value(laid, 0), native.as_pointer())
    given = [inside.extract_value(laid, i + 1) for i in range(len(kinds))]
    status, _ = convention.call_function(inside, function, types.void, (types.int64, types.int64) + kinds, [*entry.args[:2], *given])
    inside.ret(inside.sext(status.code, I64))
    return entry, block


@intrinsic
def lay_down(context, kernel, arguments):
    """Write the kernel's address and arguments where other threads find them (on this function's stack) -> the address of a function that calls
    that kernel with them, and where they lie."""
    kinds = tuple(arguments.types)

    def emit(context, builder, signature, values):
        entry, block = entry_of(context, builder, kinds)
        room = cgutils.alloca_once(builder, block)
        whole = builder.insert_value(ir.Constant(block, ir.Undefined), values[0], 0)
        for i, value in enumerate(cgutils.unpack_tuple(builder, values[1])):
            whole = builder.insert_value(whole, value, i + 1)
        builder.store(whole, room)
        return context.make_tuple(builder, signature.return_type, [builder.ptrtoint(entry, I64), builder.ptrtoint(room, I64)])
    return types.UniTuple(types.int64, 2)(types.int64, arguments), emit


@door
def launch(box, kernel, first, tasks, pieces, *arguments):
    """kernel(first, tasks, *arguments) on this thread if pieces is 1; else tasks 0 … tasks-1 shared -> the kernel's status; or SLEEPING, BUSY."""
    entry, laid = lay_down(kernel, arguments)
    if pieces == 1:
        return call(entry, laid, first, tasks)
    refused = claim(box)
    return refused if refused else shared_out(tasks, pieces, box, entry, laid)


@leading
def within(box, kernel, tasks, pieces, *arguments):
    """`launch` for compiled code, which waits for the mailbox and does without those who sleep."""
    entry, laid = lay_down(kernel, arguments)
    if pieces == 1:
        return call(entry, laid, 0, tasks)
    while not swap(box, CLAIMED, 0, 1):
        pass
    return shared_out(tasks, pieces, box, entry, laid)


if config.DISABLE_JIT:
    def within(box, kernel, tasks, pieces, *arguments):         # noqa: F811  the meaning, where a kernel is a Python function
        kernel(0, tasks, *arguments)
        return 0
