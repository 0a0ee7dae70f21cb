"""The command line starts at once: each verb imports what it needs, and `--help` imports none."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from serving.cli.main import app
from serving.cli.verbs import VERBS

PROGRAM = """
import sys
from serving.cli.main import main
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
print("\\nimported", *{name.split(".")[0] for name in sys.modules})
"""
HEAVY = {"alembic", "duckdb", "fastapi", "feast", "ibis", "lightgbm", "mlflow", "numba", "numpy"}
HEAVY |= {"pandas", "pyarrow", "rich", "scipy", "sklearn", "torch", "training", "uvicorn"}
WITHOUT_A_SHOP = {"experiments", "models", "pydantic_settings", "sqlalchemy", "yaml"}


def find_imports(*arguments: str, home: Path) -> set[str]:
    """Return the top-level packages that a verb has imported when it ends."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={"SHOPWRIGHT_HOME": str(home)},
    )
    return set(done.stdout.rpartition("\nimported ")[2].split())


def test_help_imports_no_verb(tmp_path: Path) -> None:
    imported = find_imports("--help", home=tmp_path / "home")
    assert "serving" in imported
    assert imported & (HEAVY | WITHOUT_A_SHOP) == set()


@pytest.mark.parametrize(
    "arguments",
    [("keys", "create", "--scope", "events", "--name", "shop"), ("keys", "list", "--json")],
)
def test_verbs_of_keys_import_the_database_and_nothing_else(
    arguments: tuple[str, ...], tmp_path: Path, migrated_sqlite: Path
) -> None:
    shutil.copy(migrated_sqlite, tmp_path / "shopwright.db")
    imported = find_imports(*arguments, home=tmp_path)
    assert "sqlalchemy" in imported
    assert imported & HEAVY == set()


def test_every_verb_of_the_help_can_be_loaded() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert list(commands) == list(VERBS)
    assert {name: commands[name].name for name in VERBS} == {name: name for name in VERBS}
