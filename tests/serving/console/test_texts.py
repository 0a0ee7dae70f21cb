"""The words of the console: every language has every text, and the code names no other."""

from __future__ import annotations

import ast
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
SERVING = Path(serving.console.texts.__file__).parents[1]
NAME = re.compile(r"[a-z][a-z_]+")
# Functions that write to the audit log, and which of their values is the action.
AUDIT_CALLS = {
    "AuditEntry": 1,
    "log_changes": 2,
    "log_step": 2,
    "set_state": 3,
    "_log": 2,
    "_log_switch": 2,
}


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


def read_words(node: ast.AST) -> set[str]:
    """Return the texts in a piece of code that can be names."""
    constants = (part.value for part in ast.walk(node) if isinstance(part, ast.Constant))
    return {text for text in constants if isinstance(text, str) and NAME.fullmatch(text)}


def read_audit_words() -> tuple[set[str], set[str]]:
    """Return the actions, and the kinds of subjects, that the service writes to the audit log."""
    actions, subjects = set(), set()
    for path in SERVING.rglob("*.py"):
        module = ast.parse(path.read_text("utf-8"))
        calls = [node for node in ast.walk(module) if isinstance(node, ast.Call)]
        writes = False
        for call in calls:
            name = getattr(call.func, "attr", getattr(call.func, "id", ""))
            place = AUDIT_CALLS.get(name)
            if place is not None and len(call.args) > place:
                actions |= read_words(call.args[place])
            if name == "AuditEntry":
                writes = True
                subjects |= read_words(call.args[2])
        for node in ast.walk(module):
            if not (isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)):
                continue
            name, value = node.targets[0].id, node.value
            if name == "action" and writes and not isinstance(value, ast.Call):
                actions |= read_words(value)
            if name.endswith("SUBJECT") and writes:
                subjects |= read_words(value.elts[0] if isinstance(value, ast.Tuple) else value)
        for rules in ast.walk(module):
            for part in rules.body if isinstance(rules, ast.ClassDef) else []:
                if isinstance(part, ast.Assign) and ast.unparse(part.targets[0]) == "subject":
                    subjects |= read_words(part.value)
    return actions, subjects


def test_every_action_and_subject_of_the_audit_log_has_words() -> None:
    actions, subjects = read_audit_words()
    assert {"approve", "retire", "save_rules", "start", "exclude"} <= actions
    assert {"promotion", "pricing_rules", "rows", "webhook"} <= subjects
    known = load_catalogue("en")
    keys = {f"audit.action_{action}" for action in actions}
    keys |= {f"audit.subject_{subject}" for subject in subjects}
    assert sorted(keys - known.keys()) == []


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
