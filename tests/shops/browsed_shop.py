"""A shop that is browsed: strangers who look at items in chains, and buy nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from features.contracts.visits import Visits
from tests.shops.event_tables import make_table
from training.recommendations.config import RecommendationsConfig, VisitsConfig

END = datetime(2024, 5, 6, tzinfo=UTC)
N_ITEMS, N_CHAINS = 60, 12
# Items n, n + 12, n + 24, ... form a chain: from one the next is likely, a step back less so.
ITEM_IDS = [f"i{n:02}" for n in range(N_ITEMS)]
CONFIG = RecommendationsConfig(
    visits=VisitsConfig(max_learnt=1_500, max_evaluated=400, n_tuned=200)
)


def draw_chain(rng: np.random.Generator) -> list[int]:
    """Return the items of one visit: most steps go on along the chain, some return to an item that
    was looked at before, some jump anywhere."""
    item = int(rng.integers(N_ITEMS))
    items = [item]
    for _ in range(int(rng.integers(1, 7))):
        draw = rng.random()
        if draw < 0.5:
            item = (item + N_CHAINS) % N_ITEMS
        elif draw < 0.6:
            item = (item - N_CHAINS) % N_ITEMS
        elif draw < 0.9:
            item = items[int(rng.integers(len(items)))]
        else:
            item = int(rng.integers(N_ITEMS))
        items.append(item)
    return items


def make_looks(n_visits: int, *, seed: int = 4, days: float = 10) -> list[dict[str, Any]]:
    """Return the views of strangers in the days before END, each in a session of their own."""
    rng = np.random.default_rng(seed)
    rows = []
    for n in range(n_visits):
        at = END - timedelta(days=days * (n_visits - n) / n_visits, minutes=10)
        for number, item in enumerate(draw_chain(rng)):
            rows.append(
                {
                    "event_id": f"{seed} {n} {number}",
                    "event_type": "view_item",
                    "occurred_at": at + timedelta(seconds=20 * number),
                    "session_id": f"s{n}",
                    "item_id": ITEM_IDS[item],
                }
            )
    return rows


def make_catalogue() -> Any:
    return make_table("items", [{"item_id": item_id} for item_id in ITEM_IDS])


def make_visits(chains: list[list[int]], n_items: int = N_ITEMS) -> Visits:
    """Return visits of these items, one an hour, one look a second."""
    lengths = [len(chain) for chain in chains]
    begin = np.repeat(np.arange(len(chains)) * 3_600_000, lengths)
    number = np.concatenate([np.arange(length) for length in lengths])
    return Visits.of_views(
        item_ids=np.array(ITEM_IDS[:n_items], object),
        starts=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        items=np.concatenate([np.array(chain, np.int64) for chain in chains]),
        at_ms=begin + number * 1000,
    )
