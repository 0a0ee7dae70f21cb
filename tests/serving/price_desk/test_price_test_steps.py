"""What is to be done with a price test next, and what may be done in each of its states."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from features.prices.stored_tests import (
    CANCELLED,
    DRAFT,
    FILED,
    FINISHED,
    PLANNED,
    RUNNING,
    StoredTest,
)
from serving.price_desk.price_test_batches import (
    find_next_step,
    may_be_cancelled,
    may_be_filed,
    may_be_finished,
)

BEGIN = datetime(2018, 1, 8, tzinfo=UTC)  # a Monday
END = BEGIN + timedelta(weeks=12)
DAY = timedelta(days=1)
PRICES = {
    "item_id": "milk",
    "zone": "default",
    "current_minor": 100,
    "lower_minor": 90,
    "higher_minor": 110,
    "ladder": [90, 100, 110],
}
UNIT = {
    "name": "default/milk",
    "stratum": "",
    "prices": [PRICES],
    "is_higher": [True, False],
    "cross": [0.0],
}
TEST = {
    "zone": "default",
    "periods": {"n_periods": 2, "period_weeks": 6, "burn_in_weeks": 1},
    "units": [UNIT],
}


def make_test(state, n_filed=0, refused=None):
    """Return a test of which so many batches are filed, the last with these refusals."""
    batches = [{"period": period, "proposal_id": "p", "refused": {}} for period in range(n_filed)]
    if refused:
        batches[-1]["refused"] = refused
    has_begun = n_filed > 0
    return StoredTest(
        test_id="test_1",
        zone="default",
        state=state,
        begins_at=BEGIN if has_begun else None,
        ends_at=END if has_begun else None,
        document={"test": TEST, "batches": batches},
    )


def describe(test, now):
    step = find_next_step(test, now, "UTC")
    return None if step is None else (step.action, step.period, step.at, step.is_due)


@pytest.mark.parametrize(
    ("test", "now", "step"),
    [
        # Kept, and nothing filed: it would begin with the next week.
        (make_test(PLANNED), BEGIN - DAY, ("file", 0, BEGIN, True)),
        # The second period begins in six weeks, then in three days, then it is late.
        (make_test(FILED, 1), BEGIN, ("file", 1, BEGIN + 42 * DAY, False)),
        (make_test(RUNNING, 1), BEGIN + 39 * DAY, ("file", 1, BEGIN + 42 * DAY, True)),
        (make_test(RUNNING, 1), BEGIN + 43 * DAY, ("file", 1, BEGIN + 49 * DAY, True)),
        (make_test(RUNNING, 2), END - 8 * DAY, ("file", 2, END, False)),
        (make_test(RUNNING, 2), END - 7 * DAY, ("file", 2, END, True)),
        (make_test(RUNNING, 3), END - DAY, ("finish", 2, END, False)),
        (make_test(RUNNING, 3), END, ("finish", 2, END, True)),
        # A refused end is filed once more, unless the test is over.
        (make_test(RUNNING, 3, {"milk": "no"}), END - 9 * DAY, ("file", 2, END, True)),
        (make_test(RUNNING, 3, {"milk": "no"}), END, ("finish", 2, END, True)),
        (make_test(FINISHED, 3), END, None),
        (make_test(CANCELLED, 1), BEGIN, None),
        (make_test(DRAFT), BEGIN, None),
    ],
)
def test_the_next_step_follows_from_what_is_filed_and_from_the_time(test, now, step):
    assert describe(test, now) == step


@pytest.mark.parametrize(
    ("test", "allowed"),
    [
        (make_test(DRAFT), ""),
        (make_test(PLANNED), "file cancel"),
        (make_test(RUNNING, 2), "file cancel"),
        (make_test(RUNNING, 3), "finish cancel"),
        (make_test(RUNNING, 3, {"milk": "no"}), "file finish cancel"),
        (make_test(FINISHED, 3), "finish"),
        (make_test(CANCELLED), ""),
        (make_test(CANCELLED, 1), "cancel"),
    ],
)
def test_what_may_be_done_after_the_last_week(test, allowed):
    may = {
        "file": may_be_filed(test),
        "finish": may_be_finished(test, END),
        "cancel": may_be_cancelled(test),
    }
    assert " ".join(name for name, is_allowed in may.items() if is_allowed) == allowed
