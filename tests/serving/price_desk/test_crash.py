"""kill -9 in the middle of approvals: ledger, status and audit agree, and what was acknowledged is
there."""

import os
import subprocess
import sys
import time

import pytest

from features.database import reading
from features.prices.ledger import Ledger, PriceSource
from serving.audit.repository import AuditRecords
from serving.price_desk.repository import SuggestionFilter, Suggestions
from tests.shops.price_desk import make_suggestion, store_suggestions


def start(settings, how):
    environment = {**os.environ, "SHOPWRIGHT_HOME": str(settings.home)}
    if settings.database_url:
        environment["SHOPWRIGHT_DATABASE_URL"] = settings.database_url
    command = [sys.executable, "-m", "tests.serving.price_desk.approve_until_killed", how]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def approved(engine):
    """The ids approved according to status, ledger and audit, after checking that all three
    agree."""
    with reading(engine) as connection:
        log = AuditRecords(connection)
        assert log.verify().intact
        live = {
            each.id: each.price_id
            for each in Suggestions(connection).matching(SuggestionFilter(("live",)))
        }
        desk = {
            row.suggestion_id: row.price_id
            for row in Ledger(connection).list_after(0, 10_000)
            if row.source == "desk"
        }
        deeds = {each.subject_id: each.details["price_id"] for each in log.page(limit=10_000)}
        assert {row.source for row in Ledger(connection).list_after(0, 10_000)} <= {
            PriceSource.DESK,
            PriceSource.OBSERVED,
        }
    assert live == desk == deeds
    return set(live)


def test_a_killed_process_leaves_whole_approvals(engine, settings):
    ids = store_suggestions(engine, *(make_suggestion(f"item{n}") for n in range(200)))
    acknowledged: set[str] = set()
    for wanted in (1, 15):
        process = start(settings, "singly")
        acknowledged |= {process.stdout.readline().strip() for _ in range(wanted)}
        process.kill()
        acknowledged |= set(process.stdout.read().split("\n")[:-1])
        process.wait()
        assert acknowledged <= approved(engine) < set(ids)


@pytest.mark.parametrize("seconds", [0.02, pytest.param(0.15, marks=pytest.mark.slow)])
def test_a_killed_bulk_approval_is_done_or_not_begun(engine, settings, seconds):
    ids = store_suggestions(engine, *(make_suggestion(f"item{n}") for n in range(3_000)))
    process = start(settings, "bulk")
    time.sleep(seconds)
    process.kill()
    said = process.stdout.read()
    process.wait()
    assert (
        approved(engine) in (set(), set(ids))
        if "done" not in said
        else approved(engine) == set(ids)
    )
