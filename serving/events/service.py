"""The service of `POST /v1/events`: all good events are committed before they are acknowledged.

The checks and the ids of events are those of files, see features.contracts.row_checks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.clock import Clock
from features.contracts.event_ids import derive_event_ids
from features.contracts.money import minor_digits
from features.contracts.row_checks import (
    CLOCK_SKEW,
    CheckedEvent,
    EventRow,
    EventRules,
    check_event,
)
from features.database import transaction
from features.facts.events import EventLog
from features.facts.known_events import ImportedEvents

MAX_EVENTS = 1_000


@dataclass(frozen=True)
class RejectedEvent:
    """An event that was not stored: its position in the request, and why."""

    index: int
    reason: str


@dataclass(frozen=True)
class IngestResult:
    """How many events of a request were stored, how many were known before, and which were
    rejected."""

    accepted: int
    duplicates: int
    rejected: list[RejectedEvent]


@dataclass(frozen=True)
class EventService:
    """Stores events of one database.

    imported   which events an import holds
    """

    settings: Settings
    engine: sa.Engine
    clock: Clock
    system_clock: Clock
    imported: ImportedEvents

    def ingest(self, events: Sequence[Mapping[str, object]]) -> IngestResult:
        """Store the good events, each once however often it is sent, and return after the commit.

        One that an import holds is a duplicate. It is stored all the same, since the server sees
        what is imported only after the next materialization; every reader counts it once.
        """
        rules = EventRules(minor_units_of=self._minor_units, latest=self.clock.now() + CLOCK_SKEW)
        checked = [check_event(event, rules) for event in events]
        rejected = [
            RejectedEvent(index, "; ".join(fault.message() for fault in event.faults))
            for index, event in enumerate(checked)
            if event.faults
        ]
        rows = _identify([event for event in checked if not event.faults])
        if not rows:
            return IngestResult(0, 0, rejected)
        is_imported = self.imported.contain([str(row["event_id"]) for row in rows])
        again = [row for row, known in zip(rows, is_imported, strict=True) if known]
        new = [row for row, known in zip(rows, is_imported, strict=True) if not known]
        with transaction(self.engine) as connection:
            log, now = EventLog(connection), self.system_clock.now()
            log.append(again, now)
            appended = log.append(new, now)
        return IngestResult(appended.accepted, appended.duplicates + len(again), rejected)

    def _minor_units(self, zone: str) -> int:
        """Return the minor units of a major one, in the currency of the zone."""
        return int(10 ** minor_digits(self.settings.zone(zone).currency))


def _identify(checked: Sequence[CheckedEvent]) -> list[EventRow]:
    """Return the rows, each with an id: its own, else that of its content."""
    nameless = [event for event in checked if event.row["event_id"] is None]
    event_ids = derive_event_ids([event.content for event in nameless])
    for event, event_id in zip(nameless, event_ids, strict=True):
        event.row["event_id"] = event_id
    return [event.row for event in checked]
