"""The weekly looks: a bad batch is proposed for rollback once, a good one never."""

from __future__ import annotations

from datetime import timedelta
from threading import Event, current_thread

import pytest

from features.contracts.errors import Unavailable
from features.database import reading, transaction
from features.prices.ledger import Ledger
from serving.database.audit_log import WATCH
from serving.database.desk_tables import price_suggestions
from serving.effects.repository import Looks
from serving.effects.watch import EffectWatch
from serving.price_desk.actions import DeskActions
from serving.price_desk.auto_approval import is_within
from serving.price_desk.controls_repository import ApprovalRule
from serving.price_desk.filters import SuggestionFilter
from serving.price_desk.repository import Suggestions
from serving.webhooks.messages import EVENTS
from serving.webhooks.repository import list_actions
from tests.shops.changed_prices import BEN, CATEGORY, CHANGED, COST, ELASTICITY, ERROR, TEAS
from tests.shops.price_desk import NOW, make_suggestion


def sell_badly(item):
    """Profit with the change: 4 × 0.50 a week in place of 10 × 0.40."""
    return 4.0 if item in CHANGED else 10.0


def sell_well(item):
    return 10 / 1.1 if item in CHANGED else 10.0


def list_proposals(teas):
    with reading(teas.engine) as connection:
        return Suggestions(connection).matching(SuggestionFilter(proposed_by=WATCH))


def test_a_bad_batch_is_proposed_for_rollback_once(teas):
    teas.approve()
    watch = teas.make_watch()
    assert watch.look() == []
    teas.pass_weeks(1, sell_badly)
    assert watch.look() == []  # the first look is after two weeks
    teas.sell(1, sell_badly, {})
    teas.move(NOW + timedelta(weeks=2, hours=4))
    (look,) = watch.look()
    assert (look.week, look.is_alarm, look.n_changes) == (2, True, len(CHANGED))
    assert look.profit["p50"] == pytest.approx(8 * 2 * (4 * 50 - 10 * 40), rel=0.05)
    proposals = list_proposals(teas)
    assert {one.item_id: one.suggested_price_minor for one in proposals} == dict.fromkeys(
        CHANGED, 100
    )
    assert {(one.status, one.run_id) for one in proposals} == {("submitted", look.proposal_id)}
    # Not by another look, nor by a process that was just started, nor in later weeks.
    assert watch.look() == []
    assert teas.make_watch().look() == []
    for week in (2, 3, 4):
        teas.sell(week, sell_badly, {})
        teas.move(NOW + timedelta(weeks=week + 1, hours=4))
        assert teas.make_watch().look() == []
    assert len(list_proposals(teas)) == len(CHANGED)
    assert [one.proposal_id for one in teas.effects.list_warnings()] == [look.proposal_id]


def test_whoever_approves_the_proposal_restores_the_old_prices_and_ends_the_warning(teas):
    teas.approve()
    teas.pass_weeks(2, sell_badly)
    (look,) = teas.make_watch().look()
    with reading(teas.engine) as connection:
        (action,) = list_actions(connection, EVENTS["batch_warnings"], after=0, limit=9)
    assert (action.actor, action.action, action.subject_id) == (WATCH, "warn", "run_tea")
    assert teas.effects.list_warnings("default")[0].run_id == look.run_id
    ids = [one.id for one in list_proposals(teas)]
    DeskActions(teas.desk).decide(BEN, "approve", ids=ids)
    with reading(teas.engine) as connection:
        current = Ledger(connection).find_current(CHANGED, "default", teas.clock.at)
    assert {price.offer_price_minor for price in current.values()} == {100}
    assert teas.effects.list_warnings("default") == []


def test_a_good_batch_is_looked_at_three_times_and_never_proposed(teas):
    teas.approve()
    looks = []
    for week in range(6):
        teas.sell(week, sell_well, {})
        teas.move(NOW + timedelta(weeks=week + 1, hours=4))
        looks += teas.make_watch().look()
    assert [(look.week, look.is_alarm) for look in looks] == [(2, False), (3, False), (4, False)]
    assert list_proposals(teas) == []
    assert teas.effects.list_warnings() == []


def test_weeks_that_nobody_looked_at_are_one_late_look(teas):
    """The server was down for five weeks."""
    teas.approve()
    teas.pass_weeks(5, sell_badly)
    (look,) = teas.make_watch().look()
    assert (look.week, look.is_alarm) == (4, True)


def test_a_look_that_fails_leaves_nothing_and_is_made_again(teas, monkeypatch):
    teas.approve()
    teas.pass_weeks(2, sell_badly)

    def fail(*_values):
        raise OSError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(Looks, "add", fail)
        watch = teas.make_watch()
        assert watch.look() == []
        assert watch.problem == "no look at batch run_tea in default: the disk is full"
    assert list_proposals(teas) == []
    assert len(teas.make_watch().look()) == 1
    assert len(list_proposals(teas)) == len(CHANGED)


def test_no_rule_approves_a_rollback_by_itself(teas):
    teas.approve()
    teas.pass_weeks(2, sell_badly)
    teas.make_watch().look()
    rule = ApprovalRule(
        name="all",
        enabled=True,
        max_change=0.5,
        min_evidence="D",
        min_profit_p10=-1e9,
        categories=(),
        changed_by="mia",
        changed_at=NOW,
    )
    assert not any(is_within(rule, one) for one in list_proposals(teas))


def test_the_ticker_searches_on_each_new_business_day(teas):
    teas.approve()
    watch = teas.make_watch()
    watch.tick()
    teas.pass_weeks(2, sell_badly)
    watch.tick()
    assert len(list_proposals(teas)) == len(CHANGED)


def add_batch(teas, run_id, items):
    """File and approve changes from 1.00 to 1.10 of these items as a run."""
    drafts = [
        make_suggestion(
            item,
            110,
            run_id=run_id,
            category=CATEGORY,
            details={
                "elasticity": ELASTICITY,
                "elasticity_error": ERROR,
                "unit_cost_minor": float(COST),
            },
        )
        for item in items
    ]
    with transaction(teas.engine) as connection:
        ids = Suggestions(connection).add(drafts)
    assert len(DeskActions(teas.desk).decide(BEN, "approve", ids=ids).changed) == len(ids)


def test_a_batch_that_fails_keeps_no_other_from_a_look_and_is_logged_once(
    teas, monkeypatch, caplog
):
    teas.approve()
    add_batch(teas, "run_more", TEAS[8:13])
    teas.pass_weeks(2, sell_well)
    add = Looks.add

    def fail(looks, look):
        if look.run_id == "run_tea":
            raise OSError("the disk is full")
        add(looks, look)

    watch = teas.make_watch()
    with monkeypatch.context() as broken:
        broken.setattr(Looks, "add", fail)
        with pytest.raises(Unavailable, match="run_tea in default: the disk is full"):
            watch.tick()
        watch.look()
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [
        "batch run_tea in default: no look was made"
    ]
    (look,) = watch.look()
    assert (look.run_id, watch.problem) == ("run_tea", None)
    with reading(teas.engine) as connection:
        looks = Looks(connection).list_since(NOW)
    assert sorted(look.run_id for look in looks) == ["run_more", "run_tea"]


def test_a_tick_waits_for_no_search_and_repeats_none_that_failed(teas, monkeypatch):
    watch = EffectWatch(teas.effects, teas.proposals)
    begun, go_on, threads = Event(), Event(), []

    def fail():
        threads.append(current_thread().name)
        begun.set()
        assert go_on.wait(10)
        raise OSError("the database is locked")

    monkeypatch.setattr(watch, "look", fail)
    watch.tick()
    assert begun.wait(10)
    watch.tick()  # while it runs
    go_on.set()
    watch.workers.shutdown(wait=True)
    for _ in range(2):
        with pytest.raises(Unavailable, match="the database is locked"):
            watch.tick()
    assert threads == ["effects_0"]


def test_an_item_without_a_cost_is_left_out_and_counted(teas):
    teas.approve()
    with transaction(teas.engine) as connection:
        unknown = {"elasticity": ELASTICITY, "elasticity_error": ERROR}
        chosen = price_suggestions.c.id == teas.ids[CHANGED[0]]
        connection.execute(price_suggestions.update().where(chosen).values(details=unknown))
    teas.pass_weeks(2, sell_badly)
    (look,) = teas.make_watch().look()
    assert (look.is_alarm, look.n_changes) == (True, len(CHANGED) - 1)
    assert look.profit["p50"] == pytest.approx(7 * 2 * (4 * 50 - 10 * 40), rel=0.05)
    assert look.note == "1 of 8 changes are left out: no cost is known of their items"
    assert look.proposal_id is not None
