"""Two people of a small shop, and services whose passwords are quick to compare."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from argon2 import PasswordHasher

from serving.access import Area, Grant
from serving.people.passwords import Passwords
from serving.people.service import NewPerson, PeopleService
from serving.people.sessions import (
    Credentials,
    Origin,
    SessionLimits,
    SessionService,
    SignedIn,
)

PASSWORDS = {
    "anna": "four small green apples",
    "ben": "seven slow grey donkeys",
    "dora": "one calm violet evening",
}
HERE = Origin("192.0.2.1", "a browser")
# The weakest argon2 there is: the tests compare hundreds of passwords.
QUICK = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


@dataclass
class MovableClock:
    """A clock that stands still until a test moves it."""

    time: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def move(self, **duration: float) -> None:
        self.time += timedelta(**duration)


@dataclass
class Desk:
    """The services, their database and their clock."""

    engine: sa.Engine
    clock: MovableClock
    people: PeopleService
    sessions: SessionService

    def sign_in(
        self, name: str, password: str | None = None, code: str | None = None, **more: object
    ) -> SignedIn:
        """Sign somebody in from HERE, with their own password unless another one is given."""
        typed = PASSWORDS[name] if password is None else password
        return self.sessions.sign_in(Credentials(name, typed, code), HERE, **more)


def open_desk(engine: sa.Engine) -> Desk:
    clock = MovableClock()
    limits = SessionLimits(idle=timedelta(hours=1), absolute=timedelta(hours=12))
    people = PeopleService(engine, clock, QUICK)
    desk = Desk(engine, clock, people, SessionService(engine, clock, QUICK, limits))
    people.create(NewPerson("anna", "Anna A", (Grant("analyst"),), PASSWORDS["anna"]))
    grants = (Grant("approver", Area("Food", "north")),)
    people.create(NewPerson("ben", "Ben B", grants, PASSWORDS["ben"]))
    return desk
