"""Shops that teach no ranker of purchases, or little: three tastes over thirty items."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np

from tests.shops.forty_shoppers import END, make_purchase

ITEMS = [{"item_id": f"i{n:02}", "category": "A > B"} for n in range(30)]


def make_visits(kind: str, n_visitors: int = 80, days: float = 40) -> list[dict[str, Any]]:
    """Return three items of one of three tastes by each visitor, in the days before END."""
    rng = np.random.default_rng(3)
    rows = []
    for n in range(n_visitors):
        at = END - timedelta(days=days * (n_visitors - n) / n_visitors, minutes=5)
        for number, item in enumerate(rng.choice(10, 3, replace=False)):
            row = make_purchase("", f"i{item * 3 + n % 3:02}", at + timedelta(minutes=number))
            ids = {"user_id": None, "visitor_id": f"v{n}", "event_id": f"{n} {number}"}
            rows.append(row | ids | {"event_type": kind})
    return rows


def make_ten_users() -> list[dict[str, Any]]:
    """Return the purchases of ten known users in six days."""
    return [
        row | {"user_id": f"u{n % 10}"}
        for n, row in enumerate(make_visits("purchase", n_visitors=20, days=6))
    ]


def make_mix() -> list[dict[str, Any]]:
    """Return looks of thirty known users in each of twenty weeks; every second look is put into the
    cart, and every fourth is bought.

    A user looks at items of one taste and buys of them those below i15.
    """
    rng = np.random.default_rng(5)
    rows = []
    for user in range(30):
        for week in range(20):
            at = END - timedelta(weeks=week, hours=30 + user)
            for number, item in enumerate(rng.choice(10, 4, replace=False)):
                item_id = f"i{item * 3 + user % 3:02}"
                kinds = ["view_item"]
                kinds += ["add_to_cart"] * (number % 2 == 0)
                kinds += ["purchase"] * (item_id < "i15" and number < 3)
                for step, kind in enumerate(kinds):
                    row = make_purchase(
                        f"u{user:02}", item_id, at + timedelta(minutes=4 * number + step)
                    )
                    rows.append(row | {"event_type": kind, "event_id": f"{row['event_id']} {kind}"})
    return rows
