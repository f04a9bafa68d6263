"""The package as pip sees it: names, versions, and every file that must travel."""
import ast
import configparser
import fnmatch
import os
import pathlib
import re

import pytest

import tinyconv

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOURCE = ROOT / "tinyconv"
COMMANDS = ['python -m pip install -e ".[test]" && python -m tinyconv demo', "python -m pytest"]


@pytest.fixture(scope="module")
def setup():
    """setup.cfg, parsed."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def _lines(text):
    return [line.strip() for line in text.splitlines() if line.strip()]


def test_metadata(setup):
    """Name, licence, Python and version; the version is the one that tinyconv itself tells."""
    assert setup["metadata"]["name"] == "tinyconv" and setup["metadata"]["license"] == "MIT"
    assert setup["metadata"]["version"] == tinyconv.__version__ == "0.1.0"
    assert setup["options"]["python_requires"] == ">=3.10"
    assert setup["options.entry_points"]["console_scripts"].strip() == "tinyconv = tinyconv.cli:main"


def test_requirements(setup):
    """Three packages, none pinned from above: a pin makes a course uninstallable three years later."""
    requirements = _lines(setup["options"]["install_requires"])
    extras = {name: _lines(text) for name, text in setup["options.extras_require"].items()}
    assert [re.split("[<>=!~ ]", line)[0] for line in requirements] == ["numpy", "numba", "matplotlib"]
    assert set(extras) == {"test", "notebooks", "bench"}
    assert [re.split("[<>=!~ ]", line)[0] for line in extras["test"]] == ["pytest"]
    everything = requirements + [line for lines in extras.values() for line in lines]
    assert [line for line in everything if re.search("<|==|~=", line)] == []


def test_pyproject_is_three_lines():
    """pip needs it to know the builder; everything else is in setup.cfg."""
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 3 and lines[0] == "[build-system]" and lines[2] == 'build-backend = "setuptools.build_meta"'


def test_every_folder_is_a_package(setup):
    """A folder without __init__.py would be left out of the wheel, silently; and the pattern of packages takes them all."""
    folders = {file.parent for file in SOURCE.rglob("*.py")}
    assert [str(folder.relative_to(ROOT)) for folder in folders if not (folder / "__init__.py").exists()] == []
    assert setup["options"]["packages"] == "find:"
    assert _lines(setup["options.packages.find"]["include"]) == ["tinyconv", "tinyconv.*"]


def test_every_data_file_travels(setup):
    """Each file of the package that is not Python matches a pattern of its package in package_data."""
    patterns = {name: re.split(r"[\s,]+", text.strip()) for name, text in setup["options.package_data"].items()}
    stranded = []
    for file in SOURCE.rglob("*"):
        if file.is_file() and file.suffix not in (".py", ".pyc"):
            package = ".".join(file.parent.relative_to(ROOT).parts)
            if not any(fnmatch.fnmatch(file.name, pattern) for pattern in patterns.get(package, [])):
                stranded.append(str(file.relative_to(ROOT)))
    assert stranded == []


def test_the_images_are_inside_the_package():
    """A real file of about 5 MB (not a pointer to one), smaller than 6 MB so that a clone stays quick."""
    size = (SOURCE / "data" / "fashion.npz").stat().st_size
    assert 4_000_000 < size < 6_000_000


def test_licence_names_both_owners():
    """The code's own MIT licence, and the licence of the images that travel with it."""
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert text.startswith("MIT License") and "the tinyconv authors" in text and "Zalando SE" in text and "Fashion-MNIST" in text


def test_readme_has_the_commands_that_ci_runs():
    """.ci/run reads the first sh block under "## Two commands": it must be there, with exactly these lines."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"^## Two commands\n(?:(?!^## |^```)[^\n]*\n)*```sh\n(.*?)^```$", text, re.M | re.S)
    assert block and _lines(block.group(1)) == COMMANDS
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK) and script.read_text(encoding="utf-8").startswith("#!/usr/bin/env bash\n")


def test_pytest_settings(setup):
    """Markers are declared (and used: no marker that chooses nothing), chapters run only when asked for, warnings are errors."""
    settings = setup["tool:pytest"]
    declared = {line.split(":")[0] for line in _lines(settings["markers"])}
    assert declared == {"small", "notebooks"}
    assert '-m "not notebooks"' in settings["addopts"] and _lines(settings["filterwarnings"])[0] == "error"
    used = set()
    for file in (ROOT / "tests").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute) and node.value.attr == "mark":
                used.add(node.attr)
    assert used - {"parametrize", "skipif", "usefixtures", "filterwarnings", "xfail"} == declared
