"""Prices of an import that wait: nobody means them, or the price law forbids them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from features.prices.corrections import has_copies
from features.prices.guards import explain_jump
from features.prices.law import explain_new_objection
from features.prices.ledger import DECIDED, Ledger, NewPrice, Price
from features.prices.reduction_rule import FindRules, ReductionRule
from features.prices.timeline import find_decided_price, find_last_price, find_price_at, number_rows

# The first price list of a shop says what it sold at: a price that has been valid for so long is
# no slip.
_LIVED = timedelta(weeks=4)

RowKey = tuple[str, str, datetime]  # item, zone, beginning: one row of the price list


@dataclass(frozen=True)
class HeldPrice:
    """A price of the price list that is not entered into the ledger.

    before     the price that it would replace; None where the item has none
    jump       why somebody must say that it is meant
    unlawful   why the price law of its zone forbids it
    """

    price: NewPrice
    before: Price | None
    jump: str | None = None
    unlawful: str | None = None

    @property
    def reason(self) -> str:
        """Return why it waits."""
        return "; ".join(why for why in (self.jump, self.unlawful) if why is not None)


@dataclass(frozen=True)
class ImportGuards:
    """The guards that the rows of a price list must pass.

    jumps          whether a price that jumps waits
    find_rules     the price law of items; None where reductions are entered whatever it says
    listed_zones   the zones that had a price list before: to the price law what the first one says
                   of the present is history
    """

    jumps: bool
    find_rules: FindRules | None
    listed_zones: Set[str] = frozenset()


def find_held_prices(
    ledger: Ledger,
    changed: Sequence[NewPrice],
    now: datetime,
    guards: ImportGuards,
    origins: Mapping[NewPrice, NewPrice],
) -> list[HeldPrice]:
    """Return those of the changed rows of a price list that must wait.

    A row waits when it is, or will be, the valid price and a guard objects to it. What was valid in
    the past is history. `origins` has the rows of the price list by those rows that go on from a
    later beginning: they wait in their place.
    """
    by_zone: dict[str, dict[str, list[NewPrice]]] = {}
    for row in changed:
        by_zone.setdefault(row.zone, {}).setdefault(row.item_id, []).append(row)
    held: list[HeldPrice] = []
    for zone, by_item in sorted(by_zone.items()):
        histories = ledger.read_histories(by_item, zone)
        is_first_list = zone not in guards.listed_zones
        rules: Mapping[str, ReductionRule] = {}
        if guards.find_rules is not None:
            judged = [
                item_id
                for item_id, rows in by_item.items()
                if not is_first_list or any(row.valid_from > now for row in rows)
            ]
            rules = guards.find_rules(zone, judged)
        for item_id, rows in by_item.items():
            item = _ItemCheck(
                now=now,
                history=histories.get(item_id, []),
                jumps=guards.jumps,
                rule=rules.get(item_id),
                is_first_list=is_first_list,
                origins=origins,
            )
            held += item.hold(rows)
    return held


def row_key(price: NewPrice) -> RowKey:
    """Return what tells a row of the price list from the others."""
    return price.item_id, price.zone, price.valid_from


@dataclass(frozen=True)
class _ItemCheck:
    """Finds the rows of one item in one zone that wait.

    rule   None where the price law is not asked
    """

    now: datetime
    history: Sequence[Price]
    jumps: bool
    rule: ReductionRule | None
    is_first_list: bool
    origins: Mapping[NewPrice, NewPrice]

    def hold(self, rows: Sequence[NewPrice]) -> list[HeldPrice]:
        """Return the rows that wait; those that do not are what later ones replace."""
        added = number_rows(self.history, rows)[len(self.history) :]
        row_of = {price.seq: row for price, row in zip(added, rows, strict=True)}
        known = [*self.history, *(price for price in added if price.valid_from <= self.now)]
        held: list[HeldPrice] = []
        # Without a row that waits the one beneath it would be valid, so that one is looked at next.
        allowed: set[int] = set()
        while (live := self._find_live(known, row_of.keys() - allowed)) is not None:
            others = [price for price in known if price.seq != live.seq]
            held_price = self._check(row_of[live.seq], live, others)
            if held_price is None:
                allowed.add(live.seq)
            else:
                held.append(held_price)
                known = others
        ahead = [price for price in added if price.valid_from > self.now]
        for price in sorted(ahead, key=lambda price: price.valid_from):
            held_price = self._check(row_of[price.seq], price, known)
            if held_price is None:
                known.append(price)
            else:
                held.append(held_price)
        return held

    def _find_live(self, known: Sequence[Price], numbers: Set[int]) -> Price | None:
        """Return the first row of these numbers that is, or will be, the valid price.

        What lies beneath a price that ends is valid then; what a rollback hides, once its copy is
        corrected.
        """
        find_price = find_decided_price if has_copies(known) else find_price_at
        times = {time for row in known for time in (row.valid_from, row.valid_to) if time}
        for at in [self.now, *sorted(time for time in times if time > self.now)]:
            price = find_price(known, at)
            if price is not None and price.seq in numbers:
                return price
        return None

    def _check(self, row: NewPrice, price: Price, others: Sequence[Price]) -> HeldPrice | None:
        """Return the row as one that waits, None where no guard objects to its price."""
        listed = self.origins.get(row, row)
        before = find_price_at(others, price.valid_from) or find_last_price(
            others, price.valid_from
        )
        has_begun = price.valid_from <= self.now
        has_lived = (
            has_begun
            and listed.valid_from <= self.now - _LIVED
            and all(map(is_opening, self.history))
        )
        jump = unlawful = None
        if self.jumps and not (has_lived and price.offer_price_minor > 0):
            jump = explain_jump(price, before)
        if self.rule is not None and not has_lived and not (has_begun and self.is_first_list):
            unlawful = explain_new_objection(others, row, self.rule)
            if unlawful is not None and has_begun:
                # A correction of the past changes what is served from now on only.
                served = replace(row, valid_from=self.now)
                unlawful = explain_new_objection(others, served, self.rule)
        if jump is None and unlawful is None:
            return None
        return HeldPrice(listed, before, jump, unlawful)


def find_listed_at(rows: Iterable[NewPrice], at: datetime) -> NewPrice | None:
    """Return the row of an item's price list that is valid at `at`, None where none is."""
    valid = [
        row for row in rows if row.valid_from <= at and (row.valid_to is None or row.valid_to > at)
    ]
    return max(valid, key=lambda row: row.valid_from, default=None)


def is_opening(price: Price) -> bool:
    """Return whether a price was taken from the catalogue or from sales."""
    return price.source not in DECIDED and price.valid_from == price.recorded_at
