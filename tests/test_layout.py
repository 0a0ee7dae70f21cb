"""Rules of the tree: what tests import, where they are, and where the system clock is made."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"
PACKAGES = ("configs", "features", "models", "training", "experiments", "serving")
# Modules that put a process together; only they choose the system clock.
COMPOSITION_ROOTS = ("serving/app.py", "serving/server_opening.py", "serving/cli/")
# Folders of tests that have no counterpart in the packages.
TEST_FOLDERS = ("shops", "benchmarks", "e2e")
TEST_FILES = sorted(TESTS.rglob("*.py"))


def list_imported_modules(path: Path) -> Iterator[str]:
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
        for module in list_imported_modules(path)
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


def calls_system_clock(path: Path) -> bool:
    """Return whether a file calls `SystemClock()`, by name or as an attribute of its module."""
    calls = [
        node.func
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    ]
    names = {getattr(call, "id", getattr(call, "attr", "")) for call in calls}
    return "SystemClock" in names


def test_the_system_clock_is_made_in_composition_roots_only() -> None:
    files = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    callers = [str(path.relative_to(ROOT)) for path in files if calls_system_clock(path)]
    assert "serving/app.py" in callers or "serving/server_opening.py" in callers
    assert [name for name in callers if not name.startswith(COMPOSITION_ROOTS)] == []


def test_only_the_http_room_looks_into_the_state_of_the_application() -> None:
    # A router gets its service by `Depends(inject(...))`; app.py fills the state.
    readers = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "serving").rglob("*.py"))
        if "app.state" in path.read_text(encoding="utf-8")
    ]
    assert readers == ["serving/app.py", "serving/http/dependencies.py"]
