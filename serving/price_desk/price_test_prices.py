"""Prices of a price test in the ledger and in the queue: what is charged, what waits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

import sqlalchemy as sa

from experiments.designs.price_test import PriceTest
from experiments.designs.tested_units import ItemZone
from features.contracts.errors import Conflict
from features.prices.ledger import Ledger, Price
from features.prices.stored_tests import CANCELLED, FINISHED, StoredTest
from serving.database.audit_log import Decider
from serving.price_desk.filters import SuggestionFilter
from serving.price_desk.lifecycle import supersede_waiting
from serving.price_desk.price_test_batches import LEFT, is_all_filed, name_period
from serving.price_desk.proposals import CheckedProposal
from serving.price_desk.repository import Suggestion, Suggestions
from serving.price_desk.rollback import roll_back
from serving.price_desk.states import OPEN

_UNDECIDED = (*OPEN, "approved")  # approved, but not in the ledger: activations are stopped
_APPROVED = ("approved", "scheduled", "live")
_GONE = ("expired", "superseded")  # of a way back: nobody has decided on it


def drop_current_prices(
    connection: sa.Connection, prices: Mapping[ItemZone, int], at: datetime
) -> dict[ItemZone, int]:
    """Return the prices that the items do not have at a time: the others need no filing."""
    current = _read_prices(connection, prices, at)
    return {
        key: price
        for key, price in prices.items()
        if key not in current or current[key].offer_price_minor != price
    }


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


def refuse_undecided_prices(connection: sa.Connection, stored: StoredTest, test: PriceTest) -> None:
    """Raise Conflict while prices that were filed before wait: which prices have to change next
    follows from what becomes of them. What came back to the queue has missed its time."""
    for batch in stored.document["batches"]:
        of_batch = _read_batch(connection, batch, _UNDECIDED)
        waiting = [suggestion for suggestion in of_batch if suggestion.returned_reason is None]
        if waiting:
            raise Conflict(
                f"{len(waiting)} prices of {name_period(test, batch['period'])} of "
                f"{stored.test_id} wait to be approved or rejected (item {waiting[0].item_id!r} "
                "first)",
                hint="Somebody else decides on them first: the next prices follow from that",
            )


def supersede_returned_prices(
    connection: sa.Connection, decider: Decider, stored: StoredTest
) -> None:
    """Supersede the prices of earlier filings that came back to the queue: others follow now."""
    for batch in stored.document["batches"]:
        supersede_waiting(connection, decider, _read_batch(connection, batch, OPEN))


def supersede_taken_prices(
    connection: sa.Connection, decider: Decider, stored: StoredTest, test: PriceTest
) -> None:
    """Supersede the waiting prices that a roll-out took from the queue, whoever proposed them.

    Raises Conflict where one was edited or approved since.
    """
    taken = Suggestions(connection).by_ids(stored.document["plan"].get("taken", ()))
    waiting = [suggestion for suggestion in taken if suggestion.status in OPEN]
    newest = {(suggestion.item_id, suggestion.zone): suggestion for suggestion in taken}
    new_prices = test.find_prices(test.periods.n_periods)
    for key, suggestion in newest.items():
        is_edited = new_prices.get(key) != suggestion.suggested_price_minor
        if suggestion.status in _APPROVED or (is_edited and suggestion.status in OPEN):
            raise Conflict(
                f"the price that waits for item {key[0]!r} is not the planned one any more",
                hint="Plan again: POST /v1/price-tests, or shopwright prices tests --plan",
            )
    supersede_waiting(connection, decider, waiting)


def find_own_prices(
    connection: sa.Connection, stored: StoredTest, test: PriceTest, now: datetime
) -> dict[ItemZone, int]:
    """Return the prices before a test of the items that cost what the test gave them: a row of its
    own, or one of its prices that an import repeated."""
    before = test.find_prices_before()
    own_ids = {
        suggestion.id
        for batch in stored.document["batches"]
        for suggestion in _read_batch(connection, batch)
    }
    tested = {
        prices.key: (prices.lower_minor, prices.higher_minor)
        for unit in test.units
        for prices in unit.prices
    }
    return {
        key: before[key]
        for key, price in _read_prices(connection, before, now).items()
        if price.offer_price_minor != before[key]
        and (price.suggestion_id in own_ids or price.offer_price_minor in tested[key])
    }


def mark_left_prices(connection: sa.Connection, stored: StoredTest, now: datetime) -> StoredTest:
    """Return a test that is over and still open with the items that cost what it gave them, though
    all is filed and nobody has decided to keep that; their end can be filed once more."""
    if stored.ends_at is None or stored.ends_at > now or stored.keeps_prices:
        return stored
    if stored.state in (FINISHED, CANCELLED) or not is_all_filed(stored):
        return stored
    test = PriceTest.from_document(stored.document["test"])
    ends = [b for b in stored.document["batches"] if b["period"] == test.periods.n_periods]
    decided = {
        (suggestion.item_id, suggestion.zone)
        for batch in ends
        for suggestion in _read_batch(connection, batch)
        if suggestion.status not in _GONE
    }
    left = [
        item_id
        for item_id, zone in find_own_prices(connection, stored, test, now)
        if (item_id, zone) not in decided and item_id not in ends[-1]["refused"]
    ]
    return stored.add(**{LEFT: left}) if left else stored


def withdraw_prices(
    connection: sa.Connection, decider: Decider, stored: StoredTest, way_back: CheckedProposal
) -> None:
    """Supersede what nobody has decided on of a test, and undo approved prices that have yet to
    begin: they are the test's own.

    Not those of items that get a way back: they are withdrawn when they would begin.
    """
    moved = {(price.proposed.item_id, price.proposed.zone) for price in way_back.valid}
    for batch in stored.document["batches"]:
        of_batch = _read_batch(connection, batch)
        supersede_waiting(connection, decider, of_batch)
        for suggestion in of_batch:
            key = suggestion.item_id, suggestion.zone
            if suggestion.status == "scheduled" and key not in moved:
                assert suggestion.price_id is not None  # noqa: S101
                roll_back(connection, decider, suggestion.price_id, confirmed=True)


def _read_batch(
    connection: sa.Connection, batch: Mapping[str, object], statuses: tuple[str, ...] = ()
) -> list[Suggestion]:
    """Return the suggestions of a batch, of some statuses or all."""
    if batch["proposal_id"] is None:
        return []
    criteria = SuggestionFilter(run_id=str(batch["proposal_id"]), status=statuses)
    return Suggestions(connection).matching(criteria, reasons=False)


def _read_prices(
    connection: sa.Connection, keys: Iterable[ItemZone], at: datetime
) -> dict[ItemZone, Price]:
    """Return what items cost at a time; without those that have no price then."""
    by_zone: dict[str, list[str]] = {}
    for item_id, zone in keys:
        by_zone.setdefault(zone, []).append(item_id)
    ledger = Ledger(connection)
    return {
        (item_id, zone): price
        for zone, item_ids in by_zone.items()
        for item_id, price in ledger.find_current(item_ids, zone, at).items()
    }
