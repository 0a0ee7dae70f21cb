"""Columns of a visit as a whole, and of what was done with each of its items.

They are measured at the visit's own last action, in the shop's time: an answer does not depend on
when it is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from features.contracts.arrays import Float32Array
from features.contracts.visits import WISHED, Visit

# Of each item of the visit: whether it was put on a list of wishes, and how long it was looked at.
ITEM_COLUMNS = ("is_wished", "seconds_viewed")
SESSION_COLUMNS = (
    "n_wished",
    "mean_seconds",
    "hour",
    "weekday",
    "is_returning",
    "device",
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def describe_items(visit: Visit, actions: Sequence[Sequence[int]]) -> Float32Array:
    """Return ITEM_COLUMNS (items, 2) of items, by the numbers of the actions of each."""
    seconds = np.array(visit.list_dwell_seconds())
    columns = np.full((len(actions), len(ITEM_COLUMNS)), np.nan, np.float32)
    for row, numbers in enumerate(actions):
        columns[row, 0] = any(visit.kinds[number] == WISHED for number in numbers)
        known = seconds[list(numbers)]
        known = known[~np.isnan(known)]
        if len(known):
            columns[row, 1] = known.sum()
    return columns


def describe_session(visit: Visit, timezone: ZoneInfo) -> list[float]:
    """Return SESSION_COLUMNS; NaN for what is not known."""
    known = visit.list_dwell_seconds()[1:]  # that of the latest look is not known
    at = (_EPOCH + timedelta(milliseconds=visit.at_ms[0])).astimezone(timezone)
    return [
        float(sum(kind == WISHED for kind in visit.kinds)),
        sum(known) / len(known) if known else np.nan,
        at.hour + at.minute / 60,
        float(at.weekday()),
        np.nan if visit.is_returning is None else float(visit.is_returning),
        np.nan if visit.device is None else float(visit.device),
    ]
