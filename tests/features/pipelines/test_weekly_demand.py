from datetime import UTC, datetime, timedelta
from typing import Any

import ibis
import pyarrow as pa
import pytest

from features.contracts.calendar import add_weeks, day_starts
from features.contracts.tables import TABLES
from features.pipelines.demand import Plans, daily_units, weekly_demand

ZONE = "America/New_York"
FIRST = datetime(2017, 3, 6, 5, tzinfo=UTC)  # daylight saving starts on the Sunday of this week
WEEKS = [add_weeks(FIRST, n, ZONE) for n in range(4)]
AS_OF = WEEKS[2]


def table(name: str, rows: list[dict[str, Any]]) -> Any:
    # Read back from Parquet, every column may be null.
    schema = pa.schema([field.with_nullable(True) for field in TABLES[name].arrow])
    filled = [{field.name: row.get(field.name) for field in schema} for row in rows]
    return ibis.memtable(pa.Table.from_pylist(filled, schema=schema))


def event(
    at: datetime, quantity: float | None = 1, kind: str = "purchase", **more: Any
) -> dict[str, Any]:
    amount = {"line_amount_minor": 100, "list_price_minor": 120.0}
    return {
        "event_type": kind,
        "occurred_at": at,
        "item_id": "a",
        "quantity": quantity,
        **amount,
        **more,
    }


def promotion(start: datetime, end: datetime, **more: Any) -> dict[str, Any]:
    return {
        "promotion_id": "p",
        "item_id": "a",
        "zone": "north",
        "starts_at": start,
        "ends_at": end,
        **more,
    }


def demand(
    events: list[dict[str, Any]],
    promotions: list[dict[str, Any]] | None = None,
    prices: list[Any] | None = None,
    foreign: tuple[str, ...] = (),
    **more: Any,
) -> dict[tuple[str, str, int], dict[str, Any]]:
    backend = ibis.duckdb.connect()
    backend.raw_sql("SET TimeZone = 'UTC'")
    relation = weekly_demand(
        table(
            "events", [{"event_id": str(n), "zone": "north", **row} for n, row in enumerate(events)]
        ),
        Plans(table("promotions", promotions or []), table("price_history", prices or []), foreign),
        as_of=AS_OF,
        week_starts=WEEKS,
        **more,
    )
    rows = backend.to_pyarrow(relation).to_pylist()
    return {(row["item_id"], row["zone"], WEEKS.index(row["week_start"])): row for row in rows}


def test_units_money_and_prices_of_a_week() -> None:
    late = WEEKS[1] - timedelta(seconds=1)
    rows = demand(
        [
            event(FIRST, 3, line_amount_minor=300),
            event(late, None),
            event(WEEKS[1], kind="view_item"),
        ]
    )
    row = rows["a", "north", 0]
    assert set(rows) == {("a", "north", 0)}
    assert (row["units"], row["revenue_minor"], row["n_lines"]) == (3 + 1, 300 + 100, 2)
    assert row["mean_unit_price_minor"] == (300 + 100) / (3 + 1)
    assert row["median_list_price_minor"] == 120


def test_the_share_bought_below_the_list_price_is_that_of_units() -> None:
    rows = demand(
        [
            event(FIRST, 3, line_amount_minor=3 * 90, list_price_minor=100.0),
            event(FIRST, 5, line_amount_minor=5 * 100, list_price_minor=100.0),
            event(FIRST, 2, line_amount_minor=199, list_price_minor=100.0),  # a rounding
            event(FIRST, 1, line_amount_minor=50, list_price_minor=None),  # unknown: not reduced
            event(WEEKS[1], 4, line_amount_minor=400, list_price_minor=100.0),
        ]
    )
    assert rows["a", "north", 0]["share_bought_reduced"] == pytest.approx(3 / 11)
    assert rows["a", "north", 1]["share_bought_reduced"] == 0


def test_the_share_of_a_week_with_a_reduced_price_is_that_of_its_time() -> None:
    row = {"item_id": "a", "zone": "north", "list_price_minor": 300}
    prices = [
        {**row, "valid_from": FIRST, "offer_price_minor": 300},
        {**row, "valid_from": WEEKS[1], "offer_price_minor": 200},
        {**row, "valid_from": WEEKS[1] + timedelta(days=3.5), "offer_price_minor": 300},
    ]
    rows = demand([event(FIRST), event(WEEKS[1])], [], prices)
    assert rows["a", "north", 0]["planned_share_reduced"] == 0
    assert rows["a", "north", 1]["planned_share_reduced"] == pytest.approx(0.5)
    assert rows["a", "north", 1]["planned_offer_price_minor"] == pytest.approx(250)


def test_a_refund_counts_in_its_own_week_and_never_below_zero() -> None:
    rows = demand([event(FIRST, 3), event(FIRST, 1, "refund"), event(WEEKS[1], 2, "refund")])
    assert rows["a", "north", 0]["units"] == 3 - 1
    assert rows["a", "north", 1]["units"] == 0


def test_sales_from_as_of_on_are_unknown_and_plans_are_not() -> None:
    rows = demand(
        [event(FIRST), event(AS_OF)], [promotion(WEEKS[2], WEEKS[3], kind="mailer", reach=0.5)]
    )
    assert rows["a", "north", 2]["units"] is None
    assert rows["a", "north", 2]["reach:mailer"] == 0.5
    assert rows["a", "north", 0]["reach:mailer"] == 0


def test_reach_is_by_the_share_of_the_week_and_by_kind() -> None:
    half = WEEKS[1] + timedelta(days=3.5)
    plans = [
        promotion(WEEKS[1], half, kind="mailer"),
        promotion(WEEKS[1], WEEKS[2], kind="shelf", reach=0.3, depth=0.2),
    ]
    row = demand([event(FIRST)], plans)["a", "north", 1]
    assert (row["reach:mailer"], row["reach:shelf"]) == (pytest.approx(0.5), pytest.approx(0.3))
    assert row["promotion_depth"] == 0.2


def test_a_week_of_one_kind_has_no_reach_of_another() -> None:
    plans = [
        promotion(WEEKS[0], WEEKS[1], kind="shelf", reach=0.3),
        promotion(WEEKS[1], WEEKS[2], kind="mailer"),
    ]
    rows = demand([event(FIRST)], plans)
    found = [
        (rows["a", "north", week]["reach:shelf"], rows["a", "north", week]["reach:mailer"])
        for week in (0, 1)
    ]
    assert found == [(0.3, 0.0), (0.0, 1.0)]


def test_a_plan_without_a_zone_holds_in_every_zone() -> None:
    events = [event(FIRST), event(FIRST, zone="south")]
    for zone in (None, "default"):
        rows = demand(events, [promotion(WEEKS[1], WEEKS[2], kind="mailer", reach=1.0, zone=zone)])
        assert {key for key, row in rows.items() if row["reach:mailer"] == 1} == {
            ("a", "north", 1),
            ("a", "south", 1),
        }


def test_a_price_of_the_default_zone_gives_way_to_the_zones_own_and_to_another_currency() -> None:
    row = {"item_id": "a", "list_price_minor": 300, "valid_from": FIRST}
    prices = [
        {
            **row,
            "zone": "default",
            "valid_from": WEEKS[1],
            "offer_price_minor": 100,
        },  # later, but not the zone's own
        {**row, "zone": "north", "offer_price_minor": 200},
    ]
    events = [event(FIRST), event(FIRST, zone="south"), event(FIRST, zone="tokyo")]
    rows = demand(events, [], prices, foreign=["tokyo"])
    offers = {
        zone: rows[("a", zone, 2)]["planned_offer_price_minor"] for zone in ("north", "south")
    }
    assert offers == {"north": 200, "south": 100}
    assert ("a", "tokyo", 2) not in rows


def test_planned_prices_are_weighed_by_the_time_they_hold() -> None:
    row = {"item_id": "a", "zone": "north", "list_price_minor": 200}
    change = WEEKS[1] + timedelta(days=3.5)
    prices = [
        {**row, "valid_from": FIRST, "offer_price_minor": 200},
        {**row, "valid_from": change, "offer_price_minor": 100},
    ]
    rows = demand([event(FIRST)], [], prices)
    offers = [rows["a", "north", week]["planned_offer_price_minor"] for week in range(4)]
    assert offers == [200, pytest.approx((200 + 100) / 2), 100, 100]


def test_a_price_list_that_ended_goes_on_at_its_list_price_as_it_is_served() -> None:
    """The promotion of its last days is not the price of the rest of the week."""
    row = {"item_id": "a", "zone": "north", "list_price_minor": 200}
    half = WEEKS[1] + timedelta(days=3.5)
    prices = [
        {**row, "valid_from": FIRST, "valid_to": WEEKS[1], "offer_price_minor": 200},
        {**row, "valid_from": WEEKS[1], "valid_to": half, "offer_price_minor": 100},
    ]
    rows = demand([event(FIRST)], [], prices)
    weeks = [rows["a", "north", week] for week in range(4)]
    offers = [week["planned_offer_price_minor"] for week in weeks]
    assert offers == [200, pytest.approx((100 + 200) / 2), 200, 200]
    assert [week["planned_share_reduced"] for week in weeks] == [0, pytest.approx(0.5), 0, 0]
    # A list that goes on after a gap has not ended: in the gap no price is known.
    again = {**row, "valid_from": WEEKS[3], "offer_price_minor": 150}
    rows = demand([event(FIRST)], [], [*prices, again])
    assert ("a", "north", 2) not in rows
    assert rows["a", "north", 3]["planned_offer_price_minor"] == 150


def test_no_column_is_about_a_person() -> None:
    names = set(demand([event(FIRST, user_id="u")])["a", "north", 0])
    assert not names & {"user_id", "visitor_id", "session_id", "order_id"}


def test_a_kind_that_is_not_planned_reaches_nobody() -> None:
    plans = [promotion(WEEKS[0], WEEKS[1], kind="display", reach=0.3)]
    found = demand([event(WEEKS[0])], plans, kinds=("display", "mailer"))
    row = found["a", "north", 0]
    assert (row["reach:display"], row["reach:mailer"]) == (pytest.approx(0.3), 0.0)


def test_days_are_those_of_the_shop_also_where_the_clocks_change() -> None:
    starts = [day for week in WEEKS for day in day_starts(week, ZONE)]
    sunday, monday = starts[6], starts[7]
    assert monday - sunday == timedelta(hours=23)
    minute = timedelta(minutes=1)
    events = [
        event(sunday, 2, zone="north"),
        event(monday - minute, 3, zone="north"),
        event(monday, 4, zone="north"),
        event(monday + minute, 1, "refund", zone="north"),
        event(AS_OF, 9, zone="north"),  # not known yet
    ]
    found = daily_units(table("events", events), starts, as_of=AS_OF).to_pyarrow().to_pylist()
    assert {row["day_start"]: row["units"] for row in found} == {sunday: 2 + 3, monday: 4 - 1}
