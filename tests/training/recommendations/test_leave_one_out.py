"""Leave-one-out: which purchase is asked for, and that nothing tells it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from configs.settings import Settings
from features.contracts.tables import TABLES
from features.facts.facts import Facts
from training.recommendations.leave_one_out import HeldOutPurchases, hold_out_last_purchases

END = datetime(2024, 5, 6, tzinfo=UTC)


def make_event(
    event_id: str, user: str | None, item: str, day: int, **others: Any
) -> dict[str, Any]:
    at = END - timedelta(days=100 - day)
    return {
        "event_id": event_id,
        "user_id": user,
        "item_id": item,
        "occurred_at": at,
        "event_type": "purchase",
        **others,
    }


def hold_out(home: Path, rows: list[dict[str, Any]], end: datetime = END) -> HeldOutPurchases:
    schema = TABLES["events"].arrow
    filled = [
        {name: ({"zone": "default"} | row).get(name) for name in schema.names} for row in rows
    ]
    facts = Facts(Settings(home=home))
    facts.write({"events": pa.Table.from_pylist(filled, schema)})
    return hold_out_last_purchases(facts, end)


def list_visible_events(held_out: HeldOutPurchases) -> set[str]:
    return set(held_out.read("events").to_pyarrow()["event_id"].to_pylist())


def test_the_last_purchase_of_each_user_is_asked_for_and_equal_times_go_by_event_id(
    tmp_path: Path,
) -> None:
    rows = [
        make_event("e1", "ann", "milk", 1),
        make_event("e4", "ann", "beer", 9),
        make_event("e3", "ann", "wine", 9),
        make_event("e5", "bob", "milk", 2),
        make_event("e6", "bob", "bread", 3),
        make_event("e7", None, "milk", 9),
    ]
    for name, given in (("one", rows), ("other", rows[::-1])):
        held_out = hold_out(tmp_path / name, given)
        assert list(held_out.targets()) == [("ann", "beer"), ("bob", "bread")]
        assert list_visible_events(held_out) == {"e1", "e3", "e5", "e7"}


def test_who_bought_once_is_not_asked_and_nothing_from_the_end_on_is_looked_at(
    tmp_path: Path,
) -> None:
    rows = [
        make_event("e1", "ann", "milk", 1),
        make_event("e2", "bob", "milk", 1),
        make_event("e3", "bob", "beer", 2),
    ]
    rows += [make_event("e4", "ann", "beer", 100), make_event("e5", "bob", "wine", 101)]
    assert list(hold_out(tmp_path, rows).targets()) == [("bob", "beer")]


@pytest.mark.parametrize(
    "telling",
    [
        make_event("t", "ann", "beer", 9, event_type="view_item"),  # at the same instant
        make_event("t", "ann", "beer", 8, order_id="o9"),  # another line of it in the same order
        make_event("t", "ann", "beer", 10, event_type="refund"),
        make_event("t", "ann", "wine", 11, event_type="view_item"),  # whatever the user did later
    ],
)
def test_what_would_tell_the_held_out_purchase_is_hidden_with_it(
    tmp_path: Path, telling: dict[str, Any]
) -> None:
    rows = [
        make_event("e1", "ann", "milk", 1),
        make_event("e2", "ann", "beer", 9, order_id="o9"),
        telling,
    ]
    held_out = hold_out(tmp_path, rows)
    assert list(held_out.targets()) == [("ann", "beer")]
    assert list_visible_events(held_out) == {"e1"}


def test_earlier_purchases_of_the_item_and_the_rest_of_the_order_stay(tmp_path: Path) -> None:
    rows = [
        make_event("e1", "ann", "beer", 1, order_id="o1"),
        make_event("e2", "ann", "bread", 9, order_id="o9"),
        make_event("e3", "ann", "beer", 9, order_id="o9"),
        make_event("e9", "bob", "beer", 50),
    ]
    assert list_visible_events(hold_out(tmp_path, rows)) == {"e1", "e2", "e9"}
