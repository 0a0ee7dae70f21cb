"""Columns of a visit as a whole: what is not known is unknown, and hours are those of the shop."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np

from features.contracts.visits import CARTED, DEVICES, VIEWED, WISHED, Visit
from models.ranking.session_columns import SESSION_COLUMNS, describe_items, describe_session

# A Sunday evening in New York, a Monday in UTC.
AT_MS = int(datetime(2024, 5, 6, 1, 30, tzinfo=UTC).timestamp() * 1000)


def describe(visit: Visit, timezone: str = "America/New_York") -> dict[str, float]:
    return dict(zip(SESSION_COLUMNS, describe_session(visit, ZoneInfo(timezone)), strict=True))


def test_a_session_is_described_in_the_time_of_the_shop() -> None:
    visit = Visit(
        ("c", "b", "a"),
        (VIEWED, WISHED, VIEWED),
        (AT_MS, AT_MS - 20_000, AT_MS - 50_000),
        (7.0, None, 10.0),  # the first one was sent after the page was left
        device=DEVICES["tablet"],
        is_returning=True,
    )
    assert describe(visit) == {
        "n_wished": 1,
        "mean_seconds": (20.0 + 10.0) / 2,
        "hour": 21.5,
        "weekday": 6,
        "is_returning": 1,
        "device": 1,
    }
    assert (describe(visit, "UTC")["hour"], describe(visit, "UTC")["weekday"]) == (1.5, 0)


def test_what_was_not_sent_is_unknown_and_not_zero() -> None:
    columns = describe(Visit(("a",), (VIEWED,), (AT_MS,)))
    unknown = {name for name, value in columns.items() if np.isnan(value)}
    assert unknown == {"mean_seconds", "is_returning", "device"}
    assert columns["n_wished"] == 0


def test_wishes_and_carts_are_told_apart_and_looks_at_one_item_add_up() -> None:
    visit = Visit(
        ("a", "b", "a"),
        (WISHED, CARTED, VIEWED),
        (AT_MS, AT_MS - 5_000, AT_MS - 30_000),
        (2.0,),
    )
    # Item a: a wish just now, and a look of 25 s; item b: 5 s in the cart.
    assert describe_items(visit, [[0, 2], [1]]).tolist() == [[1.0, 25.0], [0.0, 5.0]]
