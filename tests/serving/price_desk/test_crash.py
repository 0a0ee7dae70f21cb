"""kill -9 in the middle of approvals: ledger, status and audit agree, and what was acknowledged is
there."""

import os
import time
from collections import Counter
from datetime import timedelta

import pytest

from features.database import reading, transaction
from features.prices.ledger import Ledger, PriceSource
from serving.audit.repository import AuditRecords
from serving.price_desk.activation import settle_due
from serving.price_desk.decisions import decide_many
from serving.price_desk.filters import SuggestionFilter
from serving.price_desk.repository import Suggestions
from tests.shops.forked_program import start_module
from tests.shops.price_desk import (
    NOW,
    act_as_system,
    make_decider,
    make_suggestion,
    store_suggestions,
)


def start(settings, how):
    environment = {**os.environ, "SHOPWRIGHT_HOME": str(settings.home)}
    if settings.database_url:
        environment["SHOPWRIGHT_DATABASE_URL"] = settings.database_url
    process, printed = start_module(
        "tests.serving.price_desk.approve_until_killed", [how], environment
    )
    assert printed.readline() == "ready\n"
    return process, printed


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
        process, printed = start(settings, "singly")
        acknowledged |= {printed.readline().strip() for _ in range(wanted)}
        process.kill()
        acknowledged |= set(printed.read().split("\n")[:-1])
        process.wait()
        assert acknowledged <= approved(engine) < set(ids)


@pytest.mark.parametrize("seconds", [0.02, pytest.param(0.15, marks=pytest.mark.slow)])
def test_a_killed_bulk_approval_is_done_or_not_begun(engine, settings, seconds):
    ids = store_suggestions(engine, *(make_suggestion(f"item{n}") for n in range(3_000)))
    process, printed = start(settings, "bulk")
    time.sleep(seconds)
    process.kill()
    said = printed.read()
    process.wait()
    assert (
        approved(engine) in (set(), set(ids))
        if "done" not in said
        else approved(engine) == set(ids)
    )


def read_statuses_and_actions(engine):
    """The statuses of all suggestions, and how often each of their actions stands in the log."""
    with reading(engine) as connection:
        log = AuditRecords(connection)
        assert log.verify().intact
        rows = Suggestions(connection).matching(SuggestionFilter(), reasons=False)
        actions = Counter(
            entry.action
            for entry in log.page(limit=100_000)
            if entry.subject_type == "price_suggestion"
        )
        undone = [
            row.reverts_price_id
            for row in Ledger(connection).list_after(0, 100_000)
            if row.reverts_price_id is not None
        ]
    assert len(undone) == len(set(undone))
    return {row.status for row in rows}, actions, len(undone)


@pytest.mark.parametrize("seconds", [0.05, pytest.param(0.3, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("how", "before", "action", "after"),
    [
        ("activation", "scheduled", "go_live", "live"),
        ("rollback", "live", "roll_back", "rolled_back"),
    ],
)
def test_a_killed_activation_or_rollback_is_done_or_not_begun_and_never_done_twice(
    engine, settings, seconds, how, before, action, after
):
    count = 300
    begins = NOW + timedelta(days=7)
    store_suggestions(
        engine, *(make_suggestion(f"item{n}", effective_from=begins) for n in range(count))
    )
    with transaction(engine) as connection:
        decide_many(connection, make_decider(), "approve", criteria=SuggestionFilter())
    if how == "rollback":
        with transaction(engine) as connection:
            settle_due(connection, act_as_system(begins))
    process, printed = start(settings, how)
    time.sleep(seconds)
    process.kill()
    said = printed.read()
    process.wait()
    statuses, actions, undone = read_statuses_and_actions(engine)
    assert statuses in ({before}, {after})
    if "done" in said:
        assert statuses == {after}
    n_done = count if statuses == {after} else 0
    assert actions[action] == n_done
    assert undone == (n_done if how == "rollback" else 0)
    # Whoever does it again finishes it, once.
    process, printed = start(settings, how)
    assert printed.read() == "done\n"
    process.wait()
    statuses, actions, _ = read_statuses_and_actions(engine)
    assert (statuses, actions[action]) == ({after}, count)
