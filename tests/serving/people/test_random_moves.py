"""Whatever people and admins do in whatever order: a session is found as long as it should be, with
the scopes of its person's roles, and no longer."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from configs.settings import Settings
from features.database import engine as open_engine
from features.database import reading
from serving.access import ROLES, Grant, compute_areas
from serving.audit.repository import AuditRecords
from tests.shops.people import PASSWORDS, open_desk

IDLE, ABSOLUTE, TOUCHED = timedelta(hours=1), timedelta(hours=12), timedelta(minutes=1)
NAMES = st.sampled_from(["anna", "ben"])


@dataclass
class Expected:
    """A session as it should be."""

    name: str
    begun: datetime
    used: datetime


class Moves(RuleBasedStateMachine):
    """People, sessions and a clock, beside the simplest description of what should be."""

    def __init__(self, migrated: Path) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp())
        shutil.copy(migrated, self.home / "shopwright.db")
        self.desk = open_desk(open_engine(Settings(home=self.home)))
        self.open: dict[str, Expected] = {}
        self.ended: list[str] = []
        self.disabled: set[str] = set()
        self.roles = {"anna": {"analyst"}, "ben": {"approver"}}
        self.passwords = dict(PASSWORDS)

    def begin(self, token: str, name: str) -> None:
        now = self.desk.clock.now()
        self.open[token] = Expected(name, now, now)

    def end(self, *tokens: str) -> None:
        for token in tokens:
            del self.open[token]
            self.ended.append(token)

    def end_of(self, name: str) -> None:
        self.end(*[token for token, session in self.open.items() if session.name == name])

    @rule(name=NAMES)
    def sign_in(self, name: str) -> None:
        if name not in self.disabled:
            self.begin(self.desk.sign_in(name, self.passwords[name]).token, name)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def sign_out(self, data: st.DataObject) -> None:
        token = data.draw(st.sampled_from(sorted(self.open)))
        active = self.desk.sessions.find(token)
        self.desk.sessions.sign_out(active.person.name, active.session.id)
        self.end(token)

    @rule(name=NAMES)
    def sign_out_everywhere(self, name: str) -> None:
        self.desk.sessions.sign_out_everywhere(name)
        self.end_of(name)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), number=st.integers(0, 10**6))
    def change_password(self, data: st.DataObject, number: int) -> None:
        token = data.draw(st.sampled_from(sorted(self.open)))
        active, new = self.desk.sessions.find(token), f"six round bright pebbles {number}"
        name = active.person.name
        renewed = self.desk.sessions.change_password(active, self.passwords[name], new)
        self.passwords[name] = new
        self.end_of(name)
        self.begin(renewed.token, name)

    @rule(name=NAMES)
    def disable(self, name: str) -> None:
        self.desk.people.disable(name)
        self.disabled.add(name)
        self.end_of(name)

    @rule(name=NAMES)
    def enable(self, name: str) -> None:
        self.desk.people.enable(name)
        self.disabled.discard(name)

    @rule(name=NAMES)
    def reset(self, name: str) -> None:
        self.desk.people.reset(name, PASSWORDS[name])
        self.passwords[name] = PASSWORDS[name]
        self.end_of(name)

    @rule(name=NAMES, roles=st.sets(st.sampled_from(ROLES), min_size=1))
    def change_roles(self, name: str, roles: set[str]) -> None:
        self.desk.people.set_grants(name, [Grant(role) for role in roles])
        self.roles[name] = roles

    @rule(minutes=st.sampled_from([0.5, 2, 30, 59, 61, 700]))
    def wait(self, minutes: float) -> None:
        self.desk.clock.move(minutes=minutes)
        now = self.desk.clock.now()
        self.end(
            *[
                token
                for token, session in self.open.items()
                if session.used <= now - IDLE or session.begun <= now - ABSOLUTE
            ]
        )

    @invariant()
    def check_sessions(self) -> None:
        now = self.desk.clock.now()
        for token, session in self.open.items():
            active = self.desk.sessions.find(token)
            assert active is not None
            grants = [Grant(role) for role in self.roles[session.name]]
            assert active.caller.id == session.name
            assert active.caller.scopes == set(compute_areas(grants))
            if session.used <= now - TOUCHED:
                session.used = now
        assert all(self.desk.sessions.find(token) is None for token in self.ended)

    def teardown(self) -> None:
        with reading(self.desk.engine) as connection:
            assert AuditRecords(connection).verify().intact
        self.desk.engine.dispose()
        shutil.rmtree(self.home)


def test_no_order_of_moves_keeps_a_session_too_long_or_too_short(migrated_sqlite: Path) -> None:
    run_state_machine_as_test(
        lambda: Moves(migrated_sqlite),
        settings=settings(max_examples=12, stateful_step_count=25, deadline=None, database=None),
    )
