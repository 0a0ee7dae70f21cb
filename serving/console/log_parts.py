"""Rows of the audit log in words: what was done, and to what."""

from __future__ import annotations

import json
from collections.abc import Mapping

from nicegui import ui

from serving.audit.repository import AuditRecord
from serving.console.texts import Texts

_DIFFERENCE = {"path", "before", "after"}  # the keys of what a version changed


def name_action(texts: Texts, action: str) -> str:
    """Return an action in words; one that has none as it stands in the log."""
    return texts.find(f"audit.action_{action}", action.replace("_", " "))


def name_actor(texts: Texts, record: AuditRecord) -> str:
    """Return who acted: a name, or the word for what is no person."""
    return texts.find(f"audit.actor_{record.actor}", record.actor_name)


def name_author(texts: Texts, author: str | None) -> str:
    """Return who did something by the name that was kept, in words where it is no person."""
    return texts.find(f"audit.actor_{author}", author) if author else ""


def write_value(value: object) -> str:
    """Return a value of an action's details in words.

    >>> write_value([{"path": "max_change", "before": None, "after": 0.1}])
    'max_change – → 0.1'
    >>> write_value({"equals": {"order_id": "T-1"}, "n_events": 2})
    'equals: order id: T-1, n events: 2'
    """
    if value is None:
        return "–"
    if isinstance(value, Mapping):
        if value.keys() == _DIFFERENCE:
            before, after = write_value(value["before"]), write_value(value["after"])
            return f"{value['path']} {before} → {after}"
        parts = (f"{name.replace('_', ' ')}: {write_value(part)}" for name, part in value.items())
        return ", ".join(parts)
    if isinstance(value, list):
        are_texts = all(isinstance(part, str) for part in value)
        return (", " if are_texts else "; ").join(map(write_value, value))
    return value if isinstance(value, str) else json.dumps(value)


def show_subject(texts: Texts, record: AuditRecord) -> None:
    """Show what an action was about, with the way to it where it has a page."""
    words = record.subject_type.replace("_", " ")
    ui.label(texts.find(f"audit.subject_{record.subject_type}", words)).classes("muted")
    if record.suggestion_id is not None:
        name = record.title or record.item_id or record.suggestion_id
        ui.link(name, f"/queue/{record.suggestion_id}").classes("wrap")
    elif record.subject_type == "pricing_run":
        ui.link(record.subject_id, f"/runs/{record.subject_id}").classes("wrap")
    elif record.subject_type == "price_test":
        ui.link(record.subject_id, f"/tests/{record.subject_id}").classes("wrap")
    elif record.subject_type == "promotion":
        ui.link(_name_promotion(record), f"/promotions/{record.subject_id}").classes("wrap")
    elif record.subject_type == "rows":
        rows = json.loads(record.subject_id)
        ui.label(write_value({**rows.pop("equals"), **rows})).classes("wrap")
    elif record.subject_id != record.subject_type:
        ui.label(record.title or record.item_id or record.subject_id).classes("wrap")


def _name_promotion(record: AuditRecord) -> str:
    name = record.details.get("name")
    return name if isinstance(name, str) else record.subject_id
