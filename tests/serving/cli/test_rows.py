"""Events that count for nothing, and rows that are taken out again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from configs.settings import Settings
from features.contracts.tables import ITEMS
from features.facts.facts import Facts
from serving.cli.main import app
from tests.shops.folders import EVENT, write_csv
from tests.shops.folders import ITEMS as CATALOGUE

BULK = EVENT | {"order_id": "bulk", "user_id": "wholesaler", "quantity": "4000"}


class Shop:
    def __init__(self, root: Path) -> None:
        self.folder = root / "tables"
        self.folder.mkdir()
        self.settings = Settings(home=root / "home")
        self.facts = Facts(self.settings)
        write_csv(self.folder / "items.csv", CATALOGUE)

    def run(self, *arguments: str) -> Any:
        done = CliRunner().invoke(
            app, [*arguments, "--json"], env={"SHOPWRIGHT_HOME": str(self.settings.home)}
        )
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    def load(self, *events: dict[str, str]) -> Any:
        write_csv(self.folder / "events.csv", [*events])
        return self.run("import", str(self.folder))["tables"]["events"]

    def count(self) -> tuple[float, int]:
        """Units that count, and all stored events."""
        units = self.facts.read("events").quantity.sum().to_pyarrow().as_py()
        return float(units or 0), int(self.facts.read_all_events().count().to_pyarrow().as_py())


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def test_a_marked_row_is_kept_and_counts_for_nothing_until_it_is_unmarked(shop: Shop) -> None:
    shop.load(EVENT, BULK | {"exclude": "yes"})
    assert shop.count() == (2.0, 2)
    # The mark is no part of the row's identity: without it the same event counts again.
    again = shop.load(EVENT, BULK)
    assert (again["new"], again["replaced"]) == (0, 1)
    assert shop.count() == (4002.0, 2)


def test_a_rule_marks_what_is_stored_and_what_comes(shop: Shop) -> None:
    shop.load(EVENT, BULK)
    assert shop.run("rows", "exclude", "user_id=wholesaler", "--reason", "resale")["n_events"] == 1
    assert shop.count() == (2.0, 2)
    later = BULK | {"occurred_at": "2024-05-02T10:00:00Z"}
    report = shop.load(EVENT, BULK, later, later | {"item_id": "b", "exclude": "false"})
    assert (report["unchanged"], report["new"]) == (2, 2)
    assert shop.count() == (4002.0, 4)  # what says `false` itself counts
    listed = shop.run("rows", "excluded")
    assert (listed["n_marked"], listed["rules"][0]["reason"]) == (2, "resale")
    assert shop.run("rows", "include", "user_id=wholesaler")["n_events"] == 3
    assert shop.run("rows", "excluded") == {"n_marked": 0, "rules": []}
    assert shop.count() == (12002.0, 4)


def test_a_rule_may_hold_for_a_span_of_time(shop: Shop) -> None:
    shop.load(EVENT, EVENT | {"occurred_at": "2024-05-08T10:00:00Z"})
    week = ("--from", "2024-05-01T00:00Z", "--to", "2024-05-08T00:00Z")
    assert shop.run("rows", "exclude", "item_id=a", *week)["n_events"] == 1
    assert shop.count() == (2.0, 2)


def test_a_column_that_is_none_is_refused(shop: Shop) -> None:
    shop.load(EVENT)
    done = CliRunner().invoke(
        app, ["rows", "exclude", "usr=u"], env={"SHOPWRIGHT_HOME": str(shop.settings.home)}
    )
    assert done.exit_code != 0
    assert "user_id" in str(done.exception)


def test_rows_and_items_are_taken_out_everywhere(shop: Shop) -> None:
    write_csv(
        shop.folder / "price_history.csv",
        [
            {"item_id": item, "valid_from": "2024-04-01", "list_price": "5", "offer_price": "5"}
            for item in "ab"
        ],
    )
    shop.load(EVENT, EVENT | {"item_id": "b"}, BULK)
    removed = shop.run("rows", "remove", "all", "item_id=a")["removed"]
    assert {name: n for name, n in removed.items() if n} == {
        "events": 2,
        "items": 1,
        "price_history": 1,
    }
    assert [row["item_id"] for row in shop.facts.read("items").to_pyarrow().to_pylist()] == ["b"]
    assert shop.count() == (2.0, 1)


def test_a_row_that_cannot_be_typed_is_written_as_json(shop: Shop) -> None:
    shop.load(EVENT)
    shop.facts.write({"items": pa.Table.from_pylist([{"item_id": "a\x00b"}], ITEMS.arrow)})
    assert shop.run("rows", "remove", "items", 'item_id="a\\u0000b"') == {"removed": {"items": 1}}
    assert shop.facts.read("items").count().to_pyarrow().as_py() == len(CATALOGUE)
