"""Sessions, failed attempts and open requests to a provider as rows; of a token only its hash."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from features.database import insert, lock
from serving.database.tables import openid_requests, sessions, sign_in_failures
from serving.people.pauses import FORGOTTEN_AFTER, Failures


def hash_token(token: str) -> str:
    """Return the SHA-256 of a token; it has 256 random bits, so no salt is needed."""
    return hashlib.sha256(token.encode()).hexdigest()


@dataclass(frozen=True)
class Session:
    """A sign-in that has not ended: of whom, how (password or openid), from where, until when."""

    id: str
    person: str
    method: str
    address: str
    agent: str
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime


@dataclass(frozen=True)
class OpenIdRequest:
    """A sign-in that was sent to the provider: what must come back, and where to go then."""

    state: str
    nonce: str
    code_verifier: str
    next_path: str
    created_at: datetime


class Sessions:
    """The repository of sessions, on one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def add(self, session: Session, token: str) -> None:
        """Store a new session."""
        values = {**vars(session), "token_hash": hash_token(token)}
        self._connection.execute(sessions.insert().values(values))

    def by_token(self, token: str) -> Session | None:
        """Return the session of a token, whether it has ended or not."""
        chosen = sessions.c.token_hash == hash_token(token)
        row = self._connection.execute(sa.select(sessions).where(chosen)).one_or_none()
        return None if row is None else _read_session(row)

    def of_person(self, name: str) -> list[Session]:
        """Return the sessions of a person, newest first."""
        query = sa.select(sessions).where(sessions.c.person == name)
        newest_first = query.order_by(sessions.c.created_at.desc(), sessions.c.id)
        return [_read_session(row) for row in self._connection.execute(newest_first)]

    def touch(self, session_id: str, at: datetime) -> None:
        """Note that a session was used."""
        self._connection.execute(
            sessions.update().where(sessions.c.id == session_id).values(last_seen_at=at)
        )

    def end(self, name: str, session_id: str) -> bool:
        """Remove a session of a person, and return whether there was one."""
        chosen = sa.and_(sessions.c.person == name, sessions.c.id == session_id)
        return self._connection.execute(sessions.delete().where(chosen)).rowcount == 1

    def end_all(self, name: str) -> int:
        """Remove all sessions of a person, and return how many there were."""
        chosen = sessions.c.person == name
        return self._connection.execute(sessions.delete().where(chosen)).rowcount

    def remove_ended(self, now: datetime, unused_since: datetime) -> None:
        """Remove the sessions that time has ended."""
        ended = sa.or_(sessions.c.expires_at <= now, sessions.c.last_seen_at <= unused_since)
        self._connection.execute(sessions.delete().where(ended))


class SignInFailures:
    """The repository of failed attempts, on one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def read(self, subject: str) -> Failures | None:
        """Return the failures of a name or an address; attempts of the same wait for each other."""
        lock(self._connection, f"sign-in {subject}")
        table = sign_in_failures.c
        row = self._connection.execute(
            sa.select(table.failures, table.last_at, table.paused_until).where(
                table.subject == subject
            )
        ).one_or_none()
        return None if row is None else Failures(*row)

    def write(self, subject: str, failures: Failures | None) -> None:
        """Store the failures of a name or an address; None forgets them."""
        if failures is None:
            chosen = sign_in_failures.c.subject == subject
            self._connection.execute(sign_in_failures.delete().where(chosen))
            return
        values = {
            "failures": failures.count,
            "last_at": failures.last_at,
            "paused_until": failures.paused_until,
        }
        statement = insert(self._connection, sign_in_failures).values(subject=subject, **values)
        self._connection.execute(
            statement.on_conflict_do_update(index_elements=["subject"], set_=values)
        )

    def remove_forgotten(self, now: datetime) -> None:
        """Remove the failures that are too old to count."""
        old = sign_in_failures.c.last_at <= now - FORGOTTEN_AFTER
        self._connection.execute(sign_in_failures.delete().where(old))


class OpenIdRequests:
    """The repository of requests to a provider, on one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def add(self, request: OpenIdRequest, token: str) -> None:
        """Store a request under the token that the browser keeps."""
        values = {**vars(request), "token_hash": hash_token(token)}
        self._connection.execute(openid_requests.insert().values(values))

    def take(self, token: str, not_before: datetime) -> OpenIdRequest | None:
        """Remove the request of a token and those that are too old, and return it."""
        table = openid_requests.c
        chosen = table.token_hash == hash_token(token)
        row = self._connection.execute(sa.select(openid_requests).where(chosen)).one_or_none()
        finished = sa.or_(chosen, table.created_at < not_before)
        self._connection.execute(openid_requests.delete().where(finished))
        if row is None or row.created_at < not_before:
            return None
        return OpenIdRequest(
            state=row.state,
            nonce=row.nonce,
            code_verifier=row.code_verifier,
            next_path=row.next_path,
            created_at=row.created_at,
        )


def _read_session(row: sa.Row) -> Session:
    return Session(
        id=row.id,
        person=row.person,
        method=row.method,
        address=row.address,
        agent=row.agent,
        created_at=row.created_at,
        last_seen_at=row.last_seen_at,
        expires_at=row.expires_at,
    )
