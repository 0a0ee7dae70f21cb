"""Suggestions that a newer price replaces, and the audit of all changes of status."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set

import sqlalchemy as sa

from serving.database.audit_log import BUSINESS_TIME, SYSTEM, AuditEntry, AuditLog, Decider
from serving.price_desk.repository import QueueEntry, Suggestion, Suggestions
from serving.price_desk.states import OPEN


def supersede_live(
    connection: sa.Connection, decider: Decider, successors: Sequence[Suggestion]
) -> None:
    """Supersede the live regular prices of the items that get a new regular price.

    A promotion leaves the regular price beneath it live.
    """
    newer = {(s.item_id, s.zone) for s in successors if s.kind == "regular"}
    earlier = Suggestions(connection).of_items(newer, ["live"])
    _supersede(connection, decider, [entry for entry in earlier if entry.kind == "regular"])


def supersede_open(
    connection: sa.Connection, decider: Decider, approved: Sequence[Suggestion]
) -> None:
    """Supersede the open suggestions that are older than an approved one of the same item."""
    newer = {(s.item_id, s.zone): s.seq for s in approved}
    waiting = Suggestions(connection).of_items(newer, OPEN)
    older = [entry for entry in waiting if entry.seq < newer[entry.item_id, entry.zone]]
    _supersede(connection, decider, older)


def supersede_off_sale(
    connection: sa.Connection, decider: Decider, waiting: Sequence[QueueEntry]
) -> None:
    """Supersede the undecided suggestions among these, whose items are off sale by now."""
    keys = {(entry.item_id, entry.zone) for entry in waiting}
    _supersede(connection, decider, Suggestions(connection).of_items(keys, OPEN))


def supersede_replaced(
    connection: sa.Connection, decider: Decider, keys: Iterable[tuple[str, str]]
) -> int:
    """Supersede what runs and the decider left undecided of these items and zones: the decider
    proposes other prices. Return how many; prices that others proposed stay."""
    waiting = [
        entry
        for entry in Suggestions(connection).of_items(keys, OPEN)
        if entry.kind == "regular" and entry.proposed_by in (SYSTEM, decider.actor)
    ]
    _supersede(connection, decider, waiting)
    return len(waiting)


def supersede_zone(connection: sa.Connection, decider: Decider, zone: str) -> int:
    """Supersede what earlier runs left undecided in a zone, and return how many.

    Prices that wait because an import holds them are not a run's.
    """
    waiting = Suggestions(connection).open_of_runs(zone)
    _supersede(connection, decider, waiting)
    return len(waiting)


def supersede_imports(connection: sa.Connection, decider: Decider, held: Set[str]) -> None:
    """Supersede prices of imports that wait although the price list holds others, by their ids."""
    waiting = Suggestions(connection).open_of_imports()
    _supersede(connection, decider, [entry for entry in waiting if entry.id not in held])


def supersede_waiting(
    connection: sa.Connection, decider: Decider, suggestions: Sequence[Suggestion]
) -> None:
    """Supersede the undecided among these suggestions, whoever proposed them."""
    _supersede(connection, decider, [entry for entry in suggestions if entry.status in OPEN])


def _supersede(
    connection: sa.Connection, decider: Decider, entries: Sequence[Suggestion | QueueEntry]
) -> None:
    ids = [entry.id for entry in entries]
    Suggestions(connection).change(ids, decider.now, status="superseded")
    log_changes(connection, decider, "supersede", entries)


def log_changes(
    connection: sa.Connection,
    decider: Decider,
    action: str,
    suggestions: Iterable[Suggestion | QueueEntry],
    details: Mapping[str, Mapping[str, str]] | None = None,
) -> None:
    """Write one audit entry per suggestion; `details` by suggestion id."""
    entries = []
    for suggestion in suggestions:
        values = {
            "item_id": suggestion.item_id,
            "zone": suggestion.zone,
            "reason": decider.reason,
            BUSINESS_TIME: decider.now.isoformat(),
            **(details or {}).get(suggestion.id, {}),
        }
        entries.append(AuditEntry(decider.actor, action, "price_suggestion", suggestion.id, values))
    AuditLog(connection).append(entries, decider.at)
