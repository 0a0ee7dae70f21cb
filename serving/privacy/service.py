"""Answers requests of people about their data: for a copy of what is kept, for its erasure, and not
to use it for personalization.

An erasure has steps, each of which a repetition finds done or does again:

1. the digests of the ids are stored: from now on no process uses the ids, and nothing that comes
   later brings them back
2. rows of the person's visitors and sessions leave the database
3. imported tables, quarantine, and features are written anew without the person
4. rows that name the user leave the database, the last ones by which visitors are known

So a crash between any two of them leaves what the same call needs to finish. From 2 to 4 nobody
else writes features: a materialization would bring back what it has read before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING

import sqlalchemy as sa

from configs.settings import Settings
from features.contracts.clock import Clock
from features.contracts.errors import NotFound, Unavailable
from features.contracts.person_ids import USER
from features.contracts.tables import EVENTS, EXCLUSIONS, USERS
from features.database import empty_write_ahead_log, reading, transaction
from features.facts.consents import Consent, read_consent, remove_consent, store_consents
from features.facts.erased_ids import (
    IdDigests,
    find_erased_users,
    finish_erasure,
    note_erasure,
    note_return,
)
from features.facts.person import Person, find_person, read_imported_rows
from serving.database.audit_log import AuditEntry, AuditLog
from serving.privacy.documents import (
    ConsentResponse,
    ErasureResponse,
    Row,
    UserExportResponse,
    describe_consent,
    describe_events,
    describe_linked,
)
from serving.privacy.repository import PersonRows

if TYPE_CHECKING:
    from features.facts.facts import Facts

# The subject of the audit log; its id is the digest of the person's.
SUBJECT = "shopper"
_ATTEMPTS = 5  # to empty the log of the database, within two seconds and a half


@dataclass(frozen=True)
class PrivacyService:
    """Answers the requests of people about their data, for one shop."""

    settings: Settings
    engine: sa.Engine
    clock: Clock
    system_clock: Clock
    digests: IdDigests
    _has_logs_left: Event = field(default_factory=Event, init=False, repr=False, compare=False)

    def read_consent(self, user_id: str) -> ConsentResponse:
        """Return whether somebody allows personalization."""
        from features.facts.facts import Facts

        profile = _find_profile(Facts(self.settings), user_id)
        with reading(self.engine) as connection:
            return self._describe_consent(connection, user_id, profile)

    def state_consent(
        self, connection: sa.Connection, actor: str, user_id: str, *, allowed: bool
    ) -> ConsentResponse:
        """Store what somebody states now. Whoever was erased and allows it has returned; of one who
        refuses nothing is stored, as all is refused already."""
        self.digests.check(connection)
        now = self.clock.now()
        subject_id = self.digests.make(USER, user_id)
        if allowed:
            note_return(connection, subject_id, now)
        erased = self._is_erased(connection, user_id)
        consent = Consent(allowed, now)
        if not erased:
            store_consents(connection, {user_id: consent})
        details = {"personalization_allowed": allowed}
        self._write_audit(connection, actor, "state_consent", subject_id, details)
        return describe_consent(consent, None, erased=erased, subject_id=subject_id)

    def export(self, actor: str, user_id: str) -> UserExportResponse:
        """Return all that is kept about a person. Raises NotFound where that is nothing."""
        from features.facts.facts import Facts
        from features.online.person_features import read_user_features

        facts = Facts(self.settings)
        with reading(self.engine) as connection:
            person = find_person(facts, connection, user_id)
            stored = PersonRows(connection, person).read()
            profile = _find_profile(facts, user_id)
            consent = self._describe_consent(connection, user_id, profile)
        imported = read_imported_rows(facts, EVENTS.name, person)
        document = UserExportResponse(
            user_id=user_id,
            exported_at=self.system_clock.now(),
            consent=consent,
            linked=describe_linked(person),
            profile=profile,
            events=describe_events(imported, stored, self.settings),
            features=read_user_features(self.settings, user_id),
            exposures=stored.exposures,
            slates=stored.slates.to_pylist(),
            quarantined=self._read_quarantined(person),
            rules=self._read_rules(facts, person),
        )
        if document.is_empty:
            raise NotFound(
                f"nothing is kept about the user {user_id!r}",
                hint="An id is the shop's own, written as in its events",
            )
        with transaction(self.engine) as connection:
            self._write_audit(connection, actor, "export_user", consent.subject_id, {})
        return document

    def erase(self, actor: str, user_id: str, wait_seconds: float | None = None) -> ErasureResponse:
        """Erase a person. Raises Unavailable where something else works on the features for longer
        than `wait_seconds`; a repetition does what is left."""
        from features.facts.facts import Facts
        from features.online.erasure import erase_from_files
        from features.online.snapshots import lock_features

        facts = Facts(self.settings)
        with reading(self.engine) as connection:
            person = find_person(facts, connection, user_id)
        erased_at = self.clock.now()
        subject_id = self.digests.make(USER, user_id)
        with transaction(self.engine) as connection:
            self.digests.check(connection)
            note_erasure(connection, self.digests, person.by_kind(), erased_at)
            n_statements = remove_consent(connection, user_id)
            self._write_audit(connection, actor, "erase_user", subject_id, {})
        with lock_features(self.settings, wait_seconds):
            with transaction(self.engine) as connection:
                removed = PersonRows(connection, person).erase_linked()
            from_files = erase_from_files(facts, self.settings, person)
            with transaction(self.engine) as connection:
                rows = PersonRows(connection, person)
                removed += rows.erase_linked() + rows.erase_user()
                n_statements += remove_consent(connection, user_id)  # of an import meanwhile
                report = ErasureResponse(
                    subject_id=subject_id,
                    erased_at=erased_at,
                    events=removed.n_events,
                    imported_rows=from_files.n_imported,
                    feature_rows=from_files.n_features,
                    exposures=removed.n_exposures,
                    slates=removed.n_slates,
                    quarantined_rows=from_files.n_quarantined,
                    rules=from_files.n_rules,
                    statements=n_statements,
                    linked_ids=len(person.visitor_ids) + len(person.session_ids),
                )
                finish_erasure(connection, subject_id, self.system_clock.now())
                counts = report.model_dump(exclude={"subject_id", "erased_at"})
                self._write_audit(connection, actor, "finish_erasure", subject_id, counts)
        return report

    def empty_logs(self, attempts: int = _ATTEMPTS) -> bool:
        """Empty the database's own log of what it has written, after an erasure; return whether no
        reader kept it from that. Else `empty_logs_left` has it to do."""
        self._has_logs_left.clear()
        is_empty = empty_write_ahead_log(self.engine, attempts)
        if not is_empty:
            self._has_logs_left.set()
        return is_empty

    def empty_logs_left(self) -> None:
        """Try again what `empty_logs` could not do. Raises Unavailable where it still cannot."""
        if self._has_logs_left.is_set() and not self.empty_logs(attempts=1):
            raise Unavailable(
                "the log of the database still holds rows of somebody who was erased: it is read"
            )

    def _describe_consent(
        self, connection: sa.Connection, user_id: str, profile: Row | None
    ) -> ConsentResponse:
        consent = read_consent(connection, user_id)
        erased = self._is_erased(connection, user_id)
        subject_id = self.digests.make(USER, user_id)
        return describe_consent(consent, profile, erased=erased, subject_id=subject_id)

    def _is_erased(self, connection: sa.Connection, user_id: str) -> bool:
        return bool(find_erased_users(connection, self.digests, [user_id]))

    def _read_quarantined(self, person: Person) -> list[Row]:
        from features.sources.named_people import mark_rows_of
        from features.sources.quarantine import read_quarantine

        quarantined: list[Row] = []
        for _, rows in read_quarantine(self.settings):
            is_named = mark_rows_of(rows, person.has_id)
            marked = zip(rows.to_pylist(), is_named, strict=True)
            quarantined += [row for row, named in marked if named]
        return quarantined

    def _read_rules(self, facts: Facts, person: Person) -> list[Row]:
        from features.online.erasure import list_rules

        rules = list_rules(facts, person)
        rows = facts.read_imported(EXCLUSIONS.name).to_pyarrow().to_pylist()
        names = ("rule", "reason", "decided_at")
        return [{name: row[name] for name in names} for row in rows if row["rule"] in rules]

    def _write_audit(
        self,
        connection: sa.Connection,
        actor: str,
        action: str,
        subject_id: str,
        details: Mapping[str, object],
    ) -> None:
        entry = AuditEntry(actor, action, SUBJECT, subject_id, details)
        AuditLog(connection).append([entry], self.system_clock.now())


def _find_profile(facts: Facts, user_id: str) -> Row | None:
    """Return the imported row of a user in the table users; None without one."""
    rows = read_imported_rows(facts, USERS.name, Person(user_id))
    return rows[0] if rows else None
