"""The docs name every setting, verb and endpoint, and everything that they link to exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer.main

from configs.settings import Settings
from models.registry import NAMES
from serving.cli.main import app as command_line

ROOT = Path(__file__).parents[1]
PACKAGES = ("configs", "features", "models", "training", "experiments", "serving")
ARCHITECTURE = ROOT / "docs" / "architecture.md"
PAGES = {
    path: path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
}
TEXT = "\n".join(PAGES.values())


def list_anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def list_architecture_paths(text: str) -> set[str]:
    """Return the paths on the architecture page: those of its tree, and those in backticks.

    A line of the tree has names with commas behind four spaces per level, then a comment behind
    two spaces or more; the name of a folder ends with `/`.
    """
    name = r"[a-z_]+(?:/[\w.-]+)*/?"
    paths = {path for path in re.findall(rf"`({name})`", text) if "/" in path}
    parents: list[str] = []
    tree = text.split("```text\n", 1)[1].split("```", 1)[0]
    for line in tree.splitlines():
        entry = line.lstrip(" ")
        level = (len(line) - len(entry)) // 4
        names = entry.split("  ", 1)[0].split(", ")
        paths |= {"".join([*parents[:level], name]) for name in names}
        parents[level:] = names[:1]
    return paths


def list_verbs() -> list[str]:
    group = typer.main.get_command(command_line)
    verbs = []
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        subcommands = getattr(command, "commands", None)
        verbs += [f"{name} {subcommand}" for subcommand in subcommands] if subcommands else [name]
    return verbs


@pytest.mark.parametrize("verb", list_verbs())
def test_every_verb_is_documented(verb: str) -> None:
    assert f"shopwright {verb}" in TEXT


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_is_documented(name: str) -> None:
    assert f"SHOPWRIGHT_{name.upper()}" in TEXT


def test_every_endpoint_is_documented() -> None:
    from serving.app import create_app

    paths = set(create_app(Settings()).openapi()["paths"])
    assert len(paths) > 20
    text = re.sub(r"\{[^}]*\}", "{}", TEXT)
    missing = sorted(path for path in paths if re.sub(r"\{[^}]*\}", "{}", path) not in text)
    assert not missing


def test_every_model_is_documented() -> None:
    assert all(f"shopwright evaluate {name}" in TEXT for name in NAMES)


def test_no_link_is_dead() -> None:
    for page, text in PAGES.items():
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", text):
            path = (page.parent / target).resolve() if target else page
            assert path.exists(), f"{page.name}: {target}"
            assert not anchor or anchor in list_anchors(path), f"{page.name}: {target}#{anchor}"


def test_every_path_on_the_architecture_page_exists() -> None:
    paths = list_architecture_paths(ARCHITECTURE.read_text(encoding="utf-8"))
    assert len(paths) > 100
    assert sorted(path for path in paths if not (ROOT / path).exists()) == []


def test_the_tree_of_the_architecture_page_has_every_folder() -> None:
    paths = list_architecture_paths(ARCHITECTURE.read_text(encoding="utf-8"))
    folders = {
        str(path.parent.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if "migrations" not in path.parts
    }
    assert sorted(folders - {path.rstrip("/") for path in paths}) == []


def test_the_lock_file_pins_no_build_of_torch_that_needs_a_gpu() -> None:
    pinned = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert "\ntorch==" in pinned
    assert not re.findall(r"^(?:nvidia|cuda|triton)\S*", pinned, re.MULTILINE)
