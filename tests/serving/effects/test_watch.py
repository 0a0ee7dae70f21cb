"""The weekly looks: a bad batch is proposed for rollback once, a good one never."""

from __future__ import annotations

from datetime import timedelta

import pytest

from features.database import reading
from features.prices.ledger import Ledger
from serving.database.audit_log import WATCH
from serving.effects.repository import Looks
from serving.price_desk.actions import DeskActions
from serving.price_desk.auto_approval import is_within
from serving.price_desk.controls_repository import ApprovalRule
from serving.price_desk.filters import SuggestionFilter
from serving.price_desk.repository import Suggestions
from serving.webhooks.messages import EVENTS
from serving.webhooks.repository import list_actions
from tests.shops.changed_prices import BEN, CHANGED
from tests.shops.price_desk import NOW


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
        with pytest.raises(OSError, match="disk"):
            teas.make_watch().look()
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
