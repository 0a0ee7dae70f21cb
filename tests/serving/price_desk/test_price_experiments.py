"""A price test on the desk: planned, filed by period, running, finished, read by training."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from experiments.designs.price_designs import Periods
from experiments.designs.price_test import AssignedUnit, PriceTest
from experiments.designs.tested_units import ItemPrices
from features.contracts.calendar import week_starts
from features.contracts.errors import Conflict, Forbidden, NotFound
from features.database import reading, transaction
from features.prices.ledger import Ledger
from features.prices.reduction_rule import PLAIN_RULES
from features.prices.stored_tests import (
    CANCELLED,
    FILED,
    FINISHED,
    PLANNED,
    RUNNING,
    PriceTests,
)
from serving.access import Caller
from serving.database.tables import audit_log
from serving.price_desk import decisions
from serving.price_desk.checked_prices import ProposedPrice
from serving.price_desk.price_experiments import PriceTestService
from serving.price_desk.price_test_batches import find_refused_items
from serving.price_desk.proposals import ProposalOptions, ProposalService
from serving.price_desk.repository import Suggestions
from serving.price_desk.service import PriceDeskService
from tests.shops.clocks import SYSTEM_CLOCK, FixedClock
from tests.shops.price_desk import NOW, make_decider, make_opening_price, read_offer_prices
from tests.shops.three_items import make_forecasts, make_inputs, make_responses
from training.pricing.measured_slopes import read_measured_slopes

ANNA = Caller("anna", "Anna", frozenset({"pricing.propose"}))
PERIODS = Periods(2, 2)
EXPECTED = {"n_items": 2, "weeks": 4, "value": 100.0, "cost": 20.0, "net": 80.0, "units": []}


def make_unit(item_id: str, has_test_price: tuple[bool, ...]) -> AssignedUnit:
    prices = ItemPrices(item_id, "default", 100, 90, 110, tuple(range(90, 111)))
    return AssignedUnit(f"default/{item_id}", "Food", (prices,), has_test_price, (0.0,))


TEST = PriceTest(PERIODS, (make_unit("milk", (True, False)), make_unit("salt", (False, True))))


@pytest.fixture
def shop(three_items):
    _, engine, settings = three_items

    def at(now):
        desk = PriceDeskService(settings, engine, FixedClock(now), SYSTEM_CLOCK, PLAIN_RULES)

        def read_inputs(_zone, _item_ids):
            return make_inputs(three_items, make_forecasts("milk", "salt"), make_responses("milk"))

        return PriceTestService(ProposalService(desk, read_inputs))

    return SimpleNamespace(at=at, service=at(NOW), engine=engine, settings=settings)


def approve(shop, filed, at):
    """Let somebody else approve what was filed."""
    decider = replace(make_decider("ben"), now=at)
    with transaction(shop.engine) as connection:
        for suggestion_id in filed.ids.values():
            decisions.approve(connection, decider, suggestion_id)


def run_test(shop, test_id):
    """File and approve all periods and the end, in time."""
    stored, filed = shop.service.file_next_period(ANNA, test_id)
    approve(shop, filed, NOW)
    for n_weeks in (0, 2):
        now = stored.begins_at + timedelta(weeks=n_weeks, days=1)
        _, filed = shop.at(now).file_next_period(ANNA, test_id)
        approve(shop, filed, now)
    return stored


def start_test(shop):
    """Return a test whose first period is filed and approved."""
    stored = shop.service.save(ANNA, TEST, EXPECTED)
    stored, filed = shop.service.file_next_period(ANNA, stored.test_id)
    approve(shop, filed, NOW)
    return stored


def read_open(shop):
    with reading(shop.engine) as connection:
        keys = {("milk", "default"), ("salt", "default")}
        entries = Suggestions(connection).of_items(keys, ["submitted"])
    return {entry.item_id: entry for entry in entries}


def test_a_plan_is_kept_and_moves_nothing(shop):
    stored = shop.service.save(ANNA, TEST, EXPECTED)
    assert (stored.state, stored.begins_at) == (PLANNED, None)
    assert stored.document["plan"]["net"] == 80.0
    assert PriceTest.from_document(shop.service.list()[0].document["test"]) == TEST
    assert read_open(shop) == {}
    with pytest.raises(Forbidden):
        shop.service.save(Caller("eve", "Eve", frozenset()), TEST, EXPECTED)


def test_each_period_is_a_proposal_that_begins_with_its_week(shop):
    stored = shop.service.save(ANNA, TEST, EXPECTED)
    filed, proposal = shop.service.file_next_period(ANNA, stored.test_id)
    assert filed.state == FILED
    assert filed.begins_at in week_starts(NOW, NOW + timedelta(weeks=2), shop.settings.timezone)
    assert filed.begins_at > NOW
    assert len(proposal.ids) == 2
    prices = {price.proposed.item_id: price.price_minor for price in proposal.proposal.prices}
    assert prices == {"milk": 110, "salt": 90}
    assert set(read_open(shop)) == {"milk", "salt"}


def test_items_under_test_are_held_for_everybody_else(shop):
    stored = shop.service.save(ANNA, TEST, EXPECTED)
    shop.service.file_next_period(ANNA, stored.test_id)
    other = shop.service.proposals.check(
        ANNA, [ProposedPrice(1, "milk", "default", 105)], ProposalOptions()
    )
    assert f"in the price test {stored.test_id}" in str(other.refused[0].error)
    again = shop.service.save(ANNA, TEST, EXPECTED)
    with pytest.raises(Conflict, match=f"in the price test {stored.test_id}"):
        shop.service.file_next_period(ANNA, again.test_id)


def test_a_test_runs_ends_with_the_prices_before_it_and_is_finished_when_over(shop):
    stored = shop.service.save(ANNA, TEST, EXPECTED)
    stored, first = shop.service.file_next_period(ANNA, stored.test_id)
    assert stored.begins_at is not None and stored.ends_at is not None
    approve(shop, first, NOW)
    in_first = stored.begins_at + timedelta(days=1)
    assert read_offer_prices(shop.engine, "milk", "salt", at=in_first) == [110, 90]
    running = shop.at(in_first)
    assert running.list()[0].state == RUNNING
    with pytest.raises(Conflict, match="not over"):
        running.find_finished(stored.test_id)
    _, second = running.file_next_period(ANNA, stored.test_id)
    approve(shop, second, in_first)
    in_second = stored.begins_at + timedelta(weeks=2, days=1)
    assert read_offer_prices(shop.engine, "milk", "salt", at=in_second) == [90, 110]
    running = shop.at(in_second)
    _, last = running.file_next_period(ANNA, stored.test_id)
    approve(shop, last, in_second)
    assert read_offer_prices(shop.engine, "milk", "salt", at=stored.ends_at) == [100, 100]
    with pytest.raises(Conflict, match="all prices"):
        running.file_next_period(ANNA, stored.test_id)
    later = shop.at(stored.ends_at + timedelta(days=1))
    result = {"items": [{"item_id": "milk", "slope": -2.5, "error": 0.4}]}
    finished = later.finish(ANNA, later.find_finished(stored.test_id), result)
    assert finished.state == FINISHED


def test_training_reads_the_slopes_of_finished_tests_with_their_weeks(shop):
    stored = shop.service.save(ANNA, TEST, EXPECTED)
    stored = run_test(shop, stored.test_id)
    starts = week_starts(NOW - timedelta(weeks=2), NOW + timedelta(weeks=9), "UTC")
    assert read_measured_slopes(shop.settings, starts, starts[-1]) is None
    later = shop.at(stored.ends_at)
    result = {"items": [{"item_id": "milk", "slope": -2.5, "error": 0.4}]}
    later.finish(ANNA, later.find_finished(stored.test_id), result)
    starts = week_starts(
        stored.begins_at - timedelta(weeks=3), stored.ends_at, shop.settings.timezone
    )
    measured = read_measured_slopes(shop.settings, starts, stored.ends_at)
    assert measured is not None
    assert (measured.slope.tolist(), measured.error.tolist()) == ([-2.5], [0.4])
    # Three weeks before it, four of the test.
    assert (measured.first_week.tolist(), measured.end_week.tolist()) == ([3], [7])
    assert read_measured_slopes(shop.settings, starts, stored.begins_at) is None


def test_an_unknown_test_is_named(shop):
    with pytest.raises(NotFound, match="test_9"):
        shop.service.file_next_period(ANNA, "test_9")


def test_a_test_is_not_finished_while_prices_are_not_filed(shop):
    stored = start_test(shop)
    later = shop.at(stored.ends_at + timedelta(days=1))
    with pytest.raises(Conflict, match="not filed yet"):
        later.find_finished(stored.test_id)


def test_a_test_that_measured_nothing_is_not_evidence(shop):
    stored = shop.service.save(ANNA, TEST, EXPECTED)
    stored = run_test(shop, stored.test_id)
    later = shop.at(stored.ends_at)
    with pytest.raises(Conflict, match="measured nothing"):
        later.finish(ANNA, later.find_finished(stored.test_id), {"items": []})


def test_a_period_filed_late_begins_with_the_next_week(shop):
    stored = start_test(shop)
    second = stored.begins_at + timedelta(weeks=2)
    now = second + timedelta(days=1)
    late, filed = shop.at(now).file_next_period(ANNA, stored.test_id)
    batch = late.document["batches"][-1]
    assert batch["late"] is True
    assert batch["starts_at"] == (second + timedelta(weeks=1)).isoformat()
    approve(shop, filed, now)
    assert read_offer_prices(shop.engine, "milk", "salt", at=now) == [110, 90]
    in_force = second + timedelta(weeks=1, days=1)
    assert read_offer_prices(shop.engine, "milk", "salt", at=in_force) == [90, 110]


def test_an_end_filed_late_begins_at_once_and_names_the_missed_period(shop):
    stored = start_test(shop)
    now = stored.ends_at + timedelta(days=3)
    late, filed = shop.at(now).file_next_period(ANNA, stored.test_id)
    missed, end = late.document["batches"][1:]
    assert (missed["period"], missed["missed"]) == (1, True)
    assert (end["period"], end["late"], end["starts_at"]) == (2, True, now.isoformat())
    approve(shop, filed, now)
    assert read_offer_prices(shop.engine, "milk", "salt", at=now) == [100, 100]
    with pytest.raises(Conflict, match="all prices"):
        shop.at(now).file_next_period(ANNA, stored.test_id)


def test_the_hold_ends_with_the_test(shop):
    stored = start_test(shop)
    with reading(shop.engine) as connection:
        tests = PriceTests(connection)
        before = tests.find_tested_items("default", stored.ends_at - timedelta(seconds=1))
        assert set(before.values()) == {stored.test_id}
        assert tests.find_tested_items("default", stored.ends_at) == {}


def test_a_cancelled_test_files_the_earlier_prices_and_releases_its_items(shop):
    stored = start_test(shop)
    now = stored.begins_at + timedelta(days=1)
    running = shop.at(now)
    _, second = running.file_next_period(ANNA, stored.test_id)
    approve(shop, second, now)
    cancelled, filed = running.cancel(ANNA, stored.test_id)
    assert cancelled.state == running.list()[0].state == CANCELLED
    approve(shop, filed, now)
    assert read_offer_prices(shop.engine, "milk", "salt", at=now) == [100, 100]
    with reading(shop.engine) as connection:
        assert PriceTests(connection).find_tested_items("default", now) == {}
        query = sa.select(audit_log.c.subject_id).where(audit_log.c.action == "cancel")
        assert connection.execute(query).scalars().all() == [stored.test_id]
    with pytest.raises(Conflict, match="cancelled"):
        running.file_next_period(ANNA, stored.test_id)
    # The second period was approved against a price that is gone: it never begins.
    after = stored.begins_at + timedelta(weeks=2, days=1)
    shop.at(after).cancel(ANNA, stored.test_id)
    assert read_offer_prices(shop.engine, "milk", "salt", at=after) == [100, 100]


@pytest.mark.parametrize("is_approved", [False, True])
def test_prices_that_have_not_begun_are_withdrawn_with_the_test(shop, is_approved):
    stored = shop.service.save(ANNA, TEST, EXPECTED)
    stored, filed = shop.service.file_next_period(ANNA, stored.test_id)
    if is_approved:
        approve(shop, filed, NOW)
    _, way_back = shop.service.cancel(ANNA, stored.test_id)
    assert way_back.ids == {}
    assert read_open(shop) == {}
    later = stored.begins_at + timedelta(days=1)
    assert read_offer_prices(shop.engine, "milk", "salt", at=later) == [100, 100]


def test_a_period_is_filed_once_by_two_who_file_at_the_same_time(shop):
    stored = shop.service.save(ANNA, TEST, EXPECTED)

    class Interrupted(ProposalService):
        def check(self, caller, proposed, options):
            checked = super().check(caller, proposed, options)
            shop.service.file_next_period(ANNA, stored.test_id)
            return checked

    proposals = shop.service.proposals
    slower = PriceTestService(Interrupted(proposals.desk, proposals.read_inputs))
    with pytest.raises(Conflict, match="changed meanwhile"):
        slower.file_next_period(ANNA, stored.test_id)
    assert len(shop.service.list()[0].document["batches"]) == 1


def test_a_result_is_not_stored_over_a_test_that_was_changed_meanwhile(shop):
    stored = shop.service.save(ANNA, TEST, EXPECTED)
    stored = run_test(shop, stored.test_id)
    later = shop.at(stored.ends_at)
    read_before = later.find_finished(stored.test_id)
    later.cancel(ANNA, stored.test_id)
    result = {"items": [{"item_id": "milk", "slope": -2.5, "error": 0.4}]}
    with pytest.raises(Conflict, match="changed meanwhile"):
        later.finish(ANNA, read_before, result)


def test_a_rejection_counts_more_than_the_hold_of_the_test(shop):
    stored = shop.service.save(ANNA, TEST, EXPECTED)
    stored, first = shop.service.file_next_period(ANNA, stored.test_id)
    decider = replace(make_decider("ben"), now=NOW, reason="not now")
    with transaction(shop.engine) as connection:
        decisions.reject(connection, decider, first.ids[1])
        decisions.approve(connection, make_decider("ben"), first.ids[2])
    running = shop.at(stored.begins_at + timedelta(days=1))
    second, filed = running.file_next_period(ANNA, stored.test_id)
    assert len(filed.ids) == 1
    refused = second.document["batches"][-1]["refused"]
    assert set(refused) == find_refused_items(second, TEST) == {"milk"}
    assert "another price was rejected" in refused["milk"]


def test_no_period_is_filed_in_the_middle_of_a_promotion(shop):
    stored = start_test(shop)
    promotion = replace(
        make_opening_price("milk", 80),
        list_price_minor=100,
        valid_from=NOW - timedelta(days=1),
        valid_to=NOW + timedelta(weeks=9),
        promotion_id="easter",
    )
    with transaction(shop.engine) as connection:
        Ledger(connection).append([promotion])
    running = shop.at(stored.begins_at + timedelta(days=1))
    second, _ = running.file_next_period(ANNA, stored.test_id)
    refused = second.document["batches"][-1]["refused"]
    assert set(refused) == {"milk"}
    assert "a promotion is running" in refused["milk"]
