"""Where compiled kernels are kept: a folder named by a hash of all that the machine code depends on, one file a kernel.

An edit or an upgrade can never run stale code, for it names another folder; NUMBA_CACHE_DIR moves that folder, and where nothing is writable,
nothing is kept.
"""
import hashlib
import os
import platform
import tempfile
from pathlib import Path

import llvmlite
import llvmlite.binding
import numba
import numpy as np
from numba.core import config
from numba.core.caching import FunctionCache, IndexDataCacheFile


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


class _Files(IndexDataCacheFile):
    """One file for each compiled kernel, named by all that tells it from others, how it was compiled (`options`) among it.

    numba itself numbers the files of a function and keeps a list of them; two processes that add to it at once lose entries, or give
    two kernels one number, and a later process runs the wrong one. Nor does it tell one function compiled in two ways apart.
    """

    options = ""

    def name(self, key):
        return f"{self._index_name[:-len('.nbi')]}.{hashlib.sha256(repr((self._source_stamp, self.options, key)).encode()).hexdigest()[:32]}.nbc"

    def save(self, key, data):
        self._save_data(self.name(key), data)

    def load(self, key):
        try:
            return self._load_data(self.name(key))
        except OSError:
            return None


class _Cache(FunctionCache):
    """numba's cache of one function, on these files."""

    def __init__(self, function, options):
        super().__init__(function)
        self._cache_file = _Files(self._cache_path, self._impl.filename_base, self._impl.locator.get_source_stamp())
        self._cache_file.options = options


def keep(kernel, function, options):
    """From now on what its dispatcher compiles of `function`, in the way that `options` (text) says, is kept; numba's own setting is changed only
    for this moment."""
    if FOLDER is None:
        return
    before = config.CACHE_DIR
    config.CACHE_DIR = FOLDER
    try:
        kernel._cache = _Cache(function, options)
    finally:
        config.CACHE_DIR = before
