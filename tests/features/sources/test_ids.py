"""Ids keep their spelling on the way in: those that look the same are the same, in every table."""

from __future__ import annotations

import math
import shutil
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.contracts.errors import BadInput, TooManyBadRows, TooManyUnknownItems
from features.contracts.tables import TABLES, Kind
from tests.shops.folders import EVENT, GOOD_ROWS, Shop, write_csv


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def write_parquet(shop: Shop, table: str, **columns: Any) -> None:
    (shop.folder / f"{table}.csv").unlink(missing_ok=True)
    pq.write_table(pa.table(columns), shop.folder / f"{table}.parquet")


def write_events(shop: Shop, **columns: Any) -> None:
    n = len(next(iter(columns.values())))
    write_parquet(
        shop,
        "events",
        event_type=["view_item"] * n,
        occurred_at=["2024-05-01"] * n,
        **columns,
    )


class TestDecimalNumbers:
    """pandas makes decimal numbers of whole ones as soon as one is missing."""

    def test_whole_ones_are_the_ids_of_the_catalogue(self, shop: Shop) -> None:
        write_parquet(shop, "items", item_id=[101, 102])
        write_events(
            shop,
            item_id=[101.0, 102.0, 102.0],
            user_id=[501.0, None, math.nan],
            order_id=[Decimal("7.00"), None, Decimal("8.00")],
        )
        events = shop.load().tables["events"]
        assert events.decimal_ids == ["item_id", "user_id", "order_id"]
        assert events.n_unknown_items == 0
        assert {(row["item_id"], row["user_id"], row["order_id"]) for row in shop.rows()} == {
            ("101", "501", "7"),
            ("102", None, None),
            ("102", None, "8"),
        }

    def test_csv_holds_them_as_text(self, shop: Shop) -> None:
        write_csv(shop.folder / "items.csv", [{"item_id": "101"}, {"item_id": "102"}])
        rows = [EVENT | {"item_id": "101.0", "user_id": user} for user in ("501.0", "", "502.0")]
        events = shop.load(rows).tables["events"]
        assert events.decimal_ids == ["user_id", "item_id"]
        assert {row["user_id"] for row in shop.rows()} == {"501", None, "502"}
        assert {row["item_id"] for row in shop.rows()} == {"101"}

    def test_ids_that_only_look_like_numbers_stay_as_they_are(self, shop: Shop) -> None:
        rows = [EVENT | {"item_id": "a", "order_id": order} for order in ("1.0", "007", "1e5")]
        assert shop.load(rows).tables["events"].decimal_ids == []
        assert {row["order_id"] for row in shop.rows()} == {"1.0", "007", "1e5"}

    @pytest.mark.parametrize(
        "values",
        [[101.5, 102.0], [2.0**53 + 2, 1.0], [math.inf], [Decimal("1.5")]],
    )
    def test_what_has_lost_digits_is_refused_by_column(self, shop: Shop, values: list[Any]) -> None:
        write_events(shop, item_id=["a"] * len(values), user_id=values)
        with pytest.raises(BadInput, match=r"user_id is a column of decimal numbers.*events"):
            shop.load()
        assert shop.facts.is_empty("items")

    def test_single_precision_holds_fewer_digits(self, shop: Shop) -> None:
        values = pa.array([2.0**24 + 2], pa.float32())
        write_events(shop, item_id=["a"], user_id=values)
        with pytest.raises(BadInput, match="16777218"):
            shop.load()

    def test_csv_with_large_ones_is_refused_too(self, shop: Shop) -> None:
        with pytest.raises(BadInput, match=r"1\.2345678901234568e\+17 is no whole number"):
            shop.load([EVENT | {"user_id": "1.2345678901234568e+17"}, EVENT | {"user_id": "5.0"}])

    def test_whole_numbers_of_any_length_are_text(self, shop: Shop) -> None:
        write_events(shop, item_id=["a"], user_id=[2**53 + 1])
        shop.load()
        assert shop.rows()[0]["user_id"] == str(2**53 + 1)


INVISIBLE = ["TEE\u00a0", "TEE\t", "\u200bTEE", "\ufeffTEE\u200d", "\u2067TEE\u2069", " TEE\u3000"]


@pytest.mark.parametrize("spelling", INVISIBLE)
def test_what_cannot_be_seen_is_taken_off_both_ends(shop: Shop, spelling: str) -> None:
    write_csv(shop.folder / "items.csv", [{"item_id": spelling, "title": "Tee"}])
    events = shop.load([EVENT | {"item_id": "TEE"}, EVENT | {"item_id": spelling}])
    assert events.tables["events"].n_unknown_items == 0
    assert {row["item_id"] for row in shop.rows()} == {"TEE"}
    assert [row["item_id"] for row in shop.rows("items")] == ["TEE"]


def test_letters_are_composed_and_scripts_stay_apart(shop: Shop) -> None:
    words = ["café", "满减", "秒杀", "خصم", "😀", "👩\u200d👩"]
    write_csv(shop.folder / "items.csv", [{"item_id": word} for word in ["cafe\u0301", *words[1:]]])
    report = shop.load([EVENT | {"item_id": word} for word in words])
    assert report.tables["events"].n_unknown_items == 0
    assert {row["item_id"] for row in shop.rows("items")} == set(words)


def test_two_spellings_of_one_item_with_other_values_are_named(shop: Shop) -> None:
    rows = [{"item_id": "a", "title": "one"}, {"item_id": "a\u200b", "title": "two"}]
    write_csv(shop.folder / "items.csv", [*rows, {"item_id": "b"}])
    report = shop.load([EVENT])
    assert report.tables["items"].quarantined == {"a later row has the same item_id": 1}


class TestUnknownItems:
    def test_an_import_of_mostly_unknown_items_changes_nothing(self, shop: Shop) -> None:
        rows = [EVENT | {"item_id": item} for item in ("SKU-a", "SKU-b", "a")]
        with pytest.raises(
            TooManyUnknownItems,
            match=r"2 of 3 events \(67%\).*'SKU-a', 'SKU-b'; items has 'a', 'b'",
        ) as caught:
            shop.load(rows)
        assert caught.value.exit_code == 2
        assert shop.facts.is_empty("events")
        assert shop.facts.is_empty("items")

    def test_half_of_them_may_be_and_more_by_setting(self, shop: Shop, tmp_path: Path) -> None:
        half = shop.load([EVENT, EVENT | {"item_id": "nobody knows"}])
        assert half.tables["events"].n_unknown_items == 1
        other = Shop(tmp_path / "other", max_unknown_items=1.0)
        assert other.load([EVENT | {"item_id": "x"}]).tables["events"].n_unknown_items == 1

    def test_items_of_earlier_imports_are_known(self, shop: Shop) -> None:
        shop.load([EVENT])
        (shop.folder / "items.csv").unlink()
        report = shop.load([EVENT | {"quantity": "5"}, EVENT | {"item_id": "x"}])
        assert report.tables["events"].n_unknown_items == 1

    def test_a_near_spelling_is_asked_for(self, shop: Shop) -> None:
        write_csv(shop.folder / "items.csv", [{"item_id": "TEE-1"}])
        with pytest.raises(TooManyUnknownItems, match="Is 'TEE-1' of items meant"):
            shop.load([EVENT | {"item_id": "tee1"}])


TEXT_COLUMNS = [
    (table, column.name)
    for table, schema in TABLES.items()
    if table in GOOD_ROWS
    for column in schema.columns
    if column.kind is Kind.TEXT and not column.choices and column.name != "event_type"
]


@pytest.mark.parametrize(("table", "column"), TEXT_COLUMNS)
def test_no_table_takes_what_a_database_does_not_keep(
    tmp_path: Path, table: str, column: str
) -> None:
    shop = Shop(tmp_path, max_bad_share=1.0, max_unknown_items=1.0)
    ids = {c.name: "a" for c in TABLES[table].columns if c.required and c.kind is Kind.TEXT}
    good = ids | GOOD_ROWS[table]
    long = "x" * (TABLES[table].find(column).max_length + 1)  # type: ignore[union-attr]
    write_csv(
        shop.folder / f"{table}.csv", [good, good | {column: "a\x00b"}, good | {column: long}]
    )
    report = shop.load(None if table == "events" else [EVENT]).tables[table]
    unknown = {"zone is unknown": 2} if column == "zone" and table != "price_history" else {}
    assert report.quarantined == unknown | {
        f"{column} holds a character that cannot be kept": 1,
        f"{column} is longer than {len(long) - 1} characters": 1,
    }


def test_an_id_fits_an_index_whatever_its_script(shop: Shop) -> None:
    report = shop.load([EVENT, EVENT | {"user_id": "满" * 401}]).tables["events"]
    assert report.quarantined == {"user_id is longer than 1200 bytes": 1}


@pytest.mark.parametrize("name", ["sh*p", "sh?p", "sh[oi]p", "item_id=7", "~shop", "it's"])
def test_a_folder_is_read_alone_whatever_its_name(shop: Shop, name: str) -> None:
    """`*`, `?` and `[` are patterns to DuckDB, and `=` makes a column of a folder."""
    folder, other = shop.folder.parent / name, shop.folder.parent / "shop"
    for path in (other, folder):
        shutil.copytree(shop.folder, path)
    write_csv(folder / "events.csv", [EVENT])
    write_csv(other / "events.csv", [EVENT | {"quantity": "7"}])
    (folder / "items.csv").unlink()
    (folder / "items").mkdir()
    pq.write_table(pa.table({"item_id": ["a"]}), folder / "items" / "part [1].parquet")
    (other / "items").mkdir()
    pq.write_table(pa.table({"item_id": ["z"]}), other / "items" / "part 1.parquet")
    shop.folder = folder
    report = shop.load()
    assert [(row["item_id"], row["quantity"]) for row in shop.rows()] == [("a", 2.0)]
    assert [row["item_id"] for row in shop.rows("items")] == ["a"]
    assert report.tables["events"].attributes == report.tables["items"].attributes == []


class TestZones:
    """A zone has prices, features and forecasts of its own: rows do not invent one."""

    ROWS = (EVENT, EVENT | {"zone": "north"}, EVENT | {"zone": "noth"}, EVENT | {"zone": "default"})

    def test_those_of_the_settings_are_known_and_others_are_quarantined(
        self, tmp_path: Path
    ) -> None:
        shop = Shop(tmp_path, zones={"north": {}})
        stock = {"item_id": "a", "at": "2024-05-01", "on_hand": "1"}
        write_csv(shop.folder / "stock.csv", [stock, stock | {"zone": "noth"}])
        report = shop.load([*self.ROWS])
        assert report.tables["events"].quarantined == {"zone is unknown": 1}
        assert report.tables["stock"].quarantined == {"zone is unknown": 1}
        assert {row["zone"] for row in shop.rows()} == {"default", "north"}

    def test_those_of_the_price_list_are_known_from_its_import_on(self, shop: Shop) -> None:
        price = GOOD_ROWS["price_history"] | {"item_id": "a", "zone": "noth"}
        write_csv(shop.folder / "price_history.csv", [price])
        first = shop.load([EVENT, EVENT | {"zone": "noth"}, EVENT | {"zone": "north"}])
        assert first.tables["events"].quarantined == {"zone is unknown": 1}
        (shop.folder / "price_history.csv").unlink()
        assert shop.load([EVENT | {"zone": "noth", "quantity": "5"}]).tables["events"].n_bad == 0

    def test_others_become_the_default_zone_by_setting_and_currency(self, tmp_path: Path) -> None:
        shop = Shop(
            tmp_path,
            unknown_zones="default",
            currency="JPY",
            zones={"north": {"currency": "KWD"}},
        )
        report = shop.load([row | {"unit_price": "5"} for row in self.ROWS])
        assert (report.tables["events"].n_unknown_zones, report.tables["events"].n_bad) == (1, 0)
        prices = sorted((row["zone"], row["unit_price_minor"]) for row in shop.rows())
        assert prices == [("default", 5.0)] * 3 + [("north", 5000.0)]

    def test_sixty_invented_zones_are_refused_with_what_to_do(self, shop: Shop) -> None:
        with pytest.raises(TooManyBadRows, match=r"zone is unknown: 60.*SHOPWRIGHT_UNKNOWN_ZONES"):
            shop.load([EVENT, *(EVENT | {"zone": f"z{n}"} for n in range(60))])
