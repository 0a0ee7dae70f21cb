from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.prices.law import (
    PlannedReduction,
    floor_of,
    objection,
    planned,
    prior_price,
    running,
    spoiled_by_raise,
)
from features.prices.ledger import NewPrice, Price, PriceSource

START = datetime(2018, 1, 1, tzinfo=UTC)


def day(n):
    return START + timedelta(days=n)


def new(n, offer, until=None, list_price=None):
    return NewPrice(
        item_id="milk",
        zone="default",
        valid_from=day(n),
        valid_to=None if until is None else day(until),
        list_price_minor=list_price or offer,
        offer_price_minor=offer,
        currency="EUR",
        source=PriceSource.IMPORTED,
        recorded_at=START,
    )


def history(*rows):
    return [
        Price(**vars(row), seq=seq, price_id=row.content_id()) for seq, row in enumerate(rows, 1)
    ]


@pytest.mark.parametrize(
    ("rows", "rule", "expected"),
    [
        ([new(0, 80), new(20, 100), new(40, 90)], "EU30", 80),  # the 80 ended 20 days before day 40
        (
            [new(0, 80), new(20, 100), new(40, 90)],
            "CN7",
            100,
        ),  # within 7 days before it only the 100 held
        ([new(0, 80), new(34, 100), new(40, 90)], "CN7", 80),
        ([new(0, 100), new(10, 90, until=12), new(40, 95)], "EU30", 90),
        ([new(0, 100), new(10, 90, until=12), new(43, 95)], "EU30", 100),  # it ended 31 days before
    ],
)
def test_the_window_counts_back_from_the_start_of_the_reduction(rows, rule, expected):
    for at in (44, 80):  # however long the reduction has run
        assert prior_price(history(*rows), day(at), rule) == expected
    with pytest.raises(ValueError, match="EU31"):
        prior_price(history(*rows), day(44), "EU31")


def test_planned_and_running_reductions():
    rows = history(new(0, 100), new(10, 70, until=20, list_price=100), new(30, 110))
    assert planned(rows, day(5)) == [PlannedReduction(rows[1].price_id, day(10), 70)]
    assert planned(rows, day(10)) == []
    assert [running(rows, day(n)) for n in (5, 10, 19.9, 20)] == [False, True, True, False]


def test_a_cut_may_not_reach_the_offer_of_a_planned_promotion():
    rows = history(new(0, 100), new(20, 70, until=30, list_price=100))
    assert floor_of(rows, day(5), "EU30") == 71
    assert floor_of(history(new(0, 100)), day(5), "EU30") is None
    for price, forbidden in ((71, False), (70, True), (60, True)):
        assert (objection(rows, new(5, price), "EU30") is not None) == forbidden
    # A promotion that is no reduction anyway forbids nothing more.
    spoilt = history(new(0, 60), new(10, 100), new(20, 70, until=30, list_price=100))
    assert (
        floor_of(spoilt, day(12), "EU30") is None and objection(spoilt, new(12, 65), "EU30") is None
    )
    assert (
        objection(spoilt, new(12, 65), "CN7") is not None
    )  # the 60 ended ten days before: 7 days do not see it


def test_a_reduction_that_is_none_is_forbidden():
    rows = history(new(0, 80), new(20, 100))
    promotion = new(40, 90, until=50, list_price=100)
    assert "no reduction" in objection(rows, promotion, "EU30")
    assert objection(rows, promotion, "CN7") is None
    assert objection(rows, new(40, 79, until=50, list_price=100), "EU30") is None
    assert objection([], promotion, "EU30") is None  # nothing is known before


def test_a_raise_within_the_window_before_a_promotion_spoils_it():
    easter = PlannedReduction("easter", day(20), None)
    assert (
        spoiled_by_raise([PlannedReduction("later", day(25), 70), easter], day(0), "EU30") == easter
    )
    assert spoiled_by_raise([easter], day(0), "CN7") is None
    assert spoiled_by_raise([easter], day(14), "CN7") == easter
    assert spoiled_by_raise([easter], day(21), "EU30") is None


STEPS = st.lists(st.tuples(st.integers(0, 60), st.integers(50, 120)), min_size=1, max_size=6)


@settings(max_examples=200)
@given(
    STEPS,
    st.integers(61, 100),
    st.integers(40, 110),
    st.integers(40, 130),
    st.sampled_from(["EU30", "CN7"]),
)
def test_the_floor_is_the_lowest_price_without_an_objection(steps, starts, offer, price, rule):
    promotion = new(starts, offer, until=starts + 5, list_price=200)
    rows = history(*(new(day_, each) for day_, each in steps), promotion)
    floor = floor_of(rows, day(60), rule)
    refused = objection(rows, new(60, price), rule) is not None
    assert refused == (floor is not None and price < floor)


@settings(max_examples=200)
@given(STEPS, st.integers(30, 100))
def test_a_longer_window_never_gives_a_higher_prior_price(steps, at):
    rows = history(*(new(day_, each, list_price=150) for day_, each in steps))
    long, short = prior_price(rows, day(at), "EU30"), prior_price(rows, day(at), "CN7")
    assert (long is None) == (short is None)
    assert long is None or long <= short
