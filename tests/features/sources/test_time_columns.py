"""Every time column of every table, in files and over HTTP, takes the same texts."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from features.contracts.tables import TABLES, Kind
from tests.shops.folders import EVENT, GOOD_ROWS, Shop, write_csv
from tests.shops.time_texts import BAD_TIMES, GOOD_TIMES

IDS = {"users": "user_id", "promotions": "promotion_id", "regressors": "name", "closures": "zone"}
COLUMNS = [
    (table, column.name)
    for table, schema in TABLES.items()
    for column in schema.columns
    if column.kind is Kind.TIME
]


@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_files_take_the_documented_form_and_nothing_else(
    tmp_path: Path, table: str, column: str
) -> None:
    given = [text for case in (*BAD_TIMES, *GOOD_TIMES) for text in (case, "2024-05-01 10:00:00")]
    zones = {f"row {n}": {} for n in range(len(given))}  # closures are known by them
    shop = Shop(tmp_path, max_bad_share=1.0, max_unknown_items=1.0, zones=zones)
    name = IDS.get(table, "item_id")
    rows = [GOOD_ROWS[table] | {name: f"row {n}", column: text} for n, text in enumerate(given)]
    write_csv(shop.folder / f"{table}.csv", rows)
    report = shop.load(None if table == "events" else [EVENT]).tables[table]
    assert dict(report.quarantined) == {f"{column} is no time": len(BAD_TIMES)}
    assert report.quarantine_file is not None
    with report.quarantine_file.open(encoding="utf-8-sig") as file:
        refused = {int(row["row"]) - 1 for row in csv.DictReader(file)}
    assert {given[row] for row in refused} == set(BAD_TIMES)
    stored = {row[name]: row[column] for row in shop.rows(table)}
    assert stored == {
        f"row {n}": GOOD_TIMES[text] for n, text in enumerate(given) if n not in refused
    }
