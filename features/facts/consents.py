"""Statements of people about personalization, to the shop and in imported files: the later counts.

A statement to the shop, over HTTP or by a verb, is a row of the table `user_consent`. One of a file
is a row of the imported table `users`, as of its `updated_at`. An import stores its later
statements as rows of `user_consent` too, so readers ask that table first, and `users` only about
people who are not in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.tables import USERS
from features.database import give_way, insert, reading, reading_stored, transaction
from features.database_tables import user_consent
from features.facts.erased_ids import IdDigests, find_erased_users

if TYPE_CHECKING:
    from features.facts.facts import Facts

_PART = 500  # statements of one transaction


@dataclass(frozen=True)
class Consent:
    """What a person stated, and when (business time)."""

    personalization_allowed: bool
    stated_at: datetime


def read_consent(connection: sa.Connection, user_id: str) -> Consent | None:
    """Return what a user stated to the shop; None without a statement."""
    query = sa.select(user_consent).where(user_consent.c.user_id == user_id)
    row = connection.execute(query).one_or_none()
    return None if row is None else Consent(row.personalization_allowed, row.updated_at)


def store_consents(
    connection: sa.Connection, consents: Mapping[str, Consent], *, only_later: bool = False
) -> None:
    """Store what users state, in place of what they stated before; with `only_later` only where
    that is older."""
    rows = [
        {
            "user_id": user_id,
            "personalization_allowed": consent.personalization_allowed,
            "updated_at": consent.stated_at,
        }
        for user_id, consent in sorted(consents.items())
    ]
    statement = insert(connection, user_consent)
    newest = {name: statement.excluded[name] for name in ("personalization_allowed", "updated_at")}
    is_later = statement.excluded.updated_at > user_consent.c.updated_at if only_later else None
    connection.execute(
        statement.on_conflict_do_update(index_elements=["user_id"], set_=newest, where=is_later),
        rows,
    )


def remove_consent(connection: sa.Connection, user_id: str) -> int:
    """Remove what a user stated; return how many statements there were."""
    chosen = user_consent.delete().where(user_consent.c.user_id == user_id)
    return connection.execute(chosen).rowcount


def read_stated_consents(settings: Settings) -> pa.Table | None:
    """Return the statements to the shop in the stored schema of USERS; None where the database has
    no such table yet."""
    with reading_stored(settings, user_consent) as connection:
        if connection is None:
            return None
        rows = connection.execute(sa.select(user_consent)).mappings().all()
    return pa.Table.from_pylist([dict(row) for row in rows], USERS.arrow)


def take_over_imported_consents(facts: Facts, engine: sa.Engine, digests: IdDigests) -> None:
    """Store the statements of imported files that are later than those to the shop.

    Of somebody without a statement only a refusal is stored: it counts at the next answer.
    """
    users = facts.read_imported(USERS.name)
    dated = users.filter(users.updated_at.notnull())
    rows = dated.select("user_id", "personalization_allowed", "updated_at").to_pyarrow().to_pylist()
    if not rows:
        return
    with reading(engine) as connection:
        stored = connection.execute(sa.select(user_consent)).all()
    stated_at = {row.user_id: row.updated_at for row in stored}
    later = {
        row["user_id"]: Consent(row["personalization_allowed"], row["updated_at"])
        for row in rows
        if _is_later(row, stated_at.get(row["user_id"]))
    }
    for number, part in enumerate(_split(later)):
        if number:
            give_way(engine)
        with transaction(engine) as connection:
            # Who stated something, or was erased, since the look above.
            erased = find_erased_users(connection, digests, part)
            kept = {user: stated for user, stated in part.items() if user not in erased}
            if kept:
                store_consents(connection, kept, only_later=True)


def _is_later(row: Mapping[str, object], stated_at: datetime | None) -> bool:
    updated_at = row["updated_at"]
    if stated_at is None or not isinstance(updated_at, datetime):
        return not row["personalization_allowed"]
    return updated_at > stated_at


def _split(consents: Mapping[str, Consent]) -> list[dict[str, Consent]]:
    items = list(consents.items())
    return [dict(items[start : start + _PART]) for start in range(0, len(items), _PART)]
