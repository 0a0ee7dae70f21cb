"""Signs people in and out, finds who a session belongs to, and changes passwords and codes.

A session is a row; the browser holds a random token, the database its hash. The token changes at
every sign-in and with the password. A session ends by signing out, without a request for some time,
and after some hours in any case.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.clock import Clock
from features.contracts.errors import (
    Conflict,
    Forbidden,
    NotFound,
    SecondFactorNeeded,
    Unauthorized,
)
from features.database import reading, transaction
from serving.access import Caller
from serving.database.audit_log import AuditEntry, AuditLog
from serving.people import second_factor
from serving.people.passwords import Passwords, check_password
from serving.people.repository import People, Person
from serving.people.service import normalise_name
from serving.people.session_repository import Session, Sessions, SignInFailures
from serving.people.sign_in_attempts import SignInAttempt

# How often the use of a session is written down.
TOUCHED_AFTER = timedelta(minutes=1)
_MAX_AGENT = 300


@dataclass(frozen=True)
class SessionLimits:
    """After which time without a request a session ends, and after which time in any case."""

    idle: timedelta
    absolute: timedelta

    @classmethod
    def from_settings(cls, settings: Settings) -> SessionLimits:
        """Return the limits of a shop."""
        return cls(
            timedelta(minutes=settings.session_idle_minutes),
            timedelta(hours=settings.session_hours),
        )


@dataclass(frozen=True)
class Origin:
    """Where a sign-in comes from, for people to recognise their sessions by."""

    address: str
    agent: str = ""


@dataclass(frozen=True)
class Credentials:
    """What somebody types to sign in; `code` is of their second factor, or a recovery code."""

    name: str
    password: str
    code: str | None = None


@dataclass(frozen=True)
class ActiveSession:
    """A session that has not ended, and whose it is."""

    session: Session
    person: Person
    caller: Caller


@dataclass(frozen=True)
class SignedIn(ActiveSession):
    """A new session, with the token for the browser: it is known here this once."""

    token: str


@dataclass(frozen=True)
class SessionService:
    """The sessions of one database."""

    engine: sa.Engine
    system_clock: Clock
    passwords: Passwords
    limits: SessionLimits

    def sign_in(
        self, credentials: Credentials, origin: Origin, *, replaced_token: str | None = None
    ) -> SignedIn:
        """Begin a session of somebody with a password, and end the one of `replaced_token`.

        Raises Unauthorized in the same words for an unknown name, a disabled person and a wrong
        password or code; SecondFactorNeeded where only the code is missing; and TooManyRequests.
        """
        name = normalise_name(credentials.name)
        attempt = SignInAttempt(self.engine, name, origin.address)
        now = self.system_clock.now()
        attempt.begin(now)
        person = self._verify(replace(credentials, name=name), attempt, now)
        if person is None:
            attempt.fail(now)
            raise Unauthorized(
                "name, password or code are wrong",
                hint="Try again, or ask an admin to reset your password",
            )
        with transaction(self.engine) as connection:
            attempt.release(connection, forget=True)
            if replaced_token is not None:
                self._end_token(connection, replaced_token)
            signed_in = self._begin(connection, person, "password", origin)
        self._tidy(now)
        return signed_in

    def sign_in_verified(
        self, person: Person, origin: Origin, *, replaced_token: str | None = None
    ) -> SignedIn:
        """Begin a session of somebody whom the OpenID provider has verified."""
        with transaction(self.engine) as connection:
            if replaced_token is not None:
                self._end_token(connection, replaced_token)
            return self._begin(connection, person, "openid", origin)

    def find(self, token: str) -> ActiveSession | None:
        """Return the session of a token and whose it is; None where there is none or it ended."""
        now = self.system_clock.now()
        with reading(self.engine) as connection:
            session = Sessions(connection).by_token(token)
            if session is None or self._has_ended(session, now):
                return None
            person = People(connection).get(session.person)
        if person is None or person.disabled_at is not None:
            return None
        if session.last_seen_at <= now - TOUCHED_AFTER:
            with transaction(self.engine) as connection:
                Sessions(connection).touch(session.id, now)
        return ActiveSession(session, person, person.to_caller())

    def list_sessions(self, name: str) -> list[Session]:
        """Return the sessions of a person that have not ended, newest first."""
        now = self.system_clock.now()
        with reading(self.engine) as connection:
            sessions = Sessions(connection).of_person(name)
        return [session for session in sessions if not self._has_ended(session, now)]

    def sign_out(self, name: str, session_id: str) -> None:
        """End one session of a person. Raises NotFound."""
        with transaction(self.engine) as connection:
            if not Sessions(connection).end(name, session_id):
                raise NotFound(f"you have no session {session_id!r}", hint="See: GET /v1/sessions")
            self._log(connection, name, "sign_out", {"session": session_id})

    def sign_out_everywhere(self, name: str) -> int:
        """End all sessions of a person, and return how many there were."""
        with transaction(self.engine) as connection:
            count = Sessions(connection).end_all(name)
            self._log(connection, name, "sign_out", {"sessions": count})
        return count

    def change_password(self, active: ActiveSession, old: str, new: str) -> SignedIn:
        """Set a new password, end all sessions, and begin one in the place of this one.

        Raises Forbidden for a wrong old password, BadInput for a new one that is easy to guess.
        """
        session, person = active.session, active.person
        check_password(new, person.name)
        self._verify_again(active, old)
        password_hash = self.passwords.hash(new)
        with transaction(self.engine) as connection:
            People(connection).change(person.name, password_hash=password_hash)
            Sessions(connection).end_all(person.name)
            self._log(connection, person.name, "change_password", {})
            origin = Origin(session.address, session.agent)
            return self._begin(connection, person, session.method, origin)

    def begin_second_factor(self, active: ActiveSession, password: str) -> str:
        """Return a new secret for an authenticator app; it counts once it is confirmed.

        Raises Forbidden for a wrong password, and Conflict where there is a second factor already.
        """
        self._verify_again(active, password)
        secret = second_factor.generate_secret()
        with transaction(self.engine) as connection:
            if People(connection).read_proofs(active.person.name).active_secret is not None:
                raise Conflict("you have a second factor already", hint="Remove it first")
            People(connection).change(active.person.name, totp_secret=secret, totp_step=None)
        return secret

    def confirm_second_factor(self, active: ActiveSession, code: str) -> list[str]:
        """Switch the second factor on, and return the recovery codes: they are known this once.

        Raises Conflict without a set-up that waits, and Forbidden for a wrong code.
        """
        name, now = active.person.name, self.system_clock.now()
        codes = second_factor.generate_recovery_codes()
        with transaction(self.engine) as connection:
            people = People(connection)
            proofs = people.read_proofs(name)
            if proofs.totp_secret is None or proofs.totp_since is not None:
                raise Conflict("no set-up waits for a code", hint="Begin one first")
            step = second_factor.find_step(proofs.totp_secret, code, now, after=None)
            if step is None:
                raise Forbidden("this code is wrong", hint="Check the clock of your device")
            people.change(name, totp_since=now, totp_step=step)
            hashes = [second_factor.hash_recovery_code(code) for code in codes]
            people.set_recovery_codes(name, hashes)
            self._log(connection, name, "add_second_factor", {})
        return codes

    def remove_second_factor(self, active: ActiveSession, password: str, code: str) -> None:
        """Switch the second factor off, with the password and a code or recovery code.

        Raises Conflict without a second factor, and Forbidden where one of the two is wrong.
        """
        if not active.person.has_second_factor:
            raise Conflict("you have no second factor")
        self._verify_again(active, password, code)
        name = active.person.name
        with transaction(self.engine) as connection:
            people = People(connection)
            people.change(name, totp_secret=None, totp_since=None, totp_step=None)
            people.set_recovery_codes(name, [])
            self._log(connection, name, "remove_second_factor", {})

    def _verify(
        self, credentials: Credentials, attempt: SignInAttempt, now: datetime
    ) -> Person | None:
        """Return whose credentials they are, None where they are nobody's."""
        with reading(self.engine) as connection:
            person = People(connection).get(credentials.name)
            proofs = People(connection).read_proofs(credentials.name)
        matches = self.passwords.verify(proofs.password_hash, credentials.password)
        if not matches or person is None or person.disabled_at is not None:
            return None
        needs_code = proofs.active_secret is not None and credentials.code is None
        with transaction(self.engine) as connection:
            if needs_code:
                attempt.release(connection, forget=False)
            elif not self._use_code(connection, person, credentials.code or "", now):
                return None
        if needs_code:
            raise SecondFactorNeeded(
                "a code of your second factor is needed", hint="Send it as code, with the password"
            )
        if proofs.password_hash and self.passwords.is_outdated(proofs.password_hash):
            password_hash = self.passwords.hash(credentials.password)
            with transaction(self.engine) as connection:
                People(connection).change(person.name, password_hash=password_hash)
        return person

    def _use_code(
        self, connection: sa.Connection, person: Person, code: str, now: datetime
    ) -> bool:
        """Return whether a code is right and was not used before; without a second factor, yes."""
        people = People(connection)
        proofs = people.read_proofs(person.name)
        if proofs.active_secret is None:
            return True
        step = second_factor.find_step(proofs.active_secret, code, now, after=proofs.totp_step)
        if step is not None:
            return people.use_step(person.name, step)
        return people.use_recovery_code(person.name, second_factor.hash_recovery_code(code))

    def _verify_again(self, active: ActiveSession, password: str, code: str | None = None) -> None:
        """Raise Forbidden where whoever holds a session cannot prove to be its person."""
        person, now = active.person, self.system_clock.now()
        attempt = SignInAttempt(self.engine, person.name, active.session.address)
        attempt.begin(now)
        with reading(self.engine) as connection:
            stored = People(connection).read_proofs(person.name).password_hash
        matches = self.passwords.verify(stored, password)
        with transaction(self.engine) as connection:
            if matches and (code is None or self._use_code(connection, person, code, now)):
                attempt.release(connection, forget=True)
                return
        attempt.fail(now)
        raise Forbidden("the password or the code is wrong")

    def _begin(
        self, connection: sa.Connection, person: Person, method: str, origin: Origin
    ) -> SignedIn:
        now, token = self.system_clock.now(), secrets.token_urlsafe(32)
        session = Session(
            id=f"session_{secrets.token_hex(8)}",
            person=person.name,
            method=method,
            address=origin.address,
            agent=origin.agent[:_MAX_AGENT],
            created_at=now,
            last_seen_at=now,
            expires_at=now + self.limits.absolute,
        )
        Sessions(connection).add(session, token)
        People(connection).change(person.name, last_sign_in_at=now)
        details = {"session": session.id, "method": method, "address": origin.address}
        self._log(connection, person.name, "sign_in", details)
        return SignedIn(session, person, person.to_caller(), token)

    def _has_ended(self, session: Session, now: datetime) -> bool:
        return session.expires_at <= now or session.last_seen_at <= now - self.limits.idle

    def _end_token(self, connection: sa.Connection, token: str) -> None:
        session = Sessions(connection).by_token(token)
        if session is not None:
            Sessions(connection).end(session.person, session.id)

    def _tidy(self, now: datetime) -> None:
        """Remove the rows that time has made useless."""
        with transaction(self.engine) as connection:
            Sessions(connection).remove_ended(now, now - self.limits.idle)
            SignInFailures(connection).remove_forgotten(now)

    def _log(
        self, connection: sa.Connection, name: str, action: str, details: Mapping[str, object]
    ) -> None:
        entry = AuditEntry(name, action, "person", name, details)
        AuditLog(connection).append([entry], self.system_clock.now())
