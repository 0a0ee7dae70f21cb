"""The contract suite's shop as sequences: every item a user bought is an order of its own, an hour
apart."""

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


def sequences_of(interactions: Interactions) -> Sequences:
    users, items = interactions.matrix.nonzero()
    place = np.arange(len(users)) - np.searchsorted(users, users)
    kinds = np.full(len(users), PURCHASE, np.int8)
    return Sequences.from_lines(
        interactions.user_ids[users], place * 3600, kinds, interactions.item_ids[items]
    )


def plain_items(item_ids: np.ndarray) -> ItemFeatures:
    """Items of which nothing is known but their ids."""
    nothing = np.full(len(item_ids), "", object)
    return ItemFeatures(datetime(2024, 1, 1, tzinfo=UTC), item_ids, {}, nothing, nothing)


def bought(item_ids: np.ndarray, rows: np.ndarray) -> list[Event]:
    return [Event(item_ids[row], PURCHASE, 3600.0 * (len(rows) - n)) for n, row in enumerate(rows)]
