"""The audit log as the console reads it: newest first, by person, item, action and day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from features.database import transaction
from serving.audit.repository import AuditFilter
from serving.audit.service import AuditService
from serving.database.audit_log import AuditEntry, AuditLog

START = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def audit(engine: sa.Engine) -> AuditService:
    """A log of six actions, one a day."""
    actors = ("anna", "ben", "anna", "system", "ben", "anna")
    with transaction(engine) as connection:
        for day, actor in enumerate(actors):
            details = {"item_id": f"100_{day}", "reason": 'a 牛奶 "quote"'}
            action = "approve" if day % 2 else "reject"
            entry = AuditEntry(actor, action, "price_suggestion", f"s{day}", details)
            AuditLog(connection).append([entry], START + timedelta(days=day))
    return AuditService(engine)


def read(audit: AuditService, **values: object) -> list[int]:
    return [row.seq for row in audit.read_newest(AuditFilter(**values), limit=100).records]


def test_the_newest_come_first_and_older_ones_page_by_page(audit: AuditService) -> None:
    first = audit.read_newest(AuditFilter(), limit=4)
    second = audit.read_newest(AuditFilter(), before=first.records[-1].seq, limit=4)

    assert [row.seq for row in first.records] == [6, 5, 4, 3]
    assert [row.seq for row in second.records] == [2, 1]
    assert first.head.seq == 6


def test_every_filter_leaves_out_what_does_not_agree(audit: AuditService) -> None:
    assert read(audit, actor="anna") == [6, 3, 1]
    assert read(audit, action="approve", actor="ben") == [2]
    assert read(audit, about="s2") == [3]
    assert read(audit, about="100_4") == [5]
    assert read(audit, about='牛奶 "quote"') == [6, 5, 4, 3, 2, 1]
    assert read(audit, about="100%") == []
    since, until = START + timedelta(days=1), START + timedelta(days=3)
    assert read(audit, since=since, until=until) == [3, 2]


def test_the_choices_are_what_the_log_holds(audit: AuditService) -> None:
    choices = audit.list_choices()

    assert choices.actions == ["approve", "reject"]
    assert [actor for actor, _ in choices.actors] == ["anna", "ben", "system"]


def test_actions_are_left_out_before_the_rows_are_counted(audit: AuditService) -> None:
    which = AuditFilter(left_out=("approve",))
    assert [row.seq for row in audit.read_newest(which, limit=2).records] == [5, 3]
