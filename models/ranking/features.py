"""The columns a ranker sees, for one visitor and some candidates. Training and serving both call this."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.contracts.calendar import SECONDS_PER_WEEK
from features.contracts.categories import codes
from features.contracts.histories import UserHistory
from features.contracts.recommendations import ItemFeatures
from models.retrieval.interactions import positions

Positions = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

_CATEGORY_DEPTHS = (1, 2, 3)
_OWN = ("n_orders", "quantity", "decayed_frequency", "recency_weeks", "span_weeks", "gap_weeks", "due_ratio")
_SCORES = ("ease", "ease_decayed", "ease_rank", "als")
_VIEWED = ("viewed_weeks_ago",)
_PER_DEPTH = ("affinity", "share", "n_items", "recency_weeks")


@dataclass(frozen=True)
class Visitor:
    """One visitor in the positions of the catalogue: what was bought and viewed, and the sources' scores.

    own, viewed   positions of items; `rows` are those of `own` in the history's arrays
    ease, ease_decayed, als   scores (n_items,) of the whole catalogue, 0 where the source does not know the item
    """

    history: UserHistory
    own: Positions
    rows: Positions
    viewed: Positions
    ease: Floats
    ease_viewed: Floats
    ease_decayed: Floats
    als: Floats


class Catalogue:
    """The item side of the columns, prepared once: item features, categories and the position of each id."""

    def __init__(self, items: ItemFeatures, item_columns: Sequence[str]) -> None:
        self.items = items
        self.n_items = len(items.item_ids)
        self.index = {item_id: place for place, item_id in enumerate(items.item_ids)}
        missing = np.full(self.n_items, np.nan, np.float32)
        self.matrix: Floats = np.ascontiguousarray(
            np.stack([items.columns.get(name, missing) for name in item_columns], axis=1)
            if item_columns
            else np.zeros((self.n_items, 0), np.float32)
        )
        self.categories = [codes(items.category, depth) for depth in _CATEGORY_DEPTHS]
        self.n_categories = [int(each.max(initial=-1)) + 1 for each in self.categories]
        popularity = np.nan_to_num(items.columns.get("orders_4w", missing))
        self.popularity: Floats = popularity / max(float(popularity.max(initial=0.0)), 1e-9)
        names, self.whole_category = np.unique(items.category.astype(str), return_inverse=True)
        self.category_names: tuple[str, ...] = tuple(names.tolist())
        buyers = np.nan_to_num(items.columns.get("buyers", missing).astype(np.float64))
        again = np.nan_to_num(items.columns.get("repeat_rate", missing).astype(np.float64)) * buyers
        # The share of buyers who buy an item again, over the whole catalogue.
        self.repeat_rate = float(again.sum() / max(buyers.sum(), 1.0))

    def positions(self, ids: npt.NDArray[np.object_]) -> Positions:
        """Where each id stands, -1 where it does not."""
        return positions(self.index, ids)


def column_names(item_columns: Sequence[str], user_columns: Sequence[str]) -> tuple[str, ...]:
    """Names of the columns of `columns`, in order."""
    categories = [f"category_{depth}_{name}" for depth in _CATEGORY_DEPTHS for name in _PER_DEPTH]
    items = [f"item_{name}" for name in item_columns]
    return (*_OWN, *_SCORES, *_VIEWED, *categories, *items, *(f"user_{name}" for name in user_columns))


def columns(catalogue: Catalogue, visitor: Visitor, candidates: Positions, user_columns: Sequence[str]) -> Floats:
    """The ranker's input (n_candidates, columns) for one visitor; NaN where unknown."""
    n = len(candidates)
    scores = [visitor.ease[candidates], visitor.ease_decayed[candidates], _ranks(visitor.ease[candidates])]
    parts: list[Floats] = [
        *_own_columns(catalogue, visitor, candidates),
        *scores,
        visitor.als[candidates],
        _viewed_weeks_ago(catalogue, visitor, candidates),
        *_category_columns(catalogue, visitor, candidates),
    ]
    item = catalogue.matrix[candidates]
    user = np.array([visitor.history.features.get(name, np.nan) for name in user_columns], np.float32)
    left = np.stack(parts, axis=1).astype(np.float32, copy=False)
    return np.concatenate([left, item, np.broadcast_to(user, (n, len(user)))], axis=1)


def _own_columns(catalogue: Catalogue, visitor: Visitor, candidates: Positions) -> list[Floats]:
    history, rows = visitor.history, visitor.rows
    now = int(history.as_of.timestamp())
    n_orders = history.n_orders[rows]
    recency = ((now - history.last_at[rows]) / SECONDS_PER_WEEK).astype(np.float32)
    span = ((history.last_at[rows] - history.first_at[rows]) / SECONDS_PER_WEEK).astype(np.float32)
    gap = np.where(n_orders > 1, span / np.maximum(n_orders - 1, 1), np.nan).astype(np.float32)
    due = np.divide(recency, gap, out=np.full(len(rows), np.nan, np.float32), where=gap > 0)
    own = (n_orders, history.quantity[rows], history.decayed_frequency[rows], recency, span, gap, due)
    whole = np.full(catalogue.n_items, -1, np.int64)
    whole[visitor.own] = np.arange(len(visitor.own))
    places = whole[candidates]
    known = places >= 0
    columns_of = []
    for values in own:
        column = np.full(len(candidates), np.nan, np.float32)
        column[known] = values[places[known]]
        columns_of.append(column)
    return columns_of


def _category_columns(catalogue: Catalogue, visitor: Visitor, candidates: Positions) -> list[Floats]:
    """Per depth of category: decayed purchases, their share, different items, and weeks since the last one."""
    history, rows = visitor.history, visitor.rows
    weights = history.decayed_frequency[rows].astype(np.float64)
    total = max(float(weights.sum()), 1e-9)
    age = (int(history.as_of.timestamp()) - history.last_at[rows]) / SECONDS_PER_WEEK
    result: list[Floats] = []
    for of_items, n_codes in zip(catalogue.categories, catalogue.n_categories, strict=True):
        own = of_items[visitor.own]
        affinity = np.bincount(own, weights, n_codes).astype(np.float32)
        n_items = np.bincount(own, minlength=n_codes).astype(np.float32)
        recency = np.full(n_codes, np.nan, np.float32)
        order = np.argsort(-age, kind="stable")  # the most recent is written last and stays
        recency[own[order]] = age[order]
        wanted = of_items[candidates]
        share = (affinity / total).astype(np.float32)
        result += [affinity[wanted], share[wanted], n_items[wanted], recency[wanted]]
    return result


def _viewed_weeks_ago(catalogue: Catalogue, visitor: Visitor, candidates: Positions) -> Floats:
    column = np.full(catalogue.n_items, np.nan, np.float32)
    now = int(visitor.history.as_of.timestamp())
    for item_id, at in zip(visitor.history.viewed_item_ids, visitor.history.viewed_at, strict=True):
        place = catalogue.index.get(item_id)
        if place is not None:
            column[place] = (now - at) / SECONDS_PER_WEEK
    return column[candidates]


def _ranks(scores: Floats) -> Floats:
    ranks = np.empty(len(scores), np.float32)
    ranks[np.argsort(-scores, kind="stable")] = np.arange(len(scores), dtype=np.float32)
    return ranks
