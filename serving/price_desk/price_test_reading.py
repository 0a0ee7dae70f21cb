"""Price tests as they are now: their state, what became of the filed prices, what is to be done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import sqlalchemy as sa

from experiments.designs.price_test import PriceTest
from features.contracts.calendar import add_weeks
from features.contracts.clock import parse_time
from features.contracts.errors import UnknownName
from features.database import reading
from features.database_tables import PRICE_TEST_STATES
from features.prices.currencies import refuse_unknown_zone
from features.prices.stored_tests import (
    FAILED,
    FILED,
    PLANNING,
    RUNNING,
    PriceTestFilter,
    PriceTests,
    StoredTest,
)
from serving.price_desk.filters import SuggestionFilter
from serving.price_desk.price_test_batches import NextStep, find_next_step
from serving.price_desk.price_test_prices import mark_left_prices
from serving.price_desk.repository import Suggestions
from serving.price_desk.service import PriceDeskService

MAX_PAGE = 200
TIME_LIMIT = timedelta(minutes=10)  # to compute one plan
WAIT_LIMIT = timedelta(hours=1)  # behind other plans and scenarios
LATE = "it was not done in time"


@dataclass(frozen=True)
class PeriodView:
    """A period of a test, or its end, and what was filed for it.

    number       from 0; the number of periods stands for the end
    starts_at    when its prices begin: as filed, else as planned; None before the first filing
    is_filed     and whether that was too late, so that the prices began later
    is_missed    its weeks were over before anybody filed it
    statuses     of the filed suggestions, with their number
    approved_by  who approved prices
    refused      why items kept their price, by item
    """

    number: int
    starts_at: datetime | None
    is_filed: bool = False
    is_late: bool = False
    is_missed: bool = False
    proposal_id: str | None = None
    statuses: Mapping[str, int] = field(default_factory=dict)
    approved_by: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PriceTestView:
    """A test with its units and prices, what became of its periods, and its next step.

    test   None for a plan that is computed, failed, or advises none
    """

    stored: StoredTest
    test: PriceTest | None
    periods: tuple[PeriodView, ...]
    next_step: NextStep | None


def list_price_tests(
    desk: PriceDeskService, zone: str | None, state: str | None, *, offset: int, limit: int
) -> list[StoredTest]:
    """Return tests with the state that time has given them, the newest change first; plans that
    nobody has kept only where their state is named.

    Raises UnknownName for a zone or a state that nobody knows.
    """
    if state is not None and state not in PRICE_TEST_STATES:
        raise UnknownName(state, PRICE_TEST_STATES, kind="state")
    now = desk.clock.now()
    with reading(desk.engine) as connection:
        if zone is not None:
            refuse_unknown_zone(desk.settings, connection, zone)
        tests = PriceTests(connection).read_page(
            PriceTestFilter(zone, state), now, offset=offset, limit=limit
        )
        tests = [mark_left_prices(connection, test, now) for test in tests]
    return [age_test(test, desk) for test in tests]


def read_price_test(desk: PriceDeskService, test_id: str) -> PriceTestView:
    """Return one test as it is now. Raises NotFound."""
    desk.catch_up()
    with reading(desk.engine) as connection:
        return view_test(connection, desk, PriceTests(connection).get(test_id))


def count_due_tests(desk: PriceDeskService, zone: str) -> int:
    """Return of how many tests of a zone somebody has to file or finish something now."""
    now, timezone = desk.clock.now(), desk.settings.timezone
    with reading(desk.engine) as connection:
        tests = list(PriceTests(connection).list_open(zone))
        tests = [mark_left_prices(connection, test, now) for test in tests]
    steps = [find_next_step(age_test(test, desk), now, timezone) for test in tests]
    return sum(1 for step in steps if step is not None and step.is_due)


def view_test(
    connection: sa.Connection, desk: PriceDeskService, stored: StoredTest
) -> PriceTestView:
    """Return a test that was just read or changed in this transaction as it is now."""
    now, timezone = desk.clock.now(), desk.settings.timezone
    stored = mark_left_prices(connection, age_test(stored, desk), now)
    document = stored.document.get("test")
    if document is None:
        return PriceTestView(stored, None, (), None)
    test = PriceTest.from_document(document)
    periods = _read_periods(connection, stored, test, timezone)
    return PriceTestView(stored, test, periods, find_next_step(stored, now, timezone))


def age_test(test: StoredTest, desk: PriceDeskService) -> StoredTest:
    """Return a test with the state that time has given it: a filed one that has begun is running, a
    plan that takes too long has failed."""
    if test.state == PLANNING:
        order, now = test.document["order"], desk.system_clock.now()
        latest = parse_time(order["ordered_at"]) + WAIT_LIMIT
        if order.get("begun_at") is not None:
            latest = parse_time(order["begun_at"]) + TIME_LIMIT
        if latest < now:
            return replace(test.add(problem=LATE), state=FAILED)
    has_begun = test.begins_at is not None and test.begins_at <= desk.clock.now()
    return replace(test, state=RUNNING) if test.state == FILED and has_begun else test


def _read_periods(
    connection: sa.Connection, stored: StoredTest, test: PriceTest, timezone: str
) -> tuple[PeriodView, ...]:
    """Return the periods, and the end where prices go back; of an end that was filed twice the last
    filing."""
    length, n_periods = test.periods.period_weeks, test.periods.n_periods
    planned = [
        None if stored.begins_at is None else add_weeks(stored.begins_at, number * length, timezone)
        for number in range(n_periods if test.keeps_prices else n_periods + 1)
    ]
    views = {number: PeriodView(number, at) for number, at in enumerate(planned)}
    for batch in stored.document["batches"]:
        number = batch["period"]
        before = views.get(number, PeriodView(number, stored.ends_at))
        views[number] = _read_batch(connection, batch, before)
    return tuple(views.values())


def _read_batch(
    connection: sa.Connection, batch: Mapping[str, object], before: PeriodView
) -> PeriodView:
    """Return what was filed for a period; `before` is the same period until this filing."""
    starts_at, refused = batch.get("starts_at"), batch["refused"]
    proposal_id = batch["proposal_id"]
    assert isinstance(refused, Mapping)  # noqa: S101
    view = replace(
        before,
        starts_at=before.starts_at if starts_at is None else parse_time(str(starts_at)),
        is_filed=not batch.get("missed"),
        is_late=bool(batch.get("late")),
        is_missed=bool(batch.get("missed")),
        refused=refused,
    )
    if proposal_id is None:
        return view
    criteria = SuggestionFilter(run_id=str(proposal_id))
    suggestions: Sequence = Suggestions(connection).matching(criteria)
    statuses = Counter(suggestion.status for suggestion in suggestions)
    approved_by = {
        suggestion.decided_by
        for suggestion in suggestions
        if suggestion.price_id is not None and suggestion.decided_by
    }
    return replace(
        view,
        proposal_id=str(proposal_id),
        statuses=dict(statuses.most_common()),
        approved_by=tuple(sorted(approved_by)),
    )
