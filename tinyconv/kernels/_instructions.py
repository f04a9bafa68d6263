"""How a function of `simd`, `tile`, `strip` or `byte_tile` gets its machine instructions: a decorator for what writes them.

    @instructions(strip.start)                  compiled code that calls strip.start holds what _start writes; Python runs strip.start itself
    def _start(context, COUNT, bias, at): …     an intrinsic as numba defines it: (signature, function that emits LLVM code)

numba's `overload` would say the same, but it compiles a function around each of them, for each set of arguments, which is then thrown away:
a tenth of the compile time of a network's kernels.
"""
from numba import types
from numba.core.typing.templates import infer, infer_global, make_intrinsic_template


def instructions(meaning):
    """Decorator: calls of the function `meaning` in compiled code become what the decorated intrinsic emits."""
    def register(definition):
        template = make_intrinsic_template(meaning, definition, definition.__name__, prefer_literal=True)
        infer(template)
        infer_global(meaning, types.Function(template))
        return definition
    return register
