"""Whatever is decided, rolled back, withdrawn or listed, in whatever order: every price to come is
that of the last decision, or of the price list beneath it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.prices.corrections import find_corrections
from features.prices.held_prices import row_key
from features.prices.ledger import NewPrice, PriceSource
from features.prices.restoring import build_restoring_rows, find_prices_before
from features.prices.timeline import (
    find_price_at,
    find_repeated_price,
    find_served_price,
    is_effective,
    number_rows,
)
from serving.prices.list_ends import ListedItem, find_ending_rows
from serving.prices.listed_prices import KnownPrices

LAST_DAY = 30


def day(number):
    return datetime(2024, 6, 1, tzinfo=UTC) + timedelta(days=number)


@dataclass(frozen=True)
class Term:
    """A price as the oracle knows it: of a beginning, an end and the order of decisions."""

    begins: int
    order: int
    offer: int
    ends: int | None = None


class Shop:
    """The ledger of one item beside a list of what is decided and listed, without any copies."""

    def __init__(self):
        self.history = []
        self.listed = {}  # the rows of the list of each beginning, the last one last
        self.undone = set()  # beginnings and offers of the list that somebody rolled back
        self.changes = {}  # what was decided, by price id, as long as it stands
        self.order = 0
        self.import_list({0: (2595, None), 2: (1995, 20)}, now=1)

    def enter(self, rows):
        known = {price.price_id for price in self.history}
        reverted = [price.reverts_price_id for price in self.history if price.reverts_price_id]
        new = [row for row in rows if row.content_id() not in known]
        self.history = number_rows(self.history, new)
        reverted += [row.reverts_price_id for row in new if row.reverts_price_id]
        assert len(set(reverted)) == len(reverted)  # the database refuses the second one
        return self.history[-1]

    def correct(self, now):
        self.enter(find_corrections(self.history, day(now)))

    def import_list(self, given, now):
        for begins, (offer, ends) in given.items():
            terms = self.listed.setdefault(begins, [])
            if not terms or (terms[-1].offer, terms[-1].ends) != (offer, ends):
                terms.append(Term(begins, self.order, offer, ends))
                self.order += 1
        listed = [build(terms[-1], PriceSource.IMPORTED, now) for terms in self.listed.values()]
        rows = [row for row in listed if (row.valid_from - day(0)).days in given]
        known = KnownPrices({"tee": self.history})
        self.enter(list(known.select_changed(listed, {row_key(row) for row in rows})))
        ending = find_ending_rows(ListedItem(listed, rows), self.history, day(now), ())
        self.enter(ending)
        self.correct(now)

    def change(self, offer, begins, now, ends=None, again=None):
        """Decide on a price; `again` names the withdrawal of one that is decided on again."""
        term = Term(begins, self.order, offer, ends)
        row = build(term, PriceSource.DESK, now)
        row = replace(row, suggestion_id=f"sug_{offer}", reverts_price_id=again)
        change = self.enter([row])
        self.order += 1
        self.changes[change.price_id] = term
        self.correct(now)
        return change

    def can_roll_back(self, change, now):
        begins = max(change.valid_from, day(now))
        is_over = change.valid_to is not None and change.valid_to <= day(now)
        undone = any(row.reverts_price_id == change.price_id for row in self.history)
        return not is_over and not undone and is_effective(self.history, change, begins)

    def roll_back(self, change, now):
        begins = max(change.valid_from, day(now))
        before = find_prices_before(self.history, begins, change.valid_to, change)
        self.enter(build_restoring_rows(self.history, change, before, begins, day(now)))
        # Nobody was served it before it begins; what was served stays as it was.
        if change.source is PriceSource.IMPORTED:
            self.undone.add(((change.valid_from - day(0)).days, change.offer_price_minor))
        else:
            del self.changes[change.price_id]
        self.correct(now)

    def withdraw(self, change, now):
        others = [row for row in self.history if row.suggestion_id != change.suggestion_id]
        before = find_prices_before(others, change.valid_from, change.valid_to)
        rows = build_restoring_rows(self.history, change, before, change.valid_from, day(now))
        withdrawal = self.enter(rows)
        del self.changes[change.price_id]
        self.correct(now)
        return withdrawal

    def offers(self, first):
        """The offer price of every half day from `first` on, as the ledger serves it."""
        return [
            find_served_price(self.history, day(half)).offer_price_minor for half in halves(first)
        ]

    def meant_offers(self, first):
        """What was decided and listed for these half days."""
        return [self._find_meant(half).offer for half in halves(first)]

    def _find_meant(self, at):
        stated = [
            [term for term in terms if (term.begins, term.offer) not in self.undone]
            for terms in self.listed.values()
        ]
        terms = [*(standing[-1] for standing in stated if standing), *self.changes.values()]
        valid = [t for t in terms if t.begins <= at and (t.ends is None or at < t.ends)]
        return max(valid, key=lambda term: (term.begins, term.order))


def halves(first):
    return [first + half / 2 for half in range(2 * (LAST_DAY - first))]


def build(term, source, now):
    return NewPrice(
        item_id="tee",
        zone="default",
        valid_from=day(term.begins),
        valid_to=None if term.ends is None else day(term.ends),
        list_price_minor=2595,
        offer_price_minor=term.offer,
        currency="EUR",
        source=source,
        recorded_at=day(now),
    )


def test_a_rollback_beneath_a_withdrawn_plan_holds_on_the_day_of_the_plan():
    shop = Shop()
    change = shop.change(2795, begins=3, now=3)
    plan = shop.change(2895, begins=10, now=4)
    shop.withdraw(plan, now=5)
    shop.roll_back(change, now=6)
    assert shop.offers(6) == [1995] * 28 + [2595] * 20


def test_a_price_decided_after_a_withdrawal_is_not_hidden_by_it():
    shop = Shop()
    shop.withdraw(shop.change(2895, begins=10, now=4), now=5)
    shop.change(2695, begins=7, now=6)
    assert shop.offers(7) == [2695] * 46


def test_a_price_decided_in_a_promotion_outlives_its_early_end():
    shop = Shop()
    shop.import_list({2: (1995, 12)}, now=3)
    shop.change(2695, begins=7, now=6)
    assert shop.offers(7) == [2695] * 46


@pytest.mark.parametrize("ends", [12, 25])
def test_a_list_ends_the_promotion_that_a_rollback_restored(ends):
    shop = Shop()
    shop.roll_back(shop.change(2695, begins=4, now=4), now=6)
    shop.import_list({2: (1995, ends)}, now=8)
    assert shop.offers(8) == [1995] * (2 * (ends - 8)) + [2595] * (2 * (LAST_DAY - ends))


def test_a_price_that_is_approved_again_at_another_price_is_what_a_rollback_restores():
    shop = Shop()
    withdrawal = shop.withdraw(shop.change(2895, begins=10, now=4), now=5)
    row = shop.change(2795, begins=10, now=6, again=withdrawal.price_id)
    later = shop.change(2995, begins=12, now=12)
    shop.roll_back(later, now=14)
    assert shop.offers(14) == [2795] * 32
    assert shop.can_roll_back(row, now=15)


def test_a_list_that_ends_a_promotion_beneath_a_withdrawn_price_is_heeded():
    shop = Shop()
    shop.withdraw(shop.change(2895, begins=2, now=1), now=1)
    shop.import_list({2: (1995, 18)}, now=4)
    shop.import_list({2: (1995, 3)}, now=4)
    assert shop.offers(4) == [2595] * 52


def test_a_list_may_move_the_end_of_a_promotion_back_and_forth():
    shop = Shop()
    for ends in (3, 21, 3, 20, 21, 3, 20):
        shop.import_list({2: (1995, ends)}, now=1)
    assert shop.offers(2) == [1995] * 36 + [2595] * 20


@pytest.mark.parametrize("ends", [18, 22])
def test_a_promotion_that_was_rolled_back_stays_so_when_a_list_moves_its_end(ends):
    shop = Shop()
    shop.roll_back(shop.history[-1], now=5)
    shop.import_list({2: (1995, ends)}, now=8)
    assert shop.offers(8) == [2595] * 44
    # Another price is another promotion.
    shop.import_list({2: (1895, ends)}, now=9)
    assert shop.offers(9) == [1895] * (2 * (ends - 9)) + [2595] * (2 * (LAST_DAY - ends))


def test_a_correction_is_one_row_until_its_price_ends_and_names_the_price_it_repeats():
    shop = Shop()
    shop.import_list({2: (1995, 12)}, now=3)
    decided = shop.change(2695, begins=7, now=6)
    (correction,) = [row for row in shop.history if row.offer_price_minor == 2695][1:]
    assert (correction.valid_from, correction.valid_to) == (day(12), None)
    assert find_repeated_price(shop.history, correction, day(14)) == decided
    assert find_repeated_price(shop.history, decided, day(14)) is None


class Course:
    """A shop in which one thing after the other happens: a number chooses what exactly."""

    def __init__(self):
        self.shop, self.made, self.withdrawn = Shop(), [], {}
        self.now = self.number = 1

    def take(self, step, days, choice, flag):
        self.now = min(self.now + days, LAST_DAY - 5)
        self.number += 1
        step(self, choice, flag)
        offers = self.shop.offers(self.now), self.shop.meant_offers(self.now)
        assert offers[0] == offers[1], (self.number, step.__name__)
        length = len(self.shop.history)
        self.shop.correct(self.now)
        assert len(self.shop.history) == length  # corrected once

    def import_end(self, choice, _):
        self.shop.import_list({2: (1995, max(choice, 3))}, self.now)

    def import_beneath(self, choice, flag):
        self.shop.import_list({1: (2295, max(choice, 2) if flag else None)}, self.now)

    def import_plan(self, choice, flag):
        begins = self.now + choice % 6
        self.shop.import_list({begins: (2000 + choice, begins + 6 if flag else None)}, self.now)

    def change(self, choice, flag):
        ends = self.now + 1 + choice if flag else None
        self.made.append(self.shop.change(3000 + self.number, self.now, self.now, ends))

    def plan(self, choice, flag):
        begins = min(self.now + 1 + choice // 4, LAST_DAY - 1)
        again = None
        if self.withdrawn and choice % 2:  # one that came back to the queue, at a new price
            _, again = self.withdrawn.popitem()
        ends = begins + 4 if flag else None
        self.made.append(self.shop.change(3000 + self.number, begins, self.now, ends, again))

    def roll_back(self, choice, _):
        if standing := self._list_standing():
            change = standing[choice % len(standing)]
            if self.shop.can_roll_back(change, self.now):
                self.shop.roll_back(change, self.now)

    def roll_back_listed(self, *_):
        served = find_price_at(self.shop.history, day(self.now))
        is_listed = served.source is PriceSource.IMPORTED and not served.reverts_price_id
        # A price list has a price to begin with.
        if is_listed and served.valid_from > day(0) and self.shop.can_roll_back(served, self.now):
            self.shop.roll_back(served, self.now)

    def withdraw(self, choice, _):
        if standing := self._list_standing():
            change = standing[choice % len(standing)]
            if change.valid_from > day(self.now):
                row = self.shop.withdraw(change, self.now)
                self.withdrawn[change.suggestion_id] = row.price_id

    def _list_standing(self):
        return [change for change in self.made if change.price_id in self.shop.changes]


KINDS = [
    Course.import_end,
    Course.import_beneath,
    Course.import_plan,
    Course.change,
    Course.plan,
    Course.roll_back,
    Course.roll_back_listed,
    Course.withdraw,
]
STEPS = st.tuples(st.sampled_from(KINDS), st.integers(0, 3), st.integers(0, 24), st.booleans())


@settings(max_examples=300, deadline=None)
@given(st.lists(STEPS, min_size=4, max_size=16))
def test_every_price_to_come_is_what_was_decided_and_listed(steps):
    course = Course()
    for step in steps:
        course.take(*step)
