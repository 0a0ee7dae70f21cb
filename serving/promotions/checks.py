"""What stands against a promotion: the law, other promotions, planned prices, the item itself.

The same code looks at it when it is filed, when it is approved, and when it begins.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa

from features.contracts.errors import Conflict
from features.contracts.money import to_major
from features.prices.guards import MAX_JUMP, find_jump
from features.prices.law import explain_objection
from features.prices.ledger import Ledger, NewPrice, Price, PriceSource
from features.prices.promotions import find_promoted
from features.prices.timeline import find_last_price, find_price_at, list_steps
from models.pricing.price_floors import ItemFloors, is_below
from models.pricing.promotions.conflicts import PromotionRun
from models.pricing.rules import MAP
from serving.database.audit_log import Decider
from serving.promotions.repository import NewPromotion, PromotionItem, find_locks, find_waiting
from serving.promotions.terms import PRICED, Offer

_SHOWN = 5  # problems in one message


@dataclass(frozen=True)
class Problem:
    """Why a promotion cannot run on an item, "" for all of it.

    rule   the pricing rule that it breaks, which whoever files it may confirm; None for the rest
    """

    item_id: str
    why: str
    rule: str | None = None

    def __str__(self) -> str:
        return f"{self.item_id}: {self.why}" if self.item_id else self.why


@dataclass(frozen=True)
class CheckedPromotion:
    """A promotion as it would be filed now, and what stands against it.

    large_moves   prices that need a confirmation
    """

    draft: NewPromotion
    problems: tuple[Problem, ...]
    large_moves: tuple[Problem, ...]


def refuse_problems(problems: Sequence[Problem]) -> None:
    """Raise Conflict where there is any problem."""
    if not problems:
        return
    hint = "Change its time, its items or its terms"
    rules = list(dict.fromkeys(problem.rule for problem in problems if problem.rule))
    if len(rules) and all(problem.rule for problem in problems):
        named = ", ".join(f'"{rule}"' for rule in rules)
        hint = f"Change its terms; whoever files it may mean it, with confirm: [{named}]"
    raise Conflict(describe_problems(problems), hint=hint)


def describe_problems(problems: Sequence[Problem]) -> str:
    """Return the first problems, and how many more there are."""
    shown = "; ".join(map(str, problems[:_SHOWN]))
    more = len(problems) - _SHOWN
    return f"{shown}; and {more} more" if more > 0 else shown


def find_base_price(history: Sequence[Price], at: datetime) -> Price | None:
    """Return the price that is valid at `at`; where all have ended, the last list price."""
    price = find_price_at(history, at)
    if price is None and (last := find_last_price(history, at)) is not None:
        return last.continue_expired()
    return price


def read_histories(
    connection: sa.Connection, item_ids: Sequence[str], zone: str, promotion_id: str | None
) -> dict[str, list[Price]]:
    """Return the ledger's rows by item, without those of this promotion and what undid them."""
    histories = Ledger(connection).read_histories(item_ids, zone)
    if promotion_id is None:
        return histories
    kept = {}
    for item_id, history in histories.items():
        own = {row.price_id for row in history if row.promotion_id == promotion_id}
        kept[item_id] = [
            row for row in history if row.price_id not in own and row.reverts_price_id not in own
        ]
    return kept


def find_problems(
    connection: sa.Connection,
    decider: Decider,
    promotion: NewPromotion,
    runs: Sequence[PromotionRun] = (),
    promotion_id: str | None = None,
) -> list[Problem]:
    """Return what stands against a promotion from now on.

    runs           imported promotions that overlap it
    promotion_id   its id where it is filed already; its own prices are no reason against it
    """
    begins_at = max(promotion.starts_at, decider.now)
    if promotion.ends_at <= begins_at:
        return [Problem("", "its time is over")]
    offer = Offer.from_terms(promotion.mechanic, promotion.terms, promotion.currency)
    item_ids = [item.item_id for item in promotion.items]
    histories = read_histories(connection, item_ids, promotion.zone, promotion_id)
    bases = {
        item_id: base
        for item_id in item_ids
        if (base := find_base_price(histories.get(item_id, ()), begins_at)) is not None
    }
    problems = []
    if fault := offer.find_fault([base.offer_price_minor for base in bases.values()]):
        problems.append(Problem("", fault))
    problems += _find_overlaps(connection, promotion, begins_at, runs, promotion_id)
    if decider.find_price_floors is not None:
        floors = decider.find_price_floors(connection, promotion.zone, item_ids, begins_at)
        problems += [
            problem
            for problem in find_broken_floors(offer, bases, floors)
            if problem.rule not in promotion.confirmed_rules
        ]
    rules = decider.find_rules(promotion.zone, item_ids)
    locks = find_locks(connection, item_ids, promotion.zone, begins_at, promotion.ends_at)
    for item in promotion.items:
        history, base = histories.get(item.item_id, ()), bases.get(item.item_id)
        if item.item_id in decider.off_sale:
            problems.append(Problem(item.item_id, "it is off sale"))
        if item.item_id in locks:
            problems.append(Problem(item.item_id, f"its price is locked: {locks[item.item_id]}"))
        if base is None:
            problems.append(Problem(item.item_id, "it has no price"))
            continue
        reasons = [
            _explain_base(item, base, offer),
            _explain_ledger(history, base, begins_at, promotion.ends_at),
        ]
        rows = make_prices(promotion, item, history, decider.now, promotion_id)
        if rows:
            reasons.append(explain_objection(history, rows[0], rules[item.item_id]))
        problems += [Problem(item.item_id, why) for why in reasons if why is not None]
    return problems


def find_broken_floors(
    offer: Offer,
    bases: Mapping[str, Price],
    floors: Mapping[str, ItemFloors],
    *,
    soft: bool = False,
) -> list[Problem]:
    """Return the hard (or the soft) rules that an offer breaks, by item in order.

    The margin is that of what is paid where everybody uses the offer to the full; the minimum
    advertised price counts where a price of the item is announced.
    """
    prices = [base.offer_price_minor for base in bases.values()]
    problems = []
    for item_id, base in bases.items():
        of_item = floors.get(item_id)
        if of_item is None:
            continue
        announced = offer.announce(base.offer_price_minor)
        lowest = offer.find_lowest_price(base.offer_price_minor, prices)
        for bound in of_item.soft if soft else of_item.hard:
            price = announced if bound.rule == MAP else lowest
            if price is not None and is_below(price, bound):
                least = to_major(math.ceil(bound.lowest), base.currency)
                paid = to_major(round(price), base.currency)
                why = f"{paid} breaks the rule {bound.rule} ({bound.note}; the lowest is {least})"
                problems.append(Problem(item_id, why, bound.rule))
    return problems


def make_prices(
    promotion: NewPromotion,
    item: PromotionItem,
    history: Sequence[Price],
    now: datetime,
    promotion_id: str | None,
) -> list[NewPrice]:
    """Return the rows of the ledger by which the promotion lowers the price of an item.

    One from its beginning on, and one for each time at which the price list repeats the price
    beneath it: a row that begins later would hide it. None where it announces no price.
    """
    begins_at = max(promotion.starts_at, now)
    base = find_base_price(history, begins_at)
    if base is None:
        return []
    offer = Offer.from_terms(promotion.mechanic, promotion.terms, promotion.currency)
    announced = item.promotion_price_minor
    if announced is None:
        announced = offer.announce(base.offer_price_minor)
    if announced is None:
        return []
    first = NewPrice(
        item_id=item.item_id,
        zone=promotion.zone,
        valid_from=begins_at,
        valid_to=promotion.ends_at,
        list_price_minor=max(base.list_price_minor, announced),
        offer_price_minor=max(announced, 0),
        currency=promotion.currency,
        source=PriceSource.DESK,
        recorded_at=now,
        promotion_id=promotion_id,
    )
    later = [since for since, _ in _list_later_steps(history, begins_at, promotion.ends_at)]
    return [first, *(replace(first, valid_from=since) for since in later)]


def list_rule_warnings(
    connection: sa.Connection, decider: Decider, promotion: NewPromotion
) -> list[str]:
    """Return what whoever approves a promotion should know of rules and of others that wait."""
    begins_at = max(promotion.starts_at, decider.now)
    item_ids = [item.item_id for item in promotion.items]
    warnings = [
        f"{name!r} waits for a decision on the same items and time: only one can be approved"
        for name in find_waiting(connection, promotion, item_ids)
    ]
    if decider.find_price_floors is None:
        return warnings
    histories = read_histories(connection, item_ids, promotion.zone, None)
    bases = {
        item_id: base
        for item_id in item_ids
        if (base := find_base_price(histories.get(item_id, ()), begins_at)) is not None
    }
    offer = Offer.from_terms(promotion.mechanic, promotion.terms, promotion.currency)
    floors = decider.find_price_floors(connection, promotion.zone, item_ids, begins_at)
    broken = find_broken_floors(offer, bases, floors)
    confirmed = [problem for problem in broken if problem.rule in promotion.confirmed_rules]
    soft = find_broken_floors(offer, bases, floors, soft=True)
    for problems, word in ((confirmed, "meant"), (soft, "a soft rule")):
        if problems:
            warnings.append(f"{word}: {describe_problems(problems)}")
    if unknown := [item_id for item_id, of_item in floors.items() if not of_item.cost_known]:
        warnings.append(
            f"the cost of {len(unknown)} items is not known: no rule about margins is checked there"
        )
    return warnings


def list_large_moves(promotion: NewPromotion) -> list[Problem]:
    """Return the items whose announced price moves by more than anybody means without saying so."""
    offer = Offer.from_terms(promotion.mechanic, promotion.terms, promotion.currency)
    moves = []
    for item in promotion.items:
        announced = offer.announce(item.current_price_minor)
        if announced is None:
            continue
        share = find_jump(announced, (item.current_price_minor, item.list_price_minor))
        if abs(share) > MAX_JUMP:
            moves.append(Problem(item.item_id, f"its price moves by {share:+.0%}"))
    return moves


def is_priced(promotion: NewPromotion) -> bool:
    """Return whether the promotion is the price of its items."""
    return promotion.mechanic in PRICED


def _explain_base(item: PromotionItem, base: Price, offer: Offer) -> str | None:
    """Return why the price before the promotion is not the one that it was computed against."""
    announced = offer.announce(base.offer_price_minor)
    if announced is not None and announced <= 0:
        return "nothing would be paid for it"
    if announced is not None and announced >= base.offer_price_minor:
        return "its price would be no lower"
    was, now = item.current_price_minor, base.offer_price_minor
    if announced is not None and (item.list_price_minor, was) != _amounts(base):
        return (
            "another price is valid than the one that it was computed against "
            f"({to_major(was, base.currency)}, now {to_major(now, base.currency)})"
        )
    return None


def _explain_ledger(
    history: Sequence[Price], base: Price, begins_at: datetime, ends_at: datetime
) -> str | None:
    """Return which price of the ledger gets in the way between two times."""
    if _is_promotion(base):
        return f"it is reduced until {base.valid_to:%Y-%m-%d} already"
    for since, price in _list_later_steps(history, begins_at, ends_at):
        if _is_promotion(price):
            return f"another reduction begins on {since:%Y-%m-%d}"
        if _amounts(price) != _amounts(base):
            new = to_major(price.offer_price_minor, price.currency)
            return f"a price of {new} begins on {since:%Y-%m-%d}"
    return None


def _list_later_steps(
    history: Sequence[Price], begins_at: datetime, ends_at: datetime
) -> list[tuple[datetime, Price]]:
    """Return the prices that begin between two times, and when."""
    return [
        (since, price)
        for since, price in list_steps(history, ends_at)
        if begins_at < since < ends_at and price is not None and price.valid_from == since
    ]


def _amounts(price: Price) -> tuple[int, int]:
    return price.list_price_minor, price.offer_price_minor


def _is_promotion(price: Price) -> bool:
    """Return whether a price is a reduction for a time; one without an end is the usual price."""
    return price.valid_to is not None and price.offer_price_minor < price.list_price_minor


def _find_overlaps(
    connection: sa.Connection,
    promotion: NewPromotion,
    begins_at: datetime,
    runs: Sequence[PromotionRun],
    promotion_id: str | None,
) -> list[Problem]:
    """Return the other promotions of its items at the same time, of the desk and imported."""
    item_ids = {item.item_id for item in promotion.items}
    promoted = find_promoted(connection, promotion.zone, begins_at, promotion.ends_at, item_ids)
    names: Mapping[tuple[str, str], str] = {
        **{(run.item_id, run.name): run.name for run in runs},
        **{(item.item_id, item.promotion_id): item.name for item in promoted},
    }
    return [
        Problem(item_id, f"promotion {name!r} runs at the same time")
        for (item_id, other_id), name in sorted(names.items())
        if item_id in item_ids and other_id != promotion_id
    ]
