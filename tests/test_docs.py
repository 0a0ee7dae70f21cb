"""Every setting, verb and endpoint stands in the docs, and no link in them is dead."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer.main

from configs.settings import Settings
from models.registry import NAMES
from serving.cli.main import app as command_line

ROOT = Path(__file__).parents[1]
PAGES = {
    path: path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
}
TEXT = "\n".join(PAGES.values())


def verbs() -> list[str]:
    group = typer.main.get_command(command_line)
    found = []
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        subcommands = getattr(command, "commands", None)
        found += [f"{name} {each}" for each in subcommands] if subcommands else [name]
    return found


@pytest.mark.parametrize("verb", verbs())
def test_every_verb_stands_in_the_docs(verb: str) -> None:
    assert f"shopwright {verb}" in TEXT


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_stands_in_the_docs(name: str) -> None:
    assert f"SHOPWRIGHT_{name.upper()}" in TEXT


def test_every_endpoint_stands_in_the_docs() -> None:
    from serving.app import create_app

    paths = set(create_app(Settings()).openapi()["paths"])
    assert len(paths) > 20
    described = re.sub(r"\{[^}]*\}", "{}", TEXT)
    missing = sorted(path for path in paths if re.sub(r"\{[^}]*\}", "{}", path) not in described)
    assert not missing


def test_every_model_stands_in_the_docs() -> None:
    assert all(f"shopwright evaluate {name}" in TEXT for name in NAMES)


def test_no_link_is_dead() -> None:
    for page, text in PAGES.items():
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_lock_file_asks_for_no_build_of_torch_that_needs_a_gpu() -> None:
    pinned = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert "\ntorch==" in pinned
    assert not re.findall(r"^(?:nvidia|cuda|triton)\S*", pinned, re.MULTILINE)
