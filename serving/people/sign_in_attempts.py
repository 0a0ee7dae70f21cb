"""Counts attempts to sign in, by name and by address, before anything is compared.

An attempt counts as failed until it has succeeded, so that many at once are no more tries than one
after the other. A name that nobody has is counted like any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from features.contracts.errors import TooManyRequests
from features.database import transaction
from serving.database.audit_log import SYSTEM, AuditEntry, AuditLog
from serving.people.pauses import FREE_BY_ADDRESS, FREE_BY_NAME, add_failure, remove_failure
from serving.people.repository import People
from serving.people.session_repository import SignInFailures

_SUBJECT_LENGTH = 300


def name_subject(name: str) -> str:
    """Return under what the failures of a name are stored."""
    return f"name {name}"[:_SUBJECT_LENGTH]


@dataclass(frozen=True)
class SignInAttempt:
    """An attempt with a name from an address, counted as failed."""

    engine: sa.Engine
    name: str
    address: str

    def subjects(self) -> tuple[tuple[str, int], ...]:
        """Return what is counted, with the attempts that are free of a pause."""
        by_address = f"address {self.address}"[:_SUBJECT_LENGTH]
        return ((name_subject(self.name), FREE_BY_NAME), (by_address, FREE_BY_ADDRESS))

    def begin(self, now: datetime) -> None:
        """Count the attempt. Raises TooManyRequests while the name or the address must wait."""
        with transaction(self.engine) as connection:
            failures = SignInFailures(connection)
            before = {subject: failures.read(subject) for subject, _ in self.subjects()}
            wait = max(known.seconds_to_wait(now) if known else 0 for known in before.values())
            if wait:
                raise TooManyRequests(
                    "too many attempts to sign in failed",
                    retry_after_seconds=wait,
                    hint=f"Wait {wait} s, or ask an admin to reset your password",
                )
            for subject, free in self.subjects():
                failures.write(subject, add_failure(before[subject], free, now))

    def fail(self, now: datetime) -> None:
        """Leave the attempt counted; a pause of the name is written to the audit log."""
        with transaction(self.engine) as connection:
            failures = SignInFailures(connection).read(name_subject(self.name))
            wait = failures.seconds_to_wait(now) if failures else 0
            if not wait:
                return
            # What was typed as a name may be a password: only a name that somebody has is logged.
            known = People(connection).get(self.name) is not None
            subject = self.name if known else "unknown"
            details = {"seconds": wait, "address": self.address}
            entry = AuditEntry(SYSTEM, "pause_sign_in", "person", subject, details)
            AuditLog(connection).append([entry], now)

    def release(self, connection: sa.Connection, *, forget: bool) -> None:
        """Take the attempt back: it did not fail. With `forget`, forget those of the name."""
        failures = SignInFailures(connection)
        for subject, _ in self.subjects():
            before = failures.read(subject)
            if before is not None:
                is_name = subject == name_subject(self.name)
                failures.write(subject, None if forget and is_name else remove_failure(before))
