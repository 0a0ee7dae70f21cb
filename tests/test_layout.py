"""Rules of the tree of tests: what they import, and where they stand."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"
# Folders of tests that have no counterpart in the packages.
TEST_FOLDERS = ("shops", "benchmarks", "e2e")
TEST_FILES = sorted(TESTS.rglob("*.py"))


def imported_modules(path: Path) -> Iterator[str]:
    """Yield every module that a file imports; for `from a import b` both `a` and `a.b`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_allowed(path: Path, module: str) -> bool:
    """Return whether a file under tests/ may import a module under tests/.

    Helpers stand in tests/shops; benchmarks and the tests of benchmarks share tests/benchmarks.
    """
    name = module.rpartition(".")[2]
    if name == "conftest" or name.startswith("test_"):
        return False
    folders = {"tests", "tests.shops"}
    if path.is_relative_to(TESTS / "benchmarks"):
        folders.add("tests.benchmarks")
    if path == TESTS / "test_code_counts.py":
        folders.add("tests.code_counts")
    return any(module == folder or module.startswith(f"{folder}.") for folder in folders)


def test_helpers_are_imported_from_tests_shops() -> None:
    offenders = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in TEST_FILES
        for module in imported_modules(path)
        if module.split(".")[0] == "tests" and not is_allowed(path, module)
    ]
    assert offenders == []


def test_every_folder_of_tests_has_its_counterpart() -> None:
    folders = {path.parent.relative_to(TESTS) for path in TEST_FILES} - {Path()}
    assert [
        str(folder)
        for folder in sorted(folders)
        if folder.parts[0] not in TEST_FOLDERS and not (ROOT / folder).is_dir()
    ] == []


def test_no_helper_is_a_test_module() -> None:
    helpers = [*TESTS.glob("shops/**/*.py")]
    assert [path.name for path in helpers if path.name.startswith("test_")] == []
