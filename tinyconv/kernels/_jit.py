"""The only home of compiler flags.

    @plain   the readable loops, strict IEEE arithmetic: sums in the order they are written, for float32 and float64
    @fast    the same sums rearranged for the machine: additions may be reordered and fused into multiply-adds, but NaN and
             infinities keep their meaning (no "nnan", no "ninf": isnan must stay true of NaN)
    @exact   made like a fast kernel, with floats rounded as they are written: kernels of integers, which requantize by a rule
    @apart   fast, and the caller promises that no two of the arrays given overlap: loops then need no test for it
    @unrolled  fast, and written as vectors, its inner loops unrolled: little is left to optimize, and it is optimized once, not three times
    @leading   leads kernels that do the work and are optimized already: it is optimized lightly
    @called    fast, and called straight from Python
    @door      called from Python to hand its arguments on to kernels: optimized lightly

What numba compiles to let Python call a function, unpacking each array, takes a tenth to a third of a second. Of these only @plain, @called
and @door have such a door; the others are reached by their address (`threads`, `_launch`).
All compile a function on its first call and release the interpreter lock while it runs. Compiled code is kept: `_cache`.
"""
import types

import llvmlite.binding
import numba
import numpy as np
from numba.core import compiler, config
from numba.core.codegen import JITCodeLibrary
from numba.core.cpu import CPUTargetOptions
from numba.core.options import TargetOptions
from numba.core.registry import CPUDispatcher

from . import _cache, heap, threads

FEATURES_OF = {"haswell": frozenset({"avx", "avx2", "fma"}), "skylake": frozenset({"avx", "avx2", "fma"}), "x86-64": frozenset(),
               "skylake-avx512": frozenset({"avx", "avx2", "fma", "avx512f"})}
RANGE = int, np.integer                     # what the ends of a range may be
REORDER = {"reassoc", "contract", "nsz", "arcp"}
APART = {}
if hasattr(compiler.Flags, "noalias"):      # the flag that numba sets for its own parallel loops, but gives no option for
    CPUTargetOptions.noalias = TargetOptions.Mapping("noalias")
    APART = {"noalias": True}


def host_features():
    """Names of the vector features of the processor that code is compiled for: the host's, or what NUMBA_CPU_NAME and
    NUMBA_CPU_FEATURES say instead.
    """
    named = config.CPU_FEATURES
    if named is None and config.CPU_NAME not in (None, "", "host"):
        return FEATURES_OF.get(config.CPU_NAME, frozenset())
    flags = named if named is not None else llvmlite.binding.get_host_cpu_features().flatten()
    return frozenset(flag[1:] for flag in flags.split(",") if flag.startswith("+"))


class Inner(CPUDispatcher):
    """A kernel without a door for Python: compiled code calls it, and `threads` by its address. kernel(lo, hi, *arrays and numbers) from Python takes
    the same way; other functions cannot be called so."""

    def __call__(self, *arguments):
        if len(arguments) < 2 or not (isinstance(arguments[0], RANGE) and isinstance(arguments[1], RANGE)):
            raise TypeError(f"{self.__name__} is called by compiled code alone; from Python, only kernels of a range: kernel(lo, hi, …)")
        threads.call(self, *arguments)


def once(**how):
    """A compiler that optimizes a function once, with all that it calls. numba's own does it three times: each function by itself, then the whole
    quickly, to find what need not be counted (here nothing is), then the whole again. how: `opt`, how thoroughly, 3 unless said."""
    class Library(JITCodeLibrary):
        def _optimize_functions(self, module):
            module.data_layout = self._codegen._data_layout

        def _optimize_final_module(self):
            passes, builder = self._codegen._module_pass_manager(**how)
            passes.run(self._final_module, builder)

    class Compiler(compiler.Compiler):
        def compile_extra(self, function):
            self.state.library = Library(self.state.targetctx.codegen(), function.__qualname__)
            self.state.library.enable_object_caching()
            return super().compile_extra(function)
    return {"pipeline_class": Compiler}


ONCE, LIGHTLY = once(), once(opt=1)


def _compiled(function, fastmath, door=False, **options):
    """numba's dispatcher of `function`."""
    kernel = numba.njit(function, nogil=True, error_model="numpy", boundscheck=None, no_cfunc_wrapper=True, no_cpython_wrapper=not door, fastmath=fastmath,
                        **options)
    if not config.DISABLE_JIT:
        _cache.keep(kernel, function, repr((sorted(fastmath or ()), door, sorted(name for name in options if name != "pipeline_class"))))
        if not door:
            kernel.__class__ = Inner
    return kernel


def plain(function):
    """Compile a readable kernel: strict arithmetic in the order written."""
    return _compiled(function, False, door=True)


def fast(function, door=False):
    """Compile a fast kernel: sums may be reordered and fused. door: Python calls it itself."""
    return _compiled(function, REORDER, door, _nrt=False)


def called(function):
    """Compile a fast kernel that Python calls itself, and not through `threads`."""
    return fast(function, door=True)


def door(function):
    """Compile a function that Python calls and that hands its arguments on to kernels: there is little in it to optimize."""
    return _compiled(function, REORDER, door=True, _nrt=False, **LIGHTLY)


def leading(function):
    """Compile a kernel that leads others, which do its work and are optimized already: blocks, panels, which tile."""
    return _compiled(function, REORDER, _nrt=False, **LIGHTLY)


def exact(function, door=False):
    """Compile a kernel of integers: what few floats it has are neither reordered nor fused. door: Python calls it itself."""
    return _compiled(function, False, door, _nrt=False)


def apart(function):
    """Compile a fast kernel whose array arguments never overlap (views of one array do, if one of them is written to)."""
    return _compiled(function, REORDER, _nrt=False, **APART)


def unrolled(function):
    """Compile a fast kernel of unrolled vectors, in less time: for kernels that are built in many variants."""
    return _compiled(function, REORDER, _nrt=False, **ONCE)


def source(kernel):
    """The Python function behind a kernel, with every kernel it names replaced by its own source.

    The result runs without the compiler, on arrays of any number-like objects: how executed multiplications are counted.
    """
    function = getattr(kernel, "py_func", kernel)
    named = {name: source(value) for name, value in function.__globals__.items()
             if name in function.__code__.co_names and hasattr(value, "py_func")}
    return types.FunctionType(function.__code__, {**function.__globals__, **named}, function.__name__, function.__defaults__)


heap.keep()
