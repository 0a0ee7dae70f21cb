"""Interactions as sequences: every item that a user bought is one order, an hour apart."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from features.contracts.recommendations import ItemFeatures
from features.contracts.sequences import PURCHASE, Event, Sequences
from models.retrieval.interactions import Interactions
from models.retrieval.steps import LoopConfig

LOOP = LoopConfig(
    min_visitors=1,
    n_epochs=60,
    batch_visitors=10,
    n_negatives=32,
    learning_rate=0.02,
    validation_weeks=0,
)


def make_sequences(interactions: Interactions) -> Sequences:
    users, items = interactions.matrix.nonzero()
    hours = np.arange(len(users)) - np.searchsorted(users, users)
    kinds = np.full(len(users), PURCHASE, np.int8)
    return Sequences.from_lines(
        interactions.user_ids[users], hours * 3600, kinds, interactions.item_ids[items]
    )


def make_plain_items(item_ids: np.ndarray) -> ItemFeatures:
    """Return items of which only the ids are known."""
    unknown = np.full(len(item_ids), "", object)
    return ItemFeatures(datetime(2024, 1, 1, tzinfo=UTC), item_ids, {}, unknown, unknown)


def make_purchases(item_ids: np.ndarray, rows: np.ndarray) -> list[Event]:
    return [Event(item_ids[row], PURCHASE, 3600.0 * (len(rows) - n)) for n, row in enumerate(rows)]
