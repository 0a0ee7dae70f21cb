"""The options of a price law: perishables, new arrivals, progressive reductions, transactions."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.zone_settings import ZoneSettings
from features.prices.law import (
    explain_objection,
    find_lawful_floor,
    find_prior_price,
    find_unlawful_reductions,
)
from features.prices.reduction_rule import ReductionRule, SoldPrice
from tests.shops.price_histories import day, history, new

EU30, CN7 = ReductionRule.from_law("EU30"), ReductionRule.from_law("CN7")
PROGRESSIVE = replace(EU30, progressive=True)


def reduce(n, offer, until=None):
    return new(n, offer, until, list_price=100)


def sell(n, price, hours=0):
    at = day(n) + timedelta(hours=hours)
    return SoldPrice(price, at, at)


GROWING = [new(0, 100), reduce(40, 90), reduce(45, 80), reduce(50, 70)]


@pytest.mark.parametrize(
    ("rows", "at", "prior"),
    [
        (GROWING, 40, 100),
        (GROWING, 45, 100),  # the first step began on day 40: days 10 to 40
        (GROWING, 50, 100),
        ([*GROWING, reduce(55, 75)], 55, 70),  # a step up ends it: days 25 to 55
        ([*GROWING, reduce(55, 75), reduce(56, 72)], 56, 70),  # grows from 75, on day 55
        ([new(0, 100), reduce(40, 90, 45), reduce(46, 80)], 46, 90),  # a day at 100 in between
        ([new(0, 100), new(40, 90), reduce(45, 80)], 45, 90),  # 90 was no announced reduction
    ],
)
def test_a_reduction_that_grows_counts_from_its_first_step(rows, at, prior):
    assert find_prior_price(history(*rows), day(at), PROGRESSIVE) == prior


def test_without_the_option_each_step_is_a_reduction_of_its_own():
    assert find_prior_price(history(*GROWING), day(50), EU30) == 80


def test_a_step_that_grows_is_lawful_where_the_first_one_is():
    # 85 for two days in the window of day 45, and not in that of day 40 without the option.
    rows = history(new(0, 100), new(12, 85, 14), reduce(43, 90))
    assert find_unlawful_reductions(rows, PROGRESSIVE) == [rows[2]]
    assert explain_objection(rows, reduce(44, 84), PROGRESSIVE) is None  # 84 is below 85


def test_perishables_count_from_a_shorter_window_or_the_price_right_before():
    rows = history(new(0, 100), new(20, 70, 25), reduce(40, 80))
    zone = ZoneSettings(perishable_days=7)
    assert find_prior_price(rows, day(40), ReductionRule.from_zone(zone)) == 70
    assert find_prior_price(rows, day(40), ReductionRule.from_zone(zone, perishable=True)) == 100
    exempt = ReductionRule.from_zone(ZoneSettings(perishable_days=0), perishable=True)
    near = history(new(0, 70), new(39, 100), reduce(40, 80))
    assert find_prior_price(near, day(40), exempt) == 100
    assert explain_objection(near[:2], reduce(40, 80), exempt) is None
    # Even without a window a reduction is one: nothing is announced above the price right before.
    assert "the price right before is not above it" in explain_objection(
        history(new(0, 75)), reduce(40, 80), exempt
    )


def test_new_arrivals_count_from_a_shorter_window_for_thirty_days():
    rule = ReductionRule.from_zone(ZoneSettings(new_arrival_days=7))
    rows = [new(0, 80), new(10, 100)]
    assert find_prior_price(history(*rows, reduce(20, 90)), day(20), rule) == 100  # days 13 to 20
    assert find_prior_price(history(*rows, reduce(20, 90)), day(20), EU30) == 80
    assert find_prior_price(history(*rows, reduce(30, 90)), day(30), rule) == 80  # no longer new
    # Sold before its first price in the ledger.
    older = replace(rule, on_market_since=day(-60))
    assert find_prior_price(history(*rows, reduce(20, 90)), day(20), older) == 80


def test_a_perishable_new_arrival_takes_the_shorter_of_both():
    zone = ZoneSettings(perishable_days=3, new_arrival_days=7)
    rule = ReductionRule.from_zone(zone, perishable=True)
    assert (rule.days, rule.new_arrival_days) == (3, 3)


@pytest.mark.parametrize("rule", [EU30, CN7, PROGRESSIVE, ReductionRule(0)])
def test_a_first_price_is_never_a_reduction(rule):
    why = explain_objection([], reduce(0, 80), rule)
    assert why == "it is no reduction: no price of this item is known before it"
    assert find_unlawful_reductions(history(reduce(0, 80)), rule) != []


@pytest.mark.parametrize("rule", [EU30, CN7])
def test_the_last_price_before_counts_where_none_was_valid_in_the_window(rule):
    rows = history(new(0, 70), new(5, 100, 8), reduce(60, 80))
    # The 100 ended on day 8, and the 70 of day 0 is valid again until day 60.
    assert find_prior_price(rows, day(60), rule) == 70
    gap = history(new(0, 70, 5), new(5, 90, 8), reduce(60, 80))
    assert find_prior_price(gap, day(60), rule) == 90
    assert explain_objection(gap[:2], reduce(60, 80), rule) is None
    assert explain_objection(gap[:2], reduce(60, 90), rule) is not None


def count_sales(*sold, until=100):
    return replace(CN7, sold=sold, sold_until=day(until))


def test_transactions_of_seven_days_count_where_sales_are_known():
    rows = history(new(0, 100), reduce(40, 80))
    inside = count_sales(sell(20, 60), sell(34, 95), sell(39, 90))
    assert find_prior_price(rows, day(40), inside) == 90  # 60 was paid 20 days before
    at_the_border = count_sales(sell(33, 91), sell(40, 50))
    assert find_prior_price(rows, day(40), at_the_border) == 91  # day 40 is after the beginning


def test_the_last_transaction_before_counts_where_nothing_was_sold_in_seven_days():
    rows = history(new(0, 100), reduce(40, 80))
    assert find_prior_price(rows, day(40), count_sales(sell(10, 70), sell(20, 85))) == 85
    assert find_prior_price(rows, day(40), count_sales(sell(50, 70))) == 100  # none before
    why = explain_objection(rows[:1], reduce(40, 85), count_sales(sell(20, 85)))
    assert "the lowest price at which it was sold of the 7 days before" in why


def test_what_is_not_sold_yet_counts_by_its_offer_price():
    rows = history(new(0, 100), new(37, 75, 39), reduce(40, 80))
    assert find_prior_price(rows, day(40), count_sales(sell(35, 95), until=36)) == 75
    assert find_prior_price(rows, day(40), count_sales(sell(35, 95), until=40)) == 95


STEPS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(50, 120), st.booleans()), min_size=1, max_size=6
)
RULES = st.builds(
    ReductionRule,
    days=st.integers(0, 30),
    new_arrival_days=st.none() | st.integers(1, 30),
    progressive=st.booleans(),
)


def build_rows(steps):
    """Return a regular first price, then the steps, announced or not."""
    steps = [(n, offer, 150 if cut else None) for n, offer, cut in steps]
    return [new(-1, 125), *(new(n, offer, list_price=list_price) for n, offer, list_price in steps)]


@settings(max_examples=200)
@given(STEPS, RULES, st.integers(61, 100), st.integers(40, 130))
def test_a_prior_price_was_really_asked_before_the_reduction(steps, rule, at, offer):
    rows = build_rows(steps)
    prior = find_prior_price(history(*rows, reduce_to(at, offer)), day(at), rule)
    assert prior in {row.offer_price_minor for row in rows}


@settings(max_examples=200)
@given(STEPS, st.integers(0, 30), st.integers(61, 100), st.integers(40, 130))
def test_the_prior_price_is_never_above_any_price_of_its_window(steps, days, at, offer):
    rows = history(*build_rows(steps), reduce_to(at, offer))
    prior = find_prior_price(rows, day(at), ReductionRule(days))
    begins = at  # nothing else ends or begins after day 60
    while begins > 0 and is_same_reduction(rows, begins - 1, offer):
        begins -= 1
    window = [find_offer(rows, n) for n in range(max(begins - days, 0), begins)]
    assert all(prior <= price for price in window if price is not None)


@settings(max_examples=200)
@given(STEPS, RULES, st.integers(1, 30), st.integers(61, 100), st.integers(40, 130))
def test_a_shorter_window_never_lowers_the_prior_price(steps, rule, shorter, at, offer):
    rows = history(*build_rows(steps), reduce_to(at, offer))
    longer = find_prior_price(rows, day(at), rule)
    narrow = find_prior_price(rows, day(at), replace(rule, days=min(rule.days, shorter)))
    assert narrow >= longer


@settings(max_examples=200)
@given(STEPS, RULES, st.integers(61, 100), st.integers(40, 110), st.integers(1, 30))
def test_a_deeper_reduction_is_lawful_wherever_a_smaller_one_is(steps, rule, at, offer, more):
    rows = history(*build_rows(steps))
    if explain_objection(rows, reduce_to(at, offer), rule) is None:
        assert explain_objection(rows, reduce_to(at, offer - more), rule) is None


@settings(max_examples=200)
@given(STEPS, st.lists(st.tuples(st.integers(0, 99), st.integers(40, 130)), min_size=1))
def test_sold_prices_count_and_no_other(steps, sales):
    rows = history(*build_rows(steps), reduce_to(100, 39))
    rule = count_sales(*(sell(n, price, hours=1) for n, price in sales))
    last = max(n for n, _ in sales)
    counted = [price for n, price in sales if 93 <= n < 100] or [
        price for n, price in sales if n == last
    ]
    assert find_prior_price(rows, day(100), rule) in ([min(counted)] if last >= 93 else counted)


@settings(max_examples=100)
@given(STEPS, RULES, st.integers(61, 100), st.integers(40, 110), st.integers(40, 130))
def test_no_allowed_price_lies_below_the_floor(steps, rule, starts, offer, price):
    promotion = new(starts, offer, until=starts + 5, list_price=200)
    rows = history(*build_rows(steps), promotion)
    floor = find_lawful_floor(rows, day(60), rule)
    if explain_objection(rows, new(60, price), rule) is None:
        assert floor is None or price >= floor


def reduce_to(n, offer):
    return new(n, offer, list_price=150)


def find_offer(rows, n):
    valid = [row for row in rows if row.valid_from <= day(n)]
    last = max(valid, key=lambda row: (row.valid_from, row.seq), default=None)
    return None if last is None else last.offer_price_minor


def is_same_reduction(rows, n, offer):
    valid = [row for row in rows if row.valid_from <= day(n)]
    last = max(valid, key=lambda row: (row.valid_from, row.seq), default=None)
    return last is not None and (last.offer_price_minor, last.list_price_minor) == (offer, 150)
