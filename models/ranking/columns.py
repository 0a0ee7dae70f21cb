"""The columns that a ranker sees, for one visitor and some candidates, in training and serving."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from features.contracts.arrays import Float32Array, Int64Array
from features.contracts.calendar import SECONDS_PER_WEEK
from models.compiled.candidate_columns import (
    CATEGORY_COLUMNS,
    PURCHASE_COLUMNS,
    SCORE_COLUMNS,
    VIEWED_COLUMN,
    VIEWED_COLUMNS,
    ItemTable,
    Purchases,
    VisitorScores,
    make_candidate_columns,
)
from models.ranking.catalogue import CATEGORY_DEPTHS, Catalogue
from models.ranking.visitor import Visitor


class FeatureNames(NamedTuple):
    """Names of the item features and of the user features that a ranker sees, in its order."""

    item: tuple[str, ...]
    user: tuple[str, ...]


def column_names(item_columns: Sequence[str], user_columns: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the columns of `make_columns`, in order."""
    categories = [
        f"category_{depth}_{name}" for depth in CATEGORY_DEPTHS for name in CATEGORY_COLUMNS
    ]
    return (
        *PURCHASE_COLUMNS,
        *SCORE_COLUMNS,
        *VIEWED_COLUMNS,
        *categories,
        *(f"item_{name}" for name in item_columns),
        *(f"user_{name}" for name in user_columns),
    )


def make_columns(
    catalogue: Catalogue, visitor: Visitor, candidates: Int64Array, user_columns: Sequence[str]
) -> Float32Array:
    """Return the ranker's input (n_candidates, columns) for one visitor; NaN where unknown."""
    history, ease, als = visitor.history, visitor.ease, visitor.als
    purchases = Purchases(
        positions=visitor.bought,
        rows=visitor.history_rows,
        n_orders=history.n_orders,
        quantity=history.quantity,
        decayed_frequency=history.decayed_frequency,
        first_at=history.first_at,
        last_at=history.last_at,
        as_of=int(history.as_of.timestamp()),
    )
    scores = VisitorScores(
        ease=ease.values,
        ease_decayed=visitor.ease_decayed.values,
        ease_rows=ease.rows,
        user=als.user,
        factors=als.factors,
        als_rows=als.rows,
    )
    items = ItemTable(catalogue.categories, catalogue.n_categories, catalogue.matrix)
    user_features = np.array(
        [history.features.get(name, np.nan) for name in user_columns], np.float32
    )
    table = make_candidate_columns(candidates, purchases, scores, items, user_features)
    if len(visitor.viewed):
        table[:, VIEWED_COLUMN] = _weeks_since_view(catalogue, visitor, candidates)
    return table


def _weeks_since_view(
    catalogue: Catalogue, visitor: Visitor, candidates: Int64Array
) -> Float32Array:
    weeks = np.full(len(candidates), np.nan, np.float32)
    history, now = visitor.history, int(visitor.history.as_of.timestamp())
    for item_id, viewed_at in zip(history.viewed_item_ids, history.viewed_at, strict=True):
        position = catalogue.index.get(item_id)
        if position is not None:
            weeks[candidates == position] = (now - viewed_at) / SECONDS_PER_WEEK
    return weeks
