"""Prices of a price test held against rules, law and other tests, before they are filed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa

from experiments.designs.price_test import PriceTest
from features.contracts.errors import Conflict
from features.prices.ledger import Ledger
from features.prices.stored_tests import PROMOTION_RUNNING, StoredTest, describe_hold
from models.pricing.rules import CHANGE, UNTESTED
from serving.access import Caller
from serving.price_desk.checked_prices import HOLD, ProposedPrice
from serving.price_desk.price_test_batches import Batch, Json, find_refused
from serving.price_desk.proposals import CheckedProposal, ProposalOptions, ProposalService


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
    prices: Mapping[str, int],
    options: ProposalOptions,
) -> CheckedProposal:
    """Return the prices held against the rules; another hold than the test's refuses a price.

    The prices before the test go on in spite of a hold, but for a running promotion.
    """
    if not prices:
        return CheckedProposal("", (), "")
    proposed = [
        ProposedPrice(row, item_id, stored.zone, price_minor)
        for row, (item_id, price_minor) in enumerate(prices.items(), start=1)
    ]
    proposal = proposals.check(caller, proposed, options)
    before = PriceTest.from_document(stored.document["test"])
    is_return = dict(prices).items() <= before.find_prices(before.periods.n_periods).items()
    checked = []
    for price in proposal.prices:
        hold = price.broken.get(HOLD, "")
        is_own = not hold or describe_hold(stored.test_id) in hold
        if not is_own and not (is_return and PROMOTION_RUNNING not in hold):
            price = price.refuse(Conflict(f"it cannot be tested now: {hold}"))
        checked.append(price)
    return replace(proposal, prices=tuple(checked))


def choose_options(starts_at: datetime | None, reason: str) -> ProposalOptions:
    """Return what applies to the prices of a test: which rules they may break by their nature."""
    return ProposalOptions(
        effective_from=starts_at,
        confirmed=frozenset({CHANGE, UNTESTED, HOLD}),
        reason=reason,
    )


def find_earlier_prices(test: PriceTest, test_id: str, tested: Mapping[str, str]) -> dict[str, int]:
    """Return the prices before a test, without items that are in another test by now."""
    earlier = test.find_prices(test.periods.n_periods)
    return {item: price for item, price in earlier.items() if tested.get(item) in (None, test_id)}


def require_prices(proposal: CheckedProposal, reason: str) -> None:
    """Raise Conflict where all prices are refused."""
    refused = find_refused(proposal)
    if refused and not proposal.valid:
        item_id, error = next(iter(refused.items()))
        raise Conflict(
            f"no price of {reason} can be filed; item {item_id!r}: {error}",
            hint="Were the prices of the period before approved?",
        )


def refuse_moved_prices(connection: sa.Connection, test: PriceTest, now: datetime) -> None:
    """Raise Conflict where an item costs something else than when the test was planned: its end
    would restore a price that was valid before."""
    planned = test.find_prices(test.periods.n_periods)
    prices = Ledger(connection).find_current(list(planned), test.zone, now)
    moved = [
        item_id
        for item_id, price_minor in planned.items()
        if item_id not in prices or prices[item_id].offer_price_minor != price_minor
    ]
    if moved:
        raise Conflict(
            f"{len(moved)} prices changed since this was planned (item {moved[0]!r} first)",
            hint="Plan again: POST /v1/price-tests, or shopwright prices tests --plan",
        )


def refuse_tested_items(test: PriceTest, test_id: str, tested: Mapping[str, str]) -> None:
    """Raise Conflict where an item of a test is in another one by now."""
    for item_id in test.item_ids:
        if tested.get(item_id, test_id) != test_id:
            raise Conflict(
                f"item {item_id!r} is in the price test {tested[item_id]}",
                hint="Plan again, the plan leaves it out: POST /v1/price-tests, or "
                "shopwright prices tests --plan",
            )
