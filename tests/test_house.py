"""The rules of the house, read from the sources: who may import whom, how long a page may be, what never happens.

Each rule is a function of one page that gives the faults found, and is itself tested with a page that breaks it.
"""
import ast
import importlib
import pathlib
import re
import sys
from functools import lru_cache
from typing import NamedTuple

import pytest

import tinyconv

PACKAGE = pathlib.Path(tinyconv.__file__).resolve().parent
TESTS = pathlib.Path(__file__).resolve().parent
FLOORS = [
    {"formulas"},
    {"kernels", "compress"},
    {"tensor", "gradient_check", "ops", "functional"},
    {"nn"},
    {"graph", "models", "data", "optim", "train", "io"},
    {"cost", "apply"},
    {"search", "robust", "draw"},
    {"recipes", "check", "explaining", "cli", "__main__"},
    {"__init__"},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
MAY_PRINT = {"check", "cli", "explaining", "gradient_check", "recipes", "train", "__main__"}
MAY_PRINT_PAGES = {"tinyconv/data/building.py"}
MAX_LINES = 400
MAX_FUNCTION_LINES = 90
FLAGS = {"njit", "jit", "prange"}
STANDARD = set(sys.stdlib_module_names) - {"pickle", "marshal", "shelve", "dbm"}


@lru_cache(maxsize=None)
def _nodes(tree):
    """Every node of a syntax tree, in a list."""
    return list(ast.walk(tree))


class Page(NamedTuple):
    """One source file: its path from the repository's root, its text, its syntax tree."""

    path: str
    text: str
    tree: ast.Module

    @property
    def room(self):
        """The room a page of the package is in: its folder, or its own name on the ground; "tests" for a test."""
        parts = pathlib.PurePosixPath(self.path).with_suffix("").parts
        return parts[0] if parts[0] == "tests" else parts[1]

    def all(self, *kinds):
        """Every node of these kinds, wherever it stands."""
        return [node for node in _nodes(self.tree) if isinstance(node, kinds)]

    def imported(self, node):
        """The full dotted names that one import statement reaches, relative ones resolved; `from a import b` gives a.b."""
        if isinstance(node, ast.Import):
            return [alias.name for alias in node.names]
        here = pathlib.PurePosixPath(self.path).with_suffix("").parts
        base = [*(here[:-node.level] if node.level else ()), *(node.module.split(".") if node.module else ())]
        return [".".join([*base, alias.name]) for alias in node.names]

    @property
    def imports(self):
        """(line, full dotted name) of everything the page imports."""
        return [(node.lineno, name) for node in self.all(ast.Import, ast.ImportFrom) for name in self.imported(node)]


def _page(path, text):
    return Page(path, text, ast.parse(text))


@lru_cache(maxsize=None)
def _pages():
    """Every page of the package and of the tests, read once for all rules."""
    files = [("tinyconv", PACKAGE, file) for file in sorted(PACKAGE.rglob("*.py"))]
    files += [("tests", TESTS, file) for file in sorted(TESTS.glob("*.py"))]
    return [_page(f"{name}/{file.relative_to(base).as_posix()}", file.read_text(encoding="utf-8")) for name, base, file in files]


def _top(name):
    return name.split(".")[0]


def known_room(page):
    """Every page lies in a room of the plan."""
    return [] if page.room == "tests" or page.room in FLOOR else [f"no room of the plan: {page.room}"]


def floors(page):
    """A module imports only from its own floor or below."""
    if page.room in ("tests", "__init__"):
        return []
    faults = []
    for line, name in page.imports:
        if _top(name) == "tinyconv":
            room = f"{name}.__init__".split(".")[1]
            room = room if room in FLOOR else "__init__"  # a name of tinyconv itself, such as __version__
            if FLOOR[room] > FLOOR[page.room]:
                faults.append(f"{line}: {page.room} (floor {FLOOR[page.room]}) imports {room} (floor {FLOOR[room]})")
    return faults


def outside(page):
    """The package needs numpy, numba and matplotlib; tests need pytest besides; neither ever pickles."""
    allowed = STANDARD | {"tinyconv", "numpy"} | ({"numba", "llvmlite", "matplotlib"} if page.room != "tests" else
                                                    {"pytest"} | {table.stem for table in TESTS.glob("[!t]*.py")})
    return [f"{line}: imports {name}" for line, name in page.imports if _top(name) not in allowed]


def formulas_import_nothing(page):
    """Floor 0 is numbers in, numbers out."""
    return [f"{line}: imports {name}" for line, name in page.imports
            if page.room == "formulas" and _top(name) not in STANDARD | {"tinyconv"}]


def numba_in_kernels(page):
    """numba is imported in kernels alone, and its flags have one home, _jit.py."""
    if page.path == "tinyconv/kernels/_jit.py":
        return []
    faults = [f"{line}: imports {name}" for line, name in page.imports if _top(name) in ("numba", "llvmlite")
              and (page.room != "kernels" or name.split(".")[-1] in FLAGS)]
    if page.room != "tests":
        faults += [f"{node.lineno}: {node.attr}" for node in page.all(ast.Attribute) if node.attr in FLAGS]
        faults += [f"{node.value.lineno}: fastmath" for node in page.all(ast.keyword) if node.arg == "fastmath"]
    return faults


def matplotlib_in_draw(page):
    """matplotlib is imported inside the functions of draw alone."""
    return [f"{node.lineno}: imports matplotlib" for node in page.all(ast.Import, ast.ImportFrom)
            if "matplotlib" in map(_top, page.imported(node)) and (page.room != "draw" or node in page.tree.body)]


def short(page):
    """A page stays under 400 lines, a function (its docstring apart) on one screen; a page of tests may be longer."""
    lines = page.text.count("\n")
    faults = [f"{lines} lines"] if page.room != "tests" and lines > MAX_LINES else []
    for node in page.all(ast.FunctionDef):
        length = node.end_lineno - node.lineno - (ast.get_docstring(node) or "").count("\n")
        if length > MAX_FUNCTION_LINES:
            faults.append(f"{node.lineno}: {node.name} has {length} lines")
    return faults


def documented(page):
    """Every page says what it is, and so does every public function and class at the top of a page of the package."""
    faults = [] if ast.get_docstring(page.tree) else ["no docstring"]
    for node in page.tree.body if page.room != "tests" else ():
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_") and not ast.get_docstring(node):
            faults.append(f"{node.lineno}: {node.name} has no docstring")
    return faults


def no_pickle(page):
    """No file is ever unpickled."""
    return [f"{node.value.lineno}: allow_pickle is not False" for node in page.all(ast.keyword)
            if node.arg == "allow_pickle" and not (isinstance(node.value, ast.Constant) and node.value.value is False)]


def no_global_random(page):
    """Random numbers come from a Generator or a seed that the caller gave."""
    fine = {"default_rng", "Generator", "SeedSequence", "BitGenerator", "PCG64"}
    fine |= {"get_state"} if page.path == "tests/conftest.py" else set()
    faults = [f"{node.lineno}: {ast.unparse(node)}" for node in page.all(ast.Attribute)
              if ast.unparse(node.value) in ("np.random", "numpy.random") and node.attr not in fine]
    if page.room != "tests":
        faults += [f"{node.lineno}: default_rng() without a seed" for node in page.all(ast.Call)
                   if getattr(node.func, "attr", "") == "default_rng" and not node.args]
        faults += [f"{line}: imports {name}" for line, name in page.imports if _top(name) == "random"]
    return faults


def quiet(page):
    """The library does not print; commands, the training loop and the checkers do."""
    if page.room in MAY_PRINT | {"tests"} or page.path in MAY_PRINT_PAGES:
        return []
    return [f"{node.lineno}: print" for node in page.all(ast.Call) if getattr(node.func, "id", "") == "print"]


def narrow_excepts(page):
    """An except that takes everything raises it again or hands it to someone by name."""
    faults = []
    for node in page.all(ast.ExceptHandler):
        if node.type is None or getattr(node.type, "id", "") in ("Exception", "BaseException"):
            inside = list(ast.walk(node))
            if not any(isinstance(n, ast.Raise) or isinstance(n, ast.Name) and n.id == node.name for n in inside):
                faults.append(f"{node.lineno}: a broad except that swallows")
    return faults


def nothing_left_open(page):
    """No unfinished business in the package, and nowhere a path of somebody's machine."""
    unfinished = r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X|place" + r"holder)\b"
    machine = r"(?<![\w.~$}])/(?:tmp|root|home|work)/"
    pattern = machine if page.room == "tests" else f"{unfinished}|{machine}"
    return [f"{number}: {line.strip()[:60]}" for number, line in enumerate(page.text.splitlines(), 1) if re.search(pattern, line)]


def asserting(page):
    """A test that asserts nothing cannot fail."""
    faults = []
    for node in page.all(ast.FunctionDef) if page.room == "tests" else ():
        if node.name.startswith("test_"):
            inside = list(ast.walk(node))
            called = [getattr(n.func, "attr", getattr(n.func, "id", "")) for n in inside if isinstance(n, ast.Call)]
            helper = r"raises|warns|gradcheck|_?(check|assert|expect|same|equal)"
            if not any(isinstance(n, ast.Assert) for n in inside) and not any(re.match(helper, name) for name in called):
                faults.append(f"{node.lineno}: {node.name} asserts nothing")
    return faults


RULES = [known_room, floors, outside, formulas_import_nothing, numba_in_kernels, matplotlib_in_draw, short, documented, no_pickle,
         no_global_random, quiet, narrow_excepts, nothing_left_open, asserting]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps(rule):
    """Every page of the package and of the tests, against one rule; the faults are listed with file and line."""
    assert [f"{page.path}: {fault}" for page in _pages() for fault in rule(page)] == []


WRONG = [
    (known_room, "tinyconv/cellar/wine.py", ""),
    (floors, "tinyconv/kernels/direct.py", "from ..nn import Conv2d"),
    (floors, "tinyconv/kernels/direct.py", "from .. import functional"),
    (floors, "tinyconv/tensor.py", "import tinyconv.graph.tracing"),
    (floors, "tinyconv/formulas/costs.py", "def f():\n    from ..ops.table import OPS"),
    (floors, "tinyconv/nn/module.py", "import tinyconv"),
    (floors, "tinyconv/cost/table.py", "from .. import __version__"),
    (outside, "tinyconv/nn/module.py", "import scipy.signal"),
    (outside, "tinyconv/io/npz.py", "import pickle"),
    (outside, "tests/test_x.py", "from torch import nn"),
    (formulas_import_nothing, "tinyconv/formulas/costs.py", "import numpy as np"),
    (numba_in_kernels, "tinyconv/nn/module.py", "def f():\n    import numba"),
    (numba_in_kernels, "tinyconv/kernels/direct.py", "import numba\n@numba.njit\ndef f(): return 1"),
    (numba_in_kernels, "tinyconv/kernels/direct.py", "from numba import njit"),
    (numba_in_kernels, "tinyconv/kernels/direct.py", "f = compiled(g, fastmath=True)"),
    (matplotlib_in_draw, "tinyconv/draw/figures.py", "import matplotlib.pyplot as plt"),
    (matplotlib_in_draw, "tinyconv/cost/table.py", "def f():\n    from matplotlib import pyplot"),
    (short, "tinyconv/nn/module.py", "\n" * 401),
    (short, "tinyconv/nn/module.py", "def f():\n" + "    x = 1\n" * 100),
    (short, "tinyconv/nn/module.py", "class A:\n  def f():\n" + "    x = 1\n" * 100),
    (documented, "tinyconv/nn/module.py", '"""."""\ndef f(): return 1'),
    (documented, "tinyconv/nn/module.py", "x = 1"),
    (no_pickle, "tinyconv/io/npz.py", "np.load(path, allow_pickle=True)"),
    (no_pickle, "tinyconv/io/npz.py", "np.load(path, allow_pickle=flag)"),
    (no_global_random, "tinyconv/data/x.py", "np.random.seed(0)"),
    (no_global_random, "tinyconv/data/x.py", "np.random.default_rng()"),
    (no_global_random, "tinyconv/data/x.py", "from random import shuffle"),
    (quiet, "tinyconv/nn/module.py", "print(1)"),
    (narrow_excepts, "tinyconv/nn/module.py", "try:\n    f()\nexcept Exception:\n    x = 1"),
    (narrow_excepts, "tinyconv/nn/module.py", "try:\n    f()\nexcept:\n    x = 1"),
    (nothing_left_open, "tinyconv/nn/module.py", "x = 1  # TO" + "DO later"),
    (nothing_left_open, "tests/test_x.py", "open('/ho" + "me/me/file')"),
    (asserting, "tests/test_x.py", "def test_nothing():\n    f(1)"),
]


@pytest.mark.parametrize("rule, path, text", WRONG, ids=lambda value: getattr(value, "__name__", None))
def test_the_rules_catch_what_breaks_them(rule, path, text):
    """A rule that finds nothing anywhere would pass for ever: each one must speak up here."""
    assert rule(_page(path, text))


RIGHT = [
    (floors, "tinyconv/nn/module.py", "from .. import functional, kernels\nfrom ..tensor import Tensor\nfrom . import init"),
    (floors, "tinyconv/cli/__init__.py", "from .demo import main\nfrom ..recipes import compare"),
    (matplotlib_in_draw, "tinyconv/draw/figures.py", "def f():\n    from matplotlib.figure import Figure"),
    (narrow_excepts, "tinyconv/kernels/threads.py", "try:\n    f()\nexcept BaseException as error:\n    done.put(error)"),
    (nothing_left_open, "tinyconv/nn/module.py", "x = '~/.cache/tmp/x' + 'https://example.org/home/page'"),
    (asserting, "tests/test_x.py", "def test_it():\n    with pytest.raises(ValueError):\n        f(1)"),
]


@pytest.mark.parametrize("rule, path, text", RIGHT, ids=lambda value: getattr(value, "__name__", None))
def test_the_rules_let_pass_what_is_right(rule, path, text):
    assert rule(_page(path, text)) == []


def _shared_names(init):
    """Names that an __init__ binds to a function or class while a module of that name stands beside it."""
    modules = {entry.stem for entry in init.parent.iterdir() if entry.is_dir() or entry.suffix == ".py"}
    names = []
    for node in ast.parse(init.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            names += [alias.asname or alias.name for alias in node.names]
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.append(node.name)
    return [name for name in names if name in modules]


def test_no_module_and_public_function_share_a_name(tmp_path):
    """`tc.data.shapes` would be the function or the module, whichever was asked for last."""
    (tmp_path / "shapes.py").write_text("")
    (tmp_path / "__init__.py").write_text("from .shapes import shapes, other")
    assert _shared_names(tmp_path / "__init__.py") == ["shapes"]
    assert [f"{init.parent.name}: {name}" for init in sorted(PACKAGE.rglob("__init__.py")) for name in _shared_names(init)] == []
    assert [name for name in tinyconv.NAMES if (PACKAGE / name).exists() or (PACKAGE / f"{name}.py").exists()] == []


def test_every_public_name_is_there():
    """What an __init__ promises in __all__ can really be had (lazy names included), and nothing is promised twice."""
    faults = []
    for init in sorted(PACKAGE.rglob("__init__.py")):
        room = importlib.import_module(".".join(["tinyconv", *init.parent.relative_to(PACKAGE).parts]))
        names = getattr(room, "__all__", [])
        faults += [f"{room.__name__}.{name}" for name in names if not hasattr(room, name) or names.count(name) > 1]
    assert faults == []
