"""What the docs promise exists: verbs and their options, routes, settings, statuses, scopes."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer.main

from configs.settings import Settings
from features.contracts import errors
from features.contracts.errors import ShopwrightError
from serving.access import SCOPES
from serving.app import create_app
from serving.cli.main import app as command_line

ROOT = Path(__file__).parents[1]
PACKAGES = ("configs", "features", "models", "training", "experiments", "serving")
# Decision records tell of the past, too.
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "user-guide").glob("*.md"))]
TEXT = "\n".join(path.read_text(encoding="utf-8") for path in PAGES)
SOURCES = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
# Read by tests and for debugging; and an example of a misspelt one.
OTHER_VARIABLES = {"DEBUG", "TEST_POSTGRES_URL", "TEST_REDIS_URL", "CURENCY"}


def find_command(words: list[str]) -> tuple[Any, str]:
    """Return the command that the words begin with, and its name; None where there is none."""
    command: Any = typer.main.get_command(command_line)
    names: list[str] = []
    for word in words:
        commands = getattr(command, "commands", None)
        if commands is None:
            break
        names.append(word)
        if word not in commands:
            return None, " ".join(names)
        command = commands[word]
    return command, " ".join(names)


def list_commands() -> list[str]:
    """Return every command line in the docs that begins with `shopwright`, without line breaks."""
    joined = TEXT.replace("\\\n", " ")
    spans = re.findall(r"`([^`\n]*shopwright [^`\n]+)`", joined)
    lines = [line for line in joined.splitlines() if re.match(r"\s*(?:\w+=\S+ )*shopwright ", line)]
    texts = (re.search(r"\bshopwright (.+)", text) for text in [*spans, *lines])
    return sorted({match[1].split("#")[0].strip() for match in texts if match})


@pytest.mark.parametrize("text", list_commands())
def test_a_command_of_the_docs_exists_with_its_options(text: str) -> None:
    words = re.findall(r"[a-z_-]+", text.split(" --")[0].split("|")[0])
    command, name = find_command(words)
    assert command is not None, f"shopwright {name}"
    if not hasattr(command, "commands"):
        known = {
            option
            for parameter in command.params
            for option in (*parameter.opts, *parameter.secondary_opts)
        }
        assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text)) - {"--help"} <= known


def test_every_route_of_the_docs_exists() -> None:
    routes = {
        (method.upper(), re.sub(r"\{[^}]*\}", "{}", path))
        for path, methods in create_app(Settings()).openapi()["paths"].items()
        for method in methods
    }
    promised = {
        (method, re.sub(r"\{[^}]*\}", "{}", path))
        for methods, path in re.findall(
            r"\b((?:GET|POST|PUT|PATCH|DELETE)(?:\|[A-Z]+)*) (/[\w/{}.-]+)", TEXT
        )
        for method in methods.split("|")
    }
    assert len(promised) > 30
    unknown = {
        (method, path)
        for method, path in promised - routes
        # An example has an id where the route has a name in braces.
        if not any(
            method == other and re.fullmatch(re.escape(form).replace(r"\{\}", "[^/]+"), path)
            for other, form in routes
        )
    }
    assert unknown == set()


def test_every_setting_of_the_docs_exists() -> None:
    known = {name.upper() for name in Settings.model_fields} | OTHER_VARIABLES
    assert set(re.findall(r"SHOPWRIGHT_([A-Z_]+[A-Z])", TEXT)) <= known


def list_raised() -> set[str]:
    """Return the names of the error types that some code makes."""
    calls = (
        node.func
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    )
    return {getattr(call, "id", getattr(call, "attr", "")) for call in calls}


def test_every_kind_of_error_is_raised_somewhere_and_every_status_of_the_docs_is_one() -> None:
    kinds = {
        name: kind
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, ShopwrightError)
    }
    raised = list_raised()
    assert sorted(set(kinds) - raised) == []
    statuses = {str(kind.status) for kind in kinds.values()}
    source = "\n".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "serving").rglob("*.py")
    )
    statuses |= set(re.findall(r"problem\(\s*(\d{3})", source))
    pages = [
        path for path in PAGES if path.stem in ("http-api", "failures", "people", "price-desk-api")
    ]
    promised = {
        status
        for path in pages
        for status in re.findall(
            r"\b(?:answered with|answers?|is|\|) (4\d\d|5\d\d)\b", path.read_text("utf-8")
        )
    }
    assert len(promised) > 5
    assert promised <= statuses


def test_every_scope_is_documented_and_opens_a_route() -> None:
    source = "\n".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "serving").rglob("*.py")
    )
    asked = set(
        re.findall(
            r"(?:require|require_everywhere|check_scope|identify)\([^)]*?\"([a-z.]+)\"", source
        )
    )
    assert {scope for scope in SCOPES if scope not in asked} == set()
    for scope in SCOPES:
        assert f"`{scope}`" in TEXT


def test_every_extra_is_documented_and_every_documented_one_exists() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    promised = set(re.findall(r"(?:shopwright|'\.|\"\.|install \.)\[(\w+)\]", TEXT))
    assert promised == set(project.get("optional-dependencies", {}))
