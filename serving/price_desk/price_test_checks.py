"""Prices of a price test held against rules, law and other tests, before they are filed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa

from experiments.designs.price_test import PriceTest
from experiments.designs.tested_units import ItemZone
from features.contracts.errors import Conflict
from features.prices.ledger import Ledger
from features.prices.stored_tests import (
    PROMOTION_RUNNING,
    PriceTests,
    StoredTest,
    describe_hold,
)
from models.pricing.rules import CHANGE, UNTESTED
from serving.access import Caller
from serving.database.audit_log import Decider
from serving.price_desk.checked_prices import HOLD, ProposedPrice
from serving.price_desk.filters import SuggestionFilter
from serving.price_desk.lifecycle import supersede_waiting
from serving.price_desk.price_test_batches import Batch, Json, find_refused
from serving.price_desk.proposals import CheckedProposal, ProposalOptions, ProposalService
from serving.price_desk.repository import Suggestions
from serving.price_desk.rollback import roll_back

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
) -> CheckedProposal:
    """Return the prices held against the rules; another hold than the test's refuses a price.

    The prices before the test go on in spite of a hold, but for a running promotion.
    """
    if not prices:
        return CheckedProposal("", (), "")
    proposed = [
        ProposedPrice(row, item_id, zone, price_minor)
        for row, ((item_id, zone), price_minor) in enumerate(prices.items(), start=1)
    ]
    proposal = proposals.check(caller, proposed, options)
    before = PriceTest.from_document(stored.document["test"]).find_prices_before()
    is_return = dict(prices).items() <= before.items()
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


def drop_current_prices(
    connection: sa.Connection, prices: Mapping[ItemZone, int], at: datetime
) -> dict[ItemZone, int]:
    """Return the prices that the items do not have at a time: the others need no filing."""
    current = _read_prices(connection, prices, at)
    return {key: price for key, price in prices.items() if current.get(key) != price}


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
    planned = test.find_prices_before()
    moved = [item_id for item_id, _ in drop_current_prices(connection, planned, now)]
    if moved:
        raise Conflict(
            f"{len(moved)} prices changed since this was planned (item {moved[0]!r} first)",
            hint="Plan again: POST /v1/price-tests, or shopwright prices tests --plan",
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


def withdraw_prices(
    connection: sa.Connection, decider: Decider, stored: StoredTest, way_back: CheckedProposal
) -> None:
    """Supersede what nobody has decided on of a test, and undo approved prices that have yet to
    begin: they are the test's own.

    Not those of items that get a way back: they fall away when the price beneath them changes.
    """
    moved = {(price.proposed.item_id, price.proposed.zone) for price in way_back.valid}
    repository = Suggestions(connection)
    for batch in stored.document["batches"]:
        if batch["proposal_id"] is None:
            continue
        of_batch = repository.matching(SuggestionFilter(run_id=batch["proposal_id"]))
        supersede_waiting(connection, decider, of_batch)
        for suggestion in of_batch:
            key = suggestion.item_id, suggestion.zone
            if suggestion.status == "scheduled" and key not in moved:
                assert suggestion.price_id is not None  # noqa: S101
                roll_back(connection, decider, suggestion.price_id, confirmed=True)


def _read_prices(
    connection: sa.Connection, keys: Iterable[ItemZone], at: datetime
) -> dict[ItemZone, int]:
    """Return what items cost at a time, minor units; without those that have no price then."""
    by_zone: dict[str, list[str]] = {}
    for item_id, zone in keys:
        by_zone.setdefault(zone, []).append(item_id)
    ledger = Ledger(connection)
    return {
        (item_id, zone): price.offer_price_minor
        for zone, item_ids in by_zone.items()
        for item_id, price in ledger.find_current(item_ids, zone, at).items()
    }
