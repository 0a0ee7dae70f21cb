"""Visitors of known tastes: half buy tea, half buy tools, one order of two items a day."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from features.contracts.recommendations import ItemFeatures
from features.contracts.sequences import PURCHASE, Sequences
from models.retrieval.sequence import SequenceConfig
from models.retrieval.steps import LoopConfig

DAY = 24 * 3600
NOW = 12 * DAY
LOOP = LoopConfig(
    min_visitors=1,
    n_epochs=15,
    batch_visitors=8,
    n_negatives=32,
    learning_rate=0.02,
    validation_weeks=0,
)
CONFIG = SequenceConfig(width=8, n_layers=1, dropout=0.0, loop=LOOP)
TASTES = ("tea", "tool")
N_ITEMS = 20  # of each taste


def draw_sequences(n_visitors: int = 40) -> Sequences:
    rng = np.random.default_rng(11)
    rows = [
        (f"v{visitor:02}", day * DAY + 7 * visitor, PURCHASE, f"{TASTES[visitor % 2]}{item:02}")
        for visitor in range(n_visitors)
        for day in range(6)
        for item in rng.choice(N_ITEMS, 2, replace=False)
    ]
    visitors, at, kinds, items = zip(*rows, strict=True)
    return Sequences.from_lines(
        np.array(visitors, object), np.array(at), np.array(kinds, np.int8), np.array(items, object)
    )


def make_items() -> ItemFeatures:
    """Return the catalogue."""
    ids = sorted(f"{taste}{n:02}" for taste in TASTES for n in range(N_ITEMS))
    category = [f"Shop > {item_id[:-2]}" for item_id in ids]
    price = {"list_price_minor": np.full(len(ids), 500, np.float32)}
    brands = np.full(len(ids), "National", object)
    at = datetime(2024, 1, 1, tzinfo=UTC)
    return ItemFeatures(at, np.array(ids, object), price, np.array(category, object), brands)
