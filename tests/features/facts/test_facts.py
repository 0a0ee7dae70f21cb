"""Segments behind a manifest: whole or not at all, each key once, together with what came over
HTTP."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ibis
import pyarrow as pa
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from configs.settings import Settings
from features.contracts.errors import UnknownName
from features.contracts.tables import EVENTS, TABLES, TableSchema
from features.database import transaction
from features.facts import segments
from features.facts.events import EventLog
from features.facts.facts import Facts
from features.sources.report import WriteCount

AT = datetime(2024, 5, 1, 10, tzinfo=UTC)


def item_rows(prices: Mapping[str, int]) -> pa.Table:
    schema = TABLES["items"].arrow
    rows = [{"item_id": item_id, "list_price_minor": price} for item_id, price in prices.items()]
    return pa.Table.from_pylist(rows, schema)


def event_rows(*ids: str, item_id: str = "a") -> pa.Table:
    rows = [
        {
            "event_id": each,
            "event_type": "view_item",
            "occurred_at": AT,
            "item_id": item_id,
            "zone": "default",
        }
        for each in ids
    ]
    return pa.Table.from_pylist(rows, EVENTS.arrow)


def prices(facts: Facts) -> dict[str, int]:
    return {
        row["item_id"]: row["list_price_minor"]
        for row in facts.read("items").to_pyarrow().to_pylist()
    }


@pytest.fixture
def shop(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", database_url=None)


class TestReading:
    @pytest.mark.parametrize("table", list(TABLES))
    def test_a_table_nobody_imported_is_empty_in_its_schema(
        self, shop: Settings, table: str
    ) -> None:
        found = Facts(shop).read(table).to_pyarrow()
        assert found.num_rows == 0
        assert found.column_names == TABLES[table].arrow.names
        assert Facts(shop).is_empty(table)

    def test_an_unknown_table_is_named_with_the_nearest(self, shop: Settings) -> None:
        with pytest.raises(UnknownName, match=r"'event'.*'events'"):
            Facts(shop).read("event")

    def test_the_latest_event(self, shop: Settings) -> None:
        facts = Facts(shop)
        assert facts.latest_event_at() is None
        facts.write({"events": event_rows("1")})
        assert facts.latest_event_at() == AT

    def test_another_process_s_import_is_seen_by_the_next_read(self, shop: Settings) -> None:
        reader, writer = Facts(shop), Facts(shop)
        assert reader.is_empty("items")
        writer.write({"items": item_rows({"a": 1})})
        assert prices(reader) == {"a": 1}


class TestWriting:
    def test_new_replaced_and_unchanged_rows_are_counted(self, shop: Settings) -> None:
        facts = Facts(shop)
        facts.write({"items": item_rows({"a": 1, "b": 2, "c": 3})})
        count = facts.write({"items": item_rows({"b": 2, "c": 4, "d": 5})})["items"]
        assert (count.new, count.replaced, count.unchanged) == (1, 1, 1)
        assert prices(facts) == {"a": 1, "b": 2, "c": 4, "d": 5}

    def test_the_same_rows_again_touch_no_file(self, shop: Settings) -> None:
        facts = Facts(shop)
        facts.write({"items": item_rows({"a": 1})})
        before = {path: path.stat().st_mtime_ns for path in shop.home.rglob("*") if path.is_file()}
        facts.write({"items": item_rows({"a": 1})})
        after = {path: path.stat().st_mtime_ns for path in shop.home.rglob("*") if path.is_file()}
        assert {p: t for p, t in after.items() if p.name != ".lock"} == {
            p: t for p, t in before.items() if p.name != ".lock"
        }

    def test_a_key_column_named_by_a_word_of_sql(self, shop: Settings) -> None:
        row = {"item_id": "a", "zone": "default", "at": AT, "on_hand": 1.0}
        facts = Facts(shop)
        for on_hand in (1.0, 2.0):
            facts.write(
                {"stock": pa.Table.from_pylist([row | {"on_hand": on_hand}], TABLES["stock"].arrow)}
            )
        assert facts.read("stock").on_hand.to_pyarrow().to_pylist() == [2.0]

    def test_a_segment_from_before_a_column_was_known_reads_as_if_it_were_empty(
        self, shop: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now, key = TABLES["stock"], {"zone": "default", "at": AT}
        older = replace(
            now, columns=tuple(column for column in now.columns if column.name != "on_order")
        )
        facts = Facts(shop)

        def write(schema: TableSchema, *rows: dict[str, object]) -> WriteCount:
            monkeypatch.setitem(TABLES, "stock", schema)
            return facts.write(
                {"stock": pa.Table.from_pylist([key | row for row in rows], schema.arrow)}
            )["stock"]

        old = [{"item_id": "a", "on_hand": 1.0}, {"item_id": "b", "on_hand": 2.0}]
        write(older, *old)
        again = write(now, *old, {"item_id": "c", "on_hand": 3.0, "on_order": 4.0})
        assert (again.new, again.replaced, again.unchanged) == (1, 0, 2)
        found = (
            Facts(shop).read("stock").order_by("item_id").select("on_hand", "on_order").to_pyarrow()
        )
        assert found.to_pydict() == {"on_hand": [1.0, 2.0, 3.0], "on_order": [None, None, 4.0]}
        assert write(now, {"item_id": "a", "on_hand": 1.0, "on_order": 9.0}).replaced == 1
        assert facts.read("stock").schema() == Facts(shop).read("stock").schema()
        assert sorted(facts.read("stock").on_order.fill_null(0.0).to_pyarrow().to_pylist()) == [
            0.0,
            4.0,
            9.0,
        ]

    def test_who_opened_a_table_before_it_was_replaced_may_finish_reading(
        self, shop: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        facts = Facts(shop)
        facts.write({"items": item_rows({"a": 1})})
        opened = Facts(shop).read("items")
        facts.write({"items": item_rows({"a": 2})})
        assert opened.list_price_minor.to_pyarrow().to_pylist() == [1]
        monkeypatch.setattr(segments, "_GRACE_SECONDS", -1)
        facts.write({"items": item_rows({"a": 2})})
        assert len(list((shop.home / "tables" / "items").glob("*.parquet"))) == 1
        assert prices(Facts(shop)) == {"a": 2}


class TestReceivedEvents:
    @pytest.fixture
    def facts(self, settings: Settings, engine: sa.Engine) -> Facts:
        """On both databases, with imported events 1 and 2, and received events 2 and 3."""
        facts = Facts(settings)
        facts.write({"events": event_rows("1", "2", item_id="imported")})
        with transaction(engine) as connection:
            EventLog(connection).append(event_rows("2", "3", item_id="received").to_pylist(), AT)
        return facts

    def test_each_event_stands_once_and_the_imported_one_wins(self, facts: Facts) -> None:
        found = {row["event_id"]: row for row in facts.read("events").to_pyarrow().to_pylist()}
        assert {key: row["item_id"] for key, row in found.items()} == {
            "1": "imported",
            "2": "imported",
            "3": "received",
        }
        assert {row["occurred_at"] for row in found.values()} == {AT}
        assert facts.read("events").count().to_pyarrow().as_py() == 3

    def test_the_schema_is_the_stored_one(self, facts: Facts) -> None:
        assert facts.read("events").columns == tuple(EVENTS.arrow.names)


CRASH = """
import os, sys
import pyarrow as pa
from pathlib import Path
from configs.settings import Settings
from features.contracts.tables import TABLES
from features.facts.facts import Facts

n_calls, limit = 0, int(sys.argv[2])
def dying(call):
    def wrapped(*arguments, **named):
        global n_calls
        n_calls += 1
        if n_calls > limit:
            os._exit(9)  # as kill -9: nothing is tidied up
        return call(*arguments, **named)
    return wrapped
os.fsync, Path.replace, Path.touch = dying(os.fsync), dying(Path.replace), dying(Path.touch)
rows = [{"item_id": "a", "list_price_minor": 2}, {"item_id": "b", "list_price_minor": 2}]
users = [{"user_id": "u", "personalization_allowed": True}]
Facts(Settings(home=Path(sys.argv[1]))).write({
    "items": pa.Table.from_pylist(rows, TABLES["items"].arrow),
    "users": pa.Table.from_pylist(users, TABLES["users"].arrow),
})
"""


OLD, NEW = ({"a": 1}, False), ({"a": 2, "b": 2}, True)


def state(shop: Settings) -> tuple[dict[str, int], bool]:
    return prices(Facts(shop)), not Facts(shop).is_empty("users")


def write_new(shop: Settings) -> None:
    users = pa.Table.from_pylist(
        [{"user_id": "u", "personalization_allowed": True}], TABLES["users"].arrow
    )
    Facts(shop).write({"items": item_rows(NEW[0]), "users": users})


class Killed(BaseException):
    pass


def die_after(limit: int, patch: pytest.MonkeyPatch) -> None:
    """Everything that touches the disk for good works `limit` times, then never again."""
    n_calls = 0

    def dying(call: Any) -> Any:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            nonlocal n_calls
            n_calls += 1
            if n_calls > limit:
                raise Killed
            return call(*arguments, **named)

        return wrapped

    patch.setattr(os, "fsync", dying(os.fsync))
    patch.setattr(Path, "replace", dying(Path.replace))
    patch.setattr(Path, "touch", dying(Path.touch))


def test_a_crash_at_any_step_leaves_the_old_state_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = []
    for limit in range(20):
        shop = Settings(home=tmp_path / str(limit))
        Facts(shop).write({"items": item_rows(OLD[0])})
        with monkeypatch.context() as patch:
            die_after(limit, patch)
            try:
                write_new(shop)
                finished = True
            except Killed:
                finished = False
        outcomes.append(state(shop))
        write_new(shop)  # the next import works as if nothing had been
        assert state(shop) == NEW
        if finished:
            break
    n_old = outcomes.count(OLD)
    assert 0 < n_old < len(outcomes)
    assert outcomes == [OLD] * n_old + [NEW] * (len(outcomes) - n_old)


@pytest.mark.slow
def test_a_process_killed_at_any_step_leaves_the_old_state_or_the_new_one(tmp_path: Path) -> None:
    outcomes = []
    for limit in range(20):
        shop = Settings(home=tmp_path / str(limit))
        Facts(shop).write({"items": item_rows(OLD[0])})
        done = subprocess.run(
            [sys.executable, "-c", CRASH, str(shop.home), str(limit)], env=os.environ, timeout=120
        )
        outcomes.append(state(shop))
        assert done.returncode in (0, 9)
        if done.returncode == 0:
            break
    n_old = outcomes.count(OLD)
    assert 0 < n_old < len(outcomes)
    assert outcomes == [OLD] * n_old + [NEW] * (len(outcomes) - n_old)


@hypothesis_settings(max_examples=20, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 3), max_size=6), max_size=5)
)
def test_writes_add_up_as_a_dictionary_does(
    tmp_path_factory: pytest.TempPathFactory, imports: list[Any]
) -> None:
    facts = Facts(Settings(home=tmp_path_factory.mktemp("home")))
    expected: dict[str, int] = {}
    for rows in imports:
        count = facts.write({"items": item_rows(rows)})["items"]
        assert count.new == len(rows.keys() - expected.keys())
        assert count.new + count.replaced + count.unchanged == len(rows)
        expected |= rows
        assert prices(facts) == expected


def test_a_million_events_are_counted_and_summed_without_reading_their_ids(shop: Settings) -> None:
    n = 1_000_000
    names = [f"{number:064x}" for number in range(n)]
    constant = {
        "event_type": "purchase",
        "occurred_at": AT,
        "item_id": "a",
        "zone": "default",
        "quantity": 1.0,
    }
    columns = [
        pa.array(names)
        if field.name == "event_id"
        else pa.repeat(pa.scalar(constant.get(field.name), field.type), n)
        for field in EVENTS.arrow
    ]
    facts = Facts(shop)
    facts.write({"events": pa.table(columns, schema=EVENTS.arrow)})

    def seconds(question: Callable[[ibis.Table], Any]) -> float:
        """Of this process's work, whatever else the machine does; the best of three."""
        taken = []
        for _ in range(3):
            started = time.process_time()
            assert question(facts.read("events")).to_pyarrow().as_py() == n
            taken.append(time.process_time() - started)
        return min(taken)

    summed = seconds(lambda events: events.quantity.sum())
    assert summed < seconds(lambda events: events.event_id.nunique()) / 4


def test_a_long_query_draws_no_progress_bar_on_standard_output(shop: Settings) -> None:
    cursor = Facts(shop).connection.raw_sql("SELECT current_setting('enable_progress_bar')")
    assert cursor.fetchall() == [(False,)]
