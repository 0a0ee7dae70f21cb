"""No price of a price test begins, stays or goes back other than people decided."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from experiments.designs.price_designs import Periods
from experiments.designs.price_test import AssignedUnit, PriceTest
from experiments.designs.tested_units import ItemPrices
from features.contracts.errors import Conflict
from features.contracts.pricing import PriceTestDesign
from features.database import reading, transaction
from features.prices.ledger import Ledger, PriceSource
from features.prices.stored_tests import PriceTests
from serving.price_desk import decisions
from serving.price_desk.price_test_plans import PlanOrder
from tests.shops.price_desk import (
    NOW,
    make_decider,
    make_opening_price,
    read_offer_prices,
    read_statuses,
)
from tests.shops.price_test_shop import ANNA, PriceTestShop, read_filed_prices

DAY, WEEK = timedelta(days=1), timedelta(weeks=1)
EXPECTED = {"n_items": 2, "weeks": 4, "value": 100.0, "cost": 20.0, "net": 80.0, "units": []}
ROLLOUT = PlanOrder(design=PriceTestDesign.ROLLOUT, save=True)


@pytest.fixture
def shop(three_items):
    return PriceTestShop(three_items)


def make_unit(item_id, lower, *has_test_price):
    prices = ItemPrices(item_id, "default", 100, lower, 110, ())
    return AssignedUnit(f"default/{item_id}", "Food", (prices,), has_test_price, (0.0,))


# The lower price of milk is the present one; tea keeps its higher price.
TEST = PriceTest(
    Periods(2, 2), (make_unit("milk", 100, False, True), make_unit("tea", 95, True, True))
)


def save(shop):
    return shop.at(NOW).tests.save(ANNA, TEST, EXPECTED)


def read_batches(filed):
    return {item_id: price for (item_id, _), price in read_filed_prices(filed).items()}


def test_nothing_more_is_filed_while_earlier_prices_wait(shop):
    stored = save(shop)
    stored, first = shop.at(NOW).tests.file_next_period(ANNA, stored.test_id)
    assert read_batches(first) == {"tea": 110}
    # The second period has the same price of tea: it would replace the one that waits.
    with pytest.raises(Conflict, match="1 prices of period 1 of 2"):
        shop.at(NOW).tests.file_next_period(ANNA, stored.test_id)
    assert read_statuses(shop.engine, first.ids.values()) == ["submitted"]
    shop.approve(first.ids.values(), NOW)
    in_first = stored.begins_at + DAY
    _, second = shop.at(in_first).tests.file_next_period(ANNA, stored.test_id)
    assert read_batches(second) == {"milk": 110}
    # Seen from the ledger milk costs 1.00, and would have nothing to go back from.
    with pytest.raises(Conflict, match="period 2 of 2"):
        shop.at(in_first + DAY).tests.file_next_period(ANNA, stored.test_id)
    shop.approve(second.ids.values(), in_first + DAY)
    _, end = shop.file_next(stored.test_id, in_first + 2 * DAY)
    assert {item_id: price for (item_id, _), price in end.items()} == {"milk": 100, "tea": 100}
    assert read_offer_prices(shop.engine, "milk", "tea", at=stored.ends_at) == [100, 100]


def test_a_test_price_that_is_left_after_the_end_is_not_finished(shop):
    stored = save(shop)
    for now in (NOW, NOW + WEEK + DAY):
        stored, _ = shop.file_next(stored.test_id, now)
    end = {"period": 2, "proposal_id": None, "starts_at": None, "late": False, "refused": {}}
    stored = stored.add(batches=[*stored.document["batches"], end])  # it missed both prices
    with transaction(shop.engine) as connection:
        PriceTests(connection).put(stored, NOW)
    now = stored.ends_at + DAY
    over = shop.at(now)
    with pytest.raises(Conflict, match="2 items still have a price"):
        over.tests.find_finished(stored.test_id)
    assert over.tests.read(stored.test_id).next_step.action == "file"
    _, prices = shop.file_next(stored.test_id, now)
    assert set(prices.values()) == {100}
    assert over.tests.find_finished(stored.test_id).test_id == stored.test_id


def test_prices_of_a_cancelled_test_do_not_come_back(shop):
    stored = save(shop)
    stored, _ = shop.file_next(stored.test_id, NOW)
    now = stored.begins_at + DAY
    stored, second = shop.at(now).tests.file_next_period(ANNA, stored.test_id)
    shop.approve(second.ids.values(), now)
    _, filed = shop.at(now).tests.cancel(ANNA, stored.test_id)
    assert read_batches(filed) == {"tea": 100}  # milk does not cost what the test gave it
    shop.approve(filed.ids.values(), now)
    later = stored.begins_at + 2 * WEEK + DAY
    shop.at(later).tests.read(stored.test_id)
    assert read_statuses(shop.engine, second.ids.values()) == ["rolled_back"]
    assert read_offer_prices(shop.engine, "milk", "tea", at=later) == [100, 100]
    # Somebody gives it another price: to cancel once more leaves that.
    price = replace(make_opening_price("tea", 105), valid_from=later, source=PriceSource.OBSERVED)
    with transaction(shop.engine) as connection:
        Ledger(connection).append([price])
    _, again = shop.at(later + DAY).tests.cancel(ANNA, stored.test_id)
    assert again.ids == {}


def test_an_approved_period_of_a_cancelled_test_is_superseded_and_never_begins(shop):
    stored = save(shop)
    stored, _ = shop.file_next(stored.test_id, NOW)
    now = stored.begins_at + DAY
    second = PriceTest(
        TEST.periods, (TEST.units[0], make_unit("tea", 95, True, False)), TEST.design
    )
    with transaction(shop.engine) as connection:
        PriceTests(connection).put(stored.add(test=second.to_document()), now)
    stored, filed = shop.at(now).tests.file_next_period(ANNA, stored.test_id)
    shop.approve(filed.ids.values(), now)
    _, way_back = shop.at(now).tests.cancel(ANNA, stored.test_id)
    assert read_batches(way_back) == {"tea": 100}
    # Nobody has approved the way back of tea when its next price would begin.
    later = stored.begins_at + 2 * WEEK + DAY
    shop.at(later).tests.read(stored.test_id)
    assert set(read_statuses(shop.engine, filed.ids.values())) == {"superseded", "rolled_back"}
    assert read_offer_prices(shop.engine, "milk", "tea", at=later) == [100, 110]


def test_a_price_of_a_test_that_is_over_is_not_approved(shop):
    stored = save(shop)
    stored, _ = shop.file_next(stored.test_id, NOW)
    late = stored.begins_at + 2 * WEEK + DAY
    stored, filed = shop.at(late).tests.file_next_period(ANNA, stored.test_id)
    with pytest.raises(Conflict, match=f"the price test {stored.test_id} is over"):
        shop.approve(filed.ids.values(), stored.ends_at + DAY)


def test_a_roll_out_goes_on_where_all_prices_of_a_step_are_refused(shop):
    new = {"milk": 110, "tea": 94, "salt": 108}
    shop.propose(new)
    stored = shop.plan(ROLLOUT)
    test = PriceTest.from_document(stored.document["test"])
    first, *refused = sorted(
        (unit.has_test_price.index(True), unit.prices[0].item_id) for unit in test.units
    )
    promotions = [
        replace(
            make_opening_price(item_id, 80),
            list_price_minor=100,
            valid_from=NOW + DAY,
            valid_to=NOW + 60 * WEEK,
            promotion_id="easter",
        )
        for _, item_id in refused
    ]
    stored, _ = shop.file_next(stored.test_id, NOW)
    with transaction(shop.engine) as connection:
        Ledger(connection).append(promotions)
    for period in range(1, 4):
        now = stored.begins_at + (period - 1) * 3 * WEEK + DAY
        stored, _ = shop.file_next(stored.test_id, now)
    batches = stored.document["batches"]
    assert [set(batch["refused"]) for batch in batches] == [
        set(),
        set(),
        {refused[0][1]},
        {item_id for _, item_id in refused},
    ]
    over = shop.at(stored.ends_at + DAY).tests
    assert over.read(stored.test_id).next_step.action == "finish"
    assert over.find_finished(stored.test_id).test_id == stored.test_id
    assert read_offer_prices(shop.engine, first[1], at=stored.ends_at) == [new[first[1]]]


def test_a_roll_out_takes_the_prices_of_colleagues_out_of_the_queue(shop):
    taken = shop.propose({"milk": 110, "tea": 94}, proposed_by="carl")
    other = shop.propose({"salt": 300}, proposed_by="carl")
    stored = shop.plan(ROLLOUT)
    assert stored.document["plan"]["taken"] == taken
    (reason,) = stored.document["plan"]["reasons"]
    assert reason.startswith("its new price breaks rules: ")
    shop.file_next(stored.test_id, NOW)
    assert read_statuses(shop.engine, [*taken, *other]) == ["superseded"] * 2 + ["submitted"]


@pytest.mark.parametrize("action", ["edit", "approve"])
def test_a_roll_out_whose_waiting_price_was_decided_on_is_planned_again(shop, action):
    taken = shop.propose({"milk": 110, "tea": 94}, proposed_by="carl", effective_from=NOW + 2 * DAY)
    stored = shop.plan(ROLLOUT)
    if action == "approve":
        shop.approve(taken[:1], NOW)
    else:
        with transaction(shop.engine) as connection:
            decisions.edit(connection, make_decider("carl"), taken[0], decisions.PriceEdit("1.08"))
    with pytest.raises(Conflict, match="not the planned one any more"):
        shop.at(NOW).tests.file_next_period(ANNA, stored.test_id)
    with reading(shop.engine) as connection:
        assert PriceTests(connection).get(stored.test_id).document["batches"] == []
    assert read_statuses(shop.engine, taken[1:]) == ["submitted"]
