"""The columns a ranker sees, for one visitor and some candidates. Training and serving both call
this."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.contracts.arrays import Float32Array, Float64Array, Int64Array, ObjectArray
from features.contracts.calendar import SECONDS_PER_WEEK
from features.contracts.categories import codes
from features.contracts.histories import UserHistory
from features.contracts.recommendations import ItemFeatures
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
from models.compiled.top_items import top_positions
from models.retrieval.interactions import find_positions
from models.retrieval.nearest import Nearest

_CATEGORY_DEPTHS = (1, 2, 3)


class FeatureNames(NamedTuple):
    """Names of the item features and of the user features that a ranker sees, in its order."""

    item: tuple[str, ...]
    user: tuple[str, ...]


@dataclass(frozen=True)
class SourceScores:
    """What one source says of its own items.

    values   float32 (n_source,)
    rows     int64 (n_items,), where each item of the catalogue stands in it; -1 where it does not
    """

    values: Float32Array
    rows: Int64Array

    def at(self, places: Int64Array) -> Float32Array:
        """Of positions of the catalogue, 0 where the source knows nothing."""
        rows = self.rows[places]
        known = rows >= 0
        values = np.zeros(len(places), self.values.dtype)
        values[known] = self.values[rows[known]]
        return values

    def best(self, k: int, but: Int64Array) -> Int64Array:
        """Rows of the k highest above 0, without those of the positions `but`."""
        if k == 0:
            return np.zeros(0, np.int64)
        rows, values = self.rows[but], self.values.copy()
        values[rows[rows >= 0]] = 0
        return top_positions(values, k)


@dataclass(frozen=True)
class FactorScores:
    """The same for a source of factors, whose scores are computed where they are asked for.

    user      float32 (factors,)
    factors   float32 (n_source + 1, factors), 0 at the end
    nearest   a search over them
    rows      as in SourceScores
    """

    user: Float32Array
    factors: Float32Array
    nearest: Nearest
    rows: Int64Array

    def best(self, k: int, but: Int64Array) -> Int64Array:
        """Rows of the k highest above 0, without those of the positions `but`."""
        rows = self.rows[but]
        return self.nearest.search(self.user, k, rows[rows >= 0])


@dataclass(frozen=True)
class Visitor:
    """One visitor in the positions of the catalogue: what was bought and viewed, and the sources'
    scores.

    own, viewed   positions of items, `own` ascending; `rows` are those of `own` in the history's
                  arrays
    """

    history: UserHistory
    own: Int64Array
    rows: Int64Array
    viewed: Int64Array
    ease: SourceScores
    ease_viewed: SourceScores
    ease_decayed: SourceScores
    als: FactorScores


class Catalogue:
    """The item side of the columns, prepared once: item features, categories and the position of
    each id."""

    def __init__(self, items: ItemFeatures, item_columns: Sequence[str]) -> None:
        self.items = items
        self.n_items = len(items.item_ids)
        self.index = {item_id: place for place, item_id in enumerate(items.item_ids)}
        self._ids = pa.array(items.item_ids, pa.string())
        missing = np.full(self.n_items, np.nan, np.float32)
        self.matrix: Float32Array = np.ascontiguousarray(
            np.stack([items.columns.get(name, missing) for name in item_columns], axis=1)
            if item_columns
            else np.zeros((self.n_items, 0), np.float32)
        )
        self.categories: Int64Array = np.stack(
            [codes(items.category, depth) for depth in _CATEGORY_DEPTHS]
        )
        self.n_categories: Int64Array = self.categories.max(1, initial=-1) + 1
        popularity = np.nan_to_num(items.columns.get("orders_4w", missing))
        self.popularity: Float32Array = popularity / max(float(popularity.max(initial=0.0)), 1e-9)
        names, self.whole_category = np.unique(items.category.astype(str), return_inverse=True)
        self.category_names: tuple[str, ...] = tuple(names.tolist())
        self.buyers = np.nan_to_num(items.columns.get("buyers", missing).astype(np.float64))
        self.repeat_rate = np.nan_to_num(
            items.columns.get("repeat_rate", missing).astype(np.float64)
        )

    def column(self, name: str, missing: float = 0.0) -> Float64Array:
        """An item feature (n_items,), `missing` where it is unknown."""
        values = self.items.columns.get(name)
        if values is None:
            return np.full(self.n_items, missing)
        return np.nan_to_num(values.astype(np.float64), nan=missing, posinf=missing)

    def positions(self, ids: ObjectArray) -> Int64Array:
        """Where each id stands, -1 where it does not."""
        return find_positions(self.index, ids)

    def positions_of_each(self, lists: Sequence[ObjectArray]) -> list[Int64Array]:
        """`positions` of each list, looked up for all of them at once."""
        ids = pa.array(np.concatenate([*lists, np.zeros(0, object)]), pa.string())
        found = pc.fill_null(pc.index_in(ids, value_set=self._ids), -1).to_numpy().astype(np.int64)
        return np.split(found, np.cumsum([len(each) for each in lists])[:-1]) if lists else []


def column_names(item_columns: Sequence[str], user_columns: Sequence[str]) -> tuple[str, ...]:
    """Names of the columns of `columns`, in order."""
    categories = [
        f"category_{depth}_{name}" for depth in _CATEGORY_DEPTHS for name in CATEGORY_COLUMNS
    ]
    items = [f"item_{name}" for name in item_columns]
    return (
        *PURCHASE_COLUMNS,
        *SCORE_COLUMNS,
        *VIEWED_COLUMNS,
        *categories,
        *items,
        *(f"user_{name}" for name in user_columns),
    )


def columns(
    catalogue: Catalogue, visitor: Visitor, candidates: Int64Array, user_columns: Sequence[str]
) -> Float32Array:
    """The ranker's input (n_candidates, columns) for one visitor; NaN where unknown."""
    history, ease, als = visitor.history, visitor.ease, visitor.als
    purchases = Purchases(
        positions=visitor.own,
        rows=visitor.rows,
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
    of_user = np.array([history.features.get(name, np.nan) for name in user_columns], np.float32)
    table = make_candidate_columns(candidates, purchases, scores, items, of_user)
    if len(visitor.viewed):
        table[:, VIEWED_COLUMN] = _viewed_weeks_ago(catalogue, visitor, candidates)
    return table


def _viewed_weeks_ago(
    catalogue: Catalogue, visitor: Visitor, candidates: Int64Array
) -> Float32Array:
    column = np.full(len(candidates), np.nan, np.float32)
    now = int(visitor.history.as_of.timestamp())
    for item_id, at in zip(visitor.history.viewed_item_ids, visitor.history.viewed_at, strict=True):
        place = catalogue.index.get(item_id)
        if place is not None:
            column[candidates == place] = (now - at) / SECONDS_PER_WEEK
    return column
