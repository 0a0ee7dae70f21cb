"""Batches of a price test: what is filed next, and what was."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from experiments.designs.price_test import PriceTest
from features.contracts.calendar import add_weeks, find_week_start
from features.contracts.errors import Conflict
from features.prices.stored_tests import CANCELLED, FINISHED, PLANNED, StoredTest
from serving.price_desk.proposals import CheckedProposal, FiledProposal

Json = dict[str, object]
# A period is due so long before it begins: somebody else has to approve its prices in that time.
_DUE_BEFORE = timedelta(days=7)
# In the document of a test that was read: items that still cost what the test gave them.
LEFT = "left"


@dataclass(frozen=True)
class Batch:
    """Prices of a period, or those of the end, to be filed.

    is_late   they begin later than planned
    """

    period: int
    starts_at: datetime
    is_late: bool


@dataclass(frozen=True)
class NextStep:
    """What is to be done with a test next.

    period   that is to be filed, from 0; the number of periods stands for the end
    at       when its prices begin; of a test to be finished, when it is over
    is_due   whether somebody should do it now
    """

    action: Literal["file", "finish"]
    period: int
    at: datetime
    is_due: bool


def find_next_step(stored: StoredTest, now: datetime, timezone: str) -> NextStep | None:
    """Return the next step of a test; None for one that is closed, or a plan that nobody keeps."""
    if not stored.is_kept or stored.state in (FINISHED, CANCELLED):
        return None
    test = PriceTest.from_document(stored.document["test"])
    if is_all_filed(stored):
        assert stored.ends_at is not None  # noqa: S101
        is_over = stored.ends_at <= now
        if LEFT in stored.document:
            return NextStep("file", test.periods.n_periods, now, True)
        if is_over or not has_refused_end(stored):
            return NextStep("finish", test.periods.n_periods, stored.ends_at, is_over)
    batch, _ = plan_batch(stored, test, now, timezone)
    is_due = stored.state == PLANNED or batch.is_late or batch.starts_at - now <= _DUE_BEFORE
    return NextStep("file", batch.period, batch.starts_at, is_due or has_refused_end(stored))


def may_be_filed(stored: StoredTest) -> bool:
    """Return whether prices of a test are left to be filed; a refused end can be filed again, and
    one that did not bring all prices back."""
    is_open = stored.is_kept and stored.state not in (FINISHED, CANCELLED)
    is_unfinished = has_refused_end(stored) or LEFT in stored.document
    return is_open and (not is_all_filed(stored) or is_unfinished)


def may_be_finished(stored: StoredTest, now: datetime) -> bool:
    """Return whether a test can be analysed; one that is finished can be once more."""
    is_over = stored.ends_at is not None and stored.ends_at <= now
    is_filed = is_all_filed(stored) and LEFT not in stored.document
    return is_over and stored.state != CANCELLED and is_filed


def may_be_cancelled(stored: StoredTest) -> bool:
    """Return whether a test can be cancelled; a cancelled one can be once more, for the prices that
    could not go back."""
    has_begun = stored.begins_at is not None
    is_again = stored.state == CANCELLED and has_begun
    return stored.is_kept and stored.state != FINISHED and (stored.state != CANCELLED or is_again)


def plan_batch(
    stored: StoredTest, test: PriceTest, now: datetime, timezone: str
) -> tuple[Batch, list[Json]]:
    """Return what is filed next, and the periods before it that are missed.

    Late prices begin with the next week, those of the end now. What is left of a roll-out after its
    last period is filed as its end. Raises Conflict where all prices are filed, and for a cancelled
    test.
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
    """Return why prices are refused, by item; one that is charged already is not. Of several zones
    the reason names those that it concerns."""
    has_zones = len({price.proposed.zone for price in proposal.prices}) > 1
    reasons: dict[str, list[str]] = {}
    for price in proposal.refused:
        if price.price_minor is None or price.price_minor != price.current_minor:
            zone = f"{price.proposed.zone}: " if has_zones else ""
            reasons.setdefault(price.proposed.item_id, []).append(f"{zone}{price.error}")
    return {item_id: "; ".join(of_item) for item_id, of_item in reasons.items()}


def find_refused_items(stored: StoredTest, test: PriceTest) -> set[str]:
    """Return the items that were refused a price of some period."""
    return {
        item_id
        for batch in stored.document["batches"]
        if batch["period"] < test.periods.n_periods
        for item_id in batch["refused"]
    }


def is_all_filed(stored: StoredTest) -> bool:
    """Return whether the periods are filed, and the end of a test whose prices go back."""
    test = PriceTest.from_document(stored.document["test"])
    n_filings = test.periods.n_periods + (0 if test.keeps_prices else 1)
    return len(stored.document["batches"]) >= n_filings


def has_refused_end(stored: StoredTest) -> bool:
    """Return whether all is filed, and the last prices were refused for some items."""
    return is_all_filed(stored) and bool(stored.document["batches"][-1]["refused"])


def _refuse_closed(stored: StoredTest) -> None:
    """Raise Conflict for a test of which nothing more can be filed; a refused end can."""
    refuse_cancelled(stored)
    if not may_be_filed(stored):
        raise Conflict(
            "all prices of the test are filed",
            hint=f"Finish it when it is over: {name_ways(stored.test_id, 'finish')}",
        )


def refuse_unfinished(stored: StoredTest, now: datetime) -> None:
    """Raise Conflict for a test that cannot be analysed: not over, or prices of it are left."""
    refuse_plan(stored)
    refuse_cancelled(stored)
    test_id = stored.test_id
    if stored.ends_at is None or stored.ends_at > now:
        when = "it is only planned" if stored.ends_at is None else f"it ends {stored.ends_at}"
        raise Conflict(
            f"{test_id} is not over: {when}",
            hint=f"To end it before: {name_ways(test_id, 'cancel')}",
        )
    if not is_all_filed(stored):
        raise Conflict(
            f"prices of {test_id} are not filed yet", hint=name_ways(test_id, "file", "cancel")
        )
    if left := stored.document.get(LEFT):
        raise Conflict(
            f"{len(left)} items still have a price of {test_id} (item {left[0]!r} first)",
            hint=f"File the end once more: {name_ways(test_id, 'file')}",
        )


def refuse_cancelled(stored: StoredTest) -> None:
    """Raise Conflict for a cancelled test."""
    if stored.state == CANCELLED:
        raise Conflict(
            f"{stored.test_id} is cancelled",
            hint="Plan another one: POST /v1/price-tests, or shopwright prices tests --plan",
        )


def refuse_plan(stored: StoredTest) -> None:
    """Raise Conflict for a plan that nobody has kept: nothing of it can be filed."""
    if not stored.is_kept:
        raise Conflict(
            f"{stored.test_id} is a plan that nobody has kept",
            hint=f"POST /v1/price-tests/{stored.test_id}/keep, or plan one that is kept: "
            "shopwright prices tests --plan --save",
        )


def name_ways(test_id: str, *actions: str) -> str:
    """Return how something is done with a test over HTTP and on the command line.

    >>> name_ways("test_1", "finish")
    'POST /v1/price-tests/test_1/finish, or shopwright prices tests --finish test_1'
    """
    routes = " or ".join(f"POST /v1/price-tests/{test_id}/{action}" for action in actions)
    verbs = " or ".join(f"shopwright prices tests --{action} {test_id}" for action in actions)
    return f"{routes}, or {verbs}"


def name_period(test: PriceTest, period: int) -> str:
    """Return what a filing is called; the one after the last period is the end, of a roll-out what
    is left of its last step."""
    if period == test.periods.n_periods:
        return "what is left of the last step" if test.keeps_prices else "the end"
    return f"period {period + 1} of {test.periods.n_periods}"
