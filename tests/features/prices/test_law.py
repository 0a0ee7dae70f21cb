from dataclasses import dataclass
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.database import transaction
from features.prices.law import (
    PlannedReduction,
    count_unlawful_imports,
    explain_objection,
    explain_objections,
    find_lawful_floor,
    find_prior_price,
    find_prior_prices,
    find_spoiled_reduction,
    find_unlawful_reductions,
    is_reduction_running,
    list_planned_reductions,
)
from features.prices.ledger import Ledger, NewPrice
from features.prices.reduction_rule import ReductionRule, apply_to_all
from features.prices.timeline import PriceStep, find_price_at, list_steps
from tests.shops.price_histories import day, history, new


@dataclass(frozen=True)
class Case:
    """A history whose last row is announced; its prior price, and whether the law allows it.

    `lawful` is None for a regular price, which the law of reductions does not concern.
    """

    name: str
    rows: list[NewPrice]
    prior: int | None
    lawful: bool | None
    rule: str = "EU30"


# 100 until day 40, 100 again from day 50 on, and the reduction of day 40 anew from `again` on.
def interrupted(again):
    return [new(0, 100), new(40, 80, 50, list_price=100), new(again, 80, 90, list_price=100)]


CASES = [
    Case(
        "plain cut",
        [new(0, 100), new(40, 80, list_price=100)],
        prior=100,  # only 100 was asked in the days 10 to 40
        lawful=True,  # 80 < 100
    ),
    Case(
        "cut of the regular price, nothing announced",
        [new(0, 100), new(40, 80)],
        prior=100,  # what an announcement would count from
        lawful=None,
    ),
    Case(
        "cut of the regular price, cheaper inside the window",
        [new(0, 80), new(20, 100), new(40, 90)],
        prior=min(80, 100),  # the 80 ended 20 days before day 40
        lawful=None,
    ),
    Case(
        "cut of the regular price, cheaper for two days before the window",
        [new(0, 100), new(10, 90, 12), new(43, 95)],
        prior=100,  # the 90 ended 31 days before day 43
        lawful=None,
    ),
    Case(
        "cut of the regular price, then announced",
        [new(0, 100), new(10, 80), new(100, 80, list_price=100)],
        prior=80,  # the regular price of the days 70 to 100
        lawful=False,  # 80 is not below 80
    ),
    Case(
        "cut of the regular price, announced within the window of the old price",
        [new(0, 100), new(10, 80), new(30, 80, list_price=100)],
        prior=min(100, 80),  # day 0 to 10 and day 10 to 30
        lawful=False,
    ),
    Case(
        "cut of the regular price, then announced lower",
        [new(0, 100), new(10, 80), new(100, 79, list_price=100)],
        prior=80,
        lawful=True,  # 79 < 80
    ),
    Case(
        "progressive reductions, the second step",
        [new(0, 100), new(40, 90, list_price=100), new(45, 80, list_price=100)],
        prior=min(100, 90),  # a step down is a reduction of its own: days 15 to 45
        lawful=True,  # 80 < 90
    ),
    Case(
        "progressive reductions, a step up",
        [new(0, 100), new(40, 80, list_price=100), new(45, 90, list_price=100)],
        prior=min(100, 80),
        lawful=False,  # 90 is above 80
    ),
    Case(
        "one reduction whose list price is raised",
        [new(0, 100), new(40, 80, list_price=100), new(60, 80, list_price=110)],
        prior=100,  # the same offer goes on: the reduction began on day 40
        lawful=True,
    ),
    Case(
        "new item, twelve days old",
        [new(0, 100), new(12, 80, list_price=100)],
        prior=100,  # of what is known of the 30 days
        lawful=True,
    ),
    Case(
        "new item, announced from its first day on",
        [new(0, 80, list_price=100)],
        prior=None,  # no price is known before
        lawful=False,  # an item's first price is no reduction
    ),
    Case(
        "several zones, the other one cheaper",
        [new(0, 100), new(20, 70, zone="north"), new(40, 80, list_price=100)],
        prior=100,  # the 70 was asked in the north only
        lawful=True,
    ),
    Case(
        "several zones, the other one dearer",
        [new(0, 80), new(0, 100, zone="north"), new(40, 80, list_price=100)],
        prior=80,
        lawful=False,
    ),
    Case(
        "several zones, a zone under the rule of 7 days",
        [new(0, 80, zone="cn"), new(20, 100, zone="cn"), new(40, 90, list_price=100, zone="cn")],
        prior=100,  # days 33 to 40
        lawful=True,
        rule="CN7",
    ),
    Case(
        "price raised inside the window",
        [new(0, 80), new(20, 100), new(40, 90, list_price=100)],
        prior=min(80, 100),  # the 80 ended 20 days before day 40
        lawful=False,  # 90 is above 80
    ),
    Case(
        "price raised before the 7 days",
        [new(0, 80), new(20, 100), new(40, 90, list_price=100)],
        prior=100,  # days 33 to 40
        lawful=True,
        rule="CN7",
    ),
    Case(
        "price raised inside the 7 days",
        [new(0, 80), new(34, 100), new(40, 90, list_price=100)],
        prior=min(80, 100),  # the 80 ended 6 days before day 40
        lawful=False,
        rule="CN7",
    ),
    Case(
        "price lowered for two days inside the window",
        [new(0, 100), new(10, 90, 12), new(40, 95, list_price=100)],
        prior=min(100, 90),  # the 90 ended 28 days before day 40
        lawful=False,
    ),
    Case(
        "price lowered for two days before the window",
        [new(0, 100), new(10, 90, 12), new(43, 95, list_price=100)],
        prior=100,  # the 90 ended 31 days before day 43
        lawful=True,
    ),
    Case(
        "reduction interrupted for a day",
        interrupted(again=51),
        prior=min(100, 80),  # announced anew on day 51, one day after 80 ended
        lawful=False,  # 80 is not below 80
    ),
    Case(
        "reduction interrupted for a day, rule of 7 days",
        interrupted(again=51),
        prior=min(100, 80),
        lawful=False,
        rule="CN7",
    ),
    Case(
        "reduction interrupted for 10 days, rule of 7 days",
        interrupted(again=60),
        prior=100,  # the 80 ended 10 days before
        lawful=True,
        rule="CN7",
    ),
    Case(
        "reduction interrupted for 30 days",
        interrupted(again=80),
        prior=100,  # the 80 ended on day 50, when the window of day 80 began
        lawful=True,
    ),
    Case(
        "reduction that goes on in a second row",
        [new(0, 100), new(40, 80, 50, list_price=100), new(50, 80, 60, list_price=100)],
        prior=100,  # it began on day 40
        lawful=True,
    ),
]


@pytest.fixture(params=CASES, ids=[case.name for case in CASES])
def case(request):
    return request.param


def law_of(case):
    return apply_to_all(ReductionRule.from_law(case.rule))


def test_the_prior_price_counts_from_the_announcement(case):
    zone = case.rows[-1].zone
    rows = history(*(row for row in case.rows if row.zone == zone))
    last = rows[-1]
    ends = last.valid_to or last.valid_from + timedelta(days=300)
    for at in (last.valid_from, ends - timedelta(seconds=1)):  # however long it has run
        assert find_prior_price(rows, at, case.rule) == case.prior


def test_the_check_before_an_approval_follows_the_same_rule(case, engine):
    *before, last = case.rows
    with transaction(engine) as connection:
        ledger = Ledger(connection)
        ledger.append(before)
        objections = explain_objections(ledger, {"last": last}, law_of(case))
        assert ("no reduction" in objections.get("last", "")) == (case.lawful is False)
        ledger.append([last])
        histories = ledger.read_histories(["milk"], last.zone)
    rules = {"milk": ReductionRule.from_law(case.rule)}
    assert find_prior_prices(histories, last.valid_from, rules) == {"milk": case.prior}


def test_the_count_of_an_import_follows_the_same_rule(case, engine):
    unlawful = [case.rows[-1]] if case.lawful is False else []
    with transaction(engine) as connection:
        ledger = Ledger(connection)
        ledger.append(case.rows)
        assert count_unlawful_imports(ledger, law_of(case)) == len(unlawful)
        rows = ledger.read_history("milk", case.rows[-1].zone)
    reductions = find_unlawful_reductions(rows, case.rule)
    assert [row.valid_from for row in reductions] == [row.valid_from for row in unlawful]


def test_each_unlawful_reduction_is_counted_once():
    rows = history(
        new(0, 100),
        new(10, 80),
        new(20, 80, 25, list_price=100),  # unlawful, and goes on with another list price
        new(25, 80, 30, list_price=120),
        new(30, 90, 35, list_price=100),  # unlawful: above the 80 before it
        new(35, 70, list_price=100),  # lawful
    )
    assert [row.valid_from for row in find_unlawful_reductions(rows, "EU30")] == [day(20), day(30)]
    assert find_unlawful_reductions([], "EU30") == []


def test_an_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="EU31"):
        find_prior_price(history(new(0, 100), new(40, 90)), day(44), "EU31")


def test_planned_and_running_reductions():
    rows = history(new(0, 100), new(10, 70, until=20, list_price=100), new(30, 110))
    assert list_planned_reductions(rows, day(5)) == [
        PlannedReduction(rows[1].price_id, day(10), 70)
    ]
    assert list_planned_reductions(rows, day(10)) == []
    assert [is_reduction_running(rows, day(n)) for n in (5, 10, 19.9, 20)] == [
        False,
        True,
        True,
        False,
    ]


def test_the_next_price_of_a_list_ends_a_reduction():
    weekly = history(
        new(0, 100), new(7, 80, list_price=100), new(14, 100), new(21, 80, list_price=100)
    )
    assert [is_reduction_running(weekly, day(n)) for n in (5, 7, 13.9, 14)] == [
        False,
        True,
        True,
        False,
    ]
    # Nothing follows the last one: it is a markdown that stays, and may be priced.
    assert not is_reduction_running(weekly, day(22))


def test_a_cut_may_not_reach_the_offer_of_a_planned_promotion():
    rows = history(new(0, 100), new(20, 70, until=30, list_price=100))
    assert find_lawful_floor(rows, day(5), "EU30") == 71
    assert find_lawful_floor(history(new(0, 100)), day(5), "EU30") is None
    for price, forbidden in ((71, False), (70, True), (60, True)):
        assert (explain_objection(rows, new(5, price), "EU30") is not None) == forbidden
    # A promotion that is no reduction anyway forbids nothing more.
    spoilt = history(new(0, 60), new(10, 100), new(20, 70, until=30, list_price=100))
    assert (
        find_lawful_floor(spoilt, day(12), "EU30") is None
        and explain_objection(spoilt, new(12, 65), "EU30") is None
    )
    assert (
        explain_objection(spoilt, new(12, 65), "CN7") is not None
    )  # the 60 ended ten days before: 7 days do not see it


def test_a_reduction_that_is_none_is_forbidden():
    rows = history(new(0, 80), new(20, 100))
    promotion = new(40, 90, until=50, list_price=100)
    assert "no reduction" in explain_objection(rows, promotion, "EU30")
    assert explain_objection(rows, promotion, "CN7") is None
    assert explain_objection(rows, new(40, 79, until=50, list_price=100), "EU30") is None
    assert "no price of this item is known before" in explain_objection([], promotion, "EU30")


def test_a_raise_within_the_window_before_a_promotion_spoils_it():
    easter = PlannedReduction("easter", day(20), None)
    assert (
        find_spoiled_reduction([PlannedReduction("later", day(25), 70), easter], day(0), "EU30")
        == easter
    )
    assert find_spoiled_reduction([easter], day(0), "CN7") is None
    assert find_spoiled_reduction([easter], day(14), "CN7") == easter
    assert find_spoiled_reduction([easter], day(21), "EU30") is None


STEPS = st.lists(st.tuples(st.integers(0, 60), st.integers(50, 120)), min_size=1, max_size=6)


@settings(max_examples=200)
@given(
    STEPS,
    st.integers(61, 100),
    st.integers(40, 110),
    st.integers(40, 130),
    st.sampled_from(["EU30", "CN7"]),
)
def test_the_floor_is_the_lowest_price_without_an_explain_objection(
    steps, starts, offer, price, rule
):
    promotion = new(starts, offer, until=starts + 5, list_price=200)
    rows = history(*(new(day_, each) for day_, each in steps), promotion)
    floor = find_lawful_floor(rows, day(60), rule)
    refused = explain_objection(rows, new(60, price), rule) is not None
    assert refused == (floor is not None and price < floor)


@settings(max_examples=200)
@given(STEPS, st.integers(30, 100))
def test_a_longer_window_never_gives_a_higher_prior_price(steps, at):
    rows = history(*(new(day_, each, list_price=150) for day_, each in steps))
    long, short = find_prior_price(rows, day(at), "EU30"), find_prior_price(rows, day(at), "CN7")
    assert (long is None) == (short is None)
    assert long is None or long <= short


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(st.integers(0, 20), st.integers(50, 60), st.none() | st.integers(1, 20)),
        max_size=8,
    ),
    st.integers(0, 40),
)
def test_steps_are_the_valid_price_of_each_instant(rows, at):
    prices = history(
        *(new(start, offer, None if days is None else start + days) for start, offer, days in rows)
    )
    ends = {price.valid_to for price in prices if price.valid_to}
    times = sorted(ends | {price.valid_from for price in prices})
    assert list_steps(prices, day(at)) == [
        PriceStep(time, find_price_at(prices, time)) for time in times if time <= day(at)
    ]
