"""People as rows: who they are, their roles, and what proves that it is them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from serving.access import Area, Caller, Grant, compute_areas
from serving.database.tables import people, person_roles, recovery_codes


@dataclass(frozen=True)
class Person:
    """Somebody who signs in. `name` is the sign-in name: unique, and never given to another."""

    name: str
    full_name: str
    grants: tuple[Grant, ...]
    has_password: bool
    has_second_factor: bool
    openid_subject: str | None
    created_at: datetime
    disabled_at: datetime | None
    last_sign_in_at: datetime | None

    def to_caller(self) -> Caller:
        """Return the person as the sender of requests."""
        areas = compute_areas(self.grants)
        return Caller(self.name, self.full_name, frozenset(areas), is_person=True, areas=areas)


@dataclass(frozen=True)
class Proofs:
    """What proves that somebody is this person: never shown.

    totp_since   None while the set-up is not confirmed
    totp_step    the time step of the last code used
    """

    password_hash: str | None
    totp_secret: str | None
    totp_since: datetime | None
    totp_step: int | None

    @property
    def active_secret(self) -> str | None:
        """The secret of a second factor that was confirmed."""
        return self.totp_secret if self.totp_since is not None else None


NO_PROOFS = Proofs(None, None, None, None)


class People:
    """The repository of people, on one connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def add(self, name: str, full_name: str, password_hash: str | None, at: datetime) -> None:
        """Store a new person without roles."""
        self._connection.execute(
            people.insert().values(
                name=name, full_name=full_name, password_hash=password_hash, created_at=at
            )
        )

    def all(self) -> list[Person]:
        """Return everybody, disabled people too, by name."""
        return self._read(sa.select(people).order_by(people.c.name))

    def get(self, name: str) -> Person | None:
        """Return the person with this sign-in name."""
        matches = self._read(sa.select(people).where(people.c.name == name))
        return matches[0] if matches else None

    def by_openid(self, issuer: str, subject: str) -> Person | None:
        """Return the person whom a provider knows under this subject."""
        known = sa.and_(people.c.openid_issuer == issuer, people.c.openid_subject == subject)
        matches = self._read(sa.select(people).where(known))
        return matches[0] if matches else None

    def read_proofs(self, name: str) -> Proofs:
        """Return what proves that somebody is this person; NO_PROOFS for an unknown name."""
        table = people.c
        row = self._connection.execute(
            sa.select(
                table.password_hash, table.totp_secret, table.totp_since, table.totp_step
            ).where(table.name == name)
        ).one_or_none()
        return NO_PROOFS if row is None else Proofs(*row)

    def change(self, name: str, **values: object) -> None:
        """Set columns of a person."""
        self._connection.execute(people.update().where(people.c.name == name).values(**values))

    def use_step(self, name: str, step: int) -> bool:
        """Note the time step of a code, and return whether it is newer than the last one."""
        column = people.c.totp_step
        is_new = sa.or_(column.is_(None), column < step)
        result = self._connection.execute(
            people.update().where(people.c.name == name, is_new).values(totp_step=step)
        )
        return result.rowcount == 1

    def set_grants(self, name: str, grants: Iterable[Grant]) -> None:
        """Replace the roles of a person."""
        self._connection.execute(person_roles.delete().where(person_roles.c.person == name))
        rows = [
            {
                "person": name,
                "role": grant.role,
                "category": grant.area.category,
                "zone": grant.area.zone,
            }
            for grant in sorted(set(grants))
        ]
        if rows:
            self._connection.execute(person_roles.insert(), rows)

    def set_recovery_codes(self, name: str, hashes: Sequence[str]) -> None:
        """Replace the recovery codes of a person by those with these hashes."""
        self._connection.execute(recovery_codes.delete().where(recovery_codes.c.person == name))
        if hashes:
            rows = [{"code_hash": code_hash, "person": name} for code_hash in hashes]
            self._connection.execute(recovery_codes.insert(), rows)

    def use_recovery_code(self, name: str, code_hash: str) -> bool:
        """Remove a recovery code, and return whether it was one of this person."""
        table = recovery_codes.c
        result = self._connection.execute(
            recovery_codes.delete().where(table.person == name, table.code_hash == code_hash)
        )
        return result.rowcount == 1

    def _read(self, query: sa.Select[tuple[object, ...]]) -> list[Person]:
        rows = self._connection.execute(query).all()
        grants = self._read_grants([row.name for row in rows])
        return [_read_person(row, grants.get(row.name, ())) for row in rows]

    def _read_grants(self, names: Sequence[str]) -> dict[str, tuple[Grant, ...]]:
        """Return the roles by person, in order."""
        query = sa.select(person_roles)
        if len(names) == 1:
            query = query.where(person_roles.c.person == names[0])
        grants: dict[str, list[Grant]] = {}
        for row in self._connection.execute(query):
            grants.setdefault(row.person, []).append(Grant(row.role, Area(row.category, row.zone)))
        return {name: tuple(sorted(members)) for name, members in grants.items()}


def _read_person(row: sa.Row, grants: tuple[Grant, ...]) -> Person:
    return Person(
        name=row.name,
        full_name=row.full_name,
        grants=grants,
        has_password=row.password_hash is not None,
        has_second_factor=row.totp_since is not None,
        openid_subject=row.openid_subject,
        created_at=row.created_at,
        disabled_at=row.disabled_at,
        last_sign_in_at=row.last_sign_in_at,
    )
