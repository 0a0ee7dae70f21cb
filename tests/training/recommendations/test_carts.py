"""Orders with one line held out, and what is measured on them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from tests.shops.forty_shoppers import make_purchase, write_shop
from training.recommendations.carts import (
    ASSOCIATION,
    OURS_UNKNOWN_VISITOR,
    CartMetrics,
    hold_out_last_items,
)
from training.results import OURS
from training.splits import Window

CUT = datetime(2024, 4, 8, tzinfo=UTC)
WINDOW = Window(CUT, CUT + timedelta(weeks=4))


def test_the_last_line_by_time_then_event_id_is_held_out(tmp_path: Path) -> None:
    at = CUT + timedelta(days=1)
    one = [make_purchase("u1", f"i{n:02}", at) for n in range(5)]
    late = [
        make_purchase("u2", f"i{n:02}", at) | {"occurred_at": at + timedelta(minutes=9 - n)}
        for n in range(5)
    ]
    small = [make_purchase("u3", f"i{n:02}", at) for n in range(4)]
    before = [make_purchase("u4", f"i{n:02}", CUT - timedelta(hours=1)) for n in range(5)]
    facts, _ = write_shop(tmp_path, one + late + small + before)
    carts = {
        cart.user_id: cart
        for cart in hold_out_last_items(facts, WINDOW, [f"i{n:02}" for n in range(5)])
    }
    assert {user: cart.target for user, cart in carts.items()} == {"u1": "i04", "u2": "i00"}
    assert carts["u1"].context == ("i00", "i01", "i02", "i03")


def test_an_item_that_training_does_not_know_is_no_target(tmp_path: Path) -> None:
    facts, _ = write_shop(tmp_path, [make_purchase("u1", f"i{n:02}", CUT) for n in range(5)])
    assert hold_out_last_items(facts, WINDOW, ["i00", "i01"]) == []


def test_the_comparison_is_with_the_strongest_baseline_and_tells_the_rules_apart() -> None:
    hits = {
        OURS: [1, 1, 0, 1],
        OURS_UNKNOWN_VISITOR: [1, 0, 0, 0],
        ASSOCIATION: [1, 1, 0, 0],
        "a": [0, 0, 0, 1],
        "b": [0, 1, 0, 1],
    }
    by_method = {name: np.array(values, float) for name, values in hits.items()}
    comparisons, metrics = CartMetrics(by_method, by_method).compare(seed=1)
    assert [(row.metric, row.ours, row.strongest) for row in comparisons] == [
        ("recall@10 last of cart", 0.75, "b"),
        ("NDCG@10 last of cart", 0.75, "b"),
    ]
    assert (metrics["recall@10 cart strangers"], metrics["recall@10 cart association"]) == (
        0.25,
        0.5,
    )
    assert metrics["orders cart"] == pytest.approx(4)
