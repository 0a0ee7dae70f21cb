"""A few lines in the shape of the Complete Journey, with answers worked out by hand; the whole of
it in a slow test."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from configs.settings import Settings
from features.contracts.calendar import week_starts
from features.contracts.errors import BadInput
from features.facts.facts import Facts
from features.sources import complete_journey as source

PRODUCTS = [(1, "GROCERY", "SOUP"), (2, "FUEL", "GAS"), (3, "PRODUCE", "APPLES")]
LINE_COLUMNS = (
    "household_id",
    "basket_id",
    "product_id",
    "quantity",
    "sales_value",
    "retail_disc",
    "coupon_match_disc",
)
LINES: list[tuple[str, str, int, float, float, float, float]] = [
    ("h1", "b1", 1, 2, 3.00, 0.50, 0.25),
    ("h1", "b1", 1, 2, 3.00, 0.50, 0.25),  # twice the same line is twice bought
    ("h2", "b2", 3, 3, 1.00, 0, 0),
    ("h2", "b2", 2, 9, 20.0, 0, 0),  # fuel
    ("h2", "b2", 1, 0, 1.00, 0, 0),
    ("h3", "b3", 1, 1, 0.00, 0, 0),
    ("h3", "b3", 99, 1, 1.00, 0, 0),  # nobody knows product 99
]
FLYER_COLUMNS = ("product_id", "store_id", "display_location", "mailer_location", "week")
FLYERS = [
    (1, 10, "3", "0", 2),
    (1, 11, "5", "A", 2),
    (3, 12, "0", "D", 2),
    (3, 13, "0", "0", 2),
    (3, 10, "0", "H", 3),
]


def tiny_source() -> Any:
    duck = duckdb.connect()
    duck.execute("SET TimeZone = 'UTC'")
    at = datetime.fromisoformat("2017-03-01T12:30:00")  # the source has no offsets; they are UTC
    lines = pa.Table.from_pylist(
        [
            dict(zip(LINE_COLUMNS, line, strict=True))
            | {"store_id": 10, "coupon_disc": 0.0, "transaction_timestamp": at}
            for line in LINES
        ]
    )
    products = pa.Table.from_pylist(
        [
            {
                "product_id": number,
                "department": department,
                "product_category": kind,
                "product_type": kind,
                "brand": "National",
                "package_size": "1 LB",
                "manufacturer_id": 7,
            }
            for number, department, kind in PRODUCTS
        ]
    )
    flyers = pa.Table.from_pylist(
        [dict(zip(FLYER_COLUMNS, flyer, strict=True)) for flyer in FLYERS]
    )
    starts = week_starts(
        datetime(2017, 1, 1, 12, tzinfo=UTC), source.DEMO_CLOCK_START, source.TIMEZONE
    )
    weeks = pa.table({"week": range(1, 54), "starts_at": starts[:53], "ends_at": starts[1:]})
    for name, rows in (
        ("transactions", lines),
        ("products", products),
        ("promotions", flyers),
        ("weeks", weeks),
    ):
        duck.register(name, rows)
    return duck


@pytest.fixture
def facts(tmp_path: Path) -> Facts:
    return Facts(Settings(home=tmp_path / "home", timezone=source.TIMEZONE))


def settings(tmp_path: Path, timezone: str = source.TIMEZONE) -> Settings:
    return Settings(home=tmp_path / "home", timezone=timezone)


def rows(facts: Facts, table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = facts.read(table).to_pyarrow().to_pylist()
    return found


class TestTinySource:
    @pytest.fixture(autouse=True)
    def _tiny(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(source, "_open_duck", tiny_source)

    def test_lines_out_of_scope_are_counted_by_rule_and_are_not_bad(
        self, facts: Facts, tmp_path: Path
    ) -> None:
        report = source.import_complete_journey(facts, settings(tmp_path), progress=lambda _: None)
        events = report.tables["events"]
        assert events.excluded == {
            "department is no shelf goods": 1,
            "quantity is not above 0": 1,
            "sales value is not above 0": 1,
            "product is not among the products": 1,
        }
        assert (events.rows_read, events.written.new, events.n_bad, report.share_bad) == (
            7,
            3,
            0,
            0.0,
        )
        assert report.tables["items"].excluded == {"department is no shelf goods": 1}

    def test_what_was_paid_and_what_was_regular(self, facts: Facts, tmp_path: Path) -> None:
        source.import_complete_journey(facts, settings(tmp_path), progress=lambda _: None)
        soup, again, apples = sorted(rows(facts, "events"), key=lambda row: row["item_id"])
        assert soup["line_amount_minor"] == 300
        assert soup["unit_price_minor"] == 300 / 2
        assert soup["list_price_minor"] == pytest.approx((3.00 + 0.50 + 0.25) * 100 / 2)
        assert apples["unit_price_minor"] == pytest.approx(
            100 / 3
        )  # a third of a dollar, never rounded
        assert soup["event_id"] != again["event_id"]
        assert soup["occurred_at"] == datetime(2017, 3, 1, 12, 30, tzinfo=UTC)
        assert json.loads(soup["attributes"]) == {"store_id": "10"}

    def test_reach_is_the_share_of_the_week_s_shops(self, facts: Facts, tmp_path: Path) -> None:
        source.import_complete_journey(facts, settings(tmp_path), progress=lambda _: None)
        reach = {
            (r["item_id"], r["kind"], r["promotion_id"]): r["reach"]
            for r in rows(facts, "promotions")
        }
        assert reach == {
            ("1", "display", "display-week-2"): 2 / 4,
            ("1", "mailer", "mailer-week-2"): 1 / 4,
            ("3", "mailer", "mailer-week-2"): 1 / 4,
            ("3", "mailer", "mailer-week-3"): 1 / 1,
        }
        starts = {row["promotion_id"]: row["starts_at"] for row in rows(facts, "promotions")}
        assert starts["mailer-week-2"] == datetime(2017, 1, 2, 5, tzinfo=UTC)  # Monday in New York

    def test_a_second_import_changes_nothing(self, facts: Facts, tmp_path: Path) -> None:
        source.import_complete_journey(facts, settings(tmp_path), progress=lambda _: None)
        before = {table: rows(facts, table) for table in ("events", "items", "users", "promotions")}
        again = source.import_complete_journey(facts, settings(tmp_path), progress=lambda _: None)
        assert all(
            table.written.new == table.written.replaced == 0 for table in again.tables.values()
        )
        assert before == {table: rows(facts, table) for table in before}

    def test_another_time_zone_is_refused(self, facts: Facts, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match="America/New_York"):
            source.import_complete_journey(
                facts, settings(tmp_path, "UTC"), progress=lambda _: None
            )


@pytest.mark.slow
def test_the_whole_journey_has_the_published_counts(facts: Facts, tmp_path: Path) -> None:
    report = source.import_complete_journey(facts, settings(tmp_path), progress=lambda _: None)
    counts = {name: (table.rows_read, table.written.new) for name, table in report.tables.items()}
    assert counts["events"] == (1_469_307, 1_439_976)
    assert counts["users"] == (2_469, 2_469)
    assert counts["items"] == (92_331, 91_698)
    assert counts["promotions"][1] == 1_303_853
    events = facts.read("events")
    n_test_users = (
        events.filter(events.occurred_at >= source.DEMO_CUT).user_id.nunique().to_pyarrow().as_py()
    )
    assert n_test_users > 2_000
