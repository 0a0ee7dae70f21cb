"""Files the suggestions of a run in place of what earlier runs left undecided in its zone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from features.database import lock
from serving.database.audit_log import AuditEntry, AuditLog, Decider
from serving.price_desk.lifecycle import supersede_zone
from serving.price_desk.repository import NewSuggestion, Suggestions


@dataclass(frozen=True)
class FiledSuggestions:
    """The ids of a run's suggestions in the order filed, and the number of superseded ones."""

    ids: list[str]
    superseded: int


def file_suggestions(
    connection: sa.Connection,
    system: Decider,
    run_id: str,
    zone: str,
    drafts: Sequence[NewSuggestion],
    about: Mapping[str, object],
) -> FiledSuggestions:
    """File a run's suggestions of a zone in the given order.

    They supersede what earlier runs left undecided there, of all items: it was computed under the
    rules and prices of before. `about` describes the run in the audit log (objective, versions); a
    run that neither files nor supersedes anything is not logged.
    """
    lock(connection, "price_desk")
    n_superseded = supersede_zone(connection, system, zone)
    ids = Suggestions(connection).add(drafts)
    if ids or n_superseded:
        details = {"zone": zone, **about, "filed": len(ids), "superseded": n_superseded}
        entry = AuditEntry(system.actor, "suggest", "pricing_run", run_id, details)
        AuditLog(connection).append([entry], system.at)
    return FiledSuggestions(ids, n_superseded)
