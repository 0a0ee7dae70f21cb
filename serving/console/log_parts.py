"""Rows of the audit log in words: what was done, and to what."""

from __future__ import annotations

from nicegui import ui

from serving.audit.repository import AuditRecord
from serving.console.texts import Texts


def name_action(texts: Texts, action: str) -> str:
    """Return an action in words; one that has none as it stands in the log."""
    return texts.find(f"audit.action_{action}", action.replace("_", " "))


def name_actor(texts: Texts, record: AuditRecord) -> str:
    """Return who acted: a name, or the word for what is no person."""
    return texts.find(f"audit.actor_{record.actor}", record.actor_name)


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
    elif record.subject_id != record.subject_type:
        ui.label(record.title or record.item_id or record.subject_id).classes("wrap")
