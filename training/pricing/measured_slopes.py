"""What finished price tests measured, aligned with the weeks of a panel."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import datetime

import numpy as np

from configs.settings import Settings
from features.database import reading_stored
from features.database_tables import price_tests
from features.prices.stored_tests import FINISHED, PriceTests, StoredTest
from models.pricing.response.randomised import MeasuredSlopes


def read_measured_slopes(
    settings: Settings, week_starts: Sequence[datetime], until: datetime
) -> MeasuredSlopes | None:
    """Return the slopes of the tests that ended by then, within the weeks; None without one."""
    with reading_stored(settings, price_tests) as connection:
        tests = [] if connection is None else PriceTests(connection).list()
    finished = [test for test in tests if test.state == FINISHED and _is_over(test, until)]
    rows = [
        (
            measured["item_id"],
            measured.get("zone", test.zone),
            measured["slope"],
            measured["error"],
            *weeks,
        )
        for test in finished
        for weeks in [_find_weeks(test, week_starts)]
        for measured in test.document["result"]["items"]
    ]
    if not rows:
        return None
    item_ids, zones, slope, error, first_week, end_week = zip(*rows, strict=True)
    return MeasuredSlopes(
        item_ids=np.array(item_ids, object),
        zones=np.array(zones, object),
        slope=np.array(slope, np.float64),
        error=np.array(error, np.float64),
        first_week=np.array(first_week, np.int64),
        end_week=np.array(end_week, np.int64),
    )


def _is_over(test: StoredTest, until: datetime) -> bool:
    return test.ends_at is not None and test.ends_at <= until


def _find_weeks(test: StoredTest, week_starts: Sequence[datetime]) -> tuple[int, int]:
    """Return the weeks that a test touches: the first, and the one after the last."""
    assert test.begins_at is not None and test.ends_at is not None  # noqa: S101
    first = max(bisect_right(week_starts, test.begins_at) - 1, 0)
    return first, bisect_left(week_starts, test.ends_at)
