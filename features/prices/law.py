"""The law of price reductions: the prior price, and the price changes that the law forbids.

A reduction is *announced* where the offer price lies below the list price. It begins when it is
announced at its offer price: a price that was the regular one before (list = offer) was no
reduction, and a further step down is a reduction of its own. The window of the prior price counts
back from that beginning, not from today.

The window and its options are those of the item's `ReductionRule`. An item without any price
before has no prior price: its first price cannot be announced as reduced. The same rule applies to
what lowers the price of everybody in another way: a coupon that all may use, a percentage off
everything.

References: Directive 98/6/EC, article 6a; CJEU C-330/23; China's provisions on the marking of
prices (seven days).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from features.contracts.pricing import PriceLaw
from features.prices.ledger import Ledger, NewPrice, Price, PriceSource
from features.prices.reduction_rule import FindRules, ReductionRule
from features.prices.timeline import PriceStep, find_price_at, list_steps

Rule = ReductionRule | PriceLaw | str  # a law by its name is that law without any option


@dataclass(frozen=True)
class PlannedReduction:
    """A reduction that lies ahead: its offer price, minor units; None where only its depth is
    planned."""

    name: str
    starts_at: datetime
    offer_minor: int | None


def find_prior_price(
    history: Sequence[Price], at: datetime, rule: Rule = PriceLaw.EU30
) -> int | None:
    """Return the lowest offer price of the days before the reduction at `at` began, minor units.

    Where no price was valid in these days, the last price before them. Counted as reduced is an
    announced reduction, and a regular price that lies below the one right before it. None where
    there is neither, or no price is known before it. An announced reduction is lawful only when its
    offer price is below the prior price (80, then 100, then 90: the prior price is 80, so 90 is no
    reduction).
    """
    return _find_prior_price(list_steps(history, at), _read_rule(rule))


def find_prior_prices(
    histories: Mapping[str, Sequence[Price]],
    at: datetime,
    rules: Mapping[str, ReductionRule],
) -> dict[str, int | None]:
    """Return `find_prior_price` of many items, each under its rule."""
    return {
        item_id: find_prior_price(histories.get(item_id, ()), at, rule)
        for item_id, rule in rules.items()
    }


def find_unlawful_reductions(history: Sequence[Price], rule: Rule) -> list[Price]:
    """Return the first price of each announced reduction of a history that is unlawful."""
    rule = _read_rule(rule)
    ends = [price.valid_to for price in history if price.valid_to is not None]
    last = max([*(price.valid_from for price in history), *ends], default=None)
    if last is None:
        return []
    steps = list_steps(history, last)
    unlawful = []
    for number, (_, price) in enumerate(steps, start=1):
        until = steps[:number]
        begins = _find_beginning(until, rule) == number - 1
        if price is not None and _is_announced(price) and begins and not _is_lawful(until, rule):
            unlawful.append(price)
    return unlawful


def count_unlawful_imports(ledger: Ledger, find_rules: FindRules) -> int:
    """Count the unlawful announced reductions of the imported price list, in all zones."""
    count = 0
    for zone in ledger.list_zones():
        item_ids = ledger.list_reduced_imports(zone)
        rules = find_rules(zone, item_ids)
        for item_id, history in ledger.read_histories(item_ids, zone).items():
            unlawful = find_unlawful_reductions(history, rules[item_id])
            count += sum(price.source is PriceSource.IMPORTED for price in unlawful)
    return count


def list_planned_reductions(history: Sequence[Price], at: datetime) -> list[PlannedReduction]:
    """Return the announced reductions of a history that begin after `at` and will be valid."""
    return [
        PlannedReduction(row.promotion_id or row.price_id, row.valid_from, row.offer_price_minor)
        for row in _list_planned(history, at)
        if _is_announced(row)
    ]


def is_reduction_running(history: Sequence[Price], at: datetime) -> bool:
    """Return whether an announced reduction with an end is valid at `at`.

    Its end is its own, or the beginning of the next price that is planned.
    """
    price = find_price_at(history, at)
    if price is None or not _is_announced(price):
        return False
    return price.valid_to is not None or bool(_list_planned(history, at))


def _list_planned(history: Sequence[Price], at: datetime) -> list[Price]:
    """Return the prices that begin after `at` and will be valid."""
    ahead = [row for row in history if row.valid_from > at]
    return [row for row in ahead if find_price_at(history, row.valid_from) == row]


def find_lawful_floor(history: Sequence[Price], at: datetime, rule: Rule) -> int | None:
    """Return the lowest price from `at` on that leaves every planned reduction lawful, minor units.

    A price that is valid until a reduction begins lies in its window, so it must stay above the
    offer of the reduction. None without a lawful planned reduction.
    """
    rule = _read_rule(rule)
    offers = [
        reduction.offer_minor
        for reduction in list_planned_reductions(history, at)
        if reduction.offer_minor is not None and _is_lawful_at(history, reduction.starts_at, rule)
    ]
    return max(offers) + 1 if offers else None


def find_spoiled_reduction(
    reductions: Iterable[PlannedReduction], at: datetime, rule: Rule
) -> PlannedReduction | None:
    """Return the first planned reduction that a raise at `at` would spoil.

    The present price would lie within its window: the reduction counts from that one, not from the
    raised price, so that what may be announced is smaller than what the list price shows, or
    nothing.
    """
    days = timedelta(days=_read_rule(rule).days)
    near = [reduction for reduction in reductions if at < reduction.starts_at < at + days]
    return min(near, key=lambda reduction: reduction.starts_at, default=None)


def explain_objection(history: Sequence[Price], row: NewPrice, rule: Rule) -> str | None:
    """Return why the law forbids to append `row`, None where it does not.

    Forbidden is an announced reduction that is none, and a price that would turn a planned
    reduction into none.
    """
    planned = list_planned_reductions(history, row.valid_from)
    if not planned and not _is_announced(row):
        return None
    rule = _read_rule(rule)
    number = max((price.seq for price in history), default=0) + 1
    after = [*history, Price(**vars(row), seq=number, price_id=row.content_id())]
    if _is_announced(row) and not _is_lawful_at(after, row.valid_from, rule):
        if find_prior_price(after, row.valid_from, rule) is None:
            return "it is no reduction: no price of this item is known before it"
        return f"it is no reduction: {rule.describe_prior()} is not above it"
    for reduction in planned:
        starts_at = reduction.starts_at
        was_lawful = _is_lawful_at(history, starts_at, rule)
        if was_lawful and not _is_lawful_at(after, starts_at, rule):
            return (
                f"the promotion planned for {starts_at.date().isoformat()} would be no reduction: "
                f"it counts from {rule.describe_prior()}"
            )
    return None


def explain_new_objection(history: Sequence[Price], row: NewPrice, rule: Rule) -> str | None:
    """Return `explain_objection` of a row of a price list, None where its reduction goes on.

    A reduction goes on where the price right before, or the one that the row corrects, announced it
    at the same offer price: nothing is announced.
    """
    if _is_announced(row):
        steps = list_steps(history, row.valid_from)
        n_right_before = 2 if steps and steps[-1].since == row.valid_from else 1
        before = [step.price for step in steps[-n_right_before:] if step.price is not None]
        offers = [price.offer_price_minor for price in before if _is_announced(price)]
        if row.offer_price_minor in offers:
            return None
    return explain_objection(history, row, rule)


def explain_objections(
    ledger: Ledger, prices: Mapping[str, NewPrice], find_rules: FindRules
) -> dict[str, str]:
    """Return `explain_objection` of those of many prices that have one, by their keys."""
    objections = {}
    for zone in sorted({price.zone for price in prices.values()}):
        in_zone = {key: price for key, price in prices.items() if price.zone == zone}
        concerned = _select_concerned(ledger, zone, in_zone.values())
        in_zone = {key: price for key, price in in_zone.items() if price.item_id in concerned}
        histories, rules = ledger.read_histories(concerned, zone), find_rules(zone, concerned)
        for key, price in in_zone.items():
            history = histories.get(price.item_id, ())
            if objection := explain_objection(history, price, rules[price.item_id]):
                objections[key] = objection
    return objections


def _select_concerned(ledger: Ledger, zone: str, prices: Collection[NewPrice]) -> set[str]:
    """Return the items of those prices that announce a reduction, or come before a planned one: no
    law concerns the others, whose history need not be read."""
    first = min(price.valid_from for price in prices)
    planned = ledger.list_reduced_after({price.item_id for price in prices}, zone, first)
    return planned | {price.item_id for price in prices if _is_announced(price)}


def _read_rule(rule: Rule) -> ReductionRule:
    return rule if isinstance(rule, ReductionRule) else ReductionRule.from_law(rule)


def _is_lawful_at(history: Sequence[Price], at: datetime, rule: ReductionRule) -> bool:
    """Return whether the reduction announced at `at` is lawful."""
    return _is_lawful(list_steps(history, at), rule)


def _is_lawful(steps: Sequence[PriceStep], rule: ReductionRule) -> bool:
    """Return whether the offer price of the last step lies below the prior price."""
    price = steps[-1].price if steps else None
    if price is None:
        return False
    prior = _find_prior_price(steps, rule)
    return prior is not None and price.offer_price_minor < prior


def _find_prior_price(steps: Sequence[PriceStep], rule: ReductionRule) -> int | None:
    """Return the prior price of the last step."""
    price = steps[-1].price if steps else None
    if price is None:
        return None
    beginning = _find_beginning(steps, rule)
    if beginning == 0:
        return None
    before = steps[beginning - 1].price
    was_cut = before is not None and price.offer_price_minor < before.offer_price_minor
    if not _is_announced(price) and not was_cut:
        return None
    begins_at = steps[beginning].since
    days = rule.find_window_days(begins_at, steps[0].since)
    window = begins_at - timedelta(days=days)
    if rule.sold:
        sold = _find_lowest_sold(steps[: beginning + 1], window, rule)
        if sold is not None:
            return sold
    offers = _list_offers(steps[: beginning + 1], window, rule)
    if offers:
        return min(offers)
    earlier = [step.price for step in steps[:beginning] if step.price is not None]
    return earlier[-1].offer_price_minor if earlier else None


def _list_offers(steps: Sequence[PriceStep], since: datetime, rule: ReductionRule) -> list[int]:
    """Return the prices that everybody could pay between `since` and the last step."""
    offers = []
    for step, after in pairwise(steps):
        if step.price is None or after.since <= since:
            continue
        offers.append(step.price.offer_price_minor)
        list_price = step.price.list_price_minor
        offers += [
            round(list_price * (1 - coupon.depth))
            for coupon in rule.coupons
            if coupon.starts_at < after.since and coupon.ends_at > max(step.since, since)
        ]
    return offers


def _find_lowest_sold(
    steps: Sequence[PriceStep], window: datetime, rule: ReductionRule
) -> int | None:
    """Return the lowest price at which the item was sold between `window` and the last step.

    What is not sold yet counts by its offer price. Without either, the price of the last sale
    before; None where there is none.
    """
    begins_at = steps[-1].since
    prices = [
        sold.price_minor
        for sold in rule.sold
        if any(window <= at < begins_at for at in (sold.first_at, sold.last_at))
    ]
    if rule.sold_until is not None and rule.sold_until < begins_at:
        prices += _list_offers(steps, max(window, rule.sold_until), rule)
    if prices:
        return round(min(prices))
    earlier = [
        (at, sold.price_minor)
        for sold in rule.sold
        for at in (sold.first_at, sold.last_at)
        if at < begins_at
    ]
    return round(max(earlier)[1]) if earlier else None


def _find_beginning(steps: Sequence[PriceStep], rule: ReductionRule) -> int:
    """Return the position of the step at which the reduction of the last step began.

    An announced reduction began with the first of the steps that announce it at its offer price;
    under a rule of progressive reductions, with the first of the announced steps none of which is
    lower than the one after it. A regular price began with the first step at that offer price.
    """
    beginning = len(steps) - 1
    price = steps[beginning].price
    if price is None:
        return beginning
    announced = _is_announced(price)
    while beginning > 0:
        before = steps[beginning - 1].price
        if before is None or (announced and not _is_announced(before)):
            break
        change = before.offer_price_minor - price.offer_price_minor
        if change != 0 and not (announced and rule.progressive and change > 0):
            break
        price, beginning = before, beginning - 1
    return beginning


def _is_announced(price: NewPrice) -> bool:
    return price.offer_price_minor < price.list_price_minor
