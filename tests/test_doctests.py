"""The examples in docstrings of the six packages are run."""

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("configs", "features", "models", "training", "experiments", "serving")
MODULES = sorted(
    str(path.relative_to(ROOT)).removesuffix(".py").replace("/", ".")
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


def test_there_are_modules_with_examples():
    assert len(MODULES) >= 26


@pytest.mark.parametrize("name", MODULES)
def test_examples_print_the_documented_output(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0
