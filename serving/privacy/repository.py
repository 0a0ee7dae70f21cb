"""The rows of a person in the database: events, exposures, slates."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import sqlalchemy as sa

from features.database_tables import events
from features.facts import exposures, slates
from features.facts.events import EventLog
from features.facts.person import Person


@dataclass(frozen=True)
class StoredRows:
    """The rows of a person in the database."""

    events: list[dict[str, object]]
    exposures: list[dict[str, object]]
    slates: pa.Table


@dataclass(frozen=True)
class RemovedRows:
    """How many rows of a person were removed from the database; of slates only the unit is."""

    n_events: int = 0
    n_exposures: int = 0
    n_slates: int = 0

    def __add__(self, other: RemovedRows) -> RemovedRows:
        return RemovedRows(
            self.n_events + other.n_events,
            self.n_exposures + other.n_exposures,
            self.n_slates + other.n_slates,
        )


class PersonRows:
    """The repository of a person's rows, on one connection."""

    def __init__(self, connection: sa.Connection, person: Person) -> None:
        self._connection, self._person = connection, person

    def read(self) -> StoredRows:
        """Return all rows of the person."""
        connection, person = self._connection, self._person
        unit_ids = person.linked_unit_ids | {person.user_id}
        return StoredRows(
            events=EventLog(connection).read_matching(person.build_clause()),
            exposures=exposures.read_of_units(connection, unit_ids),
            slates=slates.read_of_units(connection, unit_ids),
        )

    def erase_linked(self) -> RemovedRows:
        """Remove what is kept under the person's visitors and sessions alone.

        The rows that name the user stay: by them the visitors are known.
        """
        person = self._person
        ids = person.linked_unit_ids
        return RemovedRows(
            n_events=EventLog(self._connection).erase(person.build_linked_clause()),
            n_exposures=exposures.erase(self._connection, ids),
            n_slates=slates.erase(self._connection, ids),
        )

    def erase_user(self) -> RemovedRows:
        """Remove the rows that name the user."""
        user_id = self._person.user_id
        return RemovedRows(
            n_events=EventLog(self._connection).erase(events.c.user_id == user_id),
            n_exposures=exposures.erase(self._connection, [user_id]),
            n_slates=slates.erase(self._connection, [user_id]),
        )
