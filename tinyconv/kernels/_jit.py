"""The only home of compiler flags and of the compiled-kernel cache.

    @plain   the readable loops, strict IEEE arithmetic: sums in the order they are written, for float32 and float64
    @fast    the same sums rearranged for the machine: additions may be reordered and fused into multiply-adds, but NaN and
             infinities keep their meaning (no "nnan", no "ninf": isnan must stay true of NaN)
    @exact   made like a fast kernel, with floats rounded as they are written: kernels of integers, which requantize by a rule
    @apart   fast, and the caller promises that no two of the arrays given overlap: loops then need no test for it
    @unrolled  fast, and written as vectors, its inner loops unrolled: little is left to optimize, and it is optimized once, not twice

    @leading  leads kernels that do the work and are optimized already: it is optimized lightly
    @called  fast, and called straight from Python: with the door for it, a fifth of a second and more to compile
    @door    called from Python to hand arguments on to kernels: optimized lightly

All compile a function on its first call and release the interpreter lock while it runs. Compiled code is kept in a folder
named by a hash of this package's sources, the versions and the processor, so that an edit or an upgrade can never run
stale code; NUMBA_CACHE_DIR moves that folder, and where nothing is writable, nothing is kept.
"""
import hashlib
import os
import platform
import tempfile
import types
from pathlib import Path

import llvmlite
import llvmlite.binding
import numba
import numpy as np
from numba.core import compiler, config
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.codegen import JITCodeLibrary
from numba.core.cpu import CPUTargetOptions
from numba.core.options import TargetOptions
from numba.core.registry import CPUDispatcher

from . import heap

FEATURES_OF = {"haswell": frozenset({"avx", "avx2", "fma"}), "skylake": frozenset({"avx", "avx2", "fma"}), "x86-64": frozenset(),
               "skylake-avx512": frozenset({"avx", "avx2", "fma", "avx512f"})}
REORDER = {"reassoc", "contract", "nsz", "arcp"}
APART = {}
if hasattr(compiler.Flags, "noalias"):      # the flag that numba sets for its own parallel loops, but gives no option for
    CPUTargetOptions.noalias = TargetOptions.Mapping("noalias")
    APART = {"noalias": True}


def cache_key():
    """What compiled code depends on, hashed: sources of kernels/, versions, processor and its features."""
    digest = hashlib.sha256()
    for page in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(page.name.encode() + page.read_bytes())
    versions = (platform.python_version(), np.__version__, numba.__version__, llvmlite.__version__)
    processor = (llvmlite.binding.get_host_cpu_name(), llvmlite.binding.get_host_cpu_features().flatten(),
                 os.environ.get("NUMBA_CPU_NAME", ""), os.environ.get("NUMBA_CPU_FEATURES", ""), os.environ.get("NUMBA_OPT", ""))
    digest.update(repr((versions, processor)).encode())
    return digest.hexdigest()[:16]


def host_features():
    """Names of the vector features of the processor that code is compiled for: the host's, or what NUMBA_CPU_NAME and
    NUMBA_CPU_FEATURES say instead.
    """
    named = config.CPU_FEATURES
    if named is None and config.CPU_NAME not in (None, "", "host"):
        return FEATURES_OF.get(config.CPU_NAME, frozenset())
    flags = named if named is not None else llvmlite.binding.get_host_cpu_features().flatten()
    return frozenset(flag[1:] for flag in flags.split(",") if flag.startswith("+"))


def cache_folder():
    """The folder for compiled kernels, made if need be; None where no place is writable."""
    own = os.environ.get("NUMBA_CACHE_DIR")
    base = Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = base / "tinyconv" / cache_key()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return str(folder)
    except OSError:
        return None


FOLDER = None if config.DISABLE_JIT else cache_folder()


class Inner(CPUDispatcher):
    """A kernel without a door for Python: compiled code calls it, and `threads` by its address. kernel(lo, hi, *arrays and numbers) from Python takes
    the same way; other functions cannot be called so."""

    def __call__(self, *arguments):
        if len(arguments) < 2 or not all(isinstance(a, int) for a in arguments[:2]):
            raise TypeError(f"{self.__name__} is called by compiled code alone; from Python, only kernels of a range: kernel(lo, hi, …)")
        from . import threads
        threads.call(self, *arguments)


class _Files(IndexDataCacheFile):
    """One file for each compiled kernel, named by all that tells it from others.

    numba itself numbers the files of a function and keeps a list of them; two processes that add to it at once lose entries, or give
    two kernels one number, and a later process runs the wrong one.
    """

    def name(self, key):
        return f"{self._index_name[:-len('.nbi')]}.{hashlib.sha256(repr((self._source_stamp, key)).encode()).hexdigest()[:32]}.nbc"

    def save(self, key, data):
        self._save_data(self.name(key), data)

    def load(self, key):
        try:
            return self._load_data(self.name(key))
        except OSError:
            return None


class _Cache(FunctionCache):
    """numba's cache of one function, on these files."""

    def __init__(self, function):
        super().__init__(function)
        self._cache_file = _Files(self._cache_path, self._impl.filename_base, self._impl.locator.get_source_stamp())


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
    """numba's dispatcher of `function`; numba's own cache setting is changed only for the moment of decoration."""
    kernel = numba.njit(function, nogil=True, error_model="numpy", boundscheck=None, no_cfunc_wrapper=True, no_cpython_wrapper=not door, fastmath=fastmath,
                        **options)
    if not door and not config.DISABLE_JIT:
        kernel.__class__ = Inner
    if FOLDER is not None:
        before = config.CACHE_DIR
        config.CACHE_DIR = FOLDER
        try:
            kernel._cache = _Cache(function)
        finally:
            config.CACHE_DIR = before
    return kernel


def plain(function):
    """Compile a readable kernel: strict arithmetic in the order written."""
    return _compiled(function, False, door=True)


def fast(function):
    """Compile a fast kernel: sums may be reordered and fused."""
    return _compiled(function, REORDER, _nrt=False)


def called(function):
    """Compile a fast kernel that Python calls itself, and not through `threads`."""
    return _compiled(function, REORDER, door=True, _nrt=False)


def door(function):
    """Compile a function that Python calls and that hands its arguments on to kernels: there is little in it to optimize."""
    return _compiled(function, REORDER, door=True, _nrt=False, **LIGHTLY)


def leading(function):
    """Compile a kernel that leads others, which do its work and are optimized already: blocks, panels, which tile."""
    return _compiled(function, REORDER, _nrt=False, **LIGHTLY)


def exact(function):
    """Compile a kernel of integers: what few floats it has are neither reordered nor fused."""
    return _compiled(function, False, _nrt=False)


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
