"""Creates, lists, changes and disables the people who sign in."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from features.contracts.clock import Clock
from features.contracts.errors import BadInput, Conflict, Forbidden, NotFound, UnknownName
from features.database import lock, reading, transaction
from serving.access import ROLES, Grant
from serving.database.audit_log import OPERATOR, PROGRAMS, AuditEntry, AuditLog
from serving.people.passwords import Passwords, check_password
from serving.people.repository import People, Person
from serving.people.session_repository import Sessions, SignInFailures
from serving.people.sign_in_attempts import name_subject

# Keys are named key_..., rules rule:...: no name can be taken for one.
_NAME = re.compile(r"[a-z0-9][a-z0-9.@+-]{1,62}")
_RESERVED = (*PROGRAMS, "me")


@dataclass(frozen=True)
class NewPerson:
    """Somebody to create. Without a password they sign in by OpenID Connect alone."""

    name: str
    full_name: str
    grants: tuple[Grant, ...]
    password: str | None


def normalise_name(name: str) -> str:
    """Return a sign-in name as it is stored: upper and lower case are the same."""
    return unicodedata.normalize("NFKC", name).strip().lower()


class PeopleService:
    """The people of one database. Every change stands in the audit log."""

    def __init__(self, engine: sa.Engine, system_clock: Clock, passwords: Passwords) -> None:
        self._engine = engine
        self._system_clock = system_clock
        self._passwords = passwords

    def create(self, draft: NewPerson, *, actor: str = OPERATOR) -> Person:
        """Create a person. Raises BadInput, UnknownName for a role, Conflict for a known name."""
        name = _check_name(draft.name)
        _check_grants(draft.grants)
        full_name = draft.full_name.strip() or name
        password_hash = self._hash(draft.password, name)
        with transaction(self._engine) as connection:
            lock(connection, "people")
            if People(connection).get(name) is not None:
                raise Conflict(f"there is a person {name!r} already", hint="Choose another name")
            now = self._system_clock.now()
            People(connection).add(name, full_name, password_hash, now)
            People(connection).set_grants(name, draft.grants)
            details = {"full_name": full_name, "roles": _describe_grants(draft.grants)}
            entry = AuditEntry(actor, "create", "person", name, details)
            AuditLog(connection).append([entry], now)
            return _require(connection, name)

    def list_people(self) -> list[Person]:
        """Return everybody, disabled people too, by name."""
        with reading(self._engine) as connection:
            return People(connection).all()

    def find(self, name: str) -> Person:
        """Return one person. Raises NotFound."""
        with reading(self._engine) as connection:
            return _require(connection, name)

    def has_password(self, name: str, password: str | None) -> bool:
        """Return whether this is the password of somebody who may sign in."""
        with reading(self._engine) as connection:
            person = _require(connection, name)
            stored = People(connection).read_proofs(person.name).password_hash
        if password is None or person.disabled_at is not None:
            return False
        return self._passwords.verify(stored, password)

    def set_grants(self, name: str, grants: Sequence[Grant], *, actor: str = OPERATOR) -> Person:
        """Replace somebody's roles, from their next request on. Raises NotFound, and Forbidden for
        one's own."""
        _check_grants(grants)
        _refuse_self(name, actor, "change your own roles")
        with transaction(self._engine) as connection:
            person = _require(connection, name)
            People(connection).set_grants(person.name, grants)
            details = {"from": _describe_grants(person.grants), "to": _describe_grants(grants)}
            entry = AuditEntry(actor, "set_roles", "person", person.name, details)
            AuditLog(connection).append([entry], self._system_clock.now())
            return _require(connection, name)

    def disable(self, name: str, *, actor: str = OPERATOR) -> Person:
        """End somebody's sessions and let them in no more; the name stays theirs.

        Raises NotFound, and Forbidden for oneself.
        """
        _refuse_self(name, actor, "disable yourself")
        with transaction(self._engine) as connection:
            person = _require(connection, name)
            if person.disabled_at is None:
                now = self._system_clock.now()
                People(connection).change(person.name, disabled_at=now)
                Sessions(connection).end_all(person.name)
                entry = AuditEntry(actor, "disable", "person", person.name)
                AuditLog(connection).append([entry], now)
            return _require(connection, name)

    def enable(self, name: str, *, actor: str = OPERATOR) -> Person:
        """Let a disabled person in again. Raises NotFound."""
        with transaction(self._engine) as connection:
            person = _require(connection, name)
            if person.disabled_at is not None:
                People(connection).change(person.name, disabled_at=None)
                entry = AuditEntry(actor, "enable", "person", person.name)
                AuditLog(connection).append([entry], self._system_clock.now())
            return _require(connection, name)

    def reset(self, name: str, password: str | None, *, actor: str = OPERATOR) -> Person:
        """Set another password, or none, and remove the second factor, pauses and sessions, and
        what the person is at an OpenID provider.

        Raises NotFound, and BadInput for a password that is too easy to guess.
        """
        person = self.find(name)
        password_hash = self._hash(password, person.name)
        with transaction(self._engine) as connection:
            repository = People(connection)
            repository.change(
                person.name,
                password_hash=password_hash,
                totp_secret=None,
                totp_since=None,
                totp_step=None,
                openid_issuer=None,
                openid_subject=None,
            )
            repository.set_recovery_codes(person.name, [])
            Sessions(connection).end_all(person.name)
            SignInFailures(connection).write(name_subject(person.name), None)
            entry = AuditEntry(actor, "reset", "person", person.name)
            AuditLog(connection).append([entry], self._system_clock.now())
            return _require(connection, name)

    def _hash(self, password: str | None, name: str) -> str | None:
        if password is None:
            return None
        check_password(password, name)
        return self._passwords.hash(password)


def _check_name(name: str) -> str:
    normal = normalise_name(name)
    if not _NAME.fullmatch(normal) or normal in _RESERVED:
        raise BadInput(
            f"{name!r} is no sign-in name",
            where="name",
            hint="2 to 63 letters a-z, digits and . @ + -, as anna or anna@example.com",
        )
    return normal


def _check_grants(grants: Sequence[Grant]) -> None:
    if not grants:
        raise BadInput("a person needs a role", where="roles", hint=f"Valid: {', '.join(ROLES)}")
    for grant in grants:
        if grant.role not in ROLES:
            raise UnknownName(grant.role, ROLES, kind="role", where="roles")


def _describe_grants(grants: Sequence[Grant]) -> list[str]:
    return [f"{grant.role}: {grant.area}" for grant in sorted(set(grants))]


def _refuse_self(name: str, actor: str, what: str) -> None:
    if normalise_name(name) == actor:
        raise Forbidden(f"you may not {what}", hint="Ask another admin")


def _require(connection: sa.Connection, name: str) -> Person:
    person = People(connection).get(normalise_name(name))
    if person is None:
        raise NotFound(f"no person {name!r}", hint="See: shopwright users list")
    return person
