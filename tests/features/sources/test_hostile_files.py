"""Files as real systems write them: nothing is guessed, nothing is lost, and the message says where
to look."""

from __future__ import annotations

import codecs
import csv
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.contracts.errors import BadInput, TooManyBadRows
from features.sources.advice import advise
from features.sources.report import TableReport
from tests.shops import small_shop
from tests.shops.folders import EVENT, Shop, write_csv

HEADER = b"event_type,occurred_at,item_id\n"
LINE = b"view_item,2024-05-01T10:00:00Z,a\n"


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def load_bytes(shop: Shop, content: bytes) -> TableReport:
    (shop.folder / "events.csv").write_bytes(content)
    return shop.load().tables["events"]


def quarantine(report: TableReport) -> list[dict[str, str]]:
    assert report.quarantine_file is not None
    with report.quarantine_file.open(encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def test_the_quarantine_opens_in_a_spreadsheet_without_a_formula_and_keeps_the_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(tmp_path)
    monkeypatch.chdir(tmp_path)
    shop.folder.rename("=tables")
    shop.folder = Path("=tables")
    formula = '=HYPERLINK("https://evil.example","Müller")'
    title = formula.replace('"', '""').encode()
    report = load_bytes(
        shop, HEADER + LINE * 3 + b'view_item,never,"' + title + b'"\n@x\n\t-1,2,3,4\n'
    )
    assert report.quarantine_file is not None
    assert report.quarantine_file.read_bytes().startswith(codecs.BOM_UTF8)
    rows = sorted(quarantine(report), key=lambda row: row["row"])
    assert {row["file"] for row in rows} == {"'=tables/events.csv"}
    assert not any(cell.startswith(tuple("=+-@\t\r")) for row in rows for cell in row.values())
    assert json.loads(rows[0]["raw"])["item_id"] == formula
    lines = [json.loads(row["raw"])["line"] for row in rows[1:]]
    assert [line.rstrip("\n") for line in lines] == ["@x", "\t-1,2,3,4"]


def test_the_refusal_shows_a_value_of_each_reason_and_what_to_write_instead(shop: Shop) -> None:
    """As a spreadsheet in German or American English saves them."""
    content = (
        "\ufeffevent_type,occurred_at,item_id,quantity,unit_price\r\n"
        'purchase,03/04/2024,a,1,"1.019,95"\r\n'
        'purchase,2024-05-01,a,-2,"19,95"\r\n'
    )
    with pytest.raises(TooManyBadRows) as caught:
        shop.settings = shop.settings.model_copy(update={"max_bad_share": 0.01})
        load_bytes(shop, content.encode())
    text = str(caught.value)
    assert "occurred_at is no time: 1 (row 1 has '03/04/2024')" in text
    assert "unit_price is no amount of money: 2 (row 1 has '1.019,95')" in text
    assert "quantity is below 0: 1 (row 2 has '-2')" in text
    for advice in ("2024-05-01T10:00:00Z", "Write amounts as 1234.56", "event of the type refund"):
        assert advice in text


def test_the_lines_of_an_order_that_leave_out_what_they_share_are_said(shop: Shop) -> None:
    """As an export of a shop system writes an order: only its first line is whole."""
    order = {"occurred_at": "2024-05-01T10:00:00Z", "event_type": "purchase", "order_id": "#1001"}
    report = shop.load(
        [
            {**order, "item_id": "a", "quantity": "1"},
            {"item_id": "b", "quantity": "2", "order_id": "#1001"},
        ]
    ).tables["events"]
    assert report.quarantined == {"event_type is missing": 1, "occurred_at is missing": 1}
    assert str(report.examples["occurred_at is missing"]) == "row 2"
    assert "lines of one order repeat what they share" in str(advise("occurred_at is missing"))


class TestCsv:
    def test_rows_are_numbered_as_in_the_file_beside_broken_lines(self, shop: Shop) -> None:
        bad_time = b"view_item,never,a\n"
        report = load_bytes(
            shop, HEADER + LINE + b"x,y\n" + bad_time + b"a,b,c,d,e\n" + bad_time + LINE
        )
        found = [
            (row["row"], row["reasons"])
            for row in sorted(quarantine(report), key=lambda row: row["row"])
        ]
        assert found == [
            ("2", "the line has missing columns"),
            ("3", "occurred_at is no time"),
            ("4", "the line has too many columns"),
            ("5", "occurred_at is no time"),
        ]
        assert (report.rows_read, report.n_bad, report.written.new) == (6, 4, 2)

    def test_a_hash_sign_starts_no_comment(self, shop: Shop) -> None:
        report = load_bytes(shop, HEADER + LINE + b"#" + LINE)
        assert report.quarantined == {"event_type is unknown": 1}

    def test_an_open_quote_is_refused_and_not_taken_for_one_bad_row(self, shop: Shop) -> None:
        with pytest.raises(
            BadInput, match=r"quoted value.*events\.csv, row 2.*[Cc]lose the quotes"
        ):
            load_bytes(shop, HEADER + LINE + b'view_item,2024-05-01,"a\n' + LINE * 3)

    @pytest.mark.parametrize("end", [b"\r\n", b"\n"])
    def test_quoted_line_ends_byte_order_mark_and_windows_lines(
        self, shop: Shop, end: bytes
    ) -> None:
        lines = [HEADER.strip() + b",note", LINE.strip() + b',"two\nlines, ""quoted"""', b""]
        report = load_bytes(shop, b"\xef\xbb\xbf" + end.join(lines))
        assert (report.written.new, report.n_bad) == (1, 0)
        assert json.loads(shop.rows()[0]["attributes"]) == {"note": 'two\nlines, "quoted"'}

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (HEADER.decode().encode("utf-16"), "UTF-16.*Save it as UTF-8"),
            (b"event_type,occurred_at,item_id,caf\xe9\n", "UTF-8"),
            (b"\n\n", "first line is empty"),
            (b"event_type;occurred_at;item_id\n", "separate the values with commas"),
            (b"event_type,occurred_at,item_id,Item_ID\n", "'item_id' stands more than once"),
            (HEADER + LINE.strip() + b"\r\n" + LINE, "one kind of line end"),
            (LINE + LINE, "lacks event_type, occurred_at, item_id"),
        ],
    )
    def test_what_cannot_be_read_as_a_table_is_refused_with_advice(
        self, shop: Shop, content: bytes, message: str
    ) -> None:
        with pytest.raises(BadInput, match=message) as caught:
            load_bytes(shop, content)
        assert "events.csv" in str(caught.value)
        assert shop.facts.is_empty("items")  # nothing half-written

    def test_names_match_without_regard_to_case_and_blanks(self, shop: Shop) -> None:
        report = load_bytes(
            shop, b"Event_Type, OCCURRED_AT ,item_id,Quantity,\n" + LINE.strip() + b",3,x\n"
        )
        assert shop.rows()[0]["quantity"] == 3.0
        assert report.attributes == ["column_5"]

    def test_a_large_file_keeps_its_order(self, tmp_path: Path) -> None:
        shop = Shop(tmp_path, max_unknown_items=1.0)
        n = 200_000
        body = b"".join(b"view_item,2024-05-01T10:00:00Z,%d\n" % number for number in range(n))
        report = load_bytes(shop, HEADER + body + b"view_item,never,a\n")
        assert report.written.new == n
        assert [row["row"] for row in quarantine(report)] == [str(n + 1)]


class TestValues:
    @pytest.mark.parametrize(
        ("column", "value", "reason"),
        [
            ("rank", "1.5", "rank is no whole number"),
            ("rank", "0", "rank is below 1"),
            ("quantity", "1e300", "quantity is no number"),
            ("line_amount", "99999999999999999999", "line_amount is no amount of money"),
            ("line_amount", "$5", "line_amount is no amount of money"),
            ("occurred_at", "infinity", "occurred_at is no time"),
            ("occurred_at", "0024-05-01", "occurred_at is no time"),
            ("occurred_at", "1714557600", "occurred_at is no time"),
        ],
    )
    def test_slips_are_named(self, shop: Shop, column: str, value: str, reason: str) -> None:
        report = shop.load([EVENT, EVENT | {column: value}]).tables["events"]
        assert report.quarantined == {reason: 1}

    def test_other_tables_are_judged_too(self, shop: Shop) -> None:
        day = {"item_id": "a", "starts_at": "2024-05-01", "ends_at": "2024-05-08"}
        write_csv(
            shop.folder / "promotions.csv",
            [
                day | {"promotion_id": "good", "depth": "0.2"},
                day | {"promotion_id": "p1", "depth": "20"},
                day | {"promotion_id": "p2", "ends_at": "2024-04-01"},
                day
                | {"promotion_id": "planned", "starts_at": "2025-01-01", "ends_at": "9999-12-31"},
            ],
        )
        stock = {"item_id": "a", "on_hand": "3"}
        write_csv(
            shop.folder / "stock.csv", [stock | {"at": "2024-05-01"}, stock | {"at": "2025-05-01"}]
        )
        report = shop.load([EVENT] * 4)
        assert report.tables["promotions"].quarantined == {
            "depth is above 1": 1,
            "ends_at is not after starts_at": 1,
        }
        assert report.tables["stock"].quarantined == {"at lies in the future": 1}
        assert {row["promotion_id"] for row in shop.rows("promotions")} == {"good", "planned"}

    def test_texts_that_only_look_the_same_stay_two_events(self, shop: Shop) -> None:
        first = EVENT | {"user_id": "a|b", "visitor_id": "c"}
        report = shop.load([first, first | {"user_id": "a", "visitor_id": "b|c"}])
        assert report.tables["events"].written.new == 2

    def test_events_of_unknown_items_are_kept_and_counted(self, shop: Shop) -> None:
        report = shop.load([EVENT, EVENT | {"item_id": "nobody knows"}])
        assert report.tables["events"].n_unknown_items == 1
        assert len(shop.rows()) == 2


class TestShare:
    def test_a_table_of_which_no_row_is_good_is_refused_however_small(self, tmp_path: Path) -> None:
        shop = Shop(tmp_path, max_bad_share=0.5)
        write_csv(
            shop.folder / "users.csv", [{"user_id": "u", "personalization_allowed": "perhaps"}]
        )
        with pytest.raises(TooManyBadRows, match=r"no row of users is good.*no true or false: 1"):
            shop.load([EVENT] * 20)
        assert shop.facts.is_empty("events")

    def test_events_after_the_shop_s_now_are_told_what_its_clock_says(self, tmp_path: Path) -> None:
        shop = Shop(tmp_path, max_bad_share=0.01)
        with pytest.raises(TooManyBadRows, match=r"clock says 2024-06-01"):
            shop.load([EVENT, EVENT | {"occurred_at": "2025-01-01"}])

    def test_a_file_with_a_misspelt_name_is_mentioned(self, shop: Shop) -> None:
        write_csv(shop.folder / "price-history.csv", [{"item_id": "a"}])
        assert shop.load([EVENT]).ignored == ["price-history.csv"]


class TestParquet:
    def test_the_broken_part_is_named(self, shop: Shop) -> None:
        (shop.folder / "events").mkdir()
        rows: list[dict[str, Any]] = [
            EVENT | {"occurred_at": datetime(2024, 5, 1, tzinfo=UTC), "quantity": 1.0}
        ]
        pq.write_table(pa.Table.from_pylist(rows), shop.folder / "events" / "0.parquet")
        (shop.folder / "events" / "1.parquet").touch()
        with pytest.raises(BadInput, match=r"no readable Parquet file.*1\.parquet"):
            shop.load()

    def test_parts_may_differ_in_columns_and_rows_are_numbered_per_part(self, shop: Shop) -> None:
        (shop.folder / "events").mkdir()
        at = datetime.fromisoformat("2024-05-01T10:00:00")  # no offset: UTC
        rows: list[dict[str, Any]] = [
            {"event_type": "view_item", "occurred_at": at, "item_id": "a"}
        ]
        pq.write_table(pa.Table.from_pylist(rows * 2), shop.folder / "events" / "0.parquet")
        more = [rows[0] | {"quantity": quantity, "tags": ["x", "y"]} for quantity in (2, -1)]
        pq.write_table(pa.Table.from_pylist(more), shop.folder / "events" / "1.parquet")
        report = shop.load().tables["events"]
        assert (report.rows_read, report.written.new, report.n_bad) == (4, 3, 1)
        (bad,) = quarantine(report)
        assert (Path(bad["file"]).name, bad["row"], bad["reasons"]) == (
            "1.parquet",
            "2",
            "quantity is below 0",
        )
        assert {row["occurred_at"] for row in shop.rows()} == {at.replace(tzinfo=UTC)}


def test_the_small_shop_imports_whole_and_twice_the_same(tmp_path: Path) -> None:
    shop = Shop(
        tmp_path,
        zones=json.loads(small_shop.SETTINGS["SHOPWRIGHT_ZONES"]),
        currency="EUR",
        timezone=small_shop.TIMEZONE,
        max_bad_share=0.0,
    )
    (shop.folder / "items.csv").unlink()
    small_shop.write_small_shop(shop.folder)
    first = shop.load(now=small_shop.NOW)
    assert first.share_bad == 0.0
    assert len(first.tables) == 8
    again = shop.load(now=small_shop.NOW)
    assert all(table.written.new == table.written.replaced == 0 for table in again.tables.values())
    for table in shop.facts.read("users").to_pyarrow().to_pylist():
        assert table["personalization_allowed"] is (
            table["user_id"] != small_shop.NO_PERSONALIZATION
        )
