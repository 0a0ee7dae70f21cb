"""Shares of a week in stock, measured by what the shop usually sells at each hour."""

from datetime import UTC, datetime, timedelta
from typing import Any

import ibis
import numpy as np
import pyarrow as pa
import pytest

from features.contracts.calendar import add_weeks
from features.contracts.tables import TABLES
from features.facts.stock_shares import IN_STOCK, complete_short_weeks
from features.pipelines.demand import week_spans
from features.pipelines.weekly_stock import weekly_stock

ZONE = "America/New_York"
FIRST = datetime(2017, 3, 6, 5, tzinfo=UTC)  # daylight saving starts on the Sunday of this week
WEEKS = [add_weeks(FIRST, n, ZONE) for n in range(4)]
AS_OF = WEEKS[2]


def table(name: str, rows: list[dict[str, Any]]) -> Any:
    schema = pa.schema([field.with_nullable(True) for field in TABLES[name].arrow])
    filled = [{field.name: row.get(field.name) for field in schema} for row in rows]
    return ibis.memtable(pa.Table.from_pylist(filled, schema=schema))


def measure(
    counts: list[tuple[datetime, float]], sales: list[datetime], item_id: str = "b"
) -> dict[datetime, float]:
    """Return the share in stock of item a by week; the sales are those of another item, or a's."""
    stock = [{"item_id": "a", "zone": "z", "at": at, "on_hand": n} for at, n in counts]
    events = [
        {
            "event_id": f"{number}",
            "event_type": "purchase",
            "item_id": item_id,
            "zone": "z",
            "occurred_at": at,
        }
        for number, at in enumerate(sales)
    ]
    found = weekly_stock(
        table("stock", stock), table("events", events), week_spans(WEEKS), as_of=AS_OF
    )
    backend = ibis.duckdb.connect()
    backend.raw_sql("SET TimeZone = 'UTC'")
    rows = backend.to_pyarrow(found).to_pylist()
    return {row["week_start"]: row["share_in_stock"] for row in rows}


def test_the_share_of_a_week_in_stock_holds_from_count_to_count() -> None:
    counts = [
        (WEEKS[0] + timedelta(days=1), 5.0),
        (WEEKS[0] + timedelta(days=4), 0.0),
        (WEEKS[1] + timedelta(days=7), 8.0),  # known only at AS_OF
    ]
    # Without a sale each hour counts the same; counted from the second day on.
    first_week = WEEKS[1] - WEEKS[0] - timedelta(days=1)
    assert measure(counts, []) == {
        WEEKS[0]: pytest.approx(timedelta(days=3) / first_week),
        WEEKS[1]: pytest.approx(0.0),
    }


def sell_all_day() -> list[datetime]:
    """100 sales in each hour from 8 to 18 o'clock on each day of two weeks."""
    hours = [FIRST + timedelta(days=day, hours=hour) for day in range(14) for hour in range(8, 18)]
    return [hour + timedelta(seconds=30 * n) for hour in hours for n in range(100)]


def count_daily(hour: int) -> list[tuple[datetime, float]]:
    """Counts of an item that is baked at 7 and sold out at an hour of each day."""
    days = [FIRST + timedelta(days=day) for day in range(14)]
    return [
        count
        for day in days
        for count in ((day + timedelta(hours=7), 40.0), (day + timedelta(hours=hour), 0.0))
    ]


# Beside 2 x 100 sales in each hour of business, one is assumed in each hour of the week.
_PURE = 200 / 201


@pytest.mark.parametrize(("sold_out_at", "share"), [(19, 1.0), (17, 0.9), (13, 0.5)])
def test_nights_lose_no_sale_and_afternoons_do(sold_out_at: int, share: float) -> None:
    shares = measure(count_daily(sold_out_at), sell_all_day())
    assert list(shares.values()) == pytest.approx([share] * 2, abs=1 - _PURE + 0.005)


def test_who_sells_is_in_stock() -> None:
    """Shelves were filled without a count: the item is sold from Wednesday on."""
    wednesday = WEEKS[0] + timedelta(days=2)
    counts = [(WEEKS[0], 0.0), (WEEKS[1], 0.0)]
    first_week = WEEKS[1] - WEEKS[0]
    shares = measure(counts, [wednesday, wednesday + timedelta(days=1)], item_id="a")
    # Two sales beside one assumed in each of 168 hours, 1 in the time until Wednesday.
    assert shares[WEEKS[0]] == pytest.approx(1 - timedelta(days=2) / first_week, abs=0.02)
    assert shares[WEEKS[1]] == pytest.approx(0.0)
    # The next count says that it was filled: until then the first one is valid.
    counts = [(WEEKS[0], 0.0), (WEEKS[1], 9.0)]
    assert measure(counts, [wednesday], item_id="a")[WEEKS[0]] == pytest.approx(0.0)


def test_an_item_that_runs_out_daily_counts_with_what_would_have_sold() -> None:
    share = np.array([[0.9, 0.8, 0.4, 1.0], [1.0, 1.0, 0.8, 1.0]])
    units = np.array([[90.0, 88, 30, 100], [10, 11, 8, 9]])
    completed, is_short = complete_short_weeks(units, share, share < IN_STOCK)
    assert completed == pytest.approx(np.array([[100.0, 110, 30, 100], [10, 11, 8, 9]]))
    assert is_short.tolist() == [[False, False, True, False], [False, False, True, False]]
