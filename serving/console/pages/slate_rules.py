"""The merchandising rules that apply to a slate, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nicegui import ui

from models.ranking.slate.merchandising_rules import Rule
from serving.console.pages.slate_rule_words import write_action, write_items, write_window
from serving.console.parts import Column, show_badge, show_heading, show_table
from serving.console.visit import Visit


@dataclass(frozen=True)
class RuleRow:
    """A rule as a table shows it; `state` is new, changed or "" in a draft."""

    name: str
    rule: Rule
    items: str
    state: str = ""


def read_rules(visit: Visit, placement: str) -> list[RuleRow]:
    """Return the rules that a placement follows, those that are valid now first; reads titles, so
    it belongs on a thread."""
    models = visit.server.served_models
    sets = models.rules
    rows = [
        RuleRow(f"{set_name}.{name}", rule, write_items(visit, rule))
        for set_name in models.placements[placement].rules
        for name, rule in sets[set_name].rules.items()
    ]
    now = visit.server.clock.now()
    return sorted(rows, key=lambda row: not row.rule.is_valid(visit.zone, now))


def show_rules(visit: Visit, rows: Sequence[RuleRow]) -> None:
    """Show rules, and which of them are valid now."""
    texts = visit.texts
    show_heading(texts.get("slates.rules"))
    ui.label(texts.get("slates.rules_file")).classes("muted")
    if not rows:
        ui.label(texts.get("slates.no_rules")).classes("muted")
        return
    state = Column(texts.get("slates.state"), lambda row: show_validity(visit, row))
    show_table(rows, [*list_columns(visit), state], caption=texts.get("slates.rules"))


def list_columns(visit: Visit) -> list[Column]:
    """Return the columns that say what a rule does, to what and when."""
    texts = visit.texts
    return [
        Column(texts.get("slates.rule"), lambda row: row.name),
        Column(texts.get("slates.does"), lambda row: write_action(visit, row.rule)),
        Column(texts.get("slates.applies_to"), lambda row: row.items),
        Column(texts.get("slates.window"), lambda row: write_window(visit, row.rule)),
    ]


def show_validity(visit: Visit, row: RuleRow) -> None:
    """Show whether a rule is valid here and now."""
    is_valid = row.rule.is_valid(visit.zone, visit.server.clock.now())
    word = visit.texts.get("slates.rule_valid" if is_valid else "slates.rule_not_valid")
    show_badge(word, "better" if is_valid else "")
