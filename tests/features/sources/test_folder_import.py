"""A hostile folder gets a clear message, and nothing is lost or half-written."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from features.contracts.errors import BadInput, TooManyBadRows
from features.facts.facts import Facts
from features.sources.folder import import_folder
from tests.shops.folders import EVENT, NOW, Shop, write_csv


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


class TestGoodRows:
    def test_amounts_are_worked_out_from_each_other(self, shop: Shop) -> None:
        shop.load(
            [
                EVENT | {"line_amount": "5.00"},
                EVENT | {"item_id": "b", "quantity": "3", "unit_price": "1.665"},
            ]
        )
        by_item = {row["item_id"]: row for row in shop.rows()}
        assert by_item["a"]["line_amount_minor"] == 500
        assert by_item["a"]["unit_price_minor"] == 500 / 2
        assert by_item["b"]["unit_price_minor"] == pytest.approx(166.5)  # never rounded
        assert by_item["b"]["line_amount_minor"] == 500  # 3 * 166.5 = 499.5, half to even

    def test_closures_are_read_from_from_and_to(self, shop: Shop) -> None:
        write_csv(shop.folder / "closures.csv", [{"From": "2024-05-01", "to": "2024-05-03"}])
        shop.load([EVENT])
        (row,) = shop.rows("closures")
        assert (row["zone"], row["starts_at"].day, row["ends_at"].day) == ("default", 1, 3)

    def test_defaults_and_unknown_columns(self, shop: Shop) -> None:
        shop.load([EVENT | {"till": "7", "cashier": ""}])
        (row,) = shop.rows()
        assert row["zone"] == "default"
        assert json.loads(row["attributes"]) == {"till": "7"}
        assert row["occurred_at"] == datetime(2024, 5, 1, 10, tzinfo=UTC)

    def test_a_search_has_a_query_and_no_item(self, shop: Shop) -> None:
        search = EVENT | {
            "event_type": "search",
            "item_id": "",
            "query": "Läufer 运动",
            "device": "tv",
        }
        view = EVENT | {"event_type": "view_item", "duration_seconds": "12.5"}
        write_csv(shop.folder / "items.csv", [{"item_id": "a"}])
        report = shop.load([search, search, view])
        imported = report.tables["events"]
        assert (imported.written.new, imported.n_unknown_items) == (3, 0)
        assert imported.near_columns == {}
        stored = shop.facts.read_all_events().to_pyarrow().to_pylist()
        searches = [row for row in stored if row["event_type"] == "search"]
        assert {row["item_id"] for row in searches} == {""}
        assert json.loads(searches[0]["attributes"]) == {"query": "Läufer 运动", "device": "tv"}
        (row,) = shop.rows()  # what features learn from: events of items
        assert json.loads(row["attributes"]) == {"duration_seconds": "12.5"}
        assert shop.load([search, search, view]).tables["events"].written.new == 0

    def test_a_time_without_offset_is_utc(self, shop: Shop) -> None:
        shop.load(
            [
                EVENT | {"occurred_at": "2024-05-01 10:00:00"},
                EVENT | {"occurred_at": "2024-05-01T12:00:00+02:00"},
            ]
        )
        assert {row["occurred_at"] for row in shop.rows()} == {datetime(2024, 5, 1, 10, tzinfo=UTC)}

    def test_money_is_in_the_zone_s_currency(self, tmp_path: Path) -> None:
        shop = Shop(tmp_path, zones={"tokyo": {"currency": "JPY"}, "rome": {"currency": "EUR"}})
        shop.load([EVENT | {"line_amount": "500", "zone": zone} for zone in ("tokyo", "rome")])
        assert {row["zone"]: row["line_amount_minor"] for row in shop.rows()} == {
            "tokyo": 500,
            "rome": 50_000,
        }

    def test_identical_rows_without_id_are_distinct_events_and_come_back_the_same(
        self, shop: Shop
    ) -> None:
        first = shop.load([EVENT, EVENT, EVENT | {"item_id": "b"}])
        assert first.tables["events"].written.new == 3
        again = shop.load()
        assert (again.tables["events"].written.new, again.tables["events"].written.unchanged) == (
            0,
            3,
        )
        assert len(shop.rows()) == 3

    def test_a_later_row_with_the_same_key_replaces_the_earlier(self, shop: Shop) -> None:
        shop.load([EVENT])
        write_csv(shop.folder / "items.csv", [{"item_id": "a", "list_price": "2.49"}])
        report = shop.load()
        assert report.tables["items"].written.replaced == 1
        assert {row["item_id"]: row["list_price_minor"] for row in shop.rows("items")} == {
            "a": 249,
            "b": 300,
        }

    def test_parquet_parts_and_csv_give_the_same_rows(self, shop: Shop, tmp_path: Path) -> None:
        events = [EVENT | {"event_id": str(n), "unit_price": "1.5"} for n in range(4)]
        shop.load(events)
        other = Shop(tmp_path / "other")
        (other.folder / "events").mkdir()
        for part in (0, 1):
            rows = [
                row
                | {
                    "quantity": 2.0,
                    "unit_price": 1.5,
                    "occurred_at": datetime(2024, 5, 1, 10, tzinfo=UTC),
                }
                for row in events[part * 2 : part * 2 + 2]
            ]
            pq.write_table(pa.Table.from_pylist(rows), other.folder / "events" / f"{part}.parquet")
        other.load()
        assert sorted(shop.rows(), key=lambda r: r["event_id"]) == sorted(
            other.rows(), key=lambda r: r["event_id"]
        )


class TestBadRows:
    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"event_type": "bought"}, "event_type is unknown"),
            ({"event_type": ""}, "event_type is missing"),
            ({"item_id": " "}, "item_id is missing"),
            ({"occurred_at": "yesterday"}, "occurred_at is no time"),
            ({"occurred_at": "2024-06-02T00:00:00Z"}, "occurred_at lies in the future"),
            ({"quantity": "two"}, "quantity is no number"),
            ({"quantity": "NaN"}, "quantity is no number"),
            ({"quantity": "0"}, "quantity is not above 0"),
            ({"line_amount": "-1"}, "line_amount is below 0"),
            ({"unit_price": "1,99"}, "unit_price is no amount of money"),
        ],
    )
    def test_goes_to_quarantine_with_its_reason(
        self, shop: Shop, change: dict[str, str], reason: str
    ) -> None:
        good = EVENT | {"line_amount": "4", "unit_price": "2"}
        report = shop.load([good, good | change])
        events = report.tables["events"]
        assert dict(events.quarantined) == {reason: 1}
        assert events.quarantine_file is not None
        (kept,) = csv.DictReader(events.quarantine_file.open(encoding="utf-8-sig"))
        assert (kept["row"], kept["reasons"]) == ("2", reason)
        ((name, value),) = change.items()
        assert (json.loads(kept["raw"])[name] or "") == value
        assert len(shop.rows()) == 1

    def test_two_faults_are_two_reasons_of_one_bad_row(self, shop: Shop) -> None:
        report = shop.load([EVENT, EVENT, EVENT | {"item_id": "", "quantity": "x"}])
        assert report.tables["events"].n_bad == 1
        assert report.tables["events"].quarantined.total() == 2
        assert report.share_bad == 1 / 5  # three events and two items were read

    def test_a_repeated_id_keeps_the_last_row(self, shop: Shop) -> None:
        rows = [
            EVENT | {"event_id": "1"},
            EVENT | {"event_id": "1"},
            EVENT | {"event_id": "1", "quantity": "9"},
        ]
        report = shop.load(rows)
        assert report.tables["events"].quarantined == {"a later row has the same event_id": 2}
        assert [row["quantity"] for row in shop.rows()] == [9.0]

    def test_invalid_utf8_and_broken_lines(self, shop: Shop) -> None:
        lines = [b"event_type,occurred_at,item_id", *[b"view_item,2024-05-01T10:00:00Z,a"] * 3]
        lines += [
            b"view_item,2024-05-01T10:00:00Z,\xff\xfe",
            b"view_item,2024-05-01T10:00:00Z",
            b"a,b,c,d",
        ]
        (shop.folder / "events.csv").write_bytes(b"\n".join(lines) + b"\n")
        events = shop.load().tables["events"]
        assert events.quarantined == {
            "the line has invalid encoding": 1,
            "the line has missing columns": 1,
            "the line has too many columns": 1,
        }
        assert events.rows_read == 6
        assert len(shop.rows()) == 3

    def test_too_many_bad_rows_change_nothing(self, tmp_path: Path) -> None:
        shop = Shop(tmp_path, max_bad_share=0.2)
        shop.load([EVENT])
        with pytest.raises(TooManyBadRows, match="quarantine") as caught:
            shop.load([EVENT, EVENT | {"quantity": "x"}])
        assert caught.value.exit_code == 2
        assert len(shop.rows()) == 1


class TestUnusableFolders:
    def test_no_folder(self, shop: Shop) -> None:
        with pytest.raises(BadInput, match="no such folder"):
            import_folder(
                shop.folder / "nowhere", shop.facts, shop.settings, now=NOW, progress=lambda _: None
            )

    def test_a_folder_without_events(self, shop: Shop) -> None:
        with pytest.raises(BadInput, match=r"no events.*It holds items\.csv"):
            shop.load()

    def test_files_by_month_and_the_least_of_a_catalogue_are_named(self, shop: Shop) -> None:
        for month in ("04", "05"):
            (shop.folder / f"events-2025-{month}.csv").write_text("event_type\n")
        months = r"Are events-2025-04\.csv, events-2025-05\.csv parts of events\? Join them"
        with pytest.raises(BadInput, match=months):
            shop.load()
        (shop.folder / "items.csv").unlink()
        with pytest.raises(BadInput, match=r"items\.csv needs no column but item_id"):
            shop.load()

    def test_missing_columns_are_named_with_what_may_be_meant(self, shop: Shop) -> None:
        with pytest.raises(BadInput, match=r"events lacks item_id.*'itemid' meant to be 'item_id'"):
            shop.load([{"event_type": "purchase", "occurred_at": "2024-05-01", "itemid": "a"}])

    def test_an_empty_file(self, shop: Shop) -> None:
        (shop.folder / "events.csv").touch()
        with pytest.raises(BadInput, match="empty"):
            shop.load()

    def test_a_file_that_is_no_parquet(self, shop: Shop) -> None:
        (shop.folder / "events.parquet").write_text("no parquet at all")
        with pytest.raises(BadInput, match=r"Parquet.*events\.parquet"):
            shop.load()

    def test_two_sources_for_one_table(self, shop: Shop) -> None:
        (shop.folder / "items").mkdir()
        pq.write_table(pa.table({"item_id": ["a"]}), shop.folder / "items" / "0.parquet")
        with pytest.raises(BadInput, match="more than one source for items"):
            shop.load([EVENT])

    def test_a_header_without_rows_is_an_empty_table(self, shop: Shop) -> None:
        (shop.folder / "events.csv").write_text("event_type,occurred_at,item_id\n")
        assert shop.load().tables["events"].rows_read == 0


@pytest.mark.parametrize("crash_in", ["facts.write_segment", "publishing.write_manifest"])
def test_a_crash_while_writing_leaves_the_old_state(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, crash_in: str
) -> None:
    shop.load([EVENT])

    def crash(*_: Any) -> None:
        raise OSError("the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr(f"features.facts.{crash_in}", crash)
        with pytest.raises(OSError, match="the disk is gone"):
            shop.load([EVENT, EVENT | {"item_id": "b"}])
    assert [
        row["item_id"] for row in Facts(shop.settings).read("events").to_pyarrow().to_pylist()
    ] == ["a"]
    shop.load()
    assert len(shop.rows()) == 2
    assert len(list((shop.settings.home / "tables" / "events").glob("*.parquet"))) == 2


rows = st.lists(
    st.fixed_dictionaries(
        {
            "event_type": st.sampled_from(["purchase", "view_item", "nonsense", ""]),
            "occurred_at": st.sampled_from(["2024-05-01T10:00:00Z", "2030-01-01", "x"]),
            "item_id": st.sampled_from(["a", "b", ""]),
            "quantity": st.sampled_from(["1", "2.5", "-1", "", "many"]),
        }
    ),
    min_size=1,
    max_size=12,
)


@hypothesis_settings(max_examples=15, suppress_health_check=list(HealthCheck))
@given(rows)
def test_every_row_is_kept_once_or_quarantined_and_a_second_import_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, str]]
) -> None:
    shop = Shop(tmp_path_factory.mktemp("shop"), max_bad_share=1.0)
    events = shop.load(rows).tables["events"]
    assert events.written.new + events.n_bad == len(rows) == events.rows_read
    before = shop.rows()
    again = shop.load().tables["events"]
    assert again.written.unchanged == events.written.new
    assert shop.rows() == before
