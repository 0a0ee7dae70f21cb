"""Reads and verifies the rows of the audit log."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from features.database_tables import price_ledger
from serving.database.audit_log import (
    BUSINESS_TIME,
    ORIGIN,
    PROGRAMS,
    RULE_PREFIX,
    AuditEntry,
    AuditLog,
    Head,
    hash_row,
)
from serving.database.desk_tables import price_suggestions
from serving.database.tables import api_keys, audit_log, people

_FETCH = 10_000


@dataclass(frozen=True)
class AuditFilter:
    """Which rows to read: those that agree with every value that is not None.

    subject_id   of a suggestion also the rollbacks of its price
    actor        the id of a key or the sign-in name of a person
    item_id      what concerns an item: its suggestions, its price changes, and itself
    about        the id of the subject, or a text of the details, as the id of an item
    since, until   system time, `until` not included
    left_out     actions that are not read
    """

    subject_id: str | None = None
    actor: str | None = None
    action: str | None = None
    subject_type: str | None = None
    item_id: str | None = None
    about: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    left_out: tuple[str, ...] = ()

    def build_clauses(self) -> list[sa.ColumnElement[bool]]:
        """Return what a row must satisfy."""
        table, suggestion = audit_log.c, price_suggestions.c
        conditions = [
            table[name] == value
            for name in ("actor", "action", "subject_type")
            if (value := getattr(self, name)) is not None
        ]
        if self.subject_id is not None:
            prices = sa.select(suggestion.price_id).where(suggestion.id == self.subject_id)
            conditions.append(
                sa.or_(table.subject_id == self.subject_id, table.subject_id.in_(prices))
            )
        if self.item_id is not None:
            conditions.append(_concerns_item(self.item_id))
        if self.about is not None:
            written = json.dumps(self.about, ensure_ascii=False)[1:-1]
            in_details = table.details.contains(written, autoescape=True)
            conditions.append(sa.or_(table.subject_id == self.about, in_details))
        if self.since is not None:
            conditions.append(table.at >= self.since)
        if self.until is not None:
            conditions.append(table.at < self.until)
        if self.left_out:
            conditions.append(table.action.not_in(self.left_out))
        return conditions


def _concerns_item(item_id: str) -> sa.ColumnElement[bool]:
    table = audit_log.c
    suggestions = sa.select(price_suggestions.c.id).where(price_suggestions.c.item_id == item_id)
    prices = sa.select(price_ledger.c.price_id).where(price_ledger.c.item_id == item_id)
    return sa.or_(
        sa.and_(table.subject_type == "item", table.subject_id == item_id),
        sa.and_(table.subject_type == "price_suggestion", table.subject_id.in_(suggestions)),
        sa.and_(table.subject_type == "price_change", table.subject_id.in_(prices)),
    )


ALL_ACTIONS = AuditFilter()


@dataclass(frozen=True, kw_only=True)
class AuditRecord(AuditEntry):
    """An action in the log; the chain holds neither names nor what is looked up of the subject.

    actor_name   the full name of a person or the name of a key today
    actor_kind   person, key, rule, system, or operator (the command line of the server)
    at           system time
    business_at  the time of the shop's prices; None where it was not noted
    suggestion_id   the suggestion that the action is about; of a rollback, the one whose price it
                 took back
    item_id, title   of the item that it is about; None where it is about none, or about many
    """

    actor_name: str
    actor_kind: str
    seq: int
    at: datetime
    business_at: datetime | None
    suggestion_id: str | None
    item_id: str | None
    title: str | None
    previous_hash: str
    hash: str


@dataclass(frozen=True)
class Verification:
    """`broken_at` is the number of the first row that does not fit, None when the chain is
    whole."""

    rows: int
    head: Head
    broken_at: int | None

    @property
    def intact(self) -> bool:
        """Whether every row fits."""
        return self.broken_at is None


class AuditRecords:
    """The repository of actions, on one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def head(self) -> Head:
        """Return the end of the chain."""
        return AuditLog(self._connection).head()

    def page(
        self, which: AuditFilter = ALL_ACTIONS, *, after: int = 0, limit: int = 100
    ) -> list[AuditRecord]:
        """Return actions after number `after`, in order."""
        query = _select_records(which).where(audit_log.c.seq > after).order_by(audit_log.c.seq)
        return [_read_record(row) for row in self._connection.execute(query.limit(limit))]

    def newest(
        self, which: AuditFilter = ALL_ACTIONS, *, before: int | None = None, limit: int = 100
    ) -> list[AuditRecord]:
        """Return actions before number `before`, the newest first."""
        query = _select_records(which)
        if before is not None:
            query = query.where(audit_log.c.seq < before)
        rows = self._connection.execute(query.order_by(audit_log.c.seq.desc()).limit(limit))
        return [_read_record(row) for row in rows]

    def count(self, which: AuditFilter) -> int:
        """Return how many actions there are."""
        query = sa.select(sa.func.count()).select_from(audit_log).where(*which.build_clauses())
        return self._connection.execute(query).scalar_one()

    def list_actions(self) -> list[str]:
        """Return the names of all actions in the log."""
        query = sa.select(audit_log.c.action).distinct().order_by(audit_log.c.action)
        return list(self._connection.scalars(query))

    def list_actors(self) -> list[tuple[str, str]]:
        """Return everybody in the log with their names today."""
        actors = sa.select(audit_log.c.actor).distinct().subquery()
        query = (
            sa.select(actors.c.actor, people.c.full_name, api_keys.c.name)
            .outerjoin(people, people.c.name == actors.c.actor)
            .outerjoin(api_keys, api_keys.c.id == actors.c.actor)
        )
        named = [(row[0], _name_actor(*row)[0]) for row in self._connection.execute(query)]
        return sorted(named, key=lambda row: row[1].casefold())

    def read_rows(self) -> Iterator[Mapping[str, object]]:
        """Return every row as it is stored, in order."""
        query = sa.select(audit_log).order_by(audit_log.c.seq)
        result = self._connection.execute(query.execution_options(yield_per=_FETCH))
        return (dict(row._mapping) for row in result)

    def verify(self, anchor: Head | None = None) -> Verification:
        """Walk the whole chain; an `anchor` noted earlier must still be there as it was."""
        seq, previous = 0, ORIGIN
        query = sa.select(audit_log).order_by(audit_log.c.seq)
        result = self._connection.execute(query.execution_options(stream_results=True))
        for rows in result.partitions(_FETCH):
            for row in rows:
                follows = row.seq == seq + 1 and row.previous_hash == previous
                fits = follows and hash_row(dict(row._mapping), row.at) == row.hash
                anchored = anchor is None or anchor.seq != row.seq or anchor.hash == row.hash
                if not (fits and anchored):
                    result.close()
                    return Verification(seq, Head(seq, previous), seq + 1)
                seq, previous = row.seq, row.hash
        cut_off = anchor is not None and anchor.seq > seq
        return Verification(seq, Head(seq, previous), seq + 1 if cut_off else None)


_ABOUT = price_suggestions.alias("about")
_UNDONE = price_suggestions.alias("undone")
_KEY = api_keys.alias("key_that_it_is_about")


def _select_records(which: AuditFilter) -> sa.Select:
    """Return the query of actions with what is known of actors and subjects."""
    table = audit_log.c
    columns = (
        people.c.full_name,
        api_keys.c.name.label("key_name"),
        sa.func.coalesce(_ABOUT.c.id, _UNDONE.c.id).label("suggestion_id"),
        sa.func.coalesce(_ABOUT.c.item_id, _UNDONE.c.item_id, price_ledger.c.item_id).label(
            "item_id"
        ),
        sa.func.coalesce(_ABOUT.c.title, _UNDONE.c.title, _KEY.c.name).label("title"),
    )
    return (
        sa.select(audit_log, *columns)
        .outerjoin(people, people.c.name == table.actor)
        .outerjoin(api_keys, api_keys.c.id == table.actor)
        .outerjoin(_ABOUT, _ABOUT.c.id == table.subject_id)
        .outerjoin(_UNDONE, _UNDONE.c.price_id == table.subject_id)
        .outerjoin(_KEY, _KEY.c.id == table.subject_id)
        .outerjoin(price_ledger, price_ledger.c.price_id == table.subject_id)
        .where(*which.build_clauses())
    )


def _read_record(row: sa.Row) -> AuditRecord:
    details = json.loads(row.details)
    at = details.get(BUSINESS_TIME)
    name, kind = _name_actor(row.actor, row.full_name, row.key_name)
    return AuditRecord(
        actor=row.actor,
        action=row.action,
        subject_type=row.subject_type,
        subject_id=row.subject_id,
        details=details,
        actor_name=name,
        actor_kind=kind,
        seq=row.seq,
        at=row.at,
        business_at=None if at is None else datetime.fromisoformat(at),
        suggestion_id=row.suggestion_id,
        item_id=row.subject_id if row.subject_type == "item" else row.item_id,
        title=row.title,
        previous_hash=row.previous_hash,
        hash=row.hash,
    )


def _name_actor(actor: str, full_name: str | None, key_name: str | None) -> tuple[str, str]:
    """Return the name and the kind of an actor; one that is gone keeps its id as its name."""
    if actor in PROGRAMS:
        return actor, actor
    if actor.startswith(RULE_PREFIX):
        return actor.removeprefix(RULE_PREFIX), "rule"
    if full_name is not None:
        return full_name, "person"
    return key_name or actor, "key" if key_name or actor.startswith("key_") else "person"
