"""Changes of status that follow from time or from a newer price, and the audit of all changes.

suggested ─submit─> submitted ──approve──> approved ──> live        valid now
    │       (edit)    │   │                    └──────> scheduled   valid from effective_from
    │                 │   └─reject─> rejected                       on, then live
    └────────┬────────┘
             ├─> superseded   a newer suggestion or a newer price replaced it (a live one too)
             └─> expired      its time ran out (a live promotion's too)
live, scheduled ──rollback──> rolled_back
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import sqlalchemy as sa

from features.database import lock
from serving.database.audit_log import SYSTEM, AuditEntry, AuditLog, Decider
from serving.price_desk.repository import OPEN, QueueEntry, Suggestion, Suggestions


def settle_due(connection: sa.Connection, now: datetime, at: datetime) -> int:
    """Let due suggestions expire, go live or end, and return how many changed.

    `now` is business time, `at` system time.
    """
    repository = Suggestions(connection)
    due = repository.due(now)
    if not due:
        return 0
    lock(connection, "price_desk")
    due = repository.due(now)
    system = Decider(SYSTEM, now, at)
    begun = [s for s in due if s.status == "scheduled" and not (s.ends_at and s.ends_at <= now)]
    over = [s for s in due if s not in begun]
    if begun:
        supersede_live(connection, system, begun)
        repository.change([s.id for s in begun], now, status="live")
        log_changes(connection, system, "go_live", begun)
    if over:
        repository.change([s.id for s in over], now, status="expired")
        log_changes(connection, system, "expire", over)
    return len(due)


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


def _supersede(connection: sa.Connection, decider: Decider, entries: Sequence[QueueEntry]) -> None:
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
            **(details or {}).get(suggestion.id, {}),
        }
        entries.append(AuditEntry(decider.actor, action, "price_suggestion", suggestion.id, values))
    AuditLog(connection).append(entries, decider.at)
