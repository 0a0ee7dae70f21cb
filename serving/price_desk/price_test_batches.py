"""Batches of a price test: what is filed next, and what was."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from experiments.designs.price_test import PriceTest
from features.contracts.calendar import add_weeks, find_week_start
from features.contracts.errors import Conflict
from features.prices.stored_tests import CANCELLED, FINISHED, StoredTest
from serving.price_desk.proposals import CheckedProposal, FiledProposal

Json = dict[str, object]


@dataclass(frozen=True)
class Batch:
    """Prices of a period, or those of the end, to be filed.

    is_late   they begin later than planned
    """

    period: int
    starts_at: datetime
    is_late: bool


def plan_batch(
    stored: StoredTest, test: PriceTest, now: datetime, timezone: str
) -> tuple[Batch, list[Json]]:
    """Return what is filed next, and the periods before it that are missed.

    Late prices begin with the next week, those of the end now. Raises Conflict where all prices are
    filed, and for a cancelled test.
    """
    _refuse_closed(stored)
    n_periods, length = test.periods.n_periods, test.periods.period_weeks
    next_week = add_weeks(find_week_start(now, timezone), 1, timezone)
    begins_at = stored.begins_at or next_week
    missed: list[Json] = []
    for period in range(len(stored.document["batches"]), n_periods):
        starts_at = add_weeks(begins_at, period * length, timezone)
        if starts_at >= now:
            return Batch(period, starts_at, False), missed
        if next_week < add_weeks(starts_at, length, timezone):
            return Batch(period, next_week, True), missed
        missed.append({"period": period, "proposal_id": None, "missed": True, "refused": {}})
    ends_at = add_weeks(begins_at, test.periods.n_weeks, timezone)
    return Batch(n_periods, max(ends_at, now), ends_at < now), missed


def describe_batch(batch: Batch, filed: FiledProposal) -> Json:
    """Return a batch that was filed, as JSON values."""
    return {
        "period": batch.period,
        "proposal_id": filed.proposal.proposal_id if filed.ids else None,
        "starts_at": batch.starts_at.isoformat(),
        "late": batch.is_late,
        "refused": find_refused(filed.proposal),
    }


def find_refused(proposal: CheckedProposal) -> dict[str, str]:
    """Return why prices are refused, by item; one that is charged already is not."""
    return {
        price.proposed.item_id: str(price.error)
        for price in proposal.refused
        if price.price_minor is None or price.price_minor != price.current_minor
    }


def find_refused_items(stored: StoredTest, test: PriceTest) -> set[str]:
    """Return the items that were refused a price of some period."""
    return {
        item_id
        for batch in stored.document["batches"]
        if batch["period"] < test.periods.n_periods
        for item_id in batch["refused"]
    }


def is_all_filed(stored: StoredTest) -> bool:
    """Return whether the periods and the end are filed."""
    n_periods = PriceTest.from_document(stored.document["test"]).periods.n_periods
    return len(stored.document["batches"]) > n_periods


def _refuse_closed(stored: StoredTest) -> None:
    """Raise Conflict for a test of which nothing more can be filed; a refused end can."""
    refuse_cancelled(stored)
    if stored.state == FINISHED or (
        is_all_filed(stored) and not stored.document["batches"][-1]["refused"]
    ):
        raise Conflict("all prices of the test are filed", hint="Finish it when it is over")


def refuse_cancelled(stored: StoredTest) -> None:
    """Raise Conflict for a cancelled test."""
    if stored.state == CANCELLED:
        raise Conflict(f"{stored.test_id} is cancelled", hint="Plan another one")


def name_period(test: PriceTest, period: int) -> str:
    """Return what a filing is called; the one after the last period is the end."""
    if period == test.periods.n_periods:
        return "the end"
    return f"period {period + 1} of {test.periods.n_periods}"
