"""The service of `POST /v1/events`: all good events are committed before they are acknowledged.

The checks and the ids of events are those of files, see features.contracts.row_checks.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.clock import Clock
from features.contracts.errors import Unavailable
from features.contracts.event_ids import derive_event_ids, list_differences
from features.contracts.money import minor_digits
from features.contracts.row_checks import (
    CLOCK_SKEW,
    CheckedEvent,
    EventRow,
    EventRules,
    check_event,
)
from features.contracts.tables import ATTRIBUTES, DEFAULT_ZONE
from features.contracts.texts import clean_text
from features.database import reading, transaction
from features.facts.erased_ids import IdDigests, strip_erased_ids
from features.facts.events import EventLog
from features.facts.exclusions import EXCLUDE, Exclusions, is_marked_by
from features.facts.known_events import ImportedEvents
from features.facts.zones import KnownZones
from features.prices.currencies import find_currencies, keep_currencies, keep_unknown_zones

MAX_EVENTS = 1_000
# The attribute of an event whose time had not come: the time that was sent.
SENT_AT = "sent_occurred_at"
_NO_LIMIT = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class RejectedEvent:
    """An event that was not stored: its position in the request, and why."""

    index: int
    reason: str


@dataclass(frozen=True)
class IngestResult:
    """How many events of a request were stored, how many were known before, and which were
    rejected; how many had a time that had not come, and of how many the ids of an erased person
    were left out."""

    accepted: int
    duplicates: int
    rejected: list[RejectedEvent]
    n_from_the_future: int = 0
    n_without_ids: int = 0


class _Stored(NamedTuple):
    """How many rows were new, which are no repetition of the stored event of their id (position
    and columns that differ), and of how many the ids of an erased person were left out."""

    accepted: int
    conflicts: dict[int, str]
    n_without_ids: int


@dataclass(frozen=True)
class EventService:
    """Stores events of one database.

    imported      which events an import holds
    digests       by which ids of erased people are recognised
    note_sign_ins   told of stored events, which may be the first with a visitor and a user
    workers       where events are stored: they wait for the database away from all other work
    max_waiting   requests that may wait for it; more are refused, so that senders who wait leave
                  places for everybody else
    _kept_zones   the zones whose currency the database is known to keep
    """

    settings: Settings
    engine: sa.Engine
    clock: Clock
    system_clock: Clock
    imported: ImportedEvents
    zones: KnownZones
    exclusions: Exclusions
    digests: IdDigests
    note_sign_ins: Callable[[Sequence[EventRow]], None]
    workers: Executor
    max_waiting: int
    _waiting: set[object] = field(default_factory=set)
    _kept_zones: set[str] = field(default_factory=set)

    def summarize_received(self) -> tuple[int, datetime | None]:
        """Return how many received events wait in the database, and when the last one came."""
        with reading(self.engine) as connection:
            return EventLog(connection).summarize()

    async def store(self, events: Sequence[Mapping[str, object]]) -> IngestResult:
        """Do `ingest` in a worker. Raises Unavailable where too many requests wait already."""
        if len(self._waiting) >= self.max_waiting:
            raise Unavailable(
                "too many senders of events wait for the database", retry_after_seconds=1
            )
        work = asyncio.get_running_loop().run_in_executor(self.workers, self.ingest, events)
        self._waiting.add(work)
        try:
            return await work
        finally:
            self._waiting.discard(work)

    def ingest(self, events: Sequence[Mapping[str, object]]) -> IngestResult:
        """Store the good events, each once however often it is sent, and return after the commit.

        One that an import holds is a duplicate. It is stored all the same, since the server sees
        what is imported only after the next materialization; every reader counts it once. One whose
        time has not come by the clock of this server (one of two clocks is wrong) is stored as
        occurring now, with the time that was sent in its attributes.
        """
        named = [_read_zone(event) for event in events]
        zones = self.zones.find_rules(named)
        rules = EventRules(minor_units_of=self._minor_units, latest=_NO_LIMIT, zones=zones)
        checked = [check_event(event, rules) for event in events]
        rejected = [
            RejectedEvent(index, "; ".join(fault.message() for fault in event.faults))
            for index, event in enumerate(checked)
            if event.faults
        ]
        good = [index for index, event in enumerate(checked) if not event.faults]
        has_own_id = [checked[index].row["event_id"] is not None for index in good]
        rows = _identify([checked[index] for index in good])
        if not rows:
            return IngestResult(0, 0, rejected)
        exclusions = self.exclusions.find()
        for row in rows:
            if is_marked_by(row, exclusions):
                row[EXCLUDE] = True
        n_from_the_future = _bring_to_present(rows, self.clock.now())
        with_amounts = {
            named[index] for index, row in zip(good, rows, strict=True) if _has_amount(row)
        }
        unknown_zones = with_amounts - zones.known
        stored = self._store(rows, has_own_id, unknown_zones)
        conflicts = stored.conflicts
        self.note_sign_ins([row for index, row in enumerate(rows) if index not in conflicts])
        rejected += [
            RejectedEvent(good[position], f"event_id: is that of an event with another {columns}")
            for position, columns in conflicts.items()
        ]
        return IngestResult(
            accepted=stored.accepted,
            duplicates=len(rows) - stored.accepted - len(conflicts),
            rejected=sorted(rejected, key=lambda event: event.index),
            n_from_the_future=n_from_the_future,
            n_without_ids=stored.n_without_ids,
        )

    def _store(
        self, rows: Sequence[EventRow], has_own_id: Sequence[bool], unknown_zones: Collection[str]
    ) -> _Stored:
        """Store the rows, without the ids of erased people.

        Conflicts have the id of another event, stored, imported or earlier in the request. An id
        that was derived from the content has none. `unknown_zones` are those whose rows with
        amounts became rows of the default zone.
        """
        ids = [str(row["event_id"]) for row in rows]
        is_imported = self.imported.contain(ids)
        named = {event_id for event_id, own in zip(ids, has_own_id, strict=True) if own}
        imported_rows = self.imported.find(
            [key for key, known in zip(ids, is_imported, strict=True) if known and key in named]
        )
        conflicts = _find_conflicts(rows, imported_rows)
        again = [
            row
            for position, row in enumerate(rows)
            if is_imported[position] and position not in conflicts
        ]
        new = [row for row, known in zip(rows, is_imported, strict=True) if not known]
        zones = {str(row["zone"]) for row in rows} - self._kept_zones
        with transaction(self.engine) as connection:
            n_without_ids = strip_erased_ids(connection, self.digests, rows)
            if zones:
                keep_currencies(connection, find_currencies(self.settings, zones))
            if unknown_zones:
                currencies = find_currencies(self.settings, unknown_zones)
                keep_unknown_zones(connection, currencies)
            log, now = EventLog(connection), self.system_clock.now()
            log.append(again, now)
            appended = log.append(new, now)
            received = log.find([*named]) if named and appended.accepted < len(new) else {}
        self._kept_zones.update(zones)
        for event_id in imported_rows:
            received.pop(event_id, None)
        conflicts |= _find_conflicts(rows, received)
        return _Stored(appended.accepted, conflicts, n_without_ids)

    def _minor_units(self, zone: str) -> int:
        """Return the minor units of a major one, in the currency of the zone."""
        return int(10 ** minor_digits(self.settings.zone(zone).currency))


def _has_amount(row: EventRow) -> bool:
    """Return whether a row means another amount under another currency."""
    amounts = ("line_amount_minor", "unit_price_minor", "list_price_minor")
    return any(row[name] is not None for name in amounts)


def _read_zone(event: Mapping[str, object]) -> str:
    """Return the zone that an event names, the default one where it names none."""
    zone = event.get("zone")
    return (clean_text(zone) if isinstance(zone, str) else None) or DEFAULT_ZONE


def _bring_to_present(rows: Sequence[EventRow], now: datetime) -> int:
    """Give the rows whose time has not come the present one, and return how many there were."""
    n_changed = 0
    for row in rows:
        sent = row["occurred_at"]
        if not isinstance(sent, datetime) or sent <= now + CLOCK_SKEW:
            continue
        attributes = json.loads(str(row[ATTRIBUTES] or "{}"))
        attributes[SENT_AT] = sent.isoformat()
        row[ATTRIBUTES] = json.dumps(attributes, ensure_ascii=False, sort_keys=True)
        row["occurred_at"] = now
        n_changed += 1
    return n_changed


def _find_conflicts(
    rows: Sequence[EventRow], known: Mapping[str, Mapping[str, object]]
) -> dict[int, str]:
    """Return the rows that differ from the known one of their id: position and columns."""
    conflicts = {}
    for position, row in enumerate(rows):
        stored = known.get(str(row["event_id"]))
        columns = list_differences(_as_sent(row), _as_sent(stored)) if stored else []
        if columns:
            conflicts[position] = " and ".join(columns)
    return conflicts


def _as_sent(row: Mapping[str, object]) -> dict[str, object]:
    """Return a row as it was sent: with a time that had not come."""
    attributes = json.loads(str(row[ATTRIBUTES] or "{}"))
    sent = attributes.pop(SENT_AT, None)
    if sent is None:
        return dict(row)
    return dict(row) | {
        "occurred_at": datetime.fromisoformat(sent),
        ATTRIBUTES: json.dumps(attributes),
    }


def _identify(checked: Sequence[CheckedEvent]) -> list[EventRow]:
    """Return the rows, each with an id: its own, else that of its content."""
    nameless = [event for event in checked if event.row["event_id"] is None]
    event_ids = derive_event_ids([event.content for event in nameless])
    for event, event_id in zip(nameless, event_ids, strict=True):
        event.row["event_id"] = event_id
    return [event.row for event in checked]
