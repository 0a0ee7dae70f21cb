"""Ids of people who were erased, as keyed digests: rows that still name them are left out.

Files that were imported before, and events that wait at a sender, may bring an erased person back.
So the digests stay; without the secret nobody can find out from them who was erased, or whether
somebody was. What they leave out:

- of a user all rows; after the person has consented anew only those from before
- of a visitor or session that was this person's alone, the rows without a user from before the
  erasure: the browser may be somebody else's by now
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b, sha256

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.arrays import BoolArray, Int64Array
from features.contracts.errors import Damaged
from features.contracts.files import make_secret, read_secret
from features.contracts.person_ids import ID_COLUMNS, ID_KINDS, USER
from features.contracts.tables import TIMESTAMP
from features.contracts.values import Value
from features.database import insert, reading_stored
from features.database_tables import erased_ids
from features.one_of import one_of

_FILE = "privacy-secret"
_NO_SECRET = ""
_CHECK_SECONDS = 5.0
_FOREVER = np.iinfo(np.int64).max


class IdDigests:
    """Makes digests of ids with the secret of the shop. Safe to share between threads."""

    def __init__(self, settings: Settings) -> None:
        self._given = settings.privacy_secret
        self._path = settings.home / _FILE
        self._keyed: blake2b | None = None
        self._checked_at = -_CHECK_SECONDS

    def make(self, kind: str, text: str) -> str:
        """Return the digest of an id; the first one makes the secret."""
        if self._prepare() is None:
            make_secret(self._path)
        return self.find(kind, text)

    def find(self, kind: str, text: str) -> str:
        """Return the digest of an id; an empty text while there is no secret, and so no digest."""
        keyed = self._prepare()
        return _NO_SECRET if keyed is None else _digest(keyed, f"{kind}\0{text}")

    @property
    def mark(self) -> str:
        """A text by which digests of another secret are recognised."""
        keyed = self._prepare()
        return _NO_SECRET if keyed is None else _digest(keyed, "mark")

    def check(self, connection: sa.Connection) -> None:
        """Raise Damaged where people were erased under another secret: nobody would recognise
        them."""
        others = sa.select(erased_ids.c.digest).where(erased_ids.c.secret_mark != self.mark)
        if connection.execute(others.limit(1)).first() is not None:
            raise Damaged(
                "people were erased under another secret",
                where=str(self._path),
                hint="Restore the file from a backup, or set SHOPWRIGHT_PRIVACY_SECRET as it was",
            )

    def check_lately(self, connection: sa.Connection) -> None:
        """Do `check` unless it passed in the last seconds: for each look of a process that runs
        on."""
        now = time.monotonic()
        if now >= self._checked_at + _CHECK_SECONDS:
            self.check(connection)
            self._checked_at = now

    def _prepare(self) -> blake2b | None:
        """Return the hash that has taken in the secret; None while there is no secret."""
        if self._keyed is None:
            try:
                secret = self._read_secret()
            except FileNotFoundError:
                return None
            self._keyed = blake2b(key=sha256(secret).digest(), digest_size=16)
        return self._keyed

    def _read_secret(self) -> bytes:
        if self._given is not None:
            return self._given.get_secret_value().encode()
        return read_secret(self._path)


def _digest(keyed: blake2b, text: str) -> str:
    own = keyed.copy()
    own.update(text.encode())
    return own.hexdigest()


@dataclass(frozen=True)
class Erasures:
    """The erased ids of a shop.

    until   by kind and digest: rows from before this time are left out; None: all rows
    """

    digests: IdDigests
    until: Mapping[str, Mapping[str, datetime | None]]

    def contain(self, kind: str, text: str) -> bool:
        """Return whether an id is erased, at whatever time."""
        known = self.until.get(kind, {})
        return bool(known) and self.digests.find(kind, text) in known

    def mark_rows(self, rows: pa.Table) -> BoolArray:
        """Return which rows of a table are to be left out."""
        is_erased = np.zeros(rows.num_rows, bool)
        # A row without a time is of now.
        times = np.full(rows.num_rows, _FOREVER - 1)
        if "occurred_at" in rows.column_names:
            times = np.asarray(rows["occurred_at"].cast(TIMESTAMP).cast(pa.int64()).fill_null(0))
        for column, kind in ID_COLUMNS.items():
            if column not in rows.column_names or not self.until.get(kind):
                continue
            of_kind = times < self._find_limits(kind, rows[column])
            if kind != USER and "user_id" in rows.column_names:
                of_kind &= np.asarray(rows["user_id"].is_null())
            is_erased |= of_kind
        return is_erased

    def list_users(self, user_ids: Iterable[str]) -> list[str]:
        """Return those of these users who were erased and have not consented anew."""
        known = self.until.get(USER, {})
        names = {self.digests.find(USER, user_id): user_id for user_id in user_ids} if known else {}
        return [names[digest] for digest, limit in known.items() if digest in names and not limit]

    def cover(self, kind: str, text: str, at: object) -> bool:
        """Return whether an id is left out of a row of this time."""
        known = self.until.get(kind)
        if not known:
            return False
        digest = self.digests.find(kind, text)
        return digest in known and _is_before(at, known[digest])

    def strip_ids(self, row: MutableMapping[str, Value | None]) -> bool:
        """Take all ids out of an event of an erased person; return whether it is one.

        All, since a visitor or session that stayed would become that of the next user who comes
        with it. The order stays: it joins the lines of one purchase, and their refunds.
        """
        has_user = row.get("user_id") is not None
        is_erased = any(
            self.cover(kind, str(row[column]), row["occurred_at"])
            for column, kind in ID_COLUMNS.items()
            if row.get(column) is not None and (kind == USER or not has_user)
        )
        if is_erased:
            row.update({column: None for column in ID_COLUMNS if column in row})
        return is_erased

    def _find_limits(self, kind: str, values: pa.ChunkedArray) -> Int64Array:
        """Return (n,) the time in microseconds before which each row is left out."""
        coded = values.combine_chunks().dictionary_encode()
        known = self.until[kind]
        limits = [0] * (len(coded.dictionary) + 1)  # the last one is that of rows without an id
        for code, text in enumerate(coded.dictionary.to_pylist()):
            digest = self.digests.find(kind, text)
            if digest in known:
                limits[code] = _count_microseconds(known[digest])
        codes = pc.fill_null(coded.indices, len(coded.dictionary)).to_numpy(zero_copy_only=False)
        return np.asarray(np.array(limits, np.int64)[codes])


def _is_before(occurred_at: object, limit: datetime | None) -> bool:
    return limit is None or (isinstance(occurred_at, datetime) and occurred_at < limit)


def _count_microseconds(limit: datetime | None) -> int:
    return _FOREVER if limit is None else pa.scalar(limit, TIMESTAMP).value


def read_erasures(
    connection: sa.Connection, digests: IdDigests, only: Collection[str] | None = None
) -> Erasures:
    """Return the erased ids; with `only` those among these digests, else all: raises Damaged where
    they were made with another secret."""
    if only is None:
        digests.check(connection)
    table = erased_ids.c
    query = sa.select(table.digest, table.kind, table.erased_at, table.returned_at)
    if only is not None:
        query = query.where(one_of(table.digest, list(only)))
    until: dict[str, dict[str, datetime | None]] = {}
    for row in connection.execute(query):
        limit = row.returned_at if row.kind == USER else row.erased_at
        until.setdefault(row.kind, {})[row.digest] = limit
    return Erasures(digests, until)


def read_stored_erasures(settings: Settings) -> Erasures:
    """Return the erased ids of the shop's database; none where it has no such table yet."""
    digests = IdDigests(settings)
    with reading_stored(settings, erased_ids) as connection:
        return Erasures(digests, {}) if connection is None else read_erasures(connection, digests)


def leave_out_erased(settings: Settings, rows: pa.Table) -> pa.Table:
    """Return the rows of a table without those of erased people.

    Called under the lock of the tables: an erasure that begins meanwhile waits, and finds what is
    written.
    """
    if ID_COLUMNS.keys().isdisjoint(rows.column_names):
        return rows
    is_erased = read_stored_erasures(settings).mark_rows(rows)
    return rows.filter(pa.array(~is_erased)) if is_erased.any() else rows


def find_erased_users(
    connection: sa.Connection, digests: IdDigests, user_ids: Iterable[str]
) -> set[str]:
    """Return those of these users who were erased and have not consented anew. Raises Damaged
    where people were erased under another secret."""
    digests.check_lately(connection)
    if not digests.mark:
        return set()
    names = {digests.find(USER, user_id): user_id for user_id in user_ids}
    table = erased_ids.c
    query = sa.select(table.digest).where(one_of(table.digest, list(names)))
    rows = connection.execute(query.where(table.returned_at.is_(None))).scalars()
    return {names[digest] for digest in rows}


def find_erasures(
    connection: sa.Connection, digests: IdDigests, texts: Collection[str]
) -> Erasures | None:
    """Return the erasures of these ids, of whatever kind; None where there are none. Raises Damaged
    where people were erased under another secret."""
    digests.check_lately(connection)
    if not digests.mark:
        return None
    given = {digests.find(kind, text) for kind in ID_KINDS for text in texts}
    erasures = read_erasures(connection, digests, given)
    return erasures if erasures.until else None


def strip_erased_ids(
    connection: sa.Connection, digests: IdDigests, rows: Sequence[MutableMapping[str, Value | None]]
) -> int:
    """Take the ids of erased people out of events that come now; return of how many events. Raises
    Damaged where people were erased under another secret."""
    texts = {str(row[name]) for row in rows for name in ID_COLUMNS if row.get(name) is not None}
    erasures = find_erasures(connection, digests, texts)
    return 0 if erasures is None else sum(erasures.strip_ids(row) for row in rows)


def note_erasure(
    connection: sa.Connection,
    digests: IdDigests,
    ids: Mapping[str, Iterable[str]],
    at: datetime,
) -> None:
    """Store the ids (by kind) as erased from now on, not finished; known ones are erased again."""
    rows = [
        {"digest": digests.make(kind, text), "kind": kind, "secret_mark": digests.mark}
        for kind, texts in ids.items()
        for text in texts
    ]
    begun = {"erased_at": at, "finished_at": None, "returned_at": None}
    statement = insert(connection, erased_ids)
    updated = statement.on_conflict_do_update(index_elements=["digest"], set_=begun)
    connection.execute(
        updated, [row | begun for row in sorted(rows, key=lambda row: row["digest"])]
    )


def finish_erasure(connection: sa.Connection, digest: str, at: datetime) -> None:
    """Note that the erasure of a user is finished."""
    chosen = erased_ids.update().where(erased_ids.c.digest == digest)
    connection.execute(chosen.values(finished_at=at))


def count_erasures(connection: sa.Connection) -> tuple[int, int]:
    """Return how many erasures of users are finished, and how many are not."""
    table = erased_ids.c
    finished = sa.func.count(table.finished_at)
    query = sa.select(finished, sa.func.count() - finished).where(table.kind == USER)
    n_finished, n_unfinished = connection.execute(query).one()
    return n_finished, n_unfinished


def note_return(connection: sa.Connection, digest: str, at: datetime) -> None:
    """Note that an erased user has consented anew: rows from now on are kept."""
    chosen = erased_ids.update().where(
        erased_ids.c.digest == digest, erased_ids.c.returned_at.is_(None)
    )
    connection.execute(chosen.values(returned_at=at))
