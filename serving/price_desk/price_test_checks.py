"""Prices of a price test held against rules, law and other tests, before they are filed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa

from experiments.designs.price_test import PriceTest
from experiments.designs.tested_units import ItemZone
from features.contracts.errors import Conflict
from features.database import lock
from features.prices.stored_tests import (
    PROMOTION_RUNNING,
    PriceTests,
    StoredTest,
    describe_hold,
)
from models.pricing.rules import CHANGE, UNTESTED
from serving.access import Caller
from serving.price_desk.checked_prices import HOLD, ProposedPrice
from serving.price_desk.price_test_batches import Batch, Json, find_refused
from serving.price_desk.proposals import CheckedProposal, ProposalOptions, ProposalService

SCOPE = "pricing.propose"


@dataclass(frozen=True)
class PreparedFiling:
    """The next prices of a test, checked and ready to be filed; `missed` are periods before."""

    stored: StoredTest
    batch: Batch
    missed: Sequence[Json]
    proposal: CheckedProposal
    options: ProposalOptions


@dataclass(frozen=True)
class PreparedCancel:
    """The prices before a test that is cancelled, checked and ready to be filed."""

    stored: StoredTest
    proposal: CheckedProposal
    options: ProposalOptions


def check_prices(
    proposals: ProposalService,
    caller: Caller,
    stored: StoredTest,
    prices: Mapping[ItemZone, int],
    options: ProposalOptions,
    *,
    is_return: bool,
) -> CheckedProposal:
    """Return the prices held against the rules; another hold than the test's refuses a price.

    Prices that return to those before the test go on in spite of a hold, but for a running
    promotion.
    """
    if not prices:
        return CheckedProposal("", (), "")
    proposed = [
        ProposedPrice(row, item_id, zone, price_minor)
        for row, ((item_id, zone), price_minor) in enumerate(prices.items(), start=1)
    ]
    proposal = proposals.check(caller, proposed, options)
    checked = []
    for price in proposal.prices:
        hold = price.broken.get(HOLD, "")
        is_own = not hold or describe_hold(stored.test_id) in hold
        if not is_own and not (is_return and PROMOTION_RUNNING not in hold):
            price = price.refuse(Conflict(f"it cannot be tested now: {hold}"))
        checked.append(price)
    return replace(proposal, prices=tuple(checked))


def choose_options(
    test: PriceTest, starts_at: datetime | None, reason: str, *, is_return: bool
) -> ProposalOptions:
    """Return what applies to the prices of a test: which rules they may break by their nature.

    The new prices of a roll-out break none but the hold of the test itself.
    """
    confirmed = {HOLD} if test.keeps_prices and not is_return else {CHANGE, UNTESTED, HOLD}
    return ProposalOptions(starts_at, frozenset(confirmed), reason)


def lock_test(connection: sa.Connection, stored: StoredTest) -> PriceTests:
    """Wait for other writers; raise Conflict where one has changed the test since it was read."""
    lock(connection, "price_desk")
    tests = PriceTests(connection)
    current = tests.get(stored.test_id)
    n_batches = [len(test.document["batches"]) for test in (stored, current)]
    if n_batches[0] != n_batches[1] or stored.state != current.state:
        raise Conflict(f"{stored.test_id} was changed meanwhile", hint="Look again")
    return tests


def find_tested(tests: PriceTests, test: PriceTest, now: datetime) -> dict[ItemZone, str]:
    """Return the test that each item of the zones of a test is in."""
    return {
        (item_id, zone): test_id
        for zone in test.zones
        for item_id, test_id in tests.find_tested_items(zone, now).items()
    }


def drop_tested_elsewhere(
    prices: Mapping[ItemZone, int], test_id: str, tested: Mapping[ItemZone, str]
) -> dict[ItemZone, int]:
    """Return the prices without those of items that are in another test by now."""
    return {key: price for key, price in prices.items() if tested.get(key) in (None, test_id)}


def require_prices(proposal: CheckedProposal, reason: str) -> None:
    """Raise Conflict where all prices of a first filing are refused: the test cannot begin."""
    refused = find_refused(proposal)
    if refused and not proposal.valid:
        item_id, error = next(iter(refused.items()))
        raise Conflict(
            f"no price of {reason} can be filed; item {item_id!r}: {error}",
            hint="Plan again, the plan leaves such items out: POST /v1/price-tests, or "
            "shopwright prices tests --plan",
        )


def require_zones(caller: Caller, zones: Iterable[str]) -> None:
    """Raise Forbidden for who may not propose prices of the whole of each zone: a part of a test is
    none."""
    for zone in zones:
        caller.require_zone(SCOPE, zone)


def refuse_tested_items(test: PriceTest, test_id: str, tested: Mapping[ItemZone, str]) -> None:
    """Raise Conflict where an item of a test is in another one by now."""
    for key in test.find_prices_before():
        if tested.get(key, test_id) != test_id:
            raise Conflict(
                f"item {key[0]!r} is in the price test {tested[key]}",
                hint="Plan again, the plan leaves it out: POST /v1/price-tests, or "
                "shopwright prices tests --plan",
            )
