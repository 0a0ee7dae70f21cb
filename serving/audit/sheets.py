"""The audit log as a table for people: names instead of ids, both clocks, what changed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import sqlalchemy as sa

from serving.audit.repository import AuditFilter, AuditRecord, AuditRecords
from serving.spreadsheets import Cell, Sheet

_PAGE = 1_000
_COLUMNS = (
    "number",
    "system_time",
    "business_time",
    "who",
    "who_id",
    "action",
    "subject_type",
    "subject_id",
    "suggestion_id",
    "item_id",
    "title",
    "zone",
    "from",
    "to",
    "reason",
    "details",
    "hash",
)
# Details that have a column of their own.
_OWN_COLUMN = ("zone", "from", "to", "reason", "item_id", "business_time")
_ACTORS = {
    "system": "Shopwright itself: what follows from time or from another decision",
    "operator": "the command line of the server",
}


def tabulate_actions(connection: sa.Connection, which: AuditFilter) -> Sheet:
    """Return the actions that match in order, read page by page."""
    return Sheet(_COLUMNS, _read_rows(connection, which))


def describe_actor(record: AuditRecord) -> str:
    """Return who acted, for people."""
    if record.actor_kind == "rule":
        return f"the rule {record.actor_name}"
    return _ACTORS.get(record.actor_kind, record.actor_name)


def _read_rows(connection: sa.Connection, which: AuditFilter) -> Iterator[list[Cell]]:
    after = 0
    while page := AuditRecords(connection).page(which, after=after, limit=_PAGE):
        yield from map(_make_row, page)
        after = page[-1].seq


def _make_row(record: AuditRecord) -> list[Cell]:
    details = record.details
    rest = {name: value for name, value in details.items() if name not in _OWN_COLUMN}
    return [
        record.seq,
        record.at,
        record.business_at,
        describe_actor(record),
        record.actor,
        record.action,
        record.subject_type,
        record.subject_id,
        record.suggestion_id,
        record.item_id,
        record.title,
        *(_read_text(details, name) for name in ("zone", "from", "to", "reason")),
        json.dumps(rest, ensure_ascii=False, sort_keys=True) if rest else None,
        record.hash,
    ]


def _read_text(details: Mapping[str, object], name: str) -> str | None:
    value = details.get(name)
    return value if value is None or isinstance(value, str) else json.dumps(value)
