"""The words of the console: every language has every text, and the code names no other."""

from __future__ import annotations

import re
import string
from pathlib import Path
from typing import get_args

import pytest

import serving.console.texts
from features.contracts.recommendations import Reason
from models.ranking.model import Policy
from models.ranking.slate.merchandising_rules import Action, Per
from serving.access import SCOPES
from serving.console.texts import LANGUAGES, Text, load_catalogue

CODE = sorted(Path(serving.console.texts.__file__).parent.rglob("*.py"))
USE = re.compile(r"texts\s*\.get\(\s*(f?)\"([^\"]+)\"", re.DOTALL)
PLURAL_FORMS = {"one", "other"}


def list_values(text: Text) -> set[str]:
    """Return the names of the values that a text shows, in any of its plural forms."""
    forms = [text] if isinstance(text, str) else list(text.values())
    return {name for form in forms for _, name, _, _ in string.Formatter().parse(form) if name}


def read_uses() -> dict[str, str]:
    """Return the keys that the code names, with the file; `*` stands for what is computed."""
    uses = {}
    for path in CODE:
        for computed, key in USE.findall(path.read_text("utf-8")):
            uses[re.sub(r"\{.*?\}", "*", key) if computed else key] = path.name
    return uses


def test_every_language_has_the_same_texts_with_the_same_values() -> None:
    first, *others = (load_catalogue(language) for language in LANGUAGES)
    for other in others:
        assert other.keys() == first.keys()
        for key, text in first.items():
            assert list_values(other[key]) == list_values(text), key


@pytest.mark.parametrize("language", LANGUAGES)
def test_texts_that_differ_by_number_have_a_form_for_every_number(language: str) -> None:
    for key, text in load_catalogue(language).items():
        if not isinstance(text, str):
            assert "other" in text and text.keys() <= PLURAL_FORMS, key
            assert "{n}" in text["other"], key


def test_every_text_that_the_code_names_exists() -> None:
    known = load_catalogue("en")
    uses = read_uses()
    assert len(uses) > 100
    for use, file in uses.items():
        pattern = re.compile(re.escape(use).replace(r"\*", ".+"))
        assert any(pattern.fullmatch(key) for key in known), f"{file} names {use}"


def test_chinese_texts_are_chinese_but_for_names() -> None:
    chinese, english = load_catalogue("zh"), load_catalogue("en")
    same = {key for key, text in chinese.items() if text == english[key] and len(str(text)) > 24}
    assert same == set()


def test_every_choice_that_models_offer_has_a_text() -> None:
    """A page that writes the name of a new one would fail as a whole."""
    choices = {
        "slates.policy": get_args(Policy),
        "slates.reason": tuple(Reason),
        "slates.action": get_args(Action),
        "slates.per": get_args(Per),
        "keys.scope": tuple(scope.replace(".", "_") for scope in SCOPES),
    }
    known = load_catalogue("en")
    missing = [
        f"{prefix}_{name}"
        for prefix, names in choices.items()
        for name in names
        if f"{prefix}_{name}" not in known
    ]
    assert missing == []
