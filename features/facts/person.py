"""A person as rows know them: a user, with the visitors and sessions that were this user alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from features.contracts.person_ids import SESSION, USER, VISITOR
from features.contracts.tables import EVENTS, USERS
from features.database_tables import events, exposures, user_consent
from features.one_of import one_of

if TYPE_CHECKING:
    from features.facts.facts import Facts

_LINKED = ("visitor_id", "session_id")


@dataclass(frozen=True)
class Person:
    """The ids of a person.

    visitor_ids, session_ids   those that came with this user, and with no other one
    shared_ids                 those that came with another user too: a browser of several people,
                               whose rows without a user may be anybody's
    ids_of_users               linked ids that are the user_id of somebody else too: a slate or an
                               exposure does not say which of the two it means
    """

    user_id: str
    visitor_ids: frozenset[str] = frozenset()
    session_ids: frozenset[str] = frozenset()
    shared_ids: frozenset[str] = frozenset()
    ids_of_users: frozenset[str] = frozenset()

    @property
    def linked_unit_ids(self) -> frozenset[str]:
        """The ids beside the user's under which slates and exposures may know the person."""
        return (self.visitor_ids | self.session_ids) - self.ids_of_users - {self.user_id}

    def by_kind(self) -> dict[str, frozenset[str]]:
        """Return the ids by their kind."""
        return {
            USER: frozenset({self.user_id}),
            VISITOR: self.visitor_ids,
            SESSION: self.session_ids,
        }

    def has_id(self, kind: str, text: str) -> bool:
        """Return whether an id is one of the person's."""
        return text in self.by_kind()[kind]

    def build_clause(self) -> sa.ColumnElement[bool]:
        """Return the condition on received events."""
        return sa.or_(events.c.user_id == self.user_id, self.build_linked_clause())

    def build_linked_clause(self) -> sa.ColumnElement[bool]:
        """Return the condition on received events of the person without the user."""
        return sa.and_(
            events.c.user_id.is_(None),
            sa.or_(
                one_of(events.c.visitor_id, list(self.visitor_ids)),
                one_of(events.c.session_id, list(self.session_ids)),
            ),
        )


@dataclass(frozen=True)
class RowsOfPerson:
    """The imported rows of a person, in a table with these columns."""

    person: Person
    columns: tuple[str, ...]

    def build_sql(self) -> tuple[str, list[object]]:
        """Return a condition for DuckDB that is never null, and its parameters."""
        condition = "coalesce(user_id = ?, false)"
        parameters: list[object] = [self.person.user_id]
        ids = (self.person.visitor_ids, self.person.session_ids)
        for column, texts in zip(_LINKED, ids, strict=True):
            if column in self.columns:
                linked = f"user_id IS NULL AND {column} IN (SELECT unnest(?::VARCHAR[]))"
                condition += f" OR coalesce({linked}, false)"
                parameters.append(sorted(texts))
        return f"({condition})", parameters


def find_person(facts: Facts, connection: sa.Connection, user_id: str) -> Person:
    """Return the user with the visitors and sessions that came with them: in imported and received
    events, and in exposures."""
    alone: dict[str, frozenset[str]] = {}
    shared: set[str] = set()
    for column in _LINKED:
        own, others = _find_links(facts, connection, column, user_id)
        alone[column] = frozenset(own - others)
        shared |= own & others
    visitor_ids, session_ids = alone["visitor_id"], alone["session_id"]
    ids_of_users = _find_users(facts, connection, sorted(visitor_ids | session_ids))
    return Person(user_id, visitor_ids, session_ids, frozenset(shared), ids_of_users)


def _find_users(facts: Facts, connection: sa.Connection, ids: list[str]) -> frozenset[str]:
    """Return those of these ids that users have."""
    if not ids:
        return frozenset()
    is_user = one_of(exposures.c.unit_id, ids) & exposures.c.visitor_id.is_not(None)
    queries = (
        sa.select(events.c.user_id).where(one_of(events.c.user_id, ids)),
        sa.select(user_consent.c.user_id).where(one_of(user_consent.c.user_id, ids)),
        sa.select(exposures.c.unit_id).where(is_user),
    )
    users = {user for query in queries for user in connection.execute(query.distinct()).scalars()}
    for table in (EVENTS, USERS):
        rows = facts.read_imported(table.name)
        known = rows.filter(rows.user_id.isin(ids)).select("user_id").distinct()
        users |= set(known.to_pyarrow()["user_id"].to_pylist())
    return frozenset(users)


def _find_links(
    facts: Facts, connection: sa.Connection, column: str, user_id: str
) -> tuple[set[str], set[str]]:
    """Return the ids of a column that came with a user, and those of them that came with another
    one too."""
    imported = facts.read_imported(EVENTS.name).filter(lambda rows: rows[column].notnull())
    of_user = imported.filter(imported.user_id == user_id)
    own = set(of_user.select(column).distinct().to_pyarrow()[column].to_pylist())
    received = sa.select(events.c[column]).where(events.c[column].is_not(None)).distinct()
    own |= set(connection.execute(received.where(events.c.user_id == user_id)).scalars())
    exposed = sa.select(exposures.c.visitor_id).where(exposures.c.visitor_id.is_not(None))
    if column == "visitor_id":
        own |= set(connection.execute(exposed.where(exposures.c.unit_id == user_id)).scalars())
    if not own:
        return own, own
    with_others = (imported.user_id != user_id) & imported[column].isin(sorted(own))
    of_others = imported.filter(with_others)  # not those of nobody
    others = set(of_others.select(column).distinct().to_pyarrow()[column].to_pylist())
    known = one_of(events.c[column], list(own))
    others |= set(connection.execute(received.where(events.c.user_id != user_id, known)).scalars())
    if column == "visitor_id":
        joined = exposed.where(
            one_of(exposures.c.visitor_id, list(own)),
            exposures.c.unit_id != user_id,
            exposures.c.unit_id != exposures.c.visitor_id,
        )
        others |= set(connection.execute(joined).scalars())
    return own, others


def read_imported_rows(facts: Facts, table: str, person: Person) -> list[dict[str, object]]:
    """Return the imported rows of a person in a table."""
    rows = facts.read_imported(table)
    is_own = rows.user_id == person.user_id
    for column, ids in zip(_LINKED, (person.visitor_ids, person.session_ids), strict=True):
        if column in rows.columns and ids:
            is_own |= rows.user_id.isnull() & rows[column].isin(sorted(ids))
    own: list[dict[str, object]] = rows.filter(is_own.fill_null(False)).to_pyarrow().to_pylist()
    return own
