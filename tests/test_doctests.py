"""Every example in a docstring is run, and prints what it says. The namespace holds np, tc and the module's own names."""
import doctest
import importlib
import pathlib

import numpy as np
import pytest

import tinyconv as tc

PACKAGE = pathlib.Path(tc.__file__).resolve().parent


def _modules():
    """The dotted name of every module of the package but the command's entry point."""
    found = []
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = ["tinyconv", *file.relative_to(PACKAGE).with_suffix("").parts]
        if parts[-1] != "__main__":
            found.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return found


def _examples(module):
    """The doctests of a module, of its functions and classes, and of the Python functions behind its compiled kernels."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    names = {"np": np, "tc": tc}
    found = finder.find(module, module.__name__, extraglobs=names)
    for name, value in vars(module).items():
        function = getattr(value, "py_func", None)
        if getattr(function, "__module__", None) == module.__name__:
            found += finder.find(function, f"{module.__name__}.{name}", module, extraglobs=names)
    return [test for test in found if test.examples]


@pytest.mark.parametrize("name", _modules())
def test_examples_print_what_they_say(name, capsys):
    """Against the printed text, character by character (ELLIPSIS where an example asks for it)."""
    runner = doctest.DocTestRunner(verbose=False)
    for test in _examples(importlib.import_module(name)):
        runner.run(test)
    report = capsys.readouterr().out
    assert runner.failures == 0, report


def test_examples_are_found():
    """The search itself: known examples are among those found, so that an empty search cannot pass for a good one."""
    names = {test.name.split(".")[-1] for page in ("data.batching", "io.safetensors")
             for test in _examples(importlib.import_module(f"tinyconv.{page}"))}
    assert {"as_input", "batches", "safetensors_header"} <= names
