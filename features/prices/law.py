"""What the law says of a reduction: from which price it is counted, and which price changes would
make it a false one.

The window counts back from the start of the reduction, not from today.

References: Directive 98/6/EC, article 6a; CJEU C-330/23; China's provisions on the marking of
prices (seven days).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from features.contracts.pricing import PriceLaw
from features.prices.ledger import Ledger, NewPrice, Price, in_force, timeline


@dataclass(frozen=True)
class PlannedReduction:
    """A reduction that lies ahead: its offer price, minor units; None where only its depth is
    planned."""

    name: str
    starts_at: datetime
    offer_minor: int | None


def prior_price(
    history: Sequence[Price], at: datetime, rule: PriceLaw | str = PriceLaw.EU30
) -> int | None:
    """The lowest offer price of the days before the reduction in force at `at` began, in minor
    units.

    A reduction is an offer price below the list price, or below the offer price right before it; it
    began when the present offer price began, so each further step down is a reduction of its own.
    None where there is no reduction, or no price known before it. A reduction may be announced only
    when the offer price is below this (80, then 100, then 90: the prior price is 80, so 90 is
    none).
    """
    steps = timeline(history, at)
    if not steps:
        return None
    last = len(steps) - 1
    price = steps[last][1]
    while last > 0 and _offer(steps[last - 1][1]) == _offer(price):
        last -= 1
    if price is None or last == 0:
        return None
    before = steps[last - 1][1]
    reduced = price.offer_price_minor < price.list_price_minor or (
        before is not None and price.offer_price_minor < before.offer_price_minor
    )
    if not reduced:
        return None
    return _lowest(steps, last, rule)


def _lowest(
    steps: Sequence[tuple[datetime, Price | None]], began: int, rule: PriceLaw | str
) -> int | None:
    """The lowest offer price in the window before step `began`."""
    window = steps[began][0] - timedelta(days=PriceLaw(rule).days)
    ends = [start for start, _ in steps[1:]]
    offers = [
        step.offer_price_minor
        for (_, step), end in zip(steps[:began], ends, strict=False)
        if step is not None and end > window
    ]
    return min(offers, default=None)


def prior_prices(
    histories: Mapping[str, Sequence[Price]],
    item_ids: Iterable[str],
    at: datetime,
    rule: PriceLaw | str,
) -> dict[str, int | None]:
    """`prior_price` of many items."""
    return {item_id: prior_price(histories.get(item_id, ()), at, rule) for item_id in item_ids}


def planned(history: Sequence[Price], at: datetime) -> list[PlannedReduction]:
    """The reductions of a history that begin after `at`: offers below the list price that will be
    in force."""
    ahead = [
        row
        for row in history
        if row.valid_from > at and row.offer_price_minor < row.list_price_minor
    ]
    return [
        PlannedReduction(row.promotion_id or row.price_id, row.valid_from, row.offer_price_minor)
        for row in ahead
        if in_force(history, row.valid_from) == row
    ]


def running(history: Sequence[Price], at: datetime) -> bool:
    """Whether a reduction with an end is in force at `at`."""
    price = in_force(history, at)
    return price is not None and price.valid_to is not None and _reduced(price)


def floor_of(history: Sequence[Price], at: datetime, rule: PriceLaw | str) -> int | None:
    """The lowest price from `at` on that leaves every planned reduction a true one, minor units;
    None without any.

    A price that holds until a reduction begins lies in its window, so it must stay above the
    reduction's offer.
    """
    offers = [
        each.offer_minor
        for each in planned(history, at)
        if each.offer_minor is not None and _true(history, each.starts_at, rule)
    ]
    return max(offers) + 1 if offers else None


def spoiled_by_raise(
    reductions: Iterable[PlannedReduction], at: datetime, rule: PriceLaw | str
) -> PlannedReduction | None:
    """The first planned reduction that a raise at `at` would spoil.

    The present price would lie within its window: the reduction counts from that one, not from the
    raised price, so that what may be announced is smaller than what the list price shows, or
    nothing.
    """
    days = timedelta(days=PriceLaw(rule).days)
    near = [each for each in reductions if at < each.starts_at < at + days]
    return min(near, key=lambda each: each.starts_at, default=None)


def objection(history: Sequence[Price], row: NewPrice, rule: PriceLaw | str) -> str | None:
    """Why the law forbids to append `row`, None where it does not.

    Forbidden is a reduction that is none, and a price that would turn a planned reduction into
    none.
    """
    rule = PriceLaw(rule)
    number = max((price.seq for price in history), default=0) + 1
    after = [*history, Price(**vars(row), seq=number, price_id=row.content_id())]
    if row.offer_price_minor < row.list_price_minor and not _true(after, row.valid_from, rule):
        return (
            f"it is no reduction: the lowest price of the {rule.days} days before is not above it"
        )
    for each in planned(history, row.valid_from):
        if _true(history, each.starts_at, rule) and not _true(after, each.starts_at, rule):
            day = each.starts_at.date().isoformat()
            return f"the promotion planned for {day} would be no reduction: {rule.days} days count before it"
    return None


def objections(
    ledger: Ledger, prices: Mapping[str, NewPrice], law_of: Callable[[str], PriceLaw]
) -> dict[str, str]:
    """`objection` to some of many prices, by their keys; `law_of` tells the rule of a zone."""
    found = {}
    for zone in sorted({price.zone for price in prices.values()}):
        here = {key: price for key, price in prices.items() if price.zone == zone}
        histories = ledger.histories([price.item_id for price in here.values()], zone)
        for key, price in here.items():
            if why := objection(histories.get(price.item_id, ()), price, law_of(zone)):
                found[key] = why
    return found


def _true(history: Sequence[Price], at: datetime, rule: PriceLaw | str) -> bool:
    """Whether the reduction announced at `at` is one: below every price of its window, as far as
    any is known.

    One that goes on at the same offer began with the first of its rows; a regular price so low is
    part of the window.
    """
    steps = timeline(history, at)
    began = len(steps) - 1
    price = steps[began][1] if steps else None
    if price is None:
        return False
    while (
        began > 0
        and _offer(steps[began - 1][1]) == price.offer_price_minor
        and _reduced(steps[began - 1][1])
    ):
        began -= 1
    prior = _lowest(steps, began, rule)
    return prior is None or price.offer_price_minor < prior


def _reduced(price: Price | None) -> bool:
    return price is not None and price.offer_price_minor < price.list_price_minor


def _offer(price: Price | None) -> int | None:
    return None if price is None else price.offer_price_minor
