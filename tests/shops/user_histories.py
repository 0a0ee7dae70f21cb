"""Events of several weeks around one hour, written as facts or received, and equal histories."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from configs.settings import Settings
from features.database import transaction
from features.facts.events import EventLog
from features.facts.facts import Facts
from tests.shops.event_tables import AS_OF, make_event, make_table

T = AS_OF
ITEMS = [{"item_id": f"i{n}", "category": f"Shelf {n % 3} > x", "brand": "b"} for n in range(12)]


def draw_events(seed: int, first_day: float, last_day: float, n: int) -> list[dict]:
    """Return random purchases, refunds and views around T.

    Some orders take several days, and some refunds come before their purchase.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(n):
        kind = str(
            rng.choice(
                ["purchase", "refund", "view_item", "add_to_cart", "remove_from_cart"],
                p=[0.55, 0.1, 0.2, 0.1, 0.05],
            )
        )
        cents = int(rng.integers(50, 900))
        list_price = [None, float(cents), cents * 1.25][int(rng.integers(3))]
        values = {
            "order_id": None if rng.random() < 0.2 else f"o{rng.integers(30)}",
            "quantity": None if rng.random() < 0.1 else float(rng.integers(1, 4)),
            "zone": str(rng.choice(["eu", "jp"], p=[0.7, 0.3])),
            "line_amount_minor": None if rng.random() < 0.2 else cents,
            "unit_price_minor": cents / 2,
            "list_price_minor": None if rng.random() < 0.1 else list_price,
            "visitor_id": "v",
        }
        at = T + timedelta(
            seconds=int(rng.integers(first_day * 86_400, last_day * 86_400)),
            microseconds=int(rng.integers(1_000_000)),
        )
        rows.append(make_event(f"u{rng.integers(4)}", f"i{rng.integers(12)}", at, kind, **values))
    return rows


def receive_events(engine, rows) -> None:
    with transaction(engine) as connection:
        EventLog(connection).append(rows, datetime.now(UTC))


def import_events(settings: Settings, rows) -> Facts:
    facts = Facts(settings)
    facts.write({"events": make_table("events", rows), "items": make_table("items", ITEMS)})
    return facts


def assert_same_history(online, offline) -> None:
    assert online.user_id == offline.user_id
    assert online.as_of == offline.as_of
    assert online.item_ids.tolist() == offline.item_ids.tolist()
    for name in ("n_orders", "quantity", "first_at", "last_at"):
        left, right = getattr(online, name), getattr(offline, name)
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(left, right, err_msg=name)
    np.testing.assert_allclose(online.decayed_frequency, offline.decayed_frequency, rtol=1e-6)
    assert list(online.features) == list(offline.features)
    np.testing.assert_allclose(
        list(online.features.values()), list(offline.features.values()), rtol=1e-9
    )
    assert online.viewed_item_ids == offline.viewed_item_ids
    assert online.viewed_at == offline.viewed_at
