"""A change that is rolled back leaves the prices that came before it, whatever price lists said of
the promotions beneath: shortened, brought back, shortened again."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from features.prices.held_prices import row_key
from features.prices.ledger import NewPrice, Price, PriceSource
from features.prices.restoring import build_restoring_rows, find_prices_before
from features.prices.timeline import find_served_price, is_effective
from serving.prices.list_ends import ListedItem, find_ending_rows
from serving.prices.listed_prices import KnownPrices

LAST_DAY = 24


def day(number):
    return datetime(2024, 6, 1, tzinfo=UTC) + timedelta(days=number)


def listed(begins, offer, ends=None):
    return NewPrice(
        item_id="tee",
        zone="default",
        valid_from=day(begins),
        valid_to=None if ends is None else day(ends),
        list_price_minor=2595,
        offer_price_minor=offer,
        currency="EUR",
        source=PriceSource.IMPORTED,
        recorded_at=day(begins),
    )


class Shop:
    """The ledger of one item: price lists with an end of the promotion, changes and rollbacks."""

    def __init__(self, beneath_ends):
        self.history = []
        self.beneath_ends = beneath_ends
        self.import_list(20, now=1)

    def enter(self, rows):
        known = {price.price_id for price in self.history}
        for row in rows:
            if row.content_id() not in known:
                seq = len(self.history) + 1
                self.history.append(Price(**vars(row), seq=seq, price_id=row.content_id()))

    def import_list(self, ends, now):
        """Enter a list that announces the promotion until `ends`, as an import does."""
        rows = [listed(0, 2595), listed(1, 2295, self.beneath_ends), listed(2, 1995, ends)]
        known = KnownPrices({"tee": self.history})
        self.enter(list(known.select_changed(rows, {row_key(row) for row in rows})))
        self.enter(find_ending_rows(ListedItem(rows, rows), self.history, day(now), ()))

    def change(self, offer, now, until=None):
        row = listed(now, offer, until)
        self.enter([replace(row, source=PriceSource.DESK, suggestion_id=f"sug_{offer}_{now}")])
        return self.history[-1]

    def roll_back(self, change, now):
        begins = max(change.valid_from, day(now))
        assert is_effective(self.history, change, begins)
        before = find_prices_before(self.history, begins, change.valid_to, change)
        self.enter(build_restoring_rows(self.history, change, before, begins, day(now)))

    def offers(self, first):
        """The offer price of every half day from `first` on."""
        halves = [first + half / 2 for half in range(2 * (LAST_DAY - first))]
        return [find_served_price(self.history, day(half)).offer_price_minor for half in halves]


def test_a_promotion_that_ends_earlier_than_planned_goes_on_until_then_after_a_rollback():
    shop = Shop(beneath_ends=1)
    shop.import_list(10, now=3)
    change = shop.change(2695, now=5)
    shop.roll_back(change, now=6)
    assert shop.offers(6) == [1995] * 8 + [2595] * 28


def test_a_promotion_that_ended_and_was_brought_back_goes_on_after_rollbacks():
    shop = Shop(beneath_ends=12)
    shop.import_list(6, now=3)  # what is beneath changes on day 12: two rows
    shop.import_list(20, now=13)
    assert shop.offers(13)[:14] == [1995] * 14
    first = shop.change(2695, now=14)
    second = shop.change(2795, now=15)
    shop.roll_back(second, now=16)
    shop.roll_back(first, now=16)
    assert shop.offers(16) == [1995] * 8 + [2595] * 8


def test_a_list_that_ends_a_promotion_under_a_change_is_heeded_by_its_rollback():
    shop = Shop(beneath_ends=1)
    change = shop.change(2695, now=3)
    shop.import_list(6, now=5)
    shop.roll_back(change, now=7)
    assert shop.offers(7) == [2595] * 34
    # The change has an end of its own, after that of the promotion.
    other = Shop(beneath_ends=1)
    change = other.change(2695, now=5, until=9)
    other.import_list(7, now=6)
    other.roll_back(change, now=6)
    assert other.offers(6) == [1995] * 2 + [2595] * 34


LISTS = st.lists(st.tuples(st.integers(0, 2), st.integers(3, 22)), max_size=4)
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["change", "planned", "two changes"]),
        st.integers(0, 2),  # days until then
        st.integers(3, 22),  # the end of the change
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=200, deadline=None)
@given(st.integers(2, 22), LISTS, CHANGES)
def test_after_its_rollback_every_price_is_as_if_a_change_had_never_been(
    beneath_ends, lists, changes
):
    shop, now = Shop(beneath_ends), 3
    for wait, ends in lists:  # each says another end of the promotion
        now += wait
        shop.import_list(ends, now)
    for number, (kind, wait, ends) in enumerate(changes):
        now = min(now + wait, LAST_DAY - 2)
        without = deepcopy(shop)
        begins = min(now + 2, LAST_DAY - 1) if kind == "planned" else now
        until = ends if kind == "change" and ends > now else None
        made = [shop.change(3000 + number, begins, until)]
        if kind == "two changes":
            made.append(shop.change(4000 + number, begins))
        for change in reversed(made):
            shop.roll_back(change, now)
        assert shop.offers(now + 1) == without.offers(now + 1)
